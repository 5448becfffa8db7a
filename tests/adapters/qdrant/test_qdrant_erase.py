"""What erase leaves of a user in Qdrant: in its two collections nothing, and in a folder of local mode nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from openmem import AsyncMemory, Memory, ProviderError
from openmem.adapters.qdrant.clients import RemoteEngine
from openmem.adapters.qdrant.engine import Operation, Overwrite
from support.kept import Kept
from support.qdrant_server import Server
from support.stores import open_store
from support.twins import at

URL = "qdrant://qdrant.test:6333/memories"


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


@pytest.mark.parametrize("name", ["qdrant-local-1", "qdrant-edge-1"])
def test_a_log_whose_points_had_one_user_each_is_erased(name: str, request: pytest.FixtureRequest) -> None:
    with open_store(Kept(request).url(name)) as memory:
        others = {user: memory.audit(user) for user in ("ada", "bob")}
        assert others.pop("ada")
        assert memory.erase("ada", all=True, audit=True, dry_run=False).count
        assert memory.audit("ada") == []
        assert {user: memory.audit(user) for user in others} == others


def test_two_logs_that_share_points_are_erased_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(_erased_at_once(monkeypatch))


async def _erased_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the one client write a point of several users when another's entries are gone from it since it was read."""
    held, free = asyncio.Event(), asyncio.Event()
    write = RemoteEngine.write

    async def late(self: RemoteEngine, collection: str, operations: Sequence[Operation]) -> None:
        if not held.is_set() and any(isinstance(each, Overwrite) for each in operations):
            held.set()
            await free.wait()
        await write(self, collection, operations)

    with at("qdrant.test", Server()):
        async with AsyncMemory(URL, embedder="none") as one, AsyncMemory(URL, embedder="none") as other:
            users = ("al", "bo", "cy")
            await one.add_many([{"content": "x", "user_id": user} for user in users])
            monkeypatch.setattr(RemoteEngine, "write", late)
            erasing = asyncio.create_task(one.erase("al", all=True, audit=True, dry_run=False))
            await held.wait()
            await other.erase("bo", all=True, audit=True, dry_run=False)
            free.set()
            await erasing
            assert [len(await other.audit(user)) for user in users] == [0, 0, 1]


def test_an_erase_that_fails_oddly_says_how_many_are_erased() -> None:
    server = Server()
    with at("qdrant.test", server), Memory(URL, embedder="none") as memory:
        memory.add_many([{"content": "a"}, {"content": "b"}], user_id="u")
        server.client.set_payload("memories_sidecar", {"log": ["u", "v"], "entries": 3}, points=_logged(server))
        with pytest.raises(ProviderError, match="2 memories are erased") as caught:
            memory.erase("u", all=True, audit=True, dry_run=False)
        assert caught.value.written == "part"


def _logged(server: Server) -> list[str]:
    rows, _ = server.client.scroll("memories_sidecar", limit=10)
    return [str(row.id) for row in rows if "log" in (row.payload or {})]
