"""Servers and clients for the tests."""

import time

import pytest
import zoarium


@pytest.fixture(scope="session")
def server():
    with zoarium.Server() as server:
        yield server


@pytest.fixture
def chroot(server):
    """A path of the test's own."""
    with server.client() as all:
        yield all.create("/test-", sequence=True)


@pytest.fixture
def zk(server, chroot):
    with server.client(chroot) as zk:
        yield zk


@pytest.fixture
def other(server, chroot):
    """A second session at the same place."""
    with server.client(chroot) as other:
        yield other


def eventually(condition, seconds=10.0):
    """Waits for what other threads bring about."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.002)
    return found
