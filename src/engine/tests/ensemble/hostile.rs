//! Learners and leaders that send what they should not: it costs them their link, and nobody else anything.

use super::*;

fn packet(kind: PacketType, data: &[u8]) -> QuorumPacket {
    QuorumPacket::with_data(kind, Zxid(-1), data.into())
}

fn request(session: SessionId, cxid: i32, op: i32, body: &[u8]) -> QuorumPacket {
    let mut data = session.0.to_be_bytes().to_vec();
    data.extend_from_slice(&cxid.to_be_bytes());
    data.extend_from_slice(&op.to_be_bytes());
    data.extend_from_slice(body);
    packet(PacketType::REQUEST, &data)
}

#[test]
fn what_is_no_request_costs_a_learner_its_link_and_changes_nothing() {
    let mut ensemble = Ensemble::new(3);
    let client = ensemble.client(1);
    let session = ensemble.session(client);
    let before = ensemble.history.len();
    let ops = [0, 3, 4, 8, 11, 100, 101, 105, -1, 4711, i32::MIN, i32::MAX];
    let mut bad: Vec<QuorumPacket> = ops.iter().map(|op| request(session, 1, *op, &[0; 64])).collect();
    bad.extend([
        QuorumPacket::bare(PacketType::REQUEST, Zxid(-1)),
        packet(PacketType::REQUEST, &[]),
        packet(PacketType::REQUEST, &[0; 15]),
        packet(PacketType::REVALIDATE, &[]),
        packet(PacketType::REVALIDATE, &[0; 11]),
        QuorumPacket::bare(PacketType::REVALIDATE, Zxid(-1)),
        packet(PacketType::PING, &[0; 11]),
        packet(PacketType::PING, &[0; 13]),
        packet(PacketType::SYNC, &[]),
        packet(PacketType(99), &[]),
        request(SessionId(5), 0, OpCode::CreateSession.to_i32(), &[]),
        request(SessionId(0), 0, OpCode::CreateSession.to_i32(), &[0; 4]),
        request(SessionId(i64::MIN), 0, OpCode::CreateSession.to_i32(), &[0; 4]),
        request(SessionId(0xff00_00ff_0000_0001_u64 as i64), 0, OpCode::CreateSession.to_i32(), &[0; 4]),
    ]);
    for packet in bad {
        let taken = ensemble.members[0].engine.from_learner(server(2), link(2, 1), &packet);
        assert!(taken.is_err(), "{packet} {:?}", packet.data());
    }
    ensemble.carry();
    assert_eq!(ensemble.history.len(), before);
    assert_eq!(ensemble.create(client, "/a", 0), ErrorCode::Ok);
}

#[test]
fn every_request_of_a_learner_brings_one_transaction_whatever_is_in_it() {
    // A learner that is answered with none waits for ever.
    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(1);
    let session = ensemble.session(client);
    let writes = [1, 2, 5, 7, 13, 14, 15, 16, 19, 20, 21];
    let bodies: [&[u8]; 6] = [&[], &[0xff; 4], &[0; 4], &[0xff; 200], &[0; 200], &[0x7f; 9]];
    let mut expected = ensemble.history.len();
    for op in writes {
        for body in bodies {
            for session in [session, SessionId(0), SessionId(-1), SessionId(12345)] {
                let packet = request(session, 7, op, body);
                ensemble.members[0].engine.from_learner(server(1), link(1, 1), &packet).unwrap();
                ensemble.carry();
                expected += 1;
                assert_eq!(ensemble.history.len(), expected, "operation {op} {body:?} of {session}");
            }
        }
    }
    for session in [SessionId(0), SessionId(-1), session] {
        let packet = request(session, 7, OpCode::CloseSession.to_i32(), &[]);
        ensemble.members[0].engine.from_learner(server(1), link(1, 1), &packet).unwrap();
        ensemble.carry();
        expected += 1;
        assert_eq!(ensemble.history.len(), expected);
    }
    ensemble.assert_equal();
}

