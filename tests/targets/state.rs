//! What the engine keeps: transactions applied, snapshots loaded, watches counted (Z-08, Z-11, Z-15).

use std::collections::{BTreeMap, BTreeSet};

use zoarium::engine::{Engine, ReplicatedState};
use zoarium::ids::{SessionId, Zxid};
use zoarium::jute::{Buffer, encode};
use zoarium::records::txn::{CreateTxn, Txn, TxnHeader, encode_txn};
use zoarium::records::{Acl, Stat};
use zoarium::tree::{NodeId, snapshot_trailer};
use zoarium::watches::{Modes, WatchKind, Watches};

use super::conversation::settings;
use super::{Rng, pieces};

/// The first byte of a snapshot's entries that belong to the tree is below this.
const TREE_TAGS: u8 = 16;
const TRAILER: u8 = 15;

/// Path, metadata, data, ACL.
type Znode = (String, Stat, Option<Vec<u8>>, Vec<Acl<'static>>);

/// A state to compare: every znode, and the sessions as the snapshot has them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    /// In order of the paths.
    pub(crate) nodes: Vec<Znode>,
    sessions: Vec<Vec<u8>>,
}

/// The entries of a snapshot taken now.
pub(crate) fn entries(engine: &mut Engine) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    engine.snapshot_begin(&mut |entry| entries.push(entry.to_vec()));
    while !engine.snapshot_slice(16, &mut |entry| entries.push(entry.to_vec())) {}
    entries
}

pub(crate) fn picture(engine: &mut Engine) -> Picture {
    let mut sessions: Vec<Vec<u8>> = entries(engine).into_iter().filter(|entry| entry[0] >= TREE_TAGS).collect();
    sessions.sort();
    let tree = engine.tree();
    let mut nodes = Vec::new();
    let mut ahead = vec![NodeId::ROOT];
    while let Some(id) = ahead.pop() {
        ahead.extend(tree.child_ids(id));
        let acl = tree.acl(id).entries().to_vec();
        nodes.push((tree.path(id), tree.stat(id), tree.data(id).map(|data| data.into_owned()), acl));
    }
    assert_eq!(nodes.len(), tree.node_count());
    nodes.sort_by(|a, b| a.0.cmp(&b.0));
    Picture { nodes, sessions }
}

fn loaded<'a>(zxid: Zxid, entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Engine, String> {
    let mut state = ReplicatedState::new(&settings(), [7, 8]);
    state.load_begin(zxid);
    for entry in entries {
        state.load_entry(entry).map_err(|damage| damage.0)?;
    }
    state.load_end().map_err(|damage| damage.0)?;
    Ok(Engine::new(settings(), [3; 32], state))
}

/// The state after a snapshot was taken and loaded.
pub(crate) fn reloaded(engine: &mut Engine) -> Result<Picture, String> {
    let entries = entries(engine);
    loaded(engine.applied(), entries.iter().map(|entry| &entry[..])).map(|mut engine| picture(&mut engine))
}

/// Z-11: pieces are transactions as logged. Their zxids are put in order, else nothing deep is reached, unless the first
/// piece asks for them as they are.
pub(crate) fn replay(input: &[u8]) {
    let mut engine = Engine::empty(settings(), [3; 32], [1, 2]);
    let mut refused = 0;
    for piece in pieces(input) {
        let mut txn = piece.to_vec();
        let zxid = Zxid(engine.applied().0 + 1);
        let place = 12..20;
        if let Some(bytes) = txn.get_mut(place)
            && bytes[0] != 0xff
        {
            bytes.copy_from_slice(&zxid.0.to_be_bytes());
        }
        let before = engine.applied();
        match engine.replay(zxid, &txn) {
            Ok(()) => assert_eq!(engine.applied(), zxid),
            Err(_) => {
                refused += 1;
                assert_eq!(engine.applied(), before);
            }
        }
    }
    let now = picture(&mut engine);
    assert_eq!(reloaded(&mut engine), Ok(now), "the snapshot says something else ({refused} refused)");
}

/// Z-08: pieces are entries of a snapshot. The trailer is put right, else nothing deep is reached, unless there is one.
pub(crate) fn snapshot(input: &[u8]) {
    let mut entries = pieces(input);
    let trailer = snapshot_trailer(entries.iter().copied().filter(|entry| is_of_the_tree(entry)));
    if !entries.iter().any(|entry| entry.first() == Some(&TRAILER)) {
        entries.push(&trailer);
    }
    let Ok(mut engine) = loaded(Zxid(1 << 20), entries) else { return };
    let now = picture(&mut engine);
    assert_eq!(reloaded(&mut engine), Ok(now), "the snapshot says something else");
    // It must be a state that can go on: one create, wherever it is allowed.
    let zxid = Zxid(engine.applied().0 + 1);
    let mut txn = Vec::new();
    let create = Txn::Create(CreateTxn {
        path: "/after all".into(),
        data: Buffer::new(b"x"),
        acl: vec![Acl::open()],
        ephemeral: false,
        parent_cversion: 1,
    });
    let header = TxnHeader { session: SessionId(1), cxid: 1, zxid, time: 1, op: create.op().to_i32() };
    encode_txn(&header, &create, &mut txn);
    engine.replay(zxid, &txn).expect("a create can be applied");
    let now = picture(&mut engine);
    assert_eq!(reloaded(&mut engine), Ok(now), "the snapshot says something else, one create later");
}

