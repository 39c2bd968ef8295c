"""Locks: one holder at a time, whatever happens to connections, sessions and processes."""

import contextlib
import signal
import threading

import pytest
import zoarium
from conftest import eventually
from recipe_kit import CREATE, DELETE, Proxy, Side, clients, kazoo_client, proxy, quick_server, start_program  # noqa: F401
from zoarium.recipes import CancelledError, LockLostError, LockTimeout
from zoarium.testing import expire

HOLD = """
import sys, zoarium
zk = zoarium.connect(sys.argv[1], timeout=2)
lock = zk.lock("/killed")
lock.acquire()
print(lock.fence, flush=True)
sys.stdin.read()
"""

COUNT = """
import sys, zoarium
zk = zoarium.connect(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with zk.lock("/lock") as lock:
        count, fences = zk.get("/count").data.split(b":")
        assert int(fences) < lock.fence, (fences, lock.fence)
        zk.set("/count", b"%d:%d" % (int(count) + 1, lock.fence))
"""

INTERRUPTED = """
import sys, zoarium
zk = zoarium.connect(sys.argv[1])
print("waiting", flush=True)
try:
    zk.lock("/lock").acquire()
except KeyboardInterrupt:
    print(len(zk.get_children("/lock")), flush=True)
"""


def test_one_holds_it_at_a_time_and_fences_grow(clients):
    inside, fences = [], []

    def work(zk):
        for _ in range(15):
            with zk.lock("/lock") as lock:
                inside.append(lock)
                assert inside == [lock]
                assert lock.check() == lock.fence
                fences.append(lock.fence)
                inside.remove(lock)

    for side in [Side(work, clients()) for _ in range(4)]:
        side.join()
    assert len(fences) == 60 and fences == sorted(set(fences))


def test_processes_exclude_each_other(server, chroot, zk):
    zk.create("/count", b"0:0")
    programs = [start_program(COUNT, server.address + chroot, 10) for _ in range(3)]
    for program in programs:
        program.communicate(timeout=120)
        assert program.returncode == 0
    assert zk.get("/count").data.startswith(b"30:")


def test_the_fence_is_the_creation_of_the_znode_that_holds(clients):
    zk = clients()
    with zk.lock("/deep/lock") as lock:
        [name] = zk.get_children("/deep/lock")
        assert lock.fence == zk.exists(f"/deep/lock/{name}").czxid
        assert lock.is_acquired and not lock.lost
    assert lock.fence is None and not lock.is_acquired
    assert zk.get_children("/deep/lock") == []
    with pytest.raises(LockLostError, match="not held"):
        lock.check()


def test_who_asks_first_gets_it_first(clients):
    holder = clients().lock("/lock", "holder")
    holder.acquire()
    order, waiting = [], []
    for number in range(4):
        lock = clients().lock("/lock", f"waiter {number}")

        def work(lock=lock, number=number):
            with lock:
                order.append(number)

        waiting.append(Side(work))
        eventually(lambda: len(holder.contenders()) == number + 2)
    assert holder.contenders() == ["holder", "waiter 0", "waiter 1", "waiter 2", "waiter 3"]
    assert not order
    holder.release()
    for side in waiting:
        side.join()
    assert order == [0, 1, 2, 3]


def test_a_waiter_watches_its_predecessor_alone(server, chroot, clients):
    holder = clients().lock("/lock")
    holder.acquire()
    waiting = []
    for number in range(3):
        waiting.append(Side(clients().lock("/lock").acquire))
        eventually(lambda: len(holder.contenders()) == number + 2)
    zk = clients()
    in_order = sorted(zk.get_children("/lock"), key=lambda name: name[-10:])

    def watchers():
        found, path = {}, None
        for line in server.command("wchp").splitlines():
            if line.startswith(chroot + "/lock/"):
                path = line.rpartition("/")[2]
            elif line.startswith("/"):
                path = None
            elif path and line.strip():
                found[path] = found.get(path, 0) + 1
        return found

    # The holder watches its own, the waiters one each.
    eventually(lambda: watchers() == {in_order[0]: 2, in_order[1]: 1, in_order[2]: 1})


