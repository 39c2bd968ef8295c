//! In how many turns a long reply is made: what it costs decides, so that others have theirs in between.

use super::*;
use crate::jute::Text;
use crate::records::Id;
use crate::records::multi::MultiHeader;
use crate::records::requests::SetWatchesRequest;

/// A member with the znodes `/p/0000` and so on, whose list of rights has so many entries; ephemeral ones, perhaps.
fn world_of(count: usize, rights: usize, flags: i32) -> (World, ConnId) {
    let mut world = World::with(EngineSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        session_timeout_max_ms: 3_600_000,
        ..EngineSettings::default()
    });
    let conn = world.client();
    world.create(conn, "/p", 0);
    let ips: Vec<String> = (1..rights).map(|number| format!("10.0.0.{number}")).collect();
    fn of_ip(ip: &str) -> Acl<'_> {
        Acl { perms: 31, id: Id { scheme: "ip".into(), id: ip.into() } }
    }
    let acl: Vec<Acl<'_>> = match rights {
        0 => vec![Acl::open()],
        _ => ips.iter().map(String::as_str).chain(["127.0.0.1"]).map(of_ip).collect(),
    };
    let mut body = Vec::new();
    for number in 0..count {
        encode(&MultiHeader::request(OpCode::Create), &mut body);
        let path = format!("/p/{number:04}");
        let request =
            CreateRequest { path: path.as_str().into(), data: Buffer::new(b""), acl: Some(acl.clone()), flags };
        encode(&request, &mut body);
        if body.len() > 500_000 || number + 1 == count {
            encode(&MultiHeader::END, &mut body);
            assert_eq!(world.raw(conn, OpCode::Multi, &body).code(), ErrorCode::Ok);
            body.clear();
        }
    }
    (world, conn)
}

impl World {
    /// In how many turns this is answered, and with how many bytes.
    fn turns(&mut self, conn: ConnId, op: OpCode, body: &[u8]) -> (usize, usize) {
        self.xid += 1;
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: self.xid, op: op.to_i32() }, &mut payload);
        payload.extend_from_slice(body);
        self.send(conn, &payload);
        let mut turns = 0;
        loop {
            if let Some(frame) = self.frames(conn).pop() {
                assert_eq!(frame.code(), ErrorCode::Ok, "{op}");
                return (turns, frame.body.len());
            }
            assert!(turns < 200, "{op} is never answered");
            self.engine.go_on();
            turns += 1;
        }
    }
}

fn bytes(record: &impl serde::Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    encode(record, &mut out);
    out
}

#[test]
fn a_list_of_children_or_ephemerals_takes_the_turns_that_it_costs() {
    // 2 for a child, 4 for the path of an ephemeral: of 16,000 in a turn.
    let (mut world, conn) = world_of(7000, 0, 1);
    let all = bytes(&PathWatchRequest { path: "/p".into(), watch: false });
    assert_eq!(world.turns(conn, OpCode::GetChildren, &all).0, 1);
    let ephemerals = bytes(&PathRequest { path: "/".into() });
    assert_eq!(world.turns(conn, OpCode::GetEphemerals, &ephemerals).0, 2);
    let (mut world, conn) = world_of(9000, 0, 1);
    assert_eq!(world.turns(conn, OpCode::GetChildren, &all).0, 2);
    assert_eq!(world.turns(conn, OpCode::GetEphemerals, &ephemerals).0, 3);
}

#[test]
fn a_list_that_is_as_long_as_a_reply_may_be_is_sent_and_a_longer_one_is_not() {
    //
    let (mut world, conn) = world_of(2500, 0, 1);
    let (all, ephemerals) =
        (bytes(&PathWatchRequest { path: "/p".into(), watch: false }), bytes(&PathRequest { path: "/".into() }));
    for (op, body) in [(OpCode::GetChildren, &all), (OpCode::GetEphemerals, &ephemerals)] {
        let (_, length) = world.turns(conn, op, body);
        let mut fits = |limit: usize| {
            world.engine.settings.limits.reply_size_max = limit;
            let frame = world.raw(conn, op, body);
            world.engine.settings.limits.reply_size_max = usize::MAX;
            frame.code() == ErrorCode::Ok
        };
        let least = (length - 8..length + 64).find(|limit| fits(*limit)).expect("some limit is enough");
        assert_eq!(least, 20 + length, "{op}: with its header");
    }
}

