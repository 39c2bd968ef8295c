"""Servers and clients for the tests."""

import signal
import time

import pytest
import zoarium

# Nobody listens there, nor is given it.
NOBODY = "127.0.0.1:1"
# Whatever starts programs in the background has them ignore Ctrl-C, and they pass that on; here it is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)


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


def eventually(condition, seconds=60.0):
    """Waits for what other threads bring about."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.002)
    return found


@pytest.fixture
def reported():
    """What callbacks have raised, as it arrives in ``logging``."""
    import logging

    found = []

    class Collect(logging.Handler):
        def emit(self, record):
            found.append(record.exc_info[1])

    logger, handler = logging.getLogger("zoarium"), Collect()
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


@pytest.fixture
def silent_port():
    """A port of somebody who takes connections and never says a word."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def run_python(source, *arguments, check=True, modes=("-X", "dev"), **keywords):
    """Runs a program in an interpreter of its own; it must say nothing but what is returned."""
    import subprocess
    import sys
    import textwrap

    modes = [*modes, "-W", "ignore:This process:DeprecationWarning"]
    command = [sys.executable, *modes, "-c", textwrap.dedent(source), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **keywords)
    if check:
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    return done
