"""A network of its own for each member of an ensemble, on one bridge, so that what one sends another can be made to vanish.

Needs root, Linux and `ip`. A cut goes one way and is silent: the sender is given a wrong hardware address for the receiver,
so packets leave and nobody takes them, as on a cable that was pulled. Clients are on the bridge itself and reach everybody.
"""

import os
import shutil
import subprocess

import servers

# Of a machine that does not exist.
NOWHERE = "02:00:00:00:de:ad"


def run(*command, check=True):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout.strip()}")
    return done.returncode == 0


class Network:
    """Members 1, 2, 3 …, each in a namespace of its own."""

    def __init__(self, count):
        if os.geteuid() != 0:
            raise servers.Missing("network namespaces need root")
        if shutil.which("ip") is None:
            raise servers.Missing("no `ip` on PATH: apt-get install iproute2")
        self.numbers = range(1, count + 1)
        self.tag = f"zoa{os.getpid() % 100000}"
        # Private, and another one for each run.
        self.subnet = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.cuts = set()
        try:
            self._build()
        except RuntimeError as error:
            self.close()
            raise servers.Missing(f"network namespaces cannot be made here: {error}") from None

    def _build(self):
        bridge = f"{self.tag}b"
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "addr", "add", f"{self.subnet}.254/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        for number in self.numbers:
            space, outer = self.space(number), f"{self.tag}v{number}"
            run("ip", "netns", "add", space)
            run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
            run("ip", "link", "set", outer, "master", bridge, "up")
            run("ip", "-n", space, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
            run("ip", "-n", space, "link", "set", "eth0", "up")
            run("ip", "-n", space, "link", "set", "lo", "up")

    def space(self, number):
        return f"{self.tag}n{number}"

    def address(self, number):
        return f"{self.subnet}.{number}"

    def around(self, number):
        """What goes before a command that shall run where this member is."""
        return ["ip", "netns", "exec", self.space(number)]

    def cut(self, sender, receiver):
        """From now on what `sender` sends to `receiver` vanishes."""
        where = [self.address(receiver), "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent"]
        run("ip", "-n", self.space(sender), "neigh", "replace", *where)
        self.cuts.add((sender, receiver))

    def cut_between(self, one, other):
        """Both ways, between every member of `one` and every member of `other`."""
        for a in one:
            for b in other:
                self.cut(a, b)
                self.cut(b, a)

    def slow(self, number, kbit):
        """What this member sends goes at this rate, and waits in a long queue."""
        run("ip", "netns", "exec", self.space(number), "tc", "qdisc", "replace", "dev", "eth0", "root",
            "tbf", "rate", f"{kbit}kbit", "burst", "4kb", "limit", "1mb")

    def heal(self):
        """Everybody reaches everybody again, at full speed."""
        for sender, receiver in self.cuts:
            run("ip", "-n", self.space(sender), "neigh", "del", self.address(receiver), "dev", "eth0", check=False)
        self.cuts.clear()
        for number in self.numbers:
            run("ip", "netns", "exec", self.space(number), "tc", "qdisc", "del", "dev", "eth0", "root", check=False)

    def close(self):
        for number in self.numbers:
            run("ip", "netns", "del", self.space(number), check=False)
            run("ip", "link", "del", f"{self.tag}v{number}", check=False)
        run("ip", "link", "del", f"{self.tag}b", check=False)
