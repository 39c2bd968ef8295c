//! Calls that fail: every k-th one, once or for ever, with an error or for want of space (F-08, F-09, S-42).

use std::io::ErrorKind;
use std::sync::Arc;

use super::Model;
use super::sim_disk::{SimDisk, Trap};
use super::world::{World, tiny};
use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, Zxid};
use crate::store::{Disk, Record, SpaceLevel, Store, StoreError, StoreOptions, SyncMode};

/// One run with a fault at the k-th call.
fn fail_at(seed: u64, k: u64, trap: Trap) -> Result<(), String> {
    let mut world = World::new(seed, tiny());
    world.disk.set_trap(k, trap);
    match world.open()? {
        Ok(_) => {}
        Err(StoreError::Corrupt { cause, .. }) => return Err(format!("an error taken for damage: {cause}")),
        Err(_) => {
            world.restart_disk();
            return world.come_back();
        }
    }
    for _ in 0..120 {
        if world.step()?.is_err() {
            break;
        }
    }
    if let Some(store) = &mut world.store {
        let poisoned = store.stats().poisoned;
        if poisoned.is_some() {
            // Not another byte (S-42, P13).
            let calls = world.disk.calls();
            let refused = store.append(&[Record { zxid: Zxid(i64::MAX), txn: b"x" }]).is_err()
                && store.tick(Millis(u64::MAX)).is_err()
                && store.snapshot_begin(Zxid::ZERO, 1).is_err()
                && store.set_epochs(100, 100).is_err();
            if !refused || calls != world.disk.calls() {
                return Err("S-42: a failed store wrote on".to_owned());
            }
        }
    }
    world.store = None;
    world.restart_disk();
    world.come_back()
}

