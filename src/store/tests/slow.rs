//! A helper that is slower than the log: the log waits for it, the file stays within its bound, nobody is refused.

use std::collections::VecDeque;

use super::world::{World, tiny};
use crate::failpoint::{self, Failpoint};
use crate::ids::Millis;
use crate::store::{SpaceLevel, StoreError, StoreOptions};

/// What a run is about.
#[derive(Debug, Clone, Copy)]
struct LogLoad {
    seed: u64,
    /// Bytes per second that the helper writes.
    speed: u64,
    /// Bytes per millisecond that clients would log if nothing held them.
    logged: u64,
    /// Bytes of each value: the state has eight.
    value: usize,
    /// The values are a tenth of that half of the time.
    swings: bool,
    keep: u32,
    /// Extents the file may have.
    extents: u64,
    /// Bytes that the disk has room for.
    room: u64,
    turns: u64,
}

const FAST_LOG: LogLoad = LogLoad {
    seed: 1,
    speed: 2 << 20,
    logged: 12_000,
    value: 7000,
    swings: false,
    keep: 2,
    extents: 200,
    room: u64::MAX,
    turns: 2600,
};

#[derive(Debug, Default)]
struct Seen {
    snapshots: u64,
    logged: u64,
    held: u64,
    longest_hold: u64,
    most: u64,
    bound: u64,
}

fn run(load: LogLoad) -> Result<Seen, String> {
    let max_size = (128 << 10) + load.extents * (16 << 10);
    let options = StoreOptions { keep_snapshots: load.keep, max_size, snapshot_rate: 1 << 20, ..tiny() };
    let mut world = World::new(load.seed, options);
    world.disk.set_speed(load.speed);
    world.disk.set_room(load.room);
    world.open()?.map_err(|error| error.to_string())?;
    let mut entries: Option<VecDeque<Vec<u8>>> = None;
    let (mut seen, mut hold) = (Seen::default(), 0);
    for now in 1..=load.turns {
        world.disk.pass_us(1000);
        let size: usize = world.owed.entries().iter().map(|entry| entry.len() + 4).sum();
        let store = world.store.as_mut().ok_or("no store")?;
        store.set_state_size(size as u64);
        let waiting = entries.iter().flatten().map(|entry| entry.len() as u64).sum();
        let budget = store.log_budget(waiting);
        if store.space().level >= SpaceLevel::Reserve {
            return Err(format!("turn {now}: refused at {:?}, {:?}", store.space(), store.stats()));
        }
        hold = if budget == 0 { hold + 1 } else { 0 };
        seen.held += u64::from(budget == 0);
        seen.longest_hold = seen.longest_hold.max(hold);
        let value = if load.swings && now / 200 % 2 == 0 { load.value / 10 } else { load.value };
        let mut left = budget.min(load.logged);
        while left > 0 {
            let zxid = world.owed.last + 1;
            let key = world.rng.next() as u8;
            world.append_these(vec![(zxid, vec![key; value])]).map_err(|error| error.to_string())?;
            if world.full > 0 {
                return Err(format!("turn {now}: a write was refused: {:?}", world.store.as_ref().map(|s| s.space())));
            }
            seen.logged += value as u64;
            left = left.saturating_sub(value as u64);
        }
        let store = world.store.as_mut().ok_or("no store")?;
        match &mut entries {
            None if store.wants_snapshot() && !store.snapshot_running() => match world.owed.snapshot_in(store) {
                Ok(owed) => entries = Some(owed.into()),
                Err(StoreError::Full { .. }) => return Err(format!("turn {now}: no room for a snapshot")),
                Err(error) => return Err(error.to_string()),
            },
            Some(rest) => {
                while store.snapshot_backlog() < 16 << 10 {
                    let pushed = match rest.pop_front() {
                        Some(entry) => store.snapshot_push(&entry),
                        None => {
                            entries = None;
                            store.snapshot_finish().map_err(|error| error.to_string())?;
                            break;
                        }
                    };
                    pushed.map_err(|error| error.to_string())?;
                }
            }
            None => {}
        }
        if let Some(done) = store.tick(Millis(now)).map_err(|error| error.to_string())? {
            done.outcome.map_err(|error| format!("turn {now}: snapshot given up: {error}"))?;
            seen.snapshots += 1;
        }
        let stats = store.stats();
        (seen.most, seen.bound) = (seen.most.max(stats.file_bytes), stats.file_bound);
        if stats.file_bytes > stats.file_bound {
            return Err(format!("S-43: turn {now}: {} bytes, bound {}", stats.file_bytes, stats.file_bound));
        }
    }
    Ok(seen)
}

