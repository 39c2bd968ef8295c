//! The znodes of one server: what clients read, and what committed transactions change.
//!
//! [`Tree::apply`] is the only way in: a pure function of the tree and one transaction (S-20). There is no clock, no
//! file and no permission check here; whether a request may become a transaction is the engine's decision. Transactions
//! that the tree has seen already, or whose znodes have gone since, are harmless, so a log may be replayed over a
//! newer tree (S-23).

mod acls;
mod apply;
mod check;
mod digest;
mod entry;
mod index;
mod left;
mod loader;
mod network;
mod node;
mod owner;
mod quota;
mod slab;
mod snapshot;
mod stream;
mod table;
mod walk;

#[cfg(test)]
mod cost;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use acls::AclList;
pub(crate) use acls::id_hash;
pub use apply::{Applied, ApplyError, ZnodeChange};
#[doc(hidden)]
pub use entry::snapshot_trailer;
pub use loader::TreeLoader;
pub use network::{IpNetwork, NoNetwork};
pub use node::NodeId;
pub use owner::Owner;
pub use quota::{Quota, Track, Unparsable};
pub use snapshot::{LargeData, LeavingOut};
pub use stream::StateLoader;
pub use walk::{STATE_WALKS_MAX, StateWalkId, Walked};

use std::borrow::Cow;
use std::sync::Arc;

use crate::hash::{Keys, ROOT_HASH};
use acls::Acls;
use index::{Ephemerals, Reaper, Turn};
use left::LeftValues;
use node::{NODE_SIZE, Name, Node};
use quota::Quotas;
use slab::{Branch, Branches, Slab};
use snapshot::TreeSnapshots;
use table::{SLOT_SIZE, Table};
use walk::StateWalks;

use crate::ids::{SessionId, WallMillis, Zxid};
use crate::path::{self, CONFIG, QUOTA, SYSTEM};
use crate::records::{Acl, Stat, perms};

/// All znodes of a server, at one moment of its history.
///
/// A [`NodeId`] stays good until its znode is deleted; using it afterwards panics or gives another znode, so ids are not
/// to be kept across [`Tree::apply`] except by a caller that hears of every deletion.
pub struct Tree {
    nodes: Slab,
    inners: Branches,
    table: Table,
    keys: Keys,
    acls: Acls,
    ephemerals: Ephemerals,
    reaper: Reaper,
    quotas: Quotas,
    sizes: TreeSizes,
    snapshots: TreeSnapshots,
    /// The highest mzxid when it was loaded. One from elsewhere may have some above its own zxid, which are others' here.
    loaded_upto: Zxid,
    /// What the snapshot that it was loaded from leaves to the log.
    left: LeftValues,
    state_walks: StateWalks,
}

/// The hash of a path under one tree's secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathHash(u64);

impl PathHash {
    /// As a number, for tables of one's own.
    #[inline]
    pub fn number(self) -> u64 {
        self.0
    }
}

/// Sums over all znodes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct TreeSizes {
    /// Lengths of the full paths.
    paths: u64,
    /// Lengths of the names.
    names: u64,
    /// Lengths of the data.
    data: u64,
    /// Memory of names and data outside of the slots.
    boxed: u64,
}

/// What the tree knows of one znode, in its own terms. [`Tree::stat`] has the client's.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    /// The transaction that created it.
    pub czxid: Zxid,
    /// The transaction of the last `setData`, or of the creation.
    pub mzxid: Zxid,
    /// The last transaction that created or deleted a direct child, or created this znode.
    pub pzxid: Zxid,
    /// When it was created.
    pub ctime: WallMillis,
    /// When its data was last set, or it was created.
    pub mtime: WallMillis,
    /// Number of `setData` since creation.
    pub version: i32,
    /// Number of children ever created: what the next sequence number is. Not what clients see as `cversion`.
    pub cversion: i32,
    /// Number of `setACL` since creation.
    pub aversion: i32,
    /// What ties its life to something.
    pub owner: Owner,
    /// Direct children.
    pub child_count: u32,
    /// Bytes of data; 0 for null.
    pub data_length: usize,
    /// Who may do what.
    pub acl: &'a Arc<AclList>,
}

impl Tree {
    /// The tree of a fresh server: the root, `/zookeeper`, `/zookeeper/quota` and `/zookeeper/config`.
    ///
    /// `seed` is the secret that keeps clients from choosing names that collide; it has no other influence.
    pub fn new(seed: [u64; 2]) -> Tree {
        let mut tree = Tree::bare(seed);
        tree.plant(None, "", &[Acl::open()]);
        let system = tree.plant(Some(NodeId::ROOT), SYSTEM, &[Acl::open()]);
        tree.plant(Some(system), QUOTA, &[Acl::open()]);
        let config = tree.plant(Some(system), CONFIG, &[Acl::new(perms::READ, "world", "anyone")]);
        tree.nodes[config].aversion = -1;
        tree
    }

