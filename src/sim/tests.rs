//! Seeds, planted bugs, and the same seed twice.

use super::{Bug, World};

const STEPS: u32 = 1500;

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("ZOA_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=std::env::var("ZOA_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(count)).collect(),
    }
}

#[test]
fn no_seed_finds_a_broken_promise() {
    // G-01 to G-15, S-01 to S-34 as far as one server has them, F-01 to F-03, F-11, F-14, F-16.
    let (mut crashes, mut replies, mut events, mut snapshots) = (0, 0, 0, 0);
    for seed in seeds(60) {
        let mut world = World::new(seed, Bug::None);
        if let Err(why) = world.run(STEPS) {
            panic!("ZOA_SEED={seed} cargo test sim\n{why}");
        }
        crashes += world.crashes;
        replies += world.replies;
        events += world.events;
        snapshots += world.snapshots;
    }
    println!("{crashes} crashes, {replies} replies, {events} events, {snapshots} snapshots");
    if std::env::var("ZOA_SEED").is_err() {
        // What never happened was not tested.
        assert!(crashes > 200 && replies > 5_000 && events > 100 && snapshots > 20);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1..=10 {
        let trace = |_| World::new(seed, Bug::None).run(600);
        assert_eq!(trace(1), trace(2), "seed {seed}");
    }
}

#[test]
fn planted_bugs_are_found() {
    for bug in [Bug::AnswerFirst, Bug::ForgetSessions, Bug::DropLast, Bug::ReuseZxid] {
        let found = (1..=200).find_map(|seed| {
            // A planted bug may also trip an assertion, which is what assertions are for.
            let run = std::panic::catch_unwind(|| World::new(seed, bug).run(STEPS));
            match run {
                Ok(Ok(_)) => None,
                Ok(Err(why)) => Some((seed, why)),
                Err(_) => Some((seed, "an assertion".to_owned())),
            }
        });
        let (seed, why) = found.unwrap_or_else(|| panic!("{bug:?} was not found within 200 seeds"));
        println!("{bug:?} by seed {seed}: {why}");
    }
}
