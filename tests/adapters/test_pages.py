"""Pages of a search and of a list fit together on every backend; vectors are listed where they are asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from openmem import InvalidRequestError, Memory, UnsupportedCapabilityError
from openmem.adapters.kit.vectors import unit
from openmem.types import MemoryRecord
from support.clocks import Clock

WORDS = ("apple", "pear", "plum", "fig", "grape")
COUNT = 120


def filled(url: str, clock: Clock, count: int = COUNT) -> Memory:
    """Open a store with many memories, of which some score equally and some are of one moment."""
    memory = Memory(url, embedder="test:32", clock=clock)
    for start in range(0, count, 30):
        texts = [" ".join(WORDS[: 1 + n % 5] * (1 + n % 3)) for n in range(start, start + 30)]
        items = [{"content": text, "importance": n % 10 / 10} for n, text in enumerate(texts, start)]
        assert not memory.add_many(items, user_id="u").failed
        memory.add("apple apple", "v")
        clock.tick(seconds=1)
    return memory


def modes(memory: Memory) -> list[Any]:
    features = memory.capabilities().features
    return [mode for mode in ("hybrid", "vector", "keyword") if getattr(features, f"{mode}_search")]


@pytest.mark.parametrize("selection", [{}, {"filter": {"importance": {"gte": 0.5}}}, {"min_score": 0.6}], ids=str)
def test_pages_laid_together_are_the_one_search(store: str, selection: dict[str, Any]) -> None:
    with filled(store, Clock()) as memory:
        for mode in modes(memory):
            whole = memory.search("apple fig", "u", mode=mode, limit=100, **selection)
            for size in (1, 7, 33):
                pages = [
                    memory.search("apple fig", "u", mode=mode, limit=size, offset=offset, **selection)
                    for offset in range(0, 4 * size, size)
                ]
                laid = [hit for page in pages for hit in page][:100]
                assert laid == whole[: min(4 * size, 100)], (mode, size)
            after = memory.search("apple fig", "u", mode=mode, limit=100, offset=60, **selection)
            assert after[:40] == whole[60:]
            beyond = memory.search("apple fig", "u", mode=mode, limit=100, offset=800, **selection)
            assert beyond == []


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_of_a_list_in_either_order(store: str, order: Any) -> None:
    with filled(store, Clock(), count=60) as memory:
        whole = memory.list("u", limit=500, order=order).items
        places = [(each.created_at, each.id) for each in whole]
        assert places == sorted(places, reverse=order == "newest")
        assert len(places) == 60
        for limit in (1, 7, 30, 59, 60, 61):
            assert list(memory.iterate("u", order=order, limit=limit)) == whole
        some = [each for each in whole if (each.importance or 0) >= 0.5]
        since = min(whole[0].created_at, whole[-1].created_at) + timedelta(seconds=1)
        late = [each for each in whole if each.created_at >= since]
        early = [each for each in whole if each.created_at < since]
        assert list(memory.iterate("u", order=order, limit=7, filter={"importance": {"gte": 0.5}})) == some
        assert list(memory.iterate("u", order=order, limit=7, since=since)) == late
        until = since - timedelta(microseconds=1)
        assert list(memory.iterate("u", order=order, limit=7, until=until)) == early
        other: Any = {"newest": "oldest", "oldest": "newest"}[order]
        cursor = memory.list("u", order=order, limit=7).next_cursor
        with pytest.raises(InvalidRequestError, match="another query"):
            memory.list("u", order=other, limit=7, cursor=cursor)


def test_vectors_are_listed_as_they_are_searched_by(store: str) -> None:
    given = [3.0, -4.0, *[0.0] * 30]
    with Memory(store, embedder="test:32") as memory:
        own, made = memory.add("apple", "u", vector=given), memory.add("pear", "u")
        plain = memory.list("u").items
        listed = {each.id: each for each in memory.list("u", include_vectors=True).items}
        assert listed[own.id].vector == pytest.approx([0.6, -0.8, *[0.0] * 30])
        assert np.linalg.norm(listed[made.id].vector or []) == pytest.approx(1)
        [nearest] = memory.search(None, "u", vector=listed[made.id].vector, limit=1)
        assert nearest.memory.id == made.id
        assert nearest.score == pytest.approx(1, abs=1e-6)
        others: list[MemoryRecord] = [*plain, nearest.memory, memory.get(own.id), own, *memory.list("u").items]
        assert all(each.vector is None for each in others)
        assert [each.model_copy(update={"vector": None}) for each in listed.values()] == plain
        memory.delete(own.id)
        memory.update(made.id, content="plum")
        [changed] = memory.list("u", include_vectors=True).items
        assert changed.vector != listed[made.id].vector


def test_vectors_of_any_length_are_kept(store: str) -> None:
    with Memory(store, embedder="test:32") as memory:
        memory.add("far", "u", vector=[2.0**100, *[0.0] * 31])
        memory.add("small", "u", vector=[2.0**-100, *[0.0] * 31])
        listed = memory.list("u", include_vectors=True).items
        assert [each.vector for each in listed] == [pytest.approx([1.0, *[0.0] * 31])] * 2
        hits = memory.search(None, "u", vector=[2.0**70, *[0.0] * 31])
        assert [hit.score for hit in hits] == pytest.approx([1, 1])


def test_a_listed_vector_is_the_callers_own() -> None:
    with Memory("memory://", embedder="test:32") as memory:
        memory.add("apple", "u")
        [first] = memory.list("u", include_vectors=True).items
        kept = list(first.vector or [])
        assert first.vector is not None
        first.vector[:] = [0.0] * 32
        [again] = memory.list("u", include_vectors=True).items
        assert again.vector == kept
        assert np.array_equal(unit(kept), np.asarray(kept, dtype=np.float32))


def test_what_a_store_without_an_embedder_is_asked_for() -> None:
    with Memory("memory://", embedder="none") as memory:
        memory.add("apple", "u")
        assert len(memory.list("u", include_vectors=False).items) == 1
        with pytest.raises(UnsupportedCapabilityError, match="vectors"):
            memory.list("u", include_vectors=True)


@pytest.mark.parametrize(
    "page", [{"offset": -1}, {"offset": 1000}, {"offset": 991}, {"offset": 950, "limit": 51}], ids=str
)
def test_an_offset_out_of_bounds_is_refused(page: dict[str, Any]) -> None:
    with Memory("memory://", embedder="none") as memory:
        with pytest.raises(InvalidRequestError, match="offset"):
            memory.search("apple", "u", **page)
        assert memory.search("apple", "u", offset=990) == []
        assert memory.search("apple", "u", offset=900, limit=100) == []


def test_nothing_of_a_list_that_is_empty_is_told(store: str) -> None:
    with Memory(store, embedder="test:32") as memory:
        memory.add("apple", "u", kind="fact")
        memory.add("apple", "u")
        none: list[dict[str, Any]] = [{"kind": {"in": []}}, {"created_at": {"in": []}}, {"metadata.a": {"in": []}}]
        for filter_ in none:
            assert memory.list("u", filter=filter_).items == []
            assert memory.search("apple", "u", filter=filter_) == []
            [(name, _)] = filter_.items()
            every = {name: {"nin": []}}
            for same in (every, {"not": filter_}, {"or": [filter_, {"content": "apple"}]}):
                assert len(memory.list("u", filter=same).items) == 2, same
                assert len(memory.search("apple", "u", filter=same)) == 2, same
            assert memory.list("u", filter={"not": every}).items == []
        assert memory.add_many([]) == memory.delete_many([]) == []
        assert memory.for_user("u").delete_many([]).ids == []
        assert memory.stats("u").total == 2
