"""Standing watches, as iterators or with a callback."""

from __future__ import annotations

import weakref
from collections import deque
from _thread import allocate_lock
from time import monotonic
from typing import TYPE_CHECKING, Callable, Iterator

from . import _inbox
from .errors import ConnectionClosedError, NoWatcherError, TimedOutError, WouldDeadlockError, ZoariumError
from .types import WatchedEvent

if TYPE_CHECKING:
    from .client import Client

WatchCallback = Callable[[WatchedEvent], object]


class Watch:
    """A standing watch: an iterator of events, or what calls a callback for each of them.

    It ends with :meth:`close`, at the end of its ``with`` block, and with its session. No event is ever dropped: those
    nobody has taken yet wait here.
    """

    def __init__(self, client: Client, path: str, recursive: bool, callback: WatchCallback | None) -> None:
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
        self._id = 0
        self.key = _inbox.next_key()

    def __iter__(self) -> Iterator[WatchedEvent]:
        return self

    def __next__(self) -> WatchedEvent:
        try:
            return self.get()
        except ConnectionClosedError:
            raise StopIteration from None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<zoarium.Watch {self.path}{'/…' if self.recursive else ''}{' over' if self._is_over else ''}>"

    def get(self, timeout: float | None = None) -> WatchedEvent:
        """The next event, waiting for it.

        Raises :class:`TimedOutError` when there was none in time, and :class:`ConnectionClosedError` when the watch is
        over and all its events have been taken.
        """
        deadline = _inbox.deadline_of(timeout)
        while True:
            try:
                return self._events.popleft()
            except IndexError:
                pass
            if self._is_over:
                raise ConnectionClosedError(f"the watch of {self.path} is over")
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
            try:
                client._unwatch(self)
            except NoWatcherError:
                pass
            except ZoariumError:
                # The session is over, or the connection is: nothing will come either way.
                pass
        self._end()

    def _arrived(self, event: WatchedEvent) -> None:
        if self._is_over:
            return
        if self._callback is not None:
            self._callback(event)
            return
        self._events.append(event)
        self._wake()

    def _end(self) -> None:
        self._is_over = True
        _inbox.receivers.pop(self.key, None)
        client = self._client()
        if client is not None:
            client._watches.pop(self.key, None)
        self._wake()

    def _wake(self) -> None:
        try:
            self._some.release()
        except RuntimeError:
            # Somebody has been told already.
            pass
