"""Exclusive locks, and locks for readers and writers.

    with zk.lock("/locks/index", "worker-7") as lock:
        storage.write(index, fence=lock.fence)

A lock cannot know for certain that it is still held: the process may have slept while its session expired. That is why
each holder has a *fence*, a number greater than that of every holder before it. What is written under the lock carries it,
and whoever keeps the data refuses a number lower than the highest it has seen. Short of that, look at :attr:`Lock.lost`,
or give `on_lost`, before the work is done.
"""

from __future__ import annotations

import re
import threading
import uuid
from typing import TYPE_CHECKING, Callable, Iterable

from ..errors import NoNodeError, TimedOutError, ZoariumError
from . import _base
from ._base import Alarm, Caller, Removal, below
from ._holding import Holding, LockLostError

if TYPE_CHECKING:
    from typing import TypeVar

    from ..client import Client

    LockT = TypeVar("LockT", bound="Held")

__all__ = ["CancelledError", "Lock", "LockLostError", "LockTimeout", "ReadLock", "WriteLock"]


class LockTimeout(TimedOutError):
    """It was not acquired in time."""


class CancelledError(ZoariumError):
    """The attempt to acquire it was cancelled."""


class Held:
    """What locks and semaphores have in common: taking turns within the process, and knowing what is held."""

    def __init__(self, client: Client, path: str, identifier: object, on_lost: Callable[[], object] | None) -> None:
        self.client = client
        self.path = _base.clean_path(path)
        #: What :meth:`contenders` tells others about this one.
        self.data = _base.encode_identifier(identifier)
        self._on_lost = on_lost
        self._holding: Holding | None = None
        self._is_lost = False
        self._alarm = Alarm(client)
        self._is_cancelled = False
        # Threads that share the object take turns before they bother the server.
        self._turn = threading.Condition()
        self._owner: int | None = None
        # Whether the turn ends with a release, and not with an attempt that failed.
        self._is_taken = False

    # ---- what is known ----

    @property
    def is_acquired(self) -> bool:
        """Whether it is held, as far as this process knows."""
        return self._holding is not None

    @property
    def fence(self) -> int | None:
        """What to fence with: greater than that of every holder before. ``None`` while it is not held."""
        holding = self._holding
        return holding.fence if holding is not None else None

    @property
    def lost(self) -> bool:
        """Whether it was held, and was lost before it was released."""
        return self._is_lost

    def check(self) -> int:
        """The fence of what is held; raises :class:`LockLostError` when it was lost or never acquired."""
        holding = self._holding
        if holding is None:
            raise LockLostError(f"{self.path} is held no more" if self._is_lost else f"{self.path} is not held")
        return holding.fence

    # ---- taking turns in the process ----

    def _take_turn(self, blocking: bool, deadline: float) -> bool:
        me = threading.get_ident()
        with self._turn:
            if self._owner == me and self._holding is not None:
                raise RuntimeError(
                    f"this thread holds {self.path} already, and {type(self).__name__} is not reentrant: it would wait for"
                    " itself"
                )
            while self._owner is not None and self._owner != me:
                if self._is_cancelled:
                    raise CancelledError(f"waiting for {self.path} was cancelled")
                left = deadline - _base.monotonic()
                if not blocking:
                    return False
                if left <= 0:
                    raise LockTimeout(f"{self.path} was not acquired in time")
                self._turn.wait(None if deadline == float("inf") else left)
            self._owner = me
        return True

    def _end_turn(self) -> None:
        with self._turn:
            self._owner = None
            self._is_taken = False
            self._turn.notify()

    # ---- acquiring and releasing ----

    def acquire(self, blocking: bool = True, timeout: float | None = None, ephemeral: bool = True) -> bool:
        """Acquires it, waiting unless `blocking` is false; whether that succeeded.

        Raises :class:`LockTimeout` when `timeout` seconds have passed, :class:`CancelledError` after :meth:`cancel`, and
        what ends the session. With ``ephemeral=False`` it outlives its session and has to be released by hand.
        """
        if blocking:
            _base.refuse_in_callback(self.client, f"acquiring {self.path}")
        deadline = _base.deadline_of(timeout)
        if not self._take_turn(blocking, deadline):
            return False
        gotten = None
        try:
            self._is_lost = False
            try:
                with self._alarm:
                    gotten = self._contend(blocking, deadline, ephemeral)
            except LockTimeout:
                raise
            except TimedOutError:
                raise LockTimeout(f"{self.path} was not acquired in {timeout} s") from None
            if gotten is not None:
                self._hold(*gotten)
        finally:
            if gotten is None:
                self._is_cancelled = False
                self._end_turn()
        return gotten is not None

    def _contend(self, blocking: bool, deadline: float, ephemeral: bool) -> tuple[str, int] | None:
        """Gets it: the path and creation of the znode that stands for it."""
        raise NotImplementedError

    def _hold(self, path: str, fence: int) -> None:
        self._is_taken = True
        self._holding = holding = Holding(self.client, path, fence, self._lost)
        if holding.is_over:
            # Lost before it was written down as held.
            self._holding = None

    def _lost(self) -> None:
        holding, self._holding = self._holding, None
        self._is_lost = True
        if holding is not None:
            # Where the znode is still there, somebody may be waiting for it.
            parent, _, name = holding.path.rpartition("/")
            Removal(self.client, parent or "/", name=name)
        if self._on_lost is not None:
            try:
                self._on_lost()
            except Exception as error:
                _base.report(error)

    def release(self) -> bool:
        """Releases it; false when it was not held any more. Any thread may do that.

        While there is no connection, it is released as soon as there is one again.
        """
        holding, self._holding = self._holding, None
        was_held = holding is not None and holding.end()
        try:
            if holding is not None and was_held:
                parent, _, name = holding.path.rpartition("/")
                _base.remove_own(self.client, parent or "/", name)
        finally:
            if self._is_taken:
                self._end_turn()
        return was_held

    def cancel(self) -> None:
        """Has a pending :meth:`acquire` raise :class:`CancelledError`, or else the next one. What is held stays held."""
        self._is_cancelled = True
        self._alarm.ring()
        with self._turn:
            self._turn.notify_all()

    def __enter__(self: LockT) -> LockT:
        self.acquire()
        return self

    def __exit__(self, *_raised: object) -> None:
        self.release()

    def __repr__(self) -> str:
        state = "held" if self.is_acquired else "lost" if self._is_lost else "not held"
        return f"<zoarium.{type(self).__name__} {self.path} {state}>"


