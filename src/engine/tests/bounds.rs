//! Limits of replies, watches and log lines: what is above is refused whole, what is within is served whatever else waits.

use super::*;
use crate::engine::complaints::Complaints;
use crate::records::multi::{MultiHeader, MultiResult, decode_results};

fn limited(change: impl FnOnce(&mut EngineLimits)) -> World {
    let mut settings = EngineSettings { tick_ms: 1000, session_timeout_min_ms: 2000, ..EngineSettings::default() };
    change(&mut settings.limits);
    World::with(settings)
}

fn get(path: &str) -> PathWatchRequest<'_> {
    PathWatchRequest { path: path.into(), watch: false }
}

fn put(world: &mut World, conn: ConnId, path: &str, size: usize) {
    let data = vec![7; size];
    let request = CreateRequest { data: Buffer::new(&data), ..create(path, 0) };
    assert_eq!(world.call(conn, OpCode::Create, &request).code(), ErrorCode::Ok);
}

fn multi_read(paths: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for path in paths {
        encode(&MultiHeader::request(OpCode::GetData), &mut body);
        encode(&get(path), &mut body);
    }
    encode(&MultiHeader::END, &mut body);
    body
}

fn send_raw(world: &mut World, conn: ConnId, op: OpCode, body: &[u8]) {
    world.xid += 1;
    let mut payload = Vec::new();
    encode(&RequestHeader { xid: world.xid, op: op.to_i32() }, &mut payload);
    payload.extend_from_slice(body);
    world.send(conn, &payload);
}

#[test]
fn a_reply_above_its_limit_is_refused_and_one_below_is_sent_behind_any_other() {
    // what is queued already does not count for the next reply.
    let mut world = limited(|limits| limits.reply_size_max = 1000);
    let conn = world.client();
    put(&mut world, conn, "/fits", 800);
    put(&mut world, conn, "/large", 2000);
    assert_eq!(world.call(conn, OpCode::GetData, &get("/large")).code(), ErrorCode::MarshallingError);
    assert!(!world.is_closing(conn));
    let two = multi_read(&["/fits", "/fits"]);
    let one = multi_read(&["/fits"]);
    for _ in 0..3 {
        world.request(conn, OpCode::GetData, &get("/fits"));
        send_raw(&mut world, conn, OpCode::MultiRead, &one);
        send_raw(&mut world, conn, OpCode::MultiRead, &two);
    }
    let codes: Vec<ErrorCode> = world.frames(conn).iter().map(Frame::code).collect();
    let round = [ErrorCode::Ok, ErrorCode::Ok, ErrorCode::MarshallingError];
    assert_eq!(codes, [round, round, round].concat());
}

#[test]
fn a_list_of_names_above_the_limit_of_replies_is_refused_behind_any_other() {
    //
    let mut world = limited(|limits| limits.reply_size_max = 1000);
    let conn = world.client();
    for (parent, count) in [("/few", 8), ("/many", 11)] {
        world.create(conn, parent, 0);
        for number in 0..count {
            world.create(conn, &format!("{parent}/{number:02}{}", "x".repeat(90)), 0);
        }
    }
    for _ in 0..3 {
        world.request(conn, OpCode::GetChildren, &get("/few"));
        world.request(conn, OpCode::GetChildren2, &get("/many"));
    }
    let codes: Vec<ErrorCode> = world.frames(conn).iter().map(Frame::code).collect();
    assert_eq!(codes, [ErrorCode::Ok, ErrorCode::MarshallingError].repeat(3));
}

#[test]
fn a_multi_read_of_much_data_waits_for_memory_like_any_large_read() {
    // without it a few of them take more memory than all output may.
    let mut world = limited(|limits| {
        limits.reply_size_max = 200_000;
        limits.output_total_max = 500_000;
    });
    let writer = world.client();
    put(&mut world, writer, "/data", 70_000);
    put(&mut world, writer, "/small", 100);
    let large = multi_read(&["/data", "/data"]);
    let readers: Vec<ConnId> = (0..8).map(|_| world.client()).collect();
    for &reader in &readers {
        send_raw(&mut world, reader, OpCode::MultiRead, &large);
        world.engine.go_on();
    }
    assert!(world.engine.output_total() <= 500_000, "{} bytes", world.engine.output_total());
    assert!(world.engine.reads_wait_for_output());
    // Small ones and refused ones do not wait.
    let small = multi_read(&["/small", "/nowhere"]);
    send_raw(&mut world, writer, OpCode::MultiRead, &small);
    assert_eq!(decode_results(&world.frames(writer)[0].body).unwrap().len(), 2);
    for _ in 0..8 {
        for &reader in &readers {
            world.engine.go_on();
            assert!(world.frames(reader).iter().all(|frame| frame.code() == ErrorCode::Ok));
        }
    }
    assert!(!world.engine.reads_wait_for_output());
    assert!(readers.iter().all(|&reader| world.engine.conns.get(reader).unwrap().stats.sent == 2));
}

