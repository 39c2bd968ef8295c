//! What a client needs of whatever carries its requests: a socket, or memory shared with a server in this process.
//!
//! A [`Transport`] holds one session. It numbers requests, matches replies, keeps the session alive and, where
//! connections can be lost, finds the next server and resumes the session there. It knows nothing of callbacks, watches
//! and chroots: that is the handle's part, which hears from it through a [`Listener`]. All paths here are the server's.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::code::{self, Code, Outcome};
use crate::ids::{SessionId, Zxid};
use crate::records::replies::ReplyHeader;
use crate::records::{EventType, OpCode};

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 0, the server's error code, or one of ours.
    pub code: Code,
    /// The last transaction the server had applied when it answered; −1 when nothing came from a server.
    pub zxid: i64,
    /// The reply's record, empty on most errors. Belongs to `op`'s family of records.
    pub body: Vec<u8>,
    /// Why the request never reached a server, where that is certain.
    pub unsent: Option<Refused>,
}

impl Reply {
    /// A reply that no server sent.
    pub fn failed(code: Code) -> Reply {
        Reply { code, zxid: -1, body: Vec::new(), unsent: None }
    }

    /// That of a request which was not taken.
    pub fn refused(why: Refused) -> Reply {
        Reply { unsent: Some(why), ..Reply::failed(why.code()) }
    }

    /// That of a request which was taken and never sent: its session ended first, with `code`.
    pub fn unsent(code: Code) -> Reply {
        let why = match code {
            code::SESSION_EXPIRED => Refused::Expired,
            code::AUTH_FAILED => Refused::AuthFailed,
            _ => Refused::Closed,
        };
        Reply { unsent: Some(why), ..Reply::failed(code) }
    }

    /// Whether a write with this reply happened, which often says more than [`code::outcome`] can.
    pub fn outcome(&self) -> Outcome {
        let is_answer = self.zxid != -1;
        match self.code {
            _ if self.unsent.is_some() => Outcome::NotDone,
            // A server says so of a request that it could not read, or read too late.
            code::MARSHALLING_ERROR | code::SESSION_EXPIRED | code::SESSION_MOVED if is_answer => Outcome::NotDone,
            code => code::outcome(code),
        }
    }
}

/// What to do with a reply. Told exactly once, on the transport's thread: it must neither block nor call back into the
/// transport's `submit`.
pub type Completion = Box<dyn Complete>;

/// Whoever waits for a reply. Closures that take one do, where they are called.
pub trait Complete: Send {
    /// Takes the reply.
    fn complete(self: Box<Self>, reply: Reply);

    /// Takes the reply while its record still lies among the others of its burst.
    ///
    /// Whoever hands it on to another thread can let that one copy the record: memory that one thread takes and another
    /// gives back makes both wait for the allocator.
    fn complete_from(self: Box<Self>, reply: Arriving) {
        self.complete(reply.into_reply());
    }
}

impl<F: FnOnce(Reply) + Send> Complete for F {
    fn complete(self: Box<Self>, reply: Reply) {
        (*self)(reply);
    }
}

/// A reply among the frames it came with.
#[derive(Clone, Debug)]
pub struct Arriving {
    code: Code,
    zxid: i64,
    burst: Arc<[u8]>,
    record: Range<usize>,
}

impl Arriving {
    /// The reply with this header whose record lies at `record` of `burst`.
    pub fn new(header: &ReplyHeader, burst: &Arc<[u8]>, record: Range<usize>) -> Arriving {
        Arriving { code: header.err, zxid: header.zxid, burst: Arc::clone(burst), record }
    }

    /// Bytes of its record.
    pub fn size(&self) -> usize {
        self.record.len()
    }

    /// Copies it out.
    pub fn into_reply(self) -> Reply {
        let body = if self.code == code::OK { self.burst[self.record].to_vec() } else { Vec::new() };
        Reply { code: self.code, zxid: self.zxid, body, unsent: None }
    }
}

/// A change of a watched znode, as the server sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventType,
    /// To which znode.
    pub path: String,
    /// The transaction that did it; −1 for what was caught up on after a reconnect.
    pub zxid: i64,
}

/// How a session is. The numbers are those of the C header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum State {
    /// No server has answered yet.
    Connecting = 0,
    /// Requests are answered.
    Connected = 1,
    /// Reads are answered by a server without quorum.
    ConnectedReadOnly = 2,
    /// The connection is lost, the session may live: another server is being looked for.
    Suspended = 3,
    /// The session is over: its ephemerals are gone. Final.
    Expired = 4,
    /// The server refused the credentials. Final.
    AuthFailed = 5,
    /// Closed or detached here, or the server in this process has stopped. Final.
    Ended = 6,
}

