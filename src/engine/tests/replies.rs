//! The body of every reply, decoded whole and compared with what the tree holds at that moment.

use super::*;
use crate::records::Stat;
use crate::records::multi::MultiHeader;
use crate::tree::Owner;

fn get(path: &str) -> PathWatchRequest<'_> {
    PathWatchRequest { path: path.into(), watch: false }
}

fn stat(world: &World, path: &str) -> Stat {
    let tree = world.engine.tree();
    tree.stat(tree.lookup(path).unwrap())
}

fn body_of<T: serde::Serialize>(body: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode(body, &mut out);
    out
}

fn check(frame: &Frame, expected: &[u8]) {
    assert_eq!(frame.code(), ErrorCode::Ok);
    assert_eq!(frame.body, expected, "{:?}", frame.header);
}

/// A tree with something in it, made at a time that is not 0.
fn furnished() -> (World, ConnId) {
    let settings = EngineSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        extended_types: true,
        container_check_interval_ms: 1000,
        ..EngineSettings::default()
    };
    let mut world = World::with(settings);
    let conn = world.client();
    world.pass(10);
    for path in ["/a", "/a/b", "/a/c"] {
        world.create(conn, path, 0);
    }
    world.create(conn, "/a/e", 1);
    world.set(conn, "/a");
    (world, conn)
}

#[test]
fn reads_show_data_names_lists_and_the_stat_of_the_same_moment() {
    let (mut world, conn) = furnished();
    let a = stat(&world, "/a");
    assert_eq!((a.version, a.num_children, a.cversion, a.data_length), (1, 3, 3, 1));
    assert!(a.ctime > 1_700_000_000_000 && a.mzxid > a.czxid && a.pzxid > a.czxid);
    let frame = world.call(conn, OpCode::GetData, &get("/a"));
    check(&frame, &body_of(&DataReply { data: Buffer::new(b"x"), stat: a }));
    assert_eq!(frame.header.zxid, world.engine.applied().0);
    check(&world.call(conn, OpCode::Exists, &get("/a")), &body_of(&StatReply { stat: a }));
    let mut names: Vec<String> = vec!["b".into(), "c".into(), "e".into()];
    let frame = world.call(conn, OpCode::GetChildren, &get("/a"));
    let mut found: Vec<String> = decode::<Vec<String>>(&frame.body).unwrap();
    found.sort();
    assert_eq!(found, names);
    let frame = world.call(conn, OpCode::GetChildren2, &get("/a"));
    let reply: ChildrenStatReply<'_> = decode(&frame.body).unwrap();
    let mut found: Vec<String> = reply.names.iter().map(|name| name.as_str().to_owned()).collect();
    found.sort();
    assert_eq!((found, reply.stat), (std::mem::take(&mut names), a));
    let acl = AclReply { acl: vec![Acl::open()], stat: a };
    check(&world.call(conn, OpCode::GetAcl, &PathRequest { path: "/a".into() }), &body_of(&acl));
    for (path, total) in [("/a", 3), ("/a/b", 0), ("/", 7), ("", 8)] {
        let frame = world.call(conn, OpCode::GetAllChildrenNumber, &PathRequest { path: path.into() });
        check(&frame, &body_of(&NumberReply { total }));
    }
    for (prefix, paths) in [("/", vec!["/a/e"]), (" ", vec!["/a/e"]), ("/a", vec!["/a/e"]), ("/b", vec![])] {
        let frame = world.call(conn, OpCode::GetEphemerals, &PathRequest { path: prefix.into() });
        check(&frame, &body_of(&paths));
    }
    check(
        &world.call(conn, OpCode::Sync, &PathRequest { path: "/a".into() }),
        &body_of(&PathReply { path: "/a".into() }),
    );
    check(&world.call(conn, OpCode::AddWatch, &WatchRequest { path: "/a".into(), kind: 0 }), &[0; 4]);
}

