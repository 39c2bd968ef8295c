#!/usr/bin/env python3
"""Reconfiguration through the eyes of a client and of an operator, ours beside that of Apache ZooKeeper 3.9.

    tests/clients/reconfig_compare.py                     # both, compared
    tests/clients/reconfig_compare.py --show zookeeper    # what one of them does

One script is played on an ensemble of each kind: `/zookeeper/config` with list, stat and watches, every refusal and their
order, changes through leader and followers, roles that change, and the files that stay beside zoo.cfg. Ports are masked; zxids
and versions are not, as long as the first leader leads.
"""

import argparse
import difflib
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import cluster
import raw
import servers

GET_ACL, SET_ACL, RECONFIG, AUTH = 6, 7, 16, 100
CONFIG = "/zookeeper/config"
# None of these clients pings, and each has to outlive the others' deeds, however slow the machine is.
SESSION_MS = 600_000
# super:test
SUPER = "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU="
ERRORS = {
    0: "ok", -5: "MarshallingError", -6: "Unimplemented", -8: "BadArguments", -13: "NewConfigNoQuorum",
    -14: "ReconfigInProgress", -101: "NoNode", -102: "NoAuth", -103: "BadVersion", -110: "NodeExists", -123: "ReconfigDisabled",
}

# Where ours differs on purpose: what ZooKeeper says, and what ours does. docs/COMPATIBILITY.md has the reasons.
ON_PURPOSE = {
    "with a port above all": ("MarshallingError", "BadArguments"),
    "a key that is no server": ("NoAuth", "BadArguments"),
    "a negative number": ("NoAuth", "MarshallingError"),
}


def optional(value):
    return struct.pack(">i", -1) if value is None else raw.text(value)


def reconfig(joining=None, leaving=None, members=None, version=-1):
    return optional(joining) + optional(leaving) + optional(members) + struct.pack(">q", version)


class Watching(raw.Client):
    """A client that keeps the events that come."""

    def __init__(self, *arguments, **more):
        self.events = []
        super().__init__(*arguments, **more)

    def receive(self, wait=None):
        deadline = time.monotonic() + (self.wait if wait is None else wait)
        while True:
            payload = self._frame(deadline)
            xid, zxid, code = struct.unpack(">iqi", payload[:16])
            if xid != -1:
                self.zxid = zxid
                return code, payload[16:]
            kind, state, length = struct.unpack(">iii", payload[16:28])
            self.events.append((kind, state, payload[28 : 28 + length].decode(), zxid))

    def super(self):
        self.demand(AUTH, struct.pack(">i", 0) + raw.text("digest") + raw.text("super:test"))


def data_and_stat(payload):
    length = struct.unpack(">i", payload[:4])[0]
    data = None if length < 0 else payload[4 : 4 + length]
    names = ["czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion", "owner", "length", "children", "pzxid"]
    stat = dict(zip(names, struct.unpack(">qqqqiiiqiiq", payload[-68:])))
    return data, stat


