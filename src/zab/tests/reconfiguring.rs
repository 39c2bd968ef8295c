//! Ensembles whose configuration changes.

use std::panic::{catch_unwind, resume_unwind};

use super::world::{Shape, World};
use super::{seeds, shape_of};

fn changing(seed: u64) -> Shape {
    Shape { joiners: 1 + seed % 3, ..shape_of(seed) }
}

#[test]
fn ensembles_whose_members_change_keep_one_history() {
    // S-01, S-07 to S-13, L-01, L-03
    let mut counts = std::collections::BTreeMap::new();
    for seed in seeds(20) {
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
    if counts.len() > 1 && std::env::var("ZOA_SEED").is_err() {
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
