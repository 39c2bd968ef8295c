"""Standing watches, as iterators or with a callback."""

from __future__ import annotations

import weakref
from collections import deque
from _thread import allocate_lock, get_ident
from time import monotonic
from ctypes import byref, c_uint64
from typing import TYPE_CHECKING, Any, Callable, Iterator

from . import _abi, _inbox, _requests
from ._requests import Request, WatchCallback
from .calls import Calls, interruptibly
from .errors import (
    ConnectionClosedError,
    TimedOutError,
    WouldDeadlockError,
    ZoariumError,
    error_of,
    over,
)
from .types import AddWatchMode, WatchedEvent, WatcherType

if TYPE_CHECKING:
    import threading

    from .threads import ThreadSignal


class Watch:
    """A standing watch: an iterator of events, or what calls a callback for each of them.

    It ends with :meth:`close`, at the end of its ``with`` block, and with its client: then the iteration stops. Where it
    ends by itself, iterating raises why: :class:`SessionExpiredError`, or :class:`ConnectionClosedError` when the server in
    this process has stopped. No event is ever dropped: those nobody has taken yet wait here, and come first.
    """

    def __init__(self, client: Watching, path: str, recursive: bool, callback: WatchCallback | None) -> None:
        #: The path that is watched.
        self.path = path
        #: Whether it sees everything below the path, too.
        self.recursive = recursive
        self._client = weakref.ref(client)
        self._callback = callback
        self._events: deque[WatchedEvent] = deque()
        # Held while there is nothing to take: waiting for it can be interrupted, and takes nothing.
        self._some = allocate_lock()
        self._some.acquire()
        self._is_over = False
        #: Why it is over, where that was nobody's wish here.
        self._why: ZoariumError | None = None
        self._id = 0
        self.key = _inbox.next_key()

    def __iter__(self) -> Iterator[WatchedEvent]:
        return self

    def __next__(self) -> WatchedEvent:
        try:
            return self.get()
        except ConnectionClosedError:
            if self._why is not None:
                raise
            raise StopIteration from None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<zoarium.Watch {self.path}{'/…' if self.recursive else ''}{' over' if self._is_over else ''}>"

    def get(self, timeout: float | None = None) -> WatchedEvent:
        """The next event, waiting for it.

        Raises :class:`TimedOutError` when there was none in time. When the watch is over and all its events have been
        taken: :class:`SessionExpiredError` if that is why, :class:`ConnectionClosedError` otherwise.
        """
        deadline = _inbox.deadline_of(timeout)
        while True:
            try:
                return self._events.popleft()
            except IndexError:
                pass
            if self._is_over:
                raise over(self.path, self._why)
            inbox = _inbox.shared()
            left = deadline - monotonic()
            if left <= 0:
                raise TimedOutError(f"no event at {self.path} in {timeout} s")
            if inbox.is_dispatching_here():
                raise WouldDeadlockError("waiting for an event in a callback, which events would have to wait for")
            if inbox.is_drained:
                self._some.acquire(timeout=min(left, 3600.0))
            else:
                inbox.pump(min(left, 0.1))

    def close(self) -> None:
        """Ends the watch; events that nobody has taken yet may still be taken."""
        client = self._client()
        if client is not None and not self._is_over and self._id:
            client.unwatch(self._id, self.path)
        self.end()

    def _arrived(self, event: WatchedEvent) -> None:
        if self._is_over:
            return
        if self._callback is not None:
            self._callback(event)
            return
        self._events.append(event)
        self._wake()

    def end(self, why: ZoariumError | None = None) -> None:
        """Nothing more will come, for this reason; :meth:`close` also tells the server."""
        if not self._is_over:
            self._why = why
        self._is_over = True
        _inbox.receivers.pop(self.key, None)
        client = self._client()
        if client is not None:
            client.drop_watch(self)
        self._wake()

    def __del__(self, _receivers: dict[int, Any] = _inbox.receivers) -> None:
        # A loop that was left: the server is told when there is time, what comes until then goes nowhere.
        client = self._client()
        if client is not None and self._id and not self._is_over:
            _receivers.pop(self.key, None)
            client.abandon(self._id)

    def _wake(self) -> None:
        try:
            self._some.release()
        except RuntimeError:
            # Somebody has been told already.
            pass


