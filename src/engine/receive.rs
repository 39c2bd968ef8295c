//! From bytes to requests: framing, the order of first checks, and which part answers which request.

use std::sync::Arc;

use super::caller::Requester;
use super::conn::{CloseReason, Conn, ConnId, ConnPhase, PendingReply, UNCONFIRMED};
use super::handshake::Handshake;
use super::identity::Identities;
use super::request::is_write;
use super::{Duty, Engine, trace};
use crate::failpoint::{self, Failpoint};
use crate::ids::{SessionId, Zxid};
use crate::jute::{Buffer, decode, encoded};
use crate::records::requests::{AuthRequest, PathRequest, RequestHeader, SaslToken};
use crate::records::{ErrorCode, OpCode};

/// Requests of one connection before another gets its turn.
const REQUESTS_PER_TURN_MAX: usize = 64;
/// bytes of credentials on one connection. They are kept as long as it lives.
pub(crate) const CREDENTIALS_SIZE_MAX: usize = 64 << 10;
const REQUEST_HEADER_SIZE: usize = 8;

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes that need not be offered again.
    pub consumed: usize,
    /// What to do with the rest.
    pub next: NextInput,
}

/// What to do next with a connection's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextInput {
    /// Read more: what is left is no whole frame. The next frame is this long, its length included; 0 if not known.
    More(usize),
    /// Stop reading, offer the rest when the connection is touched again.
    Blocked,
    /// Offer the rest in the next turn: others wait.
    Yield,
}

impl Engine {
    /// Takes what a connection sent. Whole frames are acted on, the rest must be offered again with what follows.
    pub fn receive(&mut self, id: ConnId, input: &[u8]) -> Received {
        let mut consumed = 0;
        self.spent.begin();
        for _ in 0..REQUESTS_PER_TURN_MAX {
            if self.spent.is_over() {
                return Received { consumed, next: NextInput::Yield };
            }
            let rest = &input[consumed..];
            let Some(conn) = self.conns.get(id) else {
                return Received { consumed: input.len(), next: NextInput::Blocked };
            };
            if conn.close.is_some() {
                return Received { consumed: input.len(), next: NextInput::Blocked };
            }
            if !self.can_take_from(conn) {
                return Received { consumed, next: NextInput::Blocked };
            }
            let Some((head, body)) = rest.split_first_chunk::<4>() else {
                return Received { consumed, next: NextInput::More(0) };
            };
            let length = i32::from_be_bytes(*head);
            let (limit, key) = match conn.phase {
                ConnPhase::New => (self.settings.limits.first_frame_size_max, "zoarium.firstFrameMax"),
                _ => (self.settings.limits.frame_size_max, "jute.maxbuffer"),
            };
            // refused by what it claims, before a byte of it is kept.
            let length = match usize::try_from(length) {
                Ok(length) if length > 0 && length <= limit => length,
                found => {
                    let why = match found {
                        Ok(1..) => format!("a frame of {length} bytes is above {key} ({limit})"),
                        _ => format!("a frame's length is {length}"),
                    };
                    self.close(id, CloseReason::Violation(why));
                    continue;
                }
            };
            let Some(frame) = body.get(..length) else {
                return Received { consumed, next: NextInput::More(4 + length) };
            };
            if conn.phase == ConnPhase::New {
                match self.handshake(id, frame) {
                    Handshake::Done => {}
                    Handshake::Later => return Received { consumed, next: NextInput::Blocked },
                }
            } else if self.waits_for_work(id, frame) {
                return Received { consumed, next: NextInput::Yield };
            } else if self.waits_for_sync(id, frame) || self.must_wait(id, frame) {
                return Received { consumed, next: NextInput::Blocked };
            } else {
                self.request(id, frame);
            }
            consumed += 4 + length;
            self.counters.received += 1;
            if let Some(conn) = self.conns.get_mut(id) {
                conn.stats.received += 1;
            }
        }
        Received { consumed, next: if consumed == input.len() { NextInput::More(0) } else { NextInput::Yield } }
    }

