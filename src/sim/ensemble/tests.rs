//! Seeds of ensembles. What `cargo test` runs is the quick form; `.ci/simulate` runs more.

use std::collections::BTreeMap;

use super::marks::MARKS;
use super::run_seed;
use super::shrinking::shrink;
use crate::failpoint::{self, Failpoint};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn no_seed_finds_an_ensemble_that_breaks_a_promise() {
    // G-01 to G-15, S-01 to S-17, S-30 to S-35, L-01 to L-07 as far as `checks`, `canon` and `kazoo` have them; F-01 to F-18.
    let seeds = match number("ZOA_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let from = number("ZOA_SIM_FROM").unwrap_or(1);
            from..from + number("ZOA_SIM_SEEDS").unwrap_or(12)
        }
    };
    let shrinks = number("ZOA_SIM_SHRINK") != Some(0);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut seconds, mut broken) = (0.0, Vec::new());
    for seed in seeds.clone() {
        let outcome = run_seed(seed);
        seconds += outcome.seconds;
        outcome.counts.iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
        if outcome.wrong.is_some() {
            let (outcome, smaller) = if shrinks { shrink(seed, outcome) } else { (outcome, String::new()) };
            let Some((why, transcript)) = outcome.wrong else { continue };
            let why: String = why.chars().take(700).collect();
            broken.push(format!("ZOA_SEED={seed} cargo test --lib sim::ensemble\n{smaller}\n{transcript}\n{why}"));
            println!("seed {seed}: {}", why.chars().take(200).collect::<String>());
            if broken.len() as u64 == number("ZOA_SIM_BROKEN").unwrap_or(3) {
                break;
            }
        }
    }
    println!("{seeds:?}: {seconds:.0} virtual seconds");
    counts.iter().for_each(|(what, count)| println!("{count:>10}  {what}"));
    // Among so many seeds each state is reached, or a checker has not looked at it.
    let reached = |mark: &&&str| counts.contains_key(**mark);
    let unreached: Vec<_> = MARKS.iter().filter(|mark| !reached(mark)).collect();
    assert!(seeds.end - seeds.start < 500 || !broken.is_empty() || unreached.is_empty(), "not reached: {unreached:?}");
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

#[test]
fn the_same_seed_gives_the_same_ensemble() {
    for seed in 1..=number("ZOA_SIM_TRACES").unwrap_or(2) {
        let (first, second) = (run_seed(seed), run_seed(seed));
        assert_eq!((first.trace, first.counts), (second.trace, second.counts), "seed {seed}");
        println!("trace {seed} {:x}", first.trace);
    }
}

/// Each planted bug, the IDs of the promises that it breaks, and a seed that finds it.
const PLANTS: &[(Failpoint, &[&str], u64)] = &[
    (Failpoint::FollowerAcksBeforeSync, &["S-12"], 2),
    (Failpoint::EpochBeforeHistory, &["S-11", "S-12", "D-02"], 3),
    (Failpoint::HistoryAckedBeforeEpoch, &["D-03"], 0),
    (Failpoint::PromiseNotKept, &["D-01"], 1),
    (Failpoint::EpochToldBeforeKept, &["D-01"], 1),
    (Failpoint::LeaderCountsUnsynced, &["S-11"], 3),
    (Failpoint::HalfIsQuorum, &["S-11", "D-03"], 0),
    (Failpoint::TailForgotten, &["S-09", "S-10", "S-15", "D-06", "S-02"], 2),
    (Failpoint::EpochNotCompared, &["S-09"], 0),
    (Failpoint::DiffFromEpoch, &["S-02", "S-11", "D-02"], 4),
    (Failpoint::TruncLeftOut, &["S-02", "S-01"], 0),
    (Failpoint::CutCountsAsAcked, &["S-11", "S-10"], 0),
    (Failpoint::UncommittedApplied, &["S-11", "S-09", "S-01"], 2),
    (Failpoint::QuorumNotWatched, &["L-04"], 1),
    (Failpoint::OneIsQuorum, &["S-11"], 2),
    (Failpoint::FollowerExpires, &["G-10"], 1),
    (Failpoint::SyncNotForwarded, &["G-04"], 2),
    (Failpoint::CommitsReversed, &["S-14"], 5),
    (Failpoint::NewFileVotes, &["S-09", "S-10", "S-02"], 0),
    (Failpoint::VoteWithUnsynced, &["D-06"], 0),
    (Failpoint::VoteWithEpochStart, &["D-06"], 0),
    (Failpoint::TruncTooFar, &["S-15"], 0),
    (Failpoint::AckedBeforeHistory, &["D-02"], 0),
    (Failpoint::CommitsBeforeUpToDate, &["S-14"], 0),
    (Failpoint::TruncatedOnDiskOnly, &["S-02", "S-11", "S-12", "D-06"], 0),
    (Failpoint::TruncInMemoryOnly, &["S-15", "S-40", "D-08"], 0),
    (Failpoint::AckBeforeSync, &["S-40", "S-10"], 0),
    (Failpoint::PublishUnsynced, &["S-40"], 0),
    (Failpoint::SyncEarly, &["G-04"], 0),
    (Failpoint::TouchesDropped, &["G-10"], 0),
    (Failpoint::TouchForgotten, &["G-10"], 0),
    (Failpoint::ExpireEarly, &["G-10"], 0),
    (Failpoint::ExpireByWall, &["G-10", "L-05"], 0),
    (Failpoint::AnyAnswers, &["S-30", "G-09", "G-02", "G-14"], 0),
    (Failpoint::SessionsForgotten, &["S-21", "S-25", "G-10", "S-35"], 0),
];

#[test]
fn every_planted_bug_of_an_ensemble_is_found_by_the_checker_that_ought_to() {
    // A checker is trusted only after it has caught something. With ZOA_SIM_PLANTS the search begins at seed 1 and takes that
    // many at most; without, those that a known seed finds at once are tried.
    let whole = number("ZOA_SIM_PLANTS");
    let only = std::env::var("ZOA_SIM_PLANT").ok();
    let (mut missed, mut tried) = (Vec::new(), 0);
    println!("{:24} {:>5}  complaint", "planted bug", "seed");
    for (plant, ids, known) in PLANTS {
        let name = format!("{plant:?}");
        if only.as_ref().is_some_and(|only| !only.split(',').any(|only| only == name))
            || (whole.is_none() && *known == 0)
        {
            continue;
        }
        tried += 1;
        // Any change of what members do makes other runs of the seeds: then those that follow are tried as well.
        let first = if whole.is_none() { Some(*known) } else { None };
        let found = first.into_iter().chain(1..=whole.unwrap_or(40)).find_map(|seed| {
            let (why, _) = failpoint::with(*plant, || run_seed(seed)).wrong?;
            ids.iter().any(|id| why.contains(id)).then_some((seed, why))
        });
        match found {
            Some((seed, why)) => {
                let why: String = why.chars().take(150).collect();
                println!("{name:24} {seed:>5}  {why}");
            }
            None => {
                println!("{name:24}     -  not found");
                missed.push(name);
            }
        }
    }
    assert!(missed.is_empty() && tried > 0, "not found of {tried}: {missed:?}");
}
