"""The filter language against a simple model of it, written apart from the code."""

from __future__ import annotations

import operator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from conftest import START, Clock, record
from hypothesis import given
from hypothesis import strategies as st

from openmem import Memory, MemoryRecord, MemorySource
from openmem.filters import parse, predicate

# --- the model: a filter and a plain dict, the rules of FIL-1 to FIL-3 spelled out ---------------------------------


def read(memory: dict[str, Any], field: str) -> Any:
    value: Any = memory
    for key in field.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def sort_of(value: Any) -> str:
    kinds = [(bool, "truth"), (int, "number"), (float, "number"), (str, "text"), (datetime, "moment"), (list, "list")]
    return next((name for kind, name in kinds if isinstance(value, kind)), "other")


def alike(stored: Any, value: Any) -> bool:
    return sort_of(stored) == sort_of(value) and stored == value


def holds(stored: Any, op: str, value: Any) -> bool:
    if op == "exists":
        return (stored is not None) is value
    if op in ("ne", "nin"):
        return not holds(stored, {"ne": "eq", "nin": "in"}[op], value)
    if op == "eq":
        return alike(stored, value)
    if op == "in":
        return any(alike(stored, each) for each in value)
    if op == "contains":
        if isinstance(stored, list):
            return any(alike(each, value) for each in stored)
        return isinstance(stored, str) and isinstance(value, str) and value in stored
    same = sort_of(stored) == sort_of(value) and sort_of(stored) in ("number", "text", "moment")
    compare = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}[op]
    return same and bool(compare(stored, value))


def selects(filter_: dict[str, Any], memory: dict[str, Any]) -> bool:
    return all(entry(key, value, memory) for key, value in filter_.items())


def entry(key: str, value: Any, memory: dict[str, Any]) -> bool:
    if key == "and":
        return all(selects(part, memory) for part in value)
    if key == "or":
        return any(selects(part, memory) for part in value)
    if key == "not":
        return not selects(value, memory)
    operations = value if isinstance(value, dict) else {"eq": value}
    return all(holds(read(memory, key), op, operand) for op, operand in operations.items())


# --- memories and filters drawn from a few values that meet often ---------------------------------------------------

TEXTS = st.sampled_from(["", "a", "A", "ab", "b", "1", "true", "é", "%", "_", "a.b"])
NUMBERS = st.sampled_from([0, 1, -1, 2, 0.0, 1.0, 0.5, 1e300, 2**53, 2**53 + 1, float(2**53)])
SCALARS = TEXTS | NUMBERS | st.booleans()
VALUES = (
    SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.sampled_from("ab"), SCALARS, max_size=2) | st.none()
)
MOMENTS = st.sampled_from([START + timedelta(days=day) for day in (-1, 0, 1)])
MEMORIES = st.fixed_dictionaries(
    {"content": TEXTS, "created_at": MOMENTS},
    optional={
        "kind": TEXTS,
        "scope": TEXTS,
        "importance": st.sampled_from([0.0, 0.5, 1.0]),
        "pinned": st.booleans(),
        "tags": st.lists(TEXTS, max_size=3),
        "valid_to": MOMENTS,
        "version": st.integers(1, 3),
        "source": st.fixed_dictionaries({}, optional={"app": TEXTS, "type": st.just("explicit"), "page": NUMBERS}),
        "metadata": st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3),
        "x-v": VALUES,
    },
)
PLAIN = ["content", "kind", "scope", "importance", "pinned", "version", "source.app", "source.page", "metadata.a"]
PLAIN += ["metadata.b", "metadata.a.a", "metadata.missing", "x-v", "x-v.a", "embedding_model", "external_id"]


def conditions(operands: st.SearchStrategy[Any], *, ordered: bool = True) -> st.SearchStrategy[Any]:
    lists = st.lists(operands, min_size=1, max_size=3)
    found = [operands]
    found += [st.fixed_dictionaries({op: operands}) for op in ("eq", "ne", "contains")]
    found += [st.fixed_dictionaries({op: lists}) for op in ("in", "nin")]
    found += [st.fixed_dictionaries({"exists": st.booleans()})]
    comparable = operands.filter(lambda value: not isinstance(value, bool))
    if ordered:
        found += [st.fixed_dictionaries({op: comparable}) for op in ("gt", "gte", "lt", "lte")]
        found += [st.fixed_dictionaries({"gte": comparable, "lt": comparable})]
    return st.one_of(found)


