"""Watches: one-shot ones that reads leave, standing ones as iterators and with callbacks, and listeners."""

import gc
import threading
import time

import pytest
import zoarium
from conftest import eventually


def test_a_read_leaves_a_watch_that_fires_once(zk, other):
    zk.create("/a")
    data, children, creation = [], [], []
    zk.get("/a", watch=data.append)
    zk.exists("/a", watch=data.append)
    zk.get_children("/a", watch=children.append)
    assert zk.exists("/b", watch=creation.append) is None
    other.set("/a", b"x")
    other.set("/a", b"y")
    other.create("/a/c")
    other.create("/b")
    eventually(lambda: data and children and creation)
    # The same function, watching the same thing twice, is told once, as in kazoo.
    assert [(event.type, event.path) for event in data] == [("CHANGED", "/a")]
    assert [(event.type, event.path) for event in children] == [("CHILD", "/a")]
    assert [(event.type, event.path) for event in creation] == [("CREATED", "/b")]
    zk.get("/a", watch=data.append)
    other.delete("/a/c")
    other.delete("/a")
    eventually(lambda: len(data) == 2)
    assert data[1].type == "DELETED" and data[1].state == "CONNECTED"


def test_a_read_that_fails_leaves_no_watch(zk):
    from zoarium import _inbox

    before = len(_inbox.receivers)
    never = []
    for method in (zk.get, zk.get_children):
        with pytest.raises(zoarium.NoNodeError):
            method("/a", watch=never.append)
    with pytest.raises(zoarium.NoNodeError):
        zk.get_async("/a", watch=never.append).result(60)
    eventually(lambda: len(_inbox.receivers) == before)
    zk.create("/a")
    zk.sync()
    assert not never


def test_asynchronous_reads_leave_watches_too(zk, other):
    told = []
    assert zk.exists_async("/a", watch=told.append).result(60) is None
    other.create("/a")
    eventually(lambda: told)
    assert zk.get_async("/a", watch=told.append).result(60).data == b""
    assert zk.get_children_async("/a", watch=told.append).result(60) == []
    other.create("/a/b")
    other.set("/a", b"")
    eventually(lambda: len(told) == 3)
    assert {event.type for event in told} == {"CREATED", "CHILD", "CHANGED"}


def test_a_standing_watch_is_an_iterator_that_ends_with_its_client(server, chroot, other):
    zk = server.client(chroot)
    seen = []
    watch = zk.watch("/", recursive=True)

    def follow():
        for event in watch:
            seen.append((event.type, event.path))

    thread = threading.Thread(target=follow)
    thread.start()
    other.create("/a/b", makepath=True)
    other.set("/a/b", b"x")
    other.delete("/a/b")
    eventually(lambda: len(seen) == 4)
    assert seen == [("CREATED", "/a"), ("CREATED", "/a/b"), ("CHANGED", "/a/b"), ("DELETED", "/a/b")]
    zk.close()
    thread.join(60)
    assert not thread.is_alive()
    with pytest.raises(zoarium.ConnectionClosedError):
        watch.get()


def test_a_watch_ends_when_it_is_closed_and_keeps_what_came_before(zk, other):
    with zk.watch("/a") as watch:
        other.create("/a")
        other.create("/a/b")
        assert watch.get(10).type == "CREATED"
        eventually(lambda: len(watch._events) == 1)
    assert [event.type for event in watch] == ["CHILD"]
    other.set("/a", b"")
    zk.sync()
    assert list(watch) == []
    with pytest.raises(zoarium.TimedOutError):
        zk.watch("/quiet").get(0.02)
    with pytest.raises(TimeoutError):
        zk.watch("/quiet").get(0)


def test_a_callback_may_use_its_client_and_end_its_watch(zk, other):
    seen = []

    def callback(event):
        seen.append(zk.get(event.path).data)
        zk.create("/from-callback")
        watch.close()

    watch = zk.watch("/a", callback)
    other.create("/a", b"1")
    other.set("/a", b"2")
    eventually(lambda: zk.exists("/from-callback"))
    assert seen in ([b"1"], [b"2"])


def test_what_waits_for_callbacks_within_a_callback_is_told_so(zk, other):
    raised = []

    def callback(_event):
        for call in (lambda: zk.get_async("/").result(60), lambda: zk.watch("/q").get(60)):
            try:
                call()
            except zoarium.WouldDeadlockError as error:
                raised.append(error)

    zk.watch("/a", callback)
    other.create("/a")
    eventually(lambda: len(raised) == 2)


def test_exceptions_of_callbacks_go_to_logging_and_stop_nothing(zk, other, reported):
    told = []

    def fails(_event):
        raise ZeroDivisionError("on purpose")

    zk.watch("/a", fails)
    zk.exists("/a", watch=fails)
    zk.watch("/a", told.append)
    zk.add_listener(fails)
    other.create("/a")
    other.set("/a", b"")
    eventually(lambda: len(told) == 2)
    assert [type(error) for error in reported] == [ZeroDivisionError] * 3
    zk.close()
    assert len(reported) == 4


def test_events_come_in_order_and_none_is_lost(zk, other):
    zk.create("/a")
    watch = zk.watch("/a")
    for _ in range(2000):
        other.set_async("/a", b"")
    zxids = [watch.get(30).zxid for _ in range(2000)]
    assert zxids == sorted(set(zxids))


def test_watches_in_kazoos_words(zk, other):
    told, once = [], []
    zk.add_watch("/a", told.append, zoarium.AddWatchMode.PERSISTENT_RECURSIVE)
    zk.exists("/a", watch=once.append)
    other.create("/a")
    other.create("/a/b")
    eventually(lambda: len(told) == 2 and once)
    zk.get("/a", watch=once.append)
    assert zk.remove_all_watches("/a") is True
    other.set("/a", b"")
    zk.sync()
    time.sleep(0.02)
    assert len(told) == 2 and len(once) == 1
    with pytest.raises(zoarium.NoWatcherError):
        zk.remove_all_watches("/a")


def test_a_watch_nobody_refers_to_ends():
    with zoarium.Server() as server, server.client() as zk:
        zk.create("/a")
        watch = zk.watch("/a")
        zk.set("/a", b"")
        for event in watch:
            assert event.path == "/a"
            break
        one = server.status().watches
        assert one > 0
        del watch
        gc.collect()
        with zk.watch("/b"):
            assert server.status().watches == one
        assert server.status().watches == 0


def test_listeners_hear_of_states_until_they_have_heard_enough():
    states, once = [], []
    with zoarium.Server() as server:
        zk = server.client()
        zk.add_listener(states.append)
        zk.add_listener(lambda state: once.append(state) or True)
        removed = []
        zk.add_listener(removed.append)
        zk.remove_listener(removed.append)
        zk.sync()
        server.stop()
        eventually(lambda: states and states[-1] == "LOST")
        assert states == once == ["LOST"] and not removed
        assert zk.state == "LOST" and zk.client_state == "CLOSED" and not zk.connected


def test_a_client_that_nobody_refers_to_is_closed(server, zk, chroot):
    other = server.client(chroot)
    other.create("/e", ephemeral=True)
    other.watch("/x")
    other.add_listener(print)
    assert zk.exists("/e")
    del other
    gc.collect()
    assert zk.exists("/e") is None


def test_a_callback_may_close_its_own_client(server, chroot, zk):
    other = server.client(chroot)
    closed = threading.Event()

    def callback(_event):
        other.close()
        closed.set()

    other.watch("/a", callback)
    zk.create("/a")
    assert closed.wait(60) and other.closed
