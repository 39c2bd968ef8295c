#!/usr/bin/env python3
"""Holds conversations of unmodified clients with the server against committed transcripts, across kill -9.

    tests/clients/clients.py                               # all clients on the release build of Zoarium
    tests/clients/clients.py --server zookeeper            # the same on Apache ZooKeeper
    UPDATE=1 tests/clients/clients.py --server zookeeper   # write the transcripts anew, from Apache ZooKeeper

Clients: `cli_mt` (the C client), `zkCli.sh` (the Java client, in two versions) and `rust-client` (a program of this
folder around the crate zookeeper-client). A transcript of the former holds commands, each with the lines it must bring:

    > command         a line given to the client
    output            what it prints, in order; what differs from run to run is masked
    ! event           what its watch prints, in any order, for it comes from another thread
    @restart          kill -9 of the server, start on the same data, wait until the client has its connection back
    @client           the client says goodbye and a new one, with a new session, takes over

Session ids become SESSION-1, SESSION-2 … as they appear, zxids ZXID-1 …, so equal names mean equal numbers.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import servers

HERE = pathlib.Path(__file__).resolve().parent
WAIT_SECONDS_MAX = 20
# How long to listen for events nobody can predict: only while transcripts are written.
UPDATE_LISTEN_SECONDS = 0.5


class Conversation:
    """One client process: lines in, lines out."""

    def __init__(self, command):
        self.command = command
        self.lines = []
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}, start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait(self, condition, what):
        """Waits until `condition(lines)` holds."""
        with self.changed:
            if not self.changed.wait_for(lambda: condition(self.lines), WAIT_SECONDS_MAX):
                end = "\n".join(self.lines[-20:])
                raise RuntimeError(f"{self.command[0]}: waited {WAIT_SECONDS_MAX} s for {what}\n{end}")

    def take(self):
        with self.changed:
            lines, self.lines = self.lines, []
        return lines

    def end(self, farewell):
        """Says `farewell` and waits for the client's end, so that its session is closed before the next begins."""
        if self.process.poll() is None:
            try:
                self.say(farewell)
                self.process.stdin.close()
                self.process.wait(timeout=WAIT_SECONDS_MAX)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                self.process.kill()
        self.process.wait()
        self.reader.join()


class CliMt:
    """How to talk with `cli_mt`."""

    name = "cli_mt"
    program = "/usr/lib/zookeeper/bin/cli_mt"
    connected = "Watcher SESSION_EVENT state = CONNECTED_STATE"
    disconnected = "Watcher SESSION_EVENT state = CONNECTING_STATE"
    farewell = "quit"

    def command(self, address):
        return [self.program, "-h", address]

    def is_noise(self, line):
        return not line.strip() or re.match(r"time = -?\d+ msec", line) or re.search(r":ZOO_(INFO|WARN|ERROR)@", line)

    def is_event(self, line):
        return line.startswith("Watcher ") or line.startswith("Got a new session id")

    def marker(self, number):
        """A command that changes nothing, and the line that tells it was answered."""
        # An asynchronous one: its answer takes the queue that those before it took. `exists` would overtake them.
        return f"delete /marker-{number}", f"/marker-{number}: rc = -101"

    def mask(self, line, names):
        line = re.sub(r"((?:c|m)time ?= ?)[A-Z].* (?!1970)\d{4}$", r"\1TIME", line)
        line = re.sub(r"(?<=czxid=)[1-9a-f][0-9a-f]*|(?<=mzxid=)[1-9a-f][0-9a-f]*", names.zxid, line)
        line = re.sub(r"(?<=ephemeralOwner = )[1-9a-f][0-9a-f]*", names.session, line)
        return re.sub(r"(?<=new session id: )0x[0-9a-f]+", names.session, line)

    def sort(self, command, output):
        # The server lists children in the order of a hash table.
        return sorted(output) if command.startswith("> ls") else output


class ZkCli:
    """How to talk with `zkCli.sh`."""

    name = "zkcli"
    program = "/usr/share/zookeeper/bin/zkCli.sh"
    connected = "WatchedEvent state:SyncConnected type:None path:null"
    disconnected = "WatchedEvent state:Disconnected type:None path:null"
    farewell = "quit"

    def command(self, address):
        return [self.program, "-server", address]

    def is_noise(self, line):
        return not line.strip() or line == "WATCHER::" or line.startswith(("SLF4J:", "log4j:", "Connecting to "))

    def is_event(self, line):
        return line.startswith("WatchedEvent ")

    def marker(self, number):
        return f"ls /marker-{number}", f"Node does not exist: /marker-{number}"

    def mask(self, line, names):
        line = re.sub(r"^((?:c|m)time = )[A-Z].* (?!1970)\d{4}$", r"\1TIME", line)
        line = re.sub(r"(?<=Zxid = )0x[1-9a-f][0-9a-f]*", names.zxid, line)
        line = re.sub(r"(?<=ephemeralOwner = )0x[1-9a-f][0-9a-f]*", names.session, line)
        # getEphemerals lists in the order of a hash table; ls is sorted by the client.
        if line.startswith("[/"):
            line = f"[{', '.join(sorted(line.strip('[]').split(', ')))}]"
        return line

    def sort(self, command, output):
        # The server keeps a connection's identities in a hash table.
        return sorted(output) if command == "> whoami" else output


