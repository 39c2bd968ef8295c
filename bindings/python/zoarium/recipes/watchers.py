"""Watchers: a function that is called with what there is, and again whenever that has changed.

    @zk.DataWatch("/config")
    def configure(data: bytes | None, stat: ZnodeStat | None) -> None:
        ...

The function is told of states, not of steps: of several changes in a row it may hear of the last one only, but of the last
one it hears. Lost connections make no difference. It is called once where the watcher is made, and then on this package's
thread, never twice at a time; when it returns ``False`` it is called no more.
"""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from ..errors import NoNodeError
from ..types import KazooState, WatchedEvent, ZnodeStat
from . import _base

if TYPE_CHECKING:
    from ..client import Client
    from ..futures import Future

__all__ = ["ChildrenWatch", "DataWatch"]

FuncT = TypeVar("FuncT", bound=Callable[..., Any])


class Watcher:
    """Looks once, and again after each event: one look at a time, and none of the events that come meanwhile is lost."""

    def __init__(self, client: Client, path: str) -> None:
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
        self._begin(func)
        return func

    def _begin(self, func: Callable[..., Any]) -> None:
        self._func = func
        self._is_looking = True
        self._client.add_listener(self._heard)
        try:
            self._look_first()
        except BaseException:
            self.stop()
            raise
        self._looked()

    def _look_first(self) -> None:
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
        if self._stopped or state == KazooState.LOST:
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
            self._look(event)
            return
        if self._client.connected:
            # Not for want of a session: access was refused, perhaps.
            _base.report(error)
        self.stop()
        self._looked()

    def __repr__(self) -> str:
        return f"<zoarium.{type(self).__name__} {self._path}{' stopped' if self._stopped else ''}>"


class DataWatch(Watcher):
    """Calls `func` with the data and stat of a znode, or ``None`` for both where there is none.

    A function that takes three arguments also gets the event it is called for: ``None`` for the first call and after a
    lost connection.
    """

    def __init__(self, client: Client, path: str, func: Callable[..., Any] | None = None) -> None:
        super().__init__(client, path)
        self._version: int | None = None
        self._was_called = False
        self._takes_event = False
        if func is not None:
            self._begin(func)

    def _begin(self, func: Callable[..., Any]) -> None:
        self._takes_event = _takes(func, 3)
        super()._begin(func)

    def _look_first(self) -> None:
        while True:
            try:
                data, stat = _base.persist(self._client.get, self._path, watch=self._changed)
                return self._deliver(data, stat, None)
            except NoNodeError:
                pass
            if _base.persist(self._client.exists, self._path, watch=self._changed) is None:
                return self._deliver(None, None, None)

    def _look(self, event: WatchedEvent | None) -> None:
        def got(future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                data, stat = future.result()
                self._tell_later(lambda: self._deliver(data, stat, event))
            elif isinstance(error, NoNodeError):
                self._client.exists_async(self._path, watch=self._changed).rawlink(looked_for)
            else:
                self._failed(error, event)

        def looked_for(future: Future[ZnodeStat | None]) -> None:
            error = future.exception()
            if error is not None:
                self._failed(error, event)
            elif future.result() is None:
                self._tell_later(lambda: self._deliver(None, None, event))
            else:
                # It was created between the two.
                self._look(event)

        self._client.get_async(self._path, watch=self._changed).rawlink(got)

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


class ChildrenWatch(Watcher):
    """Calls `func` with the names of a znode's children.

    With `send_event` it also gets the event it is called for: ``None`` for the first call and after a lost connection.
    The watcher stops when the znode does not exist, or not any more. (`allow_session_lost` is kazoo's: here no session is
    followed by another.)
    """

    def __init__(
        self,
        client: Client,
        path: str,
        func: Callable[..., Any] | None = None,
        allow_session_lost: bool = True,
        send_event: bool = False,
    ) -> None:
        super().__init__(client, path)
        self._send_event = send_event
        self._version: tuple[int, int] | None = None
        if func is not None:
            self._begin(func)

    def _look_first(self) -> None:
        try:
            found: Any = _base.persist(
                self._client.get_children, self._path, watch=self._changed, include_data=True
            )
        except NoNodeError:
            self.stop()
            return
        children, stat = found
        self._deliver(children, stat, None)

    def _look(self, event: WatchedEvent | None) -> None:
        def got(future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                children, stat = future.result()
                self._tell_later(lambda: self._deliver(children, stat, event))
            elif isinstance(error, NoNodeError):
                self.stop()
                self._looked()
            else:
                self._failed(error, event)

        self._client.get_children_async(self._path, watch=self._changed, include_data=True).rawlink(got)

    def _deliver(self, children: list[str], stat: ZnodeStat, event: WatchedEvent | None) -> None:
        version = stat.czxid, stat.pzxid
        if version == self._version:
            return
        self._version = version
        if self._send_event:
            self._tell(children, event)
        else:
            self._tell(children)


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
