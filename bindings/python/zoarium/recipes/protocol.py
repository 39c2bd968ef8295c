"""What recipes stand on: a small protocol that both kinds of client fulfil.

Nothing else of a client is used by a recipe, and nothing in it waits: what has to be waited for is awaited. A client for
threads has coroutines that wait in the thread they run on, so that a recipe is written once for both kinds.
"""

from __future__ import annotations

from typing import Any, Callable, Coroutine, Protocol, TypeVar

from .._requests import Request, WatchCallback

T = TypeVar("T")


class Signal(Protocol):
    """What recipes wait for."""

    def set(self) -> None:
        """Wakes all who wait, and who will."""

    def clear(self) -> None:
        """As if it had not been set."""

    def is_set(self) -> bool:
        """Whether it has been set."""

    def wait(self, deadline: float = ...) -> Coroutine[Any, Any, bool]:
        """Waits for it; false when the deadline (of ``time.monotonic``) came first."""


class Timer(Protocol):
    """A call that is yet to be made."""

    def cancel(self) -> None:
        """It will not be made."""


class RecipeClient(Protocol):
    """One session, as recipes see it: :class:`zoarium.Client` and :class:`zoarium.aio.Client` are such."""

    @property
    def state(self) -> str:
        """One of :class:`~zoarium.KazooState`."""

    @property
    def connected(self) -> bool:
        """Whether requests are answered right now."""

    @property
    def session_timeout(self) -> float:
        """How long the session lives without a word from its client, in seconds."""

    @property
    def has_chroot(self) -> bool:
        """Whether all paths are below something."""

    @property
    def renews(self) -> bool:
        """Whether a session that has expired is followed by another one."""

    def add_listener(self, listener: Callable[[str], object]) -> None:
        """Has `listener` called with every new state, until it returns ``True``."""

    def remove_listener(self, listener: Callable[[str], object]) -> None:
        """Has it called no more."""

    def begin(self, request: Request[Any], then: Callable[[Any, BaseException | None], object]) -> None:
        """Sends a request. `then` is called where callbacks run, with its value or its failure."""

    def perform(self, request: Request[T], deadline: float = ...) -> Coroutine[Any, Any, T]:
        """Sends a request; brings its value or raises its failure, and :class:`~zoarium.TimedOutError` at the deadline."""

    def perform_parts(self, parts: list[Request[Any]]) -> Coroutine[Any, Any, list[Any]]:
        """Sends several requests as one; brings a value or an exception for each."""

    def call_soon(self, function: Callable[[], object]) -> None:
        """Calls a function as if it were a callback."""

    def call_later(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Calls a function after a while, unless that is cancelled."""

    def in_callback(self) -> bool:
        """Whether this is called from a callback, where nobody can wait for another one."""

    def current(self) -> object:
        """Who is at it: a thread, or a task."""

    def signal(self) -> Signal:
        """Something to wait for."""

    def stand(self, path: str, callback: WatchCallback, recursive: bool = ...) -> Coroutine[Any, Any, Any]:
        """Begins a standing watch and returns it."""

    def unstand(self, watch: Any) -> Coroutine[Any, Any, None]:
        """Ends such a watch."""
