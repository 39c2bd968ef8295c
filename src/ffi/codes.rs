//! Codes, their names and what they mean.

use std::ffi::{CStr, c_char};

use crate::client::handle::code::{self, Outcome};

/// What became of a call: 0, one of ZooKeeper's codes, or one of ours (−1001 and below). Numbers are never reused.
pub type zoa_code = i32;

/// Done.
pub const ZOA_OK: zoa_code = 0;
/// Never sent by a server of ours.
pub const ZOA_SYSTEM_ERROR: zoa_code = -1;
/// In a failed multi: an operation behind the failing one.
pub const ZOA_RUNTIME_INCONSISTENCY: zoa_code = -2;
/// The connection was lost before the reply came; what became of a write is unknown.
pub const ZOA_CONNECTION_LOSS: zoa_code = -4;
/// What was sent or received cannot be read.
pub const ZOA_MARSHALLING_ERROR: zoa_code = -5;
/// No such operation, or not here.
pub const ZOA_UNIMPLEMENTED: zoa_code = -6;
/// The operation took too long.
pub const ZOA_OPERATION_TIMEOUT: zoa_code = -7;
/// A bad path, flag, size or number.
pub const ZOA_BAD_ARGUMENTS: zoa_code = -8;
/// No such session.
pub const ZOA_UNKNOWN_SESSION: zoa_code = -12;
/// The new configuration has no quorum.
pub const ZOA_NEW_CONFIG_NO_QUORUM: zoa_code = -13;
/// Another reconfiguration is under way.
pub const ZOA_RECONFIG_IN_PROGRESS: zoa_code = -14;
/// The znode does not exist.
pub const ZOA_NO_NODE: zoa_code = -101;
/// The ACL refuses.
pub const ZOA_NO_AUTH: zoa_code = -102;
/// The expected version is not the current one.
pub const ZOA_BAD_VERSION: zoa_code = -103;
/// Ephemeral znodes have no children.
pub const ZOA_NO_CHILDREN_FOR_EPHEMERALS: zoa_code = -108;
/// The znode is there already.
pub const ZOA_NODE_EXISTS: zoa_code = -110;
/// The znode has children.
pub const ZOA_NOT_EMPTY: zoa_code = -111;
/// The session has expired, and its ephemeral znodes are gone.
pub const ZOA_SESSION_EXPIRED: zoa_code = -112;
/// The ACL given is not valid.
pub const ZOA_INVALID_ACL: zoa_code = -114;
/// Authentication failed.
pub const ZOA_AUTH_FAILED: zoa_code = -115;
/// The session lives on another connection by now.
pub const ZOA_SESSION_MOVED: zoa_code = -118;
/// A write to a read-only server.
pub const ZOA_NOT_READ_ONLY: zoa_code = -119;
/// A local session cannot own ephemerals.
pub const ZOA_EPHEMERAL_ON_LOCAL_SESSION: zoa_code = -120;
/// No such watch.
pub const ZOA_NO_WATCHER: zoa_code = -121;
/// Reconfiguration is switched off.
pub const ZOA_RECONFIG_DISABLED: zoa_code = -123;
/// The server requires authentication.
pub const ZOA_SESSION_CLOSED_REQUIRE_SASL_AUTH: zoa_code = -124;
/// A hard quota would be exceeded.
pub const ZOA_QUOTA_EXCEEDED: zoa_code = -125;
/// Refused because too much is under way.
pub const ZOA_THROTTLED_OP: zoa_code = -127;
/// A pointer that must not be NULL was.
pub const ZOA_NULL_ARGUMENT: zoa_code = -1001;
/// A bug of the library was caught. The handle is spent: every later call on it answers this, until it is freed.
pub const ZOA_PANIC: zoa_code = -1002;
/// The handle was made by this process's parent.
pub const ZOA_FORKED: zoa_code = -1003;
/// The caller's limit passed first; a request under way may still be carried out.
pub const ZOA_TIMEOUT: zoa_code = -1004;
/// The handle, or the server behind it, has been closed.
pub const ZOA_CLOSED: zoa_code = -1005;
/// The data belong to a live server, in this process or another.
pub const ZOA_IN_USE: zoa_code = -1006;
/// The address to listen on is in use.
pub const ZOA_PORT_TAKEN: zoa_code = -1007;
/// The disk, or the room allowed on it, is full.
pub const ZOA_DISK_FULL: zoa_code = -1008;
/// The data file is damaged.
pub const ZOA_CORRUPT: zoa_code = -1009;
/// No such configuration key.
pub const ZOA_UNKNOWN_KEY: zoa_code = -1010;
/// A `struct_size` below that of the first release.
pub const ZOA_TOO_OLD: zoa_code = -1011;
/// Not a live handle of this kind: freed, or another kind's.
pub const ZOA_BAD_HANDLE: zoa_code = -1012;
/// Text that is not UTF-8.
pub const ZOA_BAD_UTF8: zoa_code = -1013;
/// The call could only end after the callback that it was made from.
pub const ZOA_WOULD_DEADLOCK: zoa_code = -1014;
/// The system refused something: the sentence says what.
pub const ZOA_SYSTEM: zoa_code = -1015;

