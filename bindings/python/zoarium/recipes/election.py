"""Elections: one leads at a time, and knows for how long.

    def lead() -> None:
        while not election.lost:
            work(fence=election.fence)

    election = zk.election("/service/leader", "host-7")
    election.run(lead)
"""

from __future__ import annotations

from inspect import isawaitable
from typing import Any, Callable

from .protocol import RecipeClient
from ._held import OnLost
from .lock import AioLock, CancelledError, Contender, Lock

__all__ = ["Election"]


class Candidate:
    """One contender of an election. `on_lost` is called when its leadership is lost before its function has returned."""

    #: The lock that stands for leadership.
    lock: Contender

    def cancel(self) -> None:
        """Has a pending :meth:`run` return, or else the next one. Who has been elected stays so."""
        self.lock.cancel()

    @property
    def is_leader(self) -> bool:
        """Whether this one leads, as far as this process knows."""
        return self.lock.is_acquired

    @property
    def lost(self) -> bool:
        """Whether it led, and was deposed before its function has returned."""
        return self.lock.lost

    @property
    def fence(self) -> int | None:
        """What a leader's orders should carry: greater than that of every leader before."""
        return self.lock.fence


class Election(Candidate):
    __doc__ = Candidate.__doc__

    def __init__(
        self, client: RecipeClient, path: str, identifier: object = None, on_lost: OnLost | None = None
    ) -> None:
        self.lock: Lock = Lock(client, path, identifier, on_lost=on_lost)

    def run(self, func: Callable[..., object], *arguments: Any, **keywords: Any) -> None:
        """Waits to be elected, calls `func`, and steps down when that returns or raises. Returns also when cancelled.

        `func` has to look at :attr:`lost`, or be told by `on_lost`: nobody can interrupt it.
        """
        if not callable(func):
            raise ValueError("what a leader does is a function")
        try:
            self.lock.acquire()
        except CancelledError:
            return
        try:
            func(*arguments, **keywords)
        finally:
            self.lock.release()

    def contenders(self) -> list[str]:
        """The identifiers of the leader and of those who would follow it, in order."""
        return self.lock.contenders()


class AioElection(Candidate):
    __doc__ = Candidate.__doc__

    def __init__(
        self, client: RecipeClient, path: str, identifier: object = None, on_lost: OnLost | None = None
    ) -> None:
        self.lock: AioLock = AioLock(client, path, identifier, on_lost=on_lost)

    async def run(self, func: Callable[..., object], *arguments: Any, **keywords: Any) -> None:
        """Waits to be elected, calls `func` (and awaits what it returns, if that can be), and steps down when that is done
        or raises. Returns also when cancelled by :meth:`cancel`.

        `func` has to look at :attr:`lost`, or `on_lost` cancels its task: it is not interrupted otherwise.
        """
        if not callable(func):
            raise ValueError("what a leader does is a function")
        try:
            await self.lock.acquire()
        except CancelledError:
            return
        try:
            result = func(*arguments, **keywords)
            if isawaitable(result):
                await result
        finally:
            await self.lock.release()

    async def contenders(self) -> list[str]:
        """The identifiers of the leader and of those who would follow it, in order."""
        return await self.lock.contenders()
