//! Requests that take slices answer like short ones, to the byte and to the watch.

use super::*;
use crate::records::multi::{MultiHeader, MultiResult, decode_results};

const MANY: usize = 2300;

fn world() -> World {
    World::with(EngineSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        session_timeout_max_ms: 3_600_000,
        ..EngineSettings::default()
    })
}

/// Children `0000` and so on below `parent`, with one multi.
fn fill(world: &mut World, conn: ConnId, parent: &str, flags: i32) {
    world.create(conn, parent, 0);
    let mut body = Vec::new();
    for number in 0..MANY {
        encode(&MultiHeader::request(OpCode::Create), &mut body);
        encode(&create(&format!("{parent}/{number:04}"), flags), &mut body);
    }
    encode(&MultiHeader::END, &mut body);
    let frame = world.raw(conn, OpCode::Multi, &body);
    assert_eq!(decode_results(&frame.body).unwrap().len(), MANY);
}

#[test]
fn a_long_list_of_children_is_whole_and_leaves_its_watch() {
    let mut world = world();
    let (conn, other) = (world.client(), world.client());
    fill(&mut world, conn, "/p", 0);
    let expected: Vec<String> = (0..MANY).map(|number| format!("{number:04}")).collect();
    let stat = world.call(conn, OpCode::Exists, &PathWatchRequest { path: "/p".into(), watch: false }).body;
    for (op, watch) in [(OpCode::GetChildren, false), (OpCode::GetChildren2, true), (OpCode::GetChildren, true)] {
        let frame = world.call(conn, op, &PathWatchRequest { path: "/p".into(), watch });
        assert_eq!((frame.code(), frame.header.zxid), (ErrorCode::Ok, world.engine.applied().0), "{op}");
        let names = frame.body.len() - if op == OpCode::GetChildren2 { stat.len() } else { 0 };
        let mut found: Vec<String> = decode(&frame.body[..names]).unwrap();
        assert_eq!(frame.body[names..], stat[..frame.body.len() - names], "{op}");
        found.sort();
        assert_eq!(found, expected, "{op}");
        assert_eq!(world.engine.status().watches, usize::from(watch), "{op}");
    }
    world.delete(other, "/p/0007");
    assert_eq!(world.events(conn), [(EventType::ChildrenChanged, "/p".into())]);
    // Longer than a reply may be, and not there at all.
    world.engine.settings.limits.reply_size_max = MANY * 8 - 100;
    let list = PathWatchRequest { path: "/p".into(), watch: false };
    assert_eq!(world.call(conn, OpCode::GetChildren, &list).code(), ErrorCode::MarshallingError);
    world.engine.settings.limits.reply_size_max = MANY * 8 + 100;
    assert_eq!(world.call(conn, OpCode::GetChildren, &list).code(), ErrorCode::Ok);
}

#[test]
fn a_long_list_of_ephemerals_is_that_of_the_session_below_the_prefix() {
    let mut world = world();
    let (conn, other) = (world.client(), world.client());
    fill(&mut world, conn, "/p", 1);
    world.create(other, "/other", 1);
    let list = |world: &mut World, conn, prefix: &str| -> Vec<String> {
        let frame = world.call(conn, OpCode::GetEphemerals, &PathRequest { path: prefix.into() });
        assert_eq!(frame.code(), ErrorCode::Ok, "{prefix}");
        let mut paths: Vec<String> = decode(&frame.body).unwrap();
        paths.sort();
        paths
    };
    let all: Vec<String> = (0..MANY).map(|number| format!("/p/{number:04}")).collect();
    for prefix in ["/", "/p", "/p/11", "/p/1107", "/nowhere"] {
        let below = all.iter().filter(|path| path.starts_with(prefix)).cloned().collect::<Vec<_>>();
        assert_eq!(list(&mut world, conn, prefix), below, "{prefix}");
    }
    assert_eq!(list(&mut world, other, "/"), ["/other"]);
    world.engine.settings.limits.reply_size_max = MANY * 11 - 100;
    let frame = world.call(conn, OpCode::GetEphemerals, &PathRequest { path: "/".into() });
    assert_eq!(frame.code(), ErrorCode::MarshallingError);
    assert_eq!(list(&mut world, conn, "/p/11").len(), 100, "of those that are shown");
}

