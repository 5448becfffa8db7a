"""Words in Qdrant: two terms of one number, which the engine cannot tell apart, are told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmem import Memory, ProviderError
from openmem.adapters.qdrant import words
from openmem.adapters.qdrant.store import QdrantStore
from support.clocks import Clock
from support.qdrant_server import Server
from support.stores import open_store
from support.twins import at

ONE, OTHER = "295401", "293574"
"""Two terms of one number."""
ORDERS = [f"order {ONE} shipped", f"order {OTHER} was lost", "order 5 paid", "order 6 paid late"]
MODES: tuple[Any, ...] = ("keyword", "hybrid")


@pytest.fixture(params=["local", "edge"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"qdrant+{request.param}:///{tmp_path / 'store'}"


class Pair:
    """A store and the reference, to which everything is done alike."""

    def __init__(self, url: str, embedder: str = "test:32") -> None:
        self.clock = Clock()
        self.url, self.embedder = url, embedder
        self.reference = open_store("memory://", embedder=embedder, clock=self.clock)
        self.store = open_store(url, embedder=embedder, clock=self.clock)

    def reopen(self) -> None:
        self.store.close()
        self.store = open_store(self.url, embedder=self.embedder, clock=self.clock)

    def do(self, change: Callable[[Memory], object]) -> None:
        self.clock.tick()
        for memory in (self.reference, self.store):
            change(memory)

    def add(self, text: str, user: str = "u", **fields: Any) -> None:
        self.do(lambda memory: memory.add(text, user, **{"external_id": text, **fields}))

    def delete(self, text: str) -> None:
        self.do(lambda memory: memory.delete(id_of(memory, text)))

    def agree(self, query: str, user: str = "u", **asked: Any) -> None:
        found, expected = (shown(memory.search(query, user, **asked)) for memory in (self.store, self.reference))
        assert [text for text, _ in found] == [text for text, _ in expected]
        assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-6)

    def close(self) -> None:
        self.store.close()
        self.reference.close()


def shown(hits: Sequence[Any]) -> list[tuple[str, float]]:
    return [(hit.memory.external_id, hit.score) for hit in hits]


def id_of(memory: Memory, text: str, user: str = "u") -> str:
    [item] = memory.list(user, filter={"external_id": text}, include=["superseded", "archived"]).items
    return item.id


@contextmanager
def pair(url: str, embedder: str = "test:32") -> Iterator[Pair]:
    both = Pair(url, embedder)
    try:
        yield both
    finally:
        both.close()


def test_the_two_terms_are_of_one_number() -> None:
    assert words.number_of(ONE) == words.number_of(OTHER)


@pytest.mark.parametrize("embedder", ["none", "test:32"])
def test_words_of_one_number_are_scored_apart(url: str, embedder: str) -> None:
    with pair(url, embedder) as both:
        for text in [*ORDERS, f"order {OTHER} {ONE}", f"{OTHER} {OTHER} {ONE}"]:
            both.add(text)
            for query in (f"order {ONE}", OTHER, f"{OTHER} {ONE} lost", "order paid"):
                both.agree(query)
                both.agree(query, limit=1)
                both.agree(query, mode="keyword", min_score=0.3)
        both.reopen()
        both.agree(f"order {ONE}")


def test_a_word_that_no_memory_has_is_not_taken_for_the_one_of_its_number(url: str) -> None:
    with pair(url) as both:
        both.add(ORDERS[0])
        both.add("order 5 paid")
        for mode in MODES:
            both.agree(OTHER, mode=mode)
            both.agree(f"{OTHER} order", mode=mode)
            both.agree(f"{OTHER} {ONE} order", mode=mode)


def test_a_memory_that_is_not_selected_makes_no_word_less_rare(url: str) -> None:
    shown = {"scope": "a/c", "tags": ["a"], "kind": "event"}
    with pair(url) as both:
        for user, hidden in enumerate(({"scope": "b"}, {"archived": True}, {"tags": ["b"]}, {"kind": "fact"})):
            for number, text in enumerate(ORDERS):
                both.add(text, str(user), **{**shown, **(hidden if number == 1 else {})})
            for mode in MODES:
                both.agree(f"order {ONE}", str(user), mode=mode)
                both.agree(f"order {ONE}", str(user), mode=mode, scope="a")
                both.agree(f"order {ONE}", str(user), mode=mode, tag="a")
                both.agree(f"order {ONE}", str(user), mode=mode, filter={"kind": "event"})


def test_a_memory_beyond_the_limit_makes_no_word_less_rare(url: str) -> None:
    with pair(url, "none") as both:
        for number in range(40):
            both.add(f"order {ONE} {'shipped ' * (number % 9)}{number}")
        both.add(f"{OTHER} {'is a number of that many more words ' * 5}")
        both.agree(f"order shipped {ONE}", limit=2)


def test_it_is_noted_who_ever_writes_the_second(url: str) -> None:
    """Store the words one after the other: in one batch, by an update, from a client that starts anew, or by two."""
    with pair(url, "none") as both:
        both.do(lambda memory: memory.add_many([{"content": t, "user_id": "u", "external_id": t} for t in ORDERS]))
        both.agree(f"order {ONE}", filter={"external_id": {"ne": ORDERS[1]}})
    with pair(f"{url}2", "none") as both:
        for text in ORDERS[:1] + ORDERS[2:]:
            both.add(text)
        both.reopen()
        both.do(lambda memory: memory.update(id_of(memory, "order 6 paid late"), content=f"{OTHER} paid late"))
        both.agree(f"order {ONE}", filter={"external_id": {"ne": "order 6 paid late"}})


def test_two_clients_of_a_folder_know_what_the_other_wrote(url: str) -> None:
    with pair(url, "none") as both, open_store(url, embedder="none", clock=both.clock) as second:
        first = both.store
        for text in (ORDERS[0], ORDERS[2]):
            both.add(text)
        both.delete(ORDERS[0])
        both.store = second
        both.add(ORDERS[1], archived=True)
        both.store = first
        both.add(ORDERS[0])
        both.agree(f"order {ONE}")


def test_words_are_told_apart_on_a_server() -> None:
    server = Server()
    with at("qdrant.test", server), pair("qdrant://qdrant.test:6333/mem") as both:
        for number, text in enumerate(ORDERS):
            both.add(text, archived=number == 1)
        for mode in MODES:
            both.agree(f"order {ONE}", mode=mode)
            both.agree(f"order {OTHER}", mode=mode, include=["archived"])
    server.client.close()


def test_what_cannot_be_noted_is_not_stored(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pair(url, "none") as both:
        both.add(ORDERS[0])
        both.add(ORDERS[2])

        async def away(*_: object) -> None:
            raise ProviderError("the engine failed.")

        both.reopen()
        monkeypatch.setattr(QdrantStore, "tell_shared", away)
        with pytest.raises(ProviderError) as caught:
            both.store.add(ORDERS[1], "u")
        assert caught.value.written == "nothing"
        monkeypatch.undo()
        both.agree(f"order {ONE}")


def test_related_and_context_tell_them_apart(url: str) -> None:
    with pair(url, "none") as both:
        for text in ORDERS:
            both.add(text)
        found, expected = (shown(memory.related(id_of(memory, ORDERS[0]))) for memory in (both.store, both.reference))
        assert found == [(text, pytest.approx(score, abs=1e-6)) for text, score in expected]
        texts = [memory.context("u", f"order {ONE}").text for memory in (both.store, both.reference)]
        assert texts[0] == texts[1]


NUMBERS = 9
"""Numbers that all words of an example have; each example has others, so that nothing is noted of them yet."""
WORDS = [f"word{n}" for n in range(12)]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
SCOPES = st.sampled_from([None, "a", "b"])


class Few:
    """A shard and the reference, where words have few numbers."""

    def __init__(self, both: Pair) -> None:
        self.both = both
        self.examples = 0

    def number_of(self, term: str) -> int:
        return NUMBERS * self.examples + 1 + sum(term.encode()) % NUMBERS


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Few]:
    with pytest.MonkeyPatch.context() as patch, pair(f"qdrant+edge:///{tmp_path_factory.mktemp('few') / 's'}") as both:
        few = Few(both)
        patch.setattr(words, "number_of", few.number_of)
        patch.setattr("openmem.adapters.qdrant.search.number_of", few.number_of)
        yield few


@settings(max_examples=60, deadline=None)
@given(
    memories=st.lists(st.tuples(TEXTS, SCOPES, st.booleans()), min_size=1, max_size=8),
    gone=st.sets(st.integers(0, 7), max_size=2),
    queries=st.lists(TEXTS, min_size=1, max_size=3),
    asked=st.fixed_dictionaries({"mode": st.sampled_from(MODES), "limit": st.integers(1, 4), "scope": SCOPES}),
)
def test_where_many_words_have_one_number_answers_are_those_of_the_reference(
    few: Few,
    memories: list[tuple[str, str | None, bool]],
    gone: set[int],
    queries: list[str],
    asked: dict[str, Any],
) -> None:
    few.examples += 1
    user, both = f"user {few.examples}", few.both
    for number, (text, scope, archived) in enumerate(memories):
        fields = {"scope": scope, "archived": archived, "external_id": str(number)}
        both.do(lambda memory: memory.add(text, user, **fields))  # noqa: B023
    for number in gone & set(range(len(memories))):
        both.do(lambda memory: memory.delete(id_of(memory, str(number), user)))  # noqa: B023
    for query in queries:
        both.agree(query, user, **asked)
