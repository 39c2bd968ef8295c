//! Watchers: a function that is called with what there is, and again whenever that has changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::base::{clean, is_passing};
use crate::Error;
use crate::client::handle::State;
use crate::client::{Alarm, AsyncClient, Client, ClientSession, ListenerGuard};
use crate::error::{Code, Failure};
use crate::records::Stat;

/// Calls a function with the data and stat of a znode, or with `None` where there is none; then again after every change.
///
/// The function is told of states, not of steps: of several changes in a row it may hear of the last one only, but of the last
/// one it hears. Lost connections make no difference. It runs on the thread of callbacks, once before `new` returns, and never
/// twice at a time. The last it is told is an error when nothing more can come: what ended the session, or
/// [`Code::NoAuth`]. Dropping the watcher ends it before that.
///
/// ```
/// use zoarium::recipes::DataWatch;
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-data-watch-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.client()?;
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let watcher = DataWatch::new(&client, "/config", move |found| {
///     let data = found.map(|found| found.map(|(data, _)| data.to_vec()));
///     sender.send(data.map_err(|error| error.code())).ok();
/// })?;
/// assert_eq!(receiver.recv(), Ok(Ok(None)));
/// client.create("/config", b"on")?;
/// assert_eq!(receiver.recv(), Ok(Ok(Some(b"on".to_vec()))));
/// client.set("/config", b"off")?;
/// assert_eq!(receiver.recv(), Ok(Ok(Some(b"off".to_vec()))));
/// # drop((watcher, client));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[must_use = "the watcher ends when this is dropped"]
pub struct DataWatch {
    watcher: Arc<StateWatcher<WatchedData>>,
    _listening: ListenerGuard,
}

/// Calls a function with the names of a znode's children; then again after every change of them.
///
/// As [`DataWatch`], except that it ends with [`Code::NoNode`] where there is no such znode, or no more.
///
/// ```
/// use zoarium::recipes::ChildrenWatch;
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-children-watch-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.client()?;
/// client.create("/jobs", b"")?;
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let watcher = ChildrenWatch::new(&client, "/jobs", move |found| {
///     sender.send(found.map(|names| names.to_vec()).map_err(|error| error.code())).ok();
/// })?;
/// assert_eq!(receiver.recv(), Ok(Ok(vec![])));
/// client.create("/jobs/one", b"")?;
/// assert_eq!(receiver.recv(), Ok(Ok(vec!["one".to_owned()])));
/// # drop((watcher, client));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[must_use = "the watcher ends when this is dropped"]
pub struct ChildrenWatch {
    watcher: Arc<StateWatcher<WatchedChildren>>,
    _listening: ListenerGuard,
}

impl DataWatch {
    /// Begins with `told` called once. [`DataWatch`] has an example.
    ///
    /// # Errors
    /// What keeps it from beginning: [`Code::NoAuth`], what ended the session; [`Code::WouldDeadlock`] in a callback.
    pub fn new(
        client: &Client,
        path: &str,
        told: impl Fn(Result<Option<(&[u8], &Stat)>, &Error>) + Send + Sync + 'static,
    ) -> Result<DataWatch, Error> {
        let begun = client.session.block_on(DataWatch::begin(&client.session, path, told), None)?;
        Ok(begun.expect("without a limit it waits until it has begun"))
    }

    /// The same as a future. [`DataWatch`] has an example of the one that waits.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn new_async(
        client: &AsyncClient,
        path: &str,
        told: impl Fn(Result<Option<(&[u8], &Stat)>, &Error>) + Send + Sync + 'static,
    ) -> Result<DataWatch, Error> {
        DataWatch::begin(&client.session, path, told).await
    }

    async fn begin(
        session: &Arc<ClientSession>,
        path: &str,
        told: impl Fn(Result<Option<(&[u8], &Stat)>, &Error>) + Send + Sync + 'static,
    ) -> Result<DataWatch, Error> {
        let told = move |found: Result<&Option<(Vec<u8>, Stat)>, &Error>| {
            told(found.map(|found| found.as_ref().map(|(data, stat)| (data.as_slice(), stat))));
        };
        let (watcher, _listening) = StateWatcher::<WatchedData>::begin(session, path, Box::new(told)).await?;
        Ok(DataWatch { watcher, _listening })
    }
}

impl ChildrenWatch {
    /// Begins with `told` called once. [`ChildrenWatch`] has an example.
    ///
    /// # Errors
    /// As [`DataWatch::new`].
    pub fn new(
        client: &Client,
        path: &str,
        told: impl Fn(Result<&[String], &Error>) + Send + Sync + 'static,
    ) -> Result<ChildrenWatch, Error> {
        let begun = client.session.block_on(ChildrenWatch::begin(&client.session, path, told), None)?;
        Ok(begun.expect("without a limit it waits until it has begun"))
    }

    /// The same as a future. [`ChildrenWatch`] has an example of the one that waits.
    ///
    /// # Errors
    /// As [`DataWatch::new_async`].
    pub async fn new_async(
        client: &AsyncClient,
        path: &str,
        told: impl Fn(Result<&[String], &Error>) + Send + Sync + 'static,
    ) -> Result<ChildrenWatch, Error> {
        ChildrenWatch::begin(&client.session, path, told).await
    }

    async fn begin(
        session: &Arc<ClientSession>,
        path: &str,
        told: impl Fn(Result<&[String], &Error>) + Send + Sync + 'static,
    ) -> Result<ChildrenWatch, Error> {
        let told = move |found: Result<&(Vec<String>, Stat), &Error>| told(found.map(|(names, _)| names.as_slice()));
        let (watcher, _listening) = StateWatcher::<WatchedChildren>::begin(session, path, Box::new(told)).await?;
        Ok(ChildrenWatch { watcher, _listening })
    }
}

impl std::fmt::Debug for DataWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataWatch").field("path", &self.watcher.path).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ChildrenWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildrenWatch").field("path", &self.watcher.path).finish_non_exhaustive()
    }
}

