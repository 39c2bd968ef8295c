//! Who waits, who is let through and who is refused, at the exact edge of each gate.

use super::*;
use crate::records::multi::{MultiHeader, MultiResult, decode_results};

fn limited(change: impl FnOnce(&mut EngineSettings)) -> World {
    let mut settings = EngineSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        session_timeout_max_ms: 3_600_000,
        ..EngineSettings::default()
    };
    change(&mut settings);
    World::with(settings)
}

fn get(path: &str) -> PathWatchRequest<'_> {
    PathWatchRequest { path: path.into(), watch: false }
}

fn multi(parts: &[(OpCode, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (op, path) in parts {
        encode(&MultiHeader::request(*op), &mut body);
        match op {
            OpCode::Create => encode(&create(path, 0), &mut body),
            _ => encode(&PathVersionRequest { path: (*path).into(), version: -1 }, &mut body),
        }
    }
    encode(&MultiHeader::END, &mut body);
    body
}

#[test]
fn a_connection_is_served_until_its_output_is_above_the_soft_limit() {
    // at the limit it still is, and as soon as enough has left it is again.
    for (limit, served) in [(99, 5), (100, 6), (101, 6)] {
        let mut world = limited(|settings| settings.limits.output_soft_max = limit);
        let conn = world.client();
        for _ in 0..10 {
            world.request(conn, OpCode::Ping, &());
        }
        assert_eq!(world.engine.output(conn).unwrap().0.len(), served * 20, "pings of 20 bytes, limit {limit}");
    }
    // The same for what was taken already and waits behind a write, whose reply has 26 bytes.
    for (limit, served) in [(105, 4), (106, 5)] {
        let mut world = limited(|settings| settings.limits.output_soft_max = limit);
        let conn = world.client();
        world.request(conn, OpCode::Create, &create("/a", 0));
        for _ in 0..8 {
            world.request(conn, OpCode::Ping, &());
        }
        world.commit();
        let queued = 26 + served * 20;
        assert_eq!(world.engine.output(conn).unwrap().0.len(), queued, "limit {limit}");
        while world.engine.poll_touched().is_some() {}
        world.engine.flushed(conn, queued - limit - 1);
        assert_eq!(world.engine.output(conn).unwrap().0.len(), limit + 1, "still above");
        assert_eq!(world.engine.poll_touched(), None);
        world.engine.flushed(conn, 1);
        assert_eq!(world.engine.output(conn).unwrap().0.len(), limit + 20, "at the limit the next is served");
        assert_eq!(world.engine.poll_touched(), Some(conn), "and the loop hears of it");
    }
}

#[test]
fn what_came_with_a_request_that_has_to_wait_is_not_done_twice() {
    // The loop offers again what was not taken, and only that.
    let mut world = limited(|_| ());
    let conn = world.client();
    world.engine.set_log_budget(0);
    let mut bytes = Vec::new();
    for (xid, op) in [(1, OpCode::Exists), (2, OpCode::Create), (3, OpCode::Exists)] {
        let mut payload = Vec::new();
        encode(&RequestHeader { xid, op: op.to_i32() }, &mut payload);
        match op {
            OpCode::Create => encode(&create("/a", 0), &mut payload),
            _ => encode(&get("/a"), &mut payload),
        }
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&payload);
    }
    assert_eq!(world.offer(conn, &bytes), NextInput::Blocked);
    assert_eq!(world.frames(conn).len(), 1);
    assert_eq!(world.offer(conn, &[]), NextInput::Blocked);
    assert!(world.frames(conn).is_empty());
    world.engine.set_log_budget(u64::MAX);
    world.offer(conn, &[]);
    world.commit();
    let frames: Vec<(i32, ErrorCode)> =
        world.frames(conn).iter().map(|frame| (frame.header.xid, frame.code())).collect();
    assert_eq!(frames, [(2, ErrorCode::Ok), (3, ErrorCode::Ok)]);
}

#[test]
fn who_is_held_with_a_write_does_not_expire_though_nothing_is_offered_again() {
    // G-10, R-22: its pings are behind the write, and it is us who let it wait.
    let mut world = limited(|_| ());
    let (held, silent) = (world.client(), world.client());
    world.engine.set_log_budget(0);
    world.request(held, OpCode::Create, &create("/a", 0));
    for _ in 0..20 {
        world.now = world.now.plus(1000);
        world.engine.set_time(world.now, WallMillis(1_700_000_000_000));
        while world.engine.tick() {}
        for proposal in world.engine.poll_proposals().collect::<Vec<_>>() {
            world.engine.deliver(proposal.zxid, &proposal.txn).unwrap();
        }
    }
    assert!(world.is_closing(silent) && !world.is_closing(held));
    assert_eq!(world.engine.status().sessions_expired, 1);
}

#[test]
fn a_multi_needs_room_when_a_part_of_it_does() {
    // one that only deletes and checks makes room, and is taken from the reserve.
    let mut world = limited(|_| ());
    let conn = world.client();
    for path in ["/a", "/b", "/c"] {
        world.create(conn, path, 0);
    }
    let makes_room = multi(&[(OpCode::Delete, "/a"), (OpCode::Check, "/b")]);
    let grows = multi(&[(OpCode::Delete, "/b"), (OpCode::Create, "/d")]);
    let fails = multi(&[(OpCode::Delete, "/c"), (OpCode::Delete, "/nowhere")]);
    for room in [LogSpace::None, LogSpace::Reserve] {
        world.engine.set_log_space(room);
        let applied = world.engine.applied();
        assert_eq!(world.raw(conn, OpCode::Multi, &grows).code(), ErrorCode::QuotaExceeded, "{room:?}");
        assert_eq!(world.engine.applied(), applied, "the refusal takes no room");
        let frame = world.raw(conn, OpCode::Multi, &makes_room);
        match room {
            LogSpace::Reserve => {
                assert_eq!((frame.code(), decode_results(&frame.body).unwrap().len()), (ErrorCode::Ok, 2))
            }
            _ => assert_eq!(frame.code(), ErrorCode::QuotaExceeded),
        }
    }
    let frame = world.raw(conn, OpCode::Multi, &fails);
    let codes = [ErrorCode::Ok, ErrorCode::NoNode].map(|code| MultiResult::Error(code.to_i32()));
    assert_eq!(decode_results(&frame.body).unwrap(), codes);
    assert!(!world.exists(conn, "/a", false) && world.exists(conn, "/b", false) && world.exists(conn, "/c", false));
    // The memory for the tree is a limit of the same kind.
    world.engine.set_log_space(LogSpace::Plenty);
    world.engine.settings.limits.tree_size_max = world.engine.tree().memory_bytes();
    assert_eq!(world.raw(conn, OpCode::Multi, &grows).code(), ErrorCode::QuotaExceeded);
    assert_eq!(world.create(conn, "/d", 0).code(), ErrorCode::QuotaExceeded);
    assert_eq!(world.delete(conn, "/c").code(), ErrorCode::Ok);
}

#[test]
fn without_any_room_no_session_begins_and_those_that_are_there_go_on() {
    //
    let mut world = limited(|_| ());
    let conn = world.client();
    for (room, admitted) in [(LogSpace::Reserve, true), (LogSpace::None, false), (LogSpace::Plenty, true)] {
        world.engine.set_log_space(room);
        let newcomer = world.open();
        world.send(newcomer, &handshake(0, &[0; 16], 0));
        world.commit();
        assert_eq!(world.is_closing(newcomer), !admitted, "{room:?}");
        assert_eq!(world.bytes(newcomer).len(), if admitted { 41 } else { 0 }, "{room:?}");
        assert!(world.exists(conn, "/", false));
    }
}

#[test]
fn many_sessions_that_expire_at_once_do_so_in_slices() {
    // the loop looks at its sockets in between.
    let mut world = limited(|settings| settings.limits.sessions_burst = 10_000);
    for _ in 0..1300 {
        world.client();
    }
    world.now = world.now.plus(10_000);
    world.engine.set_time(world.now, WallMillis(1_700_000_010_000));
    let (mut slices, mut all) = (0, 0);
    loop {
        let is_more = world.engine.tick();
        let count = world.engine.poll_proposals().count();
        assert!(count <= 504, "{count} in one go");
        all += count;
        slices += 1;
        if !is_more {
            break;
        }
        assert!(count > 0 && slices < 1300, "it does not get on");
    }
    assert_eq!((all, world.engine.status().sessions_expired), (1300, 1300));
    assert!(slices >= 3, "{slices}");
}

#[test]
fn a_session_that_is_ended_while_a_multi_is_decided_takes_all_of_its_ephemerals_along() {
    // G-11, G-13: the multi had decided to delete one of them, and fails.
    let mut world = limited(|_| ());
    let (owner, other) = (world.client(), world.client());
    world.create(owner, "/e", 1);
    world.create(owner, "/f", 1);
    let session = world.session(owner);
    let mut parts = vec![(OpCode::Delete, "/e")];
    parts.extend(vec![(OpCode::Check, "/"); 8000]);
    parts.push((OpCode::Delete, "/nowhere"));
    let body = multi(&parts);
    world.xid += 1;
    let mut payload = Vec::new();
    encode(&RequestHeader { xid: world.xid, op: OpCode::Multi.to_i32() }, &mut payload);
    payload.extend_from_slice(&body);
    world.send(other, &payload);
    world.engine.go_on();
    assert!(world.engine.is_deciding() && !world.engine.has_proposals(), "in slices");
    assert!(world.engine.expire(session));
    world.commit();
    world.commit();
    let frame = world.frames(other).pop().expect("an answer");
    assert_eq!(decode_results(&frame.body).unwrap().len(), 8002);
    assert_eq!(world.engine.tree().ephemeral_count(), 0);
    assert!(world.engine.tree().lookup("/e").is_none() && world.engine.tree().lookup("/f").is_none());
    assert_eq!(world.create(other, "/e", 0).code(), ErrorCode::Ok);
    assert!(!world.engine.expire(session), "there is none of that id any more");
}

#[test]
fn a_server_that_skips_permissions_serves_and_tells_everybody() {
    let mut world = limited(|settings| settings.skip_acl = true);
    let (owner, other) = (world.client(), world.client());
    let login = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(b"u:p") };
    world.call(owner, OpCode::Auth, &login);
    let private = CreateRequest { acl: Some(vec![Acl::new(perms::ALL, "auth", "")]), ..create("/secret", 0) };
    assert_eq!(world.call(owner, OpCode::Create, &private).code(), ErrorCode::Ok);
    let watched = PathWatchRequest { path: "/secret".into(), watch: true };
    assert_eq!(world.call(other, OpCode::GetData, &watched).code(), ErrorCode::Ok);
    assert_eq!(world.set(owner, "/secret").code(), ErrorCode::Ok);
    assert_eq!(world.events(other), [(EventType::DataChanged, "/secret".into())]);
    assert_eq!(world.set(other, "/secret").code(), ErrorCode::Ok);
    assert_eq!(world.delete(other, "/secret").code(), ErrorCode::Ok);
}