LEAVES = st.one_of(
    st.dictionaries(st.sampled_from(PLAIN), conditions(SCALARS), min_size=1, max_size=2),
    st.dictionaries(
        st.sampled_from(["created_at", "valid_to", "updated_at"]), conditions(MOMENTS), min_size=1, max_size=2
    ),
    st.fixed_dictionaries(
        {"tags": st.fixed_dictionaries({"contains": TEXTS}) | st.fixed_dictionaries({"exists": st.booleans()})}
    ),
)
FILTERS = st.recursive(
    LEAVES | st.just({}),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"and": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"or": st.lists(inner, min_size=1, max_size=3)}),
        st.tuples(inner, inner).map(lambda pair: {**pair[0], **pair[1]}),
    ),
    max_leaves=6,
)


def as_record(memory: dict[str, Any]) -> MemoryRecord:
    source = memory.get("source")
    return record(**{**memory, **({"source": MemorySource(**source)} if source is not None else {})})


@given(FILTERS, st.lists(MEMORIES, min_size=1, max_size=4))
def test_the_predicate_is_the_models(filter_: dict[str, Any], memories: list[dict[str, Any]]) -> None:
    test = predicate(parse(filter_))
    for memory in memories:
        assert test(as_record(memory)) == selects(filter_, memory)


@given(FILTERS, st.lists(MEMORIES.filter(lambda memory: memory["content"]), min_size=1, max_size=4))
def test_list_and_search_select_what_the_model_selects(filter_: dict[str, Any], memories: list[dict[str, Any]]) -> None:
    memory, clock = Memory("memory://", embedder="test:4", clock=(clock := Clock())), clock
    kept = []
    for fields in memories:
        clock.now = fields["created_at"]
        given_ = {**fields, "content": f"{fields['content']} word"}
        for name in ("created_at", "version", "valid_to"):
            given_.pop(name, None)
        if not given_.get("scope", "x"):
            del given_["scope"]
        given_["tags"] = [tag for tag in given_.get("tags", ()) if tag] or None
        if not given_.get("kind", "x"):
            del given_["kind"]
        added = memory.add(user_id="u", **{name: value for name, value in given_.items() if value is not None})
        kept.append(added)
    clock.now = START + timedelta(days=2)
    expected = {each.id for each in kept if selects(filter_, each.model_dump())}
    assert {item.id for item in memory.list("u", filter=filter_, limit=500).items} == expected
    assert {hit.memory.id for hit in memory.search("word", "u", filter=filter_, limit=100)} == expected


# --- the rules one by one -------------------------------------------------------------------------------------------


def chosen(filter_: dict[str, Any], **fields: Any) -> bool:
    return predicate(parse(filter_))(record(**fields))


@pytest.mark.parametrize("field", ["kind", "metadata.topic", "metadata.topic.deep", "source.app", "x-v", "valid_to"])
@pytest.mark.parametrize("fields", [{}, {"metadata": {"topic": None}, "source": MemorySource(), "x-v": None}])
def test_a_missing_or_null_field(field: str, fields: dict[str, Any]) -> None:
    value: Any = START if field == "valid_to" else "x"
    satisfied = {
        op
        for op, operand in [
            *((op, value) for op in ("eq", "ne", "gt", "gte", "lt", "lte", "contains")),
            *(("in", [value]), ("nin", [value]), ("exists", True)),
        ]
        if chosen({field: {op: operand}}, **fields)
    }
    assert satisfied == {"ne", "nin"}
    assert chosen({field: {"exists": False}}, **fields)


