#!/usr/bin/env python3
"""What clients without any right may do to a server, and what the others notice of it: ours beside Apache ZooKeeper.

    tests/clients/attacks.py                  # the table: each attack on both servers, one after the other
    tests/clients/attacks.py --quick          # small forms, this server only, outcomes only: a minute
    tests/clients/attacks.py hoarders flood   # only these
    tests/clients/attacks.py --server zoarium # all of them at full size, on one server only

Beside every attack an honest client reads a znode every 10 ms; its longest wait is the longest pause. Every attack has an
outcome that must hold on our server: nobody honest loses a session or is turned away. At full size no pause may be as long
as a third of the shortest session timeout, 1.3 s, but where the attack is to stop the server. ZooKeeper's column is for
comparison and decides nothing. The last line is `N passed, M failed, K skipped`.
"""

import argparse
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time

import honest
import raw
import servers
from honest import Beside

PAUSE_MAX = 4 / 3
# An attack that takes longer is broken off; the pause is then longer than this.
ATTACK_SECONDS_MAX = 60
FRAME_SIZE = 1_000_000
# Seconds that an honest write of 500 KB may wait while others hoard memory.
HONEST_WRITE_MAX = 4
QUOTA = "/zookeeper/quota/q"


class Bed:
    """One server and what is needed to attack it. `small`: attacks of a size for a machine that others use."""

    def __init__(self, server, small):
        self.server, self.small = server, small
        self.port = server.port
        self.probe = None
        self.wrong = []
        self.said = []

    def size(self, full, small):
        return small if self.small else full

    def client(self, **options):
        return raw.Client(self.port, wait=ATTACK_SECONDS_MAX, **options)

    def begin(self):
        """From here on the honest client reads."""
        self.probe = Beside(honest.probe, self.port, 10_000, 0)
        self.probe.await_ready()

    def must(self, holds, what):
        if not holds:
            self.wrong.append(what)

    def call(self, client, op, body):
        """A request of the attack: whether it is refused is the server's to say."""
        begun = time.monotonic()
        try:
            code, _ = client.call(op, body, wait=ATTACK_SECONDS_MAX)
            answer = f"answer {code}"
        except raw.Late:
            answer = "no answer"
        except (raw.Gone, OSError):
            answer = "closed"
        self.said.append(f"{answer} after {time.monotonic() - begun:.1f} s")

    def swarm(self, count, timeout_ms=4000, gives_up=False, patience=60):
        swarm = Beside(honest.swarm, self.port, count, timeout_ms, gives_up, patience)
        return swarm, swarm.await_ready()

    def keeps(self, swarm, count):
        """Ends a swarm, every session of which must be alive."""
        found = swarm.stop()
        self.said.append(f"{found['lost']} of {count} sessions lost")
        self.must(found["lost"] == 0, f"{found['lost']} of {count} sessions lost")


def quota(bed, client):
    """A quota on `/q` with `count` znodes below it."""
    client.demand(raw.CREATE, raw.create("/q"))
    client.fill("/q", bed.size(300_000, 20_000))
    client.demand(raw.CREATE, raw.create(QUOTA))


def statistics_pairs(bed):
    """Creates and deletes of a statistics znode above many znodes, in one multi."""
    client = bed.client()
    quota(bed, client)
    pairs = bed.size(5000, 500)
    path = f"{QUOTA}/zookeeper_stats"
    bed.begin()
    ops = [(raw.CREATE, raw.create(path)), (raw.DELETE, raw.delete(path))] * pairs
    bed.call(client, raw.MULTI, raw.multi(ops))
    client.drop()


