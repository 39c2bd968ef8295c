"""zoarium.testing: as a project of its own would use it, with the package installed; and on kazoo's own tests."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

import pytest
import zoarium
from conftest import eventually
from recipe_kit import Side, kazoo_client  # noqa: F401
from zoarium import testing

SAMPLE = '''
import threading

import pytest
import zoarium
from zoarium.testing import drop, expire, pause

places = set()


@pytest.mark.parametrize("time", [1, 2])
def test_each_test_has_a_place_of_its_own(zk, zk_path, time):
    assert zk.get_children("/") == []
    zk.create("/a/b", b"x", makepath=True)
    assert zk.chroot == zk_path and zk_path not in places
    places.add(zk_path)


def test_what_earlier_tests_left_is_gone(zk_server):
    with zk_server.client() as zk:
        assert places and not places & {"/" + name for name in zk.get_children("/")}


def test_further_clients_see_the_same(zk, zk_clients, zk_address):
    one, other = zk_clients(), zk_clients(timeout=5)
    zk.create("/a", b"x")
    assert one.get("/a").data == other.get("/a").data == b"x"
    with zoarium.connect(zk_address) as far:
        assert far.get("/a").data == b"x"


def test_any_client_will_do(zk, zk_address):
    kazoo = pytest.importorskip("kazoo.client")
    client = kazoo.KazooClient(zk_address)
    client.start()
    client.create("/from-kazoo", b"x")
    assert zk.get("/from-kazoo").data == b"x"
    client.stop()
    client.close()


def test_a_session_expires_on_demand(zk, zk_clients):
    other = zk_clients()
    other.create("/gone", ephemeral=True)
    expire(other)
    assert zk.exists("/gone") is None and other.state == "LOST"


def test_an_ensemble_goes_on_without_its_leader(zk_ensemble):
    ensemble = zk_ensemble(3)
    with ensemble.client() as zk:
        zk.create("/a", b"x")
        ensemble.kill(ensemble.leader)
        ensemble.wait()
        assert zk.retry(zk.get, "/a", attempts=50).data == b"x"
'''

UNITTEST = '''
import asyncio
import sys
import unittest

from zoarium.testing import expire, fresh_client, start_server


class Plain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = start_server()
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        fresh = fresh_client(self.server)
        self.zk = fresh.__enter__()
        self.addCleanup(fresh.__exit__, None, None, None)

    def test_one(self):
        self.zk.create("/a")

    def test_another(self):
        self.assertEqual(self.zk.get_children("/"), [])

    def test_an_expired_session(self):
        expire(self.zk)


class Async(unittest.IsolatedAsyncioTestCase):
    async def test_with_asyncio(self):
        with start_server() as server, fresh_client(server) as zk:
            future = asyncio.wrap_future(zk.create_async("/a"))
            self.assertEqual(await future, "/a")
            self.assertTrue(await asyncio.to_thread(zk.lock("/lock").acquire))
            async with server.aio_client(zk.chroot) as other:
                self.assertEqual(sorted(await other.get_children("/")), ["a", "lock"])


if __name__ == "__main__":
    assert "pytest" not in sys.modules
    unittest.main()
'''


def run(*command, folder, **environment):
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=300, env=os.environ | environment
    )
    return done.returncode, done.stdout + done.stderr


def run_pytest(folder, *arguments, **environment):
    plugin = [] if is_installed() else ["-p", "zoarium.testing.plugin"]
    return run("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *plugin, *arguments, folder=folder, **environment)


def is_installed():
    """Whether the package is, with its entry points; else it is used from the checkout."""
    from importlib import metadata

    try:
        return any(point.group == "pytest11" for point in metadata.entry_points().select(name="zoarium"))
    except AttributeError:
        # Python 3.9.
        return any(point.name == "zoarium" for point in metadata.entry_points().get("pytest11", ()))


@pytest.fixture
def sample(tmp_path):
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    (tmp_path / "plain.py").write_text(UNITTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def test_a_project_uses_the_fixtures(sample):
    code, said = run_pytest(sample)
    assert code == 0, said
    assert re.search(r"7 passed|6 passed, 1 skipped", said), said


def test_the_tests_that_the_readme_shows_pass(tmp_path):
    root = pathlib.Path(os.environ.get("ZOARIUM_ROOT", pathlib.Path(__file__).resolve().parents[3]))
    readme = (root / "bindings/python/README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    for number, block in enumerate(block for block in blocks if "def test_" in block):
        (tmp_path / f"test_{number}.py").write_text(block)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    code, said = run_pytest(tmp_path)
    assert code == 0 and "3 passed" in said, said


def test_the_same_tests_run_against_an_outside_server(sample, server):
    before = server.command("srvr")
    code, said = run_pytest(sample, ZOARIUM_TEST_ADDRESS=server.address)
    assert code == 0, said
    # It was used, and left as clean as it was found.
    assert before != server.command("srvr")
    with server.client() as zk:
        assert not [name for name in zk.get_children("/") if name.startswith("zoarium-test")]
        zk.ensure_path("/team/a")
        code, said = run_pytest(sample, "-k", "further or expires", ZOARIUM_TEST_ADDRESS=server.address + "/team/a")
        assert code == 0, said
        assert zk.get_children("/team/a") == [] and zk.exists("/team/a").cversion > 0


def test_runs_side_by_side_do_not_disturb_each_other(sample):
    plugin = [] if is_installed() else ["-p", "zoarium.testing.plugin"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin]
    runs = [subprocess.Popen(command, cwd=sample, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for one in runs:
        said = one.communicate(timeout=60)[0]
        assert one.returncode == 0, said


def test_unittest_and_asyncio_need_no_pytest(sample):
    code, said = run("plain.py", folder=sample)
    assert code == 0 and "Ran 4 tests" in said, said


def test_nothing_of_it_is_imported_before_it_is_used(tmp_path):
    heavy = "{'pytest', 'unittest', 'kazoo', 'zoarium.recipes', 'zoarium.testing'}"
    code, said = run("-c", f"import sys, zoarium; sys.exit(str({heavy} & set(sys.modules) or '') or None)", folder=tmp_path)
    assert code == 0, said
    code, said = run("-c", "import sys, zoarium.testing; sys.exit('pytest' in sys.modules)", folder=tmp_path)
    assert code == 0, said


def test_an_ensemble_of_processes_says_what_it_lacks(monkeypatch):
    monkeypatch.setenv("ZOARIUM_BINARY", "")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("zoarium._tool._PACKAGED", "/nowhere/zoarium")
    with pytest.raises(testing.NoToolError, match="ZOARIUM_BINARY"):
        testing.ProcessEnsemble(3)


# ---- faults ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["in this process", "over TCP", "outside"])
def client_and_server(request, server, chroot):
    """A client, and what its faults are told of the server."""
    if request.param == "in this process":
        with server.client(chroot) as client:
            yield client, None
    else:
        with zoarium.connect(server.address + chroot) as client:
            yield client, testing.OutsideServer(server.address) if request.param == "outside" else None


def test_expire_ends_a_session_at_once(client_and_server, zk):
    client, server = client_and_server
    states = []
    client.add_listener(states.append)
    client.create("/e", ephemeral=True)
    begin = time.monotonic()
    testing.expire(client, server)
    assert time.monotonic() - begin < 5 and zk.exists("/e") is None
    assert client.state == "LOST"
    eventually(lambda: states[-1:] == ["LOST"])
    # What is over already may be ended once more.
    testing.expire(client, server)


def test_drop_cuts_a_connection_and_keeps_the_session(client_and_server, zk):
    client, server = client_and_server
    session, states = client.session_id, []
    client.create("/e", ephemeral=True)
    client.add_listener(states.append)
    testing.drop(client, server)
    eventually(lambda: states[-2:] == ["SUSPENDED", "CONNECTED"])
    assert client.session_id == session and zk.exists("/e") and client.exists("/e")


def test_a_paused_server_answers_nobody_for_a_while(quick):
    with quick.client() as zk:
        zk.create("/paused")
        begin = time.monotonic()
        testing.pause(quick, 0.3)
        zk.set("/paused", b"x")
        assert time.monotonic() - begin > 0.2
    with pytest.raises(NotImplementedError, match="not in this process"):
        testing.pause(testing.OutsideServer(quick.address), 1)


@pytest.fixture
def quick():
    with zoarium.Server() as server:
        yield server


def test_kazoos_clients_expire_and_drop(zk, kazoo_client):
    states, told = [], threading.Event()
    kazoo_client.add_listener(states.append)
    kazoo_client.create("/kazoo", ephemeral=True)
    session = kazoo_client.client_id[0]
    testing.drop(kazoo_client)
    eventually(lambda: states[-2:] == ["SUSPENDED", "CONNECTED"])
    assert kazoo_client.client_id[0] == session and zk.exists("/kazoo")
    testing.expire(kazoo_client)
    assert zk.exists("/kazoo") is None
    eventually(lambda: "LOST" in states and states[-1] == "CONNECTED")
    assert kazoo_client.client_id[0] != session and not told.is_set()


def test_a_client_that_does_not_tell_where_it_is_needs_its_server(server, zk):
    class Session:
        client_id = zk.client_id

    with pytest.raises(ValueError, match="give the server"):
        testing.expire(Session())
    testing.expire(Session(), server)
    eventually(lambda: zk.state == "LOST")


# ---- kazoo's harness -------------------------------------------------------------------------------------------------

#: Of kazoo's own tests: what cannot pass on one plain server, and why (`tests/clients/kazoo_expected.txt` has the rest).
NOT_ON_ONE_SERVER = {
    "test_update_host_list": "stops the only server and expects another to take the client over",
    "test_create and TestSSLClient": "TLS",
    "TestReconfig": "a standalone server answers reconfig with Unimplemented",
}


@pytest.fixture(scope="module")
def kazoo_tests(tmp_path_factory):
    """kazoo's own tests, with the import of the harness replaced and nothing else."""
    tests = pytest.importorskip("kazoo.tests")
    folder = tmp_path_factory.mktemp("kazoo") / "tests"
    shutil.copytree(pathlib.Path(tests.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in folder.glob("test_*.py"):
        said = file.read_text()
        file.write_text(said.replace("from kazoo.testing import", "from zoarium.testing import"))
    (folder / "pytest.ini").write_text("[pytest]\n")
    return folder


def test_kazoos_own_tests_pass_with_the_import_changed(kazoo_tests):
    recipes = [f"test_{name}.py" for name in ("lock", "counter", "barrier", "queue", "party", "election")]
    but = " and ".join(f"not ({what})" for what in NOT_ON_ONE_SERVER)
    settings = {"CI": "true", "ZOOKEEPER_VERSION": "3.9.5"}
    # Side by side: they mostly wait.
    of_recipes = Side(lambda: run_pytest(kazoo_tests, *recipes, **settings))
    of_client = Side(lambda: run_pytest(kazoo_tests, "test_client.py", "-k", but, **settings))
    for side, passed in ((of_recipes, "62 passed"), (of_client, "106 passed")):
        code, said = side.join(300)
        assert code == 0 and passed in said, said


def test_without_kazoo_the_client_is_ours(tmp_path):
    (tmp_path / "sample.py").write_text(
        "import sys, threading, unittest\n"
        "sys.modules['kazoo.client'] = None\n"
        "import zoarium\n"
        "from zoarium.testing import KazooTestCase\n"
        "class Sample(KazooTestCase):\n"
        "    def test_it(self):\n"
        "        assert isinstance(self.client, zoarium.Client)\n"
        "        self.client.create('/a', ephemeral=True)\n"
        "        self.lose_connection(threading.Event)\n"
        "        assert self.client.exists('/a')\n"
        "        self.expire_session(threading.Event)\n"
        "        assert self._get_client().exists('/a') is None\n"
        "        self.cluster[0].stop()\n"
        "        self.cluster.start()\n"
        "        assert self.client.get_children('/') == []\n"
        "unittest.main()\n"
    )
    code, said = run("sample.py", folder=tmp_path)
    assert code == 0, said


def test_a_cluster_of_several_is_refused_in_words(tmp_path):
    code, said = run(
        "-c", "from zoarium.testing.harness import get_global_cluster as g; g()", folder=tmp_path, ZOOKEEPER_CLUSTER_SIZE="3"
    )
    assert code != 0 and "ZOOKEEPER_CLUSTER_SIZE=3: this harness has one server" in said
