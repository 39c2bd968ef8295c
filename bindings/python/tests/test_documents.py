"""What the documents show is run: Python blocks of the READMEs, and examples in docstrings."""

import doctest
import importlib
import os
import pathlib
import pkgutil
import re

import pytest
import zoarium
from conftest import run_python

ROOT = pathlib.Path(os.environ.get("ZOARIUM_ROOT", pathlib.Path(__file__).resolve().parents[3]))
READMES = ["README.md", "bindings/python/README.md"]
MODULES = sorted(
    found.name for found in pkgutil.walk_packages(zoarium.__path__, "zoarium.") if not found.name.endswith("__main__")
)


@pytest.mark.parametrize("name", READMES)
def test_the_blocks_of_a_readme_run(name, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        # Each stands alone, as whoever copies it finds it.
        folder = tmp_path / str(number)
        folder.mkdir()
        run_python(block, modes=(), cwd=folder)


@pytest.mark.parametrize("name", ["zoarium", *MODULES])
def test_the_examples_of_a_module_hold(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
