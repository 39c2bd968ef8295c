"""What all kinds of client have in common: a session, its state and its end."""

from __future__ import annotations

import weakref
from ctypes import byref, c_void_p, sizeof
from typing import TYPE_CHECKING, Any

from . import _abi, _inbox, _requests
from .errors import check
from .types import KEEPER_STATES, STATES, KazooState

if TYPE_CHECKING:
    from .server import Server

_SESSION_SIZE = sizeof(_abi.Session)
_OPTIONS_SIZE = sizeof(_abi.ClientOptions)


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
