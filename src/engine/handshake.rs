//! The handshake: a new session, or one resumed.
//!
//! Source: ZooKeeper 3.9 `ZooKeeperServer.processConnectRequest`, `reopenSession`, `finishSessionInit`.

use super::conn::{CloseReason, ConnId, ConnPhase};
use super::{Duty, Engine, LogSpace};
use crate::failpoint::{self, Failpoint};
use crate::ids::SessionId;
use crate::jute::Buffer;
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::txn::{CreateSessionTxn, Txn};
use crate::session::PASSWORD_SIZE;

/// What to do with a handshake.
pub(super) enum Handshake {
    /// It was dealt with.
    Done,
    /// Offer it again later.
    Later,
}

impl Engine {
    pub(super) fn handshake(&mut self, id: ConnId, payload: &[u8]) -> Handshake {
        let Some(conn) = self.conns.get_mut(id) else { return Handshake::Done };
        if self.duty == Duty::None {
            // A client in this process has no other server to ask.
            if conn.in_process {
                conn.arrived = true;
                return Handshake::Later;
            }
            self.close(id, CloseReason::NotServing);
            return Handshake::Done;
        }
        let is_in_process = conn.in_process;
        // From here on the server lets the client wait, and not the other way round.
        if std::mem::replace(&mut conn.arrived, true) && !self.newcomers.is_next(conn.address.ip(), id) {
            return Handshake::Later;
        }
        let (request, read_only) = match ConnectRequest::decode(payload) {
            Ok(decoded) => decoded,
            Err(error) => {
                self.close(id, CloseReason::Violation(format!("bad handshake: {error}")));
                return Handshake::Done;
            }
        };
        // Serving it would let the client travel back in time (G-08).
        if request.last_zxid_seen > self.zxid().0 && !failpoint::on(Failpoint::AheadServed) {
            let (seen, ours) = (request.last_zxid_seen, self.zxid());
            let why = format!("the client has seen zxid 0x{seen:x}, our last is {ours}");
            self.close(id, CloseReason::Violation(why));
            return Handshake::Done;
        }
        if self.duty == Duty::ReadOnly && read_only == Some(true) && self.was_visitor(SessionId(request.session_id)) {
            self.refuse_session(id, SessionId(request.session_id));
            return Handshake::Done;
        }
        if self.duty == Duty::ReadOnly
            && let Err(why) = self.admits_read_only(SessionId(request.session_id), read_only)
        {
            if is_in_process {
                return Handshake::Later;
            }
            self.close(id, CloseReason::Violation(why.into()));
            return Handshake::Done;
        }
        let timeout_ms =
            request.timeout.clamp(self.settings.session_timeout_min_ms, self.settings.session_timeout_max_ms);
        let Some(conn) = self.conns.get_mut(id) else { return Handshake::Done };
        conn.read_only = read_only;
        conn.timeout_ms = timeout_ms;
        if request.session_id == 0 {
            self.create_session(id, timeout_ms)
        } else {
            self.resume_session(id, &request, timeout_ms)
        }
    }

    fn create_session(&mut self, id: ConnId, timeout_ms: i32) -> Handshake {
        let limits = &self.settings.limits;
        let is_local = self.begins_local();
        let is_used_up = !is_local && self.epoch_is_used_up();
        let Some(conn) = self.conns.get_mut(id) else { return Handshake::Done };
        if self.state.sessions.len() + self.local.len() >= limits.sessions_max {
            let why = format!("{} sessions is the limit", limits.sessions_max);
            self.close(id, CloseReason::Violation(why));
            return Handshake::Done;
        }
        if self.decider.log_space == LogSpace::None && !is_local {
            self.close(id, CloseReason::Violation("no room in the file for a new session".into()));
            return Handshake::Done;
        }
        let address = conn.address.ip();
        if !conn.in_process && !self.newcomers.admits(self.clock.now, address, id, limits) {
            return Handshake::Later;
        }
        if is_used_up {
            self.newcomers.waits(address, id);
            return Handshake::Later;
        }
        self.newcomers.left(address, id);
        conn.phase = ConnPhase::Creating;
        if is_local {
            return self.begin_local(id, timeout_ms);
        }
        match self.duty {
            Duty::Forward { .. } => self.forward_new_session(id, timeout_ms),
            _ => {
                let session = self.state.sessions.new_id();
                let zxid = self.propose(session, 0, &Txn::CreateSession(CreateSessionTxn { timeout: timeout_ms }));
                self.awaiting.push_write(zxid, id);
            }
        }
        Handshake::Done
    }