class ZkCli39(ZkCli):
    """The same shell as of ZooKeeper 3.9, from the jars of the reference server."""

    name = "zkcli-3.9"
    connected = "WatchedEvent state:SyncConnected type:None path:null zxid: -1"
    disconnected = "WatchedEvent state:Disconnected type:None path:null zxid: -1"

    def command(self, address):
        java = ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp", servers.zookeeper_classpath()]
        return [*java, "org.apache.zookeeper.ZooKeeperMain", "-server", address]

    def mask(self, line, names):
        return super().mask(re.sub(r"(?<= zxid: )[0-9]+$", names.decimal_zxid, line), names)


CLIENTS = {client.name: client for client in (CliMt, ZkCli, ZkCli39)}


class Names:
    """Gives the numbers of one run names that are the same in every run."""

    def __init__(self):
        self.known = {}

    def zxid(self, match):
        return self._name("ZXID", int(match.group(), 16))

    def decimal_zxid(self, match):
        return self._name("ZXID", int(match.group()))

    def session(self, match):
        return self._name("SESSION", int(match.group(), 16))

    def _name(self, kind, number):
        of_kind = self.known.setdefault(kind, {})
        return of_kind.setdefault(number, f"{kind}-{len(of_kind) + 1}")


class Step:
    """One line of a transcript that makes something happen, and the lines it must bring."""

    def __init__(self, line):
        self.line = line
        self.output = []
        self.events = []

    def text(self):
        return "\n".join([self.line, *self.output, *(f"! {event}" for event in sorted(self.events))])


def read_transcript(path):
    """The comment lines at the head of a transcript, and its steps."""
    head, steps = [], []
    for line in path.read_text().splitlines():
        if line.startswith(("> ", "@")):
            steps.append(Step(line))
        elif not steps:
            head.append(line)
        elif line.startswith("! "):
            steps[-1].events.append(line[2:])
        elif line:
            steps[-1].output.append(line)
    return head, steps


class Player:
    """Plays a transcript's steps with a client and a server."""

    def __init__(self, client, server, update):
        self.client = client
        self.server = server
        self.update = update
        self.names = Names()
        self.conversation = None
        self.markers = 0

    def play(self, wanted):
        """Carries out one step and returns it with what it really brought."""
        found = Step(wanted.line)
        if wanted.line == "@client":
            self.end()
            self.conversation = Conversation(self.client.command(self.server.address))
            self._wait_for_line(self.client.connected)
        elif wanted.line == "@restart":
            self.server.kill()
            self._wait_for_line(self.client.disconnected)
            self.server.start()
            self._wait_for_line(self.client.connected)
        else:
            self.conversation.say(wanted.line.removeprefix("> "))
        self.markers += 1
        command, answer = self.client.marker(self.markers)
        self.conversation.say(command)
        self._wait_for_line(answer)
        self._wait_for_events(len(wanted.events))
        lines = [line for line in self.conversation.take() if not self.client.is_noise(line) and line != answer]
        # Output first, for the order of events is not to decide the names; of two events the shorter zxid is earlier.
        events = sorted(filter(self.client.is_event, lines), key=lambda line: (len(line.split()[-1]), line.split()[-1]))
        output = [line for line in lines if not self.client.is_event(line)]
        found.output = self.client.sort(found.line, [self._mask(line) for line in output])
        found.events = [self._mask(line) for line in events]
        return found

    def end(self):
        if self.conversation is not None:
            self.conversation.end(self.client.farewell)
            self.conversation = None

    def _mask(self, line):
        return self.client.mask(line, self.names).replace(self.server.address, "ADDRESS")

    def _wait_for_line(self, wanted):
        self.conversation.wait(lambda lines: wanted in lines, f"the line {wanted!r}")

    def _wait_for_events(self, count):
        if self.update:
            time.sleep(UPDATE_LISTEN_SECONDS)
            return
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        conversation = self.conversation
        with conversation.changed:
            # Too few in the end is for the comparison to tell, which names them.
            conversation.changed.wait_for(
                lambda: sum(map(self.client.is_event, conversation.lines)) >= count, deadline - time.monotonic()
            )


