//! Writes that wait because the log must not go on yet: clients wait, no write is refused.

use super::Engine;
use super::conn::ConnId;
use super::request::changes_znodes;
use crate::ids::Millis;
use crate::records::OpCode;

impl Engine {
    /// How many bytes of transactions may be decided before the next call, once per turn; without a call, any number.
    /// When they are used up, connections wait with their next write, and with what comes behind it. Reads, pings and
    /// the beginnings and ends of sessions go on.
    pub fn set_log_budget(&mut self, bytes: u64) {
        self.decider.log_budget = bytes;
        if bytes > 0 {
            self.let_the_held_go_on();
        }
    }

    /// Connections that wait with a write may offer it again.
    pub(super) fn let_the_held_go_on(&mut self) {
        // The loop serves the connection first that is touched last: the one that has waited longest.
        for id in std::mem::take(&mut self.held).into_iter().rev() {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.held = false;
                self.touch(id);
            }
        }
    }

    /// Connections that wait with a write.
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// Whether this frame has to wait; then its connection is told when to offer it again.
    pub(super) fn must_wait(&mut self, id: ConnId, frame: &[u8]) -> bool {
        if self.decider.log_budget > 0 && !self.epoch_is_used_up() && !self.forward.is_full() {
            return false;
        }
        let number = frame.get(4..).and_then(|rest| rest.first_chunk::<4>()).map(|op| i32::from_be_bytes(*op));
        let writes = number.and_then(OpCode::from_i32).is_some_and(changes_znodes);
        if writes && let Some(conn) = self.conns.get_mut(id) {
            if !conn.held {
                conn.held = true;
                self.held.push(id);
            }
            let (now, session) = (self.clock.now, conn.session);
            self.table_of(session).touch(now, session);
        }
        writes
    }

    /// No session ends because this server lets its connection wait: its pings may be behind the write.
    pub(super) fn touch_the_held(&mut self, now: Millis) {
        let open = self.held.iter().filter_map(|id| self.conns.get(*id)).filter(|conn| conn.close.is_none());
        for session in open.map(|conn| conn.session).collect::<Vec<_>>() {
            self.table_of(session).touch(now, session);
        }
    }
}
