//! Snapshots that fail: when the next is taken, by the clock the store is told, and that a failed one leaves nothing behind.

use std::io::ErrorKind;
use std::sync::Arc;

use super::Model;
use super::sim_disk::{SimDisk, Trap};
use super::world::tiny;
use crate::ids::{Millis, Zxid};
use crate::store::superblock::Extent;
use crate::store::{Disk, Record, SnapshotFault, Store, StoreError, StoreOptions};

/// When everything begins: long after the start, so that nothing is due because the clock is at zero.
const BEGUN: u64 = 50_000;

struct Site {
    disk: Arc<SimDisk>,
    store: Store,
    model: Model,
}

impl Site {
    /// A store whose log has reached the window, so that a snapshot is wanted.
    fn new() -> Site {
        let disk = Arc::new(SimDisk::new(3));
        let shared: Arc<dyn Disk> = Arc::clone(&disk) as _;
        let (store, _) = Store::open_on(shared, &tiny(), &mut Model::default()).unwrap();
        let mut site = Site { disk, store, model: Model::default() };
        site.log_a_window();
        site
    }

    fn log_a_window(&mut self) {
        for _ in 0..400 {
            self.turn(BEGUN);
            if self.store.wants_snapshot() {
                return;
            }
            let zxid = Zxid(self.model.last + 1);
            let txn = vec![zxid.0 as u8; 700];
            self.store.append(&[Record { zxid, txn: &txn }]).unwrap();
            self.model.apply(zxid, &txn);
        }
        panic!("no snapshot is wanted: {:?}", self.store.stats());
    }

    fn turn(&mut self, now: u64) -> Option<Result<u64, StoreError>> {
        self.store.tick(Millis(now)).unwrap().map(|done| done.outcome)
    }

    /// Begins a snapshot and pushes all of it.
    fn push_all(&mut self) {
        let entries = self.model.entries();
        let size: usize = entries.iter().map(|entry| entry.len() + 4).sum();
        self.store.snapshot_begin(self.store.last_zxid(), size as u64).unwrap();
        for entry in entries {
            self.store.snapshot_push(&entry).unwrap();
        }
        self.store.snapshot_finish().unwrap();
    }

    /// Its end, in turns at the same moment.
    fn outcome(&mut self, now: u64) -> Result<u64, StoreError> {
        (0..50).find_map(|_| self.turn(now)).expect("the snapshot ends")
    }
}

/// How a snapshot may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// The disk refuses to write it.
    Unwritten,
    /// It cannot be read back.
    Unreadable,
    /// The caller cannot go on with it.
    GivenUp,
    /// It has no room from the start.
    NoRoom,
}

fn fail(site: &mut Site, failure: Failure) {
    match failure {
        Failure::Unwritten => {
            site.push_all();
            site.disk.set_trap(1, Trap::Error(ErrorKind::Other));
            let outcome = site.outcome(BEGUN);
            assert!(matches!(outcome, Err(StoreError::Io { what: "write a snapshot", .. })), "{outcome:?}");
        }
        Failure::Unreadable => {
            let free = site.store.extents.first_free().unwrap();
            let at = site.store.sb().extent_at(free);
            site.disk.fail_reads(at, at + 512);
            site.push_all();
            let outcome = site.outcome(BEGUN);
            let Err(StoreError::SnapshotUnreadable { offset, cause: SnapshotFault::Unreadable(_) }) = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(offset, at);
        }
        Failure::GivenUp => {
            site.push_all();
            site.store.snapshot_abort();
            assert!((0..50).all(|_| site.turn(BEGUN).is_none()), "nobody wants to hear of it");
        }
        Failure::NoRoom => {
            let refused = site.store.snapshot_begin(site.store.last_zxid(), 1 << 40);
            assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
        }
    }
}

// F-08, F-09: at once would be a loop of failures, and after so many turns is no time at all.
#[test]
fn a_snapshot_that_failed_is_wanted_again_after_two_seconds_however_many_turns_there_are() {
    for failure in [Failure::Unwritten, Failure::Unreadable, Failure::GivenUp, Failure::NoRoom] {
        let mut site = Site::new();
        fail(&mut site, failure);
        assert!(!site.store.snapshot_running(), "{failure:?}");
        for turn in 0..20_000 {
            site.turn(BEGUN);
            assert!(!site.store.wants_snapshot(), "{failure:?}: again in turn {turn}");
        }
        site.turn(BEGUN + 1999);
        assert!(!site.store.wants_snapshot(), "{failure:?}: too early");
        site.turn(BEGUN + 2000);
        assert!(site.store.wants_snapshot(), "{failure:?}: never again");
        site.push_all();
        let outcome = site.outcome(BEGUN + 2000);
        assert!(outcome.is_ok(), "{failure:?}: {outcome:?}");
        let stats = site.store.stats();
        assert_eq!((stats.snapshots, stats.snapshots_failed), (1, u64::from(failure != Failure::NoRoom)));
        // What was acknowledged meanwhile is there, whatever happened to the snapshot.
        site.log_a_window();
        drop(site.store);
        let mut found = Model::default();
        Store::open_on(site.disk as Arc<dyn Disk>, &tiny(), &mut found).unwrap();
        assert!(found.same_state(&site.model), "{failure:?}");
    }
}

