"""Starts, kills and restarts one server for the client checks: Zoarium, or Apache ZooKeeper for the baseline.

Only the standard library is used, and only loopback addresses.
"""

import functools
import os
import pathlib
import shutil
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEBIAN_JARS = pathlib.Path("/usr/share/java")
START_SECONDS_MAX = 30


class Missing(Exception):
    """Something this machine lacks; says what, and how to get it."""


def zoarium_binary():
    """The binary under test: `ZOARIUM_BIN`, else the release build, else the development build."""
    named = os.environ.get("ZOARIUM_BIN")
    if named:
        candidates = [pathlib.Path(named).resolve()]
    else:
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        candidates = [target / profile / "zoarium" for profile in ("release", "quick", "debug")]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return candidate
    raise Missing(f"no zoarium binary at {', '.join(map(str, candidates))}: run `cargo build --release`")


@functools.cache
def zookeeper_classpath(version=None):
    """The Apache ZooKeeper that `.ci/zookeeper/classpath` finds or fetches: of this line of releases, else of the usual one."""
    if shutil.which("java") is None:
        raise Missing("no java on PATH: apt-get install default-jre-headless")
    found = subprocess.run([ROOT / ".ci/zookeeper/classpath", *([version] if version else [])], stdout=subprocess.PIPE, text=True)
    if found.returncode != 0:
        raise Missing("no Apache ZooKeeper, see above: apt-get install zookeeper")
    classpath = found.stdout.strip()
    if str(DEBIAN_JARS) in classpath:
        # The manifest of Debian's jar forgets these parts of netty, which kazoo's suite asks the server to use.
        netty = ["netty-codec", "netty-resolver", "netty-transport-native-unix-common"]
        classpath = ":".join([classpath, *(f"{DEBIAN_JARS}/{name}.jar" for name in netty)])
    return classpath


def zookeeper_version():
    """The version in the name of ZooKeeper's jar (`zookeeper-3.9.5.jar`)."""
    for entry in zookeeper_classpath().split(":"):
        for jar in pathlib.Path(entry).parent.glob("zookeeper-[0-9]*.jar"):
            return jar.stem.removeprefix("zookeeper-")
    raise Missing(f"no zookeeper-VERSION.jar in {zookeeper_classpath()}")


def free_ports(count=1, step=1, start=None):
    """The first of `count` ports, `step` apart from each other, that nobody listens on now.

    They lie below the range outgoing connections are given, so none is taken between the look and the use.
    """
    port = start if start is not None else 20000 + (os.getpid() * 7) % 8000
    while port + count * step < 32768:
        if all(_is_free(port + index * step) for index in range(count)):
            return port
        port += count * step
    raise Missing(f"no {count} free ports in a row below 32768")


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


class Server:
    """One server on `folder`, which survives `kill` and `start`: same data, same port.

    Its kind is `zoarium`, or `zookeeper`, with a line of releases if it is not the usual one: `zookeeper-3.6`.
    """

    def __init__(self, kind, folder, settings=()):
        self.kind = kind
        self.folder = pathlib.Path(folder)
        self.port = free_ports()
        self.process = None
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "zoo.cfg"
        lines = [
            "tickTime=500",
            f"dataDir={self.folder / 'data'}",
            f"clientPort={self.port}",
            "maxClientCnxns=0",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
            *settings,
        ]
        self.config.write_text("\n".join(lines) + "\n")
        if kind == "zoarium":
            self.command = [str(zoarium_binary()), "serve", str(self.config)]
        else:
            main_class = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
            version = kind.removeprefix("zookeeper").removeprefix("-") or None
            self.command = ["java", "-cp", zookeeper_classpath(version), main_class, str(self.config)]

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self, patience=START_SECONDS_MAX):
        """Starts the server and waits until it serves; returns the seconds that took."""
        begin = time.monotonic()
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while time.monotonic() < begin + patience:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with code {self.process.returncode}\n{self.log_tail()}")
            if "Mode: " in self.four_letter_word("srvr"):
                return time.monotonic() - begin
            time.sleep(0.005)
        raise RuntimeError(f"no answer to srvr on {self.address} in {patience} s\n{self.log_tail()}")

    def kill(self):
        """Ends the server with SIGKILL, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends the server with SIGTERM; returns its exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def four_letter_word(self, word):
        """The answer to a four-letter word, empty when nobody serves."""
        answer = b""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as link:
                link.sendall(word.encode())
                while chunk := link.recv(65536):
                    answer += chunk
        except OSError:
            return ""
        return answer.decode()

    def log_tail(self, lines_max=20):
        lines = (self.folder / "server.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-lines_max:])