#[test]
fn who_one_is_and_how_one_becomes_more() {
    let (mut world, conn) = furnished();
    let infos = |all: &[(&'static str, &'static str)]| {
        let infos = all.iter().map(|(scheme, user)| ClientInfo { scheme: (*scheme).into(), user: (*user).into() });
        body_of(&WhoAmIReply { infos: infos.collect() })
    };
    check(&world.call(conn, OpCode::WhoAmI, &()), &infos(&[("ip", "127.0.0.1")]));
    let auth = |scheme: &'static str| AuthRequest { kind: 0, scheme: scheme.into(), auth: Buffer::new(b"me:secret") };
    for scheme in ["ip", "digest", "digest"] {
        check(&world.call(conn, OpCode::Auth, &auth(scheme)), &[]);
    }
    check(&world.call(conn, OpCode::WhoAmI, &()), &infos(&[("ip", "127.0.0.1"), ("digest", "me")]));
    // A server without SASL ends the exchange and nobody was authenticated.
    let token = SaslToken { token: Buffer::new(b"hello") };
    check(&world.call(conn, OpCode::Sasl, &token), &body_of(&SaslToken { token: Buffer(None) }));
    world.request(conn, OpCode::Sasl, &SaslToken { token: Buffer(None) });
    assert!(world.is_closing(conn));
    let mut world = World::with(EngineSettings { digest_enabled: false, ..EngineSettings::default() });
    let conn = world.client();
    assert_eq!(world.call(conn, OpCode::Auth, &auth("digest")).code(), ErrorCode::AuthFailed);
    assert!(world.is_closing(conn));
}

#[test]
fn acls_come_back_as_they_were_given_and_masked_for_who_may_only_read() {
    // SC-68
    let (mut world, conn) = furnished();
    let acl = vec![Acl::new(perms::ALL, "digest", "u:hash"), Acl::new(perms::READ, "world", "anyone")];
    world.call(conn, OpCode::Create, &CreateRequest { acl: Some(acl), ..create("/s", 0) });
    let expected = AclReply {
        acl: vec![Acl::new(perms::ALL, "digest", "u:x"), Acl::new(perms::READ, "world", "anyone")],
        stat: stat(&world, "/s"),
    };
    check(&world.call(conn, OpCode::GetAcl, &PathRequest { path: "/s".into() }), &body_of(&expected));
    // A new list counts as one, is the next expected version, and holds at once for what is sent behind it.
    let read_only = vec![Acl::new(perms::READ | perms::ADMIN, "world", "anyone")];
    world.request(
        conn,
        OpCode::SetAcl,
        &SetAclRequest { path: "/a/b".into(), acl: Some(read_only.clone()), version: 0 },
    );
    world.request(conn, OpCode::SetData, &SetDataRequest { path: "/a/b".into(), data: Buffer(None), version: -1 });
    world.request(
        conn,
        OpCode::SetAcl,
        &SetAclRequest { path: "/a/b".into(), acl: Some(read_only.clone()), version: 0 },
    );
    world.request(
        conn,
        OpCode::SetAcl,
        &SetAclRequest { path: "/a/b".into(), acl: Some(read_only.clone()), version: 1 },
    );
    world.commit();
    let frames = world.frames(conn);
    let codes: Vec<ErrorCode> = frames.iter().map(Frame::code).collect();
    assert_eq!(codes, [ErrorCode::Ok, ErrorCode::NoAuth, ErrorCode::BadVersion, ErrorCode::Ok]);
    check(&frames[3], &body_of(&StatReply { stat: stat(&world, "/a/b") }));
    assert_eq!(stat(&world, "/a/b").aversion, 2);
    let expected = AclReply { acl: read_only, stat: stat(&world, "/a/b") };
    check(&world.call(conn, OpCode::GetAcl, &PathRequest { path: "/a/b".into() }), &body_of(&expected));
}

