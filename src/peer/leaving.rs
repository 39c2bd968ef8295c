//! A leader that goes, or gives its leadership away: first another member has everything, so that writes pause for an election
//! and no longer.

use super::answer::Answer;
use super::ensemble::has_other_voters;
use super::serving::ServerRole;
use super::{LEAVE_MS, Peer};
use crate::ids::Millis;

/// For so long a member that gave its leadership away keeps out of the election, ms.
const KEEPS_OUT_MS: u64 = 1000;

/// How a hand-over ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedOver {
    /// Another member leads, and this one follows it.
    Done,
    /// This one does not lead.
    DoesNotLead,
    /// No other member votes.
    NobodyElse,
    /// No other member had everything in time, or none was elected: this one goes on leading, or does again.
    Late,
}

/// A hand-over under way.
#[derive(Debug)]
pub(super) struct HandOver {
    by: Millis,
    stage: HandOverStage,
    answer: Answer<HandedOver>,
}

impl HandOver {
    /// How it ends where this server may take part in elections again since `until`, and is known to have this role; `None` where
    /// that is not known yet.
    fn ends(&self, role: ServerRole, until: Millis, now: Millis) -> Option<HandedOver> {
        match role {
            ServerRole::Following | ServerRole::Observing => Some(HandedOver::Done),
            // Nobody else was elected,
            ServerRole::Leading => (now >= self.by).then_some(HandedOver::Late),
            // or nobody was in time.
            _ => (now >= self.by.max(until.plus(KEEPS_OUT_MS))).then_some(HandedOver::Late),
        }
    }
}

/// How far a hand-over is, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandOverStage {
    /// Nothing new is taken until another member has everything.
    Waits(Millis),
    /// That took too long at a stretch: clients and their pings come first for a while.
    Rests(Millis),
    /// It keeps out of the election.
    Out(Millis),
}

impl HandOverStage {
    /// The same or the next one, while this member leads and no other one has everything. A disk of theirs that stands still must
    /// not cost the sessions that ping here.
    fn going_on(self, now: Millis) -> HandOverStage {
        match self {
            HandOverStage::Waits(until) if now >= until => HandOverStage::Rests(now.plus(LEAVE_MS)),
            HandOverStage::Rests(until) if now >= until => HandOverStage::Waits(now.plus(LEAVE_MS)),
            stage => stage,
        }
    }
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
        if self.hand_over.is_some() || self.role_told.role != ServerRole::Leading {
            return answer.give(HandedOver::DoesNotLead);
        }
        if !has_other_voters(&self.config) {
            return answer.give(HandedOver::NobodyElse);
        }
        log::info!("this server is to hand its leadership over: it waits until another has everything");
        self.member.begin_leaving();
        let (now, _) = self.time();
        let stage = HandOverStage::Waits(now.plus(LEAVE_MS));
        self.hand_over = Some(HandOver { by: now.plus(limit_ms), stage, answer });
    }

    /// Whether requests of clients stay where they are, because this server is about to lead no more.
    pub(super) fn takes_nothing(&self) -> bool {
        let waits = |hand_over: &HandOver| matches!(hand_over.stage, HandOverStage::Waits(_));
        self.leaves_by.is_some() || self.hand_over.as_ref().is_some_and(waits)
    }

    fn stay(&mut self) {
        // Unless it is to stop as well.
        if self.leaves_by.is_none() {
            self.member.stay();
        }
    }

    /// Goes on with a hand-over. It goes by what was told of this server's role: who has been answered sees what it was told.
    pub(super) fn serve_hand_over(&mut self, now: Millis) {
        let Some(mut hand_over) = self.hand_over.take() else { return };
        let role = self.role_told.role;
        match (hand_over.stage, &mut self.network) {
            (HandOverStage::Out(until), Some(network)) if now >= until => {
                network.cut_off(now, false);
                self.stay();
                if let Some(how) = hand_over.ends(role, until, now) {
                    return hand_over.answer.give(how);
                }
                if role == ServerRole::Leading {
                    log::info!("no other server has taken over yet, and this one leads: it hands over once more");
                    self.member.begin_leaving();
                    hand_over.stage = HandOverStage::Waits(now.plus(LEAVE_MS));
                }
            }
            (HandOverStage::Out(_), _) => {}
            // It has lost its followers: they elect one of them.
            _ if role != ServerRole::Leading => hand_over.stage = HandOverStage::Out(now),
            (HandOverStage::Waits(_), Some(network)) if self.member.may_leave() => {
                log::info!("another server has everything: this one leads no more");
                network.withdraw(now);
                hand_over.stage = HandOverStage::Out(now.plus(KEEPS_OUT_MS));
            }
            _ if now >= hand_over.by => {
                log::warn!("no other server has everything: this one goes on leading");
                self.stay();
                return hand_over.answer.give(HandedOver::Late);
            }
            (stage, _) => {
                hand_over.stage = stage.going_on(now);
                match hand_over.stage {
                    HandOverStage::Rests(_) => self.stay(),
                    _ => drop(self.member.begin_leaving()),
                }
            }
        }
        self.hand_over = Some(hand_over);
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::question;
    use super::*;

    #[test]
    fn who_waits_with_a_hand_over_takes_requests_again_at_least_every_half_second() {
        // G-10, R-24
        let mut stage = HandOverStage::Waits(Millis(1500));
        let mut waited = Vec::new();
        for now in (1000..3000).step_by(100) {
            stage = stage.going_on(Millis(now));
            waited.push(matches!(stage, HandOverStage::Waits(_)));
        }
        let (first, rest) = waited.split_at(10);
        assert_eq!(first, [[true; 5], [false; 5]].concat());
        assert_eq!(rest, first);
        assert_eq!(HandOverStage::Out(Millis(1)).going_on(Millis(9)), HandOverStage::Out(Millis(1)));
    }

    #[test]
    fn a_hand_over_is_done_once_this_server_is_known_to_follow_and_not_while_it_still_looks() {
        let (answer, _) = question();
        let (until, by) = (Millis(2000), Millis(60_000));
        let hand_over = HandOver { by, stage: HandOverStage::Out(until), answer };
        let ends = |role, now| hand_over.ends(role, until, Millis(now));
        assert_eq!(ends(ServerRole::Looking, 2000), None);
        assert_eq!(ends(ServerRole::Looking, 59_999), None);
        assert_eq!(ends(ServerRole::Looking, 60_000), Some(HandedOver::Late));
        for now in [2000, 60_000] {
            assert_eq!(ends(ServerRole::Observing, now), Some(HandedOver::Done));
            assert_eq!(ends(ServerRole::Following, now), Some(HandedOver::Done));
        }
        // It was elected again, and there is time for another try.
        assert_eq!(ends(ServerRole::Leading, 59_999), None);
        assert_eq!(ends(ServerRole::Leading, 60_000), Some(HandedOver::Late));
    }
}