/// It happened.
pub const ZOA_OUTCOME_DONE: i32 = 0;
/// It certainly did not happen.
pub const ZOA_OUTCOME_NOT_DONE: i32 = 1;
/// It may have happened: look before trying again.
pub const ZOA_OUTCOME_UNKNOWN: i32 = 2;

/// Name and meaning of every code.
#[rustfmt::skip]
const TABLE: &[(zoa_code, &CStr, &CStr)] = &[
    (ZOA_OK, c"ZOA_OK", c"done"),
    (ZOA_SYSTEM_ERROR, c"ZOA_SYSTEM_ERROR", c"the server failed"),
    (ZOA_RUNTIME_INCONSISTENCY, c"ZOA_RUNTIME_INCONSISTENCY", c"another operation of the multi failed"),
    (ZOA_CONNECTION_LOSS, c"ZOA_CONNECTION_LOSS", c"the connection was lost before the reply came"),
    (ZOA_MARSHALLING_ERROR, c"ZOA_MARSHALLING_ERROR", c"the request or the reply cannot be read"),
    (ZOA_UNIMPLEMENTED, c"ZOA_UNIMPLEMENTED", c"there is no such operation here"),
    (ZOA_OPERATION_TIMEOUT, c"ZOA_OPERATION_TIMEOUT", c"the operation took too long"),
    (ZOA_BAD_ARGUMENTS, c"ZOA_BAD_ARGUMENTS", c"a path, flag, size or number is not valid"),
    (ZOA_UNKNOWN_SESSION, c"ZOA_UNKNOWN_SESSION", c"there is no such session"),
    (ZOA_NEW_CONFIG_NO_QUORUM, c"ZOA_NEW_CONFIG_NO_QUORUM", c"the new configuration has no quorum"),
    (ZOA_RECONFIG_IN_PROGRESS, c"ZOA_RECONFIG_IN_PROGRESS", c"another reconfiguration is under way"),
    (ZOA_NO_NODE, c"ZOA_NO_NODE", c"the znode does not exist"),
    (ZOA_NO_AUTH, c"ZOA_NO_AUTH", c"the ACL does not permit it"),
    (ZOA_BAD_VERSION, c"ZOA_BAD_VERSION", c"the expected version is not the current one"),
    (ZOA_NO_CHILDREN_FOR_EPHEMERALS, c"ZOA_NO_CHILDREN_FOR_EPHEMERALS", c"ephemeral znodes have no children"),
    (ZOA_NODE_EXISTS, c"ZOA_NODE_EXISTS", c"the znode exists already"),
    (ZOA_NOT_EMPTY, c"ZOA_NOT_EMPTY", c"the znode has children"),
    (ZOA_SESSION_EXPIRED, c"ZOA_SESSION_EXPIRED", c"the session has expired"),
    (ZOA_INVALID_ACL, c"ZOA_INVALID_ACL", c"the ACL is not valid"),
    (ZOA_AUTH_FAILED, c"ZOA_AUTH_FAILED", c"authentication failed"),
    (ZOA_SESSION_MOVED, c"ZOA_SESSION_MOVED", c"the session lives on another connection"),
    (ZOA_NOT_READ_ONLY, c"ZOA_NOT_READ_ONLY", c"the server is read-only"),
    (ZOA_EPHEMERAL_ON_LOCAL_SESSION, c"ZOA_EPHEMERAL_ON_LOCAL_SESSION", c"a local session cannot own ephemeral znodes"),
    (ZOA_NO_WATCHER, c"ZOA_NO_WATCHER", c"there is no such watch"),
    (ZOA_RECONFIG_DISABLED, c"ZOA_RECONFIG_DISABLED", c"reconfiguration is switched off"),
    (ZOA_SESSION_CLOSED_REQUIRE_SASL_AUTH, c"ZOA_SESSION_CLOSED_REQUIRE_SASL_AUTH", c"the server requires authentication"),
    (ZOA_QUOTA_EXCEEDED, c"ZOA_QUOTA_EXCEEDED", c"a quota would be exceeded"),
    (ZOA_THROTTLED_OP, c"ZOA_THROTTLED_OP", c"too much is under way already"),
    (ZOA_NULL_ARGUMENT, c"ZOA_NULL_ARGUMENT", c"a pointer is NULL that must not be"),
    (ZOA_PANIC, c"ZOA_PANIC", c"a bug in the library was caught"),
    (ZOA_FORKED, c"ZOA_FORKED", c"the handle belongs to the parent process"),
    (ZOA_TIMEOUT, c"ZOA_TIMEOUT", c"the time limit passed first"),
    (ZOA_CLOSED, c"ZOA_CLOSED", c"it has been closed"),
    (ZOA_IN_USE, c"ZOA_IN_USE", c"the data are in use by another server"),
    (ZOA_PORT_TAKEN, c"ZOA_PORT_TAKEN", c"the address is in use"),
    (ZOA_DISK_FULL, c"ZOA_DISK_FULL", c"there is no space left: the disk with the data (dataDir, zoarium.file) is full, or the file at zoarium.fileSizeMax"),
    (ZOA_CORRUPT, c"ZOA_CORRUPT", c"the data file is damaged"),
    (ZOA_UNKNOWN_KEY, c"ZOA_UNKNOWN_KEY", c"there is no such configuration key"),
    (ZOA_TOO_OLD, c"ZOA_TOO_OLD", c"struct_size is smaller than in the first release"),
    (ZOA_BAD_HANDLE, c"ZOA_BAD_HANDLE", c"not a live handle of this kind"),
    (ZOA_BAD_UTF8, c"ZOA_BAD_UTF8", c"the text is not UTF-8"),
    (ZOA_WOULD_DEADLOCK, c"ZOA_WOULD_DEADLOCK", c"the call could only end after the callback it was made from"),
    (ZOA_SYSTEM, c"ZOA_SYSTEM", c"the system refused"),
];

