//! Back-pressure and book-keeping of connections, each at its limit and one past it.

use super::*;

fn limited(change: impl FnOnce(&mut EngineLimits)) -> World {
    let mut settings = EngineSettings { tick_ms: 1000, session_timeout_min_ms: 2000, ..EngineSettings::default() };
    change(&mut settings.limits);
    World::with(settings)
}

fn get(path: &str) -> PathWatchRequest<'_> {
    PathWatchRequest { path: path.into(), watch: false }
}

/// One request as it lies in a socket.
fn framed(xid: i32, op: OpCode, body: &impl serde::Serialize) -> Vec<u8> {
    let mut payload = Vec::new();
    encode(&RequestHeader { xid, op: op.to_i32() }, &mut payload);
    encode(body, &mut payload);
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend(payload);
    frame
}

#[test]
fn requests_in_flight_of_all_stop_whoever_has_one_waiting_already() {
    // and nobody else, so that each connection can go on with one.
    let mut world = limited(|limits| limits.in_flight_max = 3);
    let (greedy, modest) = (world.client(), world.client());
    for name in ["/a", "/b", "/c", "/d"] {
        world.request(greedy, OpCode::Create, &create(name, 0));
    }
    assert_eq!(world.engine.proposals().len(), 3);
    assert_eq!(world.offer(greedy, &[]), NextInput::Blocked);
    world.request(modest, OpCode::Create, &create("/e", 0));
    assert_eq!(world.engine.proposals().len(), 4);
    world.request(modest, OpCode::Create, &create("/f", 0));
    assert_eq!(world.engine.proposals().len(), 4);
    world.commit();
    world.commit();
    assert_eq!((world.frames(greedy).len(), world.frames(modest).len()), (4, 2));
}

#[test]
fn bytes_of_requests_that_wait_stop_the_reading() {
    // each waiting request counts its body and 64 bytes.
    let mut world = limited(|limits| limits.waiting_size_max = 64 + 3 * (64 + 105));
    let conn = world.client();
    world.request(conn, OpCode::Create, &create("/a", 0));
    let path = format!("/{}", "x".repeat(99));
    for _ in 0..5 {
        world.request(conn, OpCode::GetData, &get(&path));
    }
    let queued = world.engine.connections().next().unwrap().queued;
    assert_eq!(queued, 4, "one write and three reads of 105 bytes");
    assert_eq!(world.offer(conn, &[]), NextInput::Blocked);
    world.commit();
    assert_eq!(world.frames(conn).len(), 6);
    // Nothing is left on the account.
    world.request(conn, OpCode::Create, &create("/b", 0));
    for _ in 0..3 {
        world.request(conn, OpCode::Sync, &PathRequest { path: path.as_str().into() });
    }
    assert_eq!(world.engine.connections().next().unwrap().queued, 4);
}

#[test]
fn a_connection_with_many_requests_lets_others_in_between() {
    let mut world = World::new();
    let conn = world.client();
    let bytes: Vec<u8> = (0..100).flat_map(|xid| framed(xid, OpCode::Exists, &get("/"))).collect();
    let one = bytes.len() / 100;
    let received = world.engine.receive(conn, &bytes);
    assert_eq!(received, Received { consumed: 64 * one, next: NextInput::Yield });
    assert_eq!(world.engine.receive(conn, &bytes[..64 * one]).next, NextInput::More(0), "nothing is left to offer");
    assert_eq!(world.frames(conn).len(), 128);
    // A frame that is not whole says how long it will be.
    let part = framed(7, OpCode::Exists, &get("/"));
    let received = world.engine.receive(conn, &[&part[..], &part[..10]].concat());
    assert_eq!(received, Received { consumed: part.len(), next: NextInput::More(part.len()) });
    let received = world.engine.receive(conn, &part[..3]);
    assert_eq!(received, Received { consumed: 0, next: NextInput::More(0) });
}

#[test]
fn what_comes_after_the_end_of_a_connection_is_thrown_away() {
    let mut world = World::new();
    let (conn, gone) = (world.client(), world.client());
    world.engine.close(conn, CloseReason::Cut);
    world.engine.closed(gone);
    for id in [conn, gone] {
        let received = world.engine.receive(id, &[1, 2, 3]);
        assert_eq!(received, Received { consumed: 3, next: NextInput::Blocked });
    }
    assert!(world.engine.output(gone).is_none());
    world.engine.closed(gone);
    assert_eq!(world.engine.connection_count(), 1, "the end is counted once");
}

