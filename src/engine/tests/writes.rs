//! Writes: decided in order, answered in order.

use super::*;
use crate::records::multi::{MultiHeader, MultiResult, decode_results};

fn multi(parts: &[(OpCode, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (op, bytes) in parts {
        encode(&MultiHeader::request(*op), &mut body);
        body.extend_from_slice(bytes);
    }
    encode(&MultiHeader::END, &mut body);
    body
}

/// Bytes that are a body already.
struct Raw(Vec<u8>);

impl serde::Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(&(*byte as i8)))?;
        tuple.end()
    }
}

fn bytes(record: &impl serde::Serialize) -> Vec<u8> {
    crate::jute::encoded(record)
}

fn call_multi(world: &mut World, conn: ConnId, parts: &[(OpCode, Vec<u8>)]) -> Frame {
    world.call(conn, OpCode::Multi, &Raw(multi(parts)))
}

#[test]
fn a_znode_that_was_set_a_moment_ago_is_not_taken_away() {
    // It was due to go as it is in the tree; what is decided and not applied yet counts. Found by the simulator.
    let settings =
        EngineSettings { extended_types: true, container_check_interval_ms: 1000, ..EngineSettings::default() };
    let mut world = World::with(settings);
    let conn = world.client();
    let ttl = CreateTtlRequest { create: create("/t", 5), ttl: 500 };
    assert_eq!(world.call(conn, OpCode::CreateTtl, &ttl).code(), ErrorCode::Ok);
    world.call(conn, OpCode::CreateContainer, &create("/box", 4));
    world.create(conn, "/box/x", 0);
    world.delete(conn, "/box/x");
    world.now = world.now.plus(1500);
    world.engine.set_time(world.now, WallMillis(1_700_000_001_500));
    world.request(conn, OpCode::SetData, &SetDataRequest { path: "/t".into(), data: Buffer::new(b"x"), version: -1 });
    world.request(conn, OpCode::Delete, &PathVersionRequest { path: "/box".into(), version: -1 });
    world.request(conn, OpCode::Create, &create("/box", 0));
    world.engine.tick();
    world.commit();
    world.frames(conn);
    assert!(world.exists(conn, "/t", false), "set a moment ago");
    assert!(world.exists(conn, "/box", false), "no container any more");
    world.pass(2500);
    assert!(!world.exists(conn, "/t", false) && world.exists(conn, "/box", false));
}

#[test]
fn nothing_is_answered_before_it_is_committed() {
    // D-10, G-09
    let mut world = World::new();
    let conn = world.client();
    world.request(conn, OpCode::Create, &create("/a", 0));
    assert!(world.frames(conn).is_empty());
    let other = world.client_without_commit_of_others();
    assert_eq!(other, 1, "one proposal waits");
}

impl World {
    fn client_without_commit_of_others(&mut self) -> usize {
        self.engine.proposals().len()
    }
}

#[test]
fn a_read_behind_a_write_of_its_session_waits_and_sees_it() {
    // G-02, S-30
    let mut world = World::new();
    let conn = world.client();
    let first = world.request(conn, OpCode::Create, &create("/a", 0));
    let second = world.request(conn, OpCode::GetData, &PathWatchRequest { path: "/a".into(), watch: false });
    assert!(world.frames(conn).is_empty());
    world.commit();
    let frames = world.frames(conn);
    assert_eq!(frames.iter().map(|frame| frame.header.xid).collect::<Vec<_>>(), [first, second]);
    assert!(frames.iter().all(|frame| frame.code() == ErrorCode::Ok));
}

#[test]
fn reads_of_others_do_not_wait() {
    let mut world = World::new();
    let (writer, reader) = (world.client(), world.client());
    world.request(writer, OpCode::Create, &create("/a", 0));
    world.request(reader, OpCode::GetData, &PathWatchRequest { path: "/a".into(), watch: false });
    let frames = world.frames(reader);
    assert_eq!(frames[0].code(), ErrorCode::NoNode, "and see only what is committed");
}

#[test]
fn pipelined_writes_see_each_other() {
    let mut world = World::new();
    let conn = world.client();
    world.request(conn, OpCode::Create, &create("/a", 0));
    world.request(conn, OpCode::Create, &create("/a", 0));
    let set = SetDataRequest { path: "/a".into(), data: Buffer::new(b"x"), version: 0 };
    world.request(conn, OpCode::SetData, &set);
    world.request(conn, OpCode::Delete, &PathVersionRequest { path: "/a".into(), version: 1 });
    world.request(conn, OpCode::Delete, &PathVersionRequest { path: "/a".into(), version: 1 });
    world.commit();
    let codes: Vec<ErrorCode> = world.frames(conn).iter().map(Frame::code).collect();
    use ErrorCode::{NoNode, NodeExists, Ok};
    assert_eq!(codes, [Ok, NodeExists, Ok, Ok, NoNode]);
}

