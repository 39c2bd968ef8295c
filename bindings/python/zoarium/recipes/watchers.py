"""Watchers: a function that is called with what there is, and again whenever that has changed.

    @zk.DataWatch("/config")
    def configure(data: bytes | None, stat: ZnodeStat | None) -> None:
        ...

The function is told of states, not of steps: of several changes in a row it may hear of the last one only, but of the last
one it hears. Lost connections make no difference, and where a client begins a new session by itself, expired ones do not
either. It is called once where the watcher is made, and then where callbacks run, never twice at a time; when it returns
``False`` it is called no more. With a client for asyncio, making a watcher does not wait: ``await watcher.first()`` does, for
the first call.
"""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from ..calls import run
from ..errors import NoNodeError, ZoariumError
from ..operations import Operations
from ..types import KazooState, WatchedEvent, ZnodeStat
from . import _base
from ._base import Persist
from .protocol import RecipeClient

if TYPE_CHECKING:
    import asyncio

__all__ = ["ChildrenWatch", "DataWatch"]

FuncT = TypeVar("FuncT", bound=Callable[..., Any])


class Watcher:
    """Looks once, and again after each event: one look at a time, and none of the events that come meanwhile is lost."""

    #: Whether it follows from one session to the next, where there is a next one.
    _survives = True

    def __init__(self, client: RecipeClient, path: str) -> None:
        self._client = client
        self._path = _base.clean_path(path)
        self._func: Callable[..., Any] | None = None
        self._lock = threading.Lock()
        self._is_looking = False
        self._must_look_again = False
        self._event: WatchedEvent | None = None
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether the function is called no more."""
        return self._stopped

    def stop(self) -> None:
        """Calls the function no more."""
        self._stopped = True
        self._client.remove_listener(self._heard)

    def __call__(self, func: FuncT) -> FuncT:
        """As a decorator."""
        if self._func is not None:
            raise ValueError(f"{type(self).__name__} of {self._path} has a function already")
        self.start(func)
        return func

    def start(self, func: Callable[..., Any]) -> None:
        """Begins to call a function. Once."""
        self._func = func
        self._is_looking = True
        self._client.add_listener(self._heard)
        self.first_look()

    def first_look(self) -> None:
        """Has the function called for the first time: by waiting for it, or by others."""
        raise NotImplementedError

    async def looking_first(self) -> None:
        """Looks, and calls the function for the first time."""
        try:
            await self._look_first()
        except BaseException:
            self.stop()
            raise
        self._looked()

    async def _look_first(self) -> None:
        """Looks and waits for it, leaves a watch, calls the function."""
        raise NotImplementedError

    def _look(self, event: WatchedEvent | None) -> None:
        """Looks without waiting, leaves a watch, calls the function, and :meth:`_looked` in any case."""
        raise NotImplementedError

    def _trigger(self, event: WatchedEvent | None) -> None:
        with self._lock:
            self._event = event
            if self._is_looking:
                self._must_look_again = True
                return
            self._is_looking = True
        self._look(event)

    def _looked(self) -> None:
        with self._lock:
            if not self._must_look_again or self._stopped:
                self._is_looking = False
                return
            self._must_look_again = False
            event = self._event
        self._look(event)

    def _changed(self, event: WatchedEvent) -> None:
        if not self._stopped:
            self._trigger(event)

    def _heard(self, state: str) -> bool:
        if self._stopped or (state == KazooState.LOST and not (self._client.renews and self._survives)):
            self._stopped = True
            return True
        if state == KazooState.CONNECTED:
            # Changes while there was no connection may have been missed.
            self._trigger(None)
        return False

    def _tell(self, *arguments: Any) -> None:
        if self._stopped or self._func is None:
            return
        if self._func(*arguments) is False:
            self.stop()

    def _tell_later(self, deliver: Callable[[], None]) -> None:
        """Delivers on the callbacks' thread, where nobody waits for what the function raises."""
        try:
            deliver()
        except Exception as error:
            _base.report(error)
        self._looked()

    def _failed(self, error: BaseException, event: WatchedEvent | None) -> None:
        if isinstance(error, _base.PASSING):
            _base.again(self._client, error, lambda: self._look(event))
            return
        if self._survives and self._client.renews and isinstance(error, ZoariumError) and not self._client.connected:
            # The next session will be looked at.
            self._looked()
            return
        if self._client.connected:
            # Not for want of a session: access was refused, perhaps.
            _base.report(error)
        self.stop()
        self._looked()

    def __repr__(self) -> str:
        return f"<zoarium.{type(self).__name__} {self._path}{' stopped' if self._stopped else ''}>"