def statistics_text(bed):
    """A long text in a statistics znode, then creates that change the numbers in it."""
    client = bed.client()
    client.demand(raw.CREATE, raw.create("/q"))
    client.demand(raw.CREATE, raw.create(QUOTA))
    client.demand(raw.CREATE, raw.create(f"{QUOTA}/zookeeper_limits", b"count=1000000,bytes=-1"))
    client.demand(raw.CREATE, raw.create(f"{QUOTA}/zookeeper_stats", b"count=1,bytes=0"))
    bed.begin()
    size = bed.size(850_000, 200_000)
    text = b"count=1,bytes=0" + b"".join(b",k%06d=1" % number for number in range(size // 10))
    bed.call(client, raw.SET_DATA, raw.set_data(f"{QUOTA}/zookeeper_stats", text))
    ops = [(raw.CREATE, raw.create(f"/q/{number:03}")) for number in range(300)]
    bed.call(client, raw.MULTI, raw.multi(ops))
    client.drop()


def addresses(bed):
    """Reads of a znode whose ACL is a thousand addresses, ten thousand in one multiRead."""
    client = bed.client()
    entries = [(raw.READ, "ip", f"10.{n // 250}.{n % 250}.0/24") for n in range(999)] + [(raw.ALL, "world", "anyone")]
    client.demand(raw.CREATE, raw.create("/acl", b"x", entries=raw.acl(*entries)))
    bed.begin()
    reads = raw.multi([(raw.GET_DATA, raw.read("/acl"))] * 10_000)
    for _ in range(bed.size(5, 2)):
        bed.call(client, raw.MULTI_READ, reads)
    client.close()


def ephemerals(bed):
    """The end of a session that owns very many znodes."""
    owner = bed.client()
    folders = bed.client()
    count = bed.size(300_000, 20_000)
    for folder in range(count // 1000):
        folders.demand(raw.CREATE, raw.create(f"/e{folder:04}"))
    due = 0
    for first in range(0, count, 500):
        names = [f"/e{number // 1000:04}/{number:06}" for number in range(first, first + 500)]
        owner.send(raw.MULTI, raw.multi([(raw.CREATE, raw.create(name, flags=raw.EPHEMERAL)) for name in names]))
        due += 1
        while due > (8 if first + 500 < count else 0):
            bed.must(owner.receive()[0] == 0, "an ephemeral is refused")
            due -= 1
    bed.begin()
    bed.call(owner, raw.CLOSE, b"")
    left = folders.demand(raw.ALL_CHILDREN, raw.text("/e0000"))
    bed.must(left == b"\0\0\0\0", "ephemerals outlive their session")
    folders.close()


def counting(bed):
    """Many requests at once, each of which counts every znode there is."""
    client = bed.client()
    client.demand(raw.CREATE, raw.create("/c"))
    client.fill("/c", bed.size(500_000, 20_000))
    bed.begin()
    for _ in range(64):
        client.send(raw.ALL_CHILDREN, raw.text("/c"))
    begun = time.monotonic()
    codes = {client.receive(ATTACK_SECONDS_MAX)[0] for _ in range(64)}
    bed.said.append(f"answered after {time.monotonic() - begun:.1f} s")
    bed.must(codes == {0}, f"answers {codes}")
    client.close()


def hoarders(bed, count):
    """Connections that begin large frames and hardly go on with them."""
    sessions = bed.size(8, 4)
    swarm, _ = bed.swarm(sessions, timeout_ms=10_000)
    writer = Beside(honest.probe, bed.port, 10_000, 500_000)
    writer.await_ready()
    bed.begin()
    links = []
    for _ in range(count):
        link = raw.Client(bed.port, timeout_ms=10_000).link
        link.setblocking(False)
        links.append(link)
    head = raw.frame(1, raw.SET_DATA, bytes(16_000))[4:]
    head = FRAME_SIZE.to_bytes(4, "big") + head
    end = time.monotonic() + bed.size(30, 8)
    closed = 0
    piece = head
    while time.monotonic() < end:
        for rank, link in enumerate(links):
            try:
                if link is not None:
                    link.send(piece)
            except BlockingIOError:
                pass
            except OSError:
                closed += 1
                links[rank] = None
        piece = bytes(100)
        time.sleep(0.2)
    wrote = writer.stop()
    bed.keeps(swarm, sessions)
    bed.said.append(f"longest honest write {wrote['longest']:.1f} s, {closed} attackers closed")
    bed.must(wrote["lost"] == 0 and wrote["refused"] == 0, f"the honest writer: {wrote}")
    bed.must(wrote["longest"] < HONEST_WRITE_MAX, f"an honest write waited {wrote['longest']:.1f} s")
    for link in filter(None, links):
        link.close()


def flood(bed, honest_address, greeting=b""):
    """One address opens connections as fast as it can, and says nothing on them but `greeting`."""
    end = threading.Event()
    opened = [0]

    def attack():
        links = []
        while not end.is_set():
            link = socket.socket()
            link.setblocking(False)
            try:
                link.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
                link.bind(("127.0.0.3", 0))
                link.connect_ex(("127.0.0.1", bed.port))
                links.append(link)
                opened[0] += 1
            except OSError:
                link.close()
                time.sleep(0.01)
            if greeting and len(links) > 50:
                try:
                    links[-50].send(greeting)
                except OSError:
                    pass
            if len(links) > 6000:
                for old in links[:1000]:
                    old.close()
                del links[:1000]
            if opened[0] % 100 == 0:
                # Faster than any server serves, and yet no measure of this machine's scheduler.
                time.sleep(0.01)
        for link in links:
            link.close()

    bed.begin()
    newcomers = Beside(honest.newcomers, bed.port, 0.05, honest_address)
    newcomers.await_ready()
    attacker = threading.Thread(target=attack)
    attacker.start()
    time.sleep(bed.size(15, 5))
    end.set()
    attacker.join()
    found = newcomers.stop()
    bed.said.append(
        f"{opened[0]} connections; {found['failed']} of {found['tried']} honest handshakes failed,"
        f" longest {found['longest']:.1f} s"
    )
    bed.must(found["failed"] == 0, f"{found['failed']} of {found['tried']} honest handshakes failed")
    bed.must(found["tried"] > 5, f"only {found['tried']} honest handshakes in all")


def crowd(bed):
    """Very many new sessions at once, each of which has sent its handshake."""
    count = bed.size(3000, 1200)
    bed.begin()
    swarm, found = bed.swarm(count, timeout_ms=10_000, patience=bed.size(60, 25))
    bed.said.append(f"{found['opened']} of {count} opened in {found['seconds']:.1f} s, {found['closed']} closed")
    bed.must(found["opened"] == count, f"{count - found['opened']} of {count} new sessions were not opened")
    bed.must(found["closed"] == 0, f"{found['closed']} of {count} new sessions were closed")
    swarm.stop()


def stop_for_a_while(bed, seconds):
    os.kill(bed.server.process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(bed.server.process.pid, signal.SIGCONT)


def stopped(bed):
    """The server's process stands still for longer than its sessions' timeout; their clients wait."""
    count = bed.size(3000, 300)
    swarm, found = bed.swarm(count, patience=90)
    bed.must(found["opened"] == count, f"only {found['opened']} of {count} sessions opened")
    bed.begin()
    stop_for_a_while(bed, 6)
    time.sleep(bed.size(5, 2))
    bed.keeps(swarm, count)


def impatient(bed):
    """As before, and the clients give up after two thirds of their timeout and come again with their session."""
    count = bed.size(200, 100)
    swarm, found = bed.swarm(count, gives_up=True)
    bed.must(found["opened"] == count, f"only {found['opened']} of {count} sessions opened")
    bed.begin()
    stop_for_a_while(bed, 6)
    time.sleep(bed.size(6, 5))
    bed.keeps(swarm, count)


class Attack:
    def __init__(self, name, title, run, replayed=False, stops=False, at_full_size_only=False):
        self.name, self.title, self.run = name, title, run
        self.at_full_size_only = at_full_size_only
        # Its work is in the log, and is done again by a restart.
        self.replayed = replayed
        # The server's process is stopped: the pause is the attack.
        self.stops = stops


ATTACKS = [
    Attack("pairs", "multi of statistics creates and deletes", statistics_pairs, replayed=True),
    Attack("text", "long text in a statistics znode", statistics_text, replayed=True),
    Attack("addresses", "multiRead under 1,000 ip entries", addresses),
    Attack("ephemerals", "end of a session with ephemerals", ephemerals, replayed=True),
    Attack("counting", "64 × getAllChildrenNumber", counting),
    Attack("hoarders", "59 connections trickle frames", lambda bed: hoarders(bed, 59)),
    Attack("hoarders-300", "300 connections trickle frames", lambda bed: hoarders(bed, 300)),
    Attack("flood", "silent connections from one address", lambda bed: flood(bed, "127.0.0.2")),
    Attack("handshakes", "handshakes from one address", lambda bed: flood(bed, "127.0.0.2", raw.handshake(4000))),
    # No server can tell these honest ones from the flood, so not all may get in: a figure beside ZooKeeper's.
    Attack(
        "handshakes-same",
        "the same, honest ones at that address",
        lambda bed: flood(bed, "127.0.0.3", raw.handshake(4000)),
        at_full_size_only=True,
    ),
    Attack("crowd", "new sessions at once", crowd),
    Attack("stopped", "stopped for 6 s, timeouts of 4 s", stopped, stops=True),
    Attack("impatient", "the same, clients reconnect", impatient, stops=True),
]


class Result:
    def __init__(self, attack):
        self.attack = attack
        self.pause = self.restart = None
        self.cut = False
        self.said = []
        self.wrong = []

    def pause_text(self):
        if self.pause is None:
            return "-"
        return f"{'> ' if self.cut else ''}{self.pause * 1000:.0f} ms"

    def restart_text(self):
        return f"{self.restart:.1f} s" if self.restart is not None else ""


def carry_out(attack, kind, small):
    """One attack on a server of its own."""
    result = Result(attack)
    with tempfile.TemporaryDirectory(prefix="zoarium-attack-", dir=os.environ.get("TMPDIR")) as folder:
        server = servers.Server(kind, folder)
        bed = Bed(server, small)
        try:
            server.start()
            attack.run(bed)
            if bed.probe is not None:
                found = bed.probe.stop()
                result.pause = found["longest"]
                result.cut = any("no answer" in said for said in bed.said)
                bed.must(found["lost"] == 0, "the honest client lost its session")
            bed.must(server.process.poll() is None, "the server ended")
            if attack.replayed and server.process.poll() is None:
                server.kill()
                result.restart = server.start(patience=2 * ATTACK_SECONDS_MAX)
        except (RuntimeError, OSError, raw.Gone, raw.Late, raw.Expired) as error:
            first_line = str(error).partition("\n")[0]
            bed.wrong.append(f"{type(error).__name__}: {first_line}")
        finally:
            if server.process is not None:
                server.process.kill()
                server.process.wait()
        result.said, result.wrong = bed.said, bed.wrong
    return result


def judge(result, small):
    """What is wrong with an attack on our server."""
    wrong = list(result.wrong)
    if not small and not result.attack.stops and result.pause is not None and result.pause > PAUSE_MAX:
        wrong.append(f"a pause of {result.pause_text()}, bound {PAUSE_MAX * 1000:.0f} ms")
    if not small and result.restart is not None and result.restart > PAUSE_MAX:
        wrong.append(f"a restart of {result.restart_text()}, bound {PAUSE_MAX:.1f} s")
    return wrong


def main():
    parser = argparse.ArgumentParser(description="attacks on a server, and what honest clients notice")
    parser.add_argument("--quick", action="store_true", help="small forms, this server only, outcomes only")
    parser.add_argument("--server", choices=["zoarium", "zookeeper", "both"], default="both")
    parser.add_argument("attacks", nargs="*", metavar="attack", help=f"only these of {', '.join(a.name for a in ATTACKS)}")
    options = parser.parse_args()
    unknown = set(options.attacks) - {attack.name for attack in ATTACKS}
    if unknown:
        parser.error(f"no attack {', '.join(unknown)}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ours, theirs = options.server != "zookeeper", options.server != "zoarium" and not options.quick
    if theirs:
        try:
            servers.zookeeper_classpath()
        except servers.Missing as lack:
            if options.server == "zookeeper" or os.environ.get("CI"):
                sys.exit(f"attacks: {lack}")
            print(f"no comparison with ZooKeeper: {lack}")
            theirs = False

    passed, failures = 0, []
    columns = [name for name, wanted in (("zoarium", ours), ("zookeeper", theirs)) if wanted]
    print(f"{'longest pause; restart':<42}" + "".join(f"{name:>12}{'':>9}" for name in columns), flush=True)
    for attack in ATTACKS:
        if attack.name not in options.attacks if options.attacks else options.quick and attack.at_full_size_only:
            continue
        results = {kind: carry_out(attack, kind, options.quick) for kind in columns}
        line = f"{attack.title:<42}"
        for result in results.values():
            line += f"{result.pause_text():>12}{result.restart_text():>9}"
        print(line)
        for kind, result in results.items():
            wrong = [what for what in result.wrong if not any(what in said for said in result.said)]
            print(f"    {kind}: {'; '.join(result.said + wrong)}", flush=True)
        if "zoarium" in results:
            wrong = judge(results["zoarium"], options.quick)
            failures += [f"{attack.name}: {what}" for what in wrong]
            passed += not wrong
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"{passed} passed, {len(failures)} failed, 0 skipped")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
