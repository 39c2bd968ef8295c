//! All connections of this server's clients, and what is asked of them together: which of them the loop is to look at, what
//! is queued for all, which one speaks for a session.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::complaints::Complaints;
use super::conn::{CloseReason, Conn, ConnId};
use crate::hash::IdMap;
use crate::ids::{Millis, SessionId};

/// The connections of this server.
///
/// 1. What has output, is to be closed or may be read from again is in `touched`, once.
/// 2. `queued` is the sum of what each connection has counted in its output.
#[derive(Default)]
pub(super) struct Conns {
    slots: ConnSlots,
    /// Which connection speaks for a session.
    owners: IdMap<SessionId, ConnId>,
    touched: Vec<ConnId>,
    /// Those whose sessions do not expire while they are there.
    kept_alive: Vec<ConnId>,
    /// Bytes queued for all clients.
    queued: usize,
    /// Connections whose next read waits until others have taken their output, in line.
    waiting_reads: VecDeque<ConnId>,
    /// What the log is told of clients.
    pub complaints: Complaints,
}

impl Conns {
    pub(super) fn open(&mut self, address: SocketAddr, now: Millis) -> ConnId {
        self.slots.insert(address, now)
    }

    /// Its client lives in this process.
    pub(super) fn keep_alive(&mut self, id: ConnId) {
        if let Some(conn) = self.slots.get_mut(id) {
            conn.in_process = true;
            self.kept_alive.push(id);
        }
    }

    /// Takes a connection out whose socket is gone, and tells whether it spoke for its session. `keep_slot`: no other
    /// connection gets its slot before [`Conns::free_slots`].
    pub(super) fn remove(&mut self, id: ConnId, keep_slot: bool) -> Option<(Box<Conn>, bool)> {
        let conn = self.slots.remove(id, keep_slot)?;
        if conn.close.is_none() {
            log::debug!("{}, session {}, is gone without a word; the session lives on", conn.address, conn.session);
        }
        self.kept_alive.retain(|kept| *kept != id);
        self.queued -= conn.out.counted;
        let spoke = self.owners.get(&conn.session) == Some(&id);
        if spoke {
            self.owners.remove(&conn.session);
        }
        Some((conn, spoke))
    }

    /// Slots that were kept are free.
    pub(super) fn free_slots(&mut self) {
        self.slots.free_kept();
    }

    #[inline]
    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.slots.get(id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots.get_mut(id)
    }

    /// Whether the connection is there and is not to be closed.
    pub(super) fn is_open(&self, id: ConnId) -> bool {
        self.get(id).is_some_and(|conn| conn.close.is_none())
    }

