#!/usr/bin/env python3
"""Builds the wheel, installs it in a clean virtual environment, and tests it there: `.ci/test python`.

    bindings/python/tests/run.py                 # everything
    bindings/python/tests/run.py test_aio.py     # only these files
    bindings/python/tests/run.py --bench create  # a measurement of bindings/python/bench, in the same environment

The wheel is built as `pip install ./bindings/python` builds it, with cargo; ZOARIUM_PREBUILT and
ZOARIUM_PREBUILT_BINARY name a library and a command line tool to be packed instead.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = HERE.parent
ROOT = PACKAGE.parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
VENV = TARGET / "python-venv"
RUN_FOLDER = TARGET / "python-run"
PYTHON = VENV / "bin/python"
PIP = [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check"]
# What would make the tests see anything but the wheel.
HIDDEN = {"PYTHONPATH", "ZOARIUM_LIBRARY", "ZOARIUM_BINARY"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in HIDDEN} | {"ZOARIUM_ROOT": str(ROOT)}


def run(*command, **keywords):
    return subprocess.run(list(map(str, command)), cwd=RUN_FOLDER, env=ENVIRONMENT, **keywords)


def prepare():
    """A clean environment with the wheel, and nothing of the checkout."""
    shutil.rmtree(RUN_FOLDER, ignore_errors=True)
    RUN_FOLDER.mkdir(parents=True)
    requirements = HERE / "requirements.txt"
    mark = VENV / "requirements.txt"
    if not mark.exists() or mark.read_text() != requirements.read_text():
        print(f"making {VENV}", flush=True)
        shutil.rmtree(VENV, ignore_errors=True)
        run(sys.executable, "-m", "venv", VENV, check=True)
        run(*PIP, "install", "-r", requirements, check=True)
        shutil.copy(requirements, mark)
    print("building the wheel", flush=True)
    run(*PIP, "wheel", "--no-deps", "--wheel-dir", RUN_FOLDER, PACKAGE, check=True)
    (wheel,) = RUN_FOLDER.glob("*.whl")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
    run(*PIP, "install", "--force-reinstall", "--no-deps", wheel, check=True)
    return wheel


class Results:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, holds, said=""):
        print(f"{'ok' if holds else 'FAILED'}: {name}", flush=True)
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(said, flush=True)


def packaging(results, wheel):
    """The wheel, the source distribution, and the command line tool."""
    results.check("the wheel serves every interpreter of the platform", "-py3-none-linux_" in wheel.name, wheel.name)
    where = run(PYTHON, "-c", "import zoarium; print(zoarium._abi.library_path)", capture_output=True, text=True)
    results.check("the library is the packed one", where.stdout.startswith(str(VENV)), where.stdout + where.stderr)
    tool = run(PYTHON, "-m", "zoarium", "--help", capture_output=True, text=True)
    results.check("python -m zoarium is the command line tool", "inspect" in tool.stdout, tool.stdout + tool.stderr)

    script = run(VENV / "bin/zoarium", "--help", capture_output=True, text=True)
    results.check("the script zoarium is, too", script.stdout == tool.stdout, script.stdout + script.stderr)

    made = subprocess.run(
        [str(PYTHON), "-m", "hatchling", "build", "-t", "sdist", "-d", str(RUN_FOLDER / "sdist")],
        cwd=PACKAGE,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    archives = list((RUN_FOLDER / "sdist").glob("*.tar.gz"))
    results.check("a source distribution is made", made.returncode == 0 and len(archives) == 1, made.stderr)
    for archive in archives:
        shutil.unpack_archive(archive, RUN_FOLDER / "unpacked")
        (unpacked,) = (RUN_FOLDER / "unpacked").iterdir()
        # It carries the crate: cargo finds all it names, and a wheel comes out with what was built just now.
        found = subprocess.run(
            ["cargo", "metadata", "--offline", "--no-deps", "--format-version", "1"],
            cwd=unpacked / "rust",
            capture_output=True,
            text=True,
        )
        results.check("it carries the crate", found.returncode == 0, found.stderr)
        installed = pathlib.Path(where.stdout.strip()).parent
        built = subprocess.run(
            [*map(str, PIP), "wheel", "--no-deps", "--wheel-dir", str(RUN_FOLDER / "again"), str(unpacked)],
            env=ENVIRONMENT
            | {
                "ZOARIUM_PREBUILT": str(installed / "libzoarium.so"),
                "ZOARIUM_PREBUILT_BINARY": str(installed / "zoarium"),
            },
            capture_output=True,
            text=True,
        )
        results.check("a wheel comes of it", built.returncode == 0, built.stderr)


def main():
    if sys.argv[1:2] == ["--bench"]:
        prepare()
        sys.exit(run(PYTHON, PACKAGE / "bench" / f"{sys.argv[2]}.py", *sys.argv[3:]).returncode)
    results = Results()
    wheel = prepare()
    if not sys.argv[1:]:
        packaging(results, wheel)
        settings = ["--config-file", PACKAGE / "pyproject.toml", "--cache-dir", TARGET / "python-mypy"]
        typed = run(PYTHON, "-m", "mypy", *settings, PACKAGE / "zoarium", capture_output=True, text=True)
        results.check("mypy, strict", typed.returncode == 0, typed.stdout)
    files = [HERE / name for name in sys.argv[1:]] or [HERE]
    options = ["-c", PACKAGE / "pyproject.toml", "-p", "no:cacheprovider", "--timeout=600"]
    tests = run(VENV / "bin/pytest", *options, *files, stdout=subprocess.PIPE, text=True)
    print(tests.stdout)
    counts = dict((word, int(number)) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", tests.stdout))
    results.passed += counts.get("passed", 0)
    results.failed += counts.get("failed", 0) + counts.get("error", 0)
    results.skipped += counts.get("skipped", 0)
    if tests.returncode != 0 and not counts.get("failed"):
        results.failed += 1
    print(f"{results.passed} passed, {results.failed} failed, {results.skipped} skipped")
    sys.exit(results.failed != 0)


if __name__ == "__main__":
    main()
