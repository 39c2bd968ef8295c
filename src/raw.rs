//! A small blocking client: for the command line, tests and benches, and for programs that need no more.
//!
//! One thread, one connection, one call at a time; watch events that arrive meanwhile are kept for
//! [`RawClient::take_events`]. It neither reconnects nor pings behind the caller's back: whoever lets a connection rest
//! calls [`RawClient::ping`] or waits in [`RawClient::next_event`]. [`RawWire`] is the layer below, frames without meaning.
//!
//! The client for services is [`crate::client::handle::Handle::connect`]: it reconnects, resumes, pings, watches and calls back.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::ids::SessionId;
use crate::jute::{self, Buffer, Decoder, JuteError};
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::replies::{ReplyHeader, WatcherEvent};
use crate::records::requests::RequestHeader;
use crate::records::{ErrorCode, EventType, OpCode};

mod calls;
mod wire;

pub use calls::OpResult;
pub use wire::{RawWire, four_letter};

/// Xid of watch events.
const XID_EVENT: i32 = -1;
/// Xid of pings.
const XID_PING: i32 = -2;
/// Xid of authentication packets.
const XID_AUTH: i32 = -4;

/// Why a call did not succeed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The server understood and declined.
    Refused(ErrorCode),
    /// The connection is gone, or nothing came in time. What became of a write is unknown.
    Io(io::Error),
    /// The server sent something no server sends.
    Protocol(String),
    /// The session to resume has ended, or its password is another one.
    Expired,
}

impl ClientError {
    /// The code the server declined with, if that is what happened.
    pub fn refusal(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Refused(code) => Some(*code),
            _ => None,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Refused(code) => write!(f, "refused: {code} ({})", code.to_i32()),
            ClientError::Io(error) => write!(f, "connection lost: {error}"),
            ClientError::Protocol(what) => write!(f, "protocol violated: {what}"),
            ClientError::Expired => f.write_str("session expired"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClientError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        ClientError::Io(error)
    }
}

impl From<JuteError> for ClientError {
    fn from(error: JuteError) -> Self {
        ClientError::Protocol(error.to_string())
    }
}

/// What to ask for when connecting.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Session timeout to ask for, ms. The server clamps it, see [`RawClient::timeout_ms`].
    pub timeout_ms: i32,
    /// The session to resume, with its password. `None` begins a new one.
    pub resume: Option<(SessionId, [u8; 16])>,
    /// The highest zxid seen so far; a server that is behind it closes the connection.
    pub last_zxid_seen: i64,
    /// The read-only flag; `None` leaves it out, as clients before 3.4 do.
    pub read_only: Option<bool>,
    /// How long to wait for a connection, and for any reply.
    pub wait: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            timeout_ms: 30_000,
            resume: None,
            last_zxid_seen: 0,
            read_only: Some(false),
            wait: Duration::from_secs(10),
        }
    }
}

/// A change of a watched znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEvent {
    /// What happened.
    pub kind: EventType,
    /// To which znode. Under a recursive watch that is the changed one, not the watched one.
    pub path: String,
    /// The transaction that did it; −1 for what `setWatches` catches up on.
    pub zxid: i64,
}

/// A connection with a session. Dropping it leaves the session to expire; [`RawClient::close`] ends it.
#[derive(Debug)]
pub struct RawClient {
    wire: RawWire,
    session: SessionId,
    password: [u8; 16],
    timeout_ms: i32,
    next_xid: i32,
    last_zxid: i64,
    events: VecDeque<RawEvent>,
    scratch: Vec<u8>,
}

impl RawClient {
    /// Connects to `address` (`host:port`) with a new session.
    ///
    /// # Errors
    /// As [`RawClient::connect_with`].
    pub fn connect(address: &str) -> Result<RawClient, ClientError> {
        RawClient::connect_with(address, &ConnectOptions::default())
    }

