"""The recipes for asyncio. They are the same coroutines as the blocking ones; here is what waiting and cancelling mean."""

import asyncio

import pytest
import zoarium
from zoarium.recipes import CancelledError, LockLostError, LockTimeout, RecipeClient, TreeEvent
from zoarium.recipes import aio as recipes


def run(main):
    return asyncio.run(asyncio.wait_for(main, 60))


@pytest.fixture(params=["in this process", "over TCP"])
def connect(request, server, chroot):
    """Opens clients with one root, all in this process or all over TCP."""
    if request.param == "over TCP":
        return lambda **options: zoarium.aio.connect(server.address, chroot=chroot, **options)
    return lambda **options: server.aio_client(chroot, **options)


async def eventually(condition, seconds=60.0):
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert loop.time() < deadline, "it did not come about"
        await asyncio.sleep(0.002)


def test_a_lock_is_held_by_one_at_a_time_in_the_order_of_asking(connect):
    async def main():
        async with connect() as one, connect() as two:
            order, inside, fences = [], [], []

            async def work(zk, name):
                async with zk.lock("/lock", name) as lock:
                    inside.append(name)
                    assert inside == [name] and lock.is_acquired
                    order.append(name)
                    fences.append(lock.fence)
                    await zk.sync()
                    inside.pop()

            first = one.lock("/lock", "first")
            assert isinstance(first, recipes.Lock) and await first.acquire()
            tasks = []
            for number in range(6):
                tasks.append(asyncio.ensure_future(work((one, two)[number % 2], f"w{number}")))
                await eventually(lambda: count(first, number + 2))
            assert not await two.lock("/lock").acquire(blocking=False)
            with pytest.raises(LockTimeout):
                await two.lock("/lock").acquire(timeout=0.05)
            assert await first.release() and not await first.release()
            await asyncio.gather(*tasks)
            assert order == [f"w{number}" for number in range(6)]
            assert fences == sorted(set(fences))

    async def count(lock, number):
        return len(await lock.contenders()) == number

    run(main())


def test_a_task_that_is_cancelled_leaves_the_line(connect):
    async def main():
        async with connect() as one, connect() as two:
            async with one.lock("/lock", "holder") as held:
                waiting = asyncio.ensure_future(two.lock("/lock", "gone").acquire())
                await eventually(lambda: listed(held, ["holder", "gone"]))
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await eventually(lambda: listed(held, ["holder"]))
                lock = two.lock("/lock")
                waiting = asyncio.ensure_future(lock.acquire())
                await eventually(lambda: listed(held, ["holder", ""]))
                lock.cancel()
                with pytest.raises(CancelledError):
                    await waiting

    async def listed(lock, names):
        return await lock.contenders() == names

    run(main())


def test_tasks_that_share_a_lock_take_turns_and_none_takes_it_twice(connect):
    async def main():
        async with connect() as zk:
            lock, inside, most = zk.lock("/lock"), [], []

            async def work(number):
                async with lock:
                    inside.append(number)
                    most.append(len(inside))
                    # The others have not bothered the server yet.
                    assert len(await lock.contenders()) == 1
                    inside.remove(number)

            await asyncio.gather(*(work(number) for number in range(8)))
            assert most == [1] * 8
            async with lock:
                with pytest.raises(RuntimeError, match="not reentrant"):
                    await lock.acquire()

    run(main())


def test_a_lock_that_is_lost_says_so(connect, server):
    async def main():
        async with connect() as zk, connect() as other:
            told = asyncio.Event()
            lock = zk.lock("/lock", on_lost=told.set)
            await lock.acquire()
            assert lock.check() == lock.fence
            await other.delete("/lock", recursive=True)
            await asyncio.wait_for(told.wait(), 20)
            assert lock.lost and not lock.is_acquired
            with pytest.raises(LockLostError):
                lock.check()
            assert await lock.acquire() and not lock.lost
            told.clear()
            await asyncio.get_running_loop().run_in_executor(None, server.expire, zk.session_id)
            await asyncio.wait_for(told.wait(), 20)
            assert lock.lost
            with pytest.raises(zoarium.SessionExpiredError):
                await lock.acquire()

    run(main())


def test_readers_share_and_writers_do_not(connect):
    async def main():
        async with connect() as one, connect() as two:
            async with one.read_lock("/lock"), two.read_lock("/lock"):
                assert not await one.write_lock("/lock").acquire(blocking=False)
            async with two.write_lock("/lock"):
                assert not await one.read_lock("/lock").acquire(blocking=False)

    run(main())


