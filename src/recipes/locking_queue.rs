//! Queues whose entries stay until their holders say that they are done.

use std::sync::Arc;
use std::time::Duration;

use super::base::{Removal, below, clean, is_passing, persist, unique};
use super::holding::Holding;
use super::queue::{PRIORITY, entry_prefix};
use crate::Error;
use crate::client::{Alarm, AnyClient, AsyncClient, Client, CreateOptions};
use crate::error::Code;

/// A queue whose entries stay until they are *consumed*: who takes one holds it, and when its session ends before that, others
/// get it. QueueEntries come in the order of their priorities, the lowest number first, then of age.
///
/// ```
/// use std::time::Duration;
/// use zoarium::recipes::LockingQueue;
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-locking-queue-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let (client, other) = (server.client()?, server.client()?);
/// let jobs = LockingQueue::new(&client, "/jobs");
/// jobs.put_all([b"one", b"two"])?;
/// jobs.put_with_priority(b"at once", 1)?;
///
/// let entry = jobs.take()?;
/// assert_eq!(entry.data(), b"at once");
/// assert!(entry.consume()?, "it is done, and gone");
///
/// let entry = jobs.take()?;
/// assert_eq!(entry.data(), b"one");
/// // Its holder has gone: it is another's.
/// server.expire(client.session().id)?;
/// let again = LockingQueue::new(&other, "/jobs").take_within(Duration::from_secs(10))?.expect("there are two");
/// assert_eq!(again.data(), b"one");
/// again.release()?; // Gives it back, as dropping it does.
/// # drop((entry, jobs, client, other));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LockingQueue<C> {
    client: C,
    core: QueueEntries,
}

#[derive(Clone, Debug)]
struct QueueEntries {
    client: AsyncClient,
    /// Where they lie.
    path: String,
    /// Where those that somebody holds have a znode each.
    taken: String,
}

/// An entry that is held. Dropping it gives it back to the queue. [`LockingQueue`] has an example.
#[must_use = "the entry is given back when this is dropped"]
pub struct Entry<C> {
    client: C,
    core: QueueEntries,
    data: Vec<u8>,
    holding: Holding,
}

#[allow(private_bounds, reason = "the two clients are all there are")]
impl<C: AnyClient> LockingQueue<C> {
    /// The queue at `path`. [`LockingQueue`] has an example, for the other methods too.
    pub fn new(client: &C, path: &str) -> LockingQueue<C> {
        let path = clean(path);
        let core =
            QueueEntries { client: client.as_async(), taken: below(&path, "taken"), path: below(&path, "entries") };
        LockingQueue { client: client.clone(), core }
    }

    fn entry(&self, (data, holding): (Vec<u8>, Holding)) -> Entry<C> {
        Entry { client: self.client.clone(), core: self.core.clone(), data, holding }
    }
}

impl LockingQueue<Client> {
    /// Puts an entry in. [`LockingQueue`] has an example of [`LockingQueue::put_with_priority`].
    ///
    /// # Errors
    /// As [`Queue::put`](super::Queue::put).
    pub fn put(&self, entry: impl AsRef<[u8]>) -> Result<(), Error> {
        self.put_with_priority(entry, PRIORITY)
    }

    /// Puts an entry in at 0 to 999, where lower ones come first; [`LockingQueue::put`] uses 100. [`LockingQueue`] has an example.
    ///
    /// # Errors
    /// As [`Queue::put_with_priority`](super::Queue::put_with_priority).
    pub fn put_with_priority(&self, entry: impl AsRef<[u8]>, priority: u16) -> Result<(), Error> {
        self.client.session.block_on(self.core.put_all([entry], priority), None).map(drop)
    }

