"""The modules of the package stand in an order, and each uses only those before it: no circle, no private name of another.

Looked at is what is written, wherever it stands: imports inside functions and those for the type checker count as well.
"""

import ast
import pathlib
import shutil

import pytest
import zoarium

PACKAGE = pathlib.Path(zoarium.__file__).parent

#: First to last. A module may use those that stand before it, and nothing else of the package.
ORDER = """
    _abi _life types errors _requests _inbox _log
    futures operations transaction trying session calls threads watching
    recipes.protocol recipes._base recipes._holding recipes._held
    recipes.barrier recipes.cache recipes.counter recipes.lock recipes.election recipes.party
    recipes.lease recipes.partitioner recipes.queue recipes.semaphore recipes.watchers recipes recipes.aio
    offers client aio server _tool
    testing.servers testing._members testing.ensemble testing.processes testing.faults testing.harness testing.plugin testing
    __main__ __init__
""".split()

#: Not private, whatever they look like: parts of the standard library's interfaces.
STANDARD = {"_fields_", "_replace", "_asdict", "_make"}
#: kazoo's, which its own harness reaches for in the same way.
KAZOOS = {"client._call", "connection._SESSION_EXPIRED"}


def module_names(package):
    """Every module, as seen from the package: ``recipes.lock``, ``recipes`` for its ``__init__``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = list(path.relative_to(package).with_suffix("").parts)
        if parts[-1] == "__init__" and len(parts) > 1:
            parts.pop()
        found[".".join(parts)] = path
    return found


def imported(name, path, tree, modules):
    """What a module imports of the package: (line, module, name or None)."""
    is_package = path.name == "__init__.py"
    here = [] if name == "__init__" else name.split(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "zoarium":
                    yield node.lineno, ".".join(alias.name.split(".")[1:]) or "__init__", None
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                drop = node.level - (1 if is_package else 0)
                base = here[: len(here) - drop] if drop else list(here)
                base += node.module.split(".") if node.module else []
            elif node.module and node.module.split(".")[0] == "zoarium":
                base = node.module.split(".")[1:]
            else:
                continue
            for alias in node.names:
                below = ".".join([*base, alias.name])
                if below in modules:
                    yield node.lineno, below, None
                else:
                    yield node.lineno, ".".join(base) or "__init__", alias.name


def own_names(tree):
    """Every name that a module defines: its own, its classes', and what it sets on ``self``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                found.add(node.attr)
        if isinstance(node, ast.Assign) and any(isinstance(of, ast.Name) and of.id == "__slots__" for of in node.targets):
            found.update(ast.literal_eval(node.value))
    return found


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def may_see(name, module):
    """A module whose name begins with an underscore belongs to its folder."""
    parts = module.split(".")
    for at, part in enumerate(parts):
        if is_private(part) and name.split(".")[:at] != parts[:at]:
            return False
    return True


def complaints(package, order=ORDER):
    modules = module_names(package)
    found = [f"{name} has no place in the order" for name in modules if name not in order]
    uses = {}
    for name, path in modules.items():
        tree = ast.parse(path.read_text())
        own = own_names(tree)
        for line, module, imported_name in imported(name, path, tree, modules):
            where = f"{path.relative_to(package)}:{line}"
            if module not in modules:
                found.append(f"{where}: imports {module}, which is not there")
                continue
            if module != name:
                uses.setdefault(name, set()).add(module)
            if name in order and module in order and order.index(module) >= order.index(name):
                found.append(f"{where}: {name} uses {module}, which stands behind it")
            if imported_name and is_private(imported_name):
                found.append(f"{where}: {name} imports {imported_name}, which is private to {module}")
            if not may_see(name, module):
                found.append(f"{where}: {name} imports {module}, which is private to its folder")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own | STANDARD:
                of = node.value
                is_own = isinstance(of, ast.Name) and of.id in ("self", "cls")
                is_own |= isinstance(of, ast.Call) and isinstance(of.func, ast.Name) and of.func.id == "super"
                if not is_own and not (name == "testing.harness" and ast.unparse(node) in KAZOOS):
                    found.append(f"{path.relative_to(package)}:{node.lineno}: {ast.unparse(node)} is somebody else's")
    found += [f"{name} uses itself by way of others" for name in uses if reaches(uses, name)]
    return found


def reaches(uses, start):
    """Whether a module uses itself, by way of others."""
    seen, todo = set(), list(uses.get(start, ()))
    while todo:
        name = todo.pop()
        if name == start:
            return True
        if name not in seen:
            seen.add(name)
            todo.extend(uses.get(name, ()))
    return False


def test_each_module_uses_only_what_stands_before_it():
    assert complaints(PACKAGE) == []


@pytest.fixture
def copy(tmp_path):
    """The package, to be spoiled."""
    return pathlib.Path(shutil.copytree(PACKAGE, tmp_path / "zoarium", ignore=shutil.ignore_patterns("_lib", "__pycache__")))


@pytest.mark.parametrize(
    "module, line, expected",
    [
        ("session.py", "from .client import Client", "session uses client, which stands behind it"),
        ("session.py", "def late():\n    from . import server", "session uses server, which stands behind it"),
        ("errors.py", "from .types import KazooState\n", None),
        ("recipes/lock.py", "from ..client import Client", "recipes.lock uses client, which stands behind it"),
        ("recipes/lock.py", "if False:\n    from .. import aio", "recipes.lock uses aio, which stands behind it"),
        ("types.py", "import zoarium.server", "types uses server, which stands behind it"),
        ("server.py", "from .aio import _settle", "server imports _settle, which is private to aio"),
        ("server.py", "from .recipes import _base", "server imports recipes._base, which is private to its folder"),
        ("recipes/lock.py", "def peek(client):\n    return client._handle", "client._handle is somebody else's"),
        ("new.py", "", "new has no place in the order"),
    ],
)
def test_what_breaks_the_order_is_found(copy, module, line, expected):
    path = copy / module
    path.write_text((path.read_text() if path.exists() else "") + f"\n\n{line}\n")
    found = complaints(copy)
    if expected is None:
        assert found == []
    else:
        assert any(expected in complaint for complaint in found), found


def test_a_planted_circle_is_found_whatever_the_table_says(copy):
    # Both orders are wrong for one of the two.
    with open(copy / "futures.py", "a") as file:
        file.write("\nfrom . import trying\n")
    with open(copy / "trying.py", "a") as file:
        file.write("\nfrom . import futures\n")
    assert "futures uses itself by way of others" in complaints(copy)
