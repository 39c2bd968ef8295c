//! What is remembered between four-letter words: how many an address has asked for, and what `srst` counts from.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::four_letter::{self, MonitorCounter, Word};
use crate::ids::Millis;

/// Log lines about addresses that ask too often come at most this often, ms.
const COMPLAINT_MS: u64 = 1000;
/// ZooKeeper's writer of answers sends pieces of so many characters.
const PACKET_SIZE: usize = 8192;

/// Between words.
pub(super) struct WordMemory {
    pub(super) trace_mask: i64,
    /// Costly words asked for per address in this second.
    recent: HashMap<IpAddr, u64>,
    complained: Option<Millis>,
    /// The counters of `mntr` as they were at the last `srst`.
    reset: HashMap<&'static str, u64>,
}

impl Default for WordMemory {
    fn default() -> WordMemory {
        WordMemory {
            trace_mask: four_letter::TRACE_MASK,
            recent: HashMap::new(),
            complained: None,
            reset: HashMap::new(),
        }
    }
}

/// WordMemory that cost next to nothing, whatever the server holds. Whoever watches over a server asks these, and takes silence
/// for its end.
fn is_cheap(word: Word) -> bool {
    matches!(word, Word::Ruok | Word::Srvr | Word::Isro)
}

impl WordMemory {
    /// A second has passed.
    pub(super) fn sweep(&mut self) {
        self.recent.clear();
    }

    /// Takes `word` from `address`; where it is one too many in this second, the answer that says so.
    pub(super) fn admit(&mut self, now: Millis, word: Word, address: IpAddr, limit: u64) -> Result<(), String> {
        // A client of a socket for both kinds of addresses has an IPv4 address in the form of IPv6.
        let address = address.to_canonical();
        if is_cheap(word) || address.is_loopback() {
            return Ok(());
        }
        let recent = self.recent.entry(address).or_default();
        *recent += 1;
        if *recent <= limit {
            return Ok(());
        }
        let word = word.as_str();
        let why = format!("more than {limit} four-letter words a second from {address} (zoarium.wordsPerSecond)");
        if self.complained.is_none_or(|at| now.since(at) >= COMPLAINT_MS) {
            self.complained = Some(now);
            log::warn!("{word} is not answered: {why}; ruok, srvr and isro always are");
        }
        Err(format!("{word} is not executed because there were {why}.\n"))
    }

    /// From now on `counters` count from zero.
    pub(super) fn reset(&mut self, counters: &[MonitorCounter]) {
        self.reset = counters.iter().copied().collect();
    }

    /// `counters` since the last reset.
    pub(super) fn since_reset(&self, counters: Vec<MonitorCounter>) -> Vec<MonitorCounter> {
        let since = |name| self.reset.get(name).copied().unwrap_or(0);
        counters.into_iter().map(|(name, value)| (name, value.saturating_sub(since(name)))).collect()
    }
}

/// How many packets an answer counts for.
pub(super) fn packets(answer: &str) -> u64 {
    answer.len().div_ceil(PACKET_SIZE).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &mut WordMemory, word: Word, address: &str, times: u64) -> u64 {
        let address = address.parse().unwrap();
        (0..times).filter(|_| words.admit(Millis(5), word, address, 10).is_ok()).count() as u64
    }

    #[test]
    fn costly_words_beyond_the_limit_are_told_why_until_the_second_is_over() {
        let mut words = WordMemory::default();
        assert_eq!(asked(&mut words, Word::Mntr, "10.0.0.1", 25), 10);
        assert_eq!(asked(&mut words, Word::Cons, "10.0.0.1", 5), 0, "they share one count");
        assert_eq!(asked(&mut words, Word::Mntr, "::ffff:10.0.0.1", 5), 0, "one address in two forms is one");
        assert_eq!(asked(&mut words, Word::Mntr, "10.0.0.2", 5), 5, "others are not held to it");
        let why = words.admit(Millis(6), Word::Mntr, "10.0.0.1".parse().unwrap(), 10).unwrap_err();
        assert!(why.contains("mntr") && why.contains("10.0.0.1") && why.contains("zoarium.wordsPerSecond"), "{why}");
        words.sweep();
        assert_eq!(asked(&mut words, Word::Mntr, "10.0.0.1", 25), 10);
    }

    #[test]
    fn loopback_and_what_watchdogs_ask_are_always_answered() {
        let mut words = WordMemory::default();
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(asked(&mut words, Word::Mntr, address, 60), 60, "{address}");
        }
        for word in [Word::Ruok, Word::Srvr, Word::Isro] {
            assert_eq!(asked(&mut words, word, "10.0.0.1", 60), 60, "{word:?}");
        }
        assert_eq!(asked(&mut words, Word::Mntr, "10.0.0.1", 60), 10, "and they do not use up the others' share");
    }

    #[test]
    fn counters_begin_again_at_a_reset() {
        let mut words = WordMemory::default();
        assert_eq!(words.since_reset(vec![("a", 7), ("b", 2)]), [("a", 7), ("b", 2)]);
        words.reset(&[("a", 7), ("b", 2)]);
        assert_eq!(words.since_reset(vec![("a", 9), ("b", 2), ("c", 1)]), [("a", 2), ("b", 0), ("c", 1)]);
    }

    #[test]
    fn long_answers_count_for_several_packets() {
        let of = |size: usize| packets(&"x".repeat(size));
        assert_eq!((of(0), of(4), of(8192), of(8193)), (1, 1, 1, 2));
    }
}
