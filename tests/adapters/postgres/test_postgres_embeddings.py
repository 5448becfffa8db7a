"""postgres:// clients that are open while the store takes another embedding: refused, whatever they come between."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from openmem import AsyncMemory, ConfigurationError, Memory, OMPError, ProviderError
from openmem.adapters.postgres import PostgresAdapter
from openmem.embedding import RefusedTextsError
from openmem.embedding.testing import WordEmbedder
from openmem.types import EmbeddingInfo
from support.servers import PostgresCluster
from support.stores import open_store

UNLIKE = "SELECT count(*) FROM openmem.memories WHERE embedding IS NULL OR record ->> 'embedding_model' <> %s"


class Other(WordEmbedder):
    """Another model of whatever width: it has the axes in another order."""

    def __init__(self, dimension: int = 32, name: str = "other") -> None:
        super().__init__(dimension=dimension)
        self.model = name

    def axis(self, word: str) -> int:
        return self.dimension - 1 - super().axis(word)


async def reembed(url: str, embedder: WordEmbedder, embed: Any = None, **options: Any) -> int:
    info = EmbeddingInfo(model=embedder.model, dimension=embedder.dimension)
    settings = PostgresAdapter.settings_type(**conninfo_to_dict(url), **options)
    adapter = PostgresAdapter(settings, embedding=info)
    try:
        done: int = await adapter.reembed(embed or embedder.embed)
        return done
    finally:
        await adapter.close()


def assert_moved(error: OMPError) -> None:
    assert isinstance(error, ConfigurationError)
    assert "embedded anew" in error.message
    assert "new client" in error.remedy
    assert error.written == "nothing"


def refused(call: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        call(*arguments, **options)
    assert_moved(caught.value)


def assert_no_longer_served(memory: Memory, kept: str) -> None:
    """Assert that a client neither stores nor searches vectors; without any it works."""
    refused(memory.add, "black coffee", "u")
    refused(memory.update, kept, content="black coffee")
    for count in (2, 50):
        results = memory.add_many([{"content": f"coffee {n}", "user_id": "u"} for n in range(count)])
        for result in results:
            assert result.error is not None
            assert "embedded anew" in result.error.message
            assert result.error.written == "nothing"
    assert memory.get(kept).content == "green tea"
    assert memory.update(kept, pinned=True).pinned
    assert [hit.memory.id for hit in memory.search("tea", "u", mode="keyword")] == [kept]


@pytest.mark.parametrize("dimension", [32, 64])
@pytest.mark.parametrize("before", ["none", "single", "half"])
@pytest.mark.parametrize("after", ["single", "half"])
def test_a_client_open_beside_a_reembed_is_refused(postgres_url: str, before: str, after: str, dimension: int) -> None:
    options = {"embedder": "none"} if before == "none" else {"precision": before}
    with open_store(postgres_url, **options) as memory:
        kept = memory.add("green tea", "u").id
        for n in range(8):  # after some the statements are prepared
            memory.delete(memory.add(f"water {n}", "u").id)
            memory.search("green tea", "u")
        assert asyncio.run(reembed(postgres_url, Other(dimension), precision=after)) == 1
        assert_no_longer_served(memory, kept)
        if before != "none":
            for user in ("u", "nobody"):
                refused(memory.search, "green tea", user, mode="vector")
                refused(memory.search, "green tea", user, mode="hybrid")
        with open_store(postgres_url, embedder=Other(dimension), precision=after) as new:
            added = new.add("black coffee", "u")
            assert added.embedding_model == "other"
            assert new.search("black coffee", "u", mode="vector")[0].memory.id == added.id
            assert new.stats("u").total == 2
        memory.delete(kept)


def test_the_model_alone_need_not_change_for_a_client_to_go_on(postgres_url: str) -> None:
    with open_store(postgres_url) as memory:
        memory.add("green tea", "u")
        asyncio.run(reembed(postgres_url, WordEmbedder(dimension=32)))
        memory.add("black tea", "u")
        assert [hit.score for hit in memory.search("tea", "u", mode="vector")] == pytest.approx(
            [0.5**0.5] * 2, abs=1e-3
        )


def test_of_clients_that_open_an_empty_store_the_last_is_served(postgres_url: str) -> None:
    embedders = ["test:32", Other(), Other(name="third"), Other(64), "none"]
    for order in itertools.permutations(embedders, 2):
        first, second = (open_store(postgres_url, embedder=embedder) for embedder in order)
        with first, second:
            first.open()
            second.open()
            refused(first.add, "green tea", "u")
            if order[0] != "none":
                refused(first.search, "green tea", "u", mode="vector")
            kept = second.add("green tea", "u")
            assert [hit.memory.id for hit in second.search("green tea", "u")] == [kept.id]
            refused(first.add, "green tea", "u")
            second.delete(kept.id)


async def outcome(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except OMPError as error:
        return error


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_no_vector_of_the_former_model_slips_in_beside_a_reembed(
    postgres: PostgresCluster, database: str, postgres_url: str, isolation: str
) -> None:
    """Whatever is acknowledged has a vector of the model that the store has in the end."""
    postgres.run(f"ALTER DATABASE {database} SET default_transaction_isolation = '{isolation}'")

    async def scenario() -> None:
        for turn in range(8):
            before, after = Other(name=f"model {turn}"), Other(name=f"model {turn + 1}")
            async with AsyncMemory(postgres_url, embedder=before) as memory:
                await memory.add("a fact", "u")
                made = asyncio.ensure_future(reembed(postgres_url, after))

                async def write(number: int, memory: AsyncMemory = memory, made: Any = made) -> None:
                    while not made.done():
                        one = await outcome(memory.add(f"fact {number}", f"user {number}"))
                        many = await memory.add_many([{"content": f"many {n}", "user_id": "u"} for n in range(25)])
                        if isinstance(one, OMPError):
                            assert_moved(one)
                        assert all(r.error is None or "embedded anew" in r.error.message for r in many)

                await asyncio.gather(made, *(write(number) for number in range(3)))
            unlike = UNLIKE.replace("%s", f"'{after.model}'")
            assert await asyncio.to_thread(postgres.run, unlike, database=database) == [(0,)]

    asyncio.run(scenario())


def test_an_empty_store_ends_with_vectors_of_one_model(
    postgres: PostgresCluster, database: str, postgres_url: str
) -> None:
    """Clients of several models open it and add at once."""

    async def use(number: int) -> str | None:
        async with AsyncMemory(postgres_url, embedder=Other(name=f"model {number}")) as memory:
            added = await outcome(memory.add(f"fact {number}", "u"))
            if isinstance(added, ConfigurationError):
                assert "embedded anew" in added.message or "openmem reembed" in added.remedy
                return None
            return str(added.embedding_model)

    async def scenario() -> None:
        for _ in range(8):
            models = set(await asyncio.gather(*(use(number) for number in range(6)))) - {None}
            assert len(models) == 1
            [model] = models
            assert postgres.run(UNLIKE.replace("%s", f"'{model}'"), database=database) == [(0,)]
            async with AsyncMemory(postgres_url, embedder=Other(name=str(model))) as memory:
                await memory.delete_many([each.id for each in (await memory.list("u")).items])

    asyncio.run(scenario())


def test_of_two_reembeds_with_different_models_the_one_that_began_last_wins(
    postgres: PostgresCluster, database: str, postgres_url: str
) -> None:
    with open_store(postgres_url) as memory:
        memory.add_many([{"content": f"fact {n}", "user_id": "u"} for n in range(1100)])
    first, last = Other(name="first"), Other(name="last")

    async def overtaken(texts: Sequence[str]) -> Any:
        if len(texts) < 1000:
            assert await reembed(postgres_url, last) == 1100
        return await first.embed(texts)

    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(reembed(postgres_url, first, overtaken))
    assert_moved(caught.value)
    assert postgres.run(UNLIKE.replace("%s", "'last'"), database=database) == [(0,)]


class InTheWay(logging.Handler):
    """Notices when a reembed says that others are in its way."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.said = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "in the way" in record.getMessage():
            self.said.set()

    async def again(self) -> None:
        await asyncio.wait_for(self.said.wait(), 30)
        self.said.clear()


