//! A session with a server in this process: no socket, everything else as over one.
//!
//! Threads append frames to a buffer and poke the loop once per burst; the loop hands frames back, and completions and
//! events leave on its thread. Plain reads go past the loop, straight to the state it lends, unless the session has
//! something under way that has to come first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::code;
use super::identities::SessionIdentities;
use super::pending::{self, PendingRequests, SentRequest};
use super::resume::set_watches;
use super::transport::{Arriving, Completion, Listener, Refused, Reply, SessionInfo, SizeLimit, State, Transport};
use super::{Options, Resume};
use crate::engine::{CloseReason, ConnId};
use crate::ids::{SessionId, Zxid};
use crate::jute::{Buffer, decode, encode, encoded};
use crate::peer::local::{Hub, LocalLink};
use crate::records::OpCode;
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::replies::ReplyHeader;
use crate::records::requests::AuthRequest;

/// Bytes that may wait for the loop. It takes all there are in every turn, unless the session has too much under way.
const OUT_SIZE_MAX: usize = 64 << 20;
/// Frames of a burst up to this size, on average, are copied twice rather than once into memory of their own.
const SHARED_FRAME_SIZE_MAX: usize = 1 << 10;
const NO_CONN: u64 = u64::MAX;

/// A session with a server in this process.
pub struct Local {
    link: Arc<LocalSession>,
}

struct LocalSession {
    hub: Arc<Hub>,
    /// A longer request would cost the connection.
    size_limit: SizeLimit,
    listener: Weak<dyn Listener>,
    me: Weak<LocalSession>,
    out: Mutex<LocalOut>,
    /// On the loop's list already.
    poked: AtomicBool,
    conn: AtomicU64,
    hung_up: AtomicBool,
    /// Requests under way that a read must not overtake.
    orders: AtomicUsize,
    /// Reads past the loop that it has not counted yet.
    reads: AtomicU64,
    connected: AtomicBool,
    last_zxid: AtomicI64,
    /// Held while completions and events leave, so that [`Transport::detach`] can wait for the last of them.
    dispatch: Mutex<Vec<LocalArrived>>,
}

/// A frame to be told: who waits for it (nobody for an event), its header, and where its body lies.
type LocalArrived = (Option<SentRequest>, ReplyHeader, std::ops::Range<usize>);

struct LocalOut {
    bytes: Vec<u8>,
    pending: PendingRequests,
    /// Not sent: there is no session yet.
    unsent: VecDeque<(OpCode, Vec<u8>, Completion)>,
    state: State,
    session: SessionId,
    password: [u8; 16],
    timeout_ms: i32,
    wanted_timeout_ms: i32,
    identities: SessionIdentities,
    closing: Vec<Completion>,
    asked_to_close: bool,
}

impl Local {
    /// Begins a session, or resumes one, with the server behind `hub`. Returns at once; the listener hears when it is
    /// connected.
    pub fn open(hub: Arc<Hub>, options: &Options, listener: Weak<dyn Listener>) -> Local {
        let Resume { id, password } = options.resume.unwrap_or(Resume { id: SessionId::NONE, password: [0; 16] });
        let of_server = SizeLimit::Server(hub.limits().frame_size_max);
        let link = Arc::new_cyclic(|me: &Weak<LocalSession>| LocalSession {
            hub,
            size_limit: options.request_size_max.map_or(of_server, |bytes| of_server.and(SizeLimit::Client(bytes))),
            listener,
            me: Weak::clone(me),
            out: Mutex::new(LocalOut {
                bytes: Vec::new(),
                pending: PendingRequests::default(),
                unsent: VecDeque::new(),
                state: State::Connecting,
                session: id,
                password,
                timeout_ms: 0,
                wanted_timeout_ms: options.session_timeout_ms,
                identities: SessionIdentities::default(),
                closing: Vec::new(),
                asked_to_close: false,
            }),
            poked: AtomicBool::new(false),
            conn: AtomicU64::new(NO_CONN),
            hung_up: AtomicBool::new(false),
            orders: AtomicUsize::new(0),
            reads: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            last_zxid: AtomicI64::new(0),
            dispatch: Mutex::default(),
        });
        link.lock().handshake(0);
        link.poke();
        Local { link }
    }
}

