//! Sessions that one server knows and no other.

use super::*;
use crate::jute::Decoder;
use crate::records::multi::MultiHeader;
use crate::records::replies::ErrorReply;

const EPHEMERAL: i32 = 1;

fn with_local(upgrading: bool) -> Ensemble {
    Ensemble::with(3, |member| EngineSettings {
        local_sessions: true,
        local_sessions_upgrading: upgrading,
        ..settings_of(member)
    })
}

fn multi(creates: &[(&str, i32)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (path, flags) in creates {
        encode(&MultiHeader::request(OpCode::Create), &mut body);
        encode(&create(path, *flags), &mut body);
    }
    encode(&MultiHeader::END, &mut body);
    body
}

impl Ensemble {
    fn call_bytes(&mut self, client: Client, op: OpCode, body: &[u8]) -> Frame {
        self.xid += 1;
        let mut payload = encoded(&RequestHeader { xid: self.xid, op: op.to_i32() });
        payload.extend_from_slice(body);
        self.send(client, &payload);
        self.carry();
        self.frames(client).pop().unwrap()
    }

    fn counts(&self, at: usize) -> (usize, usize) {
        let status = self.engine(at).status();
        (status.sessions, status.local_sessions)
    }

    fn is_global(&self, session: SessionId) -> bool {
        (0..self.members.len()).all(|at| self.engine(at).state.sessions.is_live(session))
    }
}

#[test]
fn a_local_session_reads_and_writes_and_costs_no_transaction() {
    for at in [0, 1] {
        let mut ensemble = with_local(false);
        let before = ensemble.history.len();
        let client = ensemble.client(at);
        assert_eq!(ensemble.history.len(), before, "its beginning is no transaction");
        assert_eq!((ensemble.counts(at), ensemble.counts(2)), ((0, 1), (0, 0)));
        assert_eq!(ensemble.create(client, "/a", 0), ErrorCode::Ok);
        assert_eq!(ensemble.call_bytes(client, OpCode::Multi, &multi(&[("/b", 0), ("/c", 2)])).code(), ErrorCode::Ok);
        let set = SetDataRequest { path: "/a".into(), data: Buffer::new(b"x"), version: 0 };
        assert_eq!(ensemble.call(client, OpCode::SetData, &set).code(), ErrorCode::Ok);
        assert_eq!(ensemble.call(client, OpCode::CreateContainer, &create("/d", 4)).code(), ErrorCode::Ok);
        assert!(ensemble.exists(client, "/b"));
        let (session, writes) = (ensemble.session(client), ensemble.history.len());
        assert_eq!(ensemble.call(client, OpCode::CloseSession, &()).code(), ErrorCode::Ok);
        assert_eq!(ensemble.close_reason(client), Some(CloseReason::Asked));
        assert_eq!(ensemble.history.len(), writes, "nor is its end");
        assert!(!ensemble.engine(at).has_session(session));
        assert_eq!(ensemble.counts(at), (0, 0));
        ensemble.assert_equal();
    }
}

#[test]
fn without_upgrading_it_gets_no_ephemeral() {
    for at in [0, 1] {
        let mut ensemble = with_local(false);
        let client = ensemble.client(at);
        for flags in [1, 3] {
            assert_eq!(ensemble.create(client, "/e", flags), ErrorCode::EphemeralOnLocalSession);
        }
        assert_eq!(ensemble.call(client, OpCode::Create2, &create("/e", 1)).code(), ErrorCode::EphemeralOnLocalSession);
        let results = ensemble.call_bytes(client, OpCode::Multi, &multi(&[("/b", 0), ("/e", EPHEMERAL)]));
        let mut decoder = Decoder::new(&results.body);
        let mut codes = Vec::new();
        for _ in 0..2 {
            decoder.read::<MultiHeader>().unwrap();
            codes.push(decoder.read::<ErrorReply>().unwrap().err);
        }
        assert_eq!(codes, [0, ErrorCode::EphemeralOnLocalSession.to_i32()]);
        assert!(!ensemble.exists(client, "/b"), "G-13");
        // The session is none the worse.
        assert_eq!(ensemble.create(client, "/a", 0), ErrorCode::Ok);
        assert_eq!(ensemble.counts(at), (0, 1));
    }
}

#[test]
fn with_upgrading_an_ephemeral_makes_it_known_to_all() {
    // G-11, S-27: id and password stay, wherever it goes on.
    for (at, in_multi) in [(0, false), (1, false), (0, true), (1, true)] {
        let mut ensemble = with_local(true);
        let client = ensemble.client(at);
        let (session, password) = (ensemble.session(client), ensemble.password(client));
        assert_eq!(ensemble.create(client, "/a", 0), ErrorCode::Ok);
        let before = ensemble.history.len();
        let code = match in_multi {
            true => ensemble.call_bytes(client, OpCode::Multi, &multi(&[("/b", 0), ("/e", EPHEMERAL)])).code(),
            false => ensemble.create(client, "/e", EPHEMERAL),
        };
        assert_eq!(code, ErrorCode::Ok);
        assert_eq!(ensemble.history.len(), before + 2, "the beginning of the session, and the create");
        assert!(ensemble.is_global(session));
        assert_eq!(ensemble.counts(at), (1, 0));
        assert_eq!(ensemble.create(client, "/e2", EPHEMERAL), ErrorCode::Ok, "once is enough");
        assert_eq!(ensemble.history.len(), before + 3);
        let moved = ensemble.resume(2, session, &password);
        ensemble.carry();
        assert_eq!(ensemble.welcome(moved).map(|(id, _)| id), Some(session));
        assert!(ensemble.exists(moved, "/e"));
        assert_eq!(ensemble.call(moved, OpCode::CloseSession, &()).code(), ErrorCode::Ok);
        assert!(!ensemble.is_global(session));
        let other = ensemble.client(at);
        assert!(!ensemble.exists(other, "/e") && !ensemble.exists(other, "/e2"));
        ensemble.assert_equal();
    }
}

#[test]
fn what_comes_behind_the_ephemeral_concerns_the_session_that_all_know() {
    // G-11, ZOOKEEPER-3471: the session ends while it is not known to all yet.
    for at in [0, 1] {
        let mut ensemble = with_local(true);
        let client = ensemble.client(at);
        let session = ensemble.session(client);
        ensemble.commits = false;
        ensemble.request(client, OpCode::Create, &create("/e", EPHEMERAL));
        ensemble.request(client, OpCode::CloseSession, &());
        ensemble.carry();
        assert!(ensemble.frames(client).is_empty());
        ensemble.commits = true;
        ensemble.carry();
        assert_eq!(ensemble.frames(client).len(), 2);
        assert_eq!(ensemble.close_reason(client), Some(CloseReason::Asked));
        assert!((0..3).all(|at| !ensemble.engine(at).has_session(session)));
        let other = ensemble.client(2);
        assert!(!ensemble.exists(other, "/e"));
    }
}

#[test]
fn a_refused_ephemeral_leaves_the_session_known_to_all() {
    let mut ensemble = with_local(true);
    let client = ensemble.client(1);
    let session = ensemble.session(client);
    assert_eq!(ensemble.create(client, "/no/parent", EPHEMERAL), ErrorCode::NoNode);
    assert!(ensemble.is_global(session));
}

#[test]
fn it_goes_on_at_its_server_and_nowhere_else() {
    // G-10, SC-40
    for at in [0, 1] {
        let mut ensemble = with_local(true);
        let client = ensemble.client(at);
        let (session, password) = (ensemble.session(client), ensemble.password(client));
        let wrong = ensemble.resume(at, session, &[7; 16]);
        assert_eq!(ensemble.welcome(wrong), Some((SessionId::NONE, 0)));
        assert_eq!(ensemble.close_reason(client), None, "who does not know the password cuts nobody off");
        let back = ensemble.resume(at, session, &password);
        assert_eq!(ensemble.welcome(back).map(|(id, _)| id), Some(session));
        assert_eq!(ensemble.close_reason(client), Some(CloseReason::Moved));
        for elsewhere in (0..3).filter(|other| *other != at) {
            let moved = ensemble.resume(elsewhere, session, &password);
            ensemble.carry();
            assert_eq!(ensemble.welcome(moved), Some((SessionId::NONE, 0)), "at {elsewhere}");
        }
        ensemble.members[at].engine.closed(back.conn);
        let back = ensemble.resume(at, session, &password);
        assert_eq!(ensemble.welcome(back).map(|(id, _)| id), Some(session), "it outlives its connection");
        ensemble.lose_the_leader();
        ensemble.lead(0);
        let late = ensemble.resume(at, session, &password);
        ensemble.carry();
        assert_eq!(ensemble.welcome(late), Some((SessionId::NONE, 0)), "it ends with its server's part");
    }
}

#[test]
fn it_expires_at_its_server_when_nothing_is_heard_of_it() {
    // G-10, L-05
    for at in [0, 1] {
        let mut ensemble = with_local(true);
        let (silent, pinging) = (ensemble.client(at), ensemble.client(at));
        let history = ensemble.history.len();
        for _ in 0..8 {
            ensemble.pass(1000);
            ensemble.request(pinging, OpCode::Ping, &());
        }
        assert_eq!(ensemble.close_reason(silent), Some(CloseReason::SessionEnded));
        assert_eq!(ensemble.close_reason(pinging), None);
        assert_eq!((ensemble.counts(at), ensemble.history.len()), ((0, 1), history));
        let session = ensemble.session(pinging);
        assert!(ensemble.members[at].engine.disconnect(session) && ensemble.members[at].engine.expire(session));
        assert_eq!((ensemble.counts(at), ensemble.history.len()), ((0, 0), history));
    }
}

#[test]
fn no_other_server_hears_of_it() {
    // S-44: not the leader in the answer to a ping, nor who is sent the state.
    let mut ensemble = with_local(true);
    let (local, upgraded) = (ensemble.client(1), ensemble.client(1));
    ensemble.create(upgraded, "/e", EPHEMERAL);
    ensemble.request(local, OpCode::Ping, &());
    ensemble.request(upgraded, OpCode::Ping, &());
    let session = ensemble.session(upgraded);
    let touches = ensemble.members[1].engine.ping_answer();
    assert_eq!(touches.len(), 12);
    assert_eq!(touches[..8], session.0.to_be_bytes());
    let engine = &mut ensemble.members[1].engine;
    let mut retelling = engine.retell_begin().unwrap();
    let mut stream = Vec::new();
    while engine.retell_on(&mut retelling, 1000, 1 << 20, &mut stream) == Walked::More {}
    let mut hearing = ensemble.engine(2).hear(retelling.zxid());
    hearing.feed(&stream).unwrap();
    assert_eq!(hearing.finish().unwrap().session_count(), 1);
}

#[test]
fn a_leader_takes_a_learners_word_for_sessions_it_does_not_know() {
    // S-28: but not for one that has ended, though its request was under way.
    let mut ensemble = with_local(true);
    let (local, upgraded) = (ensemble.client(1), ensemble.client(1));
    ensemble.create(upgraded, "/e", EPHEMERAL);
    let session = ensemble.session(upgraded);
    ensemble.members[1].is_mute = true;
    ensemble.members[1].is_behind = true;
    ensemble.request(local, OpCode::Create, &create("/local", 0));
    ensemble.request(upgraded, OpCode::Create, &create("/late", 0));
    ensemble.members[0].engine.expire(session);
    ensemble.carry();
    assert!(!ensemble.engine(0).has_session(session));
    ensemble.members[1].is_mute = false;
    ensemble.members[1].is_behind = false;
    ensemble.carry();
    let other = ensemble.client(0);
    assert!(ensemble.exists(other, "/local"));
    assert!(!ensemble.exists(other, "/late"));
    // Nor for one of its own ids, which it would know.
    let learner = ensemble.client(2);
    let id = ensemble.members[0].engine.state.sessions.new_id();
    if let Some(conn) = ensemble.members[2].engine.conns.get_mut(learner.conn) {
        conn.session = id;
    }
    assert_eq!(ensemble.create(learner, "/own", 0), ErrorCode::SessionExpired);
}

#[test]
fn a_leader_without_local_sessions_refuses_those_of_others() {
    let mut ensemble =
        Ensemble::with(2, |member| EngineSettings { local_sessions: member == 1, ..settings_of(member) });
    let client = ensemble.client(1);
    assert_eq!(ensemble.create(client, "/a", 0), ErrorCode::SessionExpired);
    let client = ensemble.client(0);
    assert_eq!(ensemble.create(client, "/a", 0), ErrorCode::Ok);
}

#[test]
fn local_sessions_count_toward_the_limit() {
    //
    let mut ensemble = Ensemble::with(2, |member| {
        let mut settings = EngineSettings { local_sessions: true, ..settings_of(member) };
        settings.limits.sessions_max = 2;
        settings
    });
    ensemble.client(1);
    ensemble.client(1);
    let third = ensemble.open(1);
    ensemble.send(third, &handshake(0, &[0; 16], 0));
    assert!(matches!(ensemble.close_reason(third), Some(CloseReason::Violation(_))));
    ensemble.client(0);
}

#[test]
fn a_server_by_itself_knows_no_local_sessions() {
    let settings = EngineSettings { local_sessions: true, ..settings_of(0) };
    let mut engine = Engine::empty(settings, [0; 32], [1, 2]);
    engine.serve(Duty::Alone { epoch: 1 }, Millis(0), WallMillis(WALL));
    let conn = engine.open("127.0.0.1:4000".parse().unwrap());
    let payload = handshake(0, &[0; 16], 0);
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&payload);
    engine.receive(conn, &frame);
    assert!(engine.has_proposals());
    assert_eq!(engine.status().local_sessions, 0);
}

