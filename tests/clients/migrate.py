#!/usr/bin/env python3
"""Runs the commands of docs/MIGRATION.md as they stand there, while clients write: from Apache ZooKeeper to Zoarium, and back.

    tests/clients/migrate.py                       # three members there and back, one server too, and a leader that was killed
    tests/clients/migrate.py --rounds 5 --gap 0    # five times, with clients that never pause
    tests/clients/migrate.py --members 5 ensemble  # five members, one of them an observer

Every `sh` block of the document is run in bash, host by host, and a block that is run nowhere fails the check. Paths below /etc and
/var become those of a folder, port 2181 that of the member; `systemctl` and `nc` are small stand-ins, and the former starts
what the document's unit file says. After each step, on every member: what was acknowledged is there, nothing is there twice or
unasked, each session lives with its ephemeral, watches have shown the last value, and the trees are equal with stats and ACLs.
"""

import argparse
import ctypes
import logging
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import kazoo_suite
import cluster
import raw
import servers

DOCUMENT = servers.ROOT / "docs/MIGRATION.md"
PR_SET_CHILD_SUBREAPER = 36
BLOCK_SECONDS_MAX = 90
CUT_TRIES = 8
SYSTEMCTL = r"""#!/bin/bash
# Starts and stops the one server of a host, as the service manager does: `stop` waits for its end.
set -eu
verb=$1 unit=$HOST_ROOT/units/$2
case $verb in
start)
    [ ! -e "$unit.pid" ] || { echo "$2 runs already" >&2; exit 1; }
    setsid bash -c "exec $(<"$unit")" </dev/null >>"$HOST_ROOT/server.log" 2>&1 &
    echo $! >"$unit.new" && mv "$unit.new" "$unit.pid" ;;
stop)
    pid=$(<"$unit.pid")
    kill -TERM "$pid"
    for _ in $(seq 400); do
        if [ ! -e "/proc/$pid" ] || grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; then
            mv "$unit.pid" "$unit.ended"
            exit 0
        fi
        sleep 0.05
    done
    echo "$2 does not end" >&2
    exit 1 ;;
*) exit 2 ;;
esac
"""
NC = r"""#!/usr/bin/env python3
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as link:
        link.sendall(sys.stdin.buffer.read())
        while chunk := link.recv(65536):
            sys.stdout.buffer.write(chunk)
except OSError as error:
    sys.exit(str(error))
"""


class Wrong(Exception):
    """Something was lost, doubled, or does not agree."""


class Blocks:
    """The document's commands, by the comment they begin with, and what its unit file starts."""

    def __init__(self, text):
        found = re.findall(r"^```sh\n# (.*?)\n(.*?)^```", text, re.M | re.S)
        self.commands = dict(found)
        if not len(found) == len(self.commands) == text.count("```sh"):
            raise Wrong(f"a block of {DOCUMENT.name} does not begin with a comment of its own: {[name for name, _ in found]}")
        units = re.findall(r"^ExecStart=(.*)$", text, re.M)
        if len(units) != 1:
            raise Wrong(f"not one unit file in {DOCUMENT.name}: {units}")
        self.exec_start = units[0]
        self.used = set()

    def take(self, beginning):
        names = [name for name in self.commands if name.startswith(beginning)]
        if len(names) != 1:
            raise Wrong(f"not one block of {DOCUMENT.name} begins with '# {beginning}': {names}")
        self.used.add(names[0])
        return self.commands[names[0]]

    def unused(self):
        return sorted(set(self.commands) - self.used)


