//! The leader is lost, and another one takes its place.

use super::*;

#[test]
fn a_leader_lost_in_the_middle_of_writes_closes_clients_and_says_nothing_of_their_sessions() {
    // G-14, S-35: a write, a new session and a session to be resumed are under way.
    let mut ensemble = Ensemble::new(3);
    let (writer, owner) = (ensemble.client(1), ensemble.client(2));
    let (session, password) = (ensemble.session(owner), ensemble.password(owner));
    ensemble.members[1].is_mute = true;
    ensemble.request(writer, OpCode::Create, &create("/a", 0));
    ensemble.request(writer, OpCode::Exists, &PathWatchRequest { path: "/a".into(), watch: false });
    let newcomer = ensemble.open(1);
    ensemble.send(newcomer, &handshake(0, &[0; 16], 0));
    let resuming = ensemble.resume(1, session, &password);
    ensemble.carry();
    ensemble.lose_the_leader();
    for client in [writer, newcomer, resuming, owner] {
        assert!(ensemble.bytes(client).is_empty(), "nothing is said to {client:?}");
        assert_eq!(ensemble.close_reason(client), Some(CloseReason::NotServing));
    }
    let engine = ensemble.engine(1);
    assert_eq!((engine.forward.len(), engine.in_flight(), engine.status().syncs), (0, 0, 0));
    ensemble.members[1].is_mute = false;
    ensemble.lead(2);
    let again = ensemble.resume(1, session, &password);
    ensemble.carry();
    assert_eq!(ensemble.welcome(again), Some((session, 4000)), "the session lives");
}

#[test]
fn without_a_leader_clients_are_closed_and_those_in_this_process_wait() {
    let mut ensemble = Ensemble::new(3);
    ensemble.lose_the_leader();
    let remote = ensemble.open(1);
    ensemble.send(remote, &handshake(0, &[0; 16], 0));
    assert_eq!(ensemble.close_reason(remote), Some(CloseReason::NotServing));
    let local = ensemble.open(1);
    ensemble.members[1].engine.keep_alive(local.conn);
    ensemble.send(local, &handshake(0, &[0; 16], 0));
    ensemble.carry();
    assert_eq!(ensemble.close_reason(local), None);
    ensemble.lead(0);
    ensemble.carry();
    assert_eq!(ensemble.bytes(local).len(), 41, "its handshake is answered once there is a leader");
}

#[test]
fn a_new_leader_gives_every_session_a_full_timeout() {
    // G-10, S-35: nobody heard of anybody for three times the timeout.
    let mut ensemble = Ensemble::new(3);
    let client = ensemble.client(1);
    let session = ensemble.session(client);
    ensemble.create(client, "/e", 1);
    ensemble.lose_the_leader();
    ensemble.now = ensemble.now.plus(12_000);
    ensemble.lead(2);
    ensemble.pass(3900);
    assert!(ensemble.engine(2).state.sessions.is_live(session));
    ensemble.pass(2000);
    ensemble.assert_equal();
    assert!(!ensemble.engine(0).state.sessions.is_live(session), "and not for ever");
    assert_eq!(ensemble.engine(0).tree().ephemeral_count(), 0);
}

#[test]
fn what_was_decided_and_not_committed_leaves_no_trace_in_the_next_term() {
    // The next leader decides against the tree, not against what its predecessor had in mind.
    let mut ensemble = Ensemble::new(3);
    let client = ensemble.client(0);
    ensemble.commits = false;
    ensemble.request(client, OpCode::Create, &create("/a", 0));
    ensemble.request(client, OpCode::CloseSession, &());
    ensemble.carry();
    let session = ensemble.session(client);
    ensemble.lose_the_leader();
    ensemble.commits = true;
    ensemble.lead(0);
    assert!(ensemble.engine(0).state.sessions.is_live(session), "its end was never committed");
    let other = ensemble.client(1);
    assert_eq!(ensemble.create(other, "/a", 0), ErrorCode::Ok);
    assert_eq!(ensemble.history.last().unwrap().zxid.epoch(), 2);
    ensemble.assert_equal();
}

#[test]
fn a_client_that_has_seen_the_beginning_of_an_epoch_is_served_and_one_ahead_of_it_is_not() {
    // G-08: ZooKeeper shows `epoch << 32` in its replies before the first transaction of the epoch.
    let mut ensemble = Ensemble::new(3);
    ensemble.client(1);
    ensemble.lose_the_leader();
    ensemble.lead(1);
    for member in 0..3 {
        assert_eq!(ensemble.engine(member).zxid(), Zxid::new(2, 0));
        let ahead = ensemble.open(member);
        ensemble.send(ahead, &handshake(0, &[0; 16], Zxid::new(2, 1).0));
        assert!(ensemble.close_reason(ahead).is_some(), "member {member}");
    }
    for member in 0..3 {
        let client = ensemble.open(member);
        ensemble.send(client, &handshake(0, &[0; 16], Zxid::new(2, 0).0));
        ensemble.carry();
        assert_eq!(ensemble.bytes(client).len(), 41, "member {member}");
    }
}

