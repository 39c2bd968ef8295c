"""Servers in this process."""

import os
import pathlib
import threading
import time

import pytest
import zoarium
from conftest import eventually


def test_a_server_without_a_folder_has_one_of_its_own_until_it_stops(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server = zoarium.Server()
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700 and (folder / "zoarium.db").exists()
    server.stop()
    server.stop()
    assert list(tmp_path.iterdir()) == []
    assert server.status().role == "stopped"
    with pytest.raises(zoarium.ConnectionClosedError):
        server.client()


def test_data_in_a_folder_are_there_again(tmp_path):
    for version in range(2):
        with zoarium.Server(tmp_path / "data") as server, server.client() as zk:
            if version == 0:
                zk.create("/kept", b"x")
            assert zk.get("/kept").data == b"x"
    assert (tmp_path / "data/zoarium.db").exists()


def test_settings_are_the_keys_of_zoo_cfg(tmp_path):
    with zoarium.Server(tick_time=200, config={"maxClientCnxns": 7, "zoarium.logWindow": 8 << 20}) as server:
        conf = server.command("conf")
        assert "tickTime=200\n" in conf and "maxClientCnxns=7\n" in conf
        with server.client(timeout=1) as zk:
            assert zk.session_timeout == 1.0
    (tmp_path / "zoo.cfg").write_text(f"dataDir={tmp_path}/data\nclientPort=0\nclientPortAddress=127.0.0.1\ntickTime=300\n")
    with zoarium.Server(config_file=tmp_path / "zoo.cfg") as server:
        assert "tickTime=300\n" in server.command("conf")
        assert (tmp_path / "data/zoarium.db").exists()
    with pytest.raises(zoarium.UnknownKeyError, match="noSuchKey"):
        zoarium.Server(noSuchKey=1)
    with pytest.raises(zoarium.BadArgumentsError, match="tickTime"):
        zoarium.Server(tickTime="often")


def test_what_does_not_exist_yet_says_so():
    with pytest.raises(NotImplementedError, match="a config_file; zoarium.testing.Ensemble is a whole ensemble"):
        zoarium.Server(members={1: "a", 2: "b"})


def test_it_says_how_it_is(server):
    with server.client() as zk:
        status = server.status()
        assert status.role == "standalone" and status.client_port == server.port and status.sessions >= 1
        assert server.address == f"{server.host}:{server.port}" and zk.session_id
    assert server.command("ruok") == "imok" and "zk_znode_count" in server.command("mntr")
    with pytest.raises(zoarium.BadArgumentsError):
        server.command("????")


def test_sessions_are_ended_cut_off_and_kept_waiting_on_demand():
    with zoarium.Server() as server, server.client() as zk, zoarium.connect(server.address) as remote:
        states = []
        remote.add_listener(states.append)
        remote.create("/e", ephemeral=True)
        server.disconnect(remote.session_id)
        eventually(lambda: states == ["SUSPENDED", "CONNECTED"])
        assert remote.get_ephemerals() == ["/e"] and zk.exists("/e")
        server.expire(remote.session_id)
        assert zk.exists("/e") is None
        eventually(lambda: states[-1] == "LOST")
        with pytest.raises(zoarium.SessionExpiredError):
            remote.get("/")
        with pytest.raises(zoarium.SessionExpiredError):
            server.expire(remote.session_id)
        begin = time.monotonic()
        server.pause(0.1)
        assert zk.create("/late") == "/late"
        assert time.monotonic() - begin > 0.05


def test_two_servers_do_not_share_a_folder_or_a_port(tmp_path):
    with zoarium.Server(tmp_path) as server:
        with pytest.raises(zoarium.InUseError, match="in use"):
            zoarium.Server(tmp_path)
        with pytest.raises(zoarium.PortTakenError):
            zoarium.Server(client_port=server.port)


def things():
    """What a process has: descriptors, threads, mappings of data files."""
    maps = pathlib.Path("/proc/self/maps").read_text()
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), maps.count("zoarium.db")


def test_a_hundred_servers_leave_nothing_behind(tmp_path, monkeypatch):
    # C-15
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def one_round():
        with zoarium.Server() as server, server.client() as zk, zoarium.connect(server.address) as remote:
            events = remote.watch("/", recursive=True)
            zk.create("/a", b"x", ephemeral=True)
            assert zk.create_async("/b").result(60) == "/b"
            assert [events.get(10).path, events.get(10).path] == ["/a", "/b"]

    for _ in range(3):
        one_round()
    before = things()
    for _ in range(100):
        one_round()
    # The thread of the last client over TCP may still be on its way out, before and after.
    eventually(lambda: all(now <= then for now, then in zip(things(), before)))
    assert list(tmp_path.iterdir()) == []


def test_clients_and_servers_may_end_in_any_order():
    server = zoarium.Server()
    zk, other = server.client(), server.client()
    server.stop()
    with pytest.raises(zoarium.ConnectionClosedError):
        zk.get("/")
    zk.close()
    del server, zk
    other.close()

    zk = zoarium.Server().client()
    # The client keeps its server.
    assert zk.create("/a") == "/a"
    del zk


def test_a_server_may_be_stopped_while_threads_use_it():
    server = zoarium.Server()
    zk = server.client()
    zk.create("/a")
    ends = []

    def work():
        try:
            while True:
                zk.set("/a", b"x")
                zk.get("/a")
        except zoarium.ZoariumError as error:
            ends.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    server.stop()
    for thread in threads:
        thread.join(60)
    assert len(ends) == 8 and all(isinstance(error, zoarium.ConnectionClosedError) for error in ends)


def test_a_client_may_be_closed_while_threads_use_it(server, chroot):
    for _ in range(20):
        zk = server.client(chroot)
        zk.ensure_path("/a")
        ends = []

        def work(zk=zk, ends=ends):
            try:
                while True:
                    zk.set("/a", b"x")
                    zk.get_async("/a").result(60)
            except zoarium.ZoariumError as error:
                ends.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        zk.close()
        del zk
        for thread in threads:
            thread.join(60)
        assert len(ends) == 4
