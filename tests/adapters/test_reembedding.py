"""Vectors made anew beside those in use: until the swap a store is what it was, whatever ends the run; then the new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from openmem import ConfigurationError, InvalidRequestError, Memory, ProviderError, ProviderUnavailableError
from openmem.embedding import RefusedTextsError
from openmem.embedding.testing import WordEmbedder
from support.anew import MANY, Model, reembed
from support.processes import python
from support.stores import everything, open_store

TESTS = Path(__file__).parents[1]
OLD = WordEmbedder(dimension=32)
OTHERS = [Model(), Model(dimension=48), Model(OLD.model)]
"""Models of the same width, of another one, and one whose name stayed."""


class Gone(Exception):
    """The embedder is gone."""


class Requests:
    """An embedder that keeps what it is asked, and does something at its requests."""

    def __init__(self, model: WordEmbedder, **meanwhile: Any) -> None:
        self.model, self.asked = model, list[Sequence[str]]()
        self._meanwhile = {int(name.removeprefix("at_")): work for name, work in meanwhile.items()}

    async def __call__(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        self.asked.append(texts)
        if work := self._meanwhile.get(len(self.asked)):
            work()
        return await self.model.embed(texts)


def is_gone() -> None:
    raise Gone


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store."""
    if request.param == "postgres":
        yield request.getfixturevalue("postgres_url")
    else:
        yield f"sqlite:///{tmp_path}/store.db?synchronous=normal"


def fill(memory: Memory, count: int = MANY, user_id: str = "v") -> None:
    results = memory.add_many([{"content": f"fact {n}"} for n in range(count)], user_id=user_id)
    assert all(result.error is None for result in results)


def assert_all_are_of(model: WordEmbedder, memory: Memory, users: Sequence[str]) -> None:
    """Assert that every memory has the vector that a model makes of its content now."""
    for user in users:
        records = everything(memory, user)
        for record in records:
            assert record.embedding_model == model.model
            found = memory.search(record.content, user, mode="vector", limit=100)
            assert found[0].score > 0.99
            assert next(hit.score for hit in found if hit.memory.id == record.id) > 0.99


def refuses(memory: Memory) -> None:
    """Assert that a client no longer stores or searches vectors."""
    for call in (lambda: memory.add("black coffee", "u"), lambda: memory.search("tea", "u", mode="vector")):
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert caught.value.written == "nothing"


def reembed_in_thread(url: str, model: WordEmbedder) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(reembed, url, model).result() == 1


@pytest.mark.parametrize("model", OTHERS[:2])
def test_clients_of_the_former_embedding_go_on_until_the_swap(url: str, model: Model) -> None:
    with open_store(url) as old:
        kept, changed, tagged, deleted = (
            old.add(content, "u") for content in ("green tea", "red wine", "hot milk", "cold water")
        )
        old.search("tea", "u")

        def meanwhile() -> None:
            old.add("black coffee", "u")
            old.update(changed.id, content="white wine")
            old.update(tagged.id, tags=["drink"])
            old.delete(deleted.id)
            found = old.search("white wine", "u", mode="vector")
            assert [found[0].memory.id, found[0].memory.embedding_model] == [changed.id, OLD.model]
            assert found[0].score > 0.99

        requests = Requests(model, at_1=meanwhile)
        assert reembed(url, model, requests) == 4
        assert sorted(requests.asked[0]) == ["cold water", "green tea", "hot milk", "red wine"]
        assert [text for texts in requests.asked[1:] for text in sorted(texts)] == ["black coffee", "white wine"]
        refuses(old)
        assert [hit.memory.id for hit in old.search("tea", "u", mode="keyword")] == [kept.id]
        assert old.update(kept.id, tags=["drink"]).embedding_model == model.model
        with open_store(url, embedder=model) as new:
            assert new.get(tagged.id).tags == ["drink"]
            assert_all_are_of(model, new, ["u"])
            new.add("a juice", "u")
            assert_all_are_of(model, new, ["u"])


def test_an_interrupted_run_leaves_the_former_embedding_and_is_gone_on_with(url: str) -> None:
    model = OTHERS[1]
    with open_store(url) as old:
        fill(old)
    with pytest.raises(Gone):
        reembed(url, model, Requests(model, at_2=is_gone))
    with open_store(url) as old:
        assert old.search("fact 7", "v", mode="vector")[0].score > 0.99
        again = old.list("v", limit=1).items[0]
        gone, changed = old.list("v", limit=500).items[-2:]
        old.update(again.id, tags=["new"])
        old.update(changed.id, content="another one")
        old.delete(gone.id)
    with pytest.raises(Gone):
        reembed(url, model, Requests(model, at_1=is_gone))
    requests = Requests(model)
    assert reembed(url, model, requests) == MANY - 1
    asked = [text for texts in requests.asked for text in texts]
    assert "another one" in asked
    assert len(asked) == len(set(asked)) <= MANY - 1000 + 1
    with open_store(url, embedder=model) as new:
        assert new.search("another one", "v", mode="vector")[0].memory.id == changed.id
        assert {record.embedding_model for record in everything(new, "v")} == {model.model}