// S-43: else a disk with a bad moment fills the file for good.
#[test]
fn snapshots_that_failed_give_their_space_back() {
    let mut site = Site::new();
    let mut sizes = Vec::new();
    for round in 0..40 {
        if round % 2 == 0 {
            fail(&mut site, Failure::GivenUp);
        } else {
            site.push_all();
            // The chunks have been written, the check has not begun.
            site.turn(BEGUN);
            site.store.snapshot_abort();
        }
        (0..50).for_each(|_| drop(site.turn(BEGUN)));
        let free = site.store.sb().map.iter().filter(|extent| **extent == Extent::FREE).count();
        assert_eq!(site.store.space().free as usize, free, "round {round}: some are kept for nothing");
        sizes.push(site.store.stats().file_bytes);
    }
    assert_eq!(sizes[5..], [sizes[5]; 35], "the file has grown as far as it needs to");
}

// P8: chunks of a failed snapshot lie where those of the next one go; a number of their own keeps them apart.
#[test]
fn a_snapshot_never_has_the_number_of_one_that_failed_before_it() {
    let mut site = Site::new();
    for _ in 0..3 {
        fail(&mut site, Failure::GivenUp);
    }
    site.push_all();
    assert!(site.outcome(BEGUN).is_ok());
    let newest = |site: &Site| site.store.sb().snapshots.iter().flatten().map(|kept| kept.id).max();
    assert_eq!(newest(&site), Some(4));
    site.turn(BEGUN + 2000);
    site.log_a_window();
    site.push_all();
    assert!(site.outcome(BEGUN).is_ok());
    assert_eq!(newest(&site), Some(5));
}

// Members of an ensemble draw different numbers, so that they do not write their snapshots at the same time.
#[test]
fn a_snapshot_is_wanted_when_the_log_reaches_its_window_less_what_chance_takes_off() {
    let window = tiny().log_window;
    for jitter in [0, 1, 64, 128, 255] {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(3));
        let (mut store, _) = Store::open_on(disk, &tiny(), &mut Model::default()).unwrap();
        store.demand.jitter = jitter;
        let threshold = window - window / 8 * u64::from(jitter) / 256;
        let mut zxid = 0;
        loop {
            store.tick(Millis(1)).unwrap();
            let since = store.budget().log_since_snapshot();
            assert_eq!(store.wants_snapshot(), since >= threshold, "{since} bytes, chance {jitter}");
            if since > window {
                break;
            }
            zxid += 1;
            store.append(&[Record { zxid: Zxid(zxid), txn: &[1; 20] }]).unwrap();
        }
    }
}

// A snapshot for each few large values would take from the log what the disk can do.
#[test]
fn the_log_may_grow_to_twice_the_last_snapshot_while_it_holds_few_transactions() {
    for (step, times) in [(1, 2), (20_000, 1)] {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(3));
        let options = StoreOptions { extent_size: 64 << 10, max_size: 64 << 20, ..tiny() };
        let (mut store, _) = Store::open_on(disk, &options, &mut Model::default()).unwrap();
        store.append(&[Record { zxid: Zxid(1), txn: &[1; 20] }]).unwrap();
        let state = options.log_window as usize * 5 / 4;
        store.snapshot_begin(Zxid(1), state as u64 + 4).unwrap();
        store.snapshot_push(&vec![1; state]).unwrap();
        store.snapshot_finish().unwrap();
        let published =
            (0..50).find_map(|_| store.tick(Millis(1)).unwrap()).expect("the snapshot ends").outcome.unwrap();
        store.demand.jitter = 0;
        let mut zxid = 1;
        while !store.wants_snapshot() {
            store.tick(Millis(1)).unwrap();
            zxid += step;
            store.append(&[Record { zxid: Zxid(zxid), txn: &[1; 3000] }]).unwrap();
        }
        let since = store.budget().log_since_snapshot();
        let due = times * published;
        assert!(
            (due..due + options.extent_size).contains(&since),
            "{since} bytes, a snapshot of {published}, {step}: {:?}",
            store.space()
        );
    }
}