#[test]
fn a_client_that_comes_back_with_many_watches_hears_of_each_change_and_has_the_rest() {
    // G-07
    let mut world = world();
    let (watcher, writer) = (world.client(), world.client());
    fill(&mut world, writer, "/p", 0);
    let seen = world.engine.applied().0;
    world.set(writer, "/p/0003");
    world.delete(writer, "/p/0005");
    world.create(writer, "/p/0006/kid", 0);
    let paths: Vec<String> = (0..800).map(|number| format!("/p/{number:04}")).collect();
    let texts = |range: std::ops::Range<usize>| paths[range].iter().map(|path| path.as_str().into()).collect();
    let new = ["/p/new".to_owned(), "/p/0008".to_owned()];
    let one_shot = SetWatchesRequest {
        relative_zxid: seen,
        data: texts(0..400),
        exist: new.iter().map(|path| path.as_str().into()).collect(),
        child: texts(0..400),
    };
    let persistent = PersistentWatches { persistent: texts(400..600), recursive: texts(600..800) };
    let xid = world.request(watcher, OpCode::SetWatches2, &(one_shot, persistent));
    world.commit();
    let mut frames = world.frames(watcher);
    let reply = frames.pop().unwrap();
    assert_eq!((reply.header.xid, reply.code(), reply.body.len()), (xid, ErrorCode::Ok, 0));
    let events: Vec<_> = frames.iter().map(Frame::event).collect();
    let expected = [
        (EventType::DataChanged, "/p/0003"),
        (EventType::Deleted, "/p/0005"),
        (EventType::Created, "/p/0008"),
        (EventType::Deleted, "/p/0005"),
        (EventType::ChildrenChanged, "/p/0006"),
    ];
    assert_eq!(events, expected.map(|(kind, path)| (kind, path.to_owned())));
    for (number, kind) in [
        (399, Some(EventType::DataChanged)),
        (399, None),
        (599, Some(EventType::DataChanged)),
        (599, Some(EventType::DataChanged)),
        (799, Some(EventType::DataChanged)),
        (799, Some(EventType::DataChanged)),
        (800, None),
    ] {
        let path = format!("/p/{number:04}");
        world.set(writer, &path);
        assert_eq!(
            world.events(watcher),
            kind.map(|kind| (kind, path.clone())).into_iter().collect::<Vec<_>>(),
            "{path}"
        );
    }
    world.create(writer, "/p/0399/kid", 0);
    assert_eq!(world.events(watcher), [(EventType::ChildrenChanged, "/p/0399".into())]);
    world.create(writer, "/p/0799/kid", 0);
    assert_eq!(world.events(watcher), [(EventType::Created, "/p/0799/kid".into())], "recursive");
    world.create(writer, "/p/new", 0);
    assert_eq!(world.events(watcher), [(EventType::Created, "/p/new".into())]);
}

#[test]
fn a_counter_that_is_used_up_runs_into_the_next_epoch_where_one_server_is_alone() {
    // As ZooKeeper's does.
    let mut world = world();
    let loaded = world.engine.reload(|state| {
        state.load_begin(Zxid::new(1, u32::MAX - 1));
        Ok::<(), ()>(())
    });
    loaded.unwrap();
    let conn = world.client();
    assert_eq!(world.engine.applied(), Zxid::new(1, u32::MAX));
    for counter in 0..3 {
        let frame = world.set(conn, "/");
        assert_eq!(frame.header.zxid, Zxid::new(2, counter).0);
    }
}

