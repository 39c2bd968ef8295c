//! Seeds, planted bugs, and the same seed twice.
//!
//! What `cargo test` runs is the quick form; `.ci/simulate` runs more seeds, the whole search for the planted bugs, and the
//! comparison of builds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Seen, World};
use crate::plant::{self, Plant};

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
    let mut seen = Seen::default();
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
const PLANTED: &[(Plant, &[&str], u64)] = &[
    (Plant::AckBeforeSync, &["G-09"], 2),
    (Plant::LastRecordForgotten, &["G-09", "S-02"], 1),
    (Plant::PublishUnsynced, &["G-09", "S-40"], 7),
    (Plant::RetireByNewest, &["D-09"], 9),
    (Plant::BuildInPlace, &["G-09", "S-40"], 5),
    (Plant::EverythingTorn, &["S-41"], 2),
    (Plant::NeverSaysSynced, &["S-41"], 2),
    (Plant::EndUnchecked, &["S-41"], 4),
    (Plant::SyncedTooSoon, &["S-40"], 12),
    (Plant::NumbersReused, &["P3"], 12),
    (Plant::FileUnnamed, &["G-09"], 2),
    (Plant::ZxidReused, &["S-02"], 1),
    (Plant::SessionsForgotten, &["S-25"], 1),
    (Plant::HighestIdForgotten, &["S-27"], 173),
    (Plant::ExpireEarly, &["G-10"], 1),
    (Plant::ExpireByWall, &["G-10", "L-05"], 2),
    (Plant::ExpireNever, &["L-05"], 1),
    (Plant::TouchForgotten, &["G-10"], 1),
    (Plant::PasswordUnchecked, &["SC-40"], 1),
    (Plant::PasswordTooLate, &["SC-40"], 2),
    (Plant::FreshSessionInstead, &["G-10"], 1),
    (Plant::AheadServed, &["G-08"], 1),
    (Plant::EndedSessionActs, &["S-28"], 1),
    (Plant::EphemeralOutlives, &["G-11"], 1),
    (Plant::SequenceReused, &["G-12"], 1),
    (Plant::CversionStuck, &["S-26", "G-12"], 1),
    (Plant::PzxidStale, &["S-26"], 1),
    (Plant::MzxidKept, &["S-26"], 1),
    (Plant::AclKept, &["S-21", "S-36", "SC-70"], 2),
    (Plant::MultiKeepsCounters, &["G-12", "G-13", "S-26", "S-20"], 2),
    (Plant::MultiHalfApplied, &["S-21", "S-33", "G-03"], 2),
    (Plant::QuotaIgnored, &["R-21"], 14),
    (Plant::QuotaUnbooked, &["R-21", "S-21"], 1),
    (Plant::AclUncheckedSet, &["SC-70"], 4),
    (Plant::AclUncheckedCheck, &["SC-70"], 56),
    (Plant::AclWrongBit, &["SC-70"], 37),
    (Plant::ReapEarly, &["TTL"], 1),
    (Plant::ReapNever, &["L-12"], 1),
    (Plant::ReadAhead, &["G-03"], 1),
    (Plant::ReadsOvertake, &["G-02"], 1),
    (Plant::SyncEarly, &["G-04"], 1),
    (Plant::SyncForgotten, &["L-02"], 1),
    (Plant::AclUncheckedChildren, &["S-36"], 2),
    (Plant::SecretsShown, &["SC-68"], 4),
    (Plant::ReplyBeforeEvents, &["G-05"], 1),
    (Plant::EventSkipped, &["S-33"], 1),
    (Plant::EventDoubled, &["S-33"], 1),
    (Plant::EventKindWrong, &["S-33"], 1),
    (Plant::EventUnchecked, &["S-33"], 2),
    (Plant::DeletionUnheard, &["S-33"], 1),
    (Plant::OneShotStays, &["S-33"], 1),
    (Plant::RecursiveForgotten, &["S-33"], 1),
    (Plant::AwaitForgotten, &["S-33", "SC-60"], 2),
    (Plant::CatchUpAgain, &["G-07"], 1),
    (Plant::CatchUpByData, &["G-07"], 5),
    (Plant::CatchUpUnchecked, &["G-07"], 5),
];

/// What a run with the bug complains of. A panic inside the server is no complaint of a checker.
fn complaint(plant: Plant, seed: u64) -> Option<String> {
    let run = || plant::with(plant, || World::new(seed).run(STEPS));
    catch_unwind(AssertUnwindSafe(run)).ok()?.err()
}

#[test]
fn every_planted_bug_is_found_by_the_checker_that_ought_to() {
    // A checker is trusted only after it has caught something. With ZOA_SIM_PLANTS the search begins at seed 1 and takes that many at most.
    let whole = number("ZOA_SIM_PLANTS");
    let mut missed = Vec::new();
    println!("{:22} {:>5}  complaint", "planted bug", "seeds");
    for (plant, ids, known) in PLANTED {
        let first = if whole.is_none() { Some(*known) } else { None };
        let others = 1..=whole.unwrap_or(400);
        let found = first.into_iter().chain(others).enumerate().find_map(|(tried, seed)| {
            let why = complaint(*plant, seed)?;
            ids.iter().any(|id| why.contains(id)).then_some((tried + 1, seed, why))
        });
        match found {
            Some((tried, seed, why)) => {
                let why: String = why.chars().take(150).collect();
                println!("{:22} {tried:>5}  seed {seed}: {why}", format!("{plant:?}"));
            }
            None => missed.push(format!("{plant:?}")),
        }
    }
    println!("{} of {} found", PLANTED.len() - missed.len(), PLANTED.len());
    assert!(missed.is_empty(), "not found: {missed:?}");
}
