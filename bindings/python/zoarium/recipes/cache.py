"""A copy of a subtree in memory that follows every change.

    with zk.tree_cache("/services") as cache:
        cache.get_data("/services/web")
        cache.get_children("/services")

One standing recursive watch tells of all changes, so nothing has to be watched again and nothing is missed in between.
Events and answers arrive in the order in which the server made them, and are applied in that order: what the cache holds
of a znode never goes back in time. After a lost connection everything is compared with what is there then, and listeners
hear of the differences.
"""

from __future__ import annotations

import threading
from collections import deque
from enum import IntEnum
from functools import partial
from typing import Any, Callable, NamedTuple, TypeVar

from ..calls import run
from ..errors import NoNodeError, ZoariumError
from ..operations import Operations
from ..types import EventType, KazooState, WatchedEvent, ZnodeStat
from . import _base
from ._base import awaits, below, blocks
from .protocol import RecipeClient

__all__ = ["NodeData", "TreeCache", "TreeEvent", "TreeEventType"]

DefaultT = TypeVar("DefaultT")
ListenerT = TypeVar("ListenerT", bound=Callable[..., Any])

#: Znodes asked for at a time while a subtree is loaded.
_LOADING_MAX = 256


class NodeData(NamedTuple):
    """A znode as the cache has it."""

    #: Its path.
    path: str
    #: Its data.
    data: bytes | None
    #: Its stat when it was created or its data changed last: versions of children may be older than that of the server.
    stat: ZnodeStat


class TreeEventType(IntEnum):
    """What became of a cache, with kazoo's numbers."""

    NODE_ADDED = 0
    NODE_UPDATED = 1
    NODE_REMOVED = 2
    CONNECTION_SUSPENDED = 3
    CONNECTION_RECONNECTED = 4
    CONNECTION_LOST = 5
    INITIALIZED = 6


class _TreeEvent(NamedTuple):
    event_type: TreeEventType
    event_data: NodeData | None = None


class TreeEvent(_TreeEvent):
    """What listeners of a cache are told: `event_type`, and `event_data`, the znode it is about (as it was last, when it
    has been removed; ``None`` for events of the whole)."""

    __slots__ = ()

    NODE_ADDED = TreeEventType.NODE_ADDED
    NODE_UPDATED = TreeEventType.NODE_UPDATED
    NODE_REMOVED = TreeEventType.NODE_REMOVED
    CONNECTION_SUSPENDED = TreeEventType.CONNECTION_SUSPENDED
    CONNECTION_RECONNECTED = TreeEventType.CONNECTION_RECONNECTED
    CONNECTION_LOST = TreeEventType.CONNECTION_LOST
    INITIALIZED = TreeEventType.INITIALIZED


