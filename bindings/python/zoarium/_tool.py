"""Finding and becoming the command line tool."""

from __future__ import annotations

import os
import sys

_PACKAGED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_lib", "zoarium")
#: What makes a file on the path this package's own script, and no tool.
_OUR_SCRIPT = b"zoarium.__main__"


def _is_tool(path: str) -> bool:
    """Whether a file is a program, and not the script that pip made to start this module: that one finds itself."""
    if not (os.path.isfile(path) and os.access(path, os.X_OK)):
        return False
    with open(path, "rb") as file:
        head = file.read(4096)
    return not (head.startswith(b"#!") and _OUR_SCRIPT in head)


def find_tool() -> str | None:
    """``ZOARIUM_BINARY``, else the tool in this package, else the first on the path; ``None`` when there is none."""
    chosen = os.environ.get("ZOARIUM_BINARY")
    if chosen:
        return chosen
    if os.path.exists(_PACKAGED):
        return _PACKAGED
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = os.path.join(folder or ".", "zoarium")
        if _is_tool(path):
            return path
    return None


def become_tool() -> None:
    """Replaces this process by the tool, with this process's arguments."""
    tool = find_tool()
    if tool is None:
        sys.exit(
            "zoarium: the command line tool is neither in this package nor on the path."
            " Install a wheel that carries it, or set ZOARIUM_BINARY to where it is."
        )
    sys.stdout.flush()
    try:
        os.execv(tool, ["zoarium", *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"zoarium: {tool} cannot be started: {error.strerror}")
