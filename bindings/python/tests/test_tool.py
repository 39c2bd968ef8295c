"""``python -m zoarium`` and the script ``zoarium``: which tool they become, and what they say when there is none."""

import os
import pathlib
import subprocess
import sys

import pytest
import zoarium

#: The script that pip makes of the entry point.
SCRIPT = """#!{python}
import sys
from zoarium.__main__ import main
if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.fixture
def places(tmp_path):
    """A copy of the package's Python that carries no tool, and a folder for the path."""
    package = tmp_path / "site"
    package.mkdir()
    there = pathlib.Path(zoarium.__file__).parent
    (package / "zoarium").mkdir()
    for path in there.glob("*.py"):
        (package / "zoarium" / path.name).write_text(path.read_text())
    # Importing the package itself takes the library, which is not what this is about.
    (package / "zoarium/__init__.py").write_text("")
    folder = tmp_path / "bin"
    folder.mkdir()
    return package, folder


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


def start(package, *command, **environment):
    found = {"PATH": "", "PYTHONPATH": str(package), **environment}
    return subprocess.run(
        list(map(str, command)), env=found, cwd=package, capture_output=True, text=True, timeout=300
    )


def test_the_script_finds_the_tool_on_the_path_and_not_itself(places):
    package, folder = places
    script = executable(folder / "zoarium", SCRIPT.format(python=sys.executable))
    other = folder.parent / "other"
    other.mkdir()
    executable(other / "zoarium", '#!/bin/sh\necho "tool: $*"\nexit 7\n')
    done = start(package, script, "a", "b c", PATH=f"{folder}{os.pathsep}{other}")
    assert (done.stdout, done.returncode) == ("tool: a b c\n", 7), done.stderr


def test_without_a_tool_it_says_where_to_get_one(places):
    package, folder = places
    script = executable(folder / "zoarium", SCRIPT.format(python=sys.executable))
    for command in ([script], [sys.executable, "-m", "zoarium"]):
        done = start(package, *command, "--help", PATH=str(folder))
        assert done.returncode == 1 and done.stdout == ""
        assert "neither in this package nor on the path" in done.stderr and "ZOARIUM_BINARY" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_environment_names_the_tool_and_a_bad_name_is_told(places):
    package, folder = places
    tool = executable(folder / "mine", "#!/bin/sh\necho mine\n")
    done = start(package, sys.executable, "-m", "zoarium", ZOARIUM_BINARY=str(tool))
    assert done.stdout == "mine\n", done.stderr
    done = start(package, sys.executable, "-m", "zoarium", ZOARIUM_BINARY="/nowhere/zoarium")
    assert done.returncode == 1 and "/nowhere/zoarium cannot be started" in done.stderr and "Traceback" not in done.stderr
