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
import uuid
from typing import Iterable

from ..errors import NoNodeError
from . import _base
from ._base import Ask, Persist, Removal, awaits, below, blocks
from .protocol import RecipeClient
from ._held import AwaitingHeld, BlockingHeld, CancelledError, Held, LockTimeout, OnLost
from ._holding import LockLostError

__all__ = ["CancelledError", "Lock", "LockLostError", "LockTimeout", "ReadLock", "WriteLock"]


class Contender(Held):
    """A lock that one holds at a time, in the order they asked for it.

    `identifier` is what :meth:`contenders` shows. `extra_lock_patterns` are beginnings of number-bearing names that
    other implementations use on the same path (``"-lock-"`` for Curator's), to be waited for as well. `on_lost` is
    called, without arguments and where callbacks run, when the lock is lost while held.

    It is not reentrant: a thread or task that acquires it twice gets a ``RuntimeError``. Several may share one, and then
    take turns.
    """

    # Names are a random part, one of these, and the number the server gives.
    _NODE_NAME = "__lock__"
    _EXCLUDE_NAMES: tuple[str, ...] = ("__lock__",)

    def __init__(
        self,
        client: RecipeClient,
        path: str,
        identifier: object = None,
        extra_lock_patterns: Iterable[str] = (),
        on_lost: OnLost | None = None,
    ) -> None:
        super().__init__(client, path, identifier, on_lost)
        excluding = {*self._EXCLUDE_NAMES, *extra_lock_patterns}
        self._in_my_way = _numbered(excluding)
        self._contending = _numbered({*excluding, self._NODE_NAME})

    async def contending(self, blocking: bool, deadline: float, ephemeral: bool) -> tuple[str, int] | None:
        """Gets it: the path and creation of the znode that stands for it."""
        # A prefix of this attempt's own: after a lost connection it tells whether the create has happened.
        prefix = uuid.uuid4().hex + self._NODE_NAME
        done = False
        try:
            gotten = await self._wait_in_line(prefix, blocking, deadline, ephemeral)
            done = gotten is not None
            return gotten
        finally:
            if not done:
                # Nobody should have to wait for one that is not in line any more.
                await Removal(self.client, self.path, prefix=prefix).wait()

    async def _wait_in_line(
        self, prefix: str, blocking: bool, deadline: float, ephemeral: bool
    ) -> tuple[str, int] | None:
        ask = Ask(self.client, deadline)
        is_unsure = False
        mine: tuple[str, int] | None = None
        while True:
            self._alarm.reset()
            if self._is_cancelled:
                raise CancelledError(f"waiting for {self.path} was cancelled")
            try:
                if mine is None and is_unsure:
                    mine = await self._find(ask, prefix)
                if mine is None:
                    is_unsure = True
                    mine = await self._create(ask, prefix, ephemeral)
                    is_unsure = False
                children = await ask.get_children(self.path)
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
                await ask.get(below(self.path, predecessor), watch=self._alarm.ring)
            except NoNodeError:
                continue
            except _base.PASSING:
                continue
            if not await self._alarm.wait(deadline):
                raise LockTimeout(f"{self.path} was not acquired in time")

    async def _create(self, ask: Ask, prefix: str, ephemeral: bool) -> tuple[str, int]:
        async def create() -> tuple[str, int]:
            path, stat = await ask.create(
                below(self.path, prefix), self.data, ephemeral=ephemeral, sequence=True, include_data=True
            )
            return path.rpartition("/")[2], stat.czxid

        try:
            return await create()
        except NoNodeError:
            await ask.ensure_path(self.path)
            return await create()

    async def _find(self, ask: Ask, prefix: str) -> tuple[str, int] | None:
        """The znode that a create has left whose answer never came."""
        # Another server than the one that carried it out may answer now.
        await ask.sync(self.path)
        for name in await ask.get_children(self.path):
            if name.startswith(prefix):
                stat = await ask.exists(below(self.path, name))
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

    async def listing(self) -> list[str]:
        """The identifiers of its holder and of those who wait for it, in order."""
        ask = Persist(self.client)
        try:
            children = await ask.get_children(self.path)
        except NoNodeError:
            return []
        found = []
        for _number, name in _base.in_order(children, self._contending):
            try:
                data, _stat = await ask.get(below(self.path, name))
            except NoNodeError:
                continue
            found.append((data or b"").decode())
        return found


class Lock(Contender, BlockingHeld):
    __doc__ = Contender.__doc__

    contenders = blocks(Contender.listing)


class WriteLock(Lock):
    """The writers' side of a lock that excludes readers and other writers."""

    _NODE_NAME = "__lock__"
    _EXCLUDE_NAMES = ("__lock__", "__rlock__")


class ReadLock(Lock):
    """The readers' side of a lock: it excludes writers only."""

    _NODE_NAME = "__rlock__"
    _EXCLUDE_NAMES = ("__lock__",)


class AioLock(Contender, AwaitingHeld):
    __doc__ = Contender.__doc__

    contenders = awaits(Contender.listing)


class AioWriteLock(AioLock):
    """The writers' side of a lock that excludes readers and other writers."""

    _NODE_NAME = "__lock__"
    _EXCLUDE_NAMES = ("__lock__", "__rlock__")


class AioReadLock(AioLock):
    """The readers' side of a lock: it excludes writers only."""

    _NODE_NAME = "__rlock__"
    _EXCLUDE_NAMES = ("__lock__",)


def _numbered(names: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(sorted(names))})(-?\d{{10}})$")


def _suffix_size(name: str) -> int:
    return 11 if name[-11] == "-" else 10
