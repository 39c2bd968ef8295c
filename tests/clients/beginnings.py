#!/usr/bin/env python3
"""How ensembles begin, with members whose files are new, wiped or imported: who votes, who waits, and what ends the waiting.

    tests/clients/beginnings.py                                     # three Zoarium members
    tests/clients/beginnings.py --members zookeeper,zoarium,zoarium # and beside Apache ZooKeeper's

An ensemble that does not start is as bad as one that forgets. So each case has an end: all serve, and what was acknowledged is
there; or, where a member is right to wait, nobody serves, the log says what is waited for, and what an operator is told to do
there ends it.
"""

import argparse
import contextlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

import cluster
import raw
import servers

# Several times as long as an election takes.
WAITS_SECONDS = 4


class Wrong(Exception):
    """A case did not end as it should."""


class NotForThese(Exception):
    """A case says nothing of these kinds of members."""


@contextlib.contextmanager
def ensemble(folder, kinds, **more):
    them = cluster.Cluster(folder, kinds, tick_ms=200, **more)
    try:
        yield them
    finally:
        them.stop()


def write(member, path):
    client = raw.Client(member.client_port, host=member.host)
    code, _ = client.call(raw.CREATE, raw.create(path))
    client.close()
    if code != 0:
        raise Wrong(f"{path} was refused with {code}")


def await_paths(members, *paths):
    """All of them have these."""
    for member in members:
        client = raw.Client(member.client_port, host=member.host)
        client.demand(raw.SYNC, raw.text("/"))
        for path in paths:
            code, _ = client.call(raw.EXISTS, raw.read(path))
            if code != 0:
                raise Wrong(f"member {member.number} does not have {path}, which was acknowledged")
        client.close()


def nobody_serves(members, why):
    end = time.monotonic() + WAITS_SECONDS
    while time.monotonic() < end:
        modes = {member.number: member.mode() for member in members}
        if any(modes.values()):
            raise Wrong(f"{why}, and {modes} serve")
        time.sleep(0.1)


def it_grows(them, most, last):
    """They serve, and the last one, new, joins them."""
    write(most[0], "/a")
    last.start()
    them.await_service()
    await_paths(them.members.values(), "/a")


def says(member, words):
    log = (member.folder / "server.log").read_text(errors="replace")
    if words not in log:
        raise Wrong(f"the log of member {member.number} does not say {words!r}")


def new_ones(members):
    return [member for member in members if member.kind == "zoarium"]


def one_after_another(folder, kinds):
    """New members, started one after another, serve once the last one is there, and a majority is enough from then on."""
    with ensemble(folder, kinds) as them:
        *first, last = them.members.values()
        for member in first:
            member.start()
            time.sleep(1.5)
        them.start()
        write(first[0], "/a")
        first[0].kill()
        them.await_service(members=[*first[1:], last])
        write(last, "/b")
        first[0].start()
        them.await_service()
        await_paths(them.members.values(), "/a", "/b")


def all_killed_before_the_first_write(folder, kinds):
    """New members are killed at any moment of their first election, and start again."""
    with ensemble(folder, kinds) as them:
        for pause in (0.1, 0.3, 0.6, 1.0, 1.5):
            for member in them.members.values():
                member.start()
            time.sleep(pause)
            for member in them.members.values():
                member.kill()
        them.start()
        for member in them.members.values():
            member.kill()
        # Who has been led once votes.
        *most, last = them.members.values()
        for member in most:
            member.start()
        them.await_service(members=most)
        it_grows(them, most, last)


def one_never_comes(folder, kinds):
    """Of three new members the third never comes: the others wait, say for whom, and begin with the file `initialize`."""
    with ensemble(folder, kinds) as them:
        *most, last = them.members.values()
        for member in most:
            member.start()
        if len(new_ones(most)) == len(most):
            nobody_serves(most, "one of three new members was never heard")
            for member in most:
                says(member, "'initialize'")
                says(member, f"not heard yet: {last.number}")
            for member in most:
                member.stop()
                (member.data / "initialize").touch()
                member.start()
            them.await_service(members=most)
            if any((member.data / "initialize").exists() for member in most):
                raise Wrong("the file initialize is left")
        elif not new_ones(most):
            them.await_service(members=most)
        else:
            # One of ZooKeeper's votes at once, ours waits.
            nobody_serves(most, "one of three new members was never heard")
            for member in new_ones(most):
                member.stop()
                (member.data / "initialize").touch()
                member.start()
            them.await_service(members=most)
        it_grows(them, most, last)


def initialize_and_killed(folder, kinds):
    """What the file `initialize` says holds though each member is killed as soon as it has taken the file away."""
    with ensemble(folder, kinds) as them:
        *most, last = them.members.values()
        if len(new_ones(most)) < len(most):
            raise NotForThese("ZooKeeper's vote at once")
        for member in most:
            (member.data / "initialize").touch()
            member.start()
            end = time.monotonic() + 60
            while (member.data / "initialize").exists():
                if time.monotonic() > end:
                    raise Wrong("the file initialize is left")
                time.sleep(0.001)
            # By itself it leads nobody, so nothing of an election is in its file.
            member.kill()
        for member in most:
            member.start()
        them.await_service(members=most)
        it_grows(them, most, last)


