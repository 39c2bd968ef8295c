//! What the engine tells about itself: the numbers behind `srvr`, `stat`, `cons`, `mntr`, `dump` and `wchs`.

use super::*;

fn conn_status(world: &World, conn: ConnId) -> ConnStatus {
    let session = world.session(conn);
    world.engine.connections().find(|one| one.session == session).unwrap()
}

#[test]
fn every_request_is_counted_once_on_its_connection_and_on_the_server() {
    let mut world = World::new();
    let (conn, other) = (world.client(), world.client());
    let before = world.engine.status();
    world.engine.reset_counters();
    world.engine.reset_connection_counters();
    world.pass(100);

    let write = world.request(conn, OpCode::Create, &create("/a", 0));
    world.request(conn, OpCode::Exists, &PathWatchRequest { path: "/a".into(), watch: false });
    world.engine.set_time(Millis(107), WallMillis(1_700_000_000_107));
    assert_eq!((conn_status(&world, conn).queued, world.engine.status().outstanding), (2, 1));
    world.commit();
    let (one, two) = (conn_status(&world, conn), conn_status(&world, other));
    assert_eq!((one.stats.received, one.stats.sent), (2, 2));
    assert_eq!((two.stats.received, two.stats.sent), (0, 0));
    assert_eq!(one.stats.last_op, Some(OpCode::Exists));
    assert_eq!((one.stats.last_xid, one.stats.last_zxid), (write + 1, world.engine.applied().0));
    assert_eq!((one.stats.last_reply, one.stats.last_latency, one.queued), (Millis(107), 7, 0));
    assert_eq!((one.stats.latency.min_ms(), one.stats.latency.max_ms()), (7, 7));
    assert_eq!((one.opened, one.timeout_ms, one.address.port()), (Millis(0), 4000, 4000));
    assert_eq!(one.session, world.session(conn));

    world.request(other, OpCode::Ping, &());
    let now = world.engine.status();
    assert_eq!(conn_status(&world, other).stats.last_xid, 0, "a ping's number tells nothing");
    assert_eq!((now.received, now.sent, now.outstanding), (3, 3, 0));
    assert_eq!((now.latency.min_ms(), now.latency.max_ms()), (0, 7));
    let (reads, writes) = world.engine.latencies();
    assert_eq!(
        (reads.latency().count(), reads.latency().max_ms(), writes.latency().count(), writes.latency().max_ms()),
        (2, 7, 1, 7)
    );
    assert_eq!((now.transactions, now.znodes), (before.transactions + 1, before.znodes + 1));
    assert_eq!((now.connections, now.sessions, now.applied), (2, 2, world.engine.applied()));
    assert_eq!(now.data_size, world.engine.tree().approximate_data_size());
    assert_eq!(now.tree_memory, world.engine.tree().memory_bytes());

    let queued = |world: &World| [conn, other].map(|c| world.engine.output(c).unwrap().0.len()).iter().sum::<usize>();
    assert!(queued(&world) > 0);
    assert_eq!((now.output_total, world.engine.output_total()), (queued(&world), queued(&world)));
    world.engine.flushed(conn, 5);
    assert_eq!(world.engine.output_total(), queued(&world));
    world.engine.closed(conn);
    assert_eq!(world.engine.output_total(), world.engine.output(other).unwrap().0.len());
    assert_eq!(world.engine.connection_count(), 1);

    world.engine.reset_counters();
    world.engine.reset_connection_counters();
    let reset = world.engine.status();
    assert_eq!((reset.received, reset.sent, reset.latency.max_ms()), (0, 0, 0));
    assert_eq!((world.engine.latencies().0.latency().count(), world.engine.latencies().1.latency().count()), (0, 0));
    assert_eq!(conn_status(&world, other).stats.received, 0);
    assert_eq!(reset.transactions, now.transactions, "not a counter of traffic");
}

#[test]
fn what_happened_to_sessions_and_connections_is_counted() {
    let mut world = World::new();
    let (conn, gone) = (world.client(), world.client());
    let password = world.engine.passwords.of(world.session(conn));
    let again = world.open();
    let resume = handshake(world.session(conn).0, &password, 0);
    world.send(again, &resume);
    let stranger = world.client();
    world.call(stranger, OpCode::Auth, &AuthRequest { kind: 0, scheme: "nope".into(), auth: Buffer::new(b"x") });
    world.engine.closed(gone);
    let idle = world.open();
    for _ in 0..10 {
        world.pass(1000);
        world.request(again, OpCode::Ping, &());
    }
    assert!(world.is_closing(idle));
    let status = world.engine.status();
    assert_eq!((status.sessions_resumed, status.auth_failed, status.handshakes_overdue), (1, 1, 1));
    assert_eq!((status.sessions_expired, status.sessions), (2, 1));
}

