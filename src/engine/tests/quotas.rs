//! Hard limits of quotas, where they are enforced.

use super::*;

/// A quota above `/q`, which has 10 bytes and one znode below it.
fn world(enforce_quota: bool, limits: &str) -> (World, ConnId) {
    let mut world = World::with(EngineSettings { tick_ms: 1000, enforce_quota, ..EngineSettings::default() });
    let conn = world.client();
    for (path, data) in [
        ("/q", &b"12345"[..]),
        ("/q/here", b"12345"),
        ("/zookeeper/quota/q", b""),
        ("/zookeeper/quota/q/zookeeper_limits", limits.as_bytes()),
        ("/zookeeper/quota/q/zookeeper_stats", b"count=2,bytes=10"),
    ] {
        assert_eq!(put(&mut world, conn, path, data), ErrorCode::Ok, "{path}");
    }
    (world, conn)
}

fn put(world: &mut World, conn: ConnId, path: &str, data: &[u8]) -> ErrorCode {
    world.call(conn, OpCode::Create, &CreateRequest { data: Buffer::new(data), ..create(path, 0) }).code()
}

fn set(world: &mut World, conn: ConnId, path: &str, data: &[u8]) -> ErrorCode {
    let request = SetDataRequest { path: path.into(), data: Buffer::new(data), version: -1 };
    world.call(conn, OpCode::SetData, &request).code()
}

use ErrorCode::{Ok, QuotaExceeded};

#[test]
fn a_hard_limit_on_bytes_refuses_what_grows_beyond_it_and_nothing_else() {
    let (mut world, conn) = world(true, "count=-1,bytes=-1;byteHardLimit=20");
    assert_eq!(put(&mut world, conn, "/q/large", &[1; 11]), QuotaExceeded);
    assert_eq!(put(&mut world, conn, "/q/fits", &[1; 10]), Ok, "exactly the limit");
    assert_eq!(set(&mut world, conn, "/q/here", b"123456"), QuotaExceeded);
    assert_eq!(set(&mut world, conn, "/q/here", b"54321"), Ok, "as long as it was");
    assert_eq!(set(&mut world, conn, "/q/fits", b"1234567"), Ok, "shorter than it was");
    assert_eq!(set(&mut world, conn, "/q/here", b"12345678"), Ok, "by as much as there is room for");
    assert_eq!(set(&mut world, conn, "/q/here", b"123456789"), QuotaExceeded);
    assert_eq!(put(&mut world, conn, "/elsewhere", &[1; 100]), Ok);
    assert_eq!(set(&mut world, conn, "/elsewhere", &[1; 200]), Ok);
}

#[test]
fn a_hard_limit_on_the_number_of_znodes_refuses_creates_alone() {
    let (mut world, conn) = world(true, "count=-1,bytes=-1;countHardLimit=3");
    assert_eq!(put(&mut world, conn, "/q/third", b""), Ok);
    assert_eq!(put(&mut world, conn, "/q/fourth", b""), QuotaExceeded);
    assert_eq!(set(&mut world, conn, "/q/here", &[1; 500]), Ok);
    assert_eq!(world.delete(conn, "/q/third").code(), Ok);
    assert_eq!(put(&mut world, conn, "/q/fourth", b""), Ok);
}

#[test]
fn limits_are_only_told_of_where_they_are_not_enforced() {
    let (mut world, conn) = world(false, "count=-1,bytes=-1;countHardLimit=2;byteHardLimit=10");
    assert_eq!(put(&mut world, conn, "/q/more", &[1; 50]), Ok);
    assert_eq!(set(&mut world, conn, "/q/here", &[1; 500]), Ok);
    // Nor is one that cannot be read.
    assert_eq!(set(&mut world, conn, "/zookeeper/quota/q/zookeeper_limits", b"count=x"), Ok);
    assert_eq!(put(&mut world, conn, "/q/again", &[1; 50]), Ok);
    assert_eq!(set(&mut world, conn, "/q/again", b""), Ok);
}
