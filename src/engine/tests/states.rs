//! A state told to another server and heard by it: everything is equal afterwards, and a broken stream leaves nothing.

use super::*;
use crate::failpoint::{self, Failpoint};
use crate::records::javasnap::{
    StatPersisted, put_acl, put_count, put_end_of_znodes, put_session, put_signature, put_znode,
};
use crate::records::txn::{CreateTxn, SetDataTxn, Txn, TxnHeader, encode_txn};
use crate::tree::{NodeId, Owner, Walked};

/// Everything about every znode, and every session, as text.
fn picture(engine: &Engine) -> Vec<String> {
    let tree = &engine.state.tree;
    tree.check().unwrap();
    let mut lines = vec![format!("applied {}", engine.applied())];
    lines.extend(engine.state.sessions.sorted().iter().map(|(id, session)| format!("{id} {}", session.timeout_ms)));
    lines.extend(tree.ephemeral_owners().map(|(id, count)| format!("{count} of {id}")));
    lines.push(format!("goes {:?}", tree.reapable(WallMillis(i64::MAX), usize::MAX, 1)));
    lines.push(format!("{} lists, {} bytes", tree.acl_count(), tree.approximate_data_size()));
    let mut waiting = vec![NodeId::ROOT];
    while let Some(id) = waiting.pop() {
        lines.push(format!("{} {:?} {:?}", tree.path(id), tree.data(id), tree.view(id)));
        let mut below: Vec<NodeId> = tree.child_ids(id).collect();
        below.reverse();
        waiting.extend(below);
    }
    lines
}

fn create_with<'p>(path: &'p str, acl: Vec<Acl<'static>>, data: Buffer<'static>, flags: i32) -> CreateRequest<'p> {
    CreateRequest { path: path.into(), data, acl: Some(acl), flags }
}

/// A state with one of everything.
fn rich() -> World {
    let settings = EngineSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        extended_types: true,
        ..EngineSettings::default()
    };
    let mut world = World::with(settings);
    let (one, two) = (world.client(), world.client());
    let _three = world.client();
    let open = || vec![Acl::open()];
    for path in ["/a", "/a/b", "/a/b/c", "/a/b2", "/a/é", "/z", "/gone", "/a/gone"] {
        assert_eq!(world.create(one, path, 0).code(), ErrorCode::Ok);
    }
    for path in ["/a/gone", "/gone"] {
        assert_eq!(world.delete(one, path).code(), ErrorCode::Ok);
    }
    world.set(two, "/a/b");
    world.create(one, "/a/s-", 2);
    world.create(one, "/e1", 1);
    world.create(two, "/a/e2", 1);
    world.create(two, "/a/e3-", 3);
    // Containers, with and without children in their past, and times to live.
    let container = |path: &'static str| create_with(path, open(), Buffer::new(b""), 4);
    for path in ["/c1", "/c2"] {
        assert_eq!(world.call(one, OpCode::CreateContainer, &container(path)).code(), ErrorCode::Ok);
    }
    world.create(one, "/c2/x", 0);
    world.delete(one, "/c2/x");
    let ttl = CreateTtlRequest { create: create_with("/t", open(), Buffer::new(b"t"), 5), ttl: 77_000 };
    assert_eq!(world.call(one, OpCode::CreateTtl, &ttl).code(), ErrorCode::Ok);
    // Lists of permissions: shared, changed, given up.
    let read = || vec![Acl::new(perms::READ, "world", "anyone"), Acl::new(perms::ALL, "ip", "10.0.0.0/8")];
    for path in ["/p1", "/p2"] {
        assert_eq!(
            world.call(one, OpCode::Create, &create_with(path, read(), Buffer::new(b"1"), 0)).code(),
            ErrorCode::Ok
        );
    }
    let digest = || vec![Acl::new(perms::ALL, "digest", "u:h"), Acl::new(perms::READ, "world", "anyone")];
    for (path, list) in [("/z", digest()), ("/a/b2", read()), ("/a/b2", open())] {
        let request = SetAclRequest { path: path.into(), acl: Some(list), version: -1 };
        world.call(one, OpCode::SetAcl, &request);
    }
    assert_eq!(world.call(one, OpCode::Create, &create_with("/null", open(), Buffer(None), 0)).code(), ErrorCode::Ok);
    // A quota with something below it.
    for path in ["/zookeeper/quota/a", "/zookeeper/quota/a/zookeeper_limits", "/zookeeper/quota/a/zookeeper_stats"] {
        let request = create_with(path, open(), Buffer::new(b"count=100,bytes=5000"), 0);
        assert_eq!(world.call(one, OpCode::Create, &request).code(), ErrorCode::Ok);
    }
    world.create(one, "/a/counted", 0);
    world
}

