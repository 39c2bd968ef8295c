//! Requests by way of a follower.

use super::*;
use crate::jute::Text;
use crate::records::multi::MultiHeader;

/// Requests of every kind, good and bad, as operation and body.
fn script() -> Vec<(OpCode, Vec<u8>)> {
    let set = |path: &'static str, version| {
        encoded(&SetDataRequest { path: path.into(), data: Buffer::new(b"new"), version })
    };
    let delete = |path: &'static str, version| encoded(&PathVersionRequest { path: path.into(), version });
    let read = |path: &'static str, watch| encoded(&PathWatchRequest { path: path.into(), watch });
    let acl = |acl, version| encoded(&SetAclRequest { path: "/a".into(), acl: Some(vec![acl]), version });
    let multi = |paths: &[&str]| {
        let mut body = Vec::new();
        for path in paths {
            encode(&MultiHeader::request(OpCode::Create), &mut body);
            encode(&create(path, 0), &mut body);
        }
        encode(&MultiHeader::END, &mut body);
        body
    };
    let long: Vec<String> = (0..2000).map(|i| format!("/many/{i:06}")).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let mut without_acls = Vec::new();
    encode(&MultiHeader::request(OpCode::Create), &mut without_acls);
    encode(&CreateRequest { acl: None, ..create("/a", 0) }, &mut without_acls);
    encode(&MultiHeader::END, &mut without_acls);
    let auth = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(b"u:p") };
    vec![
        (OpCode::Create, encoded(&create("/a", 0))),
        (OpCode::Create2, encoded(&create("/b", 0))),
        (OpCode::GetData, read("/a", true)),
        (OpCode::GetChildren2, read("/", true)),
        (OpCode::Exists, read("/later", true)),
        (OpCode::SetData, set("/a", 0)),
        (OpCode::SetData, set("/a", 0)),
        (OpCode::Create, encoded(&create("/a", 0))),
        (OpCode::Create, encoded(&create("/no/parent", 0))),
        (OpCode::Create, encoded(&create("bad", 0))),
        (OpCode::Create, encoded(&create("/later", 1))),
        (OpCode::Create, encoded(&create("/later/child", 0))),
        (OpCode::Create, encoded(&create("/a/s-", 2))),
        (OpCode::Create, encoded(&create("/a/s-", 3))),
        (OpCode::CreateContainer, encoded(&create("/c", 4))),
        (OpCode::CreateTtl, encoded(&CreateTtlRequest { create: create("/t", 5), ttl: 1000 })),
        (OpCode::Delete, delete("/a", -1)),
        (OpCode::Delete, delete("/b", 7)),
        (OpCode::Delete, delete("/b", 0)),
        (OpCode::Auth, encoded(&auth)),
        (OpCode::SetAcl, acl(Acl::new(31, "auth", ""), -1)),
        (OpCode::SetAcl, acl(Acl::new(31, "nonsense", "x"), -1)),
        (OpCode::GetAcl, encoded(&PathRequest { path: "/a".into() })),
        (OpCode::SetData, set("/a", -1)),
        (OpCode::Multi, multi(&["/m", "/m/n"])),
        (OpCode::Multi, multi(&["/x", "/x"])),
        (OpCode::Multi, vec![1, 2, 3]),
        (OpCode::Multi, without_acls),
        (OpCode::Delete, encoded(&PathVersionRequest { path: Text(None), version: -1 })),
        (OpCode::Create, encoded(&create("/many", 0))),
        (OpCode::Multi, multi(&long)),
        (OpCode::GetChildren, read("/many", false)),
        (OpCode::Create, vec![0, 0]),
        (OpCode::SetData, vec![0xff; 9]),
        (OpCode::Reconfig, vec![0; 20]),
        (OpCode::Sync, encoded(&PathRequest { path: "/a".into() })),
        (OpCode::GetEphemerals, encoded(&PathRequest { path: "/".into() })),
        (OpCode::WhoAmI, Vec::new()),
        (OpCode::Ping, Vec::new()),
        (OpCode::CloseSession, Vec::new()),
    ]
}

fn payload(xid: i32, op: OpCode, body: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    encode(&RequestHeader { xid, op: op.to_i32() }, &mut payload);
    payload.extend_from_slice(body);
    payload
}

