//! Watches: events one after another, or as they come by a callback.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::blocking::Client;
use super::call::{self, ReplyReader, failure_of};
use super::futures::AsyncClient;
use super::pending::FutureSlot;
use super::session::{ClientSession, ListenerGuard};
use crate::Error;
use crate::client::handle::watching::WatchFn;
use crate::client::handle::{Event, Reply, WatchMode};
use crate::records::{OpCode, Stat};

/// Events that wait to be taken; with one more the watch ends.
const EVENTS_MAX: usize = 65_536;
/// Bytes of their paths; likewise.
const BYTES_MAX: usize = 16 << 20;

/// Why a watch tells of nothing any more. [`Watch::end`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WatchEnd {
    /// It was one for a single event, and has told of it.
    Told,
    /// The session is over.
    SessionOver,
    /// More events came than were taken (65,536, or 16 MiB of paths): what is watched has to be looked at anew, and
    /// watched again.
    TooSlow,
}

/// Where events wait to be taken.
#[derive(Default)]
struct Events {
    inner: Mutex<WatchEvents>,
    arrived: Condvar,
}

#[derive(Default)]
struct WatchEvents {
    events: VecDeque<Event>,
    bytes: usize,
    end: Option<WatchEnd>,
    waker: Option<Waker>,
}

impl Events {
    fn lock(&self) -> MutexGuard<'_, WatchEvents> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut WatchEvents)) {
        let waker = {
            let mut inner = self.lock();
            change(&mut inner);
            inner.waker.take()
        };
        self.arrived.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn push(&self, event: &Event, is_only: bool) {
        self.change(|inner| {
            if inner.end.is_some() {
                return;
            }
            if inner.events.len() >= EVENTS_MAX || inner.bytes + event.path.len() > BYTES_MAX {
                inner.end = Some(WatchEnd::TooSlow);
                return;
            }
            inner.bytes += event.path.len();
            inner.events.push_back(event.clone());
            if is_only {
                inner.end = Some(WatchEnd::Told);
            }
        });
    }

    fn end(&self, why: WatchEnd) {
        self.change(|inner| {
            inner.end.get_or_insert(why);
        });
    }
}

impl WatchEvents {
    fn take(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes -= event.path.len();
        Some(event)
    }
}

/// What both kinds of watches are: dropping it ends the watch.
struct WatchCore {
    events: Arc<Events>,
    session: Weak<ClientSession>,
    /// `None` for one that came with a read: it is over with its event.
    id: Option<u64>,
    _listening: ListenerGuard,
}

impl Drop for WatchCore {
    fn drop(&mut self) {
        if let (Some(id), Some(session)) = (self.id, self.session.upgrade()) {
            session.unwatch(id);
        }
    }
}

impl WatchCore {
    fn new(session: &Arc<ClientSession>) -> WatchCore {
        let events = Arc::<Events>::default();
        let at_end = Arc::clone(&events);
        let _listening = session.listen(move |state| {
            if state.is_final() {
                at_end.end(WatchEnd::SessionOver);
            }
        });
        WatchCore { events, session: Arc::downgrade(session), id: None, _listening }
    }

    fn callback(&self, mode: WatchMode) -> WatchFn {
        let events = Arc::clone(&self.events);
        let is_only = matches!(mode, WatchMode::OnceData | WatchMode::OnceChildren);
        Box::new(move |event| events.push(event, is_only))
    }
}

/// A watch whose events are taken one after another: an iterator that waits for the next one, until the watch is over.
///
/// Dropping it ends the watch. It keeps no session alive: it ends with the last client that shares the session.
///
/// ```
/// use std::time::Duration;
/// use zoarium::{Config, Error, EventType, Server, WatchMode};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-watch-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.client()?;
/// client.create("/jobs", b"")?;
/// let mut watch = client.watch("/jobs", WatchMode::Recursive)?;
///
/// client.create("/jobs/one", b"")?;
/// client.set("/jobs/one", b"now")?;
/// let event = watch.next().expect("the session lives");
/// assert_eq!((event.kind, event.path.as_str()), (EventType::Created, "/jobs/one"));
/// assert_eq!(watch.next_within(Duration::from_secs(10)).map(|event| event.kind), Some(EventType::DataChanged));
///
/// // What is there, and whatever happens to it, without a gap in between.
/// let (data, _, mut change) = client.get_watched("/jobs/one")?;
/// assert_eq!(data, b"now");
/// client.delete("/jobs/one")?;
/// assert_eq!(change.next().map(|event| event.kind), Some(EventType::Deleted));
/// assert!(change.next().is_none(), "it was for one event");
/// # drop((watch, change, client));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
pub struct Watch(WatchCore);

