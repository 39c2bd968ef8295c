"""A client that begins a new session by itself when its session has expired."""

import asyncio
import threading

import pytest
import zoarium
from conftest import eventually
from zoarium.testing import expire


@pytest.fixture(params=["in this process", "over TCP"])
def renewing(request, server, chroot):
    options = {"new_session": True, "auth_data": [("digest", "u:p")]}
    if request.param == "over TCP":
        client = zoarium.connect(server.address, chroot=chroot, **options)
    else:
        client = server.client(chroot, **options)
    with client:
        yield client


def renewed(zk, server):
    """Expires the session of a client and waits for the next one; what listeners were told."""
    states, back, before = [], threading.Event(), zk.session_id

    def heard(state):
        states.append(state)
        if state == zoarium.KazooState.CONNECTED:
            back.set()
            return True

    zk.add_listener(heard)
    server.expire(before)
    assert back.wait(20)
    assert zk.session_id not in (0, before)
    return states


def test_it_is_told_of_the_end_and_of_the_new_beginning(renewing, server):
    renewing.create("/mine", ephemeral=True)
    for _ in range(3):
        states = renewed(renewing, server)
        assert [state for state in states if state != "SUSPENDED"] == ["LOST", "CONNECTED"]
        assert renewing.exists("/mine") is None
        assert renewing.create("/mine", ephemeral=True) == "/mine"
        assert zoarium.Id("digest", "u") in renewing.who_am_i()


def test_what_belonged_to_the_old_session_has_ended(renewing, server):
    watch, once = renewing.watch("/a"), []
    renewing.exists("/a", watch=once.append)
    lock = renewing.lock("/lock")
    lock.acquire()
    renewed(renewing, server)
    with pytest.raises(zoarium.SessionExpiredError):
        watch.get(10)
    assert lock.lost and lock.acquire(timeout=60)
    renewing.create("/a")
    renewing.sync()
    assert not once
    assert renewing.watch("/b") and renewing.create("/b")


def test_watchers_and_caches_follow_into_the_new_session(renewing, server, other):
    other.create("/c", b"1")
    seen, children, strict = [], [], []
    renewing.data_watch("/c", lambda data, stat: seen.append(data))
    renewing.children_watch("/c", children.append)
    stopped = renewing.children_watch("/c", strict.append, allow_session_lost=False)
    with renewing.tree_cache("/c") as cache:
        renewed(renewing, server)
        other.set("/c", b"2")
        other.create("/c/d", b"x")
        eventually(lambda: seen[-1] == b"2" and children[-1] == ["d"])
        eventually(lambda: "/c/d" in cache and cache.get_data("/c").data == b"2")
        other.delete("/c/d")
        eventually(lambda: "/c/d" not in cache)
    assert stopped.stopped and strict == [[]]


def test_closing_ends_it_for_good(server, chroot):
    zk = server.client(chroot, new_session=True)
    server.expire(zk.session_id)
    zk.close()
    assert zk.closed and zk.state == "LOST"
    with pytest.raises((zoarium.ConnectionClosedError, zoarium.SessionExpiredError)):
        zk.get("/")


def test_without_the_option_lost_is_final(zk, server):
    states = []
    zk.add_listener(states.append)
    expire(zk)
    eventually(lambda: states == ["LOST"])
    assert zk.state == "LOST"
    with pytest.raises(zoarium.SessionExpiredError):
        zk.get("/")


def test_a_server_that_stops_is_not_waited_for():
    with zoarium.Server() as server:
        zk = server.client(new_session=True)
    assert zk.state == "LOST"
    with pytest.raises(zoarium.ConnectionClosedError):
        zk.get("/")
    zk.close()


def test_the_same_with_asyncio(server, chroot):
    async def main():
        async with zoarium.aio.connect(server.address, chroot=chroot, new_session=True) as zk:
            before, back, states = zk.session_id, asyncio.Event(), []

            def heard(state):
                states.append(state)
                if state == "CONNECTED":
                    back.set()

            zk.add_listener(heard)
            seen = []
            await zk.data_watch("/", lambda data, stat: seen.append(stat.numChildren)).first()
            await asyncio.get_running_loop().run_in_executor(None, server.expire, before)
            await asyncio.wait_for(back.wait(), 20)
            assert zk.session_id != before and [state for state in states if state != "SUSPENDED"] == ["LOST", "CONNECTED"]
            async with zk.lock("/lock") as lock:
                assert lock.is_acquired
            await zk.set("/", b"new")

    asyncio.run(asyncio.wait_for(main(), 60))