impl LocalOut {
    fn handshake(&mut self, last_zxid: i64) {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: last_zxid,
            timeout: self.wanted_timeout_ms,
            session_id: self.session.0,
            password: Buffer::new(&self.password),
        };
        let mut frame = encoded(&request);
        frame.push(0);
        self.bytes.clear();
        encode(&i32::try_from(frame.len()).expect("a handshake is short"), &mut self.bytes);
        self.bytes.extend_from_slice(&frame);
    }

    fn push(&mut self, op: OpCode, body: &[u8], done: Completion) {
        self.pending.push(op, body, done, &mut self.bytes);
    }

    /// What has to be said first on every connection.
    ///
    /// Returns how many requests were added that reads must not overtake.
    fn introduce(
        &mut self,
        last_zxid: i64,
        listener: Option<&Arc<dyn Listener>>,
        is_resumed: bool,
        size_limit: SizeLimit,
    ) -> usize {
        let mut added = self.identities.said().len();
        for (scheme, bytes) in self.identities.said() {
            self.pending.push(OpCode::Auth, &auth_body(scheme, bytes), Box::new(|_: Reply| {}), &mut self.bytes);
        }
        if is_resumed && let Some(listener) = listener {
            for (op, body) in set_watches(last_zxid, &listener.watches(), size_limit) {
                added += 1;
                self.push(op, &body, Box::new(|_: Reply| {}));
            }
        }
        let closes = self.unsent.iter().any(|(op, ..)| *op == OpCode::CloseSession);
        for (op, body, done) in std::mem::take(&mut self.unsent) {
            self.push(op, &body, done);
        }
        if self.asked_to_close && !closes {
            // The request for it went down with the last connection.
            added += 1;
            self.push(OpCode::CloseSession, &[], Box::new(|_: Reply| {}));
        }
        added
    }

    /// Everything that was sent and will not be answered, and everything that was not sent.
    fn take_all(&mut self) -> (VecDeque<SentRequest>, VecDeque<SentRequest>) {
        self.bytes.clear();
        let unsent = self.unsent.drain(..).map(|(op, _, done)| SentRequest { xid: 0, op, done }).collect();
        (self.pending.take(), unsent)
    }

    fn refusal(&self) -> Result<(), Refused> {
        match self.state {
            State::Expired => Err(Refused::Expired),
            State::AuthFailed => Err(Refused::AuthFailed),
            State::Ended => Err(Refused::Closed),
            _ if self.asked_to_close => Err(Refused::Closed),
            _ if self.bytes.len() > OUT_SIZE_MAX => Err(Refused::Full),
            _ => Ok(()),
        }
    }
}

/// Whether a plain read of the same session may overtake a request of this kind.
fn is_order(op: OpCode) -> bool {
    !matches!(
        op,
        OpCode::GetData
            | OpCode::Exists
            | OpCode::GetChildren
            | OpCode::GetChildren2
            | OpCode::GetAcl
            | OpCode::GetAllChildrenNumber
            | OpCode::GetEphemerals
            | OpCode::WhoAmI
            | OpCode::MultiRead
            | OpCode::Ping
    )
}

fn auth_body(scheme: &str, credentials: &[u8]) -> Vec<u8> {
    encoded(&AuthRequest { kind: 0, scheme: scheme.into(), auth: Buffer::new(credentials) })
}

