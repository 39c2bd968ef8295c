//! What a member is to its clients and to its operator in each role, and when.

use super::hand::{Hand, Past, roomy};
use super::net::World;
use super::{OK, serving};
use crate::engine::Duty;
use crate::ids::{Millis, ServerId, Zxid};
use crate::member::{EnsembleStatus, JoinSettings};
use crate::records::peer::PacketType;
use crate::store::tests::world::tiny;
use crate::zab::LearnerCounts;

impl World {
    /// It is to stop; whether it leads.
    pub(super) fn begin_leaving(&mut self, id: ServerId) -> bool {
        self.members.get_mut(&id).unwrap().begin_leaving()
    }

    /// Whether nothing is lost when it stops now.
    pub(super) fn may_leave(&self, id: ServerId) -> bool {
        self.members[&id].may_leave()
    }

    fn status(&self, id: ServerId) -> EnsembleStatus {
        self.members[&id].ensemble_status(self.time()).unwrap()
    }

    fn duty(&self, id: ServerId) -> Duty {
        self.engine(id).duty()
    }
}

#[test]
fn a_leader_that_does_not_stop_after_all_decides_what_has_waited() {
    let (mut world, clients) = serving();
    world.all_agree();
    let leader = world.leader().unwrap();
    let elsewhere = *clients.iter().find(|client| client.server != leader).unwrap();
    assert!(world.begin_leaving(leader));
    world.send_create(elsewhere, "/later");
    world.pass(200);
    assert!(!world.is_answered(elsewhere), "it decides nothing more");
    world.members.get_mut(&leader).unwrap().stay();
    world.until("it is decided", |world| world.is_answered(elsewhere));
    world.all_agree();
}

#[test]
fn a_member_counts_what_it_proposed_received_and_sent_and_who_follows_it() {
    let (mut world, clients) = serving();
    let (leader, followers) = (world.leader().unwrap(), world.followers());
    for client in &clients {
        assert_eq!(world.create(*client, &format!("/n{}", client.server.0), &[1; 100], 0), OK);
    }
    world.all_agree();
    let txns = u64::from(world.applied(leader).counter());
    let led = world.status(leader);
    assert_eq!((led.numbers.proposals, led.numbers.elections, led.voters), (txns, 1, 3));
    assert_eq!((led.numbers.proposals_received, led.numbers.commits_received), (0, 0));
    assert!(led.numbers.proposal_sizes.max > 100 && led.numbers.proposal_sizes.min < 100);
    let counts =
        LearnerCounts { learners: 2, synced_followers: 2, synced_non_voting_followers: 0, synced_observers: 0 };
    let (of_learners, since_ms) = led.leading.unwrap();
    assert_eq!(of_learners, counts);
    world.pass(1000);
    assert_eq!(world.status(leader).leading, Some((counts, since_ms + 1000)));
    for id in &followers {
        let status = world.status(*id);
        assert_eq!((status.numbers.proposals, status.leading), (0, None));
        assert_eq!((status.numbers.proposals_received, status.numbers.commits_received), (txns, txns));
    }
    // One that was away is brought up to date, and is counted with that.
    let diffs = led.numbers.diffs;
    world.kill(followers[0]);
    world.until("it is missed", |world| world.status(leader).leading.is_some_and(|(counts, _)| counts.learners == 1));
    world.start(followers[0]);
    world.until("all serve", World::is_whole);
    let back = world.status(leader).numbers;
    assert_eq!((back.diffs + back.snapshots, back.elections), (diffs + 1, 1));
    world.kill(leader);
    world.until("the others serve", World::is_whole);
    assert!(followers.iter().any(|id| world.status(*id).numbers.elections > 1));
    let without = followers.iter().map(|id| world.status(*id).numbers.without_leader.count()).max();
    assert!(without >= Some(2), "twice a member had no leader");
}

