#!/usr/bin/env python3
"""Makes the folders of Apache ZooKeeper servers that `tests/old_folders.rs` takes over: one for each line of releases since 3.4.

    tests/clients/old_folders.py               # all, into tests/old_files
    tests/clients/old_folders.py 3.6 --to DIR  # those of one line, elsewhere

They are made once and kept, as the servers of users have left theirs. Each server is written to by several sessions while it
takes snapshots, is asked for every znode, and is then killed with -9. Since 3.6 there are three of each: with plain snapshots,
and compressed with gzip and snappy.

`zookeeper-VERSION.folder` holds the files, compressed with gzip: for each a line with its path and length, then its bytes.
`zookeeper-VERSION.walk` is what the server answered: a line for each session that was alive (id, password, timeout), then one for
each znode (path, data in hex or `null`, the numbers of its stat, its ACL), with tabs between them.
"""

import argparse
import gzip
import pathlib
import struct
import sys
import tempfile
import threading

import kazoo_suite
import raw
import servers

LINES = ["3.4", "3.5", "3.6", "3.7", "3.8", "3.9"]
AUTH = ("digest", "mover:secret")
CREATE_CONTAINER, CREATE_TTL, PERSISTENT_WITH_TTL, CONTAINER = 19, 21, 5, 4
THREADS, WRITES = 3, 30
TIMEOUTS = [12_000, 21_000, 30_000]
TTL_MS = 100_000_000
FOLDER_SIZE_MAX = 30_000


def client(address):
    from kazoo.client import KazooClient

    made = KazooClient(address, timeout=30, auth_data=[AUTH])
    made.start(timeout=30)
    return made


def load(number, address):
    """What one session does."""
    from kazoo.security import make_digest_acl

    mine = client(address)
    base, last = f"/open/of-{number}", None
    mine.create(base, b"")
    for turn in range(WRITES):
        made = mine.create(f"{base}/n-", b"%d" % turn * (turn % 5), sequence=True)
        mine.set("/open", b"%d" % turn)
        if turn % 3 and last:
            mine.delete(last)
        if turn % 7 == 0:
            several = mine.transaction()
            several.create(f"{base}/multi-{turn}", b"m")
            several.set_data("/closed", b"%d" % number)
            several.commit()
            # One that is refused as a whole leaves its marks in the log.
            several = mine.transaction()
            several.create(f"{base}/refused", b"m")
            several.create("/open", b"m")
            several.commit()
        if turn % 11 == 0:
            mine.set_acls(made, [make_digest_acl("mover", "secret", all=True)])
        if turn % 13 == 0:
            brief = client(address)
            brief.create(f"{base}/brief", ephemeral=True)
            brief.stop()
            brief.close()
        last = made
    mine.stop()
    mine.close()


def write(server, line):
    """What a state can hold; returns the sessions that go on."""
    from kazoo.security import make_acl, make_digest_acl

    owner = client(server.address)
    owner.create("/open", b"\x00\xff")
    owner.create("/closed", b"", acl=[make_digest_acl("mover", "secret", all=True), make_acl("world", "anyone", read=True)])
    owner.create("/names/\u00e4\u4e2d x", "\u00fc".encode(), makepath=True)
    owner.create("/zookeeper/quota/open", makepath=True)
    owner.create("/zookeeper/quota/open/zookeeper_limits", b"count=100000,bytes=-1")
    owner.create("/zookeeper/quota/open/zookeeper_stats", b"count=0,bytes=0")
    owner.stop()
    owner.close()
    kept = [raw.Client(server.port, timeout_ms=ms) for ms in TIMEOUTS]
    for number, session in enumerate(kept):
        session.demand(raw.CREATE, raw.create(f"/open/ephemeral-{number}", b"e", raw.EPHEMERAL))
    kept[0].demand(raw.CREATE, raw.text("/null") + struct.pack(">i", -1) + raw.OPEN + struct.pack(">i", 0))
    if line != "3.4":
        kept[0].demand(CREATE_TTL, raw.create("/ttl", b"x", PERSISTENT_WITH_TTL) + struct.pack(">q", TTL_MS))
        kept[0].demand(CREATE_CONTAINER, raw.create("/container", b"x", CONTAINER))
        kept[0].demand(raw.CREATE, raw.create("/container/child"))
    threads = [threading.Thread(target=load, args=(number, server.address)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return kept


def told(server, kept):
    """What the server answers, as the lines of the walk."""
    lines = [f"session\t{one.session}\t{one.password.hex()}\t{one.timeout_ms}" for one in kept]
    reader = client(server.address)
    left = ["/"]
    while left:
        path = left.pop()
        data, stat = reader.get(path)
        acls, _ = reader.get_acls(path)
        entries = ",".join(f"{acl.perms}:{acl.id.scheme}:{acl.id.id}" for acl in acls)
        value = "null" if data is None else data.hex()
        lines.append(f"{path}\t{value}\t{' '.join(map(str, stat[:11]))}\t{entries}")
        left += sorted((f"{path.rstrip('/')}/{name}" for name in reader.get_children(path)), reverse=True)
    reader.stop()
    reader.close()
    return lines


def packed(folder):
    """The files of a folder, compressed."""
    parts = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            parts += [f"{path.relative_to(folder)} {len(content)}\n".encode(), content]
    return gzip.compress(b"".join(parts), mtime=0)


def make(line, compression, to):
    classpath = servers.zookeeper_classpath(line)
    jar = next(pathlib.Path(classpath.rstrip("*")).glob("zookeeper-[0-9]*.jar"))
    name = jar.stem + (f"-{compression}" if compression else "")
    settings = ["snapCount=80", "preAllocSize=64", f"maxSessionTimeout={max(TIMEOUTS)}", "extendedTypesEnabled=true"]
    settings += [f"snapshot.compression.method={compression}"] if compression else []
    with tempfile.TemporaryDirectory(prefix="zoarium-old-") as work:
        server = servers.Server(f"zookeeper-{line}", work, settings)
        server.start()
        try:
            kept = write(server, line)
            walk = told(server, kept)
        finally:
            server.kill()
        data = pathlib.Path(work) / "data"
        snapshots = [path for path in data.rglob("snapshot.*") if path.stat().st_size > 1000]
        if len(snapshots) < 2 or not all(path.name.endswith(compression) for path in snapshots):
            raise SystemExit(f"{name}: not the snapshots that were wanted: {sorted(data.rglob('*'))}")
        folder = packed(data)
    if len(folder) > FOLDER_SIZE_MAX:
        raise SystemExit(f"{name}: {len(folder)} bytes are too many to be kept")
    (to / f"{name}.folder").write_bytes(folder)
    (to / f"{name}.walk").write_text("\n".join(walk) + "\n")
    print(f"{name}: {len(walk) - len(kept)} znodes, {len(folder)} bytes, {len(snapshots)} snapshots", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", nargs="*", default=LINES, help="lines of releases: " + ", ".join(LINES))
    parser.add_argument("--to", type=pathlib.Path, default=servers.ROOT / "tests/old_files", metavar="DIR")
    arguments = parser.parse_args()
    kazoo_suite.enter_venv()
    for line in arguments.lines:
        for compression in ("", "gz", "snappy") if LINES.index(line) >= LINES.index("3.6") else ("",):
            make(line, compression, arguments.to)


if __name__ == "__main__":
    main()
