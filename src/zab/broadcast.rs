//! A leader's broadcast: proposals in order, committed once a quorum has them on disk, delivered in the same order.

use std::collections::VecDeque;

use super::Majority;
use crate::ids::{ServerId, Zxid};
use crate::records::txn::Proposal;

/// A leader's outstanding proposals. Does no I/O and reads no clock.
///
/// [`Broadcast::propose`] in zxid order; append what [`Broadcast::to_append`] names; once that is durable,
/// [`Broadcast::ack`] for this server, as for every follower that says so; deliver what [`Broadcast::poll_commit`]
/// gives, in that order.
///
/// 1. Proposals are contiguous in order, each above the one before (S-13).
/// 2. An acknowledgement counts for everything up to its zxid, because logs have no holes.
/// 3. Only the head is ever committed (S-04, S-14).
#[derive(Debug)]
pub struct Broadcast {
    me: ServerId,
    quorum: Majority,
    outstanding: VecDeque<Proposal>,
    /// Up to where each server has everything on disk.
    acked: Vec<(ServerId, Zxid)>,
    last_proposed: Zxid,
    appended: Zxid,
}

impl Broadcast {
    /// Begins after `last`, the last transaction of the history.
    pub fn new(me: ServerId, quorum: Majority, last: Zxid) -> Broadcast {
        Broadcast { me, quorum, outstanding: VecDeque::new(), acked: Vec::new(), last_proposed: last, appended: last }
    }

    /// Takes a decided transaction.
    pub fn propose(&mut self, proposal: Proposal) {
        let Proposal { zxid, .. } = proposal;
        assert!(zxid > self.last_proposed, "proposal goes backwards: {zxid} after {}", self.last_proposed);
        self.last_proposed = zxid;
        self.outstanding.push_back(proposal);
    }

    /// Proposals that this server has not reported durable yet, in order.
    pub fn to_append(&self) -> impl Iterator<Item = &Proposal> {
        let appended = self.appended;
        self.outstanding.iter().filter(move |proposal| proposal.zxid > appended)
    }

    /// A server has everything up to `zxid` on disk. Ours counts by the same rule as any other's (D-05).
    pub fn ack(&mut self, from: ServerId, zxid: Zxid) {
        if from == self.me {
            assert!(zxid <= self.last_proposed, "{zxid} is durable and was never proposed");
            self.appended = self.appended.max(zxid);
        }
        // What was not proposed yet cannot have been acknowledged, whichever member says so.
        let upto = zxid.min(self.last_proposed);
        match self.acked.iter_mut().find(|(server, _)| *server == from) {
            Some((_, acked)) => *acked = upto.max(*acked),
            None => self.acked.push((from, upto)),
        }
    }

    /// The next transaction to deliver, once a quorum has it.
    pub fn poll_commit(&mut self) -> Option<Proposal> {
        let head = self.outstanding.front()?.zxid;
        let has_head = |voter| self.acked.iter().any(|&(server, upto)| server == voter && upto >= head);
        if self.quorum.is_quorum_of(has_head) { self.outstanding.pop_front() } else { None }
    }

