"""The filter language against a simple model of it, written apart from the code."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from conftest import START, Clock, record
from hypothesis import given, settings
from hypothesis import strategies as st

from openmem import InvalidRequestError, Memory, MemoryRecord, MemorySource
from openmem.protocol.filters import OPERATORS, parse, predicate

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

SAMPLE: list[dict[str, Any]] = [
    {"kind": "a", "importance": 0.5, "pinned": True, "tags": ["a", "b"], "metadata": {"a": 1, "b": {"a": "x"}}},
    {"kind": "A", "importance": 1, "pinned": False, "tags": ["A"], "metadata": {"a": True, "b": "a.b"}},
    {"kind": "ab", "scope": "a/b", "source": {"app": "a", "page": 1}, "metadata": {"a": "1", "b": [1, "a"]}},
    {"scope": "a", "source": {"app": "ab"}, "metadata": {"a": 2**53 + 1, "a.b": 1}, "x-v": {"a": 0.5}},
    {"metadata": {"a": None, "b": {"a": None}}, "x-v": "é", "valid_to": START.replace(year=2999)},
    {"importance": 0.0, "metadata": {}, "x-v": [1, "a"], "valid_from": START.replace(year=1999)},
    {"tags": [], "metadata": {"a": 1.0, "b": -1}, "x-v": False, "external_id": "a"},
    {},
]


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
