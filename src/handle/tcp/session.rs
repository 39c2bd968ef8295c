//! What a session is whatever its connection does: its requests, its credentials, its state.
//!
//! Any thread puts requests in; the I/O thread takes them out, and is the only one to see answers. A request stays here
//! as a frame until the I/O thread takes it, so that what never left outlives a lost connection.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::input::TcpInput;
use crate::handle::code::{self, Code};
use crate::handle::pending::{self, PendingRequests, ProtocolError, SentRequest, XID_AUTH, XID_EVENT, XID_PING};
use crate::handle::resume::set_watches;
use crate::handle::transport::{Completion, Listener, Refused, Reply, SessionInfo, SizeLimit, State};
use crate::handle::{Options, Resume};
use crate::ids::{SessionId, Zxid};
use crate::jute::{Buffer, Decoder, encode, encoded};
use crate::records::OpCode;
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::replies::ReplyHeader;
use crate::records::requests::AuthRequest;

/// Bytes that may wait to be sent.
pub(super) const QUEUED_SIZE_MAX: usize = 64 << 20;
/// A length and a request's header.
const FRAME_HEADER_SIZE: usize = 12;
const REPLY_HEADER_SIZE: usize = 16;
/// The server closes sessions without SASL.
const SASL_REQUIRED: Code = -124;

/// A session as its user sees it.
pub(super) struct TcpSession {
    out: Mutex<TcpOut>,
    listener: Weak<dyn Listener>,
    allow_read_only: bool,
    wanted_timeout_ms: i32,
    size_limit: SizeLimit,
}

struct TcpOut {
    state: State,
    id: SessionId,
    password: [u8; 16],
    timeout_ms: i32,
    last_zxid: i64,
    /// The id stands for a session with a server that has a quorum. Others forget theirs.
    is_lasting: bool,
    /// Frames that the I/O thread did not take yet.
    queued: Vec<u8>,
    /// All requests that were not answered; the last of them belong to `queued`.
    pending: PendingRequests,
    credentials: Vec<Credential>,
    closing: Vec<Completion>,
    asked_to_close: bool,
}

/// An identity, re-sent on every reconnect.
struct Credential {
    scheme: String,
    bytes: Vec<u8>,
    /// Whom to tell of the first answer, until it was asked for.
    done: Option<Completion>,
}

impl Credential {
    fn body(&self) -> Vec<u8> {
        encoded(&AuthRequest { kind: 0, scheme: self.scheme.as_str().into(), auth: Buffer::new(&self.bytes) })
    }
}

/// What the server said to the handshake.
pub(super) enum Welcome {
    /// Requests may go; these bytes first.
    Up { timeout_ms: i32, introduction: Vec<u8> },
    /// The session is over, and everybody has been told.
    Over,
    /// No server says such things, or none that we want.
    ProtocolError(ProtocolError),
}

/// How a burst of answers ended.
pub(super) enum BurstEnd {
    /// The conversation goes on.
    Go,
    /// The session is over, and everybody has been told.
    Over,
    /// The connection cannot be used any more.
    ProtocolError(ProtocolError),
}

/// A frame to be told: who waits for it (nobody for an event), its header, and where its body lies.
type TcpArrived = (Option<SentRequest>, ReplyHeader, Range<usize>);

