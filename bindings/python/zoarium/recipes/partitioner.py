"""A set that the members of a party divide among themselves, and divide anew when members come or go.

    partitioner = zk.SetPartitioner("/queues", {"queue-1", "queue-2", "queue-3"})
    while not partitioner.failed:
        if partitioner.acquired:
            for queue in partitioner:
                work_on(queue)
        elif partitioner.release:
            partitioner.release_set()
        else:
            partitioner.wait_for_acquire()

Each item has a lock, so no two members have it at a time. A member that is told to release its items keeps them until it does.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from time import monotonic
from typing import Callable, Iterable, Iterator, Protocol

from ..calls import run
from ..errors import ZoariumError
from ..types import KazooState
from . import _base
from ._base import Alarm, Ask, awaits, below, blocks
from ._held import LockTimeout
from .lock import Contender
from .party import Shallow
from .protocol import RecipeClient

__all__ = ["PartitionState", "SetPartitioner"]

PartitionFunc = Callable[[str, "list[str]", "list[str]"], Iterable[str]]


class PartitionState:
    """What a partitioner is at."""

    #: The set is being divided: :meth:`SetPartitioner.wait_for_acquire` waits for that.
    ALLOCATING = "ALLOCATING"
    #: This member has its items.
    ACQUIRED = "ACQUIRED"
    #: The set has to be divided anew: :meth:`SetPartitioner.release_set` is to be called soon.
    RELEASE = "RELEASE"
    #: It is over: the session has ended, or :meth:`SetPartitioner.finish` was called.
    FAILURE = "FAILURE"


class StateChangeEvent(Protocol):
    """Whatever can be set, such as a ``threading.Event``."""

    def set(self) -> None:
        """Called at every change of the state."""


def share_out(identifier: str, members: Iterable[str], items: Iterable[str]) -> list[str]:
    """The items of one member: each member in turn gets one.

    >>> share_out("b", ["b", "a"], ["3", "1", "2"])
    ['2']
    """
    workers = sorted(members)
    return sorted(items)[workers.index(identifier) :: len(workers)]


class Allocation:
    """One attempt to get this member's share."""

    def __init__(self, client: RecipeClient, changed: Callable[[Allocation], None]) -> None:
        self.alarm = Alarm(client)
        #: Whether members came or went since they were last listed.
        self.is_outdated = False
        self._changed = changed

    def hear(self, _event: object = None) -> None:
        """The party has changed."""
        self.is_outdated = True
        self.alarm.ring()
        self._changed(self)


