"""What erase leaves of a user in Qdrant: in its two collections nothing, and in a folder of local mode nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from openmem import Memory


def files_with(folder: Path, text: str) -> list[Path]:
    return [each for each in folder.rglob("*") if each.is_file() and text.encode() in each.read_bytes()]


def test_nothing_of_an_erased_user_is_in_a_folder_of_local_mode(tmp_path: Path) -> None:
    with Memory(f"qdrant+local:///{tmp_path}/store", embedder="test:16") as memory:
        gone, stays = memory.for_user("gone-quokka"), memory.for_user("stays")
        batch = [{"content": f"quokka {number} " * 50, "external_id": f"quokka-{number}"} for number in range(40)]
        ids = [each.id or "" for each in gone.add_many(batch)]
        left = stays.add("harbour", scope="lantern")
        memory.add_many([{"content": "quokka", "user_id": "gone-quokka"}, {"content": "both", "user_id": "stays"}])
        gone.update(ids[0], content="wombat quokka")
        gone.delete_many(ids[:10])
        assert files_with(tmp_path, "quokka")
        erased = gone.erase(all=True, audit=True, dry_run=False)
        assert erased.count == 31
        assert files_with(tmp_path, "quokka") == []
        assert {each.action for each in stays.audit()} == {"add", "add_many"}
        assert stays.get(left.id).scope == "lantern"
    assert files_with(tmp_path, "quokka") == []


def test_a_file_that_cannot_be_rewritten_is_named(tmp_path: Path) -> None:
    with Memory(f"qdrant+local:///{tmp_path}/store", embedder="none") as memory:
        memory.add("quokka", "u")
        other = sqlite3.connect(tmp_path / "store" / "collection" / "openmem" / "storage.sqlite", isolation_level=None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("openmem.adapters.qdrant.local.sqlite3.connect", lambda path: _locked(other))
            erased = memory.erase("u", all=True, dry_run=False)
        other.close()
        assert erased.count == 1
        assert any("could not be rewritten" in each for each in erased.unreached)


def _locked(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("BEGIN")
    return connection