def test_without_waiting_it_is_refused_and_nothing_stays(clients):
    one, other = clients(), clients()
    with one.lock("/lock"):
        assert other.lock("/lock").acquire(blocking=False) is False
        assert len(one.get_children("/lock")) == 1
    lock = other.lock("/lock")
    assert lock.acquire(blocking=False) is True
    assert lock.release() is True
    assert lock.release() is False


def test_a_timeout_raises_and_nothing_stays(clients):
    one, other = clients(), clients()
    with one.lock("/lock"):
        with pytest.raises(LockTimeout):
            other.lock("/lock").acquire(timeout=0.05)
        with pytest.raises(TimeoutError):
            other.lock("/lock").acquire(timeout=0)
        assert len(one.get_children("/lock")) == 1
    assert other.lock("/lock").acquire(timeout=0)


def test_acquiring_it_twice_is_refused_clearly(zk):
    lock = zk.lock("/lock")
    with lock:
        with pytest.raises(RuntimeError, match="not reentrant"):
            lock.acquire()
        with pytest.raises(RuntimeError, match="not reentrant"):
            lock.acquire(blocking=False)
        assert lock.is_acquired
    assert not lock.is_acquired


def test_threads_that_share_one_take_turns(clients):
    lock, inside = clients().lock("/lock"), []

    def work():
        for _ in range(10):
            with lock:
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    sides = [Side(work) for _ in range(4)]
    for side in sides:
        side.join()
    with lock:
        with pytest.raises(LockTimeout):
            Side(lock.acquire, True, 0.05).join()
        assert Side(lock.acquire, False).join() is False


def test_waiting_can_be_cancelled(clients):
    one, other = clients(), clients()
    with one.lock("/lock") as held:
        lock = other.lock("/lock")
        waiting = Side(lock.acquire)
        eventually(lambda: len(held.contenders()) == 2)
        lock.cancel()
        with pytest.raises(CancelledError):
            waiting.join()
        assert len(one.get_children("/lock")) == 1
    # It counts once.
    assert lock.acquire()
    lock.release()


def test_waiting_in_a_callback_is_refused_instead_of_hanging(zk):
    raised = []

    def callback(_event):
        try:
            zk.lock("/lock").acquire()
        except zoarium.WouldDeadlockError as error:
            raised.append(error)

    zk.exists("/a", watch=callback)
    zk.create("/a")
    eventually(lambda: raised)


def test_trying_and_releasing_work_in_a_callback(zk):
    done = []

    def callback(_event):
        lock = zk.lock("/lock")
        done.append((lock.acquire(blocking=False), lock.release()))

    zk.exists("/a", watch=callback)
    zk.create("/a")
    eventually(lambda: done)
    assert done == [(True, True)]


def test_an_expired_session_loses_it_and_says_so(clients):
    one, other = clients(), clients()
    told = threading.Event()
    lock = one.lock("/lock", on_lost=told.set)
    lock.acquire()
    fence = lock.fence
    waiting = Side(other.lock("/lock").acquire)
    expire(one)
    assert told.wait(60)
    assert lock.lost and not lock.is_acquired and lock.fence is None
    with pytest.raises(LockLostError, match="no more"):
        lock.check()
    assert lock.release() is False
    assert waiting.join()
    [name] = other.get_children("/lock")
    assert other.exists(f"/lock/{name}").czxid > fence
    with pytest.raises((zoarium.SessionExpiredError, zoarium.ConnectionClosedError)):
        lock.acquire()


def test_a_waiter_whose_session_expires_raises(clients):
    one, other = clients(), clients()
    with one.lock("/lock") as held:
        waiting = Side(other.lock("/lock").acquire)
        eventually(lambda: len(held.contenders()) == 2)
        expire(other)
        with pytest.raises((zoarium.SessionExpiredError, zoarium.ConnectionClosedError)):
            waiting.join()


def test_a_znode_deleted_by_somebody_else_loses_it(clients):
    one, other = clients(), clients()
    told = threading.Event()
    lock = one.lock("/lock", on_lost=told.set)
    lock.acquire()
    other.set(f"/lock/{other.get_children('/lock')[0]}", b"scribbled")
    other.delete("/lock", recursive=True)
    assert told.wait(60) and lock.lost
    # It can be had again, without a release in between.
    assert lock.acquire() and not lock.lost
    lock.release()


