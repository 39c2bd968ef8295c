//! How a learner is brought up to date: what it lacks, what it has too much, or everything (in ZooKeeper's terms:
//! `LearnerHandler.syncFollower`).

use super::history::History;
use crate::ids::Zxid;

/// What a leader sends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Plan {
    /// What follows the learner's last transaction. It has nothing that the leader has not.
    Diff,
    /// The learner drops what is above this; then as [`Plan::Diff`] from there.
    Trunc(Zxid),
    /// The learner's last transaction is older than memory: the log tells. Then [`from_log`].
    AskLog,
    /// Everything, by a snapshot.
    Snap,
}

/// Decides for a learner whose last transaction is `theirs`, where `committed` is what counts as committed here.
pub(super) fn from_memory(theirs: Zxid, history: &History, committed: Zxid) -> Plan {
    if theirs == committed {
        return Plan::Diff;
    }
    // A directory of ZooKeeper's with a log and no snapshot would refuse to start.
    if theirs <= Zxid::ZERO {
        return Plan::Snap;
    }
    if theirs > committed && !is_epoch_start(theirs) {
        return Plan::Trunc(committed);
    }
    match history.last_upto(theirs) {
        None => Plan::AskLog,
        Some(before) => decide(theirs, before, history.next_after(theirs).filter(|next| *next <= committed)),
    }
}

/// Decides once the log has told the last transaction at or below `theirs`, if it reaches back so far, and what follows.
pub(super) fn from_log(theirs: Zxid, before: Option<Zxid>, next: Option<Zxid>) -> Plan {
    before.map_or(Plan::Snap, |before| decide(theirs, before, next))
}

fn decide(theirs: Zxid, before: Zxid, next: Option<Zxid>) -> Plan {
    if before == theirs || is_epoch_start(theirs) {
        return Plan::Diff;
    }
    match next {
        // Within an epoch the learner's extra end can be cut; an older epoch's end may hide more.
        Some(next) if next.epoch() == theirs.epoch() => Plan::Trunc(before),
        _ => Plan::Snap,
    }
}

/// Whether no transaction has this zxid: a leader that took office, or a state received at that moment, reports it.
fn is_epoch_start(zxid: Zxid) -> bool {
    zxid.counter() == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::txn::Payload;

    fn z(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(epoch, counter)
    }

    /// Transactions 1:5 … 1:9, 3:1 … 3:4 in memory.
    fn history() -> History {
        let mut history = History::at(z(1, 4));
        for zxid in (5..=9).map(|counter| z(1, counter)).chain((1..=4).map(|counter| z(3, counter))) {
            history.push(zxid, Payload::from([])).unwrap();
        }
        history
    }

    fn check(theirs: Zxid, expected: Plan) {
        assert_eq!(from_memory(theirs, &history(), z(3, 4)), expected, "{theirs}");
    }

    #[test]
    fn a_learner_gets_what_zookeeper_would_give_it() {
        check(z(3, 4), Plan::Diff);
        check(z(3, 1), Plan::Diff);
        check(z(1, 4), Plan::Diff);
        check(z(1, 9), Plan::Diff);
        check(z(3, 0), Plan::Diff);
        check(z(3, 9), Plan::Trunc(z(3, 4)));
        check(z(4, 2), Plan::Trunc(z(3, 4)));
        check(z(1, 12), Plan::Snap);
        check(z(2, 3), Plan::Snap);
        check(z(1, 3), Plan::AskLog);
        check(Zxid::ZERO, Plan::Snap);
        check(Zxid(-1), Plan::Snap);
        assert_eq!(from_memory(Zxid::ZERO, &History::at(Zxid::ZERO), Zxid::ZERO), Plan::Diff, "nothing to nothing");
        assert_eq!(from_memory(z(4, 0), &history(), z(3, 4)), Plan::Diff, "established and then nothing");
    }

    #[test]
    fn within_an_epoch_an_end_that_nobody_else_has_is_cut() {
        // SC-12: what the learner has beyond the last common transaction, not more, not less.
        let mut gap = History::at(z(1, 4));
        gap.push(z(1, 5), Payload::from([])).unwrap();
        assert_eq!(from_memory(z(1, 7), &gap, z(1, 5)), Plan::Trunc(z(1, 5)));
        assert_eq!(from_log(z(1, 7), Some(z(1, 5)), Some(z(1, 8))), Plan::Trunc(z(1, 5)));
    }

    #[test]
    fn the_log_decides_as_memory_does_and_without_it_everything_is_sent() {
        assert_eq!(from_log(z(1, 3), Some(z(1, 3)), Some(z(1, 4))), Plan::Diff);
        assert_eq!(from_log(z(1, 0), Some(z(0, 9)), Some(z(1, 1))), Plan::Diff);
        assert_eq!(from_log(z(1, 3), Some(z(1, 1)), Some(z(2, 1))), Plan::Snap);
        assert_eq!(from_log(z(1, 3), None, Some(z(1, 9))), Plan::Snap);
    }

    #[test]
    fn what_is_not_committed_yet_is_cut_and_sent_again() {
        // The learner's list of pending proposals must be what this leader sends, or a COMMIT finds another head.
        assert_eq!(from_memory(z(3, 4), &history(), z(3, 2)), Plan::Trunc(z(3, 2)));
    }
}
