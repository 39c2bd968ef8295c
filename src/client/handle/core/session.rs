//! One session: requests and bytes in, bytes and deliveries out.

use std::collections::VecDeque;
use std::ops::Range;

use super::ProtocolError;
use super::delivery::Delivery;
use super::identities::{IdentityLimits, SessionIdentities, auth_body};
use super::pending::{PendingRequests, SentRequest, XID_AUTH, XID_EVENT, XID_PING};
use super::watches::set_watches;
use crate::client::handle::transport::{Refused, Resume, SessionInfo, SizeLimit, State, WatchedPaths};
use crate::code::{self, Code};
use crate::ids::{SessionId, Zxid};
use crate::jute::{Buffer, Decoder, encode};
use crate::records::OpCode;
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::replies::ReplyHeader;

/// Bytes that may wait to be sent.
pub(crate) const QUEUED_SIZE_MAX: usize = 64 << 20;
/// A length and a request's header.
const FRAME_HEADER_SIZE: usize = 12;
const REPLY_HEADER_SIZE: usize = 16;
/// The server closes sessions without SASL.
const SASL_REQUIRED: Code = -124;

/// What a session asks for, and what its carrier knows of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Session timeout to ask for, ms.
    pub(crate) session_timeout_ms: i32,
    /// A session to take over instead of beginning one.
    pub(crate) resume: Option<Resume>,
    /// Be content with a server without quorum.
    pub(crate) allow_read_only: bool,
    /// The longest request that is sent.
    pub(crate) size_limit: SizeLimit,
    /// The longest frame that is taken from a server, in bytes without its length.
    pub(crate) frame_size_max: usize,
    /// What the server takes of identities, where that is known.
    pub(crate) identity_limits: Option<IdentityLimits>,
    /// The next connection comes at once or never, so that a close waits for it; else a close without a connection ends the
    /// session here, and the server lets it expire.
    pub(crate) closes_on_next_connection: bool,
}

/// How far the connection of the moment has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ConnectionStage {
    Absent,
    /// The handshake was not answered yet.
    Handshaking,
    Up,
}

/// What became of a wish to close.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Closing<W> {
    /// The session is over already, and this is whom to tell.
    Over(W),
    /// The server is asked with what is to be sent next.
    Asked,
    /// It was asked for before, or is going to be asked for on the next connection.
    Waits,
    /// There is no server to ask. The carrier ends the session, unless one has answered meanwhile.
    NobodyToAsk,
}

/// A client's session. See the [module](super) for its contract.
///
/// 1. Each waiter that was taken is handed out in exactly one delivery.
/// 2. `queued` holds whole frames: the newest of the open requests, in their order.
/// 3. After a delivery of a final state there is none but of those who asked for the end.
pub(crate) struct SessionCore<W> {
    terms: Terms,
    state: State,
    connection: ConnectionStage,
    id: SessionId,
    password: [u8; 16],
    timeout_ms: i32,
    last_zxid: i64,
    /// The id stands for a session with a server that has a quorum. Others forget theirs.
    is_lasting: bool,
    /// What goes before `queued`: the handshake, later what every connection has to be told first.
    first: Vec<u8>,
    queued: Vec<u8>,
    open: PendingRequests<W>,
    identities: SessionIdentities<W>,
    closers: Vec<W>,
    asked_to_close: bool,
    orders: usize,
    deliveries: Vec<Delivery<W>>,
}

impl<W> SessionCore<W> {
    /// A session that begins, or is resumed, with the first connection.
    pub(crate) fn new(terms: Terms) -> SessionCore<W> {
        let Resume { id, password } = terms.resume.unwrap_or(Resume { id: SessionId::NONE, password: [0; 16] });
        SessionCore {
            terms,
            state: State::Connecting,
            connection: ConnectionStage::Absent,
            id,
            password,
            timeout_ms: 0,
            last_zxid: 0,
            is_lasting: id != SessionId::NONE,
            first: Vec::new(),
            queued: Vec::new(),
            open: PendingRequests::default(),
            identities: SessionIdentities::default(),
            closers: Vec::new(),
            asked_to_close: false,
            orders: 0,
            deliveries: Vec::new(),
        }
    }

