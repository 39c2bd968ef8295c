//! The log that the newest snapshot covers: not read by an opening, checked afterwards, given up when it is damaged.

use std::ops::Range;
use std::sync::Arc;

use super::Model;
use super::sim_disk::SimDisk;
use super::world::{World, tiny};
use crate::ids::{Millis, Zxid};
use crate::store::cover::first_needed;
use crate::store::log::EarlierExtents;
use crate::store::superblock::{Copies, Superblock};
use crate::store::{Disk, InspectLine, InspectVerdict, Store, StoreError, inspect_bytes};

/// A file with two snapshots and log before the newer one, the state in it, and the extents before the first that is needed.
struct Covered {
    image: Vec<u8>,
    owed: Model,
    sb: Superblock,
    needed: u64,
}

impl Covered {
    fn new(seed: u64) -> Covered {
        let mut world = World::new(seed, tiny());
        world.open().unwrap().unwrap();
        loop {
            world.step().unwrap().unwrap();
            let image = world.disk.image();
            let sb = Copies::read(&&image[..]).unwrap().newest().unwrap().clone();
            let newest = sb.snapshots.iter().flatten().map(|kept| kept.zxid).max();
            let needed = newest.map_or(0, |zxid| first_needed(&&image[..], &sb, zxid));
            if needed > sb.log_base_lseq + 1 && world.owed.last > newest.unwrap().0 {
                return Covered { image, owed: world.owed, sb, needed };
            }
        }
    }

    fn disk(&self) -> Arc<SimDisk> {
        Arc::new(SimDisk::of_image(self.image.clone(), 1))
    }

    /// The bytes of the extents that an opening passes over, but the page with the OPEN frame of each.
    fn passed_over(&self) -> Vec<Range<u64>> {
        let covered = self.sb.log_base_lseq..self.needed;
        let place = |lseq| {
            let index = self.sb.log_extent(lseq).unwrap();
            self.sb.extent_at(index)..self.sb.extent_end(index)
        };
        covered.map(place).collect()
    }

    fn open(&self, disk: &Arc<SimDisk>) -> Result<(Store, Model), StoreError> {
        let mut found = Model::default();
        let disk: Arc<dyn Disk> = Arc::clone(disk) as _;
        Store::open_on(disk, &tiny(), &mut found).map(|(store, _)| (store, found))
    }
}

/// Lets the helper come to the end of the check.
fn check(store: &mut Store) {
    for at in 0..1000 {
        if store.log.earlier != EarlierExtents::Unchecked {
            return;
        }
        store.tick(Millis(at)).unwrap();
    }
    panic!("the check does not end");
}

/// Takes a snapshot of `state`.
fn snapshot(store: &mut Store, state: &Model) {
    store.snapshot_begin(store.last_zxid(), state.size()).unwrap();
    for entry in state.entries() {
        store.snapshot_push(&entry).unwrap();
    }
    store.snapshot_finish().unwrap();
    store.snapshot_wait().unwrap().outcome.unwrap();
}

fn zxids(store: &mut Store, after: Zxid) -> Option<Vec<i64>> {
    let mut cursor = store.read_open(after).unwrap()?;
    let mut found = Vec::new();
    loop {
        let some = store.read(&mut cursor, 64 << 10).unwrap();
        if some.is_empty() {
            store.read_close(cursor);
            return Some(found);
        }
        found.extend(some.iter().map(|(zxid, _)| zxid.0));
    }
}

#[test]
fn an_opening_reads_nothing_of_the_log_that_the_newest_snapshot_covers() {
    for seed in 0..6 {
        let file = Covered::new(seed);
        let disk = file.disk();
        for place in file.passed_over() {
            disk.fail_reads(place.start, place.end);
        }
        let (store, found) = file.open(&disk).unwrap();
        assert!(found.same_state(&file.owed), "seed {seed}");
        assert_eq!(store.log.earlier, EarlierExtents::Unchecked);
        assert_eq!(store.log.extents[0].lseq, file.needed);
    }
}