impl TcpSession {
    /// A session that begins, or is resumed, with the first connection.
    pub(super) fn new(options: &Options, listener: Weak<dyn Listener>) -> TcpSession {
        let Resume { id, password } = options.resume.unwrap_or(Resume { id: SessionId::NONE, password: [0; 16] });
        let kept = SizeLimit::Queue(QUEUED_SIZE_MAX as u32);
        TcpSession {
            out: Mutex::new(TcpOut {
                state: State::Connecting,
                id,
                password,
                timeout_ms: 0,
                last_zxid: 0,
                is_lasting: id != SessionId::NONE,
                queued: Vec::new(),
                pending: PendingRequests::default(),
                credentials: Vec::new(),
                closing: Vec::new(),
                asked_to_close: false,
            }),
            listener,
            allow_read_only: options.allow_read_only,
            wanted_timeout_ms: options.session_timeout_ms,
            size_limit: options.request_size_max.map_or(kept, |bytes| kept.and(SizeLimit::Client(bytes))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, TcpOut> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listener(&self) -> Option<Arc<dyn Listener>> {
        self.listener.upgrade()
    }

    /// Takes a request. Whether the I/O thread should be told; else it takes the request on connecting.
    pub(super) fn submit(&self, op: OpCode, body: &[u8], done: Completion) -> Result<bool, Refused> {
        let mut out = self.lock();
        out.refusal(body.len(), self.size_limit)?;
        out.push(op, body, done);
        Ok(out.state.is_connected())
    }

    /// Takes an identity, as [`TcpSession::submit`].
    pub(super) fn add_auth(&self, scheme: &str, bytes: &[u8], done: Completion) -> Result<bool, Refused> {
        let mut out = self.lock();
        let mut credential = Credential { scheme: scheme.to_owned(), bytes: bytes.to_vec(), done: None };
        out.refusal(credential.body().len(), self.size_limit)?;
        let is_connected = out.state.is_connected();
        if is_connected {
            out.push(OpCode::Auth, &credential.body(), done);
        } else {
            credential.done = Some(done);
        }
        out.credentials.push(credential);
        Ok(is_connected)
    }

    /// The session as it is now.
    pub(super) fn info(&self) -> SessionInfo {
        let out = self.lock();
        SessionInfo {
            id: out.id,
            password: out.password,
            timeout_ms: out.timeout_ms,
            last_zxid: Zxid(out.last_zxid),
            state: out.state,
        }
    }

    /// Session timeout, ms: as granted, and before that as wanted.
    pub(super) fn timeout_ms(&self) -> i32 {
        match self.lock().timeout_ms {
            0 => self.wanted_timeout_ms,
            granted => granted,
        }
    }

    /// Whether nothing more can come.
    pub(super) fn is_over(&self) -> bool {
        self.lock().state.is_final()
    }

    /// Whether the session goes on without a quorum.
    pub(super) fn is_read_only(&self) -> bool {
        self.lock().state == State::ConnectedReadOnly
    }

    /// Whether whoever runs callbacks cannot follow.
    pub(super) fn is_full(&self) -> bool {
        self.listener().is_some_and(|listener| listener.is_full())
    }

    /// The first frame of a connection.
    pub(super) fn hello(&self) -> Vec<u8> {
        let out = self.lock();
        let id = if out.is_lasting { out.id } else { SessionId::NONE };
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: out.last_zxid,
            timeout: self.wanted_timeout_ms,
            session_id: id.0,
            password: Buffer::new(if out.is_lasting { &out.password } else { &[0; 16] }),
        };
        let mut frame = vec![0; 4];
        encode(&request, &mut frame);
        frame.push(u8::from(self.allow_read_only));
        let length = u32::try_from(frame.len() - 4).expect("a handshake is short");
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame
    }

    /// Takes the server's answer to [`TcpSession::hello`].
    pub(super) fn welcome(&self, frame: &[u8]) -> Welcome {
        let mut decoder = Decoder::new(frame);
        let response = match decoder.read::<ConnectResponse<'_>>() {
            Ok(response) => response,
            Err(error) => {
                return Welcome::ProtocolError(ProtocolError(format!("a bad answer to the handshake: {error}")));
            }
        };
        // Servers before 3.4 do not say, and have no such mode.
        let is_read_only = decoder.rest().first().is_some_and(|&flag| flag != 0);
        if response.timeout <= 0 || response.session_id == 0 {
            self.end(State::Expired, code::SESSION_EXPIRED, code::OK);
            return Welcome::Over;
        }
        let Some(Ok(password)) = response.password.0.map(<[u8; 16]>::try_from) else {
            return Welcome::ProtocolError(ProtocolError("a session whose password has not 16 bytes".to_owned()));
        };
        if is_read_only && !self.allow_read_only {
            return Welcome::ProtocolError(ProtocolError("a server without quorum".to_owned()));
        }
        let id = SessionId(response.session_id);
        let watches = self.listener().map(|listener| listener.watches()).unwrap_or_default();
        let state = if is_read_only { State::ConnectedReadOnly } else { State::Connected };
        let mut introduction = Vec::new();
        {
            let mut out = self.lock();
            if out.state.is_final() {
                return Welcome::Over;
            }
            if out.is_lasting && out.id != id {
                // A server that begins a new session instead of resuming ours hides that ours is over.
                drop(out);
                log::warn!("asked for its session, a server began another: the first one counts as expired");
                self.end(State::Expired, code::SESSION_EXPIRED, code::OK);
                return Welcome::Over;
            }
            out.id = id;
            out.password = password;
            out.timeout_ms = response.timeout;
            out.is_lasting |= !is_read_only;
            out.state = state;
            let mut waiting = out.pending.take();
            let out = &mut *out;
            for credential in &mut out.credentials {
                let body = credential.body();
                let done = credential.done.take().unwrap_or_else(|| Box::new(|_: Reply| {}));
                out.pending.push(OpCode::Auth, &body, done, &mut introduction);
            }
            for (op, body) in set_watches(out.last_zxid, &watches, self.size_limit) {
                let done = |reply: Reply| {
                    if reply.code != code::OK && reply.code != code::CONNECTION_LOSS {
                        log::warn!("the server did not take watches back: {}", reply.code);
                    }
                };
                out.pending.push(op, &body, Box::new(done), &mut introduction);
            }
            out.pending.append(&mut waiting);
        }
        self.tell(state);
        Welcome::Up { timeout_ms: response.timeout, introduction }
    }

    /// Moves the frames that wait into `writing`, which is empty.
    pub(super) fn take(&self, writing: &mut Vec<u8>) {
        std::mem::swap(&mut self.lock().queued, writing);
    }

    /// Takes all whole frames of `input` as answers and events, and tells of them.
    pub(super) fn answers(&self, input: &mut TcpInput) -> BurstEnd {
        let mut arrived: Vec<TcpArrived> = Vec::new();
        let mut verdict = BurstEnd::Go;
        // The last of them says that the session is over: its state, and what becomes of the rest.
        let mut last = None;
        {
            // One lock for all of them, and none while they are told.
            let mut out = self.lock();
            if out.state.is_final() {
                return BurstEnd::Over;
            }
            while last.is_none() {
                match out.next_answer(input) {
                    Ok(None) => break,
                    Ok(Some(TcpAnswer::Unasked)) => {}
                    Ok(Some(TcpAnswer::Told(one))) => arrived.push(one),
                    Ok(Some(TcpAnswer::Last(one, state, code, closing))) => {
                        arrived.push(one);
                        last = Some((state, code, closing));
                    }
                    Err(nonsense) => {
                        verdict = BurstEnd::ProtocolError(nonsense);
                        break;
                    }
                }
            }
        }
        let listener = self.listener();
        for (waiting, header, body) in arrived {
            let body = input.payload(body);
            match (waiting, &listener) {
                (Some(waiting), _) => waiting.done.complete(pending::reply_of(&header, body)),
                (None, Some(listener)) => {
                    if let Err(nonsense) = pending::tell_event(&header, body, &**listener) {
                        // Those behind it were answered all the same.
                        verdict = BurstEnd::ProtocolError(nonsense);
                    }
                }
                (None, None) => {}
            }
        }
        if let Some((state, code, closing)) = last {
            self.end(state, code, closing);
            return BurstEnd::Over;
        }
        if let Some(listener) = listener {
            listener.flush();
        }
        verdict
    }

    /// The connection is lost. `unsent` are the frames taken of which no byte has left; they wait again. Whether that
    /// was the end.
    pub(super) fn lost(&self, unsent: &[u8]) -> bool {
        let (lost, is_over) = {
            let mut out = self.lock();
            if out.state.is_final() {
                return true;
            }
            let lost = out.keep_unsent(unsent);
            if !out.asked_to_close {
                out.state = State::Suspended;
            }
            (lost, out.asked_to_close)
        };
        pending::fail(lost, &Reply::failed(code::CONNECTION_LOSS));
        if is_over {
            self.end(State::Ended, code::CLOSED, code::CONNECTION_LOSS);
        } else {
            self.tell(State::Suspended);
        }
        is_over
    }

    /// Begins to close. Whether the I/O thread has to be told, or nobody is there to be asked; `None` when that was done
    /// before.
    pub(super) fn begin_close(&self, done: Completion) -> Option<bool> {
        let mut out = self.lock();
        if out.state.is_final() {
            drop(out);
            done.complete(Reply::failed(code::OK));
            return None;
        }
        out.closing.push(done);
        if std::mem::replace(&mut out.asked_to_close, true) {
            return None;
        }
        Some(out.ask_to_close())
    }

    /// The same, a second time: the connection may have changed meanwhile.
    pub(super) fn ask_to_close(&self) -> bool {
        self.lock().ask_to_close()
    }

    /// Ends it: `code` for everything under way, `closing` for those who asked for the end.
    pub(super) fn end(&self, state: State, code: Code, closing: Code) {
        self.end_with(state, code, closing, true);
    }

    /// Ends it without telling the listener.
    pub(super) fn detach(&self) {
        self.end_with(State::Ended, code::CLOSED, code::OK, false);
    }

    fn end_with(&self, state: State, code: Code, closing: Code, tells: bool) {
        let (lost, unsent, asked, closers, closing) = {
            let mut out = self.lock();
            if out.state.is_final() {
                return;
            }
            // Without a connection nothing that still waits was sent; with one, what the I/O thread has not taken.
            let lost = if out.state.is_connected() { out.keep_unsent(&[]) } else { VecDeque::new() };
            out.state = state;
            out.queued = Vec::new();
            let asked: Vec<Completion> = out.credentials.drain(..).filter_map(|credential| credential.done).collect();
            // A session that never was leaves nothing to expire.
            let closing = if out.id == SessionId::NONE { code::OK } else { closing };
            (lost, out.pending.take(), asked, std::mem::take(&mut out.closing), closing)
        };
        pending::fail(lost, &Reply::failed(code));
        // After a bug was caught nothing is certain.
        let never_sent = if code == code::PANIC { Reply::failed(code) } else { Reply::unsent(code) };
        pending::fail(unsent, &never_sent);
        for done in asked {
            done.complete(never_sent.clone());
        }
        if tells {
            self.tell(state);
        }
        for done in closers {
            done.complete(Reply::failed(closing));
        }
        if let Some(listener) = self.listener() {
            listener.flush();
        }
    }

    fn tell(&self, state: State) {
        if let Some(listener) = self.listener() {
            listener.state(state);
        }
    }
}

enum TcpAnswer {
    /// A ping's.
    Unasked,
    Told(TcpArrived),
    /// With the state it leads to, the code for what is under way, and the one for who asked for the end.
    Last(TcpArrived, State, Code, Code),
}

impl TcpOut {
    fn refusal(&self, size: usize, limit: SizeLimit) -> Result<(), Refused> {
        match self.state {
            State::Expired => Err(Refused::Expired),
            State::AuthFailed => Err(Refused::AuthFailed),
            State::Ended => Err(Refused::Closed),
            _ if self.asked_to_close => Err(Refused::Closed),
            _ => limit.admit(size).and_then(|()| {
                if self.queued.len().saturating_add(size) > QUEUED_SIZE_MAX { Err(Refused::Full) } else { Ok(()) }
            }),
        }
    }

