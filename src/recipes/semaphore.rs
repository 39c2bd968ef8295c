//! Semaphores: a number of leases, each of which one holds at a time.

use std::sync::Arc;
use std::time::Duration;

use super::base::{Undo, below, clean, is_passing, persist, unique};
use super::guard::Guard;
use super::holding::Holding;
use super::lock::Lock;
use crate::Error;
use crate::client::{Alarm, AnyClient, AsyncClient, Client, CreateOptions};
use crate::error::{Code, Failure};

/// At most a number of holders at a time, in the order in which they asked for it.
///
/// The number is written to the znode when that is created, and a semaphore that is given another one is refused: to change it,
/// delete the znode.
///
/// ```
/// use std::time::Duration;
/// use zoarium::recipes::Semaphore;
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-semaphore-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.client()?;
/// let workers = Semaphore::new(&client, "/workers", 2).identifier("host-7");
/// let (one, two) = (workers.acquire()?, workers.acquire()?);
/// assert!(workers.try_acquire()?.is_none());
/// assert_eq!(workers.holders()?, ["host-7", "host-7"]);
/// one.release()?;
/// assert!(workers.acquire_within(Duration::from_secs(10))?.is_some());
/// # drop((two, workers, client));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Semaphore<C> {
    client: C,
    core: Arc<Leases>,
}

#[derive(Clone)]
struct Leases {
    client: AsyncClient,
    path: String,
    count_max: u32,
    /// Where those who want a lease wait: the first of them alone watches for one that comes free, so that no herd wakes up.
    line: Lock<AsyncClient>,
    data: Vec<u8>,
    on_lost: Option<Arc<dyn Fn() + Send + Sync>>,
}

#[allow(private_bounds, reason = "the two clients are all there are")]
impl<C: AnyClient> Semaphore<C> {
    /// The semaphore at `path` with so many leases. [`Semaphore`] has an example, for the other methods too.
    pub fn new(client: &C, path: &str, leases_max: u32) -> Semaphore<C> {
        let (own, path) = (client.as_async(), clean(path));
        let line = Lock::new(&own, &format!("{path}-__lock__"));
        let core = Leases { client: own, path, count_max: leases_max, line, data: Vec::new(), on_lost: None };
        Semaphore { client: client.clone(), core: Arc::new(core) }
    }

    /// What [`Semaphore::holders`] tells others about this one. [`Semaphore`] has an example.
    pub fn identifier(self, identifier: impl AsRef<[u8]>) -> Semaphore<C> {
        let line = self.core.line.clone().identifier(&identifier);
        let core = Leases { data: identifier.as_ref().to_vec(), line, ..Leases::clone(&self.core) };
        Semaphore { core: Arc::new(core), ..self }
    }

    /// Has `told` called when a lease is lost while it is held. [`Lock::on_lost`], which is the same, has an example.
    pub fn on_lost(self, told: impl Fn() + Send + Sync + 'static) -> Semaphore<C> {
        let core = Leases { on_lost: Some(Arc::new(told)), ..Leases::clone(&self.core) };
        Semaphore { core: Arc::new(core), ..self }
    }

    fn guard(&self, holding: Holding) -> Guard<C> {
        Guard::new(self.client.clone(), &self.core.client, holding)
    }
}

impl Semaphore<Client> {
    /// Acquires a lease, however long that takes. [`Semaphore`] has an example.
    ///
    /// # Errors
    /// [`Code::BadArguments`] where the semaphore has another number of leases. Else as [`Lock::acquire`].
    pub fn acquire(&self) -> Result<Guard<Client>, Error> {
        let held = self.client.session.block_on(self.core.contend(true), None)?;
        Ok(self.guard(held.flatten().expect("it waits until it is held")))
    }

    /// Acquires a lease unless that takes longer than `limit`. [`Semaphore`] has an example.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`].
    pub fn acquire_within(&self, limit: Duration) -> Result<Option<Guard<Client>>, Error> {
        let held = self.client.session.block_on(self.core.contend(true), Some(limit))?;
        Ok(held.flatten().map(|holding| self.guard(holding)))
    }

    /// Acquires a lease if one is free and nobody waits for it. [`Semaphore`] has an example.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`].
    pub fn try_acquire(&self) -> Result<Option<Guard<Client>>, Error> {
        let held = self.client.session.block_on(self.core.contend(false), None)?;
        Ok(held.flatten().map(|holding| self.guard(holding)))
    }

    /// The identifiers of those who hold a lease, in no order. [`Semaphore`] has an example.
    ///
    /// # Errors
    /// As [`Client::children`](crate::Client::children).
    pub fn holders(&self) -> Result<Vec<String>, Error> {
        Ok(self.client.session.block_on(self.core.holders(), None)?.unwrap_or_default())
    }
}

