"""What can go wrong, one class per code, under the names that kazoo gave them.

>>> import zoarium
>>> try:
...     raise zoarium.errors.error_of(-101, "/nobody")
... except zoarium.NoNodeError as error:
...     print(error.code, error.path, error.outcome)
-101 /nobody not done
"""

from __future__ import annotations

from . import _abi
from ._life import life


class Outcome:
    """Whether a write that failed happened all the same: the question that decides whether to try again."""

    #: It happened.
    DONE = "done"
    #: It certainly did not happen.
    NOT_DONE = "not done"
    #: It may have happened: look before trying again.
    UNKNOWN = "unknown"


_OUTCOMES = {
    _abi.ZOA_OUTCOME_DONE: Outcome.DONE,
    _abi.ZOA_OUTCOME_NOT_DONE: Outcome.NOT_DONE,
    _abi.ZOA_OUTCOME_UNKNOWN: Outcome.UNKNOWN,
}


#: What closing may answer besides success: the client is closed, and no server has said that the session is over.
LEFT_TO_EXPIRE = (_abi.ZOA_CONNECTION_LOSS, _abi.ZOA_TIMEOUT, _abi.ZOA_CLOSED)


class ZoariumError(Exception):
    """The base of everything this package raises about servers and sessions."""

    #: ZooKeeper's number, or ours (-1001 and below).
    code: int = 0
    #: The path it is about, where there is one.
    path: str | None = None
    #: What the library said of this very write; its code alone may not tell.
    _outcome: int | None = None

    @property
    def outcome(self) -> str:
        """What became of a write that ended so, one of :class:`Outcome`.

        A session that had expired before the call has sent nothing, for one: that write did not happen.
        """
        known = _abi.zoa_code_outcome(self.code) if self._outcome is None else self._outcome
        return _OUTCOMES.get(known, Outcome.UNKNOWN)

    @property
    def name(self) -> str:
        """The code's name in C, such as ``ZOA_NO_NODE``."""
        text: bytes = _abi.zoa_code_name(self.code)
        return text.decode()


_CLASSES: dict[int, type[ZoariumError]] = {}


def _known(kind: type[ZoariumError]) -> type[ZoariumError]:
    _CLASSES[kind.code] = kind
    return kind


# ---- ZooKeeper's -----------------------------------------------------------------------------------------------------


class RolledBackError(ZoariumError):
    """This part of a transaction was fine, and was undone because another one failed."""

    @property
    def outcome(self) -> str:
        """It did not happen."""
        return Outcome.NOT_DONE


@_known
class SystemZookeeperError(ZoariumError):
    """The server failed in a way it has no number for."""

    code = _abi.ZOA_SYSTEM_ERROR


@_known
class RuntimeInconsistency(ZoariumError):
    """This part of a transaction stood behind the one that failed."""

    code = _abi.ZOA_RUNTIME_INCONSISTENCY


@_known
class ConnectionLoss(ZoariumError):
    """The connection was lost before the reply came: a write may have happened."""

    code = _abi.ZOA_CONNECTION_LOSS


@_known
class MarshallingError(ZoariumError):
    """What was sent or received cannot be read."""

    code = _abi.ZOA_MARSHALLING_ERROR


@_known
class UnimplementedError(ZoariumError):
    """The server knows no such operation, or not here."""

    code = _abi.ZOA_UNIMPLEMENTED


@_known
class OperationTimeoutError(ZoariumError):
    """The operation took too long."""

    code = _abi.ZOA_OPERATION_TIMEOUT


@_known
class BadArgumentsError(ZoariumError):
    """A bad path, flag, size or number."""

    code = _abi.ZOA_BAD_ARGUMENTS


@_known
class UnknownSessionError(ZoariumError):
    """There is no such session."""

    code = _abi.ZOA_UNKNOWN_SESSION


@_known
class NewConfigNoQuorumError(ZoariumError):
    """The new configuration has no quorum."""

    code = _abi.ZOA_NEW_CONFIG_NO_QUORUM


@_known
class ReconfigInProcessError(ZoariumError):
    """Another reconfiguration is under way."""

    code = _abi.ZOA_RECONFIG_IN_PROGRESS


