//! From the entries of a snapshot back to a tree. Trusts nothing that it reads.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use super::entry::{self, NodeEntry, SnapshotEntry, Totals};
use super::index::Turn;
use super::node::Node;
use super::table::{PARTS, Table};
use super::{NodeId, Owner, Tree};
use crate::hash::{Keys, ROOT_HASH};
use crate::ids::Zxid;
use crate::path::{CONFIG, QUOTA, SYSTEM};

/// A tree in the making: give it every entry of a snapshot, then [`finish`](TreeLoader::finish).
///
/// Whatever the entries say, it does not panic, and takes memory for what is there, not for what is claimed.
pub struct TreeLoader {
    pub(super) tree: Tree,
    /// Ids in the snapshot to ids in the tree; `None` where they are the same.
    ids: Option<Ids>,
    /// Numbers of ACLs in the snapshot to those in the tree.
    acls: Map<u32>,
    /// Lists that are counted once more than znodes have them.
    spare_acls: Vec<u32>,
    has_header: bool,
    trailer: Option<Totals>,
    totals: Totals,
}

struct Map<V>(HashTable<(u32, V)>);

/// Ids by number, [`PAGE`] at a time: a snapshot has them nearly in order, so most are found where the last one was.
struct Ids {
    numbers: Map<u32>,
    pages: Vec<[NodeId; PAGE]>,
    /// The page of the last one, and its place.
    last: (u32, u32),
}

/// Small enough that numbers far from each other take no more memory than the znodes do that have them.
const PAGE: usize = 64;

impl TreeLoader {
    /// Nothing loaded yet. `seed` is the secret of the new tree's index, as for [`Tree::new`].
    pub fn new(seed: [u64; 2]) -> TreeLoader {
        let mut tree = Tree::bare(seed);
        // The root must have its place, and need not come first.
        let root = tree.nodes.insert(Node::vacant(NodeId::NIL));
        debug_assert_eq!(root, NodeId::ROOT);
        TreeLoader {
            tree,
            ids: Some(Ids { numbers: Map(HashTable::new()), pages: Vec::new(), last: (u32::MAX, 0) }),
            acls: Map(HashTable::new()),
            spare_acls: Vec::new(),
            has_header: false,
            trailer: None,
            totals: Totals::default(),
        }
    }

    /// The same for a caller that puts znodes into the tree by itself, each with its parent's id there.
    pub(super) fn with_ids_of_its_own(seed: [u64; 2]) -> TreeLoader {
        TreeLoader { ids: None, ..TreeLoader::new(seed) }
    }

    /// One user less of a list when the tree is whole.
    pub(super) fn spare_acl(&mut self, acl: u32) {
        self.spare_acls.push(acl);
    }

    /// Takes in one entry, one that begins with a byte from 1 to 15.
    ///
    /// # Errors
    /// A sentence about what is wrong with it. The loader is of no use afterwards.
    pub fn entry(&mut self, bytes: &[u8]) -> Result<(), String> {
        let entry = entry::read(bytes)?;
        if self.has_header == matches!(entry, SnapshotEntry::Header) {
            return Err("the header of the tree is missing or comes twice".into());
        }
        if self.trailer.is_some() {
            return Err("an entry comes after the trailer of the tree".into());
        }
        if !matches!(entry, SnapshotEntry::Trailer(_)) {
            self.totals.count(bytes);
        }
        match entry {
            SnapshotEntry::Header => self.has_header = true,
            SnapshotEntry::Trailer(totals) => self.trailer = Some(totals),
            SnapshotEntry::Acl(number, list) => {
                let keys = self.tree.keys;
                let here = self.tree.acls.intern(&list);
                if !self.acls.insert(number, here, |number| keys.number(number)) {
                    return Err(format!("ACL {number} comes twice"));
                }
            }
            SnapshotEntry::Node(entry) => self.node(entry)?,
        }
        Ok(())
    }

