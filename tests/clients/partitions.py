#!/usr/bin/env python3
"""Ensembles whose network breaks: who may still acknowledge, and how soon everybody can write again.

    tests/clients/partitions.py                              # every fault once, three members
    tests/clients/partitions.py --faults leader-cut --times 5
    tests/clients/partitions.py --members zookeeper,zookeeper,zookeeper   # the baseline

Each member has a network of its own (`network.py`), and a client that writes only there, one write after the other. The
clients reach their members throughout: a member that is cut off from the others is the one to be tempted. Checked is:

- `lost`: what was acknowledged is on every member in the end, and nothing is there that nobody asked for;
- `order`: no two writes have one zxid, and a write that began when another had been acknowledged has a greater one;
- `old`: a `sync` shows everything that had been acknowledged to anybody before it was sent;
- `leaders`: no two members lead in one epoch;
- `late`: through every member writes are taken within ten seconds after the heal;
- `ends`: no process ended by itself.

Printed are the longest time without an acknowledgement to anybody, and the time from the heal to the first write through
each member. Needs root, for the network; the disk that becomes slow needs a C compiler.
"""

import argparse
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import cluster
import network
import raw
import servers

FAULTS = [
    "leader-cut", "follower-cut", "bridge", "leader-mute", "leader-deaf", "follower-mute", "flapping", "slow-leader-link",
    "leader-disk", "follower-disk", "leader-killed",
]
HEAL_SECONDS_MAX = 10
# Loses everything, and is there to show that the checks notice: it is never a fault by default.
PLANT = "wipe-all"


class Truth:
    """What all writers were told, under one lock."""

    def __init__(self):
        self.lock = threading.Lock()
        self.writes = []  # (began, ended, zxid, path, member)
        self.asked = set()
        self.highest = 0
        self.wrong = []

    def told(self, write):
        with self.lock:
            self.writes.append(write)
            self.highest = max(self.highest, write[2])

    def acknowledged_since(self, moment, member=None):
        """When the first write that began later was acknowledged."""
        with self.lock:
            ended = [w[1] for w in self.writes if w[0] >= moment and (member is None or w[4] == member)]
        return min(ended, default=None)

    def longest_gap(self, begin, end):
        """The longest time between begin and end in which nobody was acknowledged anything."""
        with self.lock:
            ended = sorted(w[1] for w in self.writes if begin <= w[1] <= end)
        marks = [begin, *ended, end]
        return max(b - a for a, b in zip(marks, marks[1:]))


class Writer(threading.Thread):
    """Writes through one member, one znode after the other; every tenth time it asks for a `sync` instead."""

    def __init__(self, member, truth, name):
        super().__init__(daemon=True)
        self.member = member
        self.truth = truth
        self.label = name
        self.is_over = threading.Event()
        self.number = 0
        self.syncs = 0

    def run(self):
        while not self.is_over.is_set():
            try:
                # Silence for longer than this is the end of a connection, as for any client.
                client = raw.Client(self.member.client_port, timeout_ms=20_000, wait=3, host=self.member.host)
            except (OSError, raw.Gone, raw.Late, raw.Expired):
                self.is_over.wait(0.02)
                continue
            try:
                while not self.is_over.is_set():
                    self.step(client)
            except (OSError, raw.Gone, raw.Late):
                client.drop()
                continue
            client.close()

    def step(self, client):
        self.number += 1
        if self.number % 10 == 0:
            before = self.truth.highest
            code, _ = client.call(raw.SYNC, raw.text("/"))
            self.syncs += 1
            # The state that a read behind it shows.
            client.call(raw.EXISTS, raw.read("/load"))
            if code == 0 and client.zxid < before:
                shown = f"{client.zxid:#x}, and {before:#x} had been acknowledged"
                self.truth.wrong.append(f"old: a sync at member {self.member.number} shows {shown}")
            return
        path = f"/load/{self.label}-{self.number}"
        self.truth.asked.add(path)
        began = time.monotonic()
        code, _ = client.call(raw.CREATE, raw.create(path))
        if code != 0:
            self.truth.wrong.append(f"lost: {path} was refused with {code}")
            return
        self.truth.told((began, time.monotonic(), client.zxid, path, self.member.number))
        self.is_over.wait(0.002)


