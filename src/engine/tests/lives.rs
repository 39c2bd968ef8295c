//! How connections and sessions go on after what was meant for them came to nothing, or to an end.

use super::*;

fn world() -> World {
    World::with(EngineSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        session_timeout_max_ms: 3_600_000,
        ..EngineSettings::default()
    })
}

impl World {
    /// Everything decided so far is lost: the log did not take it.
    fn abandon(&mut self) {
        let _ = self.engine.poll_proposals().count();
        self.engine.abandon_proposals();
    }

    fn resume(&mut self, session: SessionId) -> ConnId {
        let password = self.engine.passwords.of(session);
        let conn = self.open();
        self.send(conn, &handshake(session.0, &password, 0));
        let reply = self.bytes(conn);
        assert_eq!(reply.len(), 41, "{session} is resumed");
        assert_eq!(i64::from_be_bytes(reply[12..20].try_into().unwrap()), session.0, "{session} is resumed");
        conn
    }
}

#[test]
fn a_session_whose_end_could_not_be_logged_lives_on() {
    // G-10, G-14: its client is cut off, comes back, and goes on with what it owns.
    let mut world = world();
    let (conn, other) = (world.client(), world.client());
    world.create(conn, "/e", 1);
    let session = world.session(conn);
    world.request(conn, OpCode::CloseSession, &());
    world.abandon();
    assert!(world.is_closing(conn));
    world.engine.closed(conn);
    let again = world.resume(session);
    assert!(world.exists(other, "/e", false));
    assert_eq!(world.create(again, "/f", 1).code(), ErrorCode::Ok);
    assert_eq!(world.call(again, OpCode::CloseSession, &()).code(), ErrorCode::Ok);
    assert_eq!(world.engine.tree().ephemeral_count(), 0);
}

#[test]
fn a_session_whose_expiry_could_not_be_logged_expires_later() {
    // G-10: else its ephemerals would stay for ever.
    let mut world = world();
    let conn = world.client();
    world.create(conn, "/e", 1);
    world.now = world.now.plus(6000);
    world.engine.set_time(world.now, WallMillis(1_700_000_006_000));
    world.engine.tick();
    assert!(world.engine.has_proposals());
    world.abandon();
    assert!(world.engine.tree().lookup("/e").is_some());
    world.pass(10_000);
    assert!(world.engine.tree().lookup("/e").is_none());
    assert_eq!(world.engine.status().sessions, 0);
}

#[test]
fn whatever_could_not_be_logged_leaves_no_trace_in_later_decisions() {
    // G-14: names, versions, sequence numbers and zxids are those of what was applied.
    let mut world = world();
    let (conn, other) = (world.client(), world.client());
    world.create(other, "/p", 0);
    let applied = world.engine.applied();
    world.request(conn, OpCode::Create, &create("/p/a", 0));
    world.request(conn, OpCode::Create, &create("/p/s-", 2));
    world.request(other, OpCode::Sync, &PathRequest { path: "/".into() });
    world.abandon();
    assert!(world.is_closing(conn), "nobody knows whether its writes happened");
    let frames = world.frames(other);
    assert_eq!((frames.len(), frames[0].code(), frames[0].header.zxid), (1, ErrorCode::Ok, applied.0));
    let frame = world.create(other, "/p/s-", 2);
    assert_eq!((frame.code(), frame.header.zxid), (ErrorCode::Ok, applied.0 + 1));
    assert!(world.exists(other, "/p/s-0000000000", false));
    assert_eq!(world.create(other, "/p/a", 0).code(), ErrorCode::Ok);
}

#[test]
fn the_slot_of_a_connection_that_went_while_a_transaction_was_applied_is_used_again() {
    // slots that are never used again are memory that is never given back.
    let mut world = world();
    let (owner, other) = (world.client(), world.client());
    for number in 0..4000 {
        assert_eq!(world.create(owner, &format!("/{number}"), 1).code(), ErrorCode::Ok);
    }
    world.request(owner, OpCode::CloseSession, &());
    let proposals: Vec<Proposal> = world.engine.poll_proposals().collect();
    for proposal in proposals {
        world.engine.deliver_begin(proposal.zxid, &proposal.txn).unwrap();
        assert!(world.engine.is_applying(), "in slices");
        world.engine.closed(other);
        let meanwhile = world.open();
        assert_ne!(meanwhile.slot, other.slot, "events of the transaction name watchers by their slots");
        while !world.engine.apply_slice().unwrap() {}
    }
    let later = world.open();
    assert_eq!(later.slot, other.slot);
    assert!(later.generation > other.generation);
}

#[test]
fn a_ping_is_answered_while_a_long_transaction_is_applied() {
    // reads wait for the whole of it, a ping shows no state.
    let mut world = world();
    let (owner, other) = (world.client(), world.client());
    for number in 0..4000 {
        world.create(owner, &format!("/{number}"), 1);
    }
    world.request(owner, OpCode::CloseSession, &());
    let proposals: Vec<Proposal> = world.engine.poll_proposals().collect();
    for proposal in proposals {
        world.engine.deliver_begin(proposal.zxid, &proposal.txn).unwrap();
    }
    assert!(world.engine.is_applying());
    world.request(other, OpCode::Ping, &());
    assert_eq!(world.frames(other).len(), 1, "at once");
    let read = world.request(other, OpCode::Exists, &PathWatchRequest { path: "/0".into(), watch: false });
    assert!(world.frames(other).is_empty(), "half of it is for nobody to see");
    while !world.engine.apply_slice().unwrap() {}
    world.commit();
    let frames = world.frames(other);
    assert_eq!((frames.len(), frames[0].header.xid, frames[0].code()), (1, read, ErrorCode::NoNode));
}