impl State {
    /// Whether no other state can follow.
    pub fn is_final(self) -> bool {
        matches!(self, State::Expired | State::AuthFailed | State::Ended)
    }

    /// Whether a server answers.
    pub fn is_connected(self) -> bool {
        matches!(self, State::Connected | State::ConnectedReadOnly)
    }
}

/// A session to take over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resume {
    /// Its id.
    pub id: SessionId,
    /// Its password.
    pub password: [u8; 16],
}

/// What identifies a session, and how far it has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionInfo {
    /// [`SessionId::NONE`] until a server has answered.
    pub id: SessionId,
    /// With the id, all it takes to resume the session.
    pub password: [u8; 16],
    /// As granted, ms; 0 until a server has answered.
    pub timeout_ms: i32,
    /// The highest zxid in any reply.
    pub last_zxid: Zxid,
    /// How it is.
    pub state: State,
}

impl SessionInfo {
    /// What it takes to resume it. [`Client::detach`](crate::Client::detach) has an example.
    pub fn resume(&self) -> Resume {
        Resume { id: self.id, password: self.password }
    }
}

/// Why a request was not taken. Nothing of it was sent, and its completion will not be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The session was closed or detached, or its server has stopped.
    Closed,
    /// The session has expired.
    Expired,
    /// The server refused the credentials.
    AuthFailed,
    /// Too many bytes wait to be sent.
    Full,
    /// The request is longer than its server, or its client, is configured to take.
    TooLarge {
        /// Its bytes as they would have been sent, without the length in front; the highest number for more.
        size: u32,
        /// The most that is taken.
        limit: SizeLimit,
    },
    /// One identity more than the server takes on one connection.
    TooManyIdentities {
        /// So many.
        max: u32,
    },
    /// More bytes of credentials than the server takes on one connection.
    LargeCredentials {
        /// So many.
        max: u32,
    },
}

/// The most bytes that a request may have, and who says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SizeLimit {
    /// `jute.maxbuffer` of the server in this process.
    Server(u32),
    /// [`Options::request_size_max`](super::Options::request_size_max) of this client.
    Client(u32),
    /// What a client keeps at most for sending.
    Queue(u32),
}

impl SizeLimit {
    /// The number.
    pub fn bytes(self) -> u32 {
        match self {
            SizeLimit::Server(bytes) | SizeLimit::Client(bytes) | SizeLimit::Queue(bytes) => bytes,
        }
    }

    /// Whether a request with a record of so many bytes may be sent.
    pub(super) fn admit(self, body_size: usize) -> Result<(), Refused> {
        let size = u32::try_from(body_size.saturating_add(REQUEST_HEADER_SIZE)).unwrap_or(u32::MAX);
        if size > self.bytes() { Err(Refused::TooLarge { size, limit: self }) } else { Ok(()) }
    }

    /// The smaller one.
    pub(super) fn and(self, other: SizeLimit) -> SizeLimit {
        if other.bytes() < self.bytes() { other } else { self }
    }
}

/// Bytes of a request in front of its record.
const REQUEST_HEADER_SIZE: usize = 8;

impl Refused {
    /// The number for it.
    pub fn code(self) -> Code {
        match self {
            Refused::Closed => code::CLOSED,
            Refused::Expired => code::SESSION_EXPIRED,
            Refused::AuthFailed => code::AUTH_FAILED,
            Refused::Full => code::THROTTLED_OP,
            Refused::TooLarge { .. } | Refused::TooManyIdentities { .. } | Refused::LargeCredentials { .. } => {
                code::BAD_ARGUMENTS
            }
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Closed => f.write_str("the client is closed"),
            Refused::Expired => f.write_str("the session has expired"),
            Refused::AuthFailed => f.write_str("authentication failed"),
            Refused::Full => f.write_str("too many requests wait to be sent"),
            Refused::TooLarge { size, limit } => {
                let whose = match limit {
                    SizeLimit::Server(_) => "the server's jute.maxbuffer",
                    SizeLimit::Client(_) => "this client's request_size_max",
                    SizeLimit::Queue(_) => "what a client keeps for sending",
                };
                write!(f, "the request has {size} bytes, more than {whose} of {} allows", limit.bytes())
            }
            Refused::TooManyIdentities { max } => {
                write!(
                    f,
                    "the session has {max} identities already, as many as the server's zoarium.credentialsMax allows"
                )
            }
            Refused::LargeCredentials { max } => {
                write!(f, "the session's credentials would have more than the {max} bytes that the server keeps")
            }
        }
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for Code {
    fn from(why: Refused) -> Code {
        why.code()
    }
}

/// What a session watches, by the list of `setWatches2` each path belongs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchedPaths {
    /// One-shot, on the data of a znode that was there.
    pub data: Vec<String>,
    /// One-shot, on the creation of a znode that was not there.
    pub exist: Vec<String>,
    /// One-shot, on the children.
    pub child: Vec<String>,
    /// Persistent.
    pub persistent: Vec<String>,
    /// Persistent and recursive.
    pub recursive: Vec<String>,
}

impl WatchedPaths {
    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        [&self.data, &self.exist, &self.child, &self.persistent, &self.recursive].iter().all(|list| list.is_empty())
    }
}

