"""Every number, struct and function of ``zoarium.h``, declared once; no logic.

A test holds this table against the header and the recorded layouts. Functions come in two kinds: those declared by
``waits`` may wait for a server, so the interpreter's lock is let go around them; those declared by ``quick`` never wait
for anything that could itself need that lock, and keep it, which costs less than handing it on.
"""

from __future__ import annotations

import os
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    PyDLL,
    Structure,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, Callable

# ---- numbers ---------------------------------------------------------------------------------------------------------

ZOA_ABI = 1
ZOA_CONNECTING = 0
ZOA_CONNECTED = 1
ZOA_CONNECTED_READ_ONLY = 2
ZOA_SUSPENDED = 3
ZOA_EXPIRED = 4
ZOA_AUTH_REFUSED = 5
ZOA_ENDED = 6
ZOA_ALLOW_READ_ONLY = 1
ZOA_EVENT_CREATED = 1
ZOA_EVENT_DELETED = 2
ZOA_EVENT_DATA = 3
ZOA_EVENT_CHILDREN = 4
ZOA_WATCH_ONCE_DATA = 0
ZOA_WATCH_ONCE_CHILDREN = 1
ZOA_WATCH_PERSISTENT = 2
ZOA_WATCH_RECURSIVE = 3
ZOA_OUTCOME_DONE = 0
ZOA_OUTCOME_NOT_DONE = 1
ZOA_OUTCOME_UNKNOWN = 2
ZOA_LOG_OFF = 0
ZOA_LOG_ERROR = 1
ZOA_LOG_WARN = 2
ZOA_LOG_INFO = 3
ZOA_LOG_DEBUG = 4
ZOA_LOG_TRACE = 5
ZOA_OP_CREATE = 1
ZOA_OP_DELETE = 2
ZOA_OP_EXISTS = 3
ZOA_OP_GET = 4
ZOA_OP_SET = 5
ZOA_OP_ACL = 6
ZOA_OP_SET_ACL = 7
ZOA_OP_SYNC = 9
ZOA_OP_CHILDREN = 12
ZOA_OP_CHECK = 13
ZOA_OP_RECONFIG = 16
ZOA_OP_CONFIG = 2004
ZOA_OP_CHECK_WATCHES = 17
ZOA_OP_EPHEMERALS = 103
ZOA_OP_COUNT = 104
ZOA_OP_WHO_AM_I = 107
ZOA_PERSISTENT = 0
ZOA_EPHEMERAL = 1
ZOA_PERSISTENT_SEQUENTIAL = 2
ZOA_EPHEMERAL_SEQUENTIAL = 3
ZOA_CONTAINER = 4
ZOA_TTL = 5
ZOA_TTL_SEQUENTIAL = 6
ZOA_PERM_READ = 1
ZOA_PERM_WRITE = 2
ZOA_PERM_CREATE = 4
ZOA_PERM_DELETE = 8
ZOA_PERM_ADMIN = 16
ZOA_PERM_ALL = 31
ZOA_ROLE_LOOKING = 0
ZOA_ROLE_FOLLOWING = 1
ZOA_ROLE_OBSERVING = 2
ZOA_ROLE_LEADING = 3
ZOA_ROLE_STANDALONE = 4
ZOA_ROLE_READ_ONLY = 5
ZOA_ROLE_STOPPED = 6
ZOA_ROLE_FAILED = 7
ZOA_OK = 0
ZOA_SYSTEM_ERROR = -1
ZOA_RUNTIME_INCONSISTENCY = -2
ZOA_CONNECTION_LOSS = -4
ZOA_MARSHALLING_ERROR = -5
ZOA_UNIMPLEMENTED = -6
ZOA_OPERATION_TIMEOUT = -7
ZOA_BAD_ARGUMENTS = -8
ZOA_UNKNOWN_SESSION = -12
ZOA_NEW_CONFIG_NO_QUORUM = -13
ZOA_RECONFIG_IN_PROGRESS = -14
ZOA_NO_NODE = -101
ZOA_NO_AUTH = -102
ZOA_BAD_VERSION = -103
ZOA_NO_CHILDREN_FOR_EPHEMERALS = -108
ZOA_NODE_EXISTS = -110
ZOA_NOT_EMPTY = -111
ZOA_SESSION_EXPIRED = -112
ZOA_INVALID_ACL = -114
ZOA_AUTH_FAILED = -115
ZOA_SESSION_MOVED = -118
ZOA_NOT_READ_ONLY = -119
ZOA_EPHEMERAL_ON_LOCAL_SESSION = -120
ZOA_NO_WATCHER = -121
ZOA_RECONFIG_DISABLED = -123
ZOA_SESSION_CLOSED_REQUIRE_SASL_AUTH = -124
ZOA_QUOTA_EXCEEDED = -125
ZOA_THROTTLED_OP = -127
ZOA_NULL_ARGUMENT = -1001
ZOA_PANIC = -1002
ZOA_FORKED = -1003
ZOA_TIMEOUT = -1004
ZOA_CLOSED = -1005
ZOA_IN_USE = -1006
ZOA_PORT_TAKEN = -1007
ZOA_DISK_FULL = -1008
ZOA_CORRUPT = -1009
ZOA_UNKNOWN_KEY = -1010
ZOA_TOO_OLD = -1011
ZOA_BAD_HANDLE = -1012
ZOA_BAD_UTF8 = -1013
ZOA_WOULD_DEADLOCK = -1014
ZOA_SYSTEM = -1015

