#!/usr/bin/env python3
"""Local sessions (`localSessionsEnabled`) of three members and an observer beside those of Apache ZooKeeper.

    tests/clients/local_sessions.py [--show]

The same story is told to an ensemble of ours, to one of ZooKeeper's and to two of both kinds, with `localSessionsUpgradingEnabled` on
and off: what clients are answered at the leader, at a follower and at an observer, how many zxids each deed consumes, `dump` and `mntr`,
where a session goes on, and what is left when its member is killed. All have to tell the same, but for what
docs/COMPATIBILITY.md names.
"""

import argparse
import pathlib
import shutil
import struct
import sys
import tempfile
import time
import traceback

import cluster
import raw
import servers

CREATE2, CREATE_CONTAINER, CREATE_TTL = 15, 19, 21
SEQUENTIAL, CONTAINER, TTL = 2, 4, 5
ENSEMBLES = {
    "ours": ["zoarium"] * 4,
    "theirs": ["zookeeper"] * 4,
    "led by ours": ["zookeeper", "zookeeper", "zoarium", "zookeeper"],
    "led by theirs": ["zoarium", "zoarium", "zookeeper", "zoarium"],
}
ROLES = ["leader", "follower", "observer"]
LEADER = 3
# No session may end by itself beside the deeds whose zxids are counted, however slow the machine is.
LONG_MS = 600_000


def differs_as_told(line, ours_refuses):
    """What the line says where docs/COMPATIBILITY.md names a difference: a server of ours refuses an ephemeral of a local session at once,
    and a leader of ours says of an unknown session that it is a local one."""
    if not ours_refuses:
        return line
    for deed in ("create ephemeral", "create2 ephemeral", "create ephemeral sequential"):
        line = line.replace(f"{deed}: -120 after 1", f"{deed}: -120 after ?").replace(f"{deed}: -120 after 0", f"{deed}: -120 after ?")
    return line.replace("multi: [0, -112]", "multi: [0, ?]").replace("multi: [0, -120]", "multi: [0, ?]")


