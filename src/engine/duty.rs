//! What a server is there for: taking a duty, and laying it down.
//!
//! | duty | writes | reads | sessions |
//! |---|---|---|---|
//! | none | | | clients are refused |
//! | alone | decided here | yes | created, expired and resumed here |
//! | decide | decided here, for learners too | yes | expired and revalidated here for the whole ensemble |
//! | forward | sent to the leader | yes | created, ended and resumed by way of the leader, never expired |
//! | read-only | refused | yes | known here only |
//!
//! Who decides or forwards in an ensemble may have sessions that are known here only, too (`local_sessions.rs`).

use std::collections::VecDeque;

use super::conn::{CloseReason, ConnId, ConnPhase};
use super::settings::EngineLimits;
use super::{Damage, Engine};
use crate::failpoint::{self, Failpoint};
use crate::ids::{LinkId, Millis, SessionId, WallMillis, Zxid};
use crate::jute::FIELD_SIZE_MAX;
use crate::records::peer::QuorumPacket;
use crate::session::{SessionPasswords, SessionSecret};

/// What a server is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Nothing yet, or nothing any more: there is no leader.
    None,
    /// It is a server by itself.
    Alone {
        /// The epoch of its file.
        epoch: u32,
    },
    /// It leads an ensemble and decides for all its servers.
    Decide {
        /// Its epoch.
        epoch: u32,
    },
    /// It follows: it answers reads and sends writes to the leader.
    Forward {
        /// The leader's epoch.
        epoch: u32,
        /// Whether it has a vote; an observer has none.
        votes: bool,
    },
    /// There is no leader, and it answers reads of clients that put up with that.
    ReadOnly,
}

impl Duty {
    /// Whether writes are decided here.
    pub fn decides(self) -> bool {
        matches!(self, Duty::Alone { .. } | Duty::Decide { .. })
    }

    /// Bytes of the largest record that may be proposed: what the log takes, and what other servers do.
    pub(super) fn record_size_max(self, limits: &EngineLimits) -> usize {
        let limit = limits.record_size_max;
        if matches!(self, Duty::Alone { .. }) { limit } else { limit.min(FIELD_SIZE_MAX) }
    }

    /// The state that an established leader of this epoch begins with, whether or not it has a transaction.
    fn epoch_start(self) -> Zxid {
        match self {
            Duty::Alone { epoch } | Duty::Decide { epoch } | Duty::Forward { epoch, .. } => Zxid::new(epoch, 0),
            Duty::None | Duty::ReadOnly => Zxid::ZERO,
        }
    }
}

/// What the engine has for other servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// For the leader: a request, a question about a session.
    ToLeader(QuorumPacket),
    /// For a learner.
    ToLearner {
        /// Its connection.
        link: LinkId,
        /// What it is sent.
        packet: QuorumPacket,
    },
    /// Does a quorum still follow? To be answered by [`Engine::confirmed`] once one has answered something that was sent
    /// after this question.
    Confirm {
        /// Given back.
        token: u64,
    },
    /// A learner can no longer be served on this connection and has to come anew.
    Close {
        /// Its connection.
        link: LinkId,
        /// For the log.
        why: &'static str,
    },
}

/// What another server sent breaks the protocol: its connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

impl Engine {
    /// Takes up a duty. Everything that is known to be committed has been applied before.
    ///
    /// A server that decides gives every session a full timeout from now (G-10): no server heard of them without a leader.
    pub fn serve(&mut self, duty: Duty, now: Millis, wall: WallMillis) {
        assert!(self.duty == Duty::None, "{duty:?} is taken up before {:?} is laid down", self.duty);
        self.set_time(now, wall);
        self.duty = duty;
        if let (Duty::Alone { .. }, Some(mode)) = (duty, self.settings.session_passwords) {
            self.passwords.set_mode(mode);
        }
        self.state.sessions.activate(self.clock.listened(), wall.0);
        self.decider.start_over(match failpoint::on(Failpoint::ZxidReused) && self.state.applied.0 > 3 {
            true => Zxid(self.state.applied.0 - 1),
            false => self.state.applied.max(duty.epoch_start()),
        });
        self.write_config();
        self.next_reaping = now.plus(self.settings.container_check_interval_ms);
        if matches!(duty, Duty::Decide { .. }) {
            self.end_what_nobody_owns();
        }
        // Clients in this process have been waiting with their handshakes.
        let waiting = self.conns.iter().filter(|(_, conn)| conn.phase == ConnPhase::New && conn.arrived);
        let waiting: Vec<ConnId> = waiting.map(|(id, _)| id).collect();
        waiting.into_iter().for_each(|id| self.touch(id));
    }