fn check(load: LogLoad) -> Result<Seen, String> {
    let seen = run(load)?;
    println!("{load:?}\n  {seen:?}");
    match seen {
        _ if seen.snapshots < 20 => Err(format!("{} snapshots", seen.snapshots)),
        // Within the time for a snapshot, its check and the zeroing of a few extents.
        _ if seen.longest_hold > 10 + (320 << 10) * 1000 / load.speed => {
            Err(format!("the log waited for {} turns", seen.longest_hold))
        }
        seen => Ok(seen),
    }
}

// S-43, R-22: at any rate of writes, with a helper of any slowness.
#[test]
fn the_log_waits_for_a_slow_snapshot_and_the_file_stays_within_its_bound() {
    for seed in 0..2 {
        for keep in [1, 2] {
            for (speed, logged) in [(2 << 20, 12_000), (1 << 20, 40_000), (8 << 20, 3_000), (64 << 20, 1_000)] {
                let load = LogLoad { seed, keep, speed, logged, ..FAST_LOG };
                let seen = check(load).unwrap_or_else(|wrong| panic!("{load:?}: {wrong}"));
                // Neither is anybody held where the snapshot is fast enough anyway.
                assert!(speed < 64 << 20 || seen.held < 30, "{load:?}: {seen:?}");
            }
        }
    }
}

#[test]
fn a_new_file_with_extents_of_any_size_takes_its_first_writes() {
    // The first extent begins small: what is left of it must never be too little to write and too much to grow.
    for extent_log2 in [14, 18, 22, 24, 25, 26] {
        let extent_size = 1 << extent_log2;
        let options = StoreOptions {
            extent_size,
            initial_size: 1 << 20,
            max_size: (128 << 10) + 16 * extent_size,
            log_window: 4 << 20,
            ..tiny()
        };
        let mut world = World::new(extent_log2, options);
        world.open().expect("no planted bug").expect("it is created");
        for turn in 1..=20 {
            world.disk.pass_us(1000);
            let store = world.store.as_mut().expect("it is open");
            store.set_state_size(1000);
            let waited = (1..=100).find(|wait| {
                store.tick(Millis(turn * 100 + wait)).expect("the disk works");
                store.log_budget(0) > 0
            });
            assert!(waited.is_some(), "extents of {extent_size} bytes, turn {turn}: {:?}", store.space());
            let zxid = world.owed.last + 1;
            world.append_these(vec![(zxid, vec![1; 5000])]).expect("it is appended");
        }
    }
}

/// Files that may not grow as far as the bound would have it: the log is held to what there is.
fn tight() -> Vec<LogLoad> {
    let load = |extents, value, swings| LogLoad { extents, value, swings, ..FAST_LOG };
    vec![
        load(8, 4000, true),
        load(12, 7000, true),
        load(9, 3000, true),
        load(14, 7000, false),
        LogLoad { keep: 1, ..load(13, 7000, true) },
        LogLoad { keep: 1, ..load(18, 7000, false) },
    ]
}

#[test]
fn a_file_that_is_small_for_its_state_takes_writes_for_ever() {
    for load in tight() {
        check(load).unwrap_or_else(|wrong| panic!("{load:?}: {wrong}"));
    }
}

#[test]
fn planted_bugs_of_the_pace_are_found() {
    for bug in [Failpoint::SlowSlowsNobody, Failpoint::ReserveByLastSnapshot] {
        let found = failpoint::with(bug, || {
            [FAST_LOG].into_iter().chain(tight()).find_map(|load| {
                std::panic::catch_unwind(|| check(load)).unwrap_or_else(|_| Err("an assertion".into())).err()
            })
        });
        println!("{bug:?}: {found:?}");
        assert!(found.is_some(), "{bug:?} was not found");
    }
}
