//! Seeds, planted bugs, and the same seed twice.
//!
//! What `cargo test` runs is the quick form; `.ci/simulate` runs more seeds, the whole search for the planted bugs, and the
//! comparison of builds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{RunSummary, World};
use crate::failpoint::{self, Failpoint};

const STEPS: u32 = 1500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn seeds(count: u64) -> Vec<u64> {
    match number("ZOA_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("ZOA_SIM_SEEDS").unwrap_or(count)).collect(),
    }
}

#[test]
fn no_seed_finds_a_broken_promise() {
    // G-01 to G-15, S-01 to S-41 as far as one server has them, F-01 to F-05, F-08 to F-16.
    let mut seen = RunSummary::default();
    let mut broken = Vec::new();
    for seed in seeds(100) {
        let mut world = World::new(seed);
        if let Err(why) = world.run(STEPS) {
            broken.push(format!("ZOA_SEED={seed} cargo test --lib sim\n{}", short(&why)));
            if broken.len() == 5 {
                break;
            }
        }
        seen.add(&world.seen);
    }
    println!("{seen:?}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    if number("ZOA_SEED").is_none() {
        // What never happened was not tested.
        let enough = seen.crashes > 200 && seen.stops > 100 && seen.replies > 10_000 && seen.events > 1000;
        assert!(enough && seen.snapshots > 50 && seen.rotten > 50, "{seen:?}");
    }
}

fn short(why: &str) -> String {
    why.chars().take(700).collect()
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1..=number("ZOA_SIM_TRACES").unwrap_or(20) {
        let trace = |_| World::new(seed).run(600);
        let first = trace(1);
        assert_eq!(first, trace(2), "seed {seed}");
        println!("trace {seed} {first:x?}");
    }
}

/// Each planted bug, the IDs of the promises that it breaks, and a seed that finds it fast.
const FAILPOINTS: &[(Failpoint, &[&str], u64)] = &[
    (Failpoint::AckBeforeSync, &["G-09"], 2),
    (Failpoint::LastRecordForgotten, &["G-09", "S-02"], 1),
    (Failpoint::PublishUnsynced, &["G-09", "S-40"], 7),
    (Failpoint::RetireByNewest, &["D-09"], 9),
    (Failpoint::BuildInPlace, &["G-09", "S-40"], 35),
    (Failpoint::EverythingTorn, &["S-41"], 2),
    (Failpoint::NeverSaysSynced, &["S-41"], 2),
    (Failpoint::EndUnchecked, &["S-41"], 4),
    (Failpoint::SyncedTooSoon, &["S-40"], 12),
    (Failpoint::NumbersReused, &["P3"], 12),
    (Failpoint::FileUnnamed, &["G-09"], 2),
    (Failpoint::ZxidReused, &["S-02"], 1),
    (Failpoint::SessionsForgotten, &["S-25"], 1),
    (Failpoint::HighestIdForgotten, &["S-27"], 653),
    (Failpoint::ExpireEarly, &["G-10"], 1),
    (Failpoint::ExpireByWall, &["G-10", "L-05"], 2),
    (Failpoint::ExpireNever, &["L-05"], 1),
    (Failpoint::TouchForgotten, &["G-10"], 1),
    (Failpoint::PasswordUnchecked, &["SC-40"], 1),
    (Failpoint::PasswordTooLate, &["SC-40"], 2),
    (Failpoint::FreshSessionInstead, &["G-10"], 1),
    (Failpoint::AheadServed, &["G-08"], 1),
    (Failpoint::EndedSessionActs, &["S-28"], 1),
    (Failpoint::EphemeralOutlives, &["G-11"], 1),
    (Failpoint::SequenceReused, &["G-12"], 1),
    (Failpoint::CversionStuck, &["S-26", "G-12"], 1),
    (Failpoint::PzxidStale, &["S-26"], 1),
    (Failpoint::MzxidKept, &["S-26"], 1),
    (Failpoint::AclKept, &["S-21", "S-36", "SC-70"], 2),
    (Failpoint::MultiKeepsCounters, &["G-12", "G-13", "S-26", "S-20"], 2),
    (Failpoint::MultiHalfApplied, &["S-21", "S-33", "G-03"], 2),
    (Failpoint::QuotaIgnored, &["R-21"], 14),
    (Failpoint::QuotaUnbooked, &["R-21", "S-21"], 1),
    (Failpoint::AclUncheckedSet, &["SC-70"], 4),
    (Failpoint::AclUncheckedCheck, &["SC-70"], 56),
    (Failpoint::AclWrongBit, &["SC-70"], 37),
    (Failpoint::ReapEarly, &["TTL"], 1),
    (Failpoint::ReapNever, &["L-12"], 1),
    (Failpoint::ReadAhead, &["G-03"], 1),
    (Failpoint::ReadsOvertake, &["G-02"], 1),
    (Failpoint::SyncEarly, &["G-04"], 1),
    (Failpoint::SyncForgotten, &["L-02"], 1),
    (Failpoint::AclUncheckedChildren, &["S-36"], 2),
    (Failpoint::SecretsShown, &["SC-68"], 7),
    (Failpoint::ReplyBeforeEvents, &["G-05"], 1),
    (Failpoint::EventSkipped, &["S-33"], 1),
    (Failpoint::EventDoubled, &["S-33"], 1),
    (Failpoint::EventKindWrong, &["S-33"], 1),
    (Failpoint::EventUnchecked, &["S-33"], 2),
    (Failpoint::DeletionUnheard, &["S-33"], 1),
    (Failpoint::OneShotStays, &["S-33"], 1),
    (Failpoint::RecursiveForgotten, &["S-33"], 1),
    (Failpoint::AwaitForgotten, &["S-33", "SC-60"], 2),
    (Failpoint::CatchUpAgain, &["G-07"], 1),
    (Failpoint::CatchUpByData, &["G-07"], 5),
    (Failpoint::CatchUpUnchecked, &["G-07"], 5),
];

/// What a run with the bug complains of. A panic inside the server is no complaint of a checker.
fn complaint(failpoint: Failpoint, seed: u64) -> Option<String> {
    let run = || failpoint::with(failpoint, || World::new(seed).run(STEPS));
    catch_unwind(AssertUnwindSafe(run)).ok()?.err()
}

#[test]
fn every_planted_bug_is_found_by_the_checker_that_ought_to() {
    // A checker is trusted only after it has caught something. With ZOA_SIM_PLANTS the search begins at seed 1 and takes that many at most.
    let whole = number("ZOA_SIM_PLANTS");
    let mut missed = Vec::new();
    println!("{:22} {:>5}  complaint", "planted bug", "seeds");
    for (failpoint, ids, known) in FAILPOINTS {
        let first = if whole.is_none() { Some(*known) } else { None };
        let others = 1..=whole.unwrap_or(400);
        let found = first.into_iter().chain(others).enumerate().find_map(|(tried, seed)| {
            let why = complaint(*failpoint, seed)?;
            ids.iter().any(|id| why.contains(id)).then_some((tried + 1, seed, why))
        });
        match found {
            Some((tried, seed, why)) => {
                let why: String = why.chars().take(150).collect();
                println!("{:22} {tried:>5}  seed {seed}: {why}", format!("{failpoint:?}"));
            }
            None => missed.push(format!("{failpoint:?}")),
        }
    }
    println!("{} of {} found", FAILPOINTS.len() - missed.len(), FAILPOINTS.len());
    assert!(missed.is_empty(), "not found: {missed:?}");
}
