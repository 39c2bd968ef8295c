//! What a learner lacks: how it is told, and how it is sent while the leader goes on.

use std::sync::Arc;

use super::{Leader, LeaderPhase};
use crate::failpoint::{self, Failpoint};
use crate::ids::{LinkId, Zxid};
use crate::records::peer::PacketType;
use crate::zab::Payload;
use crate::zab::event::{Leaving, ZabAction};
use crate::zab::learner_handler::LearnerStage;
use crate::zab::own::Own;
use crate::zab::plan::{self, Plan};

impl Leader {
    pub(super) fn plan(&mut self, own: &mut Own, link: LinkId) {
        let committed = self.committed(own);
        let Some(learner) = self.learners.get_mut(&link) else { return };
        let LearnerStage::AwaitPlan(theirs) = learner.stage else { return };
        let plan = plan::from_memory(theirs, &own.history, committed);
        self.carry_out(own, link, theirs, plan);
    }

    fn carry_out(&mut self, own: &mut Own, link: LinkId, theirs: Zxid, plan: Plan) {
        let committed = self.committed(own);
        let Some(learner) = self.learners.get_mut(&link) else { return };
        match plan {
            Plan::Diff => {
                own.send_bare(link, PacketType::DIFF, committed);
                let skips = failpoint::on(Failpoint::DiffFromEpoch);
                let theirs = if skips { theirs.max(Zxid::new(committed.epoch(), 0)) } else { theirs };
                (learner.sent, learner.told) = (theirs, theirs);
                self.feed(own, link);
            }
            Plan::Trunc(to) => {
                let to = match failpoint::on(Failpoint::TruncTooFar) {
                    true => own.history.last_upto(Zxid(to.0 - 1)).unwrap_or(to),
                    false => to,
                };
                let kind = if failpoint::on(Failpoint::TruncLeftOut) { PacketType::DIFF } else { PacketType::TRUNC };
                own.send_bare(link, kind, to);
                (learner.sent, learner.told) = (to, to);
                self.feed(own, link);
                if failpoint::on(Failpoint::CutCountsAsAcked)
                    && let Some(learner) = self.learners.get_mut(&link)
                {
                    learner.acked = theirs;
                }
            }
            Plan::AskLog => {
                learner.stage = LearnerStage::AskingLog(theirs);
                own.act(ZabAction::Read { link, after: theirs });
            }
            Plan::Snap => {
                learner.stage = LearnerStage::OpeningSnapshot;
                own.act(ZabAction::OpenSnapshot { link });
            }
        }
    }

