"""The table of operations: what each is called, what it takes, what it brings. Both kinds of client are made of it.

An operation is a method that makes a :class:`~zoarium._requests.Request`; how that is carried out (waiting, by a future,
awaited) is the client's part, and so is nothing else: names, arguments, defaults and documentation stand here, once.

What takes more than one request *recovers* from the failure of its first one with a coroutine, which awaits further
requests and does not know who carries them out.
"""

from __future__ import annotations

from ctypes import POINTER, cast
from functools import partial
from typing import Any, Iterable, Literal, overload

from . import _abi, _requests
from ._requests import Conductor, Request, WatchCallback, acl_array, encode_data, encode_path, read, request_for
from .errors import BadArgumentsError, NodeExistsError, NoNodeError, NotEmptyError, ZoariumError
from .types import ACL, Id, Node, ZnodeStat

# The most frequent operation does without the attributes of modules.
_GET = _abi.ZOA_OP_GET
_NODE = _requests.node

#: Operations that may be tried again whatever became of them: reads, and what arrives at the same end when done twice.
IDEMPOTENT = frozenset(
    {
        "add_auth",
        "ensure_path",
        "exists",
        "get",
        "get_acls",
        "get_all_children_number",
        "get_children",
        "get_ephemerals",
        "sync",
        "who_am_i",
    }
)


