"""memory:// keeps what it is given: copies, time, supersession, pages, batches, scopes, the audit log."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openmem import AsyncMemory, ConflictError, InvalidRequestError, Memory, MemoryInput, MemoryRecord, NotFoundError
from openmem.adapters.memory.records import Records as Memories
from support.clocks import DAY, START, Clock
from support.processes import run
from support.stores import everything

STATES: Any = ["superseded", "expired", "upcoming", "archived"]
STEPS = st.lists(st.integers(0, 3), min_size=1, max_size=10)


def store(**options: Any) -> tuple[Memory, Clock]:
    clock = Clock()
    return Memory("memory://", clock=clock, **{"embedder": "none", **options}), clock


def ids(memories: list[MemoryRecord]) -> list[str]:
    return [memory.id for memory in memories]


# --- copies -----------------------------------------------------------------------------------------------------------

RICH: dict[str, Any] = {
    "tags": ["t"],
    "metadata": {"k": {"deep": [1]}},
    "source": {"app": "a", "pages": [1]},
    "x-v": {"k": [1]},
}


def spoil(memory: MemoryRecord) -> None:
    """Change everything about a record that can be changed."""
    memory.content = "spoilt"
    memory.tags.append("spoilt")  # type: ignore[union-attr]
    memory.metadata["k"]["deep"].append("spoilt")  # type: ignore[index]
    memory.source.app = "spoilt"  # type: ignore[union-attr]
    (memory.source.model_extra or {})["pages"].append("spoilt")  # type: ignore[union-attr]
    (memory.model_extra or {})["x-v"]["k"].append("spoilt")
    memory.supersedes = ["spoilt"]
    memory.archived = True


@pytest.mark.parametrize(
    "verb", ["add", "add again", "get", "update", "list", "search", "related", "history", "add_many"]
)
def test_what_is_returned_is_the_callers_own(verb: str) -> None:
    memory, _ = store(embedder="test:16")
    added = memory.add("one word", "u", external_id="e", **RICH)
    other = memory.add("other word", "u")
    answers = {
        "add": lambda: added,
        "add again": lambda: memory.add("one word", "u", external_id="e"),
        "get": lambda: memory.get(added.id),
        "update": lambda: memory.update(added.id),
        "list": lambda: memory.list("u").items[1],
        "search": lambda: memory.search("one", "u")[0].memory,
        "related": lambda: memory.related(other.id)[0].memory,
        "history": lambda: memory.history(added.id)[0],
        "add_many": lambda: memory.add_many([{"content": "one word", "user_id": "u", "external_id": "e"}])[0].memory,
    }
    answer = answers[verb]()
    assert answer is not None
    before = memory.get(added.id)
    assert answer == before
    spoil(answer)
    assert memory.get(added.id) == before
    assert [hit.memory.id for hit in memory.search("one", "u", mode="keyword")] == [added.id]


def test_what_was_given_stays_the_callers_own() -> None:
    memory, _ = store(embedder="test:3")
    given_ = {"tags": ["t"], "metadata": {"k": [1]}, "source": {"pages": [1]}, "x-v": [1], "vector": [1.0, 0.0, 0.0]}
    added = memory.add("c", "u", **given_)
    before = memory.get(added.id)
    for value in (given_["tags"], given_["metadata"]["k"], given_["source"]["pages"], given_["x-v"]):  # type: ignore[index,call-overload]
        value.append("spoilt")
    given_["vector"][0] = -1.0  # type: ignore[index]
    assert memory.get(added.id) == before
    assert memory.search(None, "u", vector=[1.0, 0.0, 0.0])[0].score == 1.0


def test_an_item_of_a_batch_stays_as_the_caller_made_it() -> None:
    memory, _ = store(embedder="test:3")
    item = MemoryInput(content="c", user_id="u", metadata={"k": [1]})
    first, second = memory.add_many([item, item])
    assert first.id != second.id
    assert item.vector is None
    assert first.memory is not None
    first.memory.metadata["k"].append(2)  # type: ignore[index]
    assert item.metadata == {"k": [1]}


# --- time -------------------------------------------------------------------------------------------------------------

OFFSETS = st.none() | st.integers(-3, 3)
RECORDS = st.lists(st.tuples(OFFSETS, OFFSETS, st.booleans(), st.integers(0, 2)), max_size=8)


def day(clock: Clock, number: int | None) -> datetime | None:
    return None if number is None else clock.now + number * DAY


def states_at(memory: MemoryRecord, moment: datetime, *, past: bool) -> set[str]:
    """Name the states of TIM-2 to TIM-4, written out plainly."""
    found = set()
    if memory.superseded_at and memory.superseded_at <= moment:
        found.add("superseded")
    if memory.valid_to and memory.valid_to <= moment:
        found.add("expired")
    begins = memory.valid_from or (memory.created_at if past else None)
    if begins and moment < begins:
        found.add("upcoming")
    if memory.archived:
        found.add("archived")
    return found


@given(RECORDS, st.none() | st.integers(-6, 6), st.lists(st.sampled_from(STATES), unique=True))
def test_reads_see_what_is_current(records: list[Any], as_of: int | None, include: Any) -> None:
    memory, clock = store()
    for begins, ends, archived, wait in records:
        if begins is None or ends is None or begins < ends:
            valid = {"valid_from": day(clock, begins), "valid_to": day(clock, ends)}
            memory.add("word", "u", archived=archived, **valid)
        clock.tick(days=wait)
    kept = everything(memory, "u")
    moment = day(clock, as_of)
    expected = {
        each.id for each in kept if states_at(each, moment or clock.now, past=moment is not None) <= set(include)
    }
    selection: dict[str, Any] = {"as_of": moment, "include": include}
    assert set(ids(memory.list("u", limit=500, **selection).items)) == expected
    assert {hit.memory.id for hit in memory.search("word", "u", limit=100, **selection)} == expected
    assert {c.memory_id for c in memory.context("word", "u", token_budget=10_000, **selection).citations} == expected


@given(st.lists(st.tuples(st.none() | st.integers(0, 2), st.none() | st.integers(1, 4), st.integers(0, 9)), max_size=8))
def test_as_of_answers_what_list_answered_then(steps: list[Any]) -> None:
    memory, clock = store()
    seen: dict[datetime, set[str]] = {}
    for begins, lasts, target in steps:
        free = [each for each in everything(memory, "u") if each.superseded_by is None]
        replaced = [free[target].id] if target < len(free) else None
        start = day(clock, begins)
        ends = (start or clock.now) + lasts * DAY if lasts else None
        memory.add("c", "u", valid_from=start, valid_to=ends, supersedes=replaced)
        for _ in range(2):
            seen[clock.now] = set(ids(memory.list("u", limit=500).items))
            clock.tick(days=0.5)
    for moment, expected in seen.items():
        assert set(ids(memory.list("u", limit=500, as_of=moment).items)) == expected


def test_the_ends_of_validity_are_half_open() -> None:
    memory, clock = store()
    added = memory.add("c", "u", valid_from=START + DAY, valid_to=START + 2 * DAY)
    instant = timedelta(microseconds=1)
    for moment, current in [
        (START + DAY - instant, False),
        (START + DAY, True),
        (START + 2 * DAY - instant, True),
        (START + 2 * DAY, False),
    ]:
        clock.now = moment
        assert bool(memory.list("u").items) is current
        assert memory.get(added.id).id == added.id


def test_since_and_until_are_inclusive() -> None:
    memory, clock = store()
    added = []
    for _ in range(3):
        added.append(memory.add("word", "u"))
        clock.tick()
    first, middle, last = (each.created_at for each in added)
    bounds: list[tuple[dict[str, datetime], int]] = [({"since": middle}, 2), ({"until": middle}, 2)]
    bounds += [({"since": middle, "until": middle}, 1), ({"since": last, "until": first}, 0)]
    for selection, count in bounds:
        assert len(memory.list("u", **selection).items) == count
        assert len(memory.search("word", "u", **selection)) == count


def test_a_clock_behind_the_writers_hides_nothing() -> None:
    memory, clock = store()
    added = memory.add("word", "u")
    clock.tick(seconds=-5)
    assert ids(memory.list("u").items) == [added.id]
    changed = memory.update(added.id, tags=["t"])
    assert changed.updated_at == added.created_at


# --- supersession -----------------------------------------------------------------------------------------------------


def test_a_successor_replaces() -> None:
    memory, clock = store()
    old = memory.add("old word", "u")
    clock.tick()
    new = memory.add("new word", "u", supersedes=[old.id, old.id])
    assert new.supersedes == [old.id]
    replaced = memory.get(old.id)
    assert (replaced.superseded_by, replaced.superseded_at) == (new.id, new.created_at)
    assert (replaced.version, replaced.updated_at) == (1, old.updated_at)
    assert ids(memory.list("u").items) == [new.id]
    assert ids([hit.memory for hit in memory.search("word", "u")]) == [new.id]
    assert ids(memory.list("u", include=["superseded"]).items) == [new.id, old.id]


def test_a_successor_of_tomorrow_replaces_tomorrow() -> None:
    memory, clock = store()
    old = memory.add("c", "u")
    new = memory.add("c", "u", supersedes=[old.id], valid_from=START + DAY)
    assert ids(memory.list("u").items) == [old.id]
    clock.tick(days=1)
    assert ids(memory.list("u").items) == [new.id]


def test_deleting_the_successor_frees_and_deleting_the_old_forgets_it() -> None:
    memory, _ = store()
    old = memory.add("c", "u")
    new = memory.add("c", "u", supersedes=[old.id])
    memory.delete(new.id)
    assert memory.get(old.id) == old
    again = memory.add("c", "u", supersedes=[old.id])
    memory.delete(old.id)
    rest = memory.get(again.id)
    assert (rest.supersedes, rest.version) == (None, 1)


def test_superseding_twice_and_in_a_circle_are_conflicts() -> None:
    memory, _ = store()
    one = memory.add("c", "u")
    two = memory.add("c", "u", supersedes=[one.id])
    three = memory.add("c", "u", supersedes=[two.id])
    before = everything(memory, "u")
    with pytest.raises(ConflictError, match=two.id):
        memory.add("c", "u", supersedes=[one.id])
    for start in (one, two, three):
        with pytest.raises(ConflictError):
            memory.update(start.id, supersedes=[three.id])
    assert everything(memory, "u") == before


class Model:
    """Who supersedes whom, kept in the plainest way."""

    def __init__(self) -> None:
        self.supersedes: dict[str, list[str]] = {}

    def successor(self, memory_id: str) -> str | None:
        return next((each for each, named in self.supersedes.items() if memory_id in named), None)

    def chain(self, memory_id: str) -> list[str]:
        following = self.successor(memory_id)
        return [memory_id, *(self.chain(following) if following else [])]

    def verdict(self, successor: str | None, named: list[str]) -> type[Exception] | None:
        for each in named:
            if each not in self.supersedes:
                return InvalidRequestError
            if (successor and each in self.chain(successor)) or self.successor(each) is not None:
                return ConflictError
        return None

    def hold(self, memory: Memory) -> None:
        kept = {each.id: each for each in everything(memory, "u")}
        assert kept.keys() == self.supersedes.keys()
        for memory_id, each in kept.items():
            assert (each.supersedes or []) == self.supersedes[memory_id]
            assert each.superseded_by == self.successor(memory_id)
            assert (each.superseded_at is None) == (each.superseded_by is None)
        current = {memory_id for memory_id in kept if self.successor(memory_id) is None}
        assert set(ids(memory.list("u", limit=500).items)) == current


TARGETS = st.lists(st.integers(0, 7), max_size=2, unique=True)


@given(
    st.lists(st.tuples(st.sampled_from(["add", "update", "clear", "delete"]), st.integers(0, 7), TARGETS), max_size=14)
)
def test_random_histories_keep_the_links_whole(steps: list[tuple[str, int, list[int]]]) -> None:
    memory, clock = store()
    model, made = Model(), ["mem_never"]
    for verb, subject, targets in steps:
        clock.tick()
        at = made[min(subject, len(made) - 1)]
        named = [made[min(target, len(made) - 1)] for target in targets]
        named = list(dict.fromkeys(named))
        if verb == "add":
            expected = model.verdict(None, named)
        elif at not in model.supersedes:
            expected = NotFoundError
        else:
            fresh = [each for each in named if each not in model.supersedes[at]]
            expected = model.verdict(at, fresh) if verb == "update" else None
        arguments = {"update": {"supersedes": named}, "clear": {"supersedes": None}}
        try:
            if verb == "add":
                at = memory.add("c", "u", supersedes=named).id
                made.append(at)
            elif verb == "delete":
                memory.delete(at)
            else:
                memory.update(at, **arguments[verb])  # type: ignore[arg-type]
            assert expected is None
        except (ConflictError, NotFoundError, InvalidRequestError) as error:
            assert type(error) is expected
        if expected is None:
            apply(model, verb, at, named)
        model.hold(memory)


def apply(model: Model, verb: str, at: str, named: list[str]) -> None:
    if verb == "add":
        model.supersedes[at] = named
    elif verb == "update":
        model.supersedes[at] = list(dict.fromkeys([*model.supersedes[at], *named]))
    elif verb == "clear":
        model.supersedes[at] = []
    else:
        del model.supersedes[at]
        model.supersedes = {key: [each for each in value if each != at] for key, value in model.supersedes.items()}


def test_history_walks_the_whole_chain_from_anywhere() -> None:
    memory, clock = store()
    chain = [memory.add("c", "u")]
    for number in range(4):
        clock.tick()
        chain.append(memory.add(f"c{number}", "u", supersedes=[chain[-1].id], archived=number == 2))
    beside = memory.add("c", "u")
    joined = memory.add("joins two", "u", supersedes=[beside.id, chain[-1].id])
    for member in (*chain, beside, joined):
        assert set(ids(memory.history(member.id))) == {*ids(chain), beside.id, joined.id}
        moments = [each.created_at for each in memory.history(member.id)]
        assert moments == sorted(moments)


# --- pages ------------------------------------------------------------------------------------------------------------

CHANGES = st.lists(st.tuples(st.sampled_from(["add", "delete", "update", "tick"]), st.integers(0, 30)), max_size=4)


@given(st.integers(0, 12), st.integers(1, 5), st.lists(CHANGES, max_size=8), st.booleans())
def test_pages_lose_and_repeat_nothing(count: int, limit: int, between: list[list[Any]], ticking: bool) -> None:
    memory, clock = store()
    for _ in range(count):
        memory.add("c", "u", scope="a")
        clock.tick(seconds=int(ticking))
    throughout = set(ids(everything(memory, "u")))
    seen: list[str] = []
    cursor, waiting = None, iter(between)
    while True:
        page = memory.list("u", scope="a", limit=limit, cursor=cursor)
        seen += ids(page.items)
        assert len(page.items) == limit or page.next_cursor is None
        assert len(seen) == len(set(seen))  # here, so that a page that comes again does not do so for ever
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        throughout -= change(memory, clock, next(waiting, []))
    assert throughout <= set(seen)


def change(memory: Memory, clock: Clock, changes: list[tuple[str, int]]) -> set[str]:
    """Add, delete and change records between two pages; return the ids deleted."""
    gone = set()
    for verb, number in changes:
        there = ids(everything(memory, "u"))
        if verb == "add":
            memory.add("c", "u", scope="a/b")
        elif verb == "tick":
            clock.tick()
        elif there and verb == "delete":
            gone.add(there[number % len(there)])
            memory.delete(there[number % len(there)])
        elif there:
            memory.update(there[number % len(there)], content="changed")
    return gone


@given(st.integers(0, 12), st.integers(1, 13))
def test_no_empty_page_follows_the_last(count: int, limit: int) -> None:
    memory, clock = store()
    added = []
    for number in range(count):
        added.append(memory.add("c", "u").id)
        clock.tick(seconds=number % 2)
    sizes, seen, cursor = [], [], None
    while True:
        page = memory.list("u", limit=limit, cursor=cursor)
        sizes.append(len(page.items))
        seen += page.items
        assert len(seen) <= count
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sizes == ([limit] * ((count - 1) // limit) + [(count - 1) % limit + 1] if count else [0])
    order = [(each.created_at, each.id) for each in seen]
    assert order == sorted(order, reverse=True)
    assert set(ids(seen)) == set(added)


EXTERNAL = st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.integers(0, 2)), max_size=8)


@given(EXTERNAL, st.sampled_from("abcdefg"), st.integers(0, 2), st.booleans())
def test_a_list_by_external_id_is_a_list_like_any(adds: list[Any], asked: str, number: int, archived: bool) -> None:
    memory, clock = store()
    for external_id, put_away, n in adds:
        memory.add("c", "u", external_id=external_id, archived=put_away, metadata={"n": n})
        memory.add("c", "v", external_id=external_id)
        clock.tick()
    include: Any = ["archived"] if archived else None
    every = [each for each in everything(memory, "u") if archived or not each.archived]
    expected = [each for each in every if each.external_id == asked and (each.metadata or {})["n"] == number]
    asking: dict[str, Any] = {"external_id": asked, "metadata.n": number}
    page = memory.list("u", filter=asking, include=include)
    assert (page.items, page.next_cursor) == (expected, None)
    assert memory.list("u", filter={"or": [asking]}, include=include).items == expected


def test_a_list_by_external_id_reads_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, _ = store()
    kept = memory.add("c", "u", external_id="e")
    with monkeypatch.context() as patched:
        patched.delattr(Memories, "newest_first")
        assert memory.list("u", filter={"external_id": "e"}).items == [kept]


# --- scopes and users -------------------------------------------------------------------------------------------------

SEGMENTS = st.sampled_from(["a", "A", "ab", "b", "%", "_", ".", "a b", "é", "?"])
PATHS = st.lists(SEGMENTS, min_size=1, max_size=3)


@given(st.lists(st.none() | PATHS, max_size=8), PATHS, st.booleans())
def test_scopes_select_by_whole_segments(scopes: list[list[str] | None], path: list[str], below: bool) -> None:
    memory, _ = store()
    expected = set()
    for segments in scopes:
        added = memory.add("word", "u", scope="/".join(segments) if segments else None)
        inside = segments is not None and segments[: len(path)] == path
        if inside and not (below and segments == path):
            expected.add(added.id)
    selector = "/".join(path) + ("/*" if below else "")
    assert set(ids(memory.list("u", scope=selector).items)) == expected
    assert {hit.memory.id for hit in memory.search("word", "u", scope=selector)} == expected


USERS = st.sampled_from(["ann", "Ann", "ann ", "an", "a%", "a_n", "*", "ann/x", "ánn"])


@given(st.lists(st.tuples(USERS, st.sampled_from(["red word", "blue word"])), max_size=10), USERS)
def test_users_match_exactly(adds: list[tuple[str, str]], asked: str) -> None:
    memory, _ = store(embedder="test:32")
    own = {memory.add(content, user).id for user, content in adds if user == asked}
    for user, content in adds:
        if user != asked:
            memory.add(content, user)
    mine = memory.for_user(asked)
    assert set(ids(mine.list().items)) == own
    assert {hit.memory.id for hit in mine.search("word", limit=100)} == own
    assert {citation.memory_id for citation in mine.context("word", token_budget=5000).citations} == own
    assert mine.stats().total == len(own)
    for each in own:
        assert {hit.memory.id for hit in mine.related(each, limit=50)} == own - {each}


def test_a_user_without_records() -> None:
    memory, _ = store()
    memory.add("c", "someone else")
    nobody = memory.for_user("nobody")
    page = nobody.list()
    assert (page.items, page.next_cursor) == ([], None)
    assert (nobody.search("c"), nobody.context("c").text, nobody.stats().total) == ([], "", 0)


# --- deletion, stats, batches -----------------------------------------------------------------------------------------


def test_a_deleted_record_is_gone_from_every_verb() -> None:
    memory, _ = store(embedder="test:16")
    kept = memory.add("kept word", "u")
    gone = memory.add("gone word", "u", external_id="e", tags=["t"])
    memory.delete(gone.id)
    for call in (memory.get, memory.delete, memory.update, memory.related, memory.history):
        with pytest.raises(NotFoundError):
            call(gone.id)  # type: ignore[operator]
    assert ids(everything(memory, "u")) == [kept.id]
    for mode in ("vector", "keyword", "hybrid"):
        assert gone.id not in {hit.memory.id for hit in memory.search("gone word", "u", mode=mode)}  # type: ignore[arg-type]
    assert gone.id not in memory.context("gone word", "u").text
    assert (memory.stats("u").total, memory.stats("u").tags) == (1, {})
    assert memory.add("gone word", "u", external_id="e").id != gone.id
    assert gone.id in {entry.memory_id for entry in memory.audit("u")}


@given(RECORDS, st.data())
def test_stats_count_what_is_there(records: list[Any], data: st.DataObject) -> None:
    memory, clock = store()
    for begins, ends, archived, wait in records:
        if begins is None or ends is None or begins < ends:
            valid = {"valid_from": day(clock, begins), "valid_to": day(clock, ends)}
            kind = data.draw(st.sampled_from([None, "fact", "event"]))
            tags = data.draw(st.lists(st.sampled_from("xy"), max_size=2, unique=True))
            scope = data.draw(st.sampled_from([None, "a", "a/b"]))
            memory.add("c", "u", archived=archived, kind=kind, tags=tags, scope=scope, **valid)
        clock.tick(days=wait)
    kept = everything(memory, "u")
    states = Counter(state for each in kept for state in states_at(each, clock.now, past=False))
    stats = memory.stats("u")
    assert (stats.total, stats.current) == (len(kept), len(memory.list("u", limit=500).items))
    assert {state: getattr(stats, state) for state in STATES} == {state: states[state] for state in STATES}
    assert stats.kinds == Counter(each.kind for each in kept if each.kind)
    assert stats.scopes == Counter(each.scope for each in kept if each.scope)
    assert stats.tags == Counter(tag for each in kept for tag in each.tags or ())


def test_a_batch_stores_what_add_stores() -> None:
    batched, clock = store(embedder="test:16")
    singly = Memory("memory://", embedder="test:16", clock=clock)
    items: list[dict[str, Any]] = [{"content": f"word {number}", **RICH} for number in range(1203)]
    results = batched.add_many(items, user_id="u")
    for item in items:
        singly.add(user_id="u", **item)

    def bare(memory: Memory) -> list[dict[str, Any]]:
        return sorted(
            (each.model_dump(exclude={"id"}) for each in everything(memory, "u")), key=lambda x: str(x["content"])
        )

    assert bare(batched) == bare(singly)
    assert [result.memory and result.memory.content for result in results] == [item["content"] for item in items]
    assert [result.id for result in results] == [result.memory and result.memory.id for result in results]


def test_items_of_a_batch_see_the_items_before_them() -> None:
    memory, _ = store()
    first, again, other = memory.add_many(
        [
            {"content": "one", "external_id": "e"},
            {"content": "two", "external_id": "e"},
            {"content": "three", "supersedes": ["mem_never"]},
        ],
        user_id="u",
    )
    assert first.id == again.id
    assert again.memory is not None
    assert (again.memory.content, again.memory.version) == ("two", 2)
    assert other.error is not None
    assert other.error.code == "invalid_request"
    assert memory.stats("u").total == 1


def test_delete_many_answers_item_by_item() -> None:
    memory, _ = store()
    one, two = memory.add("c", "u"), memory.add("c", "u")
    theirs = memory.add("c", "v")
    results = memory.delete_many([one.id, "mem_never", one.id, theirs.id, two.id], user_id="u")
    assert [result.id for result in results] == [one.id, "mem_never", one.id, theirs.id, two.id]
    assert [result.error and result.error.code for result in results] == [None, *["not_found"] * 3, None]
    assert (memory.stats("u").total, memory.stats("v").total) == (0, 1)


# --- audit ------------------------------------------------------------------------------------------------------------


def test_the_audit_log_names_each_verb_as_the_caller_made_it() -> None:
    memory, clock = store(embedder="test:16")
    added = memory.add("word", "u", scope="s", source={"app": "one"})
    for call in (
        lambda: memory.get(added.id),
        lambda: memory.update(added.id, tags=["t"]),
        lambda: memory.list("u", scope="s/*"),
        lambda: memory.search("word", "u"),
        lambda: memory.context("word", "u"),
        lambda: memory.history(added.id),
        lambda: memory.stats("u"),
        lambda: memory.related(added.id),
        lambda: memory.add_many([{"content": "c", "user_id": "u"}]),
        lambda: memory.delete(added.id),
    ):
        clock.tick()
        call()
    actions = [entry.action for entry in memory.audit("u")]
    distinct = list(dict.fromkeys(actions))
    verbs = ["delete", "add_many", "related", "stats", "history", "context", "search", "list", "update", "get", "add"]
    assert distinct == verbs
    moments = [entry.timestamp for entry in memory.audit("u") if entry.timestamp]
    assert moments == sorted(moments, reverse=True)


def test_the_audit_log_is_selected_by_app_and_moment_and_user() -> None:
    memory, clock = store()
    for number, app in enumerate(["one", "two", "one"]):
        memory.add("c", "u", source={"app": app}, scope=str(number))
        clock.tick()
    memory.add("c", "v", source={"app": "one"})
    assert [entry.scope for entry in memory.audit("u", app="one")] == ["2", "0"]
    assert [entry.scope for entry in memory.audit("u", since=START + timedelta(seconds=1))] == ["2", "1"]
    assert [entry.scope for entry in memory.audit("u", limit=2)] == ["2", "1"]
    assert len(memory.audit("v")) == 1
    assert memory.audit("nobody") == []


def test_the_audit_log_keeps_as_many_entries_as_configured() -> None:
    memory, _ = store(audit_limit=3)
    for number in range(5):
        memory.add("c", "u", scope=str(number))
    memory.add("c", "v")
    assert [entry.scope for entry in memory.audit("u")] == ["4", "3", "2"]


def test_a_refused_call_leaves_no_entry() -> None:
    memory, _ = store()
    with pytest.raises(NotFoundError):
        memory.get("mem_never")
    with pytest.raises(InvalidRequestError):
        memory.add("c", "u", supersedes=["mem_never"])
    assert memory.audit("u") == []


# --- both colours -----------------------------------------------------------------------------------------------------


def test_the_async_client_answers_alike() -> None:
    memory, clock = store(embedder="test:16")
    added = memory.add("word", "u", scope="s", **RICH)
    found = memory.search("word", "u")

    async def work() -> tuple[MemoryRecord, Any, int]:
        async with AsyncMemory("memory://", embedder="test:16", clock=clock) as other:
            user = other.for_user("u")
            record = await user.add("word", scope="s", **RICH)
            return record, await user.search("word"), (await user.stats()).total

    record, hits, total = run(work)
    assert record.model_dump(exclude={"id"}) == added.model_dump(exclude={"id"})
    assert [hit.score for hit in hits] == [hit.score for hit in found]
    assert total == 1


# --- the same on both backends in this process -------------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    clock = Clock()
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/s.db?synchronous=normal"
    with Memory(url, embedder="none", clock=clock) as memory:
        yield memory, clock


def test_conflicts_name_the_successor_and_change_nothing(both: tuple[Memory, Clock]) -> None:
    memory, _ = both
    chain = [memory.add("c", "u")]
    for _ in range(3):
        chain.append(memory.add("c", "u", supersedes=[chain[-1].id]))
    beside, theirs = memory.add("c", "u"), memory.add("c", "v")
    before = everything(memory, "u")
    for old, new in pairwise(chain):
        for attempt in (
            lambda old=old: memory.add("c", "u", supersedes=[beside.id, old.id]),
            lambda old=old: memory.update(beside.id, content="other", supersedes=[old.id]),
        ):
            with pytest.raises(ConflictError, match=new.id):
                attempt()
    for start in chain:
        with pytest.raises(ConflictError):
            memory.update(start.id, supersedes=[chain[-1].id])
    for named in ("mem_never", theirs.id):
        with pytest.raises(InvalidRequestError, match=named):
            memory.add("c", "u", supersedes=[beside.id, named])
    assert everything(memory, "u") == before


def test_the_middle_of_a_chain_is_deleted_and_what_it_replaced_is_free(both: tuple[Memory, Clock]) -> None:
    memory, _ = both
    first = memory.add("c", "u")
    middle = memory.add("c", "u", supersedes=[first.id])
    last = memory.add("c", "u", supersedes=[middle.id])
    memory.delete(middle.id)
    rest = memory.get(last.id)
    assert (rest.supersedes, rest.version, rest.updated_at) == (None, 1, last.updated_at)
    assert memory.get(first.id) == first
    assert ids(memory.history(first.id)) == [first.id]
    assert memory.update(last.id, supersedes=[first.id]).supersedes == [first.id]
    assert memory.get(first.id).superseded_by == last.id
    assert memory.update(last.id, supersedes=None).supersedes is None
    assert memory.get(first.id) == first


def test_as_of_and_include_tell_what_was_and_what_is_not_current(both: tuple[Memory, Clock]) -> None:
    memory, clock = both
    old = memory.add("old", "u")
    clock.tick(days=1)
    new = memory.add("new", "u", supersedes=[old.id], valid_to=START + 3 * DAY)
    away = memory.add("away", "u", archived=True)
    later = memory.add("later", "u", valid_from=START + 2 * DAY)

    def listed(**options: Any) -> set[str]:
        return set(ids(memory.list("u", **options).items))

    assert listed() == {new.id}
    assert listed(as_of=START) == {old.id}
    assert listed(as_of=START - DAY) == set()
    assert listed(as_of=START + 2 * DAY) == {new.id, later.id}
    assert listed(as_of=START + 3 * DAY) == {later.id}
    assert listed(include=["superseded"]) == {old.id, new.id}
    assert listed(include=["upcoming", "archived"]) == {new.id, later.id, away.id}
    assert listed(as_of=START + 3 * DAY, include=["expired"]) == {new.id, later.id}
    assert listed(include=STATES) == {old.id, new.id, away.id, later.id}
    assert memory.get(old.id).superseded_at == START + DAY


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 12),
    limit=st.integers(1, 5),
    between=st.lists(CHANGES, min_size=1, max_size=8),
    ticking=st.booleans(),
)
def test_pages_lose_and_repeat_nothing_while_others_write(
    both: tuple[Memory, Clock], count: int, limit: int, between: list[list[Any]], ticking: bool
) -> None:
    memory, clock = both
    for left in everything(memory, "u"):
        memory.delete(left.id)
    for _ in range(count):
        memory.add("c", "u", scope="a")
        clock.tick(seconds=int(ticking))
    throughout = set(ids(everything(memory, "u")))
    pages, cursor, waiting = [], None, iter(between)
    while not pages or cursor:
        page = memory.list("u", scope="a", limit=limit, cursor=cursor)
        pages.append(ids(page.items))
        cursor = page.next_cursor
        throughout -= change(memory, clock, next(waiting, [])) if cursor else set()
    seen = [each for page in pages for each in page]
    assert len(seen) == len(set(seen))
    assert throughout <= set(seen)
    assert all(len(page) == limit for page in pages[:-1])


def test_an_external_id_is_one_record_of_its_user(both: tuple[Memory, Clock]) -> None:
    memory, clock = both
    first = memory.add("one", "u", external_id="e", tags=["t"], metadata={"a": 1}, kind="fact")
    theirs = memory.add("theirs", "v", external_id="e")
    clock.tick()
    again = memory.add("two", "u", external_id="e", metadata={"b": 2})
    assert (again.id, again.version, again.created_at) == (first.id, 2, first.created_at)
    assert again.updated_at == clock.now
    assert (again.content, again.tags, again.metadata, again.kind) == ("two", ["t"], {"b": 2}, "fact")
    assert memory.get(theirs.id) == theirs
    assert ids([hit.memory for hit in memory.search("two", "u")]) == [again.id]
    assert memory.search("one", "u") == []
    memory.delete(first.id)
    assert memory.add("three", "u", external_id="e").id != first.id
    assert memory.stats("u").total == 1


def test_a_batch_answers_item_by_item(both: tuple[Memory, Clock]) -> None:
    memory, _ = both
    old = memory.add("old", "u")
    items = [
        {"content": "replaces", "supersedes": [old.id]},
        {"content": "comes too late", "supersedes": [old.id]},
        {"content": "\x00"},
        {"content": "names nothing", "supersedes": ["mem_never"]},
        {"content": "is of another", "user_id": "v"},
        {"content": "good", "external_id": "e"},
        {"content": "better", "external_id": "e"},
        {"no": "content"},
    ]
    results = memory.add_many(items, user_id="u")
    codes = [result.error and result.error.code for result in results]
    assert codes == [None, "conflict", *["invalid_request"] * 3, None, None, "invalid_request"]
    assert [result.id is None for result in results] == [code is not None for code in codes]
    assert [each.content for each in everything(memory, "u")] == ["better", "replaces", "old"]
    assert everything(memory, "v") == []
    gone = memory.delete_many([old.id, "mem_never", str(results[0].id), old.id], user_id="u")
    assert [result.error and result.error.code for result in gone] == [None, "not_found", None, "not_found"]
    assert ids(everything(memory, "u")) == [results[5].id]