    /// Puts several entries in: all of them, or none. [`LockingQueue`] has an example.
    ///
    /// # Errors
    /// As [`Queue::put`](super::Queue::put).
    pub fn put_all(&self, entries: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<(), Error> {
        self.client.session.block_on(self.core.put_all(entries, PRIORITY), None).map(drop)
    }

    /// How many entries there are, those that are held with them.
    ///
    /// # Errors
    /// What became of the session. [`LockingQueue`] has an example of the other methods.
    pub fn len(&self) -> Result<usize, Error> {
        Ok(self.client.session.block_on(self.core.len(), None)?.unwrap_or_default())
    }

    /// Whether there is none. [`LockingQueue`] has an example of the other methods.
    ///
    /// # Errors
    /// What became of the session.
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Takes the first entry that nobody holds, waiting for one. [`LockingQueue`] has an example.
    ///
    /// # Errors
    /// What ends the session; [`Code::WouldDeadlock`] in a callback.
    pub fn take(&self) -> Result<Entry<Client>, Error> {
        let taken = self.client.session.block_on(self.core.take(true), None)?;
        Ok(self.entry(taken.flatten().expect("it waits until there is one")))
    }

    /// Takes the first entry that nobody holds, if there is one. [`LockingQueue`] has an example of [`LockingQueue::take`].
    ///
    /// # Errors
    /// As [`LockingQueue::take`].
    pub fn try_take(&self) -> Result<Option<Entry<Client>>, Error> {
        let taken = self.client.session.block_on(self.core.take(false), None)?;
        Ok(taken.flatten().map(|taken| self.entry(taken)))
    }

    /// Takes the first entry that nobody holds, waiting for one no longer than `limit`. [`LockingQueue`] has an example.
    ///
    /// # Errors
    /// As [`LockingQueue::take`].
    pub fn take_within(&self, limit: Duration) -> Result<Option<Entry<Client>>, Error> {
        let taken = self.client.session.block_on(self.core.take(true), Some(limit))?;
        Ok(taken.flatten().map(|taken| self.entry(taken)))
    }
}

impl LockingQueue<AsyncClient> {
    /// Puts an entry in. As the one that waits. [`LockingQueue`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn put(&self, entry: impl AsRef<[u8]>) -> Result<(), Error> {
        self.core.put_all([entry], PRIORITY).await
    }

    /// Puts an entry in at 0 to 999, where lower ones come first. As the one that waits. [`LockingQueue`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn put_with_priority(&self, entry: impl AsRef<[u8]>, priority: u16) -> Result<(), Error> {
        self.core.put_all([entry], priority).await
    }

    /// Puts several entries in: all of them, or none. As the one that waits. [`LockingQueue`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn put_all(&self, entries: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<(), Error> {
        self.core.put_all(entries, PRIORITY).await
    }

    /// How many entries there are, those that are held with them. [`LockingQueue`] has an example of the other methods.
    ///
    /// # Errors
    /// What became of the session.
    pub async fn len(&self) -> Result<usize, Error> {
        self.core.len().await
    }

    /// Whether there is none. [`LockingQueue`] has an example of the other methods.
    ///
    /// # Errors
    /// What became of the session.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.core.len().await? == 0)
    }

    /// Takes the first entry that nobody holds, waiting for one. When the future is dropped, no entry is held.
    /// [`LockingQueue`] has an example.
    ///
    /// # Errors
    /// What ends the session.
    pub async fn take(&self) -> Result<Entry<AsyncClient>, Error> {
        let taken = self.core.take(true).await?;
        Ok(self.entry(taken.expect("it waits until there is one")))
    }

    /// Takes the first entry that nobody holds, if there is one. [`LockingQueue`] has an example of the one that waits.
    ///
    /// # Errors
    /// What ends the session.
    pub async fn try_take(&self) -> Result<Option<Entry<AsyncClient>>, Error> {
        Ok(self.core.take(false).await?.map(|taken| self.entry(taken)))
    }
}

impl<C> Entry<C> {
    /// What was put in. [`LockingQueue`] has an example.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Whether it is held, as far as this process knows; where not, somebody else may have it. [`LockingQueue`] has an example
    /// of an entry that is lost.
    pub fn is_held(&self) -> bool {
        self.holding.is_held()
    }

    /// Waits until it is lost, as [`Guard::lost`](super::Guard::lost) does. [`LockingQueue`] has an example of an entry that is
    /// lost.
    pub async fn lost(&self) {
        self.holding.lost().await;
    }
}

impl Entry<Client> {
    /// Takes it out of the queue for good; false when it was lost before, and others may have it. [`LockingQueue`] has an example.
    ///
    /// # Errors
    /// What became of the session; the entry is given back.
    pub fn consume(self) -> Result<bool, Error> {
        Ok(self.client.session.block_on(self.core.consume(&self.holding), None)?.unwrap_or_default())
    }

    /// Gives it back to the queue; false when it was lost before. While there is no connection, that happens as soon as there is
    /// one again. [`LockingQueue`] has an example.
    ///
    /// # Errors
    /// None but that of a forked process: it is given back in any case.
    pub fn release(self) -> Result<bool, Error> {
        Ok(self.give_back())
    }
}

impl Entry<AsyncClient> {
    /// Takes it out of the queue for good. As the one that waits. [`LockingQueue`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn consume(self) -> Result<bool, Error> {
        self.core.consume(&self.holding).await
    }

    /// Gives it back to the queue, as dropping it does. As the one that waits. [`LockingQueue`] has an example.
    pub fn release(self) -> bool {
        self.give_back()
    }
}

impl<C> Entry<C> {
    fn give_back(&self) -> bool {
        let was_held = self.holding.end();
        if was_held {
            Removal::of_name(&self.core.client, self.holding.parent(), self.holding.name());
        }
        was_held
    }
}

