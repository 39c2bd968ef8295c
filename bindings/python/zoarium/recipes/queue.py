"""Queues that many put into and many take from."""

from __future__ import annotations

import uuid
from typing import Iterable

from ..calls import run
from ..errors import NodeExistsError, NoNodeError, TimedOutError
from ..transaction import WriteParts, blame
from . import _base
from ._base import Alarm, Ask, Persist, Removal, awaits, below, blocks
from .protocol import RecipeClient

__all__ = ["LockingQueue", "Queue"]

#: Entries taken after one listing: a more urgent one that is put in meanwhile waits for no more than these.
_LISTED_MAX = 100


class Entries:
    """What both kinds have in common: entries in the order of their priorities, the lowest number first, then of age."""

    _ENTRY = "entry-"

    def __init__(self, client: RecipeClient, path: str, entries: str) -> None:
        self.client = client
        self.path = _base.clean_path(path)
        self._entries = entries

    async def counting(self) -> int:
        """How many entries there are."""
        stat = await Persist(self.client).exists(self._entries)
        return stat.numChildren if stat is not None else 0

    async def putting(self, value: bytes, priority: int = 100) -> None:
        """Puts an entry in; `priority` is 0 to 999, and lower ones come first.

        A lost connection is raised: whether the entry is in is not known then, and putting it in again may double it.
        """
        await Ask(self.client).create(self._entry_path(value, priority), value, sequence=True, makepath=True)

    def _entry_path(self, value: bytes, priority: int) -> str:
        if not isinstance(value, bytes):
            raise TypeError(f"an entry is bytes, not {type(value).__name__}")
        if not isinstance(priority, int):
            raise TypeError(f"a priority is an int, not {type(priority).__name__}")
        if not 0 <= priority <= 999:
            raise ValueError(f"a priority is 0 to 999, not {priority}")
        return below(self._entries, f"{self._ENTRY}{priority:03d}-")

    def __bool__(self) -> bool:
        # Not to be taken for nothing while it is empty.
        return True

    def __repr__(self) -> str:
        return f"<zoarium.{type(self).__name__} {self.path}>"


class Taken(Entries):
    """A queue whose entries are gone when they have been taken. Who takes one and fails has lost it: there is
    :class:`LockingQueue` for those who mind."""

    def __init__(self, client: RecipeClient, path: str) -> None:
        path = _base.clean_path(path)
        super().__init__(client, path, path)
        # What was there when it was listed last: others take some of it meanwhile, which is noticed.
        self._seen: list[str] = []

    async def getting(self, timeout: float | None = 0) -> bytes | None:
        """Takes the first entry; waits for one up to `timeout` seconds (``None``: for ever). ``None`` when there is none.

        A lost connection is raised when it is not known whether an entry has been taken.
        """
        if timeout != 0:
            _base.refuse_in_callback(self.client, f"waiting for an entry of {self.path}")
        deadline = _base.deadline_of(timeout)
        ask = Persist(self.client)
        with Alarm(self.client) as alarm:
            while True:
                alarm.reset()
                found = await self._take_first(ask)
                if found is not None or timeout == 0:
                    return found
                try:
                    if await ask.get_children(self.path, watch=alarm.ring):
                        continue
                except NoNodeError:
                    await ask.ensure_path(self.path)
                    continue
                if not await alarm.wait(deadline):
                    return None

    async def _take_first(self, ask: Persist) -> bytes | None:
        while True:
            if not self._seen:
                try:
                    names = await ask.get_children(self.path)
                except NoNodeError:
                    return None
                if not names:
                    return None
                self._seen = sorted(names)[:_LISTED_MAX]
            name = self._seen[0]
            path = below(self.path, name)
            try:
                data, _stat = await ask.get(path)
                await Ask(self.client).delete(path)
            except NoNodeError:
                # Somebody was faster: the rest of what was listed may be as old.
                self._seen.clear()
                continue
            if self._seen and self._seen[0] == name:
                self._seen.pop(0)
            return data or b""


