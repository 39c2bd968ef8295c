//! The client handle: one session, whatever carries it.
//!
//! A [`Handle`] turns a [`Transport`] into what programs use: blocking calls with limits, callbacks on one known thread,
//! watches, a chroot. All of it may be used from any thread.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::jute::encoded;
use crate::peer::local::Hub;
use crate::records::OpCode;
use crate::records::requests::{PathRequest, PathWatchRequest, WatchRequest};

mod chroot;
mod core;
pub mod load;
mod local;
pub mod queue;
mod queued;
mod tcp;
pub mod transport;
pub mod watching;

pub use crate::code::{self, Code};
pub use chroot::Chroot;
use load::QueueShare;
pub use local::Local;
use queue::{CallbackQueue, Callbacks, Job, Settled};
use queued::Queued;
pub use transport::{
    Arriving, Complete, Completion, Event, Listener, Refused, Reply, Resume, SessionInfo, SizeLimit, State, Transport,
    WatchedPaths,
};
pub use watching::WatchMode;
use watching::{Registration, Removed, SessionWatches, WatchFn, WatchList};

/// How to begin a session.
#[derive(Clone)]
pub struct Options {
    /// Session timeout to ask for, ms; the server clamps it.
    pub session_timeout_ms: i32,
    /// All paths are below this one; empty for none.
    pub chroot: Chroot,
    /// A session to take over instead of beginning one.
    pub resume: Option<Resume>,
    /// Over TCP, be content with a server without quorum while none with one is found.
    pub allow_read_only: bool,
    /// Over TCP, the longest reply taken from a server, in bytes; a longer one closes the connection. Memory is taken for
    /// what has come, never for what was announced.
    pub reply_size_max: usize,
    /// The longest request sent, in bytes without its length; a longer one is refused here and never sent. `None`: in this
    /// process what the server takes (`jute.maxbuffer`), over TCP, where a server's limit is not known, 64 MiB.
    pub request_size_max: Option<u32>,
    /// Where callbacks wait; `None` for the process's own thread.
    pub queue: Option<Arc<CallbackQueue>>,
    /// Told of every change of the session's state, where callbacks run.
    pub on_state: Option<Arc<dyn Fn(State) + Send + Sync>>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            session_timeout_ms: 10_000,
            chroot: Chroot::default(),
            resume: None,
            allow_read_only: false,
            // Servers do not limit their replies: much above any of theirs, so that only nonsense is refused.
            reply_size_max: 64 << 20,
            request_size_max: None,
            queue: None,
            on_state: None,
        }
    }
}

/// One session. Dropping it ends the session as well as it can within [`Handle::DROP_LIMIT`].
pub struct Handle {
    core: Arc<HandleCore>,
}

/// Where callbacks run.
enum Runner {
    Host(Arc<CallbackQueue>),
    Ours(Arc<Callbacks>),
}

/// What transports and callbacks hold of a handle.
struct HandleCore {
    load: Arc<QueueShare>,
    transport: OnceLock<Box<dyn Transport>>,
    runner: Runner,
    on_state: Option<Arc<dyn Fn(State) + Send + Sync>>,
    chroot: Chroot,
    watching: Mutex<SessionWatches>,
    /// Jobs of the burst under way.
    staged: Mutex<Vec<(usize, Job)>>,
    state: Mutex<State>,
    state_changed: Condvar,
}

/// Where a blocked thread waits for its reply.
#[derive(Default)]
struct ReplySlot {
    reply: Mutex<Option<Reply>>,
    filled: Condvar,
}

impl ReplySlot {
    fn fill(&self, reply: Reply) {
        *self.reply.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply);
        self.filled.notify_one();
    }

    fn wait(&self, limit: Option<Duration>) -> Option<Reply> {
        let slot = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = match limit {
            None => self.filled.wait_while(slot, |reply| reply.is_none()).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                let waited = self.filled.wait_timeout_while(slot, limit, |reply| reply.is_none());
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        slot.take()
    }
}

/// A request under way, for whoever waits for its reply little by little.
pub struct UnderWay {
    slot: Arc<ReplySlot>,
    _waiting: WaitingThread,
}

/// A thread that waits for the server: it is answered even if callbacks are far behind.
struct WaitingThread(Arc<QueueShare>);

