"""Qdrant in a folder under deletes and adds of several threads: nobody sees what is another's, nothing is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from openmem import Memory
from support.churn import ALWAYS, USERS, churn, seed

THREADS = 4


@pytest.mark.parametrize(("engine", "searches"), [("edge", 20_000), ("local", 1_000)])
def test_searches_under_churn_show_nothing_foreign(engine: str, searches: int, tmp_path: Path) -> None:
    url = f"qdrant+{engine}:///{tmp_path / 'store'}"
    with Memory(url, embedder="test:16") as memory, Memory(url, embedder="test:16") as other:
        seed(memory)
        assert churn((memory, other) * (THREADS // 2), searches // THREADS, "") == []
        assert sum(memory.stats(user).total for user in USERS) == ALWAYS + THREADS