#[test]
fn who_may_not_read_a_znode_does_not_learn_at_its_return_that_it_exists() {
    // SC-67
    let mut world = limited(|_| ());
    let (owner, other) = (world.client(), world.client());
    let login = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(b"u:p") };
    world.call(owner, OpCode::Auth, &login);
    let private = CreateRequest { acl: Some(vec![Acl::new(perms::ALL, "auth", "")]), ..create("/secret", 0) };
    world.call(owner, OpCode::Create, &private);
    let all = |paths: &[&'static str]| SetWatchesRequest {
        relative_zxid: 0,
        data: paths.iter().map(|path| (*path).into()).collect(),
        exist: paths.iter().map(|path| (*path).into()).collect(),
        child: paths.iter().map(|path| (*path).into()).collect(),
    };
    world.request(other, OpCode::SetWatches, &all(&["/secret"]));
    let frames = world.frames(other);
    assert_eq!((frames.len(), frames[0].code()), (1, ErrorCode::Ok), "no event");
    world.request(owner, OpCode::SetWatches, &all(&["/secret"]));
    assert_eq!(world.frames(owner).len(), 4, "who may read it hears of it");
}

#[test]
fn an_acl_may_have_exactly_as_many_entries_as_the_limit_says() {
    // also when `auth` stands for several.
    let mut world = limited(|settings| settings.limits.acl_entries_max = 3);
    let conn = world.client();
    let acl = |count: i32| (0..count).map(|i| Acl::new(i + 1, "world", "anyone")).collect::<Vec<_>>();
    for (count, code) in [(3, ErrorCode::Ok), (4, ErrorCode::InvalidAcl)] {
        let request = CreateRequest { acl: Some(acl(count)), ..create("/a", 0) };
        assert_eq!(world.call(conn, OpCode::Create, &request).code(), code, "{count}");
    }
    for (number, code) in [(1, ErrorCode::Ok), (2, ErrorCode::Ok), (3, ErrorCode::InvalidAcl)] {
        let credentials = format!("u{number}:p");
        let login = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(credentials.as_bytes()) };
        assert_eq!(world.call(conn, OpCode::Auth, &login).code(), ErrorCode::Ok);
        let path = format!("/auth{number}");
        let request = CreateRequest { acl: Some(vec![Acl::new(perms::ALL, "auth", "")]), ..create(&path, 0) };
        // The address counts as one of them.
        assert_eq!(world.call(conn, OpCode::Create, &request).code(), code, "{number} and the address");
    }
}

