//! Snapshots that leave data to the log: when they may, what is kept for them, what a restart takes from where.

use std::sync::Arc;

use super::sim_disk::SimDisk;
use super::world::tiny;
use super::{fill, open};
use crate::ids::Zxid;
use crate::store::layout::sb;
use crate::store::{Disk, Replay, Store, StoreError, StoreOptions};

const E: u64 = 16 << 10;

/// What a restart gave, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Given {
    snapshot: i64,
    entries: usize,
    values: Vec<i64>,
    filled: bool,
    txns: Vec<i64>,
    /// A transaction whose data is refused.
    refused: Option<i64>,
}

impl Replay for Given {
    fn snapshot_begin(&mut self, zxid: Zxid) {
        *self = Given { snapshot: zxid.0, refused: self.refused, ..Given::default() };
    }

    fn snapshot_entry(&mut self, _: &[u8]) -> Result<(), String> {
        self.entries += 1;
        Ok(())
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn snapshot_value(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        assert!(!self.filled && txn[0] == zxid.0 as u8);
        self.values.push(zxid.0);
        if self.refused == Some(zxid.0) { Err("other data".to_owned()) } else { Ok(()) }
    }

    fn snapshot_filled(&mut self) -> Result<(), String> {
        self.filled = true;
        Ok(())
    }

    fn txn(&mut self, zxid: Zxid, _: &[u8]) -> Result<(), String> {
        assert!(self.filled || self.snapshot == 0, "a transaction before the snapshot is whole");
        self.txns.push(zxid.0);
        Ok(())
    }
}

fn options() -> StoreOptions {
    StoreOptions { max_size: 64 << 20, log_window: 2 * E, follower_window: 0, ..tiny() }
}

/// Takes a snapshot of a state with `all` bytes of large data, of which it leaves `left` to the log where it may. The zxid after
/// which it may.
fn snapshot(store: &mut Store, all: u64, left: u64) -> Option<Zxid> {
    let after = store.snapshot_begin(store.last_zxid(), all + 1000).unwrap();
    let left = if after.is_some() { left } else { 0 };
    for _ in 0..(all - left) / 1000 {
        store.snapshot_push(&[7; 996]).unwrap();
    }
    store.snapshot_has_large(all, left);
    store.snapshot_finish().unwrap();
    store.snapshot_wait().unwrap().outcome.unwrap();
    after
}

fn reopened(disk: &Arc<SimDisk>, given: &mut Given) -> Result<Store, StoreError> {
    let image = SimDisk::of_image(disk.image(), 2);
    Store::open_on(Arc::new(image) as Arc<dyn Disk>, &options(), given).map(|(store, _)| store)
}

/// A state of 40,000 bytes, most of it large data, with a snapshot at 10 that has all of it.
fn large() -> (Arc<SimDisk>, Store) {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &options());
    fill(&mut store, 1..=10, 900);
    assert_eq!(snapshot(&mut store, 40_000, 40_000), None, "there is nothing to leave it to");
    fill(&mut store, 11..=20, 900);
    (disk, store)
}

// D-09, S-43
#[test]
fn a_snapshot_leaves_data_to_the_log_behind_the_one_before_and_a_restart_takes_it_from_there() {
    let (disk, mut store) = large();
    assert_eq!(snapshot(&mut store, 40_000, 30_000), Some(Zxid(10)));
    fill(&mut store, 21..=25, 900);
    let stats = store.stats();
    assert_eq!((stats.snapshot_zxid, stats.snapshot_log_after, stats.snapshots_leaving), (Zxid(20), Zxid(10), 1));
    let mut given = Given::default();
    let store = reopened(&disk, &mut given).unwrap();
    let (values, txns) = ((11..=20).collect(), (21..=25).collect());
    assert_eq!(given, Given { snapshot: 20, entries: 10, values, filled: true, txns, refused: None });
    assert_eq!(store.stats().snapshot_log_after, Zxid(10));
    assert_eq!(store.last_zxid(), Zxid(25));
}

