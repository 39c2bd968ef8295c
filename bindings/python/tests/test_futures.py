"""What the ``…_async`` methods return."""

import asyncio
import concurrent.futures
import threading
import time

import pytest
import zoarium
from conftest import NOBODY


@pytest.fixture
def silent(silent_port):
    """A client whose requests are never answered."""
    zk = zoarium.Client(f"127.0.0.1:{silent_port}")
    yield zk
    zk.close(0)


def test_every_operation_has_its_asynchronous_twin(zk):
    assert zk.create_async("/a", b"x").result(10) == "/a"
    path, stat = zk.create_async("/p/q", makepath=True, include_data=True, ephemeral=True).get()
    assert path == "/p/q" and stat.ephemeralOwner == zk.session_id
    assert zk.get_async("/a").get().data == b"x"
    assert zk.exists_async("/a").get().version == 0 and zk.exists_async("/b").get() is None
    assert sorted(zk.get_children_async("/").get()) == ["a", "p"]
    assert zk.get_children_async("/p", include_data=True).get()[1].numChildren == 1
    assert zk.set_async("/a", b"y").get().version == 1
    assert zk.set_acls_async("/a", zoarium.OPEN_ACL_UNSAFE).get().aversion == 1
    assert zk.get_acls_async("/a").get()[0] == zoarium.OPEN_ACL_UNSAFE
    assert zk.sync_async("/a").get() == "/a"
    assert zk.who_am_i_async().get() == zk.who_am_i()
    assert zk.get_ephemerals_async().get() == ["/p/q"]
    assert zk.get_all_children_number_async("/").get() == 3
    assert zk.ensure_path_async("/x/y/z").get() is True and zk.ensure_path_async("/").get() is True
    assert zk.exists("/x/y/z")
    with pytest.raises(zoarium.ReconfigDisabledError):
        zk.reconfig_async(joining="server.2=h:1:2;3").get()
    assert zk.delete_async("/a").get() is True
    t = zk.transaction()
    t.create("/t")
    assert t.commit_async().get() == ["/t"]


def test_failures_are_raised_where_the_result_is_wanted(zk):
    future = zk.get_async("/nobody")
    with pytest.raises(zoarium.NoNodeError) as caught:
        future.get(timeout=60)
    assert caught.value.path == "/nobody"
    assert isinstance(future.exception(), zoarium.NoNodeError)
    assert future.ready() and future.done() and not future.successful()
    assert isinstance(zk.create_async("/a").exception(10), type(None))


def test_they_are_futures_of_the_standard_library(zk):
    sent = [zk.create_async(f"/n{at}") for at in range(50)]
    assert all(isinstance(future, concurrent.futures.Future) for future in sent)
    done, not_done = concurrent.futures.wait(sent, timeout=60)
    assert len(done) == 50 and not not_done
    again = [zk.get_async(f"/n{at}") for at in range(50)] + [zk.get_async("/nobody")]
    assert {future.exception() is None for future in concurrent.futures.as_completed(again, timeout=60)} == {True, False}

    async def main():
        return (await asyncio.wrap_future(zk.get_async("/n1"))).data

    assert asyncio.run(main()) == b""


def test_callbacks_are_called_once_however_late_they_are_added(zk):
    called = threading.Semaphore(0)
    for _ in range(200):
        future = zk.sync_async()
        future.rawlink(lambda of: called.release())
        future.add_done_callback(lambda of: called.release())
    future.result(10)
    future.add_done_callback(lambda of: called.release())
    for _ in range(401):
        assert called.acquire(timeout=60)
    assert not called.acquire(timeout=0.01)


def test_what_has_been_sent_cannot_be_cancelled(zk):
    future = zk.create_async("/a")
    assert future.cancel() is False and not future.cancelled()
    assert future.result(10) == "/a" and not future.running()


def test_waiting_has_a_limit(silent):
    future = silent.get_async("/")
    assert future.running() and not future.ready() and future.wait(0.01) is False
    begin = time.monotonic()
    for wait in (lambda: future.result(0.05), lambda: future.get(timeout=0.05), future.get_nowait):
        with pytest.raises(concurrent.futures.TimeoutError):
            wait()
    with pytest.raises(concurrent.futures.TimeoutError):
        future.get(block=False)
    assert time.monotonic() - begin < 5
    silent.close(0)
    with pytest.raises(zoarium.ConnectionClosedError):
        future.result(10)


def test_requests_are_carried_out_in_the_order_they_were_sent(zk):
    sent = [zk.create_async("/s-", sequence=True) for _ in range(3000)]
    assert [future.result(30) for future in sent] == [f"/s-{at:010}" for at in range(3000)]


def test_nobody_waits_for_a_server_that_is_not_there():
    begin = time.monotonic()
    with pytest.raises(zoarium.TimedOutError) as caught:
        zoarium.connect(NOBODY, connect_timeout=0.2)
    assert 0.2 <= time.monotonic() - begin < 5 and "0.2 s" in str(caught.value)
    with pytest.raises(zoarium.BadArgumentsError):
        zoarium.connect("")
