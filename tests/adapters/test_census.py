"""What there is, on every backend: scopes and users with their counts, and stats of a selection."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from openmem import InvalidRequestError, Memory, MemoryRecord, UnsupportedCapabilityError
from openmem.protocol import cursors
from openmem.protocol.filters import parse, predicate
from openmem.protocol.tally import STATES, Tally
from openmem.types import ScopesRequest, UsersRequest
from support.clocks import DAY, Clock
from support.kept import STORES, Kept
from support.stores import everything, open_store

PLACES: list[str | None] = [None, "a", "a/b", "a/b/c", "ab", "A", "a b", "a%", "a_", "a.b/c", "a\uffee", "a😀"]
PLACES += ["é", "e\u0301", "\x01/x", "z/z/z"]
USERS = ["u", "U", "u ", "u/1", "u%", "é", "e\u0301", "u\uffee", "u😀", "1", "*", "0" * 32]
USERS += ["550E8400E29B41D4A716446655440000", "550e8400-e29b-41d4-a716-446655440000"]
FILTERS: list[dict[str, Any] | None] = [None, {"kind": "fact"}, {"metadata.n": {"gte": 2}}, {"tags": {"contains": "x"}}]
FILTERS += [{"or": [{"kind": "event"}, {"importance": {"lt": 0.5}}]}, {"not": {"scope": "a/b"}}, {"external_id": "k3"}]


def filled(url: str, user_id: str, seed: int) -> tuple[Memory, list[MemoryRecord], Clock]:
    """Make a store with memories of a user in many scopes and states, some of them deleted, beside another's."""
    random, clock = Random(seed), Clock()
    memory = open_store(url, clock=clock)
    for number in range(60):
        clock.tick()
        if number == 30:
            clock.tick(days=1)
        fields: dict[str, Any] = {
            "scope": random.choice(PLACES),
            "kind": random.choice(["fact", "event", None]),
            "tags": random.choice([["x"], ["x", "y", "x"], ["xy"], None]),
            "importance": random.choice([0.25, 0.75, None]),
            "metadata": {"n": number % 4},
            "external_id": f"k{number}" if number % 7 == 3 else None,
            "valid_to": random.choice([None, None, clock.now + DAY / 2]),
            "valid_from": random.choice([None, None, clock.now + DAY / 4]),
            "archived": random.choice([None, None, True]),
        }
        memory.add(f"note {number}", user_id, **{name: value for name, value in fields.items() if value is not None})
    kept = everything(memory, user_id)
    memory.add("another's", "other", scope="a", supersedes=None)
    memory.add("in place of one", user_id, supersedes=[kept[0].id], scope="a/b")
    for each in random.sample(kept, 10):
        memory.delete(each.id, user_id=user_id)
    return memory, everything(memory, user_id), clock


def paged(verb: Any, **query: Any) -> list[Any]:
    """Follow the pages to the last."""
    found, cursor = [], None
    while True:
        page = verb(cursor=cursor, **query)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert len(page.items) == query["limit"]


def test_scopes_are_those_of_what_list_sees(store: str) -> None:
    memory, _, _ = filled(store, "u", 1)
    with memory:
        for under in (None, "a", "a/b", "a b", "ab", "\x01", "é", "none"):
            for depth in (None, 1, 2, 3, 9):
                for include in ([], ["expired"], list(STATES)):
                    listed = paged(lambda **q: memory.list("u", **q), limit=20, scope=under, include=include)
                    above = under.count("/") + 1 if under else 0
                    cut = depth and above + depth
                    due = Counter("/".join(each.scope.split("/")[:cut]) for each in listed if each.scope)
                    query: dict[str, Any] = {"under": under, "depth": depth, "include": include}
                    for limit in (3, 100):
                        found = paged(lambda **q: memory.scopes("u", **q), limit=limit, **query)
                        assert [(each.scope, each.count) for each in found] == sorted(due.items()), query
        assert memory.scopes("nobody").items == []