    /// The password is looked at before anything of the session is touched: to know an id is not enough to cut its owner
    /// off (SC-40).
    fn resume_session(&mut self, id: ConnId, request: &ConnectRequest<'_>, timeout_ms: i32) -> Handshake {
        let session = SessionId(request.session_id);
        let password = request.password.0.unwrap_or(&[]);
        let right = self.passwords.check(session, password) || failpoint::on(Failpoint::PasswordUnchecked);
        if right && self.local.is_live(session) {
            self.resumed(id, session);
            return Handshake::Done;
        }
        if right && matches!(self.duty, Duty::Forward { .. }) {
            if failpoint::on(Failpoint::ExpiredWithoutLeader) && !self.state.sessions.is_live(session) {
                self.refuse_session(id, session);
                return Handshake::Done;
            }
            if self.forward.begins(session) {
                // A question would overtake its beginning, which waits at the leader.
                self.close(id, CloseReason::NotServing);
                return Handshake::Done;
            }
            return self.revalidate(id, session, timeout_ms);
        }
        if matches!(self.duty, Duty::Forward { .. }) && self.passwords.may_be_right_elsewhere(session, password) {
            return self.refuse_once_confirmed(id, session);
        }
        if right && self.is_ending(session) {
            return self.wait_for_the_end(id, session);
        }
        if right && self.remote.is_beginning(session) {
            // Its client knows of it by another server, and shall come again.
            self.close(id, CloseReason::NotServing);
            return Handshake::Done;
        }
        let known = right && self.state.sessions.is_live(session);
        if failpoint::on(Failpoint::PasswordTooLate)
            && let Some(old) = self.conns.owner_of(session)
        {
            self.close(old, CloseReason::Moved);
        }
        if !known && failpoint::on(Failpoint::FreshSessionInstead) {
            return self.create_session(id, timeout_ms);
        }
        let may_be_known_elsewhere = right || self.passwords.may_be_right_elsewhere(session, password);
        if !known && may_be_known_elsewhere && matches!(self.duty, Duty::Decide { .. }) {
            return self.refuse_once_it_leads(id, session, right);
        }
        match known {
            true => self.resumed(id, session),
            false => self.refuse_session(id, session),
        }
        Handshake::Done
    }

    /// The client is told that its session is over.
    pub(super) fn refuse_session(&mut self, id: ConnId, session: SessionId) {
        if let Some(conn) = self.conns.get(id) {
            log::debug!("session {session} refused to {}: it has ended, or the password does not match", conn.address);
        }
        self.answer_handshake(id, SessionId::NONE, 0);
        self.close(id, CloseReason::Refused);
    }

    /// The session goes on, on this connection and no other.
    pub(super) fn resumed(&mut self, id: ConnId, session: SessionId) {
        let Some(timeout_ms) = self.conns.get(id).map(|conn| conn.timeout_ms) else { return };
        if let Some(old) = self.conns.owner_of(session) {
            self.close(old, CloseReason::Moved);
        }
        let listened = self.clock.listened();
        self.table_of(session).set_timeout(listened, session, timeout_ms);
        self.counters.resumed += 1;
        self.bind(id, session);
        self.tell_of_session(id, "resumed");
        self.answer_handshake(id, session, timeout_ms);
    }

    /// The session was created: this is its connection from now on.
    pub(super) fn session_created(&mut self, id: ConnId, session: SessionId, timeout_ms: i32) {
        if self.conns.is_open(id) {
            self.bind(id, session);
            self.tell_of_session(id, "opened");
            self.answer_handshake(id, session, timeout_ms);
        }
    }

    fn tell_of_session(&self, id: ConnId, what: &str) {
        if let Some(conn) = self.conns.get(id) {
            let (session, address, timeout_ms) = (conn.session, conn.address, conn.timeout_ms);
            log::debug!("session {session} {what} by {address}, timeout {timeout_ms} ms");
        }
    }

    fn bind(&mut self, id: ConnId, session: SessionId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.phase = ConnPhase::Open;
            conn.session = session;
            self.newcomers.left(conn.address.ip(), id);
            self.conns.set_owner(session, id);
            if !self.local.is_live(session) {
                self.speaks_here(session, id);
            }
            self.note_touch(id);
        }
    }

    fn answer_handshake(&mut self, id: ConnId, session: SessionId, timeout: i32) {
        let password = if session == SessionId::NONE { [0; PASSWORD_SIZE] } else { self.passwords.of(session) };
        if let Some(conn) = self.conns.get_mut(id) {
            let response = ConnectResponse {
                protocol_version: 0,
                timeout,
                session_id: session.0,
                password: Buffer::new(&password),
            };
            // The flag says whether this server is read-only, whatever the client would put up with.
            let flag = conn.read_only.map(|_| self.duty == Duty::ReadOnly);
            conn.frame(|out| response.encode(flag, out));
            self.counters.sent += 1;
            self.touch(id);
        }
    }
}
