#!/usr/bin/env python3
"""Moves the state of one server from Apache ZooKeeper to Zoarium and back, and compares all of it on the way.

    tests/clients/transfer.py                  # all cases
    tests/clients/transfer.py gz torn          # those whose names contain one of these
    tests/clients/transfer.py million          # 1,000,000 znodes, with times

With $ZOA_ZOOKEEPER_CLASSPATH the same runs against another version, from 3.4 on.

Each case lets clients write to Apache ZooKeeper while it takes snapshots, kills it with -9, runs `zoarium import` on its folder,
and compares a walk over every znode (data, stat, ACL) with the one that ZooKeeper itself gives on a copy of the folder. Then
it writes with Zoarium, runs `zoarium export`, starts ZooKeeper on that, and compares again.
"""

import argparse
import hashlib
import logging
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import kazoo_suite
import raw
import servers

SESSION_SECONDS = 300
AUTH = ("digest", "mover:secret")
# Writes per thread: with a snapshot after every 50 or so, some are taken while others go on.
WRITES = 250
THREADS = 4
GET_ACL, GET_CHILDREN = 6, 8
MILLION_SECONDS_MAX = 10


def client(address, **more):
    from kazoo.client import KazooClient

    made = KazooClient(address, timeout=SESSION_SECONDS, auth_data=[AUTH], **more)
    made.start(timeout=30)
    return made


def version():
    """Of Apache ZooKeeper, as numbers."""
    return tuple(int(part) for part in servers.zookeeper_version().split(".")[:2])


def digest_words():
    """What `zoarium import` says of the digest: ZooKeeper leaves one since 3.6."""
    return "as ZooKeeper computed it" if version() >= (3, 6) else "left none to compare with"


def fill(address):
    """What the loading process does: everything that a state can hold, from several sessions at once."""
    from kazoo.exceptions import KazooException
    from kazoo.security import make_acl, make_digest_acl

    owner = client(address)
    owner.create("/open", b"\x00\xff")
    owner.create("/closed", b"", acl=[make_digest_acl("mover", "secret", all=True), make_acl("world", "anyone", read=True)])
    owner.create("/null")
    owner.create("/zookeeper/quota/open", makepath=True)
    owner.create("/zookeeper/quota/open/zookeeper_limits", b"count=100000,bytes=-1")
    owner.create("/zookeeper/quota/open/zookeeper_stats", b"count=0,bytes=0")
    for path in ("/ttl", "/holder") if version() >= (3, 5) else ():
        kind = {"/ttl": "create -t 100000000 /ttl x", "/holder": "create -c /holder x"}[path]
        subprocess.run(
            ["java", "-Dlogback.configurationFile=none", "-cp", servers.zookeeper_classpath(),
             "org.apache.zookeeper.ZooKeeperMain", "-server", address, *kind.split()],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
        )
    owner.create("/holder/child", makepath=True)

    def writer(number):
        mine = client(address)
        mine.create(f"/open/eph-{number}", b"e", ephemeral=True)
        last = None
        for turn in range(WRITES):
            base = f"/open/w{number}"
            mine.ensure_path(base)
            made = mine.create(f"{base}/n-", os.urandom(turn % 90), sequence=True)
            mine.set("/open", b"%d" % turn)
            if turn % 3 == 0 and last:
                mine.delete(last)
            if turn % 7 == 0:
                several = mine.transaction()
                several.create(f"{base}/multi-{turn}", b"m")
                several.set_data("/null", b"%d" % number)
                several.delete(f"{base}/multi-{turn}")
                several.commit()
            if turn % 11 == 0:
                mine.set_acls(made, [make_digest_acl("mover", "secret", all=True)])
            if turn % 13 == 0:
                brief = client(address)
                brief.create(f"{base}/brief", ephemeral=True)
                brief.stop()
            try:
                mine.create("/open")
            except KazooException:
                pass
            last = made

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("filled", flush=True)
    signal.pause()


def walk(address):
    """Every znode: data, the eleven numbers of its stat, its ACL."""
    reader = client(address)
    found, left = {}, ["/"]
    while left:
        path = left.pop()
        data, stat = reader.get(path)
        acls, _ = reader.get_acls(path)
        found[path] = (data, tuple(stat), tuple(sorted((acl.perms, acl.id.scheme, acl.id.id) for acl in acls)))
        left += [f"{path.rstrip('/')}/{name}" for name in reader.get_children(path)]
    sessions = {stat[1][8] for stat in found.values()} - {0}
    reader.stop()
    return found, sessions


def differences(one, other):
    paths = sorted(set(one) | set(other))
    return [f"{path}: {one.get(path)} and {other.get(path)}" for path in paths if one.get(path) != other.get(path)]


