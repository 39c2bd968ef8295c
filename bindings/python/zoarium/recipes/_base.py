"""What recipes have in common: asking, waiting, trying again, and leaving nothing behind."""

from __future__ import annotations

import re
from functools import wraps
from time import monotonic as monotonic
from types import FunctionType
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Iterable, TypeVar, cast

from .. import _inbox
from .._requests import Request
from ..calls import run
from ..errors import (
    ConnectionLoss,
    NoNodeError,
    OperationTimeoutError,
    SessionMovedError,
    ThrottledOpError,
    WouldDeadlockError,
    ZoariumError,
)
from ..operations import Operations
from .protocol import RecipeClient

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")
OwnerT = TypeVar("OwnerT")

deadline_of = _inbox.deadline_of
report = _inbox.report
NEVER = float("inf")

#: Failures that pass with the connection they came from. A request that finds no connection waits for one, so trying
#: again is no busy loop.
PASSING = (ConnectionLoss, OperationTimeoutError, SessionMovedError, ThrottledOpError)
#: Between two attempts, s: what was throttled should not come back at once.
_PAUSE = 0.01


# ---- one recipe, two kinds of client ---------------------------------------------------------------------------------


def blocks(
    work: Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[OwnerT, P], T]:
    """The method that runs a coroutine of a recipe in the calling thread."""

    @wraps(work)
    def method(self: OwnerT, /, *arguments: P.args, **keywords: P.kwargs) -> T:
        return run(work(self, *arguments, **keywords))

    return method


def awaits(
    work: Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]]:
    """The method that is a coroutine of a recipe, under whatever name."""
    function = cast(FunctionType, work)
    method = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    method.__kwdefaults__ = function.__kwdefaults__
    method.__doc__ = function.__doc__
    method.__annotations__ = function.__annotations__
    return method


# ---- paths and names -------------------------------------------------------------------------------------------------


def clean_path(path: str) -> str:
    """A recipe's path: with a slash in front and none behind.

    >>> clean_path("locks/a/"), clean_path("/")
    ('/locks/a', '/')
    """
    return "/" + path.strip("/")


def below(path: str, name: str) -> str:
    """The path of a child.

    >>> below("/a", "b"), below("/", "b")
    ('/a/b', '/b')
    """
    return f"{path.rstrip('/')}/{name}"


def apart(path: str) -> tuple[str, str]:
    """The path of the parent, and a child's name.

    >>> apart("/a/b"), apart("/b")
    (('/a', 'b'), ('/', 'b'))
    """
    parent, _, name = path.rpartition("/")
    return parent or "/", name


def encode_identifier(identifier: object) -> bytes:
    """What others read about a contender or member."""
    return identifier if isinstance(identifier, bytes) else str(identifier or "").encode()


def sequence_of(suffix: str) -> int:
    """The number at the end of a sequential znode's name."""
    return int(suffix)


def comes_before(one: int, other: int) -> bool:
    """Whether one sequence number was given out before another; they are counted in 32 bits and wrap round.

    >>> comes_before(7, 8), comes_before(8, 7), comes_before(2147483647, -2147483648)
    (True, False, True)
    """
    return (one - other) & 0xFFFF_FFFF >= 0x8000_0000


def in_order(names: Iterable[str], pattern: re.Pattern[str]) -> list[tuple[int, str]]:
    """The sequential znodes whose names match, as (number, name), oldest first. The pattern's one group is the number."""
    found = [(sequence_of(match.group(1)), name) for name in names if (match := pattern.search(name))]
    if found:
        # Relative to one of them, so that the wrap-around lies out of the way.
        pivot = found[0][0]
        found.sort(key=lambda entry: ((entry[0] - pivot + 0x8000_0000) & 0xFFFF_FFFF, entry[1]))
    return found


# ---- asking ----------------------------------------------------------------------------------------------------------