#[test]
fn a_session_counts_from_its_proposal_on_because_a_leader_with_a_slow_disk_applies_it_last() {
    let mut ensemble = Ensemble::new(3);
    ensemble.client(1);
    let session = SessionId(2 << 56 | 0x777);
    // Others have committed it, and its client goes on there and elsewhere.
    ensemble.commits = false;
    let body = |path| crate::jute::encoded(&create(path, 0));
    let asked = [
        (1, request(session, 0, OpCode::CreateSession.to_i32(), &4000_i32.to_be_bytes())),
        (1, request(session, 1, OpCode::Create.to_i32(), &body("/early"))),
        (2, packet(PacketType::REVALIDATE, &[&session.0.to_be_bytes()[..], &4000_i32.to_be_bytes()].concat())),
        (2, request(session, 2, OpCode::Create.to_i32(), &body("/moved"))),
        // G-02: over the connection that it has left.
        (1, request(session, 5, OpCode::Create.to_i32(), &body("/stale"))),
        (2, request(session, 3, OpCode::CloseSession.to_i32(), &[])),
        (2, request(session, 4, OpCode::Create.to_i32(), &body("/late"))),
    ];
    for (member, packet) in asked {
        ensemble.members[0].engine.from_learner(server(member), link(member, 1), &packet).unwrap();
    }
    let engine = &mut ensemble.members[0].engine;
    let answer = std::iter::from_fn(|| engine.poll_packet()).find_map(|outgoing| match outgoing {
        Outgoing::ToLearner { packet, .. } if packet.kind == PacketType::REVALIDATE => Some(packet.data().to_vec()),
        _ => None,
    });
    assert_eq!(answer.and_then(|data| data.last().copied()), Some(1), "it is alive");
    ensemble.commits = true;
    ensemble.carry();
    let client = ensemble.client(2);
    let found = ["/early", "/moved", "/stale", "/late"].map(|path| ensemble.exists(client, path));
    assert_eq!(found, [true, true, false, false]);
    ensemble.assert_equal();
}

#[test]
fn writes_without_room_are_transactions_for_a_learner_and_none_for_a_client_here() {
    let mut ensemble = Ensemble::new(2);
    let (local, remote) = (ensemble.client(0), ensemble.client(1));
    ensemble.members[0].engine.set_log_space(LogSpace::None);
    let before = ensemble.history.len();
    assert_eq!(ensemble.create(local, "/a", 0), ErrorCode::QuotaExceeded);
    assert_eq!(ensemble.history.len(), before);
    assert_eq!(ensemble.create(remote, "/a", 0), ErrorCode::QuotaExceeded);
    assert_eq!(ensemble.history.len(), before + 1);
}

#[test]
fn requests_that_wait_have_a_limit_for_each_learner() {
    //
    let mut ensemble = Ensemble::new(3);
    let (client, other) = (ensemble.client(1), ensemble.client(2));
    ensemble.members[0].engine.set_log_budget(0);
    let packet = request(ensemble.session(client), 1, OpCode::SetData.to_i32(), &vec![0; 1 << 20]);
    let engine = &mut ensemble.members[0].engine;
    let taken = (0..100).take_while(|_| engine.from_learner(server(1), link(1, 1), &packet).is_ok()).count();
    assert!((60..64).contains(&taken), "{taken}");
    engine.learner_gone(link(1, 1));
    engine.set_log_budget(1 << 30);
    ensemble.carry();
    assert_eq!(ensemble.create(other, "/a", 0), ErrorCode::Ok);
}

#[test]
fn learners_wait_while_the_log_may_not_go_on_and_keep_their_order() {
    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(1);
    ensemble.members[0].engine.set_log_budget(0);
    for i in 0..10 {
        ensemble.request(client, OpCode::Create, &create(&format!("/n{i}"), 0));
    }
    ensemble.carry();
    assert!(ensemble.frames(client).is_empty());
    ensemble.members[0].engine.set_log_budget(u64::MAX);
    ensemble.carry();
    let xids: Vec<i32> = ensemble.frames(client).iter().map(|frame| frame.header.xid).collect();
    assert_eq!(xids.len(), 10);
    assert!(xids.is_sorted());
}

