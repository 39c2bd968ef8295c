//! What the tree will look like once everything decided so far has been applied.
//!
//! A request is decided before the ones in front of it are committed. So each decision leaves, per path, a view of how
//! the znode will be, and the next decision looks here first. A view that has been applied in the meantime says the same
//! as the tree, because every later change goes through here too; so views may stay until it is convenient to drop them.
//!
//! Source: ZooKeeper 3.9 `PrepRequestProcessor.outstandingChanges`.

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::ids::SessionId;
use crate::meter;
use crate::tree::{AclList, NodeId, Owner, PathHash, Tree};

/// A znode as a decision needs it.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub version: i32,
    /// Creations of children so far: the next sequence number.
    pub cversion: i32,
    pub aversion: i32,
    pub child_count: i32,
    pub data_len: usize,
    pub owner: Owner,
    pub acl: Arc<AclList>,
}

impl View {
    fn of(tree: &Tree, id: NodeId) -> View {
        let node = tree.view(id);
        View {
            version: node.version,
            cversion: node.cversion,
            aversion: node.aversion,
            child_count: i32::try_from(node.child_count).unwrap_or(i32::MAX),
            data_len: node.data_length,
            owner: node.owner,
            acl: Arc::clone(node.acl),
        }
    }
}

/// A path's hash, where the path stands in `texts`, and the view that was replaced there, if there was one.
type Replaced = (PathHash, Range<usize>, Option<Option<View>>);

/// Pending views by path; `None` for a znode that will be gone.
#[derive(Default)]
pub(super) struct Outstanding {
    views: HashTable<PendingView>,
    /// The paths, one behind the other: they come one by one and go all together.
    texts: String,
    /// While a multi is decided: what its views replaced, oldest first. `None`: there was no view.
    undo: Option<Vec<Replaced>>,
}

/// What is pending at one path.
struct PendingView {
    hash: PathHash,
    /// Its path in `texts`.
    path: Range<usize>,
    view: Option<View>,
}

impl Outstanding {
    fn pending(&self, path: &str, hash: PathHash) -> Option<&PendingView> {
        meter::steps(1);
        self.views.find(hash.number(), |one| one.hash == hash && self.texts[one.path.clone()] == *path)
    }

    /// Whether something was decided about the path that need not be applied yet.
    pub(super) fn is_pending(&self, tree: &Tree, path: &str) -> bool {
        self.pending(path, tree.hash(path)).is_some()
    }

    /// The znode as it will be, or `None` if it will not be there.
    pub(super) fn view(&self, tree: &Tree, path: &str) -> Option<View> {
        self.view_at(tree, path, tree.hash(path))
    }

    /// The same for a caller that knows the path's hash.
    pub(super) fn view_at(&self, tree: &Tree, path: &str, hash: PathHash) -> Option<View> {
        match self.pending(path, hash) {
            Some(pending) => pending.view.clone(),
            None => tree.find(path, hash).map(|id| View::of(tree, id)),
        }
    }

    /// Whether the znode will be there.
    pub(super) fn exists(&self, tree: &Tree, path: &str, hash: PathHash) -> bool {
        match self.pending(path, hash) {
            Some(pending) => pending.view.is_some(),
            None => tree.find(path, hash).is_some(),
        }
    }

    /// Records how the znode will be.
    pub(super) fn set(&mut self, path: &str, hash: PathHash, view: Option<View>) {
        meter::steps(1);
        let texts = &self.texts;
        let same = |one: &PendingView| one.hash == hash && texts[one.path.clone()] == *path;
        let (at, before) = match self.views.find_mut(hash.number(), same) {
            Some(pending) => (pending.path.clone(), Some(std::mem::replace(&mut pending.view, view))),
            None => {
                let at = self.texts.len()..self.texts.len() + path.len();
                self.texts.push_str(path);
                let pending = PendingView { hash, path: at.clone(), view };
                self.views.insert_unique(hash.number(), pending, |one| one.hash.number());
                (at, None)
            }
        };
        if let Some(undo) = &mut self.undo {
            undo.push((hash, at, before));
        }
    }

    /// From here on until [`Outstanding::commit`] or [`Outstanding::roll_back`] changes can be taken back.
    pub(super) fn begin(&mut self) {
        self.undo = Some(Vec::new());
    }

    /// Keeps what was recorded since `begin`.
    pub(super) fn commit(&mut self) {
        self.undo = None;
    }

    /// Restores what was there at `begin`: a failed multi leaves nothing behind (G-13).
    pub(super) fn roll_back(&mut self) {
        meter::steps(self.undo.as_ref().map_or(0, Vec::len));
        for (hash, at, before) in self.undo.take().unwrap_or_default().into_iter().rev() {
            let found = self.views.find_entry(hash.number(), |one| one.path == at);
            let Ok(mut found) = found else { unreachable!("what was set is there") };
            match before {
                Some(view) => found.get_mut().view = view,
                None => drop(found.remove()),
            }
        }
    }

    /// Views there are.
    pub(super) fn len(&self) -> usize {
        self.views.len()
    }

    /// Everything decided has been applied, or will never be.
    pub(super) fn clear(&mut self) {
        if self.views.capacity() > 16_384 || self.texts.capacity() > 1 << 20 {
            *self = Outstanding::default();
        } else {
            self.views.clear();
            self.texts.clear();
        }
    }

    /// Paths of the ephemerals `session` will own.
    pub(super) fn ephemerals(&self, tree: &Tree, session: SessionId) -> Vec<String> {
        meter::steps(self.views.len());
        let owned = |view: &Option<View>| view.as_ref().is_some_and(|view| view.owner == Owner::Session(session));
        // A view has the last word: the znode may be gone by then, or another one may have its path.
        let applied = tree.ephemerals(session).map(|id| tree.path(id));
        let mut paths: Vec<String> = applied.filter(|path| self.pending(path, tree.hash(path)).is_none()).collect();
        let pending = self.views.iter().filter(|pending| owned(&pending.view));
        paths.extend(pending.map(|pending| self.texts[pending.path.clone()].to_owned()));
        // The order of a hash map must not reach the history (S-20).
        paths.sort_unstable();
        paths
    }
}