    fn node(&mut self, NodeEntry { id: number, mut node, left }: NodeEntry) -> Result<(), String> {
        let keys = self.tree.keys;
        let acl = self.acls.find(node.acl, keys.number(node.acl));
        node.acl = acl.ok_or_else(|| format!("znode {number} names ACL {}, which did not come", node.acl))?;
        self.tree.acls.share(node.acl);
        let name = node.name.as_bytes();
        let is_root = node.parent == NodeId(number);
        let mzxid = node.mzxid;
        if is_root != name.is_empty() || name.contains(&b'/') {
            return Err(format!("znode {number} cannot have the name {:?}", node.name.as_str()));
        }
        let id = if !is_root {
            self.tree.nodes.insert(node)
        } else if self.tree.nodes.get(NodeId::ROOT).is_some() {
            return Err(format!("znode {number} is a second root"));
        } else {
            self.tree.nodes.set_root(node);
            NodeId::ROOT
        };
        let is_new = self.ids.as_mut().is_none_or(|ids| ids.insert(number, id, keys));
        if !is_new {
            return Err(format!("znode {number} comes twice"));
        }
        if let Some(mark) = left {
            self.tree.left.add(mzxid, id, mark);
        }
        Ok(())
    }

    /// Puts the znodes together.
    ///
    /// # Errors
    /// A sentence about what is missing or does not fit: the trailer, a parent, a znode that no path leads to, a name
    /// that comes twice, another content than the trailer says.
    pub fn finish(self) -> Result<Tree, String> {
        let trailer = self.trailer.ok_or("the trailer of the tree is missing")?;
        if trailer != self.totals {
            return Err(format!("the trailer says {trailer:?}, the entries are {:?}", self.totals));
        }
        self.assemble()
    }

    /// Links the znodes that have come, and enters them into everything that is derived from them.
    ///
    /// # Errors
    /// As [`finish`](TreeLoader::finish).
    pub(super) fn assemble(mut self) -> Result<Tree, String> {
        if self.tree.nodes.get(NodeId::ROOT).is_none() {
            return Err("there is no root".into());
        }
        self.link()?;
        self.sort_siblings();
        self.enter()?;
        for acl in self.acls.0.drain().map(|(_, acl)| acl).chain(self.spare_acls.drain(..)) {
            self.tree.acls.release(acl);
        }
        let tree = &mut self.tree;
        tree.left.sort();
        if let Some(path) = tree.left_below_system() {
            return Err(format!("the data of {path} is never left to the log"));
        }
        for path in [SYSTEM, QUOTA, CONFIG] {
            let id = tree.lookup(path).ok_or_else(|| format!("there is no {path}"))?;
            if tree.nodes[id].owner() != Owner::None {
                return Err(format!("{path} is not persistent"));
            }
        }
        tree.find_quotas();
        Ok(self.tree)
    }

    /// Rings of siblings, in order of id.
    fn link(&mut self) -> Result<(), String> {
        let (nodes, inners) = (&mut self.tree.nodes, &mut self.tree.inners);
        let keys = self.tree.keys;
        nodes[NodeId::ROOT].parent = NodeId::NIL;
        if nodes[NodeId::ROOT].owner() != Owner::None {
            return Err("the root is not persistent".into());
        }
        for id in (1..nodes.end()).map(NodeId) {
            let number = nodes[id].parent.0;
            let parent = match &mut self.ids {
                Some(ids) => ids.find(number, keys),
                None => Some(nodes[id].parent),
            };
            let parent = parent.ok_or_else(|| format!("{:?} has no parent {number}", nodes[id].name.as_str()))?;
            if nodes[parent].is_ephemeral() {
                return Err(format!("{:?} is below an ephemeral", nodes[id].name.as_str()));
            }
            let (first, last) = if nodes[parent].child_count == 0 {
                nodes[parent].place = inners.insert(id);
                (id, id)
            } else {
                let inner = &mut inners[nodes[parent].place];
                (inner.first, std::mem::replace(&mut inner.last, id))
            };
            nodes[parent].child_count += 1;
            let node = &mut nodes[id];
            (node.parent, node.prev, node.next) = (parent, last, first);
            nodes[last].next = id;
            nodes[first].prev = id;
        }
        Ok(())
    }