class Scene:
    """One ensemble on a network of its own, with a writer for each member."""

    def __init__(self, folder, arguments):
        self.net = network.Network(len(arguments.members))
        self.truth = Truth()
        self.slow_disk = slow_disk(folder)
        numbers = self.net.numbers
        self.cluster = cluster.Cluster(
            folder, arguments.members, tick_ms=arguments.tick, sync_limit=arguments.sync_limit,
            settings=["maxSessionTimeout=30000"],
            hosts={number: self.net.address(number) for number in numbers},
            around={number: self.net.around(number) for number in numbers},
        )
        for member in self.cluster.members.values():
            if member.kind == "zoarium" and self.slow_disk:
                member.environment = os.environ | {"LD_PRELOAD": str(self.slow_disk), "SLOW_SYNC": str(member.folder / "slow")}
        self.writers = []

    def begin(self):
        leader = self.cluster.start()
        member = self.cluster.members[leader]
        setup = raw.Client(member.client_port, host=member.host)
        code, _ = setup.call(raw.CREATE, raw.create("/load"))
        assert code == 0, f"/load was refused with {code}"
        setup.close()
        for number, member in self.cluster.members.items():
            self.writers.append(Writer(member, self.truth, f"w{number}"))
        for writer in self.writers:
            writer.start()
        return leader

    def strike(self, fault, seconds, chance):
        """One fault and its end; returns when it began, when it was healed, and who led before."""
        leader = self.cluster.await_service()
        others = [number for number in self.cluster.members if number != leader]
        chance.shuffle(others)
        follower = others[0]
        begin = time.monotonic()
        if fault == "leader-cut":
            # Of five, one follower is left with the leader.
            self.net.cut_between([leader, *others[: len(others) // 2 - 1]], others[len(others) // 2 - 1 :])
        elif fault == "follower-cut":
            self.net.cut_between([follower], [leader, *others[1:]])
        elif fault == "bridge":
            self.net.cut_between([leader], [follower])
        elif fault == "leader-mute":
            for other in others:
                self.net.cut(leader, other)
        elif fault == "leader-deaf":
            for other in others:
                self.net.cut(other, leader)
        elif fault == "follower-mute":
            for other in [leader, *others[1:]]:
                self.net.cut(follower, other)
        elif fault == "slow-leader-link":
            self.net.slow(leader, 256)
        elif fault in ("leader-disk", "follower-disk"):
            member = self.cluster.members[leader if fault == "leader-disk" else follower]
            (member.folder / "slow").write_text(f"{int(seconds * 1000)}")
        elif fault == "leader-killed":
            self.cluster.members[leader].kill()
        elif fault == PLANT:
            for each in self.cluster.members.values():
                each.kill()
                each.wipe()
        if fault == "flapping":
            while time.monotonic() < begin + seconds:
                self.net.cut_between([leader], others)
                time.sleep(chance.uniform(0.1, 1.5))
                self.net.heal()
                time.sleep(chance.uniform(0.1, 1.5))
        else:
            time.sleep(seconds)
        self.net.heal()
        healed = time.monotonic()
        for each in self.cluster.members.values():
            if not each.is_running():
                each.start()
        return begin, healed, leader

    def await_writes(self, moment):
        """How long after this moment the first write through each member was taken, s; `None` where none was in 30 s."""
        end = moment + 30
        found = {}
        while time.monotonic() < end and len(found) < len(self.writers):
            for number in self.cluster.members:
                if number not in found:
                    at = self.truth.acknowledged_since(moment, number)
                    if at is not None:
                        found[number] = at - moment
            time.sleep(0.01)
        return {number: found.get(number) for number in self.cluster.members}

    def end(self):
        for writer in self.writers:
            writer.is_over.set()
        for writer in self.writers:
            writer.join(timeout=10)
        return self.truth.wrong + self.check()

    def check(self):
        truth, wrong = self.truth, []
        paths = {write[3] for write in truth.writes}
        for number, member in self.cluster.members.items():
            client = raw.Client(member.client_port, host=member.host)
            client.demand(raw.SYNC, raw.text("/"))
            there = {f"/load/{name}" for name in children(client, "/load")}
            client.close()
            wrong += [f"lost: {path} was acknowledged, member {number} does not have it" for path in sorted(paths - there)[:5]]
            wrong += [f"lost: member {number} has {path}, unasked" for path in sorted(there - truth.asked)[:5]]
        by_zxid = {}
        for write in truth.writes:
            other = by_zxid.setdefault(write[2], write)
            if other is not write:
                wrong.append(f"order: {write[3]} and {other[3]} both have the zxid {write[2]:#x}")
        # By their beginnings; of those that had ended by then the greatest zxid counts.
        ended = sorted(truth.writes, key=lambda write: write[1])
        greatest, at = 0, 0
        for write in sorted(truth.writes, key=lambda write: write[0]):
            while at < len(ended) and ended[at][1] < write[0]:
                greatest = max(greatest, ended[at][2])
                at += 1
            if write[2] < greatest:
                wrong.append(f"order: {write[3]} has the zxid {write[2]:#x}, and {greatest:#x} had been acknowledged before")
        leaders = {}
        for number, member in self.cluster.members.items():
            log = (member.folder / "server.log").read_text(errors="replace")
            for epoch in re.findall(r"leading in epoch (\d+)", log):
                leaders.setdefault(epoch, set()).add(number)
        if not leaders and any(member.kind == "zoarium" for member in self.cluster.members.values()):
            wrong.append("leaders: no log tells who led")
        wrong += [f"leaders: members {sorted(who)} led in epoch {epoch}" for epoch, who in leaders.items() if len(who) > 1]
        wrong += [f"ends: {text}" for text in self.cluster.ended_by_themselves()]
        return wrong

    def close(self):
        for writer in self.writers:
            writer.is_over.set()
        self.cluster.stop()
        self.net.close()


def children(client, path):
    """The names below `path`."""
    code, payload = client.call(8, raw.read(path))
    if code != 0:
        return []
    count, at, names = raw.struct.unpack(">i", payload[:4])[0], 4, []
    for _ in range(count):
        length = raw.struct.unpack(">i", payload[at : at + 4])[0]
        names.append(payload[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return names


def slow_disk(folder):
    """The library that makes one synced write of a server slow, where there is a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = pathlib.Path(folder) / "slow_sync.so"
    source = servers.ROOT / "tests/c/slow_sync.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def run(arguments, folder):
    chance = random.Random(arguments.seed)
    scene = Scene(folder, arguments)
    wrong, gaps = [], {}
    try:
        leader = scene.begin()
        print(f"{len(scene.writers)} members serve, member {leader} leads", flush=True)
        if scene.slow_disk is None:
            print("SKIPPED: slow disks, no C compiler")
        for fault in arguments.faults * arguments.times:
            if "disk" in fault and scene.slow_disk is None:
                continue
            time.sleep(arguments.calm)
            begin, healed, leader = scene.strike(fault, arguments.seconds, chance)
            delays = scene.await_writes(healed)
            gap = scene.truth.longest_gap(begin, time.monotonic())
            gaps.setdefault(fault, []).append(gap)
            now = scene.cluster.await_service()
            shown = ", ".join(f"{number}: {'never' if s is None else f'{s:.2f}'}" for number, s in delays.items())
            print(
                f"{fault}: member {leader} led, {now} does now; longest time without a write {gap:.2f} s; "
                f"first writes after the heal, s: {shown}",
                flush=True,
            )
            late = [number for number, s in delays.items() if s is None or s > HEAL_SECONDS_MAX]
            wrong += [f"late: after {fault}, member {number} takes no write for {HEAL_SECONDS_MAX} s" for number in late]
        time.sleep(arguments.calm)
        wrong = scene.end() + wrong
        writes, syncs = len(scene.truth.writes), sum(writer.syncs for writer in scene.writers)
        print(f"{writes} writes acknowledged, {syncs} syncs")
        for fault, times in gaps.items():
            median = statistics.median(times)
            print(f"  {fault}: without a write for {median:.2f} s (median of {len(times)}), {max(times):.2f} s at most")
        if writes == 0 or syncs == 0:
            wrong.append("lost: nothing was acknowledged at all")
        return wrong
    finally:
        scene.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", default="zoarium,zoarium,zoarium", help="kinds, separated by commas")
    parser.add_argument("--faults", default=",".join(FAULTS), help="in turn; " + ", ".join([*FAULTS, PLANT]))
    parser.add_argument("--times", type=int, default=1, help="how often all of them")
    parser.add_argument("--seconds", type=float, default=10, help="how long a fault lasts")
    parser.add_argument("--calm", type=float, default=1, help="seconds between two faults")
    parser.add_argument("--tick", type=int, default=200, help="tickTime")
    parser.add_argument("--sync-limit", type=int, default=5, help="syncLimit")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="leave the folder with data and logs")
    arguments = parser.parse_args()
    arguments.members = arguments.members.split(",")
    arguments.faults = arguments.faults.split(",")
    unknown = [fault for fault in arguments.faults if fault not in [*FAULTS, PLANT]]
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="zoarium-partitions-"))
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
    failed = len({text.split(":")[0] for text in wrong})
    print(f"{max(6 - failed, 0)} passed, {failed} failed, 0 skipped")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
