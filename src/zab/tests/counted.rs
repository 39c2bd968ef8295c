//! Who counts for a quorum and from where a history goes on, where a mistake would show in no run of an ensemble.

use std::collections::BTreeMap;

use crate::ids::{ServerId, Zxid};
use crate::records::txn::{Payload, Proposal};
use crate::zab::history::History;
use crate::zab::quorum::Groups;
use crate::zab::{Broadcast, Majority, Quorum, Quorums};

fn ids(ids: &[u64]) -> Vec<ServerId> {
    ids.iter().copied().map(ServerId).collect()
}

#[test]
fn a_voter_that_is_named_twice_counts_once_wherever_it_stands() {
    // S-11: else one server of two would be a quorum.
    for voters in [&[1, 1, 2][..], &[1, 2, 1], &[2, 1, 1]] {
        let quorum = Majority::new(ids(voters));
        assert!(!quorum.is_quorum(&ids(&[1])) && !quorum.is_quorum(&ids(&[2])), "{voters:?}");
        assert!(quorum.is_quorum(&ids(&[1, 2])), "{voters:?}");
        assert_eq!(Quorum::Majority(quorum).voters(), ids(&[1, 2]));
    }
}

#[test]
fn votes_are_weighed_by_the_configuration_that_gives_them_the_most() {
    let groups = |weights: &[(u64, u64)]| {
        let weights: BTreeMap<_, _> = weights.iter().map(|(id, weight)| (ServerId(*id), *weight)).collect();
        Quorum::Groups(Groups::new([ids(&[1, 2, 3]), ids(&[4, 5])], &weights))
    };
    let old = groups(&[(1, 0), (2, 5)]);
    assert_eq!([1, 2, 3, 9].map(|id| old.weight(ServerId(id))), [0, 5, 1, 0]);
    assert!([1, 2, 5].iter().all(|id| old.is_voter(ServerId(*id))) && !old.is_voter(ServerId(9)));
    assert_eq!(old.voters(), ids(&[1, 2, 3, 4, 5]));
    let has = |present: &'static [u64]| move |server: ServerId| present.contains(&server.0);
    let even = groups(&[]);
    assert!(!even.is_quorum_of(has(&[1, 2])) && even.is_quorum_of(has(&[1, 2, 4, 5])), "one group of two is no quorum");
    let majority = Quorum::Majority(Majority::new(ids(&[1, 9])));
    assert_eq!([1, 2, 9].map(|id| majority.weight(ServerId(id))), [1, 0, 1]);
    let both = Quorums { committed: old, next: vec![majority] };
    assert_eq!([1, 2, 3, 9, 7].map(|id| both.weight(ServerId(id))), [1, 5, 1, 1, 0]);
    assert!(both.is_voter(ServerId(9)) && both.is_voter(ServerId(4)) && !both.is_voter(ServerId(7)));
    assert_eq!(both.voters(), ids(&[1, 2, 3, 4, 5, 9]));
}

#[test]
fn a_leader_goes_on_after_the_history_it_has() {
    // S-13: not with a transaction that is there already, and nothing of the old has to be appended again.
    let last = Zxid::new(3, 7);
    let begin = || Broadcast::new(ServerId(1), Majority::new(ids(&[1])), last);
    let propose = |broadcast: &mut Broadcast, zxid| broadcast.propose(Proposal { zxid, txn: Payload::from([1]) });
    for old in [last, Zxid::new(3, 1), Zxid::new(1, 9)] {
        let refused = std::panic::catch_unwind(|| propose(&mut begin(), old));
        assert!(refused.is_err(), "{old} is proposed again");
    }
    let mut broadcast = begin();
    assert_eq!(broadcast.to_append().count(), 0);
    propose(&mut broadcast, Zxid::new(4, 1));
    broadcast.abandon_unappended();
    // What was taken back is where it was.
    propose(&mut broadcast, Zxid::new(3, 8));
    assert_eq!(broadcast.to_append().map(|one| one.zxid).collect::<Vec<_>>(), [Zxid::new(3, 8)]);
    let again = std::panic::catch_unwind(|| {
        let mut broadcast = begin();
        propose(&mut broadcast, Zxid::new(4, 1));
        broadcast.abandon_unappended();
        propose(&mut broadcast, last);
    });
    assert!(again.is_err(), "{last} is proposed again");
}

#[test]
fn a_history_that_begins_somewhere_is_durable_committed_and_applied_up_to_there() {
    let at = Zxid::new(3, 7);
    let history = History::at(at);
    let positions = [history.base(), history.last(), history.durable(), history.committed(), history.delivered()];
    assert_eq!(positions, [at; 5]);
}

#[test]
fn what_is_kept_in_memory_for_learners_is_bounded_in_bytes_too() {
    // 500 transactions of a megabyte would be 500 MB.
    let z = |counter| Zxid::new(1, counter);
    let mut history = History::at(z(0));
    for counter in 1..=40 {
        history.push(z(counter), Payload::from(vec![0; 1 << 20])).unwrap();
    }
    history.synced(z(40));
    history.commit(z(39));
    history.deliver(z(39));
    history.trim();
    assert_eq!((history.base(), history.last()), (z(24), z(40)), "sixteen of them");
    history.cut(z(30));
    for counter in 31..=36 {
        history.push(z(counter), Payload::from(vec![0; 1 << 20])).unwrap();
    }
    history.synced(z(36));
    history.commit(z(36));
    history.deliver(z(36));
    history.trim();
    assert_eq!(history.base(), z(24), "what was cut is not counted any more");
    for counter in 37..=50 {
        history.push(z(counter), Payload::from(vec![0; 1 << 20])).unwrap();
    }
    history.synced(z(50));
    history.commit(z(50));
    history.deliver(z(50));
    history.trim();
    assert_eq!(history.base(), z(34), "what was not cut is counted");
    // Not even the last one stays that is larger than all of memory may be.
    history.push(z(51), Payload::from(vec![0; 17 << 20])).unwrap();
    history.trim();
    assert_eq!(history.base(), z(50), "it is not delivered");
    history.synced(z(51));
    history.commit(z(51));
    history.deliver(z(51));
    history.trim();
    assert_eq!((history.base(), history.last()), (z(51), z(51)));
}

#[test]
fn a_new_leader_does_not_believe_what_one_that_failed_said_was_committed() {
    // S-14
    let z = |counter| Zxid::new(1, counter);
    let mut history = History::at(z(0));
    for counter in 1..=3 {
        history.push(z(counter), Payload::from([1])).unwrap();
    }
    history.synced(z(3));
    history.commit(z(3));
    history.deliver(z(1));
    history.forget_commits();
    assert_eq!((history.committed(), history.delivered(), history.deliverable()), (z(1), z(1), None));
    history.commit(z(2));
    assert_eq!(history.deliverable(), Some(z(2)));
    history.commit(z(1));
    history.synced(z(1));
    assert_eq!((history.committed(), history.durable()), (z(2), z(3)), "nothing goes back");
    history.installed(z(9));
    assert_eq!((history.committed(), history.durable(), history.delivered()), (z(9), z(9), z(9)));
}
