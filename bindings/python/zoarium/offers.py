"""The recipes as methods of a client. What they are is imported when one is used, so that importing the package is fast."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Callable, Iterable, TypeVar

if TYPE_CHECKING:
    import datetime

    from typing_extensions import Concatenate, ParamSpec

    from .recipes import (
        Barrier,
        ChildrenWatch,
        Counter,
        DataWatch,
        DoubleBarrier,
        Election,
        Lock,
        LockingQueue,
        MultiNonBlockingLease,
        NonBlockingLease,
        Party,
        Queue,
        ReadLock,
        Semaphore,
        SetPartitioner,
        ShallowParty,
        TreeCache,
        WriteLock,
        aio,
    )
    from .recipes.partitioner import PartitionFunc, StateChangeEvent
    from .recipes.protocol import RecipeClient

    P = ParamSpec("P")
else:

    class _Late:
        """A module that is imported when something of it is used."""

        def __getattr__(self, name: str) -> Any:
            from .recipes import aio

            return getattr(aio, name)

    aio = _Late()

MadeT = TypeVar("MadeT")
Number = TypeVar("Number", int, float)
OnLost = Callable[[], object]


class Recipes:
    """Recipes on a client: each under kazoo's name, and as a word."""

    def lock(
        self: RecipeClient,
        path: str,
        identifier: object = None,
        extra_lock_patterns: Iterable[str] = (),
        on_lost: OnLost | None = None,
    ) -> Lock:
        """A lock that one holds at a time: :class:`zoarium.recipes.Lock`."""
        from .recipes import Lock

        return Lock(self, path, identifier, extra_lock_patterns, on_lost)

    def read_lock(
        self: RecipeClient,
        path: str,
        identifier: object = None,
        extra_lock_patterns: Iterable[str] = (),
        on_lost: OnLost | None = None,
    ) -> ReadLock:
        """The readers' side of a lock: :class:`zoarium.recipes.ReadLock`."""
        from .recipes import ReadLock

        return ReadLock(self, path, identifier, extra_lock_patterns, on_lost)

    def write_lock(
        self: RecipeClient,
        path: str,
        identifier: object = None,
        extra_lock_patterns: Iterable[str] = (),
        on_lost: OnLost | None = None,
    ) -> WriteLock:
        """The writers' side of a lock: :class:`zoarium.recipes.WriteLock`."""
        from .recipes import WriteLock

        return WriteLock(self, path, identifier, extra_lock_patterns, on_lost)

    def semaphore(
        self: RecipeClient, path: str, identifier: object = None, max_leases: int = 1, on_lost: OnLost | None = None
    ) -> Semaphore:
        """A number of leases: :class:`zoarium.recipes.Semaphore`."""
        from .recipes import Semaphore

        return Semaphore(self, path, identifier, max_leases, on_lost)

    def election(self: RecipeClient, path: str, identifier: object = None, on_lost: OnLost | None = None) -> Election:
        """A contender of an election: :class:`zoarium.recipes.Election`."""
        from .recipes import Election

        return Election(self, path, identifier, on_lost)

    def counter(self: RecipeClient, path: str, default: Number = 0, support_curator: bool = False) -> Counter[Number]:
        """A number that many change: :class:`zoarium.recipes.Counter`."""
        from .recipes import Counter

        return Counter(self, path, default, support_curator)

    def barrier(self: RecipeClient, path: str) -> Barrier:
        """What nobody passes while it stands: :class:`zoarium.recipes.Barrier`."""
        from .recipes import Barrier

        return Barrier(self, path)

    def double_barrier(self: RecipeClient, path: str, num_clients: int, identifier: str | None = None) -> DoubleBarrier:
        """What all enter and leave together: :class:`zoarium.recipes.DoubleBarrier`."""
        from .recipes import DoubleBarrier

        return DoubleBarrier(self, path, num_clients, identifier)

    def queue(self: RecipeClient, path: str) -> Queue:
        """A queue whose entries are gone when taken: :class:`zoarium.recipes.Queue`."""
        from .recipes import Queue

        return Queue(self, path)

    def locking_queue(self: RecipeClient, path: str) -> LockingQueue:
        """A queue whose entries stay until they are consumed: :class:`zoarium.recipes.LockingQueue`."""
        from .recipes import LockingQueue

        return LockingQueue(self, path)

    def party(self: RecipeClient, path: str, identifier: object = None) -> Party:
        """Who is here: :class:`zoarium.recipes.Party`."""
        from .recipes import Party

        return Party(self, path, identifier)

    def shallow_party(self: RecipeClient, path: str, identifier: object = None) -> ShallowParty:
        """Who is here, by name: :class:`zoarium.recipes.ShallowParty`."""
        from .recipes import ShallowParty

        return ShallowParty(self, path, identifier)

    def non_blocking_lease(
        self: RecipeClient,
        path: str,
        duration: datetime.timedelta,
        identifier: str | None = None,
        utcnow: Callable[[], datetime.datetime] | None = None,
    ) -> NonBlockingLease:
        """A lease until a time, which is not waited for: :class:`zoarium.recipes.NonBlockingLease`."""
        from .recipes import NonBlockingLease

        return NonBlockingLease(self, path, duration, identifier, utcnow)

    def multi_non_blocking_lease(
        self: RecipeClient,
        count: int,
        path: str,
        duration: datetime.timedelta,
        identifier: str | None = None,
        utcnow: Callable[[], datetime.datetime] | None = None,
    ) -> MultiNonBlockingLease:
        """One of several such leases: :class:`zoarium.recipes.MultiNonBlockingLease`."""
        from .recipes import MultiNonBlockingLease

        return MultiNonBlockingLease(self, count, path, duration, identifier, utcnow)

    def set_partitioner(
        self: RecipeClient,
        path: str,
        set: Iterable[str],
        partition_func: PartitionFunc | None = None,
        identifier: str | None = None,
        time_boundary: float = 30,
        max_reaction_time: float = 1,
        state_change_event: StateChangeEvent | None = None,
    ) -> SetPartitioner:
        """This member's share of a set: :class:`zoarium.recipes.SetPartitioner`."""
        from .recipes import SetPartitioner

        return SetPartitioner(
            self, path, set, partition_func, identifier, time_boundary, max_reaction_time, state_change_event
        )

    def data_watch(self: RecipeClient, path: str, func: Callable[..., Any] | None = None) -> DataWatch:
        """A function called with every new data of a znode: :class:`zoarium.recipes.DataWatch`. Also as a decorator."""
        from .recipes import DataWatch

        return DataWatch(self, path, func)

    def children_watch(
        self: RecipeClient,
        path: str,
        func: Callable[..., Any] | None = None,
        allow_session_lost: bool = True,
        send_event: bool = False,
    ) -> ChildrenWatch:
        """A function called with every new list of children: :class:`zoarium.recipes.ChildrenWatch`. Also as a
        decorator."""
        from .recipes import ChildrenWatch

        return ChildrenWatch(self, path, func, allow_session_lost, send_event)

    def tree_cache(self: RecipeClient, path: str) -> TreeCache:
        """A copy of a subtree that follows every change: :class:`zoarium.recipes.TreeCache`."""
        from .recipes import TreeCache

        return TreeCache(self, path)

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
    NonBlockingLease = non_blocking_lease
    MultiNonBlockingLease = multi_non_blocking_lease
    SetPartitioner = set_partitioner
    DataWatch = data_watch
    ChildrenWatch = children_watch
    TreeCache = tree_cache


