"""Ensembles in this process, whose members tests kill, start again, pause and cut off.

    with Ensemble(3) as ensemble, ensemble.client() as zk:
        zk.create("/a")
        ensemble.kill(ensemble.leader)
        ensemble.wait()
        assert zk.retry(zk.exists, "/a")

Each member is a server with a data folder, ports and threads of its own; what it has synced is what a killed one keeps. Members
are named by their numbers in the configuration, from 1 on. :class:`~zoarium.testing.ProcessEnsemble` has the same members as
real processes, which cannot be cut off.
"""

from __future__ import annotations

import os
import weakref
from ctypes import byref, c_uint64, c_void_p
from time import monotonic
from typing import Callable, Mapping

from .. import _abi, _inbox
from .._life import Life, life
from .._log import wire_logging
from ..errors import check, failure
from ..server import Server, Setting, hook_multiprocessing, make_config
from ._members import Members

#: What ZooKeeper calls the roles of members that serve.
_MODES = {
    "leading": "leader",
    "following": "follower",
    "observing": "observer",
    "standalone": "standalone",
    "read-only": "read-only",
}

#: Ensembles that have to be stopped at the interpreter's end.
_ensembles: weakref.WeakSet[Ensemble] = weakref.WeakSet()


class Ensemble(Members):
    """So many members, all of them serving when this returns.

    `config` are further keys of ``zoo.cfg`` for all members. `data_dir` is where their folders lie, ``1``, ``2`` and so on;
    without one that is a temporary folder, which goes in the end. `timeout` is how long :attr:`leader`, :meth:`wait` and
    clients wait unless told otherwise, in seconds.

    Raises :class:`~zoarium.BadArgumentsError` for what cannot be, :class:`~zoarium.TimedOutError` when they do not serve within a minute.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        config: Mapping[str, Setting] | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        if size < 1:
            raise ValueError(f"an ensemble has at least one member, not {size}")
        self._handle = c_void_p()
        self._process = os.getpid()
        self._timeout = timeout
        self._away: set[int] = set()
        self._paused: set[int] = set()
        self.members = range(1, size + 1)
        settings = dict(config or {})
        if data_dir is not None:
            settings["dataDir"] = data_dir
        handle = c_void_p()
        wire_logging()
        keys = make_config(settings)
        try:
            check(_abi.zoa_ensemble_start(keys, size, byref(handle)))
        finally:
            _abi.zoa_config_free(keys)
        self._handle = handle
        hosts: bytes = _abi.zoa_ensemble_hosts(handle)
        self._hosts = hosts.decode()
        _ensembles.add(self)
        hook_multiprocessing()

    # ---- what is known ----

    @property
    def address(self) -> str:
        return self._hosts

    def address_of(self, member: int) -> str:
        self._known(member)
        return self.address.split(",")[member - 1]

    @property
    def running(self) -> list[int]:
        return [member for member in self.members if member not in self._away]

    def member(self, member: int) -> Server:
        """The server that a member is, until it is killed: for clients past the socket, its status, and what tests do to
        sessions."""
        self._runs(member)
        handle = c_void_p()
        check(_abi.zoa_ensemble_server(self._handle, member, byref(handle)))
        return Server.of_handle(handle)

    def role(self, member: int) -> str | None:
        """``"leader"``, ``"follower"``, ``"standalone"`` …; ``None`` while it serves nobody."""
        self._known(member)
        if member in self._away or member in self._paused:
            return None
        return _MODES.get(self.member(member).status().role)

    def command(self, member: int, word: str) -> str:
        """A member's answer to a four-letter word such as ``"mntr"``."""
        return self.member(member).command(word)

    @property
    def leader(self) -> int:
        """The member that leads, once one does."""
        found = c_uint64()
        deadline = _inbox.deadline_of(self._timeout)
        while True:
            check(_abi.zoa_ensemble_leader(self._handle, byref(found)))
            if found.value:
                return found.value
            self.wait(max(0.0, deadline - monotonic()))

    def wait(self, timeout: float | None = None) -> None:
        """Waits until all members serve that run and are neither paused nor cut off, and one of them leads."""
        deadline = _inbox.deadline_of(self._timeout if timeout is None else timeout)
        while True:
            left = deadline - monotonic()
            code = _abi.zoa_ensemble_wait(self._handle, int(max(0, min(100, left * 1000))))
            if code != _abi.ZOA_TIMEOUT or left <= 0:
                return check(code)

    # ---- what is done to members ----

    def kill(self, member: int) -> None:
        """Ends a member as ``kill -9`` ends a process: it keeps what it has synced, and says goodbye to nobody."""
        self._runs(member)
        self._act(_abi.zoa_ensemble_kill, member)
        self._away.add(member)
        self._paused.discard(member)

    def restart(self, member: int) -> None:
        """Starts a member that does not run, with the data and addresses it had; :meth:`wait` until it serves."""
        self._is_away(member)
        self._act(_abi.zoa_ensemble_restart, member)
        self._away.discard(member)

    def pause(self, member: int) -> None:
        """Stops a member where it is, as a machine that swaps: its connections stay, nobody is answered."""
        self._runs(member)
        self._act(_abi.zoa_ensemble_pause, member)
        self._paused.add(member)

    def resume(self, member: int) -> None:
        """Lets a paused member go on."""
        self._runs(member)
        self._act(_abi.zoa_ensemble_resume, member)
        self._paused.discard(member)

    def cut(self, member: int) -> None:
        """Cuts a member off from the others, as where a cable is pulled: nobody is told. Its clients reach it all the same."""
        self._runs(member)
        self._act(_abi.zoa_ensemble_cut, member)

    def heal(self, member: int) -> None:
        """Connects a member with the others again."""
        self._runs(member)
        self._act(_abi.zoa_ensemble_heal, member)

    def wipe(self, member: int) -> None:
        """Takes a member that does not run its data: it begins anew, and gets everything from the others."""
        self._is_away(member)
        self._act(_abi.zoa_ensemble_wipe, member)

    def _act(self, what: Callable[[c_void_p, int], int], member: int) -> None:
        check(what(self._handle, member))

    def _known(self, member: int) -> None:
        if member not in self.members:
            raise ValueError(f"there is no member {member}")

    def _runs(self, member: int) -> None:
        self._known(member)
        if member in self._away:
            raise ValueError(f"member {member} does not run")

    def _is_away(self, member: int) -> None:
        self._known(member)
        if member not in self._away:
            raise ValueError(f"member {member} runs")

    def stop(self) -> None:
        if self._process != os.getpid():
            return
        self._away.update(self.members)
        code = _abi.zoa_ensemble_stop(self._handle)
        if code:
            raise failure(code)

    def __del__(self, _life: Life = life) -> None:
        handle = self.__dict__.get("_handle")
        if handle and not _life.is_ending and self._process == os.getpid():
            _abi.zoa_ensemble_free(handle)


def _stop_all(_deadline: float) -> None:
    for ensemble in list(_ensembles):
        try:
            ensemble.stop()
        except Exception:
            pass


_inbox.at_exit.append(_stop_all)