#[test]
fn a_long_transaction_that_is_half_applied_is_applied_whole_when_the_role_ends() {
    // G-13
    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(0);
    let mut body = Vec::new();
    for i in 0..3000 {
        encode(&crate::records::multi::MultiHeader::request(OpCode::Create), &mut body);
        encode(&create(&format!("/n{i:05}"), 0), &mut body);
    }
    encode(&crate::records::multi::MultiHeader::END, &mut body);
    let mut payload = Vec::new();
    encode(&RequestHeader { xid: 1, op: OpCode::Multi.to_i32() }, &mut payload);
    payload.extend_from_slice(&body);
    ensemble.commits = false;
    ensemble.send(client, &payload);
    ensemble.carry();
    let proposal = ensemble.uncommitted.pop_front().unwrap();
    let engine = &mut ensemble.members[0].engine;
    engine.deliver_begin(proposal.zxid, &proposal.txn).unwrap();
    assert!(engine.is_applying());
    engine.retire().unwrap();
    assert_eq!((engine.applied(), engine.is_busy()), (proposal.zxid, false));
    assert!(engine.tree().lookup("/n02999").is_some());
}

#[test]
fn ephemerals_without_a_session_are_ended_by_a_transaction_of_the_new_leader() {
    // S-25: ZooKeeper's leader drops them from its own tree alone; ours tells everybody.
    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(1);
    ensemble.create(client, "/e", 1);
    let session = ensemble.session(client);
    ensemble.lose_the_leader();
    for member in &mut ensemble.members {
        member.engine.state.sessions.end(session);
    }
    ensemble.lead(0);
    ensemble.carry();
    for member in 0..2 {
        assert_eq!(ensemble.engine(member).tree().ephemeral_count(), 0);
    }
    ensemble.assert_equal();
}

#[test]
fn an_epoch_whose_counter_is_nearly_used_up_is_not_carried_into_the_next() {
    // The leader steps down instead; until then writes wait and nobody is refused.
    let mut ensemble = Ensemble::new(2);
    let (local, remote) = (ensemble.client(0), ensemble.client(1));
    let near = Zxid::new(1, 0xffff_ffee);
    ensemble.members[0].engine.decider.pretend_proposed(near);
    ensemble.commits = false;
    for i in 0..20 {
        ensemble.request(local, OpCode::Create, &create(&format!("/l{i}"), 0));
        ensemble.request(remote, OpCode::Create, &create(&format!("/r{i}"), 0));
    }
    ensemble.carry();
    let zxids: Vec<Zxid> = ensemble.uncommitted.iter().map(|proposal| proposal.zxid).collect();
    assert_eq!(zxids, [Zxid::new(1, 0xffff_ffef), Zxid::new(1, 0xffff_fff0)]);
    assert!(ensemble.frames(local).is_empty() && ensemble.frames(remote).is_empty());
    assert_eq!(ensemble.close_reason(local), None);
}

#[test]
fn an_epoch_without_a_transaction_keeps_nobody_waiting() {
    // Found by the storm, seed 35: a `sync` waited for the first transaction of the epoch.
    let mut ensemble = Ensemble::new(3);
    let clients = [ensemble.client(0), ensemble.client(1)];
    let sessions = clients.map(|client| (ensemble.session(client), ensemble.password(client)));
    ensemble.lose_the_leader();
    ensemble.lead(0);
    for (at, (session, password)) in sessions.into_iter().enumerate() {
        let client = ensemble.resume(at, session, &password);
        ensemble.carry();
        assert!(ensemble.welcome(client).is_some());
        let frame = ensemble.call(client, OpCode::Sync, &PathRequest { path: "/".into() });
        assert_eq!(frame.header.zxid, ensemble.history.last().unwrap().zxid.0, "member {at}");
    }
    // What could not be logged at the beginning of an epoch does not lead back to the last one.
    let client = ensemble.client_of(0, sessions[0]);
    ensemble.commits = false;
    ensemble.request(client, OpCode::Create, &create("/a", 0));
    ensemble.members[0].engine.poll_proposals().for_each(drop);
    ensemble.members[0].engine.abandon_proposals();
    ensemble.commits = true;
    let other = ensemble.client(1);
    assert_eq!(ensemble.create(other, "/a", 0), ErrorCode::Ok);
    assert_eq!(ensemble.history.last().unwrap().zxid, Zxid::new(2, 2));
}

impl Ensemble {
    fn client_of(&mut self, at: usize, (session, password): (SessionId, [u8; 16])) -> Client {
        let client = self.resume(at, session, &password);
        self.carry();
        assert!(self.welcome(client).is_some());
        client
    }
}

#[test]
fn nothing_that_was_under_way_in_a_role_is_left_when_it_ends() {
    // S-16
    let mut ensemble = Ensemble::new(2);
    let clients = [ensemble.client(0), ensemble.client(1)];
    let mut long = Vec::new();
    for number in 0..10_000 {
        encode(&crate::records::multi::MultiHeader::request(OpCode::Create), &mut long);
        encode(&create(&format!("/n{number}"), 0), &mut long);
    }
    encode(&crate::records::multi::MultiHeader::END, &mut long);
    for client in clients {
        let mut payload = encoded(&RequestHeader { xid: 1, op: OpCode::Multi.to_i32() });
        payload.extend_from_slice(&long[..if client.at == 0 { long.len() } else { 0 }]);
        ensemble.send(client, &payload);
        let sync = encoded(&PathRequest { path: "/".into() });
        let mut payload = encoded(&RequestHeader { xid: 2, op: OpCode::Sync.to_i32() });
        payload.extend_from_slice(&sync);
        ensemble.send(client, &payload);
    }
    assert!(ensemble.engine(0).has_work(), "the multi is half decided");
    for member in &mut ensemble.members {
        member.engine.retire().unwrap();
        assert!(!member.engine.has_work() && !member.engine.has_proposals());
        assert!(member.engine.poll_packet().is_none(), "it goes to nobody");
        let status = member.engine.status();
        assert_eq!((status.outstanding, status.syncs), (0, 0));
    }
}
