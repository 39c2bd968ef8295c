//! The handshake: a new session, or one resumed.
//!
//! Source: ZooKeeper 3.9 `ZooKeeperServer.processConnectRequest`, `reopenSession`, `finishSessionInit`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::conn::{CloseReason, ConnId, ConnPhase};
use super::{Awaiting, Duty, Engine, LogSpace};
use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, SessionId};
use crate::jute::Buffer;
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::txn::{CreateSessionTxn, Txn};
use crate::session::PASSWORD_SIZE;

/// New sessions per address lately: a bucket of tokens each.
#[derive(Default)]
pub(super) struct Arrivals {
    tokens: BTreeMap<IpAddr, (Millis, u64)>,
    /// When the full buckets were last forgotten.
    swept: Millis,
}

impl Arrivals {
    /// Takes a token; false if the address has to wait.
    pub(super) fn admit(&mut self, now: Millis, address: IpAddr, per_second: u64, burst: u64) -> bool {
        // Once a second: with many addresses a look at all of them for each would be what makes a flood succeed.
        if self.tokens.len() > 10_000 && now.since(self.swept) >= 1000 {
            self.swept = now;
            // Full again after this long, so nothing is forgotten.
            let refill_ms = burst * 1000 / per_second.max(1);
            self.tokens.retain(|_, (at, _)| now.since(*at) < refill_ms);
        }
        // Counted in thousandths, so that a millisecond's worth is not lost.
        let (at, tokens) = self.tokens.entry(address).or_insert((now, burst * 1000));
        *tokens = (*tokens + now.since(*at) * per_second).min(burst * 1000);
        *at = now;
        let admitted = *tokens >= 1000;
        if admitted {
            *tokens -= 1000;
        }
        admitted
    }

    /// Addresses that are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }
}

/// A connection that is younger need not have sent anything, ms.
const YOUNG_MS: u64 = 500;

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
        // From here on it is us who let the client wait.
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
        let is_used_up = self.epoch_is_used_up();
        let Some(conn) = self.conns.get_mut(id) else { return Handshake::Done };
        if self.state.sessions.len() >= limits.sessions_max {
            let why = format!("{} sessions is the limit", limits.sessions_max);
            self.close(id, CloseReason::Violation(why));
            return Handshake::Done;
        }
        if self.log_space == LogSpace::None && self.duty != Duty::ReadOnly {
            self.close(id, CloseReason::Violation("no room in the file for a new session".into()));
            return Handshake::Done;
        }
        let address = conn.address.ip();
        let (per_second, burst) = (limits.sessions_per_second, limits.sessions_burst);
        if !conn.in_process {
            let is_next = self.newcomers.is_next(address, id);
            if !is_next || !self.arrivals.admit(self.clock.now, address, per_second, burst) {
                self.newcomers.waits(address, id);
                return Handshake::Later;
            }
        }
        if is_used_up {
            self.newcomers.waits(address, id);
            return Handshake::Later;
        }
        self.newcomers.left(address, id);
        conn.phase = ConnPhase::Creating;
        match self.duty {
            Duty::Forward { .. } => self.forward_new_session(id, timeout_ms),
            Duty::ReadOnly => return self.visit(id, timeout_ms),
            _ => {
                let session = self.state.sessions.new_id();
                let zxid = self.propose(session, 0, &Txn::CreateSession(CreateSessionTxn { timeout: timeout_ms }));
                self.awaiting.push_back(Awaiting { zxid, conn: id });
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
        if right && matches!(self.duty, Duty::Forward { .. }) {
            return self.revalidate(id, session, timeout_ms);
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
        self.state.sessions.set_timeout(self.clock.listened(), session, timeout_ms);
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
            self.speaks_here(session, id);
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

    /// connections that have sent nothing, and those whose handshake waits, each have a limit. It is enforced once in
    /// a turn, when all that were accepted in it have been read. Many that connect at once and are about to send their
    /// handshakes may be twice as many for a moment.
    pub(super) fn make_room_for_newcomers(&mut self) {
        let silent_max = self.settings.limits.sessionless_max;
        let waiting_max = silent_max.saturating_mul(2);
        let (conns, now) = (&self.conns, self.clock.now);
        let is_old = |id| conns.get(id).is_none_or(|conn| now.since(conn.opened) >= YOUNG_MS);
        let mut out: Vec<ConnId> = std::iter::from_fn(|| self.newcomers.silent_above(silent_max, is_old)).collect();
        out.extend(std::iter::from_fn(|| self.newcomers.silent_above(silent_max.saturating_mul(2), |_| true)));
        for id in out {
            let why = format!("more than {silent_max} connections without a session");
            self.close(id, CloseReason::Violation(why));
        }
        while let Some(id) = self.newcomers.waiting_above(waiting_max) {
            let why = format!("more than {waiting_max} handshakes wait for their turn");
            self.close(id, CloseReason::Violation(why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_sessions_is_admitted_and_then_a_rate() {
        //
        let mut arrivals = Arrivals::default();
        let address = "10.0.0.1".parse().unwrap();
        let admitted = (0..50).filter(|_| arrivals.admit(Millis(0), address, 10, 20)).count();
        assert_eq!(admitted, 20);
        assert!(!arrivals.admit(Millis(99), address, 10, 20));
        assert!(arrivals.admit(Millis(100), address, 10, 20));
        assert!(!arrivals.admit(Millis(100), address, 10, 20));
        assert!(arrivals.admit(Millis(100), "10.0.0.2".parse().unwrap(), 10, 20), "others do not wait");
    }
}