#[test]
fn a_refused_write_has_a_zxid_of_its_own_and_replies_name_theirs() {
    // G-01, G-03
    let mut world = World::new();
    let conn = world.client();
    let zxid = world.engine.applied().0;
    assert_eq!(world.create(conn, "/a", 0).header.zxid, zxid + 1);
    let refused = world.create(conn, "/a", 0);
    assert_eq!((refused.code(), refused.header.zxid), (ErrorCode::NodeExists, zxid + 2));
    world.request(conn, OpCode::Create, &create("/b", 0));
    world.request(conn, OpCode::Create, &create("/c", 0));
    world.commit();
    let zxids: Vec<i64> = world.frames(conn).iter().map(|frame| frame.header.zxid).collect();
    assert_eq!(zxids, [zxid + 3, zxid + 4], "each write its own, also in one commit");
}

#[test]
fn sequence_numbers_count_every_creation_even_before_it_is_committed() {
    // G-12
    let mut world = World::new();
    let conn = world.client();
    world.create(conn, "/q", 0);
    world.create(conn, "/q/plain", 0);
    world.request(conn, OpCode::Create, &create("/q/s-", 2));
    world.request(conn, OpCode::Create, &create("/q/s-", 2));
    world.delete_pending(conn, "/q/plain");
    world.request(conn, OpCode::Create, &create("/q/s-", 2));
    world.commit();
    let frames = world.frames(conn);
    let path = |frame: &Frame| decode::<PathReply<'_>>(&frame.body).unwrap().path.as_str().to_owned();
    assert_eq!(path(&frames[0]), "/q/s-0000000001");
    assert_eq!(path(&frames[1]), "/q/s-0000000002");
    assert_eq!(path(&frames[3]), "/q/s-0000000003", "deletions do not move it");
}

impl World {
    fn delete_pending(&mut self, conn: ConnId, path: &str) {
        self.request(conn, OpCode::Delete, &PathVersionRequest { path: path.into(), version: -1 });
    }
}

#[test]
fn the_order_of_checks_is_that_of_zookeeper() {
    let mut world = World::new();
    let conn = world.client();
    world.create(conn, "/x", 0);
    world.create(conn, "/e", 1);
    let request = |path, flags, acl| CreateRequest { path, data: Buffer(None), acl, flags };
    let open = || Some(vec![Acl::open()]);
    use ErrorCode::*;
    for (path, flags, acl, expected) in [
        ("/", 0, open(), NodeExists),
        ("", 0, open(), BadArguments),
        ("foo", 0, open(), BadArguments),
        ("/nonexist/x", 0, None, InvalidAcl),
        ("/nonexist/x", 0, Some(vec![]), InvalidAcl),
        ("/x", 9, None, BadArguments),
        ("/y/", 0, open(), NoNode),
        ("/x/", 0, open(), BadArguments),
        ("/./a", 0, open(), NoNode),
        ("/e/\u{1e}", 0, open(), BadArguments),
        ("/e/c", 0, open(), NoChildrenForEphemerals),
        ("/t", 5, open(), Unimplemented),
    ] {
        let frame = world.call(conn, OpCode::Create, &request(path.into(), flags, acl));
        assert_eq!(frame.code(), expected, "create {path:?} flags {flags}");
    }
    let frame = world.call(conn, OpCode::Create, &request("/x/".into(), 2, open()));
    assert_eq!(frame.code(), Ok, "the suffix makes the path valid");
    for (path, version, expected) in [
        ("/", -1, BadArguments),
        ("/zookeeper/config", -1, BadArguments),
        ("/a/", -1, NoNode),
        ("/x", 5, BadVersion),
        ("/x", -1, NotEmpty),
        ("/x", -2, BadVersion),
    ] {
        let frame = world.call(conn, OpCode::Delete, &PathVersionRequest { path: path.into(), version });
        assert_eq!(frame.code(), expected, "delete {path:?} version {version}");
    }
}

