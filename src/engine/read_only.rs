//! A server without a leader that answers reads of clients which put up with that.
//!
//! Their sessions are known here only and last as long as their connections. Sessions of the ensemble are sent away:
//! only a leader knows whether one is alive, so no client is told that its session has expired.
//!
//! Source: ZooKeeper 3.9 `ReadOnlyZooKeeperServer`, `ReadOnlyRequestProcessor`.

use super::conn::{CloseReason, ConnId};
use super::handshake::Handshake;
use super::{Duty, Engine};
use crate::ids::{Millis, SessionId};
use crate::records::{ErrorCode, OpCode};
use crate::session::Sessions;

/// Sessions looked at before what that cost is.
const EXPIRIES_AT_ONCE: usize = 100;

/// Clients of a server that has no leader.
#[derive(Default)]
pub(super) struct Visitors(Option<Sessions>);

impl Visitors {
    pub(super) fn leave(&mut self) {
        self.0 = None;
    }

    pub(super) fn left(&mut self, session: SessionId) {
        if let Some(sessions) = &mut self.0 {
            sessions.end(session);
        }
    }

    pub(super) fn touch(&mut self, now: Millis, session: SessionId) {
        if let Some(sessions) = &mut self.0 {
            sessions.touch(now, session);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        self.0.as_ref()?.poll_timeout()
    }

    fn expired(&mut self, now: Millis) -> Vec<SessionId> {
        self.0.as_mut().map(|sessions| sessions.expired(now, EXPIRIES_AT_ONCE)).unwrap_or_default()
    }
}

impl Engine {
    /// A handshake while there is no leader: whether the client may come in.
    pub(super) fn admits_read_only(&self, session: SessionId, read_only: Option<bool>) -> Result<(), &'static str> {
        if read_only != Some(true) {
            Err("this server is read-only and the client does not put up with that")
        } else if session != SessionId::NONE {
            Err("a session of the ensemble is not resumed by a read-only server")
        } else {
            Ok(())
        }
    }

    pub(super) fn visit(&mut self, id: ConnId, timeout_ms: i32) -> Handshake {
        let session = self.state.sessions.new_id();
        let (settings, listened) = (&self.settings, self.clock.listened());
        let visitors = self.visitors.0.get_or_insert_with(|| Sessions::new(settings.server_id, settings.tick_ms));
        visitors.begin(listened, session, timeout_ms);
        self.session_created(id, session, timeout_ms);
        Handshake::Done
    }

    /// A write of a client, which cannot be done.
    pub(super) fn refuse_write(&mut self, id: ConnId, xid: i32, op: OpCode) {
        match op {
            OpCode::CloseSession => self.answer(id, xid, None, ErrorCode::Ok, Vec::new(), Some(CloseReason::Asked)),
            _ => self.answer(id, xid, None, ErrorCode::NotReadOnly, Vec::new(), None),
        }
    }

    /// Closes visitors who were silent for too long; whether there are more.
    pub(super) fn send_the_silent_away(&mut self, has_sent: &mut dyn FnMut(ConnId) -> bool) -> bool {
        debug_assert!(self.duty == Duty::ReadOnly);
        let listened = self.clock.listened();
        let expired = self.visitors.expired(listened);
        for &session in &expired {
            let id = self.conns.owner_of(session);
            if id.is_some_and(|id| has_sent(id) || self.conns.get(id).is_some_and(|conn| conn.in_process)) {
                self.visitors.touch(listened, session);
                continue;
            }
            self.visitors.left(session);
            self.session_ended(session);
        }
        expired.len() == EXPIRIES_AT_ONCE
    }
}
