//! Memory for clients' bytes: which connections wait when it runs short, and which are closed.
//!
//! Half of `input_bytes_max` is for large frames (see `pool`), the other half for everything else; beyond it a link keeps
//! a few KiB. So small frames never wait behind large ones.

use super::Peer;
use super::link::ClientSocket;
use super::pool::{FREE, Share};
use crate::engine::{CloseReason, ConnId};
use crate::ids::Millis;

/// While reads of others wait for it, output that is not taken for so long is given up, ms.
const TAKEN_MS: u64 = 2000;
/// Output that makes others wait, bytes.
const LARGE_OUTPUT: usize = 64 << 10;

impl Peer {
    /// How many bytes may be read from a link now; 0 when it has to wait in line.
    pub(super) fn may_read(&mut self, slot: u32, now: Millis) -> usize {
        let few = |kept: usize| FREE.saturating_sub(kept).max(1);
        loop {
            let Some(Some(link)) = self.links.get(slot as usize) else { return 0 };
            let kept = link.input_len();
            match self.pool.may_read(slot, now) {
                Share::Any if link.is_large() => return self.scratch.len(),
                Share::Any if self.input_total - self.pool.held() > self.config.limits.input_bytes_max / 2 => {
                    return few(kept);
                }
                Share::Any => return self.scratch.len(),
                Share::Few => return few(kept),
                Share::Wait => return 0,
                Share::AfterClosing(victim) => {
                    let why = "holds memory for a frame that does not come while others wait for it";
                    match self.links.get(victim as usize) {
                        Some(Some(link)) => self.cut(link.conn, why.to_owned()),
                        _ => self.pool.forget(victim),
                    }
                }
            }
        }
    }

    /// Lets those in line try again.
    pub(super) fn grant_memory(&mut self, now: Millis) {
        for slot in self.pool.go_on(now) {
            if let Some(Some(link)) = self.links.get_mut(slot as usize) {
                link.waits_for_memory = false;
                self.enqueue(slot);
            }
        }
    }

    /// Clients that do not take their output.
    pub(super) fn close_the_stalled(&mut self, now: Millis) {
        let most_ms = self.config.limits.output_stall_ms;
        let others_wait = self.member.engine.reads_wait_for_output();
        let stalled = |link: &&ClientSocket| {
            let size = self.member.engine.output(link.conn).map_or(0, |(output, _)| output.len());
            let most_ms = if others_wait && size >= LARGE_OUTPUT { most_ms.min(TAKEN_MS) } else { most_ms };
            link.has_stalled(now, most_ms)
        };
        let doomed: Vec<ConnId> = self.links.iter().flatten().filter(stalled).map(|link| link.conn).collect();
        for conn in doomed {
            self.cut(conn, "took no output for too long".to_owned());
        }
    }

    /// whoever has taken none for a while goes first, then whoever has the most output waiting, until the rest is
    /// within the limit.
    pub(super) fn close_the_largest(&mut self) {
        while self.member.engine.output_total() > self.config.limits.output_bytes_max {
            let (now, _) = self.time();
            let weight = |link: &&ClientSocket| {
                let size = self.member.engine.output(link.conn).map_or(0, |(output, _)| output.len());
                (size > 0 && link.has_stalled(now, TAKEN_MS), size)
            };
            let Some(largest) = self.links.iter().flatten().max_by_key(weight) else { return };
            let conn = largest.conn;
            self.cut(conn, format!("{} bytes of output wait in all", self.member.engine.output_total()));
        }
    }

    fn cut(&mut self, conn: ConnId, why: String) {
        self.member.engine.close(conn, CloseReason::Violation(why));
        self.drop_link(conn.slot, false);
    }
}