#[test]
fn a_failed_multi_changes_nothing_and_tells_every_result() {
    // G-13, SC-70
    let mut world = World::new();
    let conn = world.client();
    world.create(conn, "/q", 0);
    let before = world.engine.tree().stat(world.engine.tree().lookup("/q").unwrap());
    let frame = call_multi(
        &mut world,
        conn,
        &[
            (OpCode::Create, bytes(&create("/q/s-", 2))),
            (OpCode::Delete, bytes(&PathVersionRequest { path: "/nope".into(), version: -1 })),
            (OpCode::Create2, bytes(&create("/r", 0))),
        ],
    );
    assert_eq!(frame.code(), ErrorCode::Ok, "the header says Ok");
    let results = decode_results(&frame.body).unwrap();
    assert_eq!(results, [MultiResult::Error(0), MultiResult::Error(-101), MultiResult::Error(-2)]);
    let after = world.engine.tree().stat(world.engine.tree().lookup("/q").unwrap());
    assert_eq!(before, after);
    let frame = world.create(conn, "/q/s-", 2);
    assert_eq!(decode::<PathReply<'_>>(&frame.body).unwrap().path.as_str(), "/q/s-0000000000");
}

#[test]
fn a_multi_sees_its_own_effects_under_one_zxid() {
    let mut world = World::new();
    let conn = world.client();
    let set = SetDataRequest { path: "/m".into(), data: Buffer::new(b"22"), version: 0 };
    let frame = call_multi(
        &mut world,
        conn,
        &[
            (OpCode::Create, bytes(&create("/m", 0))),
            (OpCode::SetData, bytes(&set)),
            (OpCode::Check, bytes(&PathVersionRequest { path: "/m".into(), version: 1 })),
            (OpCode::Create, bytes(&create("/m/c", 4))),
            (OpCode::Delete, bytes(&PathVersionRequest { path: "/m/c".into(), version: 0 })),
        ],
    );
    let results = decode_results(&frame.body).unwrap();
    assert!(matches!(&results[0], MultiResult::Path(path) if path.path.as_str() == "/m"));
    assert!(matches!(&results[1], MultiResult::Stat(r) if r.stat.version == 1 && r.stat.mzxid == frame.header.zxid));
    assert_eq!(results[2], MultiResult::Done(OpCode::Check));
    assert!(matches!(&results[3], MultiResult::PathStat(_)), "a container is answered like create2");
    assert_eq!(results[4], MultiResult::Done(OpCode::Delete));
}

#[test]
fn what_has_no_place_in_a_multi_refuses_all_of_it() {
    // SC-70
    let mut world = World::new();
    let conn = world.client();
    let nested = multi(&[(OpCode::Create, bytes(&create("/n", 0)))]);
    for (op, body) in [
        (OpCode::Multi, nested),
        (OpCode::GetData, bytes(&PathWatchRequest { path: "/".into(), watch: false })),
        (OpCode::Create, bytes(&create("/a", 5))),
        (OpCode::Create, bytes(&create("/a", 77))),
    ] {
        let parts = [(OpCode::Create, bytes(&create("/first", 0))), (op, body)];
        let frame = call_multi(&mut world, conn, &parts);
        assert_eq!(frame.code(), ErrorCode::MarshallingError, "{op}");
        assert!(frame.body.is_empty());
    }
    assert!(!world.exists(conn, "/first", false));
    assert_eq!(call_multi(&mut world, conn, &[]).code(), ErrorCode::Ok, "an empty one is fine");
}

#[test]
fn every_operation_checks_the_permission_it_needs() {
    // SC-70: the parent's for create and delete, the znode's own for the rest.
    let mut world = World::new();
    let (owner, stranger) = (world.client(), world.client());
    let login = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(b"u:p") };
    assert_eq!(world.call(owner, OpCode::Auth, &login).code(), ErrorCode::Ok);
    let private = CreateRequest { acl: Some(vec![Acl::new(perms::ALL, "auth", "")]), ..create("/p", 0) };
    assert_eq!(world.call(owner, OpCode::Create, &private).code(), ErrorCode::Ok);
    let inside = CreateRequest { acl: Some(vec![Acl::new(perms::ALL, "auth", "")]), ..create("/p/c", 0) };
    assert_eq!(world.call(owner, OpCode::Create, &inside).code(), ErrorCode::Ok);
    let path = |path: &'static str| PathWatchRequest { path: path.into(), watch: true };
    let denied = [
        world.create(stranger, "/p/x", 0),
        world.set(stranger, "/p"),
        world.delete(stranger, "/p/c"),
        world.call(stranger, OpCode::GetData, &path("/p")),
        world.call(stranger, OpCode::Exists, &path("/p")),
        world.call(stranger, OpCode::GetChildren, &path("/p")),
        world.call(stranger, OpCode::GetChildren2, &path("/p")),
        world.call(stranger, OpCode::GetAcl, &PathRequest { path: "/p".into() }),
        world.call(stranger, OpCode::GetAllChildrenNumber, &PathRequest { path: "/p".into() }),
        world.call(
            stranger,
            OpCode::SetAcl,
            &SetAclRequest { path: "/p".into(), acl: Some(vec![Acl::open()]), version: -1 },
        ),
    ];
    assert!(denied.iter().all(|frame| frame.code() == ErrorCode::NoAuth), "{denied:?}");
    let check = PathVersionRequest { path: "/p".into(), version: -1 };
    let frame = call_multi(&mut world, stranger, &[(OpCode::Check, bytes(&check))]);
    assert_eq!(decode_results(&frame.body).unwrap(), [MultiResult::Error(ErrorCode::NoAuth.to_i32())]);
    assert_eq!(world.set(owner, "/p").code(), ErrorCode::Ok);
}

