"""qdrant:// over a server that fails at any of its requests: what is done is told, and done once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, get_args

import pytest

from openmem import Memory, OMPError
from openmem.adapters.qdrant.adapter import QdrantAdapter
from openmem.client import UserMemory
from support.qdrant_server import Server
from support.stores import open_store
from support.twins import Failure, at

URL = "qdrant://qdrant.test:6333/mem"
FAILURES: Sequence[Failure] = get_args(Failure)
EVERY: Any = ["superseded", "expired", "upcoming", "archived"]
Ids = dict[str, str]
"""Ids by content: what the verbs name them by."""

CHANGES: dict[str, Callable[[UserMemory, Ids], Any]] = {
    "add": lambda m, ids: m.add("a fact"),
    "add with external_id": lambda m, ids: m.add("a fact", external_id="k"),
    "add again": lambda m, ids: m.add("changed tea", external_id="plain"),
    "add again, replacing": lambda m, ids: m.add("put tea", external_id="old", on_conflict="replace"),
    "add again, skipping": lambda m, ids: m.add("changed tea", external_id="plain", on_conflict="skip"),
    "supersede": lambda m, ids: m.add("newer tea", supersedes=[ids["plain tea"]], external_id="k"),
    "supersede by update": lambda m, ids: m.update(ids["plain tea"], supersedes=[ids["last tea"]]),
    "update": lambda m, ids: m.update(ids["plain tea"], metadata={"n": 2}, if_version=1),
    "update of the text": lambda m, ids: m.update(ids["plain tea"], content="changed tea", if_version=1),
    "update of a text to one without words": lambda m, ids: m.update(ids["plain tea"], content="…"),
    "delete": lambda m, ids: m.delete(ids["plain tea"]),
    "delete of a successor": lambda m, ids: m.delete(ids["new tea"]),
    "delete of a predecessor": lambda m, ids: m.delete(ids["old tea"]),
}
READS: dict[str, Callable[[UserMemory, Ids], Any]] = {
    "get": lambda m, ids: m.get(ids["plain tea"]),
    "list": lambda m, ids: m.list(),
    "list by external_id": lambda m, ids: m.list(filter={"external_id": "plain"}),
    "search": lambda m, ids: m.search("plain tea"),
    "related": lambda m, ids: m.related(ids["plain tea"]),
    "context": lambda m, ids: m.context("tea").text,
    "history": lambda m, ids: m.history(ids["old tea"]),
    "stats": lambda m, ids: m.stats(),
    "audit": lambda m, ids: [entry.action for entry in m.audit(limit=4)],
}


def prepared(user: UserMemory) -> Ids:
    """Store what the verbs change."""
    old = user.add("old tea", external_id="old", metadata={"n": 1}, tags=["x"])
    user.add("new tea", supersedes=[old.id], external_id="new")
    user.add("plain tea", external_id="plain")
    user.add("last tea")
    return {each.content: each.id for each in user.list(include=EVERY).items}


def state(user: UserMemory) -> list[Any]:
    """Say all there is to say about a user's memories, by their contents."""
    records = user.list(include=EVERY, limit=100).items
    content = {each.id: each.content for each in records} | {None: None}
    by_words = [hit.memory.id for hit in user.search("tea fact", mode="keyword", include=EVERY, limit=20)]
    said = []
    for each in records:
        nearest = user.search(each.content, mode="vector", include=EVERY, limit=20)
        score = next((hit.score for hit in nearest if hit.memory.id == each.id), None)
        links = [content.get(link, "nothing") for link in [*(each.supersedes or ()), each.superseded_by]]
        keys = user.list(filter={"external_id": each.external_id or ""}, include=EVERY).items
        assert [one.id for one in keys] == [each.id] * (each.external_id is not None)
        said.append([each.content, each.version, each.tags, each.metadata, links, score, each.id in by_words])
    return sorted(said, key=str)


def changes_logged(user: UserMemory) -> Counter[str]:
    """Count the audit entries of changes."""
    return Counter(e.action for e in user.audit(limit=1000) if e.action in ("add", "update", "delete"))


