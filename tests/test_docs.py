"""What the documents say is true: their code runs and prints what they show, their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from openmem._generated.verbs import VERBS
from openmem.adapter import Adapter
from openmem.adapters.kit.base import NativeAdapter
from openmem.adapters.kit.inprocess import InProcessAdapter
from openmem.adapters.kit.remote import RemoteAdapter
from openmem.layers.forms import FORMS
from support.documents import ROOT, blocks, links, printed_by, without_ids

RUN = ["README.md", "docs/adapters.md", "docs/clients.md", "docs/erasure.md"]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
ADAPTERS = (ROOT / "docs" / "adapters.md").read_text("utf-8")


@pytest.mark.parametrize("document", RUN)
def test_the_code_of_a_document_prints_what_it_says(document: str, tmp_path: Path) -> None:
    said = [block.printed for block in blocks(document)]
    assert any(said)
    printed = printed_by(document, tmp_path)
    assert [each if due is None else due for each, due in zip(printed, map(_ids, said), strict=True)] == printed


def _ids(text: str | None) -> str | None:
    return None if text is None else without_ids(text)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    assert [target for target in links(document) if not Path(target).exists()] == []


def test_the_adapter_of_the_kit_is_small() -> None:
    (code,) = (block.code for block in blocks("docs/adapters.md") if "class ShelfAdapter" in block.code)
    own = [line for line in code.splitlines() if line.strip() and not line.startswith(("from ", "import "))]
    assert len(own) <= 72


def overridden(cls: type[Adapter]) -> set[str]:
    return {verb for verb in VERBS if getattr(cls, verb) is not getattr(Adapter, verb)}


def row(name: str) -> list[str]:
    """Return the columns of the table of base classes for one of them."""
    (line,) = re.findall(rf"^\| `[\w.]*\b{name}` \|.*$", ADAPTERS, re.MULTILINE)
    return [column.strip() for column in line.strip("| ").split(" | ")]


def test_a_base_class_gives_the_verbs_that_the_table_says() -> None:
    got = {name: set(re.findall(r"`(\w+)`", row(name)[3])) & VERBS.keys() for name in ("Adapter", "RemoteAdapter")}
    assert got == {"Adapter": set(FORMS), "RemoteAdapter": overridden(RemoteAdapter)}
    assert "every verb but `remember`" in row("InProcessAdapter")[3]
    native = overridden(InProcessAdapter) | set(FORMS)
    assert VERBS.keys() - native == {"remember", "capabilities"}
    assert overridden(NativeAdapter) == set()


@pytest.mark.parametrize("base", [InProcessAdapter, RemoteAdapter])
def test_what_a_base_class_leaves_to_write_is_named(base: type[Adapter]) -> None:
    abstract = {name for name in dir(base) if getattr(getattr(base, name), "__isabstractmethod__", False)}
    assert abstract
    assert abstract <= set(re.findall(r"`(\w+)`", row(base.__name__)[2]))


def test_every_module_of_the_kit_is_told_of() -> None:
    told = set(re.findall(r"\bkit\.(\w+)", ADAPTERS))
    assert told == {path.stem for path in (ROOT / "adapters" / "kit").glob("*.py")} - {"__init__"}
