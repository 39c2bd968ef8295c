//! Memory for clients' bytes: who waits when it runs short, and who is closed.
//!
//! Half of `input_bytes_max` is for large frames. Each has its size set aside before more than a few KiB of it are kept;
//! when that does not fit, the link waits in line. So what was begun can be finished, and who holds memory without
//! sending while others wait is closed. The other half is for everything else; beyond it a link keeps a few KiB.

use super::Peer;
use super::link::Link;
use crate::engine::{CloseReason, ConnId};
use crate::ids::Millis;

/// Bytes of input that a link may keep when memory is short. A frame above this is a large one.
pub(super) const PARTIAL_SIZE_FREE: usize = 8 << 10;
/// While others wait, a frame with memory set aside must have grown within this time, ms.
const GROWTH_MS: u64 = 2000;
/// And be whole within this time, ms.
const FRAME_MS: u64 = 10_000;

impl Peer {
    fn half(&self) -> usize {
        self.config.limits.input_bytes_max / 2
    }

    /// Whether a frame of this size can be begun. The only one may have any size.
    fn fits(&self, wanted: usize) -> bool {
        self.reserved_total == 0 || self.reserved_total + wanted <= self.half()
    }

    /// How many bytes may be read from a link now; 0 when it has to wait in line.
    pub(super) fn may_read(&mut self, slot: u32, now: Millis) -> usize {
        let Some(Some(link)) = self.links.get(slot as usize) else { return 0 };
        let (wanted, is_reserved, kept) = (link.wants(), link.is_reserved(), link.input_len());
        if wanted > 0 {
            // Nobody overtakes those in line.
            if !self.starved.is_empty() || !self.fits(wanted) {
                return 0;
            }
            self.reserve(slot, now);
        } else if !is_reserved && self.input_total > self.half() {
            return PARTIAL_SIZE_FREE.saturating_sub(kept).max(1);
        }
        self.scratch.len()
    }

    fn reserve(&mut self, slot: u32, now: Millis) {
        if let Some(Some(link)) = self.links.get_mut(slot as usize) {
            self.reserved_total += link.wants();
            link.reserve(now);
        }
    }

    /// Whether the first in line may go on.
    pub(super) fn can_grant_memory(&self) -> bool {
        let Some(&slot) = self.starved.front() else { return false };
        match self.links.get(slot as usize) {
            Some(Some(link)) if link.waits_for_memory => self.fits(link.wants()),
            // It left the line by leaving altogether.
            _ => true,
        }
    }

    /// Lets those in line go on, as many as there is memory for.
    pub(super) fn grant_memory(&mut self, now: Millis) {
        while self.can_grant_memory() {
            let Some(slot) = self.starved.pop_front() else { return };
            if matches!(self.links.get(slot as usize), Some(Some(link)) if link.waits_for_memory) {
                self.reserve(slot, now);
                self.enqueue(slot);
            }
        }
    }

    /// Clients that do not take their output, or keep memory busy with frames they never finish.
    pub(super) fn close_the_stalled(&mut self, now: Millis) {
        let stall_ms = self.config.limits.output_stall_ms;
        let others_wait = !self.starved.is_empty();
        let dawdles = |link: &Link| others_wait && link.dawdles(now, GROWTH_MS, FRAME_MS);
        let mut doomed: Vec<(ConnId, String)> = Vec::new();
        for link in self.links.iter().flatten() {
            if link.has_stalled(now, stall_ms) {
                doomed.push((link.conn, format!("took no output for {stall_ms} ms")));
            } else if dawdles(link) {
                doomed.push((
                    link.conn,
                    "holds memory for a frame that does not come while others wait for it".to_owned(),
                ));
            }
        }
        for (conn, why) in doomed {
            self.cut(conn, why);
        }
    }

    /// whoever has the most output waiting goes, until the rest is within the limit.
    pub(super) fn close_the_largest(&mut self) {
        while self.engine.output_total() > self.config.limits.output_bytes_max {
            let size = |link: &&Link| self.engine.output(link.conn).map_or(0, |(output, _)| output.len());
            let Some(largest) = self.links.iter().flatten().max_by_key(size) else { return };
            let conn = largest.conn;
            self.cut(conn, format!("{} bytes of output wait in all", self.engine.output_total()));
        }
    }

    fn cut(&mut self, conn: ConnId, why: String) {
        self.engine.close(conn, CloseReason::Violation(why));
        self.drop_link(conn.slot, false);
    }
}
