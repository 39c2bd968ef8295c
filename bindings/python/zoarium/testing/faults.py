"""What goes wrong with servers and connections, on demand: no test has to sleep through a timeout."""

from __future__ import annotations

from time import monotonic, sleep
from typing import Any, Callable

from .. import _abi, server as _server
from ..client import Client, connect
from ..errors import SessionExpiredError, TimedOutError, check
from ..server import Server
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
    end = _native("zoa_server_expire", found)
    if end is not None:
        end(number)
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
    cut = _native("zoa_server_disconnect", found)
    if cut is not None:
        cut(number)
        return
    if isinstance(client, Client) and not isinstance(client._target, str):
        raise NotImplementedError("a client in this process has no connection that this release could cut")
    # A server ends the old connection of a session that comes by a new one.
    taken = _take_over(client, found)
    if taken is None:
        raise SessionExpiredError("the session is over already")
    taken.detach()


def pause(server: TestServer, seconds: float) -> None:
    """Has a server of this process do nothing for a while: no answers, no events, no pings. Returns at once."""
    hold = _native("zoa_server_pause", server)
    if hold is None:
        raise NotImplementedError(f"{server!r} cannot be paused: that takes a server of this process, and its library")
    hold(int(seconds * 1000))


def _session_of(client: Any) -> tuple[int, bytes]:
    found = client.client_id
    if not found or not found[0]:
        raise ValueError(f"{client!r} has no session yet")
    return found[0], found[1]


def _native(name: str, server: TestServer) -> Callable[[int], None] | None:
    """A function of the library on a server of this process, when there are both."""
    function = getattr(_abi, name, None)
    if function is None or not isinstance(server, Server):
        return None
    return lambda number: check(function(server._handle, number))


def _server_of(client: Any) -> TestServer:
    """Where a client is connected: a server of this process, or one outside."""
    target = getattr(client, "_target", None)
    if isinstance(target, Server):
        return target
    if isinstance(target, str):
        address = target.partition("/")[0]
    else:
        hosts = getattr(client, "hosts", None)
        if not hosts:
            raise ValueError(f"where {client!r} is connected is not known: give the server, too")
        address = ",".join(f"{host}:{port}" for host, port, *_ in hosts)
    for server in list(_server._servers):
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