def run(*arguments, code=0):
    done = subprocess.run([str(servers.zoarium_binary()), *map(str, arguments)], capture_output=True, text=True)
    text = done.stdout + done.stderr
    if done.returncode != code:
        raise AssertionError(f"zoarium {' '.join(map(str, arguments))}: code {done.returncode} in place of {code}\n{text}")
    return text


def filled_folder(work, settings=()):
    """The folder of an Apache server that clients wrote to until it was killed."""
    theirs = servers.Server("zookeeper", work / "theirs", ["snapCount=50", "preAllocSize=64", f"maxSessionTimeout={SESSION_SECONDS * 1000}",
                                                             "extendedTypesEnabled=true", "snapshot.trust.empty=true", *settings])
    theirs.start()
    loading = subprocess.Popen([sys.executable, __file__, "--fill", theirs.address], stdout=subprocess.PIPE, text=True)
    try:
        if loading.stdout.readline() != "filled\n":
            raise AssertionError("the load failed")
        theirs.kill()
    finally:
        loading.kill()
        loading.wait()
        theirs.stop()
    return theirs


def on_a_copy(kind, work, name, folder, settings=()):
    """A server on a copy of a data folder, and the walk over it."""
    server = servers.Server(kind, work / name, ["extendedTypesEnabled=true",
                                                f"maxSessionTimeout={SESSION_SECONDS * 1000}", *settings])
    shutil.rmtree(server.folder / "data")
    shutil.copytree(folder, server.folder / "data")
    server.start()
    try:
        return walk(server.address)
    finally:
        server.stop()


def there_and_back(work, settings=()):
    theirs = filled_folder(work, settings)
    before, sessions = on_a_copy("zookeeper", work, "theirs-again", theirs.folder / "data", settings)
    assert len(before) > 500 and len(sessions) >= THREADS, (len(before), sessions)

    # A server of ours does not begin with nothing beside their data, and says what to do.
    ours = servers.Server("zoarium", work / "ours", ["extendedTypesEnabled=true", f"maxSessionTimeout={SESSION_SECONDS * 1000}"])
    shutil.rmtree(ours.folder / "data")
    shutil.copytree(theirs.folder / "data", ours.folder / "data")
    refusal = run("serve", ours.config, code=1)
    assert "zoarium import" in refusal, refusal

    files = sorted((path, path.stat().st_size) for path in ours.folder.rglob("version-2/*"))
    dry = run("import", ours.config, "--dry-run")
    assert "nothing was written" in dry and not (ours.folder / "data/zoarium.db").exists(), dry
    told = run("import", ours.config)
    print(told, end="")
    assert digest_words() in told, told
    assert files == sorted((path, path.stat().st_size) for path in ours.folder.rglob("version-2/*")), "the folder was changed"
    again = run("import", ours.config, code=1)
    assert "not overwritten" in again, again

    ours.start()
    after, sessions_after = walk(ours.address)
    # Of these the first did not know before 3.5; the other counts its children.
    of_now = {"/zookeeper/config", "/zookeeper"} if version() < (3, 5) else set()
    compared = {path: znode for path, znode in after.items() if path not in of_now}
    unequal = differences({path: before[path] for path in set(before) - of_now}, compared)
    assert not unequal and sessions == sessions_after, "\n".join(unequal[:20])

    # Ours goes on with it, and gives it back.
    writer = client(ours.address)
    for number in range(50):
        writer.create(f"/open/ours-{number}", b"o")
    writer.delete("/holder/child")
    writer.stop()
    end, sessions_end = walk(ours.address)
    busy = run("export", ours.folder / "data", "--to", work / "early", code=1)
    assert "open" in busy or "use" in busy, busy
    ours.stop()
    print(run("export", ours.folder / "data", "--to", work / "back"), end="")
    again = run("export", ours.folder / "data", "--to", work / "back", code=1)
    assert "not overwritten" in again, again
    back, sessions_back = on_a_copy("zookeeper", work, "theirs-at-last", work / "back")
    unequal = differences(end, back)
    assert not unequal and sessions_end == sessions_back, "\n".join(unequal[:20])

    # And what ZooKeeper makes of that is taken over once more.
    run("import", work / "theirs-at-last/data", "--to", work / "round")
    around, _ = on_a_copy("zoarium", work, "ours-again", work / "round")
    unequal = differences(back, around)
    assert not unequal, "\n".join(unequal[:20])


def plain(work):
    there_and_back(work)