/// Hears `bytes` in pieces of `piece` bytes; the engine that heard them, which had something else before.
fn hear(bytes: &[u8], piece: usize, at: Zxid) -> Result<(Engine, usize), Damage> {
    let mut other = World::new();
    let conn = other.client();
    other.create(conn, "/old", 1);
    let mut engine = other.engine;
    let mut hearing = engine.hear(at);
    let mut consumed = 0;
    for part in bytes.chunks(piece) {
        let fed = hearing.feed(part)?;
        consumed += fed.consumed;
        if fed.is_whole {
            let heard = hearing.finish()?;
            engine.take_over(heard);
            return Ok((engine, bytes.len() - consumed));
        }
    }
    Err(Damage("the stream is not whole".into()))
}

fn told(engine: &mut Engine) -> Vec<u8> {
    let mut retelling = engine.retell_begin().expect("it is told to nobody else");
    assert_eq!(retelling.zxid(), engine.applied());
    told_by(engine, &mut retelling)
}

fn told_by(engine: &mut Engine, retelling: &mut Retelling) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let mut part = Vec::new();
        match engine.retell_on(retelling, 2, 100, &mut part) {
            Walked::More => bytes.append(&mut part),
            Walked::Whole => {
                bytes.append(&mut part);
                return bytes;
            }
            Walked::GivenUp => panic!("nothing was changed"),
        }
    }
}

// S-20, S-21, SC-38: owners, containers, times to live, counters, lists, quotas, sessions.
#[test]
fn a_state_that_was_told_and_heard_is_the_same_state() {
    let mut world = rich();
    let mut bytes = told(&mut world.engine);
    assert_eq!(bytes, told(&mut world.engine));
    bytes.extend_from_slice(b"behind");
    for piece in [1, 7, 64, 4096, bytes.len()] {
        let (mut heard, left) = hear(&bytes, piece, world.engine.applied()).unwrap();
        assert_eq!(left, 6, "what is behind the end is given back");
        assert_eq!(picture(&heard), picture(&world.engine));
        assert_eq!(told(&mut heard), bytes[..bytes.len() - 6]);
    }
}

#[test]
fn both_states_go_on_alike() {
    let mut world = rich();
    let bytes = told(&mut world.engine);
    let (mut heard, _) = hear(&bytes, 512, world.engine.applied()).unwrap();
    let from = world.log.len();
    let conn = world.client();
    world.create(conn, "/a/s-", 2);
    world.create(conn, "/p1/below", 0);
    world.delete(conn, "/c2");
    world.delete(conn, "/a/counted");
    world.pass(50_000);
    assert_eq!(world.engine.state.sessions.len(), 0, "all sessions have expired, and their ephemerals are gone");
    for proposal in &world.log[from..] {
        heard.replay(proposal.zxid, &proposal.txn).unwrap();
    }
    assert_eq!(picture(&heard), picture(&world.engine));
}

/// A state told in pieces while the world goes on by `deed` between them; what was heard of it.
fn told_meanwhile(world: &mut World, steps: usize, mut deed: impl FnMut(&mut World, usize)) -> Engine {
    let mut retelling = world.engine.retell_begin().unwrap();
    let (at, mut bytes, mut turn) = (retelling.zxid(), Vec::new(), 0);
    while world.engine.retell_on(&mut retelling, steps, 1 << 20, &mut bytes) == Walked::More {
        deed(world, turn);
        turn += 1;
    }
    hear(&bytes, 512, at).unwrap().0
}