#[test]
fn where_the_upgrade_comes_to_nothing_its_client_has_to_begin_anew() {
    // The log has no room for it, and the create behind it is refused without a trace.
    let mut ensemble = with_local(true);
    let client = ensemble.client(0);
    let session = ensemble.session(client);
    let engine = &mut ensemble.members[0].engine;
    engine.set_log_space(LogSpace::Reserve);
    ensemble.request(client, OpCode::Create, &create("/e", EPHEMERAL));
    let engine = &mut ensemble.members[0].engine;
    assert_eq!(engine.poll_proposals().count(), 1);
    engine.abandon_proposals();
    assert!(!engine.has_session(session));
    assert!(matches!(ensemble.close_reason(client), Some(CloseReason::Violation(_))));
}

#[test]
fn nothing_behind_the_close_has_an_effect() {
    // S-28: while what is in front of it is not answered yet, the connection is there.
    for at in [0, 1] {
        let mut ensemble = with_local(true);
        let client = ensemble.client(at);
        ensemble.commits = false;
        ensemble.request(client, OpCode::Create, &create("/before", 0));
        ensemble.request(client, OpCode::CloseSession, &());
        ensemble.request(client, OpCode::Create, &create("/behind", 0));
        ensemble.carry();
        ensemble.commits = true;
        ensemble.carry();
        assert_eq!(ensemble.frames(client).len(), 2);
        assert_eq!(ensemble.close_reason(client), Some(CloseReason::Asked));
        let other = ensemble.client(2);
        assert!(ensemble.exists(other, "/before") && !ensemble.exists(other, "/behind"));
    }
}