#[test]
fn watches_of_all_connections_have_a_limit_in_number() {
    //
    let mut world = limited(|settings| {
        (settings.limits.watches_per_connection_max, settings.limits.watches_max) = (3, 4);
    });
    let (a, b) = (world.client(), world.client());
    let code = |world: &mut World, conn, path: &str| {
        world.call(conn, OpCode::Exists, &PathWatchRequest { path: path.into(), watch: true }).code()
    };
    for path in ["/1", "/2", "/3"] {
        assert_eq!(code(&mut world, a, path), ErrorCode::NoNode);
    }
    assert_eq!(code(&mut world, a, "/4"), ErrorCode::ThrottledOp, "one connection has three");
    let two = SetWatchesRequest {
        relative_zxid: 0,
        data: Vec::new(),
        exist: vec!["/1".into(), "/2".into()],
        child: Vec::new(),
    };
    assert_eq!(world.call(b, OpCode::SetWatches, &two).code(), ErrorCode::ThrottledOp, "all have four");
    assert_eq!(code(&mut world, b, "/1"), ErrorCode::NoNode);
    assert_eq!(code(&mut world, b, "/2"), ErrorCode::ThrottledOp);
    assert_eq!(world.engine.status().watches, 4);
}

#[test]
fn the_limit_of_a_list_is_exact() {
    //
    let mut world = limited(|_| ());
    let conn = world.client();
    for path in ["/p", "/p/one", "/p/two", "/p/three"] {
        world.create(conn, path, 0);
    }
    let whole = world.call(conn, OpCode::GetChildren, &get("/p")).body.len();
    let data = {
        let mut body = Vec::new();
        for path in ["/p", "/p/one"] {
            encode(&MultiHeader::request(OpCode::GetData), &mut body);
            encode(&get(path), &mut body);
        }
        encode(&MultiHeader::END, &mut body);
        body
    };
    // Of a multiRead the length and the header count, the mark of its end does not.
    let results = 20 + world.raw(conn, OpCode::MultiRead, &data).body.len() - 9;
    for (limit, code) in [(whole, ErrorCode::Ok), (whole - 1, ErrorCode::MarshallingError)] {
        world.engine.settings.limits.reply_size_max = limit;
        assert_eq!(world.call(conn, OpCode::GetChildren, &get("/p")).code(), code, "{limit} of {whole}");
    }
    for (limit, code) in [(results, ErrorCode::Ok), (results - 21, ErrorCode::MarshallingError)] {
        world.engine.settings.limits.reply_size_max = limit;
        assert_eq!(world.raw(conn, OpCode::MultiRead, &data).code(), code, "{limit} of {results}");
    }
}