    /// The connection in a slot, of whichever generation.
    #[inline]
    pub(super) fn id_of(&self, slot: u32) -> Option<ConnId> {
        self.slots.id_of(slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.slots.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len
    }

    // -----------------------------------------------------------------------------------------------------------
    // Who speaks for a session

    pub(super) fn owner_of(&self, session: SessionId) -> Option<ConnId> {
        self.owners.get(&session).copied()
    }

    pub(super) fn set_owner(&mut self, session: SessionId, id: ConnId) {
        self.owners.insert(session, id);
    }

    /// Sessions of clients that live in this process.
    pub(super) fn kept_alive_sessions(&self) -> impl Iterator<Item = SessionId> {
        let conns = self.kept_alive.iter().filter_map(|&id| self.get(id));
        conns.filter(|conn| conn.close.is_none()).map(|conn| conn.session)
    }

    // -----------------------------------------------------------------------------------------------------------
    // What the loop is to look at

    /// Puts the connection on the list for the loop and brings the sums up to date. A client that does not take what it is
    /// sent is closed above `hard_max` bytes; one reply that is allowed may be larger than what may queue up behind it.
    pub(super) fn touch(&mut self, id: ConnId, now: Millis, hard_max: usize) {
        let Some(conn) = self.slots.get_mut(id) else { return };
        note_touched(id, conn, &mut self.queued, &mut self.touched);
        if conn.out.beside_the_largest() > hard_max && conn.close.is_none() {
            conn.out.clear();
            self.queued -= std::mem::take(&mut conn.out.counted);
            let why = format!("output above {hard_max} bytes, the client does not read");
            self.close(id, now, CloseReason::Violation(why));
        }
    }

    /// The next connection on the list whose slot `is_wanted`.
    pub(super) fn poll_touched(&mut self, is_wanted: impl Fn(u32) -> bool) -> Option<ConnId> {
        while let Some(at) = self.touched.iter().rposition(|id| is_wanted(id.slot)) {
            let id = self.touched.swap_remove(at);
            if let Some(conn) = self.slots.get_mut(id) {
                conn.touched = false;
                return Some(id);
            }
        }
        None
    }

    /// Closes a connection once its output has left.
    pub(super) fn close(&mut self, id: ConnId, now: Millis, reason: CloseReason) {
        let Some(conn) = self.slots.get_mut(id).filter(|conn| conn.close.is_none()) else { return };
        let (address, session) = (conn.address, conn.session);
        match &reason {
            CloseReason::Violation(why) => {
                self.complaints.say(now, why, || format!("closing {address}, session {session}: {why}"));
            }
            reason => log::debug!("closing {address}, session {session}: {}", reason.words()),
        }
        conn.close = Some(reason);
        conn.pending.clear();
        conn.pending_size = 0;
        note_touched(id, conn, &mut self.queued, &mut self.touched);
    }

    // -----------------------------------------------------------------------------------------------------------
    // Output

    /// Bytes queued for all clients.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// The first `sent` bytes of the output have left. Whether the connection had more than `soft_max` and has no longer.
    pub(super) fn flushed(&mut self, id: ConnId, sent: usize, soft_max: usize) -> bool {
        let Some(conn) = self.slots.get_mut(id) else { return false };
        let was_full = conn.out.len() > soft_max;
        conn.out.advance(sent);
        self.queued -= conn.out.counted - conn.out.len();
        conn.out.counted = conn.out.len();
        was_full && conn.out.len() <= soft_max
    }

    /// Puts a connection in the line of those whose read waits for memory, once.
    pub(super) fn wait_for_output(&mut self, id: ConnId) {
        if let Some(conn) = self.slots.get_mut(id)
            && !std::mem::replace(&mut conn.waits_for_output, true)
        {
            self.waiting_reads.push_back(id);
        }
    }

    /// Takes the next out of that line, if no more than `most` bytes are queued.
    pub(super) fn next_waiting_read(&mut self, most: usize) -> Option<ConnId> {
        while self.queued <= most {
            let id = self.waiting_reads.pop_front()?;
            if let Some(conn) = self.slots.get_mut(id) {
                conn.waits_for_output = false;
                return Some(id);
            }
        }
        None
    }

    pub(super) fn reads_wait(&self) -> bool {
        !self.waiting_reads.is_empty()
    }

    /// Those that live here, and those that speak for a session.
    #[cfg(test)]
    pub(super) fn kept_and_owning(&self) -> (Vec<ConnId>, Vec<ConnId>) {
        let mut owning: Vec<ConnId> = self.owners.values().copied().collect();
        owning.sort_unstable();
        (self.kept_alive.clone(), owning)
    }
}

/// Counts what the connection has to send, and puts it on the list for the loop, once.
fn note_touched(id: ConnId, conn: &mut Conn, queued: &mut usize, touched: &mut Vec<ConnId>) {
    *queued = *queued + conn.out.len() - conn.out.counted;
    conn.out.counted = conn.out.len();
    if !std::mem::replace(&mut conn.touched, true) {
        touched.push(id);
    }
}

/// Connections by slot.
#[derive(Default)]
struct ConnSlots {
    slots: Vec<Option<Box<Conn>>>,
    free: Vec<u32>,
    /// Free, but not to be used yet.
    kept: Vec<u32>,
    generation: u32,
    len: usize,
}

impl ConnSlots {
    fn insert(&mut self, address: SocketAddr, now: Millis) -> ConnId {
        self.generation = self.generation.wrapping_add(1);
        let conn = Box::new(Conn::new(self.generation, address, now));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(conn);
                slot
            }
            None => {
                self.slots.push(Some(conn));
                u32::try_from(self.slots.len() - 1).expect("the limit on connections is below 2^32")
            }
        };
        self.len += 1;
        ConnId { slot, generation: self.generation }
    }

    /// Takes a connection out. `keep_slot`: no other connection gets its slot before [`ConnSlots::free_kept`].
    fn remove(&mut self, id: ConnId, keep_slot: bool) -> Option<Box<Conn>> {
        self.get(id)?;
        self.len -= 1;
        if keep_slot {
            self.kept.push(id.slot)
        } else {
            self.free.push(id.slot)
        }
        self.slots[id.slot as usize].take()
    }

    /// Slots that were kept are free.
    fn free_kept(&mut self) {
        self.free.append(&mut self.kept);
    }

    #[inline]
    fn get(&self, id: ConnId) -> Option<&Conn> {
        self.slots.get(id.slot as usize)?.as_deref().filter(|conn| conn.generation == id.generation)
    }

    #[inline]
    fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots.get_mut(id.slot as usize)?.as_deref_mut().filter(|conn| conn.generation == id.generation)
    }

    /// The connection in a slot, of whichever generation.
    #[inline]
    fn id_of(&self, slot: u32) -> Option<ConnId> {
        let conn = self.slots.get(slot as usize)?.as_deref()?;
        Some(ConnId { slot, generation: conn.generation })
    }

    fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.slots.iter().zip(0u32..).filter_map(|(conn, slot)| {
            let conn = conn.as_deref()?;
            Some((ConnId { slot, generation: conn.generation }, conn))
        })
    }
}