    /// Back-pressure: whether another request of this connection may be taken.
    pub(super) fn has_capacity(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| self.can_take_from(conn))
    }

    fn can_take_from(&self, conn: &Conn) -> bool {
        let limits = &self.settings.limits;
        conn.phase != ConnPhase::Creating
            && !conn.has_closed
            && !conn.waits_for_output
            && conn.pending.len() < limits.in_flight_per_connection_max
            && conn.pending_size < limits.waiting_size_max
            && conn.out.len() <= limits.output_soft_max
            && (conn.pending.is_empty() || self.in_flight() < limits.in_flight_max)
    }

    /// Writes of clients of ours that are under way.
    pub(super) fn in_flight(&self) -> usize {
        self.awaiting.len() + self.forward.len()
    }

    fn request(&mut self, id: ConnId, frame: &[u8]) {
        if frame.len() < REQUEST_HEADER_SIZE {
            let why = format!("a request of {} bytes has no header", frame.len());
            return self.close(id, CloseReason::Violation(why));
        }
        let (header, body) = frame.split_at(REQUEST_HEADER_SIZE);
        let Ok(RequestHeader { xid, op: number }) = decode(header) else { return };
        let op = OpCode::from_i32(number);
        let listened = self.clock.listened();
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.stats.last_op = op;
        // Of a burst the first request is the sign of life.
        if conn.heard.replace(listened) != Some(listened) {
            let session = conn.session;
            self.table_of(session).touch(listened, session);
        }
        self.note_touch(id);
        if log::log_enabled!(log::Level::Trace) {
            let session = self.conns.get(id).map_or(SessionId::NONE, |conn| conn.session);
            log::trace!("session {session} xid {xid}: {}", trace::request(number, body));
        }
        match op {
            Some(OpCode::Auth) => return self.auth(id, xid, body),
            Some(OpCode::Sasl) => return self.sasl(id, xid, body),
            _ => {}
        }
        if !self.is_authenticated_enough(id) {
            let close = Some(CloseReason::Unauthenticated);
            return self.answer(id, xid, Some(0), ErrorCode::SessionClosedRequireSaslAuth, Vec::new(), close);
        }
        match op {
            Some(op) if is_write(op) => self.write(id, xid, op, body),
            Some(OpCode::Sync) => self.sync(id, xid, body),
            Some(
                op @ (OpCode::Exists
                | OpCode::GetData
                | OpCode::GetAcl
                | OpCode::GetChildren
                | OpCode::GetChildren2
                | OpCode::Ping
                | OpCode::CheckWatches
                | OpCode::RemoveWatches
                | OpCode::MultiRead
                | OpCode::SetWatches
                | OpCode::SetWatches2
                | OpCode::GetEphemerals
                | OpCode::GetAllChildrenNumber
                | OpCode::AddWatch
                | OpCode::WhoAmI),
            ) => self.read(id, xid, op, body),
            // SC-61. Also what clients have no business to ask: `check` outside a multi, `deleteContainer` (which
            // ignores ACLs) and `createSession` (which would be answered with a handshake).
            _ => {
                let close = Some(CloseReason::Violation(format!("operation {number} is not one of ours")));
                self.answer(id, xid, Some(-1), ErrorCode::Unimplemented, Vec::new(), close);
            }
        }
    }

    pub(super) fn is_authenticated_enough(&self, id: ConnId) -> bool {
        let schemes = &self.settings.enforced_schemes;
        schemes.is_empty()
            || self.conns.get(id).is_some_and(|conn| schemes.iter().any(|scheme| conn.who.has_scheme(scheme)))
    }

    /// Adds an identity. It counts for what is sent after it, and for nothing before; the reply comes in its turn.
    fn auth(&mut self, id: ConnId, xid: i32, body: &[u8]) {
        let request: AuthRequest<'_> = match decode(body) {
            Ok(request) => request,
            Err(error) => return self.close(id, CloseReason::Violation(format!("bad auth request: {error}"))),
        };
        let accepted = match (request.scheme.as_str(), request.auth.0) {
            ("digest", Some(credentials)) if self.settings.digest_enabled => {
                self.add_digest(id, credentials);
                true
            }
            ("ip", _) => true,
            _ => false,
        };
        if accepted {
            self.answer(id, xid, Some(0), ErrorCode::Ok, Vec::new(), None);
        } else {
            self.counters.auth_failed += 1;
            self.answer(id, xid, Some(0), ErrorCode::AuthFailed, Vec::new(), Some(CloseReason::Unauthenticated));
        }
    }

    fn add_digest(&mut self, id: ConnId, credentials: &[u8]) {
        let limit = self.settings.limits.identities_max;
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.who.ids().len() >= limit {
            let why = format!("more than {limit} identities on one connection");
            return self.close(id, CloseReason::Violation(why));
        }
        if conn.who.size() + credentials.len() > CREDENTIALS_SIZE_MAX {
            let why = format!("more than {CREDENTIALS_SIZE_MAX} bytes of credentials on one connection");
            return self.close(id, CloseReason::Violation(why));
        }
        let mut who: Identities = (*conn.who).clone();
        who.add_digest(credentials, self.settings.digest_alg, self.settings.super_digest.as_deref());
        conn.who = Arc::new(who);
    }

    /// As a server without SASL configuration: the exchange is over, and the client is not authenticated.
    fn sasl(&mut self, id: ConnId, xid: i32, body: &[u8]) {
        match decode::<SaslToken<'_>>(body) {
            Ok(SaslToken { token: Buffer(Some(_)) }) => {
                let token = encoded(&SaslToken { token: Buffer(None) });
                self.answer(id, xid, Some(0), ErrorCode::Ok, token, None);
            }
            _ => self.close(id, CloseReason::Violation("bad SASL token".into())),
        }
    }

    /// Answered when everything proposed before it has been applied here, whichever member decides (G-04).
    fn sync(&mut self, id: ConnId, xid: i32, body: &[u8]) {
        let Ok(request) = decode::<PathRequest<'_>>(body) else {
            return self.answer(id, xid, None, ErrorCode::MarshallingError, Vec::new(), None);
        };
        let since = self.clock.now;
        let upto = match self.duty {
            Duty::Alone { .. } => self.last_proposed(),
            Duty::Decide { .. } | Duty::Forward { .. } => UNCONFIRMED,
            Duty::ReadOnly | Duty::None => {
                return self.answer(id, xid, None, ErrorCode::NotReadOnly, Vec::new(), None);
            }
        };
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.push(PendingReply::Sync { upto, xid, path: request.path.as_str().into(), since });
        let session = conn.session;
        if upto == UNCONFIRMED {
            conn.unconfirmed += 1;
            match self.duty {
                Duty::Decide { .. } => self.ask(session, Requester::Client(id)),
                _ => self.forward_sync(id, xid, body),
            }
        } else if upto > self.shown() && !failpoint::on(Failpoint::SyncForgotten) {
            self.awaiting.push_sync(upto, id);
        }
        self.drain(id);
    }

    /// A read: at once if nothing of its connection is in front of it, else in its turn (G-02).
    fn read(&mut self, id: ConnId, xid: i32, op: OpCode, body: &[u8]) {
        let (now, soft_max) = (self.clock.now, self.settings.limits.output_soft_max);
        let Some(conn) = self.conns.get(id) else { return };
        let is_next =
            (conn.pending.is_empty() || failpoint::on(Failpoint::ReadsOvertake)) && conn.out.len() <= soft_max;
        let who = Arc::clone(&conn.who);
        let waits = is_next
            && op != OpCode::Ping
            && (self.work.is_applying() || self.is_long(id, op, body) || self.must_wait_for_output(op, body, &who));
        if is_next && !waits {
            return self.serve_read(id, xid, op, body, &who, now);
        }
        if let Some(conn) = self.conns.get_mut(id) {
            conn.push(PendingReply::Read { xid, op, body: body.into(), who, since: now });
        }
        if waits {
            self.drain(id);
        }
    }

    /// Answers in turn. Without `zxid` the header names the state of the moment the reply leaves.
    pub(super) fn answer(
        &mut self,
        id: ConnId,
        xid: i32,
        zxid: Option<i64>,
        err: ErrorCode,
        body: Vec<u8>,
        close: Option<CloseReason>,
    ) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.push(PendingReply::Reply { xid, zxid, err, body, close });
            self.drain(id);
        }
    }

    /// Answers whatever is in front and need not wait any longer.
    pub(super) fn drain(&mut self, id: ConnId) {
        let shown = self.shown();
        let soft_max = self.settings.limits.output_soft_max;
        loop {
            let Some(conn) = self.conns.get(id) else { return };
            if conn.close.is_some() || conn.out.len() > soft_max {
                break;
            }
            match conn.pending.front() {
                None | Some(PendingReply::Write { .. }) => break,
                Some(PendingReply::Sync { upto, .. }) if *upto > shown && !failpoint::on(Failpoint::SyncEarly) => break,
                Some(_) if self.spent.is_over() => {
                    self.put_off(id);
                    break;
                }
                Some(PendingReply::Read { .. }) if self.work.is_applying() => {
                    self.put_off(id);
                    break;
                }
                Some(PendingReply::Read { .. }) if self.front_must_wait(id) => {
                    self.conns.wait_for_output(id);
                    break;
                }
                Some(PendingReply::Read { op, body, .. }) if self.is_long(id, *op, body) => {
                    self.line_up(id);
                    break;
                }
                Some(_) => {}
            }
            self.answer_first(id);
        }
        self.touch(id);
    }

    /// Answers what is in front, which is no write.
    pub(super) fn answer_first(&mut self, id: ConnId) {
        let shown = self.shown();
        let Some(conn) = self.conns.get_mut(id) else { return };
        match conn.pop() {
            Some(PendingReply::Read { xid, op, body, who, since }) => self.serve_read(id, xid, op, &body, &who, since),
            Some(PendingReply::Sync { xid, path, since, .. }) => self.serve_sync(id, xid, &path, since),
            Some(PendingReply::Reply { xid, zxid, err, body, close }) => {
                conn.reply(xid, zxid.unwrap_or(shown.0), err, |out| out.extend_from_slice(&body));
                self.counters.sent += 1;
                self.counters.response_size.record(conn.last_frame);
                if let Some(reason) = close {
                    self.close(id, reason);
                }
            }
            Some(PendingReply::Write { .. }) | None => {}
        }
    }

    fn serve_sync(&mut self, id: ConnId, xid: i32, path: &str, since: crate::ids::Millis) {
        let Zxid(zxid) = self.shown();
        if let Some(conn) = self.conns.get_mut(id) {
            conn.reply(xid, zxid, ErrorCode::Ok, |out| {
                crate::jute::encode(&crate::records::replies::PathReply { path: path.into() }, out);
            });
            self.replied(id, since, false);
        }
    }

    /// A reply was made: count it.
    pub(super) fn replied(&mut self, id: ConnId, since: crate::ids::Millis, is_write: bool) {
        let now = self.clock.now;
        let latency = now.since(since);
        self.counters.replied(latency, is_write);
        if let Some(conn) = self.conns.get_mut(id) {
            self.counters.response_size.record(conn.last_frame);
            conn.stats.last_reply = now;
            conn.stats.last_latency = latency;
            conn.stats.latency.record(latency);
        }
    }
}