def there(work, settings, ending, words):
    theirs = filled_folder(work, settings)
    data = theirs.folder / "data"
    assert all(path.name.endswith(ending) for path in data.rglob("snapshot.*") if path.name != "snapshot.0"), list(data.rglob("*"))
    before, _ = on_a_copy("zookeeper", work, "again", data, settings)
    told = run("import", data, "--to", work / "new")
    assert words in told, told
    after, _ = on_a_copy("zoarium", work, "ours", work / "new")
    unequal = differences(before, after)
    assert not unequal, "\n".join(unequal[:20])


def gz(work):
    there(work, ["snapshot.compression.method=gz"], ".gz", "as ZooKeeper computed it")


def snappy(work):
    there(work, ["snapshot.compression.method=snappy"], ".snappy", "as ZooKeeper computed it")


def without_digests(work):
    there(work, ["digest.enabled=false"], "", "left none to compare with")


def two_folders(work):
    logs = work / "logs"
    logs.mkdir()
    theirs = filled_folder(work, [f"dataLogDir={logs}"])
    data = theirs.folder / "data"
    before, _ = on_a_copy("zookeeper", work, "again", data, [f"dataLogDir={shutil.copytree(logs, work / 'logs-again')}"])
    # Without the logs the newest snapshot alone is a state, but not the last one.
    run("import", data, "--log-dir", logs, "--to", work / "new")
    after, _ = on_a_copy("zoarium", work, "ours", work / "new")
    unequal = differences(before, after)
    assert not unequal, "\n".join(unequal[:20])
    stray = next((data / "version-2").glob("snapshot.*"))
    shutil.copy(stray, logs / "version-2")
    mixed = run("import", data, "--log-dir", logs, "--dry-run", code=1)
    assert "wrong folder" in mixed and stray.name in mixed, mixed


def last_record(path):
    """Where the last transaction of a log begins, and where its bytes end."""
    content = path.read_bytes()
    at, last = 16, None
    while at + 12 <= len(content):
        length = struct.unpack(">i", content[at + 8:at + 12])[0]
        if length <= 0:
            break
        last, at = at, at + 12 + length + 1
    return last, at