#[test]
fn a_snapshot_that_left_nothing_needs_no_log() {
    let (disk, mut store) = large();
    assert_eq!(snapshot(&mut store, 40_000, 0), Some(Zxid(10)));
    assert_eq!(store.stats().snapshot_log_after, Zxid(20));
    let mut given = Given::default();
    reopened(&disk, &mut given).unwrap();
    assert_eq!((given.snapshot, given.values, given.filled), (20, vec![], true));
}

#[test]
fn little_state_and_small_data_are_left_to_no_log() {
    for (all, bytes) in [(10_000, 10_000), (10_000, 50_000)] {
        let mut store = open(&Arc::new(SimDisk::new(1)), &options());
        fill(&mut store, 1..=10, 900);
        store.snapshot_begin(store.last_zxid(), bytes + 1000).unwrap();
        (0..bytes / 1000).for_each(|_| store.snapshot_push(&[7; 996]).unwrap());
        store.snapshot_has_large(all, 0);
        store.snapshot_finish().unwrap();
        store.snapshot_wait().unwrap();
        fill(&mut store, 11..=20, 900);
        assert_eq!(store.snapshot_begin(store.last_zxid(), bytes + 1000).unwrap(), None, "{all} of {bytes}");
    }
}

#[test]
fn nothing_is_left_to_a_log_for_which_room_runs_low() {
    let disk = Arc::new(SimDisk::new(1));
    let options = StoreOptions { max_size: (128 << 10) + 14 * E, ..options() };
    let mut store = open(&disk, &options);
    fill(&mut store, 1..=10, 900);
    snapshot(&mut store, 40_000, 0);
    let mut zxid = 10;
    while !store.budget().is_low(store.budget().left()) {
        zxid += 1;
        fill(&mut store, zxid..=zxid, 900);
    }
    assert_eq!(store.snapshot_begin(store.last_zxid(), 40_000).unwrap(), None);
}

// D-09
#[test]
fn the_log_is_kept_as_long_as_a_kept_snapshot_leaves_data_to_it() {
    for keep_snapshots in [1, 2] {
        let disk = Arc::new(SimDisk::new(1));
        let mut store = open(&disk, &StoreOptions { keep_snapshots, ..options() });
        let mut first_kept = Vec::new();
        for round in 0..8 {
            fill(&mut store, 1 + round * 40..=40 + round * 40, 900);
            let after = snapshot(&mut store, 60_000, 30_000);
            assert_eq!(after, (round > 0).then_some(Zxid(round * 40)));
            first_kept.push(store.log.extents[0].base_zxid.0);
        }
        // What the older one leaves to the log goes back to the one before that. The first leaves nothing.
        let needed: Vec<i64> = (0..8).map(|round| ((round + 1 - i64::from(keep_snapshots)) * 40).max(40)).collect();
        for (first, needed) in first_kept.iter().zip(&needed) {
            let txns_of_an_extent = 17;
            assert!(first <= needed && *first >= needed - txns_of_an_extent, "{first_kept:?}, needed: {needed:?}");
        }
        let mut given = Given::default();
        reopened(&disk, &mut given).unwrap();
        assert_eq!((given.snapshot, given.values), (320, (281..=320).collect()));
    }
}

#[test]
fn giving_up_the_older_snapshot_releases_no_log_that_the_newer_one_needs() {
    let (disk, mut store) = large();
    fill(&mut store, 21..=80, 900);
    snapshot(&mut store, 40_000, 30_000);
    fill(&mut store, 81..=140, 900);
    snapshot(&mut store, 40_000, 30_000);
    let sheddable = store.budget().sheddable();
    let before = store.extents.count_free();
    store.shed_older_snapshot().unwrap();
    assert_eq!(store.extents.count_free() - before, sheddable);
    let mut given = Given::default();
    reopened(&disk, &mut given).unwrap();
    assert_eq!((given.snapshot, given.values), (140, (81..=140).collect()));
}

