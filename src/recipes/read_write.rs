//! Locks that readers share and writers have for themselves.

use super::lock::{Lock, READ, WRITE};
use crate::client::AnyClient;

/// A lock that any number of readers hold at a time, or one writer. Everybody waits for those who asked before and exclude
/// them, so that a writer who waits is not overtaken by readers for ever.
///
/// A writer's [`fence`](super::Guard::fence) is greater than that of everybody who held it before; so is that of a reader towards
/// all writers before.
///
/// ```
/// use zoarium::recipes::ReadWriteLock;
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-read-write-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.client()?;
/// let table = ReadWriteLock::new(&client, "/locks/table");
///
/// let (one, two) = (table.read().acquire()?, table.read().acquire()?);
/// assert!(table.write().try_acquire()?.is_none());
/// drop((one, two));
/// let writing = table.write().identifier("the writer").acquire()?;
/// assert!(table.read().try_acquire()?.is_none());
/// assert_eq!(table.read().contenders()?, ["the writer"]);
/// # drop((writing, table, client));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReadWriteLock<C> {
    client: C,
    path: String,
}

#[allow(private_bounds, reason = "the two clients are all there are")]
impl<C: AnyClient> ReadWriteLock<C> {
    /// The lock at `path`, whose znode is created when somebody acquires it. [`ReadWriteLock`] has an example, for the other
    /// methods too.
    pub fn new(client: &C, path: &str) -> ReadWriteLock<C> {
        ReadWriteLock { client: client.clone(), path: path.to_owned() }
    }

    /// A reader's side of it: it excludes writers only. [`ReadWriteLock`] has an example.
    pub fn read(&self) -> Lock<C> {
        Lock::with_mode(&self.client, &self.path, &READ)
    }

    /// A writer's side of it: it excludes everybody else. [`ReadWriteLock`] has an example.
    pub fn write(&self) -> Lock<C> {
        Lock::with_mode(&self.client, &self.path, &WRITE)
    }
}
