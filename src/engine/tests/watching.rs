//! Watches as clients see them.

use EventType::{ChildrenChanged, Created, DataChanged, Deleted};

use super::*;

fn children(world: &mut World, conn: ConnId, path: &str) {
    let request = PathWatchRequest { path: path.into(), watch: true };
    assert_eq!(world.call(conn, OpCode::GetChildren2, &request).code(), ErrorCode::Ok);
}

fn add_watch(world: &mut World, conn: ConnId, path: &str, mode: i32) {
    let frame = world.call(conn, OpCode::AddWatch, &WatchRequest { path: path.into(), kind: mode });
    assert_eq!((frame.code(), frame.body.len()), (ErrorCode::Ok, 4));
}

#[test]
fn the_event_comes_before_the_reply_to_the_write_that_caused_it() {
    // G-05, S-33
    let mut world = World::new();
    let conn = world.client();
    assert!(!world.exists(conn, "/a", true));
    let xid = world.request(conn, OpCode::Create, &create("/a", 0));
    world.commit();
    let frames = world.frames(conn);
    assert_eq!(frames[0].event(), (Created, "/a".into()));
    assert_eq!(frames[1].header.xid, xid);
    assert_eq!(frames[0].header.zxid, frames[1].header.zxid);
}

#[test]
fn one_shot_watches_fire_once_and_for_what_they_are() {
    // G-06
    let mut world = World::new();
    let (watcher, writer) = (world.client(), world.client());
    world.create(writer, "/p", 0);
    children(&mut world, watcher, "/p");
    world.set(writer, "/p");
    assert_eq!(world.events(watcher), [], "a child watch does not see data");
    world.create(writer, "/p/c", 0);
    world.create(writer, "/p/d", 0);
    assert_eq!(world.events(watcher), [(ChildrenChanged, "/p".into())]);
    assert!(world.exists(watcher, "/p/c", true));
    world.set(writer, "/p/c");
    world.set(writer, "/p/c");
    assert_eq!(world.events(watcher), [(DataChanged, "/p/c".into())]);
}

#[test]
fn a_deletion_is_told_once_per_connection_and_to_the_parent() {
    let mut world = World::new();
    let (watcher, writer) = (world.client(), world.client());
    world.create(writer, "/p", 0);
    world.create(writer, "/p/c", 0);
    assert!(world.exists(watcher, "/p/c", true));
    children(&mut world, watcher, "/p/c");
    children(&mut world, watcher, "/p");
    world.delete(writer, "/p/c");
    assert_eq!(world.events(watcher), [(Deleted, "/p/c".into()), (ChildrenChanged, "/p".into())]);
    world.create(writer, "/p/c", 0);
    world.create(writer, "/p/c/d", 0);
    assert_eq!(world.events(watcher), [], "all of them were spent");
}

#[test]
fn a_child_watch_alone_hears_of_the_deletion_of_its_znode() {
    // G-06
    let mut world = World::new();
    let (watcher, both, writer) = (world.client(), world.client(), world.client());
    for path in ["/p", "/p/c", "/p/d"] {
        world.create(writer, path, 0);
    }
    children(&mut world, watcher, "/p/c");
    children(&mut world, both, "/p/c");
    assert!(world.exists(both, "/p/d", true));
    world.delete(writer, "/p/d");
    world.delete(writer, "/p/c");
    assert_eq!(world.events(watcher), [(Deleted, "/p/c".into())]);
    assert_eq!(world.events(both), [(Deleted, "/p/d".into()), (Deleted, "/p/c".into())]);
    world.create(writer, "/p/c", 0);
    world.delete(writer, "/p/c");
    assert_eq!(world.events(watcher), [], "it is spent");
}

#[test]
fn persistent_and_recursive_watches_stay() {
    // SC-60
    let mut world = World::new();
    let (plain, deep, writer) = (world.client(), world.client(), world.client());
    add_watch(&mut world, plain, "/p", 0);
    add_watch(&mut world, deep, "/p", 1);
    for _ in 0..2 {
        world.create(writer, "/p", 0);
        world.create(writer, "/p/c", 0);
        world.set(writer, "/p/c");
        world.delete(writer, "/p/c");
        world.delete(writer, "/p");
    }
    let round = |a: Vec<(EventType, &str)>| -> Vec<(EventType, String)> {
        let once = a.into_iter().map(|(kind, path)| (kind, path.to_owned()));
        once.clone().chain(once).collect()
    };
    assert_eq!(
        world.events(plain),
        round(vec![(Created, "/p"), (ChildrenChanged, "/p"), (ChildrenChanged, "/p"), (Deleted, "/p")])
    );
    assert_eq!(
        world.events(deep),
        round(vec![(Created, "/p"), (Created, "/p/c"), (DataChanged, "/p/c"), (Deleted, "/p/c"), (Deleted, "/p"),])
    );
}