    fn bare(seed: [u64; 2]) -> Tree {
        let keys = Keys(seed);
        Tree {
            nodes: Slab::new(),
            inners: Branches::default(),
            table: Table::new(),
            keys,
            acls: Acls::new(keys),
            ephemerals: Ephemerals::default(),
            reaper: Reaper::default(),
            quotas: Quotas::default(),
            sizes: TreeSizes::default(),
            snapshots: TreeSnapshots::default(),
            loaded_upto: Zxid::ZERO,
            left: LeftValues::default(),
            state_walks: StateWalks::default(),
        }
    }

    /// A znode that was there before the first transaction. Its parent's counter knows nothing of it.
    fn plant(&mut self, parent: Option<NodeId>, path: &str, acl: &[Acl<'_>]) -> NodeId {
        let name = path::name(path);
        let acl = self.acls.intern(acl);
        let node = Node::new(Name::new(name), Some(Box::default()), acl, Owner::None, 0, 0);
        self.insert(node, parent, self.keys.path(path), path.len().max(1))
    }

    // ---- Reading ------------------------------------------------------------------------------------------------

    /// The znode at `path`, if there is one. `""` and `"/"` are the root; an illegal path is one that is not there.
    #[inline]
    pub fn lookup(&self, path: &str) -> Option<NodeId> {
        self.find(path, self.hash(path))
    }

    /// The hash of a path, as [`Tree::find`] wants it.
    #[inline]
    pub fn hash(&self, path: &str) -> PathHash {
        PathHash(self.keys.path(path))
    }

    /// The hash of the path of `parent`'s child `name`.
    #[inline]
    pub fn hash_below(&self, parent: PathHash, name: &str) -> PathHash {
        PathHash(self.keys.step(parent.0, name.as_bytes()))
    }

    /// [`Tree::lookup`] for a caller that knows the hash already.
    #[inline]
    pub fn find(&self, path: &str, hash: PathHash) -> Option<NodeId> {
        if path.len() <= 1 {
            return matches!(path, "" | "/").then_some(NodeId::ROOT);
        }
        if path.as_bytes()[0] != b'/' {
            return None;
        }
        self.table.find(hash.0, |id| self.is_at(id, path.as_bytes()))
    }

    /// Whether the names from the root to `id` spell `path`.
    fn is_at(&self, mut id: NodeId, path: &[u8]) -> bool {
        let mut rest = path;
        while id != NodeId::ROOT {
            let node = &self.nodes[id];
            let Some(head) = rest.strip_suffix(node.name.as_bytes()).and_then(|head| head.strip_suffix(b"/")) else {
                return false;
            };
            rest = head;
            id = node.parent;
        }
        rest.is_empty()
    }

    /// The child of `parent` with this name, `hash` being that of its path.
    #[inline]
    fn child(&self, parent: NodeId, name: &[u8], hash: u64) -> Option<NodeId> {
        self.table.find(hash, |id| {
            let node = &self.nodes[id];
            node.parent == parent && node.name.as_bytes() == name
        })
    }

    /// Metadata as clients see it.
    #[inline]
    pub fn stat(&self, id: NodeId) -> Stat {
        let node = &self.nodes[id];
        Stat {
            czxid: node.czxid,
            mzxid: node.mzxid,
            ctime: node.ctime,
            mtime: node.mtime,
            version: node.version,
            cversion: node.cversion.wrapping_mul(2).wrapping_sub(node.child_count as i32),
            aversion: node.aversion,
            ephemeral_owner: node.owner().on_the_wire(),
            data_length: node.data_length() as i32,
            num_children: node.child_count as i32,
            pzxid: node.pzxid,
        }
    }

    /// Metadata as the tree has it.
    pub fn view(&self, id: NodeId) -> NodeView<'_> {
        let node = &self.nodes[id];
        NodeView {
            czxid: Zxid(node.czxid),
            mzxid: Zxid(node.mzxid),
            pzxid: Zxid(node.pzxid),
            ctime: WallMillis(node.ctime),
            mtime: WallMillis(node.mtime),
            version: node.version,
            cversion: node.cversion,
            aversion: node.aversion,
            owner: node.owner(),
            child_count: node.child_count,
            data_length: node.data_length(),
            acl: self.acls.get(node.acl),
        }
    }