#[test]
fn a_connection_waits_as_long_as_its_write_is_not_applied() {
    let mut world = world();
    let conn = world.client();
    assert!(!world.engine.is_waiting(conn));
    world.request(conn, OpCode::Create, &create("/a", 0));
    assert!(world.engine.is_waiting(conn));
    world.commit();
    assert!(!world.engine.is_waiting(conn));
    assert!(world.engine.arrivals_retry_ms() > 0, "a delayed handshake is not offered in a loop");
}

#[test]
fn a_multi_read_of_several_slices_answers_each_part_once_and_in_order() {
    let mut world = world();
    let conn = world.client();
    for number in 0..5 {
        let data = [number; 3];
        let path = format!("/n{number}");
        let request = CreateRequest { data: Buffer::new(&data), ..create(&path, 0) };
        assert_eq!(world.call(conn, OpCode::Create, &request).code(), ErrorCode::Ok);
    }
    let mut body = Vec::new();
    for number in 0..5000 {
        encode(&MultiHeader::request(OpCode::GetData), &mut body);
        encode(&PathWatchRequest { path: format!("/n{}", number % 6).as_str().into(), watch: false }, &mut body);
    }
    encode(&MultiHeader::END, &mut body);
    let frame = world.raw(conn, OpCode::MultiRead, &body);
    assert_eq!(frame.code(), ErrorCode::Ok);
    let results = decode_results(&frame.body).unwrap();
    let answers: Vec<Option<u8>> = results
        .iter()
        .map(|result| match result {
            MultiResult::Data(reply) => reply.data.0.map(|data| data[0]),
            _ => None,
        })
        .collect();
    let expected: Vec<Option<u8>> = (0..5000).map(|number| Some((number % 6) as u8).filter(|n| *n < 5)).collect();
    assert_eq!(answers, expected);
}

#[test]
fn a_transaction_that_is_applied_in_slices_is_counted_once() {
    let mut world = world();
    let conn = world.client();
    // So many ephemerals that their end is not listed, and so many events that they are not sent in one go.
    fill(&mut world, conn, "/p", 1);
    let watchers: Vec<ConnId> = (0..8).map(|_| world.client()).collect();
    for watcher in &watchers {
        world.call(*watcher, OpCode::AddWatch, &WatchRequest { path: "/p".into(), kind: 1 });
    }
    let before = world.engine.status().transactions;
    assert_eq!(world.call(conn, OpCode::CloseSession, &()).code(), ErrorCode::Ok);
    assert_eq!(world.engine.status().transactions, before + 1);
    for watcher in watchers {
        let events = world.events(watcher);
        assert_eq!(events.len(), MANY);
        assert!(events.iter().all(|(kind, _)| *kind == EventType::Deleted));
    }
}

#[test]
fn events_of_a_short_transaction_to_many_are_sent_in_slices_and_its_reply_comes_behind() {
    // R-24, G-05
    let mut world = world();
    let conn = world.client();
    world.create(conn, "/p", 0);
    let mut deletes = Vec::new();
    for number in 0..300 {
        world.create(conn, &format!("/p/{number:03}"), 0);
        encode(&MultiHeader::request(OpCode::Delete), &mut deletes);
        encode(&PathVersionRequest { path: format!("/p/{number:03}").as_str().into(), version: -1 }, &mut deletes);
    }
    encode(&MultiHeader::END, &mut deletes);
    assert!(deletes.len() < 16 << 10, "it is applied in one go");
    let watchers: Vec<ConnId> = (0..40).map(|_| world.client()).collect();
    for watcher in &watchers {
        world.call(*watcher, OpCode::AddWatch, &WatchRequest { path: "/p".into(), kind: 1 });
    }
    world.xid += 1;
    let mut payload = Vec::new();
    encode(&RequestHeader { xid: world.xid, op: OpCode::Multi.to_i32() }, &mut payload);
    payload.extend_from_slice(&deletes);
    world.send(conn, &payload);
    while !world.engine.has_proposals() {
        world.engine.go_on();
    }
    let proposal = world.engine.poll_proposals().next().unwrap();
    world.engine.deliver_begin(proposal.zxid, &proposal.txn).unwrap();
    let mut slices = 0;
    while world.engine.is_applying() {
        assert!(world.engine.output(conn).unwrap().0.is_empty(), "its events are still being sent");
        world.engine.apply_slice().unwrap();
        slices += 1;
    }
    assert!(slices > 1, "12,000 events in {slices} slices");
    assert_eq!(world.frames(conn).len(), 1);
    for watcher in watchers {
        assert_eq!(world.events(watcher).len(), 300);
    }
}

