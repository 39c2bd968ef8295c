"""Barriers: nobody passes while one stands; or all enter and leave together."""

from __future__ import annotations

import os
import uuid

from ..errors import NodeExistsError, NoNodeError, TimedOutError
from ..types import EventType, WatchedEvent
from . import _base
from ._base import Alarm, Ask, Persist, Removal, awaits, below, blocks
from .protocol import RecipeClient

__all__ = ["Barrier", "DoubleBarrier"]


class Standing:
    """Stands while its znode exists."""

    def __init__(self, client: RecipeClient, path: str) -> None:
        self.client = client
        self.path = _base.clean_path(path)

    async def creating(self) -> None:
        """Puts it up, if it does not stand."""
        await Persist(self.client).ensure_path(self.path)

    async def removing(self) -> bool:
        """Takes it down; whether it stood. (After a lost connection that is not always known.)"""
        try:
            return await Persist(self.client).delete(self.path)
        except NoNodeError:
            return False

    async def waiting(self, timeout: float | None = None) -> bool:
        """Waits until it does not stand; false when `timeout` seconds have passed before."""
        _base.refuse_in_callback(self.client, f"waiting at {self.path}")
        deadline = _base.deadline_of(timeout)
        ask = Ask(self.client, deadline)
        with Alarm(self.client) as alarm:
            while True:
                alarm.reset()
                try:
                    # This and not `exists`, which would leave a watch behind for one that does not stand.
                    await ask.get(self.path, watch=alarm.ring)
                except NoNodeError:
                    return True
                except TimedOutError:
                    return False
                except _base.PASSING:
                    continue
                if not await alarm.wait(deadline):
                    return False


class Barrier(Standing):
    __doc__ = Standing.__doc__

    create = blocks(Standing.creating)
    remove = blocks(Standing.removing)
    wait = blocks(Standing.waiting)


class AioBarrier(Standing):
    __doc__ = Standing.__doc__

    create = awaits(Standing.creating)
    remove = awaits(Standing.removing)
    wait = awaits(Standing.waiting)


class Together:
    """Lets `num_clients` in together, and out together.

    Each of them has an object of its own. `identifier` is what others can read about it.
    """

    def __init__(self, client: RecipeClient, path: str, num_clients: int, identifier: str | None = None) -> None:
        self.client = client
        self.path = _base.clean_path(path)
        self.num_clients = num_clients
        #: Whether this one is in.
        self.participating = False
        self._ready = below(self.path, "ready")
        self._name = ""
        self._identifier = identifier or f"{os.uname().nodename}-{os.getpid()}"

    async def entering(self, timeout: float | None = None) -> None:
        """Waits until all have come. Raises :class:`~zoarium.TimedOutError` when they have not, and is out again then."""
        _base.refuse_in_callback(self.client, f"entering {self.path}")
        deadline = _base.deadline_of(timeout)
        # A new name each time: who still leaves must not take this for the one that was in before.
        self._name = uuid.uuid4().hex
        try:
            with Alarm(self.client) as alarm:
                await self._enter(alarm, deadline)
            self.participating = True
        finally:
            if not self.participating:
                await Removal(self.client, self.path, name=self._name).wait()

    async def _enter(self, alarm: Alarm, deadline: float) -> None:
        ask = Ask(self.client, deadline)
        opened = 0

        # A standing watch: others may be ready and gone again before this one has looked.
        def seen(event: WatchedEvent) -> None:
            nonlocal opened
            if event.type == EventType.CREATED:
                opened = event.zxid
            alarm.ring()

        watch = await self.client.stand(self._ready, seen)
        try:
            came = await self._come(ask)
            while True:
                alarm.reset()
                # What is older than this one's coming was left behind by those who were in before.
                if opened > came:
                    return
                try:
                    children = set(await ask.get_children(self.path))
                    if self._name not in children:
                        came = await self._come(ask)
                        continue
                    stat = await ask.exists(self._ready) if "ready" in children else None
                    if stat is not None and stat.czxid > came:
                        return
                    if len(children - {"ready"}) >= self.num_clients:
                        if stat is not None:
                            await ask.delete(self._ready)
                        await ask.create(self._ready)
                        return
                except (NoNodeError, NodeExistsError, *_base.PASSING):
                    # Several come last, and help each other.
                    continue
                if not await alarm.wait(deadline):
                    raise TimedOutError(f"{self.path}: not everybody came in time")
        finally:
            await self.client.unstand(watch)

    async def _come(self, ask: Ask) -> int:
        """Creates this one's znode; returns the transaction that did."""
        mine = below(self.path, self._name)
        while True:
            try:
                _path, stat = await ask.create(mine, self._identifier.encode(), ephemeral=True, include_data=True)
                return stat.czxid
            except NoNodeError:
                await ask.ensure_path(self.path)
            except NodeExistsError:
                found = await ask.exists(mine)
                if found is not None:
                    return found.czxid
            except _base.PASSING:
                pass

    async def leaving(self, timeout: float | None = None) -> None:
        """Waits until all have left. Raises :class:`~zoarium.TimedOutError` when they have not; this one has, then."""
        _base.refuse_in_callback(self.client, f"leaving {self.path}")
        try:
            with Alarm(self.client) as alarm:
                await self._leave(alarm, _base.deadline_of(timeout))
        finally:
            self.participating = False
            await Removal(self.client, self.path, name=self._name).wait()

    async def _leave(self, alarm: Alarm, deadline: float) -> None:
        ask = Ask(self.client, deadline)
        inside: set[str] | None = None
        while True:
            alarm.reset()
            try:
                if inside is None:
                    try:
                        await ask.delete(self._ready)
                    except NoNodeError:
                        pass
                    inside = set(await ask.get_children(self.path))
                # Who comes while this one leaves, comes for the next time.
                inside &= set(await ask.get_children(self.path)) - {"ready"}
                if inside <= {self._name}:
                    return
                lowest, highest = min(inside), max(inside)
                if self._name == lowest:
                    awaited = highest
                else:
                    # Only the first one stays until all the others have left: so each waits for one.
                    await _base.remove_own(self.client, self.path, self._name)
                    inside.discard(self._name)
                    awaited = lowest
                await ask.get(below(self.path, awaited), watch=alarm.ring)
            except (NoNodeError, *_base.PASSING):
                continue
            if not await alarm.wait(deadline):
                raise TimedOutError(f"{self.path}: not everybody left in time")


class DoubleBarrier(Together):
    __doc__ = Together.__doc__

    enter = blocks(Together.entering)
    leave = blocks(Together.leaving)


class AioDoubleBarrier(Together):
    __doc__ = Together.__doc__

    enter = awaits(Together.entering)
    leave = awaits(Together.leaving)
