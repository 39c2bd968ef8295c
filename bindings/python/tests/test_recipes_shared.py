"""Semaphores, elections, counters, barriers, queues and parties."""

import threading

import pytest
import zoarium
from conftest import eventually
from recipe_kit import CREATE, MULTI, SET, Side, clients, kazoo_client, proxy, start_program  # noqa: F401
from zoarium.recipes import CancelledError, LockTimeout
from zoarium.testing import expire

WORK = """
import sys, zoarium
zk = zoarium.connect(sys.argv[1])
counter, queue = zk.counter("/sum"), zk.queue("/jobs")
while (job := queue.get()) is not None:
    counter += int(job)
"""

# ---- semaphores ------------------------------------------------------------------------------------------------------


def test_no_more_hold_a_semaphore_than_it_has_leases(clients):
    inside, most = [], []
    full = threading.Event()

    def work(zk):
        for _ in range(8):
            with zk.semaphore("/sem", max_leases=2):
                inside.append(1)
                most.append(len(inside))
                if len(inside) == 2:
                    full.set()
                full.wait(60)
                inside.pop()

    for side in [Side(work, clients()) for _ in range(4)]:
        side.join()
    assert max(most) == 2 and len(most) == 32


def test_a_semaphore_refuses_times_out_and_can_be_cancelled(clients):
    one, other = clients(), clients()
    with one.semaphore("/sem", "one") as held:
        assert held.lease_holders() == ["one"]
        lock = other.semaphore("/sem", "other")
        assert lock.acquire(blocking=False) is False
        with pytest.raises(LockTimeout):
            lock.acquire(timeout=0.05)
        waiting = Side(lock.acquire)
        eventually(lambda: other.get_children("/sem-__lock__"))
        lock.cancel()
        with pytest.raises(CancelledError):
            waiting.join()
        eventually(lambda: not other.get_children("/sem-__lock__"))
    assert lock.acquire(blocking=False)
    assert held.lease_holders() == ["other"]
    assert lock.release() and held.lease_holders() == []


def test_a_semaphore_with_another_number_of_leases_is_refused(clients):
    zk = clients()
    with zk.semaphore("/sem", max_leases=2):
        pass
    with pytest.raises(ValueError, match="2 leases, not 3"):
        zk.semaphore("/sem", max_leases=3).acquire()


def test_an_expired_session_loses_its_lease(clients):
    one, other = clients(), clients()
    lost = threading.Event()
    lease = one.semaphore("/sem", on_lost=lost.set)
    lease.acquire()
    fence = lease.fence
    waiting_for = other.semaphore("/sem")
    waiting = Side(waiting_for.acquire)
    expire(one)
    assert lost.wait(60) and lease.lost and not lease.is_acquired
    assert waiting.join() and waiting_for.fence > fence