impl LocalSession {
    fn lock(&self) -> MutexGuard<'_, LocalOut> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn submit(&self, op: OpCode, body: &[u8], done: Completion) -> Result<(), Refused> {
        {
            let mut out = self.lock();
            out.refusal()?;
            self.size_limit.admit(body.len())?;
            if is_order(op) {
                self.orders.fetch_add(1, Ordering::SeqCst);
            }
            if op == OpCode::CloseSession {
                out.asked_to_close = true;
            }
            if out.state.is_connected() {
                out.push(op, body, done);
            } else {
                out.unsent.push_back((op, body.to_vec(), done));
                return Ok(());
            }
        }
        self.poke();
        Ok(())
    }

    fn tell(&self, state: State) {
        if let Some(listener) = self.listener.upgrade() {
            listener.state(state);
        }
    }

    fn flush(&self) {
        if let Some(listener) = self.listener.upgrade() {
            listener.flush();
        }
    }

    /// The answer to the handshake.
    fn welcome(&self, frame: &[u8]) {
        let listener = self.listener.upgrade();
        {
            let mut out = self.lock();
            if out.state.is_final() {
                // Detached just now; what came is an answer to nobody.
                return;
            }
            let response = decode::<ConnectResponse<'_>>(frame).ok();
            let Some(response) = response.filter(|response| response.session_id != 0 && response.timeout > 0) else {
                // The loop closes the connection next, and says why.
                return;
            };
            let is_resumed = out.session != SessionId::NONE;
            out.session = SessionId(response.session_id);
            out.timeout_ms = response.timeout;
            if let Some(Ok(password)) = response.password.0.map(<[u8; 16]>::try_from) {
                out.password = password;
            }
            out.state = State::Connected;
            let last_zxid = self.last_zxid.load(Ordering::SeqCst);
            let added = out.introduce(last_zxid, listener.as_ref(), is_resumed, self.size_limit);
            self.orders.fetch_add(added, Ordering::SeqCst);
        }
        self.connected.store(true, Ordering::SeqCst);
        self.tell(State::Connected);
        self.poke();
    }

    fn answered(&self, op: OpCode) {
        if is_order(op) {
            self.orders.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn fail(&self, waiting: VecDeque<SentRequest>, reply: &Reply) {
        for one in waiting {
            self.answered(one.op);
            one.done.complete(reply.clone());
        }
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

    fn take(&self, spare: Vec<u8>) -> Vec<u8> {
        // First: what is appended from now on pokes again.
        self.poked.store(false, Ordering::SeqCst);
        std::mem::replace(&mut self.lock().bytes, spare)
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
        let mut dispatch = self.dispatch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = 0;
        if !self.connected.load(Ordering::SeqCst) {
            let Some((frame, next)) = frame_at(bytes, 0) else { return };
            self.welcome(&bytes[frame]);
            at = next;
        }
        {
            // One lock for all of them, and none while they are told.
            let mut out = self.lock();
            if out.state.is_final() {
                // Detached: nobody waits for these any more.
                return;
            }
            let mut last_zxid = 0;
            while let Some((frame, next)) = frame_at(bytes, at) {
                at = next;
                let Ok((mut header, _)) = pending::split_frame(&bytes[frame.clone()]) else { continue };
                if header.err == code::QUOTA_EXCEEDED && self.hub.has_no_space() {
                    header.err = code::DISK_FULL;
                }
                let body = frame.start + REPLY_HEADER_SIZE..frame.end;
                let waiting = match header.xid {
                    pending::XID_EVENT => None,
                    xid => Some(out.pending.pop(xid).expect("the engine answers in order")),
                };
                last_zxid = last_zxid.max(header.zxid);
                dispatch.push((waiting, header, body));
            }
            self.last_zxid.fetch_max(last_zxid, Ordering::SeqCst);
        }
        let listener = self.listener.upgrade();
        // One copy of them all, made here; each record is copied out of it by whoever wants it. Not worth it for large
        // ones, nor for one alone.
        let is_worth_it = dispatch.len() > 1 && bytes.len() / dispatch.len() <= SHARED_FRAME_SIZE_MAX;
        let burst: Option<Arc<[u8]>> = is_worth_it.then(|| bytes.into());
        for (waiting, header, body) in dispatch.drain(..) {
            match waiting {
                Some(SentRequest { op, done, .. }) => {
                    self.answered(op);
                    match &burst {
                        Some(burst) => done.complete_from(Arriving::new(&header, burst, body)),
                        None => done.complete(pending::reply_of(&header, &bytes[body])),
                    }
                }
                None => {
                    if let Some(listener) = &listener {
                        let told = pending::tell_event(&header, &bytes[body], &**listener);
                        told.expect("the engine's events are events");
                    }
                }
            }
        }
        drop(dispatch);
        self.flush();
    }

    fn gone(&self, reason: &CloseReason) {
        let dispatch = self.dispatch.lock().unwrap_or_else(PoisonError::into_inner);
        self.connected.store(false, Ordering::SeqCst);
        self.conn.store(NO_CONN, Ordering::SeqCst);
        let mut out = self.lock();
        if out.state.is_final() {
            return;
        }
        let (code, state) = match reason {
            CloseReason::Asked => (code::CLOSED, State::Ended),
            CloseReason::Stopping => (code::CLOSED, State::Ended),
            CloseReason::SessionEnded | CloseReason::Refused => (code::SESSION_EXPIRED, State::Expired),
            CloseReason::Moved => (code::SESSION_MOVED, State::Ended),
            CloseReason::Unauthenticated => (code::AUTH_FAILED, State::AuthFailed),
            // Refused before there was a session: trying again at once would be refused again.
            CloseReason::Violation(_) if out.state != State::Connected => (code::CONNECTION_LOSS, State::Ended),
            CloseReason::Violation(_) | CloseReason::Cut | CloseReason::NotServing => {
                (code::CONNECTION_LOSS, State::Suspended)
            }
        };
        out.state = state;
        let (lost, unsent) = if state.is_final() {
            out.take_all()
        } else {
            let lost = out.pending.take();
            out.handshake(self.last_zxid.load(Ordering::SeqCst));
            (lost, VecDeque::new())
        };
        let closing = if state.is_final() { std::mem::take(&mut out.closing) } else { Vec::new() };
        drop(out);
        self.fail(lost, &Reply::failed(code));
        self.fail(unsent, &Reply::unsent(code));
        self.tell(state);
        for done in closing {
            done.complete(Reply::failed(code::OK));
        }
        drop(dispatch);
        self.flush();
        if state == State::Suspended {
            self.poked.store(false, Ordering::SeqCst);
            self.poke();
        }
    }
}

const REPLY_HEADER_SIZE: usize = 16;

/// Where a frame's payload lies, and where the next frame begins.
fn frame_at(bytes: &[u8], at: usize) -> Option<(std::ops::Range<usize>, usize)> {
    let head = bytes.get(at..)?.first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*head)).expect("usize holds 32 bits");
    let end = at + 4 + length;
    (end <= bytes.len()).then_some((at + 4..end, end))
}