impl WaitingThread {
    fn begin(core: &HandleCore) -> WaitingThread {
        core.load.begin_waiting();
        WaitingThread(Arc::clone(&core.load))
    }
}

impl Drop for WaitingThread {
    fn drop(&mut self) {
        self.0.end_waiting();
    }
}

impl UnderWay {
    /// The reply, once, if it came within the time.
    pub fn wait(&self, limit: Option<Duration>) -> Option<Reply> {
        self.slot.wait(limit)
    }
}

impl Handle {
    /// How long a dropped handle waits for the server to end its session.
    pub const DROP_LIMIT: Duration = Duration::from_secs(2);

    /// Begins a session with the server behind `hub`, in this process. Returns at once, see [`Handle::wait`].
    ///
    /// # Errors
    /// What the system says when it has no thread for callbacks.
    pub fn open(hub: Arc<Hub>, options: &Options) -> std::io::Result<Handle> {
        Handle::with(options, |listener| Ok(Box::new(Local::open(hub, options, listener))))
    }

    /// Begins a session with a server over TCP: one of `hosts`, written as ZooKeeper's connection string
    /// (`"one:2181,two:2181,[::1]:2181/chroot"`). Returns at once, see [`Handle::wait`].
    ///
    /// The servers are tried in an order of chance, and over and over; each has the session timeout divided by their number
    /// to answer. When a connection is lost, the session is resumed with the next server: watches and identities come
    /// along. No request is ever sent twice. What was sent and not answered ends in [`code::CONNECTION_LOSS`]; what was
    /// not sent yet waits. Chroots add up, that of `hosts` being the outer one.
    ///
    /// # Errors
    /// `InvalidInput` for `hosts` that cannot be read; what the system says when it has no threads or descriptors left.
    pub fn connect(hosts: &str, options: &Options) -> std::io::Result<Handle> {
        let invalid = |text| std::io::Error::new(std::io::ErrorKind::InvalidInput, text);
        let (hosts, outer) = core::parse(hosts).map_err(invalid)?;
        let chroot = Chroot::new(&outer.outer(options.chroot.as_str())).expect("both are paths");
        let options = Options { chroot, ..options.clone() };
        Handle::with(&options, |listener| Ok(Box::new(tcp::Tcp::connect(hosts, &options, listener)?)))
    }

    /// Begins a session over whatever `connect` makes. It gets whom to tell; nothing need be connected yet.
    ///
    /// # Errors
    /// What `connect` says, or the system when it has no thread for callbacks.
    pub fn with(
        options: &Options,
        connect: impl FnOnce(Weak<dyn Listener>) -> std::io::Result<Box<dyn Transport>>,
    ) -> std::io::Result<Handle> {
        let runner = match &options.queue {
            Some(queue) => Runner::Host(Arc::clone(queue)),
            None => Runner::Ours(Callbacks::shared()?),
        };
        let core = Arc::new(HandleCore {
            load: Arc::new(QueueShare::new()),
            transport: OnceLock::new(),
            runner,
            on_state: options.on_state.clone(),
            chroot: options.chroot.clone(),
            watching: Mutex::default(),
            staged: Mutex::default(),
            state: Mutex::new(State::Connecting),
            state_changed: Condvar::new(),
        });
        let listener: Weak<dyn Listener> = Arc::downgrade(&(Arc::clone(&core) as Arc<dyn Listener>));
        let transport = connect(listener)?;
        let _ = core.transport.set(transport);
        let weak = Arc::downgrade(&core);
        core.load.on_drained(move || {
            if let Some(transport) = weak.upgrade().as_ref().and_then(|core| core.transport.get()) {
                transport.read_on();
            }
        });
        Ok(Handle { core })
    }

