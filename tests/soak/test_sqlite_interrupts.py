"""sqlite:// under thousands of interrupts: no verb fails afterwards, nothing hangs, records are indexes."""

from __future__ import annotations

import random
import signal
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from openmem import ConflictError, InvalidRequestError, Memory, NotFoundError

INTERRUPTS = 2_000
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]


def open_store(path: Path) -> Memory:
    return Memory(f"sqlite:///{path}", embedder="test:16", synchronous="normal")


def test_thousands_of_interrupts(tmp_path: Path) -> None:
    path, chance, came = tmp_path / "a.db", random.Random(1), 0
    memory = open_store(path)
    ids = [memory.add(f"tea {number}", "u").id for number in range(30)]
    verbs: list[Callable[[], object]] = [
        lambda: memory.add(f"tea {chance.random()}", "u"),
        lambda: memory.add_many([{"content": f"tea {chance.random()}"} for _ in range(5)], user_id="u"),
        lambda: memory.add("tea", "u", supersedes=[chance.choice(ids)]),
        lambda: memory.update(chance.choice(ids), content=f"tea {chance.random()}"),
        lambda: memory.delete(chance.choice(ids)),
        lambda: memory.search("tea", "u", limit=5),
        lambda: memory.get(chance.choice(ids)),
        lambda: memory.history(chance.choice(ids)),
        lambda: memory.stats("u"),
        lambda: memory.audit("u"),
    ]
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)  # what Ctrl-C does
    try:
        for number in range(50 * INTERRUPTS):
            try:
                with suppress(NotFoundError, ConflictError, InvalidRequestError):  # what an id that is gone becomes
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 1e-3))
                    verbs[number % len(verbs)]()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                came += 1
            if came == INTERRUPTS:
                break
            if number % 50 == 0:
                ids = [item.id for item in memory.list("u", limit=30).items]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert came == INTERRUPTS
    found = [(hit.memory.id, hit.score) for hit in memory.search("tea", "u", limit=100)]
    memory.close()
    with open_store(path) as again:
        assert [(hit.memory.id, hit.score) for hit in again.search("tea", "u", limit=100)] == found
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    counts = connection.execute(
        "SELECT memories, vectors, (SELECT count(*) FROM records), (SELECT count(*) FROM vectors),"
        " (SELECT count(DISTINCT memory) FROM postings) FROM users"
    ).fetchone()
    connection.close()
    assert len(set(counts)) == 1