// F-12
#[test]
fn a_snapshot_whose_data_the_log_does_not_have_is_damaged_and_the_older_one_is_taken() {
    let (disk, mut store) = large();
    snapshot(&mut store, 40_000, 30_000);
    fill(&mut store, 21..=25, 900);
    let mut given = Given { refused: Some(15), ..Given::default() };
    let image = SimDisk::of_image(disk.image(), 2);
    let (_, report) = Store::open_on(Arc::new(image) as Arc<dyn Disk>, &options(), &mut given).unwrap();
    assert_eq!((given.snapshot, given.values, given.txns), (10, vec![], (11..=25).collect()));
    assert_eq!(report.snapshots_damaged.len(), 1);
    assert!(report.snapshots_damaged[0].to_string().contains("other data"), "{}", report.snapshots_damaged[0]);
}

// D-08
#[test]
fn what_a_truncation_made_void_is_no_data_of_a_snapshot() {
    let (disk, mut store) = large();
    assert!(store.truncate(Zxid(15)).unwrap());
    fill(&mut store, 31..=35, 900);
    assert_eq!(snapshot(&mut store, 40_000, 30_000), Some(Zxid(10)));
    fill(&mut store, 36..=37, 900);
    let mut given = Given::default();
    reopened(&disk, &mut given).unwrap();
    assert_eq!((given.snapshot, given.values), (35, vec![11, 12, 13, 14, 15, 31, 32, 33, 34, 35]));
    assert_eq!(given.txns, [36, 37]);
}

#[test]
fn a_version_that_does_not_know_of_it_refuses_the_file_as_long_as_data_is_left_to_the_log() {
    let feature = |disk: &SimDisk| {
        let image = disk.image();
        let copies = [0, 32 << 10].map(|at| &image[at..at + (16 << 10)]);
        let newest = copies.into_iter().max_by_key(|copy| crate::store::le::u64_at(copy, sb::GENERATION)).unwrap();
        crate::store::le::u32_at(newest, sb::INCOMPAT) & sb::INCOMPAT_LEFT_TO_LOG
    };
    let (disk, mut store) = large();
    assert_eq!(feature(&disk), 0);
    snapshot(&mut store, 40_000, 30_000);
    assert_eq!(feature(&disk), sb::INCOMPAT_LEFT_TO_LOG);
    for round in 0..2 {
        fill(&mut store, 21 + 10 * round..=30 + 10 * round, 900);
        snapshot(&mut store, 40_000, 0);
    }
    assert_eq!(feature(&disk), 0);
}

#[test]
fn a_state_that_was_received_leaves_nothing_to_the_log() {
    let (disk, mut store) = large();
    let state = store.member_state().clone();
    store.install_begin(Zxid(500), 40_000, &state).unwrap();
    (0..30).for_each(|_| store.snapshot_push(&[7; 996]).unwrap());
    store.snapshot_finish().unwrap();
    store.snapshot_wait().unwrap().outcome.unwrap();
    assert_eq!(store.stats().snapshot_log_after, Zxid(500));
    fill(&mut store, 501..=510, 900);
    assert_eq!(store.snapshot_begin(store.last_zxid(), 40_000).unwrap(), None, "how much of it is large is not known");
    let mut given = Given::default();
    reopened(&disk, &mut given).unwrap();
    assert_eq!((given.snapshot, given.values, given.txns), (500, vec![], (501..=510).collect()));
}

// S-43
#[test]
fn a_snapshot_is_due_after_a_window_of_the_whole_state_also_after_a_restart() {
    let (disk, mut store) = large();
    snapshot(&mut store, 40_000, 39_000);
    fill(&mut store, 21..=25, 900);
    snapshot(&mut store, 40_000, 39_000);
    assert_eq!(store.stats().log_window, 60_000, "one and a half states: few transactions are in it");
    let mut store = reopened(&disk, &mut Given::default()).unwrap();
    assert_eq!(store.stats().log_window, 2 * E, "how large the state is has not been told");
    store.set_state_size(40_000);
    assert_eq!(store.stats().log_window, 60_000);
}
