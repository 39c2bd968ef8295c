"""Parties: who is here."""

from __future__ import annotations

import uuid
from typing import Iterator, TypeVar

from ..calls import run
from ..errors import NodeExistsError, NoNodeError
from . import _base
from ._base import Ask, Persist, awaits, below, blocks
from .protocol import RecipeClient

__all__ = ["Party", "ShallowParty"]

BlockingT = TypeVar("BlockingT", bound="BlockingParty")
AwaitingT = TypeVar("AwaitingT", bound="AwaitingParty")


class Member:
    """A member, or only a visitor, of a party."""

    def __init__(self, client: RecipeClient, path: str, identifier: object = None) -> None:
        self.client = client
        self.path = _base.clean_path(path)
        #: What others see of this member.
        self.data = _base.encode_identifier(identifier)
        #: Whether this one has joined.
        self.participating = False
        #: The name of this one's znode.
        self.node = ""

    async def joining(self) -> None:
        """Joins it, until :meth:`leave` or the end of the session."""
        await _base.persist(self.client, self._join)
        self.participating = True

    async def _join(self) -> None:
        try:
            await Ask(self.client).create(below(self.path, self.node), self.data, ephemeral=True, makepath=True)
        except NodeExistsError:
            # The name is this one's alone: an earlier attempt got there, whose answer never came.
            pass

    async def leaving(self) -> bool:
        """Leaves it; whether this one was there."""
        self.participating = False
        try:
            return await Persist(self.client).delete(below(self.path, self.node))
        except NoNodeError:
            return False

    async def listing(self) -> list[str]:
        """The identifiers of the members."""
        raise NotImplementedError

    async def names(self) -> list[str]:
        """The names of the members' znodes."""
        try:
            return await Persist(self.client).get_children(self.path)
        except NoNodeError:
            return []

    def __repr__(self) -> str:
        return f"<zoarium.{type(self).__name__} {self.path}>"


class Deep(Member):
    """A party whose members keep their identifiers in their data."""

    _NODE_NAME = "__party__"

    def __init__(self, client: RecipeClient, path: str, identifier: object = None) -> None:
        super().__init__(client, path, identifier)
        self.node = uuid.uuid4().hex + self._NODE_NAME

    async def names(self) -> list[str]:
        """The names of the members' znodes."""
        return [name for name in await super().names() if self._NODE_NAME in name]

    async def listing(self) -> list[str]:
        """The identifiers of the members."""
        ask, found = Persist(self.client), []
        for name in await self.names():
            try:
                data, _stat = await ask.get(below(self.path, name))
            except NoNodeError:
                continue
            found.append((data or b"").decode())
        return found


class Shallow(Member):
    """A party whose members have their identifiers in their names: one request tells who is here, and an identifier has
    to be a valid name."""

    def __init__(self, client: RecipeClient, path: str, identifier: object = None) -> None:
        super().__init__(client, path, identifier)
        name = self.data.decode()
        if "/" in name:
            # It would be a znode below one that nobody takes away again.
            raise ValueError(f"an identifier in a shallow party is a name, without slashes: {name!r}")
        self.node = f"{uuid.uuid4().hex}-{name}"

    async def listing(self) -> list[str]:
        """The identifiers of the members."""
        return [name.partition("-")[2] for name in await self.names()]


class BlockingParty(Member):
    """For threads: iterating over it gives the identifiers of its members."""

    join = blocks(Member.joining)
    leave = blocks(Member.leaving)

    def __enter__(self: BlockingT) -> BlockingT:
        self.join()
        return self

    def __exit__(self, *_raised: object) -> None:
        self.leave()

    def __len__(self) -> int:
        """How many members there are."""
        return len(run(self.names()))

    def __bool__(self) -> bool:
        # Not to be taken for nothing while nobody is here.
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(run(self.listing()))


class AwaitingParty(Member):
    """For asyncio: ``await party.members()`` gives the identifiers of its members."""

    join = awaits(Member.joining)
    leave = awaits(Member.leaving)

    async def __aenter__(self: AwaitingT) -> AwaitingT:
        await self.join()
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.leave()

    async def members(self) -> list[str]:
        """The identifiers of the members."""
        return await self.listing()

    async def count(self) -> int:
        """How many members there are."""
        return len(await self.names())


class Party(Deep, BlockingParty):
    __doc__ = Deep.__doc__


class ShallowParty(Shallow, BlockingParty):
    __doc__ = Shallow.__doc__


class AioParty(Deep, AwaitingParty):
    __doc__ = Deep.__doc__


class AioShallowParty(Shallow, AwaitingParty):
    __doc__ = Shallow.__doc__
