//! Exclusive locks.

use std::sync::Arc;
use std::time::Duration;

use super::base::{Undo, below, clean, comes_before, is_passing, names_below, split_number, texts_of, unique};
use super::guard::Guard;
use super::holding::Holding;
use crate::Error;
use crate::client::{Alarm, AnyClient, AsyncClient, Client, CreateOptions};
use crate::error::Code;

/// What stands between the random part of a znode's name and its number, and whom one with that waits for.
#[derive(Debug)]
pub(super) struct LockMode {
    mark: &'static str,
    waits_for: &'static [&'static str],
    /// Whom [`Lock::contenders`] tells of.
    stands_with: &'static [&'static str],
}

const EXCLUSIVE_MARK: &str = "__lock__";
const SHARED_MARK: &str = "__rlock__";
const MARKS: &[&str] = &[EXCLUSIVE_MARK, SHARED_MARK];

/// One at a time.
const EXCLUSIVE: LockMode =
    LockMode { mark: EXCLUSIVE_MARK, waits_for: &[EXCLUSIVE_MARK], stands_with: &[EXCLUSIVE_MARK] };
/// One at a time, and no reader.
pub(super) const WRITE: LockMode = LockMode { mark: EXCLUSIVE_MARK, waits_for: MARKS, stands_with: MARKS };
/// Any number of readers, and no writer.
pub(super) const READ: LockMode = LockMode { mark: SHARED_MARK, waits_for: &[EXCLUSIVE_MARK], stands_with: MARKS };

/// A lock that one holds at a time, in the order in which they asked for it.
///
/// Nobody can know for certain that a lock is still held: the process may have slept while its session expired. That is why
/// each holder has a *fence* ([`Guard::fence`]), a number greater than that of every holder before. What is written under the
/// lock carries it, and the store that keeps the data refuses a number lower than the highest it has seen. Short of that, ask
/// [`Guard::check`], or give [`Lock::on_lost`], before the work is done.
///
/// A `Lock` is not reentrant: a holder that acquires it again waits for itself.
///
/// ```
/// use std::time::Duration;
/// use zoarium::recipes::Lock;
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-lock-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let (one, other) = (server.client()?, server.client()?);
/// let mine = Lock::new(&one, "/locks/index").identifier("one");
/// let theirs = Lock::new(&other, "/locks/index").identifier("other");
///
/// let guard = mine.acquire()?;
/// assert!(theirs.try_acquire()?.is_none());
/// assert!(theirs.acquire_within(Duration::from_millis(10))?.is_none());
/// assert_eq!(mine.contenders()?, ["one"]);
/// let fence = guard.check()?; // Still held, as far as anybody knows.
/// guard.release()?;
///
/// let guard = theirs.acquire()?;
/// assert!(guard.fence() > fence);
/// drop(guard); // Releases it too, without waiting for the answer.
/// # drop((mine, theirs, one, other));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Lock<C> {
    pub(super) client: C,
    core: Arc<LockCore>,
}

#[derive(Clone)]
struct LockCore {
    client: AsyncClient,
    path: String,
    mode: &'static LockMode,
    data: Vec<u8>,
    on_lost: Option<Arc<dyn Fn() + Send + Sync>>,
}

#[allow(private_bounds, reason = "the two clients are all there are")]
impl<C: AnyClient> Lock<C> {
    /// The lock at `path`, whose znode is created when somebody acquires it. [`Lock`] has an example, for the other methods too.
    pub fn new(client: &C, path: &str) -> Lock<C> {
        Lock::with_mode(client, path, &EXCLUSIVE)
    }

    pub(super) fn with_mode(client: &C, path: &str, mode: &'static LockMode) -> Lock<C> {
        let core = LockCore { client: client.as_async(), path: clean(path), mode, data: Vec::new(), on_lost: None };
        Lock { client: client.clone(), core: Arc::new(core) }
    }

    /// What [`Lock::contenders`] tells others about this one. [`Lock`] has an example.
    pub fn identifier(self, identifier: impl AsRef<[u8]>) -> Lock<C> {
        let core = LockCore { data: identifier.as_ref().to_vec(), ..LockCore::clone(&self.core) };
        Lock { core: Arc::new(core), ..self }
    }

    /// Has `told` called when the lock is lost while it is held.
    ///
    /// ```
    /// use zoarium::recipes::Lock;
    /// use zoarium::{Config, Error, Server};
    ///
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-on-lost-{}", std::process::id()));
    /// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// let client = server.client()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let lock = Lock::new(&client, "/lock").on_lost(move || sender.send(()).expect("somebody receives"));
    /// let guard = lock.acquire()?;
    /// server.expire(client.session().id)?;
    /// receiver.recv().expect("it is told");
    /// assert!(!guard.is_held() && guard.check().is_err());
    /// # drop((guard, lock, client));
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn on_lost(self, told: impl Fn() + Send + Sync + 'static) -> Lock<C> {
        let core = LockCore { on_lost: Some(Arc::new(told)), ..LockCore::clone(&self.core) };
        Lock { core: Arc::new(core), ..self }
    }