def test_a_semaphore_has_so_many_leases_and_no_more(connect):
    async def main():
        async with connect() as one, connect() as two:
            inside, most = [], []

            async def work(number):
                semaphore = (one, two)[number % 2].semaphore("/semaphore", str(number), max_leases=2)
                async with semaphore:
                    inside.append(number)
                    most.append(len(inside))
                    await one.sync()
                    inside.remove(number)

            await asyncio.gather(*(work(number) for number in range(8)))
            assert len(most) == 8 and max(most) <= 2
            async with one.semaphore("/semaphore", "me", 2) as held:
                assert await held.lease_holders() == ["me"]
            with pytest.raises(ValueError, match="2 leases"):
                await one.semaphore("/semaphore", max_leases=3).acquire()

    run(main())


def test_an_election_has_one_leader_who_steps_down_for_the_next(connect):
    async def main():
        async with connect() as one, connect() as two:
            led, first, second = [], one.election("/leader", "one"), two.election("/leader", "two")
            go_on = asyncio.Event()

            async def lead(name, election):
                assert election.is_leader and not election.lost and election.fence
                led.append(name)
                if name == "one":
                    await go_on.wait()

            tasks = [asyncio.ensure_future(first.run(lead, "one", first))]
            await eventually(lambda: led)
            tasks.append(asyncio.ensure_future(second.run(lead, "two", second)))
            await eventually(lambda: has(first, 2))
            assert led == ["one"] and await second.contenders() == ["one", "two"]
            go_on.set()
            await asyncio.gather(*tasks)
            assert led == ["one", "two"] and not first.is_leader
            # A plain function will do, and a cancelled contender returns.
            await first.run(led.append, "again")
            assert led[-1] == "again"
            first.cancel()
            await first.run(led.append, "never")
            assert led[-1] == "again"

    async def has(election, number):
        return len(await election.contenders()) == number

    run(main())


def test_a_counter_counts_every_change(connect):
    async def main():
        async with connect() as one, connect() as two:
            counters = [zk.counter("/hits") for zk in (one, two) for _ in range(3)]
            await asyncio.gather(*(counter.add(1) for counter in counters for _ in range(5)))
            assert await counters[0].value() == 30
            assert await counters[0].add(-5) == 25 and counters[0].pre_value == 30 and counters[0].post_value == 25
            assert await one.counter("/float", 1.5).add(1.0) == 2.5

    run(main())


def test_a_barrier_holds_until_it_is_removed(connect):
    async def main():
        async with connect() as one, connect() as two:
            barrier = one.barrier("/barrier")
            assert await barrier.wait(1) is True
            await barrier.create()
            assert await two.barrier("/barrier").wait(0.02) is False
            waiting = asyncio.ensure_future(two.barrier("/barrier").wait())
            await two.sync()
            assert not waiting.done()
            assert await barrier.remove() and not await barrier.remove()
            assert await waiting is True

    run(main())


def test_a_double_barrier_lets_all_in_and_out_together(connect):
    async def main():
        async with connect() as one, connect() as two:
            barriers = [zk.double_barrier("/double", 3) for zk in (one, two, one)]
            early = [asyncio.ensure_future(barrier.enter()) for barrier in barriers[:2]]
            await eventually(lambda: children(one, 2))
            assert not any(task.done() for task in early)
            await barriers[2].enter()
            await asyncio.gather(*early)
            assert all(barrier.participating for barrier in barriers)
            await asyncio.gather(*(barrier.leave() for barrier in barriers))
            with pytest.raises(zoarium.TimedOutError):
                await barriers[0].enter(timeout=0.05)

    async def children(zk, number):
        return await zk.exists("/double") and len(await zk.get_children("/double")) == number

    run(main())


def test_queues_give_each_entry_to_one(connect):
    async def main():
        async with connect() as one, connect() as two:
            queue = one.queue("/queue")
            assert await queue.get() is None
            waiting = asyncio.ensure_future(two.queue("/queue").get(timeout=60))
            await two.sync()
            await queue.put(b"waited for")
            assert await waiting == b"waited for"
            await queue.put(b"later")
            await queue.put(b"sooner", priority=1)
            assert await queue.count() == 2
            assert [await queue.get(), await queue.get(), await queue.get()] == [b"sooner", b"later", None]

            locking, other = one.locking_queue("/locking"), two.locking_queue("/locking")
            await locking.put_all([b"1", b"2"])
            assert await locking.get() == b"1" and await other.get() == b"2"
            assert await locking.holds_lock() and await locking.consume() and not await locking.consume()
            assert await other.release()
            assert await locking.get() == b"2" and await locking.consume()
            assert await locking.count() == 0 and await locking.get(timeout=0.02) is None

    run(main())


def test_a_party_knows_who_is_here(connect):
    async def main():
        async with connect() as one, connect() as two:
            async with one.party("/party", "one"), two.shallow_party("/party2", "two") as shallow:
                async with two.party("/party", "two") as party:
                    assert sorted(await party.members()) == ["one", "two"] and await party.count() == 2
                assert await party.members() == ["one"] and await shallow.members() == ["two"]

    run(main())


