//! Elections: one leads at a time, and knows for how long.

use super::guard::Guard;
use super::lock::Lock;
use crate::Error;
use crate::client::{AnyClient, AsyncClient, Client};

/// One contender of an election. The one that is elected holds a [`Guard`], leads while it [`is_held`](Guard::is_held), and steps down by
/// dropping it; its [`fence`](Guard::fence) is what a leader's orders should carry.
///
/// ```
/// use zoarium::recipes::Election;
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-election-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.client()?;
/// let election = Election::new(&client, "/service/leader", "host-7");
/// let leadership = election.lead()?;
/// assert_eq!(election.contenders()?, ["host-7"]);
/// assert!(leadership.is_held());
/// leadership.release()?;
/// # drop((election, client));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Election<C> {
    lock: Lock<C>,
}

#[allow(private_bounds, reason = "the two clients are all there are")]
impl<C: AnyClient> Election<C> {
    /// A contender that others see as `identifier`. [`Election`] has an example, for the other methods too.
    pub fn new(client: &C, path: &str, identifier: impl AsRef<[u8]>) -> Election<C> {
        Election { lock: Lock::new(client, path).identifier(identifier) }
    }

    /// Has `told` called when leadership is lost before it was given up. [`Lock::on_lost`], which is the same, has an example.
    pub fn on_lost(self, told: impl Fn() + Send + Sync + 'static) -> Election<C> {
        Election { lock: self.lock.on_lost(told) }
    }
}

impl Election<Client> {
    /// Waits to be elected. [`Election`] has an example.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub fn lead(&self) -> Result<Guard<Client>, Error> {
        self.lock.acquire()
    }

    /// The same for at most `limit`. [`Election`] has an example of [`Election::lead`].
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub fn lead_within(&self, limit: std::time::Duration) -> Result<Option<Guard<Client>>, Error> {
        self.lock.acquire_within(limit)
    }

    /// The identifiers of the leader and of those who would follow it, in order. [`Election`] has an example.
    ///
    /// # Errors
    /// As [`Lock::contenders`].
    pub fn contenders(&self) -> Result<Vec<String>, Error> {
        self.lock.contenders()
    }
}

impl Election<AsyncClient> {
    /// Waits to be elected; when the future is dropped, this contender is out. As the one that waits.
    /// [`Election`] has an example.
    ///
    /// # Errors
    /// What ends the session.
    pub async fn lead(&self) -> Result<Guard<AsyncClient>, Error> {
        self.lock.acquire().await
    }

    /// The identifiers of the leader and of those who would follow it, in order. [`Election`] has an example.
    ///
    /// # Errors
    /// What ends the session.
    pub async fn contenders(&self) -> Result<Vec<String>, Error> {
        self.lock.contenders().await
    }
}
