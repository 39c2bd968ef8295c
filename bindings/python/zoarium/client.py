"""One session, in this process or over TCP, with blocking and asynchronous methods."""

from __future__ import annotations

import sys
import weakref
from _thread import get_ident
from ctypes import byref, c_uint64, c_void_p, sizeof
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Callable, Iterable, Literal, TypeVar, overload

from . import _abi, _inbox, _requests
from ._requests import Convert, Part, Slot, of_parts, of_result, op_array, slot_for
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
    ZoariumError,
    check,
    error_of,
    failure,
    last_error,
)
from .transaction import MultiRead, TransactionRequest
from .types import ACL, KEEPER_STATES, STATES, AddWatchMode, Id, KazooState, Node, WatchedEvent, WatcherType, ZnodeStat
from .watching import Watch, WatchCallback

if TYPE_CHECKING:
    from .futures import Future
    from .server import Server

T = TypeVar("T")
Listener = Callable[[str], object]

_SESSION_SIZE = sizeof(_abi.Session)
_OPTIONS_SIZE = sizeof(_abi.ClientOptions)
_FOR_EVER = -1
#: How long a thread waits in the library before it looks for Ctrl-C again, ms.
_SLICE_MS = 100

_zoa_client_call = _abi.zoa_client_call
_zoa_result_free = _abi.zoa_result_free
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


class Session:
    """How a client is begun, and what all kinds of client have in common."""

    def __init__(
        self,
        target: Server | str,
        inbox: _inbox.Inbox,
        *,
        timeout: float,
        chroot: str | None,
        read_only: bool,
        resume: tuple[int, bytes] | None,
    ) -> None:
        self._target = target
        self._timeout = timeout
        self._chroot = chroot
        self._read_only = read_only
        self._state_key = 0
        self._closed = False
        self._begin(target, inbox, resume)

    def _begin(self, target: Server | str, inbox: _inbox.Inbox, resume: tuple[int, bytes] | None) -> None:
        self._inbox = inbox
        self._state_key = key = _inbox.next_key()
        options = _abi.ClientOptions(struct_size=_OPTIONS_SIZE)
        options.flags = _abi.ZOA_ALLOW_READ_ONLY if self._read_only else 0
        options.session_timeout_ms = max(int(self._timeout * 1000), 1)
        if self._chroot and self._chroot != "/":
            options.chroot = _requests.encode_path(self._chroot)
        options.queue = inbox.handle
        options.on_state = inbox.on_state
        options.user_data = key
        if resume is not None:
            options.resume_id, password = resume
            options.resume_password[:] = password
        # Not to keep the client alive: a session ends when nobody can use it any more.
        me = weakref.ref(self)

        def on_state(state: str) -> None:
            client = me()
            if client is not None:
                client._changed(int(state))

        _inbox.receivers[key] = on_state
        handle = c_void_p()
        try:
            if isinstance(target, str):
                check(_abi.zoa_client_connect(target.encode(), byref(options), byref(handle)))
            else:
                check(_abi.zoa_client_open(target._handle, byref(options), byref(handle)))
        except BaseException:
            del _inbox.receivers[key]
            raise
        self._handle = handle

    def _changed(self, state: int) -> None:
        """Told of every change of the session's state, where callbacks run."""

    def _session(self) -> Any:
        session = _abi.Session(struct_size=_SESSION_SIZE)
        check(_abi.zoa_client_session(self._handle, byref(session)))
        return session

    @property
    def chroot(self) -> str:
        """What all paths are below; empty for none."""
        return (self._chroot or "").rstrip("/")

    @property
    def client_id(self) -> tuple[int, bytes] | None:
        """The session's id and password, all it takes to resume it; ``None`` before the first connection."""
        session = self._session()
        return (session.id, bytes(session.password)) if session.id else None

    @property
    def session_id(self) -> int:
        """The session's id; 0 before the first connection."""
        found: int = self._session().id
        return found

    @property
    def session_timeout(self) -> float:
        """How long the session lives without a word from its client, as granted by the server, in seconds."""
        granted: int = self._session().timeout_ms
        return granted / 1000

    @property
    def last_zxid(self) -> int:
        """The last transaction that this session has seen."""
        found: int = self._session().last_zxid
        return found

    @property
    def state(self) -> str:
        """One of :class:`KazooState`."""
        if not _inbox.is_ours(self._inbox):
            return KazooState.LOST
        return STATES[self._session().state]

    @property
    def client_state(self) -> str:
        """One of :class:`KeeperState`."""
        return KEEPER_STATES[self._session().state]

    @property
    def connected(self) -> bool:
        """Whether requests are answered right now."""
        return self.state == KazooState.CONNECTED

    @property
    def closed(self) -> bool:
        """Whether it was closed, or detached."""
        return self._closed

    def __repr__(self) -> str:
        where = self._target if isinstance(self._target, str) else self._target.address
        return f"<zoarium.{type(self).__name__} {where}{self.chroot} {self.state}>"

    def __del__(self) -> None:
        handle = self.__dict__.get("_handle")
        # What still lives at the interpreter's end was closed by then; its memory goes with the process.
        if handle and not _inbox.is_exiting():
            _inbox.receivers.pop(self._state_key, None)
            _abi.zoa_client_free(handle)