fn is_of_the_tree(entry: &[u8]) -> bool {
    entry.first().is_some_and(|&tag| tag < TREE_TAGS)
}

/// Z-15: bytes are calls, compared with a list.
pub(crate) fn watches(input: &[u8]) {
    let paths = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", ""];
    let mut real = Watches::new([1, 2]);
    let mut model: BTreeMap<(&str, u32), u8> = BTreeMap::new();
    let mut rng = Rng::of(input);
    for call in input.chunks_exact(2) {
        let watcher = u32::from(call[0] >> 4) % 5;
        let path = paths[usize::from(call[1]) % paths.len()];
        let bits = call[1] >> 4;
        match call[0] & 7 {
            0..=2 => {
                let modes = [Modes::DATA, Modes::CHILD, Modes::PERSISTENT, Modes::RECURSIVE];
                let which = rng.below(4);
                real.add(watcher, path, modes[which]);
                *model.entry((path, watcher)).or_default() |= 1 << which;
            }
            3 => {
                let number = 1 + i32::from(bits) % 5;
                let kind = WatchKind::from_i32(number).expect("one of five");
                let mask = [2, 1, 15, 4, 8][number as usize - 1];
                let there = model.get(&(path, watcher)).is_some_and(|modes| modes & mask != 0);
                assert_eq!(real.contains(watcher, path, kind), there);
                assert_eq!(real.remove(watcher, path, kind), there);
                strip(&mut model, |at| at == (path, watcher), mask);
            }
            4 => {
                real.remove_watcher(watcher);
                strip(&mut model, |at| at.1 == watcher, 15);
            }
            5 | 6 => {
                let mut hits = Vec::new();
                real.trigger_data(path, &mut hits);
                hits.sort_unstable();
                assert_eq!(hits, data_hits(&model, path), "data at {path:?}");
                strip(&mut model, |at| at.0 == path, 1);
            }
            _ => {
                let mut hits = Vec::new();
                real.trigger_child(path, &mut hits);
                hits.sort_unstable();
                let there = model.iter().filter(|(at, modes)| at.0 == path && *modes & 6 != 0);
                let mut expected: Vec<u32> = there.map(|(at, _)| at.1).collect();
                expected.sort_unstable();
                assert_eq!(hits, expected, "children at {path:?}");
                strip(&mut model, |at| at.0 == path, 2);
            }
        }
        let tables = |modes: &u8| usize::from(modes & 13 != 0) + usize::from(modes & 6 != 0);
        assert_eq!(real.count(), model.values().map(tables).sum::<usize>());
        assert_eq!(real.data_count(), model.values().filter(|modes| *modes & 13 != 0).count());
        assert_eq!(real.is_empty(), model.is_empty());
        assert_eq!(real.paths_of(watcher), model.keys().filter(|at| at.1 == watcher).count());
        let own: usize = model.keys().filter(|at| at.1 == watcher).map(|at| at.0.len()).sum();
        assert_eq!(real.path_bytes_of(watcher), own);
        let all: BTreeSet<&str> = model.keys().map(|at| at.0).collect();
        assert_eq!(real.path_bytes(), all.iter().map(|path| path.len()).sum::<usize>());
    }
}

fn strip(model: &mut BTreeMap<(&str, u32), u8>, concerns: impl Fn((&str, u32)) -> bool, mask: u8) {
    model.retain(|&at, modes| {
        if concerns(at) {
            *modes &= !mask;
        }
        *modes != 0
    });
}

fn data_hits(model: &BTreeMap<(&str, u32), u8>, path: &str) -> Vec<u32> {
    let is_above = |above: &str| {
        path != above
            && path.starts_with('/')
            && (above == "/" || path.starts_with(&format!("{above}/")) && !above.is_empty())
    };
    let mut hits: Vec<u32> = model
        .iter()
        .filter(|((at, _), modes)| (*at == path && **modes & 13 != 0) || (is_above(at) && **modes & 8 != 0))
        .map(|((_, watcher), _)| *watcher)
        .collect();
    hits.sort_unstable();
    hits.dedup();
    hits
}

/// Pieces as [`pieces`] reads them.
pub(crate) fn joined<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        let length = u16::try_from(part.len()).expect("a seed's piece is small");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// A transaction's bytes.
pub(crate) fn logged(zxid: i64, txn: &Txn<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = TxnHeader {
        session: SessionId(0x1_0000_0001),
        cxid: 1,
        zxid: Zxid(zxid),
        time: 1_700_000_000_000,
        op: txn.op().to_i32(),
    };
    encode(&header, &mut bytes);
    txn.encode(&mut bytes);
    bytes
}
