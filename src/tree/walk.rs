//! The tree as it was at one moment, in the order of ZooKeeper's stream, while transactions go on.
//!
//! The walk goes down before it goes on: parents before children, siblings as they were created. What is created after the
//! moment has a higher zxid, and so stands behind whatever the walk has to write among its siblings. What is about to change
//! before the walk has come to it is put aside as it still is. What is about to be deleted is put aside with its parent, and
//! written when the walk leaves that. So every znode of the moment is written exactly once, as it was then, and a snapshot
//! for the file may be taken meanwhile: nothing of a znode says how far a walk is.

use std::collections::BTreeMap;

use super::acls::OPEN;
use super::{NodeId, Tree};
use crate::ids::Zxid;
use crate::records::Acl;
use crate::records::javasnap::{OPEN_ACL, StatPersisted, put_acl, put_count, put_znode};

/// Walks under way at once.
pub const STATE_WALKS_MAX: usize = 4;
/// Bytes put aside for a walk that is not the oldest, at most: beyond that it is given up, and whoever was sent it begins
/// anew. The oldest may put aside all that there was at its moment, or no learner would ever be sent a state of which much
/// changes all the time.
const ASIDE_MAX: usize = 64 << 20;
/// What is put aside costs so many bytes beside its data and path.
const ASIDE_OVERHEAD: usize = 200;

/// The name of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateWalkId(u64);

/// How far a walk has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Walked {
    /// There is more.
    More,
    /// The last znode was written.
    Whole,
    /// Too much changed before the walk came to it while there was an older one, or the tree is another one.
    GivenUp,
}

/// All walks of a tree.
#[derive(Default)]
pub(super) struct StateWalks {
    walks: Vec<StateWalk>,
    next_id: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WalkAt {
    /// This znode is written next.
    Enter(NodeId),
    /// It was, and all below it that is still there.
    Leave(NodeId),
    End,
}

/// A znode that was put aside.
struct Aside {
    data: Option<Box<[u8]>>,
    acl: i64,
    stat: StatPersisted,
}

impl Aside {
    fn size(&self) -> usize {
        ASIDE_OVERHEAD + self.data.as_ref().map_or(0, |data| data.len())
    }
}

struct StateWalk {
    id: u64,
    /// The last transaction of the moment.
    at: i64,
    place: WalkAt,
    /// The path of the znode that `place` names, empty for the root.
    path: String,
    /// The numbers of the lists in the stream, by those in the tree.
    acls: BTreeMap<u32, i64>,
    changed: BTreeMap<NodeId, Aside>,
    /// With their paths, by the znode above them, in the order of the stream.
    deleted: BTreeMap<NodeId, Vec<(String, Aside)>>,
    /// Bytes put aside.
    aside: usize,
    /// Too much was put aside: it has no way to go on.
    is_lost: bool,
    /// What comes before anything else: it stands below a znode that is gone.
    first: Vec<u8>,
}

impl Tree {
    /// Begins a walk over the tree as it is now, `at` being the last transaction applied, and writes the table of ACLs with
    /// `extra` as its last list, which no znode has. `None` when there are [`STATE_WALKS_MAX`] already.
    pub fn state_walk_begin(&mut self, at: Zxid, extra: Option<&[Acl<'_>]>, out: &mut Vec<u8>) -> Option<StateWalkId> {
        if self.state_walks.walks.len() >= STATE_WALKS_MAX {
            return None;
        }
        let used = self.acls.users().filter(|&(id, users)| id != OPEN && users > 0);
        let acls: BTreeMap<u32, i64> = used.zip(1..).map(|((id, _), number)| (id, number)).collect();
        put_count(acls.len() + usize::from(extra.is_some()), out);
        for (&id, &number) in &acls {
            put_acl(number, self.acls.get(id).entries(), out);
        }
        if let Some(extra) = extra {
            put_acl(acls.len() as i64 + 1, extra, out);
        }
        let id = self.state_walks.next_id;
        self.state_walks.next_id += 1;
        self.state_walks.walks.push(StateWalk {
            id,
            at: at.0,
            place: WalkAt::Enter(NodeId::ROOT),
            path: String::new(),
            acls,
            changed: BTreeMap::new(),
            deleted: BTreeMap::new(),
            aside: 0,
            is_lost: false,
            first: Vec::new(),
        });
        Some(StateWalkId(id))
    }

    /// Goes on with a walk: writes znodes until it has looked at `steps` of them, or `out` has `size` bytes or more.
    pub fn state_walk_on(&mut self, id: StateWalkId, steps: usize, size: usize, out: &mut Vec<u8>) -> Walked {
        let Some(at) = self.state_walks.walks.iter().position(|walk| walk.id == id.0) else { return Walked::GivenUp };
        let mut walk = self.state_walks.walks.swap_remove(at);
        if walk.is_lost {
            return Walked::GivenUp;
        }
        if walk.go_on(self, steps, size, out) {
            return Walked::Whole;
        }
        self.state_walks.walks.push(walk);
        Walked::More
    }

    /// Gives up a walk, if it is under way.
    pub fn state_walk_end(&mut self, id: StateWalkId) {
        self.state_walks.walks.retain(|walk| walk.id != id.0);
    }

    /// Bytes put aside for walks.
    pub fn state_walk_bytes(&self) -> usize {
        self.state_walks.walks.iter().map(|walk| walk.aside).sum()
    }

    /// To be called before anything of a znode changes that a stream holds.
    #[inline]
    pub(super) fn before_change_for_walks(&mut self, id: NodeId) {
        if !self.state_walks.walks.is_empty() {
            self.each_walk(|walk, tree| walk.changes(tree, id));
        }
    }

    /// To be called before a childless znode is taken out, and after [`Tree::before_change_for_walks`].
    pub(super) fn before_removal_for_walks(&mut self, id: NodeId) {
        if !self.state_walks.walks.is_empty() {
            self.each_walk(|walk, tree| walk.loses(tree, id));
        }
    }

    #[cold]
    fn each_walk(&mut self, deed: impl Fn(&mut StateWalk, &Tree)) {
        let mut walks = std::mem::take(&mut self.state_walks.walks);
        let oldest = walks.iter().map(|walk| walk.id).min();
        for walk in walks.iter_mut().filter(|walk| !walk.is_lost) {
            deed(walk, self);
            if walk.aside > ASIDE_MAX && Some(walk.id) != oldest {
                walk.is_lost = true;
                (walk.changed, walk.deleted, walk.aside) = Default::default();
            }
        }
        self.state_walks.walks = walks;
    }
}

impl StateWalk {
    fn belongs(&self, tree: &Tree, id: NodeId) -> bool {
        tree.nodes[id].czxid <= self.at
    }