def broken(work):
    """Torn, damaged, missing: each is told by its place, and nothing is written."""
    theirs = filled_folder(work)
    data = theirs.folder / "data"
    newest = max((data / "version-2").glob("log.*"), key=lambda path: int(path.suffix[1:], 16))
    first, _ = run("import", data, "--dry-run"), None

    def copy(name):
        return shutil.copytree(data, work / name)

    def refused(folder, *words):
        text = run("import", folder, code=1)
        assert all(word in text for word in words), (words, text)
        assert not (folder / "zoarium.db").exists() and not list(folder.glob("*.import*")), list(folder.iterdir())

    # The last transaction cut at every kind of place: left out, as ZooKeeper does.
    begin, end = last_record(newest)
    for cut in (begin + 4, begin + 12, begin + 20, end - 1):
        torn = copy(f"torn-{cut}")
        log = torn / "version-2" / newest.name
        content = bytearray(log.read_bytes())
        content[cut:end] = bytes(end - cut)
        log.write_bytes(content)
        before, _ = on_a_copy("zookeeper", work, f"torn-theirs-{cut}", torn)
        run("import", torn)
        after, _ = on_a_copy("zoarium", work, f"torn-ours-{cut}", torn)
        unequal = differences(before, after)
        assert not unequal, "\n".join(unequal[:20])

    # A byte of a transaction with others behind it. Where the newest log has only one, the log before it has more, and is read.
    logs = sorted((data / "version-2").glob("log.*"), key=lambda path: int(path.suffix[1:], 16))
    longer = newest if begin > 16 else logs[-2]
    flipped = copy("flipped")
    log = flipped / "version-2" / longer.name
    content = bytearray(log.read_bytes())
    content[16 + 30] ^= 1
    log.write_bytes(content)
    refused(flipped, longer.name, "byte 16", "checksum")

    # A log is gone.
    snapshots = sorted((data / "version-2").glob("snapshot.*"), key=lambda path: int(path.suffix[1:], 16))
    gap = copy("gap")
    for snapshot in snapshots[1:]:
        (gap / "version-2" / snapshot.name).unlink()
    (gap / "version-2" / logs[1].name).unlink()
    refused(gap, "transactions are missing", logs[2].name)

    # The newest snapshot is damaged: the one before it, with more of the log, gives the same state.
    skipped = copy("skipped")
    snapshot = skipped / "version-2" / snapshots[-1].name
    content = bytearray(snapshot.read_bytes())
    content[len(content) // 2] ^= 0x20
    snapshot.write_bytes(content)
    text = run("import", skipped, "--dry-run")
    assert "an older one is used" in text, text
    digest = [line for line in text.splitlines() if line.startswith(("digest", "state"))]
    assert digest == [line for line in first.splitlines() if line.startswith(("digest", "state"))], (text, first)

    # All are damaged, or cut short.
    none = copy("none")
    for snapshot in (none / "version-2").glob("snapshot.*"):
        snapshot.write_bytes(snapshot.read_bytes()[:-20])
    refused(none, "no snapshot in the folder is whole", snapshots[-1].name)

    # An epoch that does not fit; a folder of something else; nothing.
    epochs = copy("epochs")
    (epochs / "version-2/currentEpoch").write_text("2")
    (epochs / "version-2/acceptedEpoch").write_text("1")
    refused(epochs, "acceptedEpoch says 1")
    (work / "other").mkdir()
    refused(work / "other", "no data of ZooKeeper's")
    text = run("import", work / "missing", code=2)
    assert "missing" in text, text
    assert "not overwritten" not in text


def sums(address_port):
    """How many znodes there are, and one number for all of them: data, stat and ACL of each, asked for in batches."""
    reader = raw.Client(address_port, timeout_ms=40_000)
    count, total, left = 0, 0, ["/"]
    while left:
        batch, left = left[-1000:], left[:-1000]
        for path in batch:
            reader.send(raw.GET_DATA, raw.read(path))
            reader.send(GET_ACL, raw.text(path))
        parents = []
        for path in batch:
            (code, data), (refusal, acl) = reader.receive(), reader.receive()
            if code or refusal:
                raise AssertionError(f"{path}: {code}, {refusal}")
            total ^= int.from_bytes(hashlib.blake2b(path.encode() + data + acl, digest_size=16).digest(), "big")
            count += 1
            # The number of children stands before the last zxid.
            if struct.unpack(">i", data[-12:-8])[0] > 0:
                parents.append(path)
        for path in parents:
            reader.send(GET_CHILDREN, raw.read(path))
        for path in parents:
            code, names = reader.receive()
            at = 4
            for _ in range(struct.unpack(">i", names[:4])[0]):
                length = struct.unpack(">i", names[at:at + 4])[0]
                left.append(f"{path.rstrip('/')}/{names[at + 4:at + 4 + length].decode()}")
                at += 4 + length
    reader.close()
    return count, total


def million(work):
    """A million znodes in snapshot and log: import within ten seconds, and the same znodes by the original beside it."""
    theirs = servers.Server("zookeeper", work / "theirs", ["maxSessionTimeout=300000", "snapCount=1000"])
    theirs.start()
    try:
        filler = raw.Client(theirs.port, timeout_ms=300_000)
        filler.demand(raw.CREATE, raw.create("/full"))
        filler.fill("/full", 1_000_000)
        filler.close()
        before = sums(theirs.port)
    finally:
        theirs.kill()
    begin = time.monotonic()
    print(run("import", theirs.folder / "data", "--to", work / "ours/data"), end="")
    took = time.monotonic() - begin
    ours = servers.Server("zoarium", work / "ours", ["maxSessionTimeout=300000"])
    ours.start()
    try:
        after = sums(ours.port)
    finally:
        ours.stop()
    print(f"imported in {took:.1f} s")
    assert before == after and before[0] > 1_000_000, (before, after)
    begin = time.monotonic()
    print(run("export", work / "ours/data", "--to", work / "back/data"), end="")
    print(f"exported in {time.monotonic() - begin:.1f} s")
    back = servers.Server("zookeeper", work / "back", ["maxSessionTimeout=300000"])
    back.start(patience=120)
    try:
        assert sums(back.port) == after
    finally:
        back.stop()
    assert took <= MILLION_SECONDS_MAX, f"{took:.1f} s"


CASES = [plain, gz, snappy, without_digests, two_folders, broken]
# Not without being named: it takes minutes.
LONG = [million]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--fill", metavar="ADDRESS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    kazoo_suite.enter_venv()
    logging.getLogger("kazoo").setLevel(logging.ERROR)
    if arguments.fill:
        fill(arguments.fill)
        return
    passed = failed = 0
    try:
        servers.zookeeper_classpath()
    except servers.Missing as missing:
        print(f"SKIPPED transfer: {missing}")
        print("0 passed, 0 failed, 1 skipped")
        return
    for case in [*CASES, *(LONG if arguments.names else [])]:
        if arguments.names and not any(name in case.__name__ for name in arguments.names):
            continue
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="zoa-transfer-") as work:
            try:
                case(pathlib.Path(work))
                passed += 1
                print(f"ok      {case.__name__}, {time.monotonic() - begin:.1f} s", flush=True)
            except Exception:
                failed += 1
                traceback.print_exc()
                print(f"FAILED  {case.__name__}", flush=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
