//! Barriers: nobody passes while one stands; or all enter and leave together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::base::{Removal, below, clean, is_passing, persist, unique};
use crate::Error;
use crate::client::handle::WatchMode;
use crate::client::{Alarm, AnyClient, AsyncClient, Client, CreateOptions};
use crate::error::Code;
use crate::records::EventType;

/// Stands while its znode exists: nobody passes it before it is removed.
///
/// ```
/// use std::time::Duration;
/// use zoarium::recipes::Barrier;
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-barrier-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.client()?;
/// let barrier = Barrier::new(&client, "/maintenance");
/// barrier.create()?;
/// assert!(!barrier.wait_within(Duration::from_millis(1))?);
/// assert!(barrier.remove()?);
/// barrier.wait()?;
/// # drop((barrier, client));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Barrier<C> {
    client: C,
    core: BarrierCore,
}

#[derive(Clone, Debug)]
struct BarrierCore {
    client: AsyncClient,
    path: String,
}

#[allow(private_bounds, reason = "the two clients are all there are")]
impl<C: AnyClient> Barrier<C> {
    /// The barrier at `path`. [`Barrier`] has an example, for the other methods too.
    pub fn new(client: &C, path: &str) -> Barrier<C> {
        Barrier { client: client.clone(), core: BarrierCore { client: client.as_async(), path: clean(path) } }
    }
}

impl Barrier<Client> {
    /// Puts it up, if it does not stand. [`Barrier`] has an example.
    ///
    /// # Errors
    /// As [`Client::ensure_path`](crate::Client::ensure_path).
    pub fn create(&self) -> Result<(), Error> {
        self.client.session.block_on(self.core.create(), None).map(drop)
    }

    /// Takes it down; whether it stood. After a lost connection that is not always known. [`Barrier`] has an example.
    ///
    /// # Errors
    /// As [`Client::delete`](crate::Client::delete).
    pub fn remove(&self) -> Result<bool, Error> {
        Ok(self.client.session.block_on(self.core.remove(), None)?.unwrap_or_default())
    }

    /// Waits until it does not stand. [`Barrier`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub fn wait(&self) -> Result<(), Error> {
        self.client.session.block_on(self.core.wait(), None).map(drop)
    }

    /// The same for at most `limit`: false when it stands then. [`Barrier`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub fn wait_within(&self, limit: Duration) -> Result<bool, Error> {
        Ok(self.client.session.block_on(self.core.wait(), Some(limit))?.is_some())
    }
}

impl Barrier<AsyncClient> {
    /// Puts it up, if it does not stand. As the one that waits. [`Barrier`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn create(&self) -> Result<(), Error> {
        self.core.create().await
    }

    /// Takes it down; whether it stood. As the one that waits. [`Barrier`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn remove(&self) -> Result<bool, Error> {
        self.core.remove().await
    }

    /// Waits until it does not stand. [`Barrier`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub async fn wait(&self) -> Result<(), Error> {
        self.core.wait().await
    }
}

impl BarrierCore {
    async fn create(&self) -> Result<(), Error> {
        persist(async || self.client.ensure_path(&self.path).await).await
    }