class Partitioning:
    """Divides a set among the members of a party: each item has one member, and a member has any number of items."""

    def __init__(
        self,
        client: RecipeClient,
        path: str,
        set: Iterable[str],
        partition_func: PartitionFunc | None = None,
        identifier: str | None = None,
        time_boundary: float = 30,
        max_reaction_time: float = 1,
        state_change_event: StateChangeEvent | None = None,
    ) -> None:
        self._client = client
        self._lock_path = below(_base.clean_path(path), "locks")
        self._party_path = below(_base.clean_path(path), "party")
        self._items = list(set)
        self._partition_func: PartitionFunc = partition_func or share_out
        self._identifier = identifier or f"{socket.getfqdn()}-{os.getpid()}"
        self._time_boundary = time_boundary
        self._max_reaction_time = max_reaction_time
        self._party = Shallow(client, self._party_path, self._identifier)
        #: Set at every change of the state.
        self.state_change_event = state_change_event or self.make_event()
        #: One of :class:`PartitionState`.
        self.state = PartitionState.ALLOCATING
        self._transition = threading.Lock()
        self._allocation: Allocation | None = None
        # Set while there is nothing to wait for: this member has its items, or never will.
        self._is_decided = client.signal()
        self._share: list[str] = []
        self._locks: list[Contender] = []
        client.add_listener(self._heard)

    def make_event(self) -> StateChangeEvent:
        """What is set at every change of the state, where the caller gives nothing."""
        raise NotImplementedError

    def begin_allocating(self, allocation: Allocation) -> None:
        """Has :meth:`allocating_share` carried out beside the caller."""
        raise NotImplementedError

    # ---- what is known ----

    def __iter__(self) -> Iterator[str]:
        return iter(self._share)

    @property
    def failed(self) -> bool:
        """Whether it is over."""
        return self.state == PartitionState.FAILURE

    @property
    def release(self) -> bool:
        """Whether the items have to be released, because the set has to be divided anew."""
        return self.state == PartitionState.RELEASE

    @property
    def allocating(self) -> bool:
        """Whether the set is being divided."""
        return self.state == PartitionState.ALLOCATING

    @property
    def acquired(self) -> bool:
        """Whether this member has its items."""
        return self.state == PartitionState.ACQUIRED

    # ---- what the owner asks for ----

    async def waiting_for_acquire(self, timeout: float | None = 30) -> bool:
        """Waits until this member has its items, up to `timeout` seconds; whether it has."""
        await self._is_decided.wait(_base.deadline_of(timeout))
        return self.acquired

    async def releasing_set(self) -> None:
        """Releases the items, and divides the set anew."""
        await self._release()
        self.allocate()

    async def finishing(self) -> None:
        """Releases the items and leaves the party. The partitioner is of no use any more."""
        self._fail()
        await self._release()
        if self._party.participating:
            await self._party.leaving()

    def allocate(self) -> None:
        """Begins to divide the set."""
        with self._transition:
            if self.failed:
                return
            self._allocation = allocation = Allocation(self._client, self._party_changed)
            self._set_state(PartitionState.ALLOCATING)
        self.begin_allocating(allocation)

    # ---- dividing ----

    async def allocating_share(self, allocation: Allocation) -> None:
        """Joins the party, waits until no more members come and go, and locks this member's share."""
        try:
            if not self._party.participating:
                await self._party.joining()
            with allocation.alarm:
                while self._is_current(allocation):
                    if await self._attempt(allocation):
                        return
        except ZoariumError:
            self._fail()
        except Exception as error:
            self._fail()
            _base.report(error)

    async def _attempt(self, allocation: Allocation) -> bool:
        if not await self._settle(allocation):
            return False
        members = await self._party.listing()
        share = list(self._partition_func(self._identifier, members, self._items))
        locks: list[Contender] = []
        try:
            for item in share:
                lock = Contender(self._client, below(self._lock_path, str(item)), on_lost=self._lock_lost)
                locks.append(lock)
                if not await self._acquire(lock, allocation):
                    return False
            with self._transition:
                if allocation.is_outdated or not self._is_current(allocation):
                    return False
                self._share, self._locks, locks = share, locks, []
                self._set_state(PartitionState.ACQUIRED)
            return True
        finally:
            for lock in locks:
                await lock.releasing()

    async def _settle(self, allocation: Allocation) -> bool:
        """Waits until the party has stayed as it is for long enough; false where this attempt is over before."""
        while self._is_current(allocation):
            allocation.alarm.reset()
            allocation.is_outdated = False
            try:
                await Ask(self._client).get_children(self._party_path, watch=allocation.hear)
            except _base.PASSING:
                await _base.pause(self._client)
                continue
            if not await allocation.alarm.wait(monotonic() + self._time_boundary):
                return True
        return False

    async def _acquire(self, lock: Contender, allocation: Allocation) -> bool:
        """Acquires a lock, which its last owner may have yet; false where members came or went meanwhile."""
        while not allocation.is_outdated and self._is_current(allocation):
            try:
                # Not for ever: two members that divide differently could wait for each other.
                return await lock.acquiring(timeout=self._max_reaction_time) and not allocation.is_outdated
            except LockTimeout:
                continue
        return False

    # ---- what happens ----

    def _is_current(self, allocation: Allocation) -> bool:
        return self._allocation is allocation and self.allocating

    def _party_changed(self, allocation: Allocation) -> None:
        with self._transition:
            if self._allocation is allocation and self.acquired:
                self._set_state(PartitionState.RELEASE)

    def _lock_lost(self) -> None:
        with self._transition:
            if self.acquired:
                self._set_state(PartitionState.RELEASE)

    def _heard(self, state: str) -> bool:
        if self.failed or state == KazooState.LOST:
            self._fail()
            return True
        with self._transition:
            # What the other members do meanwhile is not known here.
            if state == KazooState.SUSPENDED and not self.failed and not self.release:
                self._set_state(PartitionState.RELEASE)
        return False

    def _fail(self) -> None:
        with self._transition:
            if not self.failed:
                self._set_state(PartitionState.FAILURE)
        self._client.remove_listener(self._heard)

    def _set_state(self, state: str) -> None:
        self.state = state
        if state in (PartitionState.ACQUIRED, PartitionState.FAILURE):
            self._is_decided.set()
        else:
            self._is_decided.clear()
        if self._allocation is not None:
            self._allocation.alarm.ring()
        self.state_change_event.set()

    async def _release(self) -> None:
        with self._transition:
            locks, self._locks, self._share = self._locks, [], []
        for lock in locks:
            await lock.releasing()

    def __repr__(self) -> str:
        return f"<zoarium.{type(self).__name__} {self._party_path} {self.state}>"


