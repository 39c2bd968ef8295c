"""Servers to test against, and a fresh place on them for each test."""

from __future__ import annotations

import contextlib
import os
from typing import Iterable, Iterator, Union

from ..client import Client, connect
from ..errors import ConnectionClosedError, ConnectionLoss, NoNodeError, SessionExpiredError
from ..server import Server, Setting

#: The environment variable that names an outside server.
ENVIRONMENT = "ZOARIUM_TEST_ADDRESS"


class OutsideServer:
    """A server that somebody else has started, with what tests need of :class:`zoarium.Server`."""

    def __init__(self, address: str) -> None:
        #: Where clients connect; may name several servers.
        self.address = address.partition("/")[0]
        #: What all paths are below, from the address.
        self.chroot = address[len(self.address) :].rstrip("/")

    @property
    def host(self) -> str:
        """The host of the first address."""
        return self.address.partition(",")[0].rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port of the first address."""
        return int(self.address.partition(",")[0].rpartition(":")[2])

    def client(
        self,
        chroot: str | None = None,
        *,
        timeout: float = 10.0,
        resume: tuple[int, bytes] | None = None,
        auth_data: Iterable[tuple[str, str]] = (),
        reopen_after_fork: bool = False,
        new_session: bool = False,
    ) -> Client:
        """A client of it, over TCP."""
        return connect(
            self.address,
            timeout=timeout,
            chroot=(self.chroot + (chroot or "").rstrip("/")) or None,
            resume=resume,
            auth_data=auth_data,
            reopen_after_fork=reopen_after_fork,
            new_session=new_session,
        )

    def stop(self, timeout: float = 10.0) -> None:
        """Nothing: it is not ours."""

    def __enter__(self) -> OutsideServer:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<zoarium.testing.OutsideServer {self.address}{self.chroot}>"


#: What tests run against.
TestServer = Union[Server, OutsideServer]


def start_server(**keys: Setting) -> TestServer:
    """A server in this process with a free port and temporary data, or the one that the environment names.

    `keys` are those of :class:`zoarium.Server`; an outside server is as it is. It is a context manager.
    """
    outside = os.environ.get(ENVIRONMENT)
    if outside:
        return OutsideServer(outside)
    # A test may well open more connections from one host than a server at work should allow.
    keys.setdefault("maxClientCnxns", 0)
    keys.setdefault("tickTime", 500)
    return Server(config=keys)


@contextlib.contextmanager
def fresh_path(server: TestServer) -> Iterator[str]:
    """A znode of a test's own; it goes with everything below it."""
    path = f"/zoarium-test-{os.urandom(8).hex()}"
    with server.client() as all_of_it:
        all_of_it.ensure_path(path)
    try:
        yield path
    finally:
        with contextlib.suppress(ConnectionClosedError, ConnectionLoss, NoNodeError, SessionExpiredError):
            # A test that has stopped the server has cleaned up by that.
            with server.client() as all_of_it:
                all_of_it.delete(path, recursive=True)


@contextlib.contextmanager
def fresh_client(server: TestServer, *, timeout: float = 10.0) -> Iterator[Client]:
    """A client whose root is a znode of its own; at the end it is closed, and everything below is deleted."""
    with fresh_path(server) as path, server.client(path, timeout=timeout) as client:
        yield client
