//! Attacks by requests that need no right, and what each costs between two looks at the clock, in steps. Nothing is
//! refused and nothing is left out: whoever comes next sees the right answer.

use super::*;
use crate::jute::Text;
use crate::records::multi::{MultiHeader, MultiResult, decode_results};

/// No request takes more steps than this before the loop looks at its clock: a slice of 16,000 units, each at most eight
/// entries of an ACL or four looks at memory, and the last operation of it. A step is 5 to 30 ns.
const STEPS_MAX: u64 = 150_000;

fn world() -> World {
    World::with(EngineSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        session_timeout_max_ms: 3_600_000,
        enforce_quota: true,
        ..EngineSettings::default()
    })
}

/// The body of a multi or multiRead.
fn multi(parts: impl IntoIterator<Item = (OpCode, Vec<u8>)>) -> Vec<u8> {
    let mut body = Vec::new();
    for (op, part) in parts {
        encode(&MultiHeader::request(op), &mut body);
        body.extend_from_slice(&part);
    }
    encode(&MultiHeader::END, &mut body);
    assert!(body.len() < EngineLimits::default().frame_size_max, "{} bytes", body.len());
    body
}

fn bytes(record: &impl serde::Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    encode(record, &mut out);
    out
}

fn creating(path: &str, flags: i32) -> (OpCode, Vec<u8>) {
    (OpCode::Create, bytes(&create(path, flags)))
}

fn deleting(path: &str) -> (OpCode, Vec<u8>) {
    (OpCode::Delete, bytes(&PathVersionRequest { path: path.into(), version: -1 }))
}

fn checking(path: &str) -> (OpCode, Vec<u8>) {
    (OpCode::Check, bytes(&PathVersionRequest { path: path.into(), version: -1 }))
}

fn getting(path: &str) -> (OpCode, Vec<u8>) {
    (OpCode::GetData, bytes(&PathWatchRequest { path: path.into(), watch: false }))
}

impl World {
    fn multi(&mut self, conn: ConnId, parts: impl IntoIterator<Item = (OpCode, Vec<u8>)>) -> Vec<u8> {
        let frame = self.raw(conn, OpCode::Multi, &multi(parts));
        assert_eq!(frame.code(), ErrorCode::Ok);
        frame.body
    }

    /// Children `/parent/0` and so on, many in a multi.
    fn fill(&mut self, conn: ConnId, parent: &str, count: usize, flags: i32) {
        self.create(conn, parent, 0);
        for from in (0..count).step_by(10_000) {
            let paths = (from..count.min(from + 10_000)).map(|i| format!("{parent}/{i}"));
            self.multi(conn, paths.map(|path| creating(&path, flags)));
        }
    }

    fn put(&mut self, conn: ConnId, path: &str, data: &[u8]) {
        let acl = Some(vec![Acl::open()]);
        let request = CreateRequest { path: path.into(), data: Buffer::new(data), acl, flags: 0 };
        assert_eq!(self.call(conn, OpCode::Create, &request).code(), ErrorCode::Ok, "{path}");
    }

    fn set_to(&mut self, conn: ConnId, path: &str, data: &[u8]) {
        let request = SetDataRequest { path: path.into(), data: Buffer::new(data), version: -1 };
        assert_eq!(self.call(conn, OpCode::SetData, &request).code(), ErrorCode::Ok, "{path}");
    }

    /// Holds everything since the last call to the bound.
    fn within_the_bound(&mut self, attack: &str) {
        assert!(self.worst <= STEPS_MAX, "{attack}: {} steps without a look at the clock", self.worst);
        assert_eq!(self.engine.state.tree.check(), Ok(()), "{attack}");
        eprintln!("{attack}: at most {} steps at a time", self.worst);
        self.worst = 0;
    }
}

#[test]
fn a_multi_of_statistics_above_many_znodes() {
    let mut world = world();
    let conn = world.client();
    world.fill(conn, "/big", 30_000, 0);
    world.put(conn, "/zookeeper/quota/big", b"");
    world.put(conn, "/zookeeper/quota/big/zookeeper_limits", b"count=1,bytes=1");
    world.within_the_bound("30,000 creates in multis of 10,000");
    let stats = "/zookeeper/quota/big/zookeeper_stats";
    world.multi(conn, (0..5000).flat_map(|_| [creating(stats, 0), deleting(stats)]));
    world.within_the_bound("5,000 times statistics above 30,000 znodes");
}

