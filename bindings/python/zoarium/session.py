"""What all kinds of client have in common: a session, its state and its end."""

from __future__ import annotations

import weakref
from ctypes import byref, c_void_p, sizeof
from functools import partial
from time import monotonic, sleep
from typing import Any, Awaitable, Callable, Coroutine, Generator, Iterable, Protocol, TypeVar, cast

from . import _abi, _inbox, _requests
from ._life import Life, life
from ._log import wire_logging
from ._requests import Request, WatchCallback, of_parts, of_result
from .errors import FORKED_SERVER, NoNodeError, ZoariumError, check, error_of, failure
from .types import KEEPER_STATES, STATES, KazooState, WatchedEvent

T = TypeVar("T")
Listener = Callable[[str], object]
#: Gets what became of a request: its value, or its failure.
Then = Callable[[Any, "BaseException | None"], object]

_SESSION_SIZE = sizeof(_abi.Session)
_OPTIONS_SIZE = sizeof(_abi.ClientOptions)
#: How long a thread waits in the library before it looks whether that is still wanted, ms.
_SLICE_MS = 100


class Host(Protocol):
    """A server in this process, as its clients see it."""

    @property
    def handle(self) -> c_void_p:
        """The library's handle of it."""

    @property
    def address(self) -> str:
        """Where clients from elsewhere connect."""

    def is_ours(self) -> bool:
        """Whether this process started it, and not the one it was forked from."""


class AnyWatch(Protocol):
    """A standing watch, of whichever kind of client."""

    path: str
    key: int

    def end(self, why: ZoariumError | None = None) -> None:
        """Nothing more will come, for this reason."""


def _end_of(state: int, path: str) -> ZoariumError:
    """Why a watch is over whose session has ended in a final state."""
    code, text = {
        _abi.ZOA_EXPIRED: (_abi.ZOA_SESSION_EXPIRED, "the session has expired"),
        _abi.ZOA_AUTH_REFUSED: (_abi.ZOA_AUTH_FAILED, "the server refused the session's credentials"),
    }.get(state, (_abi.ZOA_CLOSED, "the server has stopped"))
    return error_of(code, path, f"the watch of {path} is over: {text}")


#: Sessions that may have to be closed at the interpreter's end, or told of a fork.
_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


