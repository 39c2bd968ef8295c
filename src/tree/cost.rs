//! What transactions cost, in steps: the same above many znodes and long texts as above none.

use super::*;
use crate::jute::Buffer;
use crate::meter;
use crate::records::txn::*;

/// A create or a delete near the root, its quota booked.
const STEPS_MAX: u64 = 200;

struct Bench {
    tree: Tree,
    zxid: i64,
}

impl Bench {
    fn new() -> Bench {
        Bench { tree: Tree::new([1, 2]), zxid: 0 }
    }

    /// Applies a transaction that must succeed; the steps that it took.
    fn run(&mut self, txn: Txn<'_>) -> u64 {
        self.zxid += 1;
        let header =
            TxnHeader { session: SessionId(7), cxid: 0, zxid: Zxid(self.zxid), time: self.zxid, op: txn.op().to_i32() };
        let before = meter::counted();
        let outcome = self.tree.apply(&header, &txn, &mut |_| {}).unwrap();
        assert!(!matches!(outcome, Applied::Error(_)), "{outcome:?}");
        meter::counted() - before
    }

    fn create(&mut self, path: &str, data: &[u8]) -> u64 {
        let (acl, ephemeral) = (vec![Acl::open()], path.contains("/e-"));
        self.run(Txn::Create(CreateTxn {
            path: path.into(),
            data: Buffer::new(data),
            acl,
            ephemeral,
            parent_cversion: -1,
        }))
    }

    fn delete(&mut self, path: &str) -> u64 {
        self.run(Txn::Delete(DeleteTxn { path: path.into() }))
    }

    fn grow(&mut self, znodes: usize) {
        self.create("/a", b"");
        for i in 0..znodes / 100 {
            self.create(&format!("/a/{i}"), b"xy");
            for j in 1..100 {
                self.create(&format!("/a/{i}/{j}"), b"xyz");
            }
        }
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.tree.data(self.tree.lookup(path).unwrap()).unwrap().into_owned()).unwrap()
    }
}

const LIMITS: &str = "/zookeeper/quota/a/zookeeper_limits";
const STATS: &str = "/zookeeper/quota/a/zookeeper_stats";

#[test]
fn a_statistics_znode_above_many_znodes_costs_what_it_costs_above_none() {
    let mut b = Bench::new();
    b.grow(20_000);
    b.create("/zookeeper/quota/a", b"");
    for limits in [false, true] {
        if limits {
            b.create(LIMITS, b"count=5,bytes=5");
        }
        for _ in 0..10 {
            assert!(b.create(STATS, b"") <= STEPS_MAX);
            assert_eq!(b.text(STATS), format!("count=20001,bytes={}", 200 * 2 + 19_800 * 3));
            assert!(b.delete(STATS) <= STEPS_MAX);
        }
    }
    assert_eq!(b.tree.check(), Ok(()));
}

#[test]
fn a_long_text_in_a_quota_costs_who_sets_it_and_nobody_else() {
    let mut b = Bench::new();
    b.create("/a", b"");
    b.create("/zookeeper/quota/a", b"");
    b.create(STATS, b"");
    b.create(LIMITS, b"");
    let text: String = (0..60_000).map(|key| format!("k{key}=1;")).collect();
    for path in [LIMITS, STATS] {
        let data = Buffer::new(text.as_bytes());
        b.run(Txn::SetData(SetDataTxn { path: path.into(), data, version: 1 }));
    }
    // The first booking finds where the text goes on behind its numbers.
    let first = b.create("/a/0", b"x");
    assert!(first <= STEPS_MAX + text.len() as u64 / 32, "{first}");
    for i in 1..200 {
        let steps = b.create(&format!("/a/{i}"), b"x");
        assert!(steps <= STEPS_MAX, "create {i} took {steps} steps");
    }
    for _ in 0..10 {
        assert!(b.delete(LIMITS) <= STEPS_MAX);
        assert!(b.create(LIMITS, b"count=1") <= STEPS_MAX);
        assert!(b.create("/a/again", b"x") <= STEPS_MAX);
        assert!(b.delete("/a/again") <= STEPS_MAX);
    }
    assert!(b.text(STATS).starts_with("count=199,bytes=199=;"), "{}", &b.text(STATS)[..60]);
    assert_eq!(b.tree.check(), Ok(()));
}

#[test]
fn a_snapshot_has_the_usage_as_it_was_when_it_began() {
    let mut b = Bench::new();
    for (path, data) in [("/a", ""), ("/zookeeper/quota/a", ""), (LIMITS, "count=9,bytes=9"), (STATS, "")] {
        b.create(path, data.as_bytes());
    }
    for i in 0..9 {
        b.create(&format!("/a/{i}"), b"x");
    }
    let mut entries = Vec::new();
    b.tree.snapshot_begin(&mut |entry| entries.push(entry.to_vec()));
    let then = b.text(STATS);
    b.create("/a/more", b"xyz");
    assert_ne!(b.text(STATS), then);
    while !b.tree.snapshot_slice(3, &mut |entry| entries.push(entry.to_vec())) {}
    let mut loader = TreeLoader::new([3, 4]);
    entries.iter().for_each(|entry| loader.entry(entry).unwrap());
    let loaded = Bench { tree: loader.finish().unwrap(), zxid: 0 };
    assert_eq!(loaded.text(STATS), then);
    assert_eq!(loaded.tree.check(), Ok(()));
}

#[test]
fn descendants_are_known_without_a_walk() {
    let mut b = Bench::new();
    b.grow(20_000);
    let top = b.tree.lookup("/a").unwrap();
    let before = meter::counted();
    assert_eq!(b.tree.descendants(top), 20_000);
    assert!(meter::counted() - before < 10);
    let deep: String = "/d".repeat(500);
    for end in 1..=500 {
        b.create(&deep[..2 * end], b"12");
    }
    assert_eq!(b.tree.descendants(b.tree.lookup("/d").unwrap()), 499);
    b.delete(&deep);
    assert_eq!(b.tree.descendants(b.tree.lookup("/d").unwrap()), 498);
    assert_eq!(b.tree.check(), Ok(()));
}