#[test]
fn owners_of_ephemerals_and_watched_paths_are_listed_in_order() {
    let mut world = World::new();
    let (a, b) = (world.client(), world.client());
    for (conn, path, flags) in [(b, "/y", 1), (a, "/x", 1), (b, "/w", 1), (a, "/p", 0)] {
        assert_eq!(world.create(conn, path, flags).code(), ErrorCode::Ok);
    }
    assert_eq!(world.engine.status().ephemerals, 3);
    let mut owners = world.engine.ephemeral_owners();
    owners.iter_mut().for_each(|owner| owner.ephemerals.sort());
    let listed: Vec<(SessionId, Vec<String>)> = owners.into_iter().map(|one| (one.session, one.ephemerals)).collect();
    let paths = |all: &[&str]| all.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    assert_eq!(listed, [(world.session(a), paths(&["/x"])), (world.session(b), paths(&["/w", "/y"]))]);

    for (conn, path) in [(b, "/x"), (a, "/y"), (a, "/none"), (b, "/y")] {
        world.exists(conn, path, true);
    }
    world.call(a, OpCode::GetChildren, &PathWatchRequest { path: "/p".into(), watch: true });
    assert_eq!(world.engine.status().watches, 5);
    let (a, b) = (world.session(a), world.session(b));
    let watched = [("/none", vec![a]), ("/x", vec![b]), ("/y", vec![a, b])];
    assert_eq!(world.engine.data_watches(), watched.map(|(path, who)| (path.to_owned(), who)));
    // Sessions of one tick stand together, at the moment they would end.
    let buckets: Vec<(Millis, Vec<SessionId>)> = world.engine.expiry_buckets().collect();
    assert_eq!(buckets, [(Millis(5000), vec![a, b])]);
}

#[test]
fn no_reply_shows_a_transaction_whose_events_are_still_being_sent() {
    // G-05: `sync`, a ping and a refusal in the middle of the events of a long multi.
    let mut world = World::new();
    let (watcher, writer) = (world.client(), world.client());
    // With those of the others there are more events than one slice sends.
    let watchers = std::iter::once(watcher).chain((0..15).map(|_| world.client())).collect::<Vec<_>>();
    for watcher in watchers {
        world.call(watcher, OpCode::AddWatch, &WatchRequest { path: "/".into(), kind: 1 });
    }
    let mut body = Vec::new();
    for i in 0..3000 {
        encode(&crate::records::multi::MultiHeader::request(OpCode::Create), &mut body);
        encode(&create(&format!("/n{i:05}"), 0), &mut body);
    }
    encode(&crate::records::multi::MultiHeader::END, &mut body);
    let mut payload = Vec::new();
    encode(&RequestHeader { xid: 1000, op: OpCode::Multi.to_i32() }, &mut payload);
    payload.extend_from_slice(&body);
    world.send(writer, &payload);
    while !world.engine.has_proposals() {
        world.engine.go_on();
    }
    let proposal = world.engine.poll_proposals().next().unwrap();
    world.engine.deliver_begin(proposal.zxid, &proposal.txn).unwrap();
    let mut frames = Vec::new();
    loop {
        world.request(watcher, OpCode::Sync, &PathRequest { path: "/".into() });
        world.request(watcher, OpCode::Ping, &());
        world.request(watcher, OpCode::Create, &true);
        frames.extend(world.frames(watcher));
        if world.engine.apply_slice().unwrap() {
            break;
        }
    }
    world.commit();
    frames.extend(world.frames(watcher));
    let events = frames.iter().filter(|frame| frame.header.xid == -1).count();
    assert_eq!(events, 3000);
    let last_event = frames.iter().rposition(|frame| frame.header.xid == -1).unwrap();
    let ahead =
        frames[..last_event].iter().find(|frame| frame.header.xid != -1 && frame.header.zxid >= proposal.zxid.0);
    assert_eq!(ahead, None);
    let shown: Vec<i64> = frames.iter().filter(|frame| frame.header.xid != -1).map(|frame| frame.header.zxid).collect();
    assert!(shown.is_sorted(), "G-08");
}