/// Who hears of what a transport did not have to be asked for.
///
/// Called on the transport's thread, in the order of the wire and interleaved with completions in that same order: an
/// event is told before the reply to any later read is. Must not block, nor call back into the transport.
pub trait Listener: Send + Sync {
    /// A watched znode changed.
    fn event(&self, event: Event);

    /// The session's state changed. Called once per change; nothing follows a final state.
    ///
    /// Requests that were sent and not answered are completed (with [`code::CONNECTION_LOSS`], or with what the final
    /// state means) before the state that explains it is told. Those that were not sent wait across
    /// [`State::Suspended`].
    fn state(&self, state: State);

    /// What must be registered again: asked when the session is resumed on another connection, before any request that
    /// waits is sent.
    fn watches(&self) -> WatchedPaths;

    /// A burst of replies and events is over: the time to wake whoever runs callbacks, once for all of them.
    fn flush(&self);

    /// Whether whoever runs callbacks is so far behind that a transport should stop reading for a while. Asked again soon.
    ///
    /// Not while somebody waits for a reply: that may be the very callback that all others wait for.
    fn is_full(&self) -> bool {
        false
    }

    /// Whether callbacks are being run or wait for it: they may be about to send requests.
    fn is_busy(&self) -> bool {
        false
    }
}

/// One session with somebody who answers requests. Used from any thread.
///
/// Requests are answered in the order in which they were submitted. None is ever sent a second time: once a byte of it
/// has left, it is answered by the server or completed with [`code::CONNECTION_LOSS`].
pub trait Transport: Send + Sync {
    /// Takes a request: its operation and its record without header. Returns at once.
    ///
    /// In [`State::Connecting`] and [`State::Suspended`] the request waits for a connection. `done` is called exactly
    /// once, never by the submitting thread itself from within this call.
    ///
    /// # Errors
    /// [`Refused`] when it will not be sent; `done` is dropped without being called.
    fn submit(&self, op: OpCode, body: &[u8], done: Completion) -> Result<(), Refused>;

    /// Answers a plain read (`getData`, `exists`, `getChildren2`, `getAcl`; no watch) at once and on the caller's
    /// thread, where that is possible without breaking the order of this session's requests.
    ///
    /// `None` where it is not; then [`Transport::submit`] is the way.
    fn read_now(&self, op: OpCode, path: &str) -> Option<Reply> {
        let _ = (op, path);
        None
    }

    /// The listener is not full any more: reading may go on. Called from any thread; a transport that looks again by
    /// itself need not do anything.
    fn read_on(&self) {}

    /// Adds an identity to the session, here and on every later connection. `done` gets the server's answer; a refusal
    /// ends in [`State::AuthFailed`].
    ///
    /// # Errors
    /// As [`Transport::submit`].
    fn add_auth(&self, scheme: &str, credentials: &[u8], done: Completion) -> Result<(), Refused>;

    /// The session as it is now.
    fn session(&self) -> SessionInfo;

    /// Asks the server to end the session. Requests submitted before are answered first.
    ///
    /// `done` is called when the server has said so, or no longer can; then everything else has been completed and the
    /// state is [`State::Ended`]. Closing what is closed calls `done` with [`code::OK`]. Where no server is connected,
    /// nobody is asked and the session expires by itself.
    fn close(&self, done: Completion);

    /// Lets go of the connection at once and leaves the session alive, to be resumed by whoever has id and password.
    /// What is under way is completed with [`code::CLOSED`] before this returns, possibly on this thread; then the state is
    /// [`State::Ended`] and nothing more is told to the listener.
    fn detach(&self);
}
