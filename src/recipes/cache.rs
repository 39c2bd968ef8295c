//! A copy of a subtree in memory that follows every change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::base::{below, clean, is_passing};
use crate::Error;
use crate::client::handle::{State, WatchMode};
use crate::client::{Alarm, AnyClient, AsyncClient, Client, ClientSession, ListenerGuard, WatchGuard};
use crate::error::{Code, Failure};
use crate::path::split;
use crate::records::{EventType, Stat};

/// Lists of children asked for at a time while a subtree is loaded.
const LOADING_MAX: usize = 256;

/// A znode as a cache has it. [`TreeCache`] has an example.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cached {
    /// Its data.
    pub data: Arc<[u8]>,
    /// Its stat when it was created or its data changed last: what it says of children may be older than that of the server.
    pub stat: Stat,
}

/// What becomes of a cache. [`TreeCache`] has an example.
#[derive(Debug)]
#[non_exhaustive]
pub enum CacheEvent<'a> {
    /// A znode is there.
    Added(&'a str, &'a Cached),
    /// Its data changed.
    Updated(&'a str, &'a Cached),
    /// It is gone; this is how it was last.
    Removed(&'a str, &'a Cached),
    /// All of the subtree is there.
    Loaded,
    /// The connection is lost: the cache may be behind.
    Suspended,
    /// There is a connection again; everything is compared with what is there now, and differences are told.
    Reconnected,
    /// The session is over: the cache stays as it is.
    SessionOver,
    /// A znode cannot be read.
    Failed(&'a str, &'a Error),
}

