"""For the tests of programs that use ZooKeeper, whatever client they use.

With pytest, the fixtures ``zk_server``, ``zk``, ``zk_clients``, ``zk_address`` and ``zk_ensemble`` are there when this package is
installed. Without it::

    with zoarium.testing.start_server() as server, zoarium.testing.fresh_client(server) as zk:
        ...

An ensemble of real processes, to be killed, paused and started again::

    with zoarium.testing.Ensemble(3) as ensemble, ensemble.client() as zk:
        ensemble.kill(ensemble.leader)

Tests that were written on kazoo's harness change one import: ``from zoarium.testing import KazooTestCase``.

With ``ZOARIUM_TEST_ADDRESS`` in the environment (``127.0.0.1:2181``), all of these use the server there instead of one of
their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .faults import drop, expire, pause
from .servers import ENVIRONMENT, OutsideServer, TestServer, fresh_client, fresh_path, start_server

if TYPE_CHECKING:
    from .ensemble import Ensemble, NoToolError
    from .harness import KazooTestCase, KazooTestHarness

__all__ = [
    "ENVIRONMENT",
    "Ensemble",
    "KazooTestCase",
    "KazooTestHarness",
    "NoToolError",
    "OutsideServer",
    "TestServer",
    "drop",
    "expire",
    "fresh_client",
    "fresh_path",
    "pause",
    "start_server",
]


def __getattr__(name: str) -> Any:
    # It needs unittest, which takes longer to import than a server takes to start.
    if name in ("KazooTestCase", "KazooTestHarness"):
        from . import harness

        return getattr(harness, name)
    if name in ("Ensemble", "NoToolError"):
        from . import ensemble

        return getattr(ensemble, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
