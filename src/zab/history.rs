//! The newest part of the history in memory: what learners are brought up to date from, and what is logged but not
//! delivered.

use std::collections::VecDeque;

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::records::txn::Payload;

/// Transactions kept for learners though they are delivered, at least.
const WINDOW_COUNT_MIN: usize = 500;
/// Bytes of them, at most; the last [`WINDOW_COUNT_MIN`] stay as long as they are within it.
const WINDOW_SIZE_MAX: usize = 16 << 20;

/// A contiguous end of the history, and how far this member has come with it.
///
/// 1. `delivered ≤ committed ≤ last`, `delivered ≤ durable ≤ last`: nothing is applied that is not committed and in our
///    own synced log.
/// 2. Zxids have no holes: each is the one before plus one, or the first of a later epoch (S-13).
/// 3. What is not delivered is in the ring, so that a role can end at any moment and the next one finds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History {
    ring: VecDeque<(Zxid, Payload)>,
    /// The transaction before the first in the ring.
    base: Zxid,
    bytes: usize,
    durable: Zxid,
    committed: Zxid,
    delivered: Zxid,
}

/// Whether `next` may directly follow `last` (S-13).
fn follows(last: Zxid, next: Zxid) -> bool {
    Some(next) == last.next() || (next.epoch() > last.epoch() && next.counter() == 1)
}

impl History {
    /// A history that ends at `at`, all of it durable, committed and delivered, nothing in memory.
    pub fn at(at: Zxid) -> History {
        History { ring: VecDeque::new(), base: at, bytes: 0, durable: at, committed: at, delivered: at }
    }

    /// The last transaction, durable or not.
    pub fn last(&self) -> Zxid {
        self.ring.back().map_or(self.base, |(zxid, _)| *zxid)
    }

    /// The transaction before the oldest in memory.
    pub fn base(&self) -> Zxid {
        self.base
    }

    /// Up to where it is in our synced log.
    pub fn durable(&self) -> Zxid {
        self.durable
    }

    /// Up to where it is known to be committed.
    pub fn committed(&self) -> Zxid {
        self.committed
    }

    /// Up to where it is applied.
    pub fn delivered(&self) -> Zxid {
        self.delivered
    }

    /// Takes the next transaction.
    ///
    /// # Errors
    /// The last zxid, when `zxid` cannot follow it.
    pub fn push(&mut self, zxid: Zxid, txn: Payload) -> Result<(), Zxid> {
        if !follows(self.last(), zxid) {
            return Err(self.last());
        }
        self.bytes += txn.len();
        self.ring.push_back((zxid, txn));
        Ok(())
    }

    /// Those above `after`, up to `upto`, that are in memory, in order.
    pub fn between(&self, after: Zxid, upto: Zxid) -> impl Iterator<Item = &(Zxid, Payload)> {
        self.ring.range(self.behind(after)..).take_while(move |(zxid, _)| *zxid <= upto)
    }

    /// The place in the ring of the first above `after`. Without holes the counter says it, within one epoch.
    fn behind(&self, after: Zxid) -> usize {
        let counted =
            self.ring.back().filter(|(last, _)| last.epoch() == after.epoch()).and_then(|(last, _)| {
                self.ring.len().checked_sub(last.counter().checked_sub(after.counter())? as usize)
            });
        match counted {
            Some(at) if at > 0 && self.ring[at - 1].0 == after => at,
            _ => self.ring.partition_point(|(zxid, _)| *zxid <= after),
        }
    }

    /// The transaction that follows `after`, if it is in memory.
    pub fn next_after(&self, after: Zxid) -> Option<Zxid> {
        self.between(after, Zxid(i64::MAX)).next().map(|(zxid, _)| *zxid)
    }

    /// The last transaction at or below `zxid`, as far as memory reaches.
    pub fn last_upto(&self, zxid: Zxid) -> Option<Zxid> {
        if zxid < self.base {
            return None;
        }
        let behind = self.behind(zxid);
        Some(behind.checked_sub(1).map_or(self.base, |index| self.ring[index].0))
    }

    /// The log is on disk up to `upto`.
    pub fn synced(&mut self, upto: Zxid) {
        assert!(upto <= self.last(), "{upto} is durable and was never appended; the last is {}", self.last());
        self.durable = self.durable.max(upto);
    }

    /// Everything up to `upto` is committed.
    pub fn commit(&mut self, upto: Zxid) {
        assert!(upto <= self.last(), "{upto} is committed and not here; the last is {}", self.last());
        self.committed = self.committed.max(upto);
    }

    /// Another leader tells anew what is committed: what one that failed said of it does not count.
    pub fn forget_commits(&mut self) {
        self.committed = self.delivered;
    }

    /// Up to where it may be applied now, if that is further than it was.
    pub fn deliverable(&self) -> Option<Zxid> {
        let upto = match failpoint::on(Failpoint::AppliedUnsynced) {
            true => self.committed,
            false => self.committed.min(self.durable),
        };
        (upto > self.delivered).then_some(upto)
    }

    /// It is applied up to `upto`.
    pub fn deliver(&mut self, upto: Zxid) {
        let is_durable = upto <= self.durable || failpoint::on(Failpoint::AppliedUnsynced);
        assert!(is_durable, "{upto} is applied before it is in our log, which ends at {}", self.durable);
        assert!(upto <= self.committed, "{upto} is applied and not committed; {} is", self.committed);
        self.delivered = self.delivered.max(upto);
    }

