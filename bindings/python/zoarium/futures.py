"""What the ``…_async`` methods return."""

from __future__ import annotations

import concurrent.futures
import threading
from time import monotonic
from typing import Any, Callable, Generic, TypeVar

from . import _inbox
from ._life import life
from .errors import ForkedError, WouldDeadlockError, error_of

T = TypeVar("T")

_RUNNING = "RUNNING"
_FINISHED = "FINISHED"


class Future(concurrent.futures.Future, Generic[T]):  # type: ignore[type-arg]
    """A ``concurrent.futures.Future`` of a request that has been sent, with kazoo's methods besides.

    A request that has been sent cannot be taken back, so :meth:`cancel` always answers ``False``. Callbacks run on this
    package's own thread (or where ``result`` is called, when the interpreter is ending).
    """

    # The base class makes a condition, which costs more than the request; here it comes when somebody waits.
    def __init__(self, inbox: _inbox.Inbox) -> None:
        self._state = _RUNNING
        self._result: Any = None
        self._exception: BaseException | None = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Callable[[Any], object]] = []
        self._inbox = inbox

    @property
    def _condition(self) -> threading.Condition:
        found = self.__dict__.get("_lazy_condition")
        if found is None:
            found = self.__dict__.setdefault("_lazy_condition", threading.Condition())
        return found  # type: ignore[no-any-return]

    @_condition.setter
    def _condition(self, _value: object) -> None:
        raise AttributeError("the condition is made on demand")

    def settle(self, value: Any, error: BaseException | None) -> None:
        """What became of the request; for those who have sent it."""
        self._result = value
        self._exception = error
        # In this order: whoever makes the condition looks at the state after it, so one of the two is seen.
        self._state = _FINISHED
        if "_lazy_condition" not in self.__dict__:
            return
        with self._condition:
            for waiter in self._waiters:
                if self._exception is not None:
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
            self._condition.notify_all()
        self._invoke_callbacks()  # type: ignore[attr-defined]

    def result(self, timeout: float | None = None) -> T:
        """What the operation returns, or raises."""
        if self._state != _FINISHED:
            self._await(timeout)
        if self._exception is not None:
            life.hold()
            try:
                raise self._exception
            finally:
                # Not to keep this frame alive in the exception's traceback.
                self = None  # type: ignore[assignment]
        return self._result  # type: ignore[no-any-return]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the operation raises, ``None`` when it succeeded."""
        if self._state != _FINISHED:
            self._await(timeout)
        return self._exception

    def _await(self, timeout: float | None) -> None:
        inbox = self._inbox
        if not _inbox.is_ours(inbox):
            raise error_of(ForkedError.code)
        if inbox.is_dispatching_here():
            raise WouldDeadlockError("waiting in a callback for what comes through callbacks; use the blocking method")
        if not inbox.is_drained:
            deadline = _inbox.deadline_of(timeout)
            while self._state != _FINISHED:
                left = deadline - monotonic()
                if left <= 0:
                    raise concurrent.futures.TimeoutError()
                inbox.pump(min(left, 0.1))
            return
        condition = self._condition
        with condition:
            if self._state != _FINISHED:
                condition.wait(timeout)
        if self._state != _FINISHED:
            raise concurrent.futures.TimeoutError()

    # ---- kazoo's words ----

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """As :meth:`result`; without `block` it raises at once when there is none yet."""
        return self.result(timeout if block else 0)

    def get_nowait(self) -> T:
        """As :meth:`result`, without waiting."""
        return self.result(0)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is done within the time."""
        try:
            self.exception(timeout)
        except concurrent.futures.TimeoutError:
            return False
        return True

    def ready(self) -> bool:
        """Whether it is done."""
        return self._state == _FINISHED

    def successful(self) -> bool:
        """Whether it is done and did not fail."""
        return self._state == _FINISHED and self._exception is None

    def rawlink(self, callback: Callable[[Any], object]) -> None:
        """Calls `callback` with this future when it is done."""
        self.add_done_callback(callback)