#[test]
fn who_may_not_read_hears_nothing_and_its_watch_is_spent() {
    // SC-66, S-36
    let mut world = World::new();
    let (owner, stranger) = (world.client(), world.client());
    let login = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(b"u:p") };
    world.call(owner, OpCode::Auth, &login);
    add_watch(&mut world, stranger, "/", 1);
    assert!(!world.exists(stranger, "/secret", true));
    let private = CreateRequest { acl: Some(vec![Acl::new(perms::ALL, "auth", "")]), ..create("/secret", 0) };
    world.call(owner, OpCode::Create, &private);
    world.set(owner, "/secret");
    world.create(owner, "/secret/inside", 0);
    world.delete(owner, "/secret/inside");
    assert_eq!(
        world.events(stranger),
        [(Created, "/secret/inside".into()), (Deleted, "/secret/inside".into())],
        "only what is readable by itself"
    );
    world.delete(owner, "/secret");
    world.create(owner, "/secret", 0);
    assert_eq!(world.events(stranger), [(Created, "/secret".into())], "from the recursive watch alone");
}

#[test]
fn set_watches_tells_what_was_missed_before_its_reply() {
    // G-07, SC-57
    let mut world = World::new();
    let (watcher, writer) = (world.client(), world.client());
    for path in ["/data", "/kids", "/quiet", "/gone"] {
        world.create(writer, path, 0);
    }
    let seen = world.engine.applied().0;
    world.set(writer, "/data");
    world.create(writer, "/kids/c", 0);
    world.delete(writer, "/gone");
    world.create(writer, "/new", 0);
    let request = SetWatchesRequest {
        relative_zxid: seen,
        data: vec!["/data".into(), "/quiet".into(), "/gone".into()],
        exist: vec!["/new".into(), "/never".into()],
        child: vec!["/kids".into(), "/quiet".into()],
    };
    world.request(watcher, OpCode::SetWatches, &request);
    let mut frames = world.frames(watcher);
    let reply = frames.pop().unwrap();
    assert_eq!(reply.code(), ErrorCode::Ok);
    assert!(frames.iter().all(|frame| frame.header.zxid == -1));
    let events: Vec<_> = frames.iter().map(Frame::event).collect();
    let expected = [
        (DataChanged, "/data".to_owned()),
        (Deleted, "/gone".to_owned()),
        (Created, "/new".to_owned()),
        (ChildrenChanged, "/kids".to_owned()),
    ];
    assert_eq!(events, expected);
    world.set(writer, "/quiet");
    world.create(writer, "/never", 0);
    world.create(writer, "/quiet/c", 0);
    assert_eq!(
        world.events(watcher),
        [(DataChanged, "/quiet".into()), (Created, "/never".into()), (ChildrenChanged, "/quiet".into())]
    );
}

#[test]
fn events_of_a_multi_come_in_its_order_and_a_failed_one_fires_nothing() {
    // SC-48
    use crate::records::multi::MultiHeader;
    let mut world = World::new();
    let (watcher, writer) = (world.client(), world.client());
    add_watch(&mut world, watcher, "/m", 0);
    let send = |world: &mut World, version| {
        world.xid += 1;
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: world.xid, op: OpCode::Multi.to_i32() }, &mut payload);
        encode(&MultiHeader::request(OpCode::Create), &mut payload);
        encode(&create("/m", 0), &mut payload);
        encode(&MultiHeader::request(OpCode::SetData), &mut payload);
        encode(&SetDataRequest { path: "/m".into(), data: Buffer(None), version }, &mut payload);
        encode(&MultiHeader::request(OpCode::Delete), &mut payload);
        encode(&PathVersionRequest { path: "/m".into(), version: -1 }, &mut payload);
        encode(&MultiHeader::END, &mut payload);
        world.send(writer, &payload);
        world.commit();
    };
    send(&mut world, 7);
    assert_eq!(world.events(watcher), []);
    send(&mut world, 0);
    assert_eq!(world.events(watcher), [(Created, "/m".into()), (DataChanged, "/m".into()), (Deleted, "/m".into())]);
}

#[test]
fn watches_die_with_their_connection() {
    // SC-59, S-44
    let mut world = World::new();
    let conn = world.client();
    world.exists(conn, "/a", true);
    add_watch(&mut world, conn, "/b", 1);
    world.engine.closed(conn);
    assert_eq!(world.engine.status().watches, 0);
    let other = world.client();
    assert_eq!(other.slot, conn.slot, "the slot is used again");
    world.create(other, "/a", 0);
    assert_eq!(world.events(other), []);
}

#[test]
fn removing_a_watch_that_is_not_there_is_an_error() {
    let mut world = World::new();
    let conn = world.client();
    world.exists(conn, "/a", true);
    let kind = |kind| WatchRequest { path: "/a".into(), kind };
    assert_eq!(world.call(conn, OpCode::CheckWatches, &kind(2)).code(), ErrorCode::Ok);
    assert_eq!(world.call(conn, OpCode::CheckWatches, &kind(1)).code(), ErrorCode::NoWatcher);
    assert_eq!(world.call(conn, OpCode::RemoveWatches, &kind(9)).code(), ErrorCode::MarshallingError);
    assert_eq!(world.call(conn, OpCode::RemoveWatches, &kind(3)).code(), ErrorCode::Ok);
    assert_eq!(world.call(conn, OpCode::RemoveWatches, &kind(3)).code(), ErrorCode::NoWatcher);
}
