"""A simple model of the filter language, written apart from the code, and filters and memories to try it on."""

from __future__ import annotations

import operator
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from openmem import MemoryRecord, MemorySource
from support.clocks import START
from support.scripted import record

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
        "session": TEXTS.filter(bool),
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
PLAIN += ["session", "metadata.b", "metadata.a.a", "metadata.missing", "x-v", "x-v.a", "embedding_model", "external_id"]


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