    /// The session as it is now.
    pub(crate) fn info(&self) -> SessionInfo {
        SessionInfo {
            id: self.id,
            password: self.password,
            timeout_ms: self.timeout_ms,
            last_zxid: Zxid(self.last_zxid),
            state: self.state,
        }
    }

    /// Session timeout, ms: as granted, and before that as asked for.
    pub(crate) fn timeout_ms(&self) -> i32 {
        if self.timeout_ms == 0 { self.terms.session_timeout_ms } else { self.timeout_ms }
    }

    /// Whether the session is over: nothing more is sent or taken.
    pub(crate) fn is_over(&self) -> bool {
        self.state.is_final()
    }

    /// Whether a server answers requests.
    pub(crate) fn is_up(&self) -> bool {
        self.connection == ConnectionStage::Up
    }

    /// Whether the session goes on without a quorum.
    pub(crate) fn is_read_only(&self) -> bool {
        self.state == State::ConnectedReadOnly
    }

    /// The highest zxid seen.
    pub(crate) fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    /// Requests that a plain read of the session must not overtake, counted since the beginning; wraps around.
    pub(crate) fn orders(&self) -> usize {
        self.orders
    }

    /// The session has seen the state of this zxid, other than by a reply.
    pub(crate) fn saw(&mut self, zxid: i64) {
        self.last_zxid = self.last_zxid.max(zxid);
    }

    /// Exchanges the deliveries that were not carried out yet for an empty list.
    pub(crate) fn take_deliveries(&mut self, into: &mut Vec<Delivery<W>>) {
        debug_assert!(into.is_empty(), "deliveries are carried out before others are taken");
        std::mem::swap(&mut self.deliveries, into);
    }

    // Requests.

    /// Takes a request. Whether there is a connection over which it goes at once.
    ///
    /// # Errors
    /// [`Refused`] when it will not be sent; the waiter is dropped then.
    pub(crate) fn submit(&mut self, op: OpCode, body: &[u8], waiter: W) -> Result<bool, Refused> {
        self.admit(body.len())?;
        self.asked_to_close |= op == OpCode::CloseSession;
        self.push(op, body, Some(waiter));
        Ok(self.is_up())
    }

    /// Takes an identity, as [`SessionCore::submit`].
    ///
    /// # Errors
    /// As [`SessionCore::submit`], and where the server is known to take no more of them.
    pub(crate) fn add_auth(&mut self, scheme: &str, credentials: &[u8], waiter: W) -> Result<bool, Refused> {
        let body = auth_body(scheme, credentials);
        self.admit(body.len())?;
        if self.identities.sent_size().saturating_add(body.len()) > QUEUED_SIZE_MAX {
            return Err(Refused::Full);
        }
        let is_new = self.identities.add(scheme, credentials, self.terms.identity_limits)?;
        if !self.is_up() {
            self.orders = self.orders.wrapping_add(1);
            self.identities.wait(scheme, credentials, waiter);
        } else if is_new || self.terms.identity_limits.is_none() {
            self.push(OpCode::Auth, &body, Some(waiter));
        } else {
            // A server at its limit would close the connection for an identity that it knows, too. This one is answered in
            // its turn just as well, with a quorum or without.
            self.push(OpCode::WhoAmI, &[], Some(waiter));
        }
        Ok(self.is_up())
    }

    /// Begins to close the session: everything submitted before is answered first.
    pub(crate) fn close(&mut self, waiter: W) -> Closing<W> {
        if self.is_over() {
            return Closing::Over(waiter);
        }
        self.closers.push(waiter);
        let is_first = !std::mem::replace(&mut self.asked_to_close, true);
        // Now, also where the request for it goes later: no read finds its own way from here on.
        self.orders = self.orders.wrapping_add(1);
        match self.connection {
            ConnectionStage::Up if is_first => {
                self.push(OpCode::CloseSession, &[], None);
                Closing::Asked
            }
            ConnectionStage::Up => Closing::Waits,
            _ if self.terms.closes_on_next_connection => Closing::Waits,
            _ if is_first => Closing::NobodyToAsk,
            _ => Closing::Waits,
        }
    }