class Operations:
    """Each makes a request; `self` is the client that it is made for."""

    @overload
    def create(
        self: Any,
        path: str,
        value: bytes | None = b"",
        acl: Iterable[ACL] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        makepath: bool = False,
        include_data: Literal[False] = False,
        ttl: int = 0,
        container: bool = False,
    ) -> Request[str]: ...

    @overload
    def create(
        self: Any,
        path: str,
        value: bytes | None = b"",
        acl: Iterable[ACL] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        makepath: bool = False,
        *,
        include_data: Literal[True],
        ttl: int = 0,
        container: bool = False,
    ) -> Request[tuple[str, ZnodeStat]]: ...

    def create(
        self: Any,
        path: str,
        value: bytes | None = b"",
        acl: Iterable[ACL] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        makepath: bool = False,
        include_data: bool = False,
        ttl: int = 0,
        container: bool = False,
    ) -> Request[Any]:
        """Creates a znode and returns its path, or path and stat with `include_data`.

        `ttl` is in milliseconds, for servers with `extendedTypesEnabled=true`. With `makepath`, missing parents are created,
        with the same ACL.
        Raises :class:`NodeExistsError`, :class:`NoNodeError` (no parent), :class:`NoChildrenForEphemeralsError`.
        """
        if makepath:
            acl = None if acl is None else list(acl)
        request = new_znode(path, value, acl, ephemeral, sequence, include_data, ttl, container)
        if makepath:
            request.home = None
            request.recover = partial(_with_parents, request, path, acl)
        return request

    def ensure_path(self: Any, path: str, acl: Iterable[ACL] | None = None) -> Request[bool]:
        """Creates a znode and its parents where they are missing, the client's chroot among them."""
        return ensured(path, acl, self.has_chroot)

    def exists(self: Any, path: str, watch: WatchCallback | None = None) -> Request[ZnodeStat | None]:
        """The stat of a znode, ``None`` where there is none. `watch` is called once, when that changes."""
        request: Request[ZnodeStat | None] = read(_abi.ZOA_OP_EXISTS, path, _requests.stat, watch, "data")
        request.recover = _absent
        return request

    def get(self: Any, path: str, watch: WatchCallback | None = None) -> Request[Node]:
        """Data and stat of a znode. `watch` is called once, when they change or the znode goes.

        In this process it is answered on the caller's thread. Raises :class:`NoNodeError`.
        """
        if watch is None:
            return request_for(_GET, path, _NODE)
        return read(_GET, path, _NODE, watch, "data")

    @overload
    def get_children(
        self: Any, path: str, watch: WatchCallback | None = None, include_data: Literal[False] = False
    ) -> Request[list[str]]: ...

    @overload
    def get_children(
        self: Any, path: str, watch: WatchCallback | None = None, *, include_data: Literal[True]
    ) -> Request[tuple[list[str], ZnodeStat]]: ...

    def get_children(
        self: Any, path: str, watch: WatchCallback | None = None, include_data: bool = False
    ) -> Request[Any]:
        """The names of a znode's children, in no particular order; with its stat, when `include_data` is true.

        `watch` is called once, when a child comes or goes. Raises :class:`NoNodeError`.
        """
        convert: Any = _requests.names_with_stat if include_data else _requests.names
        return read(_abi.ZOA_OP_CHILDREN, path, convert, watch, "child")

    def set(self: Any, path: str, value: bytes | None, version: int = -1) -> Request[ZnodeStat]:
        """Replaces a znode's data, if its version is `version` (-1: any), and returns its stat.

        Raises :class:`NoNodeError`, :class:`BadVersionError`.
        """
        data = encode_data(value)
        request = request_for(_abi.ZOA_OP_SET, path, _requests.stat)
        op = request.op
        op.data = data
        op.len = 0 if data is None else len(data)
        op.version = version
        return request

    def delete(self: Any, path: str, version: int = -1, recursive: bool = False) -> Request[bool]:
        """Deletes a znode, if its version is `version` (-1: any); with `recursive`, everything below it first.

        Raises :class:`NoNodeError`, :class:`BadVersionError`, :class:`NotEmptyError`.
        """
        request = request_for(_abi.ZOA_OP_DELETE, path, _requests.nothing)
        request.op.version = version
        if recursive:
            request.home = None
            request.recover = partial(_emptied, request)
        return request

    def get_acls(self: Any, path: str) -> Request[tuple[list[ACL], ZnodeStat]]:
        """The ACL and stat of a znode."""
        return request_for(_abi.ZOA_OP_ACL, path, _requests.acls)

    def set_acls(self: Any, path: str, acls: Iterable[ACL], version: int = -1) -> Request[ZnodeStat]:
        """Replaces a znode's ACL, if its ACL version is `version` (-1: any). Raises :class:`InvalidACLError`."""
        request: Request[ZnodeStat] = Request(_abi.ZOA_OP_SET_ACL)
        request.convert = _requests.stat
        request.path = path
        request.op.path = encode_path(path)
        _put_acl(request.op, acls)
        request.op.version = version
        return request

    def sync(self: Any, path: str = "/") -> Request[str]:
        """Waits until this server has caught up with the leader: reads after it see every write before it."""
        return request_for(_abi.ZOA_OP_SYNC, path, lambda _result: path)

    def reconfig(
        self: Any,
        joining: str | None = None,
        leaving: str | None = None,
        new_members: str | None = None,
        from_config: int = -1,
    ) -> Request[Node]:
        """Changes the members of the ensemble; returns the new configuration, text and stat, once it is in force.

        `joining` is `server.4=host:2888:3888:participant;2181`, several with commas between, `leaving` numbers with commas
        between, `new_members` a complete list; `from_config` is the version that the configuration must have, the `mzxid` of its
        stat. Raises :class:`NoAuthError` for all but the super user, :class:`BadVersionError`, :class:`BadArgumentsError`,
        :class:`NewConfigNoQuorumError`, :class:`ReconfigInProcessError`, :class:`ReconfigDisabledError`.
        """
        request: Request[Node] = Request(_abi.ZOA_OP_RECONFIG)
        request.convert = _requests.node
        op = request.op
        if new_members is not None:
            if joining is not None or leaving is not None:
                raise BadArgumentsError("reconfig takes either joining and leaving, or new_members")
            op.path, op.mode = new_members.encode(), 1
        else:
            op.path = (joining or "").encode()
            data = (leaving or "").encode()
            op.data, op.len = data, len(data)
        op.config_version = from_config
        return request

    def get_config(self: Any) -> Request[Node]:
        """Who the members of the ensemble are: text and stat of ``/zookeeper/config``, whatever the chroot."""
        request: Request[Node] = Request(_abi.ZOA_OP_CONFIG)
        request.convert = _requests.node
        return request

    def who_am_i(self: Any) -> Request[list[Id]]:
        """The session's identities."""
        return request_for(_abi.ZOA_OP_WHO_AM_I, "/", _requests.identities)

    def get_ephemerals(self: Any, path: str = "/") -> Request[list[str]]:
        """The paths of this session's ephemeral znodes that begin with `path`."""
        return request_for(_abi.ZOA_OP_EPHEMERALS, path, _requests.names)

    def get_all_children_number(self: Any, path: str) -> Request[int]:
        """How many znodes there are below a path, at any depth."""
        return request_for(_abi.ZOA_OP_COUNT, path, _requests.count)


class Parts:
    """What a transaction is made of, besides. Each makes a part of it."""

    def create(
        self: Any,
        path: str,
        value: bytes | None = b"",
        acl: Iterable[ACL] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        include_data: bool = False,
        ttl: int = 0,
        container: bool = False,
    ) -> Request[Any]:
        """Adds a create. Its result is the path, or path and stat with `include_data`."""
        return new_znode(path, value, acl, ephemeral, sequence, include_data, ttl, container)

    def delete(self: Any, path: str, version: int = -1) -> Request[bool]:
        """Adds a delete. Its result is ``True``."""
        return Operations.delete(self, path, version)

    def set_data(self: Any, path: str, value: bytes | None, version: int = -1) -> Request[ZnodeStat]:
        """Adds a set. Its result is the stat."""
        return Operations.set(self, path, value, version)

    def check(self: Any, path: str, version: int) -> Request[bool]:
        """Adds a comparison of a version, without which nothing happens. Its result is ``True``."""
        request: Request[bool] = Request(_abi.ZOA_OP_CHECK)
        request.convert = _requests.nothing
        request.path = path
        request.op.path = encode_path(path)
        request.op.version = version
        return request

    def get(self: Any, path: str) -> Request[Node]:
        """Adds a get. Its result is a :class:`Node`."""
        return Operations.get(self, path)

    def get_children(self: Any, path: str) -> Request[list[str]]:
        """Adds a list of children."""
        return Operations.get_children(self, path)