    fn image(&self, tree: &Tree, id: NodeId) -> Aside {
        let node = &tree.nodes[id];
        Aside {
            data: tree.data(id).map(|data| Box::from(&*data)),
            acl: self.acls.get(&node.acl).copied().unwrap_or(OPEN_ACL),
            stat: stat(tree, id),
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // The walk

    fn go_on(&mut self, tree: &Tree, steps: usize, size: usize, out: &mut Vec<u8>) -> bool {
        out.append(&mut self.first);
        for _ in 0..steps {
            if out.len() >= size {
                return false;
            }
            match self.place {
                WalkAt::Enter(id) => {
                    self.write(tree, id, out);
                    self.place = WalkAt::Leave(id);
                    if let Some(child) = tree.first_child(id).filter(|child| self.belongs(tree, *child)) {
                        self.enter(tree, child);
                    }
                }
                WalkAt::Leave(id) => {
                    self.write_deleted(id, out);
                    self.step(tree, id);
                }
                WalkAt::End => return true,
            }
        }
        self.place == WalkAt::End
    }

    /// From a znode that is done to its next sibling, or to the end of the one above.
    fn step(&mut self, tree: &Tree, id: NodeId) {
        if id == NodeId::ROOT {
            self.place = WalkAt::End;
            return;
        }
        self.path.truncate(self.path.len() - 1 - tree.nodes[id].name.as_bytes().len());
        match tree.next_sibling(id).filter(|sibling| self.belongs(tree, *sibling)) {
            Some(sibling) => self.enter(tree, sibling),
            None => self.place = WalkAt::Leave(tree.nodes[id].parent),
        }
    }

    fn enter(&mut self, tree: &Tree, id: NodeId) {
        self.path.push('/');
        self.path.push_str(tree.nodes[id].name.as_str());
        self.place = WalkAt::Enter(id);
    }

    fn write(&mut self, tree: &Tree, id: NodeId, out: &mut Vec<u8>) {
        match self.changed.remove(&id) {
            Some(image) => {
                self.aside -= image.size();
                put_znode(&self.path, image.data.as_deref(), image.acl, &image.stat, out);
            }
            None => {
                let acl = self.acls.get(&tree.nodes[id].acl).copied().unwrap_or(OPEN_ACL);
                put_znode(&self.path, tree.data(id).as_deref(), acl, &stat(tree, id), out);
            }
        }
    }

    /// Writes what is gone from below a znode.
    fn write_deleted(&mut self, above: NodeId, out: &mut Vec<u8>) {
        for (path, image) in self.deleted.remove(&above).into_iter().flatten() {
            self.aside -= image.size() + path.len();
            put_znode(&path, image.data.as_deref(), image.acl, &image.stat, out);
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Changes

    fn changes(&mut self, tree: &Tree, id: NodeId) {
        if !self.belongs(tree, id) || self.changed.contains_key(&id) || self.has_written(tree, id) {
            return;
        }
        let image = self.image(tree, id);
        self.aside += image.size();
        self.changed.insert(id, image);
    }

    fn loses(&mut self, tree: &Tree, id: NodeId) {
        if !self.belongs(tree, id) {
            return;
        }
        let is_written = self.has_written(tree, id);
        match self.place {
            WalkAt::Enter(at) if at == id => self.step(tree, id),
            WalkAt::Leave(at) if at == id => {
                // Where the walk stands now is still below it.
                let mut first = std::mem::take(&mut self.first);
                self.write_deleted(id, &mut first);
                self.first = first;
                self.step(tree, id);
            }
            _ => {}
        }
        if is_written {
            return;
        }
        let Some(image) = self.changed.remove(&id) else { return };
        let path = tree.path(id);
        self.aside += path.len();
        let mut below = self.deleted.remove(&id).unwrap_or_default();
        let list = self.deleted.entry(tree.nodes[id].parent).or_default();
        list.push((path, image));
        list.append(&mut below);
    }

    /// Whether the walk has written a znode of its moment.
    fn has_written(&self, tree: &Tree, id: NodeId) -> bool {
        let (at, is_at_written) = match self.place {
            WalkAt::End => return true,
            WalkAt::Enter(at) => (at, false),
            WalkAt::Leave(at) => (at, true),
        };
        if id == at {
            return is_at_written;
        }
        let (mut one, mut other) = (id, at);
        let (one_depth, other_depth) = (depth(tree, one), depth(tree, other));
        for _ in other_depth..one_depth {
            one = tree.nodes[one].parent;
        }
        if one == at {
            // Below where the walk is.
            return is_at_written;
        }
        for _ in one_depth..other_depth {
            other = tree.nodes[other].parent;
        }
        if other == id {
            return true;
        }
        while tree.nodes[one].parent != tree.nodes[other].parent {
            (one, other) = (tree.nodes[one].parent, tree.nodes[other].parent);
        }
        comes_before(tree, one, other)
    }
}

fn depth(tree: &Tree, mut id: NodeId) -> usize {
    let mut depth = 0;
    while id != NodeId::ROOT {
        id = tree.nodes[id].parent;
        depth += 1;
    }
    depth
}

/// Whether the first of two siblings stands before the other.
fn comes_before(tree: &Tree, one: NodeId, other: NodeId) -> bool {
    let (zxid, before) = (tree.nodes[one].czxid, tree.nodes[other].czxid);
    if zxid != before {
        return zxid < before;
    }
    // Created by one transaction.
    let mut at = one;
    while let Some(next) = tree.next_sibling(at).filter(|next| tree.nodes[*next].czxid == zxid) {
        if next == other {
            return true;
        }
        at = next;
    }
    false
}

fn stat(tree: &Tree, id: NodeId) -> StatPersisted {
    let node = &tree.nodes[id];
    StatPersisted {
        czxid: node.czxid,
        mzxid: node.mzxid,
        ctime: node.ctime,
        mtime: node.mtime,
        version: node.version,
        cversion: node.cversion,
        aversion: node.aversion,
        ephemeral_owner: node.owner,
        pzxid: node.pzxid,
    }
}
