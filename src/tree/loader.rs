//! From the entries of a snapshot back to a tree. Trusts nothing that it reads.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use super::entry::{self, Entry, NodeEntry, Totals};
use super::hash::ROOT_HASH;
use super::index::Turn;
use super::node::Node;
use super::{NodeId, Owner, Tree};
use crate::path::{CONFIG, QUOTA, SYSTEM};

/// A tree in the making: give it every entry of a snapshot, then [`finish`](TreeLoader::finish).
///
/// Whatever the entries say, it does not panic, and takes memory for what is there, not for what is claimed.
pub struct TreeLoader {
    tree: Tree,
    /// Ids in the snapshot to ids in the tree.
    ids: Map<NodeId>,
    /// Numbers of ACLs in the snapshot to those in the tree.
    acls: Map<u32>,
    has_header: bool,
    trailer: Option<Totals>,
    totals: Totals,
}

struct Map<V>(HashTable<(u32, V)>);

impl TreeLoader {
    /// Nothing loaded yet. `seed` is the secret of the new tree's index, as for [`Tree::new`].
    pub fn new(seed: [u64; 2]) -> TreeLoader {
        let mut tree = Tree::bare(seed);
        // The root must have its place, and need not come first.
        let root = tree.nodes.insert(Node::vacant(NodeId::NIL));
        debug_assert_eq!(root, NodeId::ROOT);
        TreeLoader {
            tree,
            ids: Map(HashTable::new()),
            acls: Map(HashTable::new()),
            has_header: false,
            trailer: None,
            totals: Totals::default(),
        }
    }

    /// Takes in one entry, one that begins with a byte from 1 to 15.
    ///
    /// # Errors
    /// A sentence about what is wrong with it. The loader is of no use afterwards.
    pub fn entry(&mut self, bytes: &[u8]) -> Result<(), String> {
        let entry = entry::read(bytes)?;
        if self.has_header == matches!(entry, Entry::Header) {
            return Err("the header of the tree is missing or comes twice".into());
        }
        if self.trailer.is_some() {
            return Err("an entry comes after the trailer of the tree".into());
        }
        if !matches!(entry, Entry::Trailer(_)) {
            self.totals.count(bytes);
        }
        match entry {
            Entry::Header => self.has_header = true,
            Entry::Trailer(totals) => self.trailer = Some(totals),
            Entry::Acl(number, list) => {
                let keys = self.tree.keys;
                let here = self.tree.acls.intern(&list);
                if !self.acls.insert(number, here, |number| keys.number(number)) {
                    return Err(format!("ACL {number} comes twice"));
                }
            }
            Entry::Node(entry) => self.node(entry)?,
        }
        Ok(())
    }

    fn node(&mut self, NodeEntry { id: number, mut node }: NodeEntry) -> Result<(), String> {
        let keys = self.tree.keys;
        let acl = self.acls.find(node.acl, keys.number(node.acl));
        node.acl = acl.ok_or_else(|| format!("znode {number} names ACL {}, which did not come", node.acl))?;
        self.tree.acls.share(node.acl);
        let name = node.name.as_bytes();
        let is_root = node.parent == NodeId(number);
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
        if !self.ids.insert(number, id, |number| keys.number(number)) {
            return Err(format!("znode {number} comes twice"));
        }
        Ok(())
    }

    /// Puts the znodes together.
    ///
    /// # Errors
    /// A sentence about what is missing or does not fit: the trailer, a parent, a znode that no path leads to, a name
    /// that comes twice, another content than the trailer says.
    pub fn finish(mut self) -> Result<Tree, String> {
        let trailer = self.trailer.ok_or("the trailer of the tree is missing")?;
        if trailer != self.totals {
            return Err(format!("the trailer says {trailer:?}, the entries are {:?}", self.totals));
        }
        if self.tree.nodes.get(NodeId::ROOT).is_none() {
            return Err("there is no root".into());
        }
        self.link()?;
        self.sort_siblings();
        self.enter()?;
        for (_, acl) in self.acls.0.drain() {
            self.tree.acls.release(acl);
        }
        let tree = &mut self.tree;
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
            let parent = self.ids.find(number, keys.number(number));
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
        for parent in (0..tree.nodes.end()).map(NodeId) {
            if tree.nodes[parent].child_count < 2 || tree.child_ids(parent).is_sorted_by_key(|id| tree.nodes[id].czxid)
            {
                continue;
            }
            let mut children: Vec<NodeId> = tree.child_ids(parent).collect();
            children.sort_by_key(|&id| tree.nodes[id].czxid);
            let mut last = children[children.len() - 1];
            let inner = &mut tree.inners[tree.nodes[parent].place];
            (inner.first, inner.last) = (children[0], children[children.len() - 1]);
            for id in children {
                tree.nodes[last].next = id;
                tree.nodes[id].prev = last;
                last = id;
            }
        }
    }

    /// Walks down from the root and enters what it meets into the index, the side tables and the sums.
    fn enter(&mut self) -> Result<(), String> {
        let tree = &mut self.tree;
        // Of each znode on the way down: its hash, and the length of its path.
        let mut above: Vec<(NodeId, u64, usize)> = Vec::new();
        let mut at = Some(NodeId::ROOT);
        let mut reached = 0;
        while let Some(id) = at {
            reached += 1;
            let node = &tree.nodes[id];
            let (hash, length) = match above.last() {
                None => (ROOT_HASH, 0),
                Some(&(_, hash, length)) => {
                    let name = node.name.as_bytes();
                    let hash = tree.keys.step(hash, name);
                    if tree.child(node.parent, name, hash).is_some() {
                        return Err(format!("{} comes twice", tree.path(id)));
                    }
                    tree.table.insert(hash, id);
                    (hash, length + 1 + name.len())
                }
            };
            tree.sizes.paths += length.max(1) as u64;
            tree.sizes.names += node.name.as_bytes().len() as u64;
            tree.sizes.data += node.data_length() as u64;
            tree.sizes.boxed += node.boxed_bytes();
            tree.reaper.moved(id, None, Turn::of(node));
            if let Owner::Session(session) = node.owner() {
                let makes_quota = tree.is_in_quotas(id);
                let nodes = &mut tree.nodes;
                tree.ephemerals.add(session, id, makes_quota, |id, place| nodes[id].place = place as u32);
            }
            at = tree.first_child(id);
            if at.is_some() {
                above.push((id, hash, length));
                continue;
            }
            let mut done = id;
            while let Some(&(parent, ..)) = above.last() {
                let (below, bytes) = tree.below_of(done);
                let bytes = bytes + tree.nodes[done].data_length() as u64;
                let inner = &mut tree.inners[tree.nodes[parent].place];
                inner.below += below + 1;
                inner.bytes += bytes;
                let (first, next) = (inner.first, tree.nodes[done].next);
                if next != first {
                    at = Some(next);
                    break;
                }
                above.pop();
                done = parent;
            }
        }
        // Every znode has one parent, so what was not met hangs on a ring of its own.
        if reached < tree.nodes.len() {
            return Err(format!("{} znodes are not below the root", tree.nodes.len() - reached));
        }
        Ok(())
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
