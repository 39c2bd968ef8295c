"""Counters that many change at a time."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Generic, TypeVar

from ..errors import BadVersionError, NoNodeError
from . import _base

if TYPE_CHECKING:
    from ..client import Client

__all__ = ["Counter"]

Number = TypeVar("Number", int, float)


class Counter(Generic[Number]):
    """A number, of the type of `default`, that is changed by adding to it::

        hits = zk.counter("/hits")
        hits += 1
        hits.value, hits.pre_value, hits.post_value

    Each change names the version it builds upon, so none is lost and none is made twice. When somebody was faster it is
    made again; when the connection was lost, the error is raised, since nobody can tell whether it counted.

    The number is written as Python writes it, or with `support_curator` as Curator's SharedCount does.
    """

    def __init__(
        self, client: Client, path: str, default: Number = 0, support_curator: bool = False
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

    @property
    def value(self) -> Number:
        """The number now."""
        return self._read()[0]

    def _read(self) -> tuple[Number, int]:
        try:
            data, stat = _base.persist(self.client.get, self.path)
        except NoNodeError:
            _base.persist(self.client.ensure_path, self.path)
            data, stat = _base.persist(self.client.get, self.path)
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

    def add(self, value: Number) -> Number:
        """Adds to it; returns what it is then."""
        if not isinstance(value, self.default_type):
            raise TypeError(f"this counter counts in {self.default_type.__name__}, not {type(value).__name__}")
        while True:
            before, version = self._read()
            after = before + value
            try:
                self.client.set(self.path, self._encode(after), version=version)
            except BadVersionError:
                continue
            self.pre_value, self.post_value = before, after
            return after

    def __add__(self, value: Number) -> Counter[Number]:
        self.add(value)
        return self

    def __sub__(self, value: Number) -> Counter[Number]:
        self.add(-value)
        return self

    # As kazoo has them: the counter itself changes, in ``counter + 1`` as well.
    __iadd__ = __add__
    __isub__ = __sub__

    def __repr__(self) -> str:
        return f"<zoarium.Counter {self.path}>"
