//! Log lines about what clients do wrong: rate-limited per kind, outside text escaped and cut.

use std::collections::BTreeMap;

use crate::ids::Millis;

const PER_SECOND_MAX: u32 = 10;
const KINDS_MAX: usize = 64;
const LINE_MAX: usize = 256;

#[derive(Default)]
pub(super) struct Complaints {
    kinds: BTreeMap<String, (u64, u32)>,
    suppressed: u64,
}

impl Complaints {
    /// Logs a warning unless too many of its kind came in this second. Digits do not count for the kind.
    pub(super) fn say(&mut self, now: Millis, kind: &str, line: impl FnOnce() -> String) {
        self.say_at(log::Level::Warn, now, kind, line);
    }

    /// The same at another level.
    pub(super) fn say_at(&mut self, level: log::Level, now: Millis, kind: &str, line: impl FnOnce() -> String) {
        if !log::log_enabled!(level) {
            return;
        }
        if let Some(text) = self.admit(now, kind, line) {
            log::log!(level, "{text}");
        }
    }

    /// The line, when it is to be logged.
    pub(super) fn admit(&mut self, now: Millis, kind: &str, line: impl FnOnce() -> String) -> Option<String> {
        let kind: String = kind.chars().filter(|c| !c.is_ascii_digit()).take(64).collect();
        let second = now.0 / 1000;
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&kind) {
            self.kinds.retain(|_, seen| seen.0 == second);
            if self.kinds.len() >= KINDS_MAX {
                self.suppressed += 1;
                return None;
            }
        }
        let seen = self.kinds.entry(kind).or_insert((second, 0));
        if seen.0 != second {
            *seen = (second, 0);
        }
        seen.1 += 1;
        if seen.1 > PER_SECOND_MAX {
            self.suppressed += 1;
            return None;
        }
        let text: String = line().chars().flat_map(char::escape_debug).take(LINE_MAX).collect();
        Some(match std::mem::take(&mut self.suppressed) {
            0 => text,
            more => format!("{text} ({more} lines like this were left out)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_kind_are_limited_and_counted() {
        //
        let mut complaints = Complaints::default();
        let mut said = |now: u64, kind: &str| complaints.admit(Millis(now), kind, || "line".to_owned());
        let first: Vec<String> = (0..2000).filter_map(|_| said(0, "session expired")).collect();
        assert_eq!(first.len(), PER_SECOND_MAX as usize);
        assert!(said(500, "another kind").is_some_and(|line| line.contains("1990 lines")));
        assert_eq!(said(1000, "session expired").as_deref(), Some("line"));
    }
}
