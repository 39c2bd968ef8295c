//! How large the file may get, and how much room it says there is: the figures of docs/FORMAT.md.

use std::sync::Arc;

use super::sim_disk::SimDisk;
use super::world::tiny;
use super::{fill, open};
use crate::ids::{Millis, Zxid};
use crate::store::superblock::ExtentState;
use crate::store::{Record, SpaceLevel, Store, StoreOptions};

const E: u64 = 16 << 10;

/// Whole extents.
fn whole(bytes: u64) -> u64 {
    bytes.div_ceil(E) * E
}

fn options(keep_snapshots: u32) -> StoreOptions {
    StoreOptions { keep_snapshots, max_size: 64 << 20, ..tiny() }
}

/// What the document says of a state whose snapshot took so many bytes at most.
fn documented(options: &StoreOptions, state: u64) -> u64 {
    let window = options.log_window.max(3 * state);
    let follower = whole(options.follower_window);
    match options.keep_snapshots {
        2 => (128 << 10) + 3 * whole(state) + whole(3 * window) + follower + 8 * E,
        _ => (128 << 10) + 2 * whole(state) + whole(2 * window) + follower + 6 * E,
    }
}

#[test]
fn the_bound_of_the_file_is_that_of_the_document() {
    // S-43: states of whole extents and a half, so that the headers of chunks take no further one.
    for keep in [1, 2] {
        let options = options(keep);
        let mut store = open(&Arc::new(SimDisk::new(1)), &options);
        for state in [E / 2, 3 * E + E / 2, 20 * E + E / 2] {
            store.set_state_size(state);
            assert_eq!(store.stats().file_bound, documented(&options, state), "{keep} kept, a state of {state}");
        }
        // A file does not shrink when its state does.
        let largest = store.stats().file_bound;
        store.set_state_size(E);
        assert_eq!(store.stats().file_bound, largest);
    }
}

#[test]
fn the_bound_is_never_below_the_first_size_nor_below_what_the_file_had_when_it_was_opened() {
    let large = StoreOptions { initial_size: 100 * E, ..options(2) };
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &large);
    assert_eq!(store.stats().file_bound, (128 << 10) + 100 * E);
    for now in 0..500 {
        store.tick(Millis(now)).unwrap();
    }
    fill(&mut store, 1..=200, 700);
    for now in 500..1000 {
        store.tick(Millis(now)).unwrap();
    }
    assert_eq!(store.stats().file_bytes, (128 << 10) + 100 * E, "it grows to its first size");
    drop(store);
    let store = open(&disk, &options(2));
    assert_eq!(store.stats().file_bound, (128 << 10) + 100 * E);
}

/// Takes a snapshot of a state of about so many bytes.
fn snapshot(store: &mut Store, bytes: usize) {
    store.snapshot_begin(store.last_zxid(), bytes as u64 + 2000).unwrap();
    for number in 0..bytes / 1000 {
        store.snapshot_push(&[number as u8; 996]).unwrap();
    }
    store.snapshot_finish().unwrap();
    store.snapshot_wait().unwrap().outcome.unwrap();
}

#[test]
fn a_snapshot_is_due_after_a_window_of_log_and_after_three_states_where_transactions_are_large() {
    // S-43: the window is 40 KiB, or the state, or three times the state.
    for (state, expected) in [(5_000, 40 << 10), (100_000, 300_000)] {
        let mut store = open(&Arc::new(SimDisk::new(1)), &options(2));
        fill(&mut store, 1..=1, 100);
        snapshot(&mut store, state);
        assert!(!store.wants_snapshot());
        store.demand.jitter = 0;
        let (mut zxid, begun) = (1, store.log.position(store.sb()));
        while !store.wants_snapshot() {
            zxid += 1;
            fill(&mut store, zxid..=zxid, 700);
        }
        let log = store.log.position(store.sb()) - begun;
        assert!((expected..expected + expected / 10 + 4000).contains(&log), "{log} bytes for a state of {state}");
        // At most an eighth earlier, so that members of an ensemble do not all write at once.
        store.demand.jitter = 255;
        snapshot(&mut store, state);
        let begun = store.log.position(store.sb());
        while !store.wants_snapshot() {
            zxid += 1;
            fill(&mut store, zxid..=zxid, 700);
        }
        let earlier = store.log.position(store.sb()) - begun;
        let expected = expected - expected / 8;
        assert!((expected..expected + expected / 10 + 4000).contains(&earlier), "{earlier} of a state of {state}");
    }
}