def autocreate(folder, kinds):
    """With `db.autocreate=true` two of three new members begin; with `false` none does without `initialize`."""
    with ensemble(folder / "true", kinds, settings=["db.autocreate=true"]) as them:
        *most, last = them.members.values()
        for member in most:
            member.start()
        them.await_service(members=most)
        last.start()
        them.await_service()
    with ensemble(folder / "false", kinds, settings=["db.autocreate=false"]) as them:
        members = list(them.members.values())
        for member in members:
            if member.kind == "zookeeper":
                # It is read as a property of the Java machine there.
                member.command.insert(1, "-Dzookeeper.db.autocreate=false")
            member.start()
        nobody_serves(members, "db.autocreate is false")
        for member in members[:-1]:
            member.stop()
            if member.kind == "zookeeper":
                # It does not start again on the epoch −1 that it has kept.
                member.wipe()
            (member.data / "initialize").touch()
            member.start()
        them.await_service()


def with_an_observer(folder, kinds):
    """An observer neither votes nor is waited for."""
    with ensemble(folder, [*kinds, "zoarium"], observers=1) as them:
        *voters, observer = them.members.values()
        for member in voters:
            member.start()
        them.await_service(members=voters)
        write(voters[0], "/a")
        observer.start()
        them.await_service()
        await_paths(them.members.values(), "/a")
        observer.kill()
        observer.wipe()
        observer.start()
        them.await_service()
        await_paths([observer], "/a")


def disks_replaced_one_after_another(folder, kinds):
    """Every member once with a new disk, while the others serve: in the end nobody has its first file, and everything is there."""
    with ensemble(folder, kinds) as them:
        them.start()
        write(them.members[1], "/first")
        for number, member in them.members.items():
            member.kill()
            member.wipe()
            rest = [other for other in them.members.values() if other is not member]
            them.await_service(members=rest)
            write(rest[0], f"/without-{number}")
            member.start()
            them.await_service()
        paths = ["/first", *(f"/without-{number}" for number in them.members)]
        await_paths(them.members.values(), *paths)
        for member in them.members.values():
            member.kill()
        them.start()
        await_paths(them.members.values(), *paths)


def most_disks_lost_at_once(folder, kinds):
    """Two of three files are lost at once. Ours wait until they have met the member that has everything, and it leads."""
    if kinds.count("zookeeper") > 1:
        raise NotForThese("ZooKeeper's vote at once with a new file")
    with ensemble(folder, kinds) as them:
        them.start()
        write(them.members[1], "/a")
        for member in them.members.values():
            await_paths([member], "/a")
        keeper, *lost = sorted(them.members.values(), key=lambda member: member.kind != "zookeeper")
        for member in them.members.values():
            member.kill()
        for member in lost:
            member.wipe()
            member.start()
        nobody_serves(lost, "the member that has everything is away")
        keeper.start()
        them.await_service()
        await_paths(them.members.values(), "/a")


def imported_files_vote(folder, kinds):
    """Members that took over ZooKeeper's folders begin though the third is away."""
    if "zookeeper" not in kinds:
        raise NotForThese("they need a server of ZooKeeper's")
    with ensemble(folder / "old", ["zookeeper"] * 3) as old:
        old.start()
        write(old.members[1], "/a")
        for member in old.members.values():
            await_paths([member], "/a")
    with ensemble(folder / "new", ["zoarium"] * 3) as new:
        *most, last = new.members.values()
        for member in most:
            before = old.members[member.number].data
            subprocess.run([member.command[0], "--quiet", "import", before, "--to", member.data], check=True)
            member.start()
        new.await_service(members=most)
        await_paths(most, "/a")
        last.start()
        new.await_service()
        await_paths(new.members.values(), "/a")


CASES = [
    one_after_another,
    all_killed_before_the_first_write,
    one_never_comes,
    initialize_and_killed,
    autocreate,
    with_an_observer,
    disks_replaced_one_after_another,
    most_disks_lost_at_once,
    imported_files_vote,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", default="zoarium,zoarium,zoarium", help="kinds, separated by commas")
    parser.add_argument("--cases", default=",".join(case.__name__ for case in CASES))
    parser.add_argument("--keep", action="store_true", help="leave the folders with data and logs")
    arguments = parser.parse_args()
    kinds, wanted = arguments.members.split(","), arguments.cases.split(",")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="zoarium-beginnings-"))
    print(f"members {', '.join(kinds)}, in {folder}", flush=True)
    passed, failed = 0, 0
    for case in CASES:
        if case.__name__ not in wanted:
            continue
        begin = time.monotonic()
        try:
            case(folder / case.__name__, kinds)
            passed += 1
            print(f"ok {case.__name__}, {time.monotonic() - begin:.1f} s", flush=True)
        except NotForThese as why:
            print(f"-- {case.__name__}: {why}", flush=True)
        except servers.Missing as missing:
            print(f"SKIPPED: {missing}\n{passed} passed, {failed} failed, 1 skipped")
            return 0
        except (Wrong, RuntimeError, OSError, AssertionError, subprocess.CalledProcessError, raw.Gone, raw.Late) as error:
            failed += 1
            traceback.print_exception(error, limit=-2)
            print(f"FAILED {case.__name__}: {error}", flush=True)
    if not arguments.keep and not failed:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
