"""What threads wait for."""

from __future__ import annotations

import threading
from time import monotonic

_NEVER = float("inf")


class ThreadSignal:
    """As a ``threading.Event``; waiting is a coroutine that waits in the calling thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Wakes all who wait, and who will."""
        self._event.set()

    def clear(self) -> None:
        """As if it had not been set."""
        self._event.clear()

    def is_set(self) -> bool:
        """Whether it has been set."""
        return self._event.is_set()

    async def wait(self, deadline: float = _NEVER) -> bool:
        """Waits for it; false when the deadline (of ``time.monotonic``) came first."""
        return self._event.wait(None if deadline == _NEVER else max(0.0, deadline - monotonic()))