#[test]
fn log_that_was_passed_over_can_be_read_to_others_as_soon_as_it_was_checked() {
    for seed in 0..6 {
        let file = Covered::new(seed);
        let (mut store, _) = file.open(&file.disk()).unwrap();
        let known = store.log.extents[0].base_zxid;
        let after_known: Vec<i64> = (known.0 + 1..=file.owed.last).collect();
        assert_eq!(zxids(&mut store, known), Some(after_known), "seed {seed}");
        assert_eq!(zxids(&mut store, Zxid(known.0 - 1)), None, "seed {seed}: unchecked log was read");
        check(&mut store);
        assert_eq!(store.log.earlier, EarlierExtents::None);
        let first = store.log.extents[0];
        assert_eq!((first.lseq, first.first_fseq), (file.sb.log_base_lseq, file.sb.base_fseq), "seed {seed}");
        let all: Vec<i64> = (first.base_zxid.0 + 1..=file.owed.last).collect();
        assert_eq!(zxids(&mut store, first.base_zxid), Some(all), "seed {seed}");
        let lseqs: Vec<u64> = store.log.extents.iter().map(|extent| extent.lseq).collect();
        assert!(lseqs.is_sorted_by(|a, b| a + 1 == *b), "seed {seed}: {lseqs:?}");
    }
}

// S-41, S-43
#[test]
fn damage_in_covered_log_is_told_and_given_up_with_the_next_snapshot() {
    for seed in 0..6 {
        let file = Covered::new(seed);
        let disk = file.disk();
        let place = file.passed_over()[1].clone();
        disk.fail_reads(place.start, place.end);
        let (mut store, found) = file.open(&disk).unwrap();
        check(&mut store);
        assert_eq!(store.log.earlier, EarlierExtents::Damaged, "seed {seed}");
        assert!(store.wants_snapshot(), "seed {seed}");
        let known = store.log.extents[0].base_zxid;
        assert_eq!(zxids(&mut store, Zxid(known.0 - 1)), None);
        snapshot(&mut store, &found);
        assert_eq!(store.log.earlier, EarlierExtents::None, "seed {seed}");
        assert_eq!(store.sb().log_base_lseq, store.log.extents[0].lseq);
        drop(store);
        let mut again = Model::default();
        let disk: Arc<dyn Disk> = disk;
        let (mut store, _) = Store::open_on(disk, &tiny(), &mut again).unwrap();
        assert!(again.same_state(&file.owed), "seed {seed}");
        check(&mut store);
        assert_eq!(store.log.earlier, EarlierExtents::None, "seed {seed}");
    }
}

#[test]
fn a_snapshot_that_ends_before_the_check_releases_what_was_not_checked() {
    for seed in 0..6 {
        let file = Covered::new(seed);
        let disk = file.disk();
        let (mut store, found) = file.open(&disk).unwrap();
        // As if the check took for ever.
        store.extents.helper.stop();
        snapshot(&mut store, &found);
        assert_eq!(store.log.earlier, EarlierExtents::None, "seed {seed}");
        assert_eq!(store.sb().log_base_lseq, store.log.extents[0].lseq);
        let image = disk.image();
        let verdict = inspect_bytes(&&image[..], true, &mut |_| ()).unwrap();
        assert!(matches!(verdict, InspectVerdict::Good { .. }), "seed {seed}: {verdict:?}");
    }
}

#[test]
fn a_truncation_below_what_was_checked_is_refused_and_changes_nothing() {
    for seed in 0..6 {
        let file = Covered::new(seed);
        let (mut store, _) = file.open(&file.disk()).unwrap();
        let newest = store.sb().snapshots.iter().flatten().map(|kept| kept.zxid).max().unwrap();
        assert_eq!(store.truncate(Zxid(newest.0 - 1)), Ok(false), "seed {seed}");
        assert_eq!(store.last_zxid().0, file.owed.last);
        assert_eq!(store.truncate(newest), Ok(true), "seed {seed}");
        let mut state = Model::default();
        assert_eq!(store.reload(&mut state), Ok(Some(newest)));
        assert_eq!(state.last, newest.0);
    }
}

#[test]
fn inspect_names_damage_in_covered_log_and_calls_the_file_good() {
    let file = Covered::new(3);
    let mut image = file.image.clone();
    let place = file.passed_over()[0].clone();
    image[place.start as usize + 100] ^= 1;
    let mut named = Vec::new();
    let verdict = inspect_bytes(&&image[..], false, &mut |line| {
        if let InspectLine::CoveredDamage { offset, .. } = line {
            named.push(offset);
        }
    });
    assert!(!matches!(verdict, Ok(InspectVerdict::Damaged { .. })), "{verdict:?}");
    assert_eq!(named, [place.start]);
}