class Play:
    """The script, on one ensemble; `lines` is what it saw."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.lines = []
        self.cluster = cluster.Cluster(folder, [kind] * 3, settings=["reconfigEnabled=true", SUPER, f"maxSessionTimeout={SESSION_MS}"])
        self.members = self.cluster.members
        self.base = min(member.client_port for member in self.members.values())
        self.clients = {}
        self.exact = True

    def masked(self, text):
        """Without ports, folders and, once somebody else may lead, zxids."""
        for member in self.members.values():
            text = text.replace(str(member.folder), "FOLDER")
        text = re.sub(r"(?<=:)(\d{5})\b", lambda found: f"P{int(found[1]) - self.base}", text)
        if not self.exact:
            text = re.sub(r"version=[0-9a-f]+", "version=V", text)
        return text

    def note(self, what, outcome):
        self.lines.append(f"{what}: {self.masked(str(outcome))}")

    def port(self, offset):
        return self.base + 9 + offset

    def spec(self, offset, role="observer"):
        return f"127.0.0.1:{self.port(offset)}:{self.port(offset + 1)}:{role};127.0.0.1:{self.port(offset + 2)}"

    def shown(self, payload):
        data, stat = data_and_stat(payload)
        stat["mtime"] = "now" if abs(stat["mtime"] / 1000 - time.time()) < 60 else stat["mtime"]
        text = data if data is None else data.decode(errors="replace").replace("\n", " ")
        mzxid = f"{stat['mzxid']:x}" if self.exact else "Z"
        others = " ".join(f"{name}={stat[name]}" for name in stat if name != "mzxid")
        return f"[{text}] mzxid={mzxid} {others}"

    def ask(self, what, client, op, body):
        try:
            code, payload = client.call(op, body, wait=60)
        except raw.Gone:
            return self.note(what, "the connection is closed")
        if code != 0:
            outcome = ERRORS.get(code, code)
        elif op in (RECONFIG, raw.GET_DATA):
            outcome = self.shown(payload)
        else:
            outcome = f"ok, {len(payload)} bytes"
        self.note(what, outcome)

    def change(self, what, client, **request):
        self.ask(what, client, RECONFIG, reconfig(**request))

    def connect(self, number):
        self.clients[number] = Watching(self.members[number].client_port, timeout_ms=SESSION_MS)
        return self.clients[number]

    def version(self):
        """What the configuration's znode says on the leader."""
        data, _ = data_and_stat(self.clients[self.leader].demand(raw.GET_DATA, raw.read(CONFIG)))
        return int(data.decode().rpartition("version=")[2], 16)

    def await_roles(self, what, roles):
        """Until these members are what they are to be."""
        end = time.monotonic() + 60
        while True:
            modes = {number: self.members[number].mode() for number in roles}
            if all(modes[number] in wanted.split("|") for number, wanted in roles.items()) or time.monotonic() > end:
                break
            time.sleep(0.05)
        self.note(what, sorted(modes.values()))

    def files(self, what):
        end = time.monotonic() + 60
        for member in self.members.values():
            role = "leader" if member.number == self.leader else "follower"
            wanted = f"zoo.cfg.dynamic.{self.version():x}"
            while True:
                names = sorted(path.name for path in member.folder.glob("zoo.cfg*"))
                # One file is written after the other.
                is_named = member.config.exists() and member.config.read_text().rstrip().endswith(wanted)
                if (wanted in names and is_named and "zoo.cfg.tmp" not in names) or time.monotonic() > end:
                    break
                time.sleep(0.05)
            if not self.exact:
                names = [re.sub(r"dynamic\.[0-9a-f]+$", "dynamic.V", name) for name in names]
            self.note(f"{what}, files of a {role}", sorted(set(names)))
            # The order of the lines of the static file is that of a hash in ZooKeeper.
            for path in (member.folder / "zoo.cfg", member.folder / wanted):
                text = path.read_text() if path.exists() else "missing"
                self.note(f"{what}, {path.name.partition('.dynamic')[1] or 'zoo.cfg'}", sorted(text.split()))

    def run(self):
        self.cluster.start()
        self.leader = self.cluster.who_leads()
        self.followers = [number for number in self.members if number != self.leader]
        # One after the other, so that their sessions have the same zxids.
        for number in [self.leader, *self.followers]:
            self.connect(number)
        leader, follower = self.clients[self.leader], self.clients[self.followers[0]]
        for client in self.clients.values():
            client.demand(raw.SYNC, raw.text("/"))
            self.ask("the znode", client, raw.GET_DATA, raw.read(CONFIG))
            _, payload = client.call(GET_ACL, raw.text(CONFIG))
            self.note("its list", payload[:-68])
        self.files("at first")
        for word in ("conf", "mntr"):
            for number in (self.leader, self.followers[0]):
                text = self.members[number].word(word)
                wanted = r"^(server\.|version|membership|zk_quorum_size).*$"
                self.note(word, sorted(found[0] for found in re.finditer(wanted, text, flags=re.M)))
        self.refusals(leader, "leader")
        self.refusals(follower, "follower")
        self.not_by_other_means(leader)
        self.changes(leader, follower)
        self.shell()
        self.roles()
        self.leader_removed()

    def refusals(self, client, whom):
        joins = f"server.100={self.spec(0)}"
        ours = self.members[1].client_port
        voters = [f"server.{100 + number}={self.spec(3 * number, 'participant')}" for number in range(4)]

        def one(offset, quorum=None, election=None, clients=None):
            quorum, election, clients = quorum or self.port(0), election or self.port(1), clients or self.port(2)
            return {"joining": f"server.100=127.0.0.1:{quorum}:{election}:observer;127.0.0.1:{clients}"}

        cases = {
            "nothing at all": {},
            "a bad version": {"joining": joins, "version": 5},
            "a bad version and bad members": {"joining": "some thing", "version": 5},
            "no server": {"joining": "some thing"},
            "an empty text joins": {"joining": ""},
            "an empty text leaves": {"leaving": ""},
            "an empty list of members": {"members": ""},
            "members that are none": {"members": "abc"},
            "members with an unknown key": {"members": f"{joins}\nclientPort=1"},
            "members that are one": {"members": voters[0]},
            "members that are observers": {"members": f"{joins},server.101={self.spec(3)}"},
            "members that are not there": {"members": "\n".join(voters)},
            "members that are not there, by commas": {"members": ",".join(voters)},
            "a word leaves": {"leaving": "one"},
            "a word leaves beside a number": {"leaving": "1,one"},
            "a blank beside a number": {"leaving": " 3"},
            "an unknown number leaves": {"leaving": "77"},
            "two of three leave": {"leaving": "2,3"},
            "all leave": {"leaving": "1,2,3"},
            "without a client port": {"joining": f"server.100=127.0.0.1:{self.port(0)}:{self.port(1)}:observer"},
            "without a role": {"joining": f"server.100=127.0.0.1:{self.port(0)}:{self.port(1)};{self.port(2)}"},
            "with an unknown role": {"joining": f"server.100=127.0.0.1:{self.port(0)}:{self.port(1)}:king;{self.port(2)}"},
            "with one port": {"joining": f"server.100=127.0.0.1:{self.port(0)};{self.port(2)}"},
            "with a port above all": {"joining": f"server.100=127.0.0.1:70000:{self.port(1)}:observer;{self.port(2)}"},
            "its own ports twice": one(0, election=self.port(0)),
            "its client port is its quorum port": one(0, clients=self.port(0)),
            "another's quorum port": one(0, quorum=ours + 1),
            "another's election port": one(0, election=ours + 2),
            "another's client port": one(0, clients=ours),
            "another's quorum port for elections": one(0, election=ours + 1),
            "another's client port for its quorum": one(0, quorum=ours),
            "a key that is no server": {"joining": f"peer.100={self.spec(0)}"},
            "a number that is none": {"joining": f"server.x={self.spec(0)}"},
            "a negative number": {"joining": f"server.-1={self.spec(0)}"},
            "two that join": {"joining": f"{joins},server.101={self.spec(3)}"},
            "two that join with a blank": {"joining": f"{joins}, server.101={self.spec(3)}"},
            "two with one address": {"joining": f"{joins},server.101={self.spec(0)}"},
            "one twice": {"joining": f"{joins},server.100={self.spec(3)}"},
            "leaving and joining": {"joining": joins, "leaving": "100"},
            "joining and members": {"joining": joins, "members": voters[0]},
            "four voters that are not there": {"joining": ",".join(voters)},
            "one voter that is not there": {"joining": voters[0]},
            "a good one": {"joining": joins},
            "a good one by version": {"joining": joins, "version": self.version()},
        }
        for what, request in cases.items():
            self.change(f"{what}, to the {whom}", client, **request)

    def not_by_other_means(self, leader):
        self.ask("a reconfig in a multi", leader, raw.MULTI, raw.multi([(RECONFIG, reconfig(leaving="77"))]))
        self.ask("set without being super", leader, raw.SET_DATA, raw.set_data(CONFIG, b"x"))
        self.ask("delete", leader, raw.DELETE, raw.delete(CONFIG))
        self.ask("create below it", leader, raw.CREATE, raw.create(f"{CONFIG}/child"))
        self.ask("set its list without being super", leader, SET_ACL, raw.text(CONFIG) + raw.OPEN + struct.pack(">i", -1))

    def changes(self, leader, follower):
        everybody = list(self.clients.values())
        for client in everybody:
            client.demand(raw.GET_DATA, raw.text(CONFIG) + b"\1")
        leader.super()
        self.change("super, a bad version", leader, joining=f"server.100={self.spec(0)}", version=5)
        self.change("an observer joins", leader, joining=f"server.100={self.spec(0)}")
        for client in everybody:
            client.demand(raw.SYNC, raw.text("/"))
            self.note("events", client.events)
            self.ask("the znode", client, raw.GET_DATA, raw.read(CONFIG))
        self.files("after a change")
        self.change("the same again", leader, joining=f"server.100={self.spec(0)}")
        follower.super()
        self.change("through a follower, it leaves", follower, leaving="100,55")
        self.change("by its version", follower, joining=f"server.100={self.spec(0)}", version=self.version())
        self.change("by a version that is over", follower, joining=f"server.101={self.spec(3)}", version=self.version() - 1)
        data, _ = data_and_stat(leader.demand(raw.GET_DATA, raw.read(CONFIG)))
        members = [line for line in data.decode().split("\n") if line.startswith("server.") and "server.100" not in line]
        self.change("all members, by lines", follower, members="\n".join(members))
        self.change("all members, by commas", follower, members=",".join(members))
        self.change("all members with the version", follower, members=data.decode())
        self.change("nothing changes", leader)
        self.change("out again", leader, leaving="100")
        self.ask("its list is opened", leader, SET_ACL, raw.text(CONFIG) + raw.OPEN + struct.pack(">i", -1))
        stranger = self.clients[self.followers[1]]
        stranger.demand(raw.SYNC, raw.text("/"))
        self.change("by anybody then", stranger, joining=f"server.100={self.spec(0)}")
        self.change("and out", stranger, leaving="100")

    def shell(self):
        """The same by ZooKeeper's own command line."""
        program = ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp", servers.zookeeper_classpath()]
        program += ["org.apache.zookeeper.ZooKeeperMain", "-server", self.members[self.leader].address]
        commands = ["config", "reconfig -remove 77", "addauth digest super:test", f"reconfig -add server.100={self.spec(0)}"]
        commands += ["config -c", "reconfig -v 5 -remove 100", "reconfig -remove 100", "quit"]
        done = subprocess.run(program, input="\n".join(commands) + "\n", capture_output=True, text=True, timeout=120)
        noise = ("SLF4J:", "log4j:", "Connecting to ", "WATCHER::", "WatchedEvent ", "Welcome to", "JLine ", "[zk: ")
        for line in [*done.stdout.splitlines(), *done.stderr.splitlines()]:
            if line.strip() and not line.startswith(noise):
                self.note("zkCli", line)

    def roles(self):
        leader = self.clients[self.leader]
        one, other = self.followers
        data, _ = data_and_stat(leader.demand(raw.GET_DATA, raw.read(CONFIG)))
        line = next(line for line in data.decode().split("\n") if line.startswith(f"server.{one}="))
        self.exact = False
        self.change("a follower becomes an observer", leader, joining=line.replace("participant", "observer"))
        self.await_roles("and is one", {one: "observer", other: "follower", self.leader: "leader"})
        self.change("and back", leader, joining=line)
        self.await_roles("and is a follower", {one: "follower", other: "follower", self.leader: "leader"})
        # A port that nobody uses; the old connections stay.
        parts = line.rpartition(":")
        before = Watching(self.members[one].client_port, timeout_ms=SESSION_MS)
        self.members[one].client_port = self.port(0)
        self.change("its client port changes", leader, joining=f"{parts[0]}:{self.port(0)}")
        self.await_roles("and serves there", {one: "follower"})
        self.ask("the old connection", before, raw.EXISTS, raw.read(CONFIG))
        before.drop()

    def leader_removed(self):
        one, other = self.followers
        client = self.connect(other)
        client.super()
        try:
            code, _ = client.call(RECONFIG, reconfig(leaving=str(self.leader)), wait=60)
            self.note("the leader is removed", "it is done or the connection is lost" if code == 0 else ERRORS.get(code, code))
        except raw.Gone:
            self.note("the leader is removed", "it is done or the connection is lost")
        end = time.monotonic() + 60
        while sorted(modes := [self.members[number].mode() for number in (one, other)]) != ["follower", "leader"]:
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        self.note("the others", sorted(modes))
        self.note("the removed one runs", self.members[self.leader].is_running())
        client = self.connect(other)
        client.demand(raw.SYNC, raw.text("/"))
        self.ask("the znode", client, raw.GET_DATA, raw.read(CONFIG))

    def end(self):
        for client in self.clients.values():
            client.drop()
        self.cluster.stop()


