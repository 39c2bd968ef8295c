//! What a store answers when it is asked: for how much there is, for less than there is, for what it may not give.

use std::sync::Arc;

use super::crafted::{superblock, with_two_snapshots};
use super::real::Folder;
use super::sim_disk::SimDisk;
use super::world::tiny;
use super::{Model, fill, open};
use crate::ids::{Millis, Zxid};
use crate::store::cause::{DamageCause, OptionRange};
use crate::store::member::MemberState;
use crate::store::recover::{read_only, recover_image};
use crate::store::{Disk, InspectLine, InspectVerdict, Record, Store, StoreError, StoreOptions, inspect_bytes};

/// A file whose log is damaged, which waits for a state from elsewhere.
fn hollow(server_id: Option<u64>, asks: Option<u64>) -> Result<Store, StoreError> {
    let disk = Arc::new(SimDisk::new(1));
    fill(&mut open(&disk, &StoreOptions { server_id, ..tiny() }), 1..=9, 900);
    Store::open_to_be_filled(disk, &StoreOptions { server_id: asks, ..tiny() })
}

#[test]
fn a_file_that_is_to_be_filled_gives_and_takes_nothing_and_says_why() {
    // L-10
    let marked = |result: Result<(), StoreError>| {
        assert!(matches!(result, Err(StoreError::Corrupt { cause: DamageCause::Marked, .. })), "{result:?}");
    };
    let mut store = hollow(None, None).unwrap();
    marked(store.append(&[Record { zxid: Zxid(20), txn: b"x" }]));
    marked(store.reload(&mut Model::default()).map(drop));
    marked(store.read_open(Zxid(3)).map(drop));
    marked(store.truncate(Zxid(3)).map(drop));
    marked(store.snapshot_begin(Zxid(9), 100).map(drop));
}

#[test]
fn a_file_that_is_to_be_filled_stays_its_servers() {
    assert!(hollow(Some(3), Some(3)).is_ok() && hollow(Some(3), None).is_ok() && hollow(None, Some(4)).is_ok());
    assert_eq!(hollow(Some(3), Some(4)).unwrap_err(), StoreError::WrongServer { expected: 4, found: 3 });
}

#[test]
fn the_largest_record_is_what_the_file_has_room_for_whatever_is_configured_later() {
    let disk = Arc::new(SimDisk::new(1));
    drop(open(&disk, &tiny()));
    let later = StoreOptions { extent_size: 64 << 10, max_record: 32 << 10, ..tiny() };
    let mut store = open(&disk, &later);
    let limit = tiny().extent_size / 2;
    fill(&mut store, 1..=1, limit as usize);
    let txn = vec![0; limit as usize + 1];
    let refused = store.append(&[Record { zxid: Zxid(2), txn: &txn }]).unwrap_err();
    assert_eq!(refused, StoreError::TooLarge { size: limit + 1, limit });
    assert_eq!(store.reserve(&[limit as usize + 1]).unwrap_err(), refused);
}

#[test]
fn a_size_of_extents_that_cannot_be_is_refused_with_those_that_can() {
    for (small_extents, least) in [(false, 4 << 20), (true, 16 << 10)] {
        let options = StoreOptions { extent_size: least - 1, small_extents, ..StoreOptions::default() };
        let refused = options.check().unwrap_err();
        let StoreError::Option { allowed: OptionRange::PowerOfTwo { least: told, most }, .. } = refused else {
            panic!("{refused:?}")
        };
        assert!(told == least && most > least, "{told} to {most}");
    }
}

#[test]
fn no_more_is_read_than_was_asked_for_and_at_least_one() {
    let mut store = open(&Arc::new(SimDisk::new(1)), &tiny());
    fill(&mut store, 1..=9, 1000);
    let mut cursor = store.read_open(Zxid(0)).unwrap().unwrap();
    for (most, count) in [(2000, 2), (2999, 2), (1, 1), (3000, 3), (1 << 20, 1)] {
        assert_eq!(store.read(&mut cursor, most).unwrap().len(), count, "of {most} bytes");
    }
}

