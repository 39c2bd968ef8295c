//! A follower's or observer's clients: their writes go to the leader, and come back as transactions of the history.
//!
//! Each request that was sent brings exactly one transaction, and they come in the order in which they were sent. So a
//! transaction is the answer to the oldest request, or it is somebody else's; nothing is ever searched for. What is behind
//! a write on its connection waits for it, as it does where writes are decided.
//!
//! Source: ZooKeeper 3.9 `FollowerRequestProcessor`, `CommitProcessor`, `LearnerHandler`, `Learner`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::conn::{CloseReason, ConnId, ConnPhase, PendingReply};
use super::duty::{Outgoing, Violation};
use super::handshake::Handshake;
use super::refusing::REFUSALS_MAX;
use super::request::is_well_formed;
use super::settings::RECORD_OVERHEAD;
use super::{Duty, Engine};
use crate::failpoint::{self, Failpoint};
use crate::ids::{SessionId, Zxid};
use crate::jute::{FIELD_SIZE_MAX, encoded};
use crate::records::peer::{PacketType, QuorumPacket};
use crate::records::requests::PathRequest;
use crate::records::txn::TxnHeader;
use crate::records::{ErrorCode, Id, OpCode};

/// Session, cxid and operation in front of a request's body.
pub(super) const REQUEST_HEAD_SIZE: usize = 16;
/// A session and its timeout in the answer to a ping.
pub(super) const TOUCH_SIZE: usize = 12;
/// Sessions in one answer to a ping; the rest come with the next. They stay within what a packet may hold.
const TOUCHES_MAX: usize = 150_000;
const _: () = assert!(TOUCHES_MAX * TOUCH_SIZE < FIELD_SIZE_MAX);

/// Bytes of requests that went to the leader and have no transaction yet. Above: clients wait with their writes.
pub(super) const FORWARDED_SIZE_MAX: usize = 16 << 20;
/// What a request costs beside its body.
const FORWARDED_OVERHEAD: usize = 128;

/// A request that went to the leader.
struct Forwarded {
    session: SessionId,
    cxid: i32,
    /// Who waits for its transaction. Nobody does for the one that makes a local session known to all.
    conn: Option<ConnId>,
    size: usize,
}

/// Who waits for the answer to a `sync`.
enum SyncFor {
    /// A client that asked for it.
    Client(ConnId),
    /// A handshake that is wrong in this epoch, and this server, which wants to know that the epoch has not ended.
    Refusal(ConnId, SessionId),
}

/// What a learner waits for.
#[derive(Default)]
pub(super) struct Forward {
    /// Requests without a transaction yet, oldest first. Those of connections that are gone stay: their transactions come.
    queue: VecDeque<Forwarded>,
    /// Bytes of those requests.
    size: usize,
    /// Local sessions of which one of those makes that all servers know them.
    upgrading: BTreeSet<SessionId>,
    /// `sync`s that the leader has not answered, oldest first.
    syncs: VecDeque<SyncFor>,
    /// How many of them are for refusals.
    refusals: usize,
    /// Connections whose session the leader is asked about; one for each session.
    revalidating: BTreeMap<SessionId, ConnId>,
    /// Sessions heard of since the last answer to a ping, each once.
    touched: VecDeque<(ConnId, SessionId, i32)>,
}

impl Forward {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn syncs(&self) -> usize {
        self.syncs.len()
    }

    /// The connection that a transaction answers.
    pub(super) fn who_awaits(&self, header: &TxnHeader) -> Option<ConnId> {
        self.head_of(header)?.conn
    }

    /// The oldest request, if the transaction is the one that it brings.
    fn head_of(&self, header: &TxnHeader) -> Option<&Forwarded> {
        let head = self.queue.front()?;
        let is_its = head.session == header.session && head.cxid == header.cxid;
        (is_its || failpoint::on(Failpoint::AnyAnswers)).then_some(head)
    }

    /// The connection that a transaction answers; it waits no longer.
    pub(super) fn take_awaiting(&mut self, header: &TxnHeader) -> Option<ConnId> {
        let Forwarded { session, size, conn, .. } = *self.head_of(header)?;
        self.queue.pop_front();
        self.size -= size;
        if conn.is_none() {
            self.upgrading.remove(&session);
        }
        conn
    }

    /// Whether a local session is on its way to be known to all.
    pub(super) fn begins(&self, session: SessionId) -> bool {
        self.upgrading.contains(&session)
    }

    fn push(&mut self, session: SessionId, cxid: i32, conn: Option<ConnId>, body: &[u8]) {
        let size = FORWARDED_OVERHEAD + body.len();
        self.size += size;
        if conn.is_none() {
            self.upgrading.insert(session);
        }
        self.queue.push_back(Forwarded { session, cxid, conn, size });
    }