// G-16, S-21: exact, whatever is created, changed and deleted before the walk comes to it, beside it and behind it.
#[test]
fn a_state_that_is_told_while_transactions_go_on_is_that_of_its_zxid() {
    let mut random = 1u32;
    let mut draw = move |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % below
    };
    for round in 0..40 {
        let mut world = rich();
        let conn = world.client();
        let mut deed = |world: &mut World, _| {
            let depth = 1 + draw(3);
            let path: String = (0..depth).map(|_| format!("/{}", ["a", "b", "c", "d"][draw(4) as usize])).collect();
            match draw(6) {
                0..3 => drop(world.create(conn, &path, 0)),
                3 => drop(world.delete(conn, &path)),
                4 => {
                    let data = vec![draw(256) as u8; draw(40) as usize];
                    let request = SetDataRequest { path: path.as_str().into(), data: Buffer::new(&data), version: -1 };
                    drop(world.call(conn, OpCode::SetData, &request));
                }
                _ => {
                    let acl = Some(vec![Acl::new(1 + draw(30) as i32, "world", "anyone")]);
                    let request = SetAclRequest { path: path.as_str().into(), acl, version: -1 };
                    drop(world.call(conn, OpCode::SetAcl, &request));
                }
            }
        };
        (0..60).for_each(|turn| deed(&mut world, turn));
        let (before, from) = (picture(&world.engine), world.log.len());
        let mut heard = told_meanwhile(&mut world, 1 + round % 4, &mut deed);
        assert_eq!(picture(&heard), before, "round {round}");
        assert!(world.log.len() > from && world.engine.state.tree.state_walk_bytes() == 0);
        for proposal in &world.log[from..] {
            heard.replay(proposal.zxid, &proposal.txn).unwrap();
        }
        assert_eq!(picture(&heard), picture(&world.engine), "round {round}");
    }
}

#[test]
fn a_state_is_told_to_a_few_at_once_and_who_leaves_makes_room() {
    let mut world = rich();
    let mut all: Vec<_> = std::iter::from_fn(|| world.engine.retell_begin()).take(100).collect();
    assert_eq!(all.len(), crate::tree::STATE_WALKS_MAX);
    world.engine.retell_end(&all.swap_remove(1));
    assert!(world.engine.retell_begin().is_some());
    // Another state takes the place of this one: nothing more is told of it.
    let bytes = told_by(&mut world.engine, &mut all[0]);
    let (_, left) = hear(&bytes, 100, world.engine.applied()).unwrap();
    assert_eq!(left, 0);
    let other = world.engine.hear(world.engine.applied());
    let mut other = other;
    other.feed(&bytes).unwrap();
    world.engine.take_over(other.finish().unwrap());
    assert_eq!(world.engine.retell_on(&mut all[1], 10, 100, &mut Vec::new()), Walked::More, "what is made already");
    assert_eq!(world.engine.retell_on(&mut all[1], 10, 100, &mut Vec::new()), Walked::GivenUp);
}

// A state that is written anew again and again while it is sent would else never arrive.
#[test]
fn the_oldest_learner_is_sent_its_state_however_much_changes_meanwhile() {
    let mut world = World::new();
    let conn = world.client();
    let set = |world: &mut World, number: usize, byte: u8| {
        let (path, data) = (format!("/n{number}"), vec![byte; 1_000_000]);
        let request = SetDataRequest { path: path.as_str().into(), data: Buffer::new(&data), version: -1 };
        drop(world.call(conn, OpCode::SetData, &request));
    };
    for number in 0..70 {
        let path = format!("/n{number}");
        world.create(conn, &path, 0);
        set(&mut world, number, 1);
    }
    let before = picture(&world.engine);
    let mut oldest = world.engine.retell_begin().unwrap();
    let mut second = world.engine.retell_begin().unwrap();
    (0..70).for_each(|number| set(&mut world, number, 2));
    assert!(world.engine.state.tree.state_walk_bytes() > 70_000_000);
    assert!(world.engine.state.tree.state_walk_bytes() < 80_000_000, "the second one's is let go");
    let mut head = Vec::new();
    while world.engine.retell_on(&mut second, 10, 100, &mut head) == Walked::More {}
    assert_eq!(world.engine.retell_on(&mut second, 10, 100, &mut head), Walked::GivenUp);
    let bytes = told_by(&mut world.engine, &mut oldest);
    let (heard, left) = hear(&bytes, 1 << 16, oldest.zxid()).unwrap();
    assert_eq!((left, picture(&heard)), (0, before));
}

