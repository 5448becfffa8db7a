"""Opening a sqlite:// file of an earlier version or text analysis: in pieces, by several at once, killed half-way."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory
from support.stores import everything

SPAWN = multiprocessing.get_context("spawn")

FIRST = """
    CREATE TABLE memories (
        key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, user INTEGER NOT NULL, external_id TEXT,
        created_at INTEGER NOT NULL, record TEXT NOT NULL);
    CREATE INDEX memories_newest ON memories (user, created_at, id);
    CREATE UNIQUE INDEX memories_external ON memories (user, external_id) WHERE external_id IS NOT NULL;
    INSERT INTO memories SELECT key, id, user, external_id, created_at, record FROM records;
    DROP TABLE records;
    DROP TABLE removed;
    DROP INDEX audit_newest;
    CREATE INDEX audit_user ON audit (user);
    PRAGMA user_version = 1;
"""
"""Makes of a store of the fourth version one as 0.2.0 made it."""

FOURTH = """
    ALTER TABLE users ADD length INTEGER NOT NULL DEFAULT 7;
    CREATE TABLE former (
        user INTEGER NOT NULL, term TEXT NOT NULL, memory INTEGER NOT NULL,
        count INTEGER NOT NULL, length INTEGER NOT NULL,
        PRIMARY KEY (user, term, memory)) WITHOUT ROWID;
    INSERT INTO former SELECT user, 'former ' || term, memory, 2, 3 FROM postings;
    DROP TABLE postings;
    ALTER TABLE former RENAME TO postings;
    UPDATE meta SET value = 'english-1' WHERE name = 'analysis';
    PRAGMA user_version = 4;
"""
"""Makes of a store one of the fourth version: counts and lengths in place of weights, of another text analysis."""

OPENS = """
import logging, os, signal, sys
from openmem import Memory
from openmem.adapters.sqlite import opening, schema
opening.PIECE = schema.PIECE = 10
left = int(sys.argv[2])

class Killer(logging.Handler):
    def emit(self, record):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

logger = logging.getLogger("openmem")
logger.setLevel(logging.INFO)
logger.addHandler(Killer())
with Memory(f"sqlite:///{sys.argv[1]}", embedder="test:16") as memory:
    memory.list("u")
"""
"""Opens a store and is killed when it tells of its progress for the so-manieth time."""


def open_store(path: Path) -> Memory:
    return Memory(f"sqlite:///{path}", embedder="test:16", synchronous="normal")


def sql(path: Path, script: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of some memories in several states."""
    with open_store(tmp_path / "a.db") as memory:
        memory.add_many([{"content": f"seven swans {number}", "tags": ["a", "b"]} for number in range(70)], user_id="u")
        first, second = memory.list("u", limit=2).items
        memory.update(first.id, archived=True)
        memory.add("nine swans", "u", supersedes=[second.id], external_id="k", scope="a/b", kind="fact")
        memory.add("of another", "v")
    return tmp_path / "a.db"


def answers(path: Path) -> Any:
    with open_store(path) as memory:
        found = [[(hit.memory.id, hit.score) for hit in memory.search("swans", user, limit=100)] for user in "uv"]
        records = [everything(memory, user) for user in "uv"]
        return found, records, [memory.stats(user) for user in "uv"]


def test_a_store_of_the_first_version_keeps_everything(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = answers(path)
    sql(path, FOURTH + FIRST)
    with caplog.at_level(logging.INFO, "openmem"):
        assert answers(path) == before
    assert [record.levelname for record in caplog.records if "moved memories" in record.message] == ["INFO"]
    with open_store(path) as memory:
        assert memory.add("nine swans", "u", external_id="k").id == memory.list("u", scope="a/b").items[0].id
        for item in everything(memory, "v"):
            memory.delete(item.id)


@pytest.mark.parametrize("earlier", [FOURTH, FOURTH + FIRST, "UPDATE meta SET value = 'older' WHERE name = 'analysis'"])
def test_opening_that_is_killed_half_way_goes_on(path: Path, earlier: str) -> None:
    before = answers(path)
    sql(path, earlier)
    for left in (2, 1, 3):
        killed = subprocess.run([sys.executable, "-c", OPENS, str(path), str(left)], timeout=60)
        assert killed.returncode == -signal.SIGKILL
    finished = subprocess.run([sys.executable, "-c", OPENS, str(path), "1"], timeout=60)
    assert finished.returncode == -signal.SIGKILL  # four pieces of eight and a half were done
    assert answers(path) == before


def test_processes_bring_a_store_up_to_date_together(path: Path) -> None:
    before = answers(path)
    sql(path, FOURTH + FIRST)
    opening = [subprocess.Popen([sys.executable, "-c", OPENS, str(path), "1000"]) for _ in range(4)]
    assert [process.wait(60) for process in opening] == [0] * 4
    assert answers(path) == before


def test_an_older_program_that_has_the_file_open_does_no_harm(path: Path) -> None:
    sql(path, FOURTH + FIRST)
    older = sqlite3.connect(path)
    older.execute("SELECT count(*) FROM memories").fetchone()
    with open_store(path) as memory:
        memory.list("u")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        older.execute("INSERT INTO memories (id, user, created_at, record) VALUES ('x', 1, 1, '{}')")
    older.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO postings (user, term, memory, count, length) VALUES (1, 'tea', 1, 1, 1)",
        "SELECT term, memory, count, length FROM postings WHERE user = 1 AND term IN ('tea')",
        "UPDATE users SET memories = memories - 1, length = length - 1 WHERE key = 1",
    ],
)
def test_an_older_program_that_has_the_file_open_cannot_use_its_words(path: Path, statement: str) -> None:
    sql(path, FOURTH)
    older = sqlite3.connect(path)
    older.execute(f"EXPLAIN {statement}").fetchone()
    with open_store(path) as memory:
        memory.list("u")
    with pytest.raises(sqlite3.OperationalError, match=r"no such column|no column named"):
        older.execute(statement)
    older.close()


def test_opening_what_is_up_to_date_writes_nothing(path: Path) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with open_store(path) as memory:
            assert memory.get(memory.search("swans", "u")[0].memory.id)
            memory.audit("u")
            holder.execute("ROLLBACK")
    finally:
        holder.close()