    /// Whether no write may be sent before others have come back.
    pub(super) fn is_full(&self) -> bool {
        self.size >= FORWARDED_SIZE_MAX
    }
}

/// The data of a REQUEST.
fn request(session: SessionId, cxid: i32, op: OpCode, body: &[u8]) -> Arc<[u8]> {
    let mut data = Vec::with_capacity(REQUEST_HEAD_SIZE + body.len());
    data.extend_from_slice(&session.0.to_be_bytes());
    data.extend_from_slice(&cxid.to_be_bytes());
    data.extend_from_slice(&op.to_i32().to_be_bytes());
    data.extend_from_slice(body);
    data.into()
}

impl Engine {
    fn tell_leader(&mut self, kind: PacketType, data: Arc<[u8]>, authinfo: Option<Vec<Id<'static>>>) {
        let packet = QuorumPacket { kind, zxid: Zxid(-1), data: Some(data), authinfo };
        self.packets.push_back(Outgoing::ToLeader(packet));
    }

    /// Sends a client's write to the leader. What can be refused without knowing the state is refused here: a leader of
    /// ZooKeeper's loses its way over a request that it cannot read.
    pub(super) fn forward_write(&mut self, id: ConnId, xid: i32, op: OpCode, body: &[u8]) {
        let record_size_max = self.record_size_max().saturating_sub(RECORD_OVERHEAD);
        if body.len() > record_size_max {
            return self.answer(id, xid, None, ErrorCode::BadArguments, Vec::new(), None);
        }
        if !is_well_formed(op, body) {
            return self.answer(id, xid, None, ErrorCode::MarshallingError, Vec::new(), None);
        }
        let since = self.clock.now;
        let Some(conn) = self.conns.get_mut(id) else { return };
        let (session, authinfo) = (conn.session, conn.who.ids().to_vec());
        conn.push(PendingReply::Write { zxid: None, xid, op, since });
        let body = if op == OpCode::CloseSession { &[] } else { body };
        self.forward.push(session, xid, Some(id), body);
        self.tell_leader(PacketType::REQUEST, request(session, xid, op, body), Some(authinfo));
    }

    /// Asks the leader to create a session, with an id of this server's.
    pub(super) fn forward_new_session(&mut self, id: ConnId, timeout_ms: i32) {
        let session = self.state.sessions.new_id();
        self.forward_beginning(Some(id), session, timeout_ms);
    }

    /// Asks the leader to make a session known to all servers, which a client of ours has already. What that client wrote goes
    /// directly behind.
    pub(super) fn forward_upgrade(&mut self, session: SessionId, timeout_ms: i32) {
        self.forward_beginning(None, session, timeout_ms);
    }

    fn forward_beginning(&mut self, awaiting: Option<ConnId>, session: SessionId, timeout_ms: i32) {
        self.forward.push(session, 0, awaiting, &[]);
        let data = request(session, 0, OpCode::CreateSession, &timeout_ms.to_be_bytes());
        self.tell_leader(PacketType::REQUEST, data, None);
    }

    /// Asks the leader to end a session that no client of ours asks to end.
    pub(super) fn forward_expiry(&mut self, session: SessionId) {
        self.tell_leader(PacketType::REQUEST, request(session, 0, OpCode::CloseSession, &[]), None);
    }

    /// Asks the leader how far the history is.
    pub(super) fn forward_sync(&mut self, id: ConnId, xid: i32, body: &[u8]) {
        let Some(conn) = self.conns.get(id) else { return };
        let (session, authinfo) = (conn.session, conn.who.ids().to_vec());
        if failpoint::on(Failpoint::SyncNotForwarded) {
            return self.sync_reached(id, self.applied());
        }
        self.forward.syncs.push_back(SyncFor::Client(id));
        self.tell_leader(PacketType::REQUEST, request(session, xid, OpCode::Sync, body), Some(authinfo));
    }

