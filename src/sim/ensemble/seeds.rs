//! Many seeds, on as many cores as there are.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use super::SeedOutcome;

/// Fewer than this are not worth another thread, in which other tests may run.
const SEEDS_OF_A_THREAD: u64 = 50;

/// After so many a long run tells how far it is.
const TOLD_EVERY: u64 = 500;

/// Runs each seed and hands over what came of it, in the order of the seeds, until `taken` says that it is enough. One seed
/// runs on one thread, and depends on no other.
pub(super) fn run_all(
    seeds: Range<u64>,
    run: impl Fn(u64) -> SeedOutcome + Sync,
    mut taken: impl FnMut(u64, SeedOutcome) -> bool,
) {
    let many = seeds.end - seeds.start;
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let (next, is_enough) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let (outcomes, run_out) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..cores.min(many / SEEDS_OF_A_THREAD).max(1) {
            let (outcomes, next, is_enough, run) = (outcomes.clone(), &next, &is_enough, &run);
            scope.spawn(move || {
                while !is_enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || outcomes.send((seed, run(seed))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(outcomes);
        let (mut early, mut expected) = (BTreeMap::new(), seeds.start);
        for (seed, outcome) in run_out {
            early.insert(seed, outcome);
            while let Some(outcome) = early.remove(&expected) {
                if !is_enough.load(Ordering::Relaxed) && !taken(expected, outcome) {
                    is_enough.store(true, Ordering::Relaxed);
                }
                expected += 1;
                let done = expected - seeds.start;
                if many > TOLD_EVERY && done.is_multiple_of(TOLD_EVERY) {
                    eprintln!("{done} of {many} seeds have run");
                }
            }
        }
    });
}

#[test]
fn every_seed_is_handed_over_once_in_order_and_none_after_it_is_enough() {
    let outcome = |seed: u64| SeedOutcome {
        trace: seed,
        counts: BTreeMap::new(),
        seconds: 1.0,
        wrong: None,
        faults: Vec::new(),
        clients: 0,
    };
    for (seeds, enough) in [(7..8, 100), (1..1 + 4 * SEEDS_OF_A_THREAD, u64::MAX), (1..1 + 4 * SEEDS_OF_A_THREAD, 60)] {
        let mut taken = Vec::new();
        run_all(seeds.clone(), outcome, |seed, outcome| {
            assert_eq!(seed, outcome.trace);
            taken.push(seed);
            seed < enough
        });
        assert_eq!(taken, (seeds.start..seeds.end.min(enough.saturating_add(1))).collect::<Vec<_>>());
    }
}
