"""``python -m zoarium``, and the script ``zoarium``: the command line tool."""

from __future__ import annotations

from ._tool import become_tool


def main() -> None:
    """Becomes the tool: the one in this package, or the one on the path."""
    become_tool()


if __name__ == "__main__":
    main()