    /// Siblings in order of creation, where reused ids have them in another.
    fn sort_siblings(&mut self) {
        let tree = &mut self.tree;
        let mut children: Vec<(i64, NodeId)> = Vec::new();
        for parent in (0..tree.nodes.end()).map(NodeId) {
            if tree.nodes[parent].child_count < 2 {
                continue;
            }
            children.clear();
            children.extend(tree.child_ids(parent).map(|id| (tree.nodes[id].czxid, id)));
            if children.is_sorted() {
                continue;
            }
            children.sort_unstable();
            let (_, mut last) = children[children.len() - 1];
            let inner = &mut tree.inners[tree.nodes[parent].place];
            (inner.first, inner.last) = (children[0].1, last);
            for &(_, id) in &children {
                tree.nodes[last].next = id;
                tree.nodes[id].prev = last;
                last = id;
            }
        }
    }

    /// Enters every znode into the index, the side tables and the sums. Looks at znodes in the order in which they lie in
    /// memory, and fills the index part by part: in the order of the tree nearly each look would miss the cache.
    fn enter(&mut self) -> Result<(), String> {
        let above = self.places()?;
        let tree = &mut self.tree;
        let mut parts: Vec<Vec<(u64, NodeId)>> = (0..PARTS).map(|_| Vec::new()).collect();
        parts.iter_mut().for_each(|part| part.reserve(tree.nodes.len() / PARTS));
        for id in (0..tree.nodes.end()).map(NodeId) {
            let node = &tree.nodes[id];
            let mut length = 1;
            let data_length = node.data_length() as u64;
            if id != NodeId::ROOT {
                let name = node.name.as_bytes();
                let parent = tree.nodes[node.parent].place;
                let place = &above[parent as usize];
                let hash = tree.keys.step(place.hash, name);
                parts[Table::part(hash)].push((hash, id));
                length = place.length + 1 + name.len();
                let inner = &mut tree.inners[parent];
                inner.below += 1;
                inner.bytes += data_length;
            }
            tree.sizes.paths += length as u64;
            tree.sizes.names += node.name.as_bytes().len() as u64;
            tree.sizes.data += data_length;
            tree.sizes.boxed += node.boxed_bytes();
            tree.loaded_upto = tree.loaded_upto.max(Zxid(node.mzxid));
            tree.reaper.moved(id, None, Turn::of(node));
            if let Owner::Session(session) = node.owner() {
                let makes_quota = tree.is_in_quotas(id);
                let nodes = &mut tree.nodes;
                tree.ephemerals.add(session, id, makes_quota, |id, place| nodes[id].place = place as u32);
            }
        }
        tree.table.reserve(tree.nodes.len());
        for (hash, id) in parts.into_iter().flatten() {
            let nodes = &tree.nodes;
            let is_same = |other| {
                let (one, other) = (&nodes[id], &nodes[other]);
                one.parent == other.parent && one.name.as_bytes() == other.name.as_bytes()
            };
            if !tree.table.insert_new(hash, id, is_same) {
                return Err(format!("{} comes twice", tree.path(id)));
            }
        }
        self.sum_up(above);
        Ok(())
    }