# ---- callbacks -------------------------------------------------------------------------------------------------------

StateFn = CFUNCTYPE(None, c_void_p, c_int32, c_void_p)
WatchFn = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p)
DoneFn = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p)
RoleFn = CFUNCTYPE(None, c_int32, c_int64, c_void_p)
LogFn = CFUNCTYPE(None, c_int32, c_char_p, c_char_p, c_void_p)

# ---- structs ---------------------------------------------------------------------------------------------------------


class ClientOptions(Structure):
    """``zoa_client_options``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("flags", c_uint32),
        ("session_timeout_ms", c_int32),
        ("chroot", c_char_p),
        ("queue", c_void_p),
        ("on_state", StateFn),
        ("user_data", c_void_p),
        ("resume_id", c_int64),
        ("resume_password", c_uint8 * 16),
        ("request_size_max", c_uint32),
        ("reserved", c_uint32),
    ]


class Session(Structure):
    """``zoa_session``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("state", c_int32),
        ("timeout_ms", c_int32),
        ("reserved", c_uint32),
        ("id", c_int64),
        ("password", c_uint8 * 16),
        ("server_id", c_uint64),
        ("last_zxid", c_int64),
    ]


class Event(Structure):
    """``zoa_event``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("kind", c_int32),
        ("state", c_int32),
        ("reserved", c_uint32),
        ("path", c_char_p),
        ("zxid", c_int64),
    ]


class Stat(Structure):
    """``zoa_stat``."""

    _fields_ = [
        ("czxid", c_int64),
        ("mzxid", c_int64),
        ("ctime_ms", c_int64),
        ("mtime_ms", c_int64),
        ("version", c_int32),
        ("cversion", c_int32),
        ("aversion", c_int32),
        ("ephemeral_owner", c_int64),
        ("data_length", c_int32),
        ("num_children", c_int32),
        ("pzxid", c_int64),
    ]


class Acl(Structure):
    """``zoa_acl``."""

    _fields_ = [("perms", c_uint32), ("scheme", c_char_p), ("id", c_char_p)]


class Op(Structure):
    """``zoa_op``. ``data`` takes ``bytes`` as they are, zeros included: ``len`` says how many count."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("kind", c_int32),
        ("path", c_char_p),
        ("data", c_char_p),
        ("len", c_size_t),
        ("version", c_int32),
        ("mode", c_int32),
        ("ttl_ms", c_int64),
        ("acl", POINTER(Acl)),
        ("acl_count", c_size_t),
        ("watch", WatchFn),
        ("watch_data", c_void_p),
        ("config_version", c_int64),
    ]


class Status(Structure):
    """``zoa_status``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("role", c_int32),
        ("server_id", c_uint64),
        ("epoch", c_int64),
        ("last_zxid", c_int64),
        ("leader_id", c_uint64),
        ("client_port", c_uint32),
        ("sessions", c_uint32),
        ("znodes", c_uint64),
        ("watches", c_uint64),
        ("data_bytes", c_uint64),
        ("file_bytes", c_uint64),
        ("learners_in_sync", c_uint32),
        ("quorum_size", c_uint32),
        ("outstanding", c_uint64),
    ]


STRUCTS: dict[str, type[Structure]] = {
    "zoa_client_options": ClientOptions,
    "zoa_session": Session,
    "zoa_event": Event,
    "zoa_stat": Stat,
    "zoa_acl": Acl,
    "zoa_op": Op,
    "zoa_status": Status,
}

# ---- the library -----------------------------------------------------------------------------------------------------

_PACKAGED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_lib", "libzoarium.so")


def _library_path() -> str:
    """``ZOARIUM_LIBRARY``, else the file in this package, else whatever the system's loader finds."""
    chosen = os.environ.get("ZOARIUM_LIBRARY")
    if chosen:
        return chosen
    return _PACKAGED if os.path.exists(_PACKAGED) else "libzoarium.so"


#: The file that was loaded.
library_path = _library_path()
try:
    _waiting = CDLL(library_path)
    _quick = PyDLL(library_path)
except OSError as error:
    raise ImportError(f"zoarium's library cannot be loaded: {error}", name="zoarium", path=library_path) from None

