//! What is counted is counted once, and nothing is kept of what has gone.

use super::*;
use crate::engine::output::Output;

fn world() -> World {
    World::with(EngineSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        session_timeout_max_ms: 3_600_000,
        ..EngineSettings::default()
    })
}

fn stats(world: &World, conn: ConnId) -> ConnStats {
    world.engine.conns.get(conn).unwrap().stats
}

#[test]
fn every_kind_of_answer_is_counted_as_one() {
    let mut world = world();
    let (conn, other) = (world.client(), world.client());
    world.create(other, "/a", 0);
    let exists = PathWatchRequest { path: "/a".into(), watch: true };
    let auth = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(b"u:p") };
    let mut count = stats(&world, conn).sent;
    let mut all = world.engine.status().sent;
    let (mut received, mut all_received) = (stats(&world, conn).received, world.engine.status().received);
    for round in 0..3 {
        world.call(conn, OpCode::Exists, &exists);
        world.call(conn, OpCode::Sync, &PathRequest { path: "/".into() });
        world.call(conn, OpCode::Auth, &auth);
        world.call(conn, OpCode::SetData, &SetDataRequest { path: "/".into(), data: Buffer::new(b""), version: -1 });
        world.request(conn, OpCode::Ping, &());
        assert_eq!(world.frames(conn).len(), 1);
        let now = (stats(&world, conn).sent, stats(&world, conn).received);
        assert_eq!(now, (count + 5, received + 5), "round {round}");
        let now = (world.engine.status().sent, world.engine.status().received);
        assert_eq!(now, (all + 5, all_received + 5), "round {round}");
        // An event is sent without having been asked for now, and what was missed as well.
        world.set(other, "/a");
        assert_eq!(world.frames(conn).len(), 1);
        assert_eq!(stats(&world, conn).sent, count + 6);
        let missed = SetWatchesRequest {
            relative_zxid: 0,
            data: vec!["/a".into(), "/gone".into()],
            exist: vec!["/a".into()],
            child: Vec::new(),
        };
        world.request(conn, OpCode::SetWatches, &missed);
        assert_eq!(world.frames(conn).len(), 4);
        (count, received) = (count + 10, received + 6);
        assert_eq!((stats(&world, conn).sent, stats(&world, conn).received), (count, received));
        // The other's write besides.
        (all, all_received) = (all + 11, all_received + 7);
        assert_eq!((world.engine.status().sent, world.engine.status().received), (all, all_received));
    }
}

#[test]
fn sizes_of_replies_are_those_of_replies_and_not_of_pings_alone() {
    let mut world = world();
    let conn = world.client();
    world.engine.reset_counters();
    for op in [OpCode::Sync, OpCode::Exists, OpCode::Auth] {
        let size = match op {
            OpCode::Sync => world.call(conn, op, &PathRequest { path: "/".into() }),
            OpCode::Auth => world.call(conn, op, &AuthRequest { kind: 0, scheme: "ip".into(), auth: Buffer::new(b"") }),
            _ => world.call(conn, op, &PathWatchRequest { path: "/".into(), watch: false }),
        };
        let last = world.engine.status().response_size.last;
        assert_eq!(last, 16 + size.body.len() as i64, "{op}");
    }
}

#[test]
fn reads_by_other_threads_and_words_count_like_requests() {
    let mut world = world();
    let conn = world.client();
    world.engine.reset_counters();
    world.engine.reset_connection_counters();
    for round in 1..=3_u64 {
        world.engine.count_shared_reads(conn, 5);
        world.engine.word_received(conn);
        world.engine.word_answered(2);
        let status = world.engine.status();
        assert_eq!((status.received, status.sent), (6 * round, 7 * round));
        let stats = stats(&world, conn);
        assert_eq!((stats.received - round, stats.sent), (5 * round, 5 * round));
    }
    let mut out = Vec::new();
    for (op, path) in
        [(OpCode::GetData, "/"), (OpCode::Exists, "/"), (OpCode::GetChildren2, "/"), (OpCode::GetAcl, "/")]
    {
        out.clear();
        let read = world.engine.read_shared(conn, op, path, &mut out);
        assert_eq!(read, Some((world.engine.applied(), ErrorCode::Ok)), "{op}");
        let queued = match op {
            OpCode::GetAcl => world.call(conn, op, &PathRequest { path: path.into() }),
            _ => world.call(conn, op, &PathWatchRequest { path: path.into(), watch: false }),
        };
        assert_eq!(out, queued.body, "{op}: the same whoever answers");
        let nowhere = world.engine.read_shared(conn, op, "/nowhere", &mut Vec::new());
        assert_eq!(nowhere.map(|(_, code)| code), Some(ErrorCode::NoNode), "{op}");
    }
    assert_eq!(world.engine.read_shared(conn, OpCode::Sync, "/", &mut out), None);
    world.engine.close(conn, CloseReason::Cut);
    assert_eq!(world.engine.read_shared(conn, OpCode::Exists, "/", &mut out), None, "nobody is there to ask");
}

