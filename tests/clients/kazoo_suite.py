#!/usr/bin/env python3
"""Runs kazoo 2.11's own test suite, unmodified, against Zoarium, and holds the outcome against a committed list.

    tests/clients/kazoo_suite.py                      # the release build of Zoarium
    tests/clients/kazoo_suite.py --server zookeeper   # the baseline: Apache ZooKeeper
    tests/clients/kazoo_suite.py --members 3          # an ensemble of three
    tests/clients/kazoo_suite.py test_lock.py         # only these files

The suite ships inside kazoo's wheel and starts its server by calling `java`. A stand-in of that name, first on PATH,
starts Zoarium in its place. Each test file is one pytest run with ports and a temporary folder of its own; a few run
side by side, since most tests wait. `kazoo_expected.txt` names the tests that cannot pass on one plain server, and
`kazoo_ensemble_expected.txt` those that cannot on several: they run too, and one that passes, or fails in another way
than listed, is an error, as is any other test that fails, is skipped or never ran. What went wrong is run once more, alone, because some of the suite's tests depend on timing;
those are named. In the closing line the listed tests are the skipped ones.
"""

import argparse
import collections
import concurrent.futures
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

import servers

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", servers.ROOT / "target"))
VENV = TARGET / "kazoo-venv"
# The version Zoarium names in its four-letter words; one test of the suite compares it.
ZOARIUM_SPEAKS_VERSION = "3.9.5"
TEST_SECONDS_MAX = 60
FILE_SECONDS_MAX = 300
# For a test that is known to hang; while it could still pass it would take 3 s.
HANG_SECONDS_MAX = 12
# The kinds of listed tests that hold for Apache ZooKeeper as well.
KINDS_OF_ANY_SERVER = {"ensemble", "kerberos"}
# The ports of one member begin so far behind those of the member before it.
PORTS_OF_A_MEMBER = 10
# Files that mostly wait go first, so that no long one is left running alone at the end.
LONG_FILES = [
    "test_client.py",
    "test_connection.py",
    "test_sasl.py",
    "test_eventlet_handler.py",
    "test_watchers.py",
    "test_partitioner.py",
    "test_lock.py",
    "test_gevent_handler.py",
    "test_selectors_select.py",
]

Outcome = collections.namedtuple("Outcome", "verdict message")
Listed = collections.namedtuple("Listed", "kind message_part reason")


