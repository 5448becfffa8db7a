"""Random histories on two backends at once, each answer held against the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openmem import Memory, OMPError
from openmem.embedding.testing import WordEmbedder
from openmem.types import MemoryRecord, SearchResult

Store = Callable[[], AbstractContextManager[str]]
"""Makes an empty store and yields its URL."""

START = datetime(2026, 1, 1, tzinfo=UTC)
USERS = st.sampled_from(["ann", "ann", "ann", "ann ", "Ann", "%"])  # mostly one, whose memories then meet
SCOPES = st.sampled_from([None, "a", "a/b", "ab", "a/b/c", "_", "x y/é"])
SESSIONS = st.sampled_from([None, None, "s", "S", "s/t"])
SELECTORS = st.sampled_from([None, "a", "a/*", "a/b", "ab", "_", "x y"])
WORDS = st.lists(st.sampled_from(["run", "running", "blue", "the", "café", "日本", "x"]), min_size=1, max_size=5)
METADATA = st.none() | st.dictionaries(st.sampled_from(["k", "deep"]), st.integers(0, 3) | st.none(), max_size=2)
DAYS = st.none() | st.integers(-3, 3)
STATES = st.lists(st.sampled_from(["superseded", "expired", "upcoming", "archived"]), unique=True)
FILTERS = st.sampled_from(
    [
        None,
        {"metadata.k": {"gte": 1}},
        {"tags": {"contains": "t"}},
        {"not": {"kind": "fact"}},
        {"importance": {"lt": 0.5}},
    ]
)


class Signed(WordEmbedder):
    """Counts words up on three axes and down on the same three, so that cosines below zero are common."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        counts = await WordEmbedder(dimension=2 * self.dimension).embed(texts)
        return [[up - down for up, down in zip(each[::2], each[1::2], strict=True)] for each in counts]


