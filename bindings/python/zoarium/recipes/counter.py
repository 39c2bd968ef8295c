"""Counters that many change at a time."""

from __future__ import annotations

import struct
from typing import Generic, TypeVar

from ..calls import run
from ..errors import BadVersionError, NoNodeError
from . import _base
from ._base import Ask, Persist
from .protocol import RecipeClient

__all__ = ["Counter"]

Number = TypeVar("Number", int, float)


class Tally(Generic[Number]):
    """A number, of the type of `default`, that is changed by adding to it.

    Each change names the version it builds upon, so none is lost and none is made twice. When somebody was faster it is
    made again; when the connection was lost, the error is raised, since nobody can tell whether it counted.

    The number is written as Python writes it, or with `support_curator` as Curator's SharedCount does.
    """

    def __init__(
        self, client: RecipeClient, path: str, default: Number = 0, support_curator: bool = False
    ) -> None:
        if support_curator and not isinstance(default, int):
            raise TypeError("Curator's counters are integers")
        self.client = client
        self.path = _base.clean_path(path)
        self.default: Number = default
        self.default_type: type[Number] = type(default)
        self.support_curator = support_curator
        #: The number before the last change made here.
        self.pre_value: Number | None = None
        #: The number after it.
        self.post_value: Number | None = None

    async def reading(self) -> tuple[Number, int]:
        """The number now, and the version it was written as."""
        ask = Persist(self.client)
        try:
            data, stat = await ask.get(self.path)
        except NoNodeError:
            await ask.ensure_path(self.path)
            data, stat = await ask.get(self.path)
        return self._decode(data), stat.version

    def _decode(self, data: bytes | None) -> Number:
        if not data:
            return self.default
        if self.support_curator:
            found: int = struct.unpack(">i", data)[0]
            return self.default_type(found)
        return self.default_type(data.decode("ascii"))

    def _encode(self, number: Number) -> bytes:
        if self.support_curator:
            return struct.pack(">i", number)
        return repr(number).encode("ascii")

    async def adding(self, value: Number) -> Number:
        """Adds to it; returns what it is then."""
        if not isinstance(value, self.default_type):
            raise TypeError(f"this counter counts in {self.default_type.__name__}, not {type(value).__name__}")
        while True:
            before, version = await self.reading()
            after = before + value
            try:
                await Ask(self.client).set(self.path, self._encode(after), version=version)
            except BadVersionError:
                continue
            self.pre_value, self.post_value = before, after
            return after

    def __repr__(self) -> str:
        return f"<zoarium.{type(self).__name__} {self.path}>"


class Counter(Tally[Number]):
    """A number, of the type of `default`, that is changed by adding to it::

        hits = zk.counter("/hits")
        hits += 1
        hits.value, hits.pre_value, hits.post_value

    Each change names the version it builds upon, so none is lost and none is made twice. When somebody was faster it is
    made again; when the connection was lost, the error is raised, since nobody can tell whether it counted.

    The number is written as Python writes it, or with `support_curator` as Curator's SharedCount does.
    """

    @property
    def value(self) -> Number:
        """The number now."""
        return run(self.reading())[0]

    def add(self, value: Number) -> Number:
        """Adds to it; returns what it is then."""
        return run(self.adding(value))

    def __add__(self, value: Number) -> Counter[Number]:
        self.add(value)
        return self

    def __sub__(self, value: Number) -> Counter[Number]:
        self.add(-value)
        return self

    # As kazoo has them: the counter itself changes, in ``counter + 1`` as well.
    __iadd__ = __add__
    __isub__ = __sub__


class AioCounter(Tally[Number]):
    """A number, of the type of `default`, that is changed by adding to it: ``await hits.add(1)``, ``await hits.value()``.

    What is true of :class:`zoarium.recipes.Counter` is true of it.
    """

    async def value(self) -> Number:
        """The number now."""
        return (await self.reading())[0]

    async def add(self, value: Number) -> Number:
        """Adds to it; returns what it is then."""
        return await self.adding(value)