# ---- how requests are made -------------------------------------------------------------------------------------------


def parent_of(path: str) -> str:
    """The path of the znode above.

    >>> parent_of("/a/b"), parent_of("a"), parent_of("/")
    ('/a', '/', '/')
    """
    return "/" + path.strip("/").rpartition("/")[0]


def _mode(ephemeral: bool, sequence: bool, ttl: int, container: bool) -> int:
    """The library's word for kazoo's flags."""
    if not (ttl or container):
        return ephemeral | sequence << 1
    if ttl and (ephemeral or container) or container and (ephemeral or sequence):
        raise BadArgumentsError("a znode is one of ephemeral, container, or with a time to live (which may be sequential)")
    if container:
        return _abi.ZOA_CONTAINER
    return _abi.ZOA_TTL_SEQUENTIAL if sequence else _abi.ZOA_TTL


def _put_acl(op: _abi.Op, acl: Iterable[ACL]) -> None:
    """Puts entries into an operation."""
    array = acl_array(acl)
    op.acl = cast(array, POINTER(_abi.Acl))
    op.acl_count = len(array)


def new_znode(
    path: str,
    value: bytes | None,
    acl: Iterable[ACL] | None,
    ephemeral: bool,
    sequence: bool,
    include_data: bool,
    ttl: int,
    container: bool,
) -> Request[Any]:
    """A create. `ttl` is in ms."""
    mode = _mode(ephemeral, sequence, ttl, container)
    data = encode_data(value)
    convert: Any = _requests.created_with_stat if include_data else _requests.created
    if sequence and path[-1:] == "/":
        # A sequential znode below a path: its name is the number alone.
        request: Request[Any] = request_for(_abi.ZOA_OP_CREATE, path + "0", convert)
        request.op.path = encode_path(path + "0")[:-1]
        request.path = path
    else:
        request = request_for(_abi.ZOA_OP_CREATE, path, convert)
    op = request.op
    op.data = data
    op.len = 0 if data is None else len(data)
    op.mode = mode
    if ttl or acl is not None:
        # Rare: what is rarely set is not cleared by every other call.
        request.home = None
        op.ttl_ms = ttl
        if acl is not None:
            _put_acl(op, acl)
    return request


def _plain(path: str, acl: Iterable[ACL] | None) -> Request[bool]:
    """A create of which only matters that the znode is there."""
    request: Request[bool] = new_znode(path, b"", acl, False, False, False, 0, False)
    request.convert = _requests.nothing
    return request


def ensured(path: str, acl: Iterable[ACL] | None, has_chroot: bool) -> Request[bool]:
    """A create of a znode and all above it that is missing."""
    acl = None if acl is None else list(acl)
    path = "/" + path.strip("/")
    if path == "/" and not has_chroot:
        # It is there, always; nobody may be allowed to create anything below it.
        return request_for(_abi.ZOA_OP_EXISTS, path, _requests.nothing)
    request = _plain(path, acl)
    request.home = None
    request.recover = partial(_climb, path, acl)
    return request


# ---- what is done about failures -------------------------------------------------------------------------------------


async def _absent(_conductor: Conductor, error: ZoariumError) -> None:
    """That there is no znode is an answer."""
    if not isinstance(error, NoNodeError):
        raise error


async def _with_parents(
    request: Request[Any], path: str, acl: Iterable[ACL] | None, conductor: Conductor, error: ZoariumError
) -> Any:
    if not isinstance(error, NoNodeError):
        raise error
    await conductor.perform(ensured(parent_of(path), acl, conductor.has_chroot))
    request.recover = None
    return await conductor.perform(request)


async def _climb(path: str, acl: Iterable[ACL] | None, conductor: Conductor, error: ZoariumError) -> bool:
    """Goes up to where something is there, and down again."""
    missing: list[str] = []
    while not isinstance(error, NodeExistsError):
        if not isinstance(error, NoNodeError):
            raise error
        if path == "/":
            await conductor.create_chroot(acl)
            break
        missing.append(path)
        path = parent_of(path)
        if path == "/" and not conductor.has_chroot:
            break
        try:
            await conductor.perform(_plain(path, acl))
            break
        except (NodeExistsError, NoNodeError) as found:
            error = found
    for path in reversed(missing):
        try:
            await conductor.perform(_plain(path, acl))
        except NodeExistsError:
            pass
    return True


async def _emptied(request: Request[bool], conductor: Conductor, error: ZoariumError) -> bool:
    request.recover = None
    while isinstance(error, NotEmptyError):
        for child in await conductor.perform(Operations.get_children(None, request.path)):
            try:
                await conductor.perform(Operations.delete(None, f"{request.path.rstrip('/')}/{child}", recursive=True))
            except NoNodeError:
                pass
        try:
            return await conductor.perform(request)
        except NotEmptyError as found:
            # Somebody created a child meanwhile.
            error = found
    raise error
