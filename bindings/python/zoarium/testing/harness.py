"""A twin of kazoo's test harness, on a server in this process: no Java, nothing to install, nothing to wait for.

    from zoarium.testing import KazooTestCase        # was: from kazoo.testing import KazooTestCase

    class MyTest(KazooTestCase):
        def test_something(self):
            self.client.create("/a")

``self.client`` is kazoo's own client where kazoo is installed, and this package's where it is not. The cluster has one
server; it is shared by all tests of the process, as kazoo's is.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import shutil
import tempfile
import unittest
import uuid
from typing import Any, Callable, Iterator

from ..client import Client, connect
from ..errors import ZoariumError
from ..server import Server, Setting
from ..types import KazooState
from . import faults
from .servers import ENVIRONMENT, OutsideServer

log = logging.getLogger(__name__)

NO_ENSEMBLES = "this harness has one server; zoarium.testing.Ensemble starts several"
NO_TLS = "servers of this release have no TLS port"

#: As kazoo's harness sets its servers up.
_CONFIG: dict[str, Setting] = {
    "tickTime": 2000,
    "maxClientCnxns": 0,
    "4lw.commands.whitelist": "*",
    "reconfigEnabled": True,
    "DigestAuthenticationProvider.superDigest": "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
}


class ManagedServer:
    """A server that can be stopped and run again, with the data and the port it had."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._outside = os.environ.get(ENVIRONMENT)
        self._folder = ""
        self._port = 0

    @property
    def running(self) -> bool:
        """Whether it serves."""
        return self._outside is not None or self._server is not None

    @property
    def server(self) -> Server | OutsideServer:
        """The server behind it."""
        if self._outside is not None:
            return OutsideServer(self._outside)
        if self._server is None:
            raise RuntimeError("the server is not running")
        return self._server

    @property
    def host(self) -> str:
        """Where it is."""
        return self.address.rpartition(":")[0]

    @property
    def client_port(self) -> int:
        """The port for clients; the same each time it runs."""
        return int(self.address.rpartition(":")[2])

    @property
    def address(self) -> str:
        """``host:port``."""
        if self._outside is not None:
            return OutsideServer(self._outside).address
        if not self._port:
            self.run()
        return f"127.0.0.1:{self._port}"

    @property
    def secure_address(self) -> str:
        """There is none."""
        raise NotImplementedError(NO_TLS)

    def run(self) -> None:
        """Starts it, unless it is running."""
        if self.running:
            return
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix="zoarium-kazoo-")
        config = {**_CONFIG, "localSessionsEnabled": os.environ.get("ZOOKEEPER_LOCAL_SESSION_RO", "false")}
        self._server = Server(self._folder, self._port, config=config)
        self._port = self._server.port

    def stop(self) -> None:
        """Stops it; its data stay."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def reset(self) -> None:
        """Stops it and deletes its data."""
        self.destroy()

    def destroy(self) -> None:
        """Stops it and deletes its data."""
        self.stop()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""

    def get_logs(self, num_lines: int = 100) -> list[str]:
        """Nothing: it writes none."""
        return []


class Cluster:
    """The servers: one."""

    def __init__(self) -> None:
        if int(os.environ.get("ZOOKEEPER_CLUSTER_SIZE", "1")) != 1:
            raise NotImplementedError(f"ZOOKEEPER_CLUSTER_SIZE={os.environ['ZOOKEEPER_CLUSTER_SIZE']}: {NO_ENSEMBLES}")
        self._servers = [ManagedServer()]

    def __getitem__(self, index: int) -> ManagedServer:
        if index >= len(self):
            raise IndexError(NO_ENSEMBLES)
        return self._servers[index]

    def __iter__(self) -> Iterator[ManagedServer]:
        return iter(self._servers)

    def __len__(self) -> int:
        return len(self._servers)

    def start(self) -> None:
        """Starts those that are not running."""
        for server in self:
            server.run()

    def stop(self) -> None:
        """Stops them; their data stay."""
        for server in self:
            server.stop()

    def terminate(self) -> None:
        """Stops them and deletes their data."""
        for server in self:
            server.destroy()

    def reset(self) -> None:
        """Stops them and deletes their data."""
        for server in self:
            server.reset()

    def get_logs(self) -> list[str]:
        """Nothing: they write none."""
        return []

    def get_ssl_client_configuration(self) -> dict[str, bytes]:
        """There is none."""
        raise NotImplementedError(NO_TLS)


_cluster: Cluster | None = None


def get_global_cluster() -> Cluster:
    """The cluster that all tests of the process share."""
    global _cluster
    if _cluster is None:
        _cluster = Cluster()
        atexit.register(_cluster.terminate)
    return _cluster


class KazooTestHarness(unittest.TestCase):
    """Starts and stops what tests need when told to; :class:`KazooTestCase` does it by itself."""

    DEFAULT_CLIENT_TIMEOUT = 15

    #: The test's own client; its root is a znode of the test's own.
    client: Any
    #: A connect string for further clients with that root.
    hosts: str

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.client = None
        self.hosts = ""
        self._clients: list[Any] = []

    @property
    def cluster(self) -> Cluster:
        """The servers."""
        return get_global_cluster()

    def log(self, level: int, message: str, *arguments: Any, **keywords: Any) -> None:
        """Writes to this module's logger."""
        log.log(level, message, *arguments, **keywords)

    @property
    def servers(self) -> str:
        """A connect string without a root."""
        return ",".join(server.address for server in self.cluster)

    @property
    def secure_servers(self) -> str:
        """There are none."""
        return ",".join(server.secure_address for server in self.cluster)

    def _get_nonchroot_client(self) -> Any:
        return self._make_client(self.servers)

    def _get_client(self, **options: Any) -> Any:
        options.setdefault("timeout", self.DEFAULT_CLIENT_TIMEOUT)
        return self._make_client(self.hosts, **options)

    def _make_client(self, hosts: str, **options: Any) -> Any:
        try:
            make = importlib.import_module("kazoo.client").KazooClient
        except ImportError:
            make = connect
        client = make(hosts, **options)
        self._clients.append(client)
        return client

    def setup_zookeeper(self, **client_options: Any) -> None:
        """Starts the server when it is not running, and makes ``self.client``."""
        self.cluster.start()
        path = f"/kazootests{uuid.uuid4().hex}"
        self.hosts = self.servers + OutsideServer(os.environ.get(ENVIRONMENT, "")).chroot + path
        with self.cluster[0].server.client() as all_of_it:
            # Clients complain about a root that does not exist.
            all_of_it.ensure_path(path)
        if client_options.get("use_ssl"):
            self.hosts = self.secure_servers
        self.client = self._get_client(**client_options)
        self.client.start()
        self.client.ensure_path("/")

    def teardown_zookeeper(self) -> None:
        """Closes the clients that the test has made."""
        while self._clients:
            client = self._clients.pop()
            # What a test has done to a client or its server must not keep the others from being closed.
            with contextlib.suppress(Exception):
                client.stop()
            client.close()
        self.client = None

    def lose_connection(self, event_factory: Callable[[], Any]) -> None:
        """Cuts the connection of ``self.client``, and waits until it has noticed and is back."""
        self._break(faults.drop, KazooState.SUSPENDED, event_factory)

    def expire_session(self, event_factory: Callable[[], Any]) -> None:
        """Expires the session of ``self.client``, and waits until it has noticed and has another one.

        This package's clients are one session each: ``self.client`` is another one afterwards.
        """
        self._break(faults.expire, KazooState.LOST, event_factory)

    def _break(self, fault: Callable[..., None], expected: str, event_factory: Callable[[], Any]) -> None:
        client = self.client
        noticed, back = event_factory(), event_factory()

        def heard(state: str) -> bool:
            if state == expected:
                noticed.set()
            elif noticed.is_set() and state == KazooState.CONNECTED:
                back.set()
                return True
            return False

        client.add_listener(heard)
        session = _Session(client)
        if expected == KazooState.LOST and not isinstance(client, Client):
            # kazoo's client finds out by itself, as in kazoo's own harness. Otherwise it would see its connection end
            # first, and tell of that; tests count what it tells.
            connection = importlib.import_module("kazoo.protocol.connection")
            client._call(connection._SESSION_EXPIRED, None)
            noticed.wait(10)
        fault(session, self.cluster[0].server)
        noticed.wait(10)
        if not noticed.is_set():
            raise ZoariumError("the client has not noticed that its connection is broken")
        if isinstance(client, Client) and expected == KazooState.LOST:
            self.client = self._get_client()
            return
        back.wait(15)
        if not back.is_set():
            raise ZoariumError("the client has not reconnected")
        client.retry(client.get, "/")


class _Session:
    """A client's session, even when the client has another one by now."""

    def __init__(self, client: Any) -> None:
        self.client_id = client.client_id


class KazooTestCase(KazooTestHarness):
    """A test case with ``self.client``, a client whose root is the test's own."""

    def setUp(self) -> None:
        """Starts the server when it is not running, and makes ``self.client``."""
        self.setup_zookeeper()

    def tearDown(self) -> None:
        """Closes the clients that the test has made."""
        self.teardown_zookeeper()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stops the server and deletes its data; the next class gets a fresh one on the same port."""
        get_global_cluster().terminate()
