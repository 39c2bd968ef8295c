"""What locks and semaphores have in common: taking turns within the process, and knowing what is held."""

from __future__ import annotations

import threading
from typing import Any, Callable, TypeVar

from ..errors import TimedOutError, ZoariumError
from . import _base
from ._base import Alarm, Removal, apart, awaits, blocks
from .protocol import RecipeClient, Signal
from ._holding import Holding, LockLostError

BlockingT = TypeVar("BlockingT", bound="BlockingHeld")
AwaitingT = TypeVar("AwaitingT", bound="AwaitingHeld")
OnLost = Callable[[], object]


class LockTimeout(TimedOutError):
    """It was not acquired in time."""


class CancelledError(ZoariumError):
    """The attempt to acquire it was cancelled."""


class Held:
    """What is held by one at a time, or by a few. What waits is a coroutine here, for either kind of client."""

    def __init__(
        self, client: RecipeClient, path: str, identifier: object = None, on_lost: OnLost | None = None
    ) -> None:
        self.client = client
        self.path = _base.clean_path(path)
        #: What :meth:`contenders` tells others about this one.
        self.data = _base.encode_identifier(identifier)
        self._on_lost = on_lost
        self._holding: Holding | None = None
        self._is_lost = False
        self._alarm = Alarm(client)
        self._is_cancelled = False
        # Threads, or tasks, that share the object take turns before they bother the server.
        self._turn = threading.Lock()
        self._waiting: list[Signal] = []
        self._owner: object = None
        # Whether the turn ends with a release, and not with an attempt that failed.
        self._is_taken = False

    # ---- what is known ----

    @property
    def is_acquired(self) -> bool:
        """Whether it is held, as far as this process knows."""
        return self._holding is not None

    @property
    def fence(self) -> int | None:
        """What to fence with: greater than that of every holder before. ``None`` while it is not held."""
        holding = self._holding
        return holding.fence if holding is not None else None

    @property
    def lost(self) -> bool:
        """Whether it was held, and was lost before it was released."""
        return self._is_lost

    def check(self) -> int:
        """The fence of what is held; raises :class:`LockLostError` when it was lost or never acquired."""
        holding = self._holding
        if holding is None:
            raise LockLostError(f"{self.path} is held no more" if self._is_lost else f"{self.path} is not held")
        return holding.fence

    # ---- taking turns in the process ----

    async def _take_turn(self, blocking: bool, deadline: float) -> bool:
        me, signal = self.client.current(), self.client.signal()
        while True:
            with self._turn:
                if self._owner == me and self._holding is not None:
                    raise RuntimeError(
                        f"this thread or task holds {self.path} already, and {type(self).__name__} is not reentrant: it"
                        " would wait for itself"
                    )
                if self._owner is None or self._owner == me:
                    self._owner = me
                    return True
                if self._is_cancelled:
                    raise CancelledError(f"waiting for {self.path} was cancelled")
                if not blocking:
                    return False
                signal.clear()
                self._waiting.append(signal)
            try:
                is_in_time = await signal.wait(deadline)
            finally:
                with self._turn:
                    if signal in self._waiting:
                        self._waiting.remove(signal)
            if not is_in_time:
                raise LockTimeout(f"{self.path} was not acquired in time")

    def _end_turn(self) -> None:
        with self._turn:
            self._owner = None
            self._is_taken = False
        self._wake_all()

    def _wake_all(self) -> None:
        with self._turn:
            waiting, self._waiting = self._waiting, []
        for signal in waiting:
            signal.set()

    # ---- acquiring and releasing ----

    async def acquiring(self, blocking: bool = True, timeout: float | None = None, ephemeral: bool = True) -> bool:
        """Acquires it, waiting unless `blocking` is false; whether that succeeded.

        Raises :class:`LockTimeout` when `timeout` seconds have passed, :class:`CancelledError` after :meth:`cancel`, and
        what ends the session. With ``ephemeral=False`` it outlives its session and has to be released by hand.
        """
        if blocking:
            _base.refuse_in_callback(self.client, f"acquiring {self.path}")
        deadline = _base.deadline_of(timeout)
        if not await self._take_turn(blocking, deadline):
            return False
        gotten = None
        try:
            self._is_lost = False
            try:
                with self._alarm:
                    gotten = await self.contending(blocking, deadline, ephemeral)
            except LockTimeout:
                raise
            except TimedOutError:
                raise LockTimeout(f"{self.path} was not acquired in {timeout} s") from None
            if gotten is not None:
                self._hold(*gotten)
        finally:
            if gotten is None:
                self._is_cancelled = False
                self._end_turn()
        return gotten is not None

    async def contending(self, blocking: bool, deadline: float, ephemeral: bool) -> tuple[str, int] | None:
        """Gets it: the path and creation of the znode that stands for it."""
        raise NotImplementedError

    def _hold(self, path: str, fence: int) -> None:
        self._is_taken = True
        self._holding = holding = Holding(self.client, path, fence, self._lost)
        if holding.is_over:
            # Lost before it was written down as held.
            self._holding = None

    def _lost(self) -> None:
        holding, self._holding = self._holding, None
        self._is_lost = True
        if holding is not None:
            # Where the znode is still there, somebody may be waiting for it.
            parent, name = apart(holding.path)
            Removal(self.client, parent, name=name)
        if self._on_lost is not None:
            try:
                self._on_lost()
            except Exception as error:
                _base.report(error)

    async def releasing(self) -> bool:
        """Releases it; false when it was not held any more. Any thread or task may do that.

        While there is no connection, it is released as soon as there is one again.
        """
        holding, self._holding = self._holding, None
        was_held = holding is not None and holding.end()
        try:
            if holding is not None and was_held:
                await _base.remove_own(self.client, *apart(holding.path))
        finally:
            if self._is_taken:
                self._end_turn()
        return was_held

    def cancel(self) -> None:
        """Has a pending :meth:`acquire` raise :class:`CancelledError`, or else the next one. What is held stays held."""
        self._is_cancelled = True
        self._alarm.ring()
        self._wake_all()

    def __repr__(self) -> str:
        state = "held" if self.is_acquired else "lost" if self._is_lost else "not held"
        return f"<zoarium.{type(self).__name__} {self.path} {state}>"


class BlockingHeld(Held):
    """For threads: what waits blocks."""

    acquire = blocks(Held.acquiring)
    release = blocks(Held.releasing)

    def __enter__(self: BlockingT) -> BlockingT:
        self.acquire()
        return self

    def __exit__(self, *_raised: object) -> None:
        self.release()


class AwaitingHeld(Held):
    """For asyncio: what waits is awaited."""

    acquire = awaits(Held.acquiring)
    release = awaits(Held.releasing)

    async def __aenter__(self: AwaitingT) -> AwaitingT:
        await self.acquire()
        return self

    async def __aexit__(self, *_raised: Any) -> None:
        await self.release()
