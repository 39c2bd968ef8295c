//! Large replies: allowed up to their own limit, whatever may queue up behind them.

use super::*;

const HARD_MAX: usize = 4000;

fn small() -> World {
    let mut settings = EngineSettings { tick_ms: 1000, session_timeout_min_ms: 2000, ..EngineSettings::default() };
    settings.limits.output_soft_max = 1000;
    settings.limits.output_hard_max = HARD_MAX;
    settings.limits.reply_size_max = 200_000;
    settings.limits.output_total_max = 500_000;
    World::with(settings)
}

/// Children of `/` with names of about 1,000 bytes.
fn wide(world: &mut World, conn: ConnId, count: usize) {
    for number in 0..count {
        let path = format!("/{number:04}{}", "x".repeat(1000));
        assert_eq!(world.create(conn, &path, 0).code(), ErrorCode::Ok);
    }
}

fn list(path: &str) -> PathWatchRequest<'_> {
    PathWatchRequest { path: path.into(), watch: false }
}

#[test]
fn a_single_reply_above_the_hard_limit_is_sent() {
    // ZooKeeper answers with lists of any length.
    let mut world = small();
    let conn = world.client();
    wide(&mut world, conn, 150);
    let frame = world.call(conn, OpCode::GetChildren2, &list("/"));
    assert_eq!(frame.code(), ErrorCode::Ok);
    assert!(frame.body.len() > 150_000, "{} bytes", frame.body.len());
    assert!(!world.is_closing(conn));
    // And one above its own limit is refused by code, not by closing.
    wide_more(&mut world, conn, 150, 60);
    assert_eq!(world.call(conn, OpCode::GetChildren2, &list("/")).code(), ErrorCode::MarshallingError);
    assert!(!world.is_closing(conn));
}

fn wide_more(world: &mut World, conn: ConnId, from: usize, count: usize) {
    for number in from..from + count {
        let path = format!("/{number:04}{}", "x".repeat(1000));
        assert_eq!(world.create(conn, &path, 0).code(), ErrorCode::Ok);
    }
}

#[test]
fn what_queues_up_behind_a_large_reply_obeys_the_hard_limit() {
    // the reply does not count, the events do.
    let mut world = small();
    let (reader, writer) = (world.client(), world.client());
    wide(&mut world, writer, 100);
    world.call(reader, OpCode::AddWatch, &WatchRequest { path: "/w".into(), kind: 0 });
    world.request(reader, OpCode::GetChildren2, &list("/"));
    let before = world.engine.output(reader).unwrap().0.len();
    assert!(before > 100_000);
    world.create(writer, "/w", 0);
    while world.engine.output(reader).unwrap().0.len() < before + HARD_MAX - 100 {
        assert!(!world.is_closing(reader), "closed at {} bytes", world.engine.output(reader).unwrap().0.len() - before);
        world.set(writer, "/w");
    }
    // Half of the reply has left: what is queued behind it is still within the limit.
    world.engine.flushed(reader, before / 2);
    assert!(!world.is_closing(reader));
    for _ in 0..4 {
        world.set(writer, "/w");
    }
    assert!(world.is_closing(reader), "an event is never dropped in silence");
}

#[test]
fn catching_up_with_many_watches_is_one_reply() {
    // G-07: the events are as many as the client asked for.
    let mut world = small();
    let (conn, other) = (world.client(), world.client());
    let paths: Vec<String> = (0..200).map(|number| format!("/watched-and-gone-{number}")).collect();
    let data = paths.iter().map(|path| path.as_str().into()).collect();
    let request = SetWatchesRequest { relative_zxid: 1, data, exist: Vec::new(), child: Vec::new() };
    world.request(conn, OpCode::SetWatches, &request);
    assert!(!world.is_closing(conn));
    assert_eq!(world.frames(conn).len(), 201);
    assert!(!world.is_closing(other));
}

#[test]
fn large_reads_wait_for_the_memory_of_others_and_small_ones_do_not() {
    // nobody is closed for a reply that is allowed, and nobody's small request waits.
    let mut world = small();
    let writer = world.client();
    wide(&mut world, writer, 140);
    let readers: Vec<ConnId> = (0..8).map(|_| world.client()).collect();
    for &reader in &readers {
        world.request(reader, OpCode::GetChildren2, &list("/"));
    }
    let served =
        |world: &World| readers.iter().filter(|&&reader| !world.engine.output(reader).unwrap().0.is_empty()).count();
    assert_eq!(served(&world), 3, "of 140 KB each within 500 KB");
    assert!(world.engine.output_total() <= 500_000);
    assert!(world.engine.reads_wait_for_output());
    let waiting = readers[7];
    let exists = world.call_behind(writer);
    assert_eq!(exists.code(), ErrorCode::Ok, "a small read is served");
    for _ in 0..8 {
        for &reader in &readers {
            let frames = world.frames(reader);
            assert!(frames.len() <= 1 && frames.iter().all(|frame| frame.code() == ErrorCode::Ok));
            assert!(world.engine.output_total() <= 500_000);
            assert!(!world.is_closing(reader));
        }
    }
    assert!(!world.engine.reads_wait_for_output());
    assert_eq!(world.engine.conns.get(waiting).unwrap().stats.sent, 2, "handshake and list");
}

#[test]
fn writes_around_a_read_that_would_wait_are_answered_in_their_turn() {
    // G-02: what is behind the read is not in its reply, and nothing is left without an answer.
    let mut world = small();
    let writer = world.client();
    wide(&mut world, writer, 140);
    let greedy: Vec<ConnId> = (0..3).map(|_| world.client()).collect();
    for &conn in &greedy {
        world.request(conn, OpCode::GetChildren2, &list("/"));
    }
    let (behind, before) = (world.client(), world.client());
    // A write behind the read that waits is not taken; one that was decided before keeps the read from waiting.
    world.request(behind, OpCode::GetChildren2, &list("/"));
    world.request(behind, OpCode::Create, &create("/behind", 0));
    world.request(before, OpCode::Create, &create("/a", 0));
    world.request(before, OpCode::GetChildren2, &list("/"));
    world.request(before, OpCode::Create, &create("/b", 0));
    world.commit();
    assert_eq!(world.frames(before).len(), 3);
    assert!(world.frames(behind).is_empty());
    for &conn in &greedy {
        world.frames(conn);
    }
    let frames = world.frames(behind);
    assert_eq!((frames.len(), frames[0].code()), (1, ErrorCode::Ok));
    world.commit();
    world.commit();
    let frames = world.frames(behind);
    assert_eq!((frames.len(), frames[0].code()), (1, ErrorCode::Ok));
}

#[test]
fn a_connection_that_waits_and_goes_lets_the_next_one_go_on() {
    let mut world = small();
    let writer = world.client();
    wide(&mut world, writer, 140);
    let readers: Vec<ConnId> = (0..5).map(|_| world.client()).collect();
    for &reader in &readers {
        world.request(reader, OpCode::GetChildren2, &list("/"));
    }
    world.engine.closed(readers[3]);
    world.engine.closed(readers[0]);
    assert_eq!(world.frames(readers[4]).len(), 1);
    assert!(!world.engine.reads_wait_for_output());
}

impl World {
    fn call_behind(&mut self, conn: ConnId) -> Frame {
        self.call(conn, OpCode::Exists, &list("/"))
    }
}