#[test]
fn a_request_for_more_watches_than_allowed_leaves_none() {
    // a client that is refused need not find out which of its watches it has.
    let paths: Vec<String> = (0..600).map(|number| format!("/not-there-{number:08}")).collect();
    for (count, max) in [(3, 2), (600, 599)] {
        let mut world = limited(|limits| limits.watches_per_connection_max = max);
        let conn = world.client();
        let texts: Vec<_> = paths[..count].iter().map(|path| path.as_str().into()).collect();
        for list in 0..2 {
            let lists = |which| if which == list { texts.clone() } else { Vec::new() };
            let request =
                SetWatchesRequest { relative_zxid: i64::MAX, data: Vec::new(), exist: lists(0), child: Vec::new() };
            let persistent = PersistentWatches { persistent: lists(1), recursive: Vec::new() };
            let xid = world.request(conn, OpCode::SetWatches2, &(request, persistent));
            world.commit();
            let frames = world.frames(conn);
            assert_eq!((frames.len(), frames[0].header.xid), (1, xid));
            assert_eq!(frames[0].code(), ErrorCode::ThrottledOp, "{count} of {max}, list {list}");
            assert_eq!(world.engine.status().watches, 0, "{count} of {max}, list {list}");
        }
        // As many as allowed, spread over the lists, are taken.
        let (some, rest) = texts[..max].split_at(max / 2);
        let request =
            SetWatchesRequest { relative_zxid: i64::MAX, data: Vec::new(), exist: some.to_vec(), child: Vec::new() };
        let persistent = PersistentWatches { persistent: Vec::new(), recursive: rest.to_vec() };
        assert_eq!(world.call(conn, OpCode::SetWatches2, &(request, persistent)).code(), ErrorCode::Ok);
        assert_eq!(world.engine.status().watches, max);
    }
}

#[test]
fn watched_paths_of_all_connections_have_a_limit_in_bytes() {
    // many connections together must not take what one alone may not.
    let mut world = limited(|limits| (limits.watches_per_connection_max, limits.watches_max) = (100, 100));
    let mut taken = 0;
    for number in 0..40 {
        let conn = world.client();
        let path = format!("/{number:02}{}", "x".repeat(1021));
        let exists = PathWatchRequest { path: path.as_str().into(), watch: true };
        match world.call(conn, OpCode::Exists, &exists).code() {
            ErrorCode::NoNode => taken += 1,
            code => assert_eq!(code, ErrorCode::ThrottledOp),
        }
    }
    assert_eq!(taken, 25, "as many as 100 of 256 bytes");
}

#[test]
fn a_multi_may_grow_by_what_sequence_numbers_and_defaults_add_and_no_more() {
    // a quarter and 16 KiB above the largest frame.
    let frame_size_max = 40_000;
    let mut world = limited(|limits| limits.frame_size_max = frame_size_max);
    let conn = world.client();
    let login = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(&[b'u'; 500]) };
    assert_eq!(world.call(conn, OpCode::Auth, &login).code(), ErrorCode::Ok);
    // Each `auth` of a few bytes becomes an identity of more than 500.
    let sent = |count: usize| {
        let mut body = Vec::new();
        for number in 0..count {
            let acl = Some(vec![Acl::new(perms::ALL, "auth", "")]);
            let request = CreateRequest { path: format!("/{number:04}").into(), data: Buffer(None), acl, flags: 0 };
            encode(&MultiHeader::request(OpCode::Create), &mut body);
            encode(&request, &mut body);
        }
        encode(&MultiHeader::END, &mut body);
        body
    };
    let size = |world: &World| world.log.last().unwrap().txn.len();
    let most = frame_size_max + frame_size_max / 4 + (16 << 10);
    let (mut fits, mut refused) = (0, 0);
    for count in (90..140).rev() {
        let frame = world.raw(conn, OpCode::Multi, &sent(count));
        assert_eq!(frame.code(), ErrorCode::Ok);
        if frame.body.len() > 4
            && decode_results(&frame.body).unwrap().iter().all(|one| !matches!(one, MultiResult::Error(_)))
        {
            fits = size(&world);
            break;
        }
        refused += 1;
    }
    assert!(refused > 0, "the largest was taken");
    // Its header and the headers of its parts are not counted.
    assert!((most - 1200..most + 100).contains(&fits), "{fits} bytes were taken, {most} may be");
}

#[test]
fn kinds_of_log_lines_are_bounded_and_a_new_second_takes_new_kinds() {
    // clients choose what is said about them; that must cost neither memory nor the lines of others.
    let mut complaints = Complaints::default();
    let letter = |number: usize| char::from(b'a' + number as u8);
    let kind = |number: usize| format!("kind {}{}", letter(number / 26), letter(number % 26));
    let mut said = |now: u64, number: usize| complaints.admit(Millis(now), &kind(number), || "line".to_owned());
    for number in 0..64 {
        assert_eq!(said(0, number).as_deref(), Some("line"), "kind {number}");
    }
    assert_eq!(said(0, 64), None, "one kind too many in this second");
    assert_eq!(said(999, 65), None);
    assert_eq!(said(999, 63).as_deref(), Some("line (2 lines like this were left out)"), "known ones go on");
    assert_eq!(said(1000, 64).as_deref(), Some("line"), "those of the second before make room");
    assert_eq!(said(1000, 0).as_deref(), Some("line"));
    for number in 1..63 {
        assert_eq!(said(1001, number).as_deref(), Some("line"), "kind {number}");
    }
    assert_eq!(said(1002, 70), None);
}
