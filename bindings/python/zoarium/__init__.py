"""Zoarium: a ZooKeeper you can link, for Python.

A server in this process, and clients for it or for any ZooKeeper-compatible server:

>>> import zoarium
>>> with zoarium.Server() as server:
...     with server.client() as zk:
...         zk.create("/jobs/job-", b"{}", sequence=True, makepath=True)
...         zk.get_children("/jobs")
'/jobs/job-0000000000'
['job-0000000000']
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import errors
from ._abi import zoa_features as _features
from ._abi import zoa_version as _version
from ._log import wire_logging
from .client import Client, connect
from .errors import *  # noqa: F403
from .server import Server
from .transaction import MultiRead, TransactionRequest
from .types import (
    ACL,
    ANYONE_ID_UNSAFE,
    AUTH_IDS,
    CREATOR_ALL_ACL,
    OPEN_ACL_UNSAFE,
    READ_ACL_UNSAFE,
    AddWatchMode,
    EventType,
    Id,
    KazooState,
    KeeperState,
    Node,
    Permissions,
    Status,
    WatchedEvent,
    WatcherType,
    ZnodeStat,
    make_acl,
    make_digest_acl,
    make_digest_acl_credential,
)
from .watching import Watch

#: The library's release.
__version__: str = _version().decode()
#: What was built into the library.
features: frozenset[str] = frozenset(_features().decode().split())

__all__ = [
    "ACL",
    "ANYONE_ID_UNSAFE",
    "AUTH_IDS",
    "AddWatchMode",
    "CREATOR_ALL_ACL",
    "Client",
    "EventType",
    "Id",
    "KazooState",
    "KeeperState",
    "MultiRead",
    "Node",
    "OPEN_ACL_UNSAFE",
    "Permissions",
    "READ_ACL_UNSAFE",
    "Server",
    "Status",
    "TransactionRequest",
    "Watch",
    "WatchedEvent",
    "WatcherType",
    "ZnodeStat",
    "connect",
    "errors",
    "features",
    "make_acl",
    "make_digest_acl",
    "make_digest_acl_credential",
    "wire_logging",
    *errors.__all__,
]


if TYPE_CHECKING:
    from . import aio as aio
    from . import recipes as recipes
    from . import testing as testing
else:

    def __getattr__(name: str) -> object:
        # Imported when they are used: not everybody needs them.
        if name in ("aio", "recipes", "testing"):
            from importlib import import_module

            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
