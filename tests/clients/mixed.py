#!/usr/bin/env python3
"""Ensembles of members of Zoarium and of Apache ZooKeeper, in which each kind leads and each joins the other in every way.

    tests/clients/mixed.py                     # {2+1, 1+2} with 3.9 and 3.8, a few changes of leader each
    tests/clients/mixed.py --changes 20        # the long form: 20 changes of leader in each, and more than a log keeps
    tests/clients/mixed.py --apache            # the same schedule with Apache members alone, to tell whose a find is
    tests/clients/mixed.py --worlds 1          # one of them

The member of which there is one is number 2, so that each kind can be made to lead: of members with equal histories the largest
number is elected. An observer of the other kind than number 3 is there too. Under the load of `locking.py`, first with
each kind as the leader:

- a follower of the other kind is killed and comes back, and is sent what it lacks (DIFF);
- it comes back with an empty disk (SNAP); in the long form also after more than the leader's log keeps;
- the leader is killed just after all others, so that only its log has what it proposed last, and comes back to a leader of the
  other kind, which lets it cut that off (TRUNC).

A member of ours that is left alone is read-only. Which way a member joined is read from the leader's counters and from the
member's log. Then faults of `cluster.py` until there were enough changes of leader. At the end the checks of `locking.py` hold, and no member of ZooKeeper's has ended by itself or
says that a digest does not match.
"""

import argparse
import logging
import pathlib
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback

import kazoo_suite
import cluster
import locking
import raw
import servers

# Number 2 is the only one of its kind; the last one is an observer.
WORLDS = [
    ["zookeeper-3.9", "zoarium", "zookeeper-3.9", "zoarium"],
    ["zoarium", "zookeeper-3.8", "zoarium", "zookeeper-3.8"],
    ["zookeeper-3.8", "zoarium", "zookeeper-3.8", "zoarium"],
    ["zoarium", "zookeeper-3.9", "zoarium", "zookeeper-3.9"],
]
CUTS = {"zoarium": "it is dropped from the log", "zookeeper": "Truncating log to get in sync"}
MISMATCH = re.compile(r"digest (is |are )?(mismatch|not match)|mismatch.*digest", re.I)
TRIES = 8
SESSION_MS = 120_000
NOT_READ_ONLY = -119


class Wrong(Exception):
    """A member did not join as it should, or cannot be made to lead."""


