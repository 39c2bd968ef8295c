"""How callbacks reach Python: through queues that Python itself empties, never straight from a foreign thread.

A callback of the library only puts what it got into a list. Whoever runs a queue then *dispatches* the list: hands each
entry to its receiver, in order, one thread at a time, with none of the library's frames on the stack. So a callback of
the program may do anything, and an interpreter that ends does not end inside the library.

Receivers are found by number, which travels as ``user_data``: the library never holds a reference to a Python object.
"""

from __future__ import annotations

import atexit
import itertools
import os
from _thread import allocate_lock, get_ident
from collections import deque
from ctypes import byref, c_void_p, string_at
from struct import Struct
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Callable

from . import _abi
from ._life import life
from .errors import check
from .types import EVENT_TYPES, KeeperState, WatchedEvent

if TYPE_CHECKING:
    from threading import Thread

#: Callbacks run with the interpreter's lock held, so no more than these in one go.
BATCH = 512
_EVENT = Struct("@IiiIQq")

Receiver = Callable[[Any], None]
#: Who gets what comes for a number. A receiver of a result gets it once.
receivers: dict[int, Receiver] = {}
next_key: Callable[[], int] = itertools.count(1).__next__


class Inbox:
    """A queue of the library's, and what its callbacks brought until somebody dispatches it."""

    def __init__(self) -> None:
        self.handle = c_void_p()
        check(_abi.zoa_queue_new(byref(self.handle)))
        self.descriptor: int = _abi.zoa_queue_fd(self.handle)
        self.process = os.getpid()
        entries: deque[tuple[int, Any]] = deque()
        arrived = entries.append

        def on_event(_client: int, event: int, key: int) -> None:
            _size, kind, _state, _reserved, path, zxid = _EVENT.unpack(string_at(event, _EVENT.size))
            told = WatchedEvent(EVENT_TYPES.get(kind, str(kind)), KeeperState.CONNECTED, string_at(path).decode(), zxid)
            arrived((key, told))

        self.on_done = _abi.DoneFn(lambda _client, result, key: arrived((key, result)))
        self.on_event = _abi.WatchFn(on_event)
        self.on_log = _abi.LogFn(
            lambda level, module, line, key: arrived(
                (key, (level, module.decode(errors="replace"), line.decode(errors="replace")))
            )
        )
        self.on_state = _abi.StateFn(lambda _client, state, key: arrived((key, str(state))))
        self._entries = entries
        self._lock = allocate_lock()
        self._owner = 0
        self._thread: Thread | None = None
        self._stop: tuple[int, int] | None = None

    def run(self) -> bool:
        """Runs what waits in the queue, without waiting. False while another thread is at it."""
        code: int = _abi.zoa_queue_run(self.handle, BATCH, 0, None)
        return code == _abi.ZOA_OK

    def is_dispatching_here(self) -> bool:
        """Whether this is called from a callback."""
        return self._owner == get_ident()

    def dispatch(self, limit: float = -1) -> bool:
        """Hands out what has arrived. False when another thread was still at it after `limit` seconds, or this one is."""
        me = get_ident()
        while True:
            if self._owner == me or not self._lock.acquire(timeout=limit):
                return False
            self._owner = me
            try:
                self._hand_out()
            finally:
                self._owner = 0
                self._lock.release()
            # Whoever found this thread at it relied on it: what came at the last moment is not left lying.
            if not self._entries:
                return True

    def _hand_out(self) -> None:
        take, all_receivers = self._entries.popleft, receivers
        nobody: Receiver = _abi.zoa_result_free
        while self._entries:
            key, brought = take()
            if type(brought) is int:
                receiver = all_receivers.pop(key, nobody)
            else:
                found = all_receivers.get(key)
                if found is None:
                    continue
                receiver = found
            try:
                receiver(brought)
            except BaseException as error:
                report(error)

    def post(self, function: Callable[[], object]) -> None:
        """Runs a function in line with what has arrived: here, or where somebody is at it, and after that."""
        key = next_key()

        def run(_nothing: object) -> None:
            receivers.pop(key, None)
            function()

        receivers[key] = run
        self._entries.append((key, ""))
        self.dispatch(0)

    def pump(self, seconds: float) -> None:
        """Waits for something, runs and dispatches it: for when there is no thread that does."""
        if self._thread is None:
            import select

            select.select([self.descriptor], [], [], seconds)
            if not self.run():
                sleep(0.001)
            self.dispatch()
        else:
            sleep(min(seconds, 0.001))

    @property
    def is_drained(self) -> bool:
        """Whether there is a thread that empties it."""
        return self._thread is not None

    def drain(self) -> None:
        """Begins the thread that empties it, if there is none."""
        with _starting:
            if self._thread is not None or life.is_ending:
                return
            import threading

            self._stop = stop = os.pipe()
            self._thread = thread = threading.Thread(target=self._drain, name="zoarium", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The interpreter is about to end and begins no threads any more: whoever waits runs the queue.
                self._thread = self._stop = None
                for descriptor in stop:
                    os.close(descriptor)

    def _drain(self) -> None:
        import select

        assert self._stop is not None
        life.enders.add(get_ident())
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        poll.register(self._stop[0], select.POLLIN)
        while True:
            ready = poll.poll()
            if any(descriptor != self.descriptor for descriptor, _ in ready):
                return
            if not self.run():
                # A client that closes runs it for a moment.
                sleep(0.001)
            self.dispatch()

    def end_draining(self, limit: float) -> None:
        """Ends the thread; what comes later is dispatched by those who wait for it."""
        thread, stop = self._thread, self._stop
        if thread is None or stop is None:
            return
        os.write(stop[1], b"0")
        thread.join(limit)
        if not thread.is_alive():
            self._thread = self._stop = None
            for descriptor in stop:
                os.close(descriptor)

    def free(self) -> None:
        """Frees the queue. Its clients have been freed before."""
        _abi.zoa_queue_free(self.handle)
        self.handle = c_void_p()


def report(error: BaseException) -> None:
    """What a callback raised goes to the logger ``zoarium``; without any configuration that prints it."""
    import logging

    logging.getLogger("zoarium").error("a callback raised", exc_info=error)


_starting = allocate_lock()
_shared: Inbox | None = None
#: Run at the interpreter's end, first to last, each with the time (of ``time.monotonic``) it should be done by.
at_exit: list[Callable[[float], None]] = []
#: Run after those, in the same way.
at_last: list[Callable[[float], None]] = []
#: Run in a forked child.
in_child: list[Callable[[], None]] = []


def shared() -> Inbox:
    """The queue of all clients of this process."""
    global _shared
    inbox = _shared
    if inbox is None:
        with _starting:
            inbox = _shared
            if inbox is None:
                inbox = _shared = Inbox()
    return inbox


def is_ours(inbox: Inbox) -> bool:
    """Whether this process made it, and not the one it was forked from."""
    return inbox.process == os.getpid()


def deadline_of(timeout: float | None) -> float:
    """When that will have passed, by :func:`monotonic`."""
    return float("inf") if timeout is None else monotonic() + timeout


def end() -> None:
    """What the interpreter's end begins with."""
    # In this order: no thread of ours may be running Python when the interpreter goes, sessions end while their server
    # still answers, servers end last.
    life.begin_to_end()
    deadline = monotonic() + 2
    if _shared is not None:
        _shared.end_draining(1)
    for step in (*at_exit, *at_last):
        step(deadline)


def _forked() -> None:
    # The parent's thread, queue and receivers are not here; the locks may have been held by a thread that is not either.
    global _starting, _shared
    _starting = allocate_lock()
    _shared = None
    receivers.clear()
    life.enders.clear()
    for step in in_child:
        step()


atexit.register(end)
os.register_at_fork(after_in_child=_forked)