class Session:
    """How a client is begun, and what all kinds of client have in common."""

    def __init__(
        self,
        target: Host | str,
        inbox: _inbox.Inbox,
        *,
        timeout: float,
        chroot: str | None,
        read_only: bool,
        resume: tuple[int, bytes] | None,
        request_size_max: int,
        new_session: bool = False,
    ) -> None:
        if not 0 <= request_size_max < 1 << 32:
            raise ValueError(f"request_size_max is {request_size_max}")
        self._request_size_max = request_size_max
        self._new_session = new_session
        #: What is said to a server about who this is.
        self._auth_data: list[tuple[str, str]] = []
        #: The handle of the session before, for calls that have just begun with it.
        self._spent: c_void_p | None = None
        self._target = target
        self._timeout = timeout
        self._chroot = chroot
        self._read_only = read_only
        self._state_key = 0
        self._last_state: str | None = None
        self._listeners: list[Listener] = []
        #: Standing watches by number; those with a callback live as long as their client, the others as long as they are
        #: referred to.
        self._watches: weakref.WeakValueDictionary[int, AnyWatch] = weakref.WeakValueDictionary()
        #: One-shot watches by what they wait for, so that the same function is told once, as in kazoo.
        self._once: dict[tuple[str, str, WatchCallback], int] = {}
        self._closed = False
        #: Numbers of watches that nobody refers to any more.
        self._abandoned: list[int] = []
        self._begin(target, inbox, resume)
        _sessions.add(self)

    def _begin(self, target: Host | str, inbox: _inbox.Inbox, resume: tuple[int, bytes] | None) -> None:
        wire_logging()
        self._inbox = inbox
        self._handle, self._state_key = self._open(target, inbox, resume)

    def _open(
        self, target: Host | str, inbox: _inbox.Inbox, resume: tuple[int, bytes] | None
    ) -> tuple[c_void_p, int]:
        """Opens a session; returns the library's handle of it, and under what number it tells of its state."""
        key = _inbox.next_key()
        options = _abi.ClientOptions(struct_size=_OPTIONS_SIZE)
        options.flags = _abi.ZOA_ALLOW_READ_ONLY if self._read_only else 0
        options.session_timeout_ms = max(int(self._timeout * 1000), 1)
        if self._chroot and self._chroot != "/":
            options.chroot = _requests.encode_path(self._chroot)
        options.request_size_max = self._request_size_max
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
            # Of a session that is not yet this client's, or not any more, nothing is told.
            if client is not None and client._state_key == key:
                client._changed(int(state))

        _inbox.receivers[key] = on_state
        handle = c_void_p()
        try:
            if isinstance(target, str):
                check(_abi.zoa_client_connect(target.encode(), byref(options), byref(handle)))
            else:
                code = _abi.zoa_client_open(target.handle, byref(options), byref(handle))
                if code == _abi.ZOA_FORKED:
                    raise error_of(code, None, FORKED_SERVER)
                check(code)
        except BaseException:
            del _inbox.receivers[key]
            raise
        return handle, key

    # ---- another session ----

    def _renew(self) -> None:
        """Begins another session in place of one that has expired. It is this client's once it can be used."""
        import threading

        threading.Thread(target=_renewing, args=(weakref.ref(self),), name="zoarium-call", daemon=True).start()

    def _adopt(self, handle: c_void_p, key: int) -> None:
        """Takes over a session that has been begun; where callbacks run."""
        if self._closed:
            _discard(handle, key)
            return
        spent, self._spent = self._spent, self._handle
        _inbox.receivers.pop(self._state_key, None)
        self._handle, self._state_key = handle, key
        self._last_state = None
        if spent is not None:
            _abi.zoa_client_free(spent)
        self._changed(self._session().state)

    def _adopt_soon(self, handle: c_void_p, key: int) -> None:
        """Has it taken over."""
        self.call_soon(lambda: self._adopt(handle, key))

    # ---- what the library tells ----

    def add_listener(self, listener: Listener) -> None:
        """Has `listener` called with every new state, one of :class:`KazooState`, until it returns ``True``."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Has it called no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _changed(self, state: int) -> None:
        told = STATES[state]
        if told == KazooState.LOST:
            # What was closed here ends as asked; anything else is news to whoever follows a watch.
            self._lose(None if self._closed else state)
            if state == _abi.ZOA_EXPIRED and self._new_session and not self._closed:
                self._renew()
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

    def _lose(self, state: int | None = None) -> None:
        """Nothing more will come. `state` is the library's, where nobody here asked for the end."""
        self._tell(KazooState.LOST)
        for watch in list(self._watches.values()):
            watch.end(None if state is None else _end_of(state, watch.path))
        for key in list(self._once.values()):
            _inbox.receivers.pop(key, None)
        self._once.clear()

    # ---- requests ----

    def begin(self, request: Request[Any], then: Then) -> None:
        """Sends a request. `then` is called where callbacks run, with its value or its failure.

        Answers and events come in the order in which the server made them.
        """
        error = self._submit(request, then)
        if error is not None:
            self.call_soon(partial(then, None, error))

    def call_soon(self, function: Callable[[], object]) -> None:
        """Calls a function as if it were a callback: no other one runs meanwhile, what it begins is answered after it.

        Here, when no callback is running; otherwise where that one runs, and after it.
        """
        self._inbox.post(function)

    def in_callback(self) -> bool:
        """Whether this is called from a callback, where nobody can wait for another one."""
        return self._inbox.is_dispatching_here()

    def _submit(self, request: Request[Any], then: Then) -> ZoariumError | None:
        """As :meth:`begin`, but for a failure at once, which it returns."""
        convert, path, recover = request.convert, request.path, request.recover
        watch, is_new = request.watch, False
        if watch is not None:
            is_new = self._arm(request)
        if recover is None and not is_new:

            def arrived(result: int) -> None:
                try:
                    value = of_result(result, convert, path)
                except BaseException as error:
                    then(None, error)
                else:
                    then(value, None)

        else:
            # Not to keep the client alive for an answer that may never come.
            me, operation, kind = weakref.ref(self), request.op.kind, request.watch_kind

            def arrived(result: int) -> None:
                try:
                    value = of_result(result, convert, path)
                except BaseException as error:
                    client = me()
                    if client is not None:
                        if is_new and watch is not None and not client._leaves_watch(operation, error):
                            client._forget_once(kind, path, watch)
                        if recover is not None and isinstance(error, ZoariumError):
                            conduct(recover(_ByCallbacks(client), error), then)
                            return
                    then(None, error)
                else:
                    then(value, None)

        key = _inbox.next_key()
        _inbox.receivers[key] = arrived
        code = _abi.zoa_client_submit(self._handle, request.op_ref, self._inbox.on_done, key)
        if code:
            del _inbox.receivers[key]
            if is_new and watch is not None:
                self._forget_once(request.watch_kind, path, watch)
            return failure(code, path)
        request.recycle()
        return None

    def _submit_parts(self, parts: list[Request[Any]], then: Then) -> ZoariumError | None:
        """The same for several requests as one."""

        def arrived(result: int) -> None:
            try:
                found = of_parts(result, parts)
            except BaseException as error:
                then(None, error)
            else:
                then(found, None)
            finally:
                _abi.zoa_result_free(result)

        key = _inbox.next_key()
        _inbox.receivers[key] = arrived
        array = _requests.op_array(parts)
        code = _abi.zoa_client_submit_multi(self._handle, array, len(parts), self._inbox.on_done, key)
        if code:
            del _inbox.receivers[key]
            return failure(code)
        return None

    def begin_chroot(self, acl: Iterable[Any] | None, then: Then) -> None:
        """Creates the chroot with what is above it, without waiting."""
        raise NotImplementedError

    # ---- watches ----

    def keep_watch(self, watch: AnyWatch) -> None:
        """Has a standing watch end with the session."""
        self._watches[watch.key] = watch

    def drop_watch(self, watch: AnyWatch) -> None:
        """It has ended."""
        self._watches.pop(watch.key, None)

    def abandon(self, number: int) -> None:
        """Nobody refers to a standing watch any more: the server is told when there is time."""
        self._abandoned.append(number)

    def _take_abandoned(self) -> list[int]:
        return [self._abandoned.pop() for _ in range(len(self._abandoned))]

    def _arm(self, request: Request[Any]) -> bool:
        """Has a read leave its watch. Whether that is a new one."""
        assert request.watch is not None
        key, is_new = self._once_key(request.watch_kind, request.path, request.watch)
        request.op.watch = self._inbox.on_event
        request.op.watch_data = key
        return is_new

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

    @staticmethod
    def _leaves_watch(operation: int, error: BaseException) -> bool:
        """Whether a read that failed has left its watch: one for the creation of what is not there is one, too."""
        return operation == _abi.ZOA_OP_EXISTS and isinstance(error, NoNodeError)

    def _forget_once(self, kind: str, path: str, callback: WatchCallback) -> None:
        key = self._once.pop((kind, "/" + path.strip("/"), callback), 0)
        _inbox.receivers.pop(key, None)

    # ---- what is known of it ----

    def _session(self) -> Any:
        session = _abi.Session(struct_size=_SESSION_SIZE)
        check(_abi.zoa_client_session(self._handle, byref(session)))
        return session

    @property
    def chroot(self) -> str:
        """What all paths are below; empty for none."""
        return (self._chroot or "").rstrip("/")

    def _whole_chroot(self) -> tuple[Host | str, str]:
        """Where this client connects, without any chroot, and what all its paths are below; empty for nothing."""
        if not isinstance(self._target, str):
            return self._target, self.chroot
        hosts, _, outer = self._target.partition("/")
        return hosts, "".join(f"/{path.strip('/')}" for path in (outer, self.chroot) if path.strip("/"))

    @property
    def has_chroot(self) -> bool:
        """Whether all paths are below something."""
        return bool(self._whole_chroot()[1])

    @property
    def renews(self) -> bool:
        """Whether a session that has expired is followed by another one."""
        return self._new_session

    @property
    def target(self) -> Host | str:
        """What it is a client of: a server in this process, or a connect string."""
        return self._target

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

    def __del__(self, _life: Life = life, _receivers: dict[int, Any] = _inbox.receivers) -> None:
        handle = self.__dict__.get("_handle")
        # What still lives at the interpreter's end was closed by then; its memory goes with the process.
        if handle and not _life.is_ending:
            _receivers.pop(self._state_key, None)
            _abi.zoa_client_free(handle)
            if self._spent is not None:
                _abi.zoa_client_free(self._spent)

    def _end_with_process(self, limit: float) -> None:
        """Closes it as well as that can be done at the interpreter's end."""
        if not self._closed:
            self._closed = True
            _abi.zoa_client_close(self._handle, int(limit * 1000))

    def _forked(self) -> None:
        self._watches.clear()
        self._once.clear()


