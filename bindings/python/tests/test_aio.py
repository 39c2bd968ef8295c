"""The client for asyncio."""

import asyncio

import pytest
import zoarium
import zoarium.aio
from conftest import NOBODY


def run(main):
    return asyncio.run(asyncio.wait_for(main, 60))


def test_every_operation_can_be_awaited(server, chroot):
    async def main():
        async with server.aio_client(chroot) as zk:
            assert zk.connected
            assert await zk.create("/a/b", b"x", makepath=True) == "/a/b"
            path, stat = await zk.create("/a/s-", sequence=True, ephemeral=True, include_data=True)
            assert path == "/a/s-0000000001" and stat.ephemeralOwner == zk.session_id
            assert (await zk.get("/a/b")).data == b"x"
            assert (await zk.exists("/a")).numChildren == 2 and await zk.exists("/b") is None
            children, stat = await zk.get_children("/a", include_data=True)
            assert sorted(children) == ["b", "s-0000000001"] == sorted(await zk.get_children("/a"))
            assert (await zk.set("/a/b", b"y")).version == 1
            assert await zk.get_ephemerals() == ["/a/s-0000000001"]
            assert await zk.get_all_children_number("/a") == 2
            assert await zk.sync("/a") == "/a"
            await zk.add_auth("digest", "u:p")
            assert zoarium.Id("digest", "u") in await zk.who_am_i()
            await zk.set_acls("/a/b", zoarium.CREATOR_ALL_ACL)
            assert (await zk.get_acls("/a/b"))[1].aversion == 1
            async with zk.transaction() as t:
                t.check("/a/b", 1)
                t.create("/t")
            t = zk.transaction()
            t.create("/t")
            assert isinstance((await t.commit())[0], zoarium.NodeExistsError)
            reads = zk.multi_read()
            reads.get("/a/b")
            reads.get("/nobody")
            node, missing = await reads.commit()
            assert node.data == b"y" and isinstance(missing, zoarium.NoNodeError)
            with pytest.raises(zoarium.NoNodeError):
                await zk.get("/nobody")
            with pytest.raises(zoarium.ReconfigDisabledError):
                await zk.reconfig(joining="server.2=h:1:2;3")
            assert await zk.ensure_path("/p/q/r") is True and await zk.ensure_path("/p/q/r") is True
            assert await zk.delete("/p", recursive=True) is True
            with pytest.raises(zoarium.NotEmptyError):
                await zk.delete("/a")
        assert zk.closed and zk.state == zoarium.KazooState.LOST
        with pytest.raises(zoarium.ConnectionClosedError):
            await zk.get("/")

    run(main())


def test_the_same_over_tcp(server, chroot):
    async def main():
        async with zoarium.aio.connect(server.address + chroot) as zk:
            await zk.create("/tcp", b"x")
            assert (await zk.get("/tcp")).data == b"x"
        zk = await zoarium.aio.connect(server.address)
        assert (await zk.get(f"{chroot}/tcp")).data == b"x"
        await zk.close()
        await zk.close()

    run(main())


def test_no_server_is_an_error_in_time():
    async def main():
        with pytest.raises(zoarium.TimedOutError):
            await zoarium.aio.connect(NOBODY, connect_timeout=0.2)

    run(main())


def test_ten_thousand_operations_at_once(server, chroot):
    async def main():
        async with server.aio_client(chroot) as zk:
            paths = await asyncio.gather(*(zk.create(f"/n{at}", b"%d" % at) for at in range(10_000)))
            assert len(set(paths)) == 10_000
            nodes = await asyncio.gather(*(zk.get(path) for path in paths))
            assert [node.data for node in nodes] == [b"%d" % at for at in range(10_000)]

    run(main())


def test_the_loop_goes_on_while_operations_are_under_way(server, chroot):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.ensure_future(tick())
        async with server.aio_client(chroot) as zk:
            await asyncio.gather(*(zk.create(f"/n{at}") for at in range(2_000)))
        ticking.cancel()
        assert ticks > 3

    run(main())


def test_watches_are_asynchronous_iterators(server, chroot):
    async def main():
        async with server.aio_client(chroot) as zk, server.aio_client(chroot) as other:
            async with zk.watch("/", recursive=True) as events:
                await other.create("/a")
                await other.set("/a", b"x")
                await other.delete("/a")
                told = [await events.get() for _ in range(3)]
                assert [(event.type, event.path) for event in told] == [
                    ("CREATED", "/a"),
                    ("CHANGED", "/a"),
                    ("DELETED", "/a"),
                ]
                assert told[0].zxid < told[1].zxid < told[2].zxid
                # Who gives up waiting takes no event along.
                waiting = asyncio.ensure_future(events.get())
                await asyncio.sleep(0)
                waiting.cancel()
                await other.create("/b")
                assert (await events.get()).path == "/b"
            once = []
            await zk.exists("/c", watch=once.append)
            await zk.exists("/c", watch=once.append)
            await other.create("/c")
            await zk.sync()
            await asyncio.sleep(0)
            assert [event.type for event in once] == ["CREATED"]

            seen = []

            async def follow():
                async for event in zk.watch("/", recursive=True):
                    seen.append(event.path)

            following = asyncio.ensure_future(follow())
            while not seen:
                await other.set("/c", b"")
                await asyncio.sleep(0.001)
            await zk.close()
            await following

    run(main())


def test_a_cancelled_task_leaves_nothing_behind(server, chroot):
    from zoarium import _inbox

    async def main():
        async with server.aio_client(chroot) as zk:
            await zk.create("/a")
            before = len(_inbox.receivers)
            tasks = [asyncio.ensure_future(zk.set("/a", b"x")) for _ in range(500)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) == 250
            # The requests had been sent: all of them were carried out.
            assert (await zk.get("/a")).stat.version == 500
            assert len(_inbox.receivers) == before
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(zk.watch("/never").get(), 0.05)

    run(main())


def test_what_is_awaited_ends_when_the_client_is_closed(server, chroot):
    async def main():
        zk = await server.aio_client(chroot)
        sent = [asyncio.ensure_future(zk.create(f"/n{at}")) for at in range(100)]
        watching = asyncio.ensure_future(zk.watch("/x").get())
        await asyncio.sleep(0)
        await zk.close()
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        assert all(isinstance(outcome, (str, zoarium.ConnectionClosedError)) for outcome in outcomes)
        with pytest.raises(zoarium.ZoariumError):
            await watching

    run(main())


def test_listeners_run_on_the_loop(chroot):
    async def main():
        states = []
        with zoarium.Server() as server:
            zk = await server.aio_client()
            zk.add_listener(states.append)
        while not states:
            await asyncio.sleep(0.001)
        assert states == [zoarium.KazooState.LOST]
        await zk.close()

    run(main())


def test_several_loops_in_turn_and_at_once(server, chroot):
    import threading

    async def main(number):
        async with server.aio_client(chroot) as zk:
            for at in range(100):
                await zk.create(f"/{number}-{at}")

    run(main("one"))
    run(main("two"))
    threads = [threading.Thread(target=run, args=(main(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with server.client(chroot) as zk:
        assert len(zk.get_children("/")) == 600


def test_loops_leave_no_descriptor_behind(server):
    import os

    async def main():
        async with server.aio_client() as zk:
            await zk.get("/")

    run(main())
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        run(main())
    # What tests before this one left to be closed may be closed meanwhile.
    assert len(os.listdir("/proc/self/fd")) <= before
