//! A failing seed made small: faults and clients are left out while the same promise is broken, until the story of what is left
//! can be read.

use std::collections::BTreeSet;

use super::swarm::{FaultKind, Models};
use super::{SeedOutcome, run_less};

/// Runs at most; each takes about as long as the seed does.
const RUNS_MAX: u32 = 250;

/// What is left out of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Less {
    /// Its members change: not less, but another run.
    pub changes: bool,
    /// There are models of Java's members, old ones too: another run as well.
    pub models: Models,
    pub has_old_models: bool,
    /// Held against a run with models: its clients do what those beside models do, wherever the models are.
    pub is_compared: bool,
    /// Which of several runs that differ in how long packets are under way, and in nothing else that is drawn.
    pub course: u64,
    /// Nobody looks at packets as they leave: what is wrong with them shows by what a model makes of them, or not at all.
    pub is_blind: bool,
    /// Numbers of faults that do not happen.
    pub faults: BTreeSet<u64>,
    /// Clients that never come.
    pub clients: BTreeSet<usize>,
}

struct Shrinking {
    seed: u64,
    /// The complaint begins with this.
    ids: String,
    runs: u32,
    less: Less,
    best: SeedOutcome,
}

/// The promises that a complaint names.
fn ids_of(why: &str) -> &str {
    why.split(':').next().unwrap_or(why)
}

/// The smallest failure found that breaks the same promise as the whole seed, and what it was made of.
pub(super) fn shrink(seed: u64, less: Less, whole: SeedOutcome) -> (SeedOutcome, String) {
    let Some((why, _)) = &whole.wrong else { return (whole, String::new()) };
    let ids = ids_of(why).to_owned();
    let mut shrinking = Shrinking { seed, ids, runs: 0, less, best: whole };
    shrinking.leave_out_clients();
    shrinking.leave_out_kinds();
    shrinking.leave_out_faults();
    let Shrinking { best, less, runs, .. } = shrinking;
    let left = best.faults.len() - best.faults_left_out(&less);
    let clients = best.clients - less.clients.len();
    let line = format!("made smaller in {runs} runs: {left} of {} faults, {clients} clients", best.faults.len());
    (best, line)
}

impl SeedOutcome {
    fn faults_left_out(&self, less: &Less) -> usize {
        less.faults.range(..self.faults.len() as u64).count()
    }
}

impl Shrinking {
    /// Whether it still fails when this much is left out; if so, it stays out.
    fn tries(&mut self, less: Less) -> bool {
        if self.runs == RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let outcome = run_less(self.seed, &less);
        let fails = outcome.wrong.as_ref().is_some_and(|(why, _)| ids_of(why) == self.ids);
        if fails {
            (self.less, self.best) = (less, outcome);
        }
        fails
    }

    fn leave_out_clients(&mut self) {
        for client in 0..self.best.clients {
            let mut less = self.less.clone();
            less.clients.insert(client);
            if less.clients.len() < self.best.clients {
                self.tries(less);
            }
        }
    }

    fn numbers(&self, of: impl Fn(FaultKind) -> bool) -> Vec<u64> {
        let faults = self.best.faults.iter().zip(0..);
        faults.filter(|(kind, number)| of(**kind) && !self.less.faults.contains(number)).map(|(_, at)| at).collect()
    }

    fn leave_out_kinds(&mut self) {
        let mut kinds: Vec<FaultKind> = Vec::new();
        for kind in &self.best.faults {
            if !kinds.contains(kind) {
                kinds.push(*kind);
            }
        }
        for kind in kinds {
            let numbers = self.numbers(|other| other == kind);
            self.without(&numbers);
        }
    }

    fn without(&mut self, numbers: &[u64]) -> bool {
        let mut less = self.less.clone();
        less.faults.extend(numbers);
        !numbers.is_empty() && self.tries(less)
    }

    /// One after the other, the many at once first.
    fn leave_out_faults(&mut self) {
        let mut size = self.numbers(|_| true).len() / 2;
        while size > 0 && self.runs < RUNS_MAX {
            let numbers = self.numbers(|_| true);
            let mut is_smaller = false;
            for chunk in numbers.chunks(size) {
                is_smaller |= self.without(chunk);
            }
            if size == 1 && !is_smaller {
                break;
            }
            size = if size > 1 { size / 2 } else { 1 };
        }
    }
}

/// Runs of each of the two that a find is held against. What is broken by a narrow chance is not broken by each of them.
const COURSES: u64 = 4;

/// Whose fault a find is that models of Java's members took part in: the same choices with a model in the place of every voter, then
/// with none.
pub(super) fn whose_fault(seed: u64, less: &Less, why: &str) -> &'static str {
    let breaks = |models: Models| {
        (0..COURSES).any(|course| {
            let wrong = run_less(seed, &Less { models, course, is_compared: true, ..less.clone() }).wrong;
            wrong.is_some_and(|(other, _)| ids_of(&other) == ids_of(why))
        })
    };
    match (breaks(Models::EveryVoter), breaks(Models::Nowhere)) {
        (true, false) => "whose fault: Java's, or its model's; models alone break it too, and our members alone do not",
        (false, true) => "whose fault: ours; our members break it without a model",
        (true, true) => "whose fault: not decided; models alone break it, and so do our members alone",
        (false, false) => "whose fault: of what our members and models do together; neither alone breaks it",
    }
}