class Subtree:
    """The subtree at `path`, which need not exist. Needs a server with standing watches: ZooKeeper 3.6 or later."""

    def __init__(self, client: RecipeClient, path: str) -> None:
        self._client = client
        self._path = _base.clean_path(path)
        self._listeners: list[Callable[[TreeEvent], object]] = []
        self._fault_listeners: list[Callable[[Exception], object]] = []
        self._watch: Any = None
        self._is_closed = False
        self._initialized = client.signal()
        # Written where callbacks run, read anywhere.
        self._lock = threading.Lock()
        self._nodes: dict[str, NodeData] = {}
        self._children: dict[str, set[str]] = {}
        # All below: only where callbacks run.
        #: Paths asked for whose answers have not come, and what has been heard of them since.
        self._asked: dict[str, str | None] = {}
        self._to_load: deque[str] = deque()
        self._loading: set[str] = set()
        self._listings = 0
        self._was_suspended = False
        self._was_lost = False

    # ---- life ----

    async def starting(self) -> None:
        """Begins to load and follow the subtree; :meth:`wait` until all of it is there. Once."""
        if self._is_closed or self._watch is not None:
            raise ValueError(f"the cache of {self._path} has been {'closed' if self._is_closed else 'started'}")
        self._client.add_listener(self._heard)
        try:
            # First the watch, then the load: what changes in between comes by both ways, and is found to be the same.
            self._watch = await self._client.stand(self._path, self._changed, recursive=True)
        except BaseException:
            self._client.remove_listener(self._heard)
            raise
        self._client.call_soon(self._load)

    async def waiting(self, timeout: float | None = None) -> bool:
        """Waits until the subtree has been loaded; false when that took longer than `timeout` seconds."""
        _base.refuse_in_callback(self._client, f"waiting for the cache of {self._path}")
        return await self._initialized.wait(_base.deadline_of(timeout))

    @property
    def initialized(self) -> bool:
        """Whether the subtree has been loaded."""
        return self._initialized.is_set()

    async def closing(self) -> None:
        """Follows it no more, and forgets it."""
        self._is_closed = True
        self._client.remove_listener(self._heard)
        if self._watch is not None:
            await self._client.unstand(self._watch)
        with self._lock:
            self._nodes.clear()
            self._children.clear()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "loaded" if self.initialized else "loading"
        return f"<zoarium.{type(self).__name__} {self._path} {state}, {len(self._nodes)} znodes>"

    # ---- what is in it ----

    def get_data(self, path: str, default: DefaultT | None = None) -> NodeData | DefaultT | None:
        """What the cache has of a znode; `default` when there is none."""
        return self._nodes.get(_base.clean_path(path), default)

    def get_children(self, path: str, default: DefaultT | None = None) -> frozenset[str] | DefaultT | None:
        """The names of a znode's children; `default` when there is no such znode."""
        path = _base.clean_path(path)
        with self._lock:
            if path not in self._nodes:
                return default
            return frozenset(self._children.get(path, ()))

    def __contains__(self, path: str) -> bool:
        return _base.clean_path(path) in self._nodes

    def __len__(self) -> int:
        """How many znodes there are."""
        return len(self._nodes)

    def listen(self, listener: ListenerT) -> ListenerT:
        """Has `listener` called with every :class:`TreeEvent`. Also as a decorator."""
        self._listeners.append(listener)
        return listener

    def listen_fault(self, listener: ListenerT) -> ListenerT:
        """Has `listener` called with what goes wrong: with a znode that may not be read, or in a listener."""
        self._fault_listeners.append(listener)
        return listener

    # ---- following it: all below runs where callbacks do ----

    def _heard(self, state: str) -> bool:
        if self._is_closed:
            return True
        if state == KazooState.LOST:
            self._tell(TreeEvent.CONNECTION_LOST)
            self._was_lost = self._client.renews
            return not self._client.renews
        if self._was_lost:
            if state == KazooState.CONNECTED:
                self._was_lost = self._was_suspended = False
                self.follow_again()
        elif state == KazooState.SUSPENDED:
            self._was_suspended = True
            self._tell(TreeEvent.CONNECTION_SUSPENDED)
        elif self._was_suspended:
            self._was_suspended = False
            self._tell(TreeEvent.CONNECTION_RECONNECTED)
            # What was deleted without our hearing of it is missing from its parent's list.
            self._load()
        return False

    def follow_again(self) -> None:
        """Follows it with a new session; where callbacks run."""
        raise NotImplementedError

    async def following_again(self) -> None:
        """Watches it anew, and compares what is there then."""
        try:
            self._watch = await self._client.stand(self._path, self._changed, recursive=True)
        except ZoariumError as error:
            # Another session over already: the next one will be told of.
            self._fault(error)
            return
        self._tell(TreeEvent.CONNECTION_RECONNECTED)
        self._client.call_soon(self._load)

    def _changed(self, event: WatchedEvent) -> None:
        if self._is_closed:
            return
        if event.path in self._asked:
            # The answer under way may be older than this.
            self._asked[event.path] = event.type
        elif event.type != EventType.DELETED:
            self._ask(event.path)
        if event.type == EventType.DELETED:
            self._remove(event.path)

    def _load(self) -> None:
        """Asks for everything."""
        self._to_load.append(self._path)
        self._load_more()

    def _load_more(self) -> None:
        while self._to_load and self._listings < _LOADING_MAX and not self._is_closed:
            path = self._to_load.popleft()
            self._loading.add(path)
            self._ask(path)
            self._listings += 1
            self._client.begin(Operations.get_children(self._client, path), partial(self._listed, path))
        if not (self._to_load or self._loading or self._listings or self._is_closed or self._initialized.is_set()):
            self._initialized.set()
            self._tell(TreeEvent.INITIALIZED)

    def _listed(self, path: str, names: list[str], error: BaseException | None) -> None:
        self._listings -= 1
        if error is None and not self._is_closed:
            for name in self._children.get(path, set()).difference(names):
                self._remove(below(path, name))
            self._to_load.extend(below(path, name) for name in names)
        elif isinstance(error, _base.PASSING):
            # It waits for the next connection by itself.
            self._to_load.append(path)
        elif error is not None and not isinstance(error, NoNodeError):
            self._fault(error)
        self._load_more()

    def _ask(self, path: str) -> None:
        if path in self._asked:
            return
        self._asked[path] = None
        self._client.begin(Operations.get(self._client, path), partial(self._got, path))

    def _got(self, path: str, node: Any, error: BaseException | None) -> None:
        heard = self._asked.pop(path, None)
        must_ask_again = heard is not None
        if self._is_closed:
            return
        if error is None:
            # What has been deleted since may be there again, or never more: that has to be asked.
            if heard != EventType.DELETED:
                data, stat = node
                self._put(NodeData(path, data, stat))
        elif isinstance(error, NoNodeError):
            self._remove(path)
        elif isinstance(error, _base.PASSING):
            must_ask_again = True
        else:
            self._fault(error)
        if must_ask_again:
            self._ask(path)
            return
        if path in self._loading:
            self._loading.discard(path)
            self._load_more()

    def _put(self, node: NodeData) -> None:
        known = self._nodes.get(node.path)
        if known is not None and known.stat.czxid != node.stat.czxid:
            # Deleted and created again while nobody told.
            self._remove(node.path)
            known = None
        with self._lock:
            self._nodes[node.path] = node
            if known is None and node.path != self._path:
                parent, _, name = node.path.rpartition("/")
                self._children.setdefault(parent or "/", set()).add(name)
        if known is None:
            self._tell(TreeEvent.NODE_ADDED, node)
        elif known.stat.mzxid != node.stat.mzxid:
            self._tell(TreeEvent.NODE_UPDATED, node)

    def _remove(self, path: str) -> None:
        for name in list(self._children.get(path, ())):
            self._remove(below(path, name))
        with self._lock:
            node = self._nodes.pop(path, None)
            self._children.pop(path, None)
            parent, _, name = path.rpartition("/")
            siblings = self._children.get(parent or "/")
            if siblings is not None:
                siblings.discard(name)
        if node is not None:
            self._tell(TreeEvent.NODE_REMOVED, node)

    def _tell(self, kind: TreeEventType, node: NodeData | None = None) -> None:
        event = TreeEvent(kind, node)
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception as error:
                self._fault(error)

    def _fault(self, error: BaseException) -> None:
        if not isinstance(error, Exception) or not self._client.connected:
            # Without a session there is nothing to be said that CONNECTION_LOST does not say.
            return
        if not self._fault_listeners:
            _base.report(error)
        for listener in list(self._fault_listeners):
            listener(error)


class TreeCache(Subtree):
    __doc__ = Subtree.__doc__

    start = blocks(Subtree.starting)
    wait = blocks(Subtree.waiting)
    close = blocks(Subtree.closing)

    def follow_again(self) -> None:
        """Follows it with a new session."""
        run(self.following_again())

    def __enter__(self) -> TreeCache:
        self.start()
        self.wait()
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()


class AioTreeCache(Subtree):
    __doc__ = Subtree.__doc__

    start = awaits(Subtree.starting)
    wait = awaits(Subtree.waiting)
    close = awaits(Subtree.closing)

    def follow_again(self) -> None:
        """Follows it with a new session."""
        import asyncio

        self._task = asyncio.get_running_loop().create_task(self.following_again())

    async def __aenter__(self) -> AioTreeCache:
        await self.start()
        await self.wait()
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.close()