class Locked(Entries):
    """A queue whose entries stay until they are *consumed*: who takes one holds it, and when its session ends before that,
    others get it.

    :meth:`get`, then :meth:`consume`, or :meth:`release` to give it back.
    """

    def __init__(self, client: RecipeClient, path: str) -> None:
        path = _base.clean_path(path)
        super().__init__(client, path, below(path, "entries"))
        self._taken = below(path, "taken")
        #: What is written where an entry is held by this one.
        self.id = uuid.uuid4().hex.encode()
        self._held: tuple[str, bytes] | None = None

    async def putting_all(self, values: Iterable[bytes], priority: int = 100) -> None:
        """Puts several entries in: all of them, or none."""
        entries = [(self._entry_path(value, priority), value) for value in values]
        await Persist(self.client).ensure_path(self._entries)
        parts = WriteParts()
        for path, value in entries:
            parts.create(path, value, sequence=True)
        await self._all_or_none(parts)

    async def _all_or_none(self, parts: WriteParts) -> None:
        failed = blame(await self.client.perform_parts(parts.take()))
        if failed is not None:
            raise failed

    async def getting(self, timeout: float | None = None) -> bytes | None:
        """Takes the first entry that nobody holds, waiting for one up to `timeout` seconds; ``None`` when there was none.

        The one taken before comes again until it is consumed or released.
        """
        if self._held is not None:
            return self._held[1]
        _base.refuse_in_callback(self.client, f"waiting for an entry of {self.path}")
        deadline = _base.deadline_of(timeout)
        ask = Ask(self.client, deadline)
        with Alarm(self.client) as alarm:
            while True:
                alarm.reset()
                try:
                    entries = await ask.get_children(self._entries, watch=alarm.ring)
                    taken = set(await ask.get_children(self._taken, watch=alarm.ring))
                    for name in sorted(entries):
                        if name not in taken and await self._take(name):
                            return self._held[1] if self._held else None
                except NoNodeError:
                    await ask.ensure_path(self._entries)
                    await ask.ensure_path(self._taken)
                    continue
                except TimedOutError:
                    return None
                except _base.PASSING:
                    continue
                if not await alarm.wait(deadline):
                    return None

    async def _take(self, name: str) -> bool:
        """Whether an entry is held by this one now."""
        path = below(self._taken, name)
        try:
            await _base.persist(self.client, lambda: self._mark(path))
        except NodeExistsError:
            return False
        try:
            data, _stat = await Persist(self.client).get(below(self._entries, name))
        except NoNodeError:
            # It was consumed after it was listed.
            await Removal(self.client, self._taken, name=name).wait()
            return False
        self._held = (name, data or b"")
        return True

    async def _mark(self, path: str) -> None:
        ask = Ask(self.client)
        try:
            await ask.create(path, self.id, ephemeral=True)
        except NodeExistsError:
            # An earlier attempt got there, whose answer never came?
            try:
                if (await ask.get(path)).data == self.id:
                    return
            except NoNodeError:
                pass
            raise

    async def holding(self) -> bool:
        """Whether the entry taken is still held: not after its session has ended."""
        if self._held is None:
            return False
        path, ask = below(self._taken, self._held[0]), Persist(self.client)
        await ask.sync(path)
        try:
            return (await ask.get(path)).data == self.id
        except NoNodeError:
            return False

    async def consuming(self) -> bool:
        """Takes the entry held out of the queue for good; false when it was not held any more."""
        if self._held is None or not await self.holding():
            self._held = None
            return False
        name = self._held[0]
        while True:
            try:
                parts = WriteParts()
                parts.delete(below(self._entries, name))
                parts.delete(below(self._taken, name))
                await self._all_or_none(parts)
            except _base.PASSING:
                # Nobody but this one can have consumed it, while the session lives.
                if await Persist(self.client).exists(below(self._entries, name)) is not None:
                    continue
            except NoNodeError:
                self._held = None
                return False
            self._held = None
            return True

    async def releasing(self) -> bool:
        """Gives the entry held back to the queue; false when it was not held any more."""
        if self._held is None or not await self.holding():
            self._held = None
            return False
        name = self._held[0]
        self._held = None
        await _base.remove_own(self.client, self._taken, name)
        return True


class Queue(Taken):
    __doc__ = Taken.__doc__

    put = blocks(Taken.putting)
    get = blocks(Taken.getting)

    def __len__(self) -> int:
        """How many entries there are."""
        return run(self.counting())


class AioQueue(Taken):
    __doc__ = Taken.__doc__

    put = awaits(Taken.putting)
    get = awaits(Taken.getting)
    count = awaits(Taken.counting)


class LockingQueue(Locked):
    __doc__ = Locked.__doc__

    put = blocks(Locked.putting)
    put_all = blocks(Locked.putting_all)
    get = blocks(Locked.getting)
    holds_lock = blocks(Locked.holding)
    consume = blocks(Locked.consuming)
    release = blocks(Locked.releasing)

    def __len__(self) -> int:
        """How many entries there are."""
        return run(self.counting())


class AioLockingQueue(Locked):
    __doc__ = Locked.__doc__

    put = awaits(Locked.putting)
    put_all = awaits(Locked.putting_all)
    get = awaits(Locked.getting)
    holds_lock = awaits(Locked.holding)
    consume = awaits(Locked.consuming)
    release = awaits(Locked.releasing)
    count = awaits(Locked.counting)
