"""What is held by an ephemeral znode, and how its holder learns that it is held no more."""

from __future__ import annotations

import threading
from typing import Callable

from ..errors import ZoariumError
from ..operations import Operations
from ..types import KazooState, WatchedEvent, ZnodeStat
from . import _base
from .protocol import RecipeClient, Timer


class LockLostError(ZoariumError):
    """What was held is held no more, though nobody released it."""


class Holding:
    """One znode of one's own, from when it gave what it was made for until that is released or lost.

    It is lost when the session is over, when somebody deletes the znode, and when the connection has been lost for as
    long as the session may live without one: the server may have given it to somebody else by then.
    """

    def __init__(self, client: RecipeClient, path: str, fence: int, on_lost: Callable[[], object]) -> None:
        self._client = client
        self.path = path
        #: The transaction that created the znode.
        self.fence = fence
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._timer: Timer | None = None
        #: Whether it was released or lost.
        self.is_over = False
        client.add_listener(self._heard)
        self._look()
        if client.state == KazooState.SUSPENDED:
            self._heard(KazooState.SUSPENDED)

    def end(self) -> bool:
        """It is released; false when it has been lost before."""
        with self._lock:
            if self.is_over:
                return False
            self.is_over = True
        self._forget()
        return True

    def lose(self) -> None:
        """It is lost."""
        if self.end():
            self._on_lost()

    def _forget(self) -> None:
        self._client.remove_listener(self._heard)
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._client.begin(Operations.exists(self._client, self.path, watch=self._changed), self._looked)

    def _looked(self, stat: ZnodeStat | None, error: BaseException | None) -> None:
        if self.is_over:
            return
        if error is None:
            if stat is None or stat.czxid != self.fence:
                self.lose()
        elif isinstance(error, _base.PASSING):
            _base.again(self._client, error, self._look)
        else:
            self.lose()

    def _changed(self, _event: WatchedEvent) -> None:
        if not self.is_over:
            self._look()

    def _heard(self, state: str) -> bool:
        if state == KazooState.LOST:
            self.lose()
            return True
        with self._lock:
            timer, self._timer = self._timer, None
            if state == KazooState.SUSPENDED and not self.is_over:
                self._timer = self._client.call_later(self._client.session_timeout, self.lose)
        if timer is not None:
            timer.cancel()
        if state == KazooState.CONNECTED and timer is not None and not self.is_over:
            # Watches are set again on the new connection; this also notices a znode that went without one.
            self._look()
        return False
