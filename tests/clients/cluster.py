#!/usr/bin/env python3
"""Ensembles of real processes, of Zoarium, of Apache ZooKeeper, or of both, and a load that tells whether they keep their word.

    tests/clients/cluster.py                                            # three Zoarium members
    tests/clients/cluster.py --members zookeeper,zookeeper,zookeeper    # the baseline
    tests/clients/cluster.py --members zoarium,zookeeper,zoarium --rounds 20 --faults kill-leader,wipe-follower --seed 7

Members are started from the same lines of a zoo.cfg, each with a folder of its own. While sessions of kazoo create, count
and hold ephemerals through all members, one fault after the other strikes. At the end:

- what was acknowledged is there, on every member (`lost`);
- what was asked for once is there once at most, and nothing is there that nobody asked for (`twice`);
- ephemerals of sessions that are alive are there, those of sessions that ended are not (`ephemerals`);
- every member has the same tree, with the same stats and lists (`trees`);
- no process ended by itself (`ends`).

Needs kazoo: `kazoo_suite.py` makes an environment that has it, and this script runs itself there.
"""

import argparse
import logging
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import kazoo_suite
import servers

# Loses everything, and is there to show that the checks notice: it is never a fault by default.
PLANT = "wipe-all"
FAULTS = ["kill-leader", "kill-follower", "stop-leader", "pause-leader", "pause-follower", "wipe-follower", "kill-all"]
MAIN_CLASS = "org.apache.zookeeper.server.quorum.QuorumPeerMain"


