//! Answers that are ZooKeeper's though another would make sense.

use super::*;
use crate::jute::Text;
use crate::records::multi::{MultiHeader, decode_results};

fn multi_read(paths: &[Option<&str>]) -> Vec<u8> {
    let mut body = Vec::new();
    for path in paths {
        encode(&MultiHeader::request(OpCode::GetData), &mut body);
        encode(&Buffer(path.map(str::as_bytes)), &mut body);
        encode(&false, &mut body);
    }
    encode(&MultiHeader::END, &mut body);
    body
}

impl World {
    /// A request whose body is bytes already.
    pub(super) fn raw(&mut self, conn: ConnId, op: OpCode, body: &[u8]) -> Frame {
        self.xid += 1;
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: self.xid, op: op.to_i32() }, &mut payload);
        payload.extend_from_slice(body);
        self.send(conn, &payload);
        self.commit();
        self.frames(conn).pop().expect("an answer")
    }
}

#[test]
fn a_multi_read_with_a_null_path_is_refused_whole() {
    let mut world = World::new();
    let conn = world.client();
    for paths in [&[None][..], &[Some("/"), None], &[Some("/nowhere"), None, Some("/")]] {
        let frame = world.raw(conn, OpCode::MultiRead, &multi_read(paths));
        assert_eq!((frame.code(), frame.body.len()), (ErrorCode::MarshallingError, 0), "{paths:?}");
    }
    let frame = world.raw(conn, OpCode::MultiRead, &multi_read(&[Some("/"), Some("/nowhere")]));
    assert_eq!((frame.code(), decode_results(&frame.body).unwrap().len()), (ErrorCode::Ok, 2));
}

#[test]
fn a_write_without_a_path_has_its_place_in_the_history_and_one_that_cannot_be_read_has_none() {
    let mut world = World::new();
    let conn = world.client();
    let mut refused = |op: OpCode, body: &[u8]| {
        let before = world.engine.applied();
        let frame = world.raw(conn, op, body);
        assert_eq!(frame.code(), ErrorCode::MarshallingError, "{op}");
        world.engine.applied().0 - before.0
    };
    let body = |request: &CreateRequest<'_>| {
        let mut body = Vec::new();
        encode(request, &mut body);
        body
    };
    let without_path = CreateRequest { path: Text(None), ..create("/", 0) };
    assert_eq!(refused(OpCode::Create, &body(&without_path)), 1);
    assert_eq!(refused(OpCode::Create, &body(&create("/a", 0))[..7]), 0);
    let mut multi = |request: &CreateRequest<'_>, end: &MultiHeader| {
        let mut body = Vec::new();
        encode(&MultiHeader::request(OpCode::Create), &mut body);
        encode(request, &mut body);
        encode(end, &mut body);
        refused(OpCode::Multi, &body)
    };
    assert_eq!(multi(&without_path, &MultiHeader::END), 1);
    assert_eq!(multi(&create("/a", 0), &MultiHeader::request(OpCode::Create)), 1);
    assert_eq!(multi(&CreateRequest { acl: None, ..create("/a", 0) }, &MultiHeader::END), 0);
}

#[test]
fn the_container_flag_makes_a_persistent_znode_outside_of_a_multi() {
    let mut world = World::new();
    let conn = world.client();
    for (op, path) in [(OpCode::Create, "/a"), (OpCode::Create2, "/b"), (OpCode::CreateContainer, "/c")] {
        world.call(conn, op, &create(path, 4));
        world.create(conn, &format!("{path}/kid"), 0);
        world.delete(conn, &format!("{path}/kid"));
    }
    world.pass(600_000);
    let conn = world.client();
    let there: Vec<bool> = ["/a", "/b", "/c"].map(|path| world.exists(conn, path, false)).into();
    assert_eq!(there, [true, true, false]);
}

#[test]
fn an_ipv6_rule_does_not_admit_ipv4_clients() {
    let mut world = World::new();
    let conn = world.client();
    for (id, expected) in [
        ("::1/64", ErrorCode::NoAuth),
        ("::/0", ErrorCode::NoAuth),
        ("::ffff:0:0/95", ErrorCode::NoAuth),
        ("::ffff:0:0/96", ErrorCode::Ok),
        ("::ffff:7f00:1", ErrorCode::Ok),
        ("0127.0.00.1/08", ErrorCode::Ok),
    ] {
        let acl = Some(vec![Acl::new(perms::ALL & !perms::READ, "world", "anyone"), Acl::new(perms::READ, "ip", id)]);
        let request = CreateRequest { path: "/n".into(), data: Buffer::new(b""), acl, flags: 0 };
        assert_eq!(world.call(conn, OpCode::Create, &request).code(), ErrorCode::Ok, "{id}");
        let read = world.call(conn, OpCode::GetData, &PathWatchRequest { path: "/n".into(), watch: false });
        assert_eq!(read.code(), expected, "{id}");
        world.delete(conn, "/n");
    }
}