    async fn remove(&self) -> Result<bool, Error> {
        match persist(async || self.client.delete(&self.path).await).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Code::NoNode => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn wait(&self) -> Result<(), Error> {
        let alarm = Arc::<Alarm>::default();
        let _listening = self.client.session.listen_alarm(&alarm);
        loop {
            alarm.reset();
            // This and not `exists`, which would leave a watch behind for one that does not stand.
            match self.client.get_alarmed(&self.path, &alarm).await {
                Ok(_) => alarm.wait().await,
                Err(error) if error.code() == Code::NoNode => return Ok(()),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Lets a number of clients in together, and out together. Each of them has one of its own.
///
/// ```
/// use zoarium::recipes::DoubleBarrier;
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-double-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         scope.spawn(|| {
///             let client = server.client()?;
///             let inside = DoubleBarrier::new(&client, "/step-1", 2).enter()?;
///             // Both are here by now.
///             inside.leave()
///         });
///     }
/// });
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DoubleBarrier<C> {
    client: C,
    core: Both,
}

#[derive(Clone, Debug)]
struct Both {
    client: AsyncClient,
    path: String,
    count: usize,
}

/// Being in, together with the others. Dropping it leaves without waiting for them. [`DoubleBarrier`] has an example.
#[must_use = "dropping it leaves without the others"]
#[derive(Debug)]
pub struct Inside<C> {
    client: C,
    core: Both,
    mine: Mine,
}

/// One's own znode, which goes with this.
#[derive(Debug)]
struct Mine {
    client: AsyncClient,
    path: String,
    name: String,
}

impl Drop for Mine {
    fn drop(&mut self) {
        Removal::of_name(&self.client, &self.path, &self.name);
    }
}

const READY: &str = "ready";

#[allow(private_bounds, reason = "the two clients are all there are")]
impl<C: AnyClient> DoubleBarrier<C> {
    /// For `count` clients at `path`. [`DoubleBarrier`] has an example, for the other methods too.
    pub fn new(client: &C, path: &str, count: usize) -> DoubleBarrier<C> {
        let core = Both { client: client.as_async(), path: clean(path), count };
        DoubleBarrier { client: client.clone(), core }
    }
}

impl DoubleBarrier<Client> {
    /// Waits until all have come. [`DoubleBarrier`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub fn enter(&self) -> Result<Inside<Client>, Error> {
        let mine = self.client.session.block_on(self.core.enter(), None)?.expect("it waits for ever");
        Ok(Inside { client: self.client.clone(), core: self.core.clone(), mine })
    }

    /// The same for at most `limit`; this one is out again when not all have come. [`DoubleBarrier`] has an example of
    /// [`DoubleBarrier::enter`].
    ///
    /// # Errors
    /// What became of the session.
    pub fn enter_within(&self, limit: Duration) -> Result<Option<Inside<Client>>, Error> {
        let mine = self.client.session.block_on(self.core.enter(), Some(limit))?;
        Ok(mine.map(|mine| Inside { client: self.client.clone(), core: self.core.clone(), mine }))
    }
}

impl DoubleBarrier<AsyncClient> {
    /// Waits until all have come; when the future is dropped, this one is out again. As the one that waits.
    /// [`DoubleBarrier`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub async fn enter(&self) -> Result<Inside<AsyncClient>, Error> {
        let mine = self.core.enter().await?;
        Ok(Inside { client: self.client.clone(), core: self.core.clone(), mine })
    }
}

impl Inside<Client> {
    /// Waits until all have left. [`DoubleBarrier`] has an example.
    ///
    /// # Errors
    /// What became of the session; this one is out all the same.
    pub fn leave(self) -> Result<(), Error> {
        self.client.session.block_on(self.core.leave(&self.mine), None).map(drop)
    }

    /// The same for at most `limit`: false when not all have left; this one has, then. [`DoubleBarrier`] has an example of
    /// [`Inside::leave`].
    ///
    /// # Errors
    /// What became of the session; this one is out all the same.
    pub fn leave_within(self, limit: Duration) -> Result<bool, Error> {
        Ok(self.client.session.block_on(self.core.leave(&self.mine), Some(limit))?.is_some())
    }
}

impl Inside<AsyncClient> {
    /// Waits until all have left. As the one that waits. [`DoubleBarrier`] has an example.
    ///
    /// # Errors
    /// What became of the session; this one is out all the same.
    pub async fn leave(self) -> Result<(), Error> {
        self.core.leave(&self.mine).await
    }
}

impl Both {
    async fn enter(&self) -> Result<Mine, Error> {
        // A new name each time: members that still leave must not take this for the one that was in before.
        let mine = Mine { client: self.client.clone(), path: self.path.clone(), name: unique()? };
        let (alarm, opened) = (Arc::<Alarm>::default(), Arc::new(AtomicI64::new(0)));
        let _listening = self.client.session.listen_alarm(&alarm);
        let ready = below(&self.path, READY);
        // A standing watch: others may be ready and gone again before this one has looked.
        let (seen, rung) = (Arc::clone(&opened), Arc::clone(&alarm));
        let told = move |event: &crate::client::handle::Event| {
            if event.kind == EventType::Created {
                seen.fetch_max(event.zxid, Ordering::SeqCst);
            }
            rung.ring();
        };
        let _watch = self.client.on_event(&ready, WatchMode::Persistent, told).await?;
        let mut came = self.come(&mine).await?;
        loop {
            alarm.reset();
            // What is older than this one's coming was left behind by those who were in before.
            if opened.load(Ordering::SeqCst) > came {
                return Ok(mine);
            }
            match self.look(&mine, &mut came, &ready).await {
                Ok(true) => return Ok(mine),
                Ok(false) => alarm.wait().await,
                // Several come last, and help each other.
                Err(error) if matches!(error.code(), Code::NoNode | Code::NodeExists) || is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether all are there.
    async fn look(&self, mine: &Mine, came: &mut i64, ready: &str) -> Result<bool, Error> {
        let children = loop {
            let children: BTreeSet<String> = self.client.children(&self.path).await?.into_iter().collect();
            if children.contains(&mine.name) {
                break children;
            }
            *came = self.come(mine).await?;
        };
        let is_ready = children.contains(READY);
        let stat = if is_ready { self.client.exists(ready).await? } else { None };
        if stat.is_some_and(|stat| stat.czxid > *came) {
            return Ok(true);
        }
        if children.len() - usize::from(is_ready) < self.count {
            return Ok(false);
        }
        if stat.is_some() {
            self.client.delete(ready).await?;
        }
        self.client.create(ready, b"").await?;
        Ok(true)
    }

    /// Creates this one's znode; returns the transaction that did.
    async fn come(&self, mine: &Mine) -> Result<i64, Error> {
        let path = below(&self.path, &mine.name);
        loop {
            match self.client.create_with(&path, b"", &CreateOptions::new().ephemeral()).await {
                Ok(created) => return Ok(created.stat.czxid),
                Err(error) if error.code() == Code::NoNode => self.client.ensure_path(&self.path).await?,
                Err(error) if error.code() == Code::NodeExists => {
                    if let Some(stat) = persist(async || self.client.exists(&path).await).await? {
                        return Ok(stat.czxid);
                    }
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn leave(&self, mine: &Mine) -> Result<(), Error> {
        let alarm = Arc::<Alarm>::default();
        let _listening = self.client.session.listen_alarm(&alarm);
        let mut inside: Option<BTreeSet<String>> = None;
        loop {
            alarm.reset();
            match self.step_out(mine, &mut inside, &alarm).await {
                Ok(true) => return Ok(()),
                Ok(false) => alarm.wait().await,
                Err(error) if error.code() == Code::NoNode || is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether all have left.
    async fn step_out(
        &self,
        mine: &Mine,
        inside: &mut Option<BTreeSet<String>>,
        alarm: &Arc<Alarm>,
    ) -> Result<bool, Error> {
        let there: BTreeSet<String> = self.client.children(&self.path).await?.into_iter().collect();
        if inside.is_none() {
            match self.client.delete(&below(&self.path, READY)).await {
                Err(error) if error.code() != Code::NoNode => return Err(error),
                _ => {}
            }
        }
        // A member that comes while this one leaves comes for the next time.
        let inside = inside.get_or_insert_with(|| there.clone());
        inside.retain(|name| name != READY && there.contains(name));
        if inside.iter().all(|name| *name == mine.name) {
            return Ok(true);
        }
        let (Some(lowest), Some(highest)) = (inside.first().cloned(), inside.last().cloned()) else { return Ok(true) };
        let awaited = if mine.name == lowest {
            highest
        } else {
            // Only the first one stays until all the others have left: so each waits for one.
            match self.client.delete(&below(&self.path, &mine.name)).await {
                Err(error) if error.code() != Code::NoNode => return Err(error),
                _ => {}
            }
            inside.remove(&mine.name);
            lowest
        };
        self.client.get_alarmed(&below(&self.path, &awaited), alarm).await?;
        Ok(false)
    }
}
