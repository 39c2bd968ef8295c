"""Operations as the library wants them, and what it brought as Python wants it. Shared by all clients."""

from __future__ import annotations

from ctypes import POINTER, byref, c_size_t, c_void_p, cast, sizeof, string_at
from struct import Struct
from typing import Any, Callable, Iterable, NamedTuple, TypeVar

from . import _abi
from .errors import BadArgumentsError, RolledBackError, ZoariumError, error_of
from .types import ACL, Id, Node, ZnodeStat

T = TypeVar("T")
#: Makes a value of a result that is a success; the caller frees the result.
Convert = Callable[[int], T]

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


class Slot:
    """The memory of one call: the operation, and where the result goes. Used again and again, by one call at a time."""

    __slots__ = ("op", "op_ref", "result", "result_ref", "pending", "pending_ref", "path", "home")

    def __init__(self, kind: int, home: list[Slot] | None = None) -> None:
        self.op = _abi.Op(struct_size=_OP_SIZE, kind=kind, version=-1)
        self.op_ref = byref(self.op)
        self.result = c_void_p()
        self.result_ref = byref(self.result)
        self.pending = c_void_p()
        self.pending_ref = byref(self.pending)
        self.path = ""
        self.home = home

    def recycle(self) -> None:
        """Gives it back for the next call of the kind."""
        if self.home is not None:
            if self.op.len > _KEEP_MAX:
                self.op.data = None
            self.home.append(self)


# Taking from and adding to a list is one step each, so threads and signal handlers never share a slot.
_slots: dict[int, list[Slot]] = {kind: [] for kind in _KINDS}


def slot_for(kind: int, path: str) -> Slot:
    """A slot with the kind and path filled in."""
    home = _slots[kind]
    try:
        slot = home.pop()
    except IndexError:
        slot = Slot(kind, home)
    slot.op.path = encode_path(path)
    slot.path = path
    return slot


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


# ---- the operations --------------------------------------------------------------------------------------------------


def create_mode(ephemeral: bool, sequence: bool, ttl: int, container: bool) -> int:
    """The library's word for kazoo's flags."""
    if not (ttl or container):
        return ephemeral | sequence << 1
    if ttl and (ephemeral or container) or container and (ephemeral or sequence):
        raise BadArgumentsError("a znode is one of ephemeral, container, or with a time to live (which may be sequential)")
    if container:
        return _abi.ZOA_CONTAINER
    return _abi.ZOA_TTL_SEQUENTIAL if sequence else _abi.ZOA_TTL


def create(
    path: str,
    value: bytes | None,
    acl: Iterable[ACL] | None,
    ephemeral: bool,
    sequence: bool,
    ttl: int,
    container: bool,
) -> Slot:
    """A create. `ttl` is in ms."""
    mode = create_mode(ephemeral, sequence, ttl, container)
    data = encode_data(value)
    if sequence and path[-1:] == "/":
        # A sequential znode below a path: its name is the number alone.
        slot = slot_for(_abi.ZOA_OP_CREATE, path + "0")
        slot.op.path = encode_path(path + "0")[:-1]
        slot.path = path
    else:
        slot = slot_for(_abi.ZOA_OP_CREATE, path)
    op = slot.op
    op.data = data
    op.len = 0 if data is None else len(data)
    op.mode = mode
    if ttl or acl is not None:
        # Rare: what is rarely set is not cleared by every other call.
        slot.home = None
        op.ttl_ms = ttl
        if acl is not None:
            set_acl(op, acl)
    return slot


def delete(path: str, version: int) -> Slot:
    """A delete."""
    slot = slot_for(_abi.ZOA_OP_DELETE, path)
    slot.op.version = version
    return slot


def set_data(path: str, value: bytes | None, version: int) -> Slot:
    """A set."""
    data = encode_data(value)
    slot = slot_for(_abi.ZOA_OP_SET, path)
    op = slot.op
    op.data = data
    op.len = 0 if data is None else len(data)
    op.version = version
    return slot


def set_acls(path: str, acl: Iterable[ACL], version: int) -> Slot:
    """A change of an ACL."""
    slot = Slot(_abi.ZOA_OP_SET_ACL)
    slot.path = path
    slot.op.path = encode_path(path)
    set_acl(slot.op, acl)
    slot.op.version = version
    return slot


def reconfig(joining: str | None, leaving: str | None, new_members: str | None, from_config: int) -> Slot:
    """A change of the ensemble."""
    slot = Slot(_abi.ZOA_OP_RECONFIG)
    op = slot.op
    if new_members is not None:
        if joining is not None or leaving is not None:
            raise BadArgumentsError("reconfig takes either joining and leaving, or new_members")
        op.path, op.mode = new_members.encode(), 1
    else:
        op.path = (joining or "").encode()
        data = (leaving or "").encode()
        op.data, op.len = data, len(data)
    op.version = from_config
    return slot


def watched(kind: int, path: str, on_event: Any, key: int) -> Slot:
    """A read that leaves a watch."""
    slot = Slot(kind)
    slot.path = path
    op = slot.op
    op.path = encode_path(path)
    op.watch = on_event
    op.watch_data = key
    return slot


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


class Part(NamedTuple):
    """One operation of several: what it is, and what to make of its result."""

    slot: Slot
    convert: Convert[Any]


def op_array(parts: list[Part]) -> Any:
    """Operations for the library; they keep what they point to alive."""
    return (_abi.Op * len(parts))(*(part.slot.op for part in parts))


def of_parts(result: int, parts: list[Part]) -> list[Any]:
    """What each operation brought: a value, or the exception that says why not."""
    found: list[Any] = []
    failed = _abi.zoa_result_code(result) != 0
    for at, part in enumerate(parts):
        of_part: int = _abi.zoa_result_part(result, at)
        code: int = _abi.zoa_result_code(of_part)
        if code:
            found.append(result_error(of_part, code, part.slot.path))
        elif failed:
            found.append(RolledBackError("undone because another part of the transaction failed"))
        else:
            found.append(part.convert(of_part))
    return found


