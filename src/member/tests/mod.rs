//! Three members in memory: engine, zab and store as they ship, with a queue for a network.

mod alone;
mod ending;
mod feeding;
mod hand;
mod leading;
mod learners;
mod logging;
mod long;
mod net;
mod reconfiguring;
mod roles;
mod scenarios;
pub(super) mod site;
mod voting;

use net::{Session, World};

use crate::ids::ServerId;
use crate::records::peer::PacketType;
use crate::zab::Standing;

const OK: Option<i32> = Some(0);
const EPHEMERAL: i32 = 1;

/// Three that serve, and a session on each.
fn serving() -> (World, Vec<Session>) {
    let mut world = World::new(3, 0);
    world.until("one leads and two follow", World::is_whole);
    let clients = world.ids().into_iter().map(|id| world.connect(id, None).unwrap()).collect();
    (world, clients)
}

#[test]
fn writes_through_every_member_are_applied_by_all() {
    // G-01, S-01, S-12, S-21
    let (mut world, clients) = serving();
    for (at, client) in clients.iter().enumerate() {
        for number in 0..20 {
            assert_eq!(world.create(*client, &format!("/n{at}-{number}"), b"x", 0), OK);
        }
        assert_eq!(world.create(*client, &format!("/e{at}"), b"", EPHEMERAL), OK);
    }
    world.all_agree();
    for client in &clients {
        assert_eq!(world.sync(*client), OK);
        assert_eq!(world.exists(*client, "/n0-19"), Some(true));
        assert_eq!(world.exists(*client, "/e2"), Some(true));
    }
}

#[test]
fn a_leader_that_dies_is_replaced_and_comes_back_by_a_diff() {
    // G-09, G-10, S-10
    let (mut world, clients) = serving();
    for number in 0..30 {
        assert_eq!(world.create(clients[number % 3], &format!("/before{number}"), b"x", 0), OK);
    }
    let dead = world.leader().unwrap();
    let moves = clients.iter().find(|client| client.server == dead).copied().unwrap();
    assert_eq!(world.create(moves, "/mine", b"", EPHEMERAL), OK);
    world.kill(dead);
    world.until("the others have a leader", World::is_whole);
    let survivor = world.followers()[0];
    let moved = world.connect(survivor, Some(moves)).unwrap();
    assert_eq!(moved.id, moves.id, "the session goes on elsewhere");
    assert_eq!(world.exists(moved, "/mine"), Some(true), "its ephemeral has outlived the leader");
    for number in 0..30 {
        assert_eq!(world.create(moved, &format!("/after{number}"), b"x", 0), OK);
    }
    let states = world.net.raw;
    world.start(dead);
    world.until("it follows", World::is_whole);
    world.all_agree();
    assert_eq!(world.net.raw, states, "no state was sent");
    assert!(world.net.sent.contains_key(&PacketType::DIFF.0));
}

#[test]
fn a_leader_that_cannot_read_its_log_for_a_learner_sends_it_the_state() {
    // L-03
    for is_readable in [true, false] {
        let (mut world, clients) = serving();
        let stays = clients.iter().find(|client| Some(client.server) == world.leader()).copied().unwrap();
        let away = world.followers()[0];
        world.all_agree();
        world.kill(away);
        // More than memory holds for a learner.
        for number in 0..600 {
            assert_eq!(world.create(stays, &format!("/n{number}"), b"x", 0), OK);
        }
        if !is_readable {
            world.spoil_disk(stays.server);
        }
        let states = world.net.raw;
        world.start(away);
        world.until("it follows", World::is_whole);
        assert_eq!(world.net.raw == states, is_readable, "{} bytes of state", world.net.raw - states);
        world.all_agree();
        assert_eq!(world.leader(), Some(stays.server), "it goes on leading");
    }
}

