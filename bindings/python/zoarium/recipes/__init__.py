"""What programs coordinate with: locks, leases, elections, counters, barriers, queues, parties, partitioners, watchers, a
cache of a subtree.

Clients offer them as methods, under kazoo's names (``zk.Lock(path)``) and as words (``zk.lock(path)``). The znodes they
make are those that kazoo's recipes make, so programs of both kinds can share a path. They work the same in this process
and over TCP, with any ZooKeeper-compatible server.

What they have in common:

- A session that is over stays over: what waits raises :class:`~zoarium.SessionExpiredError` or
  :class:`~zoarium.ConnectionClosedError`, what is held is lost, and a new client is needed, or one that was opened with
  ``new_session=True``.
- A connection that was lost is waited for; nothing that may have happened is done twice by guessing.
- Each is written once, as coroutines, for clients of both kinds: what is here blocks, what is in
  :mod:`zoarium.recipes.aio` is awaited.
- What waits for something that comes through callbacks cannot wait in a callback: that raises
  :class:`~zoarium.WouldDeadlockError` instead of hanging.
"""

from __future__ import annotations

from .barrier import Barrier, DoubleBarrier
from .cache import NodeData, TreeCache, TreeEvent, TreeEventType
from .counter import Counter
from .election import Election
from ._held import CancelledError, LockTimeout
from ._holding import LockLostError
from .lease import MultiNonBlockingLease, NonBlockingLease
from .lock import Lock, ReadLock, WriteLock
from .partitioner import PartitionState, SetPartitioner
from .party import Party, ShallowParty
from .protocol import RecipeClient
from .queue import LockingQueue, Queue
from .semaphore import Semaphore
from .watchers import ChildrenWatch, DataWatch

__all__ = [
    "Barrier",
    "CancelledError",
    "ChildrenWatch",
    "Counter",
    "DataWatch",
    "DoubleBarrier",
    "Election",
    "Lock",
    "LockLostError",
    "LockTimeout",
    "LockingQueue",
    "MultiNonBlockingLease",
    "NodeData",
    "NonBlockingLease",
    "PartitionState",
    "Party",
    "Queue",
    "ReadLock",
    "RecipeClient",
    "Semaphore",
    "SetPartitioner",
    "ShallowParty",
    "TreeCache",
    "TreeEvent",
    "TreeEventType",
    "WriteLock",
]
