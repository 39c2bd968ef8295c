//! Whole ensembles of `Zab`s in one seed. `ZOA_SEED=7` runs that seed alone, `ZOA_SEEDS=1000` more of them.

mod counted;
mod electing;
mod feeding;
mod following;
mod founding;
mod hand;
mod leading;
mod learning;
mod meeting;
mod passwords;
mod reconfiguring;
mod small;
mod switching;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Rng, Shape, World};

use crate::failpoint::{self, Failpoint};

/// A shape drawn from the seed: leaving things out finds what "everything always" hides.
fn shape_of(seed: u64) -> Shape {
    let mut rng = Rng::new(seed ^ 0x5eed);
    Shape {
        voters: [3, 3, 3, 5, 5, 2, 4, 1][rng.below(8) as usize],
        observers: [0, 0, 1, 2][rng.below(4) as usize],
        joiners: 0,
        faults: [0, 1, 3, 8][rng.below(4) as usize],
        log_len: [5, 50, 100_000][rng.below(3) as usize],
        seconds: 5 + rng.below(20),
    }
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("ZOA_SEED"), number("ZOA_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => 0..count,
    }
}

#[test]
fn ensembles_keep_one_history_whatever_happens() {
    // S-01, S-02, S-05, S-07 to S-13, G-04, L-01 to L-03
    let mut counts = std::collections::BTreeMap::new();
    for seed in seeds(20) {
        let shape = shape_of(seed);
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, shape.clone());
            world.run();
            world.counts
        });
        match run {
            Ok(found) => found.into_iter().for_each(|(what, count)| *counts.entry(what).or_insert(0) += count),
            Err(cause) => {
                println!("ZOA_SEED={seed} cargo test --lib zab::tests::ensembles   {shape:?}");
                std::panic::resume_unwind(cause);
            }
        }
    }
    println!("{counts:?}");
}

#[test]
fn a_leader_that_hears_nobody_and_is_heard_is_replaced() {
    // L-01
    for seed in 0..5 {
        let mut world =
            World::new(seed, Shape { voters: 3, observers: 0, joiners: 0, faults: 0, log_len: 100, seconds: 5 });
        let (first, second) = world.deafen_the_leader();
        assert!(second.is_some_and(|second| second != first), "seed {seed}: {first} was followed by {second:?}");
    }
}

#[test]
fn members_whose_logs_cannot_be_cut_are_sent_the_state_and_follow() {
    // L-03, S-15: the log is what it was until the state takes its place, and nobody looks for a leader for ever.
    let (mut truncations, mut installations) = (0, 0);
    for seed in [8, 15] {
        let mut world = World::new(seed, shape_of(seed));
        world.refuses_truncations = true;
        world.run();
        truncations += world.counts.get("truncation").copied().unwrap_or(0);
        installations += world.counts.get("installation").copied().unwrap_or(0);
    }
    assert!(truncations > 0 && installations > 0, "{truncations} truncations, {installations} installations");
}

#[test]
fn one_seed_is_one_trace() {
    let trace = |seed| {
        let mut world = World::new(seed, shape_of(seed));
        world.run();
        world.trace
    };
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}

/// Each planted bug, the rules whose checkers may find it, and a seed that does.
const FAILPOINTS: &[(Failpoint, &[&str], u64)] = &[
    (Failpoint::FollowerAcksBeforeSync, &["S-12"], 0),
    (Failpoint::EpochBeforeHistory, &["S-11", "S-10"], 5),
    (Failpoint::HistoryAckedBeforeEpoch, &["D-03"], 0),
    (Failpoint::PromiseNotKept, &["D-01"], 0),
    (Failpoint::EpochToldBeforeKept, &["D-01"], 0),
    (Failpoint::LeaderCountsUnsynced, &["S-11"], 0),
    (Failpoint::HalfIsQuorum, &["S-07", "S-10", "S-11"], 19),
    (Failpoint::TruncatedOnDiskOnly, &["D-06", "S-01"], 78),
    (Failpoint::ListedWithoutOutstanding, &["protocol"], 0),
    (Failpoint::CommitsBeforeUpToDate, &["S-14"], 0),
    (Failpoint::BrokenStateTaken, &["S-13", "S-01"], 31),
    (Failpoint::TailForgotten, &["D-06"], 0),
];

/// The rule that one seed breaks under a planted bug.
fn broken_by(failpoint: Failpoint, seed: u64) -> Option<String> {
    let run = || failpoint::with(failpoint, || World::new(seed, shape_of(seed)).run());
    let cause = catch_unwind(AssertUnwindSafe(run)).err()?;
    let text = cause.downcast_ref::<String>().cloned().unwrap_or_default();
    Some(text.split(':').next().unwrap_or_default().to_owned())
}

#[test]
fn every_planted_bug_is_found_by_a_checker_that_ought_to() {
    // ZOA_SEEDS=2000 searches anew and prints what it took; ZOA_PLANT=TailForgotten only that one.
    let only = std::env::var("ZOA_PLANT").ok();
    let search = std::env::var("ZOA_SEEDS").ok().and_then(|text| text.parse::<u64>().ok());
    let mut missed = Vec::new();
    for (failpoint, rules, known) in FAILPOINTS {
        if only.as_ref().is_some_and(|only| *only != format!("{failpoint:?}")) {
            continue;
        }
        let seeds = search.map_or(*known..*known + 1, |count| 0..count);
        let found = seeds.clone().find_map(|seed| {
            let rule = broken_by(*failpoint, seed)?;
            rules.contains(&rule.as_str()).then_some((seed, rule))
        });
        println!("{failpoint:?}: {found:?}");
        if found.is_none() {
            missed.push(format!("{failpoint:?} is not found by {rules:?} in seeds {seeds:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
