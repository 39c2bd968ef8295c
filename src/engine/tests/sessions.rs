//! Sessions as clients see them.

use super::*;
use crate::session::SessionPasswords;

fn resume(world: &mut World, session: i64, password: &[u8]) -> (ConnId, ConnectResponse<'static>) {
    let conn = world.open();
    world.send(conn, &handshake(session, password, 0));
    world.commit();
    let bytes = world.bytes(conn);
    let response: ConnectResponse<'_> = decode(&bytes[4..]).unwrap();
    let response = ConnectResponse { password: Buffer(None), ..response };
    (conn, ConnectResponse { protocol_version: 0, password: Buffer(None), ..response })
}

#[test]
fn a_handshake_is_answered_only_once_the_session_is_committed() {
    // G-09, D-10
    let mut world = World::new();
    let conn = world.open();
    world.send(conn, &handshake(0, &[0; 16], 0));
    assert!(world.bytes(conn).is_empty());
    world.commit();
    let bytes = world.bytes(conn);
    let response: ConnectResponse<'_> = decode(&bytes[4..]).unwrap();
    assert_eq!(response.timeout, 4000);
    assert_eq!(response.password.len(), 16);
    assert_eq!(world.engine.applied(), Zxid(1));
}

#[test]
fn the_reply_to_a_handshake_has_the_form_of_the_request() {
    // SC-62
    let mut world = World::new();
    let conn = world.open();
    let payload = handshake(0, &[0; 16], 0);
    world.send(conn, &payload[..44]);
    world.commit();
    assert_eq!(world.bytes(conn).len(), 4 + 36);
}

#[test]
fn what_is_pipelined_behind_a_handshake_waits_for_it_and_is_not_lost() {
    let mut world = World::new();
    let conn = world.open();
    let mut bytes = 45u32.to_be_bytes().to_vec();
    bytes.extend_from_slice(&handshake(0, &[0; 16], 0));
    bytes.extend_from_slice(&[0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 11]);
    assert_eq!(world.offer(conn, &bytes), NextInput::Blocked);
    world.commit();
    assert_eq!(world.bytes(conn).len(), 41 + 20);
}

#[test]
fn resuming_needs_the_password_and_a_refused_try_disturbs_nobody() {
    // SC-40, G-10
    let mut world = World::new();
    let owner = world.client();
    let session = world.session(owner);
    let password = world.engine.passwords.of(session);
    for (id, password) in [(session.0, [9; 16]), (session.0 + 5, password), (-1, [0; 16])] {
        let (conn, response) = resume(&mut world, id, &password);
        assert_eq!((response.timeout, response.session_id), (0, 0));
        assert!(world.is_closing(conn));
    }
    assert!(!world.is_closing(owner), "knowing an id is not enough to cut its owner off");
    let (conn, response) = resume(&mut world, session.0, &password);
    assert_eq!((response.timeout, response.session_id), (4000, session.0));
    assert!(world.is_closing(owner), "SC-41: the old connection may not write any more");
    world.engine.closed(owner);
    assert_eq!(world.create(conn, "/a", 0).code(), ErrorCode::Ok);
}

#[test]
fn a_server_that_is_alone_takes_and_gives_the_passwords_that_it_is_told_to() {
    // SC-40
    for (mode, takes_theirs, gives_theirs) in [
        (SessionPasswords::Keyed, false, false),
        (SessionPasswords::Moving, true, false),
        (SessionPasswords::Compatible, true, true),
    ] {
        let settings = EngineSettings { tick_ms: 1000, session_timeout_min_ms: 2000, ..EngineSettings::default() };
        let mut world = World::with(EngineSettings { session_passwords: Some(mode), ..settings });
        let owner = world.client();
        let session = world.session(owner);
        let [own, theirs] = [SessionPasswords::Keyed, SessionPasswords::Compatible].map(|of| {
            let mut passwords = world.engine.passwords.clone();
            passwords.set_mode(of);
            passwords.of(session)
        });
        let given = world.engine.passwords.of(session);
        assert_eq!(given, if gives_theirs { theirs } else { own }, "{mode:?}");
        let (_, response) = resume(&mut world, session.0, &theirs);
        assert_eq!(response.session_id, if takes_theirs { session.0 } else { 0 }, "{mode:?} and ZooKeeper's");
        let (_, response) = resume(&mut world, session.0, &own);
        assert_eq!(response.session_id, session.0, "{mode:?} and a random one");
    }
}

#[test]
fn a_client_that_has_seen_more_than_we_know_is_sent_away_without_a_word() {
    // G-08
    let mut world = World::new();
    let conn = world.open();
    world.send(conn, &handshake(0, &[0; 16], 1));
    world.commit();
    assert!(world.is_closing(conn) && world.bytes(conn).is_empty());
}