def test_stats_count_what_a_selection_selects(store: str) -> None:
    memory, kept, clock = filled(store, "u", 3)
    middle = sorted(kept, key=lambda each: each.created_at)[len(kept) // 2].created_at
    with memory:
        for scope in (None, "a", "a/*", "é", "a b"):
            for tag in (None, "x", "z"):
                for since, until in ((None, None), (middle, None), (None, middle), (middle, middle)):
                    for filter_ in FILTERS:
                        test = predicate(parse(filter_ or {}))
                        tally = Tally("u", clock.now)
                        tally.count(
                            each
                            for each in kept
                            if (scope is None or _in(each.scope, scope))
                            and (tag is None or tag in (each.tags or ()))
                            and (since is None or each.created_at >= since)
                            and (until is None or each.created_at <= until)
                            and test(each)
                        )
                        query: dict[str, Any] = {"scope": scope, "tag": tag, "since": since, "until": until}
                        told = memory.stats("u", **query, filter=filter_)
                        assert told.model_dump() == tally.stats().model_dump(), (query, filter_)


SESSIONS = ["s", "S", "s ", "é", "e\u0301", '"', "\\", "\x01", "😀", "null", "1"]


def test_stats_count_the_memories_of_a_session(store: str) -> None:
    with open_store(store) as memory:
        for number, session in enumerate([*SESSIONS, None]):
            items = [{"content": "word", "archived": bool(each % 2), "kind": f"{number}"} for each in range(number + 1)]
            memory.add_many([{**item, "session": session} if session else item for item in items], user_id="u")
        memory.add("another's", "other", session="s")
        for number, session in enumerate(SESSIONS):
            told = memory.stats("u", session=session)
            assert (told.total, told.archived, told.kinds) == (number + 1, (number + 1) // 2, {f"{number}": number + 1})
            assert memory.stats("u", session=session, filter={"kind": "none"}).total == 0
        assert memory.stats("u", session="x").total == 0


def _in(scope: str | None, selector: str) -> bool:
    base = selector.removesuffix("/*")
    return scope is not None and (scope.startswith(f"{base}/") or scope == selector)


def test_users_are_those_that_have_memories(store: str) -> None:
    with open_store(store) as memory:
        due = Counter[str]()
        for number, user in enumerate(USERS):
            ids = [memory.add("word", user, archived=bool(count % 2)).id for count in range(number % 3 + 1)]
            if number % 4 == 1:
                memory.delete(ids.pop(), user_id=user)
            due[user] += len(ids)
        due = +due
        memory.stats("who asks only")
        memory.add_many([{"content": content, "user_id": "wordless"} for content in ("\u2060x", "the", "!?")])
        due["wordless"] = 3
        for limit in (1, 4, len(due), 1000):
            found = paged(lambda **q: memory.users(**q), limit=limit)
            assert [(each.user_id, each.count) for each in found] == sorted(due.items()), limit
        for user in due:
            memory.delete_many([each.id for each in everything(memory, user)], user_id=user)
        assert memory.users().items == []


@pytest.mark.parametrize("audit", [False, True])
def test_users_that_are_erased_are_not_named(store: str, audit: bool) -> None:
    def named() -> list[tuple[str, int]]:
        return [(each.user_id, each.count) for each in memory.users().items]

    with open_store(store) as memory:
        audit = audit and memory.capabilities().features.supports_audit is True
        for user in "abz":
            memory.add_many([{"content": "x", "tags": [tag]} for tag in ("one", "two")], user_id=user)
        assert named() == [("a", 2), ("b", 2), ("z", 2)]
        memory.erase("a", tag="one", dry_run=False)
        memory.erase("b", all=True, audit=audit, dry_run=False)
        memory.erase("z", all=True, dry_run=True)
        assert named() == [("a", 1), ("z", 2)]
        for user in "az":
            memory.erase(user, all=True, audit=audit, dry_run=False)
        for user in "qz":  # as many users as before, and the same one came last
            memory.add("x", user)
        assert named() == [("q", 1), ("z", 1)]


def test_users_come_between_pages(store: str) -> None:
    with open_store(store) as memory:
        for user in "bdf":
            memory.add("x", user)
        first = memory.users(limit=2)
        memory.add("x", "a")
        memory.add("x", "e")
        rest = memory.users(limit=2, cursor=first.next_cursor)
        assert [each.user_id for each in (*first.items, *rest.items)] == ["b", "d", "e", "f"]
        assert rest.next_cursor is None


def test_no_view_of_a_user_has_users(store: str) -> None:
    with open_store(store) as memory:
        memory.add("x", "u")
        view = memory.for_user("u")
        assert not hasattr(view, "users")
        assert [each.scope for each in view.scopes().items] == []
        assert view.health().status == "ok"


def test_a_forged_cursor_is_refused_or_shows_no_more_than_the_query(store: str) -> None:
    with open_store(store) as memory:
        memory.add("x", "u", scope="a")
        memory.add("x", "v", scope="b")
        for request in (UsersRequest(), ScopesRequest(user_id="u")):
            verb = memory.users if isinstance(request, UsersRequest) else memory.for_user("u").scopes
            with pytest.raises(InvalidRequestError, match="malformed"):
                verb(cursor=cursors.bind("\x00", request))
            assert len(verb(cursor=cursors.bind("", request)).items) == len(verb().items)
            assert verb(cursor=cursors.bind("z", request)).items == []


def test_health_touches_the_backend_and_leaves_no_trace(store: str) -> None:
    with open_store(store) as memory:
        memory.add("x", "u")
        for _ in range(3):
            health = memory.health()
            assert (health.status, health.provider) == ("ok", memory.capabilities().provider)
        assert [each.user_id for each in memory.users().items] == ["u"]
        try:
            assert [each.action for each in memory.audit("u")] == ["add"]
        except UnsupportedCapabilityError:
            assert memory.capabilities().provider == "mem0"


@pytest.mark.parametrize("name", [name for name in STORES if not name.endswith("-reembedding")])
def test_a_store_of_an_earlier_version_names_its_users(name: str, request: pytest.FixtureRequest) -> None:
    with open_store(Kept(request).url(name)) as memory:
        found = {each.user_id: each.count for each in memory.users().items}
        assert found == {user: memory.stats(user).total for user in found}
        assert {"ada", "Zoë 50%"} <= found.keys()