class Clock:
    """A clock of which both backends see the same ticks."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class Backends(RuleBasedStateMachine):
    """Drives the reference and another backend; memories are known by their place in the order of creation."""

    store: ClassVar[Store]
    tolerance: ClassVar[float] = 0.0
    unordered = False

    @initialize()
    def start(self) -> None:
        self.clock = Clock()
        self.opened = type(self).store()
        urls = ("memory://", self.opened.__enter__())
        self.memories = [Memory(url, embedder=Signed(dimension=3), clock=self.clock) for url in urls]
        self.places: list[dict[str, int]] = [{} for _ in urls]
        self.ids: list[list[str]] = [[] for _ in urls]

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            for memory in self.memories:
                memory.close()
            self.opened.__exit__(None, None, None)

    def known(self, value: Any, backend: int) -> Any:
        """Replace a backend's own ids, wherever they stand, by places."""
        if isinstance(value, MemoryRecord):
            return self.known(value.model_dump(), backend)
        if isinstance(value, dict):
            return {key: self.known(item, backend) for key, item in value.items() if key != "request_id"}
        if isinstance(value, (list, tuple)):
            return [self.known(item, backend) for item in value]
        return self.places[backend].get(value, value) if isinstance(value, str) else value

    def both(self, call: Any) -> Any:
        """Run a call on each backend and hold the answers, or the errors, against each other."""
        answers = []
        for backend, memory in enumerate(self.memories):
            try:
                answer = ("answer", call(memory, self.ids[backend], backend))
            except OMPError as error:
                answer = ("error", error.code)
            answers.append(answer)
        seen = [(kind, self.known(value, backend)) for backend, (kind, value) in enumerate(answers)]
        assert seen[0] == seen[1]
        return [value for kind, value in answers] if answers[0][0] == "answer" else None

    def both_find(self, limit: int, call: Any) -> None:
        """Run a search on each backend; the order is free among scores that are nearly equal, and only there."""
        found: list[list[SearchResult]] = []
        self.both(lambda memory, ids, backend: len(found.append(call(memory, ids, backend)) or found[-1]))
        if len(found) < len(self.memories):  # refused alike
            return
        expected, told = (
            [(hit.score, self.known(hit.memory, backend)) for hit in hits] for backend, hits in enumerate(found)
        )
        scores = [score for score, _ in expected]
        assert [score for score, _ in told] == pytest.approx(scores, rel=0, abs=self.tolerance)
        start = 0
        for end in range(1, len(scores) + 1):
            if end < len(scores) and scores[end - 1] - scores[end] <= 2 * self.tolerance:
                continue
            one, other = ([known for _, known in hits[start:end]] for hits in (expected, told))
            if self.tolerance:
                one, other = (sorted(some, key=lambda known: int(known["id"])) for some in (one, other))
            # Where the limit cuts through nearly equal scores, it may cut elsewhere.
            if not self.tolerance or end < limit or end - start == 1:
                assert one == other
            start = end

    @rule(
        user=USERS,
        words=WORDS,
        scope=SCOPES,
        metadata=METADATA,
        begins=DAYS,
        ends=DAYS,
        replaces=st.none() | st.integers(0, 6),
        key=st.none() | st.sampled_from(["k1", "k2"]),
        conflict=st.sampled_from([None, "update", "replace", "skip", "error"]),
        importance=st.none() | st.sampled_from([0, 0.25, 1]),
        session=SESSIONS,
        tick=st.booleans(),
    )
    def add(self, **drawn: Any) -> None:
        if drawn["tick"]:  # without a tick the memory ties with the one before
            self.clock.now += timedelta(seconds=1)
        fields = {
            "scope": drawn["scope"],
            "metadata": drawn["metadata"],
            "importance": drawn["importance"],
            "session": drawn["session"],
            "external_id": drawn["key"],
            "on_conflict": drawn["conflict"],
            "kind": "fact" if len(drawn["words"]) > 2 else None,
            "tags": ["t"] if "blue" in drawn["words"] else None,
            "valid_from": self.day(drawn["begins"]),
            "valid_to": self.day(drawn["ends"]),
        }

        def call(memory: Memory, ids: list[str], backend: int) -> MemoryRecord:
            replaced = drawn["replaces"]
            supersedes = [ids[replaced]] if replaced is not None and replaced < len(ids) else None
            record = memory.add(" ".join(drawn["words"]), drawn["user"], supersedes=supersedes, **fields)
            self.places[backend].setdefault(record.id, len(ids))
            return record

        added = self.both(call)
        if added:
            self.learn(added)

    def learn(self, added: list[MemoryRecord]) -> None:
        for backend, record in enumerate(added):
            if record.id not in self.ids[backend]:
                self.ids[backend].append(record.id)

    def day(self, number: int | None) -> datetime | None:
        return None if number is None else self.clock.now + timedelta(days=number)

    @precondition(lambda self: self.ids[0])
    @rule(
        data=st.data(),
        words=st.none() | WORDS,
        scope=SCOPES,
        metadata=METADATA,
        archived=st.none() | st.booleans(),
        session=SESSIONS,
        replaces=st.none() | st.integers(0, 6),
        version=st.none() | st.integers(1, 3),
        owner=st.none() | USERS,
    )
    def update(
        self,
        data: st.DataObject,
        words: list[str] | None,
        replaces: int | None,
        version: int | None,
        owner: str | None,
        **fields: Any,
    ) -> None:
        place = data.draw(st.integers(0, len(self.ids[0]) - 1))
        self.clock.now += timedelta(seconds=1)
        if words is not None:
            fields["content"] = " ".join(words)

        def call(memory: Memory, ids: list[str], backend: int) -> MemoryRecord:
            more = {"supersedes": [ids[replaces]]} if replaces is not None and replaces < len(ids) else {}
            return memory.update(ids[place], if_version=version, user_id=owner, **fields, **more)

        self.both(call)

    @precondition(lambda self: self.ids[0])
    @rule(data=st.data(), owner=st.none() | USERS)
    def delete(self, data: st.DataObject, owner: str | None) -> None:
        place = data.draw(st.integers(0, len(self.ids[0]) - 1))
        self.both(lambda memory, ids, backend: memory.delete(ids[place], user_id=owner))

    @precondition(lambda self: self.ids[0])
    @rule(data=st.data())
    def read_by_id(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.ids[0]) - 1))
        self.both(lambda memory, ids, backend: memory.get(ids[place]))
        self.both(lambda memory, ids, backend: memory.history(ids[place]))
        self.both_find(3, lambda memory, ids, backend: memory.related(ids[place], limit=3))

    @rule(
        user=USERS,
        words=WORDS,
        scope=SELECTORS,
        mode=st.sampled_from([None, "vector", "keyword", "hybrid"]),
        limit=st.integers(1, 5),
        least=st.none() | st.floats(0, 1),
        include=STATES,
        as_of=DAYS,
        session=SESSIONS,
        filter=FILTERS,
    )
    def search(self, **drawn: Any) -> None:
        self.search_for(**drawn)

    def search_for(
        self, user: str, words: list[str], limit: int, least: float | None, as_of: int | None, **fields: Any
    ) -> None:
        if self.tolerance and least is not None:  # apart from the cosines that few words have
            least = min(1.0, round(least, 2) + 0.00137)
        fields = {"limit": limit, "min_score": least, "as_of": self.day(as_of), **fields}
        self.both_find(limit, lambda memory, ids, backend: memory.search(" ".join(words), user, **fields))

    @rule(
        user=USERS,
        scope=SELECTORS,
        session=SESSIONS,
        limit=st.integers(1, 4),
        include=STATES,
        as_of=DAYS,
        filter=FILTERS,
    )
    def page_through(self, user: str, limit: int, as_of: int | None, **fields: Any) -> None:
        moment = self.day(as_of)

        def call(memory: Memory, ids: list[str], backend: int) -> list[Any]:
            pages, cursor = [], None
            while True:
                page = memory.list(user, limit=limit, cursor=cursor, as_of=moment, **fields)
                pages.append(page.items)
                cursor = page.next_cursor
                if cursor is None:
                    return pages

        self.both(call)

    @rule(user=USERS)
    def account(self, user: str) -> None:
        self.both(lambda memory, ids, backend: memory.stats(user).model_dump())
        self.both(lambda memory, ids, backend: self.audited(memory, backend, user))

    def audited(self, memory: Memory, backend: int, user: str) -> list[Any]:
        """Read a user's log; entries of one moment come in any order where a call made several."""
        entries = [self.known(entry.model_dump(), backend) for entry in memory.audit(user)]
        return sorted(entries, key=repr) if self.unordered else entries

    @invariant()
    def as_many_memories(self) -> None:
        if hasattr(self, "ids"):
            assert len(self.ids[0]) == len(self.ids[1])
