//! "A quorum answered a ping that was sent after this moment": what a leader must know before it answers a `sync` (G-04).
//!
//! A learner answers each ping once, in order, from the moment it serves. So it is enough to count what was sent and what
//! was answered. One round is under way at a time; questions that come meanwhile share the next one.

use std::collections::BTreeMap;

use crate::failpoint::{self, Failpoint};
use crate::ids::LinkId;

/// Pings to one learner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Pings {
    sent: u64,
    answered: u64,
    /// The answer that closes the round.
    wanted: u64,
}

/// Questions and the pings that answer them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Confirm {
    pings: BTreeMap<LinkId, Pings>,
    /// Asked before the round under way began.
    asking: Vec<u64>,
    /// Asked since.
    waiting: Vec<u64>,
}

impl Confirm {
    /// A question. True when a round begins with it: then a ping is due now.
    pub(super) fn ask(&mut self, token: u64) -> bool {
        self.waiting.push(token);
        self.asking.is_empty() && self.next_round()
    }

    /// Begins a round for those that wait, if any. A ping is due then.
    pub(super) fn next_round(&mut self) -> bool {
        self.asking = std::mem::take(&mut self.waiting);
        for pings in self.pings.values_mut() {
            pings.wanted = pings.sent + u64::from(!failpoint::on(Failpoint::ConfirmedByOldPing));
        }
        !self.asking.is_empty()
    }

    /// Whether a round is under way.
    pub(super) fn is_asking(&self) -> bool {
        !self.asking.is_empty()
    }

    /// A ping was sent to a learner that answers.
    pub(super) fn sent(&mut self, link: LinkId) {
        // A learner that begins to serve within a round: its first ping is of this round.
        self.pings.entry(link).or_insert(Pings { sent: 0, answered: 0, wanted: 1 }).sent += 1;
    }

    /// A learner answered its oldest ping.
    pub(super) fn answered(&mut self, link: LinkId) {
        if let Some(pings) = self.pings.get_mut(&link) {
            // An answer to nothing confirms nothing.
            pings.answered = (pings.answered + 1).min(pings.sent);
        }
    }

    /// A learner is gone.
    pub(super) fn gone(&mut self, link: LinkId) {
        self.pings.remove(&link);
    }

    /// Whether this learner has answered a ping of the round.
    pub(super) fn has_answered(&self, link: LinkId) -> bool {
        self.pings.get(&link).is_some_and(|pings| pings.answered >= pings.wanted)
    }

    /// The round has ended: its questions.
    pub(super) fn take(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.asking)
    }
}

#[cfg(test)]
impl Confirm {
    /// Counts pings from the oldest one that is not answered, so that equal situations are equal values.
    pub(super) fn forget_the_past(&mut self) {
        for pings in self.pings.values_mut() {
            pings.sent -= pings.answered;
            pings.wanted = pings.wanted.saturating_sub(pings.answered);
            pings.answered = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LinkId = LinkId { slot: 1, generation: 0 };

    #[test]
    fn only_a_ping_sent_after_the_question_answers_it() {
        // G-04
        let mut confirm = Confirm::default();
        confirm.sent(A);
        assert!(confirm.ask(7), "a round begins");
        confirm.sent(A);
        confirm.answered(A);
        assert!(!confirm.has_answered(A), "that was the ping before the question");
        confirm.answered(A);
        assert!(confirm.has_answered(A));
        assert_eq!(confirm.take(), [7]);
    }

    #[test]
    fn questions_within_a_round_share_the_next_one() {
        let mut confirm = Confirm::default();
        assert!(confirm.ask(1));
        confirm.sent(A);
        assert!(!confirm.ask(2) && !confirm.ask(3), "no ping each");
        confirm.answered(A);
        assert!(confirm.has_answered(A));
        assert_eq!(confirm.take(), [1]);
        assert!(confirm.next_round());
        assert!(!confirm.has_answered(A), "the old answer does not count again");
        confirm.sent(A);
        confirm.answered(A);
        assert!(confirm.has_answered(A));
        assert_eq!(confirm.take(), [2, 3]);
        assert!(!confirm.next_round() && !confirm.is_asking());
    }

    #[test]
    fn an_answer_that_nobody_asked_for_confirms_nothing() {
        let mut confirm = Confirm::default();
        confirm.sent(A);
        confirm.answered(A);
        confirm.answered(A);
        confirm.answered(A);
        confirm.ask(1);
        confirm.sent(A);
        assert!(!confirm.has_answered(A));
    }
}
