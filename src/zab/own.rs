//! What every role of a member works on: its history, its record, what is under way on its disk, and the actions to come.

use std::collections::VecDeque;

use super::event::{EpochPasswords, Leaving, MemberRecord, ZabAction};
use super::history::History;
use super::newcomer::{SILENT, VotingRight};
use super::quorum::Quorums;
use super::reconfig::{Configs, Configuring};
use super::{LinkId, Payload};
use crate::ids::{Millis, ServerId, Zxid};
use crate::records::peer::{PacketType, QuorumPacket};
use crate::session::SessionPasswords;

/// What the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ZabSettings {
    /// Who this member is.
    pub me: ServerId,
    /// Whether it may vote: not an observer.
    pub is_participant: bool,
    /// Who decides.
    pub quorums: Quorums,
    /// The configuration's text, as notifications and NEWLEADER carry it.
    pub config: std::sync::Arc<str>,
    /// `tickTime`, ms.
    pub tick_ms: u64,
    /// `initLimit`: ticks for a learner to connect and sync.
    pub init_limit: u64,
    /// `syncLimit`: ticks of silence, or of lagging.
    pub sync_limit: u64,
    /// The configurations to begin with, where they may change; role, voters and text follow from them then, now and later.
    pub reconfig: Option<Configs>,
    /// `zoarium.sessionPasswords`: what this member says when it leads; `None`: what was said last.
    pub passwords: Option<SessionPasswords>,
}

impl ZabSettings {
    /// `initLimit` in ms.
    pub fn init_ms(&self) -> u64 {
        self.tick_ms * self.init_limit
    }

    /// `syncLimit` in ms.
    pub fn sync_ms(&self) -> u64 {
        self.tick_ms * self.sync_limit
    }
}

/// Why a role ends. The next is always to look for a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RoleEnd {
    /// A leader without a quorum, before or after it was established.
    NoQuorum,
    /// The epochs or the zxids of this epoch are used up: a new epoch begins.
    CounterUsedUp,
    /// The connection to the leader was lost, or the leader is silent.
    LeaderLost(Leaving),
    /// The leader sent what breaks the protocol.
    LeaderBroke(&'static str),
    /// What the leader asked for could not be carried out on our disk.
    DiskFailed,
    /// Our log cannot be made to end where the leader's does: the next leader is asked for its state.
    CannotTruncate,
    /// Another configuration is in force, in which this member has another role or another leader.
    Reconfigured {
        /// Who leads from now on, if that was said: there is no election then.
        leader: Option<ServerId>,
    },
    /// A member of ZooKeeper's has come, and sessions are to get passwords that it takes: a new epoch begins.
    OthersPasswords,
    /// A voter has come that has accepted a higher epoch than this one, and may not follow: a new epoch begins, above that.
    PromisedHigher {
        /// The voter.
        server: ServerId,
        /// The epoch that it accepted.
        epoch: u32,
    },
}

/// This member's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Own {
    /// What the configuration says.
    pub(super) settings: ZabSettings,
    /// Whether our vote may count, as our file says.
    pub(super) right: VotingRight,
    /// Whether what we have may count for the leader that was elected last.
    pub(super) counts: bool,
    /// The end of the history.
    pub(super) history: History,
    /// What is durable beside the log.
    pub(super) record: MemberRecord,
    /// Grows with every role: what belonged to another one has no effect (S-16).
    pub(super) run: u64,
    /// The present.
    pub(super) now: Millis,
    /// An append that was begun and not reported yet.
    pub(super) appending: Option<Zxid>,
    /// Other durable work that was asked for and not reported yet.
    pub(super) keeping: Option<MemberRecord>,
    /// What is to be kept once that is over.
    pub(super) keep_next: Option<MemberRecord>,
    /// The configurations, where they may change.
    pub(super) reconfig: Option<Box<Configuring>>,
    /// Who leads next, without an election.
    pub(super) designated: Option<ServerId>,
    /// A truncation under way.
    pub(super) truncating: Option<Zxid>,
    /// The history as it was before that, should it come to nothing.
    pub(super) uncut: Option<Box<History>>,
    /// What the next leader is told in place of the end of our log, which could not be cut as one wanted, so that it sends its
    /// state.
    pub(super) pretends: Option<Zxid>,
    /// An installation under way.
    pub(super) installing: bool,
    /// A learner came that takes no passwords from its leader, or a leader that hands none down: one of ZooKeeper's, which knows only
    /// its own.
    pub(super) has_met_others: bool,
    /// The epoch for which this member left its own last, because a voter had accepted it: the next one is above it.
    pub(super) promised_by_others: u32,
    /// The log cannot be written any more.
    pub(super) is_failed: bool,
    /// Actions not taken yet.
    pub(super) actions: VecDeque<ZabAction>,
}

