//! `sync`: never answered with an old state (G-04).

use super::*;
use crate::records::txn::decode_txn;

fn sync(ensemble: &mut Ensemble, client: Client) -> i32 {
    ensemble.request(client, OpCode::Sync, &PathRequest { path: "/".into() })
}

#[test]
fn a_sync_is_answered_only_after_a_quorum_has_confirmed_the_leader() {
    // G-04: whoever is asked, and though nothing is outstanding.
    for member in [0, 1] {
        let mut ensemble = Ensemble::new(3);
        let client = ensemble.client(member);
        ensemble.confirms = false;
        let xid = sync(&mut ensemble, client);
        ensemble.carry();
        assert!(ensemble.frames(client).is_empty(), "member {member}");
        assert_eq!(ensemble.questions.len(), 1);
        ensemble.confirms = true;
        ensemble.carry();
        let frames = ensemble.frames(client);
        assert_eq!((frames.len(), frames[0].header.xid, frames[0].code()), (1, xid, ErrorCode::Ok));
        assert_eq!(frames[0].header.zxid, ensemble.engine(0).applied().0);
    }
}

#[test]
fn an_answer_to_a_question_of_before_confirms_nothing() {
    // G-04: the first question left before the second `sync` came.
    let mut ensemble = Ensemble::new(3);
    let (first, second) = (ensemble.client(0), ensemble.client(1));
    ensemble.confirms = false;
    sync(&mut ensemble, first);
    ensemble.carry();
    sync(&mut ensemble, second);
    ensemble.carry();
    let questions = ensemble.questions.clone();
    assert_eq!(questions.len(), 2);
    ensemble.members[0].engine.confirmed(questions[0]);
    ensemble.carry();
    assert_eq!((ensemble.frames(first).len(), ensemble.frames(second).len()), (1, 0));
    ensemble.members[0].engine.confirmed(questions[1]);
    ensemble.carry();
    assert_eq!(ensemble.frames(second).len(), 1);
}

#[test]
fn a_deposed_leader_never_answers_a_sync_with_what_it_knew() {
    // G-04: the others have another leader and go on; the old one has not noticed.
    let mut ensemble = Ensemble::new(3);
    let client = ensemble.client(0);
    ensemble.confirms = false;
    sync(&mut ensemble, client);
    ensemble.carry();
    let questions = std::mem::take(&mut ensemble.questions);
    ensemble.lose_the_leader();
    assert!(ensemble.frames(client).is_empty());
    assert_eq!(ensemble.close_reason(client), Some(CloseReason::NotServing));
    // It leads again later. A confirmation from back then is none.
    ensemble.lead(0);
    let client = ensemble.client(0);
    sync(&mut ensemble, client);
    for token in questions {
        ensemble.members[0].engine.confirmed(token);
    }
    ensemble.carry();
    assert!(ensemble.frames(client).is_empty(), "a late answer of an earlier term confirmed a sync");
}

#[test]
fn a_followers_sync_waits_for_what_was_committed_before_it_was_answered() {
    // G-04: the answer comes when the commits have come, and they need not be applied yet.
    let mut ensemble = Ensemble::new(3);
    let (reader, writer) = (ensemble.client(1), ensemble.client(2));
    ensemble.members[1].is_behind = true;
    ensemble.create(writer, "/a", 0);
    sync(&mut ensemble, reader);
    ensemble.request(reader, OpCode::Exists, &PathWatchRequest { path: "/a".into(), watch: false });
    ensemble.carry();
    assert!(ensemble.frames(reader).is_empty());
    // The answer overtakes the application of what is in front of it, as where our own log is slow.
    let member = &mut ensemble.members[1];
    let down: Vec<Down> = member.down.drain(..).collect();
    let mut late = Vec::new();
    for down in down {
        match down {
            Down::Commit(proposal) => {
                member.committed = proposal.zxid;
                late.push(proposal);
            }
            Down::Packet(packet) => member.engine.from_leader(&packet, member.committed).unwrap(),
        }
    }
    assert!(!late.is_empty());
    assert!(ensemble.frames(reader).is_empty(), "a sync was answered in front of what it was for");
    for proposal in late {
        deliver(&mut ensemble.members[1].engine, &proposal);
    }
    let codes: Vec<ErrorCode> = ensemble.frames(reader).iter().map(Frame::code).collect();
    assert_eq!(codes, [ErrorCode::Ok, ErrorCode::Ok], "the read behind it sees the write");
}

#[test]
fn a_write_behind_a_sync_is_decided_and_answered_behind_it() {
    // G-02: the confirmation takes longer than a commit.
    for member in [0, 1] {
        let mut ensemble = Ensemble::new(3);
        let client = ensemble.client(member);
        ensemble.confirms = false;
        let first = sync(&mut ensemble, client);
        let second = ensemble.request(client, OpCode::Create, &create("/a", 0));
        let third = ensemble.request(client, OpCode::CloseSession, &());
        ensemble.carry();
        assert!(ensemble.frames(client).is_empty(), "member {member}");
        ensemble.confirms = true;
        ensemble.carry();
        let xids: Vec<i32> = ensemble.frames(client).iter().map(|frame| frame.header.xid).collect();
        assert_eq!(xids, [first, second, third], "member {member}");
    }
}