#[test]
fn a_long_text_in_the_statistics_and_limits_of_a_quota() {
    let mut world = world();
    let conn = world.client();
    for path in ["/q", "/zookeeper/quota/q"] {
        world.put(conn, path, b"");
    }
    world.put(conn, "/zookeeper/quota/q/zookeeper_limits", b"count=1");
    world.put(conn, "/zookeeper/quota/q/zookeeper_stats", b"");
    let text: String = (0..80_000).map(|key| format!("k{key}=1;")).collect();
    for name in ["limits", "stats"] {
        world.set_to(conn, &format!("/zookeeper/quota/q/zookeeper_{name}"), text.as_bytes());
    }
    world.multi(conn, (0..10_000).map(|i| creating(&format!("/q/{i}"), 0)));
    world.within_the_bound("10,000 creates below a quota of 800 KB");
    let data = world.call(
        conn,
        OpCode::GetData,
        &PathWatchRequest { path: "/zookeeper/quota/q/zookeeper_stats".into(), watch: false },
    );
    let reply: DataReply<'_> = decode(&data.body).unwrap();
    assert!(reply.data.0.unwrap().starts_with(b"count=9999,bytes=9999=;k0=1"));
}

/// `/a`, which a thousand addresses may use; that of the client is the last of them.
fn creates_for_a_thousand_addresses(world: &mut World, conn: ConnId) {
    let addresses: Vec<String> = (0..999).map(|i| format!("10.0.{}.{}/32", i / 256, i % 256)).collect();
    let mut acl: Vec<_> = addresses.iter().map(|address| Acl::new(31, "ip", address)).collect();
    acl.push(Acl::new(31, "ip", "127.0.0.1"));
    let request = CreateRequest { path: "/a".into(), data: Buffer::new(b"x"), acl: Some(acl), flags: 0 };
    assert_eq!(world.call(conn, OpCode::Create, &request).code(), ErrorCode::Ok);
}

#[test]
fn reads_and_checks_of_a_znode_with_a_thousand_addresses() {
    let mut world = world();
    let conn = world.client();
    creates_for_a_thousand_addresses(&mut world, conn);
    let frame = world.raw(conn, OpCode::MultiRead, &multi((0..10_000).map(|_| getting("/a"))));
    assert_eq!((frame.code(), decode_results(&frame.body).unwrap().len()), (ErrorCode::Ok, 10_000));
    world.within_the_bound("a multiRead of 10,000");
    let results = world.multi(conn, (0..10_000).map(|_| checking("/a")));
    assert_eq!(decode_results(&results).unwrap(), vec![MultiResult::Done(OpCode::Check); 10_000]);
    world.within_the_bound("10,000 checks");
    for _ in 0..200 {
        world.request(conn, OpCode::GetData, &PathWatchRequest { path: "/a".into(), watch: false });
    }
    world.commit();
    assert_eq!(world.frames(conn).len(), 200);
    world.within_the_bound("200 reads");
}

#[test]
fn the_end_of_a_session_with_many_ephemerals() {
    // G-11, G-13: nobody sees some of them gone and some not.
    let mut world = world();
    let (owner, other, third) = (world.client(), world.client(), world.client());
    world.fill(owner, "/e", 20_000, 1);
    world.exists(third, "/e/19999", true);
    world.worst = 0;
    world.request(owner, OpCode::CloseSession, &());
    // What comes behind it waits; it is decided against what is left.
    world.request(other, OpCode::Delete, &PathVersionRequest { path: "/e".into(), version: -1 });
    let proposals: Vec<Proposal> = world.engine.poll_proposals().collect();
    assert_eq!(proposals.len(), 1, "the delete waits");
    assert!(proposals[0].txn.len() < 100, "nothing is listed");
    world.measured(|engine| engine.deliver_begin(proposals[0].zxid, &proposals[0].txn)).unwrap();
    world.request(third, OpCode::Exists, &PathWatchRequest { path: "/e".into(), watch: false });
    let mut slices = 0;
    while world.engine.is_applying() {
        world.measured(Engine::go_on);
        assert!(world.frames(third).is_empty(), "somebody sees half of it");
        assert!(world.engine.read_shared(other, OpCode::Exists, "/e", &mut Vec::new()).is_none());
        world.measured(Engine::apply_slice).unwrap();
        slices += 1;
    }
    assert!(slices > 3, "{slices} slices");
    world.commit();
    world.commit();
    let frames = world.frames(third);
    assert_eq!(frames[0].event(), (EventType::Deleted, "/e/19999".to_owned()));
    assert_eq!(frames[1].code(), ErrorCode::Ok);
    assert_eq!(world.frames(other).iter().map(Frame::code).collect::<Vec<_>>(), [ErrorCode::Ok]);
    assert!(!world.exists(third, "/e", false));
    world.within_the_bound("20,000 ephemerals");
    assert_eq!(world.engine.status().ephemerals, 0);
}