def prepare_venv():
    """Makes the virtual environment, or takes the one that is there when its requirements are the same."""
    requirements = HERE / "kazoo_requirements.txt"
    mark = VENV / "requirements.txt"
    if mark.exists() and mark.read_text() == requirements.read_text():
        return
    print(f"making {VENV}", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [VENV / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", requirements], check=True)
    shutil.copy(requirements, mark)


def enter_venv():
    """Goes on in the virtual environment, where the calling script's own has no kazoo."""
    if importlib.util.find_spec("kazoo") is not None:
        return
    if pathlib.Path(sys.prefix) == VENV:
        sys.exit(f"{pathlib.Path(sys.argv[0]).stem}: no kazoo in its own environment")
    prepare_venv()
    os.execv(VENV / "bin/python", [str(VENV / "bin/python"), *sys.argv])


def tests_folder():
    script = "import kazoo.tests as t, os; print(os.path.dirname(t.__file__))"
    command = [VENV / "bin/python", "-c", script]
    return pathlib.Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


class Suite:
    """The suite in one virtual environment, pointed at one kind of server, alone or with others of its kind."""

    def __init__(self, server, members=1):
        self.server = server
        self.members = members
        self.ports = PORTS_OF_A_MEMBER * members
        self.run_folder = TARGET / ("kazoo-run" if members == 1 else f"kazoo-run-{members}")
        self.folder = tests_folder()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("ZOOKEEPER_")}
        # CI lets the suite check the version the server reports, which it skips otherwise.
        self.environment |= {"CI": "true", "ZOOKEEPER_CLUSTER_SIZE": str(members), "PYTHONDONTWRITEBYTECODE": "1"}
        if server == "zoarium":
            stand_in = HERE / "java-stand-in"
            self.environment |= {
                "PATH": f"{stand_in}:{os.environ['PATH']}",
                "ZOARIUM_BIN": str(servers.zoarium_binary()),
                "ZOOKEEPER_CLASSPATH": str(stand_in),
                "ZOOKEEPER_VERSION": ZOARIUM_SPEAKS_VERSION,
            }
        else:
            self.environment |= {
                "ZOOKEEPER_CLASSPATH": servers.zookeeper_classpath(),
                "ZOOKEEPER_VERSION": servers.zookeeper_version(),
            }
        self.run_folder.mkdir(parents=True, exist_ok=True)
        # pytest looks for its settings in the folders above the tests; an empty file of ours ends that.
        self.settings = self.run_folder / "pytest.ini"
        self.settings.write_text("[pytest]\n")

    def pytest(self, *arguments):
        common = ["-c", self.settings, f"--rootdir={self.folder}", "-p", "no:cacheprovider", "-q"]
        return [VENV / "bin/python", "-m", "pytest", *common, *arguments]

    def collect(self, files):
        """The ids of all tests in `files`, such as `test_lock.py::KazooLockTests::test_lock`."""
        command = self.pytest("--collect-only", *(self.folder / name for name in files))
        done = subprocess.run(command, env=self.environment, cwd=self.run_folder, capture_output=True, text=True)
        ids = [line.strip() for line in done.stdout.splitlines() if "::" in line and not line.startswith(" ")]
        if done.returncode != 0 or not ids:
            end = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            raise RuntimeError(f"pytest could not collect the suite:\n{end}")
        return ids

    def run(self, name, ids, port, seconds_max=FILE_SECONDS_MAX):
        """Runs `ids` in one pytest process; returns their outcomes. A test without a result counts as failed."""
        folder = self.run_folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        results = folder / "junit.xml"
        environment = self.environment | {"ZOOKEEPER_PORT_OFFSET": str(port), "TMPDIR": str(folder)}
        # By thread the whole run would end with the test that hangs; a signal ends that test alone, mostly.
        limits = [f"--timeout={TEST_SECONDS_MAX}", "--timeout-method=signal"]
        command = self.pytest(*limits, f"--junitxml={results}", *(self.folder / test for test in ids))
        ending = "never ran"
        with open(folder / "output.txt", "w") as output:
            # A session of its own, so that a server left behind ends with the run that started it.
            run = subprocess.Popen(
                command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )
            try:
                run.wait(timeout=seconds_max)
            except subprocess.TimeoutExpired:
                ending = f"no result in {seconds_max} s"
            try:
                os.killpg(run.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            run.wait()
        outcomes = read_results(results) if results.exists() else {}
        missing = Outcome("failed", f"{ending}; see {folder / 'output.txt'}")
        return {test: outcomes.get(test, missing) for test in ids}


def read_results(path):
    """The outcomes in one junit file, by test id; none when pytest was killed while it wrote."""
    outcomes = {}
    try:
        cases = list(xml.etree.ElementTree.parse(path).iter("testcase"))
    except xml.etree.ElementTree.ParseError:
        return outcomes
    for case in cases:
        module, _, class_name = case.get("classname").rpartition(".")
        if class_name.startswith("test_"):
            test = f"{class_name}.py::{case.get('name')}"
        else:
            test = f"{module.rpartition('.')[2]}.py::{class_name}::{case.get('name')}"
        outcome = Outcome("passed", "")
        for child in case:
            if child.tag == "skipped":
                outcome = Outcome("skipped", child.get("message", ""))
            elif child.tag in ("failure", "error"):
                outcome = Outcome("failed", child.get("message", "").strip())
                break
        outcomes[test] = outcome
    return outcomes


def list_of(members):
    """Where the tests are listed that cannot pass on so many servers."""
    return HERE / ("kazoo_expected.txt" if members == 1 else "kazoo_ensemble_expected.txt")


def read_expected(server, members):
    """The listed tests that apply to `server`, by id."""
    expected = {}
    for line in list_of(members).read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        test, *listed = (column.strip() for column in line.split("|"))
        listed = Listed(*listed)
        if server == "zoarium" or listed.kind in KINDS_OF_ANY_SERVER:
            expected[test] = listed
    return expected


def run_side_by_side(suite, ids, expected, jobs):
    """Runs each test file as one run, `jobs` at a time, and each test that is known to hang as one of its own."""
    by_run = {}
    for test in ids:
        hangs = test in expected and "no result" in expected[test].message_part
        by_run.setdefault(test if hangs else test.partition("::")[0], []).append(test)
    rank = {name: index for index, name in enumerate(LONG_FILES)}
    names = sorted(by_run, key=lambda name: rank.get(name, len(rank)))
    outcomes = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        runs = []
        port = None
        for name in names:
            # The suite uses five ports of a member from its offset on: client, two for peers, admin, TLS.
            port = servers.free_ports(count=suite.ports, start=port)
            seconds_max = HANG_SECONDS_MAX if "::" in name else FILE_SECONDS_MAX
            folder = name.replace(".py", "").replace("::", "-")
            runs.append(pool.submit(suite.run, folder, by_run[name], port, seconds_max))
            port += suite.ports
        for run in concurrent.futures.as_completed(runs):
            outcomes |= run.result()
    return outcomes


def judge(outcomes, expected):
    """Splits the tests into those as they should be and those that are not, with the reason of each of the latter."""
    wrong = {}
    for test, outcome in outcomes.items():
        if test in expected:
            if outcome.verdict == "passed":
                wrong[test] = "passes, but the list says it cannot: take it off"
            elif expected[test].message_part not in outcome.message:
                wrong[test] = f"expected a message with {expected[test].message_part!r}, came: {outcome.message}"
        elif outcome.verdict == "skipped":
            wrong[test] = f"skipped, but not listed: {outcome.message}"
        elif outcome.verdict == "failed":
            wrong[test] = outcome.message
    return wrong


def main():
    parser = argparse.ArgumentParser(description="kazoo's own test suite against Zoarium or Apache ZooKeeper")
    parser.add_argument("--server", choices=["zoarium", "zookeeper"], default="zoarium")
    parser.add_argument("--members", type=int, choices=[1, 3], default=1, help="of the ensemble; 1 is a server by itself")
    parser.add_argument("--jobs", type=int, default=4, help="test files run side by side (default 4)")
    parser.add_argument("files", nargs="*", metavar="test_NAME.py", help="only these files of the suite")
    options = parser.parse_args()

    begin = time.monotonic()
    try:
        prepare_venv()
        suite = Suite(options.server, options.members)
    except servers.Missing as missing:
        sys.exit(f"kazoo_suite: {missing}")
    files = options.files or sorted(path.name for path in suite.folder.glob("test_*.py"))
    ids = suite.collect(files)
    expected = read_expected(options.server, options.members)
    expected_here = {test: listed for test, listed in expected.items() if test.partition("::")[0] in files}
    print(f"kazoo's own suite on {options.members} × {options.server}: {len(ids)} tests in {len(files)} files, {options.jobs} at a time")

    outcomes = run_side_by_side(suite, ids, expected_here, options.jobs)
    wrong = judge(outcomes, expected_here)
    for index, test in enumerate(sorted(wrong)):
        print(f"once more, alone: {test}: {wrong[test].splitlines()[0] if wrong[test] else ''}", flush=True)
        outcomes |= suite.run(f"again-{index}", [test], servers.free_ports(count=suite.ports))
    wrong = judge(outcomes, expected_here)
    for test in expected_here.keys() - outcomes.keys():
        wrong[test] = f"listed in {list_of(options.members).name}, but the suite has no such test"

    print()
    listed = [test for test in expected_here if test not in wrong]
    for test in listed:
        print(f"listed ({expected_here[test].kind}): {test}: {expected_here[test].reason}")
    for test, reason in sorted(wrong.items()):
        print(f"FAILED: {test}: {reason}")
    passed = len(outcomes.keys() - wrong.keys() - expected_here.keys())
    print(f"took {time.monotonic() - begin:.0f} s")
    print(f"{passed} passed, {len(wrong)} failed, {len(listed)} skipped")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