/// Bytes that a client of a server by itself gets for the script, with the same ids and in the same epoch.
fn alone(at_once: bool) -> (Vec<u8>, Engine) {
    let mut world = World::with(settings_of(1));
    world.engine = Engine::empty(settings_of(1), [3; 32], [1, 2]);
    world.engine.serve(Duty::Alone { epoch: 1 }, Millis(0), WallMillis(WALL));
    let conn = world.client();
    let mut bytes = Vec::new();
    for ((op, body), xid) in script().iter().zip(1..) {
        world.send(conn, &payload(xid, *op, body));
        if !at_once {
            world.commit();
            bytes.extend(world.bytes(conn));
        }
    }
    // What waits for something long is offered again.
    for _ in 0..10 {
        world.commit();
        bytes.extend(world.bytes(conn));
    }
    (bytes, world.engine)
}

fn by_way_of(member: usize, at_once: bool) -> (Vec<u8>, Ensemble) {
    // The ids of sessions made there are those of the server by itself.
    let settings = move |index| EngineSettings {
        server_id: if index == member { server(1) } else { server(9) },
        ..settings_of(index)
    };
    let mut ensemble = Ensemble::with(3, settings);
    let client = ensemble.client(member);
    let mut bytes = Vec::new();
    for ((op, body), xid) in script().iter().zip(1..) {
        ensemble.send(client, &payload(xid, *op, body));
        if !at_once {
            ensemble.carry();
            bytes.extend(ensemble.bytes(client));
        }
    }
    ensemble.carry();
    bytes.extend(ensemble.bytes(client));
    (bytes, ensemble)
}

#[test]
fn every_request_is_answered_by_a_follower_and_a_leader_as_by_a_server_alone() {
    // G-01, G-02, G-05, S-30: one by one, byte for byte.
    let (expected, engine) = alone(false);
    for member in [0, 1] {
        let (bytes, mut ensemble) = by_way_of(member, false);
        assert_eq!(frames_of(&bytes), frames_of(&expected), "member {member}");
        assert_eq!(picture(ensemble.engine(2)), picture(&engine));
        ensemble.assert_equal();
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_whoever_is_asked() {
    // SC-56, G-02: all sent at once. Reads between the writes see what is in front of them and not what is behind.
    let (expected, engine) = alone(true);
    for member in [0, 1] {
        let (bytes, mut ensemble) = by_way_of(member, true);
        let (found, expected) = (frames_of(&bytes), frames_of(&expected));
        assert_eq!(found.len(), expected.len(), "member {member}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "member {member}");
        }
        assert_eq!(picture(ensemble.engine(2)), picture(&engine));
        ensemble.assert_equal();
    }
}

#[test]
fn a_read_behind_a_write_waits_for_it_while_others_are_answered() {
    // G-02
    let mut ensemble = Ensemble::new(3);
    let (writer, reader) = (ensemble.client(1), ensemble.client(1));
    ensemble.commits = false;
    ensemble.request(writer, OpCode::Create, &create("/a", 0));
    ensemble.request(writer, OpCode::Exists, &PathWatchRequest { path: "/a".into(), watch: false });
    ensemble.carry();
    assert!(ensemble.frames(writer).is_empty());
    assert!(!ensemble.exists(reader, "/a"));
    ensemble.commits = true;
    ensemble.carry();
    let codes: Vec<ErrorCode> = ensemble.frames(writer).iter().map(Frame::code).collect();
    assert_eq!(codes, [ErrorCode::Ok, ErrorCode::Ok]);
}

#[test]
fn a_watch_at_a_follower_tells_of_a_write_at_another() {
    // G-05, G-06
    let mut ensemble = Ensemble::new(3);
    let (watcher, writer) = (ensemble.client(1), ensemble.client(2));
    ensemble.call(watcher, OpCode::Exists, &PathWatchRequest { path: "/a".into(), watch: true });
    ensemble.create(writer, "/a", 0);
    let frames = ensemble.frames(watcher);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].event(), (EventType::Created, "/a".to_owned()));
}