#[test]
fn a_session_whose_end_is_decided_before_it_has_begun_is_over_when_it_begins() {
    // G-11, S-28
    for at in [0, 1] {
        let mut ensemble = with_local(true);
        let client = ensemble.client(at);
        let (session, password) = (ensemble.session(client), ensemble.password(client));
        ensemble.commits = false;
        ensemble.request(client, OpCode::Create, &create("/e", EPHEMERAL));
        ensemble.request(client, OpCode::CloseSession, &());
        ensemble.carry();
        assert!(ensemble.engine(0).is_ending(session));
        // The beginning and the create are committed, the end is not yet.
        ensemble.commit_first(2);
        ensemble.carry();
        assert!(ensemble.engine(0).has_session(session));
        assert!(!ensemble.engine(0).state.sessions.is_live(session));
        ensemble.request(client, OpCode::Create, &create("/behind", EPHEMERAL));
        let again = ensemble.resume(2, session, &password);
        ensemble.carry();
        assert_eq!(ensemble.welcome(again), None, "whether it is over is not known yet");
        ensemble.commits = true;
        ensemble.carry();
        assert_eq!(ensemble.welcome(again), Some((SessionId::NONE, 0)));
        let other = ensemble.client(2);
        assert!(!ensemble.exists(other, "/e") && !ensemble.exists(other, "/behind"));
        ensemble.assert_equal();
    }
}

