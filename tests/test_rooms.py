"""The rooms of the house: imports run one way, in no circle, and private names stay at home."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PLACES = {"openmem": "openmem", "adapters": "openmem.adapters", "conformance": "openmem.conformance"}
ORDER = (
    *("model", "_generated", "errors", "runtime", "protocol", "types", "urls", "adapter", "embedding", "registry"),
    *("layers", "adapters.kit", "adapters", "config", "client", "conformance", "cli"),
)
"""The rooms, each of which imports only from those before it. The package itself only hands on names."""


class Import(NamedTuple):
    """A name that a module takes from another module of ours."""

    by: str
    of: str
    name: str


def modules() -> dict[str, Path]:
    found = {}
    for folder, package in PLACES.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(module: str) -> Iterator[Import]:
    """List what a module imports anywhere in it, but for type checkers alone."""
    path = MODULES[module]
    tree = ast.parse(path.read_text("utf-8"))
    ignored = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in ignored:
            continue
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            whole = f"{base}.{alias.name}"
            if whole in MODULES or base in MODULES:
                yield Import(module, whole if whole in MODULES else base, alias.name)


IMPORTS = [each for module in sorted(MODULES) for each in imports(module)]


def room(module: str) -> str:
    """Name the room of a module: one of ORDER, or a backend."""
    parts = module.split(".")[1:]
    if parts[:1] == ["adapters"]:
        return "adapters.kit" if parts[1:2] == ["kit"] else "adapters"
    return parts[0] if parts else ""


def test_imports_run_one_way_through_the_rooms() -> None:
    assert {room(module) for module in MODULES} - {""} - {"__main__"} == set(ORDER)
    upward = [
        f"{each.by} imports {each.of}"
        for each in IMPORTS
        if room(each.by) in ORDER and room(each.of) in ORDER and ORDER.index(room(each.by)) < ORDER.index(room(each.of))
    ]
    assert upward == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    needed: dict[str, set[str]] = {module: set() for module in MODULES}
    for each in IMPORTS:
        if each.by != each.of and not each.by.startswith(f"{each.of}."):
            needed[each.by].add(each.of)
    TopologicalSorter(needed).prepare()  # raises CycleError, which names the modules


def test_no_backend_knows_another() -> None:
    backends = {module: module.split(".")[2] for module in MODULES if module.startswith("openmem.adapters.")}
    strangers = [
        f"{each.by} imports {each.of}"
        for each in IMPORTS
        if backends.get(each.of, "kit") not in ("kit", backends.get(each.by)) and each.by in backends
    ]
    assert strangers == []


@pytest.mark.parametrize("folder", PLACES)
def test_no_private_name_of_another_module_is_imported(folder: str) -> None:
    taken = [
        f"{each.by} imports {each.name} of {each.of}"
        for each in IMPORTS
        if each.by.startswith(PLACES[folder])
        and each.name.startswith("_")
        and not each.name.startswith(("__", "_generated"))
        and each.of.rpartition(".")[0] != each.by.rpartition(".")[0]
    ]
    assert taken == []


LIBRARIES = {"_exit", "_fields", "_make", "_replace"}
"""Private by their looks alone: os._exit, and what named tuples have."""


def folder_of(module: str) -> str:
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


def private_names(tree: ast.AST) -> tuple[set[str], set[tuple[str, int]]]:
    """List the private names that a module defines, and the private attributes that it asks of others, with lines."""
    defined, asked = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            defined.add(node.attr) if own else asked.add((node.attr, node.lineno))
    return defined, asked


def test_no_private_name_of_another_room_is_used() -> None:
    found = {module: private_names(ast.parse(path.read_text("utf-8"))) for module, path in MODULES.items()}
    own: dict[str, set[str]] = {}
    for module, (defined, _) in found.items():
        own.setdefault(folder_of(module), set()).update(defined)
    ours = set().union(*own.values())  # what no room defines belongs to a library
    taken = [
        f"{module}:{line} uses {name}"
        for module, (_, asked) in found.items()
        for name, line in sorted(asked)
        if name in ours - own[folder_of(module)] - LIBRARIES
    ]
    assert taken == []
