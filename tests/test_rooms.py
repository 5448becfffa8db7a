"""The rooms of the house: imports run one way, in no circle, and private names stay at home."""

from __future__ import annotations

import ast
import re
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


EXCEPTIONS = {
    "_generated": "a package: what is made of the specification, which every room imports",
    "_exit": "os has it",
    "_fields": "named tuples have it",
    "_make": "named tuples have it",
    "_replace": "named tuples have it",
}
"""Names that are private by their looks alone, and why."""
DOTTED = re.compile(r"\.(_[A-Za-z]\w*)")


def folder_of(module: str) -> str:
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


def names_in(node: ast.AST) -> tuple[list[str], list[str]]:
    """List the names that a node defines, and those that it asks of others: in strings too, which may be scripts."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name], []
        case ast.Name(id=name, ctx=ast.Store()):
            return [name], []
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
            return [name], []
        case ast.Attribute(attr=name):
            return [], [name]
        case ast.ImportFrom(module=module, names=names):
            return [], [*(module or "").split("."), *(each.name for each in names)]
        case ast.Call(args=[_, ast.Constant(value=str(name)), *_]) if name.isidentifier():  # setattr and its like
            return [], [name]
        case ast.keyword(arg=str(name)):
            return [], [name]
        case ast.Constant(value=str(text)):
            return [], DOTTED.findall(text)
    return [], []


def private_names(path: Path) -> tuple[set[str], set[tuple[str, int]]]:
    """List the private names that a module defines, and those that it asks of others, with lines."""
    defined, asked = {path.stem}, set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        mine, of_others = names_in(node)
        defined.update(mine)
        asked.update((name, getattr(node, "lineno", 0)) for name in of_others)
    return set(filter(is_private, defined)), {each for each in asked if is_private(each[0])}


def is_private(name: str) -> bool:
    return name.strip("_") != "" and name.startswith("_") and not name.endswith("__") and name not in EXCEPTIONS


FOUND = {module: private_names(path) for module, path in MODULES.items()}
OWN: dict[str, set[str]] = {}
for each, (names, _) in FOUND.items():
    OWN.setdefault(folder_of(each), set()).update(names)
OURS = set().union(*OWN.values())
"""What no room defines belongs to a library."""


def test_no_private_name_of_another_room_is_used() -> None:
    taken = [
        f"{module}:{line} uses {name}"
        for module, (_, asked) in FOUND.items()
        for name, line in sorted(asked)
        if name in OURS - OWN[folder_of(module)]
    ]
    assert taken == []


def test_no_private_name_of_a_room_is_used_by_a_test() -> None:
    taken = [
        f"{path.relative_to(ROOT)}:{line} uses {name}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for defined, asked in [private_names(path)]
        for name, line in sorted(asked)
        if name in OURS - defined
    ]
    assert taken == []
