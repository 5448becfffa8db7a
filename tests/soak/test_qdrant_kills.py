"""A reembed of a folder that is killed at fifty moments of chance, spread over all that it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.processes import python
from support.qdrant_kills import SCRIPT

KILLS = 25


@pytest.mark.parametrize("engine", ["local", "edge"])
def test_killed_at_any_moment_the_store_is_of_one_embedding_and_whole(engine: str, tmp_path: Path) -> None:
    told = python(SCRIPT, f"qdrant+{engine}", str(tmp_path), str(KILLS), "1", timeout=900)
    assert told.returncode == 0, told.stderr
    moments = told.stdout.splitlines()
    assert len(moments) == KILLS
    assert {line.split(": ")[1].split()[0] for line in moments} == {"old", "new"}