class SetPartitioner(Partitioning):
    """Divides a set among the members of a party: each item has one member, and a member has any number of items.

    It begins at once, in a thread of its own. `partition_func` is called with this member's `identifier`, those of all
    members and the set, and returns this member's items; all members have to divide alike. The set is divided when nobody
    has come or gone for `time_boundary` seconds. `max_reaction_time` is how long a member waits for one item's last owner
    before it looks again whether members came or went. `state_change_event` is set at every change of :attr:`state`.
    """

    def __init__(
        self,
        client: RecipeClient,
        path: str,
        set: Iterable[str],
        partition_func: PartitionFunc | None = None,
        identifier: str | None = None,
        time_boundary: float = 30,
        max_reaction_time: float = 1,
        state_change_event: StateChangeEvent | None = None,
    ) -> None:
        super().__init__(
            client, path, set, partition_func, identifier, time_boundary, max_reaction_time, state_change_event
        )
        run(self._party.joining())
        self.allocate()

    wait_for_acquire = blocks(Partitioning.waiting_for_acquire)
    release_set = blocks(Partitioning.releasing_set)
    finish = blocks(Partitioning.finishing)

    def make_event(self) -> StateChangeEvent:
        """A ``threading.Event``."""
        return threading.Event()

    def begin_allocating(self, allocation: Allocation) -> None:
        """In a thread."""
        work = self.allocating_share(allocation)
        threading.Thread(target=run, args=(work,), name="zoarium-partitioner", daemon=True).start()


class AioSetPartitioner(Partitioning):
    """Divides a set among the members of a party: each item has one member, and a member has any number of items.

    It begins at once, in a task of its own; otherwise as :class:`zoarium.recipes.SetPartitioner`.
    """

    def __init__(
        self,
        client: RecipeClient,
        path: str,
        set: Iterable[str],
        partition_func: PartitionFunc | None = None,
        identifier: str | None = None,
        time_boundary: float = 30,
        max_reaction_time: float = 1,
        state_change_event: StateChangeEvent | None = None,
    ) -> None:
        super().__init__(
            client, path, set, partition_func, identifier, time_boundary, max_reaction_time, state_change_event
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.allocate()

    wait_for_acquire = awaits(Partitioning.waiting_for_acquire)
    release_set = awaits(Partitioning.releasing_set)
    finish = awaits(Partitioning.finishing)

    def make_event(self) -> StateChangeEvent:
        """An ``asyncio.Event``."""
        return asyncio.Event()

    def begin_allocating(self, allocation: Allocation) -> None:
        """In a task."""
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.ensure_future(self.allocating_share(allocation)))
