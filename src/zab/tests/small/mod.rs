//! Worlds so small that everything that may happen in them can be tried: two and three members, one or two transactions, one
//! crash, one broken connection, in every order.
//!
//! Each world that is reached is looked at once. In each the rules of `checks` hold, and from each, when nothing more befalls
//! it, the members agree on a leader, everybody follows, and a new transaction is applied everywhere.
//!
//! `.ci/simulate small` searches the larger ones. A broken rule comes with the steps that lead to it, as few as deleting some
//! of them leaves.

mod checks;
mod host;
mod network;
mod world;

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use world::{Budget, Making, Step, World};

use crate::failpoint::{self, Failpoint};
use crate::zab::Standing;

/// A hash that needs no seed, wide enough that two of some hundred million worlds do not share one.
#[derive(Default)]
struct Wide(u64, u64);

impl Hasher for Wide {
    fn finish(&self) -> u64 {
        self.0 ^ self.1
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_u64(bytes.len() as u64);
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        self.1 = (self.1.rotate_left(31) ^ number).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        self.1 ^= self.1 >> 29;
    }
}

fn hash_of(world: &World) -> u128 {
    let mut hasher = Wide::default();
    world.hash(&mut hasher);
    u128::from(hasher.0) << 64 | u128::from(hasher.1)
}

/// Steps in a row without a break are more than this only where something goes on for ever.
const DEPTH_MAX: usize = 2_000;

/// A broken rule, and the steps that lead to it.
#[derive(Debug)]
struct Broken {
    rule: &'static str,
    what: String,
    steps: Vec<Step>,
}

/// Everything that can be reached.
struct Search {
    seen: BTreeSet<u128>,
    /// Worlds from which everything comes right.
    good: BTreeSet<u128>,
    /// Whether that is asked of each world.
    heals: bool,
    /// Give up after so many worlds.
    most: usize,
    deepest: usize,
}

/// A world that is looked at, what may happen in it, and how much of that was tried.
struct Level {
    world: World,
    steps: Vec<Step>,
    tried: usize,
}

impl Search {
    fn new(heals: bool, most: usize) -> Search {
        Search { seen: BTreeSet::new(), good: BTreeSet::new(), heals, most, deepest: 0 }
    }

    /// Tries everything. `Ok` tells whether nothing is left.
    fn run(&mut self, start: &World) -> Result<bool, Broken> {
        let mut levels = Vec::new();
        self.enter(&mut levels, start.clone())?;
        while let Some(level) = levels.last_mut() {
            let Some(&step) = level.steps.get(level.tried) else {
                levels.pop();
                continue;
            };
            level.tried += 1;
            let mut next = level.world.clone();
            next.take(step);
            if self.seen.len() >= self.most {
                return Ok(false);
            }
            self.enter(&mut levels, next)?;
        }
        Ok(true)
    }

    fn enter(&mut self, levels: &mut Vec<Level>, world: World) -> Result<(), Broken> {
        let path = |levels: &[Level]| levels.iter().map(|level| level.steps[level.tried - 1]).collect();
        if let Some((rule, what)) = world.broken {
            return Err(Broken { rule, what, steps: path(levels) });
        }
        if !self.seen.insert(hash_of(&world)) {
            return Ok(());
        }
        if self.heals
            && let Err((rule, what)) = self.heal(&world)
        {
            return Err(Broken { rule, what, steps: path(levels) });
        }
        if levels.len() > DEPTH_MAX {
            return Err(Broken { rule: "L-01", what: format!("it goes on for ever: {world:?}"), steps: path(levels) });
        }
        let steps = world.steps();
        levels.push(Level { world, steps, tried: 0 });
        self.deepest = self.deepest.max(levels.len());
        Ok(())
    }