#[test]
fn small_transactions_wait_for_one_state_and_not_for_three() {
    // A restart would have all of them to replay.
    let mut store = open(&Arc::new(SimDisk::new(1)), &options(2));
    fill(&mut store, 1..=1, 100);
    snapshot(&mut store, 100_000);
    store.demand.jitter = 0;
    let window = |store: &Store| store.budget().log_window();
    let large = window(&store);
    // So many transactions since then, as far as the log's end tells.
    store.log.last_zxid = Zxid(1 + 99_999);
    assert_eq!(window(&store), large);
    store.log.last_zxid = Zxid(1 + 100_000);
    assert_eq!(3 * window(&store), large);
    store.log.last_zxid = Zxid::new(1, 5);
    assert_eq!(3 * window(&store), large, "of another epoch it is not known");
}

#[test]
fn room_is_told_from_ample_to_none_and_what_is_left_is_what_can_still_be_written() {
    // without snapshots there is no room again.
    let options = StoreOptions { max_size: (128 << 10) + 16 * E, ..tiny() };
    let mut store = open(&Arc::new(SimDisk::new(1)), &options);
    store.set_state_size(3000);
    let mut seen = Vec::new();
    let mut zxid = 0;
    loop {
        for now in 0..20 {
            store.tick(Millis(u64::try_from(zxid).unwrap() * 20 + now)).unwrap();
        }
        let space = store.space();
        if seen.last() != Some(&space.level) {
            seen.push(space.level);
        }
        assert_eq!(space.most, 16);
        zxid += 1;
        let txn = vec![1; 2000];
        if store.append(&[Record { zxid: Zxid(zxid), txn: &txn }]).is_err() {
            break;
        }
        assert!(zxid < 1000, "there is always room");
    }
    assert_eq!(seen, [SpaceLevel::Ample, SpaceLevel::Low, SpaceLevel::Reserve, SpaceLevel::Exhausted]);
    // L-12: what was kept for a snapshot is there for it, and there is room again.
    store.snapshot_begin(store.last_zxid(), 3000).unwrap();
    store.snapshot_push(&[7; 996]).unwrap();
    store.snapshot_finish().unwrap();
    store.snapshot_wait().unwrap().outcome.unwrap();
    let now = u64::try_from(zxid).unwrap() * 20 + 40;
    (now..now + 20).for_each(|now| drop(store.tick(Millis(now)).unwrap()));
    assert_eq!(store.space().level, SpaceLevel::Ample);
}

#[test]
fn room_that_was_reserved_is_there_and_what_is_linked_is_told() {
    // what a leader has sent to others has its place in its own log.
    let options = StoreOptions { max_size: (128 << 10) + 12 * E, ..tiny() };
    let mut store = open(&Arc::new(SimDisk::new(1)), &options);
    fill(&mut store, 1..=10, 2000);
    assert!(store.has_room_linked(&[100]));
    assert!(!store.has_room_linked(&[5000; 20]));
    let mut zxid = 10;
    while store.reserve(&[5000; 5]).is_ok() {
        assert!(store.has_room_linked(&[5000; 5]));
        let waited = store.stats().waited_for_extent;
        fill(&mut store, zxid + 1..=zxid + 5, 5000);
        assert_eq!(store.stats().waited_for_extent, waited, "no append of what was reserved links anything");
        zxid += 5;
        assert!(zxid < 1000, "there is always room");
    }
    assert!(zxid > 20, "there was never room");
}