def play_transcript(client, server, update):
    """Plays one transcript; returns how many steps went as written and the list of those that did not."""
    path = HERE / "transcripts" / f"{client.name}.txt"
    head, steps = read_transcript(path)
    player = Player(client, server, update)
    found = []
    try:
        for wanted in steps:
            found.append(player.play(wanted))
    except (RuntimeError, OSError) as error:
        return len(found), [f"{client.name}: at `{steps[len(found)].line}`: {error}"]
    finally:
        player.end()
    if update:
        path.write_text("\n".join([*head, *(step.text() for step in found)]) + "\n")
        return len(found), []
    failures = [
        f"{client.name}: step {index + 1}\n--- expected\n{wanted.text()}\n--- came\n{came.text()}"
        for index, (wanted, came) in enumerate(zip(steps, found))
        if wanted.text() != came.text()
    ]
    return len(steps) - len(failures), failures


def play_rust_client(server):
    """Builds and runs `rust-client`, and restarts the server whenever it asks for that."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", servers.ROOT / "target")) / "rust-client"
    manifest = HERE / "rust-client" / "Cargo.toml"
    build = ["cargo", "build", "--quiet", "--locked", "--manifest-path", manifest, "--target-dir", target]
    if subprocess.run(build).returncode != 0:
        return 0, ["rust-client: does not build"]
    passed, failures = 0, []
    command = [target / "debug" / "rust-client", server.address]
    environment = os.environ | {"RUST_BACKTRACE": "0"}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        # A client that hangs must not hang us.
        watchdog = threading.Timer(60, client.kill)
        watchdog.start()
        for line in client.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "restart":
                server.kill()
                server.start()
                client.stdin.write("restarted\n")
                client.stdin.flush()
            elif word == "passed":
                passed += 1
            elif word == "failed":
                failures.append(f"rust-client: {rest}")
        client.wait()
        watchdog.cancel()
        if client.returncode != 0 and not failures:
            failures.append(f"rust-client: ended with code {client.returncode} after {passed} checks")
    return passed, failures


def check(name, server_kind, update):
    """Runs one client against a server of its own."""
    with tempfile.TemporaryDirectory(prefix=f"zoarium-{name}-") as folder:
        server = servers.Server(server_kind, folder, settings=["extendedTypesEnabled=true", "enforceQuota=true"])
        try:
            server.start()
            if name == "rust-client":
                passed, failures = play_rust_client(server)
            else:
                passed, failures = play_transcript(CLIENTS[name](), server, update)
        except RuntimeError as error:
            passed, failures = 0, [f"{name}: {error}"]
        finally:
            code = server.stop()
        if code not in (0, 143) and not failures:
            failures.append(f"{name}: the server ended with code {code} on SIGTERM\n{server.log_tail()}")
    return passed, failures


def missing(name):
    """What this machine lacks for a client, or None."""
    if name == "rust-client":
        return None if shutil.which("cargo") else "no cargo on PATH"
    if name == "zkcli-3.9":
        try:
            version = servers.zookeeper_version()
        except servers.Missing as lack:
            return str(lack)
        return None if version.startswith("3.9.") else f"no ZooKeeper 3.9, only {version}"
    program = CLIENTS[name].program
    package = {"cli_mt": "zookeeper-bin", "zkcli": "zookeeper"}[name]
    return None if os.access(program, os.X_OK) else f"no {program}: apt-get install {package}"


def main():
    names = [*CLIENTS, "rust-client"]
    parser = argparse.ArgumentParser(description="conversations of unmodified clients, across kill -9 and restart")
    parser.add_argument("--server", choices=["zoarium", "zookeeper"], default="zoarium")
    parser.add_argument("clients", nargs="*", metavar="client", help=f"only these of {', '.join(names)}")
    options = parser.parse_args()
    update = os.environ.get("UPDATE") == "1"
    if update and options.server != "zookeeper":
        sys.exit("clients: transcripts are written from Apache ZooKeeper only: --server zookeeper")

    passed, failures, skipped = 0, [], 0
    for name in options.clients or names:
        lacking = missing(name)
        if lacking and os.environ.get("CI"):
            failures.append(f"{name}: {lacking}")
        elif lacking:
            print(f"SKIPPED {name}: {lacking}")
            skipped += 1
        else:
            begin = time.monotonic()
            try:
                passed_here, failures_here = check(name, options.server, update)
            except servers.Missing as lack:
                sys.exit(f"clients: {lack}")
            print(f"{name} on {options.server}: {passed_here} passed, {len(failures_here)} failed,"
                  f" {time.monotonic() - begin:.1f} s", flush=True)
            passed += passed_here
            failures += failures_here
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"{passed} passed, {len(failures)} failed, {skipped} skipped")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