#[test]
fn the_last_xid_is_that_of_the_last_request_also_when_it_is_zero() {
    let mut world = world();
    let conn = world.client();
    world.call(conn, OpCode::Sync, &PathRequest { path: "/".into() });
    assert!(stats(&world, conn).last_xid > 0);
    world.xid = -1;
    world.call(conn, OpCode::Sync, &PathRequest { path: "/".into() });
    assert_eq!(stats(&world, conn).last_xid, 0);
    world.xid = -10;
    world.request(conn, OpCode::Sync, &PathRequest { path: "/".into() });
    assert_eq!(stats(&world, conn).last_xid, 0, "those of pings and the like tell nothing");
}

#[test]
fn a_connection_is_listed_with_the_moment_it_was_opened() {
    let mut world = world();
    world.now = Millis(700);
    world.engine.set_time(world.now, WallMillis(1_700_000_000_700));
    let conn = world.client();
    world.now = Millis(900);
    world.engine.set_time(world.now, WallMillis(1_700_000_000_900));
    world.client();
    let session = world.session(conn);
    let opened = world.engine.connections().find(|one| one.session == session).map(|one| one.opened);
    assert_eq!(opened, Some(Millis(700)));
}

#[test]
fn nothing_is_kept_of_connections_that_have_gone() {
    // Memory that grows with every client that ever was ends any server.
    let mut world = world();
    let (stays, kept) = (world.client(), world.client());
    world.engine.keep_alive(kept);
    for round in 0..50 {
        let conn = world.client();
        if round % 2 == 0 {
            world.engine.keep_alive(conn);
        }
        world.exists(conn, "/nowhere", true);
        world.request(conn, OpCode::Create, &create(&format!("/{round}"), 0));
        let silent = world.open();
        world.engine.closed(conn);
        world.engine.closed(silent);
        world.commit();
        world.inputs.clear();
    }
    assert_eq!(world.engine.connection_count(), 2);
    assert_eq!(world.engine.conns.kept_and_owning(), (vec![kept], vec![stays, kept]));
    assert_eq!(world.engine.status().watches, 0);
    assert_eq!((world.engine.awaiting.len(), world.engine.output_total()), (0, 0));
    // Those who live here go on, those who have gone expire.
    world.request(stays, OpCode::Ping, &());
    for _ in 0..10 {
        world.pass(1000);
        world.request(stays, OpCode::Ping, &());
    }
    assert_eq!(world.engine.status().sessions, 2);
    assert!(!world.is_closing(kept) && !world.is_closing(stays));
}

#[test]
fn a_snapshot_that_was_given_up_costs_the_writes_after_it_nothing() {
    let mut world = world();
    let conn = world.client();
    for number in 0..20 {
        world.create(conn, &format!("/{number}"), 0);
    }
    world.engine.snapshot_begin(&mut |_| ());
    world.engine.snapshot_slice(2, &mut |_| ());
    world.set(conn, "/7");
    assert!(world.engine.tree().snapshot_preimage_bytes() > 0, "what it still has to write is kept as it was");
    let with = world.engine.status().tree_memory;
    assert!(with >= world.engine.tree().memory_bytes() + world.engine.tree().snapshot_preimage_bytes() as u64);
    world.engine.snapshot_abort();
    assert_eq!(world.engine.tree().snapshot_preimage_bytes(), 0);
    for number in 0..20 {
        world.set(conn, &format!("/{number}"));
    }
    assert_eq!(world.engine.tree().snapshot_preimage_bytes(), 0);
    // And the next one is whole.
    let mut entries = 0;
    world.engine.snapshot_begin(&mut |_| entries += 1);
    while !world.engine.snapshot_slice(3, &mut |_| entries += 1) {}
    assert!(entries > 20, "{entries}");
}

