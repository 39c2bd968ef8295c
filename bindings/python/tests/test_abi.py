"""The table of declarations says what the header says."""

import ctypes
import os
import pathlib
import re
import subprocess
import sys

import pytest
from zoarium import _abi

ROOT = pathlib.Path(os.environ.get("ZOARIUM_ROOT", pathlib.Path(__file__).resolve().parents[3]))
HEADER = (ROOT / "include/zoarium.h").read_text()
PROTOTYPE = re.compile(r"^(?!typedef|static)([a-z][\w ]*[ *]+)(zoa_\w+)\(([^;{}]*)\);", re.MULTILINE)
STRUCT_OF = {kind: name for name, kind in _abi.STRUCTS.items()}
NUMBERS = {
    "zoa_code": ctypes.c_int32,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "int": ctypes.c_int,
    "void": None,
}
CALLBACKS = {
    "zoa_state_fn": _abi.StateFn,
    "zoa_watch_fn": _abi.WatchFn,
    "zoa_done_fn": _abi.DoneFn,
    "zoa_role_fn": _abi.RoleFn,
    "zoa_log_fn": _abi.LogFn,
}


def python_types(c_type):
    """What may stand in the table for a type of the header."""
    c_type = re.sub(r"\b(const|struct)\b", "", c_type)
    c_type = " ".join(c_type.replace("*", " * ").split())
    if c_type in NUMBERS:
        return [NUMBERS[c_type]]
    if c_type in CALLBACKS:
        return [CALLBACKS[c_type]]
    assert c_type.endswith("*"), c_type
    # Texts are handed over as bytes; a text that has to be freed is kept as a plain pointer.
    return [ctypes.c_char_p, ctypes.c_void_p] if c_type == "char *" else [ctypes.c_void_p]


def parameters(text):
    text = " ".join(text.split())
    return [] if text == "void" else [re.sub(r"\w+$", "", one.strip()) for one in text.split(",")]


def test_every_function_of_the_header_is_declared_as_it_is():
    found = {name: (result, parameters(arguments)) for result, name, arguments in PROTOTYPE.findall(HEADER)}
    assert len(found) > 50
    assert found.keys() == _abi.DECLARED.keys()
    assert not _abi.MISSING
    for name, (result, arguments) in found.items():
        declared_result, declared = _abi.DECLARED[name]
        assert declared_result in python_types(result), name
        assert len(declared) == len(arguments), name
        for at, (mine, theirs) in enumerate(zip(declared, arguments)):
            assert mine in python_types(theirs), (name, at)


def test_every_number_of_the_header_is_declared_as_it_is():
    found = dict(re.findall(r"^#define (ZOA_\w+) (-?\d+)$", HEADER, re.MULTILINE))
    declared = {name: str(value) for name, value in vars(_abi).items() if name.startswith("ZOA_")}
    assert len(found) > 90 and found == declared


def test_every_struct_is_laid_out_as_recorded():
    lines = []
    for name, kind in _abi.STRUCTS.items():
        lines.append(f"{name} {ctypes.sizeof(kind)}")
        for field, *_ in kind._fields_:
            place = getattr(kind, field)
            lines.append(f"{name}.{field} {place.offset} {place.size}")
    recorded = (ROOT / "tests/abi/layout.txt").read_text().splitlines()
    assert sorted(lines) == sorted(recorded)


def test_a_library_of_another_interface_is_refused_with_both_numbers_and_the_file(tmp_path):
    source = tmp_path / "other.c"
    source.write_text("unsigned zoa_abi(void) { return 4711; }\n")
    library = tmp_path / "libother.so"
    try:
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    except FileNotFoundError:
        pytest.skip("no gcc")
    done = subprocess.run(
        [sys.executable, "-c", "import zoarium"],
        env={**os.environ, "ZOARIUM_LIBRARY": str(library)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "ImportError" in done.stderr
    assert "4711" in done.stderr and f"interface {_abi.ZOA_ABI}" in done.stderr and str(library) in done.stderr


def test_a_library_that_is_not_there_is_an_import_error():
    done = subprocess.run(
        [sys.executable, "-c", "import zoarium"],
        env={**os.environ, "ZOARIUM_LIBRARY": "/nowhere/libzoarium.so"},
        capture_output=True,
        text=True,
    )
    assert "ImportError" in done.stderr and "/nowhere/libzoarium.so" in done.stderr
