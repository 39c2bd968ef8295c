#!/usr/bin/env python3
"""Ensembles of real processes whose members change under load: nothing acknowledged is lost, no session is, and no step takes
more than one election.

    tests/clients/reconfig.py                                           # three Zoarium members, every step once
    tests/clients/reconfig.py --rounds 5                                # five times
    tests/clients/reconfig.py --members zookeeper,zookeeper,zookeeper   # the baseline
    tests/clients/reconfig.py --steps move,grow --keep

Steps: `move`: the members move one by one to other ports and folders, the leader too. `stale`: a member that starts with the files
of before, in which the others are elsewhere, goes by the record in its own file and writes the files again; one that cannot write
them goes on. `grow`: two members join. `roles`: a
follower becomes an observer and votes again. `shrink`: two members leave, the leader not. `leader`: the leader is removed, and
joins again. `crash`: the leader is killed while it carries a change out, which is done by then or is not. `rejoin`: a follower is removed, does not
start by files without it, and joins again on its own folder by those of before. While sessions of kazoo create, count and hold ephemerals, each is told the new addresses. What is held against
what was acknowledged, and how, is said in cluster.py.
"""

import argparse
import logging
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

import kazoo_suite
import cluster
import servers
from reconfig_compare import SUPER

STEPS = ["move", "stale", "grow", "roles", "crash", "shrink", "leader", "rejoin"]
SETTINGS = ["reconfigEnabled=true", SUPER, "maxSessionTimeout=60000"]


class Wrong(Exception):
    """A step did not end as it should."""