    /// Asks the leader whether a session is alive. Only the leader knows: our table may be behind. A connection
    /// that asked for the same session before is displaced.
    pub(super) fn revalidate(&mut self, id: ConnId, session: SessionId, timeout_ms: i32) -> Handshake {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.phase = ConnPhase::Creating;
            self.newcomers.left(conn.address.ip(), id);
        }
        if let Some(displaced) = self.forward.revalidating.insert(session, id) {
            self.close(displaced, CloseReason::Moved);
        }
        let mut data = Vec::with_capacity(TOUCH_SIZE);
        data.extend_from_slice(&session.0.to_be_bytes());
        data.extend_from_slice(&timeout_ms.to_be_bytes());
        self.tell_leader(PacketType::REVALIDATE, data.into(), None);
        Handshake::Done
    }

    /// Refuses a session whose password is wrong in this epoch and may be right in a later one, of which this server has not heard: once
    /// a quorum has confirmed that there is none. A role that ends before closes the connection.
    pub(super) fn refuse_once_confirmed(&mut self, id: ConnId, session: SessionId) -> Handshake {
        if self.forward.refusals >= REFUSALS_MAX {
            let why =
                format!("{REFUSALS_MAX} clients wait to hear whether their sessions are over, which is the limit");
            self.close(id, CloseReason::Violation(why));
            return Handshake::Done;
        }
        self.forward.refusals += 1;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.phase = ConnPhase::Creating;
            self.newcomers.left(conn.address.ip(), id);
        }
        self.forward.syncs.push_back(SyncFor::Refusal(id, session));
        let body = encoded(&PathRequest { path: "/".into() });
        self.tell_leader(PacketType::REQUEST, request(SessionId::NONE, 0, OpCode::Sync, &body), None);
        Handshake::Done
    }

    /// A sign of life of a client, for the leader, which alone expires sessions.
    pub(super) fn note_touch(&mut self, id: ConnId) {
        if let Duty::Forward { .. } = self.duty
            && let Some(conn) = self.conns.get_mut(id)
            && conn.phase == ConnPhase::Open
            && !conn.has_closed
            && !self.local.is_live(conn.session)
            && !std::mem::replace(&mut conn.touch_noted, true)
        {
            self.forward.touched.push_back((id, conn.session, conn.timeout_ms));
        }
    }

    /// The data of the answer to a ping: the sessions heard of since the last one.
    pub fn ping_answer(&mut self) -> Vec<u8> {
        self.ping_answer_hearing(&mut |_| false)
    }

    /// The same, but `has_sent` tells of a connection whether its client has sent something that was not taken in yet:
    /// a client that the server lets wait is not silent.
    pub fn ping_answer_hearing(&mut self, has_sent: &mut dyn FnMut(ConnId) -> bool) -> Vec<u8> {
        let all: Vec<ConnId> = self.conns.iter().map(|(id, _)| id).collect();
        for id in all {
            let is_let_wait = |conn: &super::conn::Conn| conn.in_process || conn.held || conn.unconfirmed > 0;
            let waits = self.conns.get(id).is_some_and(|conn| conn.close.is_none() && is_let_wait(conn));
            if waits || !self.has_capacity(id) || has_sent(id) {
                self.note_touch(id);
            }
        }
        let count = self.forward.touched.len().min(TOUCHES_MAX);
        let mut data = Vec::with_capacity(count * TOUCH_SIZE);
        for (id, session, timeout_ms) in self.forward.touched.drain(..count) {
            data.extend_from_slice(&session.0.to_be_bytes());
            data.extend_from_slice(&timeout_ms.to_be_bytes());
            if let Some(conn) = self.conns.get_mut(id) {
                conn.touch_noted = false;
            }
        }
        if failpoint::on(Failpoint::TouchesDropped) {
            data.clear();
        }
        data
    }

    /// Takes a packet of the leader's: the answer to a question about a session, or to a `sync`. Everything up to
    /// `committed` was committed when the packet came; it need not be applied yet.
    ///
    /// # Errors
    /// [`Violation`] when it is neither: the leader is to be left.
    pub fn from_leader(&mut self, packet: &QuorumPacket, committed: Zxid) -> Result<(), Violation> {
        let Duty::Forward { .. } = self.duty else { return Ok(()) };
        match packet.kind {
            PacketType::SYNC => {
                // An answer that no client waits for says nothing, as in ZooKeeper.
                match self.forward.syncs.pop_front() {
                    Some(SyncFor::Client(id)) => self.sync_reached(id, committed),
                    Some(SyncFor::Refusal(id, session)) => {
                        self.forward.refusals -= 1;
                        if self.conns.is_open(id) {
                            self.refuse_session(id, session);
                        }
                    }
                    None => {}
                }
                Ok(())
            }
            PacketType::REVALIDATE => {
                let Some((session, &[valid, ..])) = packet.data().split_first_chunk::<8>() else {
                    let length = packet.data().len();
                    return Err(Violation(format!("an answer about a session has {length} bytes")));
                };
                self.revalidated(SessionId(i64::from_be_bytes(*session)), valid != 0);
                Ok(())
            }
            other => Err(Violation(format!("{other} is not for an engine that follows"))),
        }
    }

    fn revalidated(&mut self, session: SessionId, is_valid: bool) {
        let Some(id) = self.forward.revalidating.remove(&session) else { return };
        if !self.conns.is_open(id) {
            return;
        }
        match is_valid {
            true => self.resumed(id, session),
            false => self.refuse_session(id, session),
        }
    }

    /// The history is known to have come as far as the oldest unanswered `sync` of a connection asked for.
    pub(super) fn sync_reached(&mut self, id: ConnId, upto: Zxid) {
        let shown = self.shown();
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.confirm_sync(upto) {
            if upto > shown {
                self.awaiting.push_sync(upto, id);
            }
            self.drain(id);
        }
    }
}
