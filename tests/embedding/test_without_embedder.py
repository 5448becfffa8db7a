"""Where there is no embedder, people are told so once, with the command that brings one; and what extras are there."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory
from openmem.adapters.memory import MemoryAdapter
from openmem.cli import main

COMMAND = "pip install 'openmem-sdk[local]'"


@pytest.fixture(autouse=True)
def without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Be where the wheel of the local embedder is not installed, and nothing is configured."""
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "wordllama" else find(name, *rest)
    )
    monkeypatch.delenv("OPENMEM_EMBEDDER", raising=False)
    monkeypatch.chdir(tmp_path)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "openmem" and each.levelno >= logging.WARNING]


@pytest.mark.parametrize("verb", ["search", "context"])
def test_the_first_search_by_words_alone_says_how_to_get_vectors(verb: str, caplog: pytest.LogCaptureFixture) -> None:
    with Memory("memory://") as memory, Memory("memory://") as other:
        memory.add("tea", "u")
        memory.list("u")
        assert told(caplog) == []
        for _ in range(3):
            getattr(memory, verb)("tea", "u")
            memory.search("tea", "u", mode="keyword")
        (message,) = told(caplog)
        assert COMMAND in message
        assert "embedder='none'" in message
        getattr(other, verb)("tea", "u")
        assert len(told(caplog)) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: Memory("memory://", embedder="none"),
        lambda: Memory("memory://?embedder=none"),
        lambda: Memory("memory://", embedder="test"),
        lambda: Memory(MemoryAdapter()),
    ],
)
def test_who_declined_vectors_or_has_them_is_not_told(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    with make() as memory:
        memory.add("tea", "u")
        memory.search("tea", "u")
        memory.search("tea", "u", mode="keyword")
    assert told(caplog) == []


def test_asking_for_words_alone_is_no_reason_to_be_told(caplog: pytest.LogCaptureFixture) -> None:
    with Memory("memory://") as memory:
        memory.search("tea", "u", mode="keyword")
    assert told(caplog) == []


# --- the command line -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [[], ["--option", "embedder=none"], ["--option", "embedder=test:8"]])
@pytest.mark.parametrize("terminal", [True, False])
def test_add_in_a_terminal_says_it_once(
    terminal: bool, option: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert main(["add", "tea", "--user", "u", "--url", "sqlite:///a.db", *option]) == 0
    shown = capsys.readouterr()
    assert shown.err.count(COMMAND) == (1 if terminal and not option else 0)
    assert json.loads(shown.out)["content"] == "tea"


def test_doctor_says_it_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    def finding(*options: str) -> dict[str, Any]:
        assert main(["doctor", "memory://", *options]) == 0
        (found,) = (each for each in json.loads(capsys.readouterr().out)["findings"] if each["step"] == "embedder")
        return dict(found)

    absent, declined = finding(), finding("--option", "embedder=none")
    assert (absent["ok"], COMMAND in absent["remedy"]) == (True, True)
    assert (declined["ok"], declined["remedy"]) == (True, "")
    assert "words alone" in absent["detail"]
    assert "words alone" in declined["detail"]


def test_doctor_passes_what_is_embedded_through_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    option = ["--option", "embedder=openai:m", "--option", "embedder_dimension=8"]
    assert main(["doctor", "memory://", *option, "--option", "embedder_url=ftp://nowhere"]) == 1
    assert "embedder_url" in capsys.readouterr().out


# --- what is installed ------------------------------------------------------------------------------------------


def package(folder: Path, name: str, *modules: str, requires: str = "", scheme: str = "") -> None:
    """Write what an installer leaves of a package: its metadata, and of each module its name in the list of files."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    needs = f'Provides-Extra: vendor\nRequires-Dist: {requires}; extra == "vendor"\n' if requires else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
    (info / "RECORD").write_text("".join(f"{module},,\n" for module in modules))
    if scheme:
        line = f"{scheme} = {modules[0].removesuffix('.py')}:Adapter [vendor]\n"
        (info / "entry_points.txt").write_text(f"[openmem.adapters]\n{line}")


def providers(folder: Path) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from openmem.cli import main; sys.exit(main(['providers']))"],
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return {row["scheme"]: row for row in json.loads(done.stdout)}


def test_providers_tells_missing_and_broken_extras_from_installed_ones(tmp_path: Path) -> None:
    adapter = "from openmem import Adapter as Base\nclass Adapter(Base):\n    name = 'late'\n"
    for name, vendor in (("absent", "novendor"), ("hollow", "leftover"), ("whole", "vendor_of_it")):
        (tmp_path / f"{name}_adapter.py").write_text(adapter)  # which imports its vendor's package only when used
        package(tmp_path, name, f"{name}_adapter.py", requires=f"{vendor}>=1", scheme=name)
    package(tmp_path, "leftover", "leftover/__init__.py")
    (tmp_path / "leftover").mkdir()  # the folder alone can be "imported"
    (tmp_path / "novendor").mkdir()
    package(tmp_path, "vendor_of_it", "vendor_of_it/__init__.py")
    (tmp_path / "vendor_of_it").mkdir()
    (tmp_path / "vendor_of_it/__init__.py").write_text("")
    rows = providers(tmp_path)
    assert rows["whole"]["installed"] is True
    assert rows["absent"]["installed"] is rows["hollow"]["installed"] is False
    assert (rows["absent"]["problem"], rows["absent"]["remedy"]) == (
        "not installed: novendor.",
        "Run: pip install 'absent[vendor]'",
    )
    assert (rows["hollow"]["problem"], rows["hollow"]["remedy"]) == (
        "installed, but broken: leftover.",
        "Run: pip install --force-reinstall leftover",
    )
    assert rows["memory"]["installed"] is rows["embedder=local"]["installed"] is True