def test_a_run_of_another_embedding_begins_anew(url: str) -> None:
    with open_store(url) as old:
        fill(old)
    with pytest.raises(Gone):
        reembed(url, OTHERS[0], Requests(OTHERS[0], at_2=is_gone))
    requests = Requests(OTHERS[1])
    assert reembed(url, OTHERS[1], requests) == MANY
    assert sum(map(len, requests.asked)) == MANY
    requests = Requests(OLD)
    assert reembed(url, OLD, requests) == MANY
    assert sum(map(len, requests.asked)) == MANY
    with open_store(url) as memory:
        assert memory.search("fact 7", "v", mode="vector")[0].score > 0.99


def test_a_client_that_holds_vectors_reads_those_that_a_model_of_the_same_name_made(url: str) -> None:
    model = OTHERS[2]
    with open_store(url, embedder=model) as client:
        with open_store(url) as old:
            green = old.add("green tea", "u")
            old.delete(old.add("black coffee", "u").id)
        assert client.search("green tea", "u", mode="vector")[0].score < 0.99
        assert reembed(url, model) == 1
        assert client.search("green tea", "u", mode="vector")[0].score > 0.99
        coffee = client.add("black coffee", "u")
        assert client.search("black coffee", "u", mode="vector")[0].memory.id == coffee.id
        client.delete(green.id)
        assert reembed(url, OLD) == 1
    with open_store(url) as memory:
        assert_all_are_of(OLD, memory, ["u"])


def test_a_text_that_is_refused_keeps_the_former_vectors(url: str) -> None:
    model = OTHERS[0]
    with open_store(url) as old:
        kept, long = old.add("green tea", "u"), old.add("a long story", "u")

        async def embed(texts: Sequence[str]) -> Any:
            asked.append(texts)
            refused = {n: InvalidRequestError("too long.") for n, text in enumerate(texts) if "long" in text}
            vectors = await model.embed([text for text in texts if "long" not in text])
            if refused:
                raise RefusedTextsError(model.model, vectors, refused)
            return vectors

        asked: list[Sequence[str]] = []
        with pytest.raises(ProviderError, match=f"{long.id}.*too long") as caught:
            reembed(url, model, embed)
        assert caught.value.written == "nothing"
        assert old.search("green tea", "u", mode="vector")[0].score > 0.99
        old.update(long.id, content="a tale")
        asked.clear()
        assert reembed(url, model, embed) == 2
        assert asked == [["a tale"]], "the vectors of the others are kept"
    with open_store(url, embedder=model) as new:
        assert new.get(kept.id).embedding_model == model.model
        assert_all_are_of(model, new, ["u"])


def test_of_two_runs_the_one_that_began_last_ends_well(url: str) -> None:
    first, last = OTHERS[0], OTHERS[1]
    with open_store(url) as memory:
        memory.add("green tea", "u")
    with pytest.raises(ConfigurationError) as caught:
        reembed(url, first, Requests(first, at_1=lambda: reembed_in_thread(url, last)))
    assert caught.value.written == "nothing"
    with open_store(url, embedder=last) as memory:
        assert_all_are_of(last, memory, ["u"])


def test_a_run_that_keeps_the_embedding_is_overtaken_by_one_that_does_not_end(url: str) -> None:
    def begin() -> None:
        with ThreadPoolExecutor(1) as pool, pytest.raises(Gone):
            pool.submit(reembed, url, OTHERS[0], Requests(OTHERS[0], at_1=is_gone)).result()

    with open_store(url) as memory:
        memory.add("green tea", "u")
        with pytest.raises(ConfigurationError):
            reembed(url, OLD, Requests(OLD, at_1=begin))
        assert_all_are_of(OLD, memory, ["u"])


def test_of_two_runs_with_one_embedding_both_end_well(url: str) -> None:
    model = OTHERS[0]
    with open_store(url) as memory:
        memory.add("green tea", "u")
    assert reembed(url, model, Requests(model, at_1=lambda: reembed_in_thread(url, model))) == 1
    with open_store(url, embedder=model) as memory:
        assert_all_are_of(model, memory, ["u"])


def test_a_store_that_is_written_all_the_time_is_embedded_anew_all_the_same(url: str) -> None:
    """Whenever the embedder is asked something was added since, but for when writers are kept out."""
    options = {"retries": 0, **({"busy_timeout": 0.01} if url.startswith("sqlite") else {"statement_timeout": 0.2})}
    model, added = OTHERS[1], [0]
    with open_store(url, **options) as old:
        old.add("green tea", "u")

        async def embed(texts: Sequence[str]) -> Any:
            with suppress(ProviderUnavailableError):
                old.add("black coffee", "u")
                added.append(1)
            return await model.embed(texts)

        assert reembed(url, model, embed) == len(added) > 1
        refuses(old)
    with open_store(url, embedder=model) as new:
        assert_all_are_of(model, new, ["u"])


def test_keyword_stores_and_empty_ones_get_an_embedding(url: str) -> None:
    model = OTHERS[1]
    assert reembed(url, OLD) == 0
    with open_store(url) as memory:
        memory.delete(memory.add("green tea", "u").id)
    with open_store(url, embedder="none") as memory:
        memory.add("green tea", "u")
        assert reembed(url, model, Requests(model, at_1=lambda: memory.add("black coffee", "w"))) == 2
        with pytest.raises(ConfigurationError):
            memory.add("red wine", "u")
    with open_store(url, embedder=model) as memory:
        assert_all_are_of(model, memory, ["u", "w"])


def test_a_killed_run_leaves_one_embedding_or_the_other(url: str) -> None:
    done = python(f"from support import anew; anew.main({url!r}, 4, 7)", cwd=TESTS)
    assert done.returncode == 0, done.stderr