    fn push(&mut self, op: OpCode, body: &[u8], done: Completion) {
        self.pending.push(op, body, done, &mut self.queued);
    }

    fn ask_to_close(&mut self) -> bool {
        let is_connected = self.state.is_connected();
        if is_connected {
            self.push(OpCode::CloseSession, &[], Box::new(|_: Reply| {}));
        }
        is_connected
    }

    fn next_answer(&mut self, input: &mut TcpInput) -> Result<Option<TcpAnswer>, ProtocolError> {
        let Some(frame) = input.frame()? else { return Ok(None) };
        let (header, _) = pending::split_frame(input.payload(frame.clone()))?;
        let body = frame.start + REPLY_HEADER_SIZE..frame.end;
        let waiting = match header.xid {
            XID_PING => return Ok(Some(TcpAnswer::Unasked)),
            XID_EVENT => return Ok(Some(TcpAnswer::Told((None, header, body)))),
            xid => self.pending.pop(xid)?,
        };
        if header.zxid > 0 {
            self.last_zxid = self.last_zxid.max(header.zxid);
        }
        let (op, xid) = (waiting.op, waiting.xid);
        let arrived = (Some(waiting), header, body);
        Ok(Some(match header.err {
            code::OK if op == OpCode::CloseSession => TcpAnswer::Last(arrived, State::Ended, code::CLOSED, code::OK),
            code::AUTH_FAILED if xid == XID_AUTH => {
                TcpAnswer::Last(arrived, State::AuthFailed, code::AUTH_FAILED, code::OK)
            }
            SASL_REQUIRED => TcpAnswer::Last(arrived, State::AuthFailed, code::AUTH_FAILED, code::OK),
            _ => TcpAnswer::Told(arrived),
        }))
    }