    /// Connects to `address` (`host:port`).
    ///
    /// # Errors
    /// [`ClientError::Expired`] when the session to resume is refused, [`ClientError::Io`] when there is no server, or
    /// one that is behind `last_zxid_seen`.
    pub fn connect_with(address: &str, options: &ConnectOptions) -> Result<RawClient, ClientError> {
        let mut wire = RawWire::connect(address, options.wait)?;
        let (session, password) = options.resume.unwrap_or((SessionId::NONE, [0; 16]));
        let mut request = jute::encoded(&ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: options.last_zxid_seen,
            timeout: options.timeout_ms,
            session_id: session.0,
            password: Buffer::new(&password),
        });
        request.extend(options.read_only.map(u8::from));
        wire.send_frame(&request)?;
        let reply = wire.receive_frame()?;
        let response: ConnectResponse<'_> = jute::decode(&reply)?;
        // Clients differ in which of the two they look at; a server has to clear both.
        if response.timeout <= 0 || response.session_id == 0 {
            return Err(ClientError::Expired);
        }
        let password = response.password.0.and_then(|bytes| bytes.try_into().ok());
        let password = password.ok_or_else(|| ClientError::Protocol("a password is 16 bytes".into()))?;
        Ok(RawClient {
            wire,
            session: SessionId(response.session_id),
            password,
            timeout_ms: response.timeout,
            next_xid: 1,
            last_zxid: options.last_zxid_seen,
            events: VecDeque::new(),
            scratch: Vec::new(),
        })
    }

    /// The session's id.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The session's password: with the id, all it takes to resume it.
    pub fn password(&self) -> [u8; 16] {
        self.password
    }

    /// The granted session timeout, ms.
    pub fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    /// The highest zxid any reply carried, for [`ConnectOptions::last_zxid_seen`].
    pub fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    /// The frames below. A reply taken from there is one a later call will miss.
    pub fn wire(&mut self) -> &mut RawWire {
        &mut self.wire
    }

    /// Sends a request without waiting for its reply, and tells its xid. Replies come in the order of the requests.
    ///
    /// # Errors
    /// [`ClientError::Io`] when the connection is gone.
    pub fn send(&mut self, op: i32, body: &[u8]) -> Result<i32, ClientError> {
        let xid = match OpCode::from_i32(op) {
            Some(OpCode::Ping) => XID_PING,
            Some(OpCode::Auth) => XID_AUTH,
            _ => {
                let xid = self.next_xid;
                self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
                xid
            }
        };
        self.scratch.clear();
        jute::encode(&RequestHeader { xid, op }, &mut self.scratch);
        self.scratch.extend_from_slice(body);
        self.wire.send_frame(&self.scratch)?;
        Ok(xid)
    }

    /// Waits for the next reply, whatever its error code. Events on the way are kept.
    ///
    /// # Errors
    /// [`ClientError::Io`] when none comes in time.
    pub fn receive(&mut self) -> Result<(ReplyHeader, Vec<u8>), ClientError> {
        loop {
            let frame = self.wire.receive_frame()?;
            if let Some(reply) = self.sort(&frame)? {
                return Ok(reply);
            }
        }
    }

    /// Watch events that came so far, oldest first.
    pub fn take_events(&mut self) -> Vec<RawEvent> {
        self.events.drain(..).collect()
    }

    /// Waits up to `wait` for a watch event, with pings in between so that the session lives.
    ///
    /// # Errors
    /// [`ClientError::Io`] when the connection is gone.
    pub fn next_event(&mut self, wait: Duration) -> Result<Option<RawEvent>, ClientError> {
        let deadline = Instant::now() + wait;
        let ping_every = Duration::from_millis(u64::from(self.timeout_ms.unsigned_abs()) / 3);
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            match self.wire.poll_frame(left.min(ping_every))? {
                Some(frame) if self.sort(&frame)?.is_some() => {
                    return Err(ClientError::Protocol("a reply that nobody waits for".into()));
                }
                None if left > ping_every => self.ping()?,
                _ => {}
            }
        }
    }

    /// Sends a request and waits for its reply's body.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the server's code, [`ClientError::Protocol`] when another request is answered.
    pub fn call(&mut self, op: i32, body: &[u8]) -> Result<Vec<u8>, ClientError> {
        let xid = self.send(op, body)?;
        let (header, body) = self.receive()?;
        if header.xid != xid {
            return Err(ClientError::Protocol(format!("reply to {} while waiting for {xid}", header.xid)));
        }
        match header.err {
            0 => Ok(body),
            err => Err(refused(err)),
        }
    }

    fn sort(&mut self, frame: &[u8]) -> Result<Option<(ReplyHeader, Vec<u8>)>, ClientError> {
        let mut decoder = Decoder::new(frame);
        let header: ReplyHeader = decoder.read()?;
        self.last_zxid = self.last_zxid.max(header.zxid);
        if header.xid != XID_EVENT {
            return Ok(Some((header, decoder.rest().to_vec())));
        }
        let event: WatcherEvent<'_> = decoder.read()?;
        let kind = EventType::from_i32(event.kind);
        let kind = kind.ok_or_else(|| ClientError::Protocol(format!("no event has type {}", event.kind)))?;
        self.events.push_back(RawEvent { kind, path: event.path.as_str().to_owned(), zxid: header.zxid });
        Ok(None)
    }
}

fn refused(err: i32) -> ClientError {
    match ErrorCode::from_i32(err) {
        Some(code) => ClientError::Refused(code),
        None => ClientError::Protocol(format!("no error has code {err}")),
    }
}

#[cfg(test)]
mod tests;
