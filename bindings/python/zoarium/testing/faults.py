"""What goes wrong with servers and connections, on demand: no test has to sleep through a timeout."""

from __future__ import annotations

import contextlib
from time import monotonic, sleep
from typing import Any, Callable

from ..client import Client, connect
from ..errors import SessionExpiredError, TimedOutError
from ..server import Server, running
from ..types import KazooState
from .servers import OutsideServer, TestServer

#: How long what has to follow from a fault may take, s.
_LIMIT = 10.0


def expire(client: Any, server: TestServer | None = None) -> None:
    """Ends a client's session, as if nothing had been heard of it for too long; its ephemeral znodes are gone on return.

    `client` is one of this package's, kazoo's, or anything with ``client_id``: a pair of session id and password.
    `server` has to be given when the client does not tell where it is connected.
    """
    number, _password = _session_of(client)
    found = server or _server_of(client)
    if isinstance(found, Server):
        with contextlib.suppress(SessionExpiredError):
            found.expire(number)
    else:
        # Whoever has the password may take a session over, and close it.
        taken = _take_over(client, found)
        if taken is not None:
            taken.close()
    if isinstance(client, Client):
        _await(lambda: client.state == KazooState.LOST, "the client has not noticed that its session is over")


def drop(client: Any, server: TestServer | None = None) -> None:
    """Cuts a client's connection; its session lives, and it is free to reconnect at once.

    Of `client` and `server` the same is true as with :func:`expire`.
    """
    number, _password = _session_of(client)
    found = server or _server_of(client)
    if isinstance(found, Server):
        found.disconnect(number)
        return
    # A server ends the old connection of a session that comes by a new one.
    taken = _take_over(client, found)
    if taken is None:
        raise SessionExpiredError("the session is over already")
    taken.detach()


def pause(server: TestServer, seconds: float) -> None:
    """Has a server of this process do nothing for a while: no answers, no events, no pings. Returns once that has begun."""
    if not isinstance(server, Server):
        raise NotImplementedError(f"{server!r} is not in this process, so it cannot be paused")
    server.pause(seconds)


def _session_of(client: Any) -> tuple[int, bytes]:
    found = client.client_id
    if not found or not found[0]:
        raise ValueError(f"{client!r} has no session yet")
    return found[0], found[1]


def _server_of(client: Any) -> TestServer:
    """Where a client is connected: a server of this process, or one outside."""
    target = getattr(client, "target", None)
    if isinstance(target, Server):
        return target
    if isinstance(target, str):
        address = target.partition("/")[0]
    else:
        hosts = getattr(client, "hosts", None)
        if not hosts:
            raise ValueError(f"where {client!r} is connected is not known: give the server, too")
        address = ",".join(f"{host}:{port}" for host, port, *_ in hosts)
    for server in running():
        if server.port in {int(place.rpartition(":")[2]) for place in address.split(",") if ":" in place}:
            return server
    return OutsideServer(address)


def _take_over(client: Any, server: TestServer) -> Client | None:
    """A second client with the same session; ``None`` when that is over already."""
    try:
        return connect(server.address, resume=_session_of(client))
    except SessionExpiredError:
        return None


def _await(condition: Callable[[], bool], complaint: str) -> None:
    deadline = monotonic() + _LIMIT
    while not condition():
        if monotonic() > deadline:
            raise TimedOutError(complaint)
        sleep(0.001)