impl Drop for DataWatch {
    fn drop(&mut self) {
        self.watcher.lock().is_over = true;
    }
}

impl Drop for ChildrenWatch {
    fn drop(&mut self) {
        self.watcher.lock().is_over = true;
    }
}

/// What is watched.
trait WatchTarget: Send + Sync + Sized + 'static {
    /// What there is.
    type Found: Send + 'static;

    /// Looks, and leaves a watch.
    fn look(watcher: &Arc<StateWatcher<Self>>, session: &ClientSession);

    /// What tells one state from another.
    fn version(found: &Self::Found) -> (i64, i64);
}

enum WatchedData {}

enum WatchedChildren {}

type ToldOf<W> = dyn Fn(Result<&<W as WatchTarget>::Found, &Error>) + Send + Sync;

/// Looks once, and again after each event: one look at a time, and none of the events that come meanwhile is lost.
///
/// All but the beginning happens where callbacks run.
struct StateWatcher<W: WatchTarget> {
    session: Weak<ClientSession>,
    path: String,
    told: Box<ToldOf<W>>,
    standing: Mutex<WatcherStanding>,
    began: Alarm,
}

#[derive(Default)]
struct WatcherStanding {
    is_looking: bool,
    must_look_again: bool,
    is_over: bool,
    /// What was told last; `None` before that.
    version: Option<(i64, i64)>,
    /// Why there was nothing to begin with.
    failure: Option<Code>,
}

impl<W: WatchTarget> StateWatcher<W> {
    async fn begin(
        session: &Arc<ClientSession>,
        path: &str,
        told: Box<ToldOf<W>>,
    ) -> Result<(Arc<StateWatcher<W>>, ListenerGuard), Error> {
        session.check(&clean(path))?;
        let watcher = Arc::new(StateWatcher {
            session: Arc::downgrade(session),
            path: clean(path),
            told,
            standing: Mutex::default(),
            began: Alarm::default(),
        });
        let at_state = Arc::downgrade(&watcher);
        let listening = session.listen(move |state| {
            if let Some(watcher) = at_state.upgrade() {
                watcher.heard(state);
            }
        });
        watcher.changed();
        loop {
            watcher.began.reset();
            {
                let mut standing = watcher.lock();
                // Nobody is told of a state that was there before, and nobody answers then.
                if let (None, Some(code)) = (standing.failure, end_of(session.info().state)) {
                    (standing.is_over, standing.failure) = (true, Some(code));
                }
                if let Some(code) = standing.failure {
                    drop(standing);
                    return Err(Failure::new(code).at(Some(&watcher.path)).not_done().into());
                }
                if standing.version.is_some() {
                    break;
                }
            }
            watcher.began.wait().await;
        }
        Ok((watcher, listening))
    }