class Story:
    def __init__(self, kinds, folder, upgrades):
        settings = [
            f"maxSessionTimeout={LONG_MS}",
            "extendedTypesEnabled=true",
            "localSessionsEnabled=true",
            f"localSessionsUpgradingEnabled={str(upgrades).lower()}",
        ]
        self.upgrades = upgrades
        self.cluster = cluster.Cluster(folder, kinds, observers=1, settings=settings)
        for member in self.cluster.members.values():
            if member.kind != "zoarium":
                member.command.insert(1, "-Dzookeeper.extendedTypesEnabled=true")
        self.lines = []

    def tell(self, line):
        self.lines.append(line)

    def begin(self):
        self.cluster.start()
        self.have_it_led()
        self.by_role = {}
        for member in self.cluster.members.values():
            self.by_role.setdefault(member.mode(), []).append(member)
        self.tell(f"roles: {sorted((role, len(members)) for role, members in self.by_role.items())}")
        self.counts = connected(self.by_role["leader"][0])

    def have_it_led(self):
        """Whoever leads before the member that is to lead was there has to give way."""
        for _ in range(5):
            number = self.cluster.await_service()
            if number == LEADER:
                return
            early = self.cluster.members[number]
            early.stop()
            self.cluster.await_service(members=[member for member in self.cluster.members.values() if member is not early])
            early.start()
        raise RuntimeError(f"{number} leads in place of {LEADER}")

    def zxid(self):
        """The zxid of a write now. What was consumed since the last such write is one less than the difference."""
        self.counts.demand(raw.SET_DATA, raw.set_data("/", b"x"))
        return self.counts.zxid

    def does(self, what, deed):
        before = self.zxid()
        answer = deed()
        self.tell(f"{what}: {answer} after {self.zxid() - before - 1}")

    def at(self, role):
        member = self.by_role[role][-1]
        self.does(f"{role}: connect", lambda: self.connect(role, member))
        client = self.client
        self.told(role, member)
        path = f"/{role}"

        def asks(what, op, body):
            self.does(f"{role}: {what}", lambda: client.call(op, body)[0])

        asks("create", raw.CREATE, raw.create(path))
        asks("create2", CREATE2, raw.create(f"{path}/2"))
        asks("create again", raw.CREATE, raw.create(path))
        asks("set", raw.SET_DATA, raw.set_data(path, b"x"))
        asks("sync", raw.SYNC, raw.text("/"))
        asks("container", CREATE_CONTAINER, raw.create(f"{path}/c", flags=CONTAINER))
        asks("ttl", CREATE_TTL, raw.create(f"{path}/t", flags=TTL) + struct.pack(">q", 3_600_000))
        asks("multi of others", raw.MULTI, raw.multi([(raw.CREATE, raw.create(f"{path}/m")), (raw.DELETE, raw.delete(f"{path}/2"))]))
        self.told(role, member)
        # Of three sessions each, since the first ephemeral changes the session.
        for what, op, flags in (
            ("create ephemeral", raw.CREATE, raw.EPHEMERAL),
            ("create2 ephemeral", CREATE2, raw.EPHEMERAL),
            ("create ephemeral sequential", raw.CREATE, raw.EPHEMERAL + SEQUENTIAL),
        ):
            self.connect(role, member)
            client = self.client
            asks(what, op, raw.create(f"{path}/e{op}{flags}", flags=flags))
            asks(f"{what} again", raw.CREATE, raw.create(f"{path}/e{op}{flags}"))
            asks(f"close after {what}", raw.CLOSE, b"")
        self.connect(role, member)
        client = self.client
        before = self.zxid()
        body = raw.multi([(raw.CREATE, raw.create(f"{path}/f")), (raw.CREATE, raw.create(f"{path}/e", flags=raw.EPHEMERAL))])
        code, results = client.call(raw.MULTI, body)
        self.tell(f"{role}: multi: {results_of(results) if code == 0 else code} after {self.zxid() - before - 1}")
        asks("exists", raw.EXISTS, raw.read(f"{path}/e"))
        self.told(role, member)
        self.moves(role, member)
        self.expires(role, member)

    def connect(self, role, member):
        self.client = connected(member)
        return "a session"

    def moves(self, role, member):
        """Where a local session goes on, and one that has an ephemeral."""
        others = [one for one in self.cluster.members.values() if one is not member]
        local, other = connected(member), connected(member)
        for what, client in (("local", local), ("with ephemeral", other)):
            if client is other:
                client.call(raw.CREATE, raw.create(f"/{role}/moves", flags=raw.EPHEMERAL))
            client.drop()
            here = goes_on(member, client)
            wrong = goes_on(member, client, b"\1" * 16)
            there = {goes_on(one, client) for one in others}
            self.tell(f"{role}: a session {what} goes on at its member: {here}, with a wrong password: {wrong}, elsewhere: {there}")

    def expires(self, role, member):
        silent = connected(member, 1000)
        before = self.zxid()
        silent.wait = 30
        try:
            silent.receive()
            self.tell(f"{role}: a silent session is told something")
        except raw.Gone:
            self.tell(f"{role}: a silent session is closed after {self.zxid() - before - 1}")
        self.tell(f"{role}: and goes on: {goes_on(member, silent)}")

    def told(self, role, member):
        """The words that name sessions. Of `dump` only the headings, and how many sessions are below them."""
        numbers = dict(line.split("\t", 1) for line in member.word("mntr").splitlines() if "\t" in line)
        found = [str(round(float(numbers[f"zk_{which}_sessions"]))) for which in ("local", "global")]
        headings = []
        for line in member.word("dump").partition("ephemeral nodes")[0].splitlines():
            if line.endswith(":") and "expire at" not in line:
                name, _, count = line.rstrip(":").partition("(")
                headings.append(f"{name}({count.rpartition('(')[2]}")
        self.tell(f"{role}: local and global: {' '.join(found)}; dump: {headings}")

    def end(self):
        """The follower dies. What all know goes on, what it alone knew does not."""
        victim = self.by_role["follower"][-1]
        local, upgraded = connected(victim), connected(victim)
        code, _ = upgraded.call(raw.CREATE, raw.create("/survives", flags=raw.EPHEMERAL))
        victim.kill()
        leader = self.by_role["leader"][0]
        self.tell(f"a follower dies: {code}, local {goes_on(leader, local)}, with ephemeral {goes_on(leader, upgraded)}")
        client = connected(leader)
        client.demand(raw.SYNC, raw.text("/"))
        self.tell(f"its ephemeral: {client.call(raw.EXISTS, raw.read('/survives'))[0]}")
        self.tell(f"ended by themselves: {self.cluster.ended_by_themselves()}")