    /// Proposals not committed yet.
    pub fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// Whether everything proposed is committed.
    pub fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Takes back what this server, alone, could not append: no other server has it.
    pub fn abandon_unappended(&mut self) {
        let appended = self.appended;
        self.outstanding.retain(|proposal| proposal.zxid <= appended);
        self.last_proposed = self.outstanding.back().map_or(appended, |proposal| proposal.zxid);
        for (_, upto) in &mut self.acked {
            *upto = (*upto).min(self.last_proposed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(counter: u32, txn: &[u8]) -> Proposal {
        Proposal { zxid: Zxid::new(1, counter), txn: txn.into() }
    }

    fn proposed(quorum: &[u64], count: u32) -> Broadcast {
        let voters = quorum.iter().copied().map(ServerId).collect();
        let mut broadcast = Broadcast::new(ServerId(1), Majority::new(voters), Zxid::new(1, 0));
        (1..=count).for_each(|counter| broadcast.propose(proposal(counter, &[counter as u8])));
        broadcast
    }

    fn commits(broadcast: &mut Broadcast) -> Vec<u32> {
        std::iter::from_fn(|| broadcast.poll_commit()).map(|proposal| proposal.zxid.counter()).collect()
    }

    #[test]
    fn alone_a_proposal_is_committed_when_it_is_durable_and_not_before() {
        // D-05, D-10
        let mut broadcast = proposed(&[1], 3);
        assert_eq!(commits(&mut broadcast), []);
        broadcast.ack(ServerId(1), Zxid::new(1, 2));
        assert_eq!(commits(&mut broadcast), [1, 2]);
        assert_eq!(broadcast.to_append().count(), 1);
        broadcast.ack(ServerId(1), Zxid::new(1, 3));
        assert_eq!(commits(&mut broadcast), [3]);
        assert!(broadcast.is_empty());
    }

    #[test]
    fn of_three_two_commit_and_the_order_is_that_of_the_proposals() {
        // S-04, S-11, S-14
        let mut broadcast = proposed(&[1, 2, 3], 2);
        broadcast.ack(ServerId(9), Zxid::new(1, 2));
        broadcast.ack(ServerId(2), Zxid::new(1, 2));
        broadcast.ack(ServerId(2), Zxid::new(1, 2));
        assert_eq!(commits(&mut broadcast), [], "an observer and one follower, told twice, are no quorum");
        broadcast.ack(ServerId(1), Zxid::new(1, 1));
        assert_eq!(commits(&mut broadcast), [1]);
        broadcast.ack(ServerId(3), Zxid::new(1, 2));
        assert_eq!(commits(&mut broadcast), [2]);
    }

    #[test]
    fn what_could_not_be_appended_is_forgotten() {
        let mut broadcast = proposed(&[1], 3);
        broadcast.ack(ServerId(1), Zxid::new(1, 1));
        broadcast.abandon_unappended();
        assert_eq!(commits(&mut broadcast), [1]);
        broadcast.propose(proposal(2, &[]));
        assert_eq!(broadcast.len(), 1);
    }

    #[test]
    #[should_panic(expected = "proposal goes backwards")]
    fn a_proposal_that_is_not_above_the_last_is_a_bug() {
        // S-13
        proposed(&[1], 2).propose(proposal(2, &[]));
    }

    #[test]
    #[should_panic(expected = "was never proposed")]
    fn this_server_cannot_have_on_disk_what_was_never_proposed() {
        proposed(&[1], 2).ack(ServerId(1), Zxid::new(1, 3));
    }

    #[test]
    fn an_acknowledgement_counts_for_nothing_that_is_proposed_later() {
        let mut broadcast = proposed(&[1, 2, 3], 1);
        broadcast.ack(ServerId(2), Zxid::new(1, 9));
        broadcast.propose(proposal(2, &[2]));
        broadcast.ack(ServerId(1), Zxid::new(1, 2));
        assert_eq!(commits(&mut broadcast), [1]);
        assert_eq!((broadcast.len(), broadcast.is_empty()), (1, false));
        broadcast.ack(ServerId(2), Zxid::new(1, 2));
        assert_eq!(broadcast.poll_commit(), Some(proposal(2, &[2])));
        assert_eq!((broadcast.len(), broadcast.is_empty()), (0, true));
    }

    #[test]
    fn an_older_acknowledgement_takes_nothing_back() {
        let mut broadcast = proposed(&[1, 2, 3], 2);
        for upto in [2, 1] {
            broadcast.ack(ServerId(1), Zxid::new(1, upto));
            broadcast.ack(ServerId(3), Zxid::new(1, upto));
        }
        assert_eq!(broadcast.to_append().count(), 0);
        assert_eq!(commits(&mut broadcast), [1, 2]);
    }

    #[test]
    fn what_was_abandoned_is_proposed_appended_and_acknowledged_anew() {
        let mut broadcast = proposed(&[1, 2, 3], 3);
        broadcast.ack(ServerId(2), Zxid::new(1, 3));
        broadcast.ack(ServerId(1), Zxid::new(1, 1));
        broadcast.abandon_unappended();
        assert_eq!(broadcast.len(), 1);
        broadcast.propose(proposal(2, &[7]));
        assert_eq!(broadcast.to_append().map(|one| one.txn[0]).collect::<Vec<_>>(), [7]);
        broadcast.ack(ServerId(1), Zxid::new(1, 2));
        assert_eq!(commits(&mut broadcast), [1], "the other server acknowledged what is no longer proposed");
        // With nothing outstanding, what was appended is where it goes on.
        let mut empty = proposed(&[1], 1);
        empty.ack(ServerId(1), Zxid::new(1, 1));
        assert_eq!(commits(&mut empty), [1]);
        empty.propose(proposal(2, &[]));
        empty.abandon_unappended();
        empty.propose(proposal(2, &[]));
        assert_eq!(empty.len(), 1);
    }
}