    /// Lets the oldest leave memory. Not within [`History::deliver`]: whoever applies them takes them from here first.
    pub fn trim(&mut self) {
        let is_long = |ring: &VecDeque<_>, bytes| ring.len() > WINDOW_COUNT_MIN || bytes > WINDOW_SIZE_MAX;
        while is_long(&self.ring, self.bytes) && self.ring.front().is_some_and(|(zxid, _)| *zxid <= self.delivered) {
            let Some((zxid, txn)) = self.ring.pop_front() else { break };
            self.bytes -= txn.len();
            self.base = zxid;
        }
    }

    /// Forgets everything above `to`. What was applied of it the caller takes back as well.
    pub fn cut(&mut self, to: Zxid) {
        while self.ring.back().is_some_and(|(zxid, _)| *zxid > to) {
            let Some((_, txn)) = self.ring.pop_back() else { break };
            self.bytes -= txn.len();
        }
        self.base = self.base.min(to);
        let last = self.last();
        self.durable = self.durable.min(last);
        self.committed = self.committed.min(last);
        self.delivered = self.delivered.min(last);
    }

    /// A state up to `at` was installed in place of what was there: what follows `at` here is not in the log yet.
    pub fn installed(&mut self, at: Zxid) {
        self.durable = at;
        self.committed = self.committed.max(at);
        self.delivered = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn z(counter: u32) -> Zxid {
        Zxid::new(1, counter)
    }

    fn filled(count: u32) -> History {
        let mut history = History::at(z(0));
        for counter in 1..=count {
            history.push(z(counter), Payload::from([counter as u8])).unwrap();
        }
        history
    }

    #[test]
    fn a_hole_is_refused_and_an_epoch_begins_with_one() {
        // S-05, S-13
        let mut history = filled(3);
        for wrong in [z(3), z(5), z(1), Zxid::new(2, 0), Zxid::new(2, 2), Zxid::new(0, 9)] {
            assert_eq!(history.push(wrong, Payload::from([])), Err(z(3)), "{wrong}");
        }
        assert_eq!(history.push(Zxid::new(7, 1), Payload::from([])), Ok(()));
        let mut end = History::at(Zxid::new(1, u32::MAX));
        assert!(end.push(Zxid::new(2, 0), Payload::from([])).is_err(), "the counter does not run into the epoch");
    }

    #[test]
    fn what_is_behind_a_zxid_is_found_by_its_counter_as_by_a_search() {
        let mut history = filled(3);
        history.push(Zxid::new(4, 1), Payload::from([])).unwrap();
        history.push(Zxid::new(4, 2), Payload::from([])).unwrap();
        for epoch in 0..6 {
            for counter in [0, 1, 2, 3, 4, 9, u32::MAX] {
                let after = Zxid::new(epoch, counter);
                let expected = history.ring.iter().filter(|(zxid, _)| *zxid <= after).count();
                assert_eq!(history.behind(after), expected, "{after}");
            }
        }
        assert_eq!(History::at(z(3)).behind(z(3)), 0);
    }

    #[test]
    fn nothing_is_deliverable_before_it_is_durable_and_committed() {
        let mut history = filled(3);
        history.commit(z(3));
        assert_eq!(history.deliverable(), None);
        history.synced(z(2));
        assert_eq!(history.deliverable(), Some(z(2)));
        history.deliver(z(2));
        assert_eq!(history.deliverable(), None);
    }

    #[test]
    #[should_panic(expected = "before it is in our log")]
    fn applying_what_is_not_in_our_log_is_a_bug() {
        let mut history = filled(1);
        history.commit(z(1));
        history.deliver(z(1));
    }

    #[test]
    fn the_window_keeps_the_newest_and_everything_that_is_not_delivered() {
        let mut history = filled(2_000);
        history.synced(z(2_000));
        history.commit(z(1_990));
        history.deliver(z(1_990));
        assert_eq!(history.between(z(0), z(1_990)).count(), 1_990, "they are still to be taken");
        history.trim();
        assert_eq!((history.base(), history.last()), (z(1_500), z(2_000)));
        assert_eq!(
            history.between(z(1_998), z(9_999)).map(|(zxid, _)| zxid.counter()).collect::<Vec<_>>(),
            [1_999, 2_000]
        );
        let mut undelivered = filled(2_000);
        undelivered.synced(z(2_000));
        undelivered.trim();
        assert_eq!(undelivered.base(), z(0));
    }

    #[test]
    fn what_is_cut_is_gone_from_every_position() {
        // S-15
        let mut history = filled(5);
        history.synced(z(5));
        history.commit(z(4));
        history.deliver(z(4));
        history.cut(z(2));
        assert_eq!(
            (history.last(), history.durable(), history.committed(), history.delivered()),
            (z(2), z(2), z(2), z(2))
        );
        assert_eq!(history.push(z(3), Payload::from([9])), Ok(()), "another history may follow");
        let mut old = History::at(Zxid::new(3, 7));
        old.cut(z(2));
        assert_eq!(old.last(), z(2));
    }

    #[test]
    fn what_memory_has_at_or_below_a_zxid_is_told_from_what_it_cannot_know() {
        let mut history = filled(3);
        history.push(Zxid::new(4, 1), Payload::from([])).unwrap();
        assert_eq!(history.last_upto(z(2)), Some(z(2)));
        assert_eq!(history.last_upto(Zxid::new(2, 5)), Some(z(3)));
        assert_eq!(history.last_upto(z(0)), Some(z(0)));
        assert_eq!(history.last_upto(Zxid::new(0, 5)), None);
    }
}
