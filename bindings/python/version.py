"""The crate's version, for the package."""

import pathlib
import re

_HERE = pathlib.Path(__file__).resolve().parent
# In a checkout the crate is two folders up; a source distribution carries it along.
_ROOT = next(root for root in (_HERE / "rust", _HERE.parent.parent) if (root / "Cargo.toml").exists())
_FOUND = re.search(r'^version = "([^"]+)"', (_ROOT / "Cargo.toml").read_text(), re.MULTILINE)
assert _FOUND is not None

__version__ = _FOUND.group(1)