class Process:
    """A server that a command of the document started, and that is ours since the command ended."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            try:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                # The command that started it has not ended.
                return None
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


class Host(cluster.Member):
    """A machine with one server on it: a folder with /etc and /var, and a port."""

    def __init__(self, number, folder, port, lines):
        self.number, self.folder, self.client_port, self.host = number, folder, port, "127.0.0.1"
        self.process, self.is_paused, self.is_meant_to_run, self.kind = None, False, False, "zookeeper"
        self.data_dir = folder / "var/lib/zookeeper"
        self.data_dir.mkdir(parents=True)
        (self.data_dir / "myid").write_text(f"{number}\n")
        self.config = folder / "etc/zookeeper/conf/zoo.cfg"
        self.config.parent.mkdir(parents=True)
        self.config.write_text("\n".join([f"dataDir={self.data_dir}", *lines]) + "\n")
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name, text in (("systemctl", SYSTEMCTL), ("nc", NC)):
            (self.programs / name).write_text(text)
            (self.programs / name).chmod(0o755)
        (self.programs / "zoarium").symlink_to(servers.zoarium_binary())
        self.units = folder / "units"
        self.units.mkdir()
        java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        java += ["-cp", f"'{servers.zookeeper_classpath()}'", cluster.MAIN_CLASS, str(self.config)]
        (self.units / "zookeeper").write_text(" ".join(java))

    def here(self, text):
        """The document's text as it is on this host."""
        text = re.sub(r"(?<![\w./-])/(etc|var)/", rf"{self.folder}/\1/", text)
        return text.replace("localhost 2181", f"localhost {self.client_port}")

    def run(self, text, exec_start):
        """Runs a block of the document, and stops at the first command that fails."""
        command = self.here(exec_start).replace("/usr/bin/zoarium", str(self.programs / "zoarium"))
        (self.units / "zoarium").write_text(command)
        environment = {**os.environ, "HOST_ROOT": str(self.folder), "PATH": f"{self.programs}:{os.environ['PATH']}"}
        # What the block stops ends by command.
        self.is_meant_to_run = False
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.here(text)], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BLOCK_SECONDS_MAX,
        )
        if done.returncode != 0:
            raise Wrong(f"host {self.number}: code {done.returncode} of\n{text}{done.stdout}\n--- its server:\n{self.log_tail()}")
        if self.process is not None and self.process.poll() not in (None, 0, 143):
            # Java's own end by SIGTERM is 143.
            raise Wrong(f"host {self.number}: its {self.kind} ended with code {self.process.returncode}\n{self.log_tail()}")
        running = [unit for unit in ("zookeeper", "zoarium") if (self.units / f"{unit}.pid").exists()]
        if len(running) != 1:
            raise Wrong(f"host {self.number} runs {running or 'nothing'}")
        self.kind = running[0]
        pid = int((self.units / f"{self.kind}.pid").read_text())
        if self.process is None or self.process.pid != pid:
            self.process = Process(pid)
        self.is_meant_to_run = True
        return done.stdout

    def end(self):
        for unit in self.units.glob("*.pid"):
            process = Process(int(unit.read_text()))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)


class Hosts:
    """What the checks of `cluster.py` ask of an ensemble."""

    def __init__(self, hosts):
        self.members = {host.number: host for host in hosts}

    hosts = cluster.Cluster.hosts
    await_service = cluster.Cluster.await_service
    who_leads = cluster.Cluster.who_leads
    ended_by_themselves = cluster.Cluster.ended_by_themselves


class Pace:
    """When writes were acknowledged: the longest time without one."""

    def __init__(self):
        self.lock = threading.Lock()
        self.last = None
        self.longest = 0.0

    def tick(self):
        with self.lock:
            now = time.monotonic()
            if self.last is not None:
                self.longest = max(self.longest, now - self.last)
            self.last = now

    def begin(self):
        with self.lock:
            self.last, self.longest = time.monotonic(), 0.0

    def end(self):
        """The longest pause since `begin`, that of now included."""
        self.tick()
        with self.lock:
            self.last = None
            return self.longest


class Mover(cluster.Session):
    """A session that says when it is acknowledged, and watches a znode."""

    def __init__(self, number, hosts, seed, pace, gap):
        super().__init__(number, hosts, seed, gap)
        self.pace = pace
        self.works.clear()
        self.seen = []
        self.first_id = None

    def connect(self):
        from kazoo.recipe.watchers import DataWatch

        super().connect()
        self.first_id = self.client.client_id[0]
        DataWatch(self.client, "/watched", func=lambda data, stat: self.seen.append(stat.version if stat else None))

    def asked(self, name, future):
        answer = super().asked(name, future)
        self.pace.tick()
        return answer