#[test]
fn a_member_without_room_for_the_state_asks_for_it_now_and_then_and_has_it_once_there_is_space() {
    // F-09, F-21, L-03
    let (mut world, clients) = serving();
    let full = world.followers()[0];
    let stays = clients.iter().find(|client| Some(client.server) == world.leader()).copied().unwrap();
    world.kill(full);
    for number in 0..900 {
        assert_eq!(world.create(stays, &format!("/n{number}"), &[number as u8; 900], 0), OK);
    }
    world.fill_disk(full);
    world.start(full);
    let sent = |world: &World| world.net.sent.get(&PacketType::SNAP.0).copied().unwrap_or(0);
    world.until("it is sent the state", |world| sent(world) > 0);
    let before = sent(&world);
    world.pass(10_000);
    assert!(!world.is_whole(), "it had room: the test is too small");
    let again = sent(&world) - before;
    assert!((1..=10).contains(&again), "the whole state was sent {again} times in ten seconds");
    world.empty_disk(full);
    world.until("it follows", World::is_whole);
    world.all_agree();
}

#[test]
fn a_member_that_cannot_read_the_state_asks_for_it_now_and_then_and_has_it_once_it_can() {
    // L-03
    let (mut world, clients) = serving();
    assert_eq!(world.create(clients[0], "/n", b"x", 0), OK);
    let wiped = world.followers()[0];
    world.kill(wiped);
    world.wipe(wiped);
    world.net.spoils = Some(wiped);
    world.start(wiped);
    let sent = |world: &World| world.net.sent.get(&PacketType::SNAP.0).copied().unwrap_or(0);
    world.until("it is sent the state again", |world| sent(world) > 1);
    let before = sent(&world);
    world.pass(20_000);
    let again = sent(&world) - before;
    // A quarter of `initLimit` between two, at the latest.
    assert!((5..=90).contains(&again), "the whole state was sent {again} times in twenty seconds");
    world.net.spoils = None;
    world.until("it follows", World::is_whole);
    world.all_agree();
}

#[test]
fn a_member_whose_disk_is_new_is_sent_the_state() {
    // S-21, S-25, G-16
    let (mut world, clients) = serving();
    for number in 0..50 {
        assert_eq!(world.create(clients[number % 3], &format!("/n{number}"), &[number as u8; 300], 0), OK);
    }
    let wiped = world.followers()[0];
    let stays = clients.iter().find(|client| client.server != wiped).copied().unwrap();
    assert_eq!(world.create(stays, "/mine", b"", EPHEMERAL), OK);
    world.kill(wiped);
    world.wipe(wiped);
    world.start(wiped);
    world.until("it follows", World::is_whole);
    assert!(world.net.raw > 10_000, "{} bytes of state", world.net.raw);
    assert_eq!(world.set(stays, "/n7", b"later"), OK);
    world.all_agree();
    // And it is on its disk.
    world.kill(wiped);
    world.start(wiped);
    world.until("it follows again", World::is_whole);
    world.all_agree();
    let client = world.connect(wiped, None).unwrap();
    assert_eq!(world.create(client, "/by-it", b"", 0), OK);
}

#[test]
fn a_state_that_takes_longer_to_send_than_a_member_may_be_silent_arrives() {
    // SC-33, L-03, L-09: its bytes are a sign of life for both ends.
    let (mut world, clients) = serving();
    for number in 0..450 {
        assert_eq!(world.create(clients[number % 3], &format!("/n{number}"), &[number as u8; 7000], 0), OK);
    }
    let wiped = world.followers()[0];
    world.kill(wiped);
    world.wipe(wiped);
    // 8 KiB in 5 ms: about two seconds for all, and silence ends a link after one.
    (world.net.raw_piece, world.raw_per_step) = (8 << 10, Some(1));
    world.start(wiped);
    world.until("it follows", World::is_whole);
    let sent = world.net.raw;
    assert!((3_000_000..4_500_000).contains(&sent), "{sent} bytes: it was sent once");
    world.all_agree();
}

