//! A leader that goes, or gives its leadership away: first another member has everything, so that writes pause for an election
//! and no longer.

use super::answer::Answer;
use super::{LEAVE_MS, Peer};
use crate::ids::Millis;
use crate::zab::Standing;

/// For so long a member that gave its leadership away keeps out of the election, ms.
const KEEPS_OUT_MS: u64 = 1000;

/// How a hand-over ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedOver {
    /// Another member leads, and this one follows it.
    Done,
    /// This one does not lead.
    DoesNotLead,
    /// No other member had everything in time, or none was elected: this one goes on leading, or does again.
    Late,
}

/// A hand-over under way.
#[derive(Debug)]
pub(super) struct HandOver {
    by: Millis,
    /// Since when it keeps out of the election.
    out_until: Option<Millis>,
    answer: Answer<HandedOver>,
}

impl Peer {
    /// Is to stop. False where that may be at once.
    pub(super) fn begin_to_leave(&mut self) -> bool {
        if !self.member.begin_leaving() {
            return false;
        }
        log::info!("this server leads and is to stop: it waits until another has everything");
        self.leaves_by = Some(self.time().0.plus(LEAVE_MS));
        true
    }

    /// Is to give its leadership away.
    pub(super) fn begin_to_hand_over(&mut self, limit_ms: u64, answer: Answer<HandedOver>) {
        if self.hand_over.is_some() || !matches!(self.member.standing(), Some(Standing::Leading { .. })) {
            return answer.give(HandedOver::DoesNotLead);
        }
        log::info!("this server is to hand its leadership over: it waits until another has everything");
        self.member.begin_leaving();
        self.hand_over = Some(HandOver { by: self.time().0.plus(limit_ms), out_until: None, answer });
    }

    /// Whether requests of clients stay where they are, because this server is about to lead no more.
    pub(super) fn takes_nothing(&self) -> bool {
        self.leaves_by.is_some() || self.hand_over.as_ref().is_some_and(|hand_over| hand_over.out_until.is_none())
    }

    fn stay(&mut self) {
        // Unless it is to stop as well.
        if self.leaves_by.is_none() {
            self.member.stay();
        }
    }

    /// Goes on with a hand-over.
    pub(super) fn serve_hand_over(&mut self, now: Millis) {
        let Some(mut hand_over) = self.hand_over.take() else { return };
        let standing = self.member.standing();
        let leads = matches!(standing, Some(Standing::Leading { .. }));
        match (hand_over.out_until, &mut self.network) {
            // It has lost its followers: they elect one of them.
            (None, _) if !leads => hand_over.out_until = Some(now),
            (None, Some(network)) if self.member.may_leave() => {
                log::info!("another server has everything: this one leads no more");
                network.withdraw(now);
                hand_over.out_until = Some(now.plus(KEEPS_OUT_MS));
            }
            (None, _) if now >= hand_over.by => {
                log::warn!("no other server has everything: this one goes on leading");
                self.stay();
                return hand_over.answer.give(HandedOver::Late);
            }
            (Some(until), Some(network)) if now >= until => {
                network.cut_off(now, false);
                self.stay();
                if matches!(standing, Some(Standing::Following { .. })) {
                    return hand_over.answer.give(HandedOver::Done);
                }
                // Nobody else was elected, or nobody was in time.
                if leads || now >= hand_over.by.max(until.plus(KEEPS_OUT_MS)) {
                    return hand_over.answer.give(HandedOver::Late);
                }
            }
            _ => {}
        }
        self.hand_over = Some(hand_over);
    }
}