#[test]
fn a_slot_that_is_used_again_is_another_connection() {
    // S-16
    let mut world = World::new();
    let old = world.client();
    world.exists(old, "/x", true);
    world.engine.closed(old);
    let new = world.client();
    assert_eq!((new.slot, new.generation > old.generation), (old.slot, true));
    world.create(new, "/x", 0);
    assert!(world.frames(new).is_empty(), "the watch of the connection before is gone");
    world.engine.close(old, CloseReason::Cut);
    world.engine.flushed(old, 0);
    world.engine.closed(old);
    assert!(!world.is_closing(new));
    assert!(world.exists(new, "/x", false));
}

#[test]
fn stopping_closes_every_connection_for_the_first_reason_it_had() {
    let mut world = World::new();
    let (a, b) = (world.client(), world.client());
    world.engine.close(a, CloseReason::Moved);
    world.engine.close_all(&CloseReason::Stopping);
    assert_eq!(world.engine.output(a).unwrap().1, Some(&CloseReason::Moved));
    assert_eq!(world.engine.output(b).unwrap().1, Some(&CloseReason::Stopping));
}

#[test]
fn the_loop_is_told_once_of_each_connection_and_of_chosen_slots_first() {
    let mut world = World::new();
    let conns = [world.client(), world.client(), world.client()];
    while world.engine.poll_touched().is_some() {}
    for conn in conns {
        world.request(conn, OpCode::Ping, &());
        world.request(conn, OpCode::Ping, &());
    }
    assert_eq!(world.engine.poll_touched_in(|slot| slot == conns[1].slot), Some(conns[1]));
    assert_eq!(world.engine.poll_touched_in(|slot| slot == conns[1].slot), None);
    world.engine.closed(conns[2]);
    assert_eq!(world.engine.poll_touched_in(|slot| slot == conns[2].slot), None, "it is gone");
    assert_eq!(world.engine.poll_touched(), Some(conns[0]));
    assert_eq!(world.engine.poll_touched(), None);
    world.request(conns[1], OpCode::Ping, &());
    assert_eq!(world.engine.poll_touched(), Some(conns[1]), "and again after the next one");
}

#[test]
fn a_connection_is_new_until_its_handshake_and_proposals_are_there_until_taken() {
    let mut world = World::new();
    let conn = world.open();
    assert!(world.engine.is_new(conn) && !world.engine.has_proposals());
    world.send(conn, &handshake(0, &[0; 16], 0));
    assert!(!world.engine.is_new(conn) && world.engine.has_proposals());
    world.commit();
    assert!(!world.engine.has_proposals());
}

#[test]
fn credentials_of_one_connection_are_bounded_in_bytes() {
    //
    let mut world = World::new();
    let auth = |world: &mut World, conn: ConnId, credentials: &[u8]| {
        world.request(
            conn,
            OpCode::Auth,
            &AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(credentials) },
        );
    };
    // `ip` and 127.0.0.1 are 11 bytes of identities already.
    let longest = CREDENTIALS_SIZE_MAX - 11;
    let conn = world.client();
    auth(&mut world, conn, &vec![b'a'; longest + 1]);
    assert!(world.is_closing(conn));
    let conn = world.client();
    auth(&mut world, conn, &vec![b'a'; longest]);
    assert!(!world.is_closing(conn));
    assert_eq!(world.frames(conn)[0].code(), ErrorCode::Ok);
    auth(&mut world, conn, &[b'b'; 100]);
    assert!(world.is_closing(conn), "both together");
}

#[test]
fn a_timeout_is_clamped_at_both_ends() {
    let settings = EngineSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        session_timeout_max_ms: 9000,
        ..EngineSettings::default()
    };
    let mut world = World::with(settings);
    for (asked, granted) in [(i32::MIN, 2000), (1999, 2000), (2001, 2001), (9000, 9000), (i32::MAX, 9000)] {
        let conn = world.open();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout: asked,
            session_id: 0,
            password: Buffer::new(&[0; 16]),
        };
        let mut payload = Vec::new();
        encode(&request, &mut payload);
        payload.push(0);
        world.send(conn, &payload);
        world.commit();
        let reply = world.bytes(conn);
        assert_eq!(i32::from_be_bytes(reply[8..12].try_into().unwrap()), granted, "{asked}");
    }
}

#[test]
fn a_client_that_has_seen_more_than_this_server_is_sent_away() {
    // G-08
    let mut world = World::new();
    let writer = world.client();
    world.create(writer, "/a", 0);
    let applied = world.engine.applied().0;
    for (seen, refused) in [(applied - 1, false), (applied, false), (applied + 1, true)] {
        let conn = world.open();
        world.send(conn, &handshake(0, &[0; 16], seen));
        assert_eq!(world.is_closing(conn), refused, "seen {seen} of {applied}");
    }
}