class Member:
    """One process of an ensemble on a folder of its own, which survives all but `wipe`."""

    def __init__(self, number, kind, folder, client_port, lines, host="127.0.0.1", around=()):
        self.number = number
        self.kind = kind
        self.folder = pathlib.Path(folder)
        self.host = host
        self.client_port = client_port
        self.environment = None
        self.process = None
        self.is_paused = False
        self.is_meant_to_run = False
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "myid").write_text(f"{number}\n")
        self.config = self.folder / "zoo.cfg"
        self.config.write_text("\n".join([f"dataDir={self.data}", *lines]) + "\n")
        if kind == "zoarium":
            self.command = [str(servers.zoarium_binary()), "serve", str(self.config)]
        else:
            self.command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
            self.command += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
            version = kind.removeprefix("zookeeper").removeprefix("-") or None
            self.command += ["-cp", servers.zookeeper_classpath(version), MAIN_CLASS, str(self.config)]
        self.command = [*around, *self.command]

    @property
    def data(self):
        return self.folder / "data"

    @property
    def address(self):
        return f"{self.host}:{self.client_port}"

    def start(self):
        """Starts the process and waits for nothing."""
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )
        self.is_meant_to_run = True

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, as a power cut would."""
        self.is_meant_to_run = self.is_paused = False
        if self.is_running():
            self.process.kill()
            self.process.wait()

    def stop(self, patience=20):
        """SIGTERM; returns the exit code."""
        self.is_meant_to_run = False
        self.resume()
        if not self.is_running():
            return None if self.process is None else self.process.returncode
        self.process.terminate()
        try:
            return self.process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def pause(self):
        """SIGSTOP: the process stands still and its connections stay."""
        self.process.send_signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self):
        """SIGCONT."""
        if self.is_paused:
            self.process.send_signal(signal.SIGCONT)
            self.is_paused = False

    def wipe(self):
        """Everything but `myid` is gone, as with a new disk."""
        assert not self.is_running(), "a running member is not wiped"
        shutil.rmtree(self.data)
        self.data.mkdir()
        (self.data / "myid").write_text(f"{self.number}\n")

    def word(self, word, patience=30):
        """The answer to a four-letter word; empty when nobody answers."""
        if self.is_paused or not self.is_running():
            return ""
        answer = b""
        try:
            with servers.socket.create_connection((self.host, self.client_port), timeout=patience) as link:
                link.settimeout(patience)
                link.sendall(word.encode())
                while chunk := link.recv(65536):
                    answer += chunk
        except OSError:
            return ""
        return answer.decode(errors="replace")

    def mode(self):
        """`leader`, `follower`, `observer`, …; empty while it serves nobody."""
        lines = [line for line in self.word("srvr", patience=2).splitlines() if line.startswith("Mode: ")]
        return lines[0].removeprefix("Mode: ").strip() if lines else ""

    def log_tail(self, lines_max=15):
        log = self.folder / "server.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join(lines[-lines_max:])


class Cluster:
    """Members 1, 2, 3 … of one ensemble, none started."""

    def __init__(self, folder, kinds, observers=0, settings=(), tick_ms=500, hosts=None, around=None, sync_limit=4):
        """`hosts` and `around`: where each member is, and the command around its own; else all are on loopback."""
        self.folder = pathlib.Path(folder)
        base = servers.free_ports(3 * len(kinds))
        numbers = range(1, len(kinds) + 1)
        ports = {number: base + 3 * (number - 1) for number in numbers}
        hosts = hosts or {number: "127.0.0.1" for number in numbers}
        around = around or {}
        role = {number: "observer" if number > len(kinds) - observers else "participant" for number in numbers}
        lines = [
            f"tickTime={tick_ms}",
            "initLimit=20",
            f"syncLimit={sync_limit}",
            "maxClientCnxns=0",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
            *settings,
        ]
        for number, port in ports.items():
            host = hosts[number]
            lines.append(f"server.{number}={host}:{port + 1}:{port + 2}:{role[number]};{host}:{port}")
        self.members = {}
        for number, kind in zip(numbers, kinds):
            own = [*lines, *(["peerType=observer"] if role[number] == "observer" else [])]
            self.members[number] = Member(
                number, kind, self.folder / f"member{number}", ports[number], own, hosts[number], around.get(number, ())
            )

    @property
    def hosts(self):
        return ",".join(member.address for member in self.members.values())

    def start(self, patience=60):
        """Starts all that do not run, and waits until all serve."""
        for member in self.members.values():
            if not member.is_running():
                member.start()
        return self.await_service(patience)

    def await_service(self, patience=60, members=None):
        """Waits until these members serve, all of them without saying; returns the leader's number."""
        members = list(self.members.values()) if members is None else members
        end = time.monotonic() + patience
        while True:
            modes = {member.number: member.mode() for member in members}
            if all(modes.values()):
                leader = self.who_leads()
                if leader is not None:
                    return leader
            gone = [member for member in members if not member.is_running()]
            if gone or time.monotonic() > end:
                why = "it has ended" if gone else f"not served in {patience} s"
                shown = gone or [member for member in members if not modes[member.number]]
                tails = [f"--- member {member.number} ({member.kind})\n{member.log_tail()}" for member in shown]
                raise RuntimeError(f"{why}: modes {modes}\n" + "\n".join(tails))
            time.sleep(0.05)

    def who_leads(self):
        """The number of the member that says that it leads; `None` when none does.

        A leader that was paused may say so for a moment after another one was elected.
        """
        end = time.monotonic() + 60
        while True:
            leaders = [number for number, member in self.members.items() if member.mode() == "leader"]
            if len(leaders) < 2:
                return leaders[0] if leaders else None
            if time.monotonic() > end:
                raise RuntimeError(f"members {leaders} say for 60 s that they lead")
            time.sleep(0.05)

    def stop(self):
        for member in self.members.values():
            member.stop()

    def ended_by_themselves(self):
        return [
            f"member {member.number} ({member.kind}) ended with code {member.process.returncode}\n{member.log_tail()}"
            for member in self.members.values()
            if member.is_meant_to_run and not member.is_running()
        ]