class Data(Watcher):
    """Calls `func` with the data and stat of a znode, or ``None`` for both where there is none.

    A function that takes three arguments also gets the event it is called for: ``None`` for the first call and after a
    lost connection.
    """

    def __init__(self, client: RecipeClient, path: str, func: Callable[..., Any] | None = None) -> None:
        super().__init__(client, path)
        self._version: int | None = None
        self._was_called = False
        self._takes_event = False
        if func is not None:
            self.start(func)

    def start(self, func: Callable[..., Any]) -> None:
        """Begins to call a function. Once."""
        self._takes_event = _takes(func, 3)
        super().start(func)

    async def _look_first(self) -> None:
        ask = Persist(self._client)
        while True:
            try:
                data, stat = await ask.get(self._path, watch=self._changed)
                return self._deliver(data, stat, None)
            except NoNodeError:
                pass
            if await ask.exists(self._path, watch=self._changed) is None:
                return self._deliver(None, None, None)

    def _look(self, event: WatchedEvent | None) -> None:
        def got(node: Any, error: BaseException | None) -> None:
            if error is None:
                data, stat = node
                self._tell_later(lambda: self._deliver(data, stat, event))
            elif isinstance(error, NoNodeError):
                exists = Operations.exists(self._client, self._path, watch=self._changed)
                self._client.begin(exists, looked_for)
            else:
                self._failed(error, event)

        def looked_for(stat: ZnodeStat | None, error: BaseException | None) -> None:
            if error is not None:
                self._failed(error, event)
            elif stat is None:
                self._tell_later(lambda: self._deliver(None, None, event))
            else:
                # It was created between the two.
                self._look(event)

        self._client.begin(Operations.get(self._client, self._path, watch=self._changed), got)

    def _deliver(self, data: bytes | None, stat: ZnodeStat | None, event: WatchedEvent | None) -> None:
        version = stat.mzxid if stat is not None else None
        if self._was_called and version == self._version:
            return
        self._was_called = True
        self._version = version
        if self._takes_event:
            self._tell(data, stat, event)
        else:
            self._tell(data, stat)


class Children(Watcher):
    """Calls `func` with the names of a znode's children.

    With `send_event` it also gets the event it is called for: ``None`` for the first call and after a lost connection.
    The watcher stops when the znode does not exist, or not any more, and without `allow_session_lost` when the session is
    over, even if the client begins another one.
    """

    def __init__(
        self,
        client: RecipeClient,
        path: str,
        func: Callable[..., Any] | None = None,
        allow_session_lost: bool = True,
        send_event: bool = False,
    ) -> None:
        super().__init__(client, path)
        self._survives = allow_session_lost
        self._send_event = send_event
        self._version: tuple[int, int] | None = None
        if func is not None:
            self.start(func)

    async def _look_first(self) -> None:
        try:
            children, stat = await Persist(self._client).get_children(
                self._path, watch=self._changed, include_data=True
            )
        except NoNodeError:
            self.stop()
            return
        self._deliver(children, stat, None)

    def _look(self, event: WatchedEvent | None) -> None:
        def got(found: Any, error: BaseException | None) -> None:
            if error is None:
                children, stat = found
                self._tell_later(lambda: self._deliver(children, stat, event))
            elif isinstance(error, NoNodeError):
                self.stop()
                self._looked()
            else:
                self._failed(error, event)

        request = Operations.get_children(self._client, self._path, watch=self._changed, include_data=True)
        self._client.begin(request, got)

    def _deliver(self, children: list[str], stat: ZnodeStat, event: WatchedEvent | None) -> None:
        version = stat.czxid, stat.pzxid
        if version == self._version:
            return
        self._version = version
        if self._send_event:
            self._tell(children, event)
        else:
            self._tell(children)


class BlockingWatcher(Watcher):
    """For threads: the first call has been made when the watcher has."""

    def first_look(self) -> None:
        """Waits for the first call; raises what it raises."""
        run(self.looking_first())


class AwaitingWatcher(Watcher):
    """For asyncio: the first call is made by a task."""

    _task: asyncio.Task[None]

    def first_look(self) -> None:
        """Has a task make the first call."""
        import asyncio

        self._task = asyncio.get_running_loop().create_task(self.looking_first())

    async def first(self) -> None:
        """Waits for the first call; raises what it raises."""
        import asyncio

        await asyncio.shield(self._task)


class DataWatch(Data, BlockingWatcher):
    __doc__ = Data.__doc__


class ChildrenWatch(Children, BlockingWatcher):
    __doc__ = Children.__doc__


class AioDataWatch(Data, AwaitingWatcher):
    __doc__ = Data.__doc__


class AioChildrenWatch(Children, AwaitingWatcher):
    __doc__ = Children.__doc__


def _takes(func: Callable[..., Any], count: int) -> bool:
    """Whether a function takes so many arguments."""
    try:
        inspect.signature(func).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        # Built-in functions need not tell.
        return False
    return True