class Load:
    """The sessions on one ensemble or server, and what must be true of them."""

    def __init__(self, hosts, count, seed, gap):
        from kazoo.client import KazooClient
        from kazoo.security import make_acl, make_digest_acl

        self.hosts, self.pace, self.pauses, self.plant = hosts, Pace(), {}, False
        self.setter = KazooClient(hosts=hosts.hosts, timeout=10)
        self.setter.start(timeout=60)
        for path, data in [("/load", b""), ("/sequence", b""), ("/ephemeral", b""), ("/counter", b"0"), ("/watched", b"")]:
            self.setter.create(path, data)
        readable = make_acl("world", "anyone", read=True)
        for number in range(5):
            acl = [make_digest_acl(f"user{number}", "secret", all=True), readable]
            self.setter.create(f"/load/acl-{number}", acl=acl)
        # They were not asked for by a session.
        self.own = {f"/load/acl-{number}" for number in range(5)}
        self.sessions = [Mover(number, hosts.hosts, seed, self.pace, gap) for number in range(count)]
        for session in self.sessions:
            session.connect()
            session.start()

    def begin(self):
        for session in self.sessions:
            session.works.set()
        self.pace.begin()

    def rest(self, step):
        """The load stands still: nothing is under way. Notes how long the longest pause of writes was in this step."""
        self.pauses[step] = self.pace.end()
        for session in self.sessions:
            session.works.clear()
            session.rests.clear()
        for session in self.sessions:
            if not session.rests.wait(60):
                raise Wrong(f"{step}: session {session.number} waits for an answer for a minute")

    def told(self):
        return sum(len(one.acknowledged) + one.counted for one in self.sessions)

    def check(self, step):
        """What must be true after each step, on every member."""
        before = self.told()
        if self.plant and before:
            gone = next(path for one in self.sessions for path in one.acknowledged if path.startswith("/"))
            self.setter.retry(self.setter.delete, gone)
        if not before:
            raise Wrong(f"{step}: nothing was acknowledged")
        version = self.setter.retry(self.setter.set, "/watched", step.encode()).version
        wrong = []
        trees = cluster.trees(self.hosts)
        told = set().union(*(one.acknowledged for one in self.sessions)) | self.own
        unknown = set().union(*(one.unknown for one in self.sessions))
        for number, tree in trees.items():
            names = [f"={value.decode()}" for path, (value, *_) in tree.items() if path.startswith("/sequence/")]
            there = {path for path in tree if path.startswith("/load/")} | set(names)
            wrong += [f"lost: {path} on member {number}" for path in sorted(told - there)[:5]]
            wrong += [f"unasked: {path} on member {number}" for path in sorted(there - told - unknown)[:5]]
            wrong += [f"doubled: {name} on member {number}" for name in sorted(set(names)) if names.count(name) > 1][:5]
            counter = int(tree["/counter"][0])
            least, most = (sum(one.counted + more * one.count_unknown for one in self.sessions) for more in (0, 1))
            if not least <= counter <= most:
                wrong.append(f"counter: {counter} on member {number}, {least} to {most} were counted")
            for one in self.sessions:
                if one.ephemeral is not None and one.ephemeral not in tree:
                    wrong.append(f"ephemeral: {one.ephemeral} of session {one.number} is gone from member {number}")
        first, *rest = trees
        for other in rest:
            paths = trees[first].keys() | trees[other].keys()
            differing = [path for path in sorted(paths) if trees[first].get(path) != trees[other].get(path)]
            wrong += [f"trees: {path}: {trees[first].get(path)} on {first}, {trees[other].get(path)} on {other}" for path in differing[:3]]
        for one in self.sessions:
            now = (one.client.client_id or [None])[0]
            if one.lost_sessions or now != one.first_id:
                wrong.append(f"session {one.number}: {one.first_id:#x} was lost, {one.lost_sessions} times")
            end = time.monotonic() + 60
            while version not in one.seen and time.monotonic() < end:
                time.sleep(0.02)
            if version not in one.seen:
                wrong.append(f"watch: session {one.number} was not shown version {version}, but {one.seen[-3:]}")
            seen = [number for number in one.seen if number is not None]
            if seen != sorted(seen):
                wrong.append(f"watch: session {one.number} was shown versions that go back: {seen}")
            wrong += [f"session {one.number}: {text}" for text in one.surprises[:3]]
        wrong += self.hosts.ended_by_themselves()
        if wrong:
            raise Wrong(f"{step}:\n" + "\n".join(wrong))
        znodes = len(trees[first])
        print(f"  {step}: {before} writes acknowledged so far, {znodes} znodes on each, longest pause of writes "
              f"{self.pauses[step] * 1000:.0f} ms", flush=True)

    def end(self):
        for session in self.sessions:
            session.is_over.set()
            session.works.set()
        for session in self.sessions:
            session.client.stop()
            session.client.close()
        self.setter.stop()
        self.setter.close()