#[test]
fn counting_descendants_of_many_znodes() {
    let mut world = world();
    let conn = world.client();
    world.fill(conn, "/big", 30_000, 0);
    world.worst = 0;
    for _ in 0..64 {
        world.request(conn, OpCode::GetAllChildrenNumber, &PathRequest { path: "/big".into() });
    }
    let frames = world.frames(conn);
    assert_eq!(frames.len(), 64);
    assert_eq!(decode::<NumberReply>(&frames[63].body).unwrap().total, 30_000);
    world.within_the_bound("64 counts of 30,000");
}

#[test]
fn lists_of_many_children_and_ephemerals() {
    let mut world = world();
    let conn = world.client();
    world.fill(conn, "/big", 30_000, 1);
    world.worst = 0;
    for op in [OpCode::GetChildren, OpCode::GetChildren2] {
        let frame = world.call(conn, op, &PathWatchRequest { path: "/big".into(), watch: true });
        let names: Vec<Text<'_>> = crate::jute::Decoder::new(&frame.body).read().unwrap();
        assert_eq!((frame.code(), names.len()), (ErrorCode::Ok, 30_000));
        assert_eq!((names[0].as_str(), names[29_999].as_str()), ("0", "29999"));
    }
    let frame = world.call(conn, OpCode::GetEphemerals, &PathRequest { path: "/big/1".into() });
    assert_eq!(decode::<Vec<Text<'_>>>(&frame.body).unwrap().len(), 11_111);
    world.within_the_bound("lists of 30,000");
    assert_eq!(world.engine.status().watches, 1);
}

#[test]
fn setting_a_hundred_thousand_watches() {
    let mut world = world();
    let conn = world.client();
    world.fill(conn, "/w", 20_000, 0);
    world.worst = 0;
    let paths: Vec<String> = (0..60_000).map(|i| format!("/w/{i}")).collect();
    let texts = |range: std::ops::Range<usize>| paths[range].iter().map(|path| path.as_str().into()).collect();
    let request = SetWatchesRequest {
        relative_zxid: i64::MAX,
        data: texts(0..15_000),
        exist: texts(20_000..60_000),
        child: texts(15_000..25_000),
    };
    world.request(conn, OpCode::SetWatches, &request);
    world.request(conn, OpCode::Ping, &());
    assert!(world.frames(conn).is_empty(), "the order of the connection is kept");
    world.commit();
    let frames = world.frames(conn);
    // What is not there any more is told first.
    assert_eq!(frames.len(), 5000 + 2);
    assert_eq!(frames[5000].code(), ErrorCode::Ok);
    assert_eq!(world.engine.status().watches, 60_000);
    world.within_the_bound("setWatches of 65,000");
    // And their events, by one transaction.
    world.multi(conn, (20_000..35_000).map(|i| creating(&format!("/w/{i}"), 0)));
    world.within_the_bound("15,000 events");
}

#[test]
fn a_multi_of_more_than_ten_thousand_operations() {
    // Bounded by its bytes alone; Curator's own suite sends one of this size.
    let mut world = world();
    let conn = world.client();
    let results = world.multi(conn, (0..10_001).map(|i| creating(&format!("/{i}"), 0)));
    let results = decode_results(&results).unwrap();
    assert_eq!(results.len(), 10_001);
    assert!(matches!(&results[10_000], MultiResult::Path(path) if path.path.as_str() == "/10000"));
    world.within_the_bound("10,001 creates");
    world.multi(conn, (0..45_000).map(|_| checking("/0")));
    world.within_the_bound("45,000 checks");
    let parts = (0..10_001).map(|i| creating(&format!("/x{i}"), 0)).chain([deleting("/nowhere")]);
    let results = world.multi(conn, parts);
    assert_eq!(decode_results(&results).unwrap()[10_001], MultiResult::Error(ErrorCode::NoNode.to_i32()));
    assert!(!world.exists(conn, "/x0", false));
    world.within_the_bound("10,001 creates that are taken back");
}

#[test]
fn a_write_waits_for_the_multi_that_is_decided_and_a_read_does_not() {
    let mut world = world();
    let (conn, other, reader) = (world.client(), world.client(), world.client());
    let body = multi((0..10_000).map(|i| creating(&format!("/{i}"), 0)));
    let mut payload = bytes(&RequestHeader { xid: 1, op: OpCode::Multi.to_i32() });
    payload.extend_from_slice(&body);
    world.send(conn, &payload);
    world.engine.go_on();
    assert!(!world.engine.has_proposals(), "it takes more than one slice");
    world.request(conn, OpCode::Exists, &PathWatchRequest { path: "/5".into(), watch: false });
    world.request(other, OpCode::Create, &create("/0", 0));
    assert!(!world.engine.has_proposals());
    world.request(reader, OpCode::Exists, &PathWatchRequest { path: "/0".into(), watch: false });
    assert_eq!(world.frames(reader)[0].code(), ErrorCode::NoNode);
    world.commit();
    world.commit();
    let frames = world.frames(conn);
    assert_eq!(frames.iter().map(Frame::code).collect::<Vec<_>>(), [ErrorCode::Ok; 2]);
    assert_eq!(world.frames(other)[0].code(), ErrorCode::NodeExists, "it is decided behind the multi");
}

#[test]
fn what_is_half_decided_can_be_taken_back() {
    let mut world = world();
    let (conn, other) = (world.client(), world.client());
    let body = multi((0..10_000).map(|i| creating(&format!("/{i}"), 0)));
    let mut payload = bytes(&RequestHeader { xid: 1, op: OpCode::Multi.to_i32() });
    payload.extend_from_slice(&body);
    // Its client goes away.
    world.send(conn, &payload);
    world.engine.go_on();
    world.engine.closed(conn);
    world.inputs.remove(&conn);
    world.commit();
    assert!(!world.exists(other, "/0", false));
    assert_eq!(world.create(other, "/0", 0).code(), ErrorCode::Ok);
    world.delete(other, "/0");
    // What it stands behind is abandoned: it begins anew.
    let conn = world.client();
    world.send(conn, &payload);
    world.engine.go_on();
    world.engine.abandon_proposals();
    world.commit();
    let frames = world.frames(conn);
    assert_eq!(decode_results(&frames[0].body).unwrap().len(), 10_000);
    assert_eq!(world.engine.state.tree.check(), Ok(()));
}

#[test]
fn a_multi_that_begins_anew_counts_on_nothing_that_was_taken_back() {
    // G-13, G-14: its later operations stand on its first.
    let mut world = world();
    let (conn, other) = (world.client(), world.client());
    world.request(other, OpCode::Create, &create("/lost", 0));
    let mut payload = bytes(&RequestHeader { xid: 1, op: OpCode::Multi.to_i32() });
    let children = (0..5000).map(|i| creating(&format!("/p/{i}"), 0));
    payload.extend(multi([creating("/p", 0)].into_iter().chain(children)));
    world.send(conn, &payload);
    world.engine.go_on();
    assert_eq!(world.engine.proposals().len(), 1, "the multi is half decided");
    world.engine.abandon_proposals();
    world.commit();
    assert!(world.is_closing(other));
    let frames = world.frames(conn);
    let results = decode_results(&frames[0].body).unwrap();
    assert!(results.iter().all(|result| !matches!(result, MultiResult::Error(_))));
    assert!(world.exists(conn, "/p/4999", false) && !world.exists(conn, "/lost", false));
}

#[test]
fn many_sessions_that_expire_while_much_is_not_applied_yet() {
    // the end of each looks at all that is decided.
    let mut world = world();
    let conn = world.client();
    for _ in 0..100 {
        world.client();
    }
    let mut payload = bytes(&RequestHeader { xid: 1, op: OpCode::Multi.to_i32() });
    payload.extend(multi((0..3900).map(|i| creating(&format!("/{i}"), 0))));
    world.send(conn, &payload);
    while !world.engine.has_proposals() {
        world.engine.go_on();
    }
    world.worst = 0;
    world.engine.set_time(Millis(60_000), WallMillis(1_700_000_060_000));
    while world.measured(Engine::tick) {}
    world.within_the_bound("101 sessions that expire");
    world.commit();
    assert_eq!(world.engine.status().sessions, 0);
}

#[test]
fn reads_that_come_at_once_of_a_znode_with_a_thousand_addresses() {
    // in one piece, and behind a write.
    let mut world = world();
    let conn = world.client();
    creates_for_a_thousand_addresses(&mut world, conn);
    let mut piece = Vec::new();
    for xid in 1..=400 {
        let mut payload = bytes(&RequestHeader { xid, op: OpCode::GetData.to_i32() });
        encode(&PathWatchRequest { path: "/a".into(), watch: false }, &mut payload);
        piece.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        piece.extend_from_slice(&payload);
    }
    world.worst = 0;
    while world.offer(conn, &std::mem::take(&mut piece)) == NextInput::Yield {}
    assert_eq!(world.frames(conn).len(), 400);
    world.within_the_bound("400 reads in one piece");
    world.request(conn, OpCode::SetData, &SetDataRequest { path: "/a".into(), data: Buffer::new(b"y"), version: -1 });
    for _ in 0..400 {
        world.request(conn, OpCode::GetData, &PathWatchRequest { path: "/a".into(), watch: false });
    }
    world.commit();
    assert_eq!(world.frames(conn).len(), 401);
    world.within_the_bound("400 reads behind a write");
}
