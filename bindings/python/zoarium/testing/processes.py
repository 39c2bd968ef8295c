"""Ensembles of real processes, to be killed, paused and started again by tests.

    with ProcessEnsemble(3) as ensemble, ensemble.client() as zk:
        zk.create("/a")
        ensemble.kill(ensemble.leader)
        ensemble.wait()
        assert zk.retry(zk.exists, "/a")

Each member is a process of the command line tool, ``zoarium serve``, with a data folder of its own; what it has synced is
what a killed one keeps. Members are named by their numbers in the configuration, from 1 on.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import weakref
from time import monotonic, sleep
from typing import Callable, Mapping, Union

from .._tool import find_tool
from ..errors import TimedOutError
from ._members import Members

#: What a configuration key may be set to.
Setting = Union[str, int, bool]

#: Ports of an ensemble lie above this one: below those that systems give to whoever connects, so nobody gets one by chance.
_PORTS_FROM = 20_000
_PORTS_TO = 29_000
#: Holding it means that the whole address is this ensemble's.
_CLAIM_PORT = 19_999

_DEFAULTS: dict[str, Setting] = {
    "tickTime": 200,
    "initLimit": 20,
    "syncLimit": 10,
    "maxClientCnxns": 0,
    "minSessionTimeout": 400,
    "maxSessionTimeout": 120_000,
    "4lw.commands.whitelist": "*",
    "admin.enableServer": False,
}

_ensembles: weakref.WeakSet[ProcessEnsemble] = weakref.WeakSet()


class NoToolError(RuntimeError):
    """The command line tool, which members are processes of, is not there."""


def _claim_address() -> tuple[str, socket.socket]:
    """An address of this machine's own network that no other ensemble uses, and what keeps it so.

    All of 127.0.0.0/8 is this machine. On an address of one's own no port has to be raced for: whoever asks for a free one
    gets it on another address.
    """
    while True:
        host = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(1, 254)}"
        claim = socket.socket()
        try:
            claim.bind((host, _CLAIM_PORT))
            claim.listen(1)
        except OSError:
            claim.close()
            continue
        return host, claim


def _word(address: str, word: str, limit: float = 1.0) -> str:
    """What a member answers to a four-letter word; nothing when it does not."""
    host, _, port = address.rpartition(":")
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), limit) as connection:
        connection.sendall(word.encode())
        while more := connection.recv(65536):
            answer += more
    return answer.decode(errors="replace")


class ProcessEnsemble(Members):
    """So many members, all of them serving when this returns.

    `config` are further keys of ``zoo.cfg`` for all members. `data_dir` is where their folders lie; without one that is a
    temporary folder, which goes in the end. `timeout` is how long it may take until they serve, in seconds.

    Raises :class:`NoToolError` when the command line tool is not found, :class:`~zoarium.TimedOutError` when they do not
    serve in time.
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
        tool = find_tool()
        if tool is None:
            raise NoToolError(
                "the command line tool zoarium is neither in this package nor on the path: set ZOARIUM_BINARY"
            )
        self._tool = tool
        self._timeout = timeout
        self._is_temporary = data_dir is None
        self._folder = tempfile.mkdtemp(prefix="zoarium-ensemble-") if data_dir is None else os.fspath(data_dir)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._paused: set[int] = set()
        self._host, self._claim = _claim_address()
        self.members = range(1, size + 1)
        first = random.randrange(_PORTS_FROM, _PORTS_TO - 3 * size)
        self._ports = {member: first + 3 * at for at, member in enumerate(self.members)}
        _ensembles.add(self)
        try:
            for member in self.members:
                self._configure(member, {**_DEFAULTS, **(config or {})})
            for member in self.members:
                self._spawn(member)
            self.wait(timeout)
        except BaseException:
            self.stop()
            raise

    def _configure(self, member: int, settings: Mapping[str, Setting]) -> None:
        data = os.path.join(self._folder, str(member), "data")
        os.makedirs(data, exist_ok=True)
        with open(os.path.join(data, "myid"), "w") as file:
            file.write(f"{member}\n")
        host, _, port = self.address_of(member).rpartition(":")
        keys: dict[str, Setting] = {"dataDir": data, "clientPort": port, "clientPortAddress": host, **settings}
        if len(self.members) > 1:
            for other, at in self._ports.items():
                keys[f"server.{other}"] = f"{self._host}:{at + 1}:{at + 2}"
        with open(self._config(member), "w") as file:
            for key, value in keys.items():
                file.write(f"{key}={str(value).lower() if isinstance(value, bool) else value}\n")

    def _config(self, member: int) -> str:
        return os.path.join(self._folder, str(member), "zoo.cfg")

    def _log(self, member: int) -> str:
        return os.path.join(self._folder, str(member), "log")

    def _spawn(self, member: int) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ZOARIUM_")}
        with open(self._log(member), "ab") as log:
            self._processes[member] = subprocess.Popen(
                [self._tool, "serve", self._config(member)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                # Ctrl-C is for the tests: they end the members.
                start_new_session=True,
            )

    # ---- what is known ----

    @property
    def address(self) -> str:
        return ",".join(self.address_of(member) for member in self.members)

    def address_of(self, member: int) -> str:
        return f"{self._host}:{self._ports[member]}"

    @property
    def running(self) -> list[int]:
        return [member for member in self.members if member in self._processes]

    def role(self, member: int) -> str | None:
        """``"leader"``, ``"follower"``, ``"standalone"`` …; ``None`` while it serves nobody."""
        if member not in self._processes or member in self._paused:
            return None
        for line in _word(self.address_of(member), "srvr").splitlines():
            if line.startswith("Mode: "):
                return line[len("Mode: ") :]
        return None

    def command(self, member: int, word: str) -> str:
        """A member's answer to a four-letter word such as ``"mntr"``."""
        return _word(self.address_of(member), word, 10.0)

    @property
    def leader(self) -> int:
        """The member that leads, once one does."""
        found: list[int] = []

        def leads() -> bool:
            found[:] = [member for member in self.members if self.role(member) in ("leader", "standalone")]
            return len(found) == 1

        self._until(leads, "no member leads", self._timeout)
        return found[0]

    def logs(self, member: int) -> str:
        """What a member has said."""
        with open(self._log(member), errors="replace") as file:
            return file.read()

    def wait(self, timeout: float | None = None) -> None:
        """Waits until all members that run, and are not paused, serve, and one of them leads."""

        def serve() -> bool:
            for member, process in self._processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"member {member} has ended by itself, with {process.returncode}:\n{self.logs(member)}")
            roles = [self.role(member) for member in self.running if member not in self._paused]
            return None not in roles and sum(role in ("leader", "standalone") for role in roles) == 1

        self._until(serve, "not all members serve", self._timeout if timeout is None else timeout)

    def _until(self, condition: Callable[[], bool], complaint: str, timeout: float) -> None:
        deadline = monotonic() + timeout
        while not condition():
            if monotonic() > deadline:
                said = "".join(f"\nmember {member}:\n{self.logs(member)[-2000:]}" for member in self.running)
                raise TimedOutError(f"{complaint} after {timeout} s{said}")
            sleep(0.005)

    # ---- what is done to members ----

    def kill(self, member: int) -> None:
        """Ends a member at once, as a loss of power of its process: it keeps what it has synced."""
        process = self._processes.pop(member, None)
        if process is None:
            raise ValueError(f"member {member} does not run")
        self._paused.discard(member)
        process.kill()
        process.wait()

    def restart(self, member: int) -> None:
        """Starts a member that does not run, with the data and addresses it had; :meth:`wait` until it serves."""
        if member not in self.members:
            raise ValueError(f"there is no member {member}")
        if member in self._processes:
            raise ValueError(f"member {member} runs")
        self._spawn(member)

    def pause(self, member: int) -> None:
        """Stops a member where it is, as a machine that swaps: its connections stay, nobody is answered."""
        self._signal(member, signal.SIGSTOP)
        self._paused.add(member)

    def resume(self, member: int) -> None:
        """Lets a paused member go on."""
        self._signal(member, signal.SIGCONT)
        self._paused.discard(member)

    def _signal(self, member: int, number: signal.Signals) -> None:
        if member not in self._processes:
            raise ValueError(f"member {member} does not run")
        self._processes[member].send_signal(number)

    def wipe(self, member: int) -> None:
        """Takes a member that does not run its data: it begins anew, and gets everything from the others."""
        if member in self._processes:
            raise ValueError(f"member {member} runs")
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(self._folder, str(member), "data", "zoarium.db"))

    def stop(self) -> None:
        processes, self._processes = self._processes, {}
        for process in processes.values():
            # A paused one hears of it when it goes on.
            process.terminate()
            process.send_signal(signal.SIGCONT)
        for process in processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._paused.clear()
        self._claim.close()
        if self._is_temporary:
            shutil.rmtree(self._folder, ignore_errors=True)


def _stop_all() -> None:
    for ensemble in list(_ensembles):
        with contextlib.suppress(Exception):
            ensemble.stop()


atexit.register(_stop_all)