def _weakly(watch: Watch) -> _inbox.Receiver:
    me = weakref.ref(watch)

    def arrived(event: WatchedEvent) -> None:
        found = me()
        if found is not None:
            found._arrived(event)

    return arrived


class Watching(Calls):
    """A client's watches: standing ones, and those that reads leave."""

    def watch(self, path: str, callback: WatchCallback | None = None, *, recursive: bool = False) -> Watch:
        """Watches a znode, which need not exist, and with `recursive` all below it, until closed.

        With `callback` each event is handed to it, on this package's thread. Without, iterate over what this returns::

            for event in zk.watch("/jobs", recursive=True):
                ...

        A recursive watch tells of creations, deletions and changes; one that is not tells of changed lists of children,
        too.
        """
        self._be_here()
        for left in self._take_abandoned():
            self.unwatch(left, path)
        watch = Watch(self, path, recursive, callback)
        mode = _abi.ZOA_WATCH_RECURSIVE if recursive else _abi.ZOA_WATCH_PERSISTENT
        raw = _requests.encode_path(path)
        inbox, handle, key, number = self._inbox, self._handle, watch.key, c_uint64()
        inbox.drain()
        _inbox.receivers[key] = watch._arrived if callback is not None else _weakly(watch)
        self.keep_watch(watch)
        try:
            interruptibly(
                lambda: _abi.zoa_client_watch(handle, raw, mode, inbox.on_event, key, byref(number)), path
            )
        except BaseException:
            watch.end()
            raise
        watch._id = number.value
        return watch

    def unwatch(self, number: int, path: str) -> None:
        """Ends a standing watch by its number; that it has ended already does not matter."""
        handle = self._handle
        if _inbox.is_ours(self._inbox):
            try:
                interruptibly(lambda: _abi.zoa_client_unwatch(handle, number), path)
            except ZoariumError:
                # It has ended already, or the session or the connection has: nothing will come either way.
                pass

    def add_watch(self, path: str, watch: WatchCallback, mode: int) -> Watch:
        """A standing watch in kazoo's words; `mode` is one of :class:`AddWatchMode`."""
        return self.watch(path, watch, recursive=mode == AddWatchMode.PERSISTENT_RECURSIVE)

    def remove_all_watches(self, path: str, watch_type: int = WatcherType.ANY) -> bool:
        """Ends this client's watches of a path; `watch_type` is one of :class:`WatcherType`."""
        found = False
        path = "/" + path.strip("/")
        if watch_type == WatcherType.ANY:
            for watch in list(self._watches.values()):
                if isinstance(watch, Watch) and "/" + watch.path.strip("/") == path:
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

    # ---- what recipes need besides ----

    def current(self) -> object:
        """Who is at it: the thread."""
        return get_ident()

    def signal(self) -> ThreadSignal:
        """Something to wait for."""
        from .threads import ThreadSignal

        return ThreadSignal()

    def call_later(self, seconds: float, function: Callable[[], object]) -> threading.Timer:
        """Calls a function on a thread of its own after a while, unless that is cancelled."""
        import threading

        timer = threading.Timer(seconds, function)
        timer.daemon = True
        timer.start()
        return timer

    async def stand(self, path: str, callback: WatchCallback, recursive: bool = False) -> Watch:
        """As :meth:`watch`: a coroutine that waits in this thread."""
        return self.watch(path, callback, recursive=recursive)

    async def unstand(self, watch: Watch) -> None:
        """Ends such a watch."""
        watch.close()

    async def perform_parts(self, parts: list[Request[Any]]) -> list[Any]:
        """As :meth:`send_parts`: a coroutine that waits in this thread."""
        return self.send_parts(parts).result()