// SC-09: wherever the stream breaks, what the engine had is what it has.
#[test]
fn a_stream_that_breaks_anywhere_leaves_the_old_state() {
    let mut world = rich();
    let bytes = told(&mut world.engine);
    let mut other = World::new();
    let conn = other.client();
    other.create(conn, "/old", 1);
    let before = picture(&other.engine);
    let mut random = 7u32;
    for cut in (0..bytes.len()).step_by(13) {
        let mut hearing = other.engine.hear(world.engine.applied());
        let fed = hearing.feed(&bytes[..cut]).unwrap();
        assert!(!fed.is_whole);
        // Put together all the same, it may be refused and cannot panic.
        let _ = hearing.finish();
        // And with a wrong bit somewhere.
        let mut rotten = bytes.clone();
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        rotten[cut] ^= 1 << (random >> 29);
        let mut hearing = other.engine.hear(world.engine.applied());
        if hearing.feed(&rotten).is_ok_and(|fed| fed.is_whole) {
            let _ = hearing.finish();
        }
    }
    assert_eq!(picture(&other.engine), before);
}

#[test]
fn the_ids_that_this_server_issued_are_not_forgotten_with_its_state() {
    // S-27: the stream does not have them.
    let mut world = rich();
    let mut other = World::new();
    let conn = other.client();
    let mine = other.session(conn);
    let mut hearing = other.engine.hear(world.engine.applied());
    hearing.feed(&told(&mut world.engine)).unwrap();
    let heard = hearing.finish().unwrap();
    other.engine.take_over(heard);
    other.engine.state.sessions.activate(Millis(0), 0);
    assert!(other.engine.state.sessions.new_id() > mine);
}

/// The stream of a server that wrote it while it applied transactions.
fn fuzzy(znodes: &[(&str, &[u8], i64, StatPersisted)]) -> Vec<u8> {
    let mut out = Vec::new();
    put_count(1, &mut out);
    put_session(9, 4000, &mut out);
    put_count(1, &mut out);
    put_acl(3, &[Acl::new(perms::READ, "world", "anyone")], &mut out);
    for path in ["", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"] {
        put_znode(path, Some(b""), -1, &StatPersisted::default(), &mut out);
    }
    for (path, data, acl, stat) in znodes {
        put_znode(path, Some(data), *acl, stat, &mut out);
    }
    put_end_of_znodes(&mut out);
    put_signature(&mut out);
    out
}

fn stat(zxid: i64) -> StatPersisted {
    StatPersisted { czxid: zxid, mzxid: zxid, pzxid: zxid, ..StatPersisted::default() }
}

fn transaction(zxid: i64, txn: &crate::records::txn::Txn<'_>) -> Vec<u8> {
    let header = TxnHeader { session: SessionId(9), cxid: 1, zxid: Zxid(zxid), time: 5, op: txn.op().to_i32() };
    let mut bytes = Vec::new();
    encode_txn(&header, txn, &mut bytes);
    bytes
}

