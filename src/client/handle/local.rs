//! A session with a server in this process: no socket, everything else as over one.
//!
//! Threads append frames to a buffer and poke the loop once per burst; the loop hands frames back, and completions and
//! events leave on its thread. Plain reads go past the loop, straight to the state it lends, unless the session has
//! something under way that has to come first.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Options;
use super::code::{self, Code};
use super::core::{Closing, Delivery, IdentityLimits, SessionCore, Terms, deliver, is_order};
use super::transport::{Completion, Listener, Refused, Reply, SessionInfo, SizeLimit, State, Transport};
use crate::engine::{CloseReason, ConnId};
use crate::ids::Zxid;
use crate::peer::local::{Hub, LocalLink};
use crate::records::OpCode;

const NO_CONN: u64 = u64::MAX;

/// A session with a server in this process.
pub struct Local {
    link: Arc<LocalSession>,
}

struct LocalSession {
    hub: Arc<Hub>,
    listener: Weak<dyn Listener>,
    me: Weak<LocalSession>,
    core: Mutex<SessionCore<Completion>>,
    /// On the loop's list already.
    poked: AtomicBool,
    conn: AtomicU64,
    hung_up: AtomicBool,
    /// Requests under way that a read must not overtake.
    orders: AtomicUsize,
    /// Reads past the loop that it has not counted yet.
    reads: AtomicU64,
    /// The highest zxid of a reply or of a read past the loop.
    last_zxid: AtomicI64,
    /// Held while completions and events leave, so that [`Transport::detach`] can wait for the last of them.
    dispatch: Mutex<Vec<Delivery<Completion>>>,
}

impl Local {
    /// Begins a session, or resumes one, with the server behind `hub`. Returns at once; the listener hears when it is
    /// connected.
    pub fn open(hub: Arc<Hub>, options: &Options, listener: Weak<dyn Listener>) -> Local {
        let limits = hub.limits();
        // A longer request would cost the connection.
        let of_server = SizeLimit::Server(limits.frame_size_max);
        let mut core = SessionCore::new(Terms {
            session_timeout_ms: options.session_timeout_ms,
            resume: options.resume,
            // The server in this process has a quorum, or lets the handshake wait until it has.
            allow_read_only: false,
            size_limit: options.request_size_max.map_or(of_server, |bytes| of_server.and(SizeLimit::Client(bytes))),
            frame_size_max: usize::MAX,
            identity_limits: Some(IdentityLimits {
                count_max: limits.identities_max,
                size_max: limits.credentials_size_max,
            }),
            closes_on_next_connection: true,
        });
        core.connected();
        let link = Arc::new_cyclic(|me: &Weak<LocalSession>| LocalSession {
            hub,
            listener,
            me: Weak::clone(me),
            core: Mutex::new(core),
            poked: AtomicBool::new(false),
            conn: AtomicU64::new(NO_CONN),
            hung_up: AtomicBool::new(false),
            orders: AtomicUsize::new(0),
            reads: AtomicU64::new(0),
            last_zxid: AtomicI64::new(0),
            dispatch: Mutex::default(),
        });
        link.poke();
        Local { link }
    }
}

impl LocalSession {
    fn lock(&self) -> MutexGuard<'_, SessionCore<Completion>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatch(&self) -> MutexGuard<'_, Vec<Delivery<Completion>>> {
        self.dispatch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the core do something, and counts what reads must not overtake before anybody can see it done.
    fn change<T>(&self, change: impl FnOnce(&mut SessionCore<Completion>) -> T) -> T {
        let mut core = self.lock();
        let before = core.orders();
        let result = change(&mut core);
        let added = core.orders().wrapping_sub(before);
        if added > 0 {
            self.orders.fetch_add(added, Ordering::SeqCst);
        }
        result
    }

    /// Gets the loop's attention, once per burst.
    fn poke(&self) {
        if !self.poked.swap(true, Ordering::SeqCst)
            && let Some(me) = self.me.upgrade()
            && !self.hub.poke(me)
        {
            self.gone(&CloseReason::Stopping);
        }
    }

    /// The same whatever it has been poked for before.
    fn poke_again(&self) {
        self.poked.store(false, Ordering::SeqCst);
        self.poke();
    }

    fn flush(&self) {
        if let Some(listener) = self.listener.upgrade() {
            listener.flush();
        }
    }

    /// A request is about to be completed.
    fn answered(&self, op: OpCode, code: &mut Code) {
        if is_order(op) {
            self.orders.fetch_sub(1, Ordering::SeqCst);
        }
        if *code == code::QUOTA_EXCEEDED && self.hub.has_no_space() {
            *code = code::DISK_FULL;
        }
    }

    fn deliver(&self, deliveries: &mut Vec<Delivery<Completion>>, bytes: &[u8], listener: Option<&dyn Listener>) {
        let told = deliver(deliveries, bytes, listener, |op, code| self.answered(op, code));
        told.expect("the engine's events are events");
    }
}

/// What the end of a connection means for the session: its last state, with the code for what is under way, or `None` where the
/// session goes on with another connection.
fn end_of(reason: &CloseReason, was_up: bool) -> Option<(State, Code)> {
    match reason {
        CloseReason::Asked | CloseReason::Stopping => Some((State::Ended, code::CLOSED)),
        CloseReason::SessionEnded | CloseReason::Refused => Some((State::Expired, code::SESSION_EXPIRED)),
        CloseReason::Moved => Some((State::Ended, code::SESSION_MOVED)),
        CloseReason::Unauthenticated => Some((State::AuthFailed, code::AUTH_FAILED)),
        // Refused before there was a session: trying again at once would be refused again.
        CloseReason::Violation(_) if !was_up => Some((State::Ended, code::CONNECTION_LOSS)),
        CloseReason::Violation(_) | CloseReason::Cut | CloseReason::NotServing => None,
    }
}

impl LocalLink for LocalSession {
    fn conn(&self) -> Option<ConnId> {
        let packed = self.conn.load(Ordering::SeqCst);
        (packed != NO_CONN).then_some(ConnId { slot: packed as u32, generation: (packed >> 32) as u32 })
    }

