"""The filter language against a simple model of it, written apart from the code."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmem import InvalidRequestError, Memory, MemorySource
from openmem.protocol.filters import OPERATORS, parse, predicate
from support.clocks import START, Clock
from support.filtering import FILTERS, MEMORIES, PLAIN, SAMPLE, SCALARS, as_record, selects
from support.scripted import record


@given(FILTERS, st.lists(MEMORIES, min_size=1, max_size=4))
def test_the_predicate_is_the_models(filter_: dict[str, Any], memories: list[dict[str, Any]]) -> None:
    test = predicate(parse(filter_))
    for memory in memories:
        assert test(as_record(memory)) == selects(filter_, memory)


def addable(memory: dict[str, Any]) -> dict[str, Any]:
    """Turn a drawn memory into the arguments of an add: what the provider sets is left out, and what it refuses."""
    fields = {name: value for name, value in memory.items() if name not in ("created_at", "version", "valid_to")}
    fields["content"] += " word"
    fields["tags"] = [tag for tag in fields.get("tags", ()) if tag]
    return {name: value for name, value in fields.items() if name not in ("kind", "scope") or value}


@given(FILTERS, st.lists(MEMORIES, min_size=1, max_size=4))
def test_list_and_search_select_what_the_model_selects(filter_: dict[str, Any], memories: list[dict[str, Any]]) -> None:
    clock = Clock()
    memory = Memory("memory://", embedder="test:4", clock=clock)
    kept = []
    for fields in memories:
        clock.now = fields["created_at"]
        kept.append(memory.add(user_id="u", **addable(fields)))
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


# --- logic, and names that are Python's own -------------------------------------------------------------------------


@given(FILTERS, FILTERS, MEMORIES)
def test_and_or_and_not_are_those_of_logic(one: dict[str, Any], other: dict[str, Any], memory: dict[str, Any]) -> None:
    def yes(filter_: dict[str, Any]) -> bool:
        return predicate(parse(filter_))(as_record(memory))

    assert yes({"not": one}) is not yes(one)
    assert yes({"and": [one, other]}) is (yes(one) and yes(other))
    assert yes({"or": [one, other]}) is (yes(one) or yes(other))
    assert yes({"not": {"or": [one, other]}}) is yes({"and": [{"not": one}, {"not": other}]})


@given(st.sampled_from(PLAIN), SCALARS, MEMORIES)
def test_operators_come_in_opposites(field: str, value: Any, memory: dict[str, Any]) -> None:
    def yes(condition: Any) -> bool:
        return predicate(parse({field: condition}))(as_record(memory))

    assert yes(value) is yes({"eq": value}) is yes({"in": [value]})
    assert yes({"ne": value}) is yes({"nin": [value]}) is not yes(value)
    assert yes({"exists": True}) is not yes({"exists": False})


@pytest.mark.parametrize("name", ["model_extra", "__dict__", "model_fields_set", "copy", "upper", "__class__"])
def test_python_s_own_attributes_are_no_fields(name: str) -> None:
    source = MemorySource(app="mail")
    assert not chosen({f"source.{name}": {"exists": True}}, source=source)
    assert not chosen({f"source.app.{name}": {"exists": True}}, source=source)
    assert not chosen({f"metadata.{name}": {"exists": True}}, metadata={})
    with pytest.raises(InvalidRequestError):
        parse({name: {"exists": True}})


def test_source_is_read_with_fields_of_its_own() -> None:
    source = MemorySource.model_validate({"app": "mail", "lang": {"code": "nb"}, "copy": 1})
    assert chosen({"source.app": "mail", "source.lang.code": "nb", "source.copy": 1}, source=source)
    assert chosen({"source.ref": {"exists": False}}, source=source)


def test_tags_are_matched_whole_and_by_case() -> None:
    for text in ("Urgent", "urg", "%", "urgent,", "", 50):
        assert not chosen({"tags": {"contains": text}}, tags=["urgent", "50%"])
    assert chosen({"tags": {"exists": True}}, tags=[])


@pytest.mark.parametrize("metadata", [None, {}, {"a": None}, {"a": 1}, {"a": [{"b": 1}]}, {"a": "b"}, {"a.b": 1}])
def test_a_path_goes_through_objects_only(metadata: dict[str, Any] | None) -> None:
    assert not chosen({"metadata.a.b": {"exists": True}}, metadata=metadata)


# --- both backends --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Memory]]:
    path = tmp_path_factory.mktemp("filters") / "f.db"
    memories = [Memory("memory://", embedder="none"), Memory(f"sqlite:///{path}", embedder="none")]
    for memory in memories:
        for number, fields in enumerate(SAMPLE):
            memory.add(f"word {number}", "u", **fields)
        memory.add("word of another", "v", kind="a")
    yield memories
    for memory in memories:
        memory.close()


@settings(max_examples=200)
@given(filter_=FILTERS)
def test_both_backends_select_what_the_model_selects(stores: list[Memory], filter_: dict[str, Any]) -> None:
    for memory in stores:
        every = memory.list("u").items
        assert len(every) == len(SAMPLE)
        expected = [item.content for item in every if selects(filter_, item.model_dump())]
        assert [item.content for item in memory.list("u", filter=filter_).items] == expected
        found = memory.search("word", "u", filter=filter_, mode="keyword")
        assert sorted(hit.memory.content for hit in found) == sorted(expected)
        assert (memory.context("word", "u", filter=filter_).citations == []) is (expected == [])


@given(filter_=FILTERS, limit=st.integers(1, 3))
def test_pages_under_a_filter_hold_each_memory_once(stores: list[Memory], filter_: dict[str, Any], limit: int) -> None:
    for memory in stores:
        walked, cursor = [], None
        while True:
            page = memory.list("u", filter=filter_, limit=limit, cursor=cursor)
            walked += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        assert walked == memory.list("u", filter=filter_).items


# --- what is no filter ----------------------------------------------------------------------------------------------


def fault(filter_: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        parse(filter_)
    return caught.value


@pytest.mark.parametrize(
    ("filter_", "hint"),
    [
        *[({"Kind": "a"}, "'kind'"), ({"createdat": 1}, "'created_at'"), ({"metdata.a": 1}, "'metadata'")],
        *[({"sorce.app": 1}, "'source'"), ({"colour.deep": 1}, "'metadata.colour.deep'"), ({"orr": []}, "'or'")],
        *[({"kind": {"contain": 1}}, "'contains'"), ({"kind": {"exist": True}}, "'exists'")],
        *[
            ({"kind": {"regex": "a"}}, "eq, ne, in"),
            ({"kind": {}}, "eq, ne, in"),
            ({"tags": {"in": ["a"]}}, "contains"),
        ],
        *[({"created_at": "2026-01-01"}, "time zone"), ({"valid_to": {"in": [START, "now"]}}, "time zone")],
    ],
)
def test_a_near_miss_is_named(filter_: dict[str, Any], hint: str) -> None:
    assert hint in fault(filter_).remedy


@given(st.text(st.characters(categories=["Ll"]), min_size=1, max_size=8))
def test_there_are_ten_operators_and_no_other(name: str) -> None:
    assert set(OPERATORS) == {"eq", "ne", "in", "nin", "gt", "gte", "lt", "lte", "exists", "contains"}
    if name not in OPERATORS:
        assert f"unknown filter operator '{name}'" in fault({"kind": {name: "a"}}).message


NO_OPERANDS = [None, [], {}, [1], {"a": 1}, b"a", object(), float("nan"), float("inf"), 2**63, -(2**63) - 1, 10**400]


@pytest.mark.parametrize("value", NO_OPERANDS, ids=range(len(NO_OPERANDS)))
@pytest.mark.parametrize("name", ["eq", "ne", "gt", "gte", "lt", "lte", "contains"])
def test_operands_are_texts_booleans_and_numbers_that_all_keep(name: str, value: Any) -> None:
    fault({"metadata.a": {name: value}})
    fault({"metadata.a": {"in": ["fine", value]}})


@pytest.mark.parametrize("depth", [16, 17])
@pytest.mark.parametrize("word", ["and", "or", "not"])
def test_nesting_ends_at_sixteen(word: str, depth: int) -> None:
    nested: dict[str, Any] = {"kind": "a"}
    for _ in range(depth):
        nested = {word: nested if word == "not" else [nested]}
    if depth == 16:
        assert chosen(nested, kind="a")
    else:
        assert "deeper than 16" in fault(nested).message
