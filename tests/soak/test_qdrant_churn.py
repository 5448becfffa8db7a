"""Qdrant in a folder under deletes and adds of several threads: nobody sees what is another's, nothing is missing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory

THREADS = 4
MODES: tuple[Any, ...] = ("vector", "keyword", "hybrid")


@pytest.mark.parametrize(("engine", "searches"), [("edge", 20_000), ("local", 1_000)])
def test_searches_under_churn_show_nothing_foreign(engine: str, searches: int, tmp_path: Path) -> None:
    url, wrong = f"qdrant+{engine}:///{tmp_path / 'store'}", list[str]()

    def work(memory: Memory, thread: int) -> None:
        mine = memory.add(f"tea of alice {thread}", "alice", external_id=str(thread))
        for number in range(searches // THREADS):
            if number % 5 == 0:  # the same key, again and again another user's
                memory.delete(mine.id)
                user = ("bob", "carol", "alice")[number // 5 % 3]
                mine = memory.add(f"tea of {user} {thread}", user, external_id=str(thread))
            user = ("alice", "bob", "carol")[number % 3]
            found = memory.search("tea", user, limit=50, mode=MODES[number // 3 % 3])
            wrong.extend(each.memory.content for each in found if f"of {user}" not in each.memory.content)
            if user == "alice" and len(found) < 20:
                wrong.append(f"only {len(found)}")

    with Memory(url, embedder="test:16") as memory, Memory(url, embedder="test:16") as other:
        memory.add_many([{"content": f"tea of alice {number}"} for number in range(20)], user_id="alice")
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, (memory, other) * (THREADS // 2), range(THREADS)))
        assert wrong == []
        assert sum(memory.stats(user).total for user in ("alice", "bob", "carol")) == 20 + THREADS