#[test]
fn room_for_a_snapshot_is_reckoned_with_all_sessions() {
    // what is reserved for it in the file must do.
    let mut settings = EngineSettings { tick_ms: 1000, session_timeout_min_ms: 2000, ..EngineSettings::default() };
    settings.limits.sessions_burst = 10_000;
    let mut world = World::with(settings);
    for _ in 0..500 {
        world.client();
    }
    let mut size = 0;
    world.engine.snapshot_begin(&mut |entry| size += entry.len() + 4);
    while !world.engine.snapshot_slice(10, &mut |entry| size += entry.len() + 4) {}
    let estimate = world.engine.snapshot_estimate() as usize;
    assert!((size..size + 16_384).contains(&estimate), "{estimate} for {size} bytes");
}

#[test]
fn memory_that_a_large_reply_took_is_given_back_as_it_leaves() {
    // 10,000 connections that each were sent a megabyte once must not hold 10 GB.
    let mut output = Output::default();
    output.bytes_mut().extend_from_slice(&[7; 1 << 20]);
    output.advance((1 << 20) - 1000);
    assert_eq!(output.len(), 1000);
    assert!(output.bytes_mut().capacity() < 1 << 17, "{} bytes for 1,000", output.bytes_mut().capacity());
    output.bytes_mut().extend_from_slice(&[8; 1 << 20]);
    output.advance((1 << 20) + 1000);
    assert_eq!((output.len(), output.bytes_mut().capacity()), (0, 0));
    // A small buffer is kept: to ask for it with each reply would cost more than it saves.
    output.bytes_mut().extend_from_slice(&[9; 30_000]);
    output.advance(20_000);
    assert!(output.bytes_mut().capacity() >= 30_000);
    assert_eq!(output.unsent(), [9; 10_000]);
    output.advance(10_000);
    assert!(output.bytes_mut().capacity() >= 30_000);
    // Nor is one moved again and again of which more than half waits.
    output.bytes_mut().extend_from_slice(&[1; 100_000]);
    output.advance(40_000);
    let kept = output.bytes_mut().capacity();
    assert!(kept >= 100_000);
    output.advance(20_000);
    assert!(output.bytes_mut().capacity() >= 100_000, "40,000 bytes are more than a quarter of it");
    assert_eq!(output.unsent(), [1; 40_000]);
}

#[test]
fn addresses_are_forgotten_when_they_could_bring_a_whole_burst_again() {
    // neither before, or waiting a second would be a way round the limit, nor never.
    let mut arrivals = crate::engine::arrivals::Arrivals::default();
    let address = |number: u32| std::net::IpAddr::from(std::net::Ipv4Addr::from(number));
    for number in 0..10_001 {
        assert!(arrivals.admit(Millis(0), address(number), 10, 20));
    }
    for _ in 1..20 {
        assert!(arrivals.admit(Millis(0), address(5), 10, 20));
    }
    assert!(!arrivals.admit(Millis(0), address(5), 10, 20));
    assert!(arrivals.admit(Millis(1000), address(20_000), 10, 20));
    assert_eq!(arrivals.len(), 10_002);
    let more = (0..30).filter(|_| arrivals.admit(Millis(1000), address(5), 10, 20)).count();
    assert_eq!(more, 10, "what a second has brought");
    // A full bucket takes two seconds here.
    assert!(arrivals.admit(Millis(2999), address(20_001), 10, 20));
    assert_eq!(arrivals.len(), 3, "those of the last two seconds");
}

#[test]
fn what_srst_sets_to_zero_is_what_was_counted_of_requests_and_not_of_sessions() {
    let mut world = world();
    let conn = world.client();
    let session = world.session(conn);
    world.exists(conn, "/", false);
    let bad = AuthRequest { kind: 0, scheme: "nonsense".into(), auth: Buffer::new(b"u:p") };
    world.request(conn, OpCode::Auth, &bad);
    world.bytes(conn);
    world.open();
    world.pass(20_000);
    assert!(world.engine.expire(session) || !world.engine.has_session(session));
    world.commit();
    let of_sessions = |world: &World| {
        let status = world.engine.status();
        (status.sessions_expired, status.auth_failed, status.handshakes_overdue)
    };
    let before = of_sessions(&world);
    assert!(before.0 > 0 && before.1 > 0 && before.2 > 0, "{before:?}");
    world.engine.reset_counters();
    assert_eq!(of_sessions(&world), before);
    let status = world.engine.status();
    assert_eq!((status.received, status.sent, status.latency.count()), (0, 0, 0));
}
