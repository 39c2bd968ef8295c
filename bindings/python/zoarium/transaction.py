"""Several operations as one: writes that all happen or none, and reads of one moment."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Callable, Protocol

from ._requests import Request
from .errors import RolledBackError, RuntimeInconsistency
from .operations import Parts

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec

    from .futures import Future

    P = ParamSpec("P")


class Owner(Protocol):
    """What a client does with several requests."""

    def send_parts(self, parts: list[Request[Any]]) -> Future[list[Any]]:
        """Sends them as one."""


def blame(results: list[Any]) -> Exception | None:
    """The exception that a failed transaction failed with."""
    failures = [found for found in results if isinstance(found, Exception)]
    for failure in failures:
        if not isinstance(failure, (RolledBackError, RuntimeInconsistency)):
            return failure
    return failures[0] if failures else None


def adding(make: Callable[Concatenate[Any, P], Request[Any]]) -> Callable[Concatenate[Any, P], None]:
    """The method that adds a part."""

    @wraps(make)
    def method(self: PartList, /, *arguments: P.args, **keywords: P.kwargs) -> None:
        self.add(make(self, *arguments, **keywords))

    return method


class PartList:
    """Operations that are sent as one, in order."""

    def __init__(self) -> None:
        self.parts: list[Request[Any]] = []
        #: Whether it has been sent.
        self.committed = False

    def add(self, part: Request[Any]) -> None:
        """Adds an operation."""
        if self.committed:
            raise ValueError("the transaction has been committed")
        # It must keep its values until the commit.
        part.home = None
        self.parts.append(part)


class WriteParts(PartList):
    """The operations of a transaction."""

    create = adding(Parts.create)
    delete = adding(Parts.delete)
    set_data = adding(Parts.set_data)
    check = adding(Parts.check)

    def take(self) -> list[Request[Any]]:
        """Its operations, to be sent: once."""
        if self.committed:
            raise ValueError("the transaction has been committed")
        self.committed = True
        return self.parts


class ReadParts(PartList):
    """Reads of one moment. They may be asked for again."""

    get = adding(Parts.get)
    get_children = adding(Parts.get_children)


class TransactionRequest(WriteParts):
    """Writes that all happen or none.

    :meth:`commit` returns a list with a result for each operation; when the transaction fails, exceptions stand in it,
    as in kazoo. As a ``with`` block it commits at the end, and a failure is raised.
    """

    def __init__(self, owner: Owner) -> None:
        super().__init__()
        self._owner = owner

    def commit(self) -> list[Any]:
        """Sends it and waits. One result for each operation; when it failed, all of them are exceptions."""
        return self.commit_async().result()

    def commit_async(self) -> Future[list[Any]]:
        """Sends it."""
        return self._owner.send_parts(self.take())

    def __enter__(self) -> TransactionRequest:
        return self

    def __exit__(self, kind: object, *_raised: object) -> None:
        if kind is None and not self.committed:
            failure = blame(self.commit())
            if failure is not None:
                raise failure


class MultiRead(ReadParts):
    """Several reads of one moment, in one request. Each has a result of its own: a value, or an exception."""

    def __init__(self, owner: Owner) -> None:
        super().__init__()
        self._owner = owner

    def commit(self) -> list[Any]:
        """Sends them and waits."""
        return self.commit_async().result()

    def commit_async(self) -> Future[list[Any]]:
        """Sends them."""
        return self._owner.send_parts(self.parts)