fn row(code: zoa_code) -> Option<&'static (zoa_code, &'static CStr, &'static CStr)> {
    TABLE.iter().find(|(of, ..)| *of == code)
}

pub(super) fn text_of(code: zoa_code) -> &'static CStr {
    row(code).map_or(c"an error without a name", |(.., text)| text)
}

/// The name of a code, `"ZOA_NO_NODE"`; `"ZOA_UNKNOWN_CODE"` for a number that is none.
///
/// Static, never NULL. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn zoa_code_name(code: zoa_code) -> *const c_char {
    row(code).map_or(c"ZOA_UNKNOWN_CODE", |(_, name, _)| name).as_ptr()
}

/// What a code means in words, without the particulars of `zoa_last_error`.
///
/// Static, never NULL. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn zoa_code_text(code: zoa_code) -> *const c_char {
    text_of(code).as_ptr()
}

/// Whether a write that ended with this code happened: `ZOA_OUTCOME_DONE`, `ZOA_OUTCOME_NOT_DONE` or, after a lost
/// connection, an expired session or a time limit, `ZOA_OUTCOME_UNKNOWN`: then look before trying again. `zoa_last_outcome`
/// and `zoa_result_outcome` know more than the code alone can say.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn zoa_code_outcome(code: zoa_code) -> i32 {
    outcome_number(code::outcome(code))
}

pub(super) fn outcome_number(outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Done => ZOA_OUTCOME_DONE,
        Outcome::NotDone => ZOA_OUTCOME_NOT_DONE,
        Outcome::Unknown => ZOA_OUTCOME_UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::ErrorCode;

    #[test]
    fn every_code_a_server_sends_has_a_name_here() {
        for code in ErrorCode::ALL {
            assert!(row(code.to_i32()).is_some(), "{code}");
        }
    }

    #[test]
    fn every_code_means_the_same_in_rust() {
        for code in crate::error::Code::ALL {
            assert_eq!(text_of(code.number()).to_str(), Ok(code.to_string().as_str()), "{code:?}");
        }
    }

    #[test]
    fn no_number_has_two_names() {
        for (at, (code, ..)) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|(other, ..)| other != code), "{code}");
        }
    }

    #[test]
    fn ours_are_those_of_the_handle() {
        let pairs = [
            (ZOA_NULL_ARGUMENT, code::NULL_ARGUMENT),
            (ZOA_PANIC, code::PANIC),
            (ZOA_FORKED, code::FORKED),
            (ZOA_TIMEOUT, code::TIMEOUT),
            (ZOA_CLOSED, code::CLOSED),
            (ZOA_IN_USE, code::IN_USE),
            (ZOA_PORT_TAKEN, code::PORT_TAKEN),
            (ZOA_DISK_FULL, code::DISK_FULL),
            (ZOA_CORRUPT, code::CORRUPT),
            (ZOA_UNKNOWN_KEY, code::UNKNOWN_KEY),
            (ZOA_TOO_OLD, code::TOO_OLD),
            (ZOA_BAD_HANDLE, code::BAD_HANDLE),
            (ZOA_BAD_UTF8, code::BAD_UTF8),
            (ZOA_WOULD_DEADLOCK, code::WOULD_DEADLOCK),
            (ZOA_SYSTEM, code::SYSTEM),
        ];
        for (here, there) in pairs {
            assert_eq!(here, there);
        }
    }

    #[test]
    fn only_uncertain_codes_are_uncertain() {
        assert_eq!(zoa_code_outcome(ZOA_OK), ZOA_OUTCOME_DONE);
        assert_eq!(zoa_code_outcome(ZOA_NODE_EXISTS), ZOA_OUTCOME_NOT_DONE);
        assert_eq!(zoa_code_outcome(ZOA_THROTTLED_OP), ZOA_OUTCOME_NOT_DONE);
        for code in [ZOA_CONNECTION_LOSS, ZOA_OPERATION_TIMEOUT, ZOA_TIMEOUT, ZOA_SESSION_EXPIRED, ZOA_CLOSED] {
            assert_eq!(zoa_code_outcome(code), ZOA_OUTCOME_UNKNOWN, "{code}");
        }
    }
}
