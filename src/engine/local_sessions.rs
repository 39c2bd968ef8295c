//! Sessions that this server knows and no other (`localSessionsEnabled`), and those of clients of a server without a leader.
//!
//! A local session begins, expires and ends here without a transaction, so it is in no log and in no snapshot, and no leader
//! hears of it. It ends with the duty that it began under, and a client that goes to another server has to begin anew. What it
//! writes, another server's leader takes on this server's word.
//!
//! It cannot own ephemerals. Where upgrading is on, its first create of one is preceded by the transaction that begins a
//! session of the same id, timeout and password: from that moment it is a session like any other, and not local any more. So
//! whatever the client does next concerns the session that everybody knows (ZOOKEEPER-3471).
//!
//! Source: ZooKeeper 3.9 `UpgradeableSessionTracker`, `LeaderSessionTracker`, `QuorumZooKeeperServer.checkUpgradeSession`.

use super::conn::{CloseReason, ConnId};
use super::handshake::Handshake;
use super::request::wants_ephemeral;
use super::{Duty, Engine, LogSpace};
use crate::failpoint::{self, Failpoint};
use crate::ids::SessionId;
use crate::records::{ErrorCode, OpCode};
use crate::session::Sessions;

/// Sessions looked at before what that cost is.
const EXPIRIES_AT_ONCE: usize = 100;

impl Engine {
    /// Whether a session that begins now is known here only.
    pub(super) fn begins_local(&self) -> bool {
        match self.duty {
            Duty::ReadOnly => true,
            Duty::Decide { .. } | Duty::Forward { .. } => self.settings.local_sessions,
            Duty::Alone { .. } | Duty::None => false,
        }
    }

    pub(super) fn begin_local(&mut self, id: ConnId, timeout_ms: i32) -> Handshake {
        let session = self.state.sessions.new_id();
        self.local.begin(self.clock.listened(), session, timeout_ms);
        if self.duty == Duty::ReadOnly {
            self.first_visitor.get_or_insert(session);
        }
        if failpoint::on(Failpoint::LocalInSnapshot) {
            self.state.sessions.begin(self.clock.listened(), session, timeout_ms);
        }
        self.session_created(id, session, timeout_ms);
        Handshake::Done
    }

    /// The table that a session is in, if it is in one.
    pub(super) fn table_of(&mut self, session: SessionId) -> &mut Sessions {
        if self.local.is_live(session) { &mut self.local } else { &mut self.state.sessions }
    }

    /// What a write means for a local session. Whether it is dealt with by that.
    pub(super) fn is_done_locally(&mut self, id: ConnId, xid: i32, op: OpCode, body: &[u8]) -> bool {
        let Some(session) = self.conns.get(id).map(|conn| conn.session).filter(|id| self.local.is_live(*id)) else {
            return false;
        };
        if op == OpCode::CloseSession {
            self.local.end(session);
            // No leader would refuse what comes behind.
            if let Some(conn) = self.conns.get_mut(id) {
                conn.has_closed = true;
            }
            self.answer(id, xid, None, ErrorCode::Ok, Vec::new(), Some(CloseReason::Asked));
            return true;
        }
        self.spent.add(body.len() / 32);
        if self.duty == Duty::ReadOnly || !wants_ephemeral(op, body) {
            return false;
        }
        if self.settings.local_sessions_upgrading {
            self.upgrade(id, session);
            return false;
        }
        // Of a multi something else may be refused first, which the leader knows.
        let is_known = matches!(self.duty, Duty::Forward { .. }) && op != OpCode::Multi;
        if is_known {
            self.answer(id, xid, None, ErrorCode::EphemeralOnLocalSession, Vec::new(), None);
        }
        is_known
    }

    /// The session becomes one of the whole ensemble, before anything else of it is decided.
    fn upgrade(&mut self, id: ConnId, session: SessionId) {
        let Some(timeout_ms) = self.local.get(session).map(|local| local.timeout_ms) else { return };
        let has_room = !self.duty.decides() || self.decider.log_space != LogSpace::None;
        if !has_room {
            return;
        }
        log::debug!("session {session} becomes known to all servers");
        if !failpoint::on(Failpoint::UpgradedStaysLocal) {
            self.local.end(session);
        }
        match self.duty {
            Duty::Forward { .. } => self.forward_upgrade(session, timeout_ms),
            _ => self.propose_upgrade(id, session, timeout_ms),
        }
    }

    /// Ends local sessions that were silent for too long; whether there are more.
    pub(super) fn expire_the_local(&mut self, has_sent: &mut dyn FnMut(ConnId) -> bool) -> bool {
        let listened = self.clock.listened();
        let expired = self.local.expired(listened, EXPIRIES_AT_ONCE);
        for &session in &expired {
            let id = self.conns.owner_of(session);
            // No session ends because this server lets its client wait.
            let is_kept = |id| self.conns.get(id).is_some_and(|conn| conn.in_process || conn.held);
            if id.is_some_and(|id| has_sent(id) || is_kept(id)) {
                self.local.touch(listened, session);
                continue;
            }
            self.end_local(session);
        }
        expired.len() == EXPIRIES_AT_ONCE
    }

    /// A local session expires. False when there is none of that id.
    pub(super) fn end_local(&mut self, session: SessionId) -> bool {
        let is_there = self.local.is_live(session);
        if is_there {
            self.local.end(session);
            self.counters.expired += 1;
            let line = || format!("local session {session} expired");
            self.conns.complaints.say_at(log::Level::Info, self.clock.now, "session expired", line);
            self.session_ended(session);
        }
        is_there
    }
}
