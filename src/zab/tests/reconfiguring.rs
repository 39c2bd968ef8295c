//! Ensembles whose configuration changes.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::world::{Shape, World};
use super::{seeds, shape_of};
use crate::failpoint::{self, Failpoint};

fn changing(seed: u64) -> Shape {
    Shape { joiners: 1 + seed % 3, ..shape_of(seed) }
}

#[test]
fn ensembles_whose_members_change_keep_one_history() {
    // S-01, S-07 to S-13, L-01, L-03
    let mut counts = std::collections::BTreeMap::new();
    for seed in seeds(10) {
        let run = catch_unwind(|| {
            let mut world = World::new(seed, changing(seed));
            world.run();
            world.counts
        });
        match run {
            Ok(found) => found.into_iter().for_each(|(what, count)| *counts.entry(what).or_insert(0) += count),
            Err(cause) => {
                println!("ZOA_SEED={seed} cargo test --lib zab::tests::reconfiguring   {:?}", changing(seed));
                resume_unwind(cause);
            }
        }
    }
    println!("{counts:?}");
    if std::env::var("ZOA_SEED").is_err() {
        for what in [
            "reconfiguration committed",
            "designated leader taken",
            "configuration forgotten",
            "configuration activated",
        ] {
            assert!(counts.contains_key(what), "{what} never happened");
        }
    }
}

/// Each planted bug, the rules whose checkers may find it, and a seed that does.
const FAILPOINTS: &[(Failpoint, &[&str], u64)] = &[
    (Failpoint::NextNotAsked, &["S-11", "S-10", "S-07"], 3),
    (Failpoint::LoggedConfigForgotten, &["S-11", "S-10", "S-07", "S-09", "S-01", "L-01", "L-03"], 1),
    (Failpoint::DemotedLeaderCommits, &["demoted"], 6),
];

#[test]
fn every_bug_planted_in_reconfiguration_is_found() {
    let only = std::env::var("ZOA_PLANT").ok();
    let search = std::env::var("ZOA_SEEDS").ok().and_then(|text| text.parse::<u64>().ok());
    let mut missed = Vec::new();
    for (failpoint, rules, known) in FAILPOINTS {
        if only.as_ref().is_some_and(|only| *only != format!("{failpoint:?}")) {
            continue;
        }
        // A change of what members do makes other runs of the seeds: then those that follow are tried as well.
        let first = if search.is_none() { Some(*known) } else { None };
        let mut seeds = first.into_iter().chain(0..search.unwrap_or(30));
        let found = seeds.find_map(|seed| {
            let run = || failpoint::with(*failpoint, || World::new(seed, changing(seed)).run());
            let cause = catch_unwind(AssertUnwindSafe(run)).err()?;
            let text = cause.downcast_ref::<String>().cloned().unwrap_or_default();
            let rule = text.split(':').next().unwrap_or_default().to_owned();
            rules.contains(&rule.as_str()).then_some((seed, rule))
        });
        println!("{failpoint:?}: {found:?}");
        if found.is_none() {
            missed.push(format!("{failpoint:?} is not found by {rules:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