#[test]
fn a_znode_whose_list_did_not_come_is_closed_until_its_transaction_does() {
    let bytes = fuzzy(&[("/a", b"x", 44, stat(6))]);
    let mut world = World::new();
    let mut hearing = world.engine.hear(Zxid(5));
    assert!(hearing.feed(&bytes).unwrap().is_whole);
    let mut heard = hearing.finish().unwrap();
    let acl = || heard.tree().acl(heard.tree().lookup("/a").unwrap()).clone();
    assert!(!acl().is_open() && !acl().grants(perms::ALL, Some([127, 0, 0, 1].into()), |_, _| true));
    let create = Txn::Create(CreateTxn {
        path: "/a".into(),
        data: Buffer::new(b"x"),
        acl: vec![Acl::new(perms::READ, "world", "anyone")],
        ephemeral: false,
        parent_cversion: 1,
    });
    heard.replay(Zxid(6), &transaction(6, &create)).unwrap();
    world.engine.take_over(heard);
    let tree = &world.engine.state.tree;
    let id = tree.lookup("/a").unwrap();
    assert_eq!(tree.acl(id).entries(), [Acl::new(perms::READ, "world", "anyone")]);
    assert_eq!(tree.view(NodeId::ROOT).cversion, 1);
    tree.check().unwrap();
}

#[test]
fn the_usage_of_a_quota_is_counted_anew_unless_the_stream_is_exact() {
    // `/q/x` was written before it was set, the usage after it: the transaction that follows would count twice.
    let quota = [
        ("/zookeeper/quota/q", &b""[..], -1, stat(1)),
        ("/zookeeper/quota/q/zookeeper_limits", b"count=9,bytes=99", -1, stat(1)),
        ("/zookeeper/quota/q/zookeeper_stats", b"count=2,bytes=5", -1, stat(1)),
    ];
    let mut znodes = quota.to_vec();
    znodes.push(("/q", b"", -1, stat(1)));
    znodes.push(("/q/x", b"", -1, stat(1)));
    let mut world = World::new();
    let mut hearing = world.engine.hear(Zxid(5));
    assert!(hearing.feed(&fuzzy(&znodes)).unwrap().is_whole);
    let mut heard = hearing.finish().unwrap();
    let set = Txn::SetData(SetDataTxn { path: "/q/x".into(), data: Buffer::new(b"12345"), version: 1 });
    heard.replay(Zxid(6), &transaction(6, &set)).unwrap();
    world.engine.take_over(heard);
    let usage = |engine: &Engine| {
        let id = engine.state.tree.lookup("/zookeeper/quota/q/zookeeper_stats").unwrap();
        String::from_utf8(engine.state.tree.data(id).unwrap().to_vec()).unwrap()
    };
    assert_eq!(usage(&world.engine), "count=2,bytes=5");
    world.engine.state.tree.check().unwrap();
    // Told by us it stays as it is, even where somebody wrote into it.
    let conn = world.client();
    let request = SetDataRequest {
        path: "/zookeeper/quota/q/zookeeper_stats".into(),
        data: Buffer::new(b"count=50,bytes=50"),
        version: -1,
    };
    assert_eq!(world.call(conn, OpCode::SetData, &request).code(), ErrorCode::Ok);
    let (other, _) = hear(&told(&mut world.engine), 100, world.engine.applied()).unwrap();
    assert_eq!(usage(&other), "count=50,bytes=50");
}

#[test]
fn what_no_tree_can_be_is_refused() {
    let refused = |znodes: &[(&str, &[u8], i64, StatPersisted)]| {
        let world = World::new();
        let mut hearing = world.engine.hear(Zxid(5));
        let fed = hearing.feed(&fuzzy(znodes));
        assert!(fed.is_err() || hearing.finish().is_err(), "{znodes:?}");
    };
    let owned = |owner: Owner| StatPersisted { ephemeral_owner: owner.to_i64(), ..stat(1) };
    let plain = |path| (path, &b""[..], -1, stat(1));
    refused(&[plain("/a/b")]);
    refused(&[plain("/a"), plain("/b"), plain("/a/c")]);
    refused(&[plain("/a"), plain("/ab/c")]);
    refused(&[plain("/a"), plain("/a")]);
    refused(&[plain("")]);
    refused(&[plain("a")]);
    refused(&[plain("//")]);
    refused(&[plain("/a/")]);
    refused(&[plain("/a\0b")]);
    refused(&[("/e", b"", -1, owned(Owner::Session(SessionId(9)))), plain("/e/x")]);
    let world = World::new();
    let mut hearing = world.engine.hear(Zxid(5));
    // Without `/zookeeper`.
    let mut bytes = Vec::new();
    put_count(0, &mut bytes);
    put_count(0, &mut bytes);
    put_znode("", Some(b""), -1, &StatPersisted::default(), &mut bytes);
    put_end_of_znodes(&mut bytes);
    put_signature(&mut bytes);
    assert!(hearing.feed(&bytes).unwrap().is_whole);
    assert!(hearing.finish().is_err());
}