    /// Waits until a server answers. `None` waits for ever.
    ///
    /// # Errors
    /// [`code::TIMEOUT`], or what the final state means.
    pub fn wait(&self, limit: Option<Duration>) -> Result<(), Code> {
        let _waiting = WaitingThread::begin(&self.core);
        let pending = |state: &mut State| !state.is_connected() && !state.is_final();
        let state = self.core.state.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = &self.core.state_changed;
        let state = match limit {
            None => *changed.wait_while(state, pending).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => *changed.wait_timeout_while(state, limit, pending).unwrap_or_else(PoisonError::into_inner).0,
        };
        // The end of a session is known to what carries it a moment before it is told.
        let carried = self.session().state;
        match if carried.is_final() { carried } else { state } {
            State::Connected | State::ConnectedReadOnly => Ok(()),
            State::Expired => Err(code::SESSION_EXPIRED),
            State::AuthFailed => Err(code::AUTH_FAILED),
            State::Ended => Err(code::CLOSED),
            State::Connecting | State::Suspended => Err(code::TIMEOUT),
        }
    }

    /// The session as it is now.
    pub fn session(&self) -> SessionInfo {
        self.core.transport().session()
    }

    /// The prefix of all paths.
    pub fn chroot(&self) -> &Chroot {
        &self.core.chroot
    }

    /// Sends a request, paths in it the server's; `done` runs where callbacks run, with the reply.
    ///
    /// # Errors
    /// Why it was not sent; `done` is dropped then.
    pub fn submit(&self, op: OpCode, body: &[u8], done: impl FnOnce(Reply) + Send + 'static) -> Result<(), Refused> {
        self.core.transport().submit(op, body, Queued::new(&self.core, done))
    }

    /// Sends a request and waits for its reply. Past `limit` the code is [`code::TIMEOUT`], and the request goes on.
    pub fn call(&self, op: OpCode, body: &[u8], limit: Option<Duration>) -> Reply {
        self.blocking(limit, |completion| self.core.transport().submit(op, body, completion))
    }

    fn blocking(&self, limit: Option<Duration>, submit: impl FnOnce(Completion) -> Result<(), Refused>) -> Reply {
        match self.under_way(submit) {
            Ok(begun) => begun.wait(limit).unwrap_or_else(|| Reply::failed(code::TIMEOUT)),
            Err(why) => Reply::refused(why),
        }
    }

    fn under_way(&self, submit: impl FnOnce(Completion) -> Result<(), Refused>) -> Result<UnderWay, Refused> {
        let slot = Arc::new(ReplySlot::default());
        let (filled, waiting) = (Arc::clone(&slot), WaitingThread::begin(&self.core));
        submit(Box::new(move |reply: Reply| filled.fill(reply)))?;
        Ok(UnderWay { slot, _waiting: waiting })
    }

    /// Sends a request and does not wait: [`UnderWay::wait`] does.
    ///
    /// # Errors
    /// As [`Handle::submit`].
    pub fn begin(&self, op: OpCode, body: &[u8]) -> Result<UnderWay, Refused> {
        self.under_way(|completion| self.core.transport().submit(op, body, completion))
    }

    /// The same for a read that leaves a one-shot watch.
    ///
    /// # Errors
    /// As [`Handle::submit`].
    pub fn begin_watched(&self, op: OpCode, path: &str, watch: WatchFn) -> Result<UnderWay, Refused> {
        self.under_way(|completion| self.submit_watched(op, path, watch, completion))
    }

    /// The answer to a plain read, if it can be had on the caller's thread without waiting for anything.
    pub fn read_at_once(&self, op: OpCode, path: &str) -> Option<Reply> {
        self.core.transport().read_now(op, &self.core.chroot.outer(path))
    }

    /// A plain read of a path below the chroot: `getData`, `exists`, `getChildren2` or `getAcl`. In this process it is
    /// answered on the caller's thread where the order of the session's requests allows it.
    pub fn read(&self, op: OpCode, path: &str, limit: Option<Duration>) -> Reply {
        let path = self.core.chroot.outer(path);
        if let Some(reply) = self.core.transport().read_now(op, &path) {
            return reply;
        }
        self.call(op, &read_body(op, &path, false), limit)
    }

    /// A read that leaves a one-shot watch, in one step.
    pub fn read_watched(&self, op: OpCode, path: &str, watch: WatchFn, limit: Option<Duration>) -> Reply {
        self.blocking(limit, |completion| self.submit_watched(op, path, watch, completion))
    }

    /// The same with the reply going where callbacks run.
    ///
    /// # Errors
    /// As [`Handle::submit`].
    pub fn submit_read_watched(
        &self,
        op: OpCode,
        path: &str,
        watch: WatchFn,
        done: impl FnOnce(Reply) + Send + 'static,
    ) -> Result<(), Refused> {
        self.submit_watched(op, path, watch, Queued::new(&self.core, done))
    }