def test_watchers_are_called_with_every_new_state(connect):
    async def main():
        async with connect() as one, connect() as two:
            data, names, fine = [], [], []
            watcher = one.data_watch("/w", lambda value, stat: data.append(value))
            await watcher.first()
            assert data == [None]
            await two.create("/w", b"1")
            await eventually(lambda: data[-1] == b"1")

            @one.children_watch("/w")
            def children(found):
                names.append(sorted(found))
                return len(found) < 2

            await children_are(two, "/w", names)
            await two.set("/w", b"2")
            await eventually(lambda: data[-1] == b"2")
            watcher.stop()
            await two.set("/w", b"3")
            await one.sync()
            assert data[-1] == b"2"

            def refuses(_data, _stat):
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await one.data_watch("/w", refuses).first()
            assert not fine

    async def children_are(zk, path, names):
        await eventually(lambda: names)
        for number in range(3):
            await zk.create(f"{path}/{number}")
            await eventually(lambda: number == 2 or len(names[-1]) == number + 1)
        assert names[-1] == ["0", "1"]

    run(main())


def test_a_tree_cache_follows_every_change(connect):
    async def main():
        async with connect() as one, connect() as two:
            await two.create("/tree/a", b"1", makepath=True)
            cache, told = one.tree_cache("/tree"), []
            cache.listen(lambda event: told.append(event.event_type))
            async with cache:
                assert cache.get_data("/tree/a").data == b"1" and TreeEvent.INITIALIZED in told
                await two.set("/tree/a", b"2")
                await two.create("/tree/a/b")
                await eventually(lambda: cache.get_children("/tree/a") == {"b"} and cache.get_data("/tree/a").data == b"2")
                await two.delete("/tree", recursive=True)
                await eventually(lambda: len(cache) == 0)

    run(main())


def test_blocking_and_asyncio_exclude_each_other(connect, server, chroot):
    async def main():
        async with connect() as zk:
            loop = asyncio.get_running_loop()
            with server.client(chroot) as blocking:
                held = blocking.lock("/lock", "thread")
                await loop.run_in_executor(None, held.acquire)
                waiting = asyncio.ensure_future(zk.lock("/lock", "task").acquire())
                await eventually(lambda: len(blocking.lock("/lock").contenders()) == 2)
                assert not waiting.done()
                await loop.run_in_executor(None, held.release)
                assert await waiting
                assert not blocking.lock("/lock").acquire(blocking=False)

    run(main())


def test_a_blocking_recipe_refuses_a_client_for_asyncio_instead_of_hanging(connect):
    async def main():
        async with connect() as zk:
            with pytest.raises(TypeError, match="zoarium.recipes.aio"):
                zoarium.recipes.Lock(zk, "/lock").acquire()

    run(main())


def test_both_clients_have_all_that_recipes_need():
    wanted = {name for name in vars(RecipeClient) if not name.startswith("_")}
    assert len(wanted) > 12
    for kind in (zoarium.Client, zoarium.aio.Client):
        assert wanted <= set(dir(kind)), wanted - set(dir(kind))


def test_both_offer_the_same_recipes_with_the_same_arguments():
    import inspect

    from zoarium.offers import AioRecipes, Recipes

    names = {name for name in vars(Recipes) if not name.startswith("_")}
    assert names == {name for name in vars(AioRecipes) if not name.startswith("_")} and len(names) >= 30
    for name in names:
        ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (Recipes, AioRecipes))
        assert list(ours.parameters.values()) == list(theirs.parameters.values()), name


def test_retry_awaits_again_what_cannot_have_happened(server, chroot):
    async def main():
        async with server.aio_client(chroot) as zk:
            await zk.create("/a", b"x")
            failures, calls = [zoarium.ConnectionLoss, zoarium.ThrottledOpError], []

            async def flaky(path, *, answer):
                calls.append(path)
                if failures:
                    raise zoarium.errors.error_of(failures.pop(0).code, path)
                return answer

            assert await zk.retry(flaky, "/a", answer=7, idempotent=True, delay=0.001) == 7 and len(calls) == 3
            # What may have happened is not done again, unless that is said to do no harm.
            failures.append(zoarium.ConnectionLoss)
            with pytest.raises(zoarium.ConnectionLoss):
                await zk.retry(flaky, "/a", answer=7, delay=0.001)
            failures.append(zoarium.ThrottledOpError)
            assert await zk.retry(flaky, "/a", answer=8, delay=0.001) == 8
            failures.extend([zoarium.ThrottledOpError] * 3)
            with pytest.raises(zoarium.ThrottledOpError):
                await zk.retry(flaky, "/a", answer=8, attempts=2, delay=0.001)
            assert (await zk.retry(zk.get, "/a")).data == b"x"
            with pytest.raises(zoarium.NoNodeError):
                await zk.retry(zk.get, "/nobody")

    run(main())
