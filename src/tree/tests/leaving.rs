//! Data that a snapshot leaves to the log, and how it comes back.

use super::*;
use crate::tree::LeavingOut;

/// A snapshot that leaves what was set after `after`.
fn snapshot(tree: &mut Tree, after: i64, upto: i64) -> Vec<Vec<u8>> {
    let leave = LeavingOut { after: Zxid(after), upto: Zxid(upto), least: 3 };
    let mut entries = Vec::new();
    tree.snapshot_begin_leaving(leave, &mut |entry| entries.push(entry.to_vec()));
    while !tree.snapshot_slice(1, &mut |entry| entries.push(entry.to_vec())) {}
    entries
}

fn load(entries: &[Vec<u8>]) -> Result<Tree, String> {
    let mut loader = TreeLoader::new([5, 6]);
    entries.iter().try_for_each(|entry| loader.entry(entry))?;
    loader.finish()
}

// D-09
#[test]
fn data_of_some_size_set_after_a_zxid_is_left_to_the_log_and_comes_back_from_there() {
    let mut b = Bench::new();
    let log = [
        create("/old", b"before"),
        create("/new", b"long"),
        create("/small", b"no"),
        create("/set", b""),
        set("/set", b"later", 1),
    ];
    for txn in &log {
        b.run(txn.clone());
    }
    let entries = snapshot(&mut b.tree, 1, 5);
    let large = b.tree.snapshot_large();
    assert_eq!((large.bytes, large.left), (6 + 4 + 5, 4 + 5));
    let mut loaded = load(&entries).unwrap();
    assert!(loaded.lacks_data() && loaded.data(loaded.lookup("/new").unwrap()).is_none());
    for (zxid, txn) in (1..).map(Zxid).zip(&log) {
        assert_eq!(loaded.lacks_data_of(zxid), [2, 5].contains(&zxid.0), "{zxid}");
        if loaded.lacks_data_of(zxid) {
            loaded.fill_from_log(zxid, txn).unwrap();
        }
    }
    assert!(!loaded.lacks_data() && !loaded.lacks_data_of(Zxid(9)));
    assert_eq!(loaded.check(), Ok(()));
    assert_eq!(loaded.digest(), b.tree.digest());
}

#[test]
fn of_a_multi_the_last_part_that_set_the_data_has_it() {
    let mut b = Bench::new();
    let parts =
        [create("/m", b"first"), delete("/m"), create("/m", b"again"), set("/m", b"final", 1), create("/n", b"other")];
    with_parts(&parts, |multi| {
        b.run(multi.clone());
        let mut loaded = load(&snapshot(&mut b.tree, 0, 1)).unwrap();
        loaded.fill_from_log(Zxid(1), &multi).unwrap();
        assert_eq!(loaded.digest(), b.tree.digest());
    });
    // The same lengths in another order: what came first is not taken for what came last.
    let turned = [create("/n", b"other"), create("/m", b"final"), set("/m", b"first", 1)];
    with_parts(&turned, |multi| {
        let mut loaded = load(&snapshot(&mut b.tree, 0, 1)).unwrap();
        let error = loaded.fill_from_log(Zxid(1), &multi).unwrap_err();
        assert!(error.contains("/m") && error.contains("0x1"), "{error}");
    });
}

#[test]
fn what_the_log_does_not_have_is_told_with_its_path_and_transaction() {
    let mut b = Bench::new();
    b.run(create("/a", b"data"));
    b.run(create("/b", b"data"));
    let entries = snapshot(&mut b.tree, 0, 2);
    let cases: [(i64, Txn<'_>, &str); 4] = [
        (1, create("/a", b"atad"), "/a is not what transaction 0x1 set"),
        (1, create("/b", b"data"), "the data of /a, which transaction 0x1 set"),
        (1, delete("/a"), "the data of /a, which transaction 0x1 set"),
        (2, create("/b", b"data"), "the data of /a, which transaction 0x1 set"),
    ];
    for (zxid, txn, expected) in cases {
        let error = load(&entries).unwrap().fill_from_log(Zxid(zxid), &txn).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let mut loaded = load(&entries).unwrap();
    assert_eq!(loaded.fill_from_log(Zxid(1), &create("/a", b"data")), Ok(()));
    assert!(loaded.lacks_data());
}

#[test]
fn data_of_the_system_and_null_and_none_are_never_left_to_the_log() {
    let mut b = Bench::new();
    b.run(create("/zookeeper/quota/q", b"a text that is long"));
    b.run(create("/empty", b""));
    b.run(create("/zookeeperish", b"a text that is long"));
    let entries = snapshot(&mut b.tree, 0, 3);
    assert_eq!(b.tree.snapshot_large().left, 19);
    let mut loaded = load(&entries).unwrap();
    let data = |path: &str| loaded.data(loaded.lookup(path).unwrap()).map(|data| data.into_owned());
    assert_eq!(data("/zookeeper/quota/q").as_deref(), Some(&b"a text that is long"[..]));
    assert_eq!(data("/empty").as_deref(), Some(&b""[..]));
    assert_eq!(data("/zookeeperish"), None);
    loaded.fill_from_log(Zxid(3), &create("/zookeeperish", b"a text that is long")).unwrap();
    assert_eq!(loaded.digest(), b.tree.digest());
}

#[test]
fn what_was_set_elsewhere_is_never_left_to_the_log() {
    // A state from elsewhere may hold something of transactions above its own zxid. Here those numbers are other transactions'.
    let mut b = Bench::new();
    b.run_at(7, 50, create("/above", b"from elsewhere"));
    let mut b = Bench { tree: load(&snapshot(&mut b.tree, 99, 0)).unwrap(), zxid: 59, seen: Vec::new() };
    b.run(create("/here", b"set here"));
    let entries = snapshot(&mut b.tree, 10, 60);
    assert_eq!(b.tree.snapshot_large().left, 8);
    // And what comes after what the snapshot holds is in it.
    b.run_at(7, 70, create("/fuzzy", b"comes once more"));
    snapshot(&mut b.tree, 10, 60);
    assert_eq!(b.tree.snapshot_large().left, 8);
    assert!(load(&entries).unwrap().lacks_data_of(Zxid(60)));
}

#[test]
fn an_older_version_reads_a_snapshot_that_may_leave_data_and_leaves_none() {
    let mut b = Bench::new();
    b.run(create("/a", b"data"));
    let leaving_nothing = snapshot(&mut b.tree, 1, 1);
    let mut plain = Vec::new();
    b.tree.snapshot_begin(&mut |entry| plain.push(entry.to_vec()));
    while !b.tree.snapshot_slice(100, &mut |entry| plain.push(entry.to_vec())) {}
    assert_eq!(leaving_nothing, plain);
}

#[test]
fn large_data_that_is_left_to_the_log_takes_its_part_of_a_slice() {
    let mut b = Bench::new();
    static LARGE: [u8; 64 << 10] = [7; 64 << 10];
    for path in ["/a", "/b", "/c", "/d"] {
        b.run(create(path, &LARGE));
    }
    let leave = LeavingOut { after: Zxid(0), upto: Zxid(4), least: 3 };
    b.tree.snapshot_begin_leaving(leave, &mut |_| ());
    let mut slices = 0;
    while !b.tree.snapshot_slice(5, &mut |_| ()) {
        slices += 1;
    }
    assert!(slices >= 3, "{slices}");
}
