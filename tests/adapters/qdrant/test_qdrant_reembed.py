"""Reembed in qdrant: until its last moment the store is the old one, and then the new one, whoever else is at it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, ConfigurationError, InvalidRequestError, Memory, ProviderError
from openmem.adapters.qdrant import reembedding
from openmem.adapters.qdrant.store import QdrantStore
from openmem.embedding import RefusedTextsError
from openmem.embedding.testing import WordEmbedder
from support.processes import python
from support.qdrant_kills import SCRIPT
from support.qdrant_server import Server
from support.stores import everything, open_store, refused
from support.twins import at

Embed = Callable[[Sequence[str]], Awaitable[Any]]

OLD, NEW, OTHER = WordEmbedder(dimension=32), WordEmbedder(dimension=64), WordEmbedder(dimension=16)
TEXTS = [f"fact {number} of{' tea' * (number % 3)}" for number in range(10)]


@pytest.fixture(params=["local", "edge", "server"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("openmem.adapters.qdrant.store.BATCH", 4)
    if request.param != "server":
        yield f"qdrant+{request.param}:///{tmp_path / 'store'}"
        return
    twin = Server()
    with at("qdrant.test", twin):
        yield "qdrant://qdrant.test:6333/mem"
    twin.client.close()


async def reembedding_of(url: str, embedder: WordEmbedder, embed: Embed | None = None) -> int:
    """Embed a store anew; embed: what embedder does, or something that happens meanwhile too."""
    adapter = Memory(url, embedder=embedder).adapter
    try:
        return await adapter.reembed(embed or embedder.embed)
    finally:
        await adapter.close()


def reembed(url: str, embedder: WordEmbedder, embed: Embed | None = None) -> int:
    return asyncio.run(reembedding_of(url, embedder, embed))


def filled(url: str, embedder: Any = OLD) -> None:
    with open_store(url, embedder=embedder) as memory:
        memory.add_many([{"content": text, "user_id": "u", "external_id": text} for text in TEXTS])


def check(url: str, embedder: WordEmbedder, count: int = len(TEXTS)) -> None:
    """See that a store is whole and of an embedder, and not of another."""
    assert embedder.model in refused(url, embedder=OLD if embedder is NEW else NEW).message
    with open_store(url, embedder=embedder) as memory:
        found = everything(memory, "u")
        assert len(found) == count
        assert {each.embedding_model for each in found} == {embedder.model}
        for each in found:
            hits = memory.search(each.content, "u", mode="vector", limit=100)
            assert len(hits) == count
            assert {hit.memory.id: hit.score for hit in hits}[each.id] == pytest.approx(1)


def vectors_of(url: str) -> list[str]:
    """Name the dense vectors that an engine holds for a store."""
    adapter: Any = Memory(url).adapter

    async def held() -> list[str]:
        try:
            await adapter.store.engine.open()
            return list((await adapter.store.engine.held("mem" if "://q" in url else "openmem")).dense)
        finally:
            await adapter.close()

    return asyncio.run(held())


class Stops:
    """An embedder that fails at a call, and keeps the texts that it embedded."""

    def __init__(self, embedder: WordEmbedder, at: int) -> None:
        self.embedder, self.left, self.texts = embedder, at, list[str]()

    async def __call__(self, texts: Sequence[str]) -> Any:
        self.left -= 1
        if not self.left:
            raise RuntimeError("no power")
        self.texts += texts
        return await self.embedder.embed(texts)


# --- interrupted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [OLD, "none"])
def test_an_interrupted_one_leaves_the_store_as_it_was_and_is_gone_on_with(url: str, before: Any) -> None:
    filled(url, before)
    for at_call, done in ((1, 0), (2, 4), (2, 4)):
        stops = Stops(NEW, at_call)
        with pytest.raises(RuntimeError, match="no power"):
            reembed(url, NEW, stops)
        assert len(stops.texts) == done
        if before is OLD:
            check(url, OLD)
        else:
            assert "no embedder" in refused(url, embedder=NEW).message
    rest = Stops(NEW, 99)
    assert reembed(url, NEW, rest) == 10
    assert len(rest.texts) == 2
    check(url, NEW)
    assert len(vectors_of(url)) == 1


def test_what_one_for_another_embedding_left_is_dropped(url: str) -> None:
    filled(url)
    for embedder in (OTHER, NEW):
        with pytest.raises(RuntimeError):
            reembed(url, embedder, Stops(embedder, 2))
        assert len(vectors_of(url)) == 2
    check(url, OLD)
    assert reembed(url, OTHER) == 10
    check(url, OTHER)
    assert len(vectors_of(url)) == 1


@pytest.mark.parametrize("ends", ["open", "reembed"])
def test_what_was_left_when_the_vectors_were_replaced_is_done_by_the_next(
    url: str, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(store: QdrantStore) -> int:
        raise RuntimeError("no power")

    filled(url)
    with monkeypatch.context() as patched:
        patched.setattr(reembedding, "finish", dies)
        with pytest.raises(RuntimeError):
            reembed(url, NEW)
    assert len(vectors_of(url)) == 2
    if ends == "reembed":
        again = Stops(NEW, 99)
        assert reembed(url, NEW, again) == 10
        assert again.texts == []
    check(url, NEW)
    assert len(vectors_of(url)) == 1


def test_refused_texts_are_named_and_the_store_is_kept(url: str) -> None:
    async def refuses(texts: Sequence[str]) -> Any:
        seen.extend(texts)
        errors = {n: InvalidRequestError("too long.") for n, text in enumerate(texts) if text in TEXTS[3:5]}
        vectors = await NEW.embed([text for n, text in enumerate(texts) if n not in errors])
        if errors:
            raise RefusedTextsError("m", vectors, errors)
        return vectors

    seen: list[str] = []
    filled(url)
    with pytest.raises(ProviderError, match="2 memories") as caught:
        reembed(url, NEW, refuses)
    assert sorted(seen) == TEXTS
    with open_store(url) as memory:
        first, second = (memory.list("u", filter={"external_id": text}).items[0] for text in TEXTS[3:5])
        assert first.id in caught.value.message
        check(url, OLD)
        memory.delete(first.id)
        memory.update(second.id, content="short")
    seen.clear()
    assert reembed(url, NEW, refuses) == 9
    assert seen == ["short"]
    check(url, NEW, 9)


KILLS = 2


@pytest.mark.parametrize("engine", ["local", "edge"])
def test_killed_at_any_moment_the_store_is_of_one_embedding_and_whole(engine: str, tmp_path: Path) -> None:
    told = python(SCRIPT, f"qdrant+{engine}", str(tmp_path), str(KILLS), "0")
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.splitlines()) == KILLS


# --- others at work ---------------------------------------------------------------------------------------------


def test_others_read_and_write_as_ever_until_the_vectors_are_replaced(url: str) -> None:
    """Each batch but the last one is followed by changes: of what has its new vector, is being embedded, has none."""
    filled(url)
    with open_store(url) as old:
        ids = {each.external_id: each.id for each in everything(old, "u")}

        def change(text: str) -> None:
            number = calls[0]
            old.add(f"added {number}", "u")
            old.update(ids[text], content=f"changed {number} {text}")
            assert old.search(f"changed {number} {text}", "u", mode="vector")[0].memory.id == ids[text]

        async def embed(texts: Sequence[str]) -> Any:
            calls[0] += 1
            present, others = texts[0], [text for text in TEXTS if text not in texts and text in ids]
            if calls[0] == 1:
                await asyncio.to_thread(change, others[0])
                await asyncio.to_thread(change, present)
                await asyncio.to_thread(old.update, ids[others[1]], tags=["x"])
                await asyncio.to_thread(old.update, ids[texts[1]], tags=["x"])
                await asyncio.to_thread(old.delete, ids.pop(others[2]))
                await asyncio.to_thread(old.delete, ids.pop(texts[2]))
                first.extend(texts)
            if calls[0] == 2:  # what has its vector by now, or would have
                await asyncio.to_thread(change, first[1])
                await asyncio.to_thread(change, first[3])
                await asyncio.to_thread(old.update, ids[first[3]], tags=["y"])
            return await NEW.embed(texts)

        calls, first = [0], list[str]()
        assert reembed(url, NEW, embed) == 12
        assert calls[0] > 3
        with pytest.raises(ConfigurationError, match=NEW.model):
            old.add("late", "u")
        with open_store(url, embedder=NEW) as new:
            assert sorted(tag for each in everything(new, "u") for tag in each.tags or ()) == ["x", "x", "y"]
            texts = {each.id: each.content for each in everything(new, "u")}
            assert texts[ids[first[3]]].startswith("changed 2")
    check(url, NEW, 12)


def test_a_client_of_the_same_embedding_goes_on(url: str) -> None:
    filled(url)
    with open_store(url) as beside:
        assert beside.search(TEXTS[1], "u", mode="vector", limit=1)[0].score == pytest.approx(1)
        texts = Stops(OLD, 99)
        assert reembed(url, OLD, texts) == 10
        assert sorted(texts.texts) == TEXTS
        assert beside.search(TEXTS[1], "u", mode="vector", limit=1)[0].score == pytest.approx(1)
        assert beside.search(TEXTS[1], "u", limit=1)[0].memory.content == TEXTS[1]
        beside.add("added", "u")
    check(url, OLD, 11)
    assert len(vectors_of(url)) == 1


def test_of_two_for_different_embeddings_the_one_that_began_last_ends_well(url: str) -> None:
    async def first() -> None:
        async def embed(texts: Sequence[str]) -> Any:
            if not begun:
                begun.append(asyncio.ensure_future(reembedding_of(url, OTHER)))
                await begun[0]
            return await NEW.embed(texts)

        begun: list[asyncio.Future[int]] = []
        with pytest.raises(ConfigurationError, match="another reembed"):
            await reembedding_of(url, NEW, embed)
        assert begun[0].result() == 10

    filled(url)
    asyncio.run(first())
    check(url, OTHER)
    assert len(vectors_of(url)) == 1


def test_two_for_one_embedding_share_the_work(url: str) -> None:
    async def both() -> list[int]:
        return await asyncio.gather(*(reembedding_of(url, NEW) for _ in range(2)))

    filled(url)
    assert asyncio.run(both()) == [10, 10]
    check(url, NEW)
    assert len(vectors_of(url)) == 1


@pytest.mark.parametrize("seed", range(3))
def test_of_two_that_begin_at_once_one_ends_well(url: str, seed: int) -> None:
    async def both() -> list[Any]:
        works = [reembedding_of(url, each) for each in ((NEW, OTHER) if seed % 2 else (OTHER, NEW))]
        return await asyncio.gather(*works, return_exceptions=True)

    filled(url)
    ends = asyncio.run(both())
    assert 10 in ends
    assert all(end == 10 or isinstance(end, ConfigurationError) for end in ends)
    with open_store(url, embedder=NEW) as memory:
        try:
            memory.list("u")
            winner = NEW
        except ConfigurationError:
            winner = OTHER
    check(url, winner)


# --- writers of a server that are late --------------------------------------------------------------------------


class Late:
    """A client of a server whose next writer waits between its look at the facts and its write."""

    def __init__(self, memory: AsyncMemory, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looked, self.goes = asyncio.Event(), asyncio.Event()
        self._store: Any = memory.adapter.store
        self._check = self._store.check
        monkeypatch.setattr(self._store, "check", self._waits)

    async def _waits(self, lately: float = 0.0) -> str:
        name: str = await self._check(lately)
        self._store.check = self._check
        self.looked.set()
        await self.goes.wait()
        return name


SERVER = pytest.mark.parametrize("url", ["server"], indirect=True)


@SERVER
@pytest.mark.parametrize(("embedder", "goes_on"), [(OLD, True), (NEW, False)])
def test_a_write_that_comes_when_the_former_vectors_are_gone(
    url: str, embedder: WordEmbedder, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with AsyncMemory(url, embedder=OLD) as memory:
            await memory.list("u")
            late = Late(memory, monkeypatch)
            adding = asyncio.ensure_future(memory.add("late", "u", external_id="k"))
            await late.looked.wait()
            assert await reembedding_of(url, embedder) == 10
            late.goes.set()
            if goes_on:
                assert (await adding).version == 1
                return
            with pytest.raises(ConfigurationError, match=NEW.model) as caught:
                await adding
            assert caught.value.written == "nothing"

    filled(url)
    asyncio.run(scenario())
    check(url, embedder, 11 if goes_on else 10)


@SERVER
@pytest.mark.parametrize("what", ["add", "content", "tags"])
def test_what_is_written_just_when_the_vectors_are_replaced_is_embedded_too(
    url: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with AsyncMemory(url, embedder=OLD) as memory:
            first = (await memory.list("u")).items[0]
            drop, calls = QdrantStore.drop_others, []

            async def dropping(store: QdrantStore) -> None:
                """Let the writer write before anything is dropped at the end."""
                calls.append(store)
                if len(calls) == 2:
                    late.goes.set()
                    await changing
                await drop(store)

            monkeypatch.setattr(QdrantStore, "drop_others", dropping)
            late = Late(memory, monkeypatch)
            if what == "add":
                changing = asyncio.ensure_future(memory.add("late", "u"))
            elif what == "content":
                changing = asyncio.ensure_future(memory.update(first.id, content="late"))
            else:
                changing = asyncio.ensure_future(memory.update(first.id, tags=["late"]))
            if what != "tags":  # no vector, no look at the facts
                await late.looked.wait()
            assert await reembedding_of(url, NEW) == (11 if what == "add" else 10)

    filled(url)
    asyncio.run(scenario())
    check(url, NEW, 11 if what == "add" else 10)


@SERVER
def test_a_memory_that_is_deleted_when_its_vector_is_stored_is_left_out(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = QdrantStore.still_there

    async def deleting(store: QdrantStore, operations: Any) -> Any:
        found = await there(store, operations)
        if not deleted:
            deleted.append(await asyncio.to_thread(old.delete, first))
        return found

    deleted: list[Any] = []
    filled(url)
    with open_store(url) as old:
        first = old.list("u", filter={"external_id": TEXTS[0]}).items[0].id
        monkeypatch.setattr(QdrantStore, "still_there", deleting)
        assert reembed(url, NEW) == 9
    check(url, NEW, 9)
