"""Processes that fork: a child is told that its parent's clients are not its own, or gets a session of its own."""

import multiprocessing
import os
import sys
import traceback

import pytest
import zoarium


def in_child(work):
    """Runs `work` in a forked child; its exit code is 0 when nothing was raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_child_is_told_how_to_help_itself(server, zk):
    zk.create("/e", ephemeral=True)
    watch = zk.watch("/a")
    pending = zk.get_async("/")
    pending.result(60)

    def work():
        for call in (
            lambda: zk.get("/"),
            lambda: zk.create("/a"),
            lambda: zk.get_async("/").result(60),
            lambda: zk.watch("/b"),
            lambda: zk.get("/", watch=print),
            lambda: zk.add_auth("digest", "u:p"),
            lambda: zk.transaction().create("/x") or zk.multi_read().get("/") or read(zk),
        ):
            with pytest.raises(zoarium.ForkedError, match="open a client in the child"):
                call()
        assert zk.state == zoarium.KazooState.LOST
        zk.close()
        server.stop()
        with zoarium.connect(server.address) as own:
            own.create(zk.chroot + "/child", b"x")
            assert own.create_async(zk.chroot + "/child2").result(60)
        with zoarium.Server() as second, second.client() as own:
            events = own.watch("/", recursive=True)
            own.create("/mine")
            assert events.get(10).path == "/mine"

    in_child(work)
    # The parent noticed nothing.
    assert zk.get("/child").data == b"x" and zk.get_ephemerals() == ["/e"]
    zk.create("/a")
    assert watch.get(10).type == "CREATED"


def read(zk):
    reads = zk.multi_read()
    reads.get("/")
    return reads.commit()


def test_a_future_of_the_parents_is_not_waited_for(silent_port):
    zk = zoarium.Client(f"127.0.0.1:{silent_port}")
    future = zk.get_async("/")

    def work():
        with pytest.raises(zoarium.ForkedError):
            future.result(60)

    in_child(work)
    zk.close(0)


def test_a_client_may_reopen_itself(server, chroot):
    with server.client(chroot, reopen_after_fork=True, auth_data=[("digest", "u:p")]) as zk:
        zk.create("/mine", ephemeral=True)
        id = zk.session_id

        def work():
            assert zk.create("/child", ephemeral=True) == "/child"
            assert zk.session_id != id and zoarium.Id("digest", "u") in zk.who_am_i()
            told = zk.watch("/w")
            zk.create("/w")
            assert told.get(10).path == "/w"
            zk.close()

        in_child(work)

        def first_asynchronously():
            assert zk.get_async("/w").result(60).data == b""

        in_child(first_asynchronously)

        def first_a_watch():
            zk.exists("/x", watch=print)

        in_child(first_a_watch)
        assert zk.session_id == id and zk.exists("/mine")
    with zoarium.connect(server.address, reopen_after_fork=True) as zk:
        in_child(lambda: zk.get("/"))
        zk.get("/")


def test_forking_while_threads_are_busy_does_no_harm(zk):
    import threading

    over = threading.Event()

    def busy():
        while not over.is_set():
            zk.create_async("/n-", b"x", sequence=True).result(60)

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):

            def work():
                with zoarium.Server() as server, server.client() as own:
                    assert own.create_async("/a").result(60) == "/a"

            in_child(work)
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_server_of_the_parent_says_what_to_do_about_a_server(server):
    def work():
        calls = (server.status, lambda: server.command("ruok"), lambda: server.expire(1), server.client)
        for call in calls:
            try:
                call()
            except zoarium.ForkedError as error:
                assert "zoarium.connect(server.address)" in str(error), error
                assert "reopen" not in str(error), error
            else:
                raise AssertionError("the parent's server answered")
        # It is good advice.
        with zoarium.connect(server.address) as zk:
            assert zk.exists("/")

    in_child(work)


def child_of_multiprocessing(address, path, zk):
    if zk is not None:
        try:
            zk.get("/")
        except zoarium.ForkedError:
            pass
        else:
            raise AssertionError("the parent's client answered")
    with zoarium.connect(address) as own:
        own.create(path, b"from a child")
    zoarium.Server().client().create("/left-open")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(server, zk, method, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    context = multiprocessing.get_context(method)
    inherited = zk if method == "fork" else None
    process = context.Process(target=child_of_multiprocessing, args=(server.address, f"{zk.chroot}/{method}", inherited))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert zk.get(f"/{method}").data == b"from a child"
    assert not list(tmp_path.glob("zoarium-*"))