#[test]
fn answers_to_handshakes_are_counted_as_sent() {
    let mut world = world();
    let conn = world.client();
    assert_eq!((world.engine.status().received, world.engine.status().sent), (1, 1));
    let session = world.session(conn);
    world.resume(session);
    assert_eq!((world.engine.status().received, world.engine.status().sent), (2, 2));
    let stranger = world.open();
    world.send(stranger, &handshake(session.0, &[9; 16], 0));
    assert_eq!((world.engine.status().received, world.engine.status().sent), (3, 3));
}

#[test]
fn an_address_that_had_to_wait_once_does_not_wait_for_ever() {
    // when its line is empty, the next handshake of the address is served at once.
    let mut settings = EngineSettings { tick_ms: 1000, session_timeout_min_ms: 2000, ..EngineSettings::default() };
    (settings.limits.sessions_burst, settings.limits.sessions_per_second) = (2, 10);
    let mut world = World::with(settings);
    let conns: Vec<ConnId> = (0..3).map(|_| world.open()).collect();
    for &conn in &conns {
        world.send(conn, &handshake(0, &[0; 16], 0));
    }
    world.commit();
    assert_eq!(world.engine.status().sessions, 2);
    world.pass(100);
    world.commit();
    assert_eq!(world.engine.status().sessions, 3);
    world.pass(1000);
    let late = world.open();
    world.send(late, &handshake(0, &[0; 16], 0));
    assert!(world.inputs[&late].is_empty(), "nobody is in front of it");
    world.commit();
    assert_eq!(world.engine.status().sessions, 4);
}

#[test]
fn containers_and_expired_znodes_go_at_the_rate_that_is_set() {
    // So many per minute, spread over its looks.
    for (per_minute, interval, per_look) in [(120, 1000, 2), (90, 2000, 3), (60, 500, 1), (1, 1000, 1), (0, 1000, 0)] {
        let mut settings =
            EngineSettings { tick_ms: 1000, session_timeout_max_ms: 3_600_000, ..EngineSettings::default() };
        settings.session_timeout_min_ms = 3_600_000;
        (settings.container_check_interval_ms, settings.container_max_per_minute) = (interval, per_minute);
        settings.container_never_used_max_ms = 100;
        let mut world = World::with(settings);
        let conn = world.client();
        for number in 0..10 {
            world.call(conn, OpCode::CreateContainer, &create(&format!("/c{number}"), 4));
        }
        let left = |world: &World| world.engine.tree().node_count();
        let all = left(&world);
        for look in 1..=3 {
            world.pass(interval);
            assert_eq!(all - left(&world), per_look * look, "{per_minute} per minute, every {interval} ms");
        }
    }
}

#[test]
fn a_server_that_demands_a_scheme_answers_nothing_before_it() {
    let settings = EngineSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        enforced_schemes: vec!["digest".to_owned()],
        ..EngineSettings::default()
    };
    let mut world = World::with(settings);
    let (stranger, known) = (world.client(), world.client());
    let frame = world.call(stranger, OpCode::Exists, &PathWatchRequest { path: "/".into(), watch: false });
    assert_eq!(frame.code(), ErrorCode::SessionClosedRequireSaslAuth);
    assert!(world.is_closing(stranger));
    let login = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(b"u:p") };
    assert_eq!(world.call(known, OpCode::Auth, &login).code(), ErrorCode::Ok);
    assert!(world.exists(known, "/", false));
}

#[test]
fn a_state_that_is_loaded_takes_the_place_of_the_one_before_from_the_start() {
    // What is loaded over a large state must not need the memory of both.
    let mut world = world();
    let conn = world.client();
    let empty = Engine::empty(EngineSettings::default(), [3; 32], [1, 2]).tree().node_count();
    world.create(conn, "/a", 0);
    let loaded = world.engine.reload(|state| {
        assert_eq!((state.applied(), state.tree().node_count()), (Zxid::ZERO, empty), "before anything is loaded");
        state.load_begin(Zxid(100));
        Ok::<(), ()>(())
    });
    loaded.unwrap();
    assert_eq!((world.engine.applied(), world.engine.status().sessions), (Zxid(100), 0));
}

#[test]
fn each_reason_for_closing_has_words_of_its_own() {
    // An operator reads them in the log.
    let all = [
        CloseReason::Asked,
        CloseReason::SessionEnded,
        CloseReason::Moved,
        CloseReason::Refused,
        CloseReason::Unauthenticated,
        CloseReason::Stopping,
        CloseReason::Cut,
        CloseReason::Violation("it broke a rule".to_owned()),
    ];
    let mut words: Vec<&str> = all.iter().map(CloseReason::words).collect();
    assert!(words.iter().all(|words| words.len() > 8) && words.contains(&"it broke a rule"));
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), all.len());
}

#[test]
fn what_was_decided_is_remembered_until_it_is_applied_and_no_longer() {
    // by a list, and without one, when nothing is decided until it is applied.
    let mut world = World::new();
    let (owner, other) = (world.client(), world.client());
    world.request(other, OpCode::Create, &create("/a", 0));
    assert!(world.engine.decider.outstanding.len() > 0);
    world.commit();
    assert_eq!(world.engine.decider.outstanding.len(), 0);
    for number in 0..300 {
        world.create(owner, &format!("/{number}"), 1);
    }
    world.request(owner, OpCode::CloseSession, &());
    world.request(other, OpCode::Create, &create("/b", 0));
    // What came behind the end of the session was not decided before that was applied.
    world.commit();
    world.commit();
    world.frames(other);
    assert!(world.exists(other, "/b", false) && !world.exists(other, "/7", false));
    assert_eq!(world.engine.decider.outstanding.len(), 0);
}