#[test]
fn a_multi_whose_events_are_sent_in_slices_is_counted_once() {
    let mut world = world();
    let conn = world.client();
    let watchers: Vec<ConnId> = (0..8).map(|_| world.client()).collect();
    for watcher in &watchers {
        world.call(*watcher, OpCode::AddWatch, &WatchRequest { path: "/".into(), kind: 1 });
    }
    let before = world.engine.status().transactions;
    fill(&mut world, conn, "/p", 0);
    assert_eq!(world.engine.status().transactions, before + 2, "that of the parent, and the multi");
    for watcher in watchers {
        assert_eq!(world.events(watcher).len(), 1 + MANY);
    }
}

#[test]
fn a_create_that_thousands_hear_of_is_answered_behind_its_events_with_its_path_and_stat() {
    // R-24, G-05
    let mut world = world();
    world.engine.settings.limits.sessions_burst = 2000;
    let (conn, other) = (world.client(), world.client());
    let watchers: Vec<ConnId> = (0..1010).map(|_| world.open()).collect();
    for &watcher in &watchers {
        world.send(watcher, &handshake(0, &[0; 16], 0));
    }
    world.commit();
    for &watcher in &watchers {
        world.request(watcher, OpCode::Exists, &PathWatchRequest { path: "/a".into(), watch: true });
        world.request(watcher, OpCode::GetChildren, &PathWatchRequest { path: "/".into(), watch: true });
        world.bytes(watcher);
    }
    let before = world.engine.applied();
    let xid = world.request(conn, OpCode::Create2, &create("/a", 0));
    let proposal = world.engine.poll_proposals().next().unwrap();
    world.engine.deliver_begin(proposal.zxid, &proposal.txn).unwrap();
    assert!(world.engine.is_applying(), "its events are still to be sent");
    world.request(other, OpCode::Ping, &());
    assert_eq!(world.frames(other)[0].header.zxid, before.0, "nobody is told of it yet");
    assert!(world.frames(conn).is_empty());
    while !world.engine.apply_slice().unwrap() {}
    let frame = world.frames(conn).pop().unwrap();
    assert_eq!((frame.header.xid, frame.header.zxid, frame.code()), (xid, proposal.zxid.0, ErrorCode::Ok));
    let node = world.engine.tree().lookup("/a").unwrap();
    let expected = PathStatReply { path: "/a".into(), stat: world.engine.tree().stat(node) };
    assert_eq!(decode::<PathStatReply<'_>>(&frame.body).unwrap(), expected);
    let told = [(EventType::Created, "/a".to_owned()), (EventType::ChildrenChanged, "/".to_owned())];
    assert!(watchers.into_iter().all(|watcher| world.events(watcher) == told));
}

#[test]
fn a_list_that_is_too_long_for_other_threads_is_left_to_the_queue() {
    //
    let mut world = world();
    let conn = world.client();
    fill(&mut world, conn, "/p", 0);
    let mut out = Vec::new();
    assert_eq!(world.engine.read_shared(conn, OpCode::GetChildren2, "/p", &mut out), None);
    assert!(out.is_empty());
    let read = world.engine.read_shared(conn, OpCode::GetChildren2, "/", &mut out);
    assert_eq!(read, Some((world.engine.applied(), ErrorCode::Ok)));
}