#[test]
fn who_waits_with_a_write_is_told_of_room_once_and_not_while_there_is_none() {
    // The loop would turn round for nothing.
    let mut world = limited(|_| ());
    let conn = world.client();
    while world.engine.poll_touched().is_some() {}
    for _ in 0..3 {
        world.engine.set_log_budget(0);
        world.request(conn, OpCode::Create, &create("/a", 0));
        assert_eq!((world.engine.poll_touched(), world.engine.held_count()), (None, 1));
    }
    world.engine.set_log_budget(1);
    assert_eq!((world.engine.poll_touched(), world.engine.held_count()), (Some(conn), 0));
    assert_eq!(world.engine.poll_touched(), None);
}

#[test]
fn the_end_of_a_session_lists_its_ephemerals_up_to_a_number_and_as_far_as_a_frame_may_go() {
    // G-11: with a list or without one everything goes; other servers take no list that is longer than a frame.
    for (count, frame_size_max, is_listed) in
        [(256, 1 << 20, true), (257, 1 << 20, false), (100, 100 * (4 + 6), true), (100, 100 * (4 + 6) - 1, false)]
    {
        let mut world = limited(|settings| settings.limits.frame_size_max = frame_size_max);
        let (conn, other) = (world.client(), world.client());
        for number in 0..count {
            assert_eq!(world.create(conn, &format!("/e{number:04}"), 1).code(), ErrorCode::Ok);
        }
        world.request(conn, OpCode::CloseSession, &());
        let txn = world.engine.proposals()[0].txn.clone();
        let (_, txn, _) = crate::records::txn::decode_txn(&txn).unwrap();
        let listed = match txn {
            crate::records::txn::Txn::CloseSession(list) => list.map(|list| list.paths.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!(listed, is_listed.then_some(count), "{count} of 6 bytes, frames of {frame_size_max}");
        world.commit();
        assert_eq!(world.engine.tree().ephemeral_count(), 0);
        assert!(!world.exists(other, "/e0000", false));
    }
}