    /// L-01, L-02, L-03: nothing more befalls it, and everything comes right.
    fn heal(&mut self, world: &World) -> Result<(), (&'static str, String)> {
        let mut world = world.clone();
        let mut passed = Vec::new();
        world.budget = Budget { txns: 1, ..Budget::default() };
        loop {
            let hash = hash_of(&world);
            if self.good.contains(&hash) || is_right(&world) {
                self.good.extend(passed);
                return Ok(());
            }
            passed.push(hash);
            let Some(step) = next_to_heal(&world) else {
                return Err(("L-01", format!("nothing happens any more: {world:?}")));
            };
            world.take(step);
            if let Some(broken) = world.broken {
                return Err(broken);
            }
            if passed.len() > DEPTH_MAX {
                return Err(("L-01", format!("it does not come right: {world:?}")));
            }
        }
    }
}

/// Whether one leads, all others follow it, and what was decided is applied by all.
fn is_right(world: &World) -> bool {
    let is_done = |node: &world::Node| node.applied == world.committed;
    is_whole(world) && world.budget.txns == 0 && world.nodes.iter().all(|node| is_done(node))
}

fn is_whole(world: &World) -> bool {
    let lead = world.nodes.iter().find_map(|node| match node.standing {
        Standing::Leading { epoch } => Some((node.id, epoch)),
        _ => None,
    });
    let Some((leader, epoch)) = lead else { return false };
    let belongs = |standing| match standing {
        Standing::Leading { epoch: own } => own == epoch,
        Standing::Following { leader: theirs, epoch: own, .. } => (theirs, own) == (leader, epoch),
        Standing::Looking => false,
    };
    world.nodes.iter().all(|node| belongs(node.standing))
}

/// The next step while everything heals: what happens by itself, then what only a pause brings.
fn next_to_heal(world: &World) -> Option<Step> {
    let steps = world.steps();
    let find = |wanted: fn(&Step) -> bool| steps.iter().copied().find(wanted);
    find(|step| matches!(step, Step::Heals | Step::Starts { .. }))
        .or_else(|| world.own_steps().first().copied())
        .or_else(|| find(|step| matches!(step, Step::Writes { .. })).filter(|_| is_whole(world)))
        .or_else(|| find(|step| *step == Step::Waits))
}

/// Leaves steps out as long as a rule is broken all the same.
fn shortened(start: &World, mut broken: Broken) -> Broken {
    let replay = |steps: &[Step]| {
        let mut world = start.clone();
        for step in steps {
            if world.steps().contains(step) {
                world.take(*step);
            }
            if world.broken.is_some() {
                return world.broken;
            }
        }
        None
    };
    let mut index = 0;
    while index < broken.steps.len() {
        let mut fewer = broken.steps.clone();
        fewer.remove(index);
        match replay(&fewer) {
            Some((rule, what)) if rule == broken.rule => broken = Broken { rule, what, steps: fewer },
            _ => index += 1,
        }
    }
    broken
}

/// A world in which everybody serves and has so many transactions.
fn working(making: Making, txns: u8, budget: Budget) -> World {
    let mut world = World::new(making, Budget { txns, ..Budget::default() });
    for _ in 0..DEPTH_MAX {
        if is_right(&world) {
            world.budget = budget;
            return world;
        }
        let step = next_to_heal(&world).expect("it goes on");
        world.take(step);
        assert_eq!(world.broken, None);
    }
    panic!("it never works: {world:?}");
}

const TWO: Making = Making { voters: 2, memory: 1, log_len: 100, ballots: 1 };
const THREE: Making = Making { voters: 3, memory: 1, log_len: 100, ballots: 1 };
const NONE: Budget = Budget { txns: 0, questions: 0, crashes: 0, cuts: 0, splits: 0, delays: 0 };

/// The worlds that are searched, and whether every run of the tests does.
fn worlds() -> Vec<(&'static str, bool, World)> {
    let two = |budget| World::new(TWO, budget);
    let work = |budget| working(THREE, 1, budget);
    let one = Budget { txns: 1, ..NONE };
    let all = Budget { txns: 2, questions: 1, crashes: 1, cuts: 1, ..NONE };
    vec![
        ("two begin, one transaction, one crash", true, two(Budget { crashes: 1, ..one })),
        ("two begin, one transaction, one cut", true, two(Budget { cuts: 1, ..one })),
        ("two begin, one transaction, one split", true, two(Budget { splits: 1, ..one })),
        ("two begin, one transaction, one question, one delay", true, two(Budget { questions: 1, delays: 1, ..one })),
        ("three work, one transaction", true, work(one)),
        ("two begin, two transactions, one question, one crash, one cut", false, two(all)),
        ("two begin, one transaction, one crash, one split", false, two(Budget { crashes: 1, splits: 1, ..one })),
        ("two begin, one transaction, one crash, one delay", false, two(Budget { crashes: 1, delays: 1, ..one })),
        ("three begin", false, World::new(THREE, NONE)),
        ("three work, one transaction, one cut", false, work(Budget { cuts: 1, ..one })),
        ("three work, one transaction, one split", false, work(Budget { splits: 1, ..one })),
        ("three work, one transaction, one delay", false, work(Budget { delays: 1, ..one })),
    ]
}

