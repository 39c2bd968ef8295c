"""Nothing is kept that nobody refers to: a thousand rounds leave as many objects as ten."""

import asyncio
import gc
import weakref

import zoarium
from zoarium import _inbox


def objects():
    gc.collect()
    return len(gc.get_objects())


def grows_by(work, rounds=1000):
    for _ in range(10):
        work()
    before = objects()
    for _ in range(rounds):
        work()
    return objects() - before


def test_operations_keep_nothing(zk):
    zk.create("/a", b"x")

    def work():
        zk.get("/a")
        zk.set("/a", b"y" * 100)
        zk.exists("/b")
        zk.get_children("/", include_data=True)
        zk.get_acls("/a")
        try:
            zk.create("/a")
        except zoarium.NodeExistsError:
            pass

    assert grows_by(work) < 50


def test_futures_and_transactions_keep_nothing(zk):
    zk.create("/a")

    def work():
        zk.get_async("/a").result(10)
        zk.get_async("/nobody").exception(10)
        zk.set_async("/a", b"").add_done_callback(lambda future: None)
        with zk.transaction() as t:
            t.check("/a", -1)
        zk.sync_async().result(10)

    assert grows_by(work) < 50


def test_watches_keep_nothing(zk):
    zk.create("/a")

    def work():
        with zk.watch("/a") as watch:
            zk.get("/a", watch=lambda event: None)
            zk.set("/a", b"")
            watch.get(10)
        zk.sync_async().result(10)

    assert grows_by(work, 300) < 50


def test_clients_keep_nothing(server):
    dead = []

    def work():
        zk = server.client()
        zk.add_listener(lambda state: None)
        zk.watch("/a", lambda event: None)
        zk.get_async("/").result(10)
        zk.close()
        dead.append(weakref.ref(zk))

    assert grows_by(work, 300) < 400
    gc.collect()
    assert all(ref() is None for ref in dead)


def test_receivers_go_with_their_clients(server):
    before = len(_inbox.receivers)
    zk = server.client()
    zk.watch("/a")
    zk.exists("/b", watch=print)
    zk.close()
    assert len(_inbox.receivers) == before


def test_the_client_for_asyncio_keeps_nothing(server):
    async def main():
        async with server.aio_client() as zk:
            for _ in range(20):
                await zk.get("/")
            async with zk.watch("/a"):
                pass

    assert grows_by(lambda: asyncio.run(main()), 50) < 100