def on_purpose(line):
    """What ours says where ZooKeeper says this."""
    for what, (theirs, ours) in ON_PURPOSE.items():
        if line.startswith(f"{what}, to the ") and line.endswith(theirs):
            return line.removesuffix(theirs) + ours
    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", metavar="KIND", help="print what one kind does: zoarium or zookeeper")
    parser.add_argument("--keep", action="store_true", help="leave the folder with data and logs")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="zoarium-reconfig-"))
    plays = []
    try:
        for kind in [options.show] if options.show else ["zoarium", "zookeeper"]:
            plays.append(Play(kind, folder / kind))
            plays[-1].run()
    except servers.Missing as missing:
        print(f"SKIPPED: {missing}\n0 passed, 0 failed, 1 skipped")
        return 0
    except Exception:
        print("\n".join(plays[-1].lines))
        raise
    finally:
        for play in plays:
            play.end()
        if options.keep:
            print(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if options.show:
        print("\n".join(plays[0].lines))
        return 0
    ours, theirs = (play.lines for play in plays)
    theirs = [on_purpose(line) for line in theirs]
    wrong = [line for line in difflib.ndiff(theirs, ours) if not line.startswith("  ")]
    print("\n".join(wrong))
    differing = sum(line.startswith("- ") for line in wrong)
    print(f"{len(theirs) - differing} passed, {max(differing, bool(wrong))} failed, 0 skipped")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