class Move:
    """Hosts under load, and the steps they go through."""

    def __init__(self, work, arguments, count, lines, observers=0):
        self.arguments, self.load = arguments, None
        self.blocks = arguments.blocks
        base = servers.free_ports(3 * count)
        common = ["tickTime=500", "initLimit=20", "syncLimit=4", "maxClientCnxns=0", "admin.enableServer=false",
                  "4lw.commands.whitelist=*"]
        for at in range(count) if count > 1 else ():
            role = "observer" if at >= count - observers else "participant"
            port = base + 3 * at
            common.append(f"server.{at + 1}=127.0.0.1:{port + 1}:{port + 2}:{role};127.0.0.1:{port}")
        hosts = []
        for at in range(count):
            own = [] if count > 1 else [f"clientPort={base}"]
            own += ["peerType=observer"] if at >= count - observers else []
            hosts.append(Host(at + 1, work / f"host{at + 1}", base + 3 * at, [*common, *own, *lines]))
        self.hosts = Hosts(hosts)

    def __enter__(self):
        for host in self.hosts.members.values():
            host.run("systemctl start zookeeper", self.blocks.exec_start)
        self.await_all()
        self.load = Load(self.hosts, self.arguments.sessions, self.arguments.seed, self.arguments.gap)
        self.load.plant = self.arguments.plant
        self.load.begin()
        time.sleep(self.arguments.calm)
        return self

    def __exit__(self, *_):
        if self.load:
            self.load.end()
        for host in self.hosts.members.values():
            host.end()

    def await_all(self):
        if len(self.hosts.members) > 1:
            self.hosts.await_service()
            return
        host = self.hosts.members[1]
        end = time.monotonic() + 60
        while host.mode() != "standalone":
            if time.monotonic() > end or not host.is_running():
                raise Wrong(f"it does not serve:\n{host.log_tail()}")
            time.sleep(0.05)

    def as_in_the_beginning(self):
        """What is not in the document: the folders get their old names, one member after the other."""
        for host in followers_first(self):
            host.run(
                "systemctl stop zookeeper; cd /var/lib/; rm -r zookeeper; mv zookeeper-back zookeeper\n"
                "sed -i 's|/zookeeper-back|/zookeeper|' /etc/zookeeper/conf/zoo.cfg; systemctl start zookeeper",
                self.blocks.exec_start,
            )
            self.await_all()

    def step(self, host, block, kind, name):
        was = host.mode()
        said = host.run(self.blocks.take(block), self.blocks.exec_start)
        if self.arguments.verbose:
            print(said)
        if host.kind != kind:
            raise Wrong(f"{name}: {host.kind} runs on host {host.number}")
        self.await_all()
        time.sleep(self.arguments.calm)
        step = f"{name} ({was})"
        self.load.rest(step)
        self.load.check(step)
        self.load.begin()


def followers_first(move):
    """The hosts in the order of the document."""
    left = dict(move.hosts.members)
    while left:
        modes = {host.run(move.blocks.take("who serves"), move.blocks.exec_start).strip() for host in move.hosts.members.values()}
        if "Mode: leader" not in modes:
            raise Wrong(f"nobody leads: {modes}")
        leader = move.hosts.who_leads()
        yield left.pop(min((number for number in left if number != leader), default=leader))


def ensemble(work, arguments):
    """Members of Apache ZooKeeper become ours one at a time, the leader last, and then ZooKeeper's again."""
    count = arguments.members
    with Move(work, arguments, count, [], observers=1 if count > 3 else 0) as move:
        for number in range(arguments.rounds):
            for kind, block in (("zoarium", "one member from ZooKeeper"), ("zookeeper", "one member to ZooKeeper")):
                for host in followers_first(move):
                    move.step(host, block, kind, f"member {host.number} is {kind}'s")
            if number + 1 < arguments.rounds:
                move.as_in_the_beginning()
        return move.load


def server(work, arguments):
    """One server of Apache ZooKeeper becomes ours, and ZooKeeper's again, with the same sessions."""
    with Move(work, arguments, 1, []) as move:
        host = move.hosts.members[1]
        move.step(host, "from ZooKeeper", "zoarium", "the server is Zoarium")
        move.step(host, "to ZooKeeper", "zookeeper", "the server is ZooKeeper")
        return move.load


def burst(member, is_over):
    """Writes to one member without waiting for answers, until it is gone: some are always under way."""
    client = raw.Client(member.client_port, timeout_ms=20_000)
    body = raw.set_data("/burst", bytes(100))

    def write():
        try:
            while not is_over.wait(0.002):
                client.send(raw.SET_DATA, body)
        except OSError:
            pass
        client.drop()

    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    return writing