#[test]
fn writes_are_answered_with_path_and_stat_as_their_kind_has_them() {
    let (mut world, conn) = furnished();
    let frame = world.call(conn, OpCode::Create, &create("/p-", 2));
    check(&frame, &body_of(&PathReply { path: "/p-0000000001".into() }));
    for (op, path, flags) in [(OpCode::Create2, "/q", 0), (OpCode::CreateContainer, "/r", 4)] {
        let frame = world.call(conn, op, &create(path, flags));
        let expected = PathStatReply { path: path.into(), stat: stat(&world, path) };
        check(&frame, &body_of(&expected));
        assert_eq!((expected.stat.data_length, expected.stat.czxid), (1, frame.header.zxid));
        check(
            &world.call(conn, OpCode::GetData, &get(path)),
            &body_of(&DataReply { data: Buffer::new(b"d"), stat: expected.stat }),
        );
    }
    let ttl = CreateTtlRequest { create: create("/t", 5), ttl: 5000 };
    let frame = world.call(conn, OpCode::CreateTtl, &ttl);
    check(&frame, &body_of(&PathStatReply { path: "/t".into(), stat: stat(&world, "/t") }));
    assert_eq!(world.engine.tree().view(world.engine.tree().lookup("/t").unwrap()).owner, Owner::Ttl(5000));
    assert_eq!(stat(&world, "/").cversion, -1 + 5);
    let request = SetDataRequest { path: "/q".into(), data: Buffer::new(b"long"), version: 0 };
    let frame = world.call(conn, OpCode::SetData, &request);
    check(&frame, &body_of(&StatReply { stat: stat(&world, "/q") }));
    assert_eq!((stat(&world, "/q").version, stat(&world, "/q").data_length), (1, 4));
    check(&world.delete(conn, "/q"), &[]);
    assert_eq!(world.call(conn, OpCode::Reconfig, &()).code(), ErrorCode::MarshallingError);
    let reconfig = ReconfigRequest { joining: "".into(), leaving: "".into(), new_members: "".into(), config_id: -1 };
    assert_eq!(world.call(conn, OpCode::Reconfig, &reconfig).code(), ErrorCode::ReconfigDisabled);
}

