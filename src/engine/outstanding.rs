//! What the tree will look like once everything decided so far has been applied.
//!
//! A request is decided before the ones in front of it are committed. So each decision leaves, per path, a view of how
//! the znode will be, and the next decision looks here first. A view that has been applied in the meantime says the same
//! as the tree, because every later change goes through here too; so views may stay until it is convenient to drop them.
//!
//! Source: ZooKeeper 3.9 `PrepRequestProcessor.outstandingChanges`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::SessionId;
use crate::tree::{AclList, NodeId, Owner, Tree};

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

/// A path and the view that was replaced there, if there was one.
type Replaced = (Box<str>, Option<Option<View>>);

/// Pending views by path; `None` for a znode that will be gone.
#[derive(Default)]
pub(super) struct Outstanding {
    views: HashMap<Box<str>, Option<View>>,
    /// While a multi is decided: what its views replaced, oldest first. `None`: there was no view.
    undo: Option<Vec<Replaced>>,
}

impl Outstanding {
    /// The znode as it will be, or `None` if it will not be there.
    pub(super) fn view(&self, tree: &Tree, path: &str) -> Option<View> {
        if !self.views.is_empty()
            && let Some(view) = self.views.get(path)
        {
            return view.clone();
        }
        tree.lookup(path).map(|id| View::of(tree, id))
    }

    /// Records how the znode will be.
    pub(super) fn set(&mut self, path: &str, view: Option<View>) {
        let before = match self.views.get_mut(path) {
            Some(slot) => Some(std::mem::replace(slot, view)),
            None => {
                self.views.insert(path.into(), view);
                None
            }
        };
        if let Some(undo) = &mut self.undo {
            undo.push((path.into(), before));
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
        for (path, before) in self.undo.take().unwrap_or_default().into_iter().rev() {
            match before {
                Some(view) => {
                    self.views.insert(path, view);
                }
                None => {
                    self.views.remove(&path);
                }
            }
        }
    }

    /// Everything decided has been applied, or will never be.
    pub(super) fn clear(&mut self) {
        if self.views.capacity() > 16_384 {
            self.views = HashMap::new();
        } else {
            self.views.clear();
        }
    }

    /// Paths of the ephemerals `session` will own.
    pub(super) fn ephemerals(&self, tree: &Tree, session: SessionId) -> Vec<String> {
        let owned = |view: &Option<View>| view.as_ref().is_some_and(|view| view.owner == Owner::Session(session));
        // A view has the last word: the path may be gone by then, or be somebody else's.
        let applied = tree.ephemerals(session).map(|id| tree.path(id));
        let mut paths: Vec<String> = applied.filter(|path| !self.views.contains_key(path.as_str())).collect();
        paths.extend(self.views.iter().filter(|(_, view)| owned(view)).map(|(path, _)| path.to_string()));
        // The order of a hash map must not reach the history (S-20).
        paths.sort_unstable();
        paths
    }
}
