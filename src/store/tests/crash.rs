//! Power cuts at any call, torn and reordered sectors, crashes during recovery (F-01 to F-04, S-40 to S-43).

use super::world::{World, tiny};
use crate::failpoint::{self, Failpoint};
use crate::store::StoreOptions;

/// `ZOA_SEED` replays one seed, `ZOA_RUNS` sets how many are tried.
pub(super) fn seeds(count: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("ZOA_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("ZOA_RUNS").unwrap_or(count)).collect(),
    }
}

fn options(seed: u64) -> StoreOptions {
    StoreOptions {
        keep_snapshots: 1 + u32::from(!seed.is_multiple_of(3)),
        mark_after_ms: 30 * (seed % 2),
        large_data: if seed.is_multiple_of(4) { 512 } else { 0 },
        ..tiny()
    }
}

// S-40, S-41, S-42, S-08; P1, P2, P3, P5, P6, P7, P8, P9, P10
#[test]
fn no_crash_loses_or_revives_anything_or_looks_like_damage() {
    let (mut crashes, mut snapshots, mut appended, mut full) = (0, 0, 0, 0);
    for seed in seeds(90) {
        let mut world = World::new(seed, options(seed));
        if let Err(wrong) = world.run(25) {
            panic!("{wrong}\nreplay: ZOA_SEED={seed} cargo test --lib no_crash_loses");
        }
        crashes += world.crashes;
        snapshots += world.snapshots;
        appended += world.appended;
        full += world.full;
    }
    println!("{crashes} crashes, {appended} transactions, {snapshots} snapshots, {full} times full");
    assert!(std::env::var("ZOA_SEED").is_ok() || (crashes > 3000 && snapshots > 100 && appended > 10_000));
}

// P6, S-08, S-40, S-43
#[test]
fn no_crash_loses_anything_where_the_superblock_is_written_when_there_is_time() {
    let (mut crashes, mut snapshots, mut appended) = (0, 0, 0);
    for seed in seeds(40) {
        let mut world = World::new(seed, options(seed));
        world.is_apart = true;
        if let Err(wrong) = world.run(25) {
            panic!("{wrong}\nreplay: ZOA_SEED={seed} cargo test --lib no_crash_loses");
        }
        crashes += world.crashes;
        snapshots += world.snapshots;
        appended += world.appended;
    }
    println!("{crashes} crashes, {appended} transactions, {snapshots} snapshots");
    assert!(std::env::var("ZOA_SEED").is_ok() || (crashes > 1000 && snapshots > 20 && appended > 3000));
}

/// How many seeds it takes to find `bug`.
fn found_after(bug: Failpoint, most: u64) -> Option<u64> {
    failpoint::with(bug, || {
        (0..most).find(|seed| {
            let run = std::panic::catch_unwind(|| World::new(*seed, options(*seed)).run(25));
            !matches!(run, Ok(Ok(())))
        })
    })
}

// A checker is trusted after it has caught something.
#[test]
fn every_planted_bug_of_the_crash_kind_is_found() {
    let mut missed = Vec::new();
    for bug in [
        Failpoint::AckBeforeSync,
        Failpoint::MirrorsTogether,
        Failpoint::ChainUnchecked,
        Failpoint::BuildInPlace,
        Failpoint::PublishUnsynced,
        Failpoint::SyncedTooSoon,
        Failpoint::NameBeforeContent,
        Failpoint::LeftDataReleased,
    ] {
        let after = found_after(bug, 400);
        println!("{bug:?}: seed {after:?}");
        missed.extend(after.is_none().then_some(bug));
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