def made(
    offer: Callable[Concatenate[Any, P], object], kind: Callable[[], Callable[..., MadeT]]
) -> Callable[Concatenate[Any, P], MadeT]:
    """The same offer, of another kind of recipe."""

    @wraps(offer)
    def method(self: RecipeClient, /, *arguments: P.args, **keywords: P.kwargs) -> MadeT:
        return kind()(self, *arguments, **keywords)

    return method


class AioRecipes:
    """The same recipes on a client for asyncio: what waits is awaited."""

    lock = made(Recipes.lock, lambda: aio.Lock)
    read_lock = made(Recipes.read_lock, lambda: aio.ReadLock)
    write_lock = made(Recipes.write_lock, lambda: aio.WriteLock)
    semaphore = made(Recipes.semaphore, lambda: aio.Semaphore)
    election = made(Recipes.election, lambda: aio.Election)
    barrier = made(Recipes.barrier, lambda: aio.Barrier)
    double_barrier = made(Recipes.double_barrier, lambda: aio.DoubleBarrier)
    queue = made(Recipes.queue, lambda: aio.Queue)
    locking_queue = made(Recipes.locking_queue, lambda: aio.LockingQueue)
    party = made(Recipes.party, lambda: aio.Party)
    shallow_party = made(Recipes.shallow_party, lambda: aio.ShallowParty)
    non_blocking_lease = made(Recipes.non_blocking_lease, lambda: aio.NonBlockingLease)
    multi_non_blocking_lease = made(Recipes.multi_non_blocking_lease, lambda: aio.MultiNonBlockingLease)
    set_partitioner = made(Recipes.set_partitioner, lambda: aio.SetPartitioner)
    data_watch = made(Recipes.data_watch, lambda: aio.DataWatch)
    children_watch = made(Recipes.children_watch, lambda: aio.ChildrenWatch)
    tree_cache = made(Recipes.tree_cache, lambda: aio.TreeCache)

    def counter(
        self: RecipeClient, path: str, default: Number = 0, support_curator: bool = False
    ) -> aio.Counter[Number]:
        """A number that many change: :class:`zoarium.recipes.aio.Counter`."""
        return aio.Counter(self, path, default, support_curator)

    Lock = lock
    ReadLock = read_lock
    WriteLock = write_lock
    Semaphore = semaphore
    Election = election
    Barrier = barrier
    DoubleBarrier = double_barrier
    Queue = queue
    LockingQueue = locking_queue
    Party = party
    ShallowParty = shallow_party
    NonBlockingLease = non_blocking_lease
    MultiNonBlockingLease = multi_non_blocking_lease
    SetPartitioner = set_partitioner
    DataWatch = data_watch
    ChildrenWatch = children_watch
    TreeCache = tree_cache
    Counter = counter
