//! Sessions and their ephemerals over restarts, cut links and clocks that jump.

use crate::ids::ServerId;
use crate::member::tests::net::{Session, World};
use crate::member::tests::{EPHEMERAL, OK, serving};

fn nobody_has(world: &World, path: &str) -> bool {
    world.ids().into_iter().all(|id| world.engine(id).tree().lookup(path).is_none())
}

fn knows(world: &World, id: ServerId, session: Session) -> bool {
    world.engine(id).expiry_buckets().flat_map(|(_, ids)| ids).any(|known| known.0 == session.id)
}

/// `client` reads once a second, and nobody else does anything.
fn reads_for(world: &mut World, client: Session, ms: u64) {
    for _ in 0..ms / 1000 {
        assert_eq!(world.exists(client, "/"), Some(true), "its connection was closed");
        world.pass(1000);
    }
}

#[test]
fn an_end_of_a_session_that_a_follower_missed_takes_its_ephemerals_there_too() {
    // SC-35, G-11: the follower's links break at any moment of it.
    for moment in 0..8 {
        let (mut world, clients) = serving();
        let leader = world.leader().unwrap();
        let follower = world.followers()[0];
        let ends = *clients.iter().find(|client| client.server == leader).unwrap();
        assert_eq!(world.create(ends, "/mine", b"", EPHEMERAL), OK);
        world.all_agree();
        world.send_close(ends);
        for _ in 0..moment {
            world.pass(5);
        }
        world.net.cut(follower);
        world.pass(5_000);
        world.net.heal();
        world.until("all serve", World::is_whole);
        world.all_agree();
        assert!(nobody_has(&world, "/mine"));
        assert_eq!(world.net.raw, 0, "a state was sent");
    }
}

#[test]
fn after_a_restart_of_all_who_returns_keeps_its_ephemerals_and_who_does_not_expires_everywhere() {
    // SC-36, G-10, G-11
    let (mut world, clients) = serving();
    for (at, client) in clients.iter().enumerate() {
        assert_eq!(world.create(*client, &format!("/e{at}"), b"", EPHEMERAL), OK);
    }
    world.all_agree();
    world.ids().into_iter().for_each(|id| world.kill(id));
    // However long they were down.
    world.pass(60_000);
    world.ids().into_iter().for_each(|id| world.start(id));
    world.until("all serve", World::is_whole);
    let back = world.connect(clients[1].server, Some(clients[0])).unwrap();
    assert_eq!(back.id, clients[0].id);
    assert_eq!(world.exists(back, "/e1"), Some(true), "who may still return has not expired");
    reads_for(&mut world, back, 15_000);
    world.all_agree();
    for id in world.ids() {
        assert_eq!(clients.iter().map(|one| knows(&world, id, *one)).collect::<Vec<_>>(), [true, false, false]);
    }
    assert!(nobody_has(&world, "/e1") && nobody_has(&world, "/e2"));
    assert_eq!(world.exists(back, "/e0"), Some(true));
}

#[test]
fn who_only_reads_on_a_follower_lives() {
    // SC-39, G-10: ten timeouts.
    let (mut world, clients) = serving();
    let follower = world.followers()[0];
    let reader = *clients.iter().find(|client| client.server == follower).unwrap();
    assert_eq!(world.create(reader, "/mine", b"", EPHEMERAL), OK);
    reads_for(&mut world, reader, 100_000);
    assert_eq!(world.exists(reader, "/mine"), Some(true));
    let silent = clients.iter().filter(|client| **client != reader);
    assert!(silent.map(|client| knows(&world, follower, *client)).all(|is_known| !is_known), "nobody else spoke");
}

#[test]
fn wall_clocks_that_jump_end_no_session_and_keep_none_alive() {
    // SC-42, F-12, G-10
    let (mut world, clients) = serving();
    let follower = world.followers()[0];
    let reader = *clients.iter().find(|client| client.server == follower).unwrap();
    assert_eq!(world.create(reader, "/mine", b"", EPHEMERAL), OK);
    for round in 0..12_i64 {
        for (at, id) in world.ids().into_iter().enumerate() {
            let hours = [0, 30_000, -400, 5, -9][(round as usize + at) % 5];
            world.net.wall_jumps.insert(id, hours * 3_600_000);
        }
        reads_for(&mut world, reader, 1_000);
        let is_young = round < 9;
        if is_young {
            assert!(clients.iter().all(|client| knows(&world, follower, *client)), "one expired after {round} s");
        }
    }
    reads_for(&mut world, reader, 2_000);
    world.all_agree();
    let alive: Vec<Session> = clients.iter().filter(|client| knows(&world, follower, **client)).copied().collect();
    assert_eq!(alive, [reader], "who was silent for more than its timeout");
    assert_eq!(world.exists(reader, "/mine"), Some(true));
}
