//! Queues that many put into and many take from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::base::{below, clean, persist};
use crate::Error;
use crate::client::{Alarm, AnyClient, AsyncClient, Client, CreateOptions};
use crate::error::{Code, Failure};

/// A queue whose entries are gone when they have been taken: who takes one and fails has lost it. Entries come in the order of
/// their priorities, the lowest number first, then of age.
///
/// ```
/// use std::time::Duration;
/// use zoarium::recipes::Queue;
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-queue-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.client()?;
/// let jobs = Queue::new(&client, "/jobs");
/// jobs.put(b"later")?;
/// jobs.put_with_priority(b"now", 1)?;
/// assert_eq!(jobs.len()?, 2);
/// assert_eq!(jobs.take()?, b"now");
/// assert_eq!(jobs.try_take()?.as_deref(), Some(&b"later"[..]));
/// assert_eq!(jobs.take_within(Duration::from_millis(1))?, None);
/// # drop((jobs, client));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Queue<C> {
    client: C,
    core: QueueCore,
}

#[derive(Clone, Debug)]
struct QueueCore {
    client: AsyncClient,
    path: String,
}

/// What an entry has that says nothing else.
pub(super) const PRIORITY: u16 = 100;
const PRIORITY_MAX: u16 = 999;

/// What the names of entries with this priority begin with.
pub(super) fn entry_prefix(path: &str, priority: u16) -> Result<String, Error> {
    if priority > PRIORITY_MAX {
        let text = format!("a priority is 0 to {PRIORITY_MAX}, not {priority}");
        return Err(Failure::because(Code::BadArguments, text).at(Some(path)).not_done().into());
    }
    Ok(format!("entry-{priority:03}-"))
}

#[allow(private_bounds, reason = "the two clients are all there are")]
impl<C: AnyClient> Queue<C> {
    /// The queue at `path`. [`Queue`] has an example, for the other methods too.
    pub fn new(client: &C, path: &str) -> Queue<C> {
        Queue { client: client.clone(), core: QueueCore { client: client.as_async(), path: clean(path) } }
    }
}

impl Queue<Client> {
    /// Puts an entry in. [`Queue`] has an example.
    ///
    /// # Errors
    /// [`Code::ConnectionLoss`]: whether the entry is in is not known then, and putting it in
    /// again may double it. What became of the session.
    pub fn put(&self, entry: impl AsRef<[u8]>) -> Result<(), Error> {
        self.put_with_priority(entry, PRIORITY)
    }

    /// Puts an entry in at 0 to 999, where lower ones come first; [`Queue::put`] uses 100. [`Queue`] has an example.
    ///
    /// # Errors
    /// [`Code::BadArguments`] for another priority, and as [`Queue::put`].
    pub fn put_with_priority(&self, entry: impl AsRef<[u8]>, priority: u16) -> Result<(), Error> {
        self.client.session.block_on(self.core.put(entry.as_ref(), priority), None).map(drop)
    }

    /// How many entries there are. [`Queue`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub fn len(&self) -> Result<usize, Error> {
        Ok(self.client.session.block_on(self.core.len(), None)?.unwrap_or_default())
    }

    /// Whether there is none. [`Queue`] has an example of [`Queue::len`].
    ///
    /// # Errors
    /// What became of the session.
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Takes the first entry, waiting for one. [`Queue`] has an example.
    ///
    /// # Errors
    /// [`Code::ConnectionLoss`] when it is not known whether an entry has been taken. What became
    /// of the session.
    pub fn take(&self) -> Result<Vec<u8>, Error> {
        Ok(self.client.session.block_on(self.core.take(), None)?.unwrap_or_default())
    }

    /// Takes the first entry, if there is one. [`Queue`] has an example.
    ///
    /// # Errors
    /// As [`Queue::take`].
    pub fn try_take(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.client.session.block_on(self.core.take_first(), None)?.flatten())
    }

    /// Takes the first entry, waiting for one no longer than `limit`. [`Queue`] has an example.
    ///
    /// # Errors
    /// As [`Queue::take`].
    pub fn take_within(&self, limit: Duration) -> Result<Option<Vec<u8>>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            // Never given up half way: an entry would be lost.
            if let Some(entry) = self.try_take()? {
                return Ok(Some(entry));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.client.session.block_on(self.core.wait_for_entries(), Some(left))?.is_none() {
                return Ok(None);
            }
        }
    }
}

