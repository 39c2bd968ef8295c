//! One client connection as the engine sees it: bytes out, requests that wait, who it is.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use super::identity::Identities;
use super::output::Output;
use crate::four_letter::Latency;
use crate::ids::{Millis, SessionId, Zxid};
use crate::jute::encode;
use crate::records::replies::ReplyHeader;
use crate::records::{ErrorCode, OpCode};

/// A connection: a slot, and which use of that slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ConnId {
    /// Index, reused.
    pub slot: u32,
    /// Grows with each use of the slot, so that late work finds no connection (S-16).
    pub generation: u32,
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ConnPhase {
    /// Nothing was accepted yet.
    New,
    /// Its session is being created; nothing more is read until then.
    Creating,
    /// It has a session.
    Open,
}

/// Something that must be answered in its turn.
pub(super) enum PendingReply {
    /// A write, answered when its transaction is applied. `zxid` is that of the transaction where it is decided here.
    Write { zxid: Option<Zxid>, xid: i32, op: OpCode, since: Millis },
    /// A read that waits for the writes before it. It is judged by the identities of the moment it came.
    Read { xid: i32, op: OpCode, body: Box<[u8]>, who: Arc<Identities>, since: Millis },
    /// A `sync`: answered once everything proposed before it is applied. [`UNCONFIRMED`] while another server has to say how
    /// far that is.
    Sync { upto: Zxid, xid: i32, path: Box<str>, since: Millis },
    /// An answer that is known already.
    Reply { xid: i32, zxid: Option<i64>, err: ErrorCode, body: Vec<u8>, close: Option<CloseReason> },
}

/// How far a `sync` has to wait is not known yet.
pub(super) const UNCONFIRMED: Zxid = Zxid(i64::MAX);

impl PendingReply {
    fn size(&self) -> usize {
        64 + match self {
            PendingReply::Read { body, .. } => body.len(),
            PendingReply::Sync { path, .. } => path.len(),
            PendingReply::Reply { body, .. } => body.len(),
            PendingReply::Write { .. } => 0,
        }
    }
}

/// Why a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client asked for the end of its session.
    Asked,
    /// Its session expired, or was ended through another connection.
    SessionEnded,
    /// Its session is resumed on another connection.
    Moved,
    /// The handshake was refused with an answer.
    Refused,
    /// Authentication failed or is required.
    Unauthenticated,
    /// The server stops.
    Stopping,
    /// The server has no leader, or leads no more. The session lives on, and so may what was asked for.
    NotServing,
    /// The host asked for the connection to be cut.
    Cut,
    /// The client broke a rule or a limit: says which.
    Violation(String),
}

/// Counters of one connection, for `stat` and `cons`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnStats {
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// The last operation.
    pub last_op: Option<OpCode>,
    /// The last xid.
    pub last_xid: i32,
    /// The last zxid sent.
    pub last_zxid: i64,
    /// When the last reply was made.
    pub last_reply: Millis,
    /// Latency of the last reply, ms.
    pub last_latency: u64,
    /// Latencies of all replies, ms.
    pub latency: Latency,
}

/// One connection.
pub(super) struct Conn {
    pub generation: u32,
    pub address: SocketAddr,
    pub opened: Millis,
    pub phase: ConnPhase,
    /// Its handshake has come, whole; whether it was dealt with or waits.
    pub arrived: bool,
    pub session: SessionId,
    pub timeout_ms: i32,
    /// The read-only byte of the request, if it had one: the response has the same form.
    pub read_only: Option<bool>,
    pub who: Arc<Identities>,
    pub pending: VecDeque<PendingReply>,
    /// Bytes held by `pending`.
    pub pending_size: usize,
    pub out: Output,
    pub close: Option<CloseReason>,
    pub touched: bool,
    /// It waits with a write until the log may go on.
    pub held: bool,
    /// Its `sync`s that are not confirmed; what it writes behind them waits.
    pub unconfirmed: u32,
    /// When a request of its client last counted as a sign of life.
    pub heard: Option<Millis>,
    /// It is on the list of those that the leader will be told of.
    pub touch_noted: bool,
    /// It has closed a local session: nothing that comes behind is taken.
    pub has_closed: bool,
    /// It is in a line of `work`, to be looked at again.
    pub waits: bool,
    /// Its next read is in line for the memory of its reply.
    pub waits_for_output: bool,
    /// The client lives in this process.
    pub in_process: bool,
    pub stats: ConnStats,
    /// Bytes of the frame appended last, without its length.
    pub last_frame: usize,
}

