"""Several operations as one: writes that all happen or none, and reads of one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Iterable, TypeVar

from . import _abi, _requests
from ._requests import Part, slot_for
from .errors import RolledBackError, RuntimeInconsistency
from .types import ACL

if TYPE_CHECKING:
    from .client import Client
    from .futures import Future

OwnerT = TypeVar("OwnerT")


def blame(results: list[Any]) -> Exception | None:
    """The exception that a failed transaction failed with."""
    failures = [found for found in results if isinstance(found, Exception)]
    for failure in failures:
        if not isinstance(failure, (RolledBackError, RuntimeInconsistency)):
            return failure
    return failures[0] if failures else None


class WriteParts(Generic[OwnerT]):
    """The operations of a transaction, in order."""

    def __init__(self, owner: OwnerT) -> None:
        self._owner = owner
        self._parts: list[Part] = []
        #: Whether it has been sent.
        self.committed = False

    def _add(self, slot: _requests.Slot, convert: Any) -> None:
        if self.committed:
            raise ValueError("the transaction has been committed")
        # It must keep its values until the commit.
        slot.home = None
        self._parts.append(Part(slot, convert))

    def create(
        self,
        path: str,
        value: bytes | None = b"",
        acl: Iterable[ACL] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        include_data: bool = False,
        ttl: int = 0,
        container: bool = False,
    ) -> None:
        """Adds a create. Its result is the path, or path and stat with `include_data`."""
        convert: Any = _requests.created_with_stat if include_data else _requests.created
        self._add(_requests.create(path, value, acl, ephemeral, sequence, ttl, container), convert)

    def delete(self, path: str, version: int = -1) -> None:
        """Adds a delete. Its result is ``True``."""
        self._add(_requests.delete(path, version), _requests.nothing)

    def set_data(self, path: str, value: bytes | None, version: int = -1) -> None:
        """Adds a set. Its result is the stat."""
        self._add(_requests.set_data(path, value, version), _requests.stat)

    def check(self, path: str, version: int) -> None:
        """Adds a comparison of a version, without which nothing happens. Its result is ``True``."""
        slot = _requests.Slot(_abi.ZOA_OP_CHECK)
        slot.path = path
        slot.op.path = _requests.encode_path(path)
        slot.op.version = version
        self._add(slot, _requests.nothing)

    def _take(self) -> list[Part]:
        if self.committed:
            raise ValueError("the transaction has been committed")
        self.committed = True
        return self._parts


class TransactionRequest(WriteParts["Client"]):
    """Writes that all happen or none.

    :meth:`commit` returns a list with a result for each operation; when the transaction fails, exceptions stand in it,
    as in kazoo. As a ``with`` block it commits at the end, and a failure is raised.
    """

    def commit(self) -> list[Any]:
        """Sends it and waits. One result for each operation; when it failed, all of them are exceptions."""
        return self._owner._multi(self._take())

    def commit_async(self) -> Future[list[Any]]:
        """Sends it."""
        return self._owner._multi_async(self._take())

    def __enter__(self) -> TransactionRequest:
        return self

    def __exit__(self, kind: object, *_raised: object) -> None:
        if kind is None and not self.committed:
            failure = blame(self.commit())
            if failure is not None:
                raise failure


class ReadParts(Generic[OwnerT]):
    """Reads of one moment, in order."""

    def __init__(self, owner: OwnerT) -> None:
        self._owner = owner
        self._parts: list[Part] = []

    def get(self, path: str) -> None:
        """Adds a get. Its result is a :class:`Node`."""
        slot = slot_for(_abi.ZOA_OP_GET, path)
        slot.home = None
        self._parts.append(Part(slot, _requests.node))

    def get_children(self, path: str) -> None:
        """Adds a list of children."""
        slot = slot_for(_abi.ZOA_OP_CHILDREN, path)
        slot.home = None
        self._parts.append(Part(slot, _requests.names))


class MultiRead(ReadParts["Client"]):
    """Several reads of one moment, in one request. Each has a result of its own: a value, or an exception."""

    def commit(self) -> list[Any]:
        """Sends them and waits."""
        return self._owner._multi(self._parts)

    def commit_async(self) -> Future[list[Any]]:
        """Sends them."""
        return self._owner._multi_async(self._parts)
