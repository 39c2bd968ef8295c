"""Interpreters that end while servers and clients are open: no hang, no crash, no word, no folder left."""

import pytest
from conftest import run_python

BEGIN = """
import asyncio, atexit, os, sys, threading, time
import zoarium
server = zoarium.Server()
zk = server.client()
other = zoarium.connect(server.address)
zk.create("/a", b"x", ephemeral=True)
"""

ENDS = {
    "nothing": "",
    "server dropped first": "del server",
    "client dropped first": "del zk",
    "server stopped": "server.stop()",
    "clients closed": "zk.close(); other.close()",
    "async under way": "futures = [zk.create_async(f'/n{n}') for n in range(5000)]",
    "async over TCP under way": "futures = [other.create_async(f'/n{n}') for n in range(5000)]",
    "watches": "zk.watch('/', lambda event: None, recursive=True); w = other.watch('/b'); zk.create('/b')",
    "events storming": """
        seen = []
        zk.watch("/", seen.append, recursive=True)
        other.watch("/", lambda event: zk.get("/"), recursive=True)
        def storm():
            while True:
                zk.set_async("/a", b"")
                other.set_async("/a", b"")
                time.sleep(0)
        threading.Thread(target=storm, daemon=True).start()
        time.sleep(0.2)
    """,
    "listeners": "zk.add_listener(lambda state: None); other.add_listener(lambda state: zk.closed)",
    "daemon threads in calls": """
        def work():
            while True:
                zk.set("/a", b"")
                other.get("/a")
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.1)
    """,
    "daemon threads opening and closing": """
        def work():
            while True:
                with server.client() as mine:
                    mine.get_async("/").result()
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.1)
    """,
    "daemon thread in an iterator": """
        threading.Thread(target=lambda: list(zk.watch("/")), daemon=True).start()
        time.sleep(0.1)
    """,
    "threads that outlive the main one": """
        def work():
            time.sleep(0.2)
            zk.create_async("/late").result(60)
        threading.Thread(target=work).start()
    """,
    "handlers before and after ours": """
        def late():
            assert zk.get("/a").data == b"x"
            assert zk.create_async("/late").result(60) == "/late"
        atexit.register(late)
    """,
    "reference cycles": """
        class Cycle: pass
        cycle = Cycle(); cycle.me = cycle; cycle.zk = zk; cycle.server = server
        del zk, server
    """,
    "asyncio left open": """
        async def main():
            global aio
            aio = await server.aio_client()
            await aio.get("/")
            asyncio.ensure_future(aio.watch("/x").get())
            await asyncio.sleep(0.05)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close = lambda: None
    """,
    "sys.exit in a callback's program": "zk.watch('/a', lambda event: None); sys.exit(0)",
    "forked child that ends as programs do": """
        if os.fork() == 0:
            sys.exit(0)
        os.wait()
        assert zk.get("/a").data == b"x"
    """,
    "modules held by builtins": "import builtins; builtins.zk = zk; builtins.server = server; sys.modules['keep'] = zk",
}


@pytest.mark.parametrize("name", ENDS)
def test_the_interpreter_ends_in_silence(name, tmp_path, monkeypatch):
    # C-14
    import textwrap

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    source = BEGIN + textwrap.dedent(ENDS[name])
    done = run_python(source, check=False)
    if name == "asyncio left open":
        # Its loop complains of a task that was left waiting, and says no more than that.
        assert "Task was destroyed but it is pending" in done.stderr and "Traceback" not in done.stderr
        done.stderr = ""
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.glob("zoarium-*"))


def test_an_earlier_handler_still_finds_a_server_to_read_from_or_an_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run_python("""
        import atexit
        held = []
        @atexit.register
        def after_ours():
            zk, = held
            try:
                zk.get("/")
            except zoarium.ConnectionClosedError:
                return
            raise AssertionError("it should have been closed by now")
        import zoarium
        held.append(zoarium.Server().client())
    """)
    assert not list(tmp_path.glob("zoarium-*"))


def test_nothing_is_imported_that_is_not_needed():
    run_python("""
        import sys
        before = set(sys.modules)
        import zoarium
        with zoarium.Server() as server, server.client() as zk:
            zk.create("/a")
        heavy = {"asyncio", "concurrent.futures", "tempfile", "shutil", "subprocess", "logging", "inspect", "multiprocessing"}
        assert not heavy & (set(sys.modules) - before), heavy & set(sys.modules)
    """)


def test_ephemerals_go_with_the_process(server, zk):
    run_python(
        """
        import sys, zoarium
        zk = zoarium.connect(sys.argv[1])
        zk.create("/of-process", ephemeral=True)
        """,
        server.address + zk.chroot,
    )
    assert zk.exists("/of-process") is None