#[test]
fn watches_that_are_set_again_take_the_turns_that_their_paths_and_rights_cost() {
    // 7 for a path, and an eighth of the entries of a list that is not open.
    let watches = |count: usize| {
        let paths: Vec<String> = (0..count).map(|number| format!("/p/{number:04}")).collect();
        let data: Vec<Text<'_>> = paths.iter().map(|path| path.as_str().into()).collect();
        bytes(&SetWatchesRequest { relative_zxid: 1 << 40, data, exist: Vec::new(), child: Vec::new() })
    };
    let (mut world, conn) = world_of(3000, 0, 0);
    assert_eq!(world.turns(conn, OpCode::SetWatches, &watches(2200)).0, 1);
    assert_eq!(world.turns(conn, OpCode::SetWatches, &watches(3000)).0, 2);
    let (mut world, conn) = world_of(1000, 79, 0);
    assert_eq!(world.turns(conn, OpCode::SetWatches, &watches(900)).0, 1);
    assert_eq!(world.turns(conn, OpCode::SetWatches, &watches(1000)).0, 2);
}

#[test]
fn a_read_of_many_takes_the_turns_that_its_parts_cost() {
    // 8 for a part, a sixteenth of its bytes, and an eighth of the entries of a list that is not open.
    let reads = |count: usize| {
        let mut body = Vec::new();
        for number in 0..count {
            encode(&MultiHeader::request(OpCode::GetData), &mut body);
            encode(&PathWatchRequest { path: format!("/p/{number:04}").as_str().into(), watch: false }, &mut body);
        }
        encode(&MultiHeader::END, &mut body);
        body
    };
    let (mut world, conn) = world_of(1800, 0, 0);
    assert_eq!(world.turns(conn, OpCode::MultiRead, &reads(1500)).0, 1);
    assert_eq!(world.turns(conn, OpCode::MultiRead, &reads(1800)).0, 2);
}

#[test]
fn a_multi_of_much_data_is_decided_in_the_turns_that_its_bytes_cost() {
    // A sixteenth of its bytes, beside what each part costs.
    let (mut world, conn) = world_of(1, 0, 0);
    let mut decided_in = |size: usize| {
        let mut body = Vec::new();
        let data = vec![7; size];
        for _ in 0..150 {
            encode(&MultiHeader::request(OpCode::SetData), &mut body);
            let request = SetDataRequest { path: "/p/0000".into(), data: Buffer::new(&data), version: -1 };
            encode(&request, &mut body);
        }
        encode(&MultiHeader::END, &mut body);
        world.xid += 1;
        let mut payload = bytes(&RequestHeader { xid: world.xid, op: OpCode::Multi.to_i32() });
        payload.extend_from_slice(&body);
        world.send(conn, &payload);
        let mut turns = 0;
        while !world.engine.has_proposals() {
            world.engine.go_on();
            turns += 1;
            assert!(turns < 200, "it is never decided");
        }
        world.commit();
        assert_eq!(world.frames(conn).pop().map(|frame| frame.code()), Some(ErrorCode::Ok));
        turns
    };
    assert_eq!((decided_in(10), decided_in(4000)), (0, 3));
}

#[test]
fn a_transaction_waits_for_a_reply_that_shows_a_state_and_not_for_watches_that_are_set_again() {
    // the reply to `setWatches` has no body, and its header names what is applied by then.
    let (mut world, conn) = world_of(3000, 0, 0);
    let other = world.client();
    let paths: Vec<String> = (0..3000).map(|number| format!("/p/{number:04}")).collect();
    let data: Vec<Text<'_>> = paths.iter().map(|path| path.as_str().into()).collect();
    let watches = bytes(&SetWatchesRequest { relative_zxid: 1 << 40, data, exist: Vec::new(), child: Vec::new() });
    let mut reads = Vec::new();
    for path in &paths {
        encode(&MultiHeader::request(OpCode::GetData), &mut reads);
        encode(&PathWatchRequest { path: path.as_str().into(), watch: false }, &mut reads);
    }
    encode(&MultiHeader::END, &mut reads);
    for (op, body, waits) in [(OpCode::MultiRead, reads, true), (OpCode::SetWatches, watches, false)] {
        world.request(
            other,
            OpCode::SetData,
            &SetDataRequest { path: "/p".into(), data: Buffer::new(b"x"), version: -1 },
        );
        world.xid += 1;
        let mut payload = bytes(&RequestHeader { xid: world.xid, op: op.to_i32() });
        payload.extend_from_slice(&body);
        world.send(conn, &payload);
        world.engine.go_on();
        assert!(world.engine.has_work(), "{op} is under way");
        assert_eq!(world.engine.is_busy(), waits, "{op}");
        let before = world.engine.applied();
        if !waits {
            let proposals: Vec<Proposal> = world.engine.poll_proposals().collect();
            proposals.iter().for_each(|proposal| world.engine.deliver(proposal.zxid, &proposal.txn).unwrap());
        }
        world.commit();
        let frame = world.frames(conn).pop().unwrap();
        assert_eq!((frame.code(), frame.header.zxid == before.0), (ErrorCode::Ok, waits), "{op}");
        assert_eq!(world.frames(other).len(), 1);
    }
}
