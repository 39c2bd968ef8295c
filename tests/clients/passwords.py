#!/usr/bin/env python3
"""Passwords of sessions in an ensemble that members of Apache ZooKeeper come to and go from.

    tests/clients/passwords.py

Three members of ours make random passwords. One after the other is replaced by one of ZooKeeper's, and each by one of ours again: from
the first one on every session gets ZooKeeper's password, and goes on at members of both kinds; when the last one is gone, it stays so
until an operator says `moving` and then `keyed`. No session is lost that has connected once since the ensemble changed over, as
docs/MIGRATION.md has it.
"""

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

KINDS = ["zoarium", "zoarium", "zoarium"]


class Wrong(Exception):
    """It did not go as it should."""


def computed(session):
    """ZooKeeper's password of a session: `java.util.Random`, with a seed that everybody knows."""
    state = ((session & (1 << 64) - 1) ^ 0xB341_5C00 ^ 0x5_DEEC_E66D) & (1 << 48) - 1
    password = b""
    for _ in range(4):
        state = (state * 0x5_DEEC_E66D + 0xB) & (1 << 48) - 1
        password += struct.pack("<I", state >> 16 & 0xFFFF_FFFF)
    return password


class Held:
    """A session that moves, and its ephemeral."""

    def __init__(self, member, path):
        client = connected(member)
        client.demand(raw.CREATE, raw.create(path, flags=raw.EPHEMERAL))
        self.session, self.password, self.path = client.session, client.password, path
        client.drop()

    def moves(self, *members):
        for member in members:
            client = connected(member, self.session, self.password)
            # A member that was not needed for the quorum may not have heard of the znode yet.
            client.demand(raw.SYNC, raw.text("/"))
            code, _ = client.call(raw.EXISTS, raw.read(self.path))
            if code != 0:
                raise Wrong(f"{self.path} is gone at member {member.number}")
            self.password = client.password
            client.drop()

    def is_computed(self):
        return self.password == computed(self.session)

    def opens(self, member, password):
        try:
            connected(member, self.session, password).drop()
        except raw.Expired:
            return False
        return True


def connected(member, session=0, password=raw.NO_PASSWORD):
    """A connection as soon as the member serves; 60 s are long enough for any of this."""
    end = time.monotonic() + 60
    while True:
        try:
            return raw.Client(member.client_port, 120_000, session, password, wait=10)
        except (raw.Gone, raw.Late, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def expect(is_so, what):
    if not is_so:
        raise Wrong(what)


def replaced(them, number, kind):
    """The member begins anew as one of that kind, and is sent everything."""
    old = them.members[number]
    old.stop()
    old.wipe()
    lines = [line for line in old.config.read_text().splitlines() if not line.startswith("dataDir=")]
    them.members[number] = cluster.Member(number, kind, old.folder, old.client_port, lines)
    them.members[number].start()
    them.await_service()


def told(them, line):
    """Every member is restarted with this line, the leader last."""
    leader = them.who_leads()
    for number in sorted(them.members, key=lambda number: number == leader):
        member = them.members[number]
        expect(member.stop() == 0, f"member {number} does not stop cleanly")
        member.config.write_text(member.config.read_text() + line + "\n")
        member.start()
        them.await_service()


def whole(folder):
    def members():
        return list(them.members.values())

    them = cluster.Cluster(folder, KINDS, tick_ms=500, settings=["maxSessionTimeout=120000"])
    try:
        them.start()
        first = Held(members()[0], "/first")
        expect(not first.is_computed(), "an ensemble of ours alone gives out what anybody can compute")
        first.moves(*members())
        expect(not first.opens(members()[1], computed(first.session)), "what anybody can compute opens a session")
        first.moves(*members())
        print("ok three of ours", flush=True)

        # What docs/MIGRATION.md says: first all are told.
        told(them, "zoarium.sessionPasswords=compatible")
        first.moves(members()[0])
        expect(first.is_computed(), "compatible is not ZooKeeper's")
        print("ok made ready for ZooKeeper's", flush=True)
        for number in (1, 2, 3):
            replaced(them, number, "zookeeper")
            first.moves(*members())
        print("ok replaced by ZooKeeper's, one by one", flush=True)
        second = Held(members()[0], "/second")
        for number in (3, 1, 2):
            replaced(them, number, "zoarium")
            first.moves(*members())
            second.moves(*members())
        expect(first.is_computed() and second.is_computed(), "it changed by itself")
        print("ok replaced by ours, one by one", flush=True)
        told(them, "zoarium.sessionPasswords=moving")
        before = first.password
        first.moves(*members())
        expect(not first.is_computed() and first.opens(members()[1], before), "moving takes both and gives random ones")
        second.moves(members()[2])
        told(them, "zoarium.sessionPasswords=keyed")
        for held in (first, second):
            held.moves(*members())
            expect(not held.opens(members()[0], computed(held.session)), "what anybody can compute opens a session")
        print("ok keyed again", flush=True)

        # Nobody was told anything: the ensemble finds out by itself, and new sessions go on anywhere.
        for member in members():
            member.config.write_text(member.config.read_text().replace("zoarium.sessionPasswords=", "# "))
        told(them, "# nothing")
        first.moves(*members())
        expect(not first.is_computed(), "it is keyed still")
        replaced(them, 2, "zookeeper")
        third = Held(members()[0], "/third")
        expect(third.is_computed(), "beside a member of ZooKeeper's passwords are its own")
        third.moves(*members())
        # Who comes back to one of ours first loses nothing either.
        first.moves(members()[0], members()[1], members()[2])
        for member in members():
            member.kill()
        them.start()
        for held in (first, third):
            held.moves(*members())
        expect(not them.ended_by_themselves(), "\n".join(them.ended_by_themselves()))
        print("ok changed over by itself", flush=True)
    finally:
        them.stop()


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="zoarium-passwords-"))
    try:
        servers.zookeeper_classpath(None)
        whole(folder)
    except servers.Missing as missing:
        print(f"SKIPPED: {missing}\n0 passed, 0 failed, 1 skipped")
        return 0
    except (Wrong, RuntimeError, OSError, AssertionError, raw.Gone, raw.Late, raw.Expired) as error:
        traceback.print_exception(error, limit=-3)
        print(f"FAILED {error!r} (in {folder})\n0 passed, 1 failed, 0 skipped")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    print("1 passed, 0 failed, 0 skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
