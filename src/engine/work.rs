//! Work that is too long for one go is done in slices: between two of them the loop looks at its clock, its sockets and
//! its timers, and other connections go on.
//!
//! Three kinds of it, one of each at a time:
//! 1. A multi is *decided*. Other writes wait, for they would be decided against half of it; reads go on.
//! 2. A transaction is *applied*: a multi, the end of a session with many ephemerals, or its events are sent. Requests that
//!    would see the tree wait, for no client sees half of a transaction (G-13). Writes are decided, as against any
//!    transaction that is not applied yet.
//! 3. A request is *read* for. Transactions wait to be applied, for a reply shows one state (but where it shows none:
//!    `setWatches`).
//!
//! The order of a connection is kept: what is behind its long request waits like behind any other.
//!
//! The bound: between two looks at the clock no request costs more than [`SLICE`](super::budget::SLICE), and what one operation costs more.

use std::collections::VecDeque;

use super::applying::Applying;
use super::caller::Requester;
use super::conn::ConnId;
use super::multi::Deciding;
use super::reading::Reading;
use super::request::is_write;
use super::{Engine, OpCode};
use crate::ids::Zxid;
use crate::records::requests::RequestHeader;

/// All work that is under way, and the connections that wait for it.
#[derive(Default)]
pub(super) struct OngoingWork {
    pub deciding: Option<Box<Deciding>>,
    pub applying: Option<Box<Applying>>,
    pub reading: Option<Box<Reading>>,
    /// Connections whose next answer is a long read, in line.
    pub long_reads: VecDeque<ConnId>,
    /// Connections that have answers due, but not in that slice.
    pub put_off: VecDeque<ConnId>,
    /// The last transaction before the one that is applied.
    pub before: Zxid,
}

impl OngoingWork {
    /// The role ends, and with it what was under way. Nothing is half applied.
    pub(super) fn lay_down(&mut self) {
        *self = OngoingWork::default();
    }

    /// Whether the tree shows half of a transaction.
    pub(super) fn is_applying(&self) -> bool {
        self.applying.is_some()
    }
}

impl Engine {
    /// Whether nothing may be decided but the end of sessions.
    pub(super) fn is_deciding(&self) -> bool {
        self.work.deciding.is_some() || self.decider.barrier.is_some()
    }

    /// Goes on with what was too long for one go. Once in a turn, before what is due is applied.
    pub fn go_on(&mut self) {
        self.spent.begin();
        for _ in 0..self.work.put_off.len() {
            if self.spent.is_over() || self.work.is_applying() {
                break;
            }
            if let Some(id) = self.work.put_off.pop_front() {
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.waits = false;
                }
                self.drain(id);
            }
        }
        self.spent.begin();
        self.decide_slice();
        self.spent.begin();
        self.decide_requests();
        self.spent.begin();
        self.read_slice();
        self.spent.begin();
    }

    /// Whether [`Engine::go_on`] has something to do, or [`Engine::apply_slice`].
    pub fn has_work(&self) -> bool {
        let work = &self.work;
        work.deciding.is_some()
            || work.applying.is_some()
            || work.reading.is_some()
            || !work.long_reads.is_empty()
            || !work.put_off.is_empty()
            || self.has_requests()
    }

    /// Whether the next transaction must wait: one is half applied, or a reply shows a state that must not change yet.
    pub fn is_busy(&self) -> bool {
        self.work.is_applying() || self.work.reading.as_ref().is_some_and(|reading| reading.shows_a_state())
    }

    /// Whether a transaction is half applied. Then no reader may look at the tree, and no snapshot may begin.
    pub fn is_applying(&self) -> bool {
        self.work.is_applying()
    }

    /// Whether a request must wait for what is being decided.
    pub(super) fn waits_for_work(&self, id: ConnId, frame: &[u8]) -> bool {
        if !self.is_deciding() {
            return false;
        }
        if self.work.deciding.as_ref().is_some_and(|deciding| deciding.caller.requester == Requester::Client(id)) {
            return true;
        }
        brings_a_write(frame)
    }

    /// Whether a request must wait for a `sync` in front of it: what a client writes behind one takes effect behind it, and
    /// is answered behind it, whichever server leads.
    pub(super) fn waits_for_sync(&self, id: ConnId, frame: &[u8]) -> bool {
        self.conns.get(id).is_some_and(|conn| conn.unconfirmed > 0) && brings_a_write(frame)
    }

    /// Looks at the connection's answers again in another slice.
    pub(super) fn put_off(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && !conn.waits
        {
            conn.waits = true;
            self.work.put_off.push_back(id);
        }
    }

    /// The connection's next answer is a long read.
    pub(super) fn line_up(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && !conn.waits
        {
            conn.waits = true;
            self.work.long_reads.push_back(id);
        }
    }
}

/// Whether the request in a frame becomes a transaction.
fn brings_a_write(frame: &[u8]) -> bool {
    let header = crate::jute::decode::<RequestHeader>(frame);
    header.is_ok_and(|header| OpCode::from_i32(header.op).is_some_and(is_write))
}