    fn lock(&self) -> MutexGuard<'_, WatcherStanding> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may have changed.
    fn changed(self: &Arc<Self>) {
        {
            let mut standing = self.lock();
            if standing.is_over {
                return;
            }
            if standing.is_looking {
                standing.must_look_again = true;
                return;
            }
            standing.is_looking = true;
        }
        self.look();
    }

    fn look(self: &Arc<Self>) {
        if let Some(session) = self.session.upgrade() {
            W::look(self, &session);
        }
    }

    fn heard(self: &Arc<Self>, state: State) {
        match end_of(state) {
            Some(code) => self.end(&Failure::new(code).into()),
            // Changes while there was no connection may have been missed.
            None if state.is_connected() => self.changed(),
            None => {}
        }
    }

    /// What rings when the watch that a look has left fires.
    fn trigger(self: &Arc<Self>) -> impl Fn() + Send + Sync + 'static {
        let watcher = Arc::downgrade(self);
        move || {
            if let Some(watcher) = watcher.upgrade() {
                watcher.changed();
            }
        }
    }

    /// A look brought this.
    fn looked(self: &Arc<Self>, found: Result<W::Found, Error>) {
        match found {
            Ok(found) => {
                let version = W::version(&found);
                let is_new = {
                    let standing = self.lock();
                    !standing.is_over && standing.version != Some(version)
                };
                if is_new {
                    (self.told)(Ok(&found));
                    self.lock().version = Some(version);
                    self.began.ring();
                }
            }
            Err(error) if is_passing(&error) => return self.look(),
            Err(error) => return self.end(&error),
        }
        {
            let mut standing = self.lock();
            if standing.is_over || !std::mem::take(&mut standing.must_look_again) {
                standing.is_looking = false;
                return;
            }
        }
        self.look();
    }

    fn end(&self, error: &Error) {
        {
            let mut standing = self.lock();
            if std::mem::replace(&mut standing.is_over, true) {
                return;
            }
            standing.failure = Some(error.code());
        }
        (self.told)(Err(error));
        self.began.ring();
    }
}

/// What a state that is final means for those who wait.
fn end_of(state: State) -> Option<Code> {
    state.is_final().then_some(if state == State::Expired { Code::SessionExpired } else { Code::Closed })
}

impl WatchTarget for WatchedData {
    type Found = Option<(Vec<u8>, Stat)>;

    fn look(watcher: &Arc<StateWatcher<WatchedData>>, session: &ClientSession) {
        let at_answer = Arc::clone(watcher);
        session.submit_get_watched(&watcher.path, watcher.trigger(), move |found| match found {
            Err(error) if error.code() == Code::NoNode => look_for_none(&at_answer),
            found => at_answer.looked(found.map(Some)),
        });
    }

    fn version(found: &Self::Found) -> (i64, i64) {
        found.as_ref().map_or((-1, -1), |(_, stat)| (stat.czxid, stat.mzxid))
    }
}

/// There was none: a watch for its creation.
fn look_for_none(watcher: &Arc<StateWatcher<WatchedData>>) {
    let Some(session) = watcher.session.upgrade() else { return };
    let at_answer = Arc::clone(watcher);
    session.submit_exists_watched(&watcher.path, watcher.trigger(), move |found| match found {
        Ok(None) => at_answer.looked(Ok(None)),
        // It was created between the two.
        Ok(Some(_)) => at_answer.look(),
        Err(error) => at_answer.looked(Err(error)),
    });
}

impl WatchTarget for WatchedChildren {
    type Found = (Vec<String>, Stat);

    fn look(watcher: &Arc<StateWatcher<WatchedChildren>>, session: &ClientSession) {
        let at_answer = Arc::clone(watcher);
        session.submit_children_watched(&watcher.path, watcher.trigger(), move |found| at_answer.looked(found));
    }

    fn version((_, stat): &Self::Found) -> (i64, i64) {
        (stat.czxid, stat.pzxid)
    }
}
