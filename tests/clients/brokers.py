#!/usr/bin/env python3
"""Apache Kafka on an ensemble of Zoarium: three brokers that keep everything about themselves in three members.

    tests/clients/brokers.py                          # three members of Zoarium
    tests/clients/brokers.py --kind zookeeper         # the baseline
    tests/clients/brokers.py --rounds 5 --brokers 5

Topics are made, and a producer writes with acknowledgements of all replicas. Meanwhile the leader of the ensemble is killed, the
broker that is Kafka's controller is killed, both at once, and the ensemble's leader while a topic is made. At the end a
consumer that begins at the beginning must find every message that was acknowledged to the producer, all replicas are in sync, no
broker ended by itself, and the members' trees are equal.

Needs Java, Kafka's release 3.9 (`.ci/kafka/classpath`), and kafka-python, for which it makes an environment of its own.
"""

import argparse
import json
import logging
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import cluster
import kazoo_suite
import servers

VENV = kazoo_suite.TARGET / "kafka-venv"
PACKAGES = ["kazoo==2.11.0", "kafka-python==2.3.3"]
ROOT = "/kafka"
TOPIC = "told"
PARTITIONS = 6


class Wrong(Exception):
    """Something was lost, or does not come back."""


def prepare_venv():
    mark = VENV / "packages.txt"
    if mark.exists() and mark.read_text() == "\n".join(PACKAGES):
        return
    print(f"making {VENV}", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    subprocess.run([VENV / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
    mark.write_text("\n".join(PACKAGES))


def kafka_classpath():
    if shutil.which("java") is None:
        raise servers.Missing("no java on PATH: apt-get install default-jre-headless")
    found = subprocess.run([servers.ROOT / ".ci/kafka/classpath"], stdout=subprocess.PIPE, text=True)
    if found.returncode != 0:
        raise servers.Missing("no Apache Kafka, see above")
    return found.stdout.strip()


class Broker:
    def __init__(self, number, folder, port, connect, count):
        self.number, self.folder, self.port = number, folder, port
        self.process, self.is_meant_to_run = None, False
        folder.mkdir(parents=True)
        settings = {
            "broker.id": number,
            "listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "log.dirs": folder / "log",
            "zookeeper.connect": connect + ROOT,
            "zookeeper.session.timeout.ms": 6000,
            "num.partitions": PARTITIONS,
            "default.replication.factor": 3,
            "min.insync.replicas": 2,
            "offsets.topic.replication.factor": 3,
            "transaction.state.log.replication.factor": 3,
            "unclean.leader.election.enable": "false",
            "replica.lag.time.max.ms": 5000,
            "delete.topic.enable": "true",
            "num.recovery.threads.per.data.dir": 1,
            "log.cleaner.dedupe.buffer.size": 4 << 20,
        }
        self.config = folder / "server.properties"
        self.config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self.command = ["java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", kafka_classpath(), "kafka.Kafka", str(self.config)]

    def start(self):
        with open(self.folder / "broker.log", "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
        self.is_meant_to_run = True

    def kill(self):
        self.is_meant_to_run = False
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log_tail(self, lines_max=25):
        return "\n".join((self.folder / "broker.log").read_text(errors="replace").splitlines()[-lines_max:])


class Told(threading.Thread):
    """A producer that numbers its messages and keeps those that were acknowledged."""

    def __init__(self, bootstrap, per_second):
        super().__init__(daemon=True)
        from kafka import KafkaProducer

        self.producer = KafkaProducer(
            bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, retries=1000, linger_ms=5,
            max_in_flight_requests_per_connection=1, delivery_timeout_ms=120_000, request_timeout_ms=10_000, max_block_ms=120_000,
        )
        self.pause = 1 / per_second
        self.is_over = threading.Event()
        self.acknowledged, self.failed, self.sent = set(), [], 0
        self.last, self.longest = time.monotonic(), 0.0

    def run(self):
        while not self.is_over.is_set():
            number = self.sent
            self.sent += 1
            future = self.producer.send(TOPIC, str(number).encode(), partition=number % PARTITIONS)
            future.add_callback(self.told, number)
            future.add_errback(lambda error, number=number: self.failed.append((number, repr(error))))
            self.is_over.wait(self.pause)

    def told(self, number, _):
        now = time.monotonic()
        self.longest = max(self.longest, now - self.last)
        self.last = now
        self.acknowledged.add(number)

    def await_more(self, seconds=60):
        """Waits for fifty acknowledgements from now on."""
        wanted, end = len(self.acknowledged) + 50, time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            if time.monotonic() > end:
                raise Wrong(f"no fifty acknowledgements in {seconds} s, failed: {self.failed[-3:]}")
            time.sleep(0.05)


class Kafka:
    def __init__(self, folder, ensemble, count):
        from kazoo.client import KazooClient
        from kazoo.retry import KazooRetry

        self.ensemble = ensemble
        base = servers.free_ports(count, start=ensemble.members[3].client_port + 10)
        self.brokers = {n: Broker(n, folder / f"broker{n}", base + n - 1, ensemble.hosts, count) for n in range(1, count + 1)}
        self.bootstrap = [f"127.0.0.1:{broker.port}" for broker in self.brokers.values()]
        again = KazooRetry(max_tries=-1, delay=0.1, max_delay=1)
        self.look = KazooClient(hosts=ensemble.hosts, timeout=10, connection_retry=again, command_retry=again)
        self.look.start(timeout=60)

    def read(self, path):
        from kazoo.exceptions import NoNodeError

        try:
            data, stat = self.look.retry(self.look.get, ROOT + path)
            return json.loads(data) if data else {}, stat
        except NoNodeError:
            return None, None

    def await_brokers(self, seconds=90):
        self.until(lambda: all(self.read(f"/brokers/ids/{number}")[0] for number in self.brokers), "all brokers are registered", seconds)

    def until(self, is_so, what, seconds=60):
        end = time.monotonic() + seconds
        while not is_so():
            gone = [broker for broker in self.brokers.values() if broker.is_meant_to_run and broker.process.poll() is not None]
            if gone or time.monotonic() > end:
                tails = "\n".join(f"--- broker {one.number}, {one.process.poll()}\n{one.log_tail()}" for one in gone or self.brokers.values())
                raise Wrong(f"not within {seconds} s: {what}\n{tails}")
            time.sleep(0.1)

    def controller(self):
        """The controlling broker and the number of its term."""
        said, _ = self.read("/controller")
        epoch, _ = self.read("/controller_epoch")
        return (said["brokerid"] if said else None), epoch

    def in_sync(self, topic):
        """Whether every partition has all of its replicas in sync."""
        described, _ = self.read(f"/brokers/topics/{topic}")
        if not described or not described.get("partitions"):
            return False
        for partition, replicas in described["partitions"].items():
            state, _ = self.read(f"/brokers/topics/{topic}/partitions/{partition}/state")
            if not state or sorted(state["isr"]) != sorted(replicas):
                return False
        return True

    def kill_controller(self):
        was, term = self.controller()
        self.brokers[was].kill()

        def is_followed():
            now, later = self.controller()
            return now not in (None, was) and later > term

        self.until(is_followed, "another broker controls", 60)
        return was, self.controller()[0]


def run(folder, arguments):
    from kafka.admin import KafkaAdminClient, NewTopic
    from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

    ensemble = cluster.Cluster(folder / "ensemble", [arguments.kind] * 3, tick_ms=500)
    kafka = told = None
    try:
        ensemble.start()
        kafka = Kafka(folder, ensemble, arguments.brokers)
        begin = time.monotonic()
        for broker in kafka.brokers.values():
            broker.start()
        kafka.await_brokers()
        print(f"{len(kafka.brokers)} brokers are registered after {time.monotonic() - begin:.1f} s", flush=True)

        def ask(deed, done):
            """With a connection of its own, again while brokers are away; an earlier try may have had its effect."""
            end = time.monotonic() + 60
            while True:
                try:
                    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap, request_timeout_ms=60_000)
                    try:
                        return deed(admin)
                    finally:
                        admin.close()
                except done:
                    return None
                except KafkaError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.2)

        def make(name):
            topic = NewTopic(name, PARTITIONS, 3, topic_configs={"min.insync.replicas": "2"})
            ask(lambda admin: admin.create_topics([topic], timeout_ms=60_000), TopicAlreadyExistsError)

        make(TOPIC)
        kafka.until(lambda: kafka.in_sync(TOPIC), "the topic has all replicas in sync")
        told = Told(kafka.bootstrap, arguments.per_second)
        told.start()
        told.await_more()

        def lose_leader(meanwhile=lambda: None):
            leader = ensemble.await_service()
            ensemble.members[leader].kill()
            meanwhile()
            others = [member for number, member in ensemble.members.items() if number != leader]
            now = ensemble.await_service(members=others)
            told.await_more()
            ensemble.members[leader].start()
            ensemble.await_service()
            return f"member {leader} led, now {now}"

        def lose_controller():
            was, now = kafka.kill_controller()
            told.await_more()
            kafka.brokers[was].start()
            kafka.await_brokers()
            return f"broker {was} controlled, now {now}"

        def lose_both():
            said = []
            leader = lose_leader(lambda: said.append(kafka.kill_controller()))
            kafka.brokers[said[0][0]].start()
            kafka.await_brokers()
            return f"{leader}; broker {said[0][0]} controlled, now {said[0][1]}"

        def topic_meanwhile(number):
            names = [f"more-{number}-{at}" for at in range(5)]

            def several():
                for name in names:
                    make(name)

            said = lose_leader(several)
            for name in names:
                kafka.until(lambda: kafka.in_sync(name), f"{name} has all replicas in sync")
            ask(lambda admin: admin.delete_topics(names[:2], timeout_ms=60_000), UnknownTopicOrPartitionError)
            kafka.until(lambda: all(kafka.read(f"/brokers/topics/{name}")[0] is None for name in names[:2]), "topics are deleted")
            return said

        for number in range(arguments.rounds):
            deeds = [("the ensemble's leader is killed", lose_leader), ("the controller is killed", lose_controller),
                     ("both are killed at once", lose_both),
                     ("the ensemble's leader is killed while five topics are made", lambda: topic_meanwhile(number))]
            for what, deed in deeds:
                told.longest, begin = 0.0, time.monotonic()
                said = deed()
                kafka.until(lambda: kafka.in_sync(TOPIC), "all replicas are in sync again", 90)
                print(f"  {what}: {said}; {time.monotonic() - begin:.1f} s, longest pause of acknowledgements {told.longest:.2f} s",
                      flush=True)
        told.is_over.set()
        told.join()
        told.producer.flush(timeout=120)
        wrong = [f"failed: {why}" for why in told.failed[:3]]
        there = consume(kafka.bootstrap)
        lost = told.acknowledged - set(there)
        wrong += [f"lost: {len(lost)} messages that were acknowledged, such as {sorted(lost)[:5]}"] if lost else []
        twice = len(there) - len(set(there))
        wrong += [f"ends: broker {one.number} ended with code {one.process.returncode}\n{one.log_tail()}"
                  for one in kafka.brokers.values() if one.is_meant_to_run and one.process.poll() is not None]
        kafka.look.stop()
        for broker in kafka.brokers.values():
            broker.kill()
        # The brokers' sessions expire.
        end = time.monotonic() + 30
        while any(path.startswith(f"{ROOT}/brokers/ids/") for path in cluster.trees(ensemble)[1]) and time.monotonic() < end:
            time.sleep(0.5)
        trees = cluster.trees(ensemble)
        wrong += [f"trees: member {number} differs from member 1" for number, tree in trees.items() if tree != trees[1]]
        wrong += [f"ends: {text}" for text in ensemble.ended_by_themselves()]
        if not told.acknowledged:
            wrong.append("lost: nothing was acknowledged at all")
        print(f"{len(told.acknowledged)} messages acknowledged of {told.sent}, {len(lost)} lost, {twice} twice; "
              f"{len(trees[1])} znodes on each member", flush=True)
        return wrong
    finally:
        if told is not None:
            told.is_over.set()
            told.producer.close(timeout=1)
        for broker in kafka.brokers.values() if kafka is not None else ():
            broker.kill()
        ensemble.stop()


def consume(bootstrap):
    """Every message, from the beginning to what is the end now."""
    from kafka import KafkaConsumer, TopicPartition

    reader = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    parts = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
    reader.assign(parts)
    reader.seek_to_beginning()
    ends, found, end = reader.end_offsets(parts), [], time.monotonic() + 60
    while any(reader.position(part) < ends[part] for part in parts):
        if time.monotonic() > end:
            raise Wrong("the messages cannot be read to their end")
        for messages in reader.poll(timeout_ms=1000).values():
            found += [int(message.value) for message in messages]
    reader.close()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="zoarium", help="zoarium, zookeeper-3.9 or zookeeper-3.8")
    parser.add_argument("--brokers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--per-second", type=int, default=500, help="messages that the producer sends")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="leave the folders with data and logs")
    arguments = parser.parse_args()
    if pathlib.Path(sys.prefix) != VENV:
        try:
            kafka_classpath()
        except servers.Missing as missing:
            print(f"SKIPPED kafka: {missing}\n0 passed, 0 failed, 1 skipped")
            return 0
        prepare_venv()
        os.execv(VENV / "bin/python", [str(VENV / "bin/python"), *sys.argv])
    for name in ("kazoo", "kafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="zoarium-kafka-"))
    print(f"Kafka on three members of {arguments.kind}, in {folder}", flush=True)
    try:
        wrong = run(folder, arguments)
    except Exception as error:
        traceback.print_exc()
        wrong = [f"{type(error).__name__}: {error}"]
    for text in wrong:
        print(f"FAILED {text}")
    if not arguments.keep and not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{int(not wrong)} passed, {int(bool(wrong))} failed, 0 skipped")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