    fn submit_watched(&self, op: OpCode, path: &str, watch: WatchFn, then: Completion) -> Result<(), Refused> {
        let core = &self.core;
        let path = core.chroot.outer(path).into_owned();
        let watch = SessionWatches::make_nameless(watch);
        let body = read_body(op, &path, true);
        let at_reply = Arc::clone(core);
        let completion = move |reply: Reply| {
            at_reply.register(op, &path, watch, &reply);
            then.complete(reply);
        };
        core.transport().submit(op, &body, Box::new(completion))
    }

    /// Sets a watch that stays (or, for the `Once…` modes, one that does not) and returns its number.
    ///
    /// # Errors
    /// The reply that says why not; [`code::NO_NODE`] for [`WatchMode::OnceChildren`] where there is no znode.
    pub fn watch(&self, path: &str, mode: WatchMode, watch: WatchFn, limit: Option<Duration>) -> Result<u64, Reply> {
        let watch = self.core.watching().make(watch);
        let id = watch.id;
        let reply = self.blocking(limit, |then| self.set_watch(path, mode, watch, then));
        watch_set(mode, id, reply)
    }

    /// The same with the answer going where callbacks run.
    ///
    /// # Errors
    /// As [`Handle::submit`].
    pub fn submit_watch(
        &self,
        path: &str,
        mode: WatchMode,
        watch: WatchFn,
        done: impl FnOnce(Result<u64, Reply>) + Send + 'static,
    ) -> Result<(), Refused> {
        let watch = self.core.watching().make(watch);
        let id = watch.id;
        let done = Queued::new(&self.core, move |reply| done(watch_set(mode, id, reply)));
        self.set_watch(path, mode, watch, done)
    }

    fn set_watch(
        &self,
        path: &str,
        mode: WatchMode,
        watch: Arc<Registration>,
        then: Completion,
    ) -> Result<(), Refused> {
        let core = &self.core;
        let outer = core.chroot.outer(path).into_owned();
        let (op, body) = match mode {
            WatchMode::OnceData => (OpCode::Exists, read_body(OpCode::Exists, &outer, true)),
            WatchMode::OnceChildren => (OpCode::GetChildren, read_body(OpCode::GetChildren, &outer, true)),
            WatchMode::Persistent | WatchMode::Recursive => {
                let kind = i32::from(mode == WatchMode::Recursive);
                (OpCode::AddWatch, encoded(&WatchRequest { path: outer.as_str().into(), kind }))
            }
        };
        let at_reply = Arc::clone(core);
        let completion = move |reply: Reply| {
            match mode {
                WatchMode::OnceData | WatchMode::OnceChildren => at_reply.register(op, &outer, watch, &reply),
                _ if reply.code != code::OK => {}
                WatchMode::Persistent => at_reply.watching().add(WatchList::Persistent, &outer, watch),
                WatchMode::Recursive => at_reply.watching().add(WatchList::Recursive, &outer, watch),
            }
            then.complete(reply);
        };
        core.transport().submit(op, &body, Box::new(completion))
    }

    /// Ends a watch. No callback of it begins after this returns; the server is told where nobody else here needs it.
    ///
    /// # Errors
    /// [`code::NO_WATCHER`] when there is none of that number (any more).
    pub fn unwatch(&self, id: u64, limit: Option<Duration>) -> Result<(), Code> {
        let Some(body) = self.forget_watch(id)? else { return Ok(()) };
        match self.call(OpCode::RemoveWatches, &body, limit).code {
            // It fired meanwhile.
            code::OK | code::NO_WATCHER => Ok(()),
            code => Err(code),
        }
    }

    /// The same without waiting for the server.
    pub fn begin_unwatch(&self, id: u64) {
        if let Ok(Some(body)) = self.forget_watch(id) {
            // Where it cannot be sent there is no connection left that could have a watch.
            let _ = self.core.transport().submit(OpCode::RemoveWatches, &body, Box::new(|_: Reply| {}));
        }
    }

    /// Lets go of all callbacks of watches, once nothing can be told any more. They may hold what they are watched for, up to
    /// the client itself.
    pub fn forget_watches(&self) {
        let all = std::mem::take(&mut *self.core.watching());
        drop(all);
    }

