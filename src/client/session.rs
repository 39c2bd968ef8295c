//! One session as both clients share it: the handle, and who hears of its state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::alarm::{Alarm, block_on};
use super::call::{Call, ReplyReader, check_path, failure_of, reading_nothing};
use super::options::ClientOptions;
use super::pending::{FutureSlot, Pending};
use crate::Error;
use crate::client::handle::{Chroot, Handle, Options, Reply, SessionInfo, State};
use crate::code;
use crate::error::{Code, Failure};
use crate::process::forks;
use crate::records::OpCode;

/// A session with whoever hears of it. Dropping it ends the session.
pub(crate) struct ClientSession {
    handle: Handle,
    news: Arc<News>,
    forks: u32,
}

type StateListener = Arc<dyn Fn(State) + Send + Sync>;

/// Tells everybody of the session's state, where callbacks run.
#[derive(Default)]
pub(crate) struct News {
    inner: Mutex<NewsState>,
}

#[derive(Default)]
struct NewsState {
    listeners: BTreeMap<u64, StateListener>,
    last_id: u64,
    is_over: bool,
}

/// A listener for as long as this is kept.
pub(crate) struct ListenerGuard {
    news: Weak<News>,
    id: u64,
}

impl Drop for ListenerGuard {
    fn drop(&mut self) {
        let listener = self.news.upgrade().and_then(|news| news.lock().listeners.remove(&self.id));
        // Without the lock: what it holds may listen too.
        drop(listener);
    }
}

impl News {
    fn lock(&self) -> MutexGuard<'_, NewsState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: State) {
        let listeners: Vec<StateListener> = {
            let mut inner = self.lock();
            if inner.is_over {
                return;
            }
            inner.is_over = state.is_final();
            inner.listeners.values().cloned().collect()
        };
        for listener in listeners {
            listener(state);
        }
    }

    fn add(&self, listener: StateListener) -> u64 {
        let mut inner = self.lock();
        inner.last_id += 1;
        let id = inner.last_id;
        inner.listeners.insert(id, listener);
        id
    }

    fn listen(self: &Arc<News>, listener: StateListener) -> ListenerGuard {
        ListenerGuard { id: self.add(listener), news: Arc::downgrade(self) }
    }
}

impl ClientSession {
    /// Begins one. Returns at once.
    pub(super) fn begin(
        wanted: &ClientOptions,
        connect: impl FnOnce(&Options) -> std::io::Result<Handle>,
    ) -> Result<Arc<ClientSession>, Error> {
        let news = Arc::<News>::default();
        if let Some(on_state) = wanted.on_state.clone() {
            news.add(on_state);
        }
        let mut options = wanted.handle_options()?;
        let telling = Arc::clone(&news);
        options.on_state = Some(Arc::new(move |state| telling.tell(state)));
        let handle = connect(&options).map_err(|error| {
            let is_ours = error.kind() == std::io::ErrorKind::InvalidInput;
            let code = if is_ours { Code::BadArguments } else { Code::System };
            Failure::because(code, error.to_string()).not_done()
        })?;
        Ok(Arc::new(ClientSession { handle, news, forks: forks() }))
    }

    /// Waits until a server answers.
    pub(super) fn wait(&self, limit: Option<Duration>) -> Result<(), Error> {
        self.handle.wait(limit).map_err(|code| match code {
            code::TIMEOUT => Failure::because(code, "no server answered in time").not_done().into(),
            code => Failure::new(code).not_done().into(),
        })
    }

    /// The same as a future.
    pub(super) async fn connected(&self) -> Result<(), Error> {
        let alarm = Arc::<Alarm>::default();
        let _listening = self.listen_alarm(&alarm);
        loop {
            alarm.reset();
            match self.handle.wait(Some(Duration::ZERO)) {
                Ok(()) => return Ok(()),
                Err(code::TIMEOUT) => alarm.wait().await,
                Err(code) => return Err(Failure::new(code).not_done().into()),
            }
        }
    }

    pub(crate) fn listen(&self, listener: impl Fn(State) + Send + Sync + 'static) -> ListenerGuard {
        self.news.listen(Arc::new(listener))
    }