impl Conn {
    /// A client has connected, and nothing has come from it yet.
    pub(super) fn new(generation: u32, address: SocketAddr, now: Millis) -> Conn {
        Conn {
            generation,
            address,
            opened: now,
            phase: ConnPhase::New,
            arrived: false,
            session: SessionId::NONE,
            timeout_ms: 0,
            read_only: None,
            who: Arc::new(Identities::new(address.ip().to_canonical())),
            pending: VecDeque::new(),
            pending_size: 0,
            out: Output::default(),
            close: None,
            touched: false,
            held: false,
            unconfirmed: 0,
            heard: None,
            touch_noted: false,
            has_closed: false,
            waits: false,
            waits_for_output: false,
            in_process: false,
            stats: ConnStats::default(),
            last_frame: 0,
        }
    }

    /// Whether its handshake has not come. What a handshake that has come waits for is us.
    pub(super) fn waits_for_handshake(&self) -> bool {
        self.close.is_none() && self.phase == ConnPhase::New && !self.arrived
    }

    pub(super) fn push(&mut self, pending: PendingReply) {
        self.pending_size += pending.size();
        self.pending.push_back(pending);
    }

    pub(super) fn pop(&mut self) -> Option<PendingReply> {
        let pending = self.pending.pop_front()?;
        self.pending_size -= pending.size();
        Some(pending)
    }

    /// Nothing beyond `applied` need be waited for any more.
    pub(super) fn sync_now(&mut self, applied: Zxid) {
        for pending in &mut self.pending {
            if let PendingReply::Sync { upto, .. } = pending
                && *upto != UNCONFIRMED
            {
                *upto = applied.min(*upto);
            }
        }
    }

    /// The oldest `sync` that is not confirmed has to wait for `upto`. False if there is none.
    pub(super) fn confirm_sync(&mut self, reached: Zxid) -> bool {
        for pending in &mut self.pending {
            if let PendingReply::Sync { upto, .. } = pending
                && *upto == UNCONFIRMED
            {
                *upto = reached;
                self.unconfirmed -= 1;
                return true;
            }
        }
        false
    }

    /// Appends one frame: whatever `body` writes, with its length in front.
    pub(super) fn frame(&mut self, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.begin_frame();
        body(self.out.bytes_mut());
        self.end_frame(start);
    }

    /// The frame that begins at `start` is whole: puts its length in front, for which there is room, and counts it.
    fn end_frame(&mut self, start: usize) -> usize {
        let length = self.out.end_frame(start);
        self.last_frame = length - 4;
        self.stats.sent += 1;
        length
    }

    /// A reply was appended from `start` on, but for its length.
    pub(super) fn end_reply(&mut self, start: usize, xid: i32, zxid: i64) {
        let length = self.end_frame(start);
        self.out.note_reply(length);
        self.note_reply(xid, zxid);
    }

    fn note_reply(&mut self, xid: i32, zxid: i64) {
        self.stats.last_zxid = zxid;
        // Those of pings and the like are negative and tell nothing.
        if xid >= 0 {
            self.stats.last_xid = xid;
        }
    }

    /// Appends a reply.
    pub(super) fn reply(&mut self, xid: i32, zxid: i64, err: ErrorCode, body: impl FnOnce(&mut Vec<u8>)) {
        log::trace!("session {} xid {xid}: answered {err} ({}), zxid 0x{zxid:x}", self.session, err.to_i32());
        let start = self.out.begin_frame();
        let out = self.out.bytes_mut();
        encode(&ReplyHeader { xid, zxid, err: err.to_i32() }, out);
        body(out);
        self.end_reply(start, xid, zxid);
    }
}
