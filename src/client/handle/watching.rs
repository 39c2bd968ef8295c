//! Which callbacks watch which path.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::transport::WatchedPaths;
use crate::records::EventType;

/// What a watch waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum WatchMode {
    /// One event: the znode is created, deleted, or its data set.
    OnceData = 0,
    /// One event: a child is created or deleted, or the znode itself deleted.
    OnceChildren = 1,
    /// Every event of this znode, until removed.
    Persistent = 2,
    /// Every event of this znode and all below it but for lists of children, until removed.
    Recursive = 3,
}

/// The callback that is told of events.
pub type WatchFn = Box<dyn Fn(&super::Event) + Send + Sync>;

/// One registration.
pub struct Registration {
    /// Its number.
    pub id: u64,
    callback: WatchFn,
    alive: AtomicBool,
}

impl Registration {
    /// Tells of an event, unless the watch was removed meanwhile.
    pub fn tell(&self, event: &super::Event) {
        if self.alive.load(Ordering::SeqCst) {
            (self.callback)(event);
        }
    }
}

/// The number of all watches that have none of their own.
const NAMELESS: u64 = 0;

/// In which list of `setWatches` a path belongs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WatchList {
    /// The znode was there.
    Data,
    /// It was not.
    Exist,
    /// Its children.
    Child,
    /// As [`WatchMode::Persistent`].
    Persistent,
    /// As [`WatchMode::Recursive`].
    Recursive,
}

/// All watches of one session, by the server's paths.
#[derive(Default)]
pub struct SessionWatches {
    by_path: HashMap<(WatchList, String), Vec<Arc<Registration>>>,
    last_id: u64,
    recursive: usize,
}

/// What removing a watch leaves to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removed {
    /// There was no such watch.
    Nothing,
    /// Others watch the same path in the same way.
    OthersRemain,
    /// The server need not tell any more.
    Last(WatchList),
}

impl SessionWatches {
    /// A watch with a number of its own, not registered yet.
    pub fn make(&mut self, callback: WatchFn) -> Arc<Registration> {
        self.last_id += 1;
        Arc::new(Registration { id: self.last_id, callback, alive: AtomicBool::new(true) })
    }

    /// A watch that nobody can end, not registered yet.
    pub fn make_nameless(callback: WatchFn) -> Arc<Registration> {
        Arc::new(Registration { id: NAMELESS, callback, alive: AtomicBool::new(true) })
    }

    /// Registers a watch.
    pub fn add(&mut self, kind: WatchList, path: &str, watch: Arc<Registration>) {
        self.recursive += usize::from(kind == WatchList::Recursive);
        self.by_path.entry((kind, path.to_owned())).or_default().push(watch);
    }

    /// Ends a watch: no callback of it begins after this.
    pub fn remove(&mut self, id: u64) -> (Removed, Option<String>) {
        if id == NAMELESS {
            return (Removed::Nothing, None);
        }
        let found = self.by_path.iter().find(|(_, watches)| watches.iter().any(|watch| watch.id == id));
        let Some((key, _)) = found else { return (Removed::Nothing, None) };
        let key = key.clone();
        let watches = self.by_path.get_mut(&key).expect("it was just found");
        watches.retain(|watch| {
            if watch.id == id {
                watch.alive.store(false, Ordering::SeqCst);
            }
            watch.id != id
        });
        let is_last = watches.is_empty();
        if is_last {
            self.by_path.remove(&key);
        }
        self.recursive -= usize::from(key.0 == WatchList::Recursive);
        (if is_last { Removed::Last(key.0) } else { Removed::OthersRemain }, Some(key.1))
    }

    /// Whether a path is watched in this way.
    pub fn contains(&self, kind: WatchList, path: &str) -> bool {
        self.by_path.contains_key(&(kind, path.to_owned()))
    }

    /// Who is to be told of an event; one-shot watches are spent by it.
    pub fn trigger(&mut self, kind: EventType, path: &str) -> Vec<Arc<Registration>> {
        let once: &[WatchList] = match kind {
            EventType::Created | EventType::DataChanged => &[WatchList::Data, WatchList::Exist],
            EventType::ChildrenChanged => &[WatchList::Child],
            EventType::Deleted => &[WatchList::Data, WatchList::Exist, WatchList::Child],
        };
        let mut told = Vec::new();
        for &kind in once {
            told.extend(self.by_path.remove(&(kind, path.to_owned())).unwrap_or_default());
        }
        told.extend(self.by_path.get(&(WatchList::Persistent, path.to_owned())).into_iter().flatten().cloned());
        if self.recursive > 0 && kind != EventType::ChildrenChanged {
            let mut above = Some(path);
            while let Some(at) = above {
                told.extend(self.by_path.get(&(WatchList::Recursive, at.to_owned())).into_iter().flatten().cloned());
                above = if at == "/" { None } else { crate::path::split(at).map(|(parent, _)| parent) };
            }
        }
        told
    }

    /// What has to be registered again on another connection.
    pub fn paths(&self) -> WatchedPaths {
        let mut paths = WatchedPaths::default();
        for (kind, path) in self.by_path.keys() {
            let list = match kind {
                WatchList::Data => &mut paths.data,
                WatchList::Exist => &mut paths.exist,
                WatchList::Child => &mut paths.child,
                WatchList::Persistent => &mut paths.persistent,
                WatchList::Recursive => &mut paths.recursive,
            };
            list.push(path.clone());
        }
        paths
    }
}
