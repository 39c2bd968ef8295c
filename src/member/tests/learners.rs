//! Members that are brought up to date, or that cannot be for a while.

use super::net::World;
use super::{OK, serving};
use crate::ids::Zxid;
use crate::records::peer::{PacketType, QuorumPacket};
use crate::zab::Standing;

fn sent(world: &World, kind: PacketType) -> usize {
    world.net.sent.get(&kind.0).copied().unwrap_or(0)
}

#[test]
fn a_learner_that_lacks_more_log_than_is_read_at_once_gets_all_of_it_and_no_state() {
    // L-03: the log is kept, and it is several times as long as what memory holds and what is read at once.
    let mut world = World::idle(3, 0);
    (world.options.log_window, world.options.max_size) = (8 << 20, 32 << 20);
    world.ids().into_iter().for_each(|id| world.start(id));
    world.until("one leads and two follow", World::is_whole);
    let leader = world.leader().unwrap();
    let client = world.connect(leader, None).unwrap();
    let away = world.followers()[0];
    world.all_agree();
    world.kill(away);
    for number in 0..300 {
        assert_eq!(world.create(client, &format!("/n{number}"), &[number as u8; 7000], 0), OK);
    }
    let (states, diffs) = (world.net.raw, sent(&world, PacketType::DIFF));
    world.start(away);
    world.until("it follows", World::is_whole);
    assert_eq!((world.net.raw, sent(&world, PacketType::DIFF)), (states, diffs + 1), "the state was sent");
    world.all_agree();
    assert!(world.engine(away).tree().lookup("/n299").is_some());
}

#[test]
fn learners_that_go_while_the_state_is_sent_to_them_leave_room_for_others() {
    // R-26, L-03: more often than a state may be sent at once.
    let (mut world, clients) = serving();
    for number in 0..300 {
        assert_eq!(world.create(clients[number % 3], &format!("/n{number}"), &[number as u8; 2000], 0), OK);
    }
    let wiped = world.followers()[0];
    (world.net.raw_piece, world.raw_per_step) = (8 << 10, Some(1));
    for round in 0..10 {
        world.kill(wiped);
        world.wipe(wiped);
        let begun = world.net.raw;
        world.start(wiped);
        world.until("the state is being sent", |world| world.net.raw > begun);
        assert!(!world.is_whole(), "round {round}: all of it was sent, the test is too small");
    }
    world.raw_per_step = None;
    world.until("it follows", World::is_whole);
    world.all_agree();
}

#[test]
fn a_follower_without_space_holds_nobody_up_and_has_everything_once_there_is_space() {
    // F-09, L-03
    let (mut world, clients) = serving();
    let leader = world.leader().unwrap();
    let full = world.followers()[0];
    let at_leader = *clients.iter().find(|client| client.server == leader).unwrap();
    world.fill_disk(full);
    for number in 0..900 {
        assert_eq!(world.create(at_leader, &format!("/n{number}"), &[number as u8; 900], 0), OK);
    }
    assert!(world.logged(full) < world.logged(leader), "it had room: the test is too small");
    assert_eq!(world.leader(), Some(leader));
    world.empty_disk(full);
    world.until("it follows", |world| world.is_whole() && world.logged(full) == world.logged(leader));
    world.all_agree();
}

#[test]
fn what_is_too_large_for_the_log_is_decided_for_nobody_and_ends_no_role() {
    // R-22, G-14: asked for at the leader, and by way of a follower.
    let (mut world, clients) = serving();
    let leader = world.leader().unwrap();
    let standing = world.standing(leader);
    let large = vec![7; world.options.max_record as usize + 1];
    for client in &clients {
        let before = world.logged(leader);
        assert_eq!(world.set(*client, "/", &large), None, "its connection is closed: nobody knows");
        assert_eq!(world.logged(leader), before);
        world.until("all serve", World::is_whole);
        assert_eq!(world.standing(leader), standing);
        let again = world.connect(client.server, None).unwrap();
        assert_eq!(world.set(again, "/", b"small"), OK);
        world.all_agree();
    }
}