class Session(threading.Thread):
    """One client: it creates, counts and holds an ephemeral, and notes what it was told of each."""

    def __init__(self, number, hosts, seed, gap=0):
        super().__init__(name=f"session-{number}", daemon=True)
        from kazoo.client import KazooClient
        from kazoo.retry import KazooRetry

        self.number = number
        # Seconds between two requests.
        self.gap = gap
        # While it is not set, nothing new is asked for; then it rests, and nothing of it is under way.
        self.works = threading.Event()
        self.works.set()
        self.rests = threading.Event()
        self.random = random.Random(f"{seed}/{number}")
        first = hosts.split(",")
        first = first[number % len(first) :] + first[: number % len(first)]
        again = KazooRetry(max_tries=-1, delay=0.1, backoff=2, max_delay=1)
        self.client = KazooClient(hosts=",".join(first), timeout=10, randomize_hosts=False, connection_retry=again)
        self.client.add_listener(self.changed)
        self.is_over = threading.Event()
        self.acknowledged = set()
        self.unknown = set()
        self.counted = 0
        self.count_unknown = 0
        self.ephemeral = None
        self.lost_sessions = 0
        self.surprises = []

    def changed(self, state):
        if state == "LOST" and not self.is_over.is_set():
            self.lost_sessions += 1

    def connect(self):
        self.client.start(timeout=60)

    def run(self):
        from kazoo.exceptions import ConnectionLoss, KazooException, NodeExistsError, SessionExpiredError
        from kazoo.handlers.threading import KazooTimeoutError

        serial = 0
        while not self.is_over.is_set():
            if not self.works.wait(0.05):
                self.rests.set()
                continue
            self.rests.clear()
            serial += 1
            deed = self.random.choice(self.deeds())
            try:
                deed(f"{self.number}-{serial}")
                if self.gap:
                    self.is_over.wait(self.gap)
            except (ConnectionLoss, SessionExpiredError, KazooTimeoutError):
                # It may have happened; nobody knows. Not again at once.
                self.is_over.wait(0.05)
            except NodeExistsError as error:
                self.surprises.append(f"{deed.__name__} {serial}: {error!r}, and it was asked for once")
            except KazooException as error:
                self.surprises.append(f"{deed.__name__} {serial}: {error!r}")
                self.is_over.wait(0.05)

    def deeds(self):
        """What it does, by chance."""
        return [self.create, self.sequence, self.count, self.hold]

    def asked(self, name, future):
        """Waits for an answer; without one the outcome is unknown."""
        self.unknown.add(name)
        answer = future.get(timeout=60)
        self.unknown.discard(name)
        return answer

    def create(self, name):
        self.asked(f"/load/{name}", self.client.create_async(f"/load/{name}", name.encode()))
        self.acknowledged.add(f"/load/{name}")

    def sequence(self, name):
        # Its path is not known before; its data names it.
        path = self.asked(f"={name}", self.client.create_async("/sequence/n-", name.encode(), sequence=True))
        self.acknowledged.add(f"={name}")
        if not path.startswith("/sequence/n-"):
            self.surprises.append(f"{path} was answered for a sequential create")

    def count(self, name):
        """One more, if nobody else was quicker."""
        from kazoo.exceptions import BadVersionError

        data, stat = self.client.get_async("/counter").get(timeout=60)
        self.count_unknown += 1
        try:
            self.client.set_async("/counter", str(int(data) + 1).encode(), stat.version).get(timeout=60)
        except BadVersionError:
            self.count_unknown -= 1
            return
        self.count_unknown -= 1
        self.counted += 1

    def hold(self, name):
        """An ephemeral of this session, made anew where an earlier session's went with it."""
        from kazoo.exceptions import NodeExistsError

        session = (self.client.client_id or [None])[0]
        if session is None:
            return self.is_over.wait(0.05)
        path = f"/ephemeral/{session:x}"
        if self.ephemeral != path:
            is_again = path in self.unknown
            try:
                self.asked(path, self.client.create_async(path, name.encode(), ephemeral=True))
            except NodeExistsError:
                # The create before, whose answer was lost, has happened.
                if not is_again:
                    raise
                self.unknown.discard(path)
            self.ephemeral = path

    def finish(self, end):
        """Ends the load by then; the session lives on."""
        self.join(timeout=max(end - time.monotonic(), 0.1))
        if self.is_alive():
            self.surprises.append("it is still waiting for an answer")
        while not self.client.connected and time.monotonic() < end:
            time.sleep(0.05)
        if not self.client.connected:
            self.surprises.append("it does not get its connection back")