#[test]
fn auth_counts_for_what_is_sent_after_it_even_while_earlier_writes_wait() {
    // SC-73: its reply keeps its place too.
    let mut world = World::new();
    let conn = world.client();
    let private = || CreateRequest { acl: Some(vec![Acl::new(perms::ALL, "auth", "")]), ..create("/p", 0) };
    world.request(conn, OpCode::Create, &private());
    let login = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(b"u:p") };
    world.request(conn, OpCode::Auth, &login);
    world.request(conn, OpCode::Create, &private());
    assert!(world.frames(conn).is_empty());
    world.commit();
    let codes: Vec<ErrorCode> = world.frames(conn).iter().map(Frame::code).collect();
    assert_eq!(codes, [ErrorCode::InvalidAcl, ErrorCode::Ok, ErrorCode::Ok]);
}

#[test]
fn unknown_and_forbidden_operations_are_answered_and_then_cut_off() {
    // SC-61
    for op in [0, 10, 13, 20, 23, 999, -10, -1, i32::MIN] {
        let mut world = World::new();
        let conn = world.client();
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: 5, op }, &mut payload);
        encode(&PathRequest { path: "/zookeeper".into() }, &mut payload);
        world.send(conn, &payload);
        let frames = world.frames(conn);
        assert_eq!((frames[0].code(), frames[0].header.zxid), (ErrorCode::Unimplemented, -1), "operation {op}");
        assert!(world.is_closing(conn));
    }
}

#[test]
fn abandoned_proposals_leave_nothing_behind() {
    // F-09, G-14
    let mut world = World::new();
    let (a, b) = (world.client(), world.client());
    world.request(a, OpCode::Create, &create("/a", 0));
    world.engine.abandon_proposals();
    assert!(world.is_closing(a), "whether it happened cannot be said");
    assert_eq!(world.create(b, "/a", 0).code(), ErrorCode::Ok);
}

#[test]
fn a_sync_waits_for_the_writes_of_others_and_no_longer() {
    // G-04: it is answered although its own connection writes nothing, and a write behind it keeps its place.
    let mut world = World::new();
    let (a, b) = (world.client(), world.client());
    world.request(a, OpCode::Create, &create("/a", 0));
    let first = world.request(b, OpCode::Sync, &PathRequest { path: "/".into() });
    let second = world.request(b, OpCode::Create, &create("/b", 0));
    let third = world.request(b, OpCode::Sync, &PathRequest { path: "/".into() });
    assert!(world.frames(b).is_empty());
    world.commit();
    let xids: Vec<i32> = world.frames(b).iter().map(|frame| frame.header.xid).collect();
    assert_eq!(xids, [first, second, third]);

    world.request(a, OpCode::Create, &create("/never", 0));
    let sync = world.request(b, OpCode::Sync, &PathRequest { path: "/".into() });
    world.engine.abandon_proposals();
    assert_eq!(world.frames(b)[0].header.xid, sync, "what it waited for will not happen");
    assert_eq!(world.create(b, "/c", 0).code(), ErrorCode::Ok);
}

#[test]
fn clients_of_this_process_do_not_wait_among_strangers() {
    // R-15
    let mut settings = EngineSettings { tick_ms: 1000, ..EngineSettings::default() };
    (settings.limits.sessions_per_second, settings.limits.sessions_burst) = (1, 1);
    let mut world = World::with(settings);
    world.client();
    for _ in 0..10 {
        let conn = world.open();
        world.engine.keep_alive(conn);
        world.send(conn, &handshake(0, &[0; 16], 0));
        world.commit();
        assert_eq!(world.bytes(conn).len(), 41);
    }
    let stranger = world.open();
    assert_eq!(world.send(stranger, &handshake(0, &[0; 16], 0)), NextInput::Blocked);
}
