#!/usr/bin/env python3
"""Creates per second, side by side: this package in-process and over TCP, and kazoo over TCP, on one embedded server.

    bench/create.py [--count N] [--rounds N] [--gate 5]

One thread, 100 bytes of data; `sync` waits for each create, `pipelined` keeps 100 of `create_async` under way. Every
round measures all of them in turn, so that what else the machine does hits all alike; the median counts. With `--gate`
it fails when this package, in-process, is less than so many times as fast as kazoo.
"""

import argparse
import collections
import itertools
import logging
import statistics
import sys
import time

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


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--data-dir")
    arguments.add_argument("--gate", type=float)
    arguments = arguments.parse_args()
    logging.disable(logging.CRITICAL)

    clients = {}
    with zoarium.Server(arguments.data_dir) as server:
        clients["zoarium"] = server.client()
        clients["zoarium, TCP"] = zoarium.connect(server.address)
        try:
            import kazoo.client

            clients["kazoo"] = kazoo.client.KazooClient(server.address)
            clients["kazoo"].start()
        except ImportError:
            print("kazoo is not installed")
        kinds = {"create, sync": sync, "create, pipelined": pipelined, "get, sync": get}
        readings = collections.defaultdict(list)
        for _ in range(arguments.rounds):
            for kind, make in kinds.items():
                for name, client in clients.items():
                    readings[kind, name].append(per_second(arguments.count, make(client)))
        failed = False
        print(f"{'requests per second':22}" + "".join(f"{name:>24}" for name in clients))
        for kind in kinds:
            line = f"{kind:22}"
            rates = {}
            for name in clients:
                rates[name] = statistics.median(rate for rate, _ in readings[kind, name])
                used = statistics.median(used for _, used in readings[kind, name])
                line += f"{rates[name]:12,.0f} ({used:5.1f} µs)"
            if "kazoo" in rates:
                ratio = rates["zoarium"] / rates["kazoo"]
                line += f"  ratio {ratio:.1f}"
                failed |= kind.startswith("create") and ratio < (arguments.gate or 0)
            print(line)
        print("in brackets: processor time of this process per request, server included")
        for client in clients.values():
            client.stop()
    if failed:
        sys.exit(f"below {arguments.gate} times kazoo's rate")


if __name__ == "__main__":
    main()
