"""Runs that embed a store anew, killed at fifty random moments."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.processes import python

KILLS = 50
TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_killed_run_leaves_one_embedding_or_the_other(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str
) -> None:
    url = request.getfixturevalue("postgres_url") if engine == "postgres" else f"sqlite:///{tmp_path}/store.db"
    done = python(f"from support import anew; anew.main({url!r}, {KILLS}, 1)", cwd=TESTS, timeout=600)
    assert done.returncode == 0, done.stderr