#: What was declared: result and arguments by name.
DECLARED: dict[str, tuple[Any, tuple[Any, ...]]] = {}
#: Declared, but not in the library that was loaded.
MISSING: set[str] = set()


def _declare(library: CDLL, name: str, result: Any, arguments: tuple[Any, ...]) -> Callable[..., Any]:
    DECLARED[name] = (result, arguments)
    try:
        function = library[name]
    except AttributeError:
        MISSING.add(name)

        def missing(*_arguments: object) -> Any:
            raise NotImplementedError(f"{library_path} is an older release without {name}")

        return missing
    function.restype = result
    function.argtypes = arguments
    return function


def waits(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """Declares a function that may wait."""
    return _declare(_waiting, name, result, arguments)


def quick(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """Declares a function that never waits for what may need the interpreter's lock."""
    return _declare(_quick, name, result, arguments)


zoa_abi = quick("zoa_abi", c_uint32)
zoa_version = quick("zoa_version", c_char_p)
zoa_features = quick("zoa_features", c_char_p)
zoa_client_open = waits("zoa_client_open", c_int32, c_void_p, c_void_p, c_void_p)
zoa_client_wait = waits("zoa_client_wait", c_int32, c_void_p, c_int32)
zoa_client_session = quick("zoa_client_session", c_int32, c_void_p, c_void_p)
zoa_client_add_auth = waits("zoa_client_add_auth", c_int32, c_void_p, c_char_p, c_void_p, c_size_t)
zoa_client_watch = waits("zoa_client_watch", c_int32, c_void_p, c_char_p, c_int32, WatchFn, c_void_p, c_void_p)
zoa_client_unwatch = waits("zoa_client_unwatch", c_int32, c_void_p, c_uint64)
zoa_client_close = waits("zoa_client_close", c_int32, c_void_p, c_int32)
zoa_client_detach = waits("zoa_client_detach", c_int32, c_void_p)
zoa_client_free = waits("zoa_client_free", None, c_void_p)
zoa_code_name = quick("zoa_code_name", c_char_p, c_int32)
zoa_code_text = quick("zoa_code_text", c_char_p, c_int32)
zoa_code_outcome = quick("zoa_code_outcome", c_int32, c_int32)
zoa_config_new = quick("zoa_config_new", c_int32, c_void_p)
zoa_config_load = waits("zoa_config_load", c_int32, c_void_p, c_char_p)
zoa_config_set = quick("zoa_config_set", c_int32, c_void_p, c_char_p, c_char_p)
zoa_config_on_role = quick("zoa_config_on_role", c_int32, c_void_p, RoleFn, c_void_p)
zoa_config_free = quick("zoa_config_free", None, c_void_p)
zoa_last_error = quick("zoa_last_error", c_char_p)
zoa_last_outcome = quick("zoa_last_outcome", c_int32)
zoa_log_to = waits("zoa_log_to", c_int32, c_int32, LogFn, c_void_p)
zoa_log_to_queue = waits("zoa_log_to_queue", c_int32, c_int32, c_void_p, LogFn, c_void_p)
zoa_client_create = waits("zoa_client_create", c_int32, c_void_p, c_char_p, c_void_p, c_size_t, c_int32, c_void_p)
zoa_client_get = waits("zoa_client_get", c_int32, c_void_p, c_char_p, c_void_p)
zoa_client_set = waits("zoa_client_set", c_int32, c_void_p, c_char_p, c_void_p, c_size_t, c_int32, c_void_p)
zoa_client_delete = waits("zoa_client_delete", c_int32, c_void_p, c_char_p, c_int32)
zoa_client_exists = waits("zoa_client_exists", c_int32, c_void_p, c_char_p, c_void_p)
zoa_client_children = waits("zoa_client_children", c_int32, c_void_p, c_char_p, c_void_p)
zoa_client_sync = waits("zoa_client_sync", c_int32, c_void_p, c_char_p)
zoa_client_acl = waits("zoa_client_acl", c_int32, c_void_p, c_char_p, c_void_p)
zoa_client_set_acl = waits("zoa_client_set_acl", c_int32, c_void_p, c_char_p, c_void_p, c_size_t, c_int32)
zoa_client_call = waits("zoa_client_call", c_int32, c_void_p, c_void_p, c_int32, c_void_p)
zoa_client_submit = quick("zoa_client_submit", c_int32, c_void_p, c_void_p, DoneFn, c_void_p)
zoa_client_multi = waits("zoa_client_multi", c_int32, c_void_p, c_void_p, c_size_t, c_void_p)
zoa_client_submit_multi = quick("zoa_client_submit_multi", c_int32, c_void_p, c_void_p, c_size_t, DoneFn, c_void_p)
zoa_queue_new = quick("zoa_queue_new", c_int32, c_void_p)
zoa_queue_fd = quick("zoa_queue_fd", c_int, c_void_p)
zoa_queue_run = quick("zoa_queue_run", c_int32, c_void_p, c_size_t, c_int32, c_void_p)
zoa_queue_free = waits("zoa_queue_free", None, c_void_p)
zoa_result_code = quick("zoa_result_code", c_int32, c_void_p)
zoa_result_error = quick("zoa_result_error", c_char_p, c_void_p)
zoa_result_outcome = quick("zoa_result_outcome", c_int32, c_void_p)
zoa_result_zxid = quick("zoa_result_zxid", c_int64, c_void_p)
zoa_result_path = quick("zoa_result_path", c_char_p, c_void_p)
zoa_result_data = quick("zoa_result_data", c_void_p, c_void_p, c_void_p)
zoa_result_stat = quick("zoa_result_stat", c_void_p, c_void_p)
zoa_result_count = quick("zoa_result_count", c_size_t, c_void_p)
zoa_result_name = quick("zoa_result_name", c_char_p, c_void_p, c_size_t)
zoa_result_acl = quick("zoa_result_acl", c_void_p, c_void_p, c_size_t)
zoa_result_part = quick("zoa_result_part", c_void_p, c_void_p, c_size_t)
zoa_result_free = quick("zoa_result_free", None, c_void_p)
zoa_server_start = waits("zoa_server_start", c_int32, c_void_p, c_void_p)
zoa_server_wait = waits("zoa_server_wait", c_int32, c_void_p, c_int32)
zoa_server_status = waits("zoa_server_status", c_int32, c_void_p, c_void_p)
zoa_server_address = quick("zoa_server_address", c_char_p, c_void_p)
zoa_server_command = waits("zoa_server_command", c_int32, c_void_p, c_char_p, c_void_p)
zoa_server_ready = waits("zoa_server_ready", c_int32, c_void_p, c_int32)
zoa_text_free = quick("zoa_text_free", None, c_void_p)
zoa_server_handover = waits("zoa_server_handover", c_int32, c_void_p, c_int32)
zoa_server_stop = waits("zoa_server_stop", c_int32, c_void_p, c_int32)
zoa_server_free = waits("zoa_server_free", None, c_void_p)
zoa_server_expire = waits("zoa_server_expire", c_int32, c_void_p, c_int64)
zoa_server_disconnect = waits("zoa_server_disconnect", c_int32, c_void_p, c_int64)
zoa_server_pause = waits("zoa_server_pause", c_int32, c_void_p, c_int32)
zoa_ensemble_start = waits("zoa_ensemble_start", c_int32, c_void_p, c_uint32, c_void_p)
zoa_ensemble_hosts = quick("zoa_ensemble_hosts", c_char_p, c_void_p)
zoa_ensemble_wait = waits("zoa_ensemble_wait", c_int32, c_void_p, c_int32)
zoa_ensemble_leader = waits("zoa_ensemble_leader", c_int32, c_void_p, c_void_p)
zoa_ensemble_server = waits("zoa_ensemble_server", c_int32, c_void_p, c_uint64, c_void_p)
zoa_ensemble_kill = waits("zoa_ensemble_kill", c_int32, c_void_p, c_uint64)
zoa_ensemble_restart = waits("zoa_ensemble_restart", c_int32, c_void_p, c_uint64)
zoa_ensemble_wipe = waits("zoa_ensemble_wipe", c_int32, c_void_p, c_uint64)
zoa_ensemble_pause = waits("zoa_ensemble_pause", c_int32, c_void_p, c_uint64)
zoa_ensemble_resume = waits("zoa_ensemble_resume", c_int32, c_void_p, c_uint64)
zoa_ensemble_cut = waits("zoa_ensemble_cut", c_int32, c_void_p, c_uint64)
zoa_ensemble_heal = waits("zoa_ensemble_heal", c_int32, c_void_p, c_uint64)
zoa_ensemble_stop = waits("zoa_ensemble_stop", c_int32, c_void_p)
zoa_ensemble_free = waits("zoa_ensemble_free", None, c_void_p)
zoa_client_begin = waits("zoa_client_begin", c_int32, c_void_p, c_void_p, c_int32, c_void_p, c_void_p)
zoa_pending_wait = waits("zoa_pending_wait", c_int32, c_void_p, c_int32, c_void_p)
zoa_pending_free = quick("zoa_pending_free", None, c_void_p)
zoa_client_connect = waits("zoa_client_connect", c_int32, c_char_p, c_void_p, c_void_p)

# A library of another interface would be called in the wrong way: refuse it while there is only an import to fail.
_found = zoa_abi()
if _found != ZOA_ABI:
    raise ImportError(
        f"{library_path} has interface {_found}, this package was made for interface {ZOA_ABI}",
        name="zoarium",
        path=library_path,
    )