def test_a_lease_whose_answer_was_lost_is_found_again(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        lease = far.semaphore("/sem")
        with lease:
            pass
        # The first one is for the place in the line.
        proxy.lose_reply(CREATE, 2)
        assert lease.acquire(timeout=60)
        proxy.await_loss()
        assert len(zk.get_children("/sem")) == 1
        lease.release()


def test_kazoos_leases_count_in_our_semaphore(clients, kazoo_client):
    zk = clients()
    theirs = kazoo_client.Semaphore("/sem", "kazoo", max_leases=2)
    assert theirs.acquire()
    with zk.semaphore("/sem", "ours", max_leases=2) as ours:
        assert sorted(ours.lease_holders()) == sorted(theirs.lease_holders()) == ["kazoo", "ours"]
        assert not zk.semaphore("/sem", max_leases=2).acquire(blocking=False)
    theirs.release()


# ---- elections -------------------------------------------------------------------------------------------------------


def test_one_leads_until_it_returns_and_then_the_next(clients):
    led, go_on = [], threading.Semaphore(0)
    elections = [clients().election("/leader", str(number)) for number in range(3)]
    sides = []
    for number, election in enumerate(elections):

        def lead(election=election, number=number):
            assert election.is_leader and election.fence
            led.append(number)
            assert go_on.acquire(timeout=60)

        sides.append(Side(election.run, lead))
        eventually(lambda: len(elections[0].contenders()) == number + 1)
    assert elections[2].contenders() == ["0", "1", "2"]
    elections[1].cancel()
    sides[1].join()
    go_on.release(2)
    for side in sides:
        side.join()
    assert led == [0, 2] and elections[0].contenders() == []


def test_a_deposed_leader_can_tell(clients):
    one, other = clients(), clients()
    told, crowned = threading.Event(), threading.Event()
    election = one.election("/leader", on_lost=told.set)

    def lead():
        leading.set()
        assert told.wait(60)
        assert election.lost and not election.is_leader

    leading = threading.Event()
    side = Side(election.run, lead)
    assert leading.wait(60)
    second = Side(other.election("/leader").run, crowned.set)
    expire(one)
    side.join()
    second.join()
    assert crowned.is_set()


def test_a_leader_that_raises_steps_down(zk):
    election = zk.election("/leader")
    with pytest.raises(ZeroDivisionError):
        election.run(lambda: 1 / 0)
    assert not election.is_leader and election.contenders() == []
    with pytest.raises(ValueError):
        election.run(None)


# ---- counters --------------------------------------------------------------------------------------------------------


def test_no_addition_is_lost(clients):
    def work(zk):
        counter = zk.counter("/a/counter")
        for _ in range(15):
            counter += 1
            counter += 2
            counter -= 1

    for side in [Side(work, clients()) for _ in range(4)]:
        side.join()
    assert clients().counter("/a/counter").value == 120


def test_a_counter_knows_its_type_and_what_it_did(clients):
    zk = clients()
    counter = zk.Counter("/int", default=7)
    assert counter.value == 7
    counter += 3
    assert (counter.pre_value, counter.post_value, counter.value) == (7, 10, 10)
    assert counter.add(-10) == 0
    with pytest.raises(TypeError):
        counter += 1.5
    halves = zk.Counter("/float", default=0.5)
    halves += 0.25
    assert halves.value == 0.75 and isinstance(halves.value, float)
    curator = zk.Counter("/curator", support_curator=True)
    curator -= 2
    assert zk.get("/curator").data == b"\xff\xff\xff\xfe" and curator.value == -2
    with pytest.raises(TypeError):
        zk.Counter("/x", default=1.0, support_curator=True)


def test_a_change_whose_answer_was_lost_is_raised_and_made_once(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        counter = far.counter("/counter")
        counter += 1
        proxy.lose_reply(SET)
        with pytest.raises(zoarium.ConnectionLoss) as raised:
            counter += 1
        assert raised.value.outcome == "unknown"
        assert counter.value == 2 and zk.counter("/counter").value == 2


def test_kazoo_counts_with_us(clients, kazoo_client):
    zk = clients()
    ours, theirs = zk.counter("/counter"), kazoo_client.Counter("/counter")
    ours += 5
    theirs -= 2
    ours += 1
    assert ours.value == theirs.value == 4
    ours, theirs = zk.counter("/float", 0.0), kazoo_client.Counter("/float", 0.0)
    theirs += 0.1
    ours += 0.2
    assert ours.value == theirs.value == 0.1 + 0.2


# ---- barriers --------------------------------------------------------------------------------------------------------


def test_nobody_passes_while_a_barrier_stands(clients):
    one, other = clients(), clients()
    barrier = one.barrier("/a/barrier")
    assert barrier.wait(0) and barrier.remove() is False
    barrier.create()
    barrier.create()
    assert other.barrier("/a/barrier").wait(0.05) is False
    waiting = Side(other.barrier("/a/barrier").wait)
    assert barrier.remove() is True
    assert waiting.join() is True


def test_waiting_at_a_barrier_ends_with_the_session(clients):
    one = clients()
    one.barrier("/barrier").create()
    waiting = Side(one.barrier("/barrier").wait)
    expire(one)
    with pytest.raises((zoarium.SessionExpiredError, zoarium.ConnectionClosedError)):
        waiting.join()


def test_all_enter_and_leave_together_round_after_round(clients):
    size, rounds = 3, 10
    barriers = [clients().double_barrier("/round", size, str(number)) for number in range(size)]
    log, lock = [], threading.Lock()

    def work(barrier):
        for number in range(rounds):
            with lock:
                log.append(("come", number))
            barrier.enter(10)
            with lock:
                log.append(("in", number))
            assert barrier.participating
            barrier.leave(10)
            with lock:
                log.append(("out", number))

    for side in [Side(work, barrier) for barrier in barriers]:
        side.join()
    for number in range(rounds):
        places = {what: [at for at, entry in enumerate(log) if entry == (what, number)] for what in ("come", "in", "out")}
        assert max(places["come"]) < min(places["in"]), "somebody was in before all had come"
        assert max(places["in"]) < min(places["out"])
    barrier = barriers[0]
    assert not barrier.participating


def test_who_enters_alone_times_out_and_is_out_again(clients):
    zk = clients()
    barrier = zk.double_barrier("/barrier", 2)
    with pytest.raises(TimeoutError):
        barrier.enter(0.05)
    assert zk.get_children("/barrier") == [] and not barrier.participating


def test_what_an_earlier_round_left_behind_lets_nobody_in(clients):
    one, other = clients(), clients()
    one.create("/barrier/ready", makepath=True)
    with pytest.raises(TimeoutError):
        one.double_barrier("/barrier", 2).enter(0.05)
    entering = Side(one.double_barrier("/barrier", 2).enter, 10)
    other.double_barrier("/barrier", 2).enter(10)
    entering.join()


def test_who_dies_inside_does_not_keep_the_others_in(clients):
    one, other = clients(), clients()
    mine, theirs = one.double_barrier("/barrier", 2), other.double_barrier("/barrier", 2)
    entering = Side(mine.enter, 10)
    theirs.enter(10)
    entering.join()
    leaving = Side(mine.leave, 10)
    expire(other)
    leaving.join()
    assert [name for name in one.get_children("/barrier") if name != "ready"] == []


def test_kazoo_enters_and_leaves_with_us(clients, kazoo_client):
    ours = clients().double_barrier("/barrier", 2)
    theirs = kazoo_client.DoubleBarrier("/barrier", 2)
    entering = Side(theirs.enter)
    ours.enter(10)
    entering.join()
    leaving = Side(theirs.leave)
    ours.leave(10)
    leaving.join()


# ---- queues ----------------------------------------------------------------------------------------------------------


def test_entries_come_by_priority_and_then_by_age(clients):
    queue = clients().queue("/a/queue")
    assert queue.get() is None and len(queue) == 0 and queue
    for value, priority in ((b"c", 100), (b"d", 100), (b"a", 5), (b"e", 999), (b"b", 50)):
        queue.put(value, priority)
    assert len(queue) == 5
    assert [queue.get() for _ in range(6)] == [b"a", b"b", b"c", b"d", b"e", None]


@pytest.mark.parametrize("value, priority, error", [("text", 1, TypeError), (b"", 1000, ValueError), (b"", "1", TypeError)])
def test_what_is_no_entry_is_refused(zk, value, priority, error):
    for queue in (zk.queue("/queue"), zk.locking_queue("/locking")):
        with pytest.raises(error):
            queue.put(value, priority)


def test_each_entry_is_taken_once(clients):
    zk = clients()
    for number in range(60):
        zk.queue("/queue").put(b"%d" % number)
    taken = []

    def work(zk):
        queue = zk.queue("/queue")
        while (value := queue.get()) is not None:
            taken.append(int(value))

    for side in [Side(work, clients()) for _ in range(3)]:
        side.join()
    assert sorted(taken) == list(range(60))


def test_what_others_took_since_the_last_listing_is_passed_over(clients):
    one, other = clients().queue("/queue"), clients().queue("/queue")
    for value in (b"a", b"b", b"c", b"d"):
        one.put(value)
    assert one.get() == b"a" and [other.get(), other.get()] == [b"b", b"c"]
    assert one.get() == b"d"


def test_waiting_for_an_entry_ends_when_one_comes(clients):
    one, other = clients(), clients()
    waiting = Side(one.queue("/queue").get, None)
    other.queue("/queue").put(b"x")
    assert waiting.join() == b"x"
    assert one.queue("/queue").get(timeout=0.05) is None


def test_processes_share_the_work_of_a_queue(server, chroot, zk):
    for number in range(50):
        zk.queue("/jobs").put(b"%d" % number)
    programs = [start_program(WORK, server.address + chroot) for _ in range(2)]
    for program in programs:
        program.communicate(timeout=120)
        assert program.returncode == 0
    assert zk.counter("/sum").value == sum(range(50))


def test_an_entry_is_held_until_it_is_consumed(clients):
    one, other = clients().locking_queue("/queue"), clients().locking_queue("/queue")
    one.put(b"first")
    one.put_all([b"second", b"third"], priority=200)
    assert one.get() == b"first" == one.get()
    assert other.get() == b"second"
    assert one.holds_lock() and other.holds_lock()
    assert one.consume() is True and one.consume() is False
    assert len(one) == 2
    assert one.get() == b"third"
    assert other.release() is True and other.release() is False
    assert other.get() == b"second"
    assert other.consume() and one.consume() and len(one) == 0
    assert one.get(timeout=0.05) is None


def test_put_all_puts_all_or_none(zk):
    queue = zk.locking_queue("/queue")
    with pytest.raises(TypeError):
        queue.put_all([b"good", "bad"])
    assert len(queue) == 0


def test_an_entry_whose_holder_dies_comes_to_the_next(clients):
    zk = clients()
    dying, living = zk.locking_queue("/queue"), clients().locking_queue("/queue")
    living.put(b"job")
    assert dying.get() == b"job"
    waiting = Side(living.get, 10)
    expire(zk)
    assert waiting.join() == b"job"
    assert living.holds_lock() and living.consume()
    with pytest.raises((zoarium.SessionExpiredError, zoarium.ConnectionClosedError)):
        dying.consume()


def test_consuming_counts_though_its_answer_was_lost(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        queue = far.locking_queue("/queue")
        queue.put(b"job")
        assert queue.get() == b"job"
        proxy.lose_reply(MULTI)
        assert queue.consume() is True
        proxy.await_loss()
        assert len(zk.locking_queue("/queue")) == 0 and zk.get_children("/queue/taken") == []


def test_taking_counts_though_its_answer_was_lost(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        queue = far.locking_queue("/queue")
        queue.put(b"job")
        assert queue.get() == b"job" and queue.release()
        proxy.lose_reply(CREATE)
        assert queue.get(10) == b"job"
        proxy.await_loss()
        assert queue.consume()


def test_kazoo_and_we_read_each_others_entries(clients, kazoo_client):
    zk = clients()
    ours, theirs = zk.queue("/queue"), kazoo_client.Queue("/queue")
    theirs.put(b"from kazoo", 10)
    ours.put(b"from us", 20)
    assert ours.get() == b"from kazoo" and theirs.get() == b"from us" and ours.get() is None
    ours, theirs = zk.locking_queue("/locking"), kazoo_client.LockingQueue("/locking")
    theirs.put(b"1")
    ours.put(b"2")
    assert ours.get() == b"1" and theirs.get() == b"2"
    assert ours.consume() and theirs.consume() and len(theirs) == len(ours) == 0


# ---- parties ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Party", "ShallowParty"])
def test_a_party_is_who_has_joined(clients, kind):
    one, other = clients(), clients()
    mine, theirs = getattr(one, kind)("/a/party", "one"), getattr(other, kind)("/a/party", "other")
    assert list(mine) == [] and len(mine) == 0 and mine
    assert mine.leave() is False
    mine.join()
    mine.join()
    with theirs:
        assert sorted(mine) == ["one", "other"] and len(theirs) == 2 and theirs.participating
    assert list(mine) == ["one"] and not theirs.participating
    expire(one)
    assert list(theirs) == []


def test_joining_counts_once_though_its_answer_was_lost(server, chroot, zk, proxy):
    with zoarium.connect(proxy.address + chroot) as far:
        zk.ensure_path("/party")
        proxy.lose_reply(CREATE)
        far.party("/party", "far").join()
        proxy.await_loss()
        assert list(zk.party("/party")) == ["far"]


def test_an_identifier_that_is_no_name_is_refused_in_a_shallow_party(clients):
    zk = clients()
    with pytest.raises(ValueError, match="without slashes: 'a/b'"):
        zoarium.recipes.ShallowParty(zk, "/party", "a/b")
    with zoarium.recipes.Party(zk, "/party", "a/b") as party:
        assert list(party) == ["a/b"]


@pytest.mark.parametrize("kind", ["Party", "ShallowParty"])
def test_kazoo_sees_our_party_and_we_see_theirs(clients, kazoo_client, kind):
    ours, theirs = getattr(clients(), kind)("/party", "ours"), getattr(kazoo_client, kind)("/party", "kazoo")
    ours.join()
    theirs.join()
    assert sorted(ours) == sorted(theirs) == ["kazoo", "ours"]