fn all_faults(most: u64) -> Result<(), String> {
    for k in 1..=most {
        for trap in [
            Trap::Error(ErrorKind::Other),
            Trap::Error(ErrorKind::StorageFull),
            Trap::ErrorForEver(ErrorKind::Other),
            Trap::ErrorForEver(ErrorKind::StorageFull),
        ] {
            fail_at(k % 7, k, trap).map_err(|wrong| format!("call {k}, {trap:?}: {wrong}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_failure_of_any_call_loses_nothing_acknowledged() {
    all_faults(150).unwrap();
}

#[test]
fn a_store_that_writes_on_after_a_failed_sync_is_found_out() {
    let found = failpoint::with(Failpoint::NoPoison, || all_faults(150));
    println!("{found:?}");
    assert!(found.is_err());
}

#[test]
fn recovery_survives_a_failure_of_each_of_its_calls() {
    for k in 1..12 {
        for trap in [Trap::Error(ErrorKind::Other), Trap::ErrorForEver(ErrorKind::StorageFull)] {
            let mut world = World::new(k, tiny());
            world.open().unwrap().unwrap();
            for _ in 0..100 {
                world.step().unwrap().unwrap();
            }
            world.store = None;
            world.restart_disk();
            world.disk.set_trap(k, trap);
            if let Err(error) = world.open().unwrap() {
                assert!(!matches!(error, StoreError::Corrupt { .. }), "call {k}: {error}");
            }
            world.store = None;
            world.restart_disk();
            world.come_back().unwrap();
        }
    }
}

fn open(disk: &Arc<SimDisk>) -> Result<Store, StoreError> {
    let disk: Arc<dyn Disk> = Arc::clone(disk) as _;
    Store::open_on(disk, &tiny(), &mut Model::default()).map(|(store, _)| store)
}

// F-09, R-22: a full disk is an answer, and goes away when space returns.
#[test]
fn a_full_disk_refuses_cleanly_and_works_again_when_space_returns() {
    // SC-53
    let disk = Arc::new(SimDisk::new(1));
    disk.set_room(1000);
    assert!(matches!(open(&disk), Err(StoreError::Full { .. })));
    disk.set_room(128 * 1024 + 6 * 16 * 1024);
    let mut store = open(&disk).unwrap();
    let txn = [7u8; 3000];
    let mut zxid = 0;
    let mut levels = Vec::new();
    let refused = loop {
        match store.append(&[Record { zxid: Zxid(zxid + 1), txn: &txn }]) {
            Ok(()) => zxid += 1,
            Err(error) => break error,
        }
        store.tick(Millis(zxid as u64)).unwrap();
        levels.push(store.space().level);
        assert!(zxid < 1000);
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert!(levels.contains(&SpaceLevel::Reserve) && levels.last() == Some(&SpaceLevel::Exhausted), "{levels:?}");
    assert!(levels.is_sorted() || levels[0] == SpaceLevel::Ample, "{levels:?}");
    // Again and again: refused, not failed, and nothing is written.
    for _ in 0..3 {
        let before = disk.image();
        assert!(matches!(store.append(&[Record { zxid: Zxid(zxid + 1), txn: &txn }]), Err(StoreError::Full { .. })));
        assert!(before == disk.image());
    }
    assert_eq!(store.stats().poisoned, None);
    disk.set_room(u64::MAX);
    store.append(&[Record { zxid: Zxid(zxid + 1), txn: &txn }]).unwrap();
    drop(store);
    let store = open(&disk).unwrap();
    assert_eq!(store.last_zxid(), Zxid(zxid + 1));
}

// F-09: a snapshot makes room in a file that has reached its size.
#[test]
fn a_full_file_is_emptied_by_a_snapshot() {
    let mut world = World::new(3, tiny());
    world.open().unwrap().unwrap();
    let mut rounds = 0;
    while world.store.as_ref().unwrap().space().level < SpaceLevel::Reserve {
        world.append().unwrap();
        world.store.as_mut().unwrap().tick(Millis(rounds)).unwrap();
        rounds += 1;
        assert!(rounds < 5000);
    }
    let store = world.store.as_mut().unwrap();
    assert!(store.wants_snapshot());
    store.snapshot_begin(store.last_zxid(), 9000).unwrap();
    for entry in world.owed.entries() {
        store.snapshot_push(&entry).unwrap();
    }
    store.snapshot_finish().unwrap();
    let done = (0..50).find_map(|i| store.tick(Millis(rounds + i)).unwrap()).expect("the snapshot ends");
    assert!(done.outcome.is_ok(), "{done:?}");
    assert_eq!(store.space().level, SpaceLevel::Ample, "{:?}", store.space());
}

#[test]
fn a_record_past_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk).unwrap();
    let limit = tiny().max_record as usize;
    let large = vec![1u8; limit + 1];
    let refused = store.append(&[Record { zxid: Zxid(1), txn: &large }]).unwrap_err();
    assert_eq!(refused, StoreError::TooLarge { size: limit as u64 + 1, limit: limit as u64 });
    for zxid in 1..10 {
        store.append(&[Record { zxid: Zxid(zxid), txn: &large[..limit] }]).unwrap();
    }
    drop(store);
    let mut found = Model::default();
    let disk: Arc<dyn Disk> = disk;
    Store::open_on(disk, &tiny(), &mut found).unwrap();
    assert_eq!(found.seen.len(), 9);
}

// S-43, L-12; P12
#[test]
fn the_file_stays_below_its_bound_when_snapshots_are_taken_in_time() {
    for keep in [1, 2] {
        let options = crate::store::StoreOptions { keep_snapshots: keep, max_size: 1 << 30, ..tiny() };
        let mut world = World::new(u64::from(keep), options);
        world.open().unwrap().unwrap();
        let mut entries: Option<std::vec::IntoIter<Vec<u8>>> = None;
        for round in 0..12_000 {
            if round % 3 == 0 {
                world.append().unwrap();
            }
            let store = world.store.as_mut().unwrap();
            match &mut entries {
                None if store.wants_snapshot() => {
                    let list = world.owed.entries();
                    let bytes: usize = list.iter().map(|e| e.len() + 4).sum();
                    store.snapshot_begin(store.last_zxid(), bytes as u64).unwrap();
                    entries = Some(list.into_iter());
                }
                None => {}
                Some(rest) => match rest.next() {
                    Some(entry) => store.snapshot_push(&entry).unwrap(),
                    None => {
                        let _ = store.snapshot_finish();
                    }
                },
            }
            if let Some(done) = store.tick(Millis(round)).unwrap() {
                done.outcome.unwrap();
                entries = None;
            }
            let stats = store.stats();
            assert!(stats.file_bytes <= stats.file_bound, "keep {keep}, round {round}: {stats:?}");
            assert!(stats.snapshots > 50 || round < 11_999, "{stats:?}");
        }
    }
}

// What cannot be read back is not published, and its place is not used again.
#[test]
fn a_snapshot_on_a_bad_place_is_given_up_and_the_next_goes_elsewhere() {
    let mut world = World::new(11, tiny());
    world.open().unwrap().unwrap();
    for _ in 0..10 {
        world.append().unwrap();
        world.store.as_mut().unwrap().tick(Millis(1)).unwrap();
    }
    let owed = world.owed.clone();
    let store = world.store.as_mut().unwrap();
    let free = store.extents.first_free().unwrap();
    let at = store.sb().extent_at(free);
    world.disk.fail_reads(at, at + 512);
    let mut take = |now: u64| {
        store.snapshot_begin(store.last_zxid(), 4000).unwrap();
        for entry in owed.entries() {
            store.snapshot_push(&entry).unwrap();
        }
        store.snapshot_finish().unwrap();
        (0..20).find_map(|i| store.tick(Millis(now + i)).unwrap()).expect("the snapshot ends").outcome
    };
    let first = take(10_000);
    assert!(matches!(first, Err(StoreError::SnapshotUnreadable { offset, .. }) if offset == at), "{first:?}");
    let second = take(20_000);
    assert!(second.is_ok(), "{second:?}");
    assert_eq!(store.stats().snapshots_failed, 1);
    assert_eq!(store.sb().map[free as usize].state.name(), "BAD");
}

// R-22, SC-52: two snapshots and their log may fill the file; one of them then makes room for the next.
#[test]
fn a_file_filled_by_its_snapshots_still_takes_another() {
    let options = StoreOptions { max_size: (128 << 10) + 12 * (16 << 10), ..tiny() };
    let mut world = World::new(2, options.clone());
    world.open().unwrap().unwrap();
    let mut now = 0;
    for round in 0..60 {
        // Eight keys of up to 6 KiB: a snapshot takes three or four of twelve extents.
        let next = world.owed.last + 1;
        let _ = world.append_these((0..2).map(|i| (next + i, vec![(next + i) as u8; 6000])).collect());
        let store = world.store.as_mut().unwrap();
        now += 5000;
        store.tick(Millis(now)).unwrap();
        if store.wants_snapshot() || store.space().level >= SpaceLevel::Reserve {
            let entries = world.owed.entries();
            let bytes: usize = entries.iter().map(|e| e.len() + 4).sum();
            store.snapshot_begin(store.last_zxid(), bytes as u64).unwrap_or_else(|e| panic!("round {round}: {e}"));
            for entry in entries {
                store.snapshot_push(&entry).unwrap();
            }
            store.snapshot_finish().unwrap();
            let done = (0..20).find_map(|i| store.tick(Millis(now + i)).unwrap()).expect("the snapshot ends");
            assert!(done.outcome.is_ok(), "round {round}: {done:?}, {:?}", store.space());
            world.snapshots += 1;
        }
    }
    assert!(world.snapshots > 5, "{} snapshots, {} times full", world.snapshots, world.full);
    world.store = None;
    world.come_back().unwrap();
}

// Without syncs a killed process loses nothing, and nobody is told that a power cut would not.
#[test]
fn a_store_without_syncs_says_so_and_survives_a_kill() {
    let options = StoreOptions { sync: SyncMode::Never, ..tiny() };
    let mut world = World::new(6, options);
    world.open().unwrap().unwrap();
    for _ in 0..400 {
        world.step().unwrap().unwrap();
    }
    assert!(!world.store.as_ref().unwrap().stats().durable);
    world.store = None;
    world.disk = Arc::new(world.disk.after_kill(1));
    world.open().unwrap().unwrap();
}

#[test]
fn a_store_that_failed_while_it_took_over_a_state_still_tells_its_figures() {
    let mut failed = 0;
    for call in 1..40 {
        let disk = Arc::new(SimDisk::new(1));
        let mut store = super::open(&disk, &tiny());
        super::fill(&mut store, 1..=30, 900);
        disk.set_trap(call, Trap::ErrorForEver(ErrorKind::Other));
        let state = store.member_state().clone();
        let mut install = || {
            store.install_begin(Zxid(100), 5000, &state)?;
            store.snapshot_push(&[7; 996])?;
            store.snapshot_finish()?;
            store.snapshot_wait()?.outcome
        };
        failed += u32::from(install().is_err());
        let (stats, space) = (store.stats(), store.space());
        assert!(stats.log_window > 0 && space.extent_size == 16 << 10, "call {call}");
    }
    assert!(failed > 5, "{failed}");
}
