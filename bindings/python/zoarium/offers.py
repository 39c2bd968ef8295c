"""The recipes as methods of a client. What they are is imported when one is used, so that importing the package is fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterable, TypeVar, cast

if TYPE_CHECKING:
    from .client import Client
    from .recipes import (
        Barrier,
        ChildrenWatch,
        Counter,
        DataWatch,
        DoubleBarrier,
        Election,
        Lock,
        LockingQueue,
        Party,
        Queue,
        ReadLock,
        Semaphore,
        ShallowParty,
        TreeCache,
        WriteLock,
    )

Number = TypeVar("Number", int, float)
OnLost = Callable[[], object]


class Recipes:
    """Recipes on a client: each under kazoo's name, and as a word."""

    def lock(
        self,
        path: str,
        identifier: object = None,
        extra_lock_patterns: Iterable[str] = (),
        on_lost: OnLost | None = None,
    ) -> Lock:
        """A lock that one holds at a time: :class:`zoarium.recipes.Lock`."""
        from .recipes import Lock

        return Lock(_client(self), path, identifier, extra_lock_patterns, on_lost)

    def read_lock(
        self,
        path: str,
        identifier: object = None,
        extra_lock_patterns: Iterable[str] = (),
        on_lost: OnLost | None = None,
    ) -> ReadLock:
        """The readers' side of a lock: :class:`zoarium.recipes.ReadLock`."""
        from .recipes import ReadLock

        return ReadLock(_client(self), path, identifier, extra_lock_patterns, on_lost)

    def write_lock(
        self,
        path: str,
        identifier: object = None,
        extra_lock_patterns: Iterable[str] = (),
        on_lost: OnLost | None = None,
    ) -> WriteLock:
        """The writers' side of a lock: :class:`zoarium.recipes.WriteLock`."""
        from .recipes import WriteLock

        return WriteLock(_client(self), path, identifier, extra_lock_patterns, on_lost)

    def semaphore(
        self, path: str, identifier: object = None, max_leases: int = 1, on_lost: OnLost | None = None
    ) -> Semaphore:
        """A number of leases: :class:`zoarium.recipes.Semaphore`."""
        from .recipes import Semaphore

        return Semaphore(_client(self), path, identifier, max_leases, on_lost)

    def election(self, path: str, identifier: object = None, on_lost: OnLost | None = None) -> Election:
        """A contender of an election: :class:`zoarium.recipes.Election`."""
        from .recipes import Election

        return Election(_client(self), path, identifier, on_lost)

    def counter(self, path: str, default: Number = 0, support_curator: bool = False) -> Counter[Number]:
        """A number that many change: :class:`zoarium.recipes.Counter`."""
        from .recipes import Counter

        return Counter(_client(self), path, default, support_curator)

    def barrier(self, path: str) -> Barrier:
        """What nobody passes while it stands: :class:`zoarium.recipes.Barrier`."""
        from .recipes import Barrier

        return Barrier(_client(self), path)

    def double_barrier(self, path: str, num_clients: int, identifier: str | None = None) -> DoubleBarrier:
        """What all enter and leave together: :class:`zoarium.recipes.DoubleBarrier`."""
        from .recipes import DoubleBarrier

        return DoubleBarrier(_client(self), path, num_clients, identifier)

    def queue(self, path: str) -> Queue:
        """A queue whose entries are gone when taken: :class:`zoarium.recipes.Queue`."""
        from .recipes import Queue

        return Queue(_client(self), path)

    def locking_queue(self, path: str) -> LockingQueue:
        """A queue whose entries stay until they are consumed: :class:`zoarium.recipes.LockingQueue`."""
        from .recipes import LockingQueue

        return LockingQueue(_client(self), path)

    def party(self, path: str, identifier: object = None) -> Party:
        """Who is here: :class:`zoarium.recipes.Party`."""
        from .recipes import Party

        return Party(_client(self), path, identifier)

    def shallow_party(self, path: str, identifier: object = None) -> ShallowParty:
        """Who is here, by name: :class:`zoarium.recipes.ShallowParty`."""
        from .recipes import ShallowParty

        return ShallowParty(_client(self), path, identifier)

    def data_watch(self, path: str, func: Callable[..., Any] | None = None) -> DataWatch:
        """A function called with every new data of a znode: :class:`zoarium.recipes.DataWatch`. Also as a decorator."""
        from .recipes import DataWatch

        return DataWatch(_client(self), path, func)

    def children_watch(
        self,
        path: str,
        func: Callable[..., Any] | None = None,
        allow_session_lost: bool = True,
        send_event: bool = False,
    ) -> ChildrenWatch:
        """A function called with every new list of children: :class:`zoarium.recipes.ChildrenWatch`. Also as a
        decorator."""
        from .recipes import ChildrenWatch

        return ChildrenWatch(_client(self), path, func, allow_session_lost, send_event)

    def tree_cache(self, path: str) -> TreeCache:
        """A copy of a subtree that follows every change: :class:`zoarium.recipes.TreeCache`."""
        from .recipes import TreeCache

        return TreeCache(_client(self), path)

    Lock = lock
    ReadLock = read_lock
    WriteLock = write_lock
    Semaphore = semaphore
    Election = election
    Counter = counter
    Barrier = barrier
    DoubleBarrier = double_barrier
    Queue = queue
    LockingQueue = locking_queue
    Party = party
    ShallowParty = shallow_party
    DataWatch = data_watch
    ChildrenWatch = children_watch
    TreeCache = tree_cache


def _client(of: Recipes) -> Client:
    return cast("Client", of)