    /// The log's answer.
    pub(in crate::zab) fn records(
        &mut self,
        own: &mut Own,
        link: LinkId,
        before: Option<Zxid>,
        txns: &[(Zxid, Payload)],
    ) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        match learner.stage {
            LearnerStage::AskingLog(theirs) => {
                let plan = plan::from_log(theirs, before, txns.first().map(|(zxid, _)| *zxid));
                match plan {
                    // From the log, as long as memory does not reach back so far.
                    Plan::Diff | Plan::Trunc(_) => {
                        let (kind, from) = match plan {
                            Plan::Trunc(to) => (PacketType::TRUNC, to),
                            _ => (PacketType::DIFF, theirs),
                        };
                        let committed = self.committed(own);
                        own.send_bare(link, kind, if kind == PacketType::TRUNC { from } else { committed });
                        if let Some(learner) = self.learners.get_mut(&link) {
                            (learner.sent, learner.told) = (from, from);
                            learner.stage = LearnerStage::Reading;
                        }
                        self.read_on(own, link, txns);
                    }
                    other => self.carry_out(own, link, theirs, other),
                }
            }
            // The log begins behind what it lacks: the extents were given up meanwhile.
            LearnerStage::Reading if before != Some(learner.sent) => {
                self.drop_learner(own, link, Leaving::Protocol("the log does not reach back so far any more"));
            }
            LearnerStage::Reading => self.read_on(own, link, txns),
            _ => {}
        }
    }

    fn read_on(&mut self, own: &mut Own, link: LinkId, txns: &[(Zxid, Payload)]) {
        let committed = self.committed(own);
        let Some(learner) = self.learners.get_mut(&link) else { return };
        // While it is being sent its history it has nothing to say.
        learner.heard_at = own.now;
        for (zxid, txn) in txns.iter().filter(|(zxid, _)| *zxid <= committed) {
            if *zxid > learner.sent {
                learner.send_committed(own, link, (*zxid, Arc::clone(txn)), &self.succession.leaders);
            }
        }
        if learner.sent >= own.history.base() {
            self.feed(own, link);
        } else if txns.is_empty() {
            self.drop_learner(own, link, Leaving::Protocol("the log ends before memory begins"));
        } else {
            let after = learner.sent;
            own.act(ZabAction::Read { link, after });
        }
    }

    /// The newest snapshot can be sent.
    pub(in crate::zab) fn snapshot_opened(&mut self, own: &mut Own, link: LinkId, zxid: Zxid) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        if learner.stage == LearnerStage::OpeningSnapshot {
            learner.stage = LearnerStage::StreamingSnapshot;
            learner.installs = true;
            (learner.sent, learner.told) = (zxid, zxid);
            own.send_bare(link, PacketType::SNAP, zxid);
            own.act(ZabAction::StreamSnapshot { link });
        }
    }

    /// The learner has taken more of the snapshot. It has nothing to say meanwhile.
    pub(in crate::zab) fn state_moves(&mut self, own: &Own, link: LinkId) {
        if let Some(learner) = self.learners.get_mut(&link)
            && learner.stage == LearnerStage::StreamingSnapshot
        {
            learner.heard_at = own.now;
        }
    }

    /// The snapshot was sent. What was committed since is in memory, or in the log.
    pub(in crate::zab) fn snapshot_streamed(&mut self, own: &mut Own, link: LinkId) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        if learner.stage != LearnerStage::StreamingSnapshot {
            return;
        }
        learner.heard_at = own.now;
        if learner.sent >= own.history.base() {
            self.feed(own, link);
        } else {
            learner.stage = LearnerStage::Reading;
            let after = learner.sent;
            own.act(ZabAction::Read { link, after });
        }
    }

    /// Sends the rest from memory, the outstanding proposals too, puts the learner on the list and ends its history.
    pub(super) fn feed(&mut self, own: &mut Own, link: LinkId) {
        let committed = self.committed(own);
        let Some(learner) = self.learners.get_mut(&link) else { return };
        let forgets = failpoint::on(Failpoint::ListedWithoutOutstanding);
        let last = if learner.is_observer || forgets { committed } else { own.history.last() };
        let missing: Vec<_> = own.history.between(learner.sent, last).cloned().collect();
        for (zxid, txn) in missing {
            if zxid <= committed {
                learner.send_committed(own, link, (zxid, txn), &self.succession.leaders);
                continue;
            }
            if failpoint::on(Failpoint::SentTwice) {
                own.send(link, PacketType::PROPOSAL, zxid, Arc::clone(&txn));
            }
            own.send(link, PacketType::PROPOSAL, zxid, txn);
            learner.untold.push_back(zxid);
            learner.sent = zxid;
        }
        // Commits on the way to a learner count from here: what it has acknowledged by its history needs none.
        learner.told = learner.told.max(committed.min(learner.sent));
        learner.acked = learner.told;
        if learner.has_history {
            learner.stage = LearnerStage::Live;
            return self.up_to_date(own, link);
        }
        learner.stage = LearnerStage::AwaitAck;
        let config = own.newleader_config(!learner.is_observer || self.phase < LeaderPhase::Broadcasting);
        own.send(link, PacketType::NEWLEADER, self.epoch_start(), config);
    }
}
