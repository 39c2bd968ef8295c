"""What all kinds of client have in common: a session, its state and its end."""

from __future__ import annotations

import weakref
from ctypes import byref, c_void_p, sizeof
from time import monotonic
from typing import TYPE_CHECKING, Any, Callable, Protocol

from . import _abi, _inbox, _requests
from ._life import Life, life
from .errors import FORKED_SERVER, ZoariumError, check, error_of
from .types import KEEPER_STATES, STATES, KazooState, WatchedEvent

if TYPE_CHECKING:
    from .server import Server

Listener = Callable[[str], object]
WatchCallback = Callable[[WatchedEvent], object]

_SESSION_SIZE = sizeof(_abi.Session)
_OPTIONS_SIZE = sizeof(_abi.ClientOptions)


class AnyWatch(Protocol):
    """A standing watch, of whichever kind of client."""

    path: str

    def _end(self, why: ZoariumError | None = None) -> None: ...


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
        target: Server | str,
        inbox: _inbox.Inbox,
        *,
        timeout: float,
        chroot: str | None,
        read_only: bool,
        resume: tuple[int, bytes] | None,
        request_size_max: int,
    ) -> None:
        if not 0 <= request_size_max < 1 << 32:
            raise ValueError(f"request_size_max is {request_size_max}")
        self._request_size_max = request_size_max
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

    def _begin(self, target: Server | str, inbox: _inbox.Inbox, resume: tuple[int, bytes] | None) -> None:
        self._inbox = inbox
        self._state_key = key = _inbox.next_key()
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
            if client is not None:
                client._changed(int(state))

        _inbox.receivers[key] = on_state
        handle = c_void_p()
        try:
            if isinstance(target, str):
                check(_abi.zoa_client_connect(target.encode(), byref(options), byref(handle)))
            else:
                code = _abi.zoa_client_open(target._handle, byref(options), byref(handle))
                if code == _abi.ZOA_FORKED:
                    raise error_of(code, None, FORKED_SERVER)
                check(code)
        except BaseException:
            del _inbox.receivers[key]
            raise
        self._handle = handle

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
            watch._end(None if state is None else _end_of(state, watch.path))
        for key in list(self._once.values()):
            _inbox.receivers.pop(key, None)
        self._once.clear()

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

    # ---- what is known of it ----

    def _session(self) -> Any:
        session = _abi.Session(struct_size=_SESSION_SIZE)
        check(_abi.zoa_client_session(self._handle, byref(session)))
        return session

    @property
    def chroot(self) -> str:
        """What all paths are below; empty for none."""
        return (self._chroot or "").rstrip("/")

    def _whole_chroot(self) -> tuple[Server | str, str]:
        """Where this client connects, without any chroot, and what all its paths are below; empty for nothing."""
        if not isinstance(self._target, str):
            return self._target, self.chroot
        hosts, _, outer = self._target.partition("/")
        return hosts, "".join(f"/{path.strip('/')}" for path in (outer, self.chroot) if path.strip("/"))

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

    def _end_with_process(self, limit: float) -> None:
        """Closes it as well as that can be done at the interpreter's end."""
        if not self._closed:
            self._closed = True
            _abi.zoa_client_close(self._handle, int(limit * 1000))

    def _forked(self) -> None:
        self._watches.clear()
        self._once.clear()


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
