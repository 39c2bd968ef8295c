"""Elections: one leads at a time, and knows for how long.

    def lead() -> None:
        while not election.lost:
            work(fence=election.fence)

    election = zk.election("/service/leader", "host-7")
    election.run(lead)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from .lock import CancelledError, Lock

if TYPE_CHECKING:
    from ..client import Client

__all__ = ["Election"]


class Election:
    """One contender of an election. `on_lost` is called when its leadership is lost before its function has returned."""

    def __init__(
        self, client: Client, path: str, identifier: object = None, on_lost: Callable[[], object] | None = None
    ) -> None:
        #: The lock that stands for leadership.
        self.lock = Lock(client, path, identifier, on_lost=on_lost)

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

    def contenders(self) -> list[str]:
        """The identifiers of the leader and of those who would follow it, in order."""
        return self.lock.contenders()