    /// Ends a watch here. The record of what the server has to be asked for, where it has to.
    fn forget_watch(&self, id: u64) -> Result<Option<Vec<u8>>, Code> {
        let (removed, path) = self.core.watching().remove(id);
        let (Removed::Last(kind), Some(path)) = (removed, path) else {
            return if removed == Removed::Nothing { Err(code::NO_WATCHER) } else { Ok(None) };
        };
        let number = match kind {
            WatchList::Child => 1,
            WatchList::Data | WatchList::Exist => 2,
            WatchList::Persistent => 4,
            WatchList::Recursive => 5,
        };
        // A path watched for data both before and after its creation has two lists here and one watch there.
        let other = match kind {
            WatchList::Data => Some(WatchList::Exist),
            WatchList::Exist => Some(WatchList::Data),
            _ => None,
        };
        if other.is_some_and(|other| self.core.watching().contains(other, &path)) {
            return Ok(None);
        }
        Ok(Some(encoded(&WatchRequest { path: path.as_str().into(), kind: number })))
    }

    /// Adds an identity to the session. There is no wrong password in scheme `digest`; what the server refuses ends the
    /// session in [`State::AuthFailed`].
    pub fn add_auth(&self, scheme: &str, credentials: &[u8], limit: Option<Duration>) -> Reply {
        self.blocking(limit, |completion| self.core.transport().add_auth(scheme, credentials, completion))
    }

    /// The same with the answer going where callbacks run.
    ///
    /// # Errors
    /// As [`Handle::submit`].
    pub fn submit_auth(
        &self,
        scheme: &str,
        credentials: &[u8],
        done: impl FnOnce(Reply) + Send + 'static,
    ) -> Result<(), Refused> {
        self.core.transport().add_auth(scheme, credentials, Queued::new(&self.core, done))
    }

    /// Asks for the session's end; `done` runs where callbacks run, with the code that [`Handle::close`] would give.
    pub fn submit_close(&self, done: impl FnOnce(Reply) + Send + 'static) {
        let core = Arc::clone(&self.core);
        let queued = Queued::new(&self.core, done);
        self.core.transport().close(Box::new(move |reply: Reply| {
            queued.complete(reply);
            // It may come when no burst is under way that would be flushed.
            core.flush();
        }));
    }

    /// Ends the session. When this returns, every request has been answered, every callback has run and none will run
    /// again; except when called from a callback, where those that wait run after it.
    ///
    /// # Errors
    /// The handle is closed all the same: [`code::TIMEOUT`] when the server has not answered in time, and
    /// [`code::CONNECTION_LOSS`] when there was none to ask, or the connection was lost. The session is left to expire
    /// then, unless it ended unseen. [`code::WOULD_DEADLOCK`] where this is a callback of another queue, for which a callback
    /// of this handle's waits in the same way: then it still runs.
    pub fn close(&self, limit: Option<Duration>) -> Result<(), Code> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let slot = Arc::new(ReplySlot::default());
        let (filled, _waiting) = (Arc::clone(&slot), WaitingThread::begin(&self.core));
        self.core.transport().close(Box::new(move |reply: Reply| filled.fill(reply)));
        let answer = slot.wait(limit);
        if answer.is_none() {
            self.core.transport().detach();
        }
        match (self.settle(deadline), answer.map(|reply| reply.code)) {
            (Settled::Deadlock, _) => Err(code::WOULD_DEADLOCK),
            (Settled::Yes, Some(code::OK)) => Ok(()),
            (_, Some(code::OK) | None) => Err(code::TIMEOUT),
            (_, Some(code)) => Err(code),
        }
    }

    /// Lets go of the session and leaves it alive for [`Options::resume`]. Callbacks as after [`Handle::close`].
    pub fn detach(&self) {
        let _ = self.try_detach();
    }

    /// The same, and tells whether a callback is left.
    ///
    /// # Errors
    /// [`code::WOULD_DEADLOCK`], as in [`Handle::close`]; it is detached all the same.
    pub fn try_detach(&self) -> Result<(), Code> {
        self.core.transport().detach();
        if self.settle(None) == Settled::Deadlock { Err(code::WOULD_DEADLOCK) } else { Ok(()) }
    }

    fn settle(&self, deadline: Option<Instant>) -> Settled {
        self.core.end();
        self.core.flush();
        self.core.queue().settle(&self.core.load, deadline)
    }

    /// Callbacks that wait to be run, and the bytes they hold. At [`load::JOBS_MAX`] or [`load::BYTES_MAX`] the client stops
    /// reading from its server, until half of that is left or a thread waits for a reply.
    pub fn backlog(&self) -> (usize, usize) {
        self.core.load.waiting()
    }

    /// Whether this is called from a callback of the queue that runs this handle's callbacks.
    pub fn is_in_callback(&self) -> bool {
        self.core.queue().is_running_here()
    }

    /// Runs `job`, the last of this handle, where callbacks run, after those that wait; when called from one of them, as
    /// soon as that returns.
    pub fn defer(&self, job: impl FnOnce() + Send + 'static) {
        self.core.stage(0, Box::new(job));
        self.core.flush();
        self.core.queue().leave(&self.core.load);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _ = self.close(Some(Handle::DROP_LIMIT));
        // Whatever a callback that hangs holds up: none may run once the handle is gone, but for one that waits for this one.
        self.settle(None);
    }
}

