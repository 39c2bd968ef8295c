"""The pytest plugin: fixtures for tests of programs that use ZooKeeper. It costs nothing until one of them is used."""

from __future__ import annotations

import contextlib
from typing import Callable, Iterator

import pytest

from ..client import Client
from . import servers
from .ensemble import Ensemble
from .servers import TestServer


@pytest.fixture(scope="session")
def zk_server() -> Iterator[TestServer]:
    """A server for the whole run, in this process, on a free port, with temporary data; or the one that
    ZOARIUM_TEST_ADDRESS names."""
    with servers.start_server() as server:
        yield server


@pytest.fixture
def zk_path(zk_server: TestServer) -> Iterator[str]:
    """A znode of the test's own, which goes with everything below it."""
    with servers.fresh_path(zk_server) as path:
        yield path


@pytest.fixture
def zk(zk_server: TestServer, zk_path: str) -> Iterator[Client]:
    """A client whose root is a znode of the test's own."""
    with zk_server.client(zk_path) as client:
        yield client


@pytest.fixture
def zk_clients(zk_server: TestServer, zk_path: str) -> Iterator[Callable[..., Client]]:
    """Makes further clients with the same root as ``zk``, with the keywords of ``Server.client``; closes them all."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(zk_server.client(zk_path, **options))


@pytest.fixture
def zk_address(zk_server: TestServer, zk_path: str) -> str:
    """A connect string for any ZooKeeper client, ``127.0.0.1:40211/zoarium-test-…``, with the same root as ``zk``."""
    chroot = getattr(zk_server, "chroot", "")
    return f"{zk_server.address}{chroot}{zk_path}"


@pytest.fixture
def zk_ensemble() -> Iterator[Callable[..., Ensemble]]:
    """Makes ensembles of so many members in this process, with the arguments of :class:`zoarium.testing.Ensemble`; ends them
    all."""
    with contextlib.ExitStack() as stack:
        yield lambda size=3, **options: stack.enter_context(Ensemble(size, **options))
