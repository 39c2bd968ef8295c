//! Apache ZooKeeper and us, side by side: the same script to both, every reply and event compared.
//!
//! `ZOA_SEED` chooses the script, `ZOA_OPS` its length, `ZOA_DIFFS` how many differences are looked for before giving
//! up. Without Java or a ZooKeeper the tests say so and pass, but not where `CI=true`.

#![allow(unreachable_pub, reason = "nothing in a test program is reachable")]

mod broken;
mod compare;
mod counters;
mod differences;
mod masks;
mod multis;
mod planted;
mod plays;
mod pools;
mod render;
mod requests;
mod rng;
mod script;
mod servers;
mod side;
mod states;
mod step;
mod stories;
mod time;
mod words;

use compare::Outcome;
use servers::{Kind, Server, Settings};
use side::{Side, Tamper};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Whether there is a ZooKeeper to compare with.
fn reference_is_here() -> bool {
    let Err(why) = servers::class_path() else { return true };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "no reference server: {why}");
    eprintln!("SKIPPED, no reference server: {why}");
    false
}

/// Runs a script against ZooKeeper and `other`, then asks both the four-letter words.
fn play(other: Kind, settings: &Settings, operations: usize) -> Outcome {
    let seed = setting("ZOA_SEED", 1) as u64;
    let mut servers = [Server::start(Kind::ZooKeeper, settings), Server::start(other, settings)];
    let [mut theirs, mut ours] = [0, 1].map(|rank| Side::new(servers[rank].address.clone()));
    let mut outcome = compare::run(seed, operations, setting("ZOA_DIFFS", 1), &mut theirs, &mut ours);
    if outcome.differences.is_empty() {
        outcome.differences = compare::words(&theirs, &ours);
    }
    eprintln!(
        "seed {seed}: {} operations, {} replies and events; {} differences, excused: {:?}",
        outcome.operations,
        outcome.lines,
        outcome.differences.len(),
        outcome.excused
    );
    if std::env::var_os("ZOA_COVERAGE").is_some() {
        eprintln!("{:#?}", outcome.coverage);
    }
    for server in &mut servers {
        assert!(server.lives(), "a server ended:\n{}", server.log());
    }
    outcome
}

fn assert_no_difference(outcome: &Outcome) {
    assert!(outcome.differences.is_empty(), "\n{}", outcome.differences.join("\n\n"));
}

#[test]
fn zookeeper_answers_like_itself() {
    if !reference_is_here() {
        return;
    }
    for settings in [Settings::rich(), Settings::poor()] {
        let outcome = play(Kind::ZooKeeper, &settings, setting("ZOA_OPS", 1500));
        assert_no_difference(&outcome);
        assert!(outcome.excused.is_empty(), "ZooKeeper differs from itself: {:?}", outcome.excused);
    }
}

#[test]
fn every_planted_lie_is_noticed() {
    if !reference_is_here() {
        return;
    }
    let servers = [0, 1].map(|_| Server::start(Kind::ZooKeeper, &Settings::rich()));
    let run = |lie: Option<Tamper>| {
        let [mut theirs, mut ours] = [0, 1].map(|rank: usize| Side::new(servers[rank].address.clone()));
        let lying = lie.is_some();
        ours.tamper = lie;
        // A lie about the fifth of something needs a script that has five of it.
        let outcome = compare::run(7, if lying { 3000 } else { 500 }, 1, &mut theirs, &mut ours);
        theirs.end_sessions();
        ours.end_sessions();
        outcome
    };
    assert_no_difference(&run(None));
    for (what, lie) in planted::LIES {
        assert!(!run(Some(lie())).differences.is_empty(), "{what} went unnoticed");
    }
    // It was the lies that were noticed, and nothing they left behind.
    assert_no_difference(&run(None));
}

#[test]
fn we_answer_like_zookeeper() {
    if reference_is_here() {
        assert_no_difference(&play(Kind::Ours, &Settings::rich(), setting("ZOA_OPS", 6000)));
    }
}

#[test]
fn we_answer_like_zookeeper_with_the_defaults() {
    if reference_is_here() {
        assert_no_difference(&play(Kind::Ours, &Settings::poor(), setting("ZOA_OPS", 2000)));
    }
}

#[test]
fn words_count_and_name_what_zookeeper_counts_and_names() {
    if !reference_is_here() {
        return;
    }
    let servers = [Kind::ZooKeeper, Kind::Ours].map(|kind| Server::start(kind, &Settings::counting()));
    let [theirs, ours] = [0, 1].map(|rank| counters::story(&servers[rank].address));
    assert_eq!(theirs, ours, "theirs and ours");
}

#[test]
fn time_does_the_same_to_both() {
    if !reference_is_here() {
        return;
    }
    let servers = [Kind::ZooKeeper, Kind::Ours].map(|kind| Server::start(kind, &Settings::quick()));
    for (what, run) in time::STORIES {
        let [theirs, ours] = [0, 1].map(|rank| run(&servers[rank].address));
        assert_eq!(theirs, ours, "{what}: theirs and ours");
    }
}

#[test]
fn the_differences_we_mean_are_real() {
    if !reference_is_here() {
        return;
    }
    let [theirs, ours] = [Kind::ZooKeeper, Kind::Ours].map(|kind| Server::start(kind, &Settings::quick()));
    let mut wrong = Vec::new();
    for play in plays::PLAYS {
        if let Some(expected) = play.theirs {
            let seen = (play.run)(&theirs.address);
            wrong.extend((seen != expected).then(|| format!("{}: theirs {seen}, not {expected}", play.name)));
        }
        let seen = (play.run)(&ours.address);
        wrong.extend((seen != play.ours).then(|| format!("{}: ours {seen}, not {}", play.name, play.ours)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_difference_is_in_the_table() {
    let table = include_str!("../../docs/COMPATIBILITY.md");
    let names = differences::IN_SCRIPTS.iter().map(|difference| difference.name);
    let names = names.chain(differences::MASKED.iter().copied()).chain(plays::PLAYS.iter().map(|play| play.name));
    for name in names {
        assert!(table.contains(&format!("| `{name}` |")), "{name} is not in docs/COMPATIBILITY.md");
    }
}
