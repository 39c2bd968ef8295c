//! A learner, as its leader knows it.

use std::collections::{BTreeMap, VecDeque};

use super::own::Own;
use super::{LinkId, Payload, ZabSettings};
use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, ServerId, Zxid};
use crate::records::peer::PacketType;

/// So many times `initLimit` a learner may take to install a state.
const INSTALL_LIMITS: u64 = 10;

/// How far a learner has come, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LearnerStage {
    AwaitInfo,
    AwaitEpoch,
    AwaitEpochAck,
    /// Its last transaction is known.
    AwaitPlan(Zxid),
    /// The log is asked what it lacks; this is its last transaction.
    AskingLog(Zxid),
    /// The log is being read to it.
    Reading,
    OpeningSnapshot,
    StreamingSnapshot,
    /// It was sent everything and is on the list.
    AwaitAck,
    /// It has the whole history.
    Live,
}

/// A learner, as its leader knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LearnerHandler {
    pub(super) server: ServerId,
    pub(super) stage: LearnerStage,
    pub(super) is_observer: bool,
    /// The last transaction that is queued to it.
    pub(super) sent: Zxid,
    /// Up to where it has been told of commits.
    pub(super) told: Zxid,
    /// Up to where it has everything on disk.
    pub(super) acked: Zxid,
    pub(super) is_up_to_date: bool,
    pub(super) heard_at: Millis,
    /// A proposal, and when it began to wait for its acknowledgement.
    pub(super) tracked: Option<(Zxid, Millis)>,
    /// It was sent the whole state and makes it its own.
    pub(super) installs: bool,
    /// Of a follower: what it was sent and not told to be committed, of which memory may not have all any more when it comes
    /// to that.
    pub(super) untold: VecDeque<Zxid>,
    /// It has acknowledged the history that it was sent.
    pub(super) has_history: bool,
}

impl LearnerHandler {
    /// A learner that has connected at `now`.
    pub(super) fn new(now: Millis) -> LearnerHandler {
        LearnerHandler {
            server: ServerId::default(),
            stage: LearnerStage::AwaitInfo,
            is_observer: true,
            sent: Zxid::ZERO,
            told: Zxid::ZERO,
            acked: Zxid::ZERO,
            is_up_to_date: false,
            heard_at: now,
            tracked: None,
            installs: false,
            untold: VecDeque::new(),
            has_history: false,
        }
    }

    /// Whether it has introduced itself as this server.
    pub(super) fn is_server(&self, server: ServerId) -> bool {
        self.stage != LearnerStage::AwaitInfo && self.server == server
    }

    /// Whether it receives proposals as they are made.
    pub(super) fn is_listed(&self) -> bool {
        match self.stage {
            LearnerStage::AwaitAck => !failpoint::on(Failpoint::ListedLate),
            stage => stage == LearnerStage::Live,
        }
    }

    /// How long it may say nothing, ms. The protocol has no word for a learner that installs a state, so one that has much
    /// to install would be dropped for its silence, begin anew, and be dropped again.
    pub(super) fn silence_max_ms(&self, settings: &ZabSettings) -> u64 {
        match self.stage {
            LearnerStage::Live => settings.sync_ms(),
            LearnerStage::AwaitAck if self.installs => INSTALL_LIMITS * settings.init_ms(),
            _ => settings.init_ms(),
        }
    }

    /// Whether it counts among those without whom its leader would step down. One that installs a state is waited for longer than
    /// this, but nothing tells it from one that has died, and nothing is committed with it.
    pub(super) fn is_heard(&self, now: Millis, settings: &ZabSettings) -> bool {
        now.since(self.heard_at) <= settings.init_ms()
    }

    /// Sends it, over `link`, a transaction of its history that is committed. An observer whose history has ended is informed of it,
    /// as of those to come: no COMMIT comes between NEWLEADER and UPTODATE.
    pub(super) fn send_committed(
        &mut self,
        own: &mut Own,
        link: LinkId,
        (zxid, txn): (Zxid, Payload),
        leaders: &BTreeMap<Zxid, ServerId>,
    ) {
        if self.has_history {
            inform(own, link, zxid, txn, leaders);
        } else {
            own.send(link, PacketType::PROPOSAL, zxid, txn);
            own.send_bare(link, PacketType::COMMIT, zxid);
        }
        (self.sent, self.told) = (zxid, zxid);
    }

    /// Tells it, over `link`, of the commits it was not told of. `leaders`: of reconfigurations among them, who leads by each.
    pub(super) fn tell_commits(&mut self, own: &mut Own, link: LinkId, leaders: &BTreeMap<Zxid, ServerId>) {
        let committed = own.history.committed();
        if self.is_observer {
            assert!(self.told >= own.history.base(), "an observer is to be told what memory does not have");
            let newly: Vec<_> = own.history.between(self.told, committed).cloned().collect();
            for (zxid, txn) in newly {
                inform(own, link, zxid, txn, leaders);
                (self.sent, self.told) = (zxid, zxid);
            }
            return;
        }
        if failpoint::on(Failpoint::CommitsReversed) && self.untold.get(1).is_some_and(|next| *next <= committed) {
            self.untold.swap(0, 1);
        }
        while let Some(zxid) = self.untold.front().copied().filter(|zxid| *zxid <= committed) {
            self.untold.pop_front();
            match leaders.get(&zxid) {
                Some(leader) => own.send(link, PacketType::COMMITANDACTIVATE, zxid, leader.0.to_be_bytes()[..].into()),
                None => own.send_bare(link, PacketType::COMMIT, zxid),
            }
            self.told = zxid;
        }
        assert!(self.told >= committed, "{committed} is committed to a learner that was not sent it");
    }
}

/// Tells an observer of a transaction that is committed; of a reconfiguration with who leads by it, in front.
fn inform(own: &mut Own, link: LinkId, zxid: Zxid, txn: Payload, leaders: &BTreeMap<Zxid, ServerId>) {
    match leaders.get(&zxid) {
        Some(leader) => {
            let data = [&leader.0.to_be_bytes()[..], &txn].concat();
            own.send(link, PacketType::INFORMANDACTIVATE, zxid, data.into());
        }
        None => own.send(link, PacketType::INFORM, zxid, txn),
    }
}