#[test]
fn no_question_about_a_session_overtakes_its_beginning() {
    // S-35: the leader would say that there is no such session, and then begin it.
    let mut ensemble = with_local(true);
    let client = ensemble.client(1);
    let (session, password) = (ensemble.session(client), ensemble.password(client));
    ensemble.members[1].is_mute = true;
    ensemble.request(client, OpCode::Create, &create("/e", EPHEMERAL));
    let again = ensemble.resume(1, session, &password);
    ensemble.carry();
    assert_eq!(ensemble.close_reason(again), Some(CloseReason::NotServing));
    ensemble.members[1].is_mute = false;
    ensemble.carry();
    let again = ensemble.resume(1, session, &password);
    ensemble.carry();
    assert_eq!(ensemble.welcome(again).map(|(id, _)| id), Some(session));
}

#[test]
fn many_local_sessions_that_are_silent_end_in_slices_of_one_turn() {
    //
    let mut ensemble = with_local(false);
    for _ in 0..250 {
        ensemble.client(1);
    }
    assert_eq!(ensemble.counts(1), (0, 250));
    ensemble.now = ensemble.now.plus(60_000);
    let (now, wall) = ensemble.time();
    let engine = &mut ensemble.members[1].engine;
    engine.set_time(now, wall);
    let mut looks = vec![engine.status().local_sessions];
    while engine.tick() {
        looks.push(engine.status().local_sessions);
    }
    assert_eq!(looks, [250, 150, 50]);
    assert_eq!((ensemble.counts(1), ensemble.engine(1).status().sessions_expired), ((0, 0), 250));
}