    fn guard(&self, holding: Holding) -> Guard<C> {
        Guard::new(self.client.clone(), &self.core.client, holding)
    }
}

impl Lock<Client> {
    /// Acquires it, however long that takes. [`Lock`] has an example.
    ///
    /// # Errors
    /// What ends the session; [`Code::NoAuth`]; [`Code::WouldDeadlock`] in
    /// a callback.
    pub fn acquire(&self) -> Result<Guard<Client>, Error> {
        let held = self.client.session.block_on(self.core.contend(true), None)?;
        Ok(self.guard(held.flatten().expect("it waits until it is held")))
    }

    /// Acquires it unless that takes longer than `limit`. [`Lock`] has an example.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub fn acquire_within(&self, limit: Duration) -> Result<Option<Guard<Client>>, Error> {
        let held = self.client.session.block_on(self.core.contend(true), Some(limit))?;
        Ok(held.flatten().map(|holding| self.guard(holding)))
    }

    /// Acquires it if nobody has it. [`Lock`] has an example.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub fn try_acquire(&self) -> Result<Option<Guard<Client>>, Error> {
        let held = self.client.session.block_on(self.core.contend(false), None)?;
        Ok(held.flatten().map(|holding| self.guard(holding)))
    }

    /// The identifiers of its holder and of those who wait for it, in order. [`Lock`] has an example.
    ///
    /// # Errors
    /// As [`Client::children`](crate::Client::children).
    pub fn contenders(&self) -> Result<Vec<String>, Error> {
        Ok(self.client.session.block_on(self.core.contenders(), None)?.unwrap_or_default())
    }
}

impl Lock<AsyncClient> {
    /// Acquires it. When the future is dropped, its place in the line is given up. As [`Lock`] otherwise.
    ///
    /// ```
    /// use zoarium::recipes::Lock;
    /// use zoarium::{Config, Error, Server};
    ///
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-async-lock-{}", std::process::id()));
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// let client = server.async_client().await?;
    /// let lock = Lock::new(&client, "/locks/index");
    /// let guard = lock.acquire().await?;
    /// assert!(lock.try_acquire().await?.is_none());
    /// guard.release().await?;
    /// # client.close().await?;
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// What ends the session; [`Code::NoAuth`].
    pub async fn acquire(&self) -> Result<Guard<AsyncClient>, Error> {
        let held = self.core.contend(true).await?;
        Ok(self.guard(held.expect("it waits until it is held")))
    }

    /// Acquires it if nobody has it. As [`Lock::try_acquire`]. [`Lock`] has an example.
    ///
    /// # Errors
    /// What ends the session; [`Code::NoAuth`].
    pub async fn try_acquire(&self) -> Result<Option<Guard<AsyncClient>>, Error> {
        Ok(self.core.contend(false).await?.map(|holding| self.guard(holding)))
    }

    /// The identifiers of its holder and of those who wait for it, in order. As [`Lock::contenders`].
    /// [`Lock`] has an example.
    ///
    /// # Errors
    /// What ends the session; [`Code::NoAuth`].
    pub async fn contenders(&self) -> Result<Vec<String>, Error> {
        self.core.contenders().await
    }
}

impl<C> std::fmt::Debug for Lock<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock").field("path", &self.core.path).finish_non_exhaustive()
    }
}

impl LockCore {
    async fn contend(&self, waits: bool) -> Result<Option<Holding>, Error> {
        // A prefix of this attempt's own: after a lost connection it tells whether the create has happened.
        let prefix = unique()? + self.mode.mark;
        let mut undo = Undo { client: &self.client, path: &self.path, prefix: &prefix, is_due: true };
        let gotten = self.wait_in_line(&prefix, waits).await?;
        undo.is_due = gotten.is_none();
        Ok(gotten.map(|(name, fence)| Holding::new(&self.client, &self.path, &name, fence, self.on_lost.clone())))
    }

