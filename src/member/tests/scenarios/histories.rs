//! Crashes between what a member says and what it has, and members that are brought up to date meanwhile.

use crate::ids::ServerId;
use crate::member::tests::net::{Session, World};
use crate::member::tests::{OK, serving};
use crate::records::peer::PacketType;

fn has(world: &World, id: ServerId, path: &str) -> bool {
    world.engine(id).tree().lookup(path).is_some()
}

fn sent(world: &World, kind: PacketType) -> usize {
    world.net.sent.get(&kind.0).copied().unwrap_or(0)
}

/// A write that A and B have acknowledged, and C never received: B is down, and A leads C, which is about to be sent it.
fn a_leads_c_which_lacks_a_write_that_b_has() -> (World, [ServerId; 3]) {
    let (mut world, clients) = serving();
    world.all_agree();
    let (a, followers) = (world.leader().unwrap(), world.followers());
    let (b, c) = (followers[0], followers[1]);
    let at_a = *clients.iter().find(|client| client.server == a).unwrap();
    world.net.cut(c);
    assert_eq!(world.create(at_a, "/acknowledged", b"x", 0), OK);
    world.kill(b);
    (world, [a, b, c])
}

#[test]
fn a_member_with_a_newer_epoch_and_a_shorter_history_does_not_win() {
    // SC-01, S-08: C crashes before the write is in its log, whatever it has stored by then. A stops, and B and C start.
    let (mut world, [a, b, c]) = a_leads_c_which_lacks_a_write_that_b_has();
    let (promised, begun) = (sent(&world, PacketType::ACKEPOCH), sent(&world, PacketType::NEWLEADER));
    world.net.heal();
    world.until("C promises the epoch", |world| sent(world, PacketType::ACKEPOCH) > promised);
    world.slow.insert(c, 100_000);
    world.until("C is told of the epoch", |world| sent(world, PacketType::NEWLEADER) > begun);
    world.pass(200);
    assert!(!has(&world, c, "/acknowledged"), "it is in C's log");
    world.kill(c);
    world.kill(a);
    world.slow.clear();
    world.start(b);
    world.start(c);
    world.until("B and C serve", World::is_whole);
    world.all_agree();
    assert!(has(&world, b, "/acknowledged"));
}

#[test]
fn who_has_acknowledged_an_epoch_has_its_history_on_disk() {
    // SC-02, SC-03, D-02
    let (mut world, [a, b, c]) = a_leads_c_which_lacks_a_write_that_b_has();
    world.slow.insert(c, 40);
    let acks = sent(&world, PacketType::ACK);
    world.net.heal();
    // Nobody but C has a leader to acknowledge anything to.
    world.until("C acknowledges the epoch", |world| sent(world, PacketType::ACK) > acks);
    world.kill(c);
    world.kill(a);
    world.slow.clear();
    world.start(c);
    assert!(has(&world, c, "/acknowledged"), "it acknowledged what its disk does not have");
    world.start(b);
    world.until("B and C serve", World::is_whole);
    world.all_agree();
    assert!(has(&world, b, "/acknowledged"));
}

#[test]
fn who_was_brought_up_to_date_brings_others_up_to_date_without_a_hole() {
    // SC-06, S-13
    let mut world = World::new(5, 0);
    world.until("one leads and four follow", World::is_whole);
    let first = world.leader().unwrap();
    let followers = world.followers();
    let (stale, staler) = (*followers.last().unwrap(), followers[0]);
    let client = world.connect(first, None).unwrap();
    let write = |world: &mut World, client: Session, from: usize| {
        for number in from..from + 10 {
            assert_eq!(world.create(client, &format!("/n{number}"), b"x", 0), OK);
        }
    };
    world.kill(staler);
    write(&mut world, client, 0);
    world.kill(stale);
    write(&mut world, client, 10);
    world.start(stale);
    world.until("the stale one follows", World::is_whole);
    write(&mut world, client, 20);
    world.all_agree();
    world.kill(first);
    world.until("another leads", World::is_whole);
    assert_eq!(world.leader(), Some(stale), "of equal histories the highest id wins");
    world.start(staler);
    world.until("the other stale one follows", World::is_whole);
    world.start(first);
    world.until("all serve", World::is_whole);
    world.all_agree();
    assert_eq!(world.net.raw, 0, "a state was sent");
    assert!((0..30).all(|number| has(&world, staler, &format!("/n{number}"))));
}

#[test]
fn a_state_that_was_sent_in_part_leaves_no_trace() {
    // SC-08, SC-09: the leader and the learner crash at any moment of it.
    let mut cut_short = 0;
    for moment in 0..16 {
        let (mut world, clients) = serving();
        for number in 0..40 {
            assert_eq!(world.create(clients[number % 3], &format!("/n{number}"), &[7; 500], 0), OK);
        }
        world.all_agree();
        let (leader, wiped) = (world.leader().unwrap(), world.followers()[0]);
        let expected = world.state(leader);
        world.kill(wiped);
        world.wipe(wiped);
        (world.raw_per_step, world.net.raw_piece) = (Some(4), 1000);
        world.start(wiped);
        world.until("a state is sent", |world| world.net.raw > 0);
        world.pass(5 * moment);
        cut_short += usize::from(!has(&world, wiped, "/n39"));
        world.kill(leader);
        world.kill(wiped);
        world.raw_per_step = None;
        world.start(wiped);
        let found = world.state(wiped);
        assert!(found == expected || found.len() < 10, "a part of a state: {found:?}");
        world.start(leader);
        world.until("all serve", World::is_whole);
        world.all_agree();
        assert_eq!(world.state(wiped).len(), expected.len());
    }
    assert!((1..16).contains(&cut_short), "of 16 states {cut_short} were cut short");
}

#[test]
fn what_is_written_while_a_state_is_sent_is_there_behind_it() {
    // SC-10, SC-17
    let (mut world, clients) = serving();
    for number in 0..40 {
        assert_eq!(world.create(clients[number % 3], &format!("/n{number}"), &[7; 500], 0), OK);
    }
    let wiped = world.followers()[0];
    let stays = *clients.iter().find(|client| client.server != wiped).unwrap();
    world.kill(wiped);
    world.wipe(wiped);
    (world.raw_per_step, world.net.raw_piece) = (Some(1), 200);
    world.start(wiped);
    world.until("a state is sent", |world| world.net.raw > 0);
    let mut meanwhile = 0;
    while !world.is_whole() {
        assert_eq!(world.create(stays, &format!("/meanwhile{meanwhile}"), b"x", 0), OK);
        meanwhile += 1;
        assert!(meanwhile < 5000, "the state never arrives");
    }
    assert!(meanwhile > 20, "{meanwhile} writes meanwhile");
    world.raw_per_step = None;
    world.all_agree();
    assert!((0..meanwhile).all(|number| has(&world, wiped, &format!("/meanwhile{number}"))));
}