#[test]
fn sessions_left_out_of_the_stream_are_noticed() {
    let mut world = rich();
    let planted = failpoint::with(Failpoint::SessionsForgotten, || told(&mut world.engine));
    let (heard, _) = hear(&planted, 4096, world.engine.applied()).unwrap();
    assert_ne!(picture(&heard), picture(&world.engine), "the planted bug was not found");
}

/// The snapshot of a heard state is that of the state.
#[test]
fn a_heard_state_is_written_to_the_file_as_it_is() {
    let mut world = rich();
    let mut hearing = world.engine.hear(world.engine.applied());
    hearing.feed(&told(&mut world.engine)).unwrap();
    let mut heard = hearing.finish().unwrap();
    let mut entries = Vec::new();
    let mut size = 0;
    let mut emit = |entry: &[u8]| {
        size += 4 + entry.len() as u64;
        entries.push(entry.to_vec());
    };
    let estimate = heard.snapshot_estimate();
    heard.snapshot_begin(&mut emit);
    while !heard.snapshot_slice(3, &mut emit) {}
    assert!(size <= estimate, "{size} bytes, {estimate} were announced");
    let mut restarted = World::new();
    restarted.load(heard.applied(), &entries);
    assert_eq!(picture(&restarted.engine), picture(&world.engine));
}

#[test]
fn a_state_of_apaches_is_understood() {
    let (mut engine, left) = hear(&crate::records::javasnap::tests::apache(), 100, Zxid(0x16)).unwrap();
    assert_eq!(left, 0);
    let tree = &engine.state.tree;
    tree.check().unwrap();
    let at = |path: &str| tree.lookup(path).unwrap_or_else(|| panic!("{path} is missing"));
    let text = |path: &str| String::from_utf8(tree.data(at(path)).unwrap().to_vec()).unwrap();
    assert_eq!((text("/a").as_str(), text("/a/b").as_str()), ("hello", "22"));
    // What clients saw there.
    let stat = tree.stat(at("/a"));
    assert_eq!((stat.num_children, stat.cversion, stat.version), (2, 4, 0));
    assert_eq!(tree.view(at("/a")).cversion, 3, "the next sequence number");
    assert_eq!(tree.view(at("/cont")).owner, Owner::Container);
    assert_eq!(tree.view(at("/ttl")).owner, Owner::Ttl(500_000_000));
    let (session, _) = engine.state.sessions.sorted()[0];
    assert_eq!(tree.view(at("/eph")).owner, Owner::Session(session));
    assert_eq!(tree.ephemeral_owners().collect::<Vec<_>>(), [(session, 1)]);
    assert_eq!(tree.acl(at("/acl")).entries().len(), 2);
    assert!(std::sync::Arc::ptr_eq(tree.acl(at("/acl")), tree.acl(at("/acl2"))));
    assert!(tree.acl(at("/a")).is_open());
    let quota = tree.quota("/q/new").unwrap();
    assert_eq!(quota.usage, Some(Ok((2, 5))));
    assert_eq!(text("/zookeeper/quota/q/zookeeper_stats"), "count=2,bytes=5");
    // Told on, it is the same.
    let (again, _) = hear(&told(&mut engine), 64, Zxid(0x16)).unwrap();
    assert_eq!(picture(&again), picture(&engine));
}
