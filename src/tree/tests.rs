//! What the tree promises, one claim a test. The model in `model.rs` covers the combinations.

use super::*;
use crate::jute::{Buffer, Text};
use crate::path;
use crate::records::txn::*;
use crate::records::{ErrorCode, EventType, OpCode};

mod leaving;

/// A tree that numbers its own transactions and remembers what an observer was told.
struct Bench {
    tree: Tree,
    zxid: i64,
    seen: Vec<(EventType, String, String)>,
}

impl Bench {
    fn new() -> Bench {
        Bench { tree: Tree::new([1, 2]), zxid: 0, seen: Vec::new() }
    }

    fn run_as<'t>(&mut self, session: i64, txn: Txn<'t>) -> Applied<'t> {
        self.zxid += 1;
        self.run_at(session, self.zxid, txn)
    }

    fn run_at<'t>(&mut self, session: i64, zxid: i64, txn: Txn<'t>) -> Applied<'t> {
        let header = TxnHeader {
            session: SessionId(session),
            cxid: 0,
            zxid: Zxid(zxid),
            time: 1000 + zxid,
            op: txn.op().to_i32(),
        };
        let seen = &mut self.seen;
        let outcome = self
            .tree
            .apply(&header, &txn, &mut |change| {
                seen.push((change.kind, change.path.to_owned(), change.parent.to_owned()));
            })
            .expect("no damage in these");
        self.tree.check().unwrap();
        outcome
    }

    fn run<'t>(&mut self, txn: Txn<'t>) -> Applied<'t> {
        self.run_as(7, txn)
    }

    fn stat(&self, path: &str) -> Stat {
        self.tree.stat(self.tree.lookup(path).unwrap())
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.tree.data(self.tree.lookup(path).unwrap()).unwrap().to_vec()).unwrap()
    }

    fn names(&self, path: &str) -> Vec<&str> {
        self.tree.children(self.tree.lookup(path).unwrap()).collect()
    }
}

fn record(path: &'static str, data: &'static [u8]) -> CreateTxn<'static> {
    CreateTxn {
        path: path.into(),
        data: Buffer::new(data),
        acl: vec![Acl::open()],
        ephemeral: false,
        parent_cversion: -1,
    }
}

fn create(path: &'static str, data: &'static [u8]) -> Txn<'static> {
    Txn::Create(record(path, data))
}

