//! What a run tells about itself: counts, and the last things that happened for whoever has to read a failure.

use std::collections::{BTreeMap, VecDeque};

/// Lines that are kept, and that are shown unless `ZOA_SIM_LINES` says otherwise.
const KEPT: usize = 4000;
const SHOWN: usize = 50;

#[derive(Debug, Default)]
pub(super) struct Story {
    lines: VecDeque<String>,
    /// What the last line says but for its numbers, and how often it was said in a row.
    last: (String, u64),
    /// Faults, states reached, work done: each by its name.
    pub counts: BTreeMap<&'static str, u64>,
    /// A running hash over everything that happened.
    pub trace: u64,
}

impl Story {
    pub(super) fn tell(&mut self, now_us: u64, line: &str) {
        self.mix(now_us);
        log::debug!("{:.6} s  {line}", now_us as f64 / 1e6);
        let line: String = line.chars().take(200).collect();
        let said: String = line.split(' ').filter(|word| !word.starts_with("0x")).collect();
        if said == self.last.0 {
            // One that is said again and again must not push out why.
            self.last.1 += 1;
            self.lines.pop_back();
        } else {
            self.last = (said, 1);
        }
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        let times = if self.last.1 > 1 { format!(", for the {}th time in a row", self.last.1) } else { String::new() };
        self.lines.push_back(format!("{:>9.3} s  {line}{times}", now_us as f64 / 1e6));
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
        self.mix(what.len() as u64);
    }

    pub(super) fn count_by(&mut self, what: &'static str, by: u64) {
        *self.counts.entry(what).or_default() += by;
    }

    pub(super) fn mix(&mut self, value: u64) {
        self.trace = (self.trace ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    /// The end of the story.
    pub(super) fn transcript(&self) -> String {
        let shown = std::env::var("ZOA_SIM_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(SHOWN);
        let from = self.lines.len().saturating_sub(shown);
        self.lines.iter().skip(from).cloned().collect::<Vec<_>>().join("\n")
    }
}
