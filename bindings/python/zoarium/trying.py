"""When a call that failed for want of a connection may be made again."""

from __future__ import annotations

from typing import Any

from .errors import (
    ConnectionLoss,
    OperationTimeoutError,
    Outcome,
    ReconfigInProcessError,
    SessionMovedError,
    ThrottledOpError,
    TimedOutError,
    ZoariumError,
)
from .operations import IDEMPOTENT

#: What may be tried again, when it is known not to have happened or does no harm.
PASSING = (
    ConnectionLoss,
    OperationTimeoutError,
    ReconfigInProcessError,
    SessionMovedError,
    ThrottledOpError,
    TimedOutError,
)


class Attempts:
    """How often and how soon a function is called again."""

    def __init__(
        self,
        owner: type,
        function: Any,
        attempts: int,
        delay: float,
        delay_max: float,
        idempotent: bool | None,
    ) -> None:
        if attempts < 1:
            raise ValueError(f"attempts is {attempts}")
        if idempotent is None:
            of = getattr(function, "__self__", None)
            idempotent = isinstance(of, owner) and getattr(function, "__name__", "") in IDEMPOTENT
        self._idempotent = idempotent
        self._left = attempts
        self._delay = delay
        self._delay_max = delay_max

    def pause_after(self, error: ZoariumError) -> float | None:
        """The seconds to wait before the next attempt; ``None`` when there must be none."""
        self._left -= 1
        if self._left <= 0 or not (self._idempotent or error.outcome == Outcome.NOT_DONE):
            return None
        pause = min(self._delay, self._delay_max)
        self._delay *= 2
        return pause
