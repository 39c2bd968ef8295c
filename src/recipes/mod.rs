//! What programs coordinate with: locks of several kinds, semaphores, elections, parties, counters, barriers, queues, watchers, a
//! cache of a subtree.
//!
//! The znodes they make are those that Zoarium's Python recipes and kazoo's make, so programs in several languages can share a
//! path. They work the same in this process and over TCP, with any ZooKeeper-compatible server.
//!
//! Each is made with a [`Client`](crate::Client), and then its methods wait; or with an [`AsyncClient`](crate::AsyncClient), and
//! then they are futures, which need no runtime. A future that is dropped gives up, and leaves nothing behind that others would
//! have to wait for.
//!
//! What they have in common:
//!
//! - A session that is over stays over: what waits fails with [`Code::SessionExpired`](crate::Code::SessionExpired) or
//!   [`Code::Closed`](crate::Code::Closed), what is held is lost, and a new client is needed.
//! - A connection that was lost is waited for; nothing that may have happened is done twice by guessing.
//! - What waits for something that comes through callbacks cannot wait in a callback: that fails with
//!   [`Code::WouldDeadlock`](crate::Code::WouldDeadlock) instead of hanging.
//!
//! ```
//! use zoarium::recipes::{Counter, Lock};
//! use zoarium::{Config, Error, Server};
//!
//! # let dir = std::env::temp_dir().join(format!("zoarium-doc-recipes-{}", std::process::id()));
//! let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
//! let client = server.client()?;
//! let lock = Lock::new(&client, "/locks/index");
//! let guard = lock.acquire()?;
//! println!("write with fence {}", guard.fence());
//! guard.release()?;
//! assert_eq!(Counter::new(&client, "/hits").add(1)?, 1);
//! # drop((lock, client));
//! # server.stop()?;
//! # std::fs::remove_dir_all(dir).ok();
//! # Ok::<(), Error>(())
//! ```

mod barrier;
mod base;
mod cache;
mod counter;
mod election;
mod guard;
mod holding;
mod lock;
mod locking_queue;
mod party;
mod queue;
mod read_write;
mod semaphore;
mod watchers;

pub use barrier::{Barrier, DoubleBarrier, Inside};
pub use cache::{CacheEvent, Cached, TreeCache};
pub use counter::Counter;
pub use election::Election;
pub use guard::Guard;
pub use lock::Lock;
pub use locking_queue::{Entry, LockingQueue};
pub use party::Party;
pub use queue::Queue;
pub use read_write::ReadWriteLock;
pub use semaphore::Semaphore;
pub use watchers::{ChildrenWatch, DataWatch};