@_known
class NoNodeError(ZoariumError):
    """The znode does not exist."""

    code = _abi.ZOA_NO_NODE


@_known
class NoAuthError(ZoariumError):
    """The ACL refuses."""

    code = _abi.ZOA_NO_AUTH


@_known
class BadVersionError(ZoariumError):
    """The expected version is not the current one."""

    code = _abi.ZOA_BAD_VERSION


@_known
class NoChildrenForEphemeralsError(ZoariumError):
    """Ephemeral znodes have no children."""

    code = _abi.ZOA_NO_CHILDREN_FOR_EPHEMERALS


@_known
class NodeExistsError(ZoariumError):
    """The znode is there already."""

    code = _abi.ZOA_NODE_EXISTS


@_known
class NotEmptyError(ZoariumError):
    """The znode has children."""

    code = _abi.ZOA_NOT_EMPTY


@_known
class SessionExpiredError(ZoariumError):
    """The session has expired, and its ephemeral znodes are gone."""

    code = _abi.ZOA_SESSION_EXPIRED


@_known
class InvalidACLError(ZoariumError):
    """The ACL given is not valid."""

    code = _abi.ZOA_INVALID_ACL


@_known
class AuthFailedError(ZoariumError):
    """Authentication failed."""

    code = _abi.ZOA_AUTH_FAILED


@_known
class SessionMovedError(ZoariumError):
    """The session lives on another connection by now."""

    code = _abi.ZOA_SESSION_MOVED


@_known
class NotReadOnlyCallError(ZoariumError):
    """A write to a read-only server."""

    code = _abi.ZOA_NOT_READ_ONLY


@_known
class EphemeralOnLocalSessionError(ZoariumError):
    """A local session cannot own ephemeral znodes."""

    code = _abi.ZOA_EPHEMERAL_ON_LOCAL_SESSION


@_known
class NoWatcherError(ZoariumError):
    """There is no such watch."""

    code = _abi.ZOA_NO_WATCHER


@_known
class ReconfigDisabledError(ZoariumError):
    """Reconfiguration is switched off."""

    code = _abi.ZOA_RECONFIG_DISABLED


@_known
class SessionClosedRequireSaslError(ZoariumError):
    """The server requires authentication."""

    code = _abi.ZOA_SESSION_CLOSED_REQUIRE_SASL_AUTH


@_known
class QuotaExceededError(ZoariumError):
    """A hard quota would be exceeded."""

    code = _abi.ZOA_QUOTA_EXCEEDED


@_known
class ThrottledOpError(ZoariumError):
    """Refused because too much is under way; nothing was sent."""

    code = _abi.ZOA_THROTTLED_OP


# ---- ours -------------------------------------------------------------------------------------------------------------


@_known
class NullArgumentError(ZoariumError):
    """A pointer that must not be NULL was: a bug in this package."""

    code = _abi.ZOA_NULL_ARGUMENT


@_known
class PanicError(ZoariumError):
    """A bug of the library was caught. The handle is spent."""

    code = _abi.ZOA_PANIC


@_known
class ForkedError(ZoariumError):
    """The handle was made by this process's parent."""

    code = _abi.ZOA_FORKED


@_known
class TimedOutError(ZoariumError, TimeoutError):
    """The caller's limit passed first; a request under way may still be carried out."""

    code = _abi.ZOA_TIMEOUT


@_known
class ConnectionClosedError(ZoariumError):
    """The client, or the server behind it, has been closed."""

    code = _abi.ZOA_CLOSED


@_known
class InUseError(ZoariumError):
    """The data belong to a live server, in this process or another."""

    code = _abi.ZOA_IN_USE


@_known
class PortTakenError(ZoariumError):
    """The address to listen on is in use."""

    code = _abi.ZOA_PORT_TAKEN


@_known
class DiskFullError(ZoariumError):
    """The disk, or the room allowed on it, is full."""

    code = _abi.ZOA_DISK_FULL


@_known
class CorruptError(ZoariumError):
    """The data file is damaged."""

    code = _abi.ZOA_CORRUPT