#: Clients that may have to be closed at the interpreter's end, or told of a fork.
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client(Session):
    """One session: with a server in this process (:meth:`Server.client`) or over TCP (:func:`connect`).

    Any thread may use it, and so may its callbacks. It is a context manager that closes it at the end; a client that
    nobody refers to any more is closed, too. The names of methods and their arguments are kazoo's where kazoo has them.
    """

    def __init__(
        self,
        target: Server | str,
        *,
        timeout: float = 10.0,
        chroot: str | None = None,
        read_only: bool = False,
        resume: tuple[int, bytes] | None = None,
        auth_data: Iterable[tuple[str, str]] = (),
        reopen_after_fork: bool = False,
    ) -> None:
        self._listeners: list[Listener] = []
        self._watches: dict[int, Watch] = {}
        #: One-shot watches by what they wait for, so that the same function is told once, as in kazoo.
        self._once: dict[tuple[str, str, WatchCallback], int] = {}
        self._auth_data = list(auth_data)
        self._reopen_after_fork = reopen_after_fork
        self._last_state: str | None = None
        super().__init__(
            target, _inbox.shared(), timeout=timeout, chroot=chroot, read_only=read_only, resume=resume
        )
        _clients.add(self)
        for scheme, credential in self._auth_data:
            self.add_auth(scheme, credential)

    # ---- life ----

    def start(self, timeout: float = 15.0) -> None:
        """Waits until a server answers; :func:`connect` has done so. Raises :class:`TimedOutError`."""
        deadline = _inbox.deadline_of(timeout)
        while True:
            left = deadline - monotonic()
            code = _abi.zoa_client_wait(self._handle, max(0, min(_SLICE_MS, int(left * 1000))))
            if code != _abi.ZOA_TIMEOUT or left <= 0:
                break
        if code == _abi.ZOA_TIMEOUT:
            raise error_of(code, None, f"no server has answered in {timeout} s")
        check(code)

    def stop(self) -> None:
        """As :meth:`close`."""
        self.close()

    def close(self, timeout: float = 2.0) -> None:
        """Ends the session, with its ephemeral znodes; waits for the server's answer up to `timeout` seconds.

        When it returns, all callbacks have run, unless it is called from one. Closing twice is fine.
        """
        if self._closed:
            return
        self._closed = True
        if _inbox.is_ours(self._inbox):
            code = _abi.zoa_client_close(self._handle, int(timeout * 1000))
            if code not in (_abi.ZOA_OK, _abi.ZOA_TIMEOUT, _abi.ZOA_CLOSED):
                raise failure(code)
        self._after_end(timeout)

    def detach(self) -> tuple[int, bytes]:
        """Lets go of the session and leaves it alive; returns what ``resume=`` takes to take it over."""
        session = self._session()
        self._closed = True
        check(_abi.zoa_client_detach(self._handle))
        self._after_end(2.0)
        return session.id, bytes(session.password)

    def _after_end(self, limit: float) -> None:
        self._inbox.dispatch(limit)
        self._lose()
        _inbox.receivers.pop(self._state_key, None)

    def _lose(self) -> None:
        """Nothing more will come."""
        self._tell(KazooState.LOST)
        for watch in list(self._watches.values()):
            watch._end()
        for key in list(self._once.values()):
            _inbox.receivers.pop(key, None)
        self._once.clear()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    # ---- states ----

    def add_listener(self, listener: Listener) -> None:
        """Has `listener` called with every new state, one of :class:`KazooState`, until it returns ``True``."""
        self._listeners.append(listener)
        self._inbox.drain()

    def remove_listener(self, listener: Listener) -> None:
        """Has it called no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _changed(self, state: int) -> None:
        told = STATES[state]
        if told == KazooState.LOST:
            self._lose()
        else:
            self._tell(told)

    def _tell(self, state: str) -> None:
        if state == self._last_state or self._last_state == KazooState.LOST:
            return
        self._last_state = state
        for listener in list(self._listeners):
            try:
                if listener(state) is True:
                    self.remove_listener(listener)
            except Exception as error:
                _inbox.report(error)

    # ---- calls ----

    def _call(self, slot: Slot) -> int:
        """Runs an operation; returns its result, to be freed."""
        code = _zoa_client_call(self._handle, slot.op_ref, _FOR_EVER, slot.result_ref)
        if code:
            self._refused(code, slot)
        return slot.result.value  # type: ignore[return-value]

    def _refused(self, code: int, slot: Slot) -> None:
        """Raises what the code means, unless there is something to be done about it."""
        if code == _abi.ZOA_FORKED and self._reopen_after_fork and not self._closed:
            self._reopen()
            if slot.op.watch_data:
                slot.op.watch = self._inbox.on_event
            code = _zoa_client_call(self._handle, slot.op_ref, _FOR_EVER, slot.result_ref)
            if not code:
                return
        raise failure(code, slot.path)

    def _do(self, slot: Slot, convert: Convert[T]) -> T:
        result = self._call(slot)
        try:
            return convert(result)
        finally:
            _zoa_result_free(result)
            slot.recycle()

    def _send(self, slot: Slot, convert: Convert[T]) -> Future[T]:
        from .futures import Future

        inbox = self._inbox
        if not inbox.is_drained:
            inbox.drain()
        future: Future[T] = Future(inbox, convert, slot.path)
        key = _inbox.next_key()
        _inbox.receivers[key] = future._arrived
        code = _abi.zoa_client_submit(self._handle, slot.op_ref, inbox.on_done, key)
        if code:
            del _inbox.receivers[key]
            if code == _abi.ZOA_FORKED and self._reopen_after_fork and not self._closed:
                self._reopen()
                return self._send(slot, convert)
            future._failed(failure(code, slot.path))
        slot.recycle()
        return future

    def _multi(self, parts: list[Part]) -> list[Any]:
        if not parts:
            return []
        return self._multi_async(parts).result()

    def _multi_async(self, parts: list[Part]) -> Future[list[Any]]:
        from .futures import Future

        inbox = self._inbox
        inbox.drain()
        future: Future[list[Any]] = Future(inbox, _requests.nothing, None)  # type: ignore[arg-type]
        if not parts:
            future._result = []
            future._finish()
            return future
        key = _inbox.next_key()

        def arrived(result: int) -> None:
            try:
                if _abi.zoa_result_part(result, 0):
                    future._result = of_parts(result, parts)
                else:
                    # The server never said what became of the parts.
                    code = _abi.zoa_result_code(result)
                    future._exception = _requests.result_error(result, code, None)
            except BaseException as error:
                future._exception = error
            finally:
                _zoa_result_free(result)
            future._finish()

        _inbox.receivers[key] = arrived
        array = op_array(parts)
        code = _abi.zoa_client_submit_multi(self._handle, array, len(parts), inbox.on_done, key)
        if code:
            del _inbox.receivers[key]
            if code == _abi.ZOA_FORKED and self._reopen_after_fork and not self._closed:
                self._reopen()
                return self._multi_async(parts)
            future._failed(failure(code))
        return future

    # ---- fork ----

    def _reopen(self) -> None:
        """Begins a session of this process's own. Watches and listeners of the parent's session stay behind."""
        where = self._target if isinstance(self._target, str) else self._target.address
        if not isinstance(self._target, str) and self._target._is_ours():
            self._begin(self._target, _inbox.shared(), None)
        else:
            self._begin(where, _inbox.shared(), None)
            self.start()
        self._last_state = None
        for scheme, credential in self._auth_data:
            self.add_auth(scheme, credential)

    def _forked(self) -> None:
        self._watches.clear()
        self._once.clear()

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

        `ttl` is in milliseconds. With `makepath`, missing parents are created, with the same ACL.
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
        if makepath and "/" in path.strip("/"):
            self.ensure_path(_parent(path), acl)
        slot = _requests.create(path, value, acl, ephemeral, sequence, ttl, container)
        convert: Convert[Any] = _requests.created_with_stat if include_data else _requests.created
        return self._send(slot, convert)

    def ensure_path(self, path: str, acl: Iterable[ACL] | None = None) -> bool:
        """Creates a znode and its parents where they are missing."""
        missing: list[str] = []
        path = "/" + path.strip("/")
        while path != "/":
            try:
                self.create(path, b"", acl)
                break
            except NodeExistsError:
                break
            except NoNodeError:
                missing.append(path)
                path = _parent(path)
        for path in reversed(missing):
            try:
                self.create(path, b"", acl)
            except NodeExistsError:
                pass
        return True

    def ensure_path_async(self, path: str, acl: Iterable[ACL] | None = None) -> Future[bool]:
        """As :meth:`ensure_path`, as one transaction's worth of requests sent at once."""
        from .futures import Future

        names = path.strip("/").split("/")
        # One after the other in one session: the parents are there when their children come.
        futures = [self.create_async("/" + "/".join(names[: at + 1]), b"", acl) for at in range(len(names)) if names[0]]
        last: Future[bool] = Future(self._inbox, _requests.nothing, path)

        def done(of: Any) -> None:
            error = of.exception()
            if error is None or isinstance(error, NodeExistsError):
                last._result = True
                last._finish()
            else:
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
        name, secret = scheme.encode(), credential.encode()
        handle = self._handle
        _interruptibly(lambda: _abi.zoa_client_add_auth(handle, name, secret, len(secret)))
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

    # ---- watches ----

    def watch(self, path: str, callback: WatchCallback | None = None, *, recursive: bool = False) -> Watch:
        """Watches a znode, which need not exist, and with `recursive` all below it, until closed.

        With `callback` each event is handed to it, on this package's thread. Without, iterate over what this returns::

            for event in zk.watch("/jobs", recursive=True):
                ...

        A recursive watch tells of creations, deletions and changes; one that is not tells of changed lists of children,
        too.
        """
        watch = Watch(self, path, recursive, callback)
        mode = _abi.ZOA_WATCH_RECURSIVE if recursive else _abi.ZOA_WATCH_PERSISTENT
        raw = _requests.encode_path(path)
        inbox, handle, key, number = self._inbox, self._handle, watch.key, c_uint64()
        inbox.drain()
        _inbox.receivers[key] = watch._arrived
        self._watches[key] = watch
        try:
            _interruptibly(
                lambda: _abi.zoa_client_watch(handle, raw, mode, inbox.on_event, key, byref(number)), path
            )
        except BaseException:
            watch._end()
            raise
        watch._id = number.value
        return watch

    def _unwatch(self, watch: Watch) -> None:
        handle, number = self._handle, watch._id
        if _inbox.is_ours(self._inbox):
            _interruptibly(lambda: _abi.zoa_client_unwatch(handle, number), watch.path)

    def add_watch(self, path: str, watch: WatchCallback, mode: int) -> Watch:
        """A standing watch in kazoo's words; `mode` is one of :class:`AddWatchMode`."""
        return self.watch(path, watch, recursive=mode == AddWatchMode.PERSISTENT_RECURSIVE)

    def remove_all_watches(self, path: str, watch_type: int = WatcherType.ANY) -> bool:
        """Ends this client's watches of a path; `watch_type` is one of :class:`WatcherType`."""
        found = False
        path = "/" + path.strip("/")
        if watch_type == WatcherType.ANY:
            for watch in list(self._watches.values()):
                if "/" + watch.path.strip("/") == path:
                    found = True
                    watch.close()
        kinds = {WatcherType.CHILDREN: ("child",), WatcherType.DATA: ("data",)}.get(watch_type, ("child", "data"))
        for at, key in list(self._once.items()):
            if at[0] in kinds and at[1] == path:
                found = True
                self._once.pop(at, None)
                _inbox.receivers.pop(key, None)
        if not found:
            raise error_of(_abi.ZOA_NO_WATCHER, path)
        return True

    def _once_key(self, kind: str, path: str, callback: WatchCallback) -> tuple[int, bool]:
        """The number under which `callback` hears of `path`, and whether it is new."""
        at = (kind, "/" + path.strip("/"), callback)
        found = self._once.get(at)
        if found is not None:
            return found, False
        me = weakref.ref(self)
        key = _inbox.next_key()

        def arrived(event: WatchedEvent) -> None:
            _inbox.receivers.pop(key, None)
            client = me()
            if client is not None:
                client._once.pop(at, None)
            callback(event)

        _inbox.receivers[key] = arrived
        self._once[at] = key
        return key, True

    def _forget_once(self, kind: str, path: str, callback: WatchCallback) -> None:
        key = self._once.pop((kind, "/" + path.strip("/"), callback), 0)
        _inbox.receivers.pop(key, None)

    def _do_watched(self, slot: Slot, convert: Convert[T], callback: WatchCallback, kind: str) -> T:
        inbox = self._inbox
        inbox.drain()
        key, is_new = self._once_key(kind, slot.path, callback)
        slot = _requests.watched(slot.op.kind, slot.path, inbox.on_event, key)
        try:
            return self._do(slot, convert)
        except BaseException as error:
            # A watch for the creation of what is not there is one, too.
            if is_new and not (slot.op.kind == _abi.ZOA_OP_EXISTS and isinstance(error, NoNodeError)):
                self._forget_once(kind, slot.path, callback)
            raise

    def _send_watched(
        self, slot: Slot, convert: Convert[T], callback: WatchCallback | None, kind: str
    ) -> Future[T]:
        if callback is None:
            return self._send(slot, convert)
        path, watch = slot.path, callback
        key, is_new = self._once_key(kind, path, watch)
        slot = _requests.watched(slot.op.kind, path, self._inbox.on_event, key)
        future = self._send(slot, convert)
        if is_new:

            def done(of: Any) -> None:
                error = of.exception()
                if error is not None and not (slot.op.kind == _abi.ZOA_OP_EXISTS and isinstance(error, NoNodeError)):
                    self._forget_once(kind, path, watch)

            future.add_done_callback(done)
        return future

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
) -> Client:
    """A client over TCP, to any ZooKeeper-compatible server, once one has answered.

    `hosts` is ZooKeeper's connect string, ``"h1:2181,h2:2181/app"``; `timeout` is the session's, in seconds. Raises
    :class:`TimedOutError` when no server has answered in `connect_timeout` seconds.
    """
    client = Client(
        hosts,
        timeout=timeout,
        chroot=chroot,
        read_only=read_only,
        resume=resume,
        reopen_after_fork=reopen_after_fork,
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


def _interruptibly(call: Callable[[], int], path: str | None = None) -> None:
    """Runs a call that waits without a limit so that Ctrl-C works on the main thread; raises what its code means."""
    threading = sys.modules.get("threading")
    if threading is None or get_ident() != threading.main_thread().ident or _inbox.is_exiting():
        check(call(), path)
        return
    said: list[tuple[int, str]] = []

    def run() -> None:
        code = call()
        # What went wrong is known on the thread it went wrong on.
        said.append((code, last_error() if code else ""))

    thread = threading.Thread(target=run, name="zoarium-call", daemon=True)
    thread.start()
    thread.join()
    code, text = said[0]
    if code:
        raise error_of(code, path, text)


def _close_all(deadline: float) -> None:
    for client in list(_clients):
        try:
            client.close(max(0.0, deadline - monotonic()))
        except Exception:
            pass


def _all_forked() -> None:
    for client in list(_clients):
        client._forked()


_inbox.at_exit.append(_close_all)
_inbox.in_child.append(_all_forked)
