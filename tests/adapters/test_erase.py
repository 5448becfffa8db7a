"""Erasing, on every backend: what is selected is gone in every state, nothing else is, and the count is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from openmem import ConflictError, InvalidRequestError, Memory, NotFoundError, ProviderError
from openmem.adapters.kit.remote import RemoteAdapter
from openmem.client.bound import UserMemory
from openmem.types import UpdateRequest
from support.clocks import Clock

STATES = ["superseded", "expired", "upcoming", "archived"]
LATER = datetime(2999, 1, 1, tzinfo=UTC)
EARLIER = datetime(2001, 1, 1, tzinfo=UTC)


@pytest.fixture
def memory(store: str) -> Iterator[Memory]:
    with Memory(store) as client:
        yield client


def left(user: UserMemory) -> list[str]:
    return sorted(each.content for each in user.list(include=STATES, limit=500).items)


def in_every_state(user: UserMemory) -> None:
    old = user.add("superseded", scope="a/b", tags=["t"], external_id="k")
    user.add("current", scope="a", supersedes=[old.id])
    user.add("expired", tags=["t"], valid_to=EARLIER)
    user.add("upcoming", scope="ab", valid_from=LATER)
    user.add("archived", archived=True, kind="fact")


EVERY = ["archived", "current", "expired", "superseded", "upcoming"]


@pytest.mark.parametrize(
    ("selection", "gone"),
    [
        ({"all": True}, EVERY),
        ({"scope": "a"}, ["current", "superseded"]),
        ({"scope": "a/*"}, ["superseded"]),
        ({"tag": "t"}, ["expired", "superseded"]),
        ({"filter": {"kind": "fact"}}, ["archived"]),
        ({"filter": {"external_id": "k"}}, ["superseded"]),
        ({"tag": "t", "scope": "a"}, ["superseded"]),
        ({"since": EARLIER}, EVERY),
        ({"until": EARLIER}, []),
        ({"tag": "none"}, []),
    ],
)
def test_what_is_selected_is_gone_in_every_state_and_nothing_else(
    memory: Memory, selection: dict[str, Any], gone: list[str]
) -> None:
    alice, bob = memory.for_user("alice"), memory.for_user("bob")
    in_every_state(alice)
    in_every_state(bob)
    tried = alice.erase(**selection)
    assert (tried.count, tried.dry_run, left(alice)) == (len(gone), True, EVERY)
    erased = alice.erase(**selection, dry_run=False)
    assert (erased.count, erased.dry_run) == (len(gone), False)
    assert erased.unreached
    assert left(alice) == [each for each in EVERY if each not in gone]
    assert left(bob) == EVERY
    assert alice.stats().total == len(EVERY) - len(gone)
    assert alice.erase(**selection, dry_run=False).count == 0


@pytest.mark.parametrize("field", ["supersedes", "superseded_by", "superseded_at"])
def test_what_is_selected_by_its_links_goes_though_the_erase_itself_frees_them(memory: Memory, field: str) -> None:
    user = memory.for_user("u")
    one = user.add("one")
    two = user.add("two", supersedes=[one.id])
    three = user.add("three", supersedes=[two.id])
    linked: dict[str, Any] = {field: {"exists": True}}
    assert user.erase(filter=linked).count == 2
    assert user.erase(filter=linked, dry_run=False).count == 2
    assert left(user) == (["one"] if field == "supersedes" else ["three"])
    assert user.erase(filter=linked).count == 0
    kept = user.get(one.id if field == "supersedes" else three.id)
    assert (kept.superseded_by, kept.superseded_at, kept.supersedes or None) == (None, None, None)


@pytest.mark.parametrize(("tags", "gone"), [(["t", "more"], 3), (["other"], 2)])
def test_what_is_updated_meanwhile_is_erased_if_it_is_selected_still(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, tags: list[str], gone: int
) -> None:
    adapter = memory.adapter
    if not isinstance(adapter, RemoteAdapter) or adapter.name == "postgres":
        pytest.skip("it selects and erases in one transaction")
    updated, *_ = [memory.add(f"fact {number}", "u", tags=["t"]) for number in range(3)]
    transaction, changes = type(adapter).transaction, [UpdateRequest(id=updated.id, tags=tags)]

    @asynccontextmanager
    async def late(self: Any, users: Any) -> AsyncIterator[Any]:
        if changes:
            await self.update(changes.pop())
        async with transaction(self, users) as begun:
            yield begun

    with monkeypatch.context() as patch:
        patch.setattr(type(adapter), "transaction", late)
        assert memory.erase("u", tag="t", dry_run=False).count == gone
    assert memory.stats("u").total == 3 - gone


def test_what_later_pages_hold_is_settled_before_the_first_is_erased(memory: Memory) -> None:
    user = memory.for_user("u")
    old = [each.id for each in user.add_many([{"content": f"old {number}"} for number in range(6)])]
    user.add_many([{"content": f"fact {number}", "tags": ["t"]} for number in range(300)])
    user.add_many([{"content": f"more {number}", "tags": ["t"]} for number in range(208)])
    user.add_many([{"content": f"new {number}", "tags": ["t"], "supersedes": [old[number]]} for number in range(6)])
    user.add("stays")
    selection: dict[str, Any] = {"or": [{"superseded_by": {"exists": True}}, {"tags": {"contains": "t"}}]}
    assert user.erase(filter=selection).count == 520
    assert user.erase(filter=selection, dry_run=False).count == 520
    assert left(user) == ["stays"]


def test_what_is_erased_frees_its_links_and_its_key(memory: Memory) -> None:
    user = memory.for_user("u")
    first = user.add("first", external_id="k")
    second = user.add("second", supersedes=[first.id], tags=["goes"])
    third = user.add("third", supersedes=[second.id])
    assert user.erase(tag="goes", dry_run=False).count == 1
    assert user.get(first.id).superseded_by is None
    assert not user.get(third.id).supersedes
    assert user.erase(filter={"external_id": "k"}, dry_run=False).count == 1
    assert user.add("again", external_id="k").version == 1
    with pytest.raises(NotFoundError):
        user.get(first.id)
    assert user.search("second") == [] or all(each.memory.content != "second" for each in user.search("second"))


def test_nothing_is_erased_that_was_not_named(memory: Memory) -> None:
    user = memory.for_user("u")
    in_every_state(user)
    for refused in (
        {},
        {"filter": {}},
        {"all": True, "tag": "t"},
        {"all": True, "filter": {}},
        {"tag": "t", "audit": True},
    ):
        with pytest.raises(InvalidRequestError) as caught:
            user.erase(**refused, dry_run=False)  # type: ignore[arg-type]
        assert caught.value.written == "nothing"
    assert left(user) == EVERY


def test_more_than_one_transaction_and_page(memory: Memory) -> None:
    user, other = memory.for_user("u"), memory.for_user("v")
    for start in range(0, 1200, 400):
        user.add_many(
            [{"content": f"fact {number}", "tags": [f"t{number % 2}"]} for number in range(start, start + 400)]
        )
    stays = other.add("stays")
    assert user.erase(tag="t1").count == 600
    assert user.erase(tag="t1", dry_run=False).count == 600
    assert user.stats().total == 600
    assert user.erase(all=True, dry_run=False).count == 600
    assert user.stats().total == 0
    assert other.get(stays.id).content == "stays"


def test_a_log_keeps_an_entry_for_each_or_goes_too(memory: Memory) -> None:
    if "audit" not in memory.capabilities().verbs:
        pytest.skip("it has no audit log")
    user, other = memory.for_user("u"), memory.for_user("v")
    ids = {each.id or "" for each in user.add_many([{"content": name} for name in "abc"])}
    memory.add_many([{"content": "c", "user_id": "u"}, {"content": "c", "user_id": "v"}])  # one batch of two users
    ids.update(each.id for each in user.list().items)
    user.erase(all=True)
    user.erase(all=True, dry_run=False)
    entries = [each for each in user.audit(limit=1000) if each.action == "erase"]
    assert {each.memory_id for each in entries} == {*ids, None}
    assert len(entries) == len(ids) + 1
    user.add("more")
    assert user.erase(all=True, dry_run=False, audit=True).count == 1
    assert user.audit() == []
    assert [each.action for each in other.audit()] == ["add_many"]
    user.add("after")
    assert [each.action for each in user.audit()] == ["add"]
    assert [each.memory.content for each in user.search("after")] == ["after"]


def test_a_chain_is_deleted_whole(memory: Memory) -> None:
    user, other = memory.for_user("u"), memory.for_user("v")
    one, two = user.add("one"), user.add("two")
    both = user.add("both", supersedes=[one.id, two.id])
    last = user.add("last", supersedes=[both.id])
    user.add("stays")
    other.add("theirs")
    with pytest.raises(ConflictError):
        user.delete(one.id, chain=True, if_version=2)
    with pytest.raises(NotFoundError):
        other.delete(one.id, chain=True)
    assert len(left(user)) == 5
    user.delete(one.id, chain=True, if_version=1)
    assert left(user) == ["stays"]
    for gone in (one, two, both, last):
        with pytest.raises(NotFoundError):
            user.get(gone.id)
    if "audit" in memory.capabilities().verbs:
        deleted = {each.memory_id for each in user.audit() if each.action == "delete"}
        assert deleted == {one.id, two.id, both.id, last.id}


def test_a_bound_of_time_is_held(memory: Memory) -> None:
    user = memory.for_user("u")
    first = user.add("first")
    second = user.add("second")
    between = second.created_at
    assert user.erase(until=between - timedelta(microseconds=1), dry_run=False).count == 1
    assert left(user) == ["second"]
    assert first.created_at < between


def test_an_erase_that_ends_half_way_says_how_many_are_erased(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = memory.adapter
    if not isinstance(adapter, RemoteAdapter) or adapter.name == "postgres":
        pytest.skip("it erases all or nothing")
    monkeypatch.setattr(type(adapter), "batch", 4)
    memory.add_many([{"content": f"fact {number}"} for number in range(10)], user_id="u")
    transaction, begun = type(adapter).transaction, []

    def failing(self: Any, users: Any) -> Any:
        begun.append(users)
        if len(begun) == 3:
            raise ProviderError("no more.", written="nothing")
        return transaction(self, users)

    with monkeypatch.context() as patch:
        patch.setattr(type(adapter), "transaction", failing)
        with pytest.raises(ProviderError, match="8 memories are erased") as caught:
            memory.erase("u", all=True, dry_run=False)
    assert caught.value.written == "part"
    assert memory.stats("u").total == 2
    assert memory.erase("u", all=True, dry_run=False).count == 2


def test_a_log_stays_erased_when_others_store_the_reads_they_made_before(store: str) -> None:
    if store.startswith(("memory", "mem0")):
        pytest.skip("no other client has its log")
    with Memory(store, embedder="none") as one, Memory(store, embedder="none") as other:
        one.add_many([{"content": "x", "user_id": user} for user in ("u", "v", "w")])
        assert other.audit("u")  # which stores what the other kept back
        other.search("x", "u", scope="health/clinic")
        other.list("v")
        one.erase("u", all=True, audit=True, dry_run=False)
        one.erase("w", all=True, audit=True, dry_run=False)
        assert other.audit("u") == []
        assert [each.action for each in other.audit("v")] == ["list", "add_many"]
        other.list("u")
        other.add("y", "u")
        other.get_many(ids=["mem_0"], user_id="u")
        other.list("w")
    with Memory(store, embedder="none") as third:
        assert [each.action for each in third.audit("u")] == ["add", "list"]
        assert [each.action for each in third.audit("w")] == ["list"]


@pytest.mark.parametrize("most", [10_000, 1])
def test_who_was_forgotten_is_noted_for_a_day_and_as_one_of_so_many(
    store: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.startswith(("memory", "mem0")):
        pytest.skip("no other client has its log")
    for backend in ("sqlite", "postgres", "qdrant"):
        monkeypatch.setattr(f"openmem.adapters.{backend}.forgetting.MOST", most)
    monkeypatch.setattr("openmem.adapters.qdrant.forgetting.PAGE", 1)
    clock = Clock()
    with (
        Memory(store, embedder="none", clock=clock) as one,
        Memory(store, embedder="none", clock=clock) as other,
    ):
        for user in ("first", "second", "third"):
            other.list(user)
        clock.tick(seconds=1)
        one.erase("first", all=True, audit=True, dry_run=False)
        clock.tick(hours=25 if most > 1 else 1)
        one.erase("second", all=True, audit=True, dry_run=False)
        clock.tick(hours=1)
        assert [len(other.audit(user)) for user in ("first", "second", "third")] == [1, 0, 1]
