//! The tree against a plain model that shares no code with it, over random histories.
//!
//! The model is also the leader: it decides which requests become which transactions, so that the histories are such as a
//! log holds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::jute::{Buffer, Text};
use crate::records::txn::*;
use crate::records::{ErrorCode, EventType};

#[derive(Clone, Debug, PartialEq, Eq)]
struct Plain {
    data: Option<Vec<u8>>,
    acl: Vec<Acl<'static>>,
    zxids: (i64, i64, i64),
    times: (i64, i64),
    versions: (i32, i32, i32),
    owner: i64,
}

/// Full paths to znodes, nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model(BTreeMap<String, Plain>);

fn parent_of(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) => "/",
        Some(at) => &path[..at],
        None => panic!("{path} has no parent"),
    }
}

fn open() -> Vec<Acl<'static>> {
    vec![Acl::new(31, "world", "anyone")]
}

impl Model {
    fn new() -> Model {
        let zero =
            Plain { data: Some(vec![]), acl: open(), zxids: (0, 0, 0), times: (0, 0), versions: (0, 0, 0), owner: 0 };
        let config = Plain { acl: vec![Acl::new(1, "world", "anyone")], versions: (0, 0, -1), ..zero.clone() };
        let paths = ["/", "/zookeeper", "/zookeeper/quota"].map(|path| (path.to_owned(), zero.clone()));
        Model(paths.into_iter().chain([("/zookeeper/config".to_owned(), config)]).collect())
    }

    fn children(&self, path: &str) -> BTreeSet<&str> {
        let below = self.0.keys().filter(|key| *key != "/" && parent_of(key) == path);
        below.map(|key| &key[key.rfind('/').unwrap() + 1..]).collect()
    }

    fn below(&self, path: &str) -> impl Iterator<Item = &Plain> {
        let prefix = if path == "/" { path.to_owned() } else { format!("{path}/") };
        self.0.iter().filter(move |(key, _)| *key == path || key.starts_with(&prefix)).map(|(_, node)| node)
    }

    /// The deepest znode with a quota that is `path` or lies above it.
    fn stats_for(&self, path: &str) -> Option<String> {
        let mut at = path;
        while at != "/" {
            if self.0.contains_key(&format!("/zookeeper/quota{at}/zookeeper_limits")) {
                return Some(format!("/zookeeper/quota{at}/zookeeper_stats"))
                    .filter(|stats| self.0.contains_key(stats));
            }
            at = parent_of(at);
        }
        None
    }

    fn book(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(stats) = self.stats_for(path) else { return };
        let node = self.0.get_mut(&stats).unwrap();
        let text = String::from_utf8(node.data.clone().unwrap()).unwrap();
        let numbers: Vec<i64> = text.split(',').map(|pair| pair.split_once('=').unwrap().1.parse().unwrap()).collect();
        node.data = Some(format!("count={},bytes={}", numbers[0] + count, numbers[1] + bytes).into_bytes());
    }

    fn delete(&mut self, path: &str, zxid: i64) {
        let node = self.0.remove(path).expect("the model decides only what it can do");
        self.0.get_mut(parent_of(path)).unwrap().zxids.2 = zxid;
        self.book(path, -1, -(node.data.map_or(0, |data| data.len()) as i64));
    }

