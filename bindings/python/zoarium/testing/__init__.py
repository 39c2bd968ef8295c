"""For the tests of programs that use ZooKeeper, whatever client they use.

With pytest, the fixtures ``zk_server``, ``zk``, ``zk_clients``, ``zk_address`` and ``zk_ensemble`` are there when this package is
installed. Without it::

    with zoarium.testing.start_server() as server, zoarium.testing.fresh_client(server) as zk:
        ...

An ensemble in this process, whose members are killed, started again, paused and cut off::

    with zoarium.testing.Ensemble(3) as ensemble, ensemble.client() as zk:
        ensemble.kill(ensemble.leader)

:class:`ProcessEnsemble` is the same of real processes.

Tests that were written on kazoo's harness change one import: ``from zoarium.testing import KazooTestCase``.

With ``ZOARIUM_TEST_ADDRESS`` in the environment (``127.0.0.1:2181``), all of these use the server there instead of one of
their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .faults import drop, expire, pause
from .servers import ENVIRONMENT, OutsideServer, TestServer, fresh_client, fresh_path, start_server

if TYPE_CHECKING:
    from .ensemble import Ensemble
    from .harness import KazooTestCase, KazooTestHarness
    from .processes import NoToolError, ProcessEnsemble

__all__ = [
    "ENVIRONMENT",
    "Ensemble",
    "KazooTestCase",
    "KazooTestHarness",
    "NoToolError",
    "OutsideServer",
    "ProcessEnsemble",
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
    if name == "Ensemble":
        from .ensemble import Ensemble

        return Ensemble
    if name in ("ProcessEnsemble", "NoToolError"):
        from . import processes

        return getattr(processes, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