impl Semaphore<AsyncClient> {
    /// Acquires a lease. When the future is dropped, its place in the line is given up. As the one that waits. [`Semaphore`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn acquire(&self) -> Result<Guard<AsyncClient>, Error> {
        let held = self.core.contend(true).await?;
        Ok(self.guard(held.expect("it waits until it is held")))
    }

    /// Acquires a lease if one is free and nobody waits for it. [`Semaphore`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn try_acquire(&self) -> Result<Option<Guard<AsyncClient>>, Error> {
        Ok(self.core.contend(false).await?.map(|holding| self.guard(holding)))
    }

    /// The identifiers of those who hold a lease, in no order. [`Semaphore`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub async fn holders(&self) -> Result<Vec<String>, Error> {
        self.core.holders().await
    }
}

impl<C> std::fmt::Debug for Semaphore<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Semaphore")
            .field("path", &self.core.path)
            .field("leases_max", &self.core.count_max)
            .finish_non_exhaustive()
    }
}

impl Leases {
    async fn contend(&self, waits: bool) -> Result<Option<Holding>, Error> {
        self.ensure().await?;
        let turn = if waits { Some(self.line.acquire().await?) } else { self.line.try_acquire().await? };
        let Some(turn) = turn else { return Ok(None) };
        let name = unique()?;
        let mut undo = Undo { client: &self.client, path: &self.path, prefix: &name, is_due: true };
        let fence = self.wait_for_lease(&name, waits).await?;
        undo.is_due = fence.is_none();
        let holding = fence.map(|fence| Holding::new(&self.client, &self.path, &name, fence, self.on_lost.clone()));
        drop(turn);
        Ok(holding)
    }

    /// Sees to it that the znode is there, with this number of leases.
    async fn ensure(&self) -> Result<(), Error> {
        loop {
            match self.client.create(&self.path, self.count_max.to_string()).await {
                Ok(_) => return Ok(()),
                Err(error) if error.code() == Code::NodeExists => {}
                Err(error) if error.code() == Code::NoNode => {
                    let (parent, _) = crate::path::split(&self.path).unwrap_or(("/", ""));
                    persist(async || self.client.ensure_path(parent).await).await?;
                    continue;
                }
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(error),
            }
            let data = match self.client.get(&self.path).await {
                Ok((data, _)) => data,
                Err(error) if error.code() == Code::NoNode || is_passing(&error) => continue,
                Err(error) => return Err(error),
            };
            // What is no number belongs to somebody else.
            let there = std::str::from_utf8(&data).ok().and_then(|text| text.parse::<u32>().ok());
            return match there.filter(|there| *there != self.count_max) {
                None => Ok(()),
                Some(there) => {
                    let text = format!("it has {there} leases, not {}", self.count_max);
                    Err(Failure::because(Code::BadArguments, text).at(Some(&self.path)).not_done().into())
                }
            };
        }
    }

    /// Called by the first in line alone. The fence of the lease.
    async fn wait_for_lease(&self, name: &str, waits: bool) -> Result<Option<i64>, Error> {
        let alarm = Arc::<Alarm>::default();
        let _listening = self.client.session.listen_alarm(&alarm);
        loop {
            alarm.reset();
            match self.look_for_lease(name, &alarm).await {
                Ok(Some(fence)) => return Ok(Some(fence)),
                Ok(None) if !waits => return Ok(None),
                Ok(None) => alarm.wait().await,
                Err(error) if error.code() == Code::NoNode => self.ensure().await?,
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn look_for_lease(&self, name: &str, alarm: &Arc<Alarm>) -> Result<Option<i64>, Error> {
        let leases = self.client.names_alarmed(&self.path, alarm).await?;
        let path = below(&self.path, name);
        // It is there already where an earlier create has happened whose answer never came.
        if !leases.iter().any(|lease| lease == name) {
            if leases.len() >= self.count_max as usize {
                return Ok(None);
            }
            let options = CreateOptions::new().ephemeral();
            return match self.client.create_with(&path, &self.data, &options).await {
                Err(error) if error.code() == Code::NodeExists => self.fence_of(&path).await,
                created => Ok(Some(created?.stat.czxid)),
            };
        }
        self.fence_of(&path).await
    }

    async fn fence_of(&self, path: &str) -> Result<Option<i64>, Error> {
        Ok(Some(self.client.get(path).await?.1.czxid))
    }

    async fn holders(&self) -> Result<Vec<String>, Error> {
        super::base::texts_below(&self.client, &self.path, |_| true).await
    }
}
