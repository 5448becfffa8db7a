"""Nothing of what was erased is in the files of a store, whatever was done with it before, and whatever SQLite is."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, Memory, NotFoundError
from openmem.adapters.sqlite import scrubbing
from openmem.protocol import ranking

MARKS = ("quokka", "wombat", "Zürichsee", "日本語")
"""Of all that is erased; nobody else's texts have them."""


@pytest.fixture(params=["ON", "OFF"])
def build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether SQLite was built to overwrite what it deletes, by itself."""
    connect, mode = sqlite3.connect, request.param

    def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.execute(f"PRAGMA secure_delete={mode}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connected)
    return str(mode)


def held(path: Path) -> bytes:
    return b"\n".join(each.read_bytes() for each in sorted(path.parent.glob(f"{path.name}*")))


def spelled(text: str) -> Iterator[bytes]:
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        yield text.encode(encoding)
    yield text.encode("ascii", "backslashreplace")


def traces(path: Path, texts: Any) -> list[str]:
    files = held(path)
    return [text for text in texts if any(each in files for each in spelled(text))]


def write(user: Any, chance: random.Random, marks: tuple[str, ...]) -> None:
    """Add, update and delete, so that rows move between pages, and pages become free."""
    ids: list[str] = []
    for number in range(120):
        mark = marks[number % len(marks)]
        content = f"{mark} {number} " + f"{mark}ish text number {number} " * chance.choice([1, 1, 2, 150])
        if ids and chance.random() < 0.3:
            user.delete(ids.pop(chance.randrange(len(ids))))
        elif ids and chance.random() < 0.3:
            user.update(chance.choice(ids), content=content, metadata={f"{mark}key": f"{mark}value"})
        else:
            fields = {"tags": [f"{mark}tag"], "kind": f"{mark}kind", "scope": f"{mark}/scope"}
            ids.append(user.add(content, external_id=f"{mark}-{number}", **fields).id)
        user.search(f"{mark} text")


@pytest.mark.parametrize("seed", range(3))
def test_nothing_of_an_erased_user_is_in_the_files(tmp_path: Path, build: str, seed: int) -> None:
    path, chance = tmp_path / "store.db", random.Random(seed)
    with Memory(f"sqlite:///{path}", embedder="test:16") as memory:
        gone, stays = memory.for_user("gone-quokka"), memory.for_user("stays")
        for _ in range(2):
            write(gone, chance, MARKS)
            write(stays, chance, ("harbour", "lantern"))
        vectors = [struct.pack("<16f", *each) for each in _vectors(path, "gone-quokka")]
        words = {term for mark in MARKS[:3] for term in ranking.terms(f"{mark}ish")}
        assert len(vectors) > 30
        assert traces(path, MARKS)
        erased = gone.erase(all=True, audit=True, dry_run=False)
        assert erased.count == len(vectors)
        assert not any("holds what was deleted" in each for each in erased.unreached)
        for _ in range(2):  # while it is open, and once it is closed
            assert traces(path, [*MARKS, *words]) == []
            assert not any(each in held(path) for each in vectors)
            assert traces(path, ["harbour"])
            memory.close()
    with Memory(f"sqlite:///{path}", embedder="test:16") as memory:
        left = memory.for_user("stays")
        assert [each.memory.content.split()[0] for each in left.search("harbour")][:1] == ["harbour"]
        assert len(left.list(limit=500).items) == left.stats().total > 10


def _vectors(path: Path, user_id: str) -> list[tuple[float, ...]]:
    query = "SELECT data FROM vectors WHERE user = (SELECT key FROM users WHERE user_id = ?)"
    connection = sqlite3.connect(path)
    try:
        return [struct.unpack("<16f", data) for (data,) in connection.execute(query, (user_id,))]
    finally:
        connection.close()


def test_what_was_deleted_before_goes_with_the_next_erase(tmp_path: Path, build: str) -> None:
    path = tmp_path / "store.db"
    with Memory(f"sqlite:///{path}", embedder="none") as memory:
        user = memory.for_user("u")
        ids = [user.add(f"quokka {number} " * 300).id for number in range(30)]
        user.delete_many(ids)
        assert user.erase(all=True, dry_run=False).count == 0
        assert traces(path, ["quokka"]) == []


def test_a_log_that_is_being_read_is_said_to_hold_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "PATIENCE", 0.01)
    path = tmp_path / "store.db"
    with Memory(f"sqlite:///{path}", embedder="none") as memory:
        memory.add("quokka", "u")
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        erased = memory.erase("u", all=True, dry_run=False)
        assert erased.count == 1
        assert any("log holds what was deleted" in each for each in erased.unreached)
        assert traces(path, ["quokka"])
        reader.close()
        again = memory.erase("u", all=True, dry_run=False)
        assert not any("holds what was deleted" in each for each in again.unreached)
        assert traces(path, ["quokka"]) == []


def test_a_file_that_is_not_rewritten_is_said_to_hold_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "PATIENCE", 0.01)
    path = tmp_path / "store.db"
    with Memory(f"sqlite:///{path}", embedder="none", rewrite=False) as memory:
        memory.add("quokka", "u")
        erased = memory.erase("u", all=True, dry_run=False)
        assert any("rewrite is off" in each for each in erased.unreached)
    with Memory(f"sqlite:///{path}", embedder="none") as memory:
        memory.add("wombat", "u")
        kept = memory.erase("u", all=True)
        assert not any("holds what was deleted" in each for each in kept.unreached)  # of a dry run


def test_an_erase_whose_file_another_writes_is_done_and_says_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Memory(f"sqlite:///{path}", embedder="none") as memory:
        memory.add("quokka", "u")
        right, blocker = scrubbing.rewrite, sqlite3.connect(path, isolation_level=None)

        def blocked(connection: sqlite3.Connection) -> bool:
            if not blocker.in_transaction:
                blocker.execute("BEGIN IMMEDIATE")
            return right(connection)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scrubbing, "PATIENCE", 0.01)
            patch.setattr(scrubbing, "rewrite", blocked)
            erased = memory.erase("u", all=True, dry_run=False)
        blocker.close()
        assert (erased.count, memory.stats("u").total) == (1, 0)
        assert any("Free space of the file holds" in each for each in erased.unreached)


def test_vectors_of_another_client_are_those_of_the_user_who_came_after(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with Memory(url, embedder="test:16") as one, Memory(url, embedder="test:16") as other:
        for number in range(3):
            one.add(f"red {number}", "u")
        assert len(other.search("red", "u", mode="vector")) == 3
        one.erase("u", all=True, audit=True, dry_run=False)
        for number in range(3):
            one.add(f"blue {number}", "u")
        found = other.search("blue", "u", mode="vector")
        assert sorted(each.memory.content for each in found) == ["blue 0", "blue 1", "blue 2"]


@pytest.mark.parametrize("mode", ["vector", "keyword", "hybrid"])
def test_another_client_finds_nothing_of_a_user_who_was_forgotten(tmp_path: Path, mode: str) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with Memory(url, embedder="test:32") as one, Memory(url, embedder="test:32") as other:
        gone, stays = one.add("tea", "alice", scope="a"), one.add("tea", "bob")
        assert len(other.search("tea", "alice", mode=mode)) == 1
        assert one.erase("alice", all=True, audit=True, dry_run=False).count == 1
        with Memory(url, embedder="test:32") as third:
            for client in (other, one, third, other):
                assert client.search("tea", "alice", mode=mode) == []
                assert client.context("tea", "alice", token_budget=100).citations == []
                assert client.list("alice", include_vectors=True).items == []
                assert list(client.iterate("alice")) == []
                assert (client.stats("alice").total, client.scopes("alice").items) == (0, [])
                assert [each.user_id for each in client.users().items] == ["bob"]
                for verb in (client.get, client.related, client.history, client.delete):
                    with pytest.raises(NotFoundError):
                        verb(gone.id, user_id="alice")
                assert [each.memory.id for each in client.search("tea", "bob", mode=mode)] == [stays.id]
            one.add("tea again", "alice")
            for client in (other, one, third):
                assert [each.memory.content for each in client.search("tea", "alice", mode=mode)] == ["tea again"]


def test_nothing_holds_the_event_loop_up(tmp_path: Path) -> None:
    async def erased() -> tuple[int, int]:
        async with AsyncMemory(f"sqlite:///{tmp_path}/store.db", embedder="none") as memory:
            await memory.add_many([{"content": f"fact {number}"} for number in range(2000)], user_id="u")
            erasing = asyncio.ensure_future(memory.erase("u", all=True, dry_run=False))
            turns = 0
            while not erasing.done():
                await asyncio.sleep(0)
                turns += 1
            return erasing.result().count, turns

    count, turns = asyncio.run(erased())
    assert count == 2000
    assert turns > 100
