//! Numbers for what became of a request, as programs in every language see them.
//!
//! ZooKeeper's own codes pass through unchanged; ours begin at −1001. A number is never reused.

/// What became of a request: 0, one of ZooKeeper's codes, or one of ours.
pub type Code = i32;

/// Done.
pub const OK: Code = 0;
/// The connection was lost before the reply came; what became of a write is unknown.
pub const CONNECTION_LOSS: Code = -4;
/// What was sent or received cannot be read.
pub const MARSHALLING_ERROR: Code = -5;
/// A bad path, flag or number.
pub const BAD_ARGUMENTS: Code = -8;
/// No such znode.
pub const NO_NODE: Code = -101;
/// The session has expired.
pub const SESSION_EXPIRED: Code = -112;
/// Authentication failed; the session can do nothing more.
pub const AUTH_FAILED: Code = -115;
/// Another connection speaks for the session by now.
pub const SESSION_MOVED: Code = -118;
/// No such watch.
pub const NO_WATCHER: Code = -121;
/// Too much is under way already.
pub const THROTTLED_OP: Code = -127;
/// A pointer that must not be NULL was.
pub const NULL_ARGUMENT: Code = -1001;
/// A bug on our side was caught; the handle is spent.
pub const PANIC: Code = -1002;
/// The handle was made by this process's parent.
pub const FORKED: Code = -1003;
/// The caller's limit passed first; the request may still be carried out.
pub const TIMEOUT: Code = -1004;
/// The handle, or the server behind it, has been closed.
pub const CLOSED: Code = -1005;
/// The data belong to a live process.
pub const IN_USE: Code = -1006;
/// The address to listen on is in use.
pub const PORT_TAKEN: Code = -1007;
/// A quota would be exceeded; over TCP also: the disk or the file is full.
pub const QUOTA_EXCEEDED: Code = -125;
/// The disk is full, or the file at `zoarium.fileSizeMax`. Over TCP a write gets [`QUOTA_EXCEEDED`] instead.
pub const DISK_FULL: Code = -1008;
/// The data file is damaged.
pub const CORRUPT: Code = -1009;
/// No such configuration key.
pub const UNKNOWN_KEY: Code = -1010;
/// A struct smaller than that of the first release.
pub const TOO_OLD: Code = -1011;
/// Not a live handle of this kind: ended, freed, or another kind's.
pub const BAD_HANDLE: Code = -1012;
/// Text that is not UTF-8.
pub const BAD_UTF8: Code = -1013;
/// The call could only end after the callback that it was made from.
pub const WOULD_DEADLOCK: Code = -1014;
/// The system refused something: see the sentence.
pub const SYSTEM: Code = -1015;

/// Whether a write happened, as far as its code tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It happened.
    Done,
    /// It certainly did not happen.
    NotDone,
    /// It may have happened: look before trying again.
    Unknown,
}

/// Whether a write with this code happened.
pub fn outcome(code: Code) -> Outcome {
    match code {
        OK => Outcome::Done,
        // A session that ended with requests under way cannot tell which of them came through.
        CONNECTION_LOSS | MARSHALLING_ERROR | -7 | SESSION_EXPIRED | SESSION_MOVED | PANIC | TIMEOUT | CLOSED
        | SYSTEM => Outcome::Unknown,
        -3..=-1 => Outcome::Unknown,
        _ => Outcome::NotDone,
    }
}