#[test]
fn identities_of_a_followers_client_count_at_the_leader() {
    // What a client proves at a follower decides what the leader lets it do.
    let mut ensemble = Ensemble::new(3);
    let (owner, other) = (ensemble.client(1), ensemble.client(2));
    let auth = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(b"u:p") };
    ensemble.call(owner, OpCode::Auth, &auth);
    let private = CreateRequest { acl: Some(vec![Acl::new(31, "auth", "")]), ..create("/p", 0) };
    assert_eq!(ensemble.call(owner, OpCode::Create, &private).code(), ErrorCode::Ok);
    assert_eq!(ensemble.create(owner, "/p/a", 0), ErrorCode::Ok);
    assert_eq!(ensemble.create(other, "/p/b", 0), ErrorCode::NoAuth);
    let at = CreateRequest { acl: Some(vec![Acl::new(31, "ip", "127.0.0.0/8")]), ..create("/ip", 0) };
    assert_eq!(ensemble.call(owner, OpCode::Create, &at).code(), ErrorCode::Ok);
    assert_eq!(ensemble.create(other, "/ip/a", 0), ErrorCode::Ok);
}

#[test]
fn a_transaction_of_somebody_else_answers_nobody_here() {
    // The same session number and cxid elsewhere, in front of ours: only the head of the queue is looked at.
    let mut ensemble = Ensemble::new(3);
    let (a, b) = (ensemble.client(1), ensemble.client(2));
    ensemble.commits = false;
    ensemble.xid = 10;
    ensemble.request(b, OpCode::Create, &create("/b", 0));
    ensemble.carry();
    ensemble.xid = 10;
    ensemble.request(a, OpCode::Create, &create("/a", 0));
    ensemble.commits = true;
    ensemble.carry();
    for (client, path) in [(a, "/a"), (b, "/b")] {
        let frames = ensemble.frames(client);
        assert_eq!(frames.len(), 1);
        let reply: PathReply<'_> = decode(&frames[0].body).unwrap();
        assert_eq!(reply.path.as_str(), path);
    }
}

#[test]
fn the_queue_goes_on_when_a_client_leaves_in_the_middle_of_its_write() {
    let mut ensemble = Ensemble::new(3);
    let (gone, stays) = (ensemble.client(1), ensemble.client(1));
    ensemble.commits = false;
    ensemble.request(gone, OpCode::Create, &create("/gone", 0));
    ensemble.request(stays, OpCode::Create, &create("/stays", 0));
    ensemble.carry();
    ensemble.members[1].engine.closed(gone.conn);
    ensemble.commits = true;
    ensemble.carry();
    assert_eq!(ensemble.frames(stays).len(), 1);
    assert!(ensemble.exists(stays, "/gone"), "G-14: it may happen all the same");
    assert_eq!(ensemble.engine(1).forward.len(), 0);
}

#[test]
fn what_is_on_its_way_to_the_leader_has_a_limit_and_clients_wait() {
    // a slow leader does not fill this server's memory.
    let mut ensemble = Ensemble::new(2);
    let clients: Vec<Client> = (0..4).map(|_| ensemble.client(1)).collect();
    ensemble.create(clients[0], "/a", 0);
    ensemble.members[1].is_mute = true;
    let data = vec![7; 1_000_000];
    for client in &clients {
        for _ in 0..10 {
            let set = SetDataRequest { path: "/a".into(), data: Buffer::new(&data), version: -1 };
            ensemble.request(*client, OpCode::SetData, &set);
        }
    }
    ensemble.carry();
    assert_eq!(ensemble.members[1].up.len(), 17);
    assert!(ensemble.members[1].engine.held_count() > 0);
    ensemble.members[1].is_mute = false;
    ensemble.carry();
    for client in clients {
        assert_eq!(ensemble.frames(client).len(), 10);
    }
}

#[test]
fn packets_for_a_leader_are_those_of_zookeeper() {
    // As a follower of Apache ZooKeeper 3.9 sent them, but for session, cxid and path.
    let mut ensemble = Ensemble::new(2);
    ensemble.members[1].is_mute = true;
    let sent = |ensemble: &mut Ensemble| {
        ensemble.carry();
        let mut bytes = Vec::new();
        ensemble.members[1].up.drain(..).for_each(|packet| packet.encode(&mut bytes));
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let newcomer = ensemble.open(1);
    ensemble.send(newcomer, &handshake(0, &[0; 16], 0));
    let created = sent(&mut ensemble);
    assert_eq!(created.len(), 2 * 40);
    let session = &created[32..48];
    assert_eq!(created, format!("00000001ffffffffffffffff00000014{session}00000000fffffff600000fa0ffffffff"));

    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(1);
    ensemble.members[1].is_mute = true;
    let session = format!("{:016x}", ensemble.session(client).0);
    let who = "000000010000000269700000000931 32372e302e302e31".replace(' ', "");
    ensemble.request(client, OpCode::Create, &create("/x", 0));
    let acl = "000000010000001f00000005776f726c6400000006616e796f6e65";
    let expected = format!("0000000000000001 00000001 000000022f78 0000000164 {acl} 00000000").replace(' ', "");
    let data = format!("{session}{}", &expected[8..]);
    assert_eq!(sent(&mut ensemble), format!("00000001ffffffffffffffff{:08x}{data}{who}", data.len() / 2));

    ensemble.request(client, OpCode::Sync, &PathRequest { path: "/".into() });
    let data = format!("{session}0000000200000009000000012f");
    assert_eq!(sent(&mut ensemble), format!("00000001ffffffffffffffff{:08x}{data}{who}", data.len() / 2));

    let password = ensemble.password(client);
    let other = ensemble.session(client);
    ensemble.resume(1, other, &password);
    assert_eq!(sent(&mut ensemble), format!("00000006ffffffffffffffff0000000c{session}00000fa0ffffffff"));
    let touched = ensemble.members[1].engine.ping_answer();
    assert_eq!(touched.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), format!("{session}00000fa0"));
}