@pytest.mark.parametrize(
    ("stored", "filter_", "expected"),
    [
        (1, 1.0, True),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        (False, {"ne": 0}, True),
        ("1", 1, False),
        (1, "1", False),
        (10, {"gt": 9}, True),
        ("10", {"gt": "9"}, False),
        ("10", {"gt": 9}, False),
        (True, {"gt": 0}, False),
        (2**53 + 1, {"gt": float(2**53)}, True),
        (2**53 + 1, 2**53, False),
        ("Straße", "STRASSE", False),
        ("é", "e\u0301", False),
        ("a%b", {"contains": "%"}, True),
        ("ab", {"contains": "%"}, False),
        ("abc", {"contains": ""}, True),
        (["a", 1, True], {"contains": 1}, True),
        (["a", True], {"contains": 1}, False),
        ([1], 1, False),
        ({"a": 1}, {"exists": True}, True),
        (5, {"in": [4, 5.0]}, True),
        (True, {"in": [0, 1]}, False),
        (True, {"nin": [0, 1]}, True),
        (5, {"gte": 5, "lte": 5}, True),
        (5, {"gte": 5, "lt": 5}, False),
    ],
    ids=str,
)
def test_values_compare_by_kind(stored: Any, filter_: Any, expected: bool) -> None:
    assert chosen({"metadata.v": filter_}, metadata={"v": stored}) is expected


def test_keys_of_one_object_must_all_hold() -> None:
    filter_ = {"kind": "fact", "importance": {"gte": 0.5}}
    assert chosen(filter_, kind="fact", importance=0.5)
    assert not chosen(filter_, kind="fact", importance=0.4)
    assert not chosen(filter_, kind="event", importance=0.5)


def test_and_or_not_combine() -> None:
    either = {"or": [{"kind": "fact"}, {"tags": {"contains": "t"}}], "not": {"archived": True}}
    assert chosen(either, kind="fact")
    assert chosen(either, tags=["s", "t"])
    assert not chosen(either, tags=["s"])
    assert not chosen(either, kind="fact", archived=True)
    assert chosen({"not": {"and": [{"kind": "a"}, {"importance": 1}]}}, kind="a", importance=0.0)


def test_an_empty_filter_selects_everything() -> None:
    assert chosen({})
    assert not chosen({"not": {}})


@pytest.mark.parametrize(
    "moment",
    [
        START,
        "2026-01-01T00:00:00Z",
        "2026-01-01T02:00:00+02:00",
        datetime(2025, 12, 31, 19, tzinfo=timezone(-timedelta(hours=5))),
    ],
    ids=str,
)
def test_moments_compare_across_time_zones(moment: Any) -> None:
    assert chosen({"created_at": moment})
    assert chosen({"created_at": {"gte": moment, "lte": moment}})
    assert not chosen({"created_at": {"gt": moment}})
    assert chosen({"valid_to": {"gt": moment}}, valid_to=START + timedelta(microseconds=1))


def test_a_date_in_metadata_is_text() -> None:
    assert chosen({"metadata.day": {"lt": "2026-02"}}, metadata={"day": "2026-01-31"})
    assert not chosen({"metadata.day": {"lt": 2026}}, metadata={"day": "2026-01-31"})


def test_metadata_paths_are_keys_and_not_patterns() -> None:
    assert chosen({"metadata.a b": 1}, metadata={"a b": 1})
    assert chosen({"metadata.$where": "1"}, metadata={"$where": "1"})
    assert chosen({"metadata.'; DROP TABLE": 1}, metadata={"'; DROP TABLE": 1})
    assert not chosen({"metadata.a%": 1}, metadata={"ab": 1})
    assert not chosen({"metadata.0": 1}, metadata={"0": {"a": 1}})


def test_the_filter_given_is_not_changed() -> None:
    filter_ = {"or": [{"created_at": {"gt": "2026-01-01T00:00:00Z"}}, {"kind": {"in": ["a"]}}]}
    before = repr(filter_)
    Memory("memory://", embedder="none").list("u", filter=filter_)
    assert repr(filter_) == before


def test_metadata_changes_are_seen_by_the_next_filter() -> None:
    memory = Memory("memory://", embedder="none")
    added = memory.add("c", "u", metadata={"n": 1})
    memory.update(added.id, metadata={"n": 2})
    assert memory.list("u", filter={"metadata.n": 1}).items == []
    assert [item.id for item in memory.list("u", filter={"metadata.n": 2}).items] == [added.id]
    assert UTC is not None