@pytest.fixture
def server() -> Iterator[Server]:
    twin = Server()
    with at("qdrant.test", twin):
        yield twin
    twin.client.close()


@pytest.fixture
def clients(server: Server, naps: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Memory, Memory]]:
    monkeypatch.setattr(QdrantAdapter, "batch", 3)
    with open_store(URL) as one, open_store(URL) as two:
        one.list("u"), two.list("u")
        yield one, two


numbers = count()


def new_users(clients: tuple[Memory, Memory]) -> Iterator[tuple[UserMemory, UserMemory]]:
    """Hand out a new user for every attempt, as two clients see it."""
    while True:
        name = f"user {next(numbers)}"
        yield clients[0].for_user(name), clients[1].for_user(name)


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("verb", CHANGES)
def test_a_change_is_done_once_or_not_at_all_and_said_to_be(
    verb: str, failure: Failure, server: Server, clients: tuple[Memory, Memory]
) -> None:
    change, users = CHANGES[verb], new_users(clients)
    user, _ = next(users)
    ids = prepared(user)
    before, logged = state(user), changes_logged(user)
    change(user, ids)
    after, more = state(user), changes_logged(user)
    for number, (user, other) in enumerate(users):
        ids = prepared(user)
        with server.failing([*[None] * number, failure]):
            try:
                change(user, ids)
                done = True
            except OMPError as error:
                done = error.written != "nothing"
                assert failure.startswith("500"), "what is refused or lost is repeated"
                assert error.written != "part"
        if not server.failed:
            break
        assert state(other) == (after if done else before)
        assert changes_logged(user) == (more if done else logged)
        if not done:
            change(other, ids)  # at once: nothing is left claimed or locked
            assert state(user) == after


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("verb", READS)
def test_a_read_answers_right_or_fails_and_writes_nothing(
    verb: str, failure: Failure, server: Server, clients: tuple[Memory, Memory]
) -> None:
    read = READS[verb]
    user, _ = next(new_users(clients))
    ids = prepared(user)
    expected = read(user, ids)
    for number in count():
        with server.failing([*[None] * number, failure]):
            try:
                answer = read(user, ids)
            except OMPError as error:
                assert error.written == "nothing"
                assert failure.startswith("500")
                continue
        if verb != "audit":
            assert answer == expected
        if not server.failed:
            break


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("keys", [False, True])
def test_a_batch_stores_every_item_once_and_tells_which(
    keys: bool, failure: Failure, server: Server, clients: tuple[Memory, Memory]
) -> None:
    items = [{"content": f"fact {n}", **({"external_id": f"k{n}"} if keys else {})} for n in range(8)]
    for number, (user, other) in enumerate(new_users(clients)):
        if keys:
            user.add_many(items[2:7:2])
        with server.failing([*[None] * number, failure]):
            results = user.add_many([{**item, "tags": ["now"]} for item in items])
        if not server.failed:
            break
        stored = Counter(each.content for each in other.list(limit=100).items)
        assert max(stored.values()) == 1
        tagged = {each.content for each in other.list(limit=100).items if each.tags}
        for item, result in zip(items, results, strict=True):
            if result.error is None:
                assert other.get(result.id or "").content == item["content"]
            else:
                assert failure.startswith("500")
            assert (item["content"] in tagged) is (result.error is None or result.error.written != "nothing")


@pytest.mark.parametrize("failure", FAILURES)
def test_a_batch_deletes_what_it_says(failure: Failure, server: Server, clients: tuple[Memory, Memory]) -> None:
    for number, (user, other) in enumerate(new_users(clients)):
        ids = [each.id or "" for each in user.add_many([{"content": f"fact {n}"} for n in range(8)])]
        with server.failing([*[None] * number, failure]):
            results = user.delete_many(ids)
        if not server.failed:
            break
        left = {each.id for each in other.list(limit=100).items}
        for result in results:
            assert (result.id in left) is (result.error is not None)
            assert result.error is None or (failure.startswith("500") and result.error.written == "nothing")
