//! The one thread that moves bytes for all TCP clients of the process.

use std::collections::{BTreeSet, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use super::conn::TcpConn;
use super::probe::Probe;
use super::session::TcpSession;
use crate::client::handle::core::{IoAction, ServerAddress};
use crate::client::handle::transport::State;
use crate::code;
use crate::ids::Millis;
use crate::process::{Owned, PLACES, PerProcess, forks, is_working_for, work_for};
use crate::resolve::{LookupResult, Lookups};

/// Bytes read at once.
const READ_SIZE: usize = 64 << 10;
/// Reads and writes for one session before others have their turn.
const READS_MAX: usize = 4;
const WRITES_MAX: usize = 4;
const WAKER: Token = Token(0);

/// The thread `zoarium-io`, there while a TCP client is.
pub(super) struct Io {
    pub(super) shared: Arc<IoShared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The process that has the thread: a forked child has only its memory.
    process: u32,
}

/// How others reach the thread.
pub(super) struct IoShared {
    waker: Waker,
    messages: Mutex<Vec<Message>>,
    is_awake: AtomicBool,
    last_id: AtomicUsize,
    epoch: Instant,
}

enum Message {
    Add(Arc<TcpLink>),
    /// Something to be sent, or the end.
    Look(usize),
    Resolved(String, LookupResult),
    Stop,
}

/// One session, with its connection.
pub(super) struct TcpLink {
    /// What any thread may use.
    pub(super) session: Arc<TcpSession>,
    wire: Mutex<TcpWire>,
    id: usize,
    shared: Arc<IoShared>,
    poked: AtomicBool,
}

/// What only the I/O thread uses, but for the end.
struct TcpWire {
    conn: TcpConn,
    stream: Option<Owned<TcpStream>>,
    is_connecting: bool,
    /// There may be something to read, as far as is known.
    readable: bool,
    writable: bool,
    probe: Option<Probe>,
}

/// The thread of the moment. One for all clients of the process, so that threads do not grow with clients.
/// Another one in a forked child, where a thread that is missing may have left the lock closed.
static IO: PerProcess<Mutex<Weak<Io>>> = PerProcess::new([const { Mutex::new(Weak::new()) }; PLACES]);

impl Io {
    /// The thread, begun if this is the first to ask for it.
    ///
    /// # Errors
    /// What the system says when it has no thread or no descriptors left.
    pub(super) fn shared() -> std::io::Result<Arc<Io>> {
        let mut current = IO.mine().lock().unwrap_or_else(PoisonError::into_inner);
        let process = forks();
        if let Some(io) = current.upgrade().filter(|io| io.process == process) {
            return Ok(io);
        }
        let poll = Poll::new()?;
        let shared = Arc::new(IoShared {
            waker: Waker::new(poll.registry(), WAKER)?,
            messages: Mutex::default(),
            is_awake: AtomicBool::new(false),
            last_id: AtomicUsize::new(0),
            epoch: Instant::now(),
        });
        let mut running = Running::new(poll, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("zoarium-io".to_owned()).spawn(move || running.run())?;
        let io = Arc::new(Io { shared, thread: Mutex::new(Some(thread)), process });
        *current = Arc::downgrade(&io);
        Ok(io)
    }

    /// Whether this process has the thread, and not only a copy of its memory.
    pub(super) fn is_here(&self) -> bool {
        self.process == forks()
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if !self.is_here() {
            return;
        }
        self.shared.post(Message::Stop);
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A handle may be let go by a completion: then the thread ends by itself.
        if let Some(thread) = thread
            && !is_working_for(&*self.shared)
        {
            let _ = thread.join();
        }
    }
}

impl IoShared {
    fn now(&self) -> Millis {
        Millis(u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn post(&self, message: Message) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        if !self.is_awake.swap(true, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            log::error!("the I/O thread cannot be woken: {error}");
        }
    }
}

impl TcpLink {
    /// Begins to connect.
    pub(super) fn begin(io: &Io, session: Arc<TcpSession>, hosts: Vec<ServerAddress>, seed: u64) -> Arc<TcpLink> {
        let shared = Arc::clone(&io.shared);
        let conn = TcpConn::new(Arc::clone(&session), hosts, seed, shared.now());
        let wire = TcpWire { conn, stream: None, is_connecting: false, readable: false, writable: false, probe: None };
        let link = Arc::new(TcpLink {
            session,
            wire: Mutex::new(wire),
            id: shared.last_id.fetch_add(1, Ordering::Relaxed) + 1,
            shared,
            poked: AtomicBool::new(false),
        });
        link.shared.post(Message::Add(Arc::clone(&link)));
        link
    }

    fn wire(&self) -> MutexGuard<'_, TcpWire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets the thread's attention, once per burst.
    pub(super) fn poke(&self) {
        if !self.poked.swap(true, Ordering::SeqCst) {
            self.shared.post(Message::Look(self.id));
        }
    }

    /// Ends the session as `end` says and closes the socket before it returns. Waits for what the I/O thread is telling,
    /// so that nothing is told afterwards.
    pub(super) fn end(&self, end: impl FnOnce(&TcpSession)) {
        let mut wire = self.wire();
        end(&self.session);
        if self.session.is_over() {
            wire.conn.end();
            wire.stream = None;
            wire.probe = None;
        }
        drop(wire);
        self.poke();
    }

    /// Waits for what the I/O thread is telling.
    pub(super) fn settle(&self) {
        drop(self.wire());
    }

    fn tokens(&self) -> (Token, Token) {
        (Token(self.id * 2), Token(self.id * 2 + 1))
    }
}

/// What the thread has.
struct Running {
    poll: Poll,
    shared: Arc<IoShared>,
    links: HashMap<usize, (Arc<TcpLink>, Option<Millis>)>,
    timers: BTreeSet<(Millis, usize)>,
    lookups: Lookups,
    /// Sessions that have more to do without anything happening.
    again: Vec<usize>,
    room: Box<[u8]>,
}

impl Running {
    fn new(poll: Poll, shared: Arc<IoShared>) -> Running {
        Running {
            poll,
            shared,
            links: HashMap::new(),
            timers: BTreeSet::new(),
            lookups: Lookups::default(),
            again: Vec::new(),
            room: vec![0; READ_SIZE].into_boxed_slice(),
        }
    }

    fn run(&mut self) {
        work_for(&*self.shared);
        let mut events = Events::with_capacity(256);
        let mut due = Vec::new();
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.patience())
                && error.kind() != ErrorKind::Interrupted
            {
                log::error!("the I/O thread cannot wait: {error}");
                std::thread::sleep(Duration::from_millis(10));
            }
            due.append(&mut self.again);
            let now = self.shared.now();
            if !self.read_messages(now, &mut due) {
                return;
            }
            for event in events.iter().filter(|event| event.token() != WAKER) {
                let Token(number) = event.token();
                let Some((link, _)) = self.links.get(&(number / 2)) else { continue };
                let mut wire = link.wire();
                if number % 2 == 0 {
                    wire.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                    wire.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
                } else if let Some(probe) = &mut wire.probe {
                    probe.is_ready = true;
                }
                due.push(number / 2);
            }
            while let Some(&(at, id)) = self.timers.first()
                && at <= now
            {
                self.timers.pop_first();
                if let Some((_, timer)) = self.links.get_mut(&id) {
                    *timer = None;
                }
                due.push(id);
            }
            for id in due.drain(..) {
                // A bug met in one session must not take the others along.
                if catch_unwind(AssertUnwindSafe(|| self.drive(id, now))).is_err() {
                    self.bury(id);
                }
            }
        }
    }

    /// Ends a session in which a bug was caught.
    fn bury(&mut self, id: usize) {
        let Some((link, timer)) = self.links.remove(&id) else { return };
        log::error!("a bug in the TCP client was caught: a session is given up");
        if let Some(at) = timer {
            self.timers.remove(&(at, id));
        }
        let end = || link.end(|session| session.end(State::Ended, code::PANIC, code::PANIC));
        let _ = catch_unwind(AssertUnwindSafe(end));
    }

    fn patience(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let &(at, _) = self.timers.first()?;
        Some(Duration::from_millis(at.since(self.shared.now())))
    }

    /// False when it is time to go.
    fn read_messages(&mut self, now: Millis, due: &mut Vec<usize>) -> bool {
        // First: what is posted from now on wakes again.
        self.shared.is_awake.store(false, Ordering::SeqCst);
        let messages = std::mem::take(&mut *self.shared.messages.lock().unwrap_or_else(PoisonError::into_inner));
        for message in messages {
            match message {
                Message::Add(link) => {
                    due.push(link.id);
                    self.links.insert(link.id, (link, None));
                }
                Message::Look(id) => due.push(id),
                Message::Resolved(name, found) => {
                    for id in self.lookups.answered(&name) {
                        if let Some((link, _)) = self.links.get(&id) {
                            let mut wire = link.wire();
                            wire.conn.resolved(now, &name, &found);
                            if let Some(probe) = &mut wire.probe {
                                probe.resolved(&name, &found);
                            }
                            due.push(id);
                        }
                    }
                }
                Message::Stop => return false,
            }
        }
        true
    }

    /// Lets one session do all it can.
    fn drive(&mut self, id: usize, now: Millis) {
        let Some((link, timer)) = self.links.get_mut(&id) else { return };
        let link = Arc::clone(link);
        // First: what is submitted from now on pokes again.
        link.poked.store(false, Ordering::SeqCst);
        let mut wire = link.wire();
        wire.establish(now);
        wire.conn.look_again(now);
        // Before the clock: what has come is no silence.
        wire.read(now, &mut self.room);
        wire.conn.timeout(now);
        wire.carry_out(now, &link, self.poll.registry(), &mut self.lookups, &self.shared);
        wire.write(now);
        // Losing the connection while writing leads to another.
        wire.carry_out(now, &link, self.poll.registry(), &mut self.lookups, &self.shared);
        let next = wire.conn.poll_timeout();
        let next = [next, wire.probe.as_ref().map(|probe| probe.deadline)].into_iter().flatten().min();
        let is_over = wire.conn.is_over();
        let goes_on = wire.can_read() || wire.can_write();
        drop(wire);
        if let Some(at) = timer.take() {
            self.timers.remove(&(at, id));
        }
        if is_over {
            self.links.remove(&id);
            return;
        }
        if let Some(at) = next {
            *timer = Some(at);
            self.timers.insert((at, id));
        }
        if goes_on {
            self.again.push(id);
        }
    }
}

impl TcpWire {
    /// Whether a connection that was begun stands.
    fn establish(&mut self, now: Millis) {
        let Some(stream) = self.stream.as_ref().filter(|_| self.is_connecting && self.writable) else { return };
        match stream.take_error() {
            Ok(None) => match stream.peer_addr() {
                Ok(_) => {
                    self.is_connecting = false;
                    self.conn.connected();
                }
                // Not yet; there will be another event.
                Err(error) if error.kind() == ErrorKind::NotConnected => self.writable = false,
                Err(error) => self.conn.closed(now, &error.to_string()),
            },
            Ok(Some(error)) | Err(error) => self.conn.closed(now, &error.to_string()),
        }
    }

    fn can_read(&self) -> bool {
        self.stream.is_some() && !self.is_connecting && self.readable && self.conn.wants_input()
    }

    /// Reads its share.
    fn read(&mut self, now: Millis, room: &mut [u8]) {
        for _ in 0..READS_MAX {
            if !self.can_read() {
                return;
            }
            let Some(stream) = &mut self.stream else { return };
            match stream.read(room) {
                Ok(0) => {
                    self.readable = false;
                    self.conn.closed(now, "closed by the server");
                }
                Ok(size) => self.conn.received(now, &room[..size]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.readable = false;
                    self.conn.closed(now, &error.to_string());
                }
            }
        }
    }

    fn can_write(&mut self) -> bool {
        self.stream.is_some() && !self.is_connecting && self.writable && !self.conn.output().is_empty()
    }

    /// Sends what the socket takes, up to its share. The standard library passes `MSG_NOSIGNAL`, unlike for vectored writes.
    fn write(&mut self, now: Millis) {
        for _ in 0..WRITES_MAX {
            if !self.can_write() {
                return;
            }
            let Some(stream) = &mut self.stream else { return };
            match stream.write(self.conn.output()) {
                Ok(size) => self.conn.wrote(now, size),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.writable = false;
                    self.conn.closed(now, &error.to_string());
                }
            }
        }
    }

    fn carry_out(
        &mut self,
        now: Millis,
        link: &TcpLink,
        registry: &Registry,
        lookups: &mut Lookups,
        shared: &Arc<IoShared>,
    ) {
        let (token, probe_token) = link.tokens();
        let mut look_up = |name: &str| {
            let (shared, name_found) = (Arc::clone(shared), name.to_owned());
            lookups.ask(name, link.id, move |found| shared.post(Message::Resolved(name_found, found)))
        };
        while let Some(action) = self.conn.poll_action() {
            match action {
                IoAction::Close => {
                    self.stream = None;
                    self.probe = None;
                }
                IoAction::Resolve(name) => {
                    if let Some(failed) = look_up(&name) {
                        self.conn.resolved(now, &name, &failed);
                    }
                }
                IoAction::Connect(address) => {
                    (self.is_connecting, self.readable, self.writable) = (true, false, false);
                    match connect(address, token, registry) {
                        Ok(stream) => self.stream = Some(stream),
                        Err(error) => self.conn.closed(now, &error.to_string()),
                    }
                }
                IoAction::Probe(host) => {
                    let probe = Probe::new(host, now);
                    if let Some(name) = probe.wants_name() {
                        let name = name.to_owned();
                        look_up(&name);
                    }
                    self.probe = Some(probe);
                }
            }
        }
        if let Some(probe) = &mut self.probe {
            let connect = |address| connect(address, probe_token, registry);
            if let Some(has_quorum) = probe.drive(now, connect) {
                let host = self.probe.take().expect("it was just asked").host;
                if has_quorum {
                    self.conn.probed(now, host);
                    self.carry_out(now, link, registry, lookups, shared);
                }
            }
        }
    }
}

fn connect(address: SocketAddr, token: Token, registry: &Registry) -> std::io::Result<Owned<TcpStream>> {
    let mut stream = Owned::new(TcpStream::connect(address)?);
    // Requests are small and somebody waits for each.
    stream.set_nodelay(true)?;
    registry.register(&mut *stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}
