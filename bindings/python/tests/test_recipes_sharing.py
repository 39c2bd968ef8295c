"""Leases by the clock, and sets that members divide among themselves."""

import asyncio
import datetime
import itertools
import threading

import pytest
import zoarium
from conftest import eventually
from recipe_kit import CREATE, SET, clients, kazoo_client, proxy, quick_server  # noqa: F401
from zoarium.recipes import PartitionState
from zoarium.testing import expire

START = datetime.datetime(2030, 1, 1, 12, 0, 0)
HOUR = datetime.timedelta(hours=1)
ITEMS = [f"q{number}" for number in range(1, 8)]


def at(hours):
    return lambda: START + hours * HOUR


# ---- leases ----------------------------------------------------------------------------------------------------------


def test_a_lease_is_one_holders_until_its_end_and_may_be_renewed(clients):
    one, other = clients(), clients()
    assert one.NonBlockingLease("/lease", HOUR, "one", at(0))
    refused = other.NonBlockingLease("/lease", HOUR, "other", at(0.9))
    assert not refused and not refused.obtained
    assert one.NonBlockingLease("/lease", HOUR, "one", at(0.9)), "its holder renews it"
    assert not other.NonBlockingLease("/lease", HOUR, "other", at(1.8)), "until its new end"
    assert other.NonBlockingLease("/lease", HOUR, "other", at(1.9))
    assert not one.NonBlockingLease("/lease", HOUR, "one", at(2))


def test_a_lease_outlives_its_session(clients):
    one, other = clients(), clients()
    assert one.non_blocking_lease("/lease", HOUR, "one", at(0))
    one.close()
    assert not other.non_blocking_lease("/lease", HOUR, "other", at(0.5))
    assert other.get_children("/lease") == ["lease_holder"], "the lock of the attempt is released"


def test_a_lease_of_a_later_format_is_left_alone(clients):
    zk = clients()
    zk.create("/lease/lease_holder", b'{"version": 2, "holder": "one"}', makepath=True)
    assert not zk.NonBlockingLease("/lease", HOUR, "one", at(0))
    assert zk.get("/lease/lease_holder").data == b'{"version": 2, "holder": "one"}'


def test_one_of_several_leases_is_enough(clients):
    zk = clients()
    for name in ("a", "b", "a"):
        assert zk.MultiNonBlockingLease(2, "/leases", HOUR, name, at(0)), name
    assert not zk.MultiNonBlockingLease(2, "/leases", HOUR, "c", at(0.5))
    assert zk.MultiNonBlockingLease(2, "/leases", HOUR, "c", at(1))


@pytest.mark.parametrize("operation", [CREATE, SET], ids=["create", "set"])
def test_a_lease_whose_answer_was_lost_is_obtained(server, chroot, proxy, operation):
    with zoarium.connect(proxy.address, chroot=chroot) as zk:
        zk.ensure_path("/lease")
        if operation == SET:
            assert zk.NonBlockingLease("/lease", HOUR, "one", at(0))
        proxy.lose_reply(operation)
        assert zk.NonBlockingLease("/lease", HOUR, "one", at(0.5))
        proxy.await_loss()
        assert not zk.NonBlockingLease("/lease", HOUR, "other", at(1.4))


def test_leases_are_kazoos(clients, kazoo_client):
    zk = clients()
    assert zk.NonBlockingLease("/lease", HOUR, "ours", at(0))
    assert not kazoo_client.NonBlockingLease("/lease", HOUR, "theirs", at(0.5))
    assert kazoo_client.NonBlockingLease("/lease", HOUR, "theirs", at(1))
    assert not zk.NonBlockingLease("/lease", HOUR, "ours", at(1.5))
    assert zk.NonBlockingLease("/lease", HOUR, "theirs", at(1.5))


# ---- partitioners ----------------------------------------------------------------------------------------------------


def partitioner(zk, name, **options):
    options = {"time_boundary": 0.05, "max_reaction_time": 0.05, **options}
    return zk.SetPartitioner("/set", ITEMS, identifier=name, **options)


def settled(*members):
    """Has every member do what its state asks for, until together they have the whole set, each item once."""

    def is_divided():
        for member in members:
            if member.release:
                member.release_set()
        shares = [sorted(member) for member in members]
        whole = sorted(itertools.chain(*shares)) == ITEMS
        return all(member.acquired for member in members) and whole and shares

    return eventually(is_divided)