impl Own {
    /// Asks for one more thing.
    pub(super) fn act(&mut self, action: ZabAction) {
        self.actions.push_back(action);
    }

    /// Sends a packet of 20 bytes.
    pub(super) fn send_bare(&mut self, link: LinkId, kind: PacketType, zxid: Zxid) {
        self.act(ZabAction::Send { link, packet: QuorumPacket::bare(kind, zxid) });
    }

    /// Sends a packet with data.
    pub(super) fn send(&mut self, link: LinkId, kind: PacketType, zxid: Zxid, data: Payload) {
        self.act(ZabAction::Send { link, packet: QuorumPacket::with_data(kind, zxid, data) });
    }

    /// Closes a connection.
    pub(super) fn close(&mut self, link: LinkId, why: Leaving) {
        self.act(ZabAction::Close { link, why });
    }

    /// Makes epochs durable. They never fall (S-08), and one change is under way at a time.
    pub(super) fn keep(&mut self, record: MemberRecord) {
        // A configuration may be on its way there, asked for by nobody who waits.
        let is_free = self.keep_next.is_none() && (self.keeping.is_none() || self.reconfig.is_some());
        assert!(is_free, "two records are being kept at once");
        assert!(
            record.accepted_epoch >= self.record.accepted_epoch && record.current_epoch >= self.record.current_epoch,
            "an epoch falls: {record:?} after {:?}",
            self.record
        );
        assert!(record.current_epoch <= record.accepted_epoch, "an epoch was not accepted before: {record:?}");
        match self.keeping {
            Some(_) => self.keep_next = Some(record),
            None => self.begin_keeping(record),
        }
    }

    fn begin_keeping(&mut self, record: MemberRecord) {
        self.keeping = Some(record);
        let configs = self.reconfig.as_mut().map(|reconfig| {
            reconfig.begin_keeping();
            Box::new(reconfig.configs.clone())
        });
        let run = self.run;
        self.act(ZabAction::Keep { run, record, configs });
    }

    /// Keeps what has come up since the last record was begun.
    pub(super) fn keep_on(&mut self) {
        if self.keeping.is_some() {
            return;
        }
        if let Some(record) = self.keep_next.take() {
            self.begin_keeping(record);
        } else if self.reconfig.as_ref().is_some_and(|reconfig| !reconfig.is_asked_for()) {
            self.begin_keeping(self.record);
        }
    }

    /// The next leader is to send its state: every leader does to a member whose log ends here, unless its own does as well.
    pub(super) fn asks_for_state(&mut self, end: Zxid) {
        self.pretends = Some(end);
    }

    /// Where our log ends, for a leader.
    pub(super) fn end_for_leader(&self) -> Zxid {
        // What ends nowhere is not counted by leaders, and they send their state to it.
        let end = if self.counts { self.history.durable() } else { SILENT };
        self.pretends.unwrap_or(end)
    }

    /// How passwords are made in an epoch that we lead.
    pub(super) fn passwords_to_lead_with(&self) -> EpochPasswords {
        let kept = self.record.passwords;
        let is_new = self.record.current_epoch == 0 && self.history.last() == Zxid::ZERO;
        // Sessions that came with the file, from a server alone or from ZooKeeper's, may have either kind.
        let unsaid = if is_new { SessionPasswords::Keyed } else { SessionPasswords::Moving };
        let may_have_others = !is_new && matches!(kept.mode, None | Some(SessionPasswords::Compatible));
        let mode = match self.settings.passwords {
            _ if self.has_met_others => SessionPasswords::Compatible,
            // Sessions have ZooKeeper's, or may: those are taken for one epoch more, in which each client learns its own.
            Some(SessionPasswords::Keyed) if may_have_others => SessionPasswords::Moving,
            wanted => wanted.or(kept.mode).unwrap_or(unsaid),
        };
        EpochPasswords { mode: Some(mode), ..kept }
    }

    /// Whether durable work is under way whose result must come before another role may begin (S-16).
    pub(super) fn is_busy(&self) -> bool {
        self.appending.is_some() || self.keeping.is_some() || self.truncating.is_some() || self.installing
    }

    /// Applies what has become deliverable, with answers to clients.
    pub(super) fn deliver(&mut self) {
        if let Some(upto) = self.answerable() {
            self.history.deliver(upto);
            self.act(ZabAction::Deliver { upto });
        }
    }

    /// Applies what has become deliverable, with nobody to answer.
    pub(super) fn replay(&mut self) {
        if let Some(upto) = self.history.deliverable() {
            self.history.deliver(upto);
            self.act(ZabAction::Replay { upto });
        }
    }
}