    /// Where the znodes with children are, by the place of each among the `Branches`.
    fn places(&self) -> Result<Vec<ParentPlace>, String> {
        let tree = &self.tree;
        let mut places: Vec<ParentPlace> = Vec::new();
        let mut climb = Vec::new();
        for id in (0..tree.nodes.end()).map(NodeId).filter(|&id| tree.nodes[id].child_count > 0) {
            let place = tree.nodes[id].place as usize;
            // Places are given out in the order in which children come.
            if places.len() <= place {
                places.resize(place + 1, ParentPlace::UNKNOWN);
            }
            let mut at = id;
            while at != NodeId::ROOT && places.get(tree.nodes[at].place as usize).is_none_or(|at| !at.is_known()) {
                climb.push(at);
                // One that is met twice on the way up has no way up.
                if climb.len() > tree.nodes.len() {
                    let reached = tree.subtree(NodeId::ROOT).count();
                    return Err(format!("{} znodes are not below the root", tree.nodes.len() - reached));
                }
                at = tree.nodes[at].parent;
            }
            let mut from = match at {
                NodeId::ROOT => ParentPlace { id: at, hash: ROOT_HASH, length: 0, depth: 1 },
                at => places[tree.nodes[at].place as usize],
            };
            for at in std::iter::once(at).chain(std::iter::from_fn(|| climb.pop())) {
                if from.id != at {
                    let name = tree.nodes[at].name.as_bytes();
                    let (hash, length) = (tree.keys.step(from.hash, name), from.length + 1 + name.len());
                    from = ParentPlace { id: at, hash, length, depth: from.depth + 1 };
                }
                let place = tree.nodes[at].place as usize;
                if places.len() <= place {
                    places.resize(place + 1, ParentPlace::UNKNOWN);
                }
                places[place] = from;
            }
        }
        Ok(places)
    }

    /// Adds what each znode counts of those below it to what its parent counts, from the lowest up.
    fn sum_up(&mut self, mut places: Vec<ParentPlace>) {
        let tree = &mut self.tree;
        places.retain(|place| place.is_known() && place.id != NodeId::ROOT);
        places.sort_unstable_by_key(|place| std::cmp::Reverse(place.depth));
        for ParentPlace { id, .. } in places {
            let (below, bytes) = tree.below_of(id);
            let above = &mut tree.inners[tree.nodes[tree.nodes[id].parent].place];
            above.below += below;
            above.bytes += bytes;
        }
    }
}

/// Where a znode with children is in the tree.
#[derive(Clone, Copy)]
struct ParentPlace {
    id: NodeId,
    hash: u64,
    /// Bytes of its path; of the root none.
    length: usize,
    /// Names in its path and one; 0 where this is not known.
    depth: u32,
}

impl ParentPlace {
    const UNKNOWN: ParentPlace = ParentPlace { id: NodeId::NIL, hash: 0, length: 0, depth: 0 };

    fn is_known(&self) -> bool {
        self.depth > 0
    }
}

impl Ids {
    fn find(&mut self, number: u32, keys: Keys) -> Option<NodeId> {
        let page = self.page(number, keys)?;
        Some(self.pages[page as usize][number as usize % PAGE]).filter(|id| *id != NodeId::NIL)
    }

    /// Whether the number is new; if not, nothing is changed.
    fn insert(&mut self, number: u32, id: NodeId, keys: Keys) -> bool {
        let page = self.page(number, keys).unwrap_or_else(|| {
            let (key, page) = (number / PAGE as u32, self.pages.len() as u32);
            self.pages.push([NodeId::NIL; PAGE]);
            self.numbers.insert(key, page, |key| keys.number(key));
            self.last = (key, page);
            page
        });
        let place = &mut self.pages[page as usize][number as usize % PAGE];
        let is_new = *place == NodeId::NIL;
        if is_new {
            *place = id;
        }
        is_new
    }

    fn page(&mut self, number: u32, keys: Keys) -> Option<u32> {
        let key = number / PAGE as u32;
        if self.last.0 != key {
            self.last = (key, self.numbers.find(key, keys.number(key))?);
        }
        Some(self.last.1)
    }
}

impl<V: Copy> Map<V> {
    fn find(&self, number: u32, hash: u64) -> Option<V> {
        self.0.find(hash, |&(other, _)| other == number).map(|&(_, value)| value)
    }

    /// Whether the number is new; if not, nothing is changed.
    fn insert(&mut self, number: u32, value: V, hash: impl Fn(u32) -> u64) -> bool {
        match self.0.entry(hash(number), |&(other, _)| other == number, |&(number, _)| hash(number)) {
            Slot::Occupied(_) => false,
            Slot::Vacant(slot) => {
                slot.insert((number, value));
                true
            }
        }
    }
}