/// What the answer to a request for a watch means.
fn watch_set(mode: WatchMode, id: u64, reply: Reply) -> Result<u64, Reply> {
    match reply.code {
        code::OK => Ok(id),
        code::NO_NODE if mode == WatchMode::OnceData => Ok(id),
        _ => Err(reply),
    }
}

fn read_body(op: OpCode, path: &str, watch: bool) -> Vec<u8> {
    match op {
        OpCode::GetAcl => encoded(&PathRequest { path: path.into() }),
        _ => encoded(&PathWatchRequest { path: path.into(), watch }),
    }
}

impl HandleCore {
    fn transport(&self) -> &dyn Transport {
        self.transport.get().expect("a handle is made with its transport").as_ref()
    }

    fn queue(&self) -> &CallbackQueue {
        match &self.runner {
            Runner::Host(queue) => queue,
            Runner::Ours(callbacks) => callbacks.queue(),
        }
    }

    fn watching(&self) -> std::sync::MutexGuard<'_, SessionWatches> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job that holds so many bytes.
    fn stage(&self, size: usize, job: Job) {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).push((load::JOB_SIZE + size, job));
    }

    /// A read that asked for a watch was answered: whether the server set one, and in which list it belongs.
    fn register(&self, op: OpCode, path: &str, watch: Arc<Registration>, reply: &Reply) {
        let kind = match (op, reply.code) {
            (OpCode::Exists, code::NO_NODE) => WatchList::Exist,
            (OpCode::GetChildren | OpCode::GetChildren2, code::OK) => WatchList::Child,
            (_, code::OK) => WatchList::Data,
            _ => return,
        };
        self.watching().add(kind, path, watch);
    }

    /// Nothing more will come from the transport.
    fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_final() {
            *state = State::Ended;
            self.state_changed.notify_all();
        }
    }
}

impl Listener for HandleCore {
    fn event(&self, event: Event) {
        let told = self.watching().trigger(event.kind, &event.path);
        if told.is_empty() {
            return;
        }
        let path = self.chroot.inner(&event.path).to_owned();
        let event = Event { path, ..event };
        self.stage(
            event.path.len(),
            Box::new(move || {
                for watch in told {
                    watch.tell(&event);
                }
            }),
        );
    }

    fn state(&self, state: State) {
        {
            let mut current = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if current.is_final() {
                return;
            }
            *current = state;
        }
        self.state_changed.notify_all();
        if let Some(on_state) = self.on_state.clone() {
            self.stage(0, Box::new(move || on_state(state)));
        }
        self.flush();
    }

    fn watches(&self) -> WatchedPaths {
        self.watching().paths()
    }

    fn is_full(&self) -> bool {
        self.load.is_full()
    }

    fn flush(&self) {
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        if !staged.is_empty() {
            // Under the lock, so that two bursts keep their order.
            self.queue().push(&self.load, staged.drain(..));
        }
    }

    fn is_busy(&self) -> bool {
        self.queue().is_busy()
    }
}
