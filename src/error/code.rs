//! Codes as Rust programs see them: one name for each number of [`crate::code`] and of ZooKeeper.

use std::fmt;

use crate::code;

macro_rules! codes {
    ($($(#[$meta:meta])* $variant:ident = $value:expr, $text:literal;)*) => {
        /// What kind of failure an [`Error`](crate::Error) is: ZooKeeper's codes, and ours where ZooKeeper has none.
        ///
        /// The numbers are those that C and Python programs see.
        ///
        /// ```
        /// use zoarium::Code;
        ///
        /// assert_eq!(Code::NoNode.number(), -101);
        /// assert_eq!(Code::from(-101), Code::NoNode);
        /// assert_eq!(Code::NoNode.to_string(), "the znode does not exist");
        /// ```
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$meta])* $variant,)*
            /// A number that this release does not know, from a server that is newer.
            Other(i32),
        }

        impl Code {
            /// All that have a name.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// Its number.
            ///
            /// ```
            /// assert_eq!(zoarium::Code::ConnectionLoss.number(), -4);
            /// ```
            pub fn number(self) -> i32 {
                match self {
                    $(Code::$variant => $value,)*
                    Code::Other(number) => number,
                }
            }

            fn text(self) -> &'static str {
                match self {
                    $(Code::$variant => $text,)*
                    Code::Other(_) => "an error without a name",
                }
            }
        }

        impl From<i32> for Code {
            fn from(number: i32) -> Code {
                $(if number == $value {
                    return Code::$variant;
                })*
                Code::Other(number)
            }
        }
    };
}

codes! {
    /// The server failed.
    SystemError = -1, "the server failed";
    /// In a failed multi: an operation behind the one that failed.
    RuntimeInconsistency = -2, "another operation of the multi failed";
    /// The connection was lost before the reply came. A write may have happened.
    ConnectionLoss = code::CONNECTION_LOSS, "the connection was lost before the reply came";
    /// The request or the reply cannot be read.
    MarshallingError = code::MARSHALLING_ERROR, "the request or the reply cannot be read";
    /// The server has no such operation.
    Unimplemented = -6, "there is no such operation here";
    /// The operation took too long.
    OperationTimeout = -7, "the operation took too long";
    /// A path, flag, size or number is not valid.
    BadArguments = code::BAD_ARGUMENTS, "a path, flag, size or number is not valid";
    /// There is no such session.
    UnknownSession = -12, "there is no such session";
    /// The new configuration has no quorum.
    NewConfigNoQuorum = -13, "the new configuration has no quorum";
    /// Another reconfiguration is under way.
    ReconfigInProgress = -14, "another reconfiguration is under way";
    /// The znode does not exist.
    NoNode = code::NO_NODE, "the znode does not exist";
    /// The ACL does not permit it.
    NoAuth = -102, "the ACL does not permit it";
    /// The expected version is not the current one.
    BadVersion = -103, "the expected version is not the current one";
    /// Ephemeral znodes have no children.
    NoChildrenForEphemerals = -108, "ephemeral znodes have no children";
    /// The znode exists already.
    NodeExists = -110, "the znode exists already";
    /// The znode has children.
    NotEmpty = -111, "the znode has children";
    /// The session has expired: its ephemeral znodes are gone.
    SessionExpired = code::SESSION_EXPIRED, "the session has expired";
    /// The ACL given is not valid.
    InvalidAcl = -114, "the ACL is not valid";
    /// Authentication failed; the session can do nothing more.
    AuthFailed = code::AUTH_FAILED, "authentication failed";
    /// The session lives on another connection by now.
    SessionMoved = code::SESSION_MOVED, "the session lives on another connection";
    /// A write to a server that serves reads only.
    NotReadOnly = -119, "the server is read-only";
    /// A local session cannot own ephemeral znodes.
    EphemeralOnLocalSession = -120, "a local session cannot own ephemeral znodes";
    /// There is no such watch.
    NoWatcher = code::NO_WATCHER, "there is no such watch";
    /// Reconfiguration is switched off.
    ReconfigDisabled = -123, "reconfiguration is switched off";
    /// The server requires authentication.
    SessionClosedRequireSaslAuth = -124, "the server requires authentication";
    /// A quota would be exceeded; over TCP also: the server's disk or file is full.
    QuotaExceeded = code::QUOTA_EXCEEDED, "a quota would be exceeded";
    /// Too much is under way already.
    ThrottledOp = code::THROTTLED_OP, "too much is under way already";
    /// A bug in the library was caught.
    Panic = code::PANIC, "a bug in the library was caught";
    /// The client belongs to the parent of this process.
    Forked = code::FORKED, "the handle belongs to the parent process";
    /// The time limit passed first. A request that was sent may still be carried out.
    Timeout = code::TIMEOUT, "the time limit passed first";
    /// The client, or the server behind it, has been closed.
    Closed = code::CLOSED, "it has been closed";
    /// The data file is in use by another server.
    InUse = code::IN_USE, "the data are in use by another server";
    /// The address to listen on is in use.
    PortTaken = code::PORT_TAKEN, "the address is in use";
    /// The disk is full, or the file at `zoarium.fileSizeMax`.
    DiskFull = code::DISK_FULL, "there is no space left: the disk with the data (dataDir, zoarium.file) is full, or the file at zoarium.fileSizeMax";
    /// The data file is damaged.
    Corrupt = code::CORRUPT, "the data file is damaged";
    /// There is no such configuration key.
    UnknownKey = code::UNKNOWN_KEY, "there is no such configuration key";
    /// The call could only end after the callback that it was made from.
    WouldDeadlock = code::WOULD_DEADLOCK, "the call could only end after the callback it was made from";
    /// The system refused something: the sentence says what.
    System = code::SYSTEM, "the system refused";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_from_its_number() {
        for code in Code::ALL {
            assert_eq!(Code::from(code.number()), *code);
        }
        assert_eq!(Code::from(-4711), Code::Other(-4711));
    }
}
