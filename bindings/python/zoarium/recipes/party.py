"""Parties: who is here."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Iterator

from ..errors import NodeExistsError, NoNodeError
from . import _base
from ._base import below

if TYPE_CHECKING:
    from ..client import Client

__all__ = ["Party", "ShallowParty"]


class BaseParty:
    """A member, or only a visitor, of a party: iterating over it gives the identifiers of its members."""

    def __init__(self, client: Client, path: str, identifier: object = None) -> None:
        self.client = client
        self.path = _base.clean_path(path)
        #: What others see of this member.
        self.data = _base.encode_identifier(identifier)
        #: Whether this one has joined.
        self.participating = False
        #: The name of this one's znode.
        self.node = ""

    def join(self) -> None:
        """Joins it, until :meth:`leave` or the end of the session."""
        _base.persist(self._join)
        self.participating = True

    def _join(self) -> None:
        try:
            self.client.create(below(self.path, self.node), self.data, ephemeral=True, makepath=True)
        except NodeExistsError:
            # The name is this one's alone: an earlier attempt got there, whose answer never came.
            pass

    def leave(self) -> bool:
        """Leaves it; whether this one was there."""
        self.participating = False
        try:
            return _base.persist(self.client.delete, below(self.path, self.node))
        except NoNodeError:
            return False

    def __enter__(self: BaseParty) -> BaseParty:
        self.join()
        return self

    def __exit__(self, *_raised: object) -> None:
        self.leave()

    def __len__(self) -> int:
        """How many members there are."""
        return len(self._names())

    def __bool__(self) -> bool:
        # Not to be taken for nothing while nobody is here.
        return True

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def _names(self) -> list[str]:
        try:
            return _base.persist(self.client.get_children, self.path)
        except NoNodeError:
            return []

    def __repr__(self) -> str:
        return f"<zoarium.{type(self).__name__} {self.path}>"


class Party(BaseParty):
    """A party whose members keep their identifiers in their data."""

    _NODE_NAME = "__party__"

    def __init__(self, client: Client, path: str, identifier: object = None) -> None:
        super().__init__(client, path, identifier)
        self.node = uuid.uuid4().hex + self._NODE_NAME

    def _names(self) -> list[str]:
        return [name for name in super()._names() if self._NODE_NAME in name]

    def __iter__(self) -> Iterator[str]:
        for name in self._names():
            try:
                data, _stat = _base.persist(self.client.get, below(self.path, name))
            except NoNodeError:
                continue
            yield (data or b"").decode()


class ShallowParty(BaseParty):
    """A party whose members have their identifiers in their names: one request tells who is here, and an identifier has
    to be a valid name."""

    def __init__(self, client: Client, path: str, identifier: object = None) -> None:
        super().__init__(client, path, identifier)
        self.node = f"{uuid.uuid4().hex}-{self.data.decode()}"

    def __iter__(self) -> Iterator[str]:
        for name in self._names():
            yield name.partition("-")[2]