    /// What a leader would make of the request, and its effect on the model.
    fn decide(&mut self, op: &Op, zxid: i64, time: i64) -> Txn<'static> {
        match self.try_decide(op, zxid, time) {
            Ok(txn) => txn,
            Err(code) => Txn::error(code),
        }
    }

    fn try_decide(&mut self, op: &Op, zxid: i64, time: i64) -> Result<Txn<'static>, ErrorCode> {
        Ok(match op {
            Op::Create { path, kind, data, acl } => {
                let above = self.0.get_mut(parent_of(path)).ok_or(ErrorCode::NoNode)?;
                if (1..=3).contains(&above.owner) {
                    return Err(ErrorCode::NoChildrenForEphemerals);
                }
                let cversion = above.versions.1;
                let path =
                    if matches!(kind, Kind::Sequential) { format!("{path}{cversion:010}") } else { path.clone() };
                if self.0.contains_key(&path) {
                    return Err(ErrorCode::NodeExists);
                }
                let above = self.0.get_mut(parent_of(&path)).unwrap();
                (above.versions.1, above.zxids.2) = (cversion + 1, zxid);
                let owner = match kind {
                    Kind::Plain | Kind::Sequential => 0,
                    Kind::Ephemeral(session) => *session,
                    Kind::Container => i64::MIN,
                    Kind::Ttl(ttl) => 0xff00_0000_0000_0000_u64 as i64 | ttl,
                };
                let length = data.as_ref().map_or(0, Vec::len) as i64;
                let mut node = Plain {
                    data: data.clone(),
                    acl: acl.clone(),
                    zxids: (zxid, zxid, zxid),
                    times: (time, time),
                    versions: (0, 0, 0),
                    owner,
                };
                let limited = path.strip_prefix("/zookeeper/quota").and_then(|p| p.strip_suffix("/zookeeper_stats"));
                if let Some(limited) = limited {
                    let lengths = self.below(limited).map(|node| node.data.as_ref().map_or(0, Vec::len));
                    let (count, bytes) = lengths.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length));
                    node.data = Some(format!("count={count},bytes={bytes}").into_bytes());
                }
                self.0.insert(path.clone(), node);
                self.book(&path, 1, length);
                // Leaked: a transaction borrows its bytes, and a test run is short.
                let data = Buffer(data.clone().map(|data| &*data.leak()));
                let (path, acl, parent_cversion) = (Text::from(path), acl.clone(), cversion + 1);
                match kind {
                    Kind::Plain => Txn::Create(CreateTxn { path, data, acl, ephemeral: false, parent_cversion }),
                    Kind::Sequential => Txn::Create2(CreateTxn { path, data, acl, ephemeral: false, parent_cversion }),
                    Kind::Ephemeral(_) => Txn::Create(CreateTxn { path, data, acl, ephemeral: true, parent_cversion }),
                    Kind::Container => Txn::CreateContainer(CreateContainerTxn { path, data, acl, parent_cversion }),
                    Kind::Ttl(ttl) => Txn::CreateTtl(CreateTtlTxn { path, data, acl, parent_cversion, ttl: *ttl }),
                }
            }
            Op::Delete(path) => {
                if ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"].contains(&path.as_str()) {
                    return Err(ErrorCode::BadArguments);
                }
                if !self.0.contains_key(path) {
                    return Err(ErrorCode::NoNode);
                }
                if !self.children(path).is_empty() {
                    return Err(ErrorCode::NotEmpty);
                }
                self.delete(path, zxid);
                Txn::Delete(DeleteTxn { path: path.clone().into() })
            }
            Op::Set(path, data) => {
                if path.ends_with("zookeeper_stats") {
                    // What a client writes there is the base of what the server counts, and no replay could tell.
                    return Err(ErrorCode::NoAuth);
                }
                let node = self.0.get_mut(path).ok_or(ErrorCode::NoNode)?;
                let old = node.data.as_ref().map_or(0, Vec::len) as i64;
                node.data = data.clone();
                (node.zxids.1, node.times.1) = (zxid, time);
                node.versions.0 += 1;
                let version = node.versions.0;
                self.book(path, 0, data.as_ref().map_or(0, Vec::len) as i64 - old);
                let data = Buffer(data.clone().map(|data| &*data.leak()));
                Txn::SetData(SetDataTxn { path: path.clone().into(), data, version })
            }
            Op::SetAcl(path, acl) => {
                let node = self.0.get_mut(path).ok_or(ErrorCode::NoNode)?;
                node.acl = acl.clone();
                node.versions.2 += 1;
                Txn::SetAcl(SetAclTxn { path: path.clone().into(), acl: acl.clone(), version: node.versions.2 })
            }
            Op::Close(session, listed) => {
                let owned = |(path, node): (&String, &Plain)| (node.owner == *session).then(|| path.clone());
                let mut paths: Vec<String> = self.0.iter().filter_map(owned).collect();
                // What makes a quota goes last, so that it is booked what goes with it.
                paths.sort_by_key(|path| path.starts_with("/zookeeper/quota"));
                paths.iter().for_each(|path| self.delete(path, zxid));
                let paths = paths.into_iter().map(Text::from).collect();
                Txn::CloseSession(listed.then_some(CloseSessionTxn { paths }))
            }
            Op::Multi(ops) => {
                let mut after = self.clone();
                let mut parts: Vec<Txn<'static>> = Vec::new();
                for op in ops {
                    match after.try_decide(op, zxid, time) {
                        // As a leader logs it: what went before the failing part keeps its record.
                        Err(code) => {
                            parts.push(Txn::error(code));
                            parts.push(Txn::error(ErrorCode::RuntimeInconsistency));
                            after = self.clone();
                            break;
                        }
                        Ok(txn) => parts.push(txn),
                    }
                }
                *self = after;
                let part = |txn: &Txn<'_>| {
                    let mut out = Vec::new();
                    txn.encode(&mut out);
                    SubTxn { op: txn.op().to_i32(), data: Buffer::new(out.leak()) }
                };
                Txn::Multi(parts.iter().map(part).collect())
            }
        })
    }
}