impl Transport for Local {
    fn submit(&self, op: OpCode, body: &[u8], done: Completion) -> Result<(), Refused> {
        self.link.submit(op, body, done)
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
        // Whatever it has been poked for before: the loop has passed it over.
        self.link.poked.store(false, Ordering::SeqCst);
        self.link.poke();
    }

    fn add_auth(&self, scheme: &str, credentials: &[u8], done: Completion) -> Result<(), Refused> {
        let link = &*self.link;
        let body = auth_body(scheme, credentials);
        {
            let mut out = link.lock();
            out.refusal()?;
            link.size_limit.admit(body.len())?;
            let is_new = out.identities.add(scheme, credentials, link.hub.limits())?;
            if !out.state.is_connected() || !is_new {
                // Said with the others on connecting, or before; nothing can overtake it.
                drop(out);
                return link.submit(OpCode::Sync, &encoded(&"/"), done);
            }
        }
        link.submit(OpCode::Auth, &body, done)
    }

    fn session(&self) -> SessionInfo {
        let out = self.link.lock();
        SessionInfo {
            id: out.session,
            password: out.password,
            timeout_ms: out.timeout_ms,
            last_zxid: Zxid(self.link.last_zxid.load(Ordering::SeqCst)),
            state: out.state,
        }
    }

    fn close(&self, done: Completion) {
        let done = {
            let mut out = self.link.lock();
            if out.state.is_final() {
                Some(done)
            } else {
                out.closing.push(done);
                None
            }
        };
        match done {
            Some(done) => {
                // The loop may be telling of the end just now.
                drop(self.link.dispatch.lock().unwrap_or_else(PoisonError::into_inner));
                done.complete(Reply::failed(code::OK));
            }
            // The connection's end, which follows the reply, completes it. Refused where it was asked for already.
            None => drop(self.link.submit(OpCode::CloseSession, &[], Box::new(|_: Reply| {}))),
        }
    }

    fn detach(&self) {
        let link = &*self.link;
        let ((lost, unsent), closing) = {
            let mut out = link.lock();
            if out.state.is_final() {
                drop(out);
                drop(link.dispatch.lock().unwrap_or_else(PoisonError::into_inner));
                return;
            }
            out.state = State::Ended;
            (out.take_all(), std::mem::take(&mut out.closing))
        };
        link.connected.store(false, Ordering::SeqCst);
        // Never taken back: no read finds its own way any more.
        link.orders.fetch_add(1, Ordering::SeqCst);
        link.hung_up.store(true, Ordering::SeqCst);
        drop(link.dispatch.lock().unwrap_or_else(PoisonError::into_inner));
        link.fail(lost, &Reply::failed(code::CLOSED));
        link.fail(unsent, &Reply::unsent(code::CLOSED));
        for done in closing {
            done.complete(Reply::failed(code::OK));
        }
        link.poked.store(false, Ordering::SeqCst);
        link.poke();
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Once it is over there is nothing to wait for, and it may be the loop that lets go last.
        if !self.link.lock().state.is_final() {
            self.detach();
        }
    }
}