def asking(make: Callable[Concatenate[Any, P], Request[T]]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """The method that asks for an operation."""

    @wraps(make)
    async def method(self: Ask, /, *arguments: P.args, **keywords: P.kwargs) -> T:
        return await self.carry_out(lambda: make(self.client, *arguments, **keywords))

    return method


class Ask:
    """A client's operations, none of which waits beyond a deadline, or, where there is one, for a connection."""

    def __init__(self, client: RecipeClient, deadline: float = NEVER) -> None:
        self.client = client
        self.deadline = deadline

    async def carry_out(self, make: Callable[[], Request[T]]) -> T:
        """Carries one request out."""
        return await self.client.perform(make(), self.deadline)

    @property
    def left(self) -> float | None:
        """Seconds left; ``None`` for no limit."""
        return None if self.deadline == NEVER else max(0.0, self.deadline - monotonic())

    create = asking(Operations.create)
    ensure_path = asking(Operations.ensure_path)
    exists = asking(Operations.exists)
    get = asking(Operations.get)
    get_children = asking(Operations.get_children)
    set = asking(Operations.set)
    delete = asking(Operations.delete)
    sync = asking(Operations.sync)


class Persist(Ask):
    """The same for what does no harm when it is done twice: until the connection lasts long enough for the answer."""

    async def carry_out(self, make: Callable[[], Request[T]]) -> T:
        """Carries one request out, as often as it takes."""
        while True:
            try:
                return await self.client.perform(make())
            except PASSING:
                await pause(self.client)


async def pause(client: RecipeClient) -> None:
    """Waits a moment before the next attempt."""
    await client.signal().wait(monotonic() + _PAUSE)


async def persist(client: RecipeClient, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Makes an attempt that does no harm when it is made twice, until the connection lasts long enough."""
    while True:
        try:
            return await attempt()
        except PASSING:
            await pause(client)


def again(client: RecipeClient, error: BaseException, function: Callable[[], object]) -> None:
    """Calls a function that tries again: at once, or a moment later where the server has too much to do."""
    if isinstance(error, ThrottledOpError):
        client.call_later(_PAUSE, function)
    else:
        function()


def refuse_in_callback(client: RecipeClient, what: str) -> None:
    """Raises where waiting for a callback would mean waiting for oneself."""
    if client.in_callback():
        raise WouldDeadlockError(f"{what} waits for what comes through callbacks, and this is one; use a thread")


# ---- waiting ---------------------------------------------------------------------------------------------------------


class Alarm:
    """What a recipe waits on: set by watches and by every change of the session's state."""

    def __init__(self, client: RecipeClient) -> None:
        self._client = client
        self._rung = client.signal()

    def __enter__(self) -> Alarm:
        self._client.add_listener(self._heard)
        return self

    def __exit__(self, *_raised: object) -> None:
        self._client.remove_listener(self._heard)

    def _heard(self, _state: str) -> None:
        self._rung.set()

    def ring(self, _event: object = None) -> None:
        """Wakes who waits; is what to give as ``watch=``."""
        self._rung.set()

    def reset(self) -> None:
        """Forgets what came so far; to be called before looking at what the waiting is for."""
        self._rung.clear()

    async def wait(self, deadline: float) -> bool:
        """Waits for the next one; false when the deadline came first."""
        return await self._rung.wait(deadline)


# ---- leaving nothing behind ------------------------------------------------------------------------------------------


class Removal:
    """Deletes znodes of one's own for certain: again after every lost connection, for as long as the session lives.

    Those whose names begin with `prefix`, which is what to do when it is not known whether a create has happened; or the
    one `name`. Nobody has to wait for it.
    """

    def __init__(
        self, client: RecipeClient, path: str, *, prefix: str | None = None, name: str | None = None
    ) -> None:
        self._client = client
        self._path = path
        self._prefix = prefix
        self._name = name
        self._done = client.signal()
        self._begin()

    async def wait(self, limit: float = 1.0) -> None:
        """Waits until they are gone, a little, and not in a callback."""
        if not self._client.in_callback():
            await self._done.wait(monotonic() + limit)

    def _begin(self) -> None:
        if self._name is not None:
            self._delete(self._name)
        else:
            self._client.begin(Operations.get_children(self._client, self._path), self._listed)

    def _listed(self, names: list[str] | None, error: BaseException | None) -> None:
        if isinstance(error, PASSING):
            again(self._client, error, self._begin)
            return
        prefix = self._prefix
        found = [name for name in names or () if prefix and name.startswith(prefix)]
        if not found:
            self._done.set()
        for name in found:
            self._delete(name)

    def _delete(self, name: str) -> None:
        self._client.begin(Operations.delete(self._client, below(self._path, name)), self._deleted)

    def _deleted(self, _value: object, error: BaseException | None) -> None:
        if isinstance(error, PASSING):
            again(self._client, error, self._begin)
        else:
            self._done.set()


async def remove_own(client: RecipeClient, path: str, name: str) -> None:
    """Deletes a znode of one's own: now, or when the connection is back. Without a session it is gone anyway."""
    try:
        await Ask(client).delete(below(path, name))
    except NoNodeError:
        pass
    except PASSING:
        Removal(client, path, name=name)
    except ZoariumError:
        if client.connected:
            raise
