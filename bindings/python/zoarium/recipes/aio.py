"""The recipes for asyncio: what waits is awaited. Clients of :mod:`zoarium.aio` offer them as methods.

    async with zk.lock("/locks/index", "worker-7") as lock:
        await storage.write(index, fence=lock.fence)

They are the recipes of :mod:`zoarium.recipes`, and share paths with them; the names are the same, too.
"""

from __future__ import annotations

from .barrier import AioBarrier as Barrier
from .barrier import AioDoubleBarrier as DoubleBarrier
from .cache import AioTreeCache as TreeCache
from .counter import AioCounter as Counter
from .election import AioElection as Election
from .lease import AioMultiNonBlockingLease as MultiNonBlockingLease
from .lease import AioNonBlockingLease as NonBlockingLease
from .lock import AioLock as Lock
from .lock import AioReadLock as ReadLock
from .lock import AioWriteLock as WriteLock
from .partitioner import AioSetPartitioner as SetPartitioner
from .party import AioParty as Party
from .party import AioShallowParty as ShallowParty
from .queue import AioLockingQueue as LockingQueue
from .queue import AioQueue as Queue
from .semaphore import AioSemaphore as Semaphore
from .watchers import AioChildrenWatch as ChildrenWatch
from .watchers import AioDataWatch as DataWatch

__all__ = [
    "Barrier",
    "ChildrenWatch",
    "Counter",
    "DataWatch",
    "DoubleBarrier",
    "Election",
    "Lock",
    "LockingQueue",
    "MultiNonBlockingLease",
    "NonBlockingLease",
    "Party",
    "Queue",
    "ReadLock",
    "Semaphore",
    "SetPartitioner",
    "ShallowParty",
    "TreeCache",
    "WriteLock",
]
