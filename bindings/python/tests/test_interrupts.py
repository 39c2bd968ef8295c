"""Ctrl-C on the main thread, whatever it waits for."""

import os
import signal
import threading
import time

import pytest
import zoarium

BLOCKING = {
    "get": lambda zk: zk.get("/"),
    "create": lambda zk: zk.create("/a"),
    "watch": lambda zk: zk.watch("/"),
    "watched get": lambda zk: zk.get("/", watch=print),
    "add_auth": lambda zk: zk.add_auth("digest", "u:p"),
    "future": lambda zk: zk.get_async("/").result(),
    "future with a limit": lambda zk: zk.get_async("/").result(60),
    "transaction": lambda zk: zk.transaction().__enter__().create("/a") or zk.multi_read().commit() or commit(zk),
    "start": lambda zk: zk.start(60),
}


def commit(zk):
    t = zk.transaction()
    t.create("/a")
    return t.commit()


@pytest.mark.parametrize("name", BLOCKING)
def test_a_blocking_call_is_interrupted(silent_port, name):
    zk = zoarium.Client(f"127.0.0.1:{silent_port}")
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        BLOCKING[name](zk)
    assert time.monotonic() - begin < 5
    timer.join()
    zk.close(0)


@pytest.mark.parametrize("call", ["get", "create", "watch"])
def test_a_call_to_a_frozen_server_in_this_process_is_interrupted(call):
    with zoarium.Server() as server:
        zk = server.client()
        server.pause(60)
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            while True:
                BLOCKING[call](zk)
        timer.join()
        server.stop()
        zk.close()


def test_waiting_for_an_event_is_interrupted(zk):
    watch = zk.watch("/quiet")
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        for _ in watch:
            pass
    timer.join()


def test_signal_handlers_may_use_the_same_client(zk):
    zk.create("/a", b"x")
    inside = []

    def handler(*_):
        inside.append(zk.get("/a").data)
        zk.create("/h-", sequence=True)
        # Only now: however slow the disk is, there is time in between.
        signal.setitimer(signal.ITIMER_REAL, 0.001)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        deadline = time.monotonic() + 1
        done = 0
        while time.monotonic() < deadline or len(inside) < 5:
            assert zk.create("/m-", b"main", sequence=True).startswith("/m-")
            assert zk.get("/a").data == b"x"
            done += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert set(inside) == {b"x"}
    children = zk.get_children("/")
    assert sum(name.startswith("m-") for name in children) == done
    assert sum(name.startswith("h-") for name in children) == len(inside)
