#!/usr/bin/env python3
"""The four-letter words of an ensemble's leader, follower and observer, ours beside those of Apache ZooKeeper 3.9.

Two ensembles of three voters and an observer, one of each kind, are brought to the same state. Each word is asked of a member
of each role, and the answers are compared with every number masked. Of `mntr` the keys are compared: ours tells nothing under
a name of ZooKeeper's that ZooKeeper does not tell, and everything in `NEEDED`.
"""

import argparse
import pathlib
import re
import shutil
import sys
import tempfile

import cluster
import raw
import servers

WORDS = ["ruok", "isro", "srvr", "stat", "conf", "dump", "cons", "wchs", "mntr"]
OF_ALL = [
    "zk_version", "zk_server_state", "zk_peer_state", "zk_avg_latency", "zk_max_latency", "zk_min_latency",
    "zk_packets_received", "zk_packets_sent", "zk_num_alive_connections", "zk_outstanding_requests", "zk_znode_count",
    "zk_watch_count", "zk_ephemerals_count", "zk_approximate_data_size", "zk_global_sessions", "zk_local_sessions",
    "zk_open_file_descriptor_count", "zk_max_file_descriptor_count", "zk_uptime", "zk_quorum_size", "zk_looking_count",
    "zk_proposal_count", "zk_commit_count", "zk_diff_count", "zk_snap_count", "zk_learner_proposal_received_count",
    "zk_learner_commit_received_count", "zk_cnt_election_time",
]
# Monitoring tools read these from the leader alone.
OF_A_LEADER = [
    "zk_learners", "zk_synced_followers", "zk_synced_non_voting_followers", "zk_synced_observers", "zk_pending_syncs",
    "zk_leader_uptime", "zk_last_proposal_size", "zk_max_proposal_size", "zk_min_proposal_size",
]
# Equal in two ensembles in the same state.
EQUAL = [
    "zk_server_state", "zk_peer_state", "zk_znode_count", "zk_ephemerals_count", "zk_global_sessions", "zk_local_sessions",
    "zk_quorum_size", "zk_learners", "zk_synced_followers", "zk_synced_non_voting_followers", "zk_synced_observers",
    "zk_pending_syncs", "zk_outstanding_requests", "zk_watch_count",
]
# Ours alone: the name that 3.4 and 3.5 had for a number that tools still ask for.
OF_OLD = {"zk_followers"}


class Ensemble:
    def __init__(self, kind, folder):
        self.kind = kind
        self.cluster = cluster.Cluster(folder, [kind] * 4, observers=1, settings=["maxSessionTimeout=600000"])
        self.clients = []

    def begin(self):
        for member in self.cluster.members.values():
            client = raw.Client(member.client_port, timeout_ms=600_000)
            for op, body in [(raw.CREATE, raw.create(f"/from{member.number}", flags=raw.EPHEMERAL)), (raw.SYNC, raw.text("/"))]:
                client.demand(op, body)
            self.clients.append(client)
        # Everybody has everything.
        for client in self.clients:
            client.demand(raw.SYNC, raw.text("/"))

    def by_role(self):
        return {member.mode(): member for member in self.cluster.members.values()}

    def end(self):
        for client in self.clients:
            client.drop()
        self.cluster.stop()


def masked(word, text, ensemble):
    """The answer without what differs between any two runs."""
    for member in ensemble.cluster.members.values():
        text = text.replace(str(member.folder), f"FOLDER{member.number}")
    text = re.sub(r"^(Zookeeper version: ).*$", r"\1V", text, flags=re.M)
    # Other ports; lists in no promised order.
    base = min(member.client_port for member in ensemble.cluster.members.values())
    text = re.sub(r"\b(\d{5})\b", lambda found: f"P{int(found[1]) - base}" if 0 <= int(found[1]) - base < 12 else found[1], text)
    text = re.sub(r"/127\.0\.0\.1:\w+", "/CLIENT", text)
    text = re.sub(r"0x[0-9a-f]+", "HEX", text)
    text = re.sub(r"(?:\w{3} ){2}\d\d \d\d:\d\d:\d\d [A-Z]+ \d{4}", "DATE", text)
    if word != "conf":
        text = re.sub(r"(?<!\w)-?\d+(\.\d+)?(E-?\d+)?", "N", text)
    text = re.sub(r"Size=\d+", "Size=N", text)
    if word == "conf":
        return text
    lines = text.split("\n")
    if word in ("dump", "cons", "stat"):
        # As many buckets and connections as there happen to be.
        lines = sorted(set(lines))
    return "\n".join(lines)


def compare(ours, theirs):
    wrong = []
    roles = ours.by_role(), theirs.by_role()
    if roles[0].keys() != roles[1].keys():
        return [f"roles: {sorted(roles[0])} here, {sorted(roles[1])} there"], 0
    checks = 0
    for role in sorted(roles[0]):
        for word in WORDS:
            checks += 1
            answers = [member.word(word) for member in (roles[0][role], roles[1][role])]
            if word == "mntr":
                wrong += [f"mntr of the {role}: {text}" for text in compare_numbers(role, *answers)]
                continue
            # The numbers of the members in a role need not be the same.
            one, other = (masked(word, answer, ensemble) for answer, ensemble in zip(answers, (ours, theirs)))
            one, other = (re.sub(r"FOLDER\d", "FOLDER", text) for text in (one, other))
            if word == "conf":
                one, other = (re.sub(r"^(clientPort|electionPort|quorumPort|serverId)=.*$", r"\1=N", text, flags=re.M) for text in (one, other))
            if one != other:
                wrong.append(f"{word} of the {role}: here\n{one}\n--- there\n{other}\n---")
    return wrong, checks


def compare_numbers(role, ours, theirs):
    one, other = (dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line) for text in (ours, theirs))
    needed = OF_ALL + (OF_A_LEADER if role == "leader" else [])
    for key in needed:
        if key not in one:
            yield f"{key} is missing"
        elif key not in other:
            yield f"{key} is not told by ZooKeeper"
    for key in one.keys() - other.keys() - OF_OLD:
        if not key.startswith("zk_zoarium_"):
            yield f"{key} is not told by ZooKeeper"
    for key in EQUAL:
        if one.get(key, "").removesuffix(".0") != other.get(key, "").removesuffix(".0"):
            yield f"{key} is {one.get(key)} here and {other.get(key)} there"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", action="store_true", help="print every answer")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="zoarium-words-"))
    ensembles = []
    try:
        for kind in ["zoarium", "zookeeper"]:
            ensembles.append(Ensemble(kind, folder / kind))
            ensembles[-1].cluster.start()
        for ensemble in ensembles:
            ensemble.begin()
        if options.show:
            for ensemble in ensembles:
                for role, member in sorted(ensemble.by_role().items()):
                    for word in WORDS:
                        print(f"==== {ensemble.kind}, {role}, {word}\n{member.word(word)}")
        wrong, checks = compare(*ensembles)
    except servers.Missing as missing:
        print(f"SKIPPED: {missing}\n0 passed, 0 failed, 1 skipped")
        return 0
    finally:
        for ensemble in ensembles:
            ensemble.end()
        shutil.rmtree(folder, ignore_errors=True)
    for text in wrong:
        print(f"FAILED {text}")
    print(f"{checks - len(wrong) if checks >= len(wrong) else 0} passed, {len(wrong)} failed, 0 skipped")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