#[test]
fn whatever_befalls_a_small_ensemble_the_rules_hold_and_it_comes_right() {
    // S-01, S-05, S-07 to S-14, D-01, D-03, D-06, G-04, L-01 to L-03. ZOA_SMALL=all searches the larger worlds too.
    let all = std::env::var("ZOA_SMALL").is_ok_and(|text| text == "all");
    let mut sum = 0;
    for (name, is_quick, start) in worlds() {
        if !is_quick && !all {
            continue;
        }
        let mut search = Search::new(true, usize::MAX);
        match search.run(&start) {
            Ok(is_all) => assert!(is_all),
            Err(broken) => panic!("{name}: {}", told(&start, shortened(&start, broken))),
        }
        println!(
            "{name}: {} worlds, all steps of each; the longest way has {} steps",
            search.seen.len(),
            search.deepest
        );
        assert!(search.seen.len() > 500, "{name}: hardly anything happens");
        sum += search.seen.len();
    }
    println!("{sum} worlds");
}

/// A planted bug is found by these rules in this world.
type Plant = (Failpoint, &'static [&'static str], fn() -> World);

const TWO_CRASH: fn() -> World = || World::new(TWO, Budget { txns: 1, crashes: 1, ..NONE });
const THREE_CUT: fn() -> World = || working(THREE, 1, Budget { txns: 1, cuts: 1, ..NONE });

const PLANTS: &[Plant] = &[
    (Failpoint::FollowerAcksBeforeSync, &["S-12"], THREE_CUT),
    (Failpoint::HistoryAckedBeforeEpoch, &["D-03"], TWO_CRASH),
    (Failpoint::PromiseNotKept, &["D-01"], TWO_CRASH),
    (Failpoint::EpochToldBeforeKept, &["D-01"], TWO_CRASH),
    (Failpoint::LeaderCountsUnsynced, &["S-11"], THREE_CUT),
    (Failpoint::HalfIsQuorum, &["S-11"], TWO_CRASH),
    (Failpoint::TruncatedOnDiskOnly, &["S-11", "D-06"], THREE_CUT),
    (Failpoint::CutCountsAsAcked, &["S-11", "S-10"], THREE_CUT),
    (Failpoint::CommitsBeforeUpToDate, &["S-14"], THREE_CUT),
    (Failpoint::TailForgotten, &["D-06"], THREE_CUT),
];

#[test]
fn a_planted_bug_is_found_in_a_small_ensemble() {
    for (failpoint, rules, start) in PLANTS {
        let start = start();
        let found = failpoint::with(*failpoint, || {
            let mut search = Search::new(false, 20_000);
            let broken = search.run(&start).err().map(|broken| shortened(&start, broken));
            broken.map(|broken| (search.seen.len(), broken))
        });
        let Some((count, broken)) = found else { panic!("{failpoint:?} is not found") };
        println!("{failpoint:?}: {}: {}; {count} worlds, {} steps", broken.rule, broken.what, broken.steps.len());
        assert!(rules.contains(&broken.rule), "{failpoint:?} is found by {broken:?}");
    }
}

/// For whoever reads a failure.
fn told(start: &World, broken: Broken) -> String {
    let mut text = format!("{}: {}\n", broken.rule, broken.what);
    let mut world = start.clone();
    for step in broken.steps {
        text += &format!("{step:?}\n");
        world.take(step);
    }
    text + &format!("{world:#?}")
}