    fn opened(&self, conn: ConnId) {
        self.conn.store(u64::from(conn.generation) << 32 | u64::from(conn.slot), Ordering::SeqCst);
    }

    fn take(&self, mut spare: Vec<u8>) -> Vec<u8> {
        // First: what is appended from now on pokes again.
        self.poked.store(false, Ordering::SeqCst);
        self.lock().take(&mut spare);
        spare
    }

    fn may_follow_up(&self) -> bool {
        self.listener.upgrade().is_some_and(|listener| listener.is_busy())
    }

    fn is_full(&self) -> bool {
        !self.hung_up() && self.listener.upgrade().is_some_and(|listener| listener.is_full())
    }

    fn take_reads(&self) -> u64 {
        self.reads.swap(0, Ordering::Relaxed)
    }

    fn hung_up(&self) -> bool {
        self.hung_up.load(Ordering::SeqCst)
    }

    fn frames(&self, bytes: &[u8]) {
        let mut deliveries = self.dispatch();
        let listener = self.listener.upgrade();
        // One lock for all of them, and none while they are told.
        let is_new = self.change(|core| {
            let was_up = core.is_up();
            let watches = || listener.as_ref().map(|listener| listener.watches()).unwrap_or_default();
            let (_, result) = core.received(bytes, watches);
            result.expect("the engine answers in order");
            core.take_deliveries(&mut deliveries);
            self.last_zxid.fetch_max(core.last_zxid(), Ordering::SeqCst);
            core.is_up() && !was_up
        });
        self.deliver(&mut deliveries, bytes, listener.as_deref());
        drop(deliveries);
        if let Some(listener) = &listener {
            listener.flush();
        }
        if is_new {
            self.poke();
        }
    }

    fn gone(&self, reason: &CloseReason) {
        let mut deliveries = self.dispatch();
        self.conn.store(NO_CONN, Ordering::SeqCst);
        let is_over = self.change(|core| {
            if core.is_over() {
                return true;
            }
            match end_of(reason, core.is_up()) {
                Some((state, code)) => core.end(state, code, code::OK),
                None => {
                    core.lost(&[]);
                    core.saw(self.last_zxid.load(Ordering::SeqCst));
                    core.connected();
                }
            }
            core.take_deliveries(&mut deliveries);
            core.is_over()
        });
        self.deliver(&mut deliveries, &[], self.listener.upgrade().as_deref());
        drop(deliveries);
        self.flush();
        if !is_over {
            self.poke_again();
        }
    }
}

impl Transport for Local {
    fn submit(&self, op: OpCode, body: &[u8], done: Completion) -> Result<(), Refused> {
        if self.link.change(|core| core.submit(op, body, done))? {
            self.link.poke();
        }
        Ok(())
    }

    fn read_now(&self, op: OpCode, path: &str) -> Option<Reply> {
        let link = &*self.link;
        // Detached, it has a connection until the loop comes to end it.
        if link.orders.load(Ordering::SeqCst) != 0 || link.hung_up.load(Ordering::SeqCst) {
            return None;
        }
        let conn = link.conn()?;
        let mut body = Vec::new();
        let (Zxid(zxid), code) = link.hub.lent().read(|engine| engine.read_shared(conn, op, path, &mut body))??;
        link.reads.fetch_add(1, Ordering::Relaxed);
        // Most reads see nothing new, and a load is cheaper than a write that all threads share.
        if link.last_zxid.load(Ordering::Relaxed) < zxid {
            link.last_zxid.fetch_max(zxid, Ordering::SeqCst);
        }
        if code.to_i32() != code::OK {
            body.clear();
        }
        Some(Reply { code: code.to_i32(), zxid, body, unsent: None })
    }

    fn read_on(&self) {
        // The loop has passed it over.
        self.link.poke_again();
    }

    fn add_auth(&self, scheme: &str, credentials: &[u8], done: Completion) -> Result<(), Refused> {
        if self.link.change(|core| core.add_auth(scheme, credentials, done))? {
            self.link.poke();
        }
        Ok(())
    }

    fn session(&self) -> SessionInfo {
        let info = self.link.lock().info();
        SessionInfo { last_zxid: info.last_zxid.max(Zxid(self.link.last_zxid.load(Ordering::SeqCst))), ..info }
    }

    fn close(&self, done: Completion) {
        match self.link.change(|core| core.close(done)) {
            Closing::Over(done) => {
                // The loop may be telling of the end just now.
                drop(self.link.dispatch());
                done.complete(Reply::failed(code::OK));
            }
            Closing::Asked => self.link.poke(),
            // The next connection is on its way.
            Closing::Waits | Closing::NobodyToAsk => {}
        }
    }

    fn detach(&self) {
        let link = &*self.link;
        let mut deliveries = Vec::new();
        {
            let mut core = link.lock();
            if core.is_over() {
                drop(core);
                drop(link.dispatch());
                return;
            }
            core.detach();
            core.take_deliveries(&mut deliveries);
        }
        // Never taken back: no read finds its own way any more.
        link.orders.fetch_add(1, Ordering::SeqCst);
        link.hung_up.store(true, Ordering::SeqCst);
        drop(link.dispatch());
        link.deliver(&mut deliveries, &[], None);
        link.poke_again();
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Once it is over there is nothing to wait for, and it may be the loop that lets go last.
        if !self.link.lock().is_over() {
            self.detach();
        }
    }
}