#[test]
fn ephemerals_end_with_their_session_in_one_transaction() {
    // G-11, S-25
    let mut world = World::new();
    let (a, b) = (world.client(), world.client());
    world.create(a, "/a", 1);
    world.create(a, "/b", 1);
    let before = world.engine.applied();
    let frame = world.call(a, OpCode::CloseSession, &());
    assert_eq!(frame.header.zxid, before.0 + 1);
    assert!(world.is_closing(a));
    assert!(!world.exists(b, "/a", false) && !world.exists(b, "/b", false));
}

#[test]
fn a_silent_session_expires_and_a_pinging_one_does_not() {
    // G-10, L-05
    let mut world = World::new();
    let (silent, pinging) = (world.client(), world.client());
    world.create(silent, "/s", 1);
    for _ in 0..4 {
        world.pass(1500);
        world.call_ping(pinging);
    }
    assert!(world.is_closing(silent), "expired without a message");
    assert!(world.bytes(silent).is_empty());
    assert!(!world.exists(pinging, "/s", false));
}

#[test]
fn a_create_behind_the_end_of_its_session_is_refused() {
    // SC-37, SC-44, S-28: both are decided before either is applied.
    let mut world = World::new();
    let conn = world.client();
    world.request(conn, OpCode::CloseSession, &());
    world.request(conn, OpCode::Create, &create("/late", 1));
    world.commit();
    let other = world.client();
    assert!(!world.exists(other, "/late", false));
    assert_eq!(world.engine.tree().ephemeral_count(), 0);
}

#[test]
fn an_ephemeral_that_is_still_outstanding_goes_with_its_session() {
    // SC-37
    let mut world = World::new();
    let conn = world.client();
    world.request(conn, OpCode::Create, &create("/e", 1));
    world.request(conn, OpCode::CloseSession, &());
    world.commit();
    assert_eq!(world.engine.tree().ephemeral_count(), 0);
    assert!(world.engine.tree().lookup("/e").is_none());
}

#[test]
fn a_path_that_is_no_longer_the_sessions_does_not_go_with_it() {
    // G-11: deleted and created anew by somebody else, none of it applied yet. Found by the simulator, seed 644.
    let mut world = World::new();
    let (owner, other) = (world.client(), world.client());
    world.create(owner, "/e", 1);
    world.request(other, OpCode::Delete, &PathVersionRequest { path: "/e".into(), version: -1 });
    world.request(other, OpCode::Create, &create("/e", 0));
    world.request(owner, OpCode::CloseSession, &());
    world.commit();
    world.frames(other);
    assert!(world.exists(other, "/e", false));
}

#[test]
fn the_log_replayed_gives_the_same_state() {
    // S-20, S-23
    let mut world = World::new();
    let (a, b) = (world.client(), world.client());
    world.create(a, "/p", 0);
    world.create(a, "/p/s-", 3);
    world.create(b, "/p/s-", 2);
    world.set(b, "/p");
    world.create(b, "/p", 0);
    world.call(a, OpCode::CloseSession, &());
    let mut again = Engine::empty(world.engine.settings.clone(), [3; 32], [7, 8]);
    for proposal in &world.log {
        again.replay(proposal.zxid, &proposal.txn).unwrap();
    }
    for proposal in &world.log {
        again.replay(proposal.zxid, &proposal.txn).unwrap();
    }
    assert_eq!(again.applied(), world.engine.applied());
    for path in ["/", "/p", "/p/s-0000000001"] {
        let stat = |engine: &Engine| engine.tree().lookup(path).map(|node| engine.tree().stat(node));
        assert_eq!(stat(&again), stat(&world.engine), "{path}");
    }
    assert_eq!(again.state.sessions.len(), 1);
    again.serve(ALONE, Millis(0), WallMillis(0));
    assert!(again.state.sessions.new_id() > world.session(b), "S-27");
}

impl World {
    fn call_ping(&mut self, conn: ConnId) {
        self.request(conn, OpCode::Ping, &());
        let frames = self.frames(conn);
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].header.xid, -2);
    }
}

#[test]
fn a_session_whose_end_could_not_be_logged_goes_on_for_who_asked_meanwhile() {
    // S-35: a server by itself, whose file is full.
    let mut world = World::new();
    let conn = world.client();
    let session = world.session(conn);
    let password = world.engine.passwords.of(session);
    world.request(conn, OpCode::CloseSession, &());
    let again = world.open();
    world.send(again, &handshake(session.0, &password, 0));
    assert!(world.bytes(again).is_empty(), "whether it is over nobody knows yet");
    world.engine.poll_proposals().for_each(drop);
    world.engine.abandon_proposals();
    let bytes = world.bytes(again);
    let response: ConnectResponse<'_> = decode(&bytes[4..]).unwrap();
    assert_eq!((response.session_id, response.timeout), (session.0, 4000));
}
