"""Queues that many put into and many take from."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Iterable

from ..errors import NodeExistsError, NoNodeError, TimedOutError
from . import _base
from ._base import Alarm, Caller, Removal, below

if TYPE_CHECKING:
    from ..client import Client

__all__ = ["LockingQueue", "Queue"]

#: Entries taken after one listing: a more urgent one that is put in meanwhile waits for no more than these.
_LISTED_MAX = 100


class BaseQueue:
    """What both kinds have in common: entries in the order of their priorities, the lowest number first, then of age."""

    _ENTRY = ""

    def __init__(self, client: Client, path: str, entries: str) -> None:
        self.client = client
        self.path = _base.clean_path(path)
        self._entries = entries

    def __len__(self) -> int:
        """How many entries there are."""
        stat = _base.persist(self.client.exists, self._entries)
        return stat.numChildren if stat is not None else 0

    def __bool__(self) -> bool:
        # Not to be taken for nothing while it is empty.
        return True

    def put(self, value: bytes, priority: int = 100) -> None:
        """Puts an entry in; `priority` is 0 to 999, and lower ones come first.

        A lost connection is raised: whether the entry is in is not known then, and putting it in again may double it.
        """
        self.client.create(self._entry_path(value, priority), value, sequence=True, makepath=True)

    def _entry_path(self, value: bytes, priority: int) -> str:
        if not isinstance(value, bytes):
            raise TypeError(f"an entry is bytes, not {type(value).__name__}")
        if not isinstance(priority, int):
            raise TypeError(f"a priority is an int, not {type(priority).__name__}")
        if not 0 <= priority <= 999:
            raise ValueError(f"a priority is 0 to 999, not {priority}")
        return below(self._entries, f"{self._ENTRY}{priority:03d}-")

    def __repr__(self) -> str:
        return f"<zoarium.{type(self).__name__} {self.path}>"


class Queue(BaseQueue):
    """A queue whose entries are gone when they have been taken. Who takes one and fails has lost it: there is
    :class:`LockingQueue` for those who mind."""

    _ENTRY = "entry-"

    def __init__(self, client: Client, path: str) -> None:
        path = _base.clean_path(path)
        super().__init__(client, path, path)
        # What was there when it was listed last: others take some of it meanwhile, which is noticed.
        self._seen: list[str] = []

    def get(self, timeout: float | None = 0) -> bytes | None:
        """Takes the first entry; waits for one up to `timeout` seconds (``None``: for ever). ``None`` when there is none.

        A lost connection is raised when it is not known whether an entry has been taken.
        """
        if timeout != 0:
            _base.refuse_in_callback(self.client, f"waiting for an entry of {self.path}")
        deadline = _base.deadline_of(timeout)
        with Alarm(self.client) as alarm:
            while True:
                alarm.reset()
                found = self._take_first()
                if found is not None or timeout == 0:
                    return found
                try:
                    if _base.persist(self.client.get_children, self.path, watch=alarm.ring):
                        continue
                except NoNodeError:
                    _base.persist(self.client.ensure_path, self.path)
                    continue
                if not alarm.wait(deadline):
                    return None

    def _take_first(self) -> bytes | None:
        while True:
            if not self._seen:
                try:
                    names = _base.persist(self.client.get_children, self.path)
                except NoNodeError:
                    return None
                if not names:
                    return None
                self._seen = sorted(names)[:_LISTED_MAX]
            path = below(self.path, self._seen[0])
            try:
                data, _stat = _base.persist(self.client.get, path)
                self.client.delete(path)
            except NoNodeError:
                # Somebody was faster: the rest of what was listed may be as old.
                self._seen.clear()
                continue
            self._seen.pop(0)
            return data or b""


class LockingQueue(BaseQueue):
    """A queue whose entries stay until they are *consumed*: who takes one holds it, and when its session ends before that,
    others get it.

    :meth:`get`, then :meth:`consume`, or :meth:`release` to give it back.
    """

    _ENTRY = "entry-"

    def __init__(self, client: Client, path: str) -> None:
        path = _base.clean_path(path)
        super().__init__(client, path, below(path, "entries"))
        self._taken = below(path, "taken")
        #: What is written where an entry is held by this one.
        self.id = uuid.uuid4().hex.encode()
        self._held: tuple[str, bytes] | None = None

    def put_all(self, values: Iterable[bytes], priority: int = 100) -> None:
        """Puts several entries in: all of them, or none."""
        entries = [(self._entry_path(value, priority), value) for value in values]
        _base.persist(self.client.ensure_path, self._entries)
        with self.client.transaction() as transaction:
            for path, value in entries:
                transaction.create(path, value, sequence=True)

    def get(self, timeout: float | None = None) -> bytes | None:
        """Takes the first entry that nobody holds, waiting for one up to `timeout` seconds; ``None`` when there was none.

        The one taken before comes again until it is consumed or released.
        """
        if self._held is not None:
            return self._held[1]
        _base.refuse_in_callback(self.client, f"waiting for an entry of {self.path}")
        deadline = _base.deadline_of(timeout)
        ask = Caller(self.client, deadline)
        with Alarm(self.client) as alarm:
            while True:
                alarm.reset()
                try:
                    entries = ask("get_children", self._entries, watch=alarm.ring)
                    taken = set(ask("get_children", self._taken, watch=alarm.ring))
                    for name in sorted(entries):
                        if name not in taken and self._take(name):
                            return self._held[1] if self._held else None
                except NoNodeError:
                    ask("ensure_path", self._entries)
                    ask("ensure_path", self._taken)
                    continue
                except TimedOutError:
                    return None
                except _base.PASSING:
                    continue
                if not alarm.wait(deadline):
                    return None

    def _take(self, name: str) -> bool:
        """Whether an entry is held by this one now."""
        path = below(self._taken, name)
        try:
            _base.persist(self._mark, path)
        except NodeExistsError:
            return False
        try:
            data, _stat = _base.persist(self.client.get, below(self._entries, name))
        except NoNodeError:
            # It was consumed after it was listed.
            Removal(self.client, self._taken, name=name).wait()
            return False
        self._held = (name, data or b"")
        return True

    def _mark(self, path: str) -> None:
        try:
            self.client.create(path, self.id, ephemeral=True)
        except NodeExistsError:
            # An earlier attempt got there, whose answer never came?
            try:
                if self.client.get(path).data == self.id:
                    return
            except NoNodeError:
                pass
            raise

    def holds_lock(self) -> bool:
        """Whether the entry taken is still held: not after its session has ended."""
        if self._held is None:
            return False
        path = below(self._taken, self._held[0])
        _base.persist(self.client.sync, path)
        try:
            return _base.persist(self.client.get, path).data == self.id
        except NoNodeError:
            return False

    def consume(self) -> bool:
        """Takes the entry held out of the queue for good; false when it was not held any more."""
        if self._held is None or not self.holds_lock():
            self._held = None
            return False
        name = self._held[0]
        while True:
            try:
                with self.client.transaction() as transaction:
                    transaction.delete(below(self._entries, name))
                    transaction.delete(below(self._taken, name))
            except _base.PASSING:
                # Nobody but this one can have consumed it, while the session lives.
                if _base.persist(self.client.exists, below(self._entries, name)) is not None:
                    continue
            except NoNodeError:
                self._held = None
                return False
            self._held = None
            return True

    def release(self) -> bool:
        """Gives the entry held back to the queue; false when it was not held any more."""
        if self._held is None or not self.holds_lock():
            self._held = None
            return False
        name = self._held[0]
        self._held = None
        _base.remove_own(self.client, self._taken, name)
        return True
