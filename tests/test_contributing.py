"""CONTRIBUTING.md and the disk agree: everything has its place in the map, and what is named is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from openmem._generated.models import CapabilitiesRequest
from openmem.layers.health import Probe
from openmem.layers.stack import Terms, inner, outer
from support.documents import ROOT
from support.processes import run
from support.scripted import Remote

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
MADE = {"__pycache__", "build", "dist", "out"}
"""Folders that commands make."""
WRITTEN = {".py", ".md", ".yaml", ".toml"}
"""What a folder of ours holds, and a store or a checkout's own litter does not."""
WHOLE = ("openmem", "adapters", "conformance", "tests/support", "tests/saboteurs")
"""Folders of which every module is in the map."""


class Line(NamedTuple):
    """A line of the map: paths, a folder's with a slash at its end, and what is said of them."""

    paths: list[str]
    words: str


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def lines() -> Iterator[Line]:
    """Read the map, in which a name stands two blanks further in than its folder."""
    block = section("The map").split("```")[1]
    folders: list[str] = []
    for line in filter(None, block.splitlines()):
        names, words = re.fullmatch(r" *([^\s,]+(?:, [^\s,]+)*)(?: +(.*))?", line).groups("")  # type: ignore[union-attr]
        del folders[(len(line) - len(line.lstrip())) // 2 :]
        paths = ["".join(folders) + name for name in names.split(", ")]
        folders.append(names)
        yield Line(paths, words)


LINES = list(lines())
NAMED = [path for line in LINES for path in line.paths]


def folders(top: Path) -> Iterator[Path]:
    """Walk the folders of the repository that are not made by a command or a tool."""
    for each in top.iterdir():
        made = each.name in MADE or each.name.startswith(".") or each.suffix == ".egg-info"
        if each.is_dir() and not made and not (each / "pyvenv.cfg").exists():
            yield each
            yield from folders(each)


def test_every_folder_is_in_the_map() -> None:
    ours = [each for each in folders(ROOT) if WRITTEN & {file.suffix for file in each.iterdir()}]
    found = {f"{each.relative_to(ROOT).as_posix()}/" for each in ours}
    assert {"openmem/protocol/", "tests/adapters/sqlite/", "docs/"} <= found
    assert found - {*NAMED} == set()


@pytest.mark.parametrize("folder", WHOLE)
def test_every_module_is_in_the_map(folder: str) -> None:
    found = {each.relative_to(ROOT).as_posix() for each in (ROOT / folder).rglob("*.py") if each.name != "__init__.py"}
    assert len(found) > 10
    assert found - {*NAMED} == set()


def test_what_the_map_names_is_there_and_named_once() -> None:
    assert [
        path for path in NAMED if (ROOT / path).is_dir() is not path.endswith("/") or not (ROOT / path).exists()
    ] == []
    assert len(NAMED) == len({*NAMED})


def docstring(path: str) -> str | None:
    """Return the first line of what a module or package says of itself; None for what is neither."""
    file = ROOT / path / "__init__.py" if path.endswith("/") else ROOT / path
    if file.suffix != ".py" or not path.startswith(WHOLE):
        return None
    return (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").partition("\n")[0]


def test_the_map_says_of_a_module_what_the_module_says() -> None:
    told = {line.paths[0]: line.words for line in LINES if len(line.paths) == 1}
    due = {path: words for path in told if (words := docstring(path)) is not None}
    assert len(due) > 100
    assert {path: words for path, words in told.items() if path in due} == due


def test_no_two_modules_say_the_same_of_themselves() -> None:
    said = [words for path in NAMED if (words := docstring(path)) is not None]
    assert all(len(words.split()) > 3 for words in said)
    assert len(said) == len({*said})


@pytest.mark.parametrize("title", ["Where a change goes", "How a request travels"])
def test_the_places_that_a_change_goes_to_are_there(title: str) -> None:
    named = re.findall(r"[\w.]+(?:/[\w.]+)*(?:/|\.(?:py|yaml|md|toml))", section(title))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_request_travels_as_it_is_told() -> None:
    (told,) = re.findall(r"request model ─▶ (.*) ▶ adapter", section("How a request travels"))
    adapter = Remote()

    async def described() -> Any:
        return await adapter.capabilities(CapabilitiesRequest())

    first = outer([lambda handler: handler], described, Probe())
    layers = [*first, *inner(adapter, run(described), Terms(None, 30.0))]
    names = [(layer.func if isinstance(layer, partial) else layer).__module__.rpartition(".")[2] for layer in layers]
    assert told.split(" ▶ ") == names