#[test]
fn without_a_quorum_nothing_is_acknowledged_and_all_is_there_when_it_is_back() {
    // G-09, L-04
    let (mut world, clients) = serving();
    assert_eq!(world.create(clients[0], "/kept", b"x", 0), OK);
    let leader = world.leader().unwrap();
    let followers = world.followers();
    followers.iter().for_each(|id| world.kill(*id));
    let at_leader = clients.iter().find(|client| client.server == leader).copied().unwrap();
    assert_eq!(world.create(at_leader, "/lost", b"x", 0), None, "closed without an answer");
    followers.iter().for_each(|id| world.start(*id));
    world.until("one leads and two follow", World::is_whole);
    world.all_agree();
    let client = world.connect(leader, None).unwrap();
    assert_eq!(world.exists(client, "/kept"), Some(true));
}

#[test]
fn what_only_a_dead_leader_had_is_dropped_when_it_comes_back() {
    // SC-11, SC-12, S-15, S-21: by TRUNC where nothing was written since, by the whole state where something was.
    for is_written_since in [false, true] {
        let (mut world, clients) = serving();
        assert_eq!(world.create(clients[0], "/kept", b"x", 0), OK);
        world.all_agree();
        let leader = world.leader().unwrap();
        let followers = world.followers();
        let at_leader = clients.iter().find(|client| client.server == leader).copied().unwrap();
        let before = world.logged(leader);
        followers.iter().for_each(|id| world.kill(*id));
        world.send_create(at_leader, "/only-here");
        assert!(world.logged(leader) > before, "it is in the leader's log");
        world.kill(leader);
        followers.iter().for_each(|id| world.start(*id));
        world.until("the others serve", World::is_whole);
        if is_written_since {
            let client = world.connect(followers[0], None).unwrap();
            assert_eq!(world.create(client, "/since", b"x", 0), OK);
        }
        let states = world.net.raw;
        world.start(leader);
        assert!(world.engine(leader).tree().lookup("/only-here").is_some(), "it is applied with all of the log");
        world.until("it follows", World::is_whole);
        world.all_agree();
        assert!(world.engine(leader).tree().lookup("/only-here").is_none());
        assert_eq!(world.net.sent.contains_key(&PacketType::TRUNC.0), !is_written_since);
        assert_eq!(world.net.raw > states, is_written_since, "a log that was cut needs no state");
        let client = world.connect(leader, None).unwrap();
        assert_eq!(world.create(client, "/only-here", b"", 0), OK);
        // Its disk says the same.
        world.kill(leader);
        world.start(leader);
        world.until("it follows again", World::is_whole);
        world.all_agree();
    }
}

#[test]
fn an_observer_serves_and_its_vote_is_not_needed() {
    // S-11
    let mut world = World::new(3, 1);
    world.until("one leads and three follow", World::is_whole);
    let observer = *world.ids().last().unwrap();
    let client = world.connect(observer, None).unwrap();
    assert_eq!(world.create(client, "/by-observer", b"x", 0), OK);
    world.all_agree();
    // Two voters and the observer are still a quorum of three voters; one voter and the observer are none.
    let followers: Vec<_> = world.followers().into_iter().filter(|id| *id != observer).collect();
    world.kill(followers[0]);
    assert_eq!(world.create(client, "/two-voters", b"x", 0), OK);
    world.kill(followers[1]);
    assert_eq!(world.create(client, "/one-voter", b"x", 0), None, "closed without an answer");
}

#[test]
fn no_epoch_begins_twice_though_nothing_was_written_in_it() {
    // S-07, S-08, D-01: what was promised and entered is on disk before anybody is told.
    let mut world = World::new(3, 0);
    for epoch in 1..4 {
        world.until("one leads and two follow", World::is_whole);
        let leader = world.leader().unwrap();
        assert_eq!(world.standing(leader), Some(Standing::Leading { epoch }));
        world.ids().into_iter().for_each(|id| world.kill(id));
        world.ids().into_iter().for_each(|id| world.start(id));
    }
}