    /// Keeps the frames that nobody has seen, with those who wait for them, and returns all others who wait. What every
    /// connection says for itself is not kept.
    fn keep_unsent(&mut self, unsent: &[u8]) -> VecDeque<SentRequest> {
        let mut all = unsent.to_vec();
        all.append(&mut self.queued);
        let mut frames = frames(&all).filter(|(xid, _)| *xid > 0).peekable();
        let (mut kept, mut lost) = (VecDeque::new(), VecDeque::new());
        for waiting in self.pending.take() {
            match frames.next_if(|(xid, _)| *xid == waiting.xid) {
                Some((_, frame)) => {
                    self.queued.extend_from_slice(frame);
                    kept.push_back(waiting);
                }
                None => lost.push_back(waiting),
            }
        }
        self.pending.append(&mut kept);
        lost
    }
}

/// The frames of our own requests, with their numbers.
fn frames(bytes: &[u8]) -> impl Iterator<Item = (i32, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header = rest.first_chunk::<FRAME_HEADER_SIZE>()?;
        let (frame, behind) = rest.split_at(frame_size(header));
        rest = behind;
        Some((i32::from_be_bytes([header[4], header[5], header[6], header[7]]), frame))
    })
}

fn frame_size(header: &[u8; FRAME_HEADER_SIZE]) -> usize {
    4 + u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize
}

/// Where in `writing`, of which `written` bytes have left, the first frame begins that nobody has seen.
pub(super) fn first_unsent(writing: &[u8], written: usize) -> usize {
    let mut at = 0;
    while at < written {
        let header = writing[at..].first_chunk::<FRAME_HEADER_SIZE>().expect("whole frames are taken");
        at += frame_size(header);
    }
    at
}

/// A ping's frame.
pub(super) fn ping() -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEADER_SIZE);
    for word in [8, XID_PING, OpCode::Ping.to_i32()] {
        frame.extend_from_slice(&word.to_be_bytes());
    }
    frame
}