#[test]
fn a_learner_that_sends_a_write_behind_a_sync_gets_the_sync_first() {
    // A learner of ZooKeeper's does not wait with the write, and matches answers in order.
    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(1);
    let session = ensemble.session(client);
    ensemble.confirms = false;
    let request = |cxid: i32, op: OpCode, body: &[u8]| {
        let mut data = session.0.to_be_bytes().to_vec();
        data.extend_from_slice(&cxid.to_be_bytes());
        data.extend_from_slice(&op.to_i32().to_be_bytes());
        data.extend_from_slice(body);
        QuorumPacket::with_data(PacketType::REQUEST, Zxid(-1), data.into())
    };
    let before = ensemble.history.len();
    ensemble.members[1].is_behind = true;
    for packet in [
        request(1, OpCode::Sync, &encoded(&PathRequest { path: "/".into() })),
        request(2, OpCode::Create, &encoded(&create("/a", 0))),
    ] {
        ensemble.members[1].up.push_back(packet);
    }
    ensemble.carry();
    assert_eq!(ensemble.history.len(), before, "the write waits");
    ensemble.confirms = true;
    ensemble.carry();
    let down: Vec<bool> = ensemble.members[1].down.iter().map(|down| matches!(down, Down::Packet(_))).collect();
    assert_eq!(down, [true, false], "the answer to the sync, then the commit");
}

#[test]
fn syncs_of_a_turn_share_a_question() {
    let mut ensemble = Ensemble::new(3);
    let clients: Vec<Client> = (0..20).map(|_| ensemble.client(0)).collect();
    ensemble.confirms = false;
    for client in &clients {
        sync(&mut ensemble, *client);
    }
    ensemble.carry();
    assert_eq!(ensemble.questions.len(), 1);
    ensemble.confirms = true;
    ensemble.carry();
    for client in clients {
        assert_eq!(ensemble.frames(client).len(), 1);
    }
}

#[test]
fn a_learner_that_is_gone_leaves_no_sync_behind() {
    // S-44
    let mut ensemble = Ensemble::new(3);
    let client = ensemble.client(1);
    ensemble.confirms = false;
    sync(&mut ensemble, client);
    ensemble.carry();
    let link = link(1, 1);
    ensemble.members[0].engine.learner_gone(link);
    assert_eq!(ensemble.engine(0).status().syncs, 0);
    let other = ensemble.client(0);
    sync(&mut ensemble, other);
    ensemble.confirms = true;
    ensemble.carry();
    assert_eq!(ensemble.frames(other).len(), 1);
}

#[test]
fn learners_take_turns_when_many_requests_wait() {
    // one that has sent a thousand does not hold up one that has sent one.
    let mut ensemble = Ensemble::new(3);
    let (greedy, modest) = (ensemble.client(1), ensemble.client(2));
    let leads = ensemble.leader;
    ensemble.members[leads].engine.set_log_budget(0);
    for number in 0..200 {
        ensemble.request(greedy, OpCode::Create, &create(&format!("/greedy{number}"), 0));
    }
    ensemble.carry();
    ensemble.request(modest, OpCode::Create, &create("/modest", 0));
    ensemble.carry();
    ensemble.commits = false;
    ensemble.members[leads].engine.set_log_budget(u64::MAX);
    ensemble.carry();
    let of_modest = ensemble.session(modest);
    let session_of = |proposal: &Proposal| decode_txn(&proposal.txn).unwrap().0.session;
    let sessions: Vec<_> = ensemble.uncommitted.iter().map(session_of).collect();
    let place = sessions.iter().position(|session| *session == of_modest).unwrap();
    assert!(place <= 1, "it is number {place} of {}", sessions.len());
    ensemble.commits = true;
    ensemble.carry();
    ensemble.assert_equal();
}

#[test]
fn a_sync_behind_writes_that_came_to_nothing_is_answered_all_the_same() {
    // S-30, G-14
    let mut ensemble = Ensemble::new(3);
    let (writer, reader) = (ensemble.client(0), ensemble.client(0));
    (ensemble.commits, ensemble.confirms) = (false, false);
    ensemble.request(writer, OpCode::Create, &create("/lost", 0));
    let xid = sync(&mut ensemble, reader);
    ensemble.carry();
    ensemble.uncommitted.clear();
    ensemble.members[0].engine.abandon_proposals();
    assert!(ensemble.frames(reader).is_empty(), "no quorum has confirmed yet");
    ensemble.confirms = true;
    ensemble.carry();
    let frames = ensemble.frames(reader);
    assert_eq!((frames.len(), frames[0].header.xid, frames[0].code()), (1, xid, ErrorCode::Ok));
    assert!(ensemble.close_reason(writer).is_some() && ensemble.close_reason(reader).is_none());
}