def walk(client, path="/"):
    """Every path below, with data, stat and list."""
    from kazoo.exceptions import NoNodeError

    tree = {}
    todo = [path]
    while todo:
        batch, todo = todo[:200], todo[200:]
        asked = [(one, client.get_async(one), client.get_children_async(one), client.get_acls_async(one)) for one in batch]
        for one, data, children, acls in asked:
            try:
                value, stat = data.get(timeout=60)
                # The text of the configuration is every server's own.
                value = None if one == "/zookeeper/config" else value
                names = sorted(children.get(timeout=60))
                tree[one] = (value, tuple(stat)[:11] if value is not None else None, acls.get(timeout=60)[0], tuple(names))
            except NoNodeError:
                continue
            todo += [f"{one.rstrip('/')}/{name}" for name in names]
    return tree


def trees(cluster):
    """The tree of every member, as that member serves it after a sync."""
    from kazoo.client import KazooClient

    found = {}
    for member in cluster.members.values():
        client = KazooClient(hosts=member.address, timeout=20)
        client.start(timeout=60)
        try:
            client.sync_async("/").get(timeout=60)
            found[member.number] = walk(client)
        finally:
            client.stop()
            client.close()
    return found


def check(cluster, sessions):
    """What is wrong with what the members have, as a list of sentences by kind."""
    wrong = []
    alive, over = sessions[::2], sessions[1::2]
    for session in over:
        session.client.stop()
        session.client.close()
    for _ in range(5):
        found = trees(cluster)
        if all(tree == found[min(found)] for tree in found.values()):
            break
        # A session that was lost on the way may have expired between two walks.
        time.sleep(2)
    ephemerals = {one.ephemeral for one in alive if one.client.connected}
    ended = {one.ephemeral for one in over}
    for number, tree in found.items():
        data = [value for path, (value, *_) in tree.items() if path.startswith("/sequence/")]
        names = [f"={value.decode()}" for value in data]
        there = {path for path in tree if path.startswith("/load/")} | set(names)
        told = set().union(*(one.acknowledged for one in sessions))
        unknown = set().union(*(one.unknown for one in sessions))
        wrong += [f"lost: {path} was acknowledged, member {number} does not have it" for path in sorted(told - there)[:5]]
        wrong += [f"twice: member {number} has {path}, unasked" for path in sorted(there - told - unknown)[:5]]
        wrong += [f"twice: member {number} has {name} more than once" for name in sorted(names) if names.count(name) > 1][:5]
        counter = int(tree["/counter"][0]) if "/counter" in tree else 0
        least, most = sum(one.counted for one in sessions), sum(one.counted + one.count_unknown for one in sessions)
        if not least <= counter <= most:
            wrong.append(f"twice: the counter of member {number} is {counter}, and {least} to {most} were counted")
        held = {path for path in tree if path.startswith("/ephemeral/")}
        sure = {path for path in ephemerals if path is not None and path.endswith(tuple(alive_ids(alive)))}
        wrong += [f"ephemerals: {path} is gone from member {number}, its session is not" for path in sorted(sure - held)]
        wrong += [f"ephemerals: member {number} has {path}, its session was closed" for path in sorted(held & (ended - {None}))]
    first, *rest = found
    for other in rest:
        differing = [path for path in found[first].keys() | found[other].keys() if found[first].get(path) != found[other].get(path)]
        for path in sorted(differing)[:5]:
            wrong.append(
                f"trees: {path} differs: member {first} has {found[first].get(path)}, member {other} {found[other].get(path)}"
            )
    wrong += [f"ends: {text}" for text in cluster.ended_by_themselves()]
    wrong += [f"session {one.number}: {text}" for one in sessions for text in one.surprises[:3]]
    return wrong, found[first]


def alive_ids(sessions):
    return [f"/{one.client.client_id[0]:x}" for one in sessions if one.client.connected]


def strike(cluster, fault, chance, seconds):
    """One fault, and the way back from it."""
    leader = cluster.await_service()
    followers = [number for number in cluster.members if number != leader]
    where = leader if fault.endswith("-leader") else chance.choice(followers)
    member = cluster.members[where]
    if fault in ("kill-all", PLANT):
        for each in cluster.members.values():
            each.kill()
            if fault == PLANT:
                each.wipe()
    elif fault.startswith("pause-"):
        member.pause()
    elif fault.startswith("stop-"):
        member.stop()
    else:
        member.kill()
        if fault.startswith("wipe-"):
            member.wipe()
    time.sleep(seconds * (1 + chance.random()) / 2)
    for each in cluster.members.values():
        each.resume()
        if not each.is_running():
            each.start()
    begin = time.monotonic()
    now = cluster.await_service()
    return f"{fault} (member {where}): all serve {time.monotonic() - begin:.1f} s after its end, member {now} leads"


