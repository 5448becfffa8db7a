"""qdrant+local:// and qdrant+edge:// as stores: reopening, other embeddings, threads, ties, filters, collisions."""

from __future__ import annotations

import asyncio
import math
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openmem import AsyncMemory, ConfigurationError, Memory, ProviderError
from openmem.conformance.filter_table import RECORDS, ROWS
from openmem.conformance.runner import run as conform
from openmem.embedding.testing import WordEmbedder
from openmem.protocol import ranking
from support.clocks import START, Clock
from support.filtering import FILTERS, SAMPLE, selects
from support.processes import python
from support.qdrant_server import Server
from support.sentences import DID, WHAT, WHERE, WHO, questions, seen
from support.stores import everything, open_store, refused
from support.twins import at

MODES: tuple[Any, ...] = ("vector", "keyword", "hybrid")
COLLIDING = ("banotevikola", "kobavinomuba")
"""Two words of one number."""

Open = Callable[..., Memory]


@pytest.fixture(params=["local", "edge"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"qdrant+{request.param}:///{tmp_path / 'store'}"


# --- opening ----------------------------------------------------------------------------------------------------


def test_everything_survives_reopening(url: str) -> None:
    clock = Clock()

    def shown(memory: Memory) -> list[Any]:
        records = everything(memory, "u")
        results = [memory.search("tea in the garden", "u", mode=mode) for mode in MODES]
        found = [[(each.memory, round(each.score, 4)) for each in some] for some in results]
        chains = [memory.history(record.id) for record in records]
        return [records, found, chains, memory.stats("u"), len(memory.audit("u", limit=1000))]

    with open_store(url, clock=clock) as memory:
        first = memory.add(
            "prefers green tea",
            "u",
            scope="a/b",
            tags=["x"],
            source={"app": "chat", "x-part": [1, None]},
            valid_from=START - timedelta(days=1, microseconds=1),
            metadata={"deep": {"er": [1.5, None, "é", 1.0, 2**63 - 1]}},
            importance=0.25,
            external_id="k",
            pinned=True,
            **{"x-own": {"a": 1}},
        )
        clock.tick()
        memory.add("prefers black tea in the garden", "u", supersedes=[first.id])
        gone = memory.add("tea no more", "u", external_id="gone")
        clock.tick()
        memory.update(first.id, metadata={"deep": {"more": True}})
        memory.delete(gone.id)
        before = shown(memory)
    with open_store(url, clock=clock) as memory:
        after = shown(memory)
        assert memory.add("prefers green tea", "u", external_id="k").id == first.id
        assert memory.add("tea again", "u", external_id="gone").id != gone.id
    assert after[:-1] == before[:-1]
    assert after[-1] > before[-1], "the audit log kept what was read before"


def test_what_was_acknowledged_outlives_the_process(url: str) -> None:
    script = """
import os, sys
from openmem import Memory
memory = Memory(sys.argv[1], embedder="test:32")
for number in range(20):
    memory.add(f"fact {number}", "u", external_id=str(number))
os._exit(1)
"""
    assert python(script, url).returncode == 1
    with open_store(url) as memory:
        assert len(memory.list("u").items) == 20
        assert len(memory.search("fact", "u", mode="keyword", limit=50)) == 20
        assert memory.add("fact", "u", external_id="7").version == 2


def test_a_folder_belongs_to_one_process(url: str) -> None:
    with open_store(url) as memory:
        memory.add("a fact", "u")
        script = "import sys\nfrom openmem import Memory\nMemory(sys.argv[1], embedder='test:32').list('u')"
        told = python(script, url).stderr
        assert "ConfigurationError" in told
        assert "open in another process" in told
        assert len(memory.list("u").items) == 1
    assert python(script, url).returncode == 0


def test_clients_of_one_process_share_a_folder(url: str) -> None:
    async def scenario(sync: Memory) -> None:
        async with AsyncMemory(url, embedder="test:32") as one, AsyncMemory(url, embedder="test:32") as two:
            clients = (one, two)
            await asyncio.gather(*(clients[n % 2].add(f"fact {n}", "u", external_id="k") for n in range(20)))
            [record] = (await two.list("u")).items
            assert record.version == 20
            for turn in range(20):  # in another event loop
                adding = asyncio.to_thread(sync.add, f"fact {turn}", "u", external_id="k")
                await asyncio.gather(adding, one.update(record.id, tags=[str(turn)]))
            assert (await one.get(record.id)).version == 60

    with open_store(url) as memory:
        asyncio.run(scenario(memory))
        assert memory.stats("u").total == 1
        assert memory.list("u").items[0].version == 60
    with open_store(url) as memory:
        assert memory.list("u").items[0].version == 60


def test_a_folder_that_cannot_be_is_refused(url: str) -> None:
    assert "Make the folder" in refused(f"{url}/further/down").remedy


@pytest.mark.parametrize("scheme", ["qdrant+local", "qdrant+edge"])
def test_a_url_with_a_host_is_refused(scheme: str) -> None:
    with pytest.raises(ConfigurationError, match="three slashes"):
        Memory(f"{scheme}://folder")


@pytest.mark.parametrize("collection", ["", "a/b", "../a", "a" * 201, "é"])
def test_names_that_would_need_care_are_no_collection(url: str, collection: str) -> None:
    with pytest.raises(ConfigurationError, match="collection"):
        Memory(url, collection=collection)


def test_another_collection_is_another_store(url: str, tmp_path: Path) -> None:
    for collection in ("one", "two"):
        with open_store(url, collection=collection) as memory:
            memory.add(f"in {collection}", "u", external_id="k")
    with open_store(url, collection="one") as memory:
        assert [item.content for item in memory.list("u").items] == ["in one"]


def test_a_newer_schema_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openmem.adapters.qdrant.store.SCHEMA", 99)
    with open_store(url) as memory:
        memory.list("u")
    monkeypatch.undo()
    error = refused(url)
    assert "schema 99" in error.message
    assert "Upgrade" in error.remedy


# --- other embeddings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("embedder", ["test:16", "none"])
def test_another_embedding_is_refused(url: str, embedder: str) -> None:
    with open_store(url) as memory:
        memory.add("a fact", "u")
    error = refused(url, embedder=embedder)
    assert "test-words-32" in error.message
    assert "openmem reembed" in error.remedy
    with open_store(url) as memory:
        assert len(memory.list("u").items) == 1


@pytest.mark.parametrize(("first", "then"), [("test:32", "test:16"), ("none", "test:32"), ("test:32", "none")])
def test_an_empty_store_takes_any_embedding(url: str, first: str, then: str) -> None:
    with open_store(url, embedder=first) as memory:
        memory.delete(memory.add("a fact", "u").id)
    with open_store(url, embedder=then) as memory:
        record = memory.add("another fact", "u")
        assert [result.memory.id for result in memory.search("fact", "u")] == [record.id]
        assert (record.embedding_model is None) is (then == "none")


@pytest.mark.parametrize("before", ["test:32", "none"])
def test_reembed_makes_every_vector_anew(url: str, before: str) -> None:
    with open_store(url, embedder=before) as memory:
        memory.add_many([{"content": f"fact {number}", "user_id": "u"} for number in range(600)])
        memory.add("the cat sleeps", "u", external_id="cat", metadata={"n": 1.0})
    embedder = WordEmbedder(dimension=16)
    adapter = Memory(url, embedder="test:16").adapter

    async def reembed() -> int:
        try:
            return await adapter.reembed(embedder.embed)
        finally:
            await adapter.close()

    assert asyncio.run(reembed()) == 601
    with open_store(url, embedder="test:16") as memory:
        best = memory.search("the cat sleeps", "u", mode="vector", limit=1)[0]
        assert best.memory.external_id == "cat"
        assert best.score == pytest.approx(1)
        assert best.memory.embedding_model == "test-words-16"
        assert best.memory.metadata == {"n": 1.0}
        assert memory.capabilities().features.embedding.dimension == 16
        assert len(memory.search("fact", "u", mode="keyword", limit=100)) == 100


@contextmanager
def former_analysis() -> Iterator[None]:
    """Have stores made and used as by the first analysis: by another name, with other terms and weights."""
    split = ranking.terms
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "ANALYSIS", "english-1")
        patch.setattr(ranking, "terms", lambda text: [term[::-1] for term in split(text)])
        patch.setattr(ranking, "weights", lambda words: dict.fromkeys(words, 0.5))
        for module in ("models", "points", "search", "edge_models", "store", "words"):
            patch.setattr(f"openmem.adapters.qdrant.{module}.words_name", lambda: "terms")
        yield


def made_before(url: str) -> Any:
    """Make a store by the former analysis; return what a new one of the same texts finds."""
    items = [{"content": f"violin {'tea ' * (n % 7)} {n}", "external_id": str(n), "user_id": "u"} for n in range(25)]
    with former_analysis(), open_store(url) as memory:
        memory.add_many([*items, {"content": "is it", "user_id": "u"}])
    with Memory("memory://", embedder="test:32") as memory:
        memory.add_many([*items, {"content": "is it", "user_id": "u"}])
        return words_found(memory)


def words_found(memory: Memory) -> Any:
    found = memory.search("violins and teas", "u", mode="keyword", limit=100)
    return {hit.memory.external_id: pytest.approx(hit.score, abs=1e-6) for hit in found}


def test_another_text_analysis_indexes_anew(url: str) -> None:
    expected = made_before(url)
    with open_store(url) as memory:
        assert words_found(memory) == expected
        memory.add("violin", "u", external_id="26")
    with open_store(url) as memory:
        assert words_found(memory).keys() == {*expected, "26"}


OPENS = """
import logging, os, signal, sys
from openmem import Memory
from openmem.adapters.qdrant import store
store.BATCH = 5
left = int(sys.argv[2])

class Killer(logging.Handler):
    def emit(self, record):
        global left
        left -= "indexed anew" in record.getMessage()
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

logger = logging.getLogger("openmem")
logger.setLevel(logging.INFO)
logger.addHandler(Killer())
with Memory(sys.argv[1], embedder="test:32") as memory:
    memory.list("u")
"""
"""Opens a store and is killed when it tells of its progress for the so-manieth time."""


def test_indexing_anew_that_is_killed_half_way_goes_on(url: str) -> None:
    expected = made_before(url)
    for left in (1, 2, 2):  # five pieces of six are done then, since none is done twice
        killed = subprocess.run([sys.executable, "-c", OPENS, url, str(left)], timeout=60)
        assert killed.returncode == -signal.SIGKILL
    killed = subprocess.run([sys.executable, "-c", OPENS, url, "2"], timeout=60)
    assert killed.returncode == 0
    with open_store(url) as memory:
        assert words_found(memory) == expected


def test_a_client_of_the_former_analysis_that_is_open_fails_and_does_no_harm() -> None:
    server = Server()
    with at("qdrant.test", server):
        url = "qdrant://qdrant.test:6333/mem"
        expected = made_before(url)
        with former_analysis():
            older = open_store(url)
            assert len(older.search("violins", "u", mode="keyword", limit=100)) == 25
        with open_store(url) as memory:
            assert words_found(memory) == expected
            with former_analysis():
                for call in (
                    lambda: older.search("violins", "u", mode="keyword"),
                    lambda: older.add("violin", "u"),
                    lambda: older.update(older.list("u").items[0].id, content="violin"),
                ):
                    with pytest.raises(ProviderError):
                        call()
            assert words_found(memory) == expected
        older.close()
    server.client.close()


def test_a_reembed_of_a_store_of_another_analysis_indexes_it_anew(url: str) -> None:
    expected = made_before(url)
    adapter, embedder = Memory(url, embedder="test:16").adapter, WordEmbedder(dimension=16)

    async def reembed() -> None:
        try:
            await adapter.reembed(embedder.embed)
        finally:
            await adapter.close()

    asyncio.run(reembed())
    with open_store(url, embedder="test:16") as memory:
        assert words_found(memory) == expected


# --- several at once --------------------------------------------------------------------------------------------


def test_four_threads_at_once(url: str) -> None:
    failures: list[BaseException] = []

    def work(memory: Memory, number: int) -> None:
        try:
            for turn in range(15):
                record = memory.add(f"note {number} {turn}", f"user {number}", external_id=str(turn))
                memory.update(record.id, tags=[str(turn)])
                assert memory.search(f"note {turn}", f"user {number}", limit=1)[0].memory.user_id == f"user {number}"
                memory.add("shared", "all", external_id="one")
                if turn % 3 == 0:
                    memory.delete(record.id)
        except BaseException as error:
            failures.append(error)

    with open_store(url) as memory:
        threads = [threading.Thread(target=work, args=(memory, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert [len(memory.list(f"user {number}").items) for number in range(4)] == [10] * 4
        assert [record.version for record in memory.list("all").items] == [60]
        assert memory.stats("all").total == 1


def test_a_cancelled_batch_is_stored_with_its_entries_or_not_at_all(url: str) -> None:
    async def scenario() -> None:
        async with AsyncMemory(url, embedder="test:32") as memory:
            await memory.list("u")
            for turn in range(30):
                items = [{"content": f"fact {number}", "user_id": f"user {turn}"} for number in range(40)]
                adding = asyncio.ensure_future(memory.add_many(items))
                for _ in range(turn):
                    await asyncio.sleep(0)
                adding.cancel()
                await asyncio.gather(adding, return_exceptions=True)
                stored = len((await memory.list(f"user {turn}", limit=100)).items)
                logged = [entry.action for entry in await memory.audit(f"user {turn}", limit=100)]
                assert stored in (0, 40)
                assert logged.count("add_many") == stored

    asyncio.run(scenario())


# --- order and selection ----------------------------------------------------------------------------------------


def test_pages_over_many_memories_of_one_moment(url: str) -> None:
    clock = Clock()
    with open_store(url, clock=clock) as memory:
        for count in (1, 2, 300, 1, 100):
            clock.tick()
            memory.add_many([{"content": f"at {clock.now}", "user_id": "u"} for _ in range(count)])
        expected = sorted(everything(memory, "u"), key=lambda record: (record.created_at, record.id), reverse=True)
        assert len({record.id for record in expected}) == 404
        for limit in (1, 60, 100, 101):
            walked, cursor = [], None
            while len(walked) < 404:
                page = memory.list("u", limit=limit, cursor=cursor)
                walked += page.items
                cursor = page.next_cursor
                if cursor is None or (limit == 1 and len(walked) > 10):
                    break
            assert walked == expected[: len(walked)]


def test_searches_of_equal_score_are_newest_first_and_never_short(url: str) -> None:
    with open_store(url) as memory:
        items = [{"content": "one and the same", "user_id": "u", "tags": [str(n % 50)]} for n in range(400)]
        memory.add_many(items)
        newest = [record.id for record in memory.list("u", limit=500).items]
        for mode in MODES:
            results = memory.search("one and the same", "u", mode=mode, limit=100)
            assert [result.memory.id for result in results] == newest[:100]
            assert len({result.score for result in results}) == 1
            assert len(memory.search("same", "u", mode=mode, tag="7", limit=20)) == 8


class Angle:
    """Embeds a text by the angle that it begins with, in degrees."""

    model, dimension, inline = "angle", 2, True

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [
            [math.cos(math.radians(float(t.split()[0]))), math.sin(math.radians(float(t.split()[0])))] for t in texts
        ]

    async def close(self) -> None:
        pass


def test_what_is_nearest_comes_first_also_below_zero(url: str) -> None:
    degrees = random.Random(4).sample(range(92, 268), 150)
    with open_store(url, embedder=Angle()) as memory, Memory("memory://", embedder=Angle()) as reference:
        for each in (memory, reference):
            each.add_many([{"content": f"{n} {'tea' if n % 9 == 0 else ''}", "user_id": "u"} for n in degrees])

        def found(each: Memory, mode: Any, limit: int, **more: Any) -> list[tuple[str, float]]:
            hits = each.search("0 tea", "u", mode=mode, limit=limit, **more)
            return [(hit.memory.content, round(hit.score, 5)) for hit in hits]

        for limit in (1, 5, 100):
            assert found(memory, "vector", limit) == found(reference, "vector", limit)
            assert found(memory, "hybrid", limit) == found(memory, "hybrid", 100)[:limit]
        assert found(memory, "hybrid", 100, min_score=0.0) == found(memory, "hybrid", 100)
        assert found(memory, "vector", 100, min_score=0.01) == []
        fused = [(n % 9 == 0) + math.cos(math.radians(n)) for n in degrees]
        best = [int(text.split()[0]) for text, _ in found(memory, "hybrid", 100)]
        ranked = [(n % 9 == 0) + math.cos(math.radians(n)) for n in best]
        assert ranked == pytest.approx(sorted(fused, reverse=True)[:100])


@pytest.mark.parametrize("mode", MODES)
def test_a_filter_the_engine_does_not_know_leaves_no_search_short(url: str, mode: Any) -> None:
    """Search where the 300 best are not selected and the engine cannot tell."""
    with open_store(url) as memory, Memory("memory://", embedder="test:32") as reference:
        for each in (memory, reference):
            each.add_many([{"content": f"violin case number {n % 7}", "user_id": "u"} for n in range(300)])
            each.add_many([{"content": f"violin {n} wood pencil harbour", "user_id": "u"} for n in range(12)])
        wanted = {"content": {"contains": "wood"}}
        expected = [result.memory.content for result in reference.search("violin case", "u", mode=mode, filter=wanted)]
        results = memory.search("violin case", "u", mode=mode, filter=wanted)
        assert len(expected) == 10
        assert {result.memory.content for result in results} <= {f"violin {n} wood pencil harbour" for n in range(12)}
        assert len(results) == 10
        if mode == "vector":
            assert sorted(result.memory.content for result in results) == sorted(expected)
        assert len(memory.search("violin case", "u", mode=mode, filter=wanted, limit=50)) == 12


def test_least_scores_end_a_search(url: str) -> None:
    with open_store(url) as memory:
        memory.add_many([{"content": f"tea {'milk ' * (n % 5)}", "user_id": "u"} for n in range(200)])
        for mode in MODES:
            every = memory.search("tea", "u", mode=mode, limit=100)
            least = every[30].score
            expected = [result for result in every if result.score >= least]
            assert memory.search("tea", "u", mode=mode, min_score=least, limit=100)[: len(expected)] == expected


def test_words_of_one_number_are_told_apart(url: str) -> None:
    one, other = COLLIDING
    with open_store(url) as memory:
        first = memory.add(f"{one} in the garden", "u")
        for mode in ("keyword", "hybrid"):
            assert memory.search(other, "u", mode=mode, min_score=0.4) == []
        second = memory.add(f"{other} in the harbour", "u")
        for word, record in ((one, first), (other, second)):
            assert [result.memory.id for result in memory.search(word, "u", mode="keyword")] == [record.id]
        both = memory.add(f"{one} {other}", "u")
        found = memory.search(f"{one} {other}", "u", mode="keyword")
        assert {result.memory.id for result in found} == {first.id, second.id, both.id}


@pytest.fixture(scope="module", params=["local", "edge"])
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store and the reference, both with the golden records and the sample of the model."""
    path = tmp_path_factory.mktemp("golden") / "store"
    stores = [Memory(f"qdrant+{request.param}:///{path}", embedder="none"), Memory("memory://", embedder="none")]
    for memory in stores:
        for number, fields in enumerate(SAMPLE):
            memory.add(f"word {number}", "u", **fields)
        for fields in RECORDS.values():
            memory.add(**fields, user_id="golden")  # type: ignore[arg-type]
    yield stores
    for memory in stores:
        memory.close()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filter_=FILTERS)
def test_filters_select_what_the_model_selects(golden: list[Memory], filter_: dict[str, Any]) -> None:
    memory = golden[0]
    expected = [item.content for item in memory.list("u").items if selects(filter_, item.model_dump())]
    assert [item.content for item in memory.list("u", filter=filter_).items] == expected
    found = memory.search("word", "u", filter=filter_, mode="keyword")
    assert sorted(hit.memory.content for hit in found) == sorted(expected)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.sampled_from(ROWS), min_size=2, max_size=3), form=st.sampled_from(["not", "or", "and", "nor"]))
def test_golden_filters_combine(golden: list[Memory], rows: list[Any], form: str) -> None:
    parts = [row.filter for row in rows]
    filter_ = {"not": parts[0]} if form == "not" else {"not": {"or": parts}} if form == "nor" else {form: parts}
    answers = [[item.content for item in memory.list("golden", filter=filter_).items] for memory in golden]
    assert answers[0] == answers[1]


# --- as a whole -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("embedder", ["test", "none"])
def test_shards_conform(tmp_path: Path, embedder: str) -> None:
    report = asyncio.run(conform(f"qdrant+edge:///{tmp_path / 'store'}", options={"embedder": embedder}))
    assert report.exit_code == 0, report.summary()
    assert report.level == ("full" if embedder == "test" else "standard")


@pytest.mark.parametrize("group", ["SEA", "AUD", "IDN", "UPD", "DEL", "LST", "SCO"])
def test_local_mode_conforms(tmp_path: Path, group: str) -> None:
    report = asyncio.run(conform(f"qdrant+local:///{tmp_path / 'store'}", only=[group]))
    assert report.exit_code == 0, report.summary()


def test_answers_are_nearly_those_of_the_reference(tmp_path: Path) -> None:
    choose = random.Random(11)
    facts = [f"{who} {did} {what} {where}." for who in WHO for did in DID for what in WHAT for where in WHERE]
    items = [
        {"content": fact, "user_id": f"user {number % 4}", "external_id": str(number)}
        for number, fact in enumerate(choose.sample(facts, 2000))
    ]
    with (
        Memory("memory://", embedder="local") as reference,
        Memory(f"qdrant+edge:///{tmp_path / 'store'}", embedder="local") as other,
    ):
        for memory in (reference, other):
            assert not [result for result in memory.add_many(items) if result.error]
        for mode, least in (("vector", 0.99), ("keyword", 0.99), ("hybrid", 0.99)):
            shares = []
            for question, user in questions():
                expected = {each for each, _ in seen(reference.search(question, user, mode=mode))}
                found = {each for each, _ in seen(other.search(question, user, mode=mode))}
                shares += [len(expected & found) / len(expected)] if expected else []
            assert len(shares) > 150
            assert sum(shares) / len(shares) >= least