#[test]
fn a_leader_that_was_cut_off_while_its_log_was_marked_drops_what_only_it_had() {
    // SC-11, S-15: its mark is written before a leader wants the log cut. When it is not: `ending.rs`.
    let (mut world, clients) = serving();
    let leader = world.leader().unwrap();
    let followers = world.followers();
    let at_leader = *clients.iter().find(|client| client.server == leader).unwrap();
    let before = world.logged(leader);
    world.net.cut(leader);
    world.send_create(at_leader, "/only-here");
    assert!(world.logged(leader) > before, "it is in the leader's log");
    world.slow.insert(leader, 4_000);
    world.until("the end of its log is being marked", |world| world.is_writing(leader));
    // What is written after that takes no time.
    world.slow.insert(leader, 0);
    world.until("the others serve without it", |world| {
        let serves = |id: &ServerId| world.standing(*id) != Some(Standing::Looking);
        followers.iter().all(serves) && !serves(&leader)
    });
    world.net.heal();
    assert!(world.is_writing(leader));
    let logged = world.logged(leader);
    world.until("its mark is written", |world| !world.is_writing(leader) || world.logged(leader) < logged);
    assert_eq!(world.logged(leader), logged, "it was cut before");
    world.until("it is told to cut its log", |world| world.net.sent.contains_key(&PacketType::TRUNC.0));
    world.until("it follows", World::is_whole);
    world.slow.clear();
    world.until("no write is under way", |world| !world.is_writing(leader));
    world.all_agree();
    assert!(world.engine(leader).tree().lookup("/only-here").is_none());
}

#[test]
fn a_leader_whose_write_takes_long_goes_on_leading_and_answers_nothing_early() {
    // F-10, D-05, D-10: four times as long as a leader may be silent.
    let (mut world, clients) = serving();
    assert_eq!(world.create(clients[0], "/before", b"x", 0), OK);
    world.all_agree();
    let leader = world.leader().unwrap();
    let standing = world.standing(leader);
    let at_leader = *clients.iter().find(|client| client.server == leader).unwrap();
    let elsewhere: Vec<Session> = clients.iter().filter(|client| client.server != leader).copied().collect();
    world.slow.insert(leader, 2000);
    world.send_create(at_leader, "/slow");
    world.until("its write has begun", |world| world.is_writing(leader));
    let (durable, applied) = (world.logged(leader), world.applied(leader));
    for number in 0..20 {
        assert_eq!(world.create(elsewhere[number % 2], &format!("/n{number}"), b"x", 0), OK, "two others are a quorum");
    }
    world.pass(1200);
    assert!(world.is_writing(leader) && !world.is_answered(at_leader), "answered before it is on its own disk");
    assert_eq!((world.logged(leader), world.applied(leader)), (durable, applied));
    assert_eq!(world.standing(leader), standing, "nobody has left it");
    world.until("its client is answered", |world| world.is_answered(at_leader));
    world.slow.clear();
    world.until("the write is over", |world| !world.is_writing(leader));
    world.all_agree();
    assert_eq!(world.standing(leader), standing);
    assert!(world.engine(leader).tree().lookup("/slow").is_some());
    assert!(world.engine(leader).tree().lookup("/n19").is_some());
}

#[test]
fn a_follower_whose_writes_take_long_stays_and_answers_nothing_early() {
    // F-10, S-12: with the mark of an idle log before it, a write takes nearly as long as a proposal may wait for its
    // acknowledgement, again and again.
    let (mut world, clients) = serving();
    let leader = world.leader().unwrap();
    let slow = world.followers()[0];
    let there = *clients.iter().find(|client| client.server == slow).unwrap();
    let at_leader = *clients.iter().find(|client| client.server == leader).unwrap();
    world.slow.insert(slow, 230);
    for round in 0..5 {
        world.send_create(there, &format!("/there{round}"));
        world.until("its write has begun", |world| world.is_writing(slow));
        assert_eq!(world.create(at_leader, &format!("/here{round}"), b"x", 0), OK, "the others are a quorum");
        assert!(!world.is_answered(there) && world.is_writing(slow));
        assert!(world.applied(slow) < world.applied(leader), "applied before it is on its own disk");
        world.until("its client is answered", |world| world.is_answered(there));
        world.take_answer(there);
    }
    assert_eq!(world.leader(), Some(leader));
    assert_eq!(world.net.sent[&PacketType::NEWLEADER.0], 2, "nobody had to come back");
    world.slow.clear();
    world.until("the write is over", |world| !world.is_writing(slow));
    world.all_agree();
}