fn ephemeral(path: &'static str) -> Txn<'static> {
    Txn::Create(CreateTxn { ephemeral: true, ..record(path, b"") })
}

fn delete(path: &'static str) -> Txn<'static> {
    Txn::Delete(DeleteTxn { path: path.into() })
}

fn set(path: &'static str, data: &'static [u8], version: i32) -> Txn<'static> {
    Txn::SetData(SetDataTxn { path: path.into(), data: Buffer::new(data), version })
}

fn container(path: &'static str) -> Txn<'static> {
    Txn::CreateContainer(CreateContainerTxn {
        path: path.into(),
        data: Buffer(None),
        acl: vec![Acl::open()],
        parent_cversion: -1,
    })
}

fn ttl(path: &'static str, ttl: i64) -> Txn<'static> {
    Txn::CreateTtl(CreateTtlTxn {
        path: path.into(),
        data: Buffer(None),
        acl: vec![Acl::open()],
        parent_cversion: -1,
        ttl,
    })
}

fn with_parts(txns: &[Txn<'static>], test: impl FnOnce(Txn<'_>)) {
    let bytes: Vec<(i32, Vec<u8>)> = txns
        .iter()
        .map(|txn| {
            let mut out = Vec::new();
            txn.encode(&mut out);
            (txn.op().to_i32(), out)
        })
        .collect();
    test(Txn::Multi(bytes.iter().map(|(op, data)| SubTxn { op: *op, data: Buffer::new(data) }).collect()));
}

#[test]
fn a_fresh_tree_is_that_of_a_fresh_server() {
    let b = Bench::new();
    b.tree.check().unwrap();
    let expected = [("/", -1, 0, 1), ("/zookeeper", -2, 0, 2), ("/zookeeper/quota", 0, 0, 0), (CONFIG, 0, -1, 0)];
    for (path, cversion, aversion, num_children) in expected {
        assert_eq!(b.stat(path), Stat { cversion, aversion, num_children, ..Stat::default() }, "{path}");
        assert_eq!(b.text(path), "");
    }
    assert_eq!((b.tree.node_count(), b.tree.descendants(NodeId::ROOT)), (4, 3));
    assert_eq!(b.tree.approximate_data_size(), 44);
    assert_eq!(b.tree.acl(b.tree.lookup(CONFIG).unwrap()).entries(), [Acl::new(perms::READ, "world", "anyone")]);
}

#[test]
fn lookups_take_whole_paths_only() {
    let mut b = Bench::new();
    b.run(create("/a", b""));
    b.run(create("/a/b", b""));
    for path in ["", "/"] {
        assert_eq!(b.tree.lookup(path), Some(NodeId::ROOT));
    }
    for path in ["/a", "/a/b"] {
        assert_eq!(b.tree.path(b.tree.lookup(path).unwrap()), path);
    }
    for path in ["a", "a/b", "/b", "/a/", "//a", "/a//b", "/a/b/", "/ab", "é", "/é", "//", "x/a"] {
        assert_eq!(b.tree.lookup(path), None, "{path}");
    }
}

#[test]
fn creation_counts_on_the_parent_and_deletion_does_not() {
    // S-26
    let mut b = Bench::new();
    b.run(create("/p", b"abc"));
    let first = Stat { czxid: 1, mzxid: 1, pzxid: 1, ctime: 1001, mtime: 1001, data_length: 3, ..Stat::default() };
    assert_eq!(b.stat("/p"), first);
    b.run(create("/p/a", b""));
    b.run(create("/p/b", b""));
    assert_eq!(b.stat("/p"), Stat { pzxid: 3, cversion: 2, num_children: 2, ..first });
    b.run(delete("/p/a"));
    assert_eq!(b.stat("/p"), Stat { pzxid: 4, cversion: 3, num_children: 1, ..first });
    assert_eq!(b.tree.view(b.tree.lookup("/p").unwrap()).cversion, 2);
    b.run(set("/p", b"x", 1));
    assert_eq!(
        b.stat("/p"),
        Stat { pzxid: 4, cversion: 3, num_children: 1, version: 1, mzxid: 5, mtime: 1005, data_length: 1, ..first }
    );
}

#[test]
fn setting_an_acl_moves_the_acl_version_alone() {
    let mut b = Bench::new();
    b.run(create("/a", b""));
    let before = b.stat("/a");
    let acl = vec![Acl::new(perms::READ, "digest", "u:h"), Acl::new(perms::ALL, "world", "anyone")];
    b.run(Txn::SetAcl(SetAclTxn { path: "/a".into(), acl: acl.clone(), version: 1 }));
    assert_eq!(b.stat("/a"), Stat { aversion: 1, ..before });
    let kept = b.tree.acl(b.tree.lookup("/a").unwrap()).clone();
    assert_eq!(kept.entries(), acl);
    assert!(!kept.is_open());
    b.run(delete("/a"));
    assert_eq!(b.tree.acl_count(), 2);
    assert_eq!(kept.entries(), acl, "a list that somebody keeps outlives its znodes");
}

#[test]
fn null_data_is_told_from_empty() {
    let mut b = Bench::new();
    b.run(Txn::Create(CreateTxn { data: Buffer(None), ..record("/n", b"") }));
    b.run(create("/e", b""));
    assert_eq!(b.tree.data(b.tree.lookup("/n").unwrap()).as_deref(), None);
    assert_eq!(b.tree.data(b.tree.lookup("/e").unwrap()).as_deref(), Some(&[][..]));
    b.run(Txn::SetData(SetDataTxn { path: "/e".into(), data: Buffer(None), version: 1 }));
    assert_eq!(b.tree.data(b.tree.lookup("/e").unwrap()).as_deref(), None);
}

#[test]
fn what_cannot_be_done_is_an_error_and_changes_nothing() {
    let mut b = Bench::new();
    b.run(ephemeral("/e"));
    let expected = [
        (create("/x/y", b""), ErrorCode::NoNode),
        (create("/e/y", b""), ErrorCode::NoChildrenForEphemerals),
        (create("/e", b"new"), ErrorCode::NodeExists),
        (create("", b""), ErrorCode::BadArguments),
        (create("/", b""), ErrorCode::BadArguments),
        (create("/x/", b""), ErrorCode::BadArguments),
        (create("/zookeeper/", b""), ErrorCode::BadArguments),
        (create("x", b""), ErrorCode::BadArguments),
        (delete("/x"), ErrorCode::NoNode),
        (delete("/"), ErrorCode::BadArguments),
        (delete("/zookeeper"), ErrorCode::BadArguments),
        (delete("/zookeeper/quota"), ErrorCode::BadArguments),
        (delete(CONFIG), ErrorCode::BadArguments),
        (set("/x", b"", 1), ErrorCode::NoNode),
        (Txn::SetAcl(SetAclTxn { path: "/x".into(), acl: vec![], version: 1 }), ErrorCode::NoNode),
        (ttl("/t", 0), ErrorCode::BadArguments),
        (ttl("/t", -1), ErrorCode::BadArguments),
        (ttl("/t", 1 << 40), ErrorCode::BadArguments),
        (Txn::error(ErrorCode::BadVersion), ErrorCode::BadVersion),
        (Txn::Error(ErrorTxn { err: -9999 }), ErrorCode::SystemError),
    ];
    b.seen.clear();
    for (txn, code) in expected {
        assert_eq!(b.run(txn.clone()), Applied::Error(code), "{txn:?}");
    }
    assert_eq!((b.tree.node_count(), b.seen.len()), (5, 0));
    assert_eq!(b.text("/e"), "");
}

#[test]
fn the_observer_hears_of_every_change_in_order() {
    let mut b = Bench::new();
    b.run(create("/p", b""));
    b.run(create("/p/c", b""));
    b.run(set("/p/c", b"x", 1));
    b.run(set("/", b"x", 1));
    b.run(delete("/p/c"));
    let seen: Vec<_> = b.seen.iter().map(|(kind, path, parent)| (*kind, path.as_str(), parent.as_str())).collect();
    assert_eq!(
        seen,
        [
            (EventType::Created, "/p", "/"),
            (EventType::Created, "/p/c", "/p"),
            (EventType::DataChanged, "/p/c", "/p"),
            (EventType::DataChanged, "/", "/"),
            (EventType::Deleted, "/p/c", "/p"),
        ]
    );
}

#[test]
fn watch_bits_stay_on_their_znode_and_go_with_it() {
    let mut b = Bench::new();
    b.run(create("/a", b""));
    let id = b.tree.lookup("/a").unwrap();
    assert_eq!(b.tree.watched(id), 0);
    b.tree.set_watched(id, 3);
    b.tree.set_watched(NodeId::ROOT, 2);
    b.run(set("/a", b"x", 1));
    assert_eq!(b.tree.watched(id), 3);
    let header = TxnHeader { session: SessionId(1), cxid: 0, zxid: Zxid(9), time: 0, op: 2 };
    let mut bits = Vec::new();
    b.tree.apply(&header, &delete("/a"), &mut |c| bits.push((c.watched, c.parent_watched))).unwrap();
    assert_eq!(bits, [(3, 2)]);
    b.zxid = 9;
    b.run(create("/b", b""));
    assert_eq!(b.tree.lookup("/b"), Some(id), "the id is used again");
    assert_eq!(b.tree.watched(id), 0);
}

#[test]
fn a_session_ends_with_its_ephemerals_and_no_others() {
    // S-25, SC-47
    let mut b = Bench::new();
    b.run_as(1, ephemeral("/a"));
    b.run_as(2, ephemeral("/b"));
    b.run_as(1, ephemeral("/c"));
    b.run_as(1, ephemeral("/d"));
    assert_eq!(b.tree.ephemeral_owners().collect::<Vec<_>>(), [(SessionId(1), 3), (SessionId(2), 1)]);
    assert_eq!(b.stat("/a").ephemeral_owner, 1);
    b.seen.clear();
    let paths = vec![Text::from("/c"), Text::from("/gone")];
    let close = Txn::CloseSession(Some(CloseSessionTxn { paths }));
    assert_eq!(b.run_as(1, close.clone()), Applied::SessionClosed);
    assert_eq!(b.names("/"), ["zookeeper", "b"]);
    assert_eq!((b.tree.ephemeral_count(), b.tree.ephemerals(SessionId(1)).count()), (1, 0));
    assert_eq!(b.seen[0].1, "/c", "the listed ones come first");
    assert_eq!(b.seen.len(), 3);
    let root = b.stat("/");
    assert_eq!(b.run_at(1, 5, close), Applied::SessionClosed);
    assert_eq!(b.stat("/"), root, "the same end again changes nothing");
    assert_eq!(b.run_as(2, Txn::CloseSession(None)), Applied::SessionClosed);
    assert_eq!(b.tree.ephemeral_owners().count(), 0);
}

#[test]
fn what_ends_with_a_session_is_booked_to_the_quota_that_ends_with_it() {
    // S-20: in whichever order they were created, and after a snapshot too.
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        // Those that came before the limits were never booked, and are when they go.
        let unbooked = order.iter().position(|&which| which == 1).unwrap();
        let mut b = Bench::new();
        b.run(create("/zookeeper/quota/q", b""));
        b.run(create("/q", b""));
        b.run(create("/zookeeper/quota/q/zookeeper_stats", b""));
        for which in order {
            b.run_as(1, ephemeral(["/q/a", "/zookeeper/quota/q/zookeeper_limits", "/q/b"][which]));
        }
        let mut entries: Vec<Vec<u8>> = Vec::new();
        b.tree.snapshot_begin(&mut |entry| entries.push(entry.to_vec()));
        while !b.tree.snapshot_slice(100, &mut |entry| entries.push(entry.to_vec())) {}
        let mut loader = TreeLoader::new([1, 2]);
        entries.iter().try_for_each(|entry| loader.entry(entry)).unwrap();
        let mut loaded = Bench { tree: loader.finish().unwrap(), zxid: b.zxid, seen: Vec::new() };
        for b in [&mut b, &mut loaded] {
            b.run_as(1, Txn::CloseSession(None));
            assert_eq!(b.text("/zookeeper/quota/q/zookeeper_stats"), format!("count={},bytes=0", 1 - unbooked as i32));
            assert_eq!(b.tree.check(), Ok(()));
        }
    }
}

#[test]
fn a_multi_applies_all_of_its_parts() {
    let mut b = Bench::new();
    let check = Txn::Check(CheckVersionTxn { path: "/m".into(), version: 2 });
    let parts = [create("/m", b""), create("/m/a", b""), set("/m", b"xy", 1), check, delete("/m/a"), container("/m/c")];
    with_parts(&parts, |multi| {
        let Applied::Multi(outcomes) = b.run(multi) else { panic!("not a multi") };
        assert!(matches!(&outcomes[0], Applied::Created { op: OpCode::Create, stat, .. } if stat.num_children == 0));
        assert!(matches!(&outcomes[2], Applied::DataSet(stat) if stat.num_children == 1 && stat.data_length == 2));
        assert_eq!(outcomes[3..5], [Applied::Checked, Applied::Deleted]);
        assert!(matches!(&outcomes[5], Applied::Created { op: OpCode::CreateContainer, path, .. }
            if path.as_str() == "/m/c"));
    });
    let m = b.stat("/m");
    assert_eq!((m.czxid, m.mzxid, m.pzxid, m.cversion, m.num_children), (1, 1, 1, 3, 1));
    assert_eq!(b.seen.len(), 5);
}

#[test]
fn a_failed_multi_changes_nothing_and_says_which_part_failed() {
    let mut b = Bench::new();
    with_parts(&[create("/m", b""), Txn::error(ErrorCode::NoNode), create("/n", b"")], |multi| {
        let codes = [ErrorCode::Ok, ErrorCode::NoNode, ErrorCode::RuntimeInconsistency];
        assert_eq!(b.run(multi), Applied::Multi(codes.map(Applied::Error).to_vec()));
    });
    assert_eq!((b.tree.node_count(), b.seen.len()), (4, 0));
    assert_eq!(b.run(Txn::Multi(vec![])), Applied::Multi(vec![]));
}

#[test]
fn damage_in_one_part_keeps_the_whole_multi_out() {
    let mut b = Bench::new();
    let mut good = Vec::new();
    create("/m", b"").encode(&mut good);
    let header = TxnHeader { session: SessionId(1), cxid: 0, zxid: Zxid(1), time: 0, op: 14 };
    for (op, bytes) in [(1, &good[..7]), (5, &[]), (14, &[0, 0, 0, 0]), (7, &good), (-10, &[0; 4]), (99, &[])] {
        let parts = vec![SubTxn { op: 1, data: Buffer::new(&good) }, SubTxn { op, data: Buffer::new(bytes) }];
        assert!(b.tree.apply(&header, &Txn::Multi(parts), &mut |_| panic!("no change")).is_err(), "type {op}");
    }
    assert_eq!(b.tree.node_count(), 4);
}

#[test]
fn a_replay_over_a_newer_tree_ends_where_the_tree_was() {
    // S-23, SC-46, SC-49: every suffix of this history, applied once more.
    let acl = vec![Acl::new(perms::READ, "ip", "127.0.0.1")];
    let history = [
        create("/p", b"1"),
        create("/p/a", b""),
        create("/p/a/x", b""),
        set("/p/a", b"old", 1),
        delete("/p/a/x"),
        delete("/p/a"),
        Txn::Create(CreateTxn { acl, ..record("/p/a", b"second") }),
        create("/p/b", b""),
        Txn::SetAcl(SetAclTxn { path: "/p/b".into(), acl: vec![], version: 1 }),
        delete("/p/b"),
        create("/p/a/y", b""),
        create("/p/z", b""),
        delete("/p/a/y"),
        delete("/p/a"),
        create("/p/a", b"third"),
        create("/p/a/y", b"again"),
    ];
    let mut b = Bench::new();
    // The leader writes the counter into each create; a −1 is from before ZooKeeper 3.4 and cannot be replayed exactly.
    let history: Vec<Txn<'static>> = history
        .into_iter()
        .map(|txn| {
            let Txn::Create(mut record) = txn else {
                b.run(txn.clone());
                return txn;
            };
            let parent = path::split(record.path.as_str()).unwrap().0;
            record.parent_cversion = b.tree.view(b.tree.lookup(parent).unwrap()).cversion + 1;
            b.run(Txn::Create(record.clone()));
            Txn::Create(record)
        })
        .collect();
    let state = |b: &Bench| {
        let tree = &b.tree;
        let one =
            |id| (tree.path(id), tree.stat(id), tree.data(id).map(|data| data.into_owned()), tree.acl(id).clone());
        tree.subtree(NodeId::ROOT).map(one).collect::<Vec<_>>()
    };
    let end = state(&b);
    for from in (0..history.len()).rev() {
        for (at, txn) in history.iter().enumerate().skip(from) {
            b.run_at(7, at as i64 + 1, txn.clone());
        }
        assert_eq!(state(&b), end, "replayed from {from}");
    }
}

#[test]
fn counters_at_their_maximum_stay_there() {
    // S-26
    let mut b = Bench::new();
    b.run(create("/p", b""));
    b.run(Txn::Create(CreateTxn { parent_cversion: i32::MAX, ..record("/p/a", b"") }));
    b.run(create("/p/b", b""));
    b.run(Txn::Create(CreateTxn { parent_cversion: i32::MIN, ..record("/p/c", b"") }));
    assert_eq!(b.tree.view(b.tree.lookup("/p").unwrap()).cversion, i32::MAX);
    assert_eq!(b.stat("/p").cversion, i32::MAX.wrapping_mul(2).wrapping_sub(3));
    b.run(set("/p", b"", i32::MIN));
    assert_eq!(b.stat("/p").version, i32::MIN);
}

#[test]
fn descendants_are_those_below() {
    let mut b = Bench::new();
    for path in ["/a", "/a/b", "/a/b/c", "/a/b/d", "/a/e", "/f"] {
        b.run(create(path, b""));
    }
    let count = |path| b.tree.descendants(b.tree.lookup(path).unwrap());
    assert_eq!((count("/"), count("/a"), count("/a/b"), count("/a/b/c"), count("/f")), (9, 4, 2, 0, 0));
    let order: Vec<_> = b.tree.subtree(b.tree.lookup("/a").unwrap()).map(|id| b.tree.path(id)).collect();
    assert_eq!(order, ["/a", "/a/b", "/a/b/c", "/a/b/d", "/a/e"]);
}

#[test]
fn containers_go_when_used_and_empty() {
    let mut b = Bench::new();
    let now = WallMillis(1_000_000);
    b.run(container("/c"));
    assert_eq!(b.stat("/c").ephemeral_owner, 0);
    assert_eq!(b.tree.view(b.tree.lookup("/c").unwrap()).owner, Owner::Container);
    assert!(b.tree.reapable(now, 10, 0).is_empty(), "never used");
    assert_eq!(b.tree.reapable(now, 10, 1000), ["/c"]);
    assert!(b.tree.reapable(WallMillis(1500), 10, 1000).is_empty(), "not unused for long enough");
    b.run(create("/c/x", b""));
    assert!(b.tree.reapable(now, 10, 1).is_empty(), "in use");
    b.run(delete("/c/x"));
    assert_eq!(b.tree.reapable(now, 10, 0), ["/c"]);
    assert!(b.tree.reapable(now, 0, 0).is_empty());
    b.run(Txn::DeleteContainer(DeleteTxn { path: "/c".into() }));
    assert!(b.tree.reapable(now, 10, 1).is_empty());
}

#[test]
fn ttl_znodes_go_when_childless_and_not_set_for_long_enough() {
    let mut b = Bench::new();
    b.run(ttl("/t", 500));
    assert_eq!(b.stat("/t").ephemeral_owner, 0);
    let due = |b: &Bench, now| !b.tree.reapable(WallMillis(now), 10, 0).is_empty();
    assert!(!due(&b, 1501) && due(&b, 1502));
    b.run(set("/t", b"x", 1));
    assert!(!due(&b, 1502) && due(&b, 1503));
    b.run(create("/t/c", b""));
    assert!(!due(&b, 9999));
    b.run(delete("/t/c"));
    assert!(due(&b, 9999));
    b.run(delete("/t"));
    assert!(!due(&b, 9999));
}

#[test]
fn quotas_count_what_is_below_the_nearest_of_them() {
    let mut b = Bench::new();
    for path in ["/q", "/zookeeper/quota/q", "/zookeeper/quota/q/in"] {
        b.run(create(path, b""));
    }
    b.run(create("/q/child", b"12345"));
    assert_eq!(b.tree.quota("/q/x"), None);
    b.run(create("/zookeeper/quota/q/zookeeper_limits", b"count=5,bytes=100=;byteHardLimit=20;countHardLimit=3"));
    assert!(b.tree.quota("/q/x").unwrap().usage.is_none());
    assert_eq!(b.tree.quota("/q/x").unwrap().check_create(1000, 0, 0), Ok(()), "nothing is enforced without stats");
    let stats = "/zookeeper/quota/q/zookeeper_stats";
    let Applied::Created { stat, .. } = b.run(create(stats, b"count=0,bytes=0")) else { panic!("not created") };
    assert_eq!(stat.data_length, 15, "as it was written, not as it was counted");
    assert_eq!(b.text(stats), "count=2,bytes=5");
    let before = b.stat(stats);
    b.seen.clear();
    b.run(create("/q/more", b"1234567890"));
    assert_eq!(b.text(stats), "count=3,bytes=15");
    assert_eq!(b.stat(stats), Stat { data_length: 16, ..before });
    assert_eq!(b.seen.len(), 1, "no event for bookkeeping");

    let quota = b.tree.quota("/q/other").unwrap();
    assert_eq!(quota.path, "/q");
    assert_eq!(quota.check_create(0, 0, 0), Err(ErrorCode::QuotaExceeded));
    assert_eq!(quota.check_create(0, -1, 0), Ok(()));
    assert_eq!(quota.check_set(5, 0), Ok(()));
    assert_eq!(quota.check_set(6, 0), Err(ErrorCode::QuotaExceeded));
    assert_eq!(quota.check_set(5, 1), Err(ErrorCode::QuotaExceeded));
    assert_eq!(quota.check_set(0, 99), Ok(()));
    assert_eq!(b.tree.quota("/qq"), None);

    b.run(set("/q/more", b"", 1));
    assert_eq!(b.text(stats), "count=3,bytes=5");
    b.run(create("/zookeeper/quota/q/in/zookeeper_limits", b"hello"));
    b.run(create("/zookeeper/quota/q/in/zookeeper_stats", b""));
    assert_eq!(b.text("/zookeeper/quota/q/in/zookeeper_stats"), "count=0,bytes=0");
    b.run(create("/q/in", b"abc"));
    b.run(create("/q/in/x", b"abc"));
    assert_eq!(b.text("/zookeeper/quota/q/in/zookeeper_stats"), "count=2,bytes=6");
    assert_eq!(b.text(stats), "count=3,bytes=5", "only the nearest counts");
    assert_eq!(b.tree.quota("/q/in/y").unwrap().check_create(0, 0, 0), Err(ErrorCode::MarshallingError));
    b.run(delete("/zookeeper/quota/q/in/zookeeper_limits"));
    b.run(delete("/q/in/x"));
    assert_eq!(b.text("/zookeeper/quota/q/in/zookeeper_stats"), "count=2,bytes=6", "ended with its limits");
    assert_eq!(b.text(stats), "count=2,bytes=2", "deletions count on the next one up");
    b.run(set(stats, b"nonsense", 1));
    b.run(create("/q/z", b""));
    assert_eq!(b.text(stats), "nonsense");
    b.run(delete(stats));
    assert!(b.tree.quota("/q").unwrap().usage.is_none());
}

#[test]
fn a_quota_on_the_root_has_no_effect() {
    let mut b = Bench::new();
    b.run(create("/zookeeper/quota/zookeeper_limits", b"count=1,bytes=-1=;countHardLimit=1"));
    b.run(create("/zookeeper/quota/zookeeper_stats", b"count=0,bytes=0"));
    assert_eq!(b.tree.quota("/x"), None);
    assert_eq!(b.text("/zookeeper/quota/zookeeper_stats"), "count=0,bytes=0");
}

#[test]
fn memory_comes_back_when_znodes_go() {
    //
    let mut b = Bench::new();
    let empty = (b.tree.memory_bytes(), b.tree.approximate_data_size());
    b.run(create("/a-name-longer-than-can-be-kept-in-place", &[1; 1000]));
    b.run_as(9, ephemeral("/e"));
    let grown = b.tree.memory_bytes() - empty.0;
    assert!((1200..1700).contains(&grown), "{grown}");
    b.run(delete("/a-name-longer-than-can-be-kept-in-place"));
    b.run(delete("/e"));
    assert_eq!((b.tree.memory_bytes(), b.tree.approximate_data_size()), empty);
}

#[test]
fn the_digest_after_a_creation_is_the_one_that_zookeeper_logged() {
    // S-21, against the bytes of a real ensemble.
    let mut tree = Tree::new([1, 2]);
    let (session, zxid, time) = (SessionId(0x0100_0016_b69b_0000), Zxid(0x1_0000_0002), 0x1a1_f8f3_fd20);
    let header = TxnHeader { session, cxid: 1, zxid, time, op: 1 };
    let txn = Txn::Create(CreateTxn { parent_cversion: 1, ..record("/a", b"hello") });
    tree.apply(&header, &txn, &mut |_| {}).unwrap();
    assert_eq!(tree.zookeeper_digest(), 0x2_0ce2_0235);
}

#[test]
fn a_container_that_was_never_used_goes_only_after_its_time() {
    let mut b = Bench::new();
    b.run(container("/c"));
    // It was made at 1001.
    assert!(b.tree.reapable(WallMillis(2001), 10, 1000).is_empty(), "exactly so old");
    assert_eq!(b.tree.reapable(WallMillis(2002), 10, 1000), ["/c"]);
    assert!(b.tree.reapable(WallMillis(i64::MAX), 10, 0).is_empty(), "0 is never");
}

#[test]
fn a_slice_of_a_snapshot_writes_no_more_znodes_than_it_may() {
    // with the lists and what was written ahead of the walk.
    let mut b = Bench::new();
    for path in ["/a", "/b", "/c", "/d", "/e"] {
        b.run(create(path, b"x"));
    }
    b.tree.snapshot_begin(&mut |_| ());
    // Changed before the walk came by: their old state waits in front of it.
    for (path, version) in [("/c", 1), ("/d", 1), ("/e", 1)] {
        b.run(set(path, b"yy", version));
    }
    assert!(b.tree.snapshot_preimage_bytes() > 0);
    let mut slices = Vec::new();
    loop {
        let mut entries = 0;
        let over = b.tree.snapshot_slice(1, &mut |_| entries += 1);
        slices.push(entries);
        assert_eq!(b.tree.snapshot_running(), !over);
        if over {
            break;
        }
        assert!(slices.len() < 100, "it never ends");
    }
    let last = slices.pop().unwrap();
    // A znode with its list, or one that is written already; the last slice has the trailer as well.
    assert!(slices.iter().all(|entries| *entries <= 2) && last <= 3, "{slices:?}, {last}");
    assert!(slices.len() >= 9 + 3 - 1, "{} slices for nine znodes and three that waited", slices.len());
    assert_eq!(b.tree.snapshot_preimage_bytes(), 0);
}