#[test]
fn an_opening_says_how_many_transactions_it_replayed() {
    let (image, owed) = with_two_snapshots();
    let from = superblock(&image).snapshots.iter().flatten().map(|kept| kept.zxid.0).max().unwrap();
    let behind = (owed.last - from) as u64;
    assert!(behind > 10);
    assert_eq!(recover_image(&image, &mut Model::default()).unwrap().replayed, behind);
    let folder = Folder::new();
    std::fs::write(folder.file(), &image).unwrap();
    let (_, report) = read_only(&folder.file(), &mut Model::default()).unwrap();
    assert_eq!((report.replayed, report.snapshot), (behind, Some(Zxid(from))), "on several threads");
}

#[test]
fn inspect_says_whether_a_file_was_stopped_cleanly() {
    for is_clean in [true, false] {
        let disk = Arc::new(SimDisk::new(1));
        let mut store = open(&disk, &tiny());
        fill(&mut store, 1..=3, 100);
        if is_clean {
            store.close().unwrap();
        }
        let mut told = None;
        inspect_bytes(&&disk.image()[..], false, &mut |line| {
            if let InspectLine::Root { clean, .. } = line {
                told = Some(clean);
            }
        })
        .unwrap();
        assert_eq!(told, Some(is_clean));
    }
}

#[test]
fn inspect_of_a_log_that_cannot_be_read_says_up_to_where_it_can() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &StoreOptions { log_window: 1 << 20, ..tiny() });
    fill(&mut store, 1..=40, 900);
    let at = disk.image().windows(900).position(|window| window == [30; 900]).unwrap() as u64;
    let inside = at.next_multiple_of(512);
    disk.fail_reads(inside, inside + 512);
    let verdict = inspect_bytes(&*disk, false, &mut |_| {}).unwrap();
    let InspectVerdict::Damaged { good_to, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(good_to, Zxid(29));
}

#[test]
fn what_a_snapshot_still_has_in_memory_is_told() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &tiny());
    fill(&mut store, 1..=9, 900);
    store.tick(Millis(5)).unwrap();
    assert_eq!(store.snapshot_backlog(), 0);
    store.snapshot_begin(store.last_zxid(), 9000).unwrap();
    for pushed in 1..=3 {
        store.snapshot_push(&[7; 1000]).unwrap();
        assert!((1000 * pushed..1100 * pushed).contains(&store.snapshot_backlog()), "{}", store.snapshot_backlog());
    }
    store.snapshot_finish().unwrap();
    assert!(store.snapshot_wait().unwrap().outcome.is_ok());
    assert_eq!(store.snapshot_backlog(), 0);
    assert_eq!(store.stats().writer, disk.writer());
}

#[test]
fn a_state_that_is_installed_is_the_only_one_that_is_kept() {
    // S-08: neither snapshot of before may be loaded again.
    let (image, _) = with_two_snapshots();
    assert_eq!(superblock(&image).snapshots.iter().flatten().count(), 2);
    let disk = Arc::new(SimDisk::of_image(image, 2));
    let mut store = open(&disk, &tiny());
    let mut state = Model::default();
    state.apply(Zxid(900), b"whole");
    let kept = MemberState { accepted_epoch: 3, current_epoch: 3, ..MemberState::default() };
    store.install_begin(Zxid(900), 100, &kept).unwrap();
    state.entries().iter().for_each(|entry| store.snapshot_push(entry).unwrap());
    store.snapshot_finish().unwrap();
    assert!(store.snapshot_wait().unwrap().outcome.is_ok());
    let zxids: Vec<Zxid> = superblock(&disk.image()).snapshots.iter().flatten().map(|kept| kept.zxid).collect();
    assert_eq!(zxids, [Zxid(900)]);
    assert_eq!(store.last_zxid(), Zxid(900));
}

#[test]
fn nothing_is_due_while_a_write_is_under_way() {
    let mut store = open(&Arc::new(SimDisk::new(1)), &tiny());
    store.set_writes_apart();
    fill(&mut store, 1..=1, 100);
    store.tick(Millis(1)).unwrap();
    assert!(store.poll_timeout(Millis(1)).is_some(), "the end of the log is to be marked");
    let write = store.append_begin(&[Record { zxid: Zxid(2), txn: b"x" }]).unwrap().unwrap();
    assert_eq!(store.poll_timeout(Millis(1)), None);
    store.append_end(write.carry_out()).unwrap();
    assert!(store.poll_timeout(Millis(1)).is_some());
}
