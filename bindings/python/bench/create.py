#!/usr/bin/env python3
"""Creates per second, side by side: this package in-process and over TCP, and kazoo over TCP, on one embedded server.

    bench/create.py [--count N] [--rounds N] [--gate 5]

One thread, 100 bytes of data; `sync` waits for each create, `pipelined` keeps 100 of `create_async` under way. Every
round measures all of them in turn, so that what else the machine does hits all alike; the median counts.

Once with the data in memory, which shows what the clients cost, and once on the disk of the temporary folder. There a
lone create waits for a sync of the disk, whoever sends it, and no client can be faster than that: the time of one sync
is printed. With `--gate` it fails when this package, in-process, is less than so many times as fast as kazoo; creates
that wait for the disk one by one are left out of it.
"""

import argparse
import collections
import itertools
import logging
import os
import statistics
import sys
import tempfile
import time

import kazoo.client
import zoarium

DATA = b"x" * 100
OUTSTANDING = 100
_number = itertools.count()


def per_second(count, work):
    begin, cpu = time.perf_counter(), time.process_time()
    work(count)
    taken, used = time.perf_counter() - begin, time.process_time() - cpu
    return count / taken, used / count * 1e6


def sync(client):
    def work(count):
        parent = client.create(f"/p{next(_number)}", b"")
        for at in range(count):
            client.create(f"{parent}/n{at}", DATA)

    return work


def pipelined(client):
    def work(count):
        parent = client.create(f"/p{next(_number)}", b"")
        under_way = collections.deque()
        for at in range(count):
            if len(under_way) == OUTSTANDING:
                under_way.popleft().get()
            under_way.append(client.create_async(f"{parent}/n{at}", DATA))
        for one in under_way:
            one.get()

    return work


def get(client):
    def work(count):
        path = client.create(f"/p{next(_number)}", DATA)
        for _ in range(count):
            client.get(path)

    return work


def sync_time(folder):
    """What one sync of a few bytes takes there, µs."""
    path = os.path.join(folder, "sync-time")
    with open(path, "wb") as file:
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
        begin = time.perf_counter()
        for at in range(200):
            os.pwrite(file.fileno(), DATA, at * 4096)
            os.fdatasync(file.fileno())
        taken = time.perf_counter() - begin
    os.unlink(path)
    return taken / 200 * 1e6


def measure(where, folder, count, rounds):
    """Prints a table; returns how many times as fast as kazoo each kind is."""
    print(f"\n{where}, one sync takes {sync_time(folder):.0f} µs")
    clients = {}
    with zoarium.Server(os.path.join(folder, "data")) as server:
        clients["zoarium"] = server.client()
        clients["zoarium, TCP"] = zoarium.connect(server.address)
        clients["kazoo"] = kazoo.client.KazooClient(server.address)
        clients["kazoo"].start()
        kinds = {"create, sync": sync, "create, pipelined": pipelined, "get, sync": get}
        readings = collections.defaultdict(list)
        for _ in range(rounds):
            for kind, make in kinds.items():
                for name, client in clients.items():
                    readings[kind, name].append(per_second(count, make(client)))
        print(f"{'requests per second':22}" + "".join(f"{name:>24}" for name in clients))
        ratios = {}
        for kind in kinds:
            line = f"{kind:22}"
            rates = {}
            for name in clients:
                rates[name] = statistics.median(rate for rate, _ in readings[kind, name])
                used = statistics.median(used for _, used in readings[kind, name])
                line += f"{rates[name]:12,.0f} ({used:5.1f} µs)"
            ratios[kind] = rates["zoarium"] / rates["kazoo"]
            print(f"{line}  ratio {ratios[kind]:.1f}")
        for client in clients.values():
            client.stop()
    return ratios


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--gate", type=float, default=0)
    arguments = arguments.parse_args()
    logging.disable(logging.CRITICAL)
    gated = {}
    if os.path.isdir("/dev/shm"):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            ratios = measure("in memory", folder, arguments.count, arguments.rounds)
            gated |= {f"{kind}, in memory": ratios[kind] for kind in ("create, sync", "create, pipelined")}
    with tempfile.TemporaryDirectory() as folder:
        ratios = measure("on disk", folder, arguments.count, arguments.rounds)
        gated["create, pipelined, on disk"] = ratios["create, pipelined"]
    print("\nin brackets: processor time of this process per request, server included")
    for kind, ratio in gated.items():
        if ratio < arguments.gate:
            sys.exit(f"{kind}: below {arguments.gate} times kazoo's rate")


if __name__ == "__main__":
    main()