def test_a_set_is_divided_and_divided_anew_when_members_come_and_go(clients):
    one = partitioner(clients(), "a")
    assert one.wait_for_acquire(10) and list(one) == ITEMS
    other = partitioner(clients(), "b")
    eventually(lambda: one.release)
    assert list(one) == ITEMS, "it keeps its items until it releases them"
    assert settled(one, other) == [ITEMS[0::2], ITEMS[1::2]]
    other.finish()
    assert other.failed and list(other) == []
    assert settled(one) == [ITEMS]


def test_no_item_is_two_members_at_a_time(clients):
    slow, other = partitioner(clients(), "a"), partitioner(clients(), "b")
    settled(slow, other)
    other.finish()
    eventually(lambda: slow.release)
    third = partitioner(clients(), "0")
    assert not third.wait_for_acquire(0.5), "the items that it should have are not released yet"
    assert list(slow) == ITEMS[0::2] and list(third) == []
    assert settled(third, slow) == [ITEMS[0::2], ITEMS[1::2]]


def test_a_partitioner_ends_with_its_session_and_the_others_take_its_items(server, chroot):
    with server.client(chroot) as one, server.client(chroot) as other:
        lost, stays = partitioner(one, "a"), partitioner(other, "b")
        settled(lost, stays)
        expire(one)
        eventually(lambda: lost.failed)
        assert not lost.wait_for_acquire(10), "there is nothing to wait for"
        assert settled(stays) == [ITEMS]


def test_members_may_divide_as_they_like_and_are_told_of_every_state(clients):
    moved = threading.Event()
    member = partitioner(
        clients(), "a", partition_func=lambda name, members, items: items[:2], state_change_event=moved
    )
    assert member.wait_for_acquire(10) and list(member) == ITEMS[:2] and moved.is_set()
    assert member.state == PartitionState.ACQUIRED


def test_a_function_that_divides_wrongly_ends_the_partitioner(clients):
    def fails(_name, _members, _items):
        raise KeyError("no such member")

    member = partitioner(clients(), "a", partition_func=fails)
    assert not member.wait_for_acquire(10) and member.failed


def test_a_member_without_a_connection_is_told_to_release(server, chroot, proxy):
    with zoarium.connect(proxy.address, chroot=chroot) as zk:
        member = partitioner(zk, "a")
        assert member.wait_for_acquire(10)
        proxy.cut()
        eventually(lambda: member.release)
        member.release_set()
        assert member.wait_for_acquire(10) and list(member) == ITEMS


def test_sets_are_divided_with_kazoos_members(clients, kazoo_client):
    theirs = partitioner(kazoo_client, "theirs")
    ours = partitioner(clients(), "ours")
    assert settled(ours, theirs) == [ITEMS[0::2], ITEMS[1::2]]
    ours.finish()
    assert settled(theirs) == [ITEMS]
    theirs.finish()


# ---- the same for asyncio --------------------------------------------------------------------------------------------


def test_leases_and_partitioners_are_awaited(server, chroot):
    async def main():
        async with server.aio_client(chroot) as zk:
            lease = zk.non_blocking_lease("/lease", HOUR, "one", at(0))
            assert not lease and await lease.obtain() and lease
            assert not await zk.non_blocking_lease("/lease", HOUR, "other", at(0.5)).obtain()
            assert await zk.multi_non_blocking_lease(2, "/leases", HOUR, "one", at(0)).obtain()
            one = zk.set_partitioner("/set", ITEMS, identifier="a", time_boundary=0.05)
            assert await one.wait_for_acquire(10) and list(one) == ITEMS
            other = zk.set_partitioner("/set", ITEMS, identifier="b", time_boundary=0.05)
            while not one.release:
                one.state_change_event.clear()
                await asyncio.wait_for(one.state_change_event.wait(), 10)
            await one.release_set()
            while not (one.acquired and other.acquired):
                for member in (one, other):
                    if member.release:
                        await member.release_set()
                    await member.wait_for_acquire(0.1)
            assert sorted([*one, *other]) == ITEMS
            await other.finish()
            assert other.failed
            await one.finish()

    asyncio.run(asyncio.wait_for(main(), 60))
