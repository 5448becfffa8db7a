"""The embedding of a sqlite:// file: its vectors are of one model, whoever else has it open."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from openmem import ConfigurationError, InvalidRequestError, Memory, ProviderError
from openmem.adapters.sqlite import SqliteAdapter
from openmem.embedding import RefusedTextsError
from openmem.embedding.testing import WordEmbedder
from openmem.types import EmbeddingInfo
from support.processes import run

Embed = Callable[[Sequence[str]], Awaitable[Any]]


class Other(WordEmbedder):
    """Another model of the same width."""

    def __init__(self) -> None:
        super().__init__(dimension=16)
        self.model = "another"


def open_store(path: Path, **options: Any) -> Memory:
    return Memory(f"sqlite:///{path}", **{"embedder": "test:16", "synchronous": "normal", **options})


def reembed(path: Path, embedder: Any, embed: Embed | None = None) -> int:
    """Embed a store anew; embed: what embedder does, or something that happens meanwhile too."""
    info = EmbeddingInfo(model=embedder.model, dimension=embedder.dimension)
    adapter = SqliteAdapter(SqliteAdapter.settings_type(path=path), embedding=info)

    async def work() -> int:
        try:
            return await adapter.reembed(embed or embedder.embed)
        finally:
            await adapter.close()

    return run(work)


def hold(path: Path) -> None:
    """Check what the store counts against what it has."""
    connection = sqlite3.connect(path)
    counted = connection.execute("SELECT sum(vectors) FROM users").fetchone()
    held = connection.execute("SELECT count(*) FROM vectors JOIN records ON memory = records.key").fetchone()
    assert counted == held == connection.execute("SELECT count(*) FROM vectors").fetchone()
    connection.close()


@pytest.mark.parametrize("embedder", [Other(), WordEmbedder(dimension=32)])
def test_a_client_of_the_old_embedding_is_told(tmp_path: Path, embedder: WordEmbedder) -> None:
    path = tmp_path / "a.db"
    with open_store(path) as old:
        first = old.add("green tea", "u", external_id="k")
        old.search("tea", "u")
        assert reembed(path, embedder) == 1
        calls: list[Callable[[], object]] = [
            lambda: old.add("black coffee", "u"),
            lambda: old.add("black coffee", "u", external_id="k"),
            lambda: old.update(first.id, content="black coffee"),
            lambda: old.search("tea", "u", mode="vector"),
            lambda: old.search("tea", "u"),
        ]
        for call in calls:
            with pytest.raises(ConfigurationError, match=r"Open a client .* `openmem reembed`") as caught:
                call()
            assert caught.value.written == "nothing"
        (result,) = old.add_many([{"content": "black coffee"}], user_id="u")
        assert result.error is not None
        assert result.error.written == "nothing"
        with open_store(path, embedder=embedder) as new:
            assert [hit.memory.id for hit in new.search("tea", "u", mode="vector")] == [first.id]
        assert [hit.memory.id for hit in old.search("tea", "u", mode="keyword")] == [first.id]  # no vector is needed
        old.update(first.id, tags=["drink"])
        old.delete(first.id)
    hold(path)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_an_empty_store_takes_the_embedding_of_the_first_who_adds(tmp_path: Path, first: int) -> None:
    clients = [open_store(tmp_path / "a.db", embedder=each) for each in ("test:16", Other(), "none")]
    for client in clients:
        client.list("u")
    adds = clients.pop(first)
    adds.add("green tea", "u")
    for client in clients:
        with pytest.raises(ConfigurationError, match="openmem reembed"):
            client.add("black coffee", "u")
    assert len(adds.search("tea", "u")) == 1
    for client in (adds, *clients):
        client.close()


def test_what_programs_of_earlier_versions_do_meanwhile_is_seen(tmp_path: Path) -> None:
    path, embedder, texts = tmp_path / "a.db", WordEmbedder(dimension=16), list[str]()
    with open_store(path) as memory:
        deleted, changed, kept = (memory.add(content, "u") for content in ("black coffee", "green tea", "red wine"))

        async def refuse(batch: Sequence[str]) -> Any:
            raise RefusedTextsError("m", await embedder.embed(batch[:2]), {2: InvalidRequestError("too long.")})

        with pytest.raises(ProviderError, match=kept.id):
            reembed(path, embedder, refuse)
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("UPDATE records SET record = replace(record, 'green tea', 'quixotic windmill')")
            connection.execute(
                "DELETE FROM vectors WHERE memory = (SELECT key FROM records WHERE id = ?)", (deleted.id,)
            )
            connection.execute("DELETE FROM records WHERE id = ?", (deleted.id,))
            connection.execute("UPDATE users SET vectors = vectors - 1, revision = revision + 1")
        connection.close()

        async def embed(batch: Sequence[str]) -> Any:
            texts.extend(batch)
            return await embedder.embed(batch)

        assert reembed(path, embedder, embed) == 2
        assert texts == ["quixotic windmill", "red wine"]
        found = memory.search("quixotic windmill", "u", mode="vector")
        assert [hit.memory.id for hit in found] == [changed.id, kept.id]
        assert found[0].score > 0.99
    hold(path)


def test_of_two_that_embed_a_store_anew_the_later_one_finishes(tmp_path: Path) -> None:
    path, mine, theirs = tmp_path / "a.db", WordEmbedder(dimension=16), Other()
    with open_store(path) as memory:
        record = memory.add("green tea", "u")

    async def embed(batch: Sequence[str]) -> Any:
        reembed_in_thread(path, theirs)
        return await mine.embed(batch)

    with pytest.raises(ConfigurationError, match="another reembed"):
        reembed(path, mine, embed)
    with open_store(path, embedder=theirs) as memory:
        assert memory.get(record.id).embedding_model == "another"
        assert memory.search("green tea", "u", mode="vector")[0].score > 0.99
    hold(path)


def reembed_in_thread(path: Path, embedder: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(reembed, path, embedder).result() == 1