/// A copy of the subtree at a path, which need not exist, that follows every change.
///
/// One standing recursive watch tells of all changes, so nothing is missed in between. What the cache holds of a znode never
/// goes back in time. It needs a server with standing watches: ZooKeeper 3.6 or later. Dropping it ends it.
///
/// ```
/// use zoarium::recipes::{CacheEvent, TreeCache};
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-cache-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.client()?;
/// client.ensure_path("/services/web")?;
///
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let cache = TreeCache::with_listener(&client, "/services", move |event| {
///     if let CacheEvent::Added(path, _) = event {
///         sender.send(path.to_owned()).ok();
///     }
/// })?;
/// assert_eq!(cache.children("/services"), Some(vec!["web".to_owned()]));
///
/// client.create("/services/db", b"10.0.0.1")?;
/// while receiver.recv().expect("it is told") != "/services/db" {}
/// assert_eq!(cache.get("/services/db").map(|znode| znode.data.to_vec()), Some(b"10.0.0.1".to_vec()));
/// assert_eq!(cache.len(), 3);
/// # drop((cache, client));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
pub struct TreeCache {
    inner: Arc<CacheCore>,
    _watch: WatchGuard,
    _listening: ListenerGuard,
}

type CacheListener = Box<dyn Fn(CacheEvent<'_>) + Send + Sync>;

struct CacheCore {
    session: Weak<ClientSession>,
    path: String,
    listener: CacheListener,
    tree: Mutex<CacheTree>,
    loaded: Alarm,
}

#[derive(Default)]
struct CacheTree {
    znodes: BTreeMap<String, Cached>,
    children: BTreeMap<String, BTreeSet<String>>,
    /// Paths asked for whose answers have not come, and what has been heard of them since.
    asked: BTreeMap<String, Option<EventType>>,
    to_load: VecDeque<String>,
    loading: BTreeSet<String>,
    listings: usize,
    was_suspended: bool,
    is_loaded: bool,
    is_over: bool,
    /// What is to be told, in order, once the lock is free.
    told: VecDeque<CacheNotice>,
    /// Somebody is telling.
    is_telling: bool,
}

enum CacheNotice {
    Added(String, Cached),
    Updated(String, Cached),
    Removed(String, Cached),
    Loaded,
    Suspended,
    Reconnected,
    SessionOver,
    Failed(String, Error),
}

impl TreeCache {
    /// Begins to follow the subtree, and waits until all of it is there. [`TreeCache`] has an example.
    ///
    /// # Errors
    /// What became of the session; [`Code::Unimplemented`] of a server without standing watches.
    pub fn new(client: &Client, path: &str) -> Result<TreeCache, Error> {
        TreeCache::with_listener(client, path, |_| {})
    }

    /// The same with `told` called for everything that becomes of it, where callbacks run. [`TreeCache`] has an example.
    ///
    /// # Errors
    /// As [`TreeCache::new`].
    pub fn with_listener(
        client: &Client,
        path: &str,
        told: impl Fn(CacheEvent<'_>) + Send + Sync + 'static,
    ) -> Result<TreeCache, Error> {
        let started = TreeCache::start(client.as_async(), path, Box::new(told));
        Ok(client.session.block_on(started, None)?.expect("it waits for ever"))
    }

    /// [`TreeCache::new`] as a future. [`TreeCache`] has an example.
    ///
    /// # Errors
    /// As [`TreeCache::new`].
    pub async fn new_async(client: &AsyncClient, path: &str) -> Result<TreeCache, Error> {
        TreeCache::start(client.clone(), path, Box::new(|_| {})).await
    }

    /// [`TreeCache::with_listener`] as a future. [`TreeCache`] has an example.
    ///
    /// # Errors
    /// As [`TreeCache::new`].
    pub async fn with_listener_async(
        client: &AsyncClient,
        path: &str,
        told: impl Fn(CacheEvent<'_>) + Send + Sync + 'static,
    ) -> Result<TreeCache, Error> {
        TreeCache::start(client.clone(), path, Box::new(told)).await
    }

    async fn start(client: AsyncClient, path: &str, listener: CacheListener) -> Result<TreeCache, Error> {
        let session = &client.session;
        let inner = Arc::new(CacheCore {
            session: Arc::downgrade(session),
            path: clean(path),
            listener,
            tree: Mutex::default(),
            loaded: Alarm::default(),
        });
        let (at_state, at_change) = (Arc::downgrade(&inner), Arc::downgrade(&inner));
        let listening = session.listen(move |state| {
            if let Some(inner) = at_state.upgrade() {
                inner.heard(state);
            }
        });
        let changed = move |event: &crate::client::handle::Event| {
            if let Some(inner) = at_change.upgrade() {
                inner.changed(event.kind, &event.path);
            }
        };
        // First the watch, then the load: what changes in between comes by both ways, and is found to be the same.
        let watch = client.on_event(&inner.path, WatchMode::Recursive, changed).await?;
        inner.load();
        loop {
            inner.loaded.reset();
            let (is_loaded, is_over) = {
                let tree = inner.lock();
                (tree.is_loaded, tree.is_over)
            };
            if is_loaded {
                return Ok(TreeCache { inner, _watch: watch, _listening: listening });
            }
            if is_over || session.info().state.is_final() {
                let code = if session.info().state == State::Expired { Code::SessionExpired } else { Code::Closed };
                return Err(Failure::new(code).not_done().into());
            }
            inner.loaded.wait().await;
        }
    }

    /// What the cache has of a znode. [`TreeCache`] has an example.
    pub fn get(&self, path: &str) -> Option<Cached> {
        self.inner.lock().znodes.get(&clean(path)).cloned()
    }

    /// The names of a znode's children, in order; `None` when there is no such znode. [`TreeCache`] has an example.
    pub fn children(&self, path: &str) -> Option<Vec<String>> {
        let (tree, path) = (self.inner.lock(), clean(path));
        tree.znodes.get(&path)?;
        Some(tree.children.get(&path).map(|names| names.iter().cloned().collect()).unwrap_or_default())
    }

    /// How many znodes there are. [`TreeCache`] has an example.
    pub fn len(&self) -> usize {
        self.inner.lock().znodes.len()
    }

    /// Whether there is none. [`TreeCache`] has an example of [`TreeCache::len`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for TreeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeCache").field("path", &self.inner.path).field("len", &self.len()).finish()
    }
}

/// Below, everything is called where callbacks run, but for the first load.
impl CacheCore {
    fn lock(&self) -> MutexGuard<'_, CacheTree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the tree, then tells what came of it, in order.
    fn change(self: &Arc<CacheCore>, change: impl FnOnce(&mut CacheTree)) {
        let mut tree = self.lock();
        change(&mut tree);
        if tree.is_telling {
            // The thread that tells the listeners goes on with this.
            return;
        }
        tree.is_telling = true;
        while let Some(told) = tree.told.pop_front() {
            drop(tree);
            let (listener, is_news) = (&self.listener, matches!(told, CacheNotice::Loaded | CacheNotice::SessionOver));
            // Its panic is the listener's: the cache goes on.
            let tell = || match &told {
                CacheNotice::Added(path, znode) => listener(CacheEvent::Added(path, znode)),
                CacheNotice::Updated(path, znode) => listener(CacheEvent::Updated(path, znode)),
                CacheNotice::Removed(path, znode) => listener(CacheEvent::Removed(path, znode)),
                CacheNotice::Loaded => listener(CacheEvent::Loaded),
                CacheNotice::Suspended => listener(CacheEvent::Suspended),
                CacheNotice::Reconnected => listener(CacheEvent::Reconnected),
                CacheNotice::SessionOver => listener(CacheEvent::SessionOver),
                CacheNotice::Failed(path, error) => listener(CacheEvent::Failed(path, error)),
            };
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(tell)).is_err() {
                log::error!("a listener of the cache of {} panicked", self.path);
            }
            if is_news {
                self.loaded.ring();
            }
            tree = self.lock();
        }
        tree.is_telling = false;
    }

    fn heard(self: &Arc<CacheCore>, state: State) {
        let mut loads = false;
        self.change(|tree| match state {
            state if state.is_final() => {
                tree.is_over = true;
                tree.told.push_back(CacheNotice::SessionOver);
            }
            State::Suspended => {
                tree.was_suspended = true;
                tree.told.push_back(CacheNotice::Suspended);
            }
            _ if std::mem::take(&mut tree.was_suspended) => {
                tree.told.push_back(CacheNotice::Reconnected);
                loads = true;
            }
            _ => {}
        });
        if loads {
            // What was deleted without our hearing of it is missing from its parent's list.
            self.load();
        }
    }

    fn changed(self: &Arc<CacheCore>, kind: EventType, path: &str) {
        self.change(|tree| {
            if let Some(heard) = tree.asked.get_mut(path) {
                // The answer under way may be older than this.
                *heard = Some(kind);
            } else if kind != EventType::Deleted {
                self.ask(tree, path);
            }
            if kind == EventType::Deleted {
                tree.remove(path);
            }
        });
    }

    /// Asks for everything.
    fn load(self: &Arc<CacheCore>) {
        self.change(|tree| {
            tree.to_load.push_back(self.path.clone());
            self.load_more(tree);
        });
    }

    fn load_more(self: &Arc<CacheCore>, tree: &mut CacheTree) {
        while tree.listings < LOADING_MAX && !tree.is_over {
            let Some(path) = tree.to_load.pop_front() else { break };
            let Some(session) = self.session.upgrade() else { return };
            tree.loading.insert(path.clone());
            self.ask(tree, &path);
            tree.listings += 1;
            let (inner, of) = (Arc::downgrade(self), path.clone());
            session.submit_names(&path, move |names| {
                if let Some(inner) = inner.upgrade() {
                    inner.listed(&of, names);
                }
            });
        }
        let is_done = tree.to_load.is_empty() && tree.loading.is_empty() && tree.listings == 0;
        if is_done && !tree.is_over && !tree.is_loaded {
            tree.is_loaded = true;
            tree.told.push_back(CacheNotice::Loaded);
        }
    }

    fn listed(self: &Arc<CacheCore>, path: &str, names: Result<Vec<String>, Error>) {
        self.change(|tree| {
            tree.listings -= 1;
            match names {
                Ok(names) => {
                    let known = tree.children.get(path).cloned().unwrap_or_default();
                    for gone in known.iter().filter(|name| !names.contains(*name)) {
                        tree.remove(&below(path, gone));
                    }
                    tree.to_load.extend(names.iter().map(|name| below(path, name)));
                }
                // It waits for the next connection by itself.
                Err(error) if is_passing(&error) => tree.to_load.push_back(path.to_owned()),
                Err(error) if error.code() == Code::NoNode || tree.is_over => {}
                Err(error) => tree.told.push_back(CacheNotice::Failed(path.to_owned(), error)),
            }
            self.load_more(tree);
        });
    }

    fn ask(self: &Arc<CacheCore>, tree: &mut CacheTree, path: &str) {
        let Some(session) = self.session.upgrade() else { return };
        if tree.asked.contains_key(path) {
            return;
        }
        tree.asked.insert(path.to_owned(), None);
        let (inner, of) = (Arc::downgrade(self), path.to_owned());
        session.submit_get(path, move |found| {
            if let Some(inner) = inner.upgrade() {
                inner.got(&of, found);
            }
        });
    }

    fn got(self: &Arc<CacheCore>, path: &str, found: Result<(Vec<u8>, Stat), Error>) {
        self.change(|tree| {
            let heard = tree.asked.remove(path).flatten();
            let mut must_ask_again = heard.is_some();
            match found {
                // What has been deleted since may be there again, or never more: that has to be asked.
                Ok(_) if heard == Some(EventType::Deleted) => {}
                Ok((data, stat)) => tree.put(&self.path, path, Cached { data: data.into(), stat }),
                Err(error) if error.code() == Code::NoNode => tree.remove(path),
                Err(error) if is_passing(&error) => must_ask_again = true,
                Err(_) if tree.is_over => {}
                Err(error) => tree.told.push_back(CacheNotice::Failed(path.to_owned(), error)),
            }
            if must_ask_again && !tree.is_over {
                self.ask(tree, path);
            } else if tree.loading.remove(path) {
                self.load_more(tree);
            }
        });
    }
}

impl CacheTree {
    fn put(&mut self, root: &str, path: &str, znode: Cached) {
        let known = self.znodes.get(path).map(|known| (known.stat.czxid, known.stat.mzxid));
        if known.is_some_and(|(czxid, _)| czxid != znode.stat.czxid) {
            // Deleted and created again without an event in between.
            self.remove(path);
        }
        let known = known.filter(|(czxid, _)| *czxid == znode.stat.czxid);
        if known.is_none()
            && path != root
            && let Some((parent, name)) = split(path)
        {
            self.children.entry(parent.to_owned()).or_default().insert(name.to_owned());
        }
        match known {
            None => self.told.push_back(CacheNotice::Added(path.to_owned(), znode.clone())),
            Some((_, mzxid)) if mzxid != znode.stat.mzxid => {
                self.told.push_back(CacheNotice::Updated(path.to_owned(), znode.clone()));
            }
            Some(_) => {}
        }
        self.znodes.insert(path.to_owned(), znode);
    }

    fn remove(&mut self, path: &str) {
        // No recursion: how deep a tree is, others decide.
        let mut gone = vec![path.to_owned()];
        let mut at = 0;
        while at < gone.len() {
            let names = self.children.remove(&gone[at]).unwrap_or_default();
            let paths: Vec<String> = names.iter().map(|name| below(&gone[at], name)).collect();
            gone.extend(paths);
            at += 1;
        }
        if let Some((parent, name)) = split(path)
            && let Some(siblings) = self.children.get_mut(parent)
        {
            siblings.remove(name);
        }
        for path in gone.into_iter().rev() {
            if let Some(znode) = self.znodes.remove(&path) {
                self.told.push_back(CacheNotice::Removed(path, znode));
            }
        }
    }
}