impl<C> Drop for Entry<C> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<C> std::fmt::Debug for Entry<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("path", &self.holding.path()).field("is_held", &self.is_held()).finish()
    }
}

/// Takes its mark back from an entry, unless that is held by it.
struct Marking<'a> {
    entries: &'a QueueEntries,
    name: &'a str,
    mark: &'a str,
    is_due: bool,
}

impl Drop for Marking<'_> {
    fn drop(&mut self) {
        if self.is_due {
            Removal::of_mark(&self.entries.client, &self.entries.taken, self.name, self.mark.as_bytes());
        }
    }
}

impl QueueEntries {
    async fn put_all(&self, entries: impl IntoIterator<Item = impl AsRef<[u8]>>, priority: u16) -> Result<(), Error> {
        let path = below(&self.path, &entry_prefix(&self.path, priority)?);
        persist(async || self.client.ensure_path(&self.path).await).await?;
        let options = CreateOptions::new().sequential();
        let multi =
            entries.into_iter().fold(self.client.multi(), |multi, entry| multi.create_with(&path, entry, &options));
        multi.commit().await.map(drop)
    }

    async fn len(&self) -> Result<usize, Error> {
        let stat = persist(async || self.client.exists(&self.path).await).await?;
        Ok(stat.map_or(0, |stat| usize::try_from(stat.num_children).unwrap_or(0)))
    }

    async fn take(&self, waits: bool) -> Result<Option<(Vec<u8>, Holding)>, Error> {
        let alarm = Arc::<Alarm>::default();
        let _listening = self.client.session.listen_alarm(&alarm);
        loop {
            alarm.reset();
            match self.take_first(&alarm).await {
                Ok(Some(taken)) => return Ok(Some(taken)),
                Ok(None) if !waits => return Ok(None),
                Ok(None) => alarm.wait().await,
                Err(error) if error.code() == Code::NoNode => {
                    persist(async || self.client.ensure_path(&self.path).await).await?;
                    persist(async || self.client.ensure_path(&self.taken).await).await?;
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn take_first(&self, alarm: &Arc<Alarm>) -> Result<Option<(Vec<u8>, Holding)>, Error> {
        let mut names = self.client.names_alarmed(&self.path, alarm).await?;
        let taken = self.client.names_alarmed(&self.taken, alarm).await?;
        names.sort();
        for name in names.iter().filter(|name| !taken.contains(name)) {
            if let Some(taken) = self.hold(name).await? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// Holds an entry, unless somebody was faster.
    async fn hold(&self, name: &str) -> Result<Option<(Vec<u8>, Holding)>, Error> {
        let mark = unique()?;
        let path = below(&self.taken, name);
        let mut marking = Marking { entries: self, name, mark: &mark, is_due: true };
        let options = CreateOptions::new().ephemeral();
        let created = persist(async || self.client.create_with(&path, &mark, &options).await).await;
        let fence = match created {
            Ok(created) => created.stat.czxid,
            Err(error) if error.code() == Code::NodeExists => {
                // An earlier create got there whose answer never came?
                match persist(async || self.client.get(&path).await).await {
                    Ok((data, stat)) if data == mark.as_bytes() => stat.czxid,
                    Err(error) if error.code() != Code::NoNode => return Err(error),
                    Ok(_) | Err(_) => {
                        marking.is_due = false;
                        return Ok(None);
                    }
                }
            }
            Err(error) => return Err(error),
        };
        match persist(async || self.client.get(&below(&self.path, name)).await).await {
            Ok((data, _)) => {
                marking.is_due = false;
                Ok(Some((data, Holding::new(&self.client, &self.taken, name, fence, None))))
            }
            // It was consumed after it was listed.
            Err(error) if error.code() == Code::NoNode => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn consume(&self, holding: &Holding) -> Result<bool, Error> {
        let entry = below(&self.path, holding.name());
        loop {
            // Asked each time, and of a server that knows all: nobody but its holder may consume it.
            persist(async || self.client.sync(holding.path()).await).await?;
            let mark = persist(async || self.client.exists(holding.path()).await).await?;
            if !holding.is_held() || mark.is_none_or(|mark| mark.czxid != holding.fence()) {
                return Ok(false);
            }
            match self.client.multi().delete(holding.path()).delete(&entry).commit().await {
                Ok(_) => {
                    holding.end();
                    return Ok(true);
                }
                Err(error) if is_passing(&error) => {
                    // While the session lives, nobody else can have consumed it.
                    if persist(async || self.client.exists(&entry).await).await?.is_none() {
                        holding.end();
                        return Ok(true);
                    }
                }
                // Somebody has deleted the znode that holds it, or the entry.
                Err(error) if error.code() == Code::NoNode => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}
