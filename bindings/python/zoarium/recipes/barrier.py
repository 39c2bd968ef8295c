"""Barriers: nobody passes while one stands; or all enter and leave together."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from ..errors import NodeExistsError, NoNodeError, TimedOutError
from ..types import EventType, WatchedEvent
from . import _base
from ._base import Alarm, Caller, Removal, below

if TYPE_CHECKING:
    from ..client import Client

__all__ = ["Barrier", "DoubleBarrier"]


class Barrier:
    """Stands while its znode exists."""

    def __init__(self, client: Client, path: str) -> None:
        self.client = client
        self.path = _base.clean_path(path)

    def create(self) -> None:
        """Puts it up, if it does not stand."""
        _base.persist(self.client.ensure_path, self.path)

    def remove(self) -> bool:
        """Takes it down; whether it stood. (After a lost connection that is not always known.)"""
        try:
            return _base.persist(self.client.delete, self.path)
        except NoNodeError:
            return False

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it does not stand; false when `timeout` seconds have passed before."""
        _base.refuse_in_callback(self.client, f"waiting at {self.path}")
        deadline = _base.deadline_of(timeout)
        ask = Caller(self.client, deadline)
        with Alarm(self.client) as alarm:
            while True:
                alarm.reset()
                try:
                    # This and not `exists`, which would leave a watch behind for one that does not stand.
                    ask("get", self.path, watch=alarm.ring)
                except NoNodeError:
                    return True
                except TimedOutError:
                    return False
                except _base.PASSING:
                    continue
                if not alarm.wait(deadline):
                    return False


class DoubleBarrier:
    """Lets `num_clients` in together, and out together.

    Each of them has an object of its own. `identifier` is what others can read about it.
    """

    def __init__(self, client: Client, path: str, num_clients: int, identifier: str | None = None) -> None:
        self.client = client
        self.path = _base.clean_path(path)
        self.num_clients = num_clients
        #: Whether this one is in.
        self.participating = False
        self._ready = below(self.path, "ready")
        self._name = ""
        self._identifier = identifier or f"{os.uname().nodename}-{os.getpid()}"

    def enter(self, timeout: float | None = None) -> None:
        """Waits until all have come. Raises :class:`~zoarium.TimedOutError` when they have not, and is out again then."""
        _base.refuse_in_callback(self.client, f"entering {self.path}")
        deadline = _base.deadline_of(timeout)
        # A new name each time: who still leaves must not take this for the one that was in before.
        self._name = uuid.uuid4().hex
        try:
            with Alarm(self.client) as alarm:
                self._enter(alarm, deadline)
            self.participating = True
        finally:
            if not self.participating:
                Removal(self.client, self.path, name=self._name).wait()

    def _enter(self, alarm: Alarm, deadline: float) -> None:
        ask = Caller(self.client, deadline)
        opened = 0

        # A standing watch: others may be ready and gone again before this one has looked.
        def seen(event: WatchedEvent) -> None:
            nonlocal opened
            if event.type == EventType.CREATED:
                opened = event.zxid
            alarm.ring()

        watch = self.client.watch(self._ready, seen)
        try:
            came = self._come(ask)
            while True:
                alarm.reset()
                # What is older than this one's coming was left behind by those who were in before.
                if opened > came:
                    return
                try:
                    children = set(ask("get_children", self.path))
                    if self._name not in children:
                        came = self._come(ask)
                        continue
                    stat = ask("exists", self._ready) if "ready" in children else None
                    if stat is not None and stat.czxid > came:
                        return
                    if len(children - {"ready"}) >= self.num_clients:
                        if stat is not None:
                            ask("delete", self._ready)
                        ask("create", self._ready)
                        return
                except (NoNodeError, NodeExistsError, *_base.PASSING):
                    # Several come last, and help each other.
                    continue
                if not alarm.wait(deadline):
                    raise TimedOutError(f"{self.path}: not everybody came in time")
        finally:
            watch.close()

    def _come(self, ask: Caller) -> int:
        """Creates this one's znode; returns the transaction that did."""
        mine = below(self.path, self._name)
        while True:
            try:
                _path, stat = ask("create", mine, self._identifier.encode(), ephemeral=True, include_data=True)
                return int(stat.czxid)
            except NoNodeError:
                ask("ensure_path", self.path)
            except NodeExistsError:
                stat = ask("exists", mine)
                if stat is not None:
                    return int(stat.czxid)
            except _base.PASSING:
                pass

    def leave(self, timeout: float | None = None) -> None:
        """Waits until all have left. Raises :class:`~zoarium.TimedOutError` when they have not; this one has, then."""
        _base.refuse_in_callback(self.client, f"leaving {self.path}")
        try:
            with Alarm(self.client) as alarm:
                self._leave(alarm, _base.deadline_of(timeout))
        finally:
            self.participating = False
            Removal(self.client, self.path, name=self._name).wait()

    def _leave(self, alarm: Alarm, deadline: float) -> None:
        ask = Caller(self.client, deadline)
        inside: set[str] | None = None
        while True:
            alarm.reset()
            try:
                if inside is None:
                    try:
                        ask("delete", self._ready)
                    except NoNodeError:
                        pass
                    inside = set(ask("get_children", self.path))
                # Who comes while this one leaves, comes for the next time.
                inside &= set(ask("get_children", self.path)) - {"ready"}
                if inside <= {self._name}:
                    return
                lowest, highest = min(inside), max(inside)
                if self._name == lowest:
                    awaited = highest
                else:
                    # Only the first one stays until all the others have left: so each waits for one.
                    _base.remove_own(self.client, self.path, self._name)
                    inside.discard(self._name)
                    awaited = lowest
                ask("get", below(self.path, awaited), watch=alarm.ring)
            except (NoNodeError, *_base.PASSING):
                continue
            if not alarm.wait(deadline):
                raise TimedOutError(f"{self.path}: not everybody left in time")