@_known
class UnknownKeyError(ZoariumError):
    """There is no such configuration key."""

    code = _abi.ZOA_UNKNOWN_KEY


@_known
class TooOldError(ZoariumError):
    """A struct is older than the library can take."""

    code = _abi.ZOA_TOO_OLD


@_known
class BadHandleError(ZoariumError):
    """The handle is no live one: a bug in this package."""

    code = _abi.ZOA_BAD_HANDLE


@_known
class BadUtf8Error(ZoariumError):
    """Text that is not UTF-8."""

    code = _abi.ZOA_BAD_UTF8


@_known
class WouldDeadlockError(ZoariumError):
    """The call could only end after the callback that it was made from."""

    code = _abi.ZOA_WOULD_DEADLOCK


@_known
class SystemCallError(ZoariumError):
    """The system refused something: the message says what."""

    code = _abi.ZOA_SYSTEM


#: What to do about a server of the parent's: nothing makes it this process's.
FORKED_SERVER = (
    "this server was started before the process forked and runs in the parent: connect to it with"
    " zoarium.connect(server.address), or start a server of the child's own"
)
_FORK_REMEDY = (
    "this handle was made before the process forked, and its threads and sockets stayed with the parent: open a client"
    " in the child, or open this one with reopen_after_fork=True"
)


def error_of(
    code: int, path: str | None = None, text: str | None = None, outcome: int | None = None
) -> ZoariumError:
    """The exception for a code. `outcome` is what the library said of this very write."""
    if not text:
        said: bytes = _abi.zoa_code_text(code)
        text = f"{path}: {said.decode()}" if path else said.decode()
    if code == _abi.ZOA_FORKED and text != FORKED_SERVER:
        text = _FORK_REMEDY
    kind = _CLASSES.get(code, ZoariumError)
    error = kind(text)
    error.code = code
    error.path = path
    error._outcome = outcome
    return error


def over(path: str, why: ZoariumError | None) -> ZoariumError:
    """What whoever waits for an event of a watch that is over is told; each time anew, with a traceback of its own."""
    if why is None:
        return error_of(_abi.ZOA_CLOSED, path, f"the watch of {path} is over")
    return error_of(why.code, path, str(why))


def last_error() -> tuple[str, int]:
    """What this thread's last failed call of the library said, and what became of the write."""
    text: bytes = _abi.zoa_last_error()
    return text.decode(errors="replace"), _abi.zoa_last_outcome()


def failure(code: int, path: str | None = None) -> ZoariumError:
    """The exception for what the library has just returned on this thread."""
    life.hold()
    return error_of(code, path, *last_error())


def check(code: int, path: str | None = None) -> None:
    """Raises what a code means; 0 means success."""
    if code:
        raise failure(code, path)


__all__ = [
    "AuthFailedError",
    "BadArgumentsError",
    "BadHandleError",
    "BadUtf8Error",
    "BadVersionError",
    "ConnectionClosedError",
    "ConnectionLoss",
    "CorruptError",
    "DiskFullError",
    "EphemeralOnLocalSessionError",
    "ForkedError",
    "InUseError",
    "InvalidACLError",
    "MarshallingError",
    "NewConfigNoQuorumError",
    "NoAuthError",
    "NoChildrenForEphemeralsError",
    "NoNodeError",
    "NoWatcherError",
    "NodeExistsError",
    "NotEmptyError",
    "NotReadOnlyCallError",
    "NullArgumentError",
    "OperationTimeoutError",
    "Outcome",
    "PanicError",
    "PortTakenError",
    "QuotaExceededError",
    "ReconfigDisabledError",
    "ReconfigInProcessError",
    "RolledBackError",
    "RuntimeInconsistency",
    "SessionClosedRequireSaslError",
    "SessionExpiredError",
    "SessionMovedError",
    "SystemCallError",
    "SystemZookeeperError",
    "ThrottledOpError",
    "TimedOutError",
    "TooOldError",
    "UnimplementedError",
    "UnknownKeyError",
    "UnknownSessionError",
    "WouldDeadlockError",
    "ZoariumError",
]
