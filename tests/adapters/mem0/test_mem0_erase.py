"""What erase removes of mem0: its history and last messages too, in its files; and of the hosted platform."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from openmem import Memory, ProviderError
from openmem.adapters.mem0 import erasing
from support.mem0_platform import Platform

STATES = ["expired", "upcoming", "archived"]


def files_with(folder: Path, text: str) -> list[str]:
    return [each.name for each in folder.rglob("*") if each.is_file() and text.encode() in each.read_bytes()]


def test_nothing_of_an_erased_user_is_in_the_files(tmp_path: Path) -> None:
    with Memory(f"mem0:///{tmp_path}/m", embedder="test:16") as memory:
        gone, stays = memory.for_user("gone"), memory.for_user("stays")
        for number in range(30):
            record = gone.add(f"quokka {number} " * 40, external_id=f"wombat-{number}", metadata={"wombat": "quokka"})
            gone.update(record.id, content=f"wombat {number}")
        gone.delete(record.id)
        left = stays.add("harbour")
        with sqlite3.connect(tmp_path / "m" / "history.db") as history:
            history.execute(
                "INSERT INTO messages VALUES ('1', 'user_id=gone', 'user', 'I said quokka', NULL, '2026-01-01')"
            )
        history.close()
        assert set(files_with(tmp_path, "quokka")) == {"history.db", "storage.sqlite"}
        assert gone.erase(all=True, dry_run=False).count == 29
        assert files_with(tmp_path, "quokka") == ["history.db"]  # of the one that was deleted before
        assert stays.get(left.id).content == "harbour"
    with sqlite3.connect(tmp_path / "m" / "history.db") as history:
        rows = history.execute("SELECT DISTINCT memory_id FROM history").fetchall()
        assert sorted(rows) == sorted([(record.id,), (left.id,)])
        assert history.execute("SELECT count(*) FROM messages").fetchone() == (0,)
    history.close()


def test_an_erase_whose_history_cannot_be_written_takes_the_chunk_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory(f"mem0:///{tmp_path}/m", embedder="test:16") as memory:
        memory.add_many([{"content": f"fact {number}"} for number in range(5)], user_id="u")

        def fail(*arguments: object) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr("openmem.adapters.mem0.changes.forget_history", fail)
        with pytest.raises(ProviderError) as caught:
            memory.erase("u", all=True, dry_run=False)
        assert caught.value.written == "nothing"
        assert memory.stats("u").total == 5
        monkeypatch.setattr("openmem.adapters.mem0.changes.forget_history", erasing.forget_history)
        assert memory.erase("u", all=True, dry_run=False).count == 5


def test_the_platform_is_erased_of_what_is_selected(platform: Platform, mem: Memory) -> None:
    for number in range(6):
        mem.add(f"fact {number}", "u", tags=[f"t{number % 2}"], archived=number < 3)
    mem.add("theirs", "v")
    assert (mem.erase("u", tag="t1").count, len(platform.rows)) == (3, 7)
    assert mem.erase("u", tag="t1", dry_run=False).count == 3
    assert sorted(each.content for each in mem.list("u", include=STATES).items) == ["fact 0", "fact 2", "fact 4"]
    assert mem.erase("u", all=True, dry_run=False).count == 3
    assert [row["memory"] for row in platform.rows.values()] == ["theirs"]


def test_what_the_platform_has_queued_is_told_of(platform: Platform, mem: Memory) -> None:
    platform.polls = 1000
    mem.add("queued", "u")
    mem.add("theirs", "v")
    erased = mem.erase("u", all=True, dry_run=False)
    assert any(each.startswith("1 memories") for each in erased.unreached)