    /// How passwords are made from now on, as the ensemble's leader says, or as the file had it. `None`: nobody said anything.
    pub fn set_passwords(&mut self, mode: Option<SessionPasswords>, secret: SessionSecret) {
        self.passwords.set_secret(secret);
        self.passwords.set_mode(mode.unwrap_or_default());
    }

    /// Lays the duty down: clients are closed, and nothing of what was under way stays. What is half applied is applied
    /// whole; the tree and the sessions stay, whatever comes next.
    ///
    /// # Errors
    /// As [`Engine::apply_slice`].
    pub fn retire(&mut self) -> Result<(), Damage> {
        while !self.apply_slice()? {}
        self.close_all(&CloseReason::NotServing);
        self.duty = Duty::None;
        self.start_deciding_over();
        self.work.lay_down();
        self.spent.begin();
        self.decider.start_over(self.state.applied);
        self.state.sessions.clear_closing();
        self.awaiting = Default::default();
        self.packets.clear();
        self.forward = Default::default();
        self.remote.lay_down();
        self.ending = Default::default();
        self.refusals = Default::default();
        self.local.clear();
        self.first_visitor = None;
        self.reconfig_view = None;
        Ok(())
    }

    /// What the server is there for.
    pub fn duty(&self) -> Duty {
        self.duty
    }

    /// The next thing that the engine has for other servers.
    pub fn poll_packet(&mut self) -> Option<Outgoing> {
        let outgoing = self.packets.pop_front();
        if matches!(outgoing, Some(Outgoing::Confirm { .. })) {
            self.remote.question_left();
        }
        outgoing
    }

    /// The state that this server shows: the last transaction, or the beginning of an epoch that has none yet. ZooKeeper's
    /// clients are shown that too.
    pub fn zxid(&self) -> Zxid {
        self.state.applied.max(self.duty.epoch_start())
    }

    /// The last transaction whose events have all been sent. No reply shows a later one (G-05).
    pub(super) fn shown(&self) -> Zxid {
        if self.work.is_applying() { self.work.before } else { self.state.applied }
    }

    /// The last transaction proposed, or the last applied where none was since this duty began: the beginning of an epoch
    /// is no transaction, and nothing may wait for it.
    pub(super) fn last_proposed(&self) -> Zxid {
        let proposed = self.decider.proposed();
        if proposed == self.duty.epoch_start() { self.state.applied } else { proposed }
    }

    /// Whether the epoch has no zxids left to be decided with. Alone, the counter runs over into the epoch.
    pub fn epoch_is_used_up(&self) -> bool {
        matches!(self.duty, Duty::Decide { .. })
            && self.decider.proposed().counter() >= Zxid::counter_spared()
            && !failpoint::on(Failpoint::CounterRunsOver)
    }

    /// Ephemerals whose session does not exist, as a foreign server may hand them down, go with a transaction like any
    /// others: a leader that only dropped them would have another tree than its learners.
    fn end_what_nobody_owns(&mut self) {
        let sessions = &self.state.sessions;
        let orphaned = self.state.tree.ephemeral_owners().map(|(session, _)| session);
        let mut orphaned: Vec<SessionId> = orphaned.filter(|session| sessions.get(*session).is_none()).collect();
        orphaned.sort_unstable();
        for session in orphaned {
            log::warn!("session {session} does not exist and has ephemeral znodes: it is ended");
            self.propose_expiry(session);
        }
    }
}

/// Packets in line.
pub(super) type Packets = VecDeque<Outgoing>;