class _Step(Awaitable[T]):
    """What a coroutine that is conducted by callbacks waits for."""

    def __init__(self, begin: Callable[[Then], None]) -> None:
        self.begin = begin

    def __await__(self) -> Generator[_Step[T], T, T]:
        return (yield self)


class _ByCallbacks:
    """Conducts a coroutine by callbacks: nobody waits."""

    def __init__(self, client: Session) -> None:
        self._client = client

    @property
    def has_chroot(self) -> bool:
        return self._client.has_chroot

    def perform(self, request: Request[T]) -> Awaitable[T]:
        return _Step(partial(self._client.begin, request))

    def create_chroot(self, acl: Iterable[Any] | None) -> Awaitable[None]:
        return _Step(partial(self._client.begin_chroot, acl))


def _discard(handle: c_void_p, key: int) -> None:
    """Ends a session that nobody wants any more."""
    _inbox.receivers.pop(key, None)
    _abi.zoa_client_close(handle, 0)
    _abi.zoa_client_free(handle)


def _renewing(me: weakref.ref[Session]) -> None:
    """Begins a session for a client, on a thread of its own, as often as it takes, for as long as the client is wanted."""

    def wanted() -> Session | None:
        client = me()
        return None if client is None or client.closed or life.is_ending else client

    client = wanted()
    while client is not None:
        try:
            handle, key = client._open(client._target, client._inbox, None)
        except ZoariumError as error:
            # A server of this process that has stopped, for one: there will be no other session.
            _inbox.report(error)
            return
        auth_data = list(client._auth_data)
        # Whoever waits for a server must not keep the client alive.
        client = None
        code = _abi.ZOA_TIMEOUT
        while code == _abi.ZOA_TIMEOUT and wanted() is not None:
            code = _abi.zoa_client_wait(handle, _SLICE_MS)
        for scheme, credential in auth_data:
            if code == _abi.ZOA_OK:
                name, secret = scheme.encode(), credential.encode()
                code = _abi.zoa_client_add_auth(handle, name, secret, len(secret))
        client = wanted()
        if code == _abi.ZOA_OK and client is not None:
            client._adopt_soon(handle, key)
            return
        _discard(handle, key)
        if code == _abi.ZOA_AUTH_FAILED:
            _inbox.report(error_of(code, None, "the new session was refused: the client stays without one"))
            return
        # Expired once more, perhaps, before it could be used.
        sleep(_SLICE_MS / 1000)


def conduct(coroutine: Coroutine[Any, Any, Any], then: Then) -> None:
    """Runs a coroutine from callback to callback; `then` gets what becomes of it."""

    def go_on(value: Any, error: BaseException | None) -> None:
        try:
            step = cast("_Step[Any]", coroutine.send(value) if error is None else coroutine.throw(error))
        except StopIteration as done:
            then(done.value, None)
        except BaseException as failed:
            then(None, failed)
        else:
            step.begin(go_on)

    go_on(None, None)


def _close_all(deadline: float) -> None:
    for session in list(_sessions):
        try:
            session._end_with_process(max(0.0, deadline - monotonic()))
        except Exception:
            # There is nobody left to tell.
            pass


def _all_forked() -> None:
    for session in list(_sessions):
        session._forked()


_inbox.at_exit.append(_close_all)
_inbox.in_child.append(_all_forked)
