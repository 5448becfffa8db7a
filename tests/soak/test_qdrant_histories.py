"""qdrant:// over a server that fails at every so many requests: what is said is so, and nothing is done twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, cycle
from typing import Any, get_args

import pytest

from openmem import OMPError
from openmem.adapters.qdrant.adapter import QdrantAdapter
from openmem.client import UserMemory
from support.qdrant_server import Server
from support.stores import open_store
from support.twins import Failure, at

EVERY: Any = ["superseded", "expired", "upcoming", "archived"]
FAILURES: Sequence[Failure] = get_args(Failure)
VERBS = 250


class History:
    """Changes one user's memories at random, and knows what must be there, what may be and what may not."""

    def __init__(self, user: UserMemory, seed: int) -> None:
        self.user, self.random = user, random.Random(seed)
        self.sure: dict[str, str] = {}
        """Contents by id."""
        self.open: set[str] = set()
        """Contents of which the answer was that nobody knows."""
        self.numbers = count()
        self.codes = Counter[str]()

    def step(self) -> None:
        verb = self.random.choice([self.add, self.add_many, self.update, self.delete, self.delete_many, self.supersede])
        verb()

    def text(self) -> str:
        return f"fact {next(self.numbers)}"

    def some(self, most: int) -> list[str]:
        known = sorted(self.sure)
        return self.random.sample(known, min(most, len(known)))

    def add(self) -> None:
        content = self.text()
        key = {"external_id": content} if self.random.random() < 0.5 else {}
        try:
            self.sure[self.user.add(content, **key).id] = content
        except OMPError as error:
            self.failed(error, content)

    def add_many(self) -> None:
        contents = [self.text() for _ in range(7)]
        keyed = self.random.random() < 0.5
        results = self.user.add_many([{"content": c, **({"external_id": c} if keyed else {})} for c in contents])
        for content, result in zip(contents, results, strict=True):
            if result.error is None:
                self.sure[result.id or ""] = content
            else:
                self.failed(result.error, content)

    def supersede(self) -> None:
        content, replaced = self.text(), self.some(2)
        try:
            self.sure[self.user.add(content, supersedes=replaced).id] = content
        except OMPError as error:
            self.failed(error, content)

    def update(self) -> None:
        for each in self.some(1):
            content = self.text()
            try:
                self.user.update(each, content=content)
                self.sure[each] = content
            except OMPError as error:
                if self.failed(error, content):
                    self.open.add(self.sure.pop(each))

    def delete(self) -> None:
        for each in self.some(1):
            try:
                self.user.delete(each)
                del self.sure[each]
            except OMPError as error:
                if self.failed(error):
                    self.open.add(self.sure.pop(each))

    def delete_many(self) -> None:
        ids = self.some(5)
        for each, result in zip(ids, self.user.delete_many(ids) if ids else (), strict=True):
            if result.error is None or self.failed(result.error):
                content = self.sure.pop(each)
                if result.error is not None:
                    self.open.add(content)

    def failed(self, error: Any, content: str = "") -> bool:
        """Take note of a failure; tell whether anything may have been written."""
        self.codes[error.code] += 1
        if error.written != "nothing":
            self.open.add(content)
        return bool(error.written != "nothing")


def at_every(number: int, failure: Failure) -> Iterator[Failure | None]:
    return cycle([*[None] * (number - 1), failure])


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("number", range(2, 14))
def test_any_history_is_as_it_was_told(
    number: int, failure: Failure, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QdrantAdapter, "batch", 3)
    # One request after the other: else one of several at once may by chance fail as often as it is repeated.
    monkeypatch.setattr(QdrantAdapter, "parallel", 1)
    server = Server()
    with at("qdrant.test", server), open_store("qdrant://qdrant.test:6333/mem") as memory:
        memory.open()
        history = History(memory.for_user("u"), number)
        with server.failing(at_every(number, failure)):
            for _ in range(VERBS):
                try:
                    history.step()
                except OMPError as error:
                    assert error.written != "nothing", error
        records = [each for page in _pages(memory.for_user("u")) for each in page]
        stored = {each.id: each.content for each in records}
        assert max(Counter(stored.values()).values(), default=1) == 1
        assert {each: stored.get(each) for each in history.sure} == history.sure
        assert {content for each, content in stored.items() if each not in history.sure} <= history.open
        if not failure.startswith("500"):
            assert history.codes.keys() <= {"conflict"}, "what is refused or lost is repeated"
        for each in records:
            links = [stored.get(link) for link in each.supersedes or ()]
            assert None not in links or history.open
    server.client.close()


def _pages(user: UserMemory) -> Iterator[list[Any]]:
    cursor = None
    while True:
        page = user.list(limit=100, cursor=cursor, include=EVERY)
        yield page.items
        cursor = page.next_cursor
        if cursor is None:
            return