#[test]
fn reads_are_answered_two_seconds_after_the_leader_was_lost_where_that_is_allowed() {
    for is_read_only in [true, false] {
        let mut world = World::idle(3, 0);
        world.joining = JoinSettings { is_read_only, ..JoinSettings::default() };
        let (first, others) = (ServerId(1), [ServerId(2), ServerId(3)]);
        let expected = if is_read_only { Duty::ReadOnly } else { Duty::None };
        world.start(first);
        world.pass(1990);
        assert_eq!(world.duty(first), Duty::None, "a leader may be found any moment");
        world.pass(20);
        assert_eq!(world.duty(first), expected);
        others.iter().for_each(|id| world.start(*id));
        world.until("all serve", World::is_whole);
        assert!(world.ids().iter().all(|id| !matches!(world.duty(*id), Duty::ReadOnly | Duty::None)));
        let client = world.connect(first, None).unwrap();
        assert_eq!(world.create(client, "/a", b"", 0), OK);
        world.pass(5000);
        assert!(world.is_whole() && world.duty(first) != Duty::ReadOnly, "there is a leader");
        others.iter().for_each(|id| world.kill(*id));
        world.until("it has no leader", |world| world.duty(first) == Duty::None);
        world.pass(1900);
        assert_eq!(world.duty(first), Duty::None);
        world.pass(200);
        assert_eq!(world.duty(first), expected);
        // And it goes on as before when the others are back, with a history that they must not lack.
        others.iter().for_each(|id| world.start(*id));
        world.until("all serve again", World::is_whole);
        world.all_agree();
        assert!(world.ids().iter().all(|id| world.engine(*id).tree().lookup("/a").is_some()));
    }
}

#[test]
fn a_turn_is_due_when_the_first_of_its_timers_is() {
    let mut world = World::new(1, 0);
    let only = ServerId(1);
    world.until("it leads", |world| world.leader() == Some(only));
    world.pass(200);
    let member = &world.members[&only];
    let now = world.time();
    let due = member.poll_timeout(now).unwrap();
    assert!((1..=100).contains(&due), "{due} ms: a leader pings every half a tick, and has nothing to do before");
    assert_eq!(member.poll_timeout(Millis(now.0 + 10_000)), Some(0), "it is overdue");
    assert!(!member.goes_on(), "nothing is to be done before");
}

#[test]
fn a_turn_at_the_moment_that_was_asked_for_leaves_nothing_due() {
    // L-01, F-09: else the loop turns for nothing, or a millisecond late.
    let is_done_in_time = |mut hand: Hand, what: &str| {
        for round in 0..40 {
            // A write of the superblock may follow from what was due.
            let mut at_once = 0;
            let wait = loop {
                hand.turn();
                let wait = hand.member.poll_timeout(Millis(hand.wires.clock.now)).expect("it waits for something");
                at_once += 1;
                assert!(at_once < 5, "{what}, round {round}: it turns and turns");
                if wait > 0 {
                    break wait;
                }
            };
            hand.wires.clock.now += wait;
        }
    };
    let reads = JoinSettings { is_read_only: true, trusts_new_file: Some(true) };
    let past = Past::writes(5, 10);
    is_done_in_time(Hand::leading(&past, &roomy()), "a leader");
    is_done_in_time(Hand::joining(&roomy(), reads), "who looks for one");
    let mut follows = Hand::joining(&roomy(), reads);
    follows.follows_by_log(5, &past.txns);
    is_done_in_time(follows, "a follower that nobody speaks to any more");
    let mut lacks_room = Hand::new(&tiny());
    lacks_room.promises(5);
    lacks_room.hears_state(&Past::writes(400, 2000));
    lacks_room.hears(PacketType::NEWLEADER, Zxid::new(5, 0));
    is_done_in_time(lacks_room, "who has no room for the state");
}

#[test]
fn what_is_proposed_and_not_committed_is_undelivered_until_it_is_applied() {
    let (mut world, clients) = serving();
    world.all_agree();
    let (leader, followers) = (world.leader().unwrap(), world.followers());
    let at_leader = *clients.iter().find(|client| client.server == leader).unwrap();
    let undelivered = |world: &World| world.members[&leader].has_undelivered();
    assert!(!undelivered(&world));
    world.slow.extend(followers.iter().map(|id| (*id, 300)));
    world.send_create(at_leader, "/a");
    world.pass(100);
    assert!(undelivered(&world) && !world.is_answered(at_leader), "no quorum has it");
    world.until("it is answered", |world| world.is_answered(at_leader));
    assert!(!undelivered(&world));
}
