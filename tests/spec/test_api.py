"""What spec/api.py tells of a change to the public API, and what the API is."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import openmem

ROOT = Path(__file__).parents[2]
API = runpy.run_path(str(ROOT / "spec" / "api.py"))

CHANGES = [
    ("widened", "m.f(a: int) -> str", "m.f(a: int, b: int = 0) -> str"),
    ("widened", "async m.C.f(*, a: int = 1) -> str", "async m.C.f(*, a: int = 1, b: str | None = None) -> str"),
    ("BREAK", "m.f(a: int) -> str", "m.f(a: int, b: int) -> str"),
    ("BREAK", "m.f(a: int, b: int = 0)", "m.f(b: int = 0, a: int = 0)"),
    ("BREAK", "m.f(b: int = 0)", "m.f(a: int = 0, b: int = 0)"),
    ("BREAK", "m.f(a: int, b: int)", "m.f(a: int)"),
    ("BREAK", "m.f(*, a: int)", "m.f(**options: Any)"),
    ("BREAK", "m.f(a: int)", "m.f(*, a: int)"),
    ("BREAK", "m.f(a: int | str)", "m.f(a: int)"),
    ("BREAK", "m.f(a: int = 1)", "m.f(a: int = 2)"),
    ("BREAK", "m.f() -> str", "m.f() -> str | None"),
    ("BREAK", "m.f() -> str", "async m.f() -> str"),
    ("BREAK", "class m.C(Base)", "class m.C()"),
    ("BREAK", "m.C.x: int", "m.C.x: int | None"),
]


@pytest.mark.parametrize(("verdict", "was", "is_now"), CHANGES)
def test_a_change_breaks_unless_all_that_is_new_may_be_left_out(verdict: str, was: str, is_now: str) -> None:
    (told,) = API["differences"]([was], [is_now])
    assert told.split()[0] == verdict
    assert was in told
    assert is_now in told
    assert list(API["differences"]([is_now], [is_now])) == []


def test_a_name_that_goes_breaks_and_one_that_comes_does_not() -> None:
    told = list(API["differences"](["$ openmem add --scope", "m.a: int"], ["$ openmem add --tag", "m.a: int"]))
    assert [line.split()[0] for line in told] == ["BREAK", "added"]


def test_every_public_name_has_a_line_with_its_signature() -> None:
    lines = {API["name_of"](line): line for line in API["python_lines"]()}
    assert {f"openmem.{name}" for name in openmem.__all__} <= lines.keys()
    assert lines["openmem.UserMemory.get"] == (
        "openmem.UserMemory.get(id: str | None = None, *, external_id: str | None = None) -> MemoryRecord"
    )
    assert lines["openmem.errors.NotFoundError"] == "openmem.errors.NotFoundError = openmem.NotFoundError"
    assert lines["openmem.SearchResult.score"] == "openmem.SearchResult.score: float"
    assert "openmem.adapters.kit.base.NativeAdapter.new_id" in lines
    assert "openmem.conformance.run" in lines


def test_drift_is_told_and_accepted(tmp_path: Path) -> None:
    snapshot = tmp_path / "api.txt"
    snapshot.write_text("openmem.gone() -> None\n", "utf-8")
    command = [sys.executable, ROOT / "spec" / "api.py", "--snapshot", snapshot]
    check = subprocess.run([*command, "--check"], capture_output=True, text=True, timeout=120)
    assert check.returncode == 1, check.stderr
    assert "BREAK    openmem.gone() -> None\n      -> removed" in check.stdout
    assert "added    $ openmem search --limit\n" in check.stdout
    assert "make api" in check.stdout
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0
    accepted = subprocess.run([*command, "--check"], capture_output=True, text=True, timeout=120)
    assert (accepted.returncode, accepted.stdout) == (0, "")


def test_without_the_links_it_says_what_makes_them(tmp_path: Path) -> None:
    script = shutil.copy(ROOT / "spec" / "api.py", tmp_path)
    result = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout) == (2, "")
    assert "make -B .venv/dev" in result.stderr
    assert "Traceback" not in result.stderr
