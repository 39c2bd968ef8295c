"""Ensembles in this process, for tests."""

import gc
import os
import threading
import time

import pytest
import zoarium
from conftest import eventually, run_python
from zoarium.testing import Ensemble


@pytest.fixture(scope="module")
def ensemble():
    with Ensemble(3) as ensemble:
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
    leads = whole.member(whole.leader).status()
    assert (leads.role, leads.leader_id, leads.learners_in_sync, leads.quorum_size) == ("leading", whole.leader, 2, 2)
    for member in whole.members:
        with whole.client(member=member) as zk, whole.member(member).client() as near:
            zk.create(f"/by-{member}")
            assert near.exists(f"/by-{member}")
    with whole.client() as zk:
        zk.sync("/")
        assert {f"by-{member}" for member in whole.members} <= set(zk.get_children("/"))


def test_what_was_acknowledged_survives_the_death_of_the_leader(whole):
    with whole.client(timeout=60) as zk:
        zk.create("/kept", b"x", ephemeral=True)
        session, dead = zk.session_id, whole.leader
        server = whole.member(dead)
        whole.kill(dead)
        assert whole.role(dead) is None and dead not in whole.running and server.status().role == "stopped"
        with pytest.raises(zoarium.ConnectionClosedError):
            server.wait()
        whole.wait()
        assert whole.leader != dead
        assert zk.retry(zk.get, "/kept", attempts=100).data == b"x" and zk.session_id == session
        whole.restart(dead)
        whole.wait()
        with whole.member(dead).client() as moved:
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


def test_a_leader_that_is_cut_off_finds_out_and_follows_when_it_is_healed(whole):
    cut = whole.leader
    server = whole.member(cut)
    whole.cut(cut)
    whole.wait()
    assert whole.leader != cut
    eventually(lambda: server.status().role == "looking")
    with pytest.raises(zoarium.TimedOutError, match="looks for a leader"):
        server.wait(0)
    whole.heal(cut)
    whole.wait()
    assert whole.role(cut) == "follower"
    server.wait()


def test_a_session_is_ended_on_any_member(whole):
    with whole.client(member=1) as zk:
        zk.create("/mine", ephemeral=True)
        # A member that was not needed for the quorum may not have heard of the session yet.
        with whole.client(member=2) as other:
            other.sync("/")
        whole.member(2).expire(zk.session_id)
        eventually(lambda: zk.state == "LOST")


def test_what_makes_no_sense_is_refused(whole):
    with pytest.raises(ValueError, match="runs"):
        whole.restart(1)
    with pytest.raises(ValueError, match="no member 9"):
        whole.restart(9)
    with pytest.raises(ValueError, match="no member 9"):
        whole.kill(9)
    with pytest.raises(ValueError, match="runs"):
        whole.wipe(1)
    with pytest.raises(ValueError, match="at least one"):
        Ensemble(0)
    with pytest.raises(zoarium.BadArgumentsError, match="from 1 to 64"):
        Ensemble(65)
    with pytest.raises(zoarium.BadArgumentsError, match="tickTime"):
        Ensemble(1, config={"tickTime": "often"})


def test_who_waits_in_vain_is_told_who_is_missing(whole):
    kept = whole.leader
    for member in whole.members:
        if member != kept:
            whole.kill(member)
    with pytest.raises(zoarium.TimedOutError, match=f"member {kept} "):
        whole.wait(0.3)


def test_data_stay_in_a_folder_that_is_given(tmp_path):
    for is_first in (True, False):
        with Ensemble(3, data_dir=tmp_path, config={"extendedTypesEnabled": True}) as ensemble, ensemble.client() as zk:
            if is_first:
                zk.create("/kept")
            zk.sync("/")
            assert zk.exists("/kept")
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "3"]


def test_members_change_while_it_runs():
    settings = {"reconfigEnabled": True, "skipACL": "yes"}
    with Ensemble(3, config=settings) as ensemble, ensemble.client() as zk:
        before, stat = zk.get_config()
        assert before.count(b"server.") == 3 and stat.version == -1
        observer = "server.4=127.0.0.1:28884:38884:observer;127.0.0.1:21814"
        assert observer.encode() in zk.reconfig(joining=observer, from_config=stat.mzxid).data
        with pytest.raises(zoarium.BadVersionError):
            zk.reconfig(leaving="4", from_config=stat.mzxid)
        with pytest.raises(zoarium.BadArgumentsError):
            zk.reconfig(joining="some thing")
        with pytest.raises(zoarium.NewConfigNoQuorumError):
            zk.reconfig(joining=",".join(f"server.{n}=127.0.0.1:{n}0001:{n}0002;{n}0003" for n in range(4, 7)))
        after, changed = zk.reconfig_async(leaving="4").get()
        assert observer.encode() not in after and changed.mzxid > stat.mzxid
        assert (after, changed) == zk.get_config()
        members = "\n".join(line for line in after.decode().split("\n") if line.startswith("server."))
        assert zk.reconfig(new_members=members).data.count(b"server.") == 3


def test_a_hundred_of_them_leave_no_thread_descriptor_or_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    took, before = [], None
    for _ in range(101):
        begun = time.monotonic()
        with Ensemble(3) as ensemble:
            took.append(time.monotonic() - begun)
            assert len(os.listdir(tmp_path)) == 1
            ensemble.kill(ensemble.leader)
        del ensemble
        if before is None:
            gc.collect()
            before = (len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))
    gc.collect()
    assert os.listdir(tmp_path) == []
    # One of each left behind would make a hundred. A member of another test's ensemble may dial one that is away.
    eventually(lambda: len(os.listdir("/proc/self/fd")) < before[0] + 20)
    eventually(lambda: len(os.listdir("/proc/self/task")) < before[1] + 20)
    took.sort()
    print(f"3 members serve after {took[50] * 1000:.0f} ms (median of 101), {took[-1] * 1000:.0f} ms at most")


def test_several_at_once(tmp_path):
    found, threads = [], []

    def work():
        with Ensemble(3) as ensemble, ensemble.client() as zk:
            zk.create("/a")
            found.append(ensemble.address)

    for _ in range(3):
        threads.append(threading.Thread(target=work))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len({address for addresses in found for address in addresses.split(",")}) == 9


def test_an_interpreter_that_ends_ends_them_and_takes_their_folder_away(tmp_path):
    source = """
        import sys
        from zoarium.testing import Ensemble

        ensemble = Ensemble(3)
        zk = ensemble.client()
        zk.create("/a", ephemeral=True)
    """
    run_python(source, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert os.listdir(tmp_path) == []