def test_transactions_of_others_hold_up_the_reembed_alone(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody reads the table when room is made, and again when the vectors are to be replaced."""
    caplog.set_level("INFO", "openmem")
    asked: list[int] = []

    async def scenario(reader: psycopg.Connection[Any]) -> None:
        handler = InTheWay()
        logging.getLogger("openmem").addHandler(handler)

        async def reads_again(texts: Sequence[str]) -> Any:
            if not asked:
                reader.execute("SELECT count(*) FROM openmem.memories")
            asked.append(len(texts))
            return await Other().embed(texts)

        async with AsyncMemory(postgres_url, embedder="test:32", timeout=5) as memory:
            kept = await memory.add("green tea", "u")
            reader.execute("SELECT count(*) FROM openmem.memories")
            made = asyncio.ensure_future(reembed(postgres_url, Other(), reads_again))
            for content in ("black coffee", "red wine"):
                await handler.again()
                assert (await memory.search("green tea", "u", mode="vector"))[0].memory.id == kept.id
                await memory.add(content, "u")
                reader.rollback()
            assert await made == 3
        logging.getLogger("openmem").removeHandler(handler)

    with psycopg.connect(postgres_url) as reader:
        asyncio.run(scenario(reader))
    with open_store(postgres_url, embedder=Other()) as memory:
        for content in ("green tea", "black coffee", "red wine"):
            assert memory.search(content, "u", mode="vector")[0].memory.content == content


def test_what_is_deleted_leaves_nothing_in_an_unfinished_run(
    postgres: PostgresCluster, database: str, postgres_url: str
) -> None:
    async def takes_one(texts: Sequence[str]) -> Any:
        refusal = ProviderError("it is too long.")
        vectors = await Other().embed([text for text in texts if text != "green tea"])
        raise RefusedTextsError("other", vectors, {texts.index("green tea"): refusal})

    with open_store(postgres_url) as memory:
        memory.add("green tea", "u")
        secret = memory.add("a secret", "u")
        with pytest.raises(ProviderError, match="refuses the texts of 1 memories"):
            asyncio.run(reembed(postgres_url, Other(), takes_one))
        sql = "SELECT count(*) FROM openmem.renewed"
        assert postgres.run(sql, database=database) == [(1,)]
        memory.delete(secret.id)
        assert postgres.run(sql, database=database) == [(0,)]


def test_more_dimensions_than_can_be_indexed_are_refused_before_anything_is_made(postgres_url: str) -> None:
    with open_store(postgres_url, index="hnsw") as memory:
        memory.add("green tea", "u")
    with pytest.raises(ConfigurationError, match="2500 dimensions"):
        asyncio.run(reembed(postgres_url, Other(2500), index="hnsw"))
    with open_store(postgres_url, index="hnsw") as memory:
        assert len(memory.search("green tea", "u", mode="vector")) == 1