    fn admit(&self, size: usize) -> Result<(), Refused> {
        match self.state {
            State::Expired => return Err(Refused::Expired),
            State::AuthFailed => return Err(Refused::AuthFailed),
            State::Ended => return Err(Refused::Closed),
            _ if self.asked_to_close => return Err(Refused::Closed),
            _ => self.terms.size_limit.admit(size)?,
        }
        // One alone may have any size that is sent at all.
        let is_full = !self.queued.is_empty() && self.queued.len().saturating_add(size) > QUEUED_SIZE_MAX;
        if is_full { Err(Refused::Full) } else { Ok(()) }
    }

    fn push(&mut self, op: OpCode, body: &[u8], waiter: Option<W>) {
        self.orders = self.orders.wrapping_add(usize::from(is_order(op)));
        self.open.push(op, body, waiter, &mut self.queued);
    }

    // The connection.

    /// A connection stands: the handshake is the first that goes over it.
    pub(crate) fn connected(&mut self) {
        if self.is_over() {
            return;
        }
        let (id, password) = if self.is_lasting { (self.id, self.password) } else { (SessionId::NONE, [0; 16]) };
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout: self.terms.session_timeout_ms,
            session_id: id.0,
            password: Buffer::new(&password),
        };
        self.first.clear();
        self.first.extend_from_slice(&[0; 4]);
        encode(&request, &mut self.first);
        self.first.push(u8::from(self.terms.allow_read_only));
        let length = u32::try_from(self.first.len() - 4).expect("a handshake is short");
        self.first[..4].copy_from_slice(&length.to_be_bytes());
        self.connection = ConnectionStage::Handshaking;
    }

    /// Moves what is to be sent next into `into`, which is empty: whole frames.
    pub(crate) fn take(&mut self, into: &mut Vec<u8>) {
        match self.connection {
            ConnectionStage::Absent => {}
            ConnectionStage::Up if self.first.is_empty() => std::mem::swap(&mut self.queued, into),
            ConnectionStage::Up => {
                into.append(&mut self.first);
                into.append(&mut self.queued);
                self.first = Vec::new();
            }
            ConnectionStage::Handshaking => into.append(&mut self.first),
        }
    }

    /// Takes all whole frames at the beginning of `bytes`, and returns how many bytes that were. Deliveries point into
    /// `bytes`. `watches` is asked when a connection is up, for what has to be registered again.
    ///
    /// # Errors
    /// [`ProtocolError`] when no server says such things; what came before it counts.
    pub(crate) fn received(
        &mut self,
        bytes: &[u8],
        watches: impl Fn() -> WatchedPaths,
    ) -> (usize, Result<(), ProtocolError>) {
        let mut at = 0;
        while self.connection != ConnectionStage::Absent {
            let frame = match frame_at(bytes, at, self.terms.frame_size_max) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return (at, Err(error)),
            };
            at = frame.end;
            let taken = if self.connection == ConnectionStage::Handshaking {
                self.welcome(&bytes[frame], &watches)
            } else {
                self.answer(bytes, frame)
            };
            if let Err(error) = taken {
                return (at, Err(error));
            }
        }
        (at, Ok(()))
    }

    /// The server's answer to the handshake.
    fn welcome(&mut self, frame: &[u8], watches: impl Fn() -> WatchedPaths) -> Result<(), ProtocolError> {
        let mut decoder = Decoder::new(frame);
        let response = decoder
            .read::<ConnectResponse<'_>>()
            .map_err(|error| ProtocolError(format!("a bad answer to the handshake: {error}")))?;
        // Servers before 3.4 do not say, and have no such mode.
        let is_read_only = decoder.rest().first().is_some_and(|&flag| flag != 0);
        if response.timeout <= 0 || response.session_id == 0 {
            self.end(State::Expired, code::SESSION_EXPIRED, code::OK);
            return Ok(());
        }
        let Some(Ok(password)) = response.password.0.map(<[u8; 16]>::try_from) else {
            return Err(ProtocolError("a session whose password has not 16 bytes".to_owned()));
        };
        if is_read_only && !self.terms.allow_read_only {
            return Err(ProtocolError("a server without quorum".to_owned()));
        }
        let id = SessionId(response.session_id);
        if self.is_lasting && self.id != id {
            // A server that begins a new session instead of resuming ours hides that ours is over.
            log::warn!("asked for its session, a server began another: the first one counts as expired");
            self.end(State::Expired, code::SESSION_EXPIRED, code::OK);
            return Ok(());
        }
        self.id = id;
        self.password = password;
        self.timeout_ms = response.timeout;
        self.is_lasting |= !is_read_only;
        self.connection = ConnectionStage::Up;
        self.state = if is_read_only { State::ConnectedReadOnly } else { State::Connected };
        self.introduce(&watches());
        self.deliveries.push(Delivery::State(self.state));
        Ok(())
    }

    /// Prepares what every connection has to be told before any request: identities, then watches.
    fn introduce(&mut self, watches: &WatchedPaths) {
        let mut waiting = self.open.take();
        self.first.clear();
        let (open, orders, first) = (&mut self.open, &mut self.orders, &mut self.first);
        self.identities.send_all(|body, waiter| {
            // With somebody who waits it was counted when it came.
            *orders = orders.wrapping_add(usize::from(waiter.is_none()));
            open.push(OpCode::Auth, body, waiter, first);
        });
        for (op, body) in set_watches(self.last_zxid, watches, self.terms.size_limit) {
            self.orders = self.orders.wrapping_add(1);
            self.open.push(op, &body, None, &mut self.first);
        }
        self.open.append(&mut waiting);
        // What asked for the end may have gone down with the last connection.
        if self.asked_to_close && !self.open.contains(OpCode::CloseSession) {
            self.push(OpCode::CloseSession, &[], None);
        }
    }

    /// A reply or an event.
    fn answer(&mut self, bytes: &[u8], frame: Range<usize>) -> Result<(), ProtocolError> {
        let mut decoder = Decoder::new(&bytes[frame.clone()]);
        let header: ReplyHeader =
            decoder.read().map_err(|_| ProtocolError(format!("a reply of {} bytes", frame.len())))?;
        let record = frame.start + REPLY_HEADER_SIZE..frame.end;
        let request = match header.xid {
            XID_EVENT => {
                self.deliveries.push(Delivery::Event { zxid: header.zxid, record });
                return Ok(());
            }
            XID_PING => match self.open.pop_ping() {
                Some(request) => request,
                None => return Ok(()),
            },
            xid => self.open.pop(xid)?,
        };
        // Not that of an event: others of the same transaction may still be to come, and a reconnect has to ask for them.
        if header.zxid > 0 {
            self.last_zxid = self.last_zxid.max(header.zxid);
        }
        let SentRequest { op, xid, .. } = request;
        self.deliveries.push(Delivery::Reply { request, header, record });
        match (op, header.err) {
            (OpCode::CloseSession, code::OK) => self.end(State::Ended, code::CLOSED, code::OK),
            (_, code::AUTH_FAILED) if xid == XID_AUTH => self.end(State::AuthFailed, code::AUTH_FAILED, code::OK),
            (_, SASL_REQUIRED) => self.end(State::AuthFailed, code::AUTH_FAILED, code::OK),
            (OpCode::SetWatches | OpCode::SetWatches2, code) if code != code::OK => {
                log::warn!("the server did not take watches back: {code}");
            }
            _ => {}
        }
        Ok(())
    }

    /// The connection is lost, or came to nothing. `unsent` are the frames taken of which no byte has left: their requests
    /// wait for the next connection. All others that were taken may have been carried out.
    pub(crate) fn lost(&mut self, unsent: &[u8]) {
        let was_up = self.is_up();
        self.connection = ConnectionStage::Absent;
        if !was_up {
            return;
        }
        let lost = self.keep_unsent(unsent);
        self.fail(lost, code::CONNECTION_LOSS, false);
        if self.asked_to_close && !self.terms.closes_on_next_connection {
            self.end(State::Ended, code::CLOSED, code::CONNECTION_LOSS);
        } else {
            self.state = State::Suspended;
            self.deliveries.push(Delivery::State(State::Suspended));
        }
    }

    /// Ends the session: `code` for everything under way, `closing` for those who asked for the end.
    pub(crate) fn end(&mut self, state: State, code: Code, closing: Code) {
        self.end_with(state, code, closing, true);
    }

    /// Ends it here and leaves it alive at the server. The state is told to nobody.
    pub(crate) fn detach(&mut self) {
        self.end_with(State::Ended, code::CLOSED, code::OK, false);
    }

    fn end_with(&mut self, state: State, code: Code, closing: Code, tells: bool) {
        if self.is_over() {
            return;
        }
        // Without a connection nothing that still waits was sent; with one, what the carrier has not taken.
        let lost = if self.is_up() { self.keep_unsent(&[]) } else { VecDeque::new() };
        let unsent = self.open.take();
        self.state = state;
        self.connection = ConnectionStage::Absent;
        (self.first, self.queued) = (Vec::new(), Vec::new());
        self.fail(lost, code, false);
        // After a bug was caught nothing is certain.
        let is_certain = code != code::PANIC;
        self.fail(unsent, code, is_certain);
        let unsent = self.identities.take_waiters().into_iter();
        let unsent = unsent.map(|waiter| SentRequest { xid: XID_AUTH, op: OpCode::Auth, waiter: Some(waiter) });
        self.fail(unsent.collect(), code, is_certain);
        if tells {
            self.deliveries.push(Delivery::State(state));
        }
        // A session that never was leaves nothing to expire.
        let code = if self.id == SessionId::NONE { code::OK } else { closing };
        self.deliveries.extend(self.closers.drain(..).map(|waiter| Delivery::Closed { waiter, code }));
    }

    fn fail(&mut self, requests: VecDeque<SentRequest<W>>, code: Code, is_unsent: bool) {
        self.deliveries.extend(requests.into_iter().map(|request| Delivery::Failure { request, code, is_unsent }));
    }

    /// Keeps the frames that nobody has seen, with those who wait for them, and returns all others who wait. What every
    /// connection is told first is not kept.
    fn keep_unsent(&mut self, unsent: &[u8]) -> VecDeque<SentRequest<W>> {
        let mut all = unsent.to_vec();
        all.append(&mut self.queued);
        let mut frames = frames(&all).filter(|(xid, _)| *xid > 0).peekable();
        let (mut kept, mut lost) = (VecDeque::new(), VecDeque::new());
        for request in self.open.take() {
            match frames.next_if(|(xid, _)| *xid == request.xid) {
                Some((_, frame)) => {
                    self.queued.extend_from_slice(frame);
                    kept.push_back(request);
                }
                None => lost.push_back(request),
            }
        }
        self.open.append(&mut kept);
        lost
    }

    #[cfg(test)]
    pub(super) fn set_last_xid(&mut self, xid: i32) {
        self.open.set_last_xid(xid);
    }
}

/// Whether a plain read of the same session must not overtake a request of this kind.
pub(crate) fn is_order(op: OpCode) -> bool {
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

/// Where the payload of the next whole frame lies.
fn frame_at(bytes: &[u8], at: usize, size_max: usize) -> Result<Option<Range<usize>>, ProtocolError> {
    let Some(head) = bytes[at..].first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*head);
    let fits = usize::try_from(length).ok().filter(|&length| length <= size_max);
    let length = fits.ok_or_else(|| {
        ProtocolError(format!("a frame of {length} bytes came, and {size_max} are the most taken here"))
    })?;
    let end = at + 4 + length;
    Ok((end <= bytes.len()).then_some(at + 4..end))
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
pub(crate) fn first_unsent(writing: &[u8], written: usize) -> usize {
    let mut at = 0;
    while at < written {
        let header = writing[at..].first_chunk::<FRAME_HEADER_SIZE>().expect("whole frames are taken");
        at += frame_size(header);
    }
    at
}

/// A ping's frame.
pub(crate) fn ping() -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEADER_SIZE);
    for word in [8, XID_PING, OpCode::Ping.to_i32()] {
        frame.extend_from_slice(&word.to_be_bytes());
    }
    frame
}