impl Queue<AsyncClient> {
    /// Puts an entry in. As the one that waits. [`Queue`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn put(&self, entry: impl AsRef<[u8]>) -> Result<(), Error> {
        self.core.put(entry.as_ref(), PRIORITY).await
    }

    /// Puts an entry in at 0 to 999, where lower ones come first. As the one that waits. [`Queue`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn put_with_priority(&self, entry: impl AsRef<[u8]>, priority: u16) -> Result<(), Error> {
        self.core.put(entry.as_ref(), priority).await
    }

    /// How many entries there are. [`Queue`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub async fn len(&self) -> Result<usize, Error> {
        self.core.len().await
    }

    /// Whether there is none. [`Queue`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.core.len().await? == 0)
    }

    /// Takes the first entry, waiting for one. Dropping the future may lose an entry that it has just taken:
    /// [`Queue::wait`] may be dropped, and [`Queue::try_take`] does not take long. [`Queue`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn take(&self) -> Result<Vec<u8>, Error> {
        self.core.take().await
    }

    /// Takes the first entry, if there is one. [`Queue`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn try_take(&self) -> Result<Option<Vec<u8>>, Error> {
        self.core.take_first().await
    }

    /// Waits until there is an entry, which somebody else may take first. [`Queue`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub async fn wait(&self) -> Result<(), Error> {
        self.core.wait_for_entries().await
    }
}

impl QueueCore {
    async fn put(&self, entry: &[u8], priority: u16) -> Result<(), Error> {
        let path = below(&self.path, &entry_prefix(&self.path, priority)?);
        let options = CreateOptions::new().sequential();
        match self.client.create_with(&path, entry, &options).await {
            Err(error) if error.code() == Code::NoNode => {
                self.client.ensure_path(&self.path).await?;
                self.client.create_with(&path, entry, &options).await.map(drop)
            }
            created => created.map(drop),
        }
    }

    async fn len(&self) -> Result<usize, Error> {
        let stat = persist(async || self.client.exists(&self.path).await).await?;
        Ok(stat.map_or(0, |stat| usize::try_from(stat.num_children).unwrap_or(0)))
    }

    async fn take(&self) -> Result<Vec<u8>, Error> {
        loop {
            if let Some(entry) = self.take_first().await? {
                return Ok(entry);
            }
            self.wait_for_entries().await?;
        }
    }

    async fn take_first(&self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            let names = match persist(async || self.client.children(&self.path).await).await {
                Err(error) if error.code() == Code::NoNode => return Ok(None),
                names => names?,
            };
            let Some(first) = names.iter().min() else { return Ok(None) };
            let path = below(&self.path, first);
            let data = match persist(async || self.client.get(&path).await).await {
                // Somebody was faster.
                Err(error) if error.code() == Code::NoNode => continue,
                data => data?.0,
            };
            match self.client.delete(&path).await {
                Ok(()) => return Ok(Some(data)),
                Err(error) if error.code() == Code::NoNode => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait_for_entries(&self) -> Result<(), Error> {
        let alarm = Arc::<Alarm>::default();
        let _listening = self.client.session.listen_alarm(&alarm);
        loop {
            alarm.reset();
            match persist(async || self.client.names_alarmed(&self.path, &alarm).await).await {
                Ok(names) if !names.is_empty() => return Ok(()),
                Ok(_) => alarm.wait().await,
                Err(error) if error.code() == Code::NoNode => {
                    persist(async || self.client.ensure_path(&self.path).await).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