    /// The data; `None` is null, which is not the same as empty. Only the usage of a quota is put together to be read.
    #[inline]
    pub fn data(&self, id: NodeId) -> Option<Cow<'_, [u8]>> {
        let node = &self.nodes[id];
        if node.head > 0 {
            return Some(Cow::Owned(self.usage_text(id)));
        }
        node.data.as_deref().map(Cow::Borrowed)
    }

    /// Who may do what. May be kept for as long as one likes.
    pub fn acl(&self, id: NodeId) -> &Arc<AclList> {
        self.acls.get(self.nodes[id].acl)
    }

    /// Names of the children, in order of creation. Siblings created by one multi may change places when a snapshot is
    /// loaded.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = &str> {
        self.child_ids(id).map(|child| self.nodes[child].name.as_str())
    }

    /// The children, in the same order.
    pub fn child_ids(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let first = self.first_child(id);
        std::iter::successors(first, move |&child| {
            let next = self.nodes[child].next;
            (Some(next) != first).then_some(next)
        })
    }

    /// The first child, or none.
    #[inline]
    fn first_child(&self, id: NodeId) -> Option<NodeId> {
        self.inner(id).map(|inner| inner.first)
    }

    #[inline]
    fn inner(&self, id: NodeId) -> Option<&Branch> {
        let node = &self.nodes[id];
        (node.child_count > 0).then(|| &self.inners[node.place])
    }

    /// The last component of the path; empty for the root.
    pub fn name(&self, id: NodeId) -> &str {
        self.nodes[id].name.as_str()
    }

    /// The znode above, or `None` for the root.
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        (id != NodeId::ROOT).then(|| self.nodes[id].parent)
    }

    /// The full path, `/` for the root.
    pub fn path(&self, id: NodeId) -> String {
        let mut chain = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT {
            chain.push(at);
            at = self.nodes[at].parent;
        }
        if chain.is_empty() {
            return "/".to_owned();
        }
        let mut path = String::new();
        for &id in chain.iter().rev() {
            path.push('/');
            path.push_str(self.nodes[id].name.as_str());
        }
        path
    }

    /// Whether this is `/zookeeper` or lies below.
    fn is_system(&self, id: NodeId) -> bool {
        let mut at = id;
        while at != NodeId::ROOT && self.nodes[at].parent != NodeId::ROOT {
            at = self.nodes[at].parent;
        }
        self.nodes[at].name.as_bytes() == &SYSTEM.as_bytes()[1..]
    }

    /// Whether this is `/zookeeper/quota` or lies below.
    fn is_in_quotas(&self, id: NodeId) -> bool {
        let mut at = id;
        while at != NodeId::ROOT {
            let above = self.nodes[at].parent;
            // Names first: they tell for nearly all znodes that the walk goes on.
            if self.nodes[at].name.as_str() == "quota" && above != NodeId::ROOT && self.path(at) == QUOTA {
                return true;
            }
            at = above;
        }
        false
    }

    /// How many znodes lie below, at any depth.
    pub fn descendants(&self, id: NodeId) -> usize {
        self.below_of(id).0 as usize
    }

    /// Znodes below, at any depth, and the bytes of their data.
    fn below_of(&self, id: NodeId) -> (u32, u64) {
        self.inner(id).map_or((0, 0), |inner| (inner.below, inner.bytes))
    }

    /// The znode and all below it, parents before children. Takes no memory, however deep the tree.
    fn subtree(&self, top: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(Some(top), move |&at| {
            if let Some(child) = self.first_child(at) {
                return Some(child);
            }
            let mut at = at;
            while at != top {
                let node = &self.nodes[at];
                if Some(node.next) != self.first_child(node.parent) {
                    return Some(node.next);
                }
                at = node.parent;
            }
            None
        })
    }

    /// The ephemerals of a session, in no particular order.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = NodeId> {
        self.ephemerals.of(session).iter().copied()
    }

    /// One of the ephemerals of a session, as [`Tree::ephemerals`] has them.
    pub fn ephemeral_at(&self, session: SessionId, index: usize) -> Option<NodeId> {
        self.ephemerals.of(session).get(index).copied()
    }

    /// How many ephemerals a session has.
    pub fn ephemeral_count_of(&self, session: SessionId) -> usize {
        self.ephemerals.of(session).len()
    }

    /// The sibling behind a znode, unless it is the last.
    pub fn next_sibling(&self, id: NodeId) -> Option<NodeId> {
        let node = &self.nodes[id];
        let first = if id == NodeId::ROOT { None } else { self.first_child(node.parent) };
        (Some(node.next) != first && id != NodeId::ROOT).then_some(node.next)
    }

    /// Every session that has ephemerals, in order of id, and how many.
    pub fn ephemeral_owners(&self) -> impl Iterator<Item = (SessionId, usize)> {
        self.ephemerals.sessions()
    }

    // ---- Numbers ------------------------------------------------------------------------------------------------

    /// Znodes, the root included: 4 on a fresh server.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Ephemerals of all sessions.
    pub fn ephemeral_count(&self) -> usize {
        self.ephemerals.len()
    }

    /// Lengths of all paths and all data in bytes, as `mntr` reports them: 44 on a fresh server.
    pub fn approximate_data_size(&self) -> u64 {
        self.sizes.paths + self.sizes.data
    }

    /// Different ACLs in use.
    pub fn acl_count(&self) -> usize {
        self.acls.len()
    }

    /// What the znodes take in memory, in bytes: slots in use, index, names, data, ACLs and side tables.
    pub fn memory_bytes(&self) -> u64 {
        let nodes = self.nodes.len() as u64 * (NODE_SIZE + SLOT_SIZE) as u64;
        let tables = self.inners.bytes() + self.acls.bytes() + self.ephemerals.bytes() + self.reaper.len() as u64 * 24;
        nodes + self.sizes.boxed + tables
    }

    /// What one more znode with this name and data length would add to [`Tree::memory_bytes`], its ACL aside.
    pub fn memory_of(name: &str, data_length: usize) -> u64 {
        (NODE_SIZE + SLOT_SIZE) as u64 + node::boxed_bytes(data_length) + Name::new(name).boxed_bytes()
    }

    /// At most `max` paths of znodes that may go: containers that lost their last child, and childless TTL znodes not set
    /// for longer than their time to live.
    ///
    /// Containers that never had a child count too when they are older than `never_used_ms`, unless that is 0.
    pub fn reapable(&self, now: WallMillis, max: usize, never_used_ms: u64) -> Vec<String> {
        let old = |id: &NodeId| now.0.saturating_sub(self.nodes[*id].mtime) as i128 > i128::from(never_used_ms);
        let unused = self.reaper.unused().take_while(|_| never_used_ms > 0).filter(old);
        self.reaper.due(now).chain(unused).take(max).map(|id| self.path(id)).collect()
    }

    // ---- Watch bits ---------------------------------------------------------------------------------------------

    /// The bits that [`Tree::set_watched`] left on the znode; 0 for a new one.
    pub fn watched(&self, id: NodeId) -> u8 {
        self.nodes[id].watched
    }

    /// Leaves bits on the znode for the watch room: whether any watch stands on its data (1) or its children (2).
    ///
    /// They go with the znode and are in no snapshot.
    pub fn set_watched(&mut self, id: NodeId, bits: u8) {
        self.nodes[id].watched = bits;
    }

    // ---- Changing -----------------------------------------------------------------------------------------------

    /// Changes a znode, keeping the side tables in step.
    fn edit(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        self.before_change(id);
        let node = &mut self.nodes[id];
        let before = Turn::of(node);
        change(node);
        let after = Turn::of(node);
        if before != after {
            self.reaper.moved(id, before, after);
        }
    }

    /// Takes a znode in: slot, index, siblings, side tables, sums.
    fn insert(&mut self, mut node: Node, parent: Option<NodeId>, hash: u64, path_len: usize) -> NodeId {
        self.sizes.paths += path_len as u64;
        self.sizes.names += node.name.as_bytes().len() as u64;
        self.sizes.data += node.data_length() as u64;
        self.sizes.boxed += node.boxed_bytes();
        let owner = node.owner();
        let turn = Turn::of(&node);
        node.mark = self.snapshots.mark;
        let id = self.nodes.insert(node);
        if let Owner::Session(session) = owner {
            let makes_quota = parent.is_some_and(|parent| self.is_in_quotas(parent));
            let nodes = &mut self.nodes;
            self.ephemerals.add(session, id, makes_quota, |id, place| nodes[id].place = place as u32);
        }
        self.reaper.moved(id, None, turn);
        if let Some(parent) = parent {
            debug_assert_ne!(hash, ROOT_HASH);
            self.table.insert(hash, id);
            self.link(parent, id);
        }
        id
    }

    /// Puts a znode among its siblings by its czxid, which in all but a replay over newer znodes is at the end.
    fn link(&mut self, parent: NodeId, id: NodeId) {
        let node = &mut self.nodes[id];
        node.parent = parent;
        let (czxid, length) = (node.czxid, node.data_length() as u64);
        let above = &self.nodes[parent];
        let (place, over) = (above.place, above.parent);
        if above.child_count > 0 {
            let Branch { first, last, .. } = self.inners[place];
            let mut before = last;
            let mut is_first = false;
            while self.nodes[before].czxid > czxid {
                if before == first {
                    is_first = true;
                    before = last;
                    break;
                }
                before = self.nodes[before].prev;
            }
            let after = self.nodes[before].next;
            let node = &mut self.nodes[id];
            (node.prev, node.next) = (before, after);
            self.nodes[before].next = id;
            self.nodes[after].prev = id;
            self.edit(parent, |node| node.child_count += 1);
            let inner = &mut self.inners[place];
            if is_first {
                inner.first = id;
            } else if before == last {
                inner.last = id;
            }
            inner.below += 1;
            inner.bytes += length;
        } else {
            let node = &mut self.nodes[id];
            (node.next, node.prev) = (id, id);
            let place = self.inners.insert(id);
            let inner = &mut self.inners[place];
            (inner.below, inner.bytes) = (1, length);
            self.edit(parent, |node| (node.place, node.child_count) = (place, 1));
        }
        self.count_above(over, |inner| {
            inner.below += 1;
            inner.bytes += length;
        });
    }

    /// Changes what the znode at `from`, which has children, and all above it count of what is below them. There is none
    /// above the root.
    #[inline]
    fn count_above(&mut self, from: NodeId, change: impl Fn(&mut Branch)) {
        let mut at = from;
        while at != NodeId::NIL {
            let node = &self.nodes[at];
            change(&mut self.inners[node.place]);
            at = node.parent;
        }
    }

    /// Takes a childless znode out of everything; its list of permissions is still counted for it.
    fn take_out(&mut self, id: NodeId, hash: u64, path_len: usize) -> Node {
        self.before_change(id);
        self.before_removal_for_walks(id);
        self.table.remove(hash, id);
        let node = &self.nodes[id];
        assert!(node.child_count == 0, "only childless znodes are taken out");
        let (parent, prev, next) = (node.parent, node.prev, node.next);
        let length = node.data_length() as u64;
        self.nodes[prev].next = next;
        self.nodes[next].prev = prev;
        self.edit(parent, |node| node.child_count -= 1);
        let above = &self.nodes[parent];
        let (is_childless, place, over) = (above.child_count == 0, above.place, above.parent);
        if is_childless {
            self.inners.remove(place);
        } else {
            let inner = &mut self.inners[place];
            if inner.first == id {
                inner.first = next;
            } else if inner.last == id {
                inner.last = prev;
            }
            inner.below -= 1;
            inner.bytes -= length;
        }
        self.count_above(over, |inner| {
            inner.below -= 1;
            inner.bytes -= length;
        });
        let node = self.nodes.remove(id);
        if let Owner::Session(session) = node.owner() {
            let nodes = &mut self.nodes;
            self.ephemerals.remove(session, node.place, |moved, place| {
                if moved != id {
                    nodes[moved].place = place as u32;
                }
            });
        }
        self.reaper.moved(id, Turn::of(&node), None);
        self.sizes.paths -= path_len as u64;
        self.sizes.names -= node.name.as_bytes().len() as u64;
        self.sizes.data -= node.data_length() as u64;
        self.sizes.boxed -= node.boxed_bytes();
        node
    }

    /// Replaces the data and nothing else. The answer is by how many bytes it grew.
    fn replace_data(&mut self, id: NodeId, data: Option<&[u8]>) -> i64 {
        self.change_data(id, |node| {
            node.head = 0;
            match (&mut node.data, data) {
                (Some(old), Some(new)) if old.len() == new.len() => old.copy_from_slice(new),
                (old, new) => *old = new.map(Box::from),
            }
        })
    }

    /// Changes the data, keeping all sums in step. The answer is by how many bytes it grew.
    fn change_data(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) -> i64 {
        self.before_change(id);
        let node = &mut self.nodes[id];
        let length = node.data_length();
        self.sizes.data -= length as u64;
        self.sizes.boxed -= node.boxed_bytes();
        change(node);
        self.sizes.data += node.data_length() as u64;
        self.sizes.boxed += node.boxed_bytes();
        let growth = node.data_length() as i64 - length as i64;
        let parent = node.parent;
        if growth != 0 && id != NodeId::ROOT {
            self.count_above(parent, |inner| inner.bytes = inner.bytes.wrapping_add_signed(growth));
        }
        growth
    }
}
