//! Seeds of ensembles. What `cargo test` runs is the quick form; `.ci/simulate` runs more.

use std::collections::BTreeMap;
use std::ops::Range;

use super::marks::{MARKS, RARE_MARKS};
use super::seeds::run_all;
use super::shrinking::{Less, shrink, whose_fault};
use super::swarm::Models;
use super::{Cluster, run_changing_seed, run_less, run_seed};
use crate::failpoint::{self, Failpoint};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// The seeds that are asked for: one, or so many from the first on.
fn seeds(many: u64) -> Range<u64> {
    let (first, many) = match number("ZOA_SEED") {
        Some(seed) => (seed, 1),
        None => (number("ZOA_SIM_FROM").unwrap_or(1), number("ZOA_SIM_SEEDS").unwrap_or(many)),
    };
    first..first + many
}

/// Prints what members log, and what happens to them in between.
struct Printer;

impl log::Log for Printer {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        println!("{} {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

/// With `ZOA_SIM_LOG=debug` (or another level) a run tells everything as it happens.
fn print_the_log() {
    if let Some(level) = std::env::var("ZOA_SIM_LOG").ok().and_then(|text| text.parse().ok()) {
        log::set_max_level(level);
        // Another test of this process may have set it.
        let _ = log::set_logger(&Printer);
    }
}

#[test]
fn no_seed_finds_an_ensemble_that_breaks_a_promise() {
    // G-01 to G-15, S-01 to S-17, S-30 to S-35, L-01 to L-07 as far as `checks`, `canon` and `kazoo` have them; F-01 to F-18.
    let seeds = seeds(12);
    print_the_log();
    let shrinks = number("ZOA_SIM_SHRINK") != Some(0);
    let broken_max = number("ZOA_SIM_BROKEN").unwrap_or(3);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut seconds, mut broken) = (0.0, Vec::new());
    run_all(seeds.clone(), run_seed, |seed, outcome| {
        seconds += outcome.seconds;
        outcome.counts.iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
        let is_broken = outcome.wrong.is_some();
        let (outcome, smaller) =
            if shrinks && is_broken { shrink(seed, Less::default(), outcome) } else { (outcome, String::new()) };
        if let Some((why, transcript)) = outcome.wrong {
            let why: String = why.chars().take(700).collect();
            broken.push(format!("ZOA_SEED={seed} cargo test --lib sim::ensemble\n{smaller}\n{transcript}\n{why}"));
            println!("seed {seed}: {}", why.chars().take(200).collect::<String>());
        }
        (broken.len() as u64) < broken_max
    });
    println!("{seeds:?}: {seconds:.0} virtual seconds");
    counts.iter().for_each(|(what, count)| println!("{count:>10}  {what}"));
    let too_few = print_faults(&counts, seeds.end - seeds.start);
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    assert!(too_few.is_empty(), "too few of so many seeds: {too_few:?}");
    // Among so many seeds each state is reached, or a checker has not looked at it.
    let unreached = |marks: &[&'static str], least: u64| -> Vec<&'static str> {
        marks.iter().copied().filter(|mark| counts.get(mark).copied().unwrap_or(0) < least).collect()
    };
    let missing = match seeds.end - seeds.start {
        0..500 => Vec::new(),
        500..STANDARD => unreached(MARKS, 1),
        STANDARD.. => [unreached(MARKS, 10), unreached(RARE_MARKS, 10)].concat(),
    };
    assert!(missing.is_empty(), "not reached: {missing:?}");
}

/// Seeds of the long form.
const STANDARD: u64 = 10_000;

/// What faults of a kind are called, and how many the long form has at least.
const FAULTS_WANTED: &[(&str, &[&str], u64)] = &[
    ("faults", &["fault: "], 50_000),
    ("crashes", &["a process is killed", "a process ends with the power", "a process ends with its disk"], 10_000),
    ("power cuts", &["a process ends with the power"], 5_000),
    (
        "partitions",
        &[
            "fault: one path blocked",
            "fault: member isolated",
            "fault: leader isolated",
            "fault: leader deposed",
            "fault: partition",
            "fault: some are left behind",
        ],
        5_000,
    ),
    ("partitions, one way", &["a path is blocked one way"], 1_667),
    ("pauses", &["fault: paused", "fault: leader paused"], 2_000),
    ("disk errors", &["a process ends with its disk"], 2_000),
    ("rot", &["fault: a bit rots"], 2_000),
    ("wipes", &["fault: wiped"], 2_000),
];

/// Prints faults by their kinds. Those of which there were too few for so many seeds.
fn print_faults(counts: &BTreeMap<&str, u64>, seeds: u64) -> Vec<&'static str> {
    let mut too_few = Vec::new();
    println!("{:24} {:>9} {:>9}", "faults", "happened", "wanted");
    for (name, counted, least) in FAULTS_WANTED {
        let is_counted = |what: &str| counted.iter().any(|prefix| what.starts_with(prefix));
        let happened: u64 = counts.iter().filter(|(what, _)| is_counted(what)).map(|(_, count)| count).sum();
        let least = least * seeds / STANDARD;
        println!("{name:24} {happened:>9} {least:>9}");
        if happened < least && seeds >= STANDARD {
            too_few.push(*name);
        }
    }
    too_few
}

#[test]
fn the_same_seed_gives_the_same_ensemble() {
    // Each process and each map draws its own hash seed. `.ci/simulate twice` compares what is printed.
    let many = number("ZOA_SIM_TRACES");
    for seed in 1..=many.unwrap_or(2) {
        let first = run_seed(seed);
        if many.is_none() {
            let second = run_seed(seed);
            assert_eq!((first.trace, &first.counts), (second.trace, &second.counts), "seed {seed}");
        }
        println!("trace {seed} {:x} {:?}", first.trace, first.counts);
    }
}

/// Each planted bug, the IDs of the promises that it breaks, and a seed that finds it.
const PLANTS: &[(Failpoint, &[&str], u64)] = &[
    (Failpoint::FollowerAcksBeforeSync, &["S-12"], 1),
    (Failpoint::EpochBeforeHistory, &["S-11", "S-12", "D-02"], 1),
    (Failpoint::HistoryAckedBeforeEpoch, &["D-03"], 0),
    (Failpoint::PromiseNotKept, &["D-01"], 1),
    (Failpoint::EpochToldBeforeKept, &["D-01"], 1),
    (Failpoint::LeaderCountsUnsynced, &["S-11"], 1),
    (Failpoint::HalfIsQuorum, &["S-11", "D-03"], 0),
    (Failpoint::TailForgotten, &["S-09", "S-10", "S-15", "D-06", "S-02"], 15),
    (Failpoint::EpochNotCompared, &["S-09", "L-01"], 0),
    (Failpoint::DiffFromEpoch, &["S-02", "S-11", "S-13", "D-02"], 1),
    (Failpoint::TruncLeftOut, &["S-01", "S-11", "S-13"], 1),
    (Failpoint::CutCountsAsAcked, &["S-11", "S-10"], 0),
    (Failpoint::UncommittedApplied, &["S-11", "S-09", "S-01"], 1),
    (Failpoint::QuorumNotWatched, &["L-04"], 2),
    (Failpoint::OneIsQuorum, &["S-11"], 1),
    (Failpoint::FollowerExpires, &["G-10"], 1),
    (Failpoint::SyncNotForwarded, &["G-04"], 1),
    (Failpoint::CommitsReversed, &["S-14"], 6),
    (Failpoint::NewFileVotes, &["S-09", "S-10", "S-02"], 8),
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
    (Failpoint::AcksTogether, &["S-12"], 0),
    (Failpoint::AppliedUnsynced, &["S-12"], 0),
    (Failpoint::ObserverCounted, &["S-11", "D-03", "S-08"], 8),
    (Failpoint::TailApplied, &["S-11", "S-01"], 0),
    (Failpoint::ListedWithoutOutstanding, &["S-13"], 0),
    (Failpoint::ListedLate, &["S-13"], 0),
    (Failpoint::SentTwice, &["S-13"], 1),
    (Failpoint::EpochNotRaised, &["S-07", "L-01"], 0),
    (Failpoint::CounterRunsOver, &["S-05"], 0),
    (Failpoint::ConfirmedByOldPing, &["G-04"], 749),
    (Failpoint::SyncUnconfirmed, &["G-04"], 0),
    (Failpoint::ExpiredWithoutLeader, &["G-10"], 0),
    (Failpoint::MovedNotEnforced, &["G-02"], 0),
    (Failpoint::RefusalUnlogged, &["G-02"], 0),
    (Failpoint::IdsOfNeighbour, &["S-27"], 0),
    (Failpoint::EpochsBeforeState, &["D-02", "S-09"], 0),
    (Failpoint::FailureIgnored, &["S-40", "S-42", "S-12"], 0),
    (Failpoint::ReadsOvertake, &["G-02", "S-30"], 0),
    (Failpoint::ReadAhead, &["G-03", "S-32"], 0),
    (Failpoint::LocalEndsWithConnection, &["G-10"], 23),
    (Failpoint::LocalInSnapshot, &["S-25", "G-10"], 3),
    (Failpoint::UpgradedStaysLocal, &["S-27", "G-09", "G-11"], 3),
    (Failpoint::EphemeralOutlives, &["G-11", "S-25", "G-03"], 0),
    (Failpoint::EventSkipped, &["G-05", "G-06", "S-33"], 0),
    (Failpoint::ReplyBeforeEvents, &["G-05"], 0),
    (Failpoint::CatchUpAgain, &["G-07"], 0),
    (Failpoint::ExpireNever, &["L-05"], 0),
    (Failpoint::PasswordUnchecked, &["SC-40"], 10),
    (Failpoint::SecretNotTaken, &["G-10"], 1),
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
        let mut others: BTreeMap<String, u64> = BTreeMap::new();
        let found = first.into_iter().chain(1..=whole.unwrap_or(40)).find_map(|seed| {
            let (why, _) = failpoint::with(*plant, || run_seed(seed)).wrong?;
            let is_it = ids.iter().any(|id| why.split(':').next().is_some_and(|head| head.contains(id)));
            if !is_it {
                *others.entry(why.chars().take(110).collect()).or_default() += 1;
            }
            is_it.then_some((seed, why))
        });
        if number("ZOA_SIM_PLANTS_ALL").is_some() {
            others.iter().take(12).for_each(|(why, count)| println!("    {count:>5}  {why}"));
        }
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

/// What is reached where members change.
const CHANGES: &[&str] = &[
    "mark: another configuration is committed",
    "mark: a configuration is to be asked, too",
    "mark: a configuration that was proposed is cut from the log",
    "mark: a configuration is in force by its commit",
    "mark: a configuration is in force as others say",
    "mark: a configuration is in force by an epoch",
    "mark: a half-done change is ended by the next leader",
    "mark: a leader commits a configuration without itself",
    "mark: a removed leader has stopped",
    // One that voted before; who never did has nothing but what is committed.
    "mark: an observer is told to cut",
];

#[test]
fn no_seed_finds_an_ensemble_whose_members_change_that_breaks_a_promise() {
    // S-01 to S-16, G-01 to G-15, L-01 to L-07 while servers come, go, and change their role and their place.
    let seeds = seeds(8);
    print_the_log();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut broken = Vec::new();
    run_all(seeds.clone(), run_changing_seed, |seed, outcome| {
        outcome.counts.iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
        if let Some((why, transcript)) = outcome.wrong {
            println!("seed {seed}: {}", why.chars().take(300).collect::<String>());
            broken.push(format!("ZOA_SEED={seed} cargo test --lib members_change\n{transcript}\n{why}"));
        }
        true
    });
    counts
        .iter()
        .filter(|(what, _)| !what.starts_with("fault"))
        .for_each(|(what, count)| println!("{count:>10}  {what}"));
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    let missing: Vec<_> = CHANGES.iter().filter(|mark| !counts.contains_key(*mark)).collect();
    assert!(missing.is_empty() || seeds.end - seeds.start < 100, "not reached: {missing:?}");
}

/// What is reached where models of Java's members take part.
const BESIDE: &[&str] = &[
    "mark: a model serves",
    "mark: a model leads",
    "mark: a model sends DIFF",
    "mark: a model sends SNAP",
    "mark: a model cuts its log",
    "mark: a model takes a state in",
];

#[test]
fn no_seed_finds_an_ensemble_with_models_of_apache_members_that_breaks_a_promise() {
    // All that holds of an ensemble of ours holds beside members of another make (J38, J39).
    let seeds = seeds(8);
    let less = Less { models: Models::Some, has_old_models: number("ZOA_SIM_OLD38") == Some(1), ..Less::default() };
    let shrinks = number("ZOA_SIM_SHRINK") != Some(0);
    let broken_max = number("ZOA_SIM_BROKEN").unwrap_or(3);
    print_the_log();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut seconds, mut broken) = (0.0, Vec::new());
    let run = |seed| run_less(seed, &less);
    run_all(seeds.clone(), run, |seed, outcome| {
        seconds += outcome.seconds;
        outcome.counts.iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
        let Some((why, _)) = &outcome.wrong else { return true };
        let verdict = whose_fault(seed, &less, why);
        println!("seed {seed}: {}\n  {verdict}", why.chars().take(300).collect::<String>());
        let (outcome, smaller) = if shrinks { shrink(seed, less.clone(), outcome) } else { (outcome, String::new()) };
        let Some((why, transcript)) = outcome.wrong else { return true };
        let why: String = why.chars().take(700).collect();
        broken.push(format!(
            "ZOA_SEED={seed} cargo test --lib models_of_apache\n{smaller}\n{transcript}\n{why}\n{verdict}"
        ));
        (broken.len() as u64) < broken_max
    });
    println!("{seeds:?}: {seconds:.0} virtual seconds");
    counts
        .iter()
        .filter(|(what, _)| !what.starts_with("fault"))
        .for_each(|(what, count)| println!("{count:>10}  {what}"));
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    let missing: Vec<_> = BESIDE.iter().filter(|mark| !counts.contains_key(*mark)).collect();
    assert!(missing.is_empty() || seeds.end - seeds.start < 200, "not reached: {missing:?}");
}

#[test]
fn a_run_beside_models_is_held_against_runs_with_the_same_clients_faults_and_machines() {
    // J38: "whose fault" is said of the same course, as far as anything is drawn.
    let drawn = |seed: u64, models: Models, is_compared: bool| {
        let cluster = Cluster::new(seed, Less { models, is_compared, has_old_models: true, ..Less::default() });
        let wrongs: Vec<bool> = cluster.clients.iter().map(|client| client.tries_wrong).collect();
        let befallen = cluster.swarm.befallen();
        let machines = befallen.iter().map(|id| (cluster.machines[id].rate, cluster.machines[id].wall_offset));
        let machines: Vec<_> = machines.collect();
        let faults = (cluster.fault_seed, cluster.swarm.faults.clone());
        ((befallen, machines), (wrongs, cluster.swarm.local_sessions), faults, cluster.swarm.beside.makes)
    };
    for seed in 1..60 {
        let (machines, clients, faults, makes) = drawn(seed, Models::Some, false);
        for models in [Models::EveryVoter, Models::Nowhere] {
            let other = drawn(seed, models, true);
            assert_eq!((&machines, &clients, &faults), (&other.0, &other.1, &other.2), "seed {seed}, {models:?}");
            let stays = |place: &_| other.3.get(place).is_none_or(|make| *make == makes[place]);
            assert!(models == Models::Nowhere || makes.keys().all(stays), "seed {seed}: the models are others");
        }
    }
}

/// Each bug that shows by what a model of Java's makes of it, the IDs of the promises that it breaks, and a seed that finds it. Nobody
/// looks at the packets.
const BESIDE_PLANTS: &[(Failpoint, &[&str], u64)] = &[
    (Failpoint::CommitsBeforeUpToDate, &["S-14"], 13),
    (Failpoint::CommitsReversed, &["S-14"], 1),
    (Failpoint::ListedWithoutOutstanding, &["S-13", "S-14"], 21),
    (Failpoint::AckedBeforeHistory, &["S-12"], 3),
    (Failpoint::ObserverAnswers, &["L-08"], 3),
];

#[test]
fn every_bug_planted_beside_models_of_apache_members_is_found() {
    let only = std::env::var("ZOA_SIM_PLANT").ok();
    let whole = number("ZOA_SIM_PLANTS");
    let mut missed = Vec::new();
    for (plant, ids, known) in BESIDE_PLANTS {
        let name = format!("{plant:?}");
        if only.as_ref().is_some_and(|only| *only != name) || (whole.is_none() && *known == 0) {
            continue;
        }
        let breaks = |seed: &u64, models: Models| {
            let less = Less { models, is_blind: true, ..Less::default() };
            let (why, _) = failpoint::with(*plant, || run_less(*seed, &less)).wrong?;
            ids.iter().any(|id| why.split(':').next().is_some_and(|head| head.contains(id))).then_some(why)
        };
        let seeds = Some(*known).filter(|known| *known != 0 && whole.is_none()).into_iter();
        let seeds: Vec<u64> = seeds.chain(1..=whole.unwrap_or(40)).collect();
        let found = seeds.iter().find_map(|seed| Some((*seed, breaks(seed, Models::Some)?)));
        match found {
            Some((seed, why)) => {
                // Without models the same choices show nothing of it.
                let also = breaks(&seed, Models::Nowhere).map_or("no", |_| "yes");
                println!(
                    "{name:24} {seed:>5}  without models: {also:3}  {}",
                    why.chars().take(130).collect::<String>()
                );
            }
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// Each bug planted in the change of members, the IDs of the promises that it breaks, and a seed that finds it.
const CHANGE_PLANTS: &[(Failpoint, &[&str], u64)] = &[
    (Failpoint::NextNotAsked, &["S-11", "S-10", "D-03"], 6),
    (Failpoint::DemotedLeaderCommits, &["S-11"], 1),
    (Failpoint::GossipNotHeard, &["L-01"], 4),
];

#[test]
fn every_bug_planted_in_the_change_of_members_is_found() {
    let only = std::env::var("ZOA_SIM_PLANT").ok();
    let mut missed = Vec::new();
    for (plant, ids, known) in CHANGE_PLANTS {
        let name = format!("{plant:?}");
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let found = std::iter::once(*known).chain(1..=number("ZOA_SIM_PLANTS").unwrap_or(20)).find_map(|seed| {
            let (why, _) = failpoint::with(*plant, || run_changing_seed(seed)).wrong?;
            ids.iter().any(|id| why.split(':').next().is_some_and(|head| head.contains(id))).then_some((seed, why))
        });
        match found {
            Some((seed, why)) => println!("{name:24} {seed:>5}  {}", why.chars().take(150).collect::<String>()),
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