#[derive(Clone, Debug)]
enum Kind {
    Plain,
    Sequential,
    Ephemeral(i64),
    Container,
    Ttl(i64),
}

#[derive(Clone, Debug)]
enum Op {
    Create { path: String, kind: Kind, data: Option<Vec<u8>>, acl: Vec<Acl<'static>> },
    Delete(String),
    Set(String, Option<Vec<u8>>),
    SetAcl(String, Vec<Acl<'static>>),
    Close(i64, bool),
    Multi(Vec<Op>),
}

/// The end of a session with the list of its znodes. Without it, as from before ZooKeeper 3.6, a replay over a newer tree
/// cannot know which znodes were the session's then (SC-47).
fn listed(op: Op) -> Op {
    match op {
        Op::Close(session, _) => Op::Close(session, true),
        op => op,
    }
}

/// What happens between two transactions of the history.
#[derive(Clone, Copy, Debug)]
enum Walk {
    Rest,
    Begin,
    Slice(usize),
    Abort,
}

fn paths(quotas: bool) -> BoxedStrategy<String> {
    let name = prop_oneof![
        4 => Just("a"), 4 => Just("b"), 2 => Just("c"), 1 => Just("a-name-longer-than-can-be-kept-in-place"), 1 => Just("é")
    ];
    let plain = prop::collection::vec(name, 1..4).prop_map(|names| format!("/{}", names.join("/")));
    if !quotas {
        return plain.boxed();
    }
    let quota = prop_oneof![
        Just("/a"),
        Just("/a/b"),
        Just("/a/zookeeper_limits"),
        Just("/a/zookeeper_stats"),
        Just("/a/b/zookeeper_limits"),
        Just("/a/b/zookeeper_stats"),
        Just("")
    ];
    prop_oneof![5 => plain, 2 => quota.prop_map(|path| format!("/zookeeper/quota{path}")), 1 => Just("/".to_owned())]
        .boxed()
}

fn ops(quotas: bool) -> impl Strategy<Value = Op> {
    let path = move || paths(quotas);
    let data = || prop_oneof![1 => Just(None), 5 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Some)];
    let acl = || {
        prop_oneof![
            4 => Just(open()),
            1 => Just(vec![]),
            2 => (1..31i32).prop_map(|perms| vec![Acl::new(perms, "digest", "u:h"), Acl::new(1, "world", "anyone")]),
        ]
    };
    let kind = prop_oneof![
        6 => Just(Kind::Plain), 2 => Just(Kind::Sequential), 3 => (1..4i64).prop_map(Kind::Ephemeral),
        2 => Just(Kind::Container), 2 => (1..500i64).prop_map(Kind::Ttl)
    ];
    let create = (path(), kind, data(), acl()).prop_map(|(path, kind, data, acl)| Op::Create { path, kind, data, acl });
    let one = prop_oneof![
        9 => create, 5 => path().prop_map(Op::Delete), 4 => (path(), data()).prop_map(|(p, d)| Op::Set(p, d)),
    ];
    let one = one.boxed();
    prop_oneof![
        20 => one.clone(),
        2 => (path(), acl()).prop_map(|(path, acl)| Op::SetAcl(path, acl)),
        2 => (1..4i64, any::<bool>()).prop_map(|(session, listed)| Op::Close(session, listed)),
        4 => prop::collection::vec(one, 0..5).prop_map(Op::Multi),
    ]
}

fn walks() -> impl Strategy<Value = Walk> {
    prop_oneof![8 => Just(Walk::Rest), 3 => Just(Walk::Begin), 8 => (1..6usize).prop_map(Walk::Slice), 1 => Just(Walk::Abort)]
}

/// The session that a transaction is of: for creates of ephemerals their owner, for ends of sessions theirs. A multi of
/// several sessions' ephemerals cannot be.
fn session_of(op: &Op) -> i64 {
    match op {
        Op::Create { kind: Kind::Ephemeral(session), .. } | Op::Close(session, _) => *session,
        Op::Multi(ops) => ops.iter().map(session_of).find(|&session| session != 9).unwrap_or(9),
        _ => 9,
    }
}

fn of_one_session(op: Op) -> Op {
    let session = session_of(&op);
    let Op::Multi(mut ops) = op else { return op };
    for op in &mut ops {
        if let Op::Create { kind: Kind::Ephemeral(owner), .. } = op {
            *owner = session;
        }
    }
    Op::Multi(ops)
}

/// A tree as the model has it.
fn read(tree: &Tree) -> Model {
    let plain = |id: NodeId| {
        let view = tree.view(id);
        Plain {
            data: tree.data(id).map(|data| data.into_owned()),
            acl: tree.acl(id).entries().to_vec(),
            zxids: (view.czxid.0, view.mzxid.0, view.pzxid.0),
            times: (view.ctime.0, view.mtime.0),
            versions: (view.version, view.cversion, view.aversion),
            owner: view.owner.to_i64(),
        }
    };
    Model(tree.subtree(NodeId::ROOT).map(|id| (tree.path(id), plain(id))).collect())
}

/// What clients would see, compared with what the model says.
fn compare(tree: &Tree, model: &Model, now: i64) -> Result<(), TestCaseError> {
    prop_assert_eq!(tree.check(), Ok(()));
    prop_assert_eq!(&read(tree), model);
    let (mut size, mut reapable) = (0, BTreeSet::new());
    for (path, node) in &model.0 {
        let id = tree.lookup(path).expect("read found it");
        let children = model.children(path);
        prop_assert_eq!(tree.children(id).collect::<BTreeSet<_>>(), children.clone());
        prop_assert_eq!(tree.descendants(id), model.below(path).count() - 1);
        let length = node.data.as_ref().map_or(0, Vec::len);
        size += path.len() + length;
        let stat = tree.stat(id);
        let owner = if (1..4).contains(&node.owner) { node.owner } else { 0 };
        let expected = (2 * node.versions.1 - children.len() as i32, owner, length as i32, children.len() as i32);
        prop_assert_eq!((stat.cversion, stat.ephemeral_owner, stat.data_length, stat.num_children), expected);
        let ttl = node.owner as u64 >> 40 == 0xff_0000 && now - node.times.1 > node.owner & 0xff_ffff_ffff;
        if children.is_empty() && (ttl || node.owner == i64::MIN && node.versions.1 > 0) {
            reapable.insert(path.clone());
        }
    }
    prop_assert_eq!(tree.approximate_data_size(), size as u64);
    prop_assert_eq!(tree.reapable(WallMillis(now), usize::MAX, 0).into_iter().collect::<BTreeSet<_>>(), reapable);
    for session in 1..4 {
        let owned = model.0.iter().filter(|(_, node)| node.owner == session).map(|(path, _)| path.clone());
        let listed = tree.ephemerals(SessionId(session)).map(|id| tree.path(id));
        prop_assert_eq!(listed.collect::<BTreeSet<_>>(), owned.collect::<BTreeSet<_>>());
    }
    Ok(())
}

struct Logged {
    header: TxnHeader,
    txn: Txn<'static>,
}

impl Logged {
    fn apply(&self, tree: &mut Tree) -> (Applied<'static>, Vec<(EventType, String)>) {
        let mut seen = Vec::new();
        let mut observe = |change: &ZnodeChange<'_>| seen.push((change.kind, change.path.to_owned()));
        let outcome = tree.apply(&self.header, &self.txn, &mut observe).expect("no damage");
        (outcome, seen)
    }
}

/// One request: decided by the model, applied to the tree. What changed must be what the observer was told.
fn step(tree: &mut Tree, model: &mut Model, op: Op, zxid: i64) -> Result<Logged, TestCaseError> {
    let op = of_one_session(op);
    let time = 1000 + 10 * zxid;
    let before = model.clone();
    let txn = model.decide(&op, zxid, time);
    let session = SessionId(session_of(&op));
    let header = TxnHeader { session, cxid: 0, zxid: Zxid(zxid), time, op: txn.op().to_i32() };
    let logged = Logged { header, txn };
    let (outcome, seen) = logged.apply(tree);
    compare(tree, model, time + 100)?;
    let mut now_there: BTreeSet<String> = before.0.keys().cloned().collect();
    for (kind, path) in &seen {
        match kind {
            EventType::Created => prop_assert!(now_there.insert(path.clone()), "{} created twice", path),
            EventType::Deleted => prop_assert!(now_there.remove(path), "{} deleted twice", path),
            _ => prop_assert!(now_there.contains(path), "{} set and not there", path),
        }
    }
    prop_assert_eq!(now_there, model.0.keys().cloned().collect::<BTreeSet<_>>());
    match (&logged.txn, outcome) {
        (Txn::Error(error), outcome) => {
            prop_assert_eq!(outcome, Applied::Error(ErrorCode::from_i32(error.err).expect("one of ours")));
        }
        (Txn::Multi(parts), Applied::Multi(outcomes)) => {
            let errors = outcomes.iter().filter(|outcome| matches!(outcome, Applied::Error(_))).count();
            let failed = parts.iter().any(|part| part.op == -1);
            prop_assert_eq!((outcomes.len(), errors), (parts.len(), if failed { parts.len() } else { 0 }));
        }
        (_, outcome) => prop_assert!(!matches!(outcome, Applied::Error(_)), "{:?}", outcome),
    }
    Ok(logged)
}

fn load(entries: &[Vec<u8>]) -> Result<Tree, String> {
    let mut loader = TreeLoader::new([5, 6]);
    entries.iter().try_for_each(|entry| loader.entry(entry))?;
    loader.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// S-20, S-22, S-24, S-26, SC-46, SC-48.
    #[test]
    fn the_tree_is_the_model_and_so_is_every_snapshot(
        history in prop::collection::vec((ops(true), walks()), 1..120)
    ) {
        let (mut tree, mut model) = (Tree::new([1, 2]), Model::new());
        let mut log: Vec<Logged> = Vec::new();
        let mut running: Option<(usize, Model, u64, Vec<Vec<u8>>)> = None;
        let mut done = Vec::new();
        for (at, (op, walk)) in history.into_iter().enumerate() {
            match (walk, &mut running) {
                (Walk::Begin, None) => {
                    let mut entries = Vec::new();
                    let leave = LeavingOut { after: Zxid(at as i64 / 2), upto: Zxid(at as i64), least: 2 };
                    tree.snapshot_begin_leaving(leave, &mut |entry| entries.push(entry.to_vec()));
                    running = Some((at, model.clone(), tree.digest(), entries));
                }
                (Walk::Slice(count), Some((.., entries))) => {
                    let over = tree.snapshot_slice(count, &mut |entry| entries.push(entry.to_vec()));
                    done.extend(running.take_if(|_| over));
                }
                (Walk::Abort, _) => {
                    tree.snapshot_abort();
                    running = None;
                }
                _ => {}
            }
            prop_assert_eq!(tree.snapshot_running(), running.is_some());
            log.push(step(&mut tree, &mut model, op, at as i64 + 1)?);
        }
        if let Some((.., entries)) = &mut running {
            while !tree.snapshot_slice(3, &mut |entry| entries.push(entry.to_vec())) {}
            prop_assert_eq!(tree.snapshot_preimage_bytes(), 0);
            done.extend(running.take());
        }
        for (at, then, digest, entries) in done {
            let mut loaded = load(&entries).unwrap();
            // What it leaves to the log comes from there.
            for logged in &log[at / 2..at] {
                if loaded.lacks_data_of(logged.header.zxid) {
                    loaded.fill_from_log(logged.header.zxid, &logged.txn).unwrap();
                }
            }
            prop_assert!(!loaded.lacks_data());
            compare(&loaded, &then, 0)?;
            prop_assert_eq!(loaded.digest(), digest);
            for logged in &log[at..] {
                logged.apply(&mut loaded);
            }
            compare(&loaded, &model, 0)?;
            prop_assert_eq!(loaded.digest(), tree.digest());
        }
    }

    /// S-23. Without quotas: their usage is counted anew from what a replay finds, and that is not what was there then.
    #[test]
    fn replaying_any_suffix_changes_nothing(history in prop::collection::vec(ops(false), 1..80), from in 0..80usize) {
        let (mut tree, mut model) = (Tree::new([1, 2]), Model::new());
        let mut log = Vec::new();
        for (at, op) in history.into_iter().enumerate() {
            log.push(step(&mut tree, &mut model, listed(op), at as i64 + 1)?);
        }
        for logged in &log[from % log.len()..] {
            logged.apply(&mut tree);
        }
        compare(&tree, &model, 0)?;
    }

    /// what is no snapshot is refused, and whatever is taken is a tree.
    #[test]
    fn damaged_snapshots_do_no_harm(
        history in prop::collection::vec(ops(true), 1..40),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..6u8), 1..4),
        resealed in any::<bool>(),
    ) {
        let (mut tree, mut model) = (Tree::new([1, 2]), Model::new());
        for (at, op) in history.into_iter().enumerate() {
            step(&mut tree, &mut model, op, at as i64 + 1)?;
        }
        let mut entries = Vec::new();
        tree.snapshot_begin(&mut |entry| entries.push(entry.to_vec()));
        while !tree.snapshot_slice(100, &mut |entry| entries.push(entry.to_vec())) {}
        let whole = entries.clone();
        for (which, place, byte, kind) in damage {
            let at = which.index(entries.len());
            let entry = &mut entries[at];
            match kind {
                0 => { let place = place.index(entry.len().max(1)); if let Some(b) = entry.get_mut(place) { *b ^= byte.max(1); } }
                // Ids, parents and numbers of ACLs are small, so small numbers there hit something.
                1 => if let Some(b) = entry.get_mut([2, 6, 10, 14][place.index(4)]) { *b = byte % 16; },
                2 => entry.truncate(place.index(entry.len() + 1)),
                3 => { let copy = entry.clone(); entries.push(copy); }
                4 => { let last = place.index(entries.len()); entries.swap(at, last); }
                _ => if entries.len() > 1 { entries.remove(at); },
            }
        }
        if resealed {
            entries.retain(|entry| entry.first() != Some(&15));
            let mut totals = entry::Totals::default();
            entries.iter().for_each(|entry| totals.count(entry));
            let mut trailer = Vec::new();
            entry::write_trailer(totals, &mut trailer);
            entries.push(trailer);
        }
        match load(&entries) {
            Ok(loaded) => {
                prop_assert_eq!(loaded.check(), Ok(()));
                let sorted = |entries: &[Vec<u8>]| entries.iter().cloned().collect::<BTreeSet<_>>();
                prop_assert!(resealed || sorted(&entries) == sorted(&whole), "damage went unnoticed");
            }
            Err(why) => prop_assert!(!why.is_empty()),
        }
    }
}

#[test]
fn marks_come_round_without_losing_a_znode() {
    let mut tree = Tree::new([1, 2]);
    let header = TxnHeader { session: SessionId(1), cxid: 0, zxid: Zxid(1), time: 0, op: 1 };
    for name in ["/a", "/b", "/c"] {
        let acl = vec![Acl::new(1, "ip", name)];
        let txn = CreateTxn { path: name.into(), data: Buffer(None), acl, ephemeral: false, parent_cversion: -1 };
        tree.apply(&header, &Txn::Create(txn), &mut |_| {}).unwrap();
    }
    for number in 0..2000 {
        // There are 255 marks: whole snapshots with 254 others in between have the same one.
        let whole = number % 255 == 0 || number > 1500;
        let mut entries = Vec::new();
        tree.snapshot_begin(&mut |entry| entries.push(entry.to_vec()));
        if !whole {
            tree.snapshot_slice(number % 3, &mut |_| {});
            tree.snapshot_abort();
            continue;
        }
        while !tree.snapshot_slice(2, &mut |entry| entries.push(entry.to_vec())) {}
        assert_eq!(load(&entries).map(|loaded| loaded.digest()), Ok(tree.digest()), "snapshot {number}");
    }
}