class World:
    def __init__(self, folder, kinds, arguments):
        self.kinds, self.arguments = kinds, arguments
        self.chance = random.Random(arguments.seed)
        # Ours keeps a short log; ZooKeeper takes no notice of these keys.
        settings = [f"maxSessionTimeout={SESSION_MS}", "zoarium.logWindow=4M", "zoarium.followerWindow=1M",
                    "readonlymode.enabled=true"]
        self.cluster = cluster.Cluster(folder, kinds, observers=1, settings=settings, tick_ms=arguments.tick)
        self.members = self.cluster.members
        self.observer = max(self.members)
        self.changes = 0
        self.leader = None
        self.done = []
        self.sessions = []

    def is_of(self, number, family):
        """Whether it is of this family, or plays it where all are Apache's."""
        return self.kinds[number - 1].startswith(family)

    def others(self, *numbers):
        return [member for number, member in self.members.items() if number not in numbers]

    def await_service(self, members=None):
        """Waits until they serve, and counts it if another one leads than before."""
        leader = self.cluster.await_service(members=members)
        self.changes += self.leader not in (None, leader)
        self.leader = leader
        return leader

    def lead(self, wanted):
        """Members of this number or family lead: whoever leads else is stopped until the others have elected."""
        for _ in range(TRIES):
            leader = self.await_service()
            if wanted(leader):
                return leader
            self.members[leader].stop()
            self.await_service(self.others(leader))
            self.members[leader].start()
        raise Wrong(f"none of those wanted was elected in {TRIES} elections")

    def counted(self, name):
        for line in self.members[self.leader].word("mntr").splitlines():
            key, _, value = line.partition("\t")
            if key == name:
                return float(value)
        raise Wrong(f"mntr of member {self.leader} has no {name}")

    def joins(self, number, name, away, wipe=False):
        """A follower dies, is away while `away` does something, and comes back as the leader's counter says."""
        member = self.members[number]
        before, leader = self.counted(name) if name else 0, self.leader
        member.kill()
        away()
        if wipe:
            member.wipe()
        member.start()
        self.await_service()
        if self.leader != leader:
            return False
        end = time.monotonic() + 60
        while name and self.counted(name) <= before:
            if time.monotonic() > end:
                raise Wrong(f"{name} of member {leader} is still {before}, and member {number} has come back")
            time.sleep(0.05)
        return True

    def shows(self, what):
        self.done.append(what)
        print(f"  {what}", flush=True)

    def joins_twice(self, leads):
        """By DIFF and by SNAP, where this family leads."""
        def rest():
            time.sleep(0.6)

        for name, wipe in (("zk_diff_count", False), ("zk_snap_count", True)):
            for _ in range(TRIES):
                leader = self.lead(lambda number: self.is_of(number, leads))
                learner = next(number for number in (1, 2, 3) if number != leader and not self.is_of(number, leads))
                if self.joins(learner, name, rest, wipe):
                    break
            else:
                raise Wrong(f"{TRIES} times the leader changed meanwhile")
            self.shows(f"{self.kinds[learner - 1]} is led by {self.kinds[leader - 1]} and joins by {name.split('_')[1].upper()}")

    def burst(self, member):
        """Writes to one member without waiting for answers, until it is gone: some are always under way."""
        # Nobody misses the session until the world ends: its expiry would be a transaction.
        client, is_over = raw.Client(member.client_port, timeout_ms=SESSION_MS), threading.Event()
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
        return writing, is_over

    def cut(self, leads, then):
        """What only a leader of this family has is cut off from its log, where it comes back to a leader of the other."""
        for _ in range(TRIES):
            leader = self.lead(lambda number: self.is_of(number, leads))
            old, log = self.members[leader], self.members[leader].folder / "server.log"
            # Who shall lead next dies last, and so has more than the other one.
            voters = [self.members[number] for number in (1, 2, 3) if number != leader]
            voters.sort(key=lambda member: self.is_of(member.number, then))
            begun = log.stat().st_size
            writing, is_over = self.burst(old)
            for member in voters:
                time.sleep(0.1)
                member.kill()
            # It proposes until it notices.
            time.sleep(0.05)
            old.kill()
            is_over.set()
            writing.join()
            # Once anything is committed in a later epoch, the whole state is sent instead.
            for session in self.sessions:
                session.works.clear()
            for member in voters:
                member.start()
            now = self.await_service([*voters, self.members[self.observer]])
            old.start()
            self.await_service()
            for session in self.sessions:
                session.works.set()
            said = log.read_bytes()[begun:].decode(errors="replace")
            if CUTS[old.kind.partition("-")[0]] in said and self.is_of(now, then):
                return self.shows(f"{self.kinds[leader - 1]} has led, is led by {self.kinds[now - 1]} and joins by TRUNC")
        raise Wrong(f"{TRIES} times nothing was cut off from the log of a leader that was killed alone")

    def above_the_window(self, leads):
        """A follower that was away for more than the leader's log keeps."""
        from kazoo.client import KazooClient

        leader = self.lead(lambda number: self.is_of(number, leads))
        learner = next(number for number in (1, 2, 3) if not self.is_of(number, leads))

        def much():
            writer = KazooClient(hosts=self.members[leader].address, timeout=20)
            writer.start(timeout=60)
            writer.ensure_path("/much")
            for number in range(900):
                writer.set("/much", bytes([number % 256]) * 100_000)
            writer.stop()
            writer.close()

        # ZooKeeper's leader may send all of that from its log files, ours keeps less.
        counter = "zk_snap_count" if self.members[leader].kind == "zoarium" else None
        self.joins(learner, counter, much)
        self.shows(f"{self.kinds[learner - 1]} was away for 90 MB, is led by {self.kinds[leader - 1]} and joins by {'SNAP' if counter else 'what it gives'}")

    def alone(self):
        """A member of ours that is left alone serves those that only read, until the others are back."""
        number = next(number for number in (1, 2, 3) if self.is_of(number, "zoarium"))
        member, others = self.members[number], self.others(number)
        for other in others:
            other.kill()
        end = time.monotonic() + 60
        while member.mode() != "read-only":
            if time.monotonic() > end:
                raise Wrong(f"member {number} is alone, and not read-only: {member.mode() or 'it serves nobody'}")
            time.sleep(0.05)
        reader = raw.Client(member.client_port, read_only=True)
        reader.demand(raw.GET_DATA, raw.read("/burst"))
        code, _ = reader.call(raw.SET_DATA, raw.set_data("/burst", b""))
        reader.drop()
        if code != NOT_READ_ONLY:
            raise Wrong(f"member {number} is read-only, and answers a write with {code}")
        for other in others:
            other.start()
        self.await_service()
        self.shows(f"{self.kinds[number - 1]} is alone and read-only")

    def run(self):
        self.leader = self.cluster.start()
        locking.prepare(self.cluster)
        client = raw.Client(self.members[self.leader].client_port)
        client.demand(raw.CREATE, raw.create("/burst"))
        client.close()
        self.sessions = cluster.begin_sessions(
            self.cluster, self.arguments.sessions, self.arguments.seed, self.arguments.gap, locking.Session
        )
        families = ["zookeeper", "zoarium"]
        for leads in families:
            other = families[1 - families.index(leads)]
            self.joins_twice(leads)
            if self.arguments.changes > 10:
                self.above_the_window(leads)
            self.cut(leads, other)
        if not self.arguments.apache:
            # ZooKeeper's takes that key from its command line only.
            self.alone()
        while self.changes < self.arguments.changes:
            fault = self.chance.choice(["kill-leader", "stop-leader", "pause-leader", "kill-all"])
            print(f"  {self.changes} changes; {cluster.strike(self.cluster, fault, self.chance, 3)}", flush=True)
            self.await_service()
        time.sleep(0.3)
        cluster.end_load(self.sessions)
        wrong, tree = locking.check(self.cluster, self.sessions)
        for member in self.members.values():
            if member.kind.startswith("zookeeper"):
                log = (member.folder / "server.log").read_text(errors="replace")
                mismatches = [f"digests: member {member.number}: {line}" for line in log.splitlines() if MISMATCH.search(line)]
                if self.arguments.apache and mismatches:
                    # Its own find, in a tree that it shares with the others: told, and no failure of this schedule.
                    print(f"  {len(mismatches)} of Apache's own, the first: {mismatches[0]}", flush=True)
                else:
                    wrong += mismatches[:3]
        told = sum(len(one.acknowledged) + one.counted + one.guarded for one in self.sessions)
        if told == 0:
            wrong.append("lost: nothing was acknowledged at all")
        locked = sum(one.guarded for one in self.sessions)
        print(f"  {told} writes acknowledged, {locked} of them under the lock, {self.changes} changes of leader, {len(tree)} znodes "
              f"on each of {len(self.members)} members", flush=True)
        return wrong

    def end(self):
        cluster.close_sessions(self.sessions)
        for member in self.members.values():
            member.resume()
            member.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", default=",".join(str(at) for at in range(len(WORLDS))), help="which, by their places in WORLDS")
    parser.add_argument("--changes", type=int, default=0, help="changes of leader in each at least")
    parser.add_argument("--apache", action="store_true", help="Apache members in place of ours")
    parser.add_argument("--sessions", type=int, default=6)
    parser.add_argument("--gap", type=float, default=0.03, help="seconds between two requests of a session")
    parser.add_argument("--tick", type=int, default=500, help="tickTime")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="leave the folders with data and logs")
    arguments = parser.parse_args()
    kazoo_suite.enter_venv()
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    passed = failed = 0
    for at in arguments.worlds.split(","):
        kinds = WORLDS[int(at)]
        apache = next(kind for kind in kinds if kind.startswith("zookeeper"))
        folder = pathlib.Path(tempfile.mkdtemp(prefix="zoarium-mixed-"))
        begin = time.monotonic()
        instead = f"; {apache} in the place of ours" if arguments.apache else ""
        print(f"{', '.join(kinds[:3])}, and an observer: {kinds[3]}{instead}; seed {arguments.seed}, in {folder}", flush=True)
        world = None
        try:
            servers.zookeeper_classpath(apache.partition("-")[2])
            world = World(folder, kinds, arguments)
            if arguments.apache:
                for member in world.members.values():
                    cluster.Member.__init__(member, member.number, apache, member.folder, member.client_port,
                                            member.config.read_text().splitlines()[1:])
            wrong = world.run()
        except servers.Missing as missing:
            print(f"SKIPPED mixed: {missing}\n{passed} passed, {failed} failed, 1 skipped")
            return 0
        except (Wrong, RuntimeError, OSError) as error:
            traceback.print_exc()
            wrong = [f"{type(error).__name__}: {error}", *(world.cluster.ended_by_themselves() if world else [])]
        finally:
            if world:
                world.end()
        for text in wrong:
            print(f"FAILED {text}")
        failed += bool(wrong)
        passed += not wrong
        print(f"{'FAILED' if wrong else 'ok'} {', '.join(kinds)}, {time.monotonic() - begin:.1f} s", flush=True)
        if not arguments.keep and not wrong:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
