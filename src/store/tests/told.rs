//! What a store tells of itself and of what it found, and what it does with a snapshot that is damaged.

use std::sync::Arc;

use super::Model;
use super::crafted::{put_superblock, superblock, with_two_snapshots};
use super::sim_disk::SimDisk;
use super::world::tiny;
use crate::ids::{Millis, Zxid};
use crate::store::layout::{SLOT_AT, SLOT_LEN, sb};
use crate::store::recover::recover_image;
use crate::store::superblock::ExtentState;
use crate::store::{
    DamageCause, DamagedSnapshot, Disk, InspectLine, InspectVerdict, Record, SnapshotFault, SpaceLevel, Store,
    StoreError, inspect_bytes, le,
};

fn open(image: Vec<u8>) -> (Arc<SimDisk>, Store, crate::store::RecoveryReport, Model) {
    let disk = Arc::new(SimDisk::of_image(image, 2));
    let shared: Arc<dyn Disk> = Arc::clone(&disk) as _;
    let mut found = Model::default();
    let (store, report) = Store::open_on(shared, &tiny(), &mut found).unwrap();
    (disk, store, report, found)
}

/// With a bit of the newest snapshot turned.
fn damaged() -> (Vec<u8>, Model, u64) {
    let (mut image, owed) = with_two_snapshots();
    let sb = superblock(&image);
    let newer = usize::from(sb.snapshots[1].unwrap().id > sb.snapshots[0].unwrap().id);
    let at = sb.extent_at(sb.snapshot_extents(newer)[0]);
    image[at as usize + 100] ^= 1;
    (image, owed, at)
}

// S-41, S-43: what cannot be loaded is not kept, and its space is used again.
#[test]
fn a_damaged_snapshot_is_dropped_and_its_space_is_free_for_the_next() {
    let (image, owed, at) = damaged();
    let before = superblock(&image);
    let newer = usize::from(before.snapshots[1].unwrap().id > before.snapshots[0].unwrap().id);
    let lost = before.snapshot_extents(newer);
    let (disk, mut store, report, found) = open(image);
    assert!(found.same_state(&owed));
    let [DamagedSnapshot { offset, fault: SnapshotFault::Checksum { stored, computed }, .. }] =
        report.snapshots_damaged[..]
    else {
        panic!("{report:?}")
    };
    assert!(offset == at && stored != computed, "{report:?}");
    let kept = |sb: &crate::store::superblock::Superblock| sb.snapshots.iter().flatten().count();
    assert_eq!((kept(&before), kept(store.sb())), (2, 1));
    for now in 0..50 {
        store.tick(Millis(now)).unwrap();
    }
    let is_of_use = |index: &u32| matches!(store.sb().map[*index as usize].state, ExtentState::Free | ExtentState::Log);
    assert!(lost.iter().all(is_of_use), "{:?} of {:?}", lost, store.sb().map);
    // The next start finds nothing wrong, and the next snapshot is taken.
    drop(store);
    let (_, mut store, report, found) = open(disk.image());
    assert!(report.snapshots_damaged.is_empty() && found.same_state(&owed), "{report:?}");
    store.snapshot_begin(store.last_zxid(), owed.size() + 100).unwrap();
    owed.entries().iter().for_each(|entry| store.snapshot_push(entry).unwrap());
    store.snapshot_finish().unwrap();
    let done = (0..50).find_map(|i| store.tick(Millis(i)).unwrap()).expect("the snapshot ends");
    assert!(done.outcome.is_ok() && kept(store.sb()) == 2, "{done:?}");
}

#[test]
fn inspect_names_every_extent_and_the_snapshot_that_is_damaged() {
    let (image, _, at) = damaged();
    let sb = superblock(&image);
    let (mut extents, mut faults) = (Vec::new(), Vec::new());
    let verdict = inspect_bytes(&&image[..], false, &mut |line| match line {
        InspectLine::Extent { index, offset, .. } => extents.push((index, offset)),
        InspectLine::Snapshot { slot, whole, .. } => faults.push((slot, whole.err().map(|(at, _)| at))),
        _ => {}
    })
    .unwrap();
    assert_eq!(extents, (0..sb.map.len() as u32).map(|i| (i, sb.extent_at(i))).collect::<Vec<_>>());
    assert_eq!(faults.iter().filter_map(|(_, at)| *at).collect::<Vec<_>>(), [at]);
    assert!(matches!(verdict, InspectVerdict::Torn { .. }), "the other one is enough to start with: {verdict:?}");
}

#[test]
fn a_file_that_was_cut_is_damaged_and_one_that_is_longer_is_not() {
    let (image, owed) = with_two_snapshots();
    let len = superblock(&image).file_len() as usize;
    for (cut, is_damaged) in [(len - 1, true), (len - 512, true), (len, false)] {
        let verdict = inspect_bytes(&&image[..cut], false, &mut |_| ()).unwrap();
        assert_eq!(matches!(verdict, InspectVerdict::Damaged { .. }), is_damaged, "{cut} of {len}: {verdict:?}");
        let opened = recover_image(&image[..cut], &mut Model::default());
        assert_eq!(matches!(opened, Err(StoreError::Corrupt { .. })), is_damaged, "{cut} of {len}: {opened:?}");
    }
    // Space that was reserved and not counted yet when the power went.
    let mut longer = image;
    longer.resize(len + 100_000, 7);
    let mut found = Model::default();
    recover_image(&longer, &mut found).unwrap();
    assert!(found.same_state(&owed));
    let verdict = inspect_bytes(&&longer[..], false, &mut |_| ()).unwrap();
    assert!(!matches!(verdict, InspectVerdict::Damaged { .. }), "{verdict:?}");
}