#[test]
fn local_sessions_are_listed_where_there_may_be_some() {
    let mut ensemble = with_local(false);
    let client = ensemble.client(1);
    let session = ensemble.session(client);
    let listed: Vec<SessionId> =
        ensemble.engine(1).local_buckets().unwrap().flat_map(|(_, sessions)| sessions).collect();
    assert_eq!(listed, [session]);
    assert!(Ensemble::new(1).engine(0).local_buckets().is_none(), "they are off");
    let alone = World::with(EngineSettings { local_sessions: true, ..EngineSettings::default() });
    assert!(alone.engine.local_buckets().is_none(), "a server that is alone has none");
}

#[test]
fn who_is_let_wait_or_lives_in_this_process_keeps_a_local_session() {
    // G-10
    let mut ensemble = with_local(false);
    let [silent, waiting, in_process] = [1, 1, 1].map(|at| ensemble.client(at));
    ensemble.members[1].engine.keep_alive(in_process.conn);
    ensemble.now = ensemble.now.plus(60_000);
    let (now, wall) = ensemble.time();
    let engine = &mut ensemble.members[1].engine;
    engine.set_time(now, wall);
    while engine.tick_hearing(&mut |conn| conn == waiting.conn) {}
    assert_eq!(ensemble.close_reason(silent), Some(CloseReason::SessionEnded));
    assert_eq!((ensemble.close_reason(waiting), ensemble.close_reason(in_process)), (None, None));
    assert_eq!(ensemble.counts(1), (0, 2));
}

#[test]
fn a_leader_keeps_nothing_of_local_sessions_that_write() {
    // S-44: it is not told of their end.
    let mut ensemble = with_local(false);
    for at in 0..3 {
        let client = ensemble.client(at);
        assert_eq!(ensemble.create(client, &format!("/n{at}"), 0), ErrorCode::Ok);
    }
    assert_eq!(ensemble.engine(0).remote.speakers(), 0);
}
