//! Log lines about what clients do wrong: rate-limited per kind, outside text escaped and cut.

use std::collections::HashMap;

use crate::ids::Millis;

const PER_SECOND_MAX: u32 = 10;
const KINDS_MAX: usize = 64;
const LINE_MAX: usize = 256;

#[derive(Default)]
pub(super) struct Complaints {
    kinds: HashMap<String, (u64, u32)>,
    suppressed: u64,
}

impl Complaints {
    /// Logs a warning unless too many of its kind came in this second. Digits do not count for the kind.
    pub(super) fn say(&mut self, now: Millis, kind: &str, line: impl FnOnce() -> String) {
        let kind: String = kind.chars().filter(|c| !c.is_ascii_digit()).take(64).collect();
        let second = now.0 / 1000;
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&kind) {
            self.kinds.retain(|_, seen| seen.0 == second);
            if self.kinds.len() >= KINDS_MAX {
                self.suppressed += 1;
                return;
            }
        }
        let seen = self.kinds.entry(kind).or_insert((second, 0));
        if seen.0 != second {
            *seen = (second, 0);
        }
        seen.1 += 1;
        if seen.1 > PER_SECOND_MAX {
            self.suppressed += 1;
            return;
        }
        let text: String = line().chars().flat_map(char::escape_debug).take(LINE_MAX).collect();
        match std::mem::take(&mut self.suppressed) {
            0 => log::warn!("{text}"),
            more => log::warn!("{text} ({more} lines like this were left out)"),
        }
    }
}
