"""Requests as the library wants them, and what it brought as Python wants it. Shared by all clients."""

from __future__ import annotations

from ctypes import POINTER, byref, c_size_t, c_void_p, cast, sizeof, string_at
from struct import Struct
from typing import Any, Awaitable, Callable, Coroutine, Generic, Iterable, Protocol, TypeVar

from . import _abi
from .errors import BadArgumentsError, RolledBackError, ZoariumError, error_of
from .types import ACL, Id, Node, WatchedEvent, ZnodeStat

T = TypeVar("T")
#: Makes a value of a result that is a success; the caller frees the result.
Convert = Callable[[int], T]
WatchCallback = Callable[[WatchedEvent], object]


class Conductor(Protocol):
    """Carries out the requests of a coroutine: by waiting in a thread, on an event loop, or by callbacks."""

    @property
    def has_chroot(self) -> bool:
        """Whether the session's paths are below a chroot."""

    def perform(self, request: Request[T]) -> Awaitable[T]:
        """Sends a request; brings its value, or raises its failure."""

    def create_chroot(self, acl: Iterable[ACL] | None) -> Awaitable[None]:
        """Creates the chroot with what is above it, which is out of the session's reach."""


#: What is to be done about a failure before it counts as one.
Recover = Callable[[Conductor, ZoariumError], Coroutine[Any, Any, T]]

_OP_SIZE = sizeof(_abi.Op)
#: Data beyond this are not kept alive until the next operation.
_KEEP_MAX = 1 << 16
_KINDS = (
    _abi.ZOA_OP_CREATE,
    _abi.ZOA_OP_DELETE,
    _abi.ZOA_OP_EXISTS,
    _abi.ZOA_OP_GET,
    _abi.ZOA_OP_SET,
    _abi.ZOA_OP_ACL,
    _abi.ZOA_OP_SYNC,
    _abi.ZOA_OP_CHILDREN,
    _abi.ZOA_OP_EPHEMERALS,
    _abi.ZOA_OP_COUNT,
    _abi.ZOA_OP_WHO_AM_I,
)


class Request(Generic[T]):
    """One operation: the library's memory of it, where the result goes, and what to make of it.

    It is used again and again, by one call at a time, as long as it has a `home`.
    """

    __slots__ = (
        "op",
        "op_ref",
        "result",
        "result_ref",
        "pending",
        "pending_ref",
        "path",
        "home",
        "convert",
        "recover",
        "watch",
        "watch_kind",
    )

    def __init__(self, kind: int, home: list[Request[Any]] | None = None) -> None:
        self.op = _abi.Op(struct_size=_OP_SIZE, kind=kind, version=-1)
        self.op_ref = byref(self.op)
        self.result = c_void_p()
        self.result_ref = byref(self.result)
        self.pending = c_void_p()
        self.pending_ref = byref(self.pending)
        self.path = ""
        self.home = home
        #: Makes a value of the result.
        self.convert: Convert[T]
        self.recover: Recover[T] | None = None
        #: Called with the one event of the watch that a read leaves.
        self.watch: WatchCallback | None = None
        #: What it waits for: ``"data"`` or ``"child"``.
        self.watch_kind = ""

    def recycle(self) -> None:
        """Gives it back for the next call of the kind."""
        if self.home is not None:
            if self.op.len > _KEEP_MAX:
                self.op.data = None
            self.home.append(self)


# Taking from and adding to a list is one step each, so threads and signal handlers never share a request.
_homes: dict[int, list[Request[Any]]] = {kind: [] for kind in _KINDS}


def request_for(kind: int, path: str, convert: Convert[T]) -> Request[T]:
    """A request with the kind and path filled in."""
    home = _homes[kind]
    try:
        request = home.pop()
    except IndexError:
        request = Request(kind, home)
    request.op.path = encode_path(path)
    request.path = path
    request.convert = convert
    return request


def read(kind: int, path: str, convert: Convert[T], watch: WatchCallback | None, watch_kind: str) -> Request[T]:
    """A read, which leaves a watch if there is somebody to tell."""
    if watch is None:
        return request_for(kind, path, convert)
    request: Request[T] = Request(kind)
    request.op.path = encode_path(path)
    request.path = path
    request.convert = convert
    request.watch = watch
    request.watch_kind = watch_kind
    return request


def encode_path(path: str) -> bytes:
    """A path for the library. As in kazoo, a slash in front is added and one behind taken away.

    >>> encode_path("a/b/")
    b'/a/b'
    """
    try:
        raw = path.encode()
    except AttributeError:
        raise TypeError(f"a path is a str, not {type(path).__name__}") from None
    if b"\0" in raw:
        raise BadArgumentsError(f"the path {path!r} has a zero in it")
    if raw[:1] != b"/":
        raw = b"/" + raw
    if raw[-1] == 47:
        raw = raw.rstrip(b"/") or b"/"
    return raw