def connected(member, timeout_ms=LONG_MS, session=0, password=raw.NO_PASSWORD):
    """A connection as soon as the member serves."""
    end = time.monotonic() + 60
    while True:
        try:
            return raw.Client(member.client_port, timeout_ms, session, password, wait=30)
        except (raw.Gone, raw.Late, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def goes_on(member, client, password=None):
    """Whether the session does at this member. Its new connection is dropped, and the session is not."""
    try:
        connected(member, LONG_MS, client.session, password or client.password).drop()
        return True
    except raw.Expired:
        return False


def results_of(body):
    """The error codes of the parts of a multi, 0 for those that were done."""
    codes = []
    while True:
        op, is_done, code = struct.unpack(">i?i", body[:9])
        body = body[9:]
        if is_done:
            return codes
        if op == -1:
            codes.append(struct.unpack(">i", body[:4])[0])
            body = body[4:]
        else:
            codes.append(0)
            length = struct.unpack(">i", body[:4])[0] if op in (raw.CREATE, CREATE2) else 0
            body = body[(4 + length if op in (raw.CREATE, CREATE2) else 0) + (68 if op == CREATE2 else 0) :]


def is_told(lines, upgrades):
    """What any ensemble with local sessions tells: that all agree shows nothing when the key has no effect on any."""
    # The beginning of the session, and the create.
    ephemeral = "0 after 2" if upgrades else "-120 after"
    wanted = [f"{role}: connect: a session after 0" for role in ROLES]
    wanted += [f"{role}: create ephemeral: {ephemeral}" for role in ROLES]
    wanted += [f"a follower dies: {0 if upgrades else -120}, local False, with ephemeral {upgrades}"]
    return [f"no line begins with {line!r}" for line in wanted if not any(one.startswith(line) for one in lines)]


def told_by(name, folder, upgrades):
    story = Story(ENSEMBLES[name], folder, upgrades)
    try:
        story.begin()
        for role in ROLES:
            story.at(role)
        story.end()
        return story.lines
    finally:
        story.cluster.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", action="store_true", help="print what each ensemble tells")
    parser.add_argument("--only", help="one of the ensembles, beside ZooKeeper's", choices=[name for name in ENSEMBLES if name != "theirs"])
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="zoarium-local-"))
    passed, failed = 0, 0
    try:
        servers.zookeeper_classpath(None)
        for upgrades in (False, True):
            expected = None
            others = [name for name in ENSEMBLES if name != "theirs"]
            for name in ["theirs", *([options.only] if options.only else others)]:
                lines = told_by(name, folder / f"{name.replace(' ', '-')}-{upgrades}", upgrades)
                if options.show:
                    print(f"==== {name}, upgrading {upgrades}", *lines, sep="\n")
                masked = [differs_as_told(line, not upgrades) for line in lines]
                expected = expected or masked
                wrong = is_told(lines, upgrades)
                wrong += [f"{one!r}, of ZooKeeper's {other!r}" for one, other in zip(masked, expected) if one != other]
                if len(masked) != len(expected):
                    wrong.append(f"{len(masked)} lines, of ZooKeeper's {len(expected)}")
                for text in wrong:
                    print(f"FAILED {name}, upgrading {upgrades}: {text}", flush=True)
                passed, failed = passed + len(masked) - len(wrong), failed + len(wrong)
                print(f"ok {name}, upgrading {upgrades}" if not wrong else f"{name}: {len(wrong)} lines differ", flush=True)
    except servers.Missing as missing:
        print(f"SKIPPED: {missing}\n0 passed, 0 failed, 1 skipped")
        return 0
    except (RuntimeError, OSError, AssertionError, raw.Gone, raw.Late, raw.Expired) as error:
        traceback.print_exception(error, limit=-3)
        print(f"FAILED {error!r} (in {folder})\n{passed} passed, {failed + 1} failed, 0 skipped")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