#[test]
fn log_since_the_snapshot_is_the_same_after_a_restart() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &options(2));
    fill(&mut store, 1..=60, 900);
    snapshot(&mut store, 3000);
    fill(&mut store, 61..=100, 900);
    let before = store.stats().log_since_snapshot;
    assert!((36_000..50_000).contains(&before), "{before}");
    drop(store);
    let after = open(&disk, &options(2)).stats().log_since_snapshot;
    // It counts from the beginning of an extent then.
    assert!(after.abs_diff(before) < E, "{after} after {before}");
}

#[test]
fn a_snapshot_that_became_larger_than_was_said_counts_as_it_is_for_the_bound() {
    // S-43
    let mut store = open(&Arc::new(SimDisk::new(1)), &options(2));
    let mut zxid = 0;
    for (said, pieces) in [(1000, 100), (1000, 1), (1000, 1)] {
        zxid += 1;
        fill(&mut store, zxid..=zxid, 100);
        store.snapshot_begin(store.last_zxid(), said).unwrap();
        (0..pieces).for_each(|_| store.snapshot_push(&[7; 996]).unwrap());
        store.snapshot_finish().unwrap();
        store.snapshot_wait().unwrap().outcome.unwrap();
    }
    // A file does not shrink when its snapshots do.
    assert_eq!(store.stats().file_bound, documented(&options(2), 100_000));
}

#[test]
fn a_device_that_fails_everywhere_takes_an_eighth_of_the_file_at_most_and_nothing_that_is_used() {
    // F-07
    let mut store = open(&Arc::new(SimDisk::new(1)), &StoreOptions { initial_size: 32 * E, ..options(2) });
    (0..300).for_each(|now| drop(store.tick(Millis(now)).unwrap()));
    let count = store.sb().map.len();
    assert!(count >= 32, "{count}");
    for index in 0..count as u32 {
        let (at, log) = (store.sb().extent_at(index), store.log.end());
        store.extents.mark_bad(at, log).unwrap();
    }
    let of = |state| store.sb().map.iter().filter(|extent| extent.state == state).count();
    assert_eq!(of(ExtentState::Bad), count / 8);
    assert!(of(ExtentState::Log) > 0);
}

#[test]
fn a_file_that_could_not_grow_tries_again_after_a_second_and_grows_by_no_more_than_it_says() {
    // F-09, L-03
    let disk = Arc::new(SimDisk::new(1));
    let options = StoreOptions { initial_size: 32 * E, ..options(2) };
    let mut store = open(&disk, &options);
    let born = disk.image().len() as u64;
    disk.set_room(born);
    store.tick(Millis(100)).unwrap();
    store.tick(Millis(101)).unwrap();
    assert!(store.space().disk_full, "{:?}", store.space());
    assert_eq!(store.poll_timeout(Millis(101)), Some(1000), "it does not turn round for nothing");
    disk.set_room(u64::MAX);
    for now in [102, 600, 1100] {
        store.tick(Millis(now)).unwrap();
        store.tick(Millis(now)).unwrap();
        assert_eq!(disk.image().len() as u64, born, "again after {now}");
    }
    for now in 1101..1200 {
        store.tick(Millis(now)).unwrap();
        assert!(disk.image().len() as u64 <= store.sb().file_len() + 32 * E);
    }
    assert!(!store.space().disk_full);
    assert_eq!(disk.image().len() as u64, (128 << 10) + 32 * E);
    assert_eq!(store.sb().file_len(), (128 << 10) + 32 * E);
}

#[test]
fn what_is_asked_for_by_nobody_is_what_the_documents_say() {
    let default = StoreOptions::default();
    assert_eq!((default.extent_size, default.initial_size, default.max_size), (4 << 20, 1 << 20, 6 << 30));
    assert_eq!((default.log_window, default.follower_window), (64 << 20, 16 << 20));
    assert_eq!((default.keep_snapshots, default.snapshot_rate, default.mark_after_ms), (2, 64 << 20, 50));
    assert_eq!(default.max_record, default.extent_size / 2);
}