def encode_data(value: object) -> bytes | None:
    """Data for the library: bytes, or ``None`` for null data."""
    if value is None or type(value) is bytes:
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"data are bytes, not {type(value).__name__}")


def acl_array(acl: Iterable[ACL]) -> Any:
    """Entries for the library."""
    entries = list(acl)
    array = (_abi.Acl * len(entries))()
    for place, entry in zip(array, entries):
        if not isinstance(entry, ACL):
            raise TypeError(f"an ACL has entries of type ACL, not {type(entry).__name__}")
        place.perms = entry.perms
        place.scheme = entry.id.scheme.encode()
        place.id = entry.id.id.encode()
    return array


def set_acl(op: _abi.Op, acl: Iterable[ACL]) -> None:
    """Puts entries into an operation."""
    array = acl_array(acl)
    op.acl = cast(array, POINTER(_abi.Acl))
    op.acl_count = len(array)


# ---- what they bring -------------------------------------------------------------------------------------------------

_unpack_stat = Struct("@qqqqiiiqiiq").unpack
_STAT_SIZE = Struct("@qqqqiiiqiiq").size
_new = tuple.__new__
_zoa_result_stat = _abi.zoa_result_stat
_zoa_result_data = _abi.zoa_result_data
_sizes: list[tuple[c_size_t, Any]] = []


def nothing(_result: int) -> bool:
    """What kazoo returns where there is nothing to return."""
    return True


def stat(result: int) -> ZnodeStat:
    """The stat."""
    return _new(ZnodeStat, _unpack_stat(string_at(_zoa_result_stat(result), _STAT_SIZE)))


def data(result: int) -> bytes | None:
    """The data."""
    try:
        size, size_ref = _sizes.pop()
    except IndexError:
        size = c_size_t()
        size_ref = byref(size)
    start = _zoa_result_data(result, size_ref)
    found = None if start is None else string_at(start, size.value)
    _sizes.append((size, size_ref))
    return found


def node(result: int) -> Node:
    """Data and stat."""
    return _new(Node, (data(result), stat(result)))


def created(result: int) -> str:
    """The path of a new znode."""
    path: bytes = _abi.zoa_result_path(result)
    return path.decode()


def created_with_stat(result: int) -> tuple[str, ZnodeStat]:
    """The path and stat of a new znode."""
    return created(result), stat(result)


def names(result: int) -> list[str]:
    """Children, or paths."""
    name = _abi.zoa_result_name
    return [name(result, at).decode() for at in range(_abi.zoa_result_count(result))]


def names_with_stat(result: int) -> tuple[list[str], ZnodeStat]:
    """Children and the stat of their parent."""
    return names(result), stat(result)


def _entries(result: int) -> list[ACL]:
    found = []
    for at in range(_abi.zoa_result_count(result)):
        entry = _abi.Acl.from_address(_abi.zoa_result_acl(result, at))
        found.append(ACL(entry.perms, Id(entry.scheme.decode(), entry.id.decode())))
    return found


def acls(result: int) -> tuple[list[ACL], ZnodeStat]:
    """An ACL and the stat of its znode."""
    return _entries(result), stat(result)


def identities(result: int) -> list[Id]:
    """A session's identities."""
    return [entry.id for entry in _entries(result)]


def count(result: int) -> int:
    """A number."""
    found: int = _abi.zoa_result_count(result)
    return found


def of_result(result: int, convert: Convert[T], path: str | None) -> T:
    """What a result holds, or raises; frees it."""
    try:
        code: int = _abi.zoa_result_code(result)
        if code:
            raise result_error(result, code, path)
        return convert(result)
    finally:
        _abi.zoa_result_free(result)


def result_error(result: int, code: int, path: str | None) -> ZoariumError:
    """The exception for a result that is a failure."""
    text: bytes | None = _abi.zoa_result_error(result)
    return error_of(code, path, text.decode(errors="replace") if text else None, _abi.zoa_result_outcome(result))


# ---- several as one --------------------------------------------------------------------------------------------------


def op_array(parts: list[Request[Any]]) -> Any:
    """Operations for the library; they keep what they point to alive."""
    return (_abi.Op * len(parts))(*(part.op for part in parts))


def of_parts(result: int, parts: list[Request[Any]]) -> list[Any]:
    """What each operation brought: a value, or the exception that says why not. The caller frees the result."""
    found: list[Any] = []
    failed: int = _abi.zoa_result_code(result)
    if not _abi.zoa_result_part(result, 0):
        # The server never said what became of the parts.
        raise result_error(result, failed, None)
    for at, part in enumerate(parts):
        of_part: int = _abi.zoa_result_part(result, at)
        code: int = _abi.zoa_result_code(of_part)
        if code:
            found.append(result_error(of_part, code, part.path))
        elif failed:
            found.append(RolledBackError("undone because another part of the transaction failed"))
        else:
            found.append(part.convert(of_part))
    return found
