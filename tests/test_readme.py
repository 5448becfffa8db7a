"""What the README says is true; tests/test_docs.py runs its code."""

from __future__ import annotations

import asyncio
import re
import shlex
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory, conformance
from openmem.adapter import Adapter
from openmem.cli import main
from openmem.config import Configuration, resolve
from openmem.embedding import info
from openmem.registry import GROUP

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


def first_screen() -> str:
    return README.partition("\n## ")[0]


def test_the_first_screen_is_a_sentence_a_command_ten_lines_and_a_table() -> None:
    sentence = first_screen().splitlines()[2]
    assert sentence.count(".") == 1
    assert first_screen().index(sentence) < first_screen().index("pip install") < first_screen().index("```python")
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 10
    assert len(first_screen().splitlines()) < 50


def backends() -> list[dict[str, str]]:
    """Read the table of backends."""
    head, _, *rows = [line for line in first_screen().splitlines() if line.startswith("|")]
    columns = [each.strip() for each in head.strip("|").split("|")]
    return [dict(zip(columns, (each.strip() for each in row.strip("|").split("|")), strict=True)) for row in rows]


@pytest.mark.parametrize("told", backends(), ids=lambda told: told["URL"])
def test_the_table_says_what_a_backend_declares(told: dict[str, str]) -> None:
    url = told["URL"].split("`")[1]
    chosen = resolve(url, embedder="none" if url == "mem0://api.mem0.ai" else "test:8")
    features = chosen.adapter(chosen.settings, embedding=info(chosen.make_embedder())).features()
    modes = [mode for mode in ("keyword", "vector", "hybrid") if getattr(features, f"{mode}_search")]
    assert told["search"] == ", ".join(modes)
    assert told["durable"] == ("yes" if features.durable else "no")


def test_the_table_names_every_scheme_and_its_extra() -> None:
    named = {told["URL"].split("`")[1].partition("://")[0]: told["extra"] for told in backends()}
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    aliases = {"postgresql", "qdrants"}  # other schemes of a backend that is there
    assert {scheme: re.sub(r"\[(\w+)\].*", r"\1", extra) for scheme, extra in named.items()} == {
        scheme: ",".join(entry.extras) for scheme, entry in entries.items() if scheme not in aliases
    }


def test_one_line_of_the_file_swaps_the_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "openmem.toml").write_text(toml)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB_PASSWORD", "secret")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert resolve().adapter.name == "sqlite"
    for chosen in (resolve(profile="prod"), chosen_by_variable(monkeypatch)):
        assert (chosen.adapter.name, chosen.options.embedder) == ("postgres", "openai:text-embedding-3-small")


def chosen_by_variable(monkeypatch: pytest.MonkeyPatch) -> Configuration:
    monkeypatch.setenv("OPENMEM_PROFILE", "prod")
    return resolve()


def test_the_commands_at_a_terminal_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line)[1:] for line in re.findall(r"^openmem .*$", README, re.MULTILINE)]
    assert [command[0] for command in commands] == ["add", "search", "doctor", "conformance"]
    assert [main(command) for command in commands[:3]] == [0, 0, 0]
    assert "Prefers dark mode" in capsys.readouterr().out


def test_the_commands_of_the_readme_exist() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text("utf-8")
    verbs = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert verbs == ["demo", "test"]
    for verb in verbs:
        assert re.search(rf"^{verb}:", makefile, re.MULTILINE)
