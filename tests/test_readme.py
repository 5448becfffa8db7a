"""What the README says is true."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory, conformance
from openmem.adapter import Adapter

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def block_with(text: str) -> str:
    return next(block for block in BLOCKS if text in block)


def adapter_class() -> type[Adapter]:
    names: dict[str, Any] = {}
    exec(block_with("class DictAdapter"), names)
    adapter: type[Adapter] = names["DictAdapter"]
    return adapter


def test_the_adapter_of_the_readme_passes_core_conformance() -> None:
    report = asyncio.run(conformance.run(adapter_class(), only=["core"]))
    assert report.exit_code == 0, report.summary()
    assert report.counts["pass"] > 60
    assert report.counts["deviation"] == 0


def test_the_adapter_of_the_readme_is_not_told_to_be_more_than_core() -> None:
    report = asyncio.run(conformance.run(adapter_class()))
    assert (report.exit_code, report.level) == (0, "core"), report.summary()
    full = report.reaches[-1]
    assert len(full.clauses["declined"]) > 20
    assert f"full: {len(full.clauses['proven'])} of {full.of} clauses proven" in report.summary()
    assert {"update", "supports_external_id", "vector_search", "durable"} <= {*report.undeclared}


def test_the_levels_of_the_readme_have_as_many_clauses() -> None:
    told = re.findall(r"\*\*(\w+)\*\* \((?:all )?(\d+)", README)
    assert told == [(level, f"{len(clauses)}") for level, clauses in conformance.LEVELS.items()]


def test_the_adapter_of_the_readme_is_about_sixty_lines() -> None:
    code = [line for line in block_with("class DictAdapter").splitlines() if line.strip()]
    assert 50 <= len(code) <= 66


def test_the_adapter_serves_a_client() -> None:
    with Memory(adapter_class()()) as memory:
        record = memory.add("Drinks green tea", "alice")
        assert [hit.memory.id for hit in memory.search("tea drinkers drink", "alice")] == [record.id]


def test_the_ten_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    exec(block_with("Switched to coffee"), {})
    printed = capsys.readouterr().out
    assert "Switched to coffee" in printed
    assert "Prefers dark mode [mem_" in printed
    assert "green tea" not in printed


def test_the_capabilities_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    exec(block_with("capabilities.emulated"), {})
    assert "context" in capsys.readouterr().out


def test_the_commands_of_the_readme_exist() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text("utf-8")
    for verb in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{verb}:", makefile, re.MULTILINE)


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target
