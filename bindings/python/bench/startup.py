#!/usr/bin/env python3
"""From `import zoarium` to the first `create`, with a server started in between, in fresh interpreters.

    bench/startup.py [--rounds N] [--gate 100] [--details]

Milliseconds, the median and the best of the rounds; an interpreter's own start is not counted. `--details` shows what
the import is made of (`-X importtime`). With `--gate` it fails when the median is above so many milliseconds.
"""

import argparse
import statistics
import subprocess
import sys

PROGRAM = """
import time
begin = time.perf_counter()
import zoarium
imported = time.perf_counter()
server = zoarium.Server()
started = time.perf_counter()
zk = server.client()
zk.create("/first", b"x")
created = time.perf_counter()
print(imported - begin, started - imported, created - started, created - begin)
zk.close()
server.stop()
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--gate", type=float)
    arguments.add_argument("--details", action="store_true")
    arguments = arguments.parse_args()
    rounds = []
    # The first only warms up what every later one finds: compiled modules, the library in memory.
    for _ in range(arguments.rounds + 1):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        rounds.append([float(part) * 1000 for part in done.stdout.split()])
    for name, values in zip(("import", "server", "client and create", "together"), zip(*rounds[1:])):
        median = statistics.median(values)
        print(f"{name:18} {median:8.1f} ms (best {min(values):.1f})")
    if arguments.details:
        command = [sys.executable, "-X", "importtime", "-c", "import zoarium"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
        print("\n".join(line for line in lines if line.split("|")[1].strip().isdigit() and int(line.split("|")[1]) > 1000 or "zoarium" in line) if lines else "")
    if arguments.gate is not None and median > arguments.gate:
        sys.exit(f"above {arguments.gate} ms")


if __name__ == "__main__":
    main()