// A file of a newer version is left alone, not misread.
#[test]
fn a_feature_that_is_not_known_is_refused_whichever_way_it_is_marked() {
    let (image, _) = with_two_snapshots();
    for (incompat, ro_compat) in [(1 << 9, 0), (0, 1 << 9), (1 << 9, 1 << 9), (0, 1), (1 << 31, 1 << 31)] {
        let mut other = image.clone();
        for at in SLOT_AT.iter().flatten().map(|at| *at as usize) {
            let copy = &mut other[at..at + SLOT_LEN];
            let known = le::u32_at(copy, sb::INCOMPAT);
            le::put_u32(copy, sb::INCOMPAT, known | incompat);
            le::put_u32(copy, sb::RO_COMPAT, ro_compat);
            let crc = crc32c::crc32c(&copy[sb::SLOT_LEN..]);
            le::put_u32(copy, sb::CRC, crc);
        }
        let refused = recover_image(&other, &mut Model::default());
        assert!(matches!(refused, Err(StoreError::Newer { .. })), "{incompat:#x}, {ro_compat:#x}: {refused:?}");
    }
}

#[test]
fn openings_are_counted_from_one_and_sync_times_from_the_last_reset() {
    let disk = Arc::new(SimDisk::new(1));
    let shared: Arc<dyn Disk> = Arc::clone(&disk) as _;
    let (mut store, report) = Store::open_on(shared, &tiny(), &mut Model::default()).unwrap();
    assert_eq!((report.incarnation, store.stats().incarnation), (1, 1));
    for zxid in 1..=5 {
        store.append(&[Record { zxid: Zxid(zxid), txn: &[1; 100] }]).unwrap();
    }
    let before = store.stats();
    assert!(before.fsync_count >= 5 && before.fsync_total_us >= before.fsync_max_us && before.fsync_max_us > 0);
    store.reset_sync_times();
    let reset = store.stats();
    assert_eq!((reset.fsync_count, reset.fsync_total_us, reset.fsync_max_us), (0, 0, 0));
    assert_eq!(reset.records, before.records, "not a time of syncs");
    store.append(&[Record { zxid: Zxid(6), txn: &[1; 100] }]).unwrap();
    assert_eq!(store.stats().fsync_count, 1);
    drop(store);
    let (_, store, report, _) = open(disk.image());
    assert_eq!((report.incarnation, store.stats().incarnation), (2, 2));
}

// No commit waits for a superblock update where there was time to make it before.
#[test]
fn the_next_extent_is_linked_before_the_log_needs_it() {
    let disk = Arc::new(SimDisk::new(1));
    let shared: Arc<dyn Disk> = Arc::clone(&disk) as _;
    let (mut store, _) = Store::open_on(shared, &tiny(), &mut Model::default()).unwrap();
    for zxid in 1..=60 {
        for _ in 0..5 {
            store.tick(Millis(zxid as u64)).unwrap();
        }
        store.append(&[Record { zxid: Zxid(zxid), txn: &[1; 700] }]).unwrap();
    }
    let stats = store.stats();
    assert!(store.log.lseq > 2, "across extents: {stats:?}");
    assert_eq!(stats.waited_for_extent, 0, "{stats:?}");
}

//
#[test]
fn who_asks_what_it_may_log_waits_for_a_snapshot_that_makes_room_and_nobody_else_is_told_to() {
    let disk = Arc::new(SimDisk::new(1));
    let shared: Arc<dyn Disk> = Arc::clone(&disk) as _;
    let (mut store, _) = Store::open_on(shared, &tiny(), &mut Model::default()).unwrap();
    let mut zxid = 0;
    while store.space().level < SpaceLevel::Reserve {
        zxid += 1;
        store.append(&[Record { zxid: Zxid(zxid), txn: &[1; 3000] }]).unwrap();
        store.tick(Millis(zxid as u64)).unwrap();
        assert!(zxid < 5000, "never short: {:?}", store.space());
    }
    assert!(store.wants_snapshot(), "one would make room");
    store.log_budget(0);
    assert_eq!(store.space().level, SpaceLevel::Slow, "{:?}", store.space());
    // With nothing in the log that a snapshot could take the place of there is nothing to wait for.
    let done = {
        store.snapshot_begin(store.last_zxid(), 4000).unwrap();
        store.snapshot_push(&[1; 3000]).unwrap();
        store.snapshot_finish().unwrap();
        (0..50).find_map(|i| store.tick(Millis(zxid as u64 + i)).unwrap()).expect("the snapshot ends")
    };
    assert!(done.outcome.is_ok(), "{done:?}");
    assert!(store.log_budget(0) > 0);
    assert_eq!(store.space().level, SpaceLevel::Ample, "{:?}", store.space());
    assert!(!store.wants_snapshot() && !store.budget().snapshot_makes_room());
}

#[test]
fn errors_say_what_was_tried_and_what_was_found() {
    let failed = StoreError::io("open the file")(std::io::Error::other("no"));
    assert!(matches!(&failed, StoreError::Io { what: "open the file", .. }), "{failed:?}");
    assert!(failed.to_string().contains("open the file"), "{failed}");
    let damage = StoreError::corrupt(4096, DamageCause::Generations { found: 7, newest: 5 });
    assert!(damage.to_string().contains("byte 4096: generation 7 beside generation 5;"), "{damage}");
    let mut image = with_two_snapshots().0;
    let mut sb = superblock(&image);
    sb.flags |= sb::FLAG_RESYNC;
    put_superblock(&mut image, &sb);
    let refused = recover_image(&image, &mut Model::default());
    assert!(matches!(&refused, Err(StoreError::Corrupt { cause: DamageCause::Marked, .. })), "{refused:?}");
}
