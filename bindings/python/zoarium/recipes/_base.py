"""What recipes have in common: waiting, trying again, and leaving nothing behind."""

from __future__ import annotations

import re
import threading
from time import monotonic as monotonic
from time import sleep
from typing import TYPE_CHECKING, Any, Callable, Iterable, TypeVar

from .. import _abi, _inbox
from ..errors import (
    ConnectionLoss,
    NoNodeError,
    OperationTimeoutError,
    SessionMovedError,
    ThrottledOpError,
    TimedOutError,
    WouldDeadlockError,
    ZoariumError,
)

if TYPE_CHECKING:
    from ..client import Client
    from ..futures import Future

T = TypeVar("T")

deadline_of = _inbox.deadline_of
report = _inbox.report

#: Failures that pass with the connection they came from. A request that finds no connection waits for one, so trying
#: again is no busy loop.
PASSING = (ConnectionLoss, OperationTimeoutError, SessionMovedError, ThrottledOpError)
#: Between two attempts, s: what was throttled should not come back at once.
_PAUSE = 0.01
#: How long an answer may take past a deadline, while there is a connection, s.
_ANSWER = 1.0


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


def encode_identifier(identifier: object) -> bytes:
    """What others read about a contender or member."""
    return identifier if isinstance(identifier, bytes) else str(identifier or "").encode()


def persist(call: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
    """Makes a call that does no harm when it is made twice, until the connection lasts long enough for its answer."""
    while True:
        try:
            return call(*arguments, **keywords)
        except PASSING:
            sleep(_PAUSE)


def refuse_in_callback(client: Client, what: str) -> None:
    """Raises where waiting for a callback would mean waiting for oneself."""
    if client._inbox.is_dispatching_here():
        raise WouldDeadlockError(f"{what} waits for what comes through callbacks, and this is one; use a thread")


def run_with_callbacks(client: Client, function: Callable[[], object]) -> None:
    """Runs a function as if it were a callback: no other one runs meanwhile, and what it has begun is answered after it."""
    inbox, key = client._inbox, _inbox.next_key()

    def run(_nothing: object) -> None:
        _inbox.receivers.pop(key, None)
        function()

    _inbox.receivers[key] = run
    inbox.drain()
    inbox._entries.append((key, ""))
    # Here, when no other thread is at it; in a callback, after that.
    inbox.dispatch()


class Caller:
    """Makes a client's calls, none of which waits beyond a deadline, or for a connection."""

    def __init__(self, client: Client, deadline: float) -> None:
        self._client = client
        self._deadline = deadline

    @property
    def left(self) -> float | None:
        """Seconds left; ``None`` for no limit."""
        return None if self._deadline == float("inf") else max(0.0, self._deadline - monotonic())

    def __call__(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        left = self.left
        if left is None:
            return getattr(self._client, method)(*arguments, **keywords)
        future: Future[Any] = getattr(self._client, method + "_async")(*arguments, **keywords)
        # An answer is not what the limit is for: even with none at all, what can be had at once is had.
        is_prompt = self._client._session().state != _abi.ZOA_SUSPENDED
        if not future.wait(max(left, _ANSWER) if is_prompt else left):
            # It has been sent and may yet be carried out: whoever called undoes it.
            raise TimedOutError(f"no answer to {method} in time")
        return future.result()


class Alarm:
    """What a recipe waits on: set by watches and by every change of the session's state."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._rung = threading.Event()

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

    def wait(self, deadline: float) -> bool:
        """Waits for the next one; false when the deadline came first."""
        if deadline == float("inf"):
            return self._rung.wait()
        return self._rung.wait(max(0.0, deadline - monotonic()))


class Removal:
    """Deletes znodes of one's own for certain: again after every lost connection, for as long as the session lives.

    Those whose names begin with `prefix`, which is what to do when it is not known whether a create has happened; or the
    one `name`. Nobody has to wait for it.
    """

    def __init__(self, client: Client, path: str, *, prefix: str | None = None, name: str | None = None) -> None:
        self._client = client
        self._path = path
        self._prefix = prefix
        self._name = name
        self._done = threading.Event()
        self._begin()

    def wait(self, limit: float = 1.0) -> None:
        """Waits until they are gone, a little, and not in a callback."""
        if not self._client._inbox.is_dispatching_here():
            self._done.wait(limit)

    def _begin(self) -> None:
        if self._name is not None:
            self._delete(self._name)
        else:
            self._client.get_children_async(self._path).rawlink(self._listed)

    def _listed(self, future: Future[Any]) -> None:
        error = future.exception()
        if isinstance(error, PASSING):
            self._begin()
            return
        prefix = self._prefix
        found = [] if error is not None else [name for name in future.result() if prefix and name.startswith(prefix)]
        if not found:
            self._done.set()
        for name in found:
            self._delete(name)

    def _delete(self, name: str) -> None:
        self._client.delete_async(below(self._path, name)).rawlink(self._deleted)

    def _deleted(self, future: Future[bool]) -> None:
        if isinstance(future.exception(), PASSING):
            self._begin()
        else:
            self._done.set()


def remove_own(client: Client, path: str, name: str) -> None:
    """Deletes a znode of one's own: now, or when the connection is back. Without a session it is gone anyway."""
    try:
        client.delete(below(path, name))
    except NoNodeError:
        pass
    except PASSING:
        Removal(client, path, name=name)
    except ZoariumError:
        if client.connected:
            raise


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
