"""Types of openmem are found where it is installed for editing: what is right passes, what is wrong is told."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from support.checkers import TYPED, complaints
from support.processes import finished

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where mypy runs and keeps what it learned: away from the checkout, which it would read instead."""
    return tmp_path_factory.mktemp("typed")


def test_an_application_passes(folder: Path) -> None:
    assert complaints(TYPED / "app.py", folder) == set()


def test_the_application_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(TYPED / "app.py"), run_name="__main__")
    assert "closed on Sundays" in capsys.readouterr().out


def test_every_mistake_is_told_and_nothing_else(folder: Path) -> None:
    lines = enumerate((TYPED / "wrong.py").read_text("utf-8").splitlines(), 1)
    marked = {(number, mark[1]) for number, line in lines if (mark := re.search(r"# wrong: ([\w-]+)$", line))}
    assert len(marked) > 30
    assert complaints(TYPED / "wrong.py", folder) == marked


def test_no_folder_of_the_checkout_is_a_module(folder: Path) -> None:
    names = ["adapters", "conformance", "tests"]
    script = f"import importlib.util\nprint([name for name in {names} if importlib.util.find_spec(name)])"
    assert finished(script, cwd=folder).strip() == "[]"


def test_what_is_edited_is_what_is_imported(folder: Path) -> None:
    script = (
        "import os, openmem.errors, openmem.adapters.memory, openmem.conformance.runner\n"
        "for module in (openmem.errors, openmem.adapters.memory, openmem.conformance.runner):\n"
        "    print(os.path.realpath(module.__file__))"
    )
    edited = ["openmem/errors.py", "adapters/memory/__init__.py", "conformance/runner.py"]
    assert finished(script, cwd=folder).splitlines() == [str(ROOT / each) for each in edited]