fn multi(parts: &[(OpCode, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (op, body) in parts {
        encode(&MultiHeader::request(*op), &mut out);
        out.extend_from_slice(body);
    }
    encode(&MultiHeader::END, &mut out);
    out
}

/// Sends a body that is bytes already.
fn raw(world: &mut World, conn: ConnId, op: OpCode, body: &[u8]) -> Frame {
    world.xid += 1;
    let mut payload = body_of(&RequestHeader { xid: world.xid, op: op.to_i32() });
    payload.extend_from_slice(body);
    world.send(conn, &payload);
    world.commit();
    let mut frames = world.frames(conn);
    assert_eq!(frames.len(), 1);
    frames.pop().unwrap()
}

#[test]
fn a_multi_answers_each_part_in_the_form_of_its_kind() {
    let (mut world, conn) = furnished();
    let ttl = CreateTtlRequest { create: create("/m3", 5), ttl: 7000 };
    let parts = [
        (OpCode::Create, body_of(&create("/m1", 0))),
        (OpCode::Create2, body_of(&create("/m2", 0))),
        (OpCode::CreateTtl, body_of(&ttl)),
        (OpCode::SetData, body_of(&SetDataRequest { path: "/m1".into(), data: Buffer::new(b"22"), version: 0 })),
        (OpCode::Check, body_of(&PathVersionRequest { path: "/m1".into(), version: 1 })),
        (OpCode::Delete, body_of(&PathVersionRequest { path: "/a/c".into(), version: 0 })),
    ];
    let frame = raw(&mut world, conn, OpCode::Multi, &multi(&parts));
    let mut expected = body_of(&MultiHeader::success(OpCode::Create));
    encode(&PathReply { path: "/m1".into() }, &mut expected);
    for path in ["/m2", "/m3"] {
        encode(&MultiHeader::success(OpCode::Create2), &mut expected);
        encode(&PathStatReply { path: path.into(), stat: stat(&world, path) }, &mut expected);
    }
    encode(&MultiHeader::success(OpCode::SetData), &mut expected);
    encode(&StatReply { stat: stat(&world, "/m1") }, &mut expected);
    encode(&MultiHeader::success(OpCode::Check), &mut expected);
    encode(&MultiHeader::success(OpCode::Delete), &mut expected);
    encode(&MultiHeader::END, &mut expected);
    check(&frame, &expected);
    assert_eq!(world.engine.tree().view(world.engine.tree().lookup("/m3").unwrap()).owner, Owner::Ttl(7000));
}

#[test]
fn a_multi_read_answers_each_part_by_itself() {
    let (mut world, conn) = furnished();
    world.call(
        conn,
        OpCode::Create,
        &CreateRequest { acl: Some(vec![Acl::new(2, "world", "anyone")]), ..create("/no", 0) },
    );
    let parts = [
        (OpCode::GetData, body_of(&get("/a"))),
        (OpCode::GetChildren, body_of(&get("/a/b"))),
        (OpCode::GetData, body_of(&get("/missing"))),
        (OpCode::GetChildren, body_of(&get("/no"))),
    ];
    let frame = raw(&mut world, conn, OpCode::MultiRead, &multi(&parts));
    let mut expected = body_of(&MultiHeader::success(OpCode::GetData));
    encode(&DataReply { data: Buffer::new(b"x"), stat: stat(&world, "/a") }, &mut expected);
    encode(&MultiHeader::success(OpCode::GetChildren), &mut expected);
    encode(&Vec::<&str>::new(), &mut expected);
    for code in [ErrorCode::NoNode, ErrorCode::NoAuth] {
        encode(&MultiHeader::failure(code), &mut expected);
        encode(&ErrorReply { err: code.to_i32() }, &mut expected);
    }
    encode(&MultiHeader::END, &mut expected);
    check(&frame, &expected);
    let write = [(OpCode::Delete, body_of(&PathVersionRequest { path: "/a/c".into(), version: 0 }))];
    assert_eq!(raw(&mut world, conn, OpCode::MultiRead, &multi(&write)).code(), ErrorCode::MarshallingError);
}

#[test]
fn reads_of_other_threads_have_the_same_bodies_and_codes() {
    let (mut world, conn) = furnished();
    world.call(
        conn,
        OpCode::Create,
        &CreateRequest { acl: Some(vec![Acl::new(2, "world", "anyone")]), ..create("/no", 0) },
    );
    for path in ["/a", "/a/b", "/missing", "/no"] {
        for op in [OpCode::GetData, OpCode::Exists, OpCode::GetChildren2, OpCode::GetAcl] {
            let frame = if op == OpCode::GetAcl {
                world.call(conn, op, &PathRequest { path: path.into() })
            } else {
                world.call(conn, op, &get(path))
            };
            let mut out = Vec::new();
            let (zxid, code) = world.engine.read_shared(conn, op, path, &mut out).unwrap();
            assert_eq!((zxid.0, code), (frame.header.zxid, frame.code()), "{op} {path}");
            if code == ErrorCode::Ok {
                assert_eq!(out, frame.body, "{op} {path}");
            }
        }
    }
    let mut out = Vec::new();
    assert!(world.engine.read_shared(conn, OpCode::WhoAmI, "/a", &mut out).is_none());
    let (_, code) = world.engine.read_shared(conn, OpCode::Exists, "/a\0", &mut out).unwrap();
    assert_eq!(code, ErrorCode::BadArguments);
    let fresh = world.open();
    assert!(world.engine.read_shared(fresh, OpCode::Exists, "/a", &mut out).is_none(), "no session");
    world.engine.close(conn, CloseReason::Cut);
    assert!(world.engine.read_shared(conn, OpCode::Exists, "/a", &mut out).is_none(), "closed");
}

#[test]
fn a_client_that_comes_back_has_its_persistent_watches_again() {
    // G-07
    let (mut world, conn) = furnished();
    let mut body = body_of(&SetWatchesRequest {
        relative_zxid: world.engine.applied().0,
        data: Vec::new(),
        exist: Vec::new(),
        child: Vec::new(),
    });
    encode(&PersistentWatches { persistent: vec!["/a/b".into()], recursive: vec!["/a/c".into()] }, &mut body);
    check(&raw(&mut world, conn, OpCode::SetWatches2, &body), &[]);
    for (path, kind, there) in [("/a/b", 4, true), ("/a/b", 5, false), ("/a/c", 5, true), ("/a/c", 4, false)] {
        let frame = world.call(conn, OpCode::CheckWatches, &WatchRequest { path: path.into(), kind });
        assert_eq!(frame.code() == ErrorCode::Ok, there, "{path} {kind}");
    }
    let other = world.client();
    world.create(other, "/a/b/x", 0);
    world.create(other, "/a/c/x", 0);
    let expected = [(EventType::ChildrenChanged, "/a/b".to_owned()), (EventType::Created, "/a/c/x".to_owned())];
    assert_eq!(world.events(conn), expected);
}

#[test]
fn what_is_due_by_itself_is_proposed_at_its_time_and_not_before() {
    let (mut world, conn) = furnished();
    world.call(conn, OpCode::CreateContainer, &create("/box", 4));
    world.create(conn, "/box/x", 0);
    world.call(conn, OpCode::CreateContainer, &create("/full", 4));
    world.create(conn, "/full/x", 0);
    world.call(conn, OpCode::CreateTtl, &CreateTtlRequest { create: create("/t", 5), ttl: 2500 });
    world.delete(conn, "/box/x");
    let there = |world: &World, path: &str| world.engine.tree().lookup(path).is_some();
    assert!(there(&world, "/box"), "only a look at the containers takes it");
    assert_eq!(world.engine.poll_timeout(), Some(Millis(1000)));
    world.pass(989);
    assert!(there(&world, "/box"));
    world.pass(1);
    assert!(!there(&world, "/box") && there(&world, "/full") && there(&world, "/t"));
    world.call(conn, OpCode::WhoAmI, &());
    world.pass(1000);
    assert!(there(&world, "/t"), "2 s old");
    world.call(conn, OpCode::WhoAmI, &());
    world.pass(1000);
    assert!(!there(&world, "/t") && there(&world, "/full"));
    // A znode that gets a child in the meantime stays.
    world.call(conn, OpCode::CreateContainer, &create("/late", 4));
    world.create(conn, "/late/x", 0);
    world.delete(conn, "/late/x");
    world.request(conn, OpCode::Create, &create("/late/y", 0));
    world.pass(1000);
    assert!(there(&world, "/late/y"));
}

#[test]
fn a_client_of_this_process_lives_as_long_as_its_connection() {
    let mut world = World::new();
    let (inside, outside) = (world.client(), world.client());
    world.engine.keep_alive(inside);
    let (kept, lost) = (world.session(inside), world.session(outside));
    for _ in 0..10 {
        world.pass(1000);
    }
    assert!(!world.is_closing(inside) && world.is_closing(outside));
    let live: Vec<SessionId> = world.engine.expiry_buckets().flat_map(|(_, ids)| ids).collect();
    assert_eq!((live.contains(&kept), live.contains(&lost)), (true, false));
    world.engine.closed(inside);
    for _ in 0..6 {
        world.pass(1000);
    }
    assert_eq!(world.engine.status().sessions, 0, "and no longer");
}

#[test]
fn sessions_are_ended_and_connections_cut_on_request() {
    let mut world = World::new();
    let (a, b) = (world.client(), world.client());
    world.create(a, "/e", 1);
    let (one, two) = (world.session(a), world.session(b));
    assert!(world.engine.disconnect(two) && !world.engine.disconnect(SessionId(5)));
    assert_eq!(world.engine.output(b).unwrap().1, Some(&CloseReason::Cut));
    assert!(!world.is_closing(a));
    assert!(world.engine.expire(one) && !world.engine.expire(one) && !world.engine.expire(SessionId(5)));
    world.commit();
    assert_eq!(world.engine.output(a).unwrap().1, Some(&CloseReason::SessionEnded));
    assert!(world.engine.tree().lookup("/e").is_none());
    let status = world.engine.status();
    assert_eq!((status.sessions, status.sessions_expired), (1, 1), "the session of a cut connection lives on");
    assert_eq!(world.engine.data_watches(), []);
}