class Changing:
    """An ensemble under load, and the super user who changes it."""

    def __init__(self, folder, kinds, tick_ms, seed):
        self.cluster = cluster.Cluster(folder, kinds, settings=SETTINGS, tick_ms=tick_ms)
        self.kinds = kinds
        self.tick_ms = tick_ms
        self.seed = seed
        self.sessions = []
        self.gone = []
        self.serial = 0
        self.random = random.Random(seed)
        base = min(member.client_port for member in self.members.values())
        self.lines = {}
        for number, member in self.members.items():
            self.lines[number] = self.line(member.client_port, "participant")
        self.next_port = base + 3 * len(self.members) + 50

    @property
    def members(self):
        return self.cluster.members

    def line(self, port, role):
        return f"127.0.0.1:{port + 1}:{port + 2}:{role};127.0.0.1:{port}"

    def begin(self, sessions):
        self.cluster.start()
        cluster.prepare(self.cluster)
        self.sessions = cluster.begin_sessions(self.cluster, sessions, self.seed, gap=0.002)

    def new(self, number, role="participant"):
        """A member that is not started, on a folder and ports of its own; its file names the others and itself."""
        port = servers.free_ports(3, start=self.next_port)
        self.next_port = port + 3
        self.serial += 1
        own = self.line(port, role)
        others = {**self.lines, number: own}
        lines = [
            f"tickTime={self.tick_ms}", "initLimit=20", "syncLimit=4", "maxClientCnxns=0", "admin.enableServer=false",
            "4lw.commands.whitelist=*", *SETTINGS, *(f"server.{one}={line}" for one, line in others.items()),
        ]
        kind = self.kinds[(number - 1) % len(self.kinds)]
        folder = self.cluster.folder / f"member{number}-{self.serial}"
        return cluster.Member(number, kind, folder, port, lines), own

    def epoch(self):
        """Of what the leader serves."""
        end = time.monotonic() + 60
        while True:
            leader = self.members[self.cluster.await_service()]
            # It may be asked at the moment in which it leads no more.
            for line in leader.word("srvr").splitlines():
                if line.startswith("Zxid: "):
                    return int(line.split()[1], 16) >> 32
            if time.monotonic() > end:
                raise Wrong(f"member {leader.number} leads, and does not tell its zxid in 60 s")
            time.sleep(0.05)

    def change(self, **request):
        """Asks until it is done or was done: an answer may be lost with its connection."""
        from kazoo.exceptions import ConnectionLoss, NewConfigNoQuorumError, ReconfigInProcessError, SessionExpiredError
        from kazoo.handlers.threading import KazooTimeoutError

        passing = (ConnectionLoss, SessionExpiredError, NewConfigNoQuorumError, ReconfigInProcessError, KazooTimeoutError)
        end = time.monotonic() + 60
        while True:
            try:
                return self.ask(request)
            except passing as error:
                if time.monotonic() > end:
                    raise Wrong(f"{request} is not done in 60 s: {error!r}") from error
                time.sleep(0.1)

    def ask(self, request):
        from kazoo.client import KazooClient

        client = KazooClient(hosts=self.cluster.hosts, timeout=20)
        try:
            client.start(timeout=20)
            client.add_auth("digest", "super:test")
            return client.reconfig(request.get("joining"), request.get("leaving"), None)[0].decode()
        finally:
            client.stop()
            client.close()

    def tell_clients(self):
        hosts = self.cluster.hosts
        for session in self.sessions:
            session.client.set_hosts(hosts)

    def await_roles(self, **roles):
        wanted = {int(number.removeprefix("member")): role.split("|") for number, role in roles.items()}
        end = time.monotonic() + 60
        while True:
            modes = {number: self.members[number].mode() for number in wanted}
            if all(modes[number] in wanted[number] for number in wanted):
                return
            if time.monotonic() > end:
                tails = "\n".join(f"--- member {number}\n{self.members[number].log_tail()}" for number in wanted)
                raise Wrong(f"after 60 s the members are {modes}, not {wanted}\n{tails}")
            time.sleep(0.05)

    def await_config(self):
        """Until every member has the lines that it is to have."""
        wanted = {f"server.{number}={line}" for number, line in self.lines.items()}
        end = time.monotonic() + 60
        for member in self.members.values():
            while wanted != (told := {line for line in member.word("conf").splitlines() if line.startswith("server.")}):
                if time.monotonic() > end:
                    raise Wrong(f"member {member.number} goes by {told}, not {wanted}")
                time.sleep(0.05)

    def await_at(self, member, port):
        """Until it serves, at its own port or at the other one: it is where the configuration in force says that it is."""
        own, end = member.client_port, time.monotonic() + 60
        while True:
            for one in (own, port):
                member.client_port = one
                mode = member.mode()
                member.client_port = own
                if mode:
                    return
            if not member.is_running() or time.monotonic() > end:
                raise Wrong(f"member {member.number} does not serve\n{member.log_tail()}")
            time.sleep(0.05)

    def retire(self, member):
        """It is stopped and of no interest any more, but for having ended by itself."""
        if not member.is_running():
            raise Wrong(f"member {member.number} has ended by itself\n{member.log_tail()}")
        member.stop()
        self.gone.append(member)

    def one_step(self, what, deed, elections_max=1):
        before = self.epoch()
        lost = sum(session.lost_sessions for session in self.sessions)
        begin = time.monotonic()
        deed()
        self.cluster.await_service()
        self.await_config()
        self.tell_clients()
        took = time.monotonic() - begin
        elections = self.epoch() - before
        print(f"{what}: {took:.1f} s, {elections} elections", flush=True)
        if elections > elections_max:
            raise Wrong(f"{what}: {elections} elections")
        if sum(session.lost_sessions for session in self.sessions) > lost:
            raise Wrong(f"{what}: a session was lost")
        self.still_works(what)

    def still_works(self, what):
        """Writes are acknowledged, to every session."""
        before = [len(session.acknowledged) + session.counted for session in self.sessions]
        end = time.monotonic() + 60
        while any(len(one.acknowledged) + one.counted <= count for one, count in zip(self.sessions, before)):
            if time.monotonic() > end:
                raise Wrong(f"{what}: a session gets nothing acknowledged in 60 s")
            time.sleep(0.02)

    # The steps

    def move(self):
        leader = self.cluster.await_service()
        for number in [*(number for number in sorted(self.members) if number != leader), leader]:
            new, line = self.new(number)

            def deed():
                old = self.members[number]
                self.retire(old)
                self.members[number] = new
                new.start()
                self.await_at(new, old.client_port)
                self.change(joining=f"server.{number}={line}")
                self.lines[number] = line

            self.one_step(f"member {number} moves", deed)

    def stale(self):
        if any(kind != "zoarium" for kind in self.kinds):
            return
        leader = self.cluster.await_service()
        number = next(number for number in sorted(self.members) if number != leader)
        member = self.members[number]

        def deed():
            member.stop()
            shutil.copy(f"{member.config}.bak", member.config)
            member.start()
            self.cluster.await_service(members=[member])
            end = time.monotonic() + 60
            while "dynamicConfigFile=" not in member.config.read_text():
                if time.monotonic() > end:
                    raise Wrong(f"member {number} has not written its files again\n{member.log_tail()}")
                time.sleep(0.05)

        self.one_step(f"member {number} starts with old files", deed)

        def barred():
            # The file that is to name the new one is not there.
            shutil.move(member.config, f"{member.config}.away")
            self.change()
            end = time.monotonic() + 60
            while "is not in the files beside" not in (member.folder / "server.log").read_text(errors="replace"):
                if time.monotonic() > end:
                    raise Wrong(f"member {number} does not say that it cannot write its files\n{member.log_tail()}")
                time.sleep(0.05)
            shutil.move(f"{member.config}.away", member.config)

        self.one_step(f"member {number} cannot write its files", barred)

    def grow(self):
        for number in (max(self.members) + 1, max(self.members) + 2):
            new, line = self.new(number)

            def deed():
                new.start()
                self.cluster.await_service(members=[new])
                self.change(joining=f"server.{number}={line}")
                self.members[number] = new
                self.lines[number] = line

            self.one_step(f"member {number} joins", deed)

    def roles(self):
        leader = self.cluster.await_service()
        number = next(number for number in self.members if number != leader)
        for role, mode in (("observer", "observer"), ("participant", "follower|leader")):
            line = self.line(self.members[number].client_port, role)

            def deed():
                self.change(joining=f"server.{number}={line}")
                self.lines[number] = line
                self.await_roles(**{f"member{number}": mode})

            self.one_step(f"member {number} becomes {role}", deed)

    def crash(self):
        # An observer does not lead: it is the same one both times.
        first = self.cluster.await_service()
        number = next(number for number in sorted(self.members) if number != first)
        for role, mode in (("observer", "observer"), ("participant", "follower|leader")):
            leader = self.cluster.await_service()
            line = self.line(self.members[number].client_port, role)

            def deed():
                wrong = []

                def ask():
                    try:
                        self.change(joining=f"server.{number}={line}")
                    except Exception as error:
                        wrong.append(error)

                asking = threading.Thread(target=ask)
                asking.start()
                time.sleep(self.random.random() * 0.08)
                self.members[leader].kill()
                self.members[leader].start()
                asking.join()
                if wrong:
                    raise Wrong(f"the change was not done: {wrong[0]!r}")
                self.lines[number] = line
                self.await_roles(**{f"member{number}": mode})

            self.one_step(f"member {leader}, which leads, is killed while member {number} becomes {role}", deed, 2)

    def shrink(self):
        leader = self.cluster.await_service()
        numbers = [number for number in sorted(self.members, reverse=True) if number != leader][:2]
        for number in numbers if len(self.members) > 4 else numbers[:0]:

            def deed():
                self.change(leaving=str(number))
                del self.lines[number]
                self.retire(self.members.pop(number))

            self.one_step(f"member {number} leaves", deed)

    def leader(self):
        leader = self.cluster.await_service()
        new, line = self.new(leader)

        def deed():
            self.change(leaving=str(leader))
            del self.lines[leader]
            removed = self.members.pop(leader)
            self.cluster.await_service()
            self.retire(removed)

        self.one_step(f"member {leader}, which leads, is removed", deed)

        def back():
            self.members[leader] = new
            new.start()
            self.cluster.await_service(members=[new])
            self.change(joining=f"server.{leader}={line}")
            self.lines[leader] = line

        self.one_step(f"member {leader} joins again", back)

    def rejoin(self):
        if any(kind != "zoarium" for kind in self.kinds):
            return
        leader = self.cluster.await_service()
        number = next(number for number in sorted(self.members) if number != leader)
        member, line = self.members[number], self.lines[number]

        def removed():
            self.change(leaving=str(number))
            del self.lines[number]
            del self.members[number]
            end = time.monotonic() + 60
            while f"server.{number}=" in self.dynamic_file(member):
                if time.monotonic() > end:
                    raise Wrong(f"member {number} still has itself in its files\n{member.log_tail()}")
                time.sleep(0.05)

        self.one_step(f"member {number} is removed", removed)

        def back():
            member.stop()
            member.start()
            if (code := member.process.wait(timeout=20)) != 2:
                raise Wrong(f"member {number} ended with {code}\n{member.log_tail()}")
            shutil.copy(f"{member.config}.bak", member.config)
            # It is no member twice, and stays where its file says.
            for _ in range(2):
                member.stop()
                member.start()
                self.cluster.await_service(members=[member])
            self.change(joining=f"server.{number}={line}")
            self.members[number], self.lines[number] = member, line

        self.one_step(f"member {number} joins again with what it had", back)

    def dynamic_file(self, member):
        named = member.config.read_text().rpartition("dynamicConfigFile=")[2].strip()
        return pathlib.Path(named).read_text()

    def end(self):
        cluster.close_sessions(self.sessions)
        self.cluster.stop()