/// A watch whose events are futures. As [`Watch`] otherwise.
///
/// ```
/// use zoarium::{Config, Error, EventType, Server, WatchMode};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-async-watch-{}", std::process::id()));
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.async_client().await?;
/// let mut watch = client.watch("/", WatchMode::Persistent).await?;
/// client.create("/a", b"").await?;
/// while let Some(event) = watch.next().await {
///     if event.kind == EventType::ChildrenChanged {
///         break;
///     }
/// }
/// # drop(watch);
/// # client.close().await?;
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Error>(())
/// ```
pub struct AsyncWatch(WatchCore);

/// A watch that calls back. Dropping it ends the watch; [`Client::on_event`] has an example.
#[must_use = "the watch ends when this is dropped; `keep` keeps it"]
pub struct WatchGuard(WatchCore);

impl Watch {
    /// The next event if it comes within `limit`; `None` also when the watch is over ([`Watch::end`]). [`Watch`] has an
    /// example.
    pub fn next_within(&mut self, limit: Duration) -> Option<Event> {
        let deadline = Instant::now() + limit;
        let mut inner = self.0.events.lock();
        loop {
            if let Some(event) = inner.take() {
                return Some(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || inner.end.is_some() {
                return None;
            }
            inner = self.0.events.arrived.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next event if it has come already. [`Watch::end`] has an example.
    pub fn try_next(&mut self) -> Option<Event> {
        self.0.events.lock().take()
    }

    /// Why there will be no more events than those that wait to be taken; `None` while the watch goes on.
    ///
    /// ```
    /// use zoarium::{Config, Error, Server, WatchEnd, WatchMode};
    ///
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-watch-end-{}", std::process::id()));
    /// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// let client = server.client()?;
    /// let mut watch = client.watch("/", WatchMode::Persistent)?;
    /// assert_eq!((watch.try_next(), watch.end()), (None, None));
    /// client.close()?;
    /// assert_eq!(watch.next(), None);
    /// assert_eq!(watch.end(), Some(WatchEnd::SessionOver));
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn end(&self) -> Option<WatchEnd> {
        self.0.events.lock().end
    }
}

impl Iterator for Watch {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let inner = self.0.events.lock();
        let has_none = |inner: &mut WatchEvents| inner.events.is_empty() && inner.end.is_none();
        self.0.events.arrived.wait_while(inner, has_none).unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl AsyncWatch {
    /// The next event; `None` when the watch is over ([`AsyncWatch::end`]). An event is not lost when the future is dropped.
    /// [`AsyncWatch`] has an example.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The same for a program that makes a stream of it: with the crate `futures`,
    /// `futures::stream::poll_fn(move |context| watch.poll_next(context))`. [`AsyncWatch`] has an example of
    /// [`AsyncWatch::next`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut inner = self.0.events.lock();
        match inner.take() {
            Some(event) => Poll::Ready(Some(event)),
            None if inner.end.is_some() => Poll::Ready(None),
            None => {
                inner.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Why there will be no more events. As [`Watch::end`], which has an example.
    pub fn end(&self) -> Option<WatchEnd> {
        self.0.events.lock().end
    }
}

impl WatchGuard {
    /// Lets the watch go on for as long as the session does. [`Client::on_event`] has an example.
    pub fn keep(mut self) {
        self.0.id = None;
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("end", &self.end()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AsyncWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncWatch").field("end", &self.end()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WatchGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchGuard").finish_non_exhaustive()
    }
}

/// A function that is told of events.
type EventFn = dyn Fn(&Event) + Send + Sync;

/// A callback of a host, which the thread that answers never drops: what it holds may be a client.
fn shared(told: impl Fn(&Event) + Send + Sync + 'static) -> (Arc<EventFn>, WatchFn) {
    let told: Arc<EventFn> = Arc::new(told);
    let kept = Arc::clone(&told);
    (told, Box::new(move |event| kept(event)))
}

fn set_or(path: &str, set: Result<u64, Reply>) -> Result<u64, Error> {
    set.map_err(|reply| failure_of(&reply).at(Some(path)).into())
}

#[allow(clippy::missing_errors_doc, reason = "said where they are alike")]
impl Client {
    /// Watches a znode, or all below it. [`Watch`] has an example.
    ///
    /// Events of a session are told in the order in which the server made them. After a lost connection the watch is set
    /// again; what happened meanwhile is not always told by a [`Persistent`](WatchMode::Persistent) or
    /// [`Recursive`](WatchMode::Recursive) one, so look at what is watched when the state is connected again
    /// ([`ClientOptions::on_state`](crate::ClientOptions::on_state)).
    ///
    /// # Errors
    /// [`Code::NoNode`](crate::Code::NoNode) with [`WatchMode::OnceChildren`] where there is no znode; what became of the session.
    pub fn watch(&self, path: &str, mode: WatchMode) -> Result<Watch, Error> {
        self.session.check(path)?;
        let mut core = WatchCore::new(&self.session);
        core.id = Some(set_or(path, self.session.handle().watch(path, mode, core.callback(mode), self.limit))?);
        Ok(Watch(core))
    }

    /// Has `told` called with every event, on the thread of callbacks, one at a time. It may use all verbs that wait for a reply;
    /// what waits for another callback is refused with [`Code::WouldDeadlock`](crate::Code::WouldDeadlock).
    ///
    /// ```
    /// use zoarium::{Config, Error, Server, WatchMode};
    ///
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-on-event-{}", std::process::id()));
    /// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// let client = server.client()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let guard = client.on_event("/a", WatchMode::OnceData, move |event| {
    ///     sender.send(event.clone()).expect("somebody receives");
    /// })?;
    /// client.create("/a", b"")?;
    /// assert_eq!(receiver.recv().expect("it is told").path, "/a");
    /// drop(guard);
    ///
    /// client.on_event("/", WatchMode::Persistent, |event| println!("{event:?}"))?.keep();
    /// # drop(client);
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::watch`].
    pub fn on_event(
        &self,
        path: &str,
        mode: WatchMode,
        told: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<WatchGuard, Error> {
        self.session.check(path)?;
        let mut core = WatchCore::new(&self.session);
        let (_told, watch) = shared(told);
        core.id = Some(set_or(path, self.session.handle().watch(path, mode, watch, self.limit))?);
        Ok(WatchGuard(core))
    }

    /// Data and stat of a znode, and a watch for its next change, without a gap in between. [`Watch`] has an example.
    ///
    /// # Errors
    /// As [`Client::get`]; there is no watch then.
    pub fn get_watched(&self, path: &str) -> Result<(Vec<u8>, Stat, Watch), Error> {
        let ((data, stat), core) = self.read_watched(OpCode::GetData, call::get(path).reading)?;
        Ok((data, stat, Watch(core)))
    }

    /// The stat of a znode, and a watch for its next change or its creation. [`Watch`] has an example of
    /// [`Client::get_watched`], which is used alike.
    ///
    /// # Errors
    /// As [`Client::exists`].
    pub fn exists_watched(&self, path: &str) -> Result<(Option<Stat>, Watch), Error> {
        let (stat, core) = self.read_watched(OpCode::Exists, call::exists(path).reading)?;
        Ok((stat, Watch(core)))
    }

    /// The names of the children, and a watch for the next change of that list. [`Watch`] has an example of
    /// [`Client::get_watched`], which is used alike.
    ///
    /// # Errors
    /// As [`Client::children`]; there is no watch then.
    pub fn children_watched(&self, path: &str) -> Result<(Vec<String>, Watch), Error> {
        let (names, core) = self.read_watched(OpCode::GetChildren2, call::names(path).reading)?;
        Ok((names, Watch(core)))
    }

    fn read_watched<T>(&self, op: OpCode, reading: ReplyReader<T>) -> Result<(T, WatchCore), Error> {
        self.session.check(&reading.path)?;
        let core = WatchCore::new(&self.session);
        let watch = core.callback(WatchMode::OnceData);
        let reply = self.session.handle().read_watched(op, &reading.path, watch, self.limit);
        Ok((reading.finish(&reply, self.session.chroot())?, core))
    }
}

/// A request for a watch that a future waits for. Dropped before the answer, it leaves no watch behind.
struct AwaitedSetWatch {
    slot: Arc<FutureSlot<Result<u64, Reply>>>,
    session: Arc<ClientSession>,
}

impl Drop for AwaitedSetWatch {
    fn drop(&mut self) {
        if let Some(Ok(id)) = self.slot.abandon() {
            self.session.unwatch(id);
        }
    }
}

impl AsyncClient {
    /// Watches a znode, or all below it. As [`Client::watch`]; [`AsyncWatch`] has an example. The request is sent when the
    /// future is polled first.
    ///
    /// # Errors
    /// As [`Client::watch`].
    pub async fn watch(&self, path: &str, mode: WatchMode) -> Result<AsyncWatch, Error> {
        self.session.check(path)?;
        let mut core = WatchCore::new(&self.session);
        let watch = core.callback(mode);
        core.id = Some(self.set_watch(path, mode, watch, ()).await?);
        Ok(AsyncWatch(core))
    }

    /// Has `told` called with every event. As [`Client::on_event`], which has an example.
    ///
    /// # Errors
    /// As [`Client::watch`].
    pub async fn on_event(
        &self,
        path: &str,
        mode: WatchMode,
        told: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<WatchGuard, Error> {
        self.session.check(path)?;
        let mut core = WatchCore::new(&self.session);
        let (told, watch) = shared(told);
        core.id = Some(self.set_watch(path, mode, watch, told).await?);
        Ok(WatchGuard(core))
    }

    /// Data and stat of a znode, and a watch for its next change. As [`Client::get_watched`]; [`Watch`] has an example.
    ///
    /// # Errors
    /// As [`Client::get_watched`].
    pub async fn get_watched(&self, path: &str) -> Result<(Vec<u8>, Stat, AsyncWatch), Error> {
        let ((data, stat), core) = self.read_watched(OpCode::GetData, call::get(path).reading).await?;
        Ok((data, stat, AsyncWatch(core)))
    }

    /// The stat of a znode, and a watch for its next change or its creation. As [`Client::exists_watched`]; [`Watch`] has
    /// an example.
    ///
    /// # Errors
    /// As [`Client::exists_watched`].
    pub async fn exists_watched(&self, path: &str) -> Result<(Option<Stat>, AsyncWatch), Error> {
        let (stat, core) = self.read_watched(OpCode::Exists, call::exists(path).reading).await?;
        Ok((stat, AsyncWatch(core)))
    }

    /// The names of the children, and a watch for the next change of that list. As [`Client::children_watched`]; [`Watch`]
    /// has an example.
    ///
    /// # Errors
    /// As [`Client::children_watched`].
    pub async fn children_watched(&self, path: &str) -> Result<(Vec<String>, AsyncWatch), Error> {
        let (names, core) = self.read_watched(OpCode::GetChildren2, call::names(path).reading).await?;
        Ok((names, AsyncWatch(core)))
    }

    /// `kept` lives until the answer has come where callbacks run.
    async fn set_watch(
        &self,
        path: &str,
        mode: WatchMode,
        watch: WatchFn,
        kept: impl Send + 'static,
    ) -> Result<u64, Error> {
        let slot = Arc::<FutureSlot<Result<u64, Reply>>>::default();
        let awaited = AwaitedSetWatch { slot: Arc::clone(&slot), session: Arc::clone(&self.session) };
        let session = Arc::downgrade(&self.session);
        let done = move |set: Result<u64, Reply>| {
            drop(kept);
            if let Some(Ok(id)) = slot.fill(set)
                && let Some(session) = session.upgrade()
            {
                session.unwatch(id);
            }
        };
        let sent = self.session.handle().submit_watch(path, mode, watch, done);
        sent.map_err(|why| failure_of(&Reply::refused(why)).at(Some(path)))?;
        set_or(path, poll_fn(|context| awaited.slot.poll(context)).await)
    }

    async fn read_watched<T>(&self, op: OpCode, reading: ReplyReader<T>) -> Result<(T, WatchCore), Error> {
        self.session.check(&reading.path)?;
        let core = WatchCore::new(&self.session);
        let watch = core.callback(WatchMode::OnceData);
        let path = reading.path.clone();
        let handle = self.session.handle();
        let pending = self
            .session
            .pending(reading, |slot| handle.submit_read_watched(op, &path, watch, move |reply| drop(slot.fill(reply))));
        Ok((pending.await?, core))
    }
}