    async fn wait_in_line(&self, prefix: &str, waits: bool) -> Result<Option<(String, i64)>, Error> {
        let alarm = Arc::<Alarm>::default();
        let _listening = self.client.session.listen_alarm(&alarm);
        let mut is_unsure = false;
        let mut mine: Option<(String, i64)> = None;
        loop {
            alarm.reset();
            let step = self.step(prefix, &alarm, &mut mine, &mut is_unsure).await;
            match step {
                Ok(LockStep::First) => return Ok(mine),
                Ok(LockStep::Behind) if !waits => return Ok(None),
                Ok(LockStep::Behind) => alarm.wait().await,
                Ok(LockStep::Again) => {}
                Err(error) if error.code() == Code::NoNode || is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn step(
        &self,
        prefix: &str,
        alarm: &Arc<Alarm>,
        mine: &mut Option<(String, i64)>,
        is_unsure: &mut bool,
    ) -> Result<LockStep, Error> {
        if mine.is_none() && *is_unsure {
            *mine = self.find(prefix).await?;
        }
        let (name, fence) = match mine.take() {
            Some(mine) => mine,
            None => {
                *is_unsure = true;
                let created = self.create(prefix).await?;
                *is_unsure = false;
                created
            }
        };
        *mine = Some((name.clone(), fence));
        let children = self.client.children(&self.path).await?;
        if !children.contains(&name) {
            // Somebody deleted it: back to the end of the line.
            *mine = None;
            return Ok(LockStep::Again);
        }
        let Some(predecessor) = predecessor(&name, &children, self.mode.waits_for) else { return Ok(LockStep::First) };
        // This and not `exists`, which would leave a watch behind for one that has gone meanwhile.
        self.client.get_alarmed(&below(&self.path, predecessor), alarm).await?;
        Ok(LockStep::Behind)
    }

    async fn create(&self, prefix: &str) -> Result<(String, i64), Error> {
        let path = below(&self.path, prefix);
        let options = CreateOptions::new().ephemeral().sequential();
        let created = match self.client.create_with(&path, &self.data, &options).await {
            Err(error) if error.code() == Code::NoNode => {
                self.client.ensure_path(&self.path).await?;
                self.client.create_with(&path, &self.data, &options).await?
            }
            created => created?,
        };
        let name = created.path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok((name, created.stat.czxid))
    }

    /// The znode that a create has left whose answer never came.
    async fn find(&self, prefix: &str) -> Result<Option<(String, i64)>, Error> {
        // Another server than the one that carried it out may answer now.
        self.client.sync(&self.path).await?;
        let children = match self.client.children(&self.path).await {
            Err(error) if error.code() == Code::NoNode => return Ok(None),
            children => children?,
        };
        for name in children {
            if name.starts_with(prefix)
                && let Some(stat) = self.client.exists(&below(&self.path, &name)).await?
            {
                return Ok(Some((name, stat.czxid)));
            }
        }
        Ok(None)
    }

    async fn contenders(&self) -> Result<Vec<String>, Error> {
        let names = names_below(&self.client, &self.path).await?;
        let line = in_line(&names, self.mode.stands_with);
        texts_of(&self.client, &self.path, line.into_iter().map(|(_, name)| name)).await
    }
}

enum LockStep {
    /// It is held.
    First,
    /// Somebody is before it, and watched.
    Behind,
    Again,
}

fn number_of(name: &str, marks: &[&str]) -> Option<i32> {
    let (front, number) = split_number(name)?;
    marks.iter().any(|mark| front.ends_with(mark)).then_some(number)
}

/// Those in line with one of these marks, oldest first.
fn in_line<'a>(names: &'a [String], marks: &[&str]) -> Vec<(i32, &'a str)> {
    let numbered = names.iter().filter_map(|name| Some((number_of(name, marks)?, name.as_str())));
    let mut found: Vec<(i32, &str)> = numbered.collect();
    if let Some(&(pivot, _)) = found.first() {
        // Relative to one of them, so that the wrap-around lies out of the way.
        found.sort_by_key(|(number, _)| number.wrapping_sub(pivot));
    }
    found
}

/// The contender to wait for: the last one before this with one of these marks. Waking up for another would be for nothing.
fn predecessor<'a>(mine: &str, names: &'a [String], marks: &[&str]) -> Option<&'a str> {
    let number = number_of(mine, MARKS)?;
    in_line(names, marks).into_iter().rfind(|(other, _)| comes_before(*other, number)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_for_the_one_before_it_also_where_numbers_wrap_round() {
        let names = ["b__lock__-2147483648", "other", "a__lock__2147483647", "c__lock__-2147483647"];
        let names = names.map(str::to_owned);
        let predecessor = |mine| predecessor(mine, &names, EXCLUSIVE.waits_for);
        assert_eq!(predecessor("c__lock__-2147483647"), Some("b__lock__-2147483648"));
        assert_eq!(predecessor("b__lock__-2147483648"), Some("a__lock__2147483647"));
        assert_eq!(predecessor("a__lock__2147483647"), None);
        let order: Vec<&str> = in_line(&names, EXCLUSIVE.stands_with).into_iter().map(|(_, name)| name).collect();
        assert_eq!(order, ["a__lock__2147483647", "b__lock__-2147483648", "c__lock__-2147483647"]);
    }

    #[test]
    fn readers_wait_for_writers_and_writers_for_both() {
        let names = ["a__rlock__0000000001", "b__lock__0000000002", "c__rlock__0000000003", "d__rlock__0000000004"];
        let names = [&names[..], &["e__lock__0000000005"]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
        let waits = |mine: &str, mode: &LockMode| predecessor(mine, &names, mode.waits_for).map(|name| &name[..1]);
        assert_eq!(waits("a__rlock__0000000001", &READ), None);
        assert_eq!(waits("b__lock__0000000002", &WRITE), Some("a"));
        assert_eq!(waits("c__rlock__0000000003", &READ), Some("b"));
        assert_eq!(waits("d__rlock__0000000004", &READ), Some("b"), "not for another reader");
        assert_eq!(waits("e__lock__0000000005", &WRITE), Some("d"));
    }
}
