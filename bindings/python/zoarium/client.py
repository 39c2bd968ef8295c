"""The client: blocking and asynchronous methods for every operation."""

from __future__ import annotations

from time import sleep
from typing import TYPE_CHECKING, Any, Callable, Iterable, Literal, TypeVar, overload

from . import _abi, _requests
from ._requests import Convert, slot_for
from .errors import (
    ConnectionLoss,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OperationTimeoutError,
    Outcome,
    ReconfigInProcessError,
    SessionMovedError,
    ThrottledOpError,
    TimedOutError,
)
from .offers import Recipes
from .session import WatchCallback
from .transaction import MultiRead, TransactionRequest
from .types import ACL, Id, Node, ZnodeStat
from .watching import Watching

if TYPE_CHECKING:
    from .futures import Future

T = TypeVar("T")
_node = _requests.node

#: What may be tried again, when it is known not to have happened or does no harm.
_PASSING = (
    ConnectionLoss,
    OperationTimeoutError,
    ReconfigInProcessError,
    SessionMovedError,
    ThrottledOpError,
    TimedOutError,
)
#: Methods that may be tried again whatever became of them: reads, and what arrives at the same end when done twice.
_IDEMPOTENT = {
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


class Client(Recipes, Watching):
    """One session: with a server in this process (:meth:`Server.client`) or over TCP (:func:`connect`).

    Any thread may use it, and so may its callbacks. It is a context manager that closes it at the end; a client that
    nobody refers to any more is closed, too. The names of methods and their arguments are kazoo's where kazoo has them.
    """

    # ---- the operations ----

    @overload
    def create(
        self,
        path: str,
        value: bytes | None = b"",
        acl: Iterable[ACL] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        makepath: bool = False,
        include_data: Literal[False] = False,
        ttl: int = 0,
        container: bool = False,
    ) -> str: ...

    @overload
    def create(
        self,
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
    ) -> tuple[str, ZnodeStat]: ...

    def create(
        self,
        path: str,
        value: bytes | None = b"",
        acl: Iterable[ACL] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        makepath: bool = False,
        include_data: bool = False,
        ttl: int = 0,
        container: bool = False,
    ) -> str | tuple[str, ZnodeStat]:
        """Creates a znode and returns its path, or path and stat with `include_data`.

        `ttl` is in milliseconds, for servers with `extendedTypesEnabled=true`. With `makepath`, missing parents are created,
        with the same ACL.
        Raises :class:`NodeExistsError`, :class:`NoNodeError` (no parent), :class:`NoChildrenForEphemeralsError`.
        """
        slot = _requests.create(path, value, acl, ephemeral, sequence, ttl, container)
        convert: Convert[Any] = _requests.created_with_stat if include_data else _requests.created
        if not makepath:
            return self._do(slot, convert)  # type: ignore[no-any-return]
        slot.home = None
        try:
            return self._do(slot, convert)  # type: ignore[no-any-return]
        except NoNodeError:
            self.ensure_path(_parent(path), acl)
        return self._do(slot, convert)  # type: ignore[no-any-return]

    def create_async(
        self,
        path: str,
        value: bytes | None = b"",
        acl: Iterable[ACL] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        makepath: bool = False,
        include_data: bool = False,
        ttl: int = 0,
        container: bool = False,
    ) -> Future[Any]:
        """As :meth:`create`, sent at once; `makepath` waits for the parents."""
        if makepath:
            self.ensure_path(_parent(path), acl)
        slot = _requests.create(path, value, acl, ephemeral, sequence, ttl, container)
        convert: Convert[Any] = _requests.created_with_stat if include_data else _requests.created
        return self._send(slot, convert)

    def ensure_path(self, path: str, acl: Iterable[ACL] | None = None) -> bool:
        """Creates a znode and its parents where they are missing, the client's chroot among them."""
        missing: list[str] = []
        path = "/" + path.strip("/")
        acl = None if acl is None else list(acl)
        has_chroot = bool(self._whole_chroot()[1])
        while path != "/" or has_chroot:
            try:
                self.create(path, b"", acl)
                break
            except NodeExistsError:
                break
            except NoNodeError:
                if path == "/":
                    self._create_chroot(acl)
                    break
                missing.append(path)
                path = _parent(path)
        for path in reversed(missing):
            try:
                self.create(path, b"", acl)
            except NodeExistsError:
                pass
        return True

    def _create_chroot(self, acl: Iterable[ACL] | None) -> None:
        """Creates the chroot with what is above it, which is out of this session's reach."""
        target, chroot = self._whole_chroot()
        above = Client(target, timeout=self._timeout, auth_data=self._auth_data)
        try:
            above.start()
            above.ensure_path(chroot, acl)
        finally:
            above.close()

    def ensure_path_async(self, path: str, acl: Iterable[ACL] | None = None) -> Future[bool]:
        """As :meth:`ensure_path`, as one transaction's worth of requests sent at once."""
        from .futures import Future

        names = path.strip("/").split("/")
        acl = None if acl is None else list(acl)
        has_chroot = bool(self._whole_chroot()[1])
        # One after the other in one session: the parents are there when their children come.
        futures = [self.create_async("/", b"", acl)] if has_chroot else []
        futures += [self.create_async("/" + "/".join(names[: at + 1]), b"", acl) for at in range(len(names)) if names[0]]
        last: Future[bool] = Future(self._inbox, _requests.nothing, path)

        def done(of: Any) -> None:
            error = of.exception()
            if error is None or isinstance(error, NodeExistsError):
                last._result = True
                last._finish()
            elif has_chroot and isinstance(error, NoNodeError):
                # What is above the chroot takes another session, for which this thread must not wait.
                import threading

                threading.Thread(target=with_chroot, name="zoarium-call", daemon=True).start()
            else:
                last._failed(error)

        def with_chroot() -> None:
            try:
                last._result = self.ensure_path(path, acl)
                last._finish()
            except BaseException as error:
                last._failed(error)

        if futures:
            futures[-1].add_done_callback(done)
        else:
            last._result = True
            last._finish()
        return last

    def exists(self, path: str, watch: WatchCallback | None = None) -> ZnodeStat | None:
        """The stat of a znode, ``None`` where there is none. `watch` is called once, when that changes."""
        slot = slot_for(_abi.ZOA_OP_EXISTS, path)
        try:
            if watch is not None:
                return self._do_watched(slot, _requests.stat, watch, "data")
            return self._do(slot, _requests.stat)
        except NoNodeError:
            return None

    def exists_async(self, path: str, watch: WatchCallback | None = None) -> Future[ZnodeStat | None]:
        """As :meth:`exists`, sent at once."""
        from .futures import Future

        sent = self._send_watched(slot_for(_abi.ZOA_OP_EXISTS, path), _requests.stat, watch, "data")
        found: Future[ZnodeStat | None] = Future(self._inbox, _requests.stat, path)

        def done(of: Any) -> None:
            error = of.exception()
            if error is None:
                found._result = of.result()
            elif not isinstance(error, NoNodeError):
                found._exception = error
            found._finish()

        sent.add_done_callback(done)
        return found

    def get(self, path: str, watch: WatchCallback | None = None) -> Node:
        """Data and stat of a znode. `watch` is called once, when they change or the znode goes.

        In this process it is answered on the caller's thread. Raises :class:`NoNodeError`.
        """
        slot = slot_for(_abi.ZOA_OP_GET, path)
        if watch is not None:
            return self._do_watched(slot, _node, watch, "data")
        return self._do(slot, _node)

    def get_async(self, path: str, watch: WatchCallback | None = None) -> Future[Node]:
        """As :meth:`get`, sent at once."""
        return self._send_watched(slot_for(_abi.ZOA_OP_GET, path), _node, watch, "data")

    @overload
    def get_children(
        self, path: str, watch: WatchCallback | None = None, include_data: Literal[False] = False
    ) -> list[str]: ...

    @overload
    def get_children(
        self, path: str, watch: WatchCallback | None = None, *, include_data: Literal[True]
    ) -> tuple[list[str], ZnodeStat]: ...

    def get_children(
        self, path: str, watch: WatchCallback | None = None, include_data: bool = False
    ) -> list[str] | tuple[list[str], ZnodeStat]:
        """The names of a znode's children, in no particular order; with its stat, when `include_data` is true.

        `watch` is called once, when a child comes or goes. Raises :class:`NoNodeError`.
        """
        slot = slot_for(_abi.ZOA_OP_CHILDREN, path)
        convert: Convert[Any] = _requests.names_with_stat if include_data else _requests.names
        if watch is not None:
            return self._do_watched(slot, convert, watch, "child")  # type: ignore[no-any-return]
        return self._do(slot, convert)  # type: ignore[no-any-return]

    def get_children_async(
        self, path: str, watch: WatchCallback | None = None, include_data: bool = False
    ) -> Future[Any]:
        """As :meth:`get_children`, sent at once."""
        convert: Convert[Any] = _requests.names_with_stat if include_data else _requests.names
        return self._send_watched(slot_for(_abi.ZOA_OP_CHILDREN, path), convert, watch, "child")

    def set(self, path: str, value: bytes | None, version: int = -1) -> ZnodeStat:
        """Replaces a znode's data, if its version is `version` (-1: any), and returns its stat.

        Raises :class:`NoNodeError`, :class:`BadVersionError`.
        """
        return self._do(_requests.set_data(path, value, version), _requests.stat)

    def set_async(self, path: str, value: bytes | None, version: int = -1) -> Future[ZnodeStat]:
        """As :meth:`set`, sent at once."""
        return self._send(_requests.set_data(path, value, version), _requests.stat)

    def delete(self, path: str, version: int = -1, recursive: bool = False) -> bool:
        """Deletes a znode, if its version is `version` (-1: any); with `recursive`, everything below it first.

        Raises :class:`NoNodeError`, :class:`BadVersionError`, :class:`NotEmptyError`.
        """
        if not recursive:
            return self._do(_requests.delete(path, version), _requests.nothing)
        while True:
            try:
                for child in self.get_children(path):
                    try:
                        self.delete(f"{path.rstrip('/')}/{child}", recursive=True)
                    except NoNodeError:
                        pass
                return self._do(_requests.delete(path, version), _requests.nothing)
            except NotEmptyError:
                # Somebody created a child meanwhile.
                continue

    def delete_async(self, path: str, version: int = -1) -> Future[bool]:
        """As :meth:`delete`, sent at once."""
        return self._send(_requests.delete(path, version), _requests.nothing)

    def get_acls(self, path: str) -> tuple[list[ACL], ZnodeStat]:
        """The ACL and stat of a znode."""
        return self._do(slot_for(_abi.ZOA_OP_ACL, path), _requests.acls)

    def get_acls_async(self, path: str) -> Future[tuple[list[ACL], ZnodeStat]]:
        """As :meth:`get_acls`, sent at once."""
        return self._send(slot_for(_abi.ZOA_OP_ACL, path), _requests.acls)

    def set_acls(self, path: str, acls: Iterable[ACL], version: int = -1) -> ZnodeStat:
        """Replaces a znode's ACL, if its ACL version is `version` (-1: any). Raises :class:`InvalidACLError`."""
        return self._do(_requests.set_acls(path, acls, version), _requests.stat)

    def set_acls_async(self, path: str, acls: Iterable[ACL], version: int = -1) -> Future[ZnodeStat]:
        """As :meth:`set_acls`, sent at once."""
        return self._send(_requests.set_acls(path, acls, version), _requests.stat)

    def sync(self, path: str = "/") -> str:
        """Waits until this server has caught up with the leader: reads after it see every write before it."""
        self._do(slot_for(_abi.ZOA_OP_SYNC, path), _requests.nothing)
        return path

    def sync_async(self, path: str = "/") -> Future[str]:
        """As :meth:`sync`, sent at once."""
        return self._send(slot_for(_abi.ZOA_OP_SYNC, path), lambda _result: path)

    def reconfig(
        self,
        joining: str | None = None,
        leaving: str | None = None,
        new_members: str | None = None,
        from_config: int = -1,
    ) -> Node:
        """Changes the ensemble; returns the new configuration."""
        return self._do(_requests.reconfig(joining, leaving, new_members, from_config), _node)

    def reconfig_async(
        self,
        joining: str | None = None,
        leaving: str | None = None,
        new_members: str | None = None,
        from_config: int = -1,
    ) -> Future[Node]:
        """As :meth:`reconfig`, sent at once."""
        return self._send(_requests.reconfig(joining, leaving, new_members, from_config), _node)

    def transaction(self) -> TransactionRequest:
        """Several writes of which all happen, or none."""
        return TransactionRequest(self)

    def multi_read(self) -> MultiRead:
        """Several reads of one moment."""
        return MultiRead(self)

    def add_auth(self, scheme: str, credential: str) -> bool:
        """Adds an identity to the session: scheme ``"digest"`` with ``"user:password"``, for one.

        Raises :class:`AuthFailedError`, which ends the session.
        """
        self._add_auth(scheme, credential)
        return True

    def who_am_i(self) -> list[Id]:
        """The session's identities."""
        return self._do(slot_for(_abi.ZOA_OP_WHO_AM_I, "/"), _requests.identities)

    def who_am_i_async(self) -> Future[list[Id]]:
        """As :meth:`who_am_i`, sent at once."""
        return self._send(slot_for(_abi.ZOA_OP_WHO_AM_I, "/"), _requests.identities)

    def get_ephemerals(self, path: str = "/") -> list[str]:
        """The paths of this session's ephemeral znodes that begin with `path`."""
        return self._do(slot_for(_abi.ZOA_OP_EPHEMERALS, path), _requests.names)

    def get_ephemerals_async(self, path: str = "/") -> Future[list[str]]:
        """As :meth:`get_ephemerals`, sent at once."""
        return self._send(slot_for(_abi.ZOA_OP_EPHEMERALS, path), _requests.names)

    def get_all_children_number(self, path: str) -> int:
        """How many znodes there are below a path, at any depth."""
        return self._do(slot_for(_abi.ZOA_OP_COUNT, path), _requests.count)

    def get_all_children_number_async(self, path: str) -> Future[int]:
        """As :meth:`get_all_children_number`, sent at once."""
        return self._send(slot_for(_abi.ZOA_OP_COUNT, path), _requests.count)

    # ---- trying again ----

    def retry(
        self,
        function: Callable[..., T],
        *arguments: Any,
        attempts: int = 5,
        delay: float = 0.1,
        delay_max: float = 5.0,
        idempotent: bool | None = None,
        **keywords: Any,
    ) -> T:
        """Calls `function` until it succeeds, at most `attempts` times, while it fails for want of a connection.

        It is tried again only when the failure says that nothing has happened (``error.outcome``), or when trying twice
        does no harm: that is known of this client's reads, of ``sync``, ``ensure_path`` and ``add_auth``; of anything
        else say so with ``idempotent=True``. A ``create`` whose connection was lost may have created the znode: a second
        one would fail with :class:`NodeExistsError`, or create a second sequential znode. That cannot be repaired here,
        so the error is yours: look, then decide. Other failures (:class:`NoNodeError` …) are never tried again.
        """
        if idempotent is None:
            owner = getattr(function, "__self__", None)
            idempotent = isinstance(owner, Client) and getattr(function, "__name__", "") in _IDEMPOTENT
        for attempt in range(1, attempts + 1):
            try:
                return function(*arguments, **keywords)
            except _PASSING as error:
                if attempt == attempts or not (idempotent or error.outcome == Outcome.NOT_DONE):
                    raise
            sleep(min(delay * 2 ** (attempt - 1), delay_max))
        raise ValueError(f"attempts is {attempts}")


def connect(
    hosts: str,
    *,
    timeout: float = 10.0,
    connect_timeout: float = 15.0,
    chroot: str | None = None,
    read_only: bool = False,
    resume: tuple[int, bytes] | None = None,
    auth_data: Iterable[tuple[str, str]] = (),
    reopen_after_fork: bool = False,
    request_size_max: int = 0,
) -> Client:
    """A client over TCP, to any ZooKeeper-compatible server, once one has answered.

    `hosts` is ZooKeeper's connect string, ``"h1:2181,h2:2181/app"``; `timeout` is the session's, in seconds. Raises
    :class:`TimedOutError` when no server has answered in `connect_timeout` seconds.

    A server closes the connection for a request above its ``jute.maxbuffer``, which no client can know: with
    `request_size_max`, in bytes, such a request is a :class:`BadArgumentsError` here, and nothing is sent.
    """
    client = Client(
        hosts,
        timeout=timeout,
        chroot=chroot,
        read_only=read_only,
        resume=resume,
        reopen_after_fork=reopen_after_fork,
        request_size_max=request_size_max,
    )
    try:
        client.start(connect_timeout)
        client._auth_data = list(auth_data)
        for scheme, credential in client._auth_data:
            client.add_auth(scheme, credential)
    except BaseException:
        client.close(0)
        raise
    return client


def _parent(path: str) -> str:
    return "/" + path.strip("/").rpartition("/")[0]