#[test]
fn the_end_of_a_session_is_asked_for_without_a_body() {
    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(1);
    ensemble.members[1].is_mute = true;
    ensemble.request(client, OpCode::CloseSession, &7_i64);
    ensemble.carry();
    let packet = ensemble.members[1].up.pop_front().unwrap();
    assert_eq!(packet.data().len(), 16);
    assert_eq!(packet.data()[12..], (-11_i32).to_be_bytes());
}

#[test]
fn a_request_is_a_sign_of_life_though_no_ping_is_answered() {
    // G-10: the connection to the learner is lost in one direction; what its clients ask still comes.
    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(1);
    let session = ensemble.session(client);
    for second in 0..100 {
        ensemble.now = ensemble.now.plus(1000);
        let (now, wall) = ensemble.time();
        for member in &mut ensemble.members {
            member.engine.set_time(now, wall);
            while member.engine.tick() {}
        }
        assert_eq!(ensemble.create(client, &format!("/n{second}"), 0), ErrorCode::Ok);
    }
    assert!(ensemble.engine(0).has_session(session));
}

#[test]
fn a_write_that_cannot_be_read_is_answered_by_the_follower_and_never_forwarded() {
    // L-02: the leader would have to answer it with a transaction.
    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(1);
    let writes = [
        OpCode::Create,
        OpCode::Create2,
        OpCode::CreateContainer,
        OpCode::CreateTtl,
        OpCode::Delete,
        OpCode::SetData,
        OpCode::SetAcl,
    ];
    for op in writes {
        ensemble.request(client, op, &());
        assert_eq!(ensemble.engine(1).in_flight(), 0, "{op} was forwarded");
        let codes: Vec<ErrorCode> = ensemble.frames(client).iter().map(Frame::code).collect();
        assert_eq!(codes, [ErrorCode::MarshallingError], "{op}");
    }
    for waiting in 1..=3 {
        ensemble.request(client, OpCode::Create, &create(&format!("/n{waiting}"), 0));
        assert_eq!(ensemble.engine(1).in_flight(), waiting);
    }
    ensemble.carry();
    assert_eq!((ensemble.frames(client).len(), ensemble.engine(1).in_flight()), (3, 0));
}

#[test]
fn what_is_on_its_way_is_outstanding_at_the_follower_and_what_waits_at_the_leader() {
    let mut ensemble = Ensemble::new(2);
    let client = ensemble.client(1);
    let outstanding = |ensemble: &Ensemble| [0, 1].map(|at| ensemble.engine(at).status().outstanding);
    assert_eq!(outstanding(&ensemble), [0, 0]);
    ensemble.members[0].engine.set_log_budget(0);
    for number in 0..3 {
        ensemble.request(client, OpCode::Create, &create(&format!("/n{number}"), 0));
    }
    let sync = ensemble.request(client, OpCode::Sync, &PathRequest { path: "/".into() });
    ensemble.carry();
    assert_eq!(outstanding(&ensemble), [4, 3], "the leader must not decide");
    assert_eq!([0, 1].map(|at| ensemble.engine(at).status().syncs), [0, 1]);
    ensemble.members[0].engine.set_log_budget(u64::MAX);
    ensemble.carry();
    assert_eq!(outstanding(&ensemble), [0, 0]);
    assert_eq!(ensemble.frames(client).last().unwrap().header.xid, sync);
}
