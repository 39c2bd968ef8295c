//! What is looked at from outside, after every step.

use super::world::World;
use crate::ids::Zxid;
use crate::records::peer::{PacketType, QuorumPacket};
use crate::zab::Standing;

impl World {
    /// A rule is broken; the first one counts.
    pub(super) fn breaks(&mut self, rule: &'static str, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some((rule, what()));
        }
    }

    fn check(&mut self, holds: bool, rule: &'static str, what: impl FnOnce(&World) -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some((rule, what(self)));
        }
    }

    /// How many members have it on disk, right at that place of their log.
    fn holders(&self, index: usize) -> usize {
        let wanted = self.committed.get(index);
        self.nodes.iter().filter(|node| wanted.is_some() && node.disk.history.get(index) == wanted).count()
    }

    /// S-01, S-05, S-11: what serves has applied a piece of the one history, and what is new in it a quorum has on disk.
    pub(super) fn check_applied(&mut self, node: usize) {
        let applied = self.nodes[node].applied.clone();
        let common = applied.len().min(self.committed.len());
        self.check(applied[..common] == self.committed[..common], "S-01", |world| {
            format!("{} applied {:?}, committed is {:?}", node + 1, applied, world.committed)
        });
        for entry in &applied[common..] {
            let last = self.committed.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
            self.check(entry.0 > last, "S-05", |_| format!("{} is committed after {last}", entry.0));
            self.committed.push(entry.clone());
            let holders = self.holders(self.committed.len() - 1);
            self.check(holders * 2 > self.nodes.len(), "S-11", |_| {
                format!("{} applied {}, and {holders} have it on disk", node + 1, entry.0)
            });
        }
    }

    /// S-07, S-09: an established leader is the only one of its epoch and has everything that was ever committed.
    pub(super) fn check_standing(&mut self, node: usize) {
        let (id, standing) = (self.nodes[node].id, self.nodes[node].standing);
        if let Standing::Leading { epoch } = standing {
            let other = *self.established.entry(epoch).or_insert(id);
            self.check(other == id, "S-07", |_| format!("{id} and {other} lead {epoch}"));
            let has_all = self.nodes[node].applied.len() >= self.committed.len();
            self.check(has_all, "S-09", |_| format!("{id} leads without all that was committed"));
        }
        if standing != Standing::Looking {
            self.check_applied(node);
        }
    }

    /// G-04: who learns that it leads did so when the question was asked.
    pub(super) fn check_confirmed(&mut self, node: usize, asked: Option<u32>) {
        if let (Standing::Leading { epoch }, Some(newest)) = (self.nodes[node].standing, asked) {
            self.check(newest <= epoch, "G-04", |_| format!("{epoch} is confirmed, and {newest} had begun"));
        }
    }

    /// S-08, S-10, S-13, where a disk may have changed.
    pub(super) fn check_disk(&mut self, node: usize) {
        let disk = &self.nodes[node].disk;
        let record = disk.record;
        let begin = std::iter::once(Zxid::ZERO);
        let zxids: Vec<Zxid> = begin.chain(disk.history.iter().map(|(zxid, _)| *zxid)).collect();
        let follows = |pair: &[Zxid]| {
            Some(pair[1]) == pair[0].next() || (pair[1].epoch() > pair[0].epoch() && pair[1].counter() == 1)
        };
        let has_hole = zxids.windows(2).any(|pair| !follows(pair));
        self.check(!has_hole, "S-13", |_| format!("{} has {zxids:?}", node + 1));
        self.check(record.current_epoch <= record.accepted_epoch, "S-08", |_| format!("{} has {record:?}", node + 1));
        if let Some(index) = self.committed.len().checked_sub(1) {
            let lacking = self.nodes.len() - self.holders(index);
            self.check(lacking * 2 <= self.nodes.len(), "S-10", |world| {
                format!("{} is lost on {lacking} disks", world.committed[index].0)
            });
        }
    }

    /// S-11, S-12, S-14 and the gates: what leaves says nothing that is not so.
    pub(super) fn check_send(&mut self, node: usize, conn: usize, packet: &QuorumPacket) {
        let disk = self.nodes[node].disk.clone();
        let (id, zxid) = (node + 1, packet.zxid);
        let conn = self.conns.get(conn).cloned().flatten();
        let conn = conn.as_deref();
        match packet.kind {
            PacketType::LEADERINFO => {
                self.check(disk.record.accepted_epoch >= zxid.epoch(), "D-01", |_| format!("{id} {packet}"));
            }
            PacketType::ACKEPOCH => {
                self.check(zxid == disk.last(), "D-06", |_| format!("{id} {packet}, has {}", disk.last()));
                let told = conn.map_or(0, |conn| conn.epoch);
                self.check(disk.record.accepted_epoch >= told, "D-01", |_| format!("{id} promises {told}"));
            }
            PacketType::ACK if zxid.counter() == 0 => {
                self.check(disk.record.current_epoch >= zxid.epoch(), "D-03", |_| format!("{id} {packet}"));
            }
            PacketType::ACK => self.check(disk.has(zxid), "S-12", |_| format!("{id} acknowledges {zxid} without it")),
            PacketType::COMMIT if conn.is_some_and(|conn| conn.has_history) => {
                // ZooKeeper 3.8 dies on it (EP 2.10).
                let is_serving = conn.is_some_and(|conn| conn.is_serving);
                self.check(is_serving, "S-14", |_| format!("{packet} before UPTODATE"));
                let holders = self.nodes.iter().filter(|node| node.disk.has(zxid)).count();
                self.check(holders * 2 > self.nodes.len(), "S-11", |_| format!("{packet}, and {holders} have it"));
            }
            _ => {}
        }
    }
}