    /// Has every change of the state ring an alarm.
    pub(crate) fn listen_alarm(&self, alarm: &Arc<Alarm>) -> ListenerGuard {
        let alarm = Arc::clone(alarm);
        self.listen(move |_| alarm.ring())
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn chroot(&self) -> &Chroot {
        self.handle.chroot()
    }

    pub(crate) fn info(&self) -> SessionInfo {
        self.handle.session()
    }

    /// A child has the session's memory without its threads.
    pub(super) fn check_process(&self) -> Result<(), Failure> {
        if self.forks == forks() { Ok(()) } else { Err(Failure::new(Code::Forked).not_done()) }
    }

    /// Whether anything can be asked about a path.
    pub(crate) fn check(&self, path: &str) -> Result<(), Failure> {
        self.check_process()?;
        check_path(path)
    }

    /// Sends a request and waits.
    pub(super) fn run<T>(&self, call: Call<T>, limit: Option<Duration>) -> Result<T, Error> {
        self.check_process()?;
        call.reading.check()?;
        let chroot = self.chroot();
        let (reply, reading);
        if call.is_plain_read() {
            reply = self.handle.read(call.op, &call.reading.path, limit);
            reading = call.reading;
        } else {
            let op = call.op;
            let (body, how) = call.into_record(chroot);
            reply = self.handle.call(op, &body, limit);
            reading = how;
        }
        Ok(reading.finish(&reply, chroot)?)
    }

    /// Sends a request.
    pub(super) fn send<T>(&self, call: Call<T>) -> Pending<T> {
        if let Err(failure) = self.check_process().and_then(|()| call.reading.check()) {
            return Pending::refused(failure);
        }
        let op = call.op;
        let (body, reading) = call.into_record(self.chroot());
        self.pending(reading, |slot| self.handle.submit(op, &body, move |reply| drop(slot.fill(reply))))
    }

    /// The future of a request that `submit` sends.
    pub(super) fn pending<T>(
        &self,
        reading: ReplyReader<T>,
        submit: impl FnOnce(Arc<FutureSlot<Reply>>) -> Result<(), crate::client::handle::Refused>,
    ) -> Pending<T> {
        let slot = Arc::<FutureSlot<Reply>>::default();
        match submit(Arc::clone(&slot)) {
            Ok(()) => Pending::sent(slot, reading, self.chroot().clone()),
            Err(why) => Pending::refused(reading.failure(&Reply::refused(why))),
        }
    }

    pub(super) fn add_auth(&self, scheme: &str, credentials: &[u8], limit: Option<Duration>) -> Result<(), Error> {
        self.check_process()?;
        let reply = self.handle.add_auth(scheme, credentials, limit);
        if reply.code == code::OK { Ok(()) } else { Err(failure_of(&reply).into()) }
    }

    /// Ends a watch; no callback of it begins after this.
    pub(super) fn unwatch(&self, id: u64) {
        if self.check_process().is_ok() {
            self.handle.begin_unwatch(id);
        }
    }

    /// Ends the session. When this returns no callback runs any more, but for the one it is called from.
    pub(super) fn close(&self, limit: Option<Duration>) -> Result<(), Error> {
        self.check_process()?;
        let closed = self.handle.close(limit);
        self.news.tell(State::Ended);
        self.handle.forget_watches();
        Ok(closed.map_err(Failure::new)?)
    }

    /// The same as a future. Callbacks that wait still run.
    pub(super) fn close_async(&self) -> Pending<()> {
        if let Err(failure) = self.check_process() {
            return Pending::refused(failure);
        }
        self.pending(reading_nothing(OpCode::CloseSession), |slot| {
            self.handle.submit_close(move |reply| drop(slot.fill(reply)));
            Ok(())
        })
    }

    /// Leaves the session alive, to be resumed.
    pub(super) fn detach(&self) {
        self.handle.detach();
        // The transport tells nobody of this.
        self.news.tell(State::Ended);
        self.handle.forget_watches();
    }

    pub(crate) fn is_in_callback(&self) -> bool {
        self.handle.is_in_callback()
    }

    /// Waits for a future whose requests are answered where callbacks run. `Ok(None)` when the limit has passed first.
    pub(crate) fn block_on<T>(
        &self,
        what: impl Future<Output = Result<T, Error>>,
        limit: Option<Duration>,
    ) -> Result<Option<T>, Error> {
        self.check_process()?;
        if self.is_in_callback() {
            let text = "it waits for what comes through callbacks, and this is one; use another thread";
            return Err(Failure::because(Code::WouldDeadlock, text).not_done().into());
        }
        block_on(what, limit.map(|limit| Instant::now() + limit)).transpose()
    }
}

impl Drop for ClientSession {
    fn drop(&mut self) {
        if self.check_process().is_ok() {
            let _ = self.handle.close(Some(Handle::DROP_LIMIT));
            // Here and not on the thread of whoever lets go of the handle's core last: callbacks may hold other clients.
            self.handle.forget_watches();
        }
    }
}
