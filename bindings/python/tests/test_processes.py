"""Ensembles of real processes for tests."""

import os
import threading

import pytest
from zoarium.testing import ProcessEnsemble


@pytest.fixture(scope="module")
def ensemble():
    with ProcessEnsemble(3) as ensemble:
        yield ensemble


@pytest.fixture
def whole(ensemble):
    """All three serve, before and after."""
    yield ensemble
    for member in ensemble.members:
        if member not in ensemble.running:
            ensemble.restart(member)
    ensemble.wait()


def test_one_leads_and_the_others_follow(whole):
    roles = sorted(whole.role(member) for member in whole.members)
    assert roles == ["follower", "follower", "leader"] and whole.role(whole.leader) == "leader"
    assert whole.address.count(",") == 2 and "imok" == whole.command(1, "ruok")
    assert whole.address_of(2) in repr(whole)
    for member in whole.members:
        with whole.client(member=member) as zk:
            zk.create(f"/by-{member}")
    with whole.client() as zk:
        zk.sync("/")
        assert {f"by-{member}" for member in whole.members} <= set(zk.get_children("/"))


def test_what_was_acknowledged_survives_the_death_of_the_leader(whole):
    with whole.client(timeout=60) as zk:
        zk.create("/kept", b"x", ephemeral=True)
        session, dead = zk.session_id, whole.leader
        whole.kill(dead)
        assert whole.role(dead) is None and dead not in whole.running
        whole.wait()
        assert whole.leader != dead
        assert zk.retry(zk.get, "/kept", attempts=100).data == b"x" and zk.session_id == session
        whole.restart(dead)
        whole.wait()
        with whole.client(member=dead) as moved:
            moved.sync("/kept")
            assert moved.get("/kept").data == b"x"


def test_a_member_without_its_data_gets_them_from_the_others(whole):
    with whole.client() as zk:
        zk.create("/before-the-wipe", b"x")
    member = next(member for member in whole.members if whole.role(member) == "follower")
    whole.kill(member)
    whole.wipe(member)
    whole.restart(member)
    whole.wait()
    with whole.client(member=member) as zk:
        zk.sync("/")
        assert zk.get("/before-the-wipe").data == b"x"


def test_a_paused_leader_is_replaced_and_follows_when_it_goes_on(whole):
    paused = whole.leader
    whole.pause(paused)
    whole.wait()
    assert whole.role(paused) is None and whole.leader != paused
    whole.resume(paused)
    whole.wait()
    assert whole.role(paused) == "follower"


def test_what_makes_no_sense_is_refused(whole):
    with pytest.raises(ValueError, match="runs"):
        whole.restart(1)
    with pytest.raises(ValueError, match="no member 9"):
        whole.restart(9)
    with pytest.raises(ValueError, match="does not run"):
        whole.kill(9)
    with pytest.raises(ValueError, match="runs"):
        whole.wipe(1)
    with pytest.raises(ValueError, match="at least one"):
        ProcessEnsemble(0)


def test_a_member_that_cannot_start_says_why():
    with pytest.raises(RuntimeError, match="tickTime"):
        ProcessEnsemble(1, config={"tickTime": "often"})


def test_several_at_once_and_nothing_is_left_of_them():
    found, threads = [], []

    def work():
        with ProcessEnsemble(1) as ensemble, ensemble.client() as zk:
            zk.create("/a")
            found.append((ensemble.address, dict(ensemble._processes), ensemble._folder))

    for _ in range(3):
        threads.append(threading.Thread(target=work))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len({address for address, *_ in found}) == 3
    for _, processes, folder in found:
        assert all(process.returncode is not None for process in processes.values())
        assert not os.path.exists(folder)