def test_a_waiter_deleted_by_somebody_else_goes_to_the_end_of_the_line(clients):
    one, other = clients(), clients()
    with one.lock("/lock", "one") as held:
        waiting = Side(other.lock("/lock", "other").acquire)
        eventually(lambda: held.contenders() == ["one", "other"])
        for name in one.get_children("/lock"):
            if one.get(f"/lock/{name}").data == b"other":
                one.delete(f"/lock/{name}")
    assert waiting.join()


def test_a_create_whose_answer_was_lost_is_found_again(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        zk.ensure_path("/lock")
        proxy.lose_reply(CREATE)
        lock = far.lock("/lock")
        assert lock.acquire(timeout=60)
        proxy.await_loss()
        # One znode, and not a second one that nobody knows.
        [name] = zk.get_children("/lock")
        assert lock.fence == zk.exists(f"/lock/{name}").czxid
        lock.release()
        assert zk.get_children("/lock") == []


def test_a_create_whose_answer_comes_too_late_leaves_nothing(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        zk.ensure_path("/lock")
        proxy.hold()
        eventually(lambda: far.state == zoarium.KazooState.SUSPENDED)
        # It waits for a connection, and is carried out when there is one: nobody wants it then.
        with pytest.raises(LockTimeout):
            far.lock("/lock").acquire(timeout=0.05)
        proxy.resume()
        far.start()
        far.sync("/")
        eventually(lambda: zk.exists("/lock").cversion == 2)
        assert zk.get_children("/lock") == []


def test_a_release_whose_answer_was_lost_releases(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        lock = far.lock("/lock")
        lock.acquire()
        proxy.lose_reply(DELETE)
        assert lock.release()
        proxy.await_loss()
        assert zk.lock("/lock").acquire(timeout=60)
        far.start()


def test_a_release_that_never_arrived_is_made_when_the_connection_is_back(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        lock = far.lock("/lock")
        lock.acquire()
        proxy.lose_request(DELETE)
        assert lock.release()
        proxy.await_loss()
        assert zk.lock("/lock").acquire(timeout=60)
        far.start()


def test_a_lost_connection_keeps_it(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far, far.lock("/lock") as lock:
        states = []
        far.add_listener(states.append)
        proxy.cut()
        eventually(lambda: states[-2:] == ["SUSPENDED", "CONNECTED"])
        assert not lock.lost and lock.check()
        with pytest.raises(LockTimeout):
            zk.lock("/lock").acquire(timeout=0.05)


def test_waiting_goes_on_after_a_lost_connection(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        with zk.lock("/lock") as held:
            waiting = Side(far.lock("/lock").acquire)
            eventually(lambda: len(held.contenders()) == 2)
            proxy.hold()
            eventually(lambda: far.state == zoarium.KazooState.SUSPENDED)
        # It was released while nobody could tell.
        proxy.resume()
        assert waiting.join()


def test_without_a_connection_for_as_long_as_a_session_lives_it_counts_as_lost(quick_server):
    with Proxy(quick_server.address) as proxy, zoarium.connect(proxy.address, timeout=2) as far:
        lock = far.lock("/silent")
        lock.acquire()
        proxy.hold()
        # The client cannot know what the server does: here another one holds it soon.
        eventually(lambda: lock.lost)
        with quick_server.client() as near, near.lock("/silent") as other:
            assert other.check()
        proxy.resume()
        eventually(lambda: far.state == zoarium.KazooState.LOST)


def test_a_killed_holder_loses_it(quick_server):
    program = start_program(HOLD, quick_server.address)
    fence = int(program.stdout.readline())
    with quick_server.client() as zk:
        lock = zk.lock("/killed")
        assert not lock.acquire(blocking=False)
        program.send_signal(signal.SIGKILL)
        program.wait(60)
        assert lock.acquire(timeout=60)
        assert lock.fence > fence
        lock.release()
    program.communicate()


def test_an_interrupt_ends_the_waiting_and_leaves_nothing(server, chroot, zk):
    with zk.lock("/lock") as held:
        program = start_program(INTERRUPTED, server.address + chroot)
        assert program.stdout.readline() == "waiting\n"
        eventually(lambda: len(held.contenders()) == 2)
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=60)[0] == "1\n"


def test_closing_the_client_lets_go_of_it(clients):
    one, other = clients(), clients()
    told = threading.Event()
    one.lock("/lock", on_lost=told.set).acquire()
    waiting = Side(other.lock("/lock").acquire)
    one.close()
    assert waiting.join() and told.wait(60)


def test_what_on_lost_raises_is_reported(zk, reported):
    with zk.lock("/lock", on_lost=lambda: 1 / 0):
        zk.delete("/lock", recursive=True)
        eventually(lambda: reported)
    assert isinstance(reported[0], ZeroDivisionError)


def test_readers_share_and_writers_exclude(clients):
    one, other, third = clients(), clients(), clients()
    with one.read_lock("/lock", "r1") as first, other.read_lock("/lock", "r2"):
        writer = third.write_lock("/lock", "w")
        assert not writer.acquire(blocking=False)
        writing = Side(writer.acquire)
        eventually(lambda: first.contenders() == ["r1", "w"] or "w" in writer.contenders())
        # Who comes to read after a writer has come waits for it.
        assert not one.read_lock("/lock").acquire(blocking=False)
    assert writing.join()
    assert not other.read_lock("/lock").acquire(blocking=False)
    assert not other.lock("/lock").acquire(blocking=False)
    writer.release()
    with other.read_lock("/lock"), third.read_lock("/lock"):
        pass


def test_numbers_that_wrap_round_keep_their_order():
    from zoarium.recipes import _base
    from zoarium.recipes.lock import _numbered

    names = ["a__lock__-2147483648", "b__lock__2147483647", "c__lock__2147483646", "d__rlock__0000000007", "e"]
    found = [name for _, name in _base.in_order(names, _numbered(["__lock__"]))]
    assert found == ["c__lock__2147483646", "b__lock__2147483647", "a__lock__-2147483648"]


def test_znodes_of_other_implementations_are_waited_for_when_told(zk, other):
    zk.ensure_path("/lock")
    foreign = other.create("/lock/_c_8a-lock-", ephemeral=True, sequence=True)
    assert not zk.lock("/lock", extra_lock_patterns=["-lock-"]).acquire(blocking=False)
    other.delete(foreign)
    assert zk.lock("/lock", extra_lock_patterns=["-lock-"]).acquire(blocking=False)


def test_kazoo_and_we_exclude_each_other(clients, kazoo_client):
    zk = clients()
    theirs, ours = kazoo_client.Lock("/lock", "kazoo"), zk.lock("/lock", "ours")
    with ours:
        assert not theirs.acquire(blocking=False)
        waiting = Side(theirs.acquire)
        eventually(lambda: ours.contenders() == ["ours", "kazoo"])
        assert theirs.contenders() == ["ours", "kazoo"]
    assert waiting.join()
    assert not zk.lock("/lock").acquire(blocking=False)
    waiting = Side(ours.acquire)
    eventually(lambda: len(ours.contenders()) == 2)
    theirs.release()
    assert waiting.join()

    # And in turns, many times.
    ours.release()
    inside = []

    def work(lock):
        for _ in range(20):
            with contextlib.ExitStack() as stack:
                lock.acquire()
                stack.callback(lock.release)
                inside.append(lock)
                assert len(inside) == 1
                inside.pop()

    for side in [Side(work, lock) for lock in (theirs, ours)]:
        side.join()


def test_kazoos_readers_and_our_writers_exclude_each_other(zk, kazoo_client):
    with kazoo_client.ReadLock("/lock"):
        assert zk.read_lock("/lock").acquire(blocking=False)
        assert not zk.write_lock("/lock").acquire(blocking=False)
    zk.delete("/lock", recursive=True)
    with zk.write_lock("/lock"):
        assert not kazoo_client.ReadLock("/lock").acquire(blocking=False)
