"""Semaphores: a number of leases, each of which one holds at a time."""

from __future__ import annotations

import uuid

from ..errors import NodeExistsError, NoNodeError
from . import _base
from ._base import Ask, Persist, Removal, awaits, below, blocks
from .protocol import RecipeClient
from ._held import AwaitingHeld, BlockingHeld, CancelledError, Held, LockTimeout, OnLost
from .lock import Contender

__all__ = ["Semaphore"]


class Leases(Held):
    """At most `max_leases` hold it at a time. They come in the order they asked for it.

    The number is written to its znode when that is created, and a semaphore that is given another one raises
    ``ValueError``: to change it, delete the znode. `identifier` is what :meth:`lease_holders` shows; `on_lost` as with
    :class:`~zoarium.recipes.Lock`. One object holds one lease.
    """

    def __init__(
        self,
        client: RecipeClient,
        path: str,
        identifier: object = None,
        max_leases: int = 1,
        on_lost: OnLost | None = None,
    ) -> None:
        super().__init__(client, path, identifier, on_lost)
        self.max_leases = max_leases
        self.lock_path = self.path + "-__lock__"
        self._is_there = False
        # Where a pending attempt waits for its turn.
        self._line: Contender | None = None

    async def contending(self, blocking: bool, deadline: float, ephemeral: bool) -> tuple[str, int] | None:
        """Gets it: the path and creation of the znode that stands for it."""
        ask = Ask(self.client, deadline)
        if not self._is_there:
            await self._ensure(ask)
            self._is_there = True
        # Whoever is at the head of the line alone watches for leases that come free: no herd wakes up for one.
        self._line = line = Contender(self.client, self.lock_path, self.data)
        if self._is_cancelled:
            raise CancelledError(f"waiting for {self.path} was cancelled")
        try:
            if not await line.acquiring(blocking, ask.left):
                return None
            return await self._wait_for_lease(ask, blocking, deadline, ephemeral)
        finally:
            self._line = None
            await line.releasing()

    def cancel(self) -> None:
        """Has a pending :meth:`acquire` raise :class:`CancelledError`, or else the next one. What is held stays held."""
        super().cancel()
        line = self._line
        if line is not None:
            line.cancel()

    async def _ensure(self, ask: Ask) -> None:
        while True:
            try:
                await ask.create(self.path, str(self.max_leases).encode(), makepath=True)
                return
            except NodeExistsError:
                pass
            except _base.PASSING:
                continue
            try:
                data, _stat = await ask.get(self.path)
            except (NoNodeError, *_base.PASSING):
                continue
            # What is no number belongs to somebody else.
            if data and data.isdigit() and int(data) != self.max_leases:
                raise ValueError(f"{self.path} has {int(data)} leases, not {self.max_leases}")
            return

    async def _wait_for_lease(
        self, ask: Ask, blocking: bool, deadline: float, ephemeral: bool
    ) -> tuple[str, int] | None:
        name = uuid.uuid4().hex
        mine = below(self.path, name)
        done = False
        try:
            while True:
                self._alarm.reset()
                if self._is_cancelled:
                    raise CancelledError(f"waiting for {self.path} was cancelled")
                try:
                    leases = await ask.get_children(self.path, watch=self._alarm.ring)
                    if name not in leases and len(leases) < self.max_leases:
                        try:
                            await ask.create(mine, self.data, ephemeral=ephemeral)
                        except NodeExistsError:
                            # The create whose answer never came has happened.
                            pass
                        leases.append(name)
                    if name in leases:
                        stat = await ask.exists(mine)
                        if stat is not None:
                            done = True
                            return mine, stat.czxid
                        continue
                except NoNodeError:
                    await ask.ensure_path(self.path)
                    continue
                except _base.PASSING:
                    continue
                if not blocking:
                    return None
                if not await self._alarm.wait(deadline):
                    raise LockTimeout(f"{self.path} was not acquired in time")
        finally:
            if not done:
                await Removal(self.client, self.path, name=name).wait()

    async def listing(self) -> list[str]:
        """The identifiers of those who hold a lease, in no order."""
        ask, found = Persist(self.client), []
        try:
            names = await ask.get_children(self.path)
        except NoNodeError:
            return []
        for name in names:
            try:
                data, _stat = await ask.get(below(self.path, name))
            except NoNodeError:
                continue
            found.append((data or b"").decode())
        return found


class Semaphore(Leases, BlockingHeld):
    __doc__ = Leases.__doc__

    lease_holders = blocks(Leases.listing)


class AioSemaphore(Leases, AwaitingHeld):
    __doc__ = Leases.__doc__

    lease_holders = awaits(Leases.listing)
