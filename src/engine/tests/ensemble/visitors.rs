//! A server that has no leader and serves reads.

use super::*;

fn visit(ensemble: &mut Ensemble, at: usize, session: SessionId, password: &[u8], read_only: Option<u8>) -> Client {
    let client = ensemble.open(at);
    let mut payload = handshake(session.0, password, 0);
    payload.pop();
    payload.extend(read_only);
    ensemble.send(client, &payload);
    client
}

fn read_only() -> (Ensemble, Client) {
    without_a_leader(Ensemble::new(3))
}

fn without_a_leader(mut ensemble: Ensemble) -> (Ensemble, Client) {
    let before = ensemble.client(1);
    ensemble.create(before, "/a", 0);
    ensemble.lose_the_leader();
    let (now, wall) = ensemble.time();
    ensemble.members[1].engine.serve(Duty::ReadOnly, now, wall);
    (ensemble, before)
}

#[test]
fn only_who_puts_up_with_it_is_let_in_and_is_told() {
    let (mut ensemble, _) = read_only();
    for flag in [None, Some(0)] {
        let refused = visit(&mut ensemble, 1, SessionId::NONE, &[0; 16], flag);
        assert!(ensemble.close_reason(refused).is_some() && ensemble.bytes(refused).is_empty());
    }
    let visitor = visit(&mut ensemble, 1, SessionId::NONE, &[0; 16], Some(1));
    let bytes = ensemble.bytes(visitor);
    assert_eq!((bytes.len(), bytes[40]), (41, 1), "the flag says that the server is read-only");
    assert!(!ensemble.engine(1).has_proposals(), "nothing of it reaches the history");
}

#[test]
fn a_visitor_reads_and_every_write_is_refused() {
    let (mut ensemble, _) = read_only();
    let visitor = visit(&mut ensemble, 1, SessionId::NONE, &[0; 16], Some(1));
    ensemble.bytes(visitor);
    let read = |ensemble: &mut Ensemble, op: OpCode, body: &[u8]| {
        ensemble.xid += 1;
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: ensemble.xid, op: op.to_i32() }, &mut payload);
        payload.extend_from_slice(body);
        ensemble.send(visitor, &payload);
        let mut frames = ensemble.frames(visitor);
        assert_eq!(frames.len(), 1, "{op}");
        frames.remove(0).code()
    };
    let path = encoded(&PathWatchRequest { path: "/a".into(), watch: true });
    assert_eq!(read(&mut ensemble, OpCode::GetData, &path), ErrorCode::Ok);
    let writes = [
        (OpCode::Create, encoded(&create("/b", 0))),
        (OpCode::SetData, encoded(&SetDataRequest { path: "/a".into(), data: Buffer(None), version: -1 })),
        (OpCode::Delete, encoded(&PathVersionRequest { path: "/a".into(), version: -1 })),
        (OpCode::Multi, encoded(&crate::records::multi::MultiHeader::END)),
        (OpCode::Sync, encoded(&PathRequest { path: "/".into() })),
        (OpCode::Reconfig, vec![0; 20]),
    ];
    for (op, body) in writes {
        assert_eq!(read(&mut ensemble, op, &body), ErrorCode::NotReadOnly, "{op}");
    }
    assert_eq!(read(&mut ensemble, OpCode::CloseSession, &[]), ErrorCode::Ok);
    assert_eq!(ensemble.close_reason(visitor), Some(CloseReason::Asked));
    assert!(!ensemble.engine(1).has_proposals());
    assert_eq!(ensemble.members[1].engine.poll_packet(), None);
}

#[test]
fn a_session_of_the_ensemble_is_sent_away_and_never_called_expired() {
    // S-35: whether it is alive nobody can say here, whatever our table holds.
    let (mut ensemble, before) = read_only();
    let session = ensemble.session(before);
    let password = {
        let engine = ensemble.engine(1);
        engine.passwords.of(session)
    };
    for session in [session, SessionId(session.0 + 77)] {
        let client = visit(&mut ensemble, 1, session, &password, Some(1));
        assert!(ensemble.bytes(client).is_empty());
        assert!(matches!(ensemble.close_reason(client), Some(CloseReason::Violation(_))));
    }
}

#[test]
fn visitors_who_are_silent_go_and_all_go_when_there_is_a_leader() {
    let (mut ensemble, _) = read_only();
    let silent = visit(&mut ensemble, 1, SessionId::NONE, &[0; 16], Some(1));
    let pinging = visit(&mut ensemble, 1, SessionId::NONE, &[0; 16], Some(1));
    let ids = [silent, pinging].map(|client| ensemble.session(client));
    for at in 1..8 {
        let engine = &mut ensemble.members[1].engine;
        engine.set_time(Millis(at * 1500), WallMillis(WALL));
        while engine.tick() {}
        ensemble.request(pinging, OpCode::Ping, &());
    }
    assert_eq!(ensemble.close_reason(silent), Some(CloseReason::SessionEnded));
    assert_eq!(ensemble.close_reason(pinging), None);
    ensemble.members[1].engine.retire().unwrap();
    assert_eq!(ensemble.close_reason(pinging), Some(CloseReason::NotServing));
    for id in ids {
        assert!(ensemble.engine(1).state.sessions.get(id).is_none(), "S-44");
    }
}

#[test]
fn with_local_sessions_a_visitor_may_come_back() {
    let settings = |member| EngineSettings { local_sessions: true, ..settings_of(member) };
    let (mut ensemble, _) = without_a_leader(Ensemble::with(3, settings));
    let visitor = visit(&mut ensemble, 1, SessionId::NONE, &[0; 16], Some(1));
    ensemble.bytes(visitor);
    let (session, password) = (ensemble.session(visitor), ensemble.password(visitor));
    ensemble.members[1].engine.closed(visitor.conn);
    let back = visit(&mut ensemble, 1, session, &password, Some(1));
    assert_eq!(ensemble.welcome(back).map(|(id, _)| id), Some(session));
    ensemble.request(back, OpCode::Create, &create("/b", 1));
    assert_eq!(ensemble.frames(back).pop().map(|frame| frame.code()), Some(ErrorCode::NotReadOnly));
    let other = visit(&mut ensemble, 1, SessionId(session.0 + 77), &password, Some(1));
    assert!(ensemble.bytes(other).is_empty(), "S-35");
}

#[test]
fn a_visitor_whose_session_is_over_is_told_that_it_has_expired() {
    // Nobody else could tell it while there is no leader.
    let (mut ensemble, _) = read_only();
    let visitor = visit(&mut ensemble, 1, SessionId::NONE, &[0; 16], Some(1));
    ensemble.bytes(visitor);
    let (session, password) = (ensemble.session(visitor), ensemble.password(visitor));
    ensemble.members[1].engine.closed(visitor.conn);
    let back = visit(&mut ensemble, 1, session, &password, Some(1));
    assert_eq!(ensemble.welcome(back), Some((SessionId::NONE, 0)));
    assert_eq!(ensemble.close_reason(back), Some(CloseReason::Refused));
}

#[test]
fn a_client_in_this_process_that_wants_to_write_waits_for_a_leader() {
    let (mut ensemble, _) = read_only();
    let local = ensemble.open(1);
    ensemble.members[1].engine.keep_alive(local.conn);
    ensemble.send(local, &handshake(0, &[0; 16], 0));
    assert_eq!((ensemble.bytes(local).len(), ensemble.close_reason(local)), (0, None));
    ensemble.members[1].engine.retire().unwrap();
    assert_eq!(ensemble.close_reason(local), Some(CloseReason::NotServing), "its handshake was not dealt with");
}
