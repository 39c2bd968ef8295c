//! What a member of an ensemble tells about itself: the numbers behind the four-letter words.

use crate::four_letter::{Latency, Sizes};
use crate::ids::Millis;
use crate::records::peer::PacketType;
use crate::zab::{Action, Event, LearnerCounts, Standing};

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
    pub proposal_sizes: Sizes,
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
            self.proposal_sizes = Sizes::default();
        }
        if standing != before {
            self.since = now;
        }
    }

    /// A packet came or a transaction was decided.
    pub(super) fn note_event(&mut self, event: &Event) {
        match event {
            Event::Packet { packet, .. } => match packet.kind {
                PacketType::PROPOSAL => self.proposals_received += 1,
                PacketType::COMMIT => self.commits_received += 1,
                PacketType::INFORM => {
                    self.proposals_received += 1;
                    self.commits_received += 1;
                }
                _ => {}
            },
            Event::Decided(txns) => {
                self.proposals += txns.len() as u64;
                for (_, txn) in txns {
                    self.proposal_sizes.record(txn.len());
                }
            }
            _ => {}
        }
    }

    /// A packet leaves.
    pub(super) fn note_action(&mut self, action: &Action) {
        if let Action::Send { packet, .. } = action {
            match packet.kind {
                PacketType::DIFF | PacketType::TRUNC => self.diffs += 1,
                PacketType::SNAP => self.snapshots += 1,
                _ => {}
            }
        }
    }
}
