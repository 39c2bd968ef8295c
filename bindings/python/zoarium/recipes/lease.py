"""Leases by the clock: one host does a task for a while, and the others do not wait for it.

    if zk.NonBlockingLease("/leases/cleanup", datetime.timedelta(minutes=70)):
        clean_up()

A lease outlives its session: until its end only its holder may renew it. Its end is written in UTC by the holder's clock, so
clocks have to agree roughly. Where a session is what should count, a :class:`~zoarium.recipes.Lock` is the better choice.
"""

from __future__ import annotations

import datetime
import json
import socket
from typing import Callable

from ..calls import run
from ..errors import BadVersionError, NodeExistsError, NoNodeError
from . import _base
from ._base import Ask, awaits, below
from .lock import Contender
from .protocol import RecipeClient

__all__ = ["MultiNonBlockingLease", "NonBlockingLease"]

_VERSION = 1
_DATE_FORMAT = "%Y-%m-%dT%H:%M:%S"


def utc_now() -> datetime.datetime:
    """The time in UTC, without a time zone."""
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


class Attempt:
    """An attempt to get a lease. It is true when it has succeeded."""

    def __init__(
        self,
        client: RecipeClient,
        path: str,
        duration: datetime.timedelta,
        identifier: str | None = None,
        utcnow: Callable[[], datetime.datetime] | None = None,
    ) -> None:
        self.client = client
        self.path = _base.clean_path(path)
        self.duration = duration
        #: Who holds it, once it is obtained. A holder of the same name renews its lease.
        self.identifier = identifier or socket.gethostname()
        self._utcnow = utcnow or utc_now
        #: Whether this one has the lease.
        self.obtained = False

    def __bool__(self) -> bool:
        return self.obtained

    async def obtaining(self) -> bool:
        """Gets the lease, or renews it, if no other holder has it; whether that succeeded."""
        await _base.persist(self.client, self._attempt)
        return self.obtained

    async def _attempt(self) -> None:
        ask = Ask(self.client)
        await ask.ensure_path(self.path)
        lock = Contender(self.client, self.path, self.identifier)
        await lock.acquiring()
        try:
            self.obtained = await self._write(ask)
        finally:
            await lock.releasing()

    async def _write(self, ask: Ask) -> bool:
        holder_path = below(self.path, "lease_holder")
        now = self._utcnow()
        new = {"version": _VERSION, "holder": self.identifier, "end": (now + self.duration).strftime(_DATE_FORMAT)}
        data = json.dumps(new).encode()
        try:
            present, stat = await ask.get(holder_path)
        except NoNodeError:
            try:
                await ask.create(holder_path, data)
            except NodeExistsError:
                # The lock was lost, and another contender was quicker.
                return False
            return True
        held = json.loads((present or b"").decode())
        if held["version"] != _VERSION:
            # A later format: this one does not know what it promises.
            return False
        if held["holder"] != self.identifier and now < datetime.datetime.strptime(held["end"], _DATE_FORMAT):
            return False
        try:
            await ask.set(holder_path, data, stat.version)
        except (BadVersionError, NoNodeError):
            return False
        return True

    def __repr__(self) -> str:
        state = "obtained" if self.obtained else "not obtained"
        return f"<zoarium.{type(self).__name__} {self.path} {state}>"


class Attempts:
    """As many leases as may be held at a time, of which one is enough. It is true when it has one."""

    def __init__(
        self,
        client: RecipeClient,
        count: int,
        path: str,
        duration: datetime.timedelta,
        identifier: str | None = None,
        utcnow: Callable[[], datetime.datetime] | None = None,
    ) -> None:
        places = (below(_base.clean_path(path), str(number)) for number in range(count))
        self._attempts = [Attempt(client, place, duration, identifier, utcnow) for place in places]
        #: Whether this one has a lease.
        self.obtained = False

    def __bool__(self) -> bool:
        return self.obtained

    async def obtaining(self) -> bool:
        """Gets or renews one of the leases, the first that no other holder has; whether that succeeded."""
        for attempt in self._attempts:
            if await attempt.obtaining():
                self.obtained = True
                break
        return self.obtained


class NonBlockingLease(Attempt):
    """A lease that one holds at a time, until its end. The attempt is made at once: the object is true if it succeeded.

    `identifier` is the holder's name, the host's if none is given: a holder that asks again renews its lease. kazoo's leases
    are the same znodes.
    """

    def __init__(
        self,
        client: RecipeClient,
        path: str,
        duration: datetime.timedelta,
        identifier: str | None = None,
        utcnow: Callable[[], datetime.datetime] | None = None,
    ) -> None:
        super().__init__(client, path, duration, identifier, utcnow)
        run(self.obtaining())


class MultiNonBlockingLease(Attempts):
    """Leases for `count` holders at a time, numbered below `path`; otherwise as :class:`NonBlockingLease`."""

    def __init__(
        self,
        client: RecipeClient,
        count: int,
        path: str,
        duration: datetime.timedelta,
        identifier: str | None = None,
        utcnow: Callable[[], datetime.datetime] | None = None,
    ) -> None:
        super().__init__(client, count, path, duration, identifier, utcnow)
        run(self.obtaining())


class AioNonBlockingLease(Attempt):
    """A lease that one holds at a time, until its end: ``await lease.obtain()`` makes the attempt."""

    obtain = awaits(Attempt.obtaining)


class AioMultiNonBlockingLease(Attempts):
    """Leases for `count` holders at a time, numbered below `path`: ``await lease.obtain()`` makes the attempt."""

    obtain = awaits(Attempts.obtaining)