def run(options, folder):
    changing = Changing(folder, options.members, options.tick, options.seed)
    wrong = []
    try:
        changing.begin(options.sessions)
        try:
            for _ in range(options.rounds):
                for step in options.steps:
                    getattr(changing, step)()
        except (Wrong, RuntimeError) as error:
            wrong.append(f"steps: {error}")
        cluster.end_load(changing.sessions)
        if not wrong:
            found, tree = cluster.check(changing.cluster, changing.sessions)
            wrong += found
            told = sum(len(one.acknowledged) + one.counted for one in changing.sessions)
            lost = sum(one.lost_sessions for one in changing.sessions)
            print(f"{told} writes acknowledged, {lost} sessions lost, {len(tree)} znodes at the end")
            if lost:
                wrong.append(f"sessions: {lost} were lost")
            if told == 0:
                wrong.append("lost: nothing was acknowledged at all")
        return wrong
    finally:
        changing.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", default="zoarium,zoarium,zoarium", help="kinds, separated by commas")
    parser.add_argument("--steps", default=",".join(STEPS), help="in turn; " + ", ".join(STEPS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--tick", type=int, default=500, help="tickTime")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="leave the folder with data and logs")
    options = parser.parse_args()
    options.members = options.members.split(",")
    options.steps = options.steps.split(",")
    unknown = [step for step in options.steps if step not in STEPS]
    if unknown:
        parser.error(f"no such step: {', '.join(unknown)}")
    kazoo_suite.enter_venv()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="zoarium-reconfig-"))
    print(f"seed {options.seed}, members {', '.join(options.members)}, in {folder}", flush=True)
    try:
        wrong = run(options, folder)
    except servers.Missing as missing:
        print(f"SKIPPED: {missing}\n0 passed, 0 failed, 1 skipped")
        return 0
    for text in wrong:
        print(f"FAILED {text}")
    if not options.keep and not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    checks = 6
    failed = len({text.split(":")[0] for text in wrong})
    print(f"{max(checks - failed, 0)} passed, {failed} failed, 0 skipped")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