def killed_leader(work, _):
    """A leader of ours that was killed with transactions that nobody else has is exported: ZooKeeper cuts them off and follows."""
    for attempt in range(CUT_TRIES):
        members = cluster.Cluster(work / str(attempt), ["zoarium"] * 3)
        try:
            leader = members.start()
            client = raw.Client(members.members[leader].client_port)
            client.demand(raw.CREATE, raw.create("/burst"))
            client.close()
            old, is_over = members.members[leader], threading.Event()
            writing = burst(old, is_over)
            others = [member for number, member in members.members.items() if number != leader]
            for member in others:
                time.sleep(0.1)
                member.kill()
            # It proposes until it notices.
            time.sleep(0.05)
            old.kill()
            is_over.set()
            writing.join()
            for member in others:
                member.start()
            members.await_service(members=others)
            back = old.folder / "back"
            back.mkdir()
            shutil.copy(old.data / "myid", back)
            exported = subprocess.run([servers.zoarium_binary(), "export", old.data, "--to", back], capture_output=True, text=True)
            if exported.returncode != 0:
                raise Wrong(exported.stderr)
            lines = [f"dataDir={back}" if line.startswith("dataDir=") else line for line in old.config.read_text().splitlines()]
            new = cluster.Member(leader, "zookeeper", old.folder / "theirs", old.client_port, [])
            new.config.write_text("\n".join(lines) + "\n")
            members.members[leader] = new
            new.start()
            try:
                members.await_service()
            except RuntimeError as error:
                raise Wrong(f"{error}\n{exported.stdout}") from None
            trees = cluster.trees(members)
            if any(tree != trees[leader] for tree in trees.values()):
                raise Wrong("the trees differ")
            if "Truncating log to get in sync" in (new.folder / "server.log").read_text(errors="replace"):
                return None
        finally:
            for member in members.members.values():
                member.kill()
    raise Wrong(f"{CUT_TRIES} times a leader that was killed had nothing that the others had not")


CASES = [ensemble, server, killed_leader]


def leaves_a_connection_open(folder):
    """Whether a server of ZooKeeper's did, by itself, which took a client's handshake before it had its data: then a failure in closing is
    thrown (`this.zkDb` is null), the connection stays, and the client waits for as long as its session lives."""
    return any("ZKDatabase.removeCnxn" in log.read_text(errors="replace") for log in folder.glob("host*/server.log"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="ensemble, server, killed_leader; all without")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1, help="there and back so many times")
    parser.add_argument("--sessions", type=int, default=6)
    parser.add_argument("--gap", type=float, default=0.05, help="seconds between two requests of a session")
    parser.add_argument("--calm", type=float, default=0.5, help="seconds of load after each step")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--plant", action="store_true", help="deletes an acknowledged znode, to show that the checks notice")
    parser.add_argument("--verbose", action="store_true", help="show what the commands say")
    parser.add_argument("--keep", action="store_true", help="leave the folders with data and logs")
    arguments = parser.parse_args()
    kazoo_suite.enter_venv()
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Servers that a command started become ours when it ends, so that their ends are known.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        servers.zookeeper_classpath()
    except servers.Missing as missing:
        print(f"SKIPPED migrate: {missing}\n0 passed, 0 failed, 1 skipped")
        return 0
    arguments.blocks = Blocks(DOCUMENT.read_text())
    passed = failed = 0
    chosen = [case for case in CASES if not arguments.cases or case.__name__ in arguments.cases]
    again = 3
    waiting = list(chosen)
    while waiting:
        case = waiting.pop(0)
        folder = pathlib.Path(tempfile.mkdtemp(prefix="zoarium-migrate-"))
        print(f"{case.__name__}: {case.__doc__} Seed {arguments.seed}, in {folder}", flush=True)
        begin = time.monotonic()
        try:
            load = case(folder, arguments)
            told = ""
            if load is not None:
                worst = max(load.pauses, key=load.pauses.get)
                told = (f": {load.told()} writes acknowledged, 0 lost; {len(load.sessions)} sessions, 0 lost; longest pause of writes "
                        f"{load.pauses[worst] * 1000:.0f} ms ({worst})")
            print(f"ok {case.__name__}, {time.monotonic() - begin:.1f} s{told}", flush=True)
            passed += 1
        except Exception as error:
            if again and isinstance(error, Wrong) and "was lost" in str(error) and leaves_a_connection_open(folder):
                print(f"{case.__name__}, once more, since ZooKeeper has left a connection open that came while it began: {error}", flush=True)
                waiting.insert(0, case)
                again -= 1
                continue
            failed += 1
            if not isinstance(error, Wrong):
                traceback.print_exc()
            print(f"FAILED {case.__name__}: {error}", flush=True)
        if not arguments.keep and not failed:
            shutil.rmtree(folder, ignore_errors=True)
    if chosen == CASES and not failed:
        if arguments.blocks.unused():
            failed += 1
            print(f"FAILED commands of {DOCUMENT.name} that nobody ran: {arguments.blocks.unused()}")
        else:
            passed += 1
            print(f"ok every block of {DOCUMENT.name} was run")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