class Lock(Held):
    """A lock that one holds at a time, in the order they asked for it.

    `identifier` is what :meth:`contenders` shows. `extra_lock_patterns` are beginnings of number-bearing names that
    other implementations use on the same path (``"-lock-"`` for Curator's), to be waited for as well. `on_lost` is
    called, without arguments and on this package's thread, when the lock is lost while held.

    It is not reentrant: a thread that acquires it twice gets a ``RuntimeError``. Threads may share one, and then take
    turns.
    """

    # Names are a random part, one of these, and the number the server gives.
    _NODE_NAME = "__lock__"
    _EXCLUDE_NAMES: tuple[str, ...] = ("__lock__",)

    def __init__(
        self,
        client: Client,
        path: str,
        identifier: object = None,
        extra_lock_patterns: Iterable[str] = (),
        on_lost: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(client, path, identifier, on_lost)
        excluding = {*self._EXCLUDE_NAMES, *extra_lock_patterns}
        self._in_my_way = _numbered(excluding)
        self._contending = _numbered({*excluding, self._NODE_NAME})

    def _contend(self, blocking: bool, deadline: float, ephemeral: bool) -> tuple[str, int] | None:
        # A prefix of this attempt's own: after a lost connection it tells whether the create has happened.
        prefix = uuid.uuid4().hex + self._NODE_NAME
        done = False
        try:
            gotten = self._wait_in_line(prefix, blocking, deadline, ephemeral)
            done = gotten is not None
            return gotten
        finally:
            if not done:
                # Nobody should have to wait for one that is not in line any more.
                Removal(self.client, self.path, prefix=prefix).wait()

    def _wait_in_line(
        self, prefix: str, blocking: bool, deadline: float, ephemeral: bool
    ) -> tuple[str, int] | None:
        ask = Caller(self.client, deadline)
        is_unsure = False
        mine: tuple[str, int] | None = None
        while True:
            self._alarm.reset()
            if self._is_cancelled:
                raise CancelledError(f"waiting for {self.path} was cancelled")
            try:
                if mine is None and is_unsure:
                    mine = self._find(ask, prefix)
                if mine is None:
                    is_unsure = True
                    mine = self._create(ask, prefix, ephemeral)
                    is_unsure = False
                children = ask("get_children", self.path)
                if mine[0] not in children:
                    # Somebody deleted it: back to the end of the line.
                    mine = None
                    continue
                predecessor = self._predecessor(mine[0], children)
                if predecessor is None:
                    return below(self.path, mine[0]), mine[1]
                if not blocking:
                    return None
                # This and not `exists`, which would leave a watch behind for one that has gone meanwhile.
                ask("get", below(self.path, predecessor), watch=self._alarm.ring)
            except NoNodeError:
                continue
            except _base.PASSING:
                continue
            if not self._alarm.wait(deadline):
                raise LockTimeout(f"{self.path} was not acquired in time")

    def _create(self, ask: Caller, prefix: str, ephemeral: bool) -> tuple[str, int]:
        def create() -> tuple[str, int]:
            path, stat = ask(
                "create", below(self.path, prefix), self.data, ephemeral=ephemeral, sequence=True, include_data=True
            )
            return path.rpartition("/")[2], stat.czxid

        try:
            return create()
        except NoNodeError:
            ask("ensure_path", self.path)
            return create()

    def _find(self, ask: Caller, prefix: str) -> tuple[str, int] | None:
        """The znode that a create has left whose answer never came."""
        # Another server than the one that carried it out may answer now.
        ask("sync", self.path)
        for name in ask("get_children", self.path):
            if name.startswith(prefix):
                stat = ask("exists", below(self.path, name))
                if stat is not None:
                    return name, stat.czxid
        return None

    def _predecessor(self, mine: str, children: Iterable[str]) -> str | None:
        """Whom to wait for: the last one before me that excludes me. Waking up for anyone else would be for nothing."""
        number = _base.sequence_of(mine[len(mine) - _suffix_size(mine) :])
        before = [
            entry for entry in _base.in_order(children, self._in_my_way) if _base.comes_before(entry[0], number)
        ]
        return before[-1][1] if before else None

    def contenders(self) -> list[str]:
        """The identifiers of its holder and of those who wait for it, in order."""
        try:
            children = _base.persist(self.client.get_children, self.path)
        except NoNodeError:
            return []
        found = []
        for _number, name in _base.in_order(children, self._contending):
            try:
                data, _stat = _base.persist(self.client.get, below(self.path, name))
            except NoNodeError:
                continue
            found.append((data or b"").decode())
        return found


class WriteLock(Lock):
    """The writers' side of a lock that excludes readers and other writers."""

    _NODE_NAME = "__lock__"
    _EXCLUDE_NAMES = ("__lock__", "__rlock__")


class ReadLock(Lock):
    """The readers' side of a lock: it excludes writers only."""

    _NODE_NAME = "__rlock__"
    _EXCLUDE_NAMES = ("__lock__",)


def _numbered(names: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(sorted(names))})(-?\d{{10}})$")


def _suffix_size(name: str) -> int:
    return 11 if name[-11] == "-" else 10