#[test]
fn a_member_that_waits_for_space_for_the_state_goes_along_when_its_leader_is_lost() {
    // L-01, S-16: what was begun under the old leader ends with its role.
    let (mut world, clients) = serving();
    let full = world.followers()[0];
    let leader = world.leader().unwrap();
    let stays = *clients.iter().find(|client| client.server == leader).unwrap();
    world.kill(full);
    for number in 0..900 {
        assert_eq!(world.create(stays, &format!("/n{number}"), &[number as u8; 900], 0), OK);
    }
    world.all_agree();
    world.fill_disk(full);
    let before = sent(&world, PacketType::SNAP);
    world.start(full);
    world.until("it is sent the state", |world| sent(world, PacketType::SNAP) > before);
    world.pass(500);
    world.kill(leader);
    world.empty_disk(full);
    world.until("the two others serve", World::is_whole);
    world.all_agree();
}

#[test]
fn a_member_that_looks_for_a_leader_takes_no_snapshot_of_what_may_be_dropped() {
    // S-15, S-43: it has more log than a snapshot is due for.
    let (mut world, clients) = serving();
    for number in 0..100 {
        assert_eq!(world.create(clients[number % 3], &format!("/n{number}"), &[number as u8; 900], 0), OK);
    }
    world.all_agree();
    let ids = world.ids();
    ids.iter().for_each(|id| world.kill(*id));
    world.options.log_window = 20 << 10;
    world.start(ids[0]);
    world.pass(1000);
    let taken = |world: &World| world.members[&ids[0]].store.stats().snapshots;
    assert!(world.members[&ids[0]].store.wants_snapshot());
    assert!(taken(&world) == 0 && !world.members[&ids[0]].snapshots.is_walking());
    ids[1..].iter().for_each(|id| world.start(*id));
    world.until("it serves and takes one", |world| world.is_whole() && taken(world) > 0);
    world.all_agree();
}

#[test]
fn who_breaks_the_protocol_is_disconnected_hears_of_it_and_comes_back() {
    // R-28, L-03: a follower, and a leader. Each is told at once, and does not wait for a limit.
    for is_leader in [false, true] {
        let (mut world, clients) = serving();
        world.all_agree();
        let (leader, follower) = (world.leader().unwrap(), world.followers()[0]);
        let greeted = sent(&world, PacketType::NEWLEADER);
        let (from, to) = if is_leader { (leader, follower) } else { (follower, leader) };
        world.net.speak(from, to, QuorumPacket::with_data(PacketType::REVALIDATE, Zxid::ZERO, [7; 3].into()));
        world.pass(20);
        assert_eq!(world.standing(follower), Some(Standing::Looking), "it does not know: {is_leader}");
        world.until("it follows again", World::is_whole);
        assert_eq!((world.leader(), sent(&world, PacketType::NEWLEADER)), (Some(leader), greeted + 1));
        let stays = *clients.iter().find(|client| client.server == leader).unwrap();
        assert_eq!(world.create(stays, "/after", b"", 0), OK);
        world.all_agree();
    }
}

#[test]
fn a_member_whose_file_is_at_its_limit_makes_room_for_what_it_lacks_by_a_snapshot() {
    // R-22, L-03, L-12: its log from before would have to go for what it is sent, and no snapshot of its covers that.
    let mut world = World::idle(3, 0);
    (world.options.log_window, world.options.max_record) = (192 << 10, 8 << 10);
    world.options.max_size = (128 << 10) + 12 * world.options.extent_size;
    world.ids().into_iter().for_each(|id| world.start(id));
    world.until("one leads and two follow", World::is_whole);
    let client = world.connect(world.leader().unwrap(), None).unwrap();
    assert_eq!(world.create(client, "/n", b"", 0), OK);
    let write = |world: &mut World, count: usize| {
        (0..count).for_each(|number| assert_eq!(world.set(client, "/n", &[number as u8; 900]), OK));
    };
    write(&mut world, 300);
    let away = world.followers()[0];
    world.kill(away);
    write(&mut world, 500);
    let (states, diffs) = (world.net.raw, sent(&world, PacketType::DIFF));
    world.start(away);
    world.until("it follows", World::is_whole);
    world.all_agree();
    assert_eq!((world.net.raw, sent(&world, PacketType::DIFF)), (states, diffs + 1), "it did not go by its log");
    assert_eq!(world.members[&away].store.stats().snapshots, 1, "there was room, or the same one is taken again");
}
