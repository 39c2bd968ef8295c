"""``python -m zoarium``: the command line tool."""

from __future__ import annotations

import os
import shutil
import sys


def main() -> None:
    """Becomes the tool: the one in this package, or the one on the path."""
    packaged = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_lib", "zoarium")
    chosen = os.environ.get("ZOARIUM_BINARY") or (packaged if os.path.exists(packaged) else shutil.which("zoarium"))
    if not chosen:
        sys.exit("zoarium: the command line tool is not in this package, and not on the path")
    sys.stdout.flush()
    os.execv(chosen, ["zoarium", *sys.argv[1:]])


if __name__ == "__main__":
    main()
