//! The checkers: what is looked at from outside, after every step.

use super::World;
use crate::ids::{ServerId, Zxid};
use crate::records::membership::Membership;
use crate::records::peer::{PacketType, QuorumPacket};
use crate::zab::Standing;

impl World {
    /// S-01, S-02, S-11: what serves has applied a piece of the one history, and what is new in it a quorum has on disk.
    pub(super) fn check_applied(&mut self, node: usize) {
        let applied = self.nodes[node].applied.clone();
        let common = applied.len().min(self.canonical.len());
        let differs = (0..common).find(|&index| applied[index] != self.canonical[index]);
        self.check(differs.is_none(), "S-01", || {
            let index = differs.unwrap_or(0);
            format!(
                "{} applied {:?}, committed is {:?}",
                self.nodes[node].id, applied[index].0, self.canonical[index].0
            )
        });
        for entry in &applied[common..] {
            let last = self.canonical.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
            self.check(entry.0 > last, "S-05", || format!("{} is committed after {last}", entry.0));
            let has =
                |id: &&ServerId| self.nodes[id.0 as usize - 1].disk.history.get(self.canonical.len()) == Some(entry);
            let next = Membership::of_txn(&entry.1).ok().flatten().map(|next| next.voters().collect::<Vec<_>>());
            for voters in [Some(&self.in_force), next.as_ref()].into_iter().flatten() {
                let holders = voters.iter().filter(has).count();
                self.check(holders * 2 > voters.len(), "S-11", || {
                    format!("{} is committed and {holders} of {voters:?} have it on disk", entry.0)
                });
            }
            let (id, standing) = (self.nodes[node].id, self.nodes[node].standing);
            // What it began with another one proposed.
            let is_its_own = matches!(standing, Standing::Leading { epoch } if epoch == entry.0.epoch());
            self.check(self.in_force.contains(&id) || !is_its_own, "demoted", || {
                format!("{id} commits {} and is no voter of {:?}", entry.0, self.in_force)
            });
            if let Some(next) = next {
                self.in_force = next;
                self.count("reconfiguration committed");
            }
            self.canonical.push(entry.clone());
        }
    }

    /// S-08, S-10, S-13, for a node whose disk may have changed.
    pub(super) fn check_disks(&mut self, node: usize) {
        let me = &self.nodes[node];
        let record = me.disk.record;
        self.check(record.current_epoch <= record.accepted_epoch, "S-08", || format!("{} keeps {record:?}", me.id));
        let holes = me.disk.history.windows(2).rev().take(8).find(|pair| {
            let (a, b) = (pair[0].0, pair[1].0);
            !(Some(b) == a.next() || (b.epoch() > a.epoch() && b.counter() == 1))
        });
        self.check(holes.is_none(), "S-13", || format!("{} has a hole at {:?}", me.id, holes.map(|pair| pair[1].0)));
        let Some(last) = self.canonical.last() else { return };
        let index = self.canonical.len() - 1;
        let lacks = |id: &&ServerId| self.nodes[id.0 as usize - 1].disk.history.get(index) != Some(last);
        let lacking = self.in_force.iter().filter(lacks).count();
        self.check(lacking * 2 <= self.in_force.len(), "S-10", || format!("{} is lost on {lacking} disks", last.0));
    }

    /// S-12 and the gates: what leaves says nothing that is not on our disk.
    pub(super) fn check_send(&mut self, node: usize, packet: &QuorumPacket) {
        let me = &self.nodes[node];
        let disk = &me.disk;
        match packet.kind {
            PacketType::ACK if packet.zxid.counter() == 0 => {
                self.check(disk.record.current_epoch >= packet.zxid.epoch(), "D-03", || format!("{} {packet}", me.id));
            }
            PacketType::ACK => {
                let has = disk.history.iter().any(|(zxid, _)| *zxid == packet.zxid);
                self.check(has, "S-12", || format!("{} acknowledges {} without it", me.id, packet.zxid));
            }
            PacketType::ACKEPOCH => {
                // A member whose log cannot be cut asks for the state by an end that it does not have.
                // One without a vote whose file is new, and that may have had one, says nothing.
                let is_silent = self.shape.joiners > 0 && packet.zxid == Zxid(-1);
                let asks = (self.refuses_truncations && packet.zxid <= Zxid::ZERO) || is_silent;
                self.check(packet.zxid == disk.last() || asks, "D-06", || {
                    format!("{} {packet}, has {}", me.id, disk.last())
                });
            }
            PacketType::LEADERINFO => {
                self.check(disk.record.accepted_epoch >= packet.zxid.epoch(), "D-01", || format!("{} {packet}", me.id));
            }
            _ => {}
        }
    }
}