#[test]
fn a_sync_of_a_learners_client_waits_for_a_quorum_and_not_for_the_leaders_disk() {
    // G-04, L-02
    let (mut world, clients) = serving();
    world.all_agree();
    let leader = world.leader().unwrap();
    let at_leader = *clients.iter().find(|client| client.server == leader).unwrap();
    let elsewhere = *clients.iter().find(|client| client.server != leader).unwrap();
    // Its other writes are over.
    world.pass(2_000);
    world.slow.insert(leader, 2_000);
    assert_eq!(world.create(elsewhere, "/by-others", b"x", 0), OK);
    assert!(world.is_writing(leader));
    world.send_sync(at_leader);
    assert_eq!(world.sync(elsewhere), OK);
    assert_eq!(world.exists(elsewhere, "/by-others"), Some(true));
    assert!(world.is_writing(leader), "it was answered after the leader's own write");
    assert!(!world.is_answered(at_leader), "the leader does not show it yet");
    world.until("the leader's write is over", |world| world.is_answered(at_leader));
    assert!(world.engine(leader).tree().lookup("/by-others").is_some());
    world.take_answer(at_leader);
    world.slow.clear();
    world.until("no write is under way", |world| !world.is_writing(leader));
    world.all_agree();
}

#[test]
fn what_a_member_had_not_written_when_it_was_killed_was_acknowledged_by_nobody_for_it() {
    // S-10, S-12, G-09: the write of the leader's log is under way when it dies, and one follower is away.
    let (mut world, clients) = serving();
    let leader = world.leader().unwrap();
    let at_leader = *clients.iter().find(|client| client.server == leader).unwrap();
    let away = world.followers()[0];
    world.kill(away);
    world.slow.insert(leader, 300);
    world.send_create(at_leader, "/unwritten");
    world.until("its write has begun", |world| world.is_writing(leader));
    world.pass(100);
    assert!(!world.is_answered(at_leader), "of three, one has it");
    let follower = world.followers()[0];
    assert_eq!(world.applied(follower), world.applied(leader), "nobody has applied it");
    assert!(world.engine(follower).tree().lookup("/unwritten").is_none());
}

#[test]
fn a_leader_that_is_to_stop_decides_nothing_more_and_waits_until_another_has_everything() {
    // S-10, L-01
    let (mut world, clients) = serving();
    world.all_agree();
    let (leader, followers) = (world.leader().unwrap(), world.followers());
    let at_leader = *clients.iter().find(|client| client.server == leader).unwrap();
    let elsewhere = *clients.iter().find(|client| client.server != leader).unwrap();
    assert!(world.may_leave(leader), "nothing is under way");
    assert!(!world.begin_leaving(followers[0]) && world.may_leave(followers[0]), "who does not lead may always go");
    world.slow.extend(followers.iter().map(|id| (*id, 200)));
    world.send_create(at_leader, "/handed-over");
    world.until("it is in the leader's log", |world| world.logged(leader) > world.applied(leader));
    assert!(world.begin_leaving(leader) && !world.may_leave(leader));
    let logged = world.logged(leader);
    world.send_create(elsewhere, "/undecided");
    world.until("it may go", |world| world.may_leave(leader));
    assert!(world.is_answered(at_leader), "what it had decided is answered");
    assert_eq!(world.logged(leader), logged, "it has decided nothing more");
    assert!(followers.iter().any(|id| world.logged(*id) == logged), "nobody has everything");
    world.kill(leader);
    world.slow.clear();
    world.until("the others serve", World::is_whole);
    world.all_agree();
    let tree = world.engine(followers[0]).tree();
    assert!(tree.lookup("/handed-over").is_some() && tree.lookup("/undecided").is_none());
}