#[test]
fn who_waits_for_what_could_not_be_logged_has_to_come_anew() {
    // Its queue would wait for ever. Nobody was sent the proposals yet.
    let mut ensemble = Ensemble::new(3);
    let (client, idle) = (ensemble.client(1), ensemble.client(2));
    ensemble.commits = false;
    ensemble.request(client, OpCode::Create, &create("/a", 0));
    ensemble.carry();
    ensemble.uncommitted.clear();
    ensemble.members[0].engine.abandon_proposals();
    ensemble.carry();
    assert_eq!(ensemble.closed, [link(1, 1)]);
    ensemble.commits = true;
    assert_eq!(ensemble.create(idle, "/a", 0), ErrorCode::Ok);
}

#[test]
fn answers_that_nobody_asked_for_are_ignored_and_broken_ones_cost_the_leader_its_follower() {
    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(1);
    let engine = &mut ensemble.members[1].engine;
    for _ in 0..3 {
        engine.from_leader(&packet(PacketType::SYNC, &[]), Zxid::ZERO).unwrap();
        engine.from_leader(&packet(PacketType::REVALIDATE, &[1; 9]), Zxid::ZERO).unwrap();
    }
    for bad in
        [packet(PacketType::REVALIDATE, &[0; 8]), packet(PacketType::REVALIDATE, &[]), packet(PacketType::PING, &[])]
    {
        assert!(engine.from_leader(&bad, Zxid::ZERO).is_err(), "{bad}");
    }
    assert_eq!(ensemble.create(client, "/a", 0), ErrorCode::Ok);
}

#[test]
fn packets_for_a_role_that_has_ended_have_no_effect() {
    // S-16
    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(1);
    let session = ensemble.session(client);
    let write = request(session, 9, OpCode::Create.to_i32(), &encoded(&create("/a", 0)));
    ensemble.lose_the_leader();
    for engine in [0, 1] {
        let engine = &mut ensemble.members[engine].engine;
        engine.from_learner(server(1), link(1, 1), &write).unwrap();
        engine.from_leader(&packet(PacketType::SYNC, &[]), Zxid::ZERO).unwrap();
        engine.confirmed(1);
        assert!(!engine.has_proposals());
        assert_eq!(engine.poll_packet(), None);
    }
}

#[test]
fn what_a_learner_asked_for_goes_with_it_if_it_is_not_decided() {
    // S-16
    let mut ensemble = Ensemble::new(3);
    let client = ensemble.client(1);
    ensemble.members[0].engine.set_log_budget(0);
    ensemble.request(client, OpCode::Create, &create("/a", 0));
    ensemble.carry();
    let engine = &mut ensemble.members[0].engine;
    assert_eq!(engine.status().outstanding, 1);
    engine.learner_gone(link(1, 1));
    engine.set_log_budget(u64::MAX);
    engine.go_on();
    assert!(!engine.has_proposals());
    assert_eq!(engine.status().outstanding, 0, "S-44");
}

#[test]
fn what_is_decided_counts_no_longer_toward_what_may_wait() {
    //
    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(1);
    let packet = request(ensemble.session(client), 1, OpCode::SetData.to_i32(), &vec![0; 1 << 20]);
    let engine = &mut ensemble.members[0].engine;
    for round in 0..3 {
        engine.set_log_budget(0);
        for _ in 0..30 {
            assert!(engine.from_learner(server(1), link(1, 1), &packet).is_ok(), "round {round}");
        }
        engine.set_log_budget(u64::MAX);
        while engine.has_work() {
            engine.go_on();
        }
        assert_eq!(engine.poll_proposals().count(), 30);
    }
}

#[test]
fn a_learner_that_waits_for_much_that_could_not_be_logged_is_left_once() {
    let mut ensemble = Ensemble::new(3);
    let clients = [ensemble.client(1), ensemble.client(2)];
    ensemble.commits = false;
    for round in 0..3 {
        for client in clients {
            ensemble.request(client, OpCode::Create, &create(&format!("/n{}{round}", client.at), 0));
            ensemble.carry();
        }
    }
    ensemble.uncommitted.clear();
    ensemble.members[0].engine.abandon_proposals();
    ensemble.carry();
    assert_eq!(ensemble.closed, [link(1, 1), link(2, 1)]);
}
