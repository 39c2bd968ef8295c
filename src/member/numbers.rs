//! What a member of an ensemble tells about itself: the numbers behind the four-letter words.

use crate::four_letter::{Latency, SizeSummary};
use crate::ids::Millis;
use crate::records::peer::PacketType;
use crate::zab::{LearnerCounts, Standing, ZabAction, ZabEvent};

/// Counted since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Numbers {
    /// Elections that this member took part in.
    pub elections: u64,
    /// How long it had no leader each time.
    pub without_leader: Latency,
    /// Transactions that it proposed to others.
    pub proposals: u64,
    /// How large they were; counted anew by each leader.
    pub proposal_sizes: SizeSummary,
    /// Learners that it sent the transactions that they lacked.
    pub diffs: u64,
    /// Learners that it sent the whole state.
    pub snapshots: u64,
    /// Proposals that it was sent.
    pub proposals_received: u64,
    /// Commits that it was told of.
    pub commits_received: u64,
    /// Since when it is what it is.
    since: Millis,
}

/// What a member of an ensemble tells about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnsembleStatus {
    /// Counted since the start.
    pub numbers: Numbers,
    /// Servers with a vote.
    pub voters: usize,
    /// Of a leader that serves: its learners, and for how long it has been serving, ms.
    pub leading: Option<(LearnerCounts, u64)>,
}

impl Numbers {
    /// A member that begins to look for a leader.
    pub(super) fn new(now: Millis) -> Numbers {
        Numbers { elections: 1, since: now, ..Numbers::default() }
    }

    /// For how long it has been what it is, ms.
    pub(super) fn age_ms(&self, now: Millis) -> u64 {
        now.since(self.since)
    }

    /// It becomes something else.
    pub(super) fn stands(&mut self, now: Millis, before: Standing, standing: Standing) {
        match standing {
            Standing::Looking => self.elections += 1,
            _ if before == Standing::Looking => self.without_leader.record(self.age_ms(now)),
            _ => {}
        }
        if let Standing::Leading { .. } = standing {
            self.proposal_sizes = SizeSummary::default();
        }
        if standing != before {
            self.since = now;
        }
    }

    /// A packet came or a transaction was decided.
    pub(super) fn note_event(&mut self, event: &ZabEvent) {
        match event {
            ZabEvent::Packet { packet, .. } => match packet.kind {
                PacketType::PROPOSAL => self.proposals_received += 1,
                PacketType::COMMIT => self.commits_received += 1,
                PacketType::INFORM => {
                    self.proposals_received += 1;
                    self.commits_received += 1;
                }
                _ => {}
            },
            ZabEvent::Decided(txns) => {
                self.proposals += txns.len() as u64;
                for (_, txn) in txns {
                    self.proposal_sizes.record(txn.len());
                }
            }
            _ => {}
        }
    }

    /// A packet leaves.
    pub(super) fn note_action(&mut self, action: &ZabAction) {
        if let ZabAction::Send { packet, .. } = action {
            match packet.kind {
                PacketType::DIFF | PacketType::TRUNC => self.diffs += 1,
                PacketType::SNAP => self.snapshots += 1,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LinkId, ServerId, Zxid};
    use crate::records::peer::QuorumPacket;

    #[test]
    fn a_member_counts_its_elections_and_how_long_it_had_no_leader() {
        let following = Standing::Following { leader: ServerId(2), epoch: 1, votes: true };
        let leading = Standing::Leading { epoch: 2 };
        let mut numbers = Numbers::new(Millis(100));
        for (now, before, standing) in [
            (Millis(130), Standing::Looking, following),
            (Millis(500), following, Standing::Looking),
            // The first candidate could not be followed.
            (Millis(600), Standing::Looking, Standing::Looking),
            (Millis(710), Standing::Looking, leading),
        ] {
            numbers.stands(now, before, standing);
        }
        let times = numbers.without_leader;
        assert_eq!((numbers.elections, times.count(), times.min_ms(), times.max_ms()), (3, 2, 30, 210));
        assert_eq!(numbers.age_ms(Millis(1000)), 290);
        // By a change of members it follows another leader without having had none.
        numbers.stands(Millis(1000), leading, following);
        assert_eq!((numbers.elections, numbers.without_leader.count(), numbers.age_ms(Millis(1010))), (3, 2, 10));
    }

    #[test]
    fn proposals_and_learners_are_counted_once_and_each_leader_begins_with_new_sizes() {
        let mut numbers = Numbers::new(Millis(0));
        numbers
            .note_event(&ZabEvent::Decided(vec![(Zxid::new(1, 1), [7; 9].into()), (Zxid::new(1, 2), [7; 4].into())]));
        assert_eq!((numbers.proposals, numbers.proposal_sizes), (2, SizeSummary { last: 4, min: 4, max: 9 }));
        let link = LinkId { slot: 1, generation: 0 };
        for kind in [PacketType::DIFF, PacketType::TRUNC, PacketType::SNAP, PacketType::PROPOSAL] {
            numbers.note_action(&ZabAction::Send { link, packet: QuorumPacket::bare(kind, Zxid::ZERO) });
        }
        assert_eq!((numbers.diffs, numbers.snapshots), (2, 1));
        for kind in [PacketType::PROPOSAL, PacketType::COMMIT, PacketType::INFORM, PacketType::PING] {
            numbers.note_event(&ZabEvent::Packet { link, packet: QuorumPacket::bare(kind, Zxid::ZERO) });
        }
        assert_eq!((numbers.proposals_received, numbers.commits_received), (2, 2));
        numbers.stands(Millis(5), Standing::Looking, Standing::Leading { epoch: 2 });
        assert_eq!(numbers.proposal_sizes, SizeSummary::default());
    }
}