def prepare(cluster):
    """What the load writes to."""
    from kazoo.client import KazooClient

    setup = KazooClient(hosts=cluster.hosts, timeout=20)
    setup.start(timeout=60)
    for path, data in [("/load", b""), ("/sequence", b""), ("/ephemeral", b""), ("/counter", b"0")]:
        setup.create(path, data)
    setup.stop()
    setup.close()


def begin_sessions(cluster, count, seed, gap=0, kind=Session):
    sessions = [kind(number, cluster.hosts, seed, gap) for number in range(count)]
    for session in sessions:
        session.connect()
        session.start()
    return sessions


def end_load(sessions):
    """Nothing is asked for any more; the sessions live on."""
    for session in sessions:
        session.is_over.set()
    end = time.monotonic() + 75
    for session in sessions:
        session.finish(end)


def close_sessions(sessions):
    for session in sessions:
        session.is_over.set()
    for session in sessions:
        session.client.stop()
        session.client.close()


def run(arguments, folder):
    """One ensemble, its load and its faults; returns what is wrong."""
    chance = random.Random(arguments.seed)
    cluster = Cluster(folder, arguments.members, arguments.observers, tick_ms=arguments.tick)
    sessions = []
    try:
        begin = time.monotonic()
        leader = cluster.start()
        print(f"{len(cluster.members)} members serve after {time.monotonic() - begin:.1f} s, member {leader} leads", flush=True)
        prepare(cluster)
        sessions = begin_sessions(cluster, arguments.sessions, arguments.seed)
        for number in range(arguments.rounds):
            fault = arguments.faults[number % len(arguments.faults)]
            time.sleep(arguments.calm)
            print(f"{number + 1}: {strike(cluster, fault, chance, arguments.seconds)}", flush=True)
        time.sleep(arguments.calm)
        end_load(sessions)
        wrong, tree = check(cluster, sessions)
        told = sum(len(one.acknowledged) + one.counted for one in sessions)
        unknown = sum(len(one.unknown) + one.count_unknown for one in sessions)
        lost = sum(one.lost_sessions for one in sessions)
        print(f"{told} writes acknowledged, {unknown} unknown, {lost} sessions lost, {len(tree)} znodes at the end")
        if told == 0:
            wrong.append("lost: nothing was acknowledged at all")
        return wrong
    finally:
        close_sessions(sessions)
        cluster.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", default="zoarium,zoarium,zoarium", help="kinds, separated by commas")
    parser.add_argument("--observers", type=int, default=0, help="how many of them, from the last on, do not vote")
    parser.add_argument("--faults", default=",".join(FAULTS), help="in turn; " + ", ".join([*FAULTS, PLANT]))
    parser.add_argument("--rounds", type=int, default=len(FAULTS))
    parser.add_argument("--sessions", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=4, help="how long a fault lasts at most")
    parser.add_argument("--calm", type=float, default=1, help="seconds between two faults")
    parser.add_argument("--tick", type=int, default=500, help="tickTime")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="leave the folder with data and logs")
    arguments = parser.parse_args()
    arguments.members = arguments.members.split(",")
    arguments.faults = arguments.faults.split(",")
    unknown = [fault for fault in arguments.faults if fault not in [*FAULTS, PLANT]]
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}")
    kazoo_suite.enter_venv()
    # Stopped from outside, it still ends its members.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # That connections break is what this is about.
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="zoarium-cluster-"))
    print(f"seed {arguments.seed}, members {', '.join(arguments.members)}, in {folder}", flush=True)
    try:
        wrong = run(arguments, folder)
    except servers.Missing as missing:
        print(f"SKIPPED: {missing}\n0 passed, 0 failed, 1 skipped")
        return 0
    for text in wrong:
        print(f"FAILED {text}")
    if not arguments.keep and not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    checks = 5
    failed = len({text.split(":")[0] for text in wrong})
    print(f"{max(checks - failed, 0)} passed, {failed} failed, 0 skipped")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
