"""Bad input: a typed error before any I/O, and nothing stored."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem import (
    AsyncMemory,
    ConflictError,
    InvalidRequestError,
    Memory,
    NotFoundError,
    OMPError,
    PayloadTooLargeError,
    UnsupportedCapabilityError,
)
from openmem._generated.models import AddManyRequest
from openmem._generated.verbs import VERBS
from openmem.embedding.testing import WordEmbedder
from openmem.protocol import cursors, filters
from openmem.protocol.validation import build, check
from openmem.types import MemorySource
from support.clocks import START
from support.scripted import EMBEDDING, trap
from support.stores import everything

VALID: dict[str, dict[str, Any]] = {
    "add": {"content": "c", "user_id": "u"},
    "get": {"id": "m"},
    "update": {"id": "m"},
    "delete": {"id": "m"},
    "list": {"user_id": "u"},
    "search": {"query": "q", "user_id": "u"},
    "context": {"query": "q", "user_id": "u"},
    "audit": {"user_id": "u"},
    "add_many": {"items": [{"content": "c", "user_id": "u"}]},
    "get_many": {"ids": ["m"]},
    "update_many": {"items": [{"id": "m"}]},
    "delete_many": {"ids": ["m"]},
    "related": {"id": "m"},
    "history": {"id": "m"},
    "stats": {"user_id": "u"},
    "scopes": {"user_id": "u"},
    "users": {},
    "health": {},
    "remember": {"messages": [{"role": "user", "content": "c"}], "user_id": "u"},
    "erase": {"user_id": "u", "tag": "t"},
}
"""The least that each verb takes."""

UNKEPT = st.sampled_from(["\x00", "\ud800", "\udbff", "\udc00", "\udfff"])
BAD_TEXT = st.tuples(st.text(max_size=3), UNKEPT, st.text(max_size=3)).map("".join)
NAIVE = [datetime(2026, 1, 1), "2026-01-01T00:00:00", "2026-01-01"]
Call = Callable[[Memory], Any]


def ask(verb: str, **fields: Any) -> Call:
    return lambda memory: getattr(memory, verb)(**{**VALID[verb], **fields})


class Deaf(WordEmbedder):
    """An embedder that must not be reached."""

    async def embed(self, texts: Any) -> Any:
        raise AssertionError("the embedder was reached")


def check_error(error: OMPError) -> None:
    """Hold an error to the protocol: a remedy, a provider, a request id, and text that can go over the wire."""
    assert error.remedy
    assert error.provider
    assert error.request_id
    json.dumps(error.envelope(), ensure_ascii=False).encode()


def refused(call: Call, kind: type[OMPError] = InvalidRequestError) -> OMPError:
    """Hold a call to be refused before adapter and embedder are reached; return the error."""
    adapter = trap()
    with pytest.raises(kind) as caught:
        call(Memory(adapter, embedder=Deaf(dimension=16)))
    assert (adapter.reached, adapter.opened) == ([], 0)
    check_error(caught.value)
    return caught.value


def stores_nothing(call: Call, kind: type[OMPError] = InvalidRequestError) -> OMPError:
    """Hold a call on memory:// to be refused and to leave no trace; return the error."""
    memory = Memory("memory://", embedder="test:16")
    memory.add("kept", "u", scope="s")
    return changes_nothing(memory, call, kind)


def changes_nothing(memory: Memory, call: Call, kind: type[OMPError]) -> OMPError:
    def state() -> Any:
        users = ["u", "ann", "bob"]
        return [(everything(memory, user), memory.stats(user), changes(memory, user)) for user in users]

    before = state()
    with pytest.raises(kind) as caught:
        call(memory)
    assert state() == before
    check_error(caught.value)
    return caught.value


def changes(memory: Memory, user: str) -> list[str | None]:
    return [entry.action for entry in memory.audit(user, limit=1000) if entry.action not in ("list", "stats")]


def makes_no_file(call: Call) -> None:
    """Hold a call on sqlite:// to be refused as a first request, and to make no file."""
    with tempfile.TemporaryDirectory() as folder:
        with (
            Memory(f"sqlite:///{folder}/s.db", embedder="test:16") as memory,
            pytest.raises(InvalidRequestError) as caught,
        ):
            call(memory)
        assert list(Path(folder).iterdir()) == []
    check_error(caught.value)


def refused_everywhere(call: Call) -> OMPError:
    stores_nothing(call)
    makes_no_file(call)
    return refused(call)


# --- every field of every verb, by its schema ---------------------------------------------------------------------


def schemas(verb: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return each field of a verb with its JSON schema, null left out and references followed."""
    whole = VERBS[verb].request.model_json_schema()

    def follow(node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in node:
            node = {**whole["$defs"][node["$ref"].rpartition("/")[2]], **node}
        for part in node.get("anyOf", ()):
            if part.get("type") != "null":
                node = {**follow(part), **node}
        return {**node, "items": follow(node["items"])} if "items" in node else node

    for name, node in whole["properties"].items():
        yield name, follow(node)


def bad_values(schema: dict[str, Any]) -> list[Any]:
    """List values that a schema refuses: beyond each bound, and of other types."""
    if "enum" in schema:
        return ["nope", 5, ""]
    if schema.get("format") == "date-time":
        return [*NAIVE, "yesterday", "", True, 10**30]
    match schema.get("type"):
        case "string":
            long = ["x" * (schema["maxLength"] + 1)] if "maxLength" in schema else []
            return [
                *long,
                *([""] if "minLength" in schema else []),
                *([" ", "\n\t\u2003"] if schema.get("pattern") == "\\S" else []),
                5,
                ["x"],
                b"\xff",
            ]
        case "integer" | "number":
            beyond = [schema["minimum"] - 1] if "minimum" in schema else []
            beyond += [schema["maximum"] + 1] if "maximum" in schema else []
            return [*beyond, "many", [1], math.nan, math.inf, -math.inf, 10**400, -(10**400)]
        case "boolean":
            return ["perhaps", 2, [True]]
        case "array":
            least = [[]] if schema.get("minItems") else []
            inner = [[value] for value in bad_values(schema["items"])]
            return [*least, *inner, "text", 5, {"a": 1}, [None] * (schema["maxItems"] + 1)]
        case "object":
            many = {f"x-{number}": 1 for number in range(257)}
            return ["text", 5, [1], {1: 1}] + ([many] if "maxProperties" in schema else [])
    return []


EVERY_FIELD = [(verb, name, schema) for verb in VALID for name, schema in schemas(verb)]


def test_the_table_of_verbs_is_whole() -> None:
    assert VALID.keys() == VERBS.keys() - {"capabilities"}
    assert len(EVERY_FIELD) > 80


@pytest.mark.parametrize(
    ("verb", "field", "schema"), EVERY_FIELD, ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_bound_of_every_field(verb: str, field: str, schema: dict[str, Any]) -> None:
    values = bad_values(schema)
    assert values
    for value in values:
        error = (
            refused_everywhere(ask(verb, **{field: value}))
            if verb != "remember"
            else refused(ask(verb, **{field: value}))
        )
        assert field in str(error)


TEXTS = [(verb, name) for verb, name, schema in EVERY_FIELD if schema.get("type") == "string" and "enum" not in schema]
LISTS = [(verb, name) for verb, name, schema in EVERY_FIELD if schema.get("items", {}).get("type") == "string"]


@given(st.sampled_from([case for case in TEXTS if "format" not in case]), BAD_TEXT)
def test_texts_that_no_backend_keeps(case: tuple[str, str], text: str) -> None:
    verb, field = case
    refused(ask(verb, **{field: text}))


@given(st.sampled_from(LISTS), BAD_TEXT)
def test_texts_in_lists_that_no_backend_keeps(case: tuple[str, str], text: str) -> None:
    verb, field = case
    refused(ask(verb, **{field: ["fine", text]}))


NESTED: dict[str, Callable[[str], Call]] = {
    "metadata key": lambda text: ask("add", metadata={text: 1}),
    "metadata value": lambda text: ask("add", metadata={"k": text}),
    "metadata deep key": lambda text: ask("add", metadata={"k": [{"deep": {text: 1}}]}),
    "metadata deep value": lambda text: ask("add", metadata={"k": [{"deep": [text]}]}),
    "update metadata key": lambda text: ask("update", metadata={text: None}),
    "update metadata value": lambda text: ask("update", metadata={"k": {"l": text}}),
    "extension name": lambda text: ask("add", **{f"x-{text}": 1}),
    "extension value": lambda text: ask("add", **{"x-vendor": text}),
    "extension deep": lambda text: ask("update", **{"x-vendor": [{text: 1}]}),
    "unknown name": lambda text: ask("add", **{f"y{text}": 1}),
    "source app": lambda text: ask("add", source={"app": text}),
    "source ref": lambda text: ask("add", source={"ref": text}),
    "source of your own": lambda text: ask("add", source={"page": [text]}),
    "source key": lambda text: ask("add", source={text: 1}),
    "filter value": lambda text: ask("list", filter={"metadata.k": text}),
    "filter list": lambda text: ask("search", filter={"metadata.k": {"in": ["a", text]}}),
    "filter field": lambda text: ask("context", filter={f"metadata.{text}": 1}),
    "filter unknown field": lambda text: ask("list", filter={f"q{text}": 1}),
    "filter operator": lambda text: ask("list", filter={"content": {text: 1}}),
    "filter deep": lambda text: ask("list", filter={"not": {"or": [{"content": {"contains": text}}]}}),
    "message content": lambda text: ask("remember", messages=[{"role": "user", "content": text}]),
    "message name": lambda text: ask("remember", messages=[{"role": "user", "content": "c", "name": text}]),
    "message key": lambda text: ask("remember", messages=[{"role": "user", "content": "c", "x": {text: 1}}]),
    "filter source": lambda text: ask("search", filter={f"source.{text}": 1}),
    "filter extension": lambda text: ask("search", filter={f"x-{text}": 1}),
    "filter in an extension": lambda text: ask("search", filter={f"x-a.{text}": 1}),
    "message of your own": lambda text: ask("remember", messages=[{"role": "user", "content": "c", "x": [text]}]),
    "remember metadata": lambda text: ask("remember", metadata={"k": [text]}),
}


@pytest.mark.parametrize("place", NESTED)
@given(text=BAD_TEXT)
def test_nested_texts_that_no_backend_keeps(place: str, text: str) -> None:
    refused(NESTED[place](text))


@given(st.sampled_from([place for place in NESTED if place.split()[0] not in ("message", "remember")]), BAD_TEXT)
def test_nothing_is_stored_of_a_text_that_no_backend_keeps(place: str, text: str) -> None:
    stores_nothing(NESTED[place](text))


@given(st.text(min_size=1).filter(str.strip))
def test_any_other_text_is_kept_verbatim(text: str) -> None:
    memory = Memory("memory://", embedder="none")
    if "\x00" in text or not text.strip():
        return
    added = memory.add(text, text[:256] if text[:256].strip() else "u", metadata={text: text})
    read = memory.get(added.id)
    assert (read.content, read.metadata) == (text, {text: text})


# --- scopes, moments, vectors, JSON -------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["/", "/a", "a/", "a//b", "*", "a*", "*/a", "a/*/b", "a/**", "**", "/*"])
@pytest.mark.parametrize("verb", ["add", "update", "list", "search", "context", "related"])
def test_malformed_scopes(verb: str, scope: str) -> None:
    assert "scope" in str(refused_everywhere(ask(verb, scope=scope)))


@pytest.mark.parametrize("verb", ["add", "update"])
def test_a_selector_is_no_scope_to_store(verb: str) -> None:
    refused_everywhere(ask(verb, scope="a/*"))


@given(st.datetimes(), st.sampled_from([(v, f) for v, f, schema in EVERY_FIELD if schema.get("format") == "date-time"]))
def test_naive_moments(moment: datetime, case: tuple[str, str]) -> None:
    verb, field = case
    assert field in str(refused(ask(verb, **{field: moment})))
    assert field in str(refused(ask(verb, **{field: moment.isoformat()})))


@pytest.mark.parametrize("field", ["created_at", "updated_at", "valid_from", "valid_to", "superseded_at"])
@pytest.mark.parametrize("moment", [*NAIVE, "soon", 5, True, None, ["2026-01-01T00:00:00Z"]])
def test_filters_compare_moments_with_aware_moments_only(field: str, moment: Any) -> None:
    assert field in str(refused_everywhere(ask("list", filter={field: {"gt": moment}})))


@pytest.mark.parametrize("verb", ["add", "list"])
def test_moments_out_of_range_in_utc(verb: str) -> None:
    field = {"add": "valid_to", "list": "since"}[verb]
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"):
        refused_everywhere(ask(verb, **{field: text}))


def test_a_validity_must_not_end_before_it_begins() -> None:
    for end in (START, START.replace(year=2025)):
        refused_everywhere(ask("add", valid_from=START, valid_to=end))


def test_an_update_cannot_end_validity_before_it_begins() -> None:
    memory = Memory("memory://", embedder="none")
    added = memory.add("kept", "u", valid_from=START)
    error = changes_nothing(memory, lambda m: m.update(added.id, valid_to=START), InvalidRequestError)
    assert "valid_to" in str(error)


@given(st.sampled_from(["add", "search", "update"]), st.integers(1, 40).filter(lambda size: size != 16))
def test_wrong_dimension(verb: str, size: int) -> None:
    fields = {"content": "new"} if verb == "update" else {}
    error = refused_everywhere(ask(verb, vector=[0.5] * size, **fields))
    assert f"{size} numbers" in str(error)
    assert "16" in str(error)
    assert EMBEDDING.model in str(error)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 10**400])
@pytest.mark.parametrize("verb", ["add", "search"])
def test_vectors_of_finite_numbers_only(verb: str, bad: float) -> None:
    refused_everywhere(ask(verb, vector=[0.5] * 15 + [bad]))


def test_vectors_need_a_store_that_has_them() -> None:
    memory = Memory("memory://", embedder="none")
    call = ask("add", vector=[1.0])
    error = changes_nothing(memory, call, UnsupportedCapabilityError)
    assert "embedder" in str(error)


class Foreign:
    pass


NO_JSON = [math.nan, math.inf, -math.inf, b"bytes", {1, 2}, (1, 2), Decimal(1), START, Foreign(), 1j, {"k": {1: 2}}]
NO_JSON += [[math.nan], {"k": {"l": [Foreign()]}}, {None: 1}, 10**5000, -(10**5000), {"k": [10**5000]}]


@pytest.mark.parametrize("value", NO_JSON, ids=range(len(NO_JSON)))
def test_what_json_does_not_bring_back(value: Any) -> None:
    refused_everywhere(ask("add", metadata={"k": value}))
    refused_everywhere(ask("add", **{"x-vendor": value}))
    refused_everywhere(ask("add", source={"k": value}))
    refused_everywhere(ask("update", metadata={"k": value}))
    refused(ask("remember", metadata={"k": value}))


def nested(depth: int, kind: str = "dict") -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"k": value} if kind == "dict" else [value]
    return value


def circle() -> Any:
    value: dict[str, Any] = {}
    value["k"] = value
    return value


@pytest.mark.parametrize(
    "value", [nested(33), nested(2000), nested(100_000, "list"), circle()], ids=["33", "2000", "lists", "circle"]
)
def test_deep_nesting(value: Any) -> None:
    for call in (ask("add", metadata={"k": value}), ask("add", **{"x-vendor": value}), ask("add", source={"k": value})):
        assert "deeper than 32" in str(refused_everywhere(call))


def test_nesting_up_to_the_limit_is_kept() -> None:
    memory = Memory("memory://", embedder="none")
    added = memory.add("c", "u", metadata=nested(32))
    assert memory.get(added.id).metadata == nested(32)


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_of_64_bits_are_kept(number: int) -> None:
    memory = Memory("memory://", embedder="none")
    added = memory.add("c", "u", metadata={"n": number})
    assert memory.get(added.id).metadata == {"n": number}
    assert [item.id for item in memory.list("u", filter={"metadata.n": number}).items] == [added.id]


def test_a_patch_takes_no_more_metadata_than_an_add() -> None:
    many = {str(number): number for number in range(257)}
    refused_everywhere(ask("add", metadata=many))
    refused_everywhere(ask("update", metadata=many))


# --- limits, cursors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "limit"),
    [("search", 0), ("search", 101), ("search", -1), ("list", 0), ("list", 501), ("related", 101), ("audit", 1001)],
)
def test_limits_out_of_bounds(verb: str, limit: int) -> None:
    assert "limit" in str(refused_everywhere(ask(verb, limit=limit)))


@pytest.mark.parametrize(
    ("verb", "limit"), [("search", 1), ("search", 100), ("list", 1), ("list", 500), ("audit", 1000)]
)
def test_limits_within_bounds(verb: str, limit: int) -> None:
    ask(verb, limit=limit)(Memory("memory://", embedder="none"))


@given(st.text(max_size=80))
def test_malformed_cursors(cursor: str) -> None:
    assert "cursor" in str(refused_everywhere(ask("list", cursor=cursor)))


PAYLOADS = st.recursive(
    st.none() | st.text() | st.integers() | st.booleans(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)
TRIPLES = st.tuples(st.just(START.isoformat()) | PAYLOADS, PAYLOADS, PAYLOADS).map(list)


def written(payload: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")


@given(PAYLOADS | TRIPLES)
def test_forged_cursors(payload: Any) -> None:
    refused(ask("list", cursor=written(payload)))


@pytest.mark.parametrize(
    "place",
    [
        ["2020-01-01T00:00:00", "m1"],
        ["2026-W01-1", "m1"],
        [START.isoformat(), "\ud800"],
        [START.isoformat(), "\0"],
    ],
)
def test_forged_places_under_the_right_query(place: list[str], tmp_path: Path) -> None:
    for url in ("memory://", f"sqlite:///{tmp_path}/a.db"):
        with Memory(url, embedder="none") as memory, pytest.raises(InvalidRequestError, match="cursor"):
            query = build("list", {"user_id": "u"})
            memory.list("u", cursor=cursors.bind(written(place), query))  # type: ignore[arg-type]


def test_a_deep_cursor_on_a_deep_stack() -> None:
    cursor = base64.urlsafe_b64encode(b"[" * 760).decode().rstrip("=")

    def below(depth: int, memory: Memory) -> Any:
        return below(depth - 1, memory) if depth else memory.list("u", cursor=cursor)

    refused(lambda memory: below(400, memory))


QUERIES = [
    {"user_id": "u"},
    {"user_id": "v"},
    {"user_id": "u", "scope": "s"},
    {"user_id": "u", "tag": "t"},
    {"user_id": "u", "filter": {"kind": "fact"}},
    {"user_id": "u", "filter": {"kind": "event"}},
    {"user_id": "u", "since": START},
    {"user_id": "u", "until": datetime(2030, 1, 1, tzinfo=UTC)},
    {"user_id": "u", "as_of": datetime(2030, 1, 1, tzinfo=UTC)},
    {"user_id": "u", "include": ["archived"]},
]


@pytest.mark.parametrize("other", QUERIES[1:], ids=str)
def test_foreign_cursors(other: dict[str, Any]) -> None:
    memory = Memory("memory://", embedder="none")
    for user in ("u", "v"):
        for _ in range(3):
            memory.add("c", user, scope="s", tags=["t"], kind="fact")
    ours = memory.list("u", limit=1).next_cursor
    assert ours is not None
    assert memory.list("u", limit=2, cursor=ours).items  # another limit is the same query
    assert memory.list("u", cursor=ours, include=[], filter={}).items  # which say nothing
    refused(ask("list", **{**other, "cursor": ours}))


# --- filters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter_", "hint"),
    [
        ({"content": {"eqq": "x"}}, "'eq'"),
        ({"metadata.n": {"gtee": 1}}, "'gte'"),
        ({"metadata.n": {"$in": [1]}}, "'in'"),
        ({"importanse": 1}, "'importance'"),
        ({"tag": "x"}, "'tags'"),
        ({"nott": {"kind": "x"}}, "'not'"),
        ({"topic": "billing"}, "metadata.topic"),
        ({"metadata": {"topic": "x"}}, "metadata.topic"),
        ({"kind.deep": "x"}, "'kind'"),
        ({"tags": "x"}, "contains"),
        ({"kind": None}, "exists"),
    ],
)
def test_a_wrong_filter_names_what_was_meant(filter_: dict[str, Any], hint: str) -> None:
    for verb in ("list", "search", "context"):
        assert hint in str(refused_everywhere(ask(verb, filter=filter_)))


MALFORMED: list[Any] = [
    *({"and": 1}, {"or": []}, {"and": [1]}, {"or": {"kind": "x"}}, {"not": []}, {"not": None}, {"kind": {}}),
    *({"kind": {"in": "x"}}, {"kind": {"nin": [None]}}, {"kind": {"exists": "yes"}}),
    *({"kind": {"gt": True}}, {"kind": ["x"]}, {"metadata.": 1}, {"metadata..a": 1}, {"metadata.a.": 1}, {".": 1}),
    *({"": 1}, {"x-": 1}, {"x-a.": 1}, {"metadata.n": math.nan}, {"metadata.n": {"lt": math.inf}}),
    *(
        {"metadata.n": b"x"},
        {"metadata.n": {"eq": {"a": 1}}},
        {"metadata.n": 10**400},
        {"metadata.n": {"in": [-(10**5000)]}},
    ),
    {str(number): 1 for number in range(65)},
]


@pytest.mark.parametrize("filter_", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_filters(filter_: Any) -> None:
    refused_everywhere(ask("list", filter=filter_))


@pytest.mark.parametrize(
    "wrap", [lambda inner: {"not": inner}, lambda inner: {"and": [inner]}, lambda inner: {"or": [inner]}]
)
@pytest.mark.parametrize("depth", [17, 5000])
def test_deep_filters(wrap: Callable[[Any], Any], depth: int) -> None:
    filter_: Any = {"kind": "x"}
    for _ in range(depth):
        filter_ = wrap(filter_)
    assert "deeper" in str(refused_everywhere(ask("list", filter=filter_)))


WORDS = st.sampled_from(
    [
        *("and", "or", "not", "eq", "ne", "in", "nin", "gt", "gte", "lt", "lte", "exists", "contains", "kind", "tags"),
        *("metadata", "metadata.a", "metadata.a.b", "source.app", "created_at", "importance", "x-a", "x-a.b", "id"),
        *("2026-01-01T00:00:00Z", "fact", "", ".", "$ne"),
    ]
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | WORDS | st.just(10**400) | BAD_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(WORDS | st.text(max_size=4) | BAD_TEXT, ANY_JSON, max_size=4))
def test_a_filter_of_any_shape_is_answered_or_refused(filter_: dict[str, Any]) -> None:
    memory = Memory("memory://", embedder="none")
    memory.add("c", "u", kind="fact", tags=["fact"], metadata={"a": {"b": 1}}, importance=1, **{"x-a": [1]})
    try:
        assert len(memory.list("u", filter=filter_).items) <= 1
        assert len(memory.search("c", "u", filter=filter_)) <= 1
    except InvalidRequestError as error:
        check_error(error)
        refused(ask("list", filter=filter_))


@given(ANY_JSON)
def test_metadata_of_any_shape_is_kept_or_refused(value: Any) -> None:
    memory = Memory("memory://", embedder="none")
    try:
        added = memory.add("c", "u", metadata={"k": value}, **{"x-k": value})
    except InvalidRequestError as error:
        check_error(error)
        assert memory.stats("u").total == 0
        return
    assert json.dumps(memory.get(added.id).metadata) == json.dumps({"k": value})


# --- what is unknown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "name", "near"),
    [
        ("add", "tag", "'tags'"),
        ("add", "meta_data", "'metadata'"),
        ("add", "colour", "x-"),
        ("add", "created_at", "x-"),
        ("add", "version", "x-"),
        ("add", "embedding_model", "x-"),
        ("update", "superseded_by", "'supersedes'"),
        ("update", "on_conflict", "x-"),
        ("update", "importanc", "'importance'"),
    ],
)
def test_unknown_fields_are_refused(verb: str, name: str, near: str) -> None:
    error = refused_everywhere(ask(verb, **{name: "value"}))
    assert f"'{name}'" in str(error)
    assert near in str(error)


@pytest.mark.parametrize("verb", [verb for verb in VALID if verb not in ("add", "update")])
def test_unknown_arguments_are_no_arguments(verb: str) -> None:
    adapter = trap()
    with pytest.raises(TypeError, match="colour"):
        ask(verb, colour="red")(Memory(adapter))
    assert adapter.reached == []


BAD_ITEMS: list[Any] = [
    *({}, {"content": "c"}, {"content": " ", "user_id": "u"}, {"content": "c", "user_id": "u", "colour": 1}, None, 5),
    *("text", ["c", "u"], {"content": "c", "user_id": "u", "valid_to": datetime(2026, 1, 1)}, {1: 2}),
    *({"content": "c\x00", "user_id": "u"}, {"content": "c", "user_id": "u", "metadata": {"\ud800": 1}}),
    *({"content": "c", "user_id": "u", "y\ud800": 1}, {"content": "c", "user_id": "u", "vector": [1.0]}),
    {"content": "c", "user_id": "u", "metadata": {"k": 10**5000}},
]


@pytest.mark.parametrize("item", BAD_ITEMS, ids=range(len(BAD_ITEMS)))
def test_one_bad_item_fails_alone(item: Any) -> None:
    memory = Memory("memory://", embedder="test:16")
    first, bad, last = memory.add_many([{"content": "one", "user_id": "u"}, item, {"content": "two", "user_id": "u"}])
    assert (bad.id, bad.memory) == (None, None)
    assert bad.error is not None
    assert bad.error.code == "invalid_request"
    json.dumps(bad.model_dump(mode="json"), ensure_ascii=False).encode()
    assert [each.memory and each.memory.content for each in (first, last)] == ["one", "two"]
    assert memory.stats("u").total == 2


def test_a_batch_of_bad_items_reaches_nothing() -> None:
    adapter = trap()
    results = Memory(adapter).add_many([{"content": ""}, 5])
    assert [result.error and result.error.code for result in results] == ["invalid_request"] * 2
    assert adapter.reached == []


def test_an_empty_batch_and_one_too_large() -> None:
    adapter = trap()
    assert Memory(adapter).add_many([]) == Memory(adapter).delete_many([]) == []
    assert Memory(adapter).update_many([]) == Memory(adapter).get_many([]) == []
    assert Memory(adapter).get_many(external_ids=[]) == []
    assert adapter.reached == []
    refused_everywhere(ask("add_many", items=[{}] * 10_001))
    assert AddManyRequest.model_fields["items"].metadata


# --- ownership and versions ---------------------------------------------------------------------------------------

BY_ID: dict[str, Callable[[Memory, str, str], Any]] = {
    "get": lambda memory, id_, user: memory.get(id_, user_id=user),
    "update": lambda memory, id_, user: memory.update(id_, user_id=user, content="stolen"),
    "empty update": lambda memory, id_, user: memory.update(id_, user_id=user),
    "update with a version": lambda memory, id_, user: memory.update(id_, user_id=user, tags=["x"], if_version=99),
    "delete": lambda memory, id_, user: memory.delete(id_, user_id=user),
    "delete with a version": lambda memory, id_, user: memory.delete(id_, user_id=user, if_version=99),
    "related": lambda memory, id_, user: memory.related(id_, user_id=user),
    "history": lambda memory, id_, user: memory.history(id_, user_id=user),
    "bound get": lambda memory, id_, user: memory.for_user(user).get(id_),
    "bound update": lambda memory, id_, user: memory.for_user(user).update(id_, content="stolen"),
    "bound delete": lambda memory, id_, user: memory.for_user(user).delete(id_),
    "bound related": lambda memory, id_, user: memory.for_user(user).related(id_),
    "bound history": lambda memory, id_, user: memory.for_user(user).history(id_),
}


def told(error: OMPError, memory_id: str) -> tuple[Any, ...]:
    return type(error), error.code, error.status, str(error).replace(memory_id, "ID")


@pytest.mark.parametrize("verb", BY_ID)
@pytest.mark.parametrize("user", ["bob", "ANN", "ann ", "an", "ann%", "*"])
def test_another_users_id_is_an_unknown_id(verb: str, user: str) -> None:
    memory = Memory("memory://", embedder="test:16")
    memory.add("bob's own", "bob")
    theirs = memory.add("ann's own", "ann", scope="s").id
    unknown = "mem_" + "0" * 26
    other = changes_nothing(memory, lambda m: BY_ID[verb](m, theirs, user), NotFoundError)
    never = changes_nothing(memory, lambda m: BY_ID[verb](m, unknown, user), NotFoundError)
    assert told(other, theirs) == told(never, unknown)


def test_a_batch_of_another_users_ids_is_a_batch_of_unknown_ids() -> None:
    memory = Memory("memory://", embedder="none")
    theirs = memory.add("ann's own", "ann").id
    for results in (
        memory.delete_many([theirs, "nothing"], user_id="bob"),
        memory.for_user("bob").delete_many([theirs, "nothing"]),
    ):
        messages = [result.error.message.replace(result.id, "ID") for result in results if result.error and result.id]
        assert len(messages) == 2
        assert len(set(messages)) == 1
    assert memory.get(theirs).content == "ann's own"


def test_superseding_another_users_memory_is_superseding_nothing() -> None:
    memory = Memory("memory://", embedder="none")
    theirs = memory.add("ann's own", "ann").id
    other = changes_nothing(memory, lambda m: m.add("b", "bob", supersedes=[theirs]), InvalidRequestError)
    never = changes_nothing(memory, lambda m: m.add("b", "bob", supersedes=["nothing"]), InvalidRequestError)
    assert told(other, theirs) == told(never, "nothing")


def test_a_bound_view_names_no_other_user() -> None:
    memory = Memory("memory://", embedder="none")
    alice = memory.for_user("alice")
    with pytest.raises(TypeError, match="user_id"):
        alice.add("c", user_id="bob")
    result = alice.add_many(
        [{"content": "c", "user_id": "bob"}, {"content": "d", "user_id": "alice"}, {"content": "e"}]
    )
    assert [each.error and each.error.code for each in result] == ["invalid_request", None, None]
    assert (memory.stats("bob").total, memory.stats("alice").total) == (0, 2)


@pytest.mark.parametrize("version", [2, 3, 10**9])
def test_a_wrong_version_changes_nothing(version: int) -> None:
    memory = Memory("memory://", embedder="none")
    added = memory.add("kept", "u")
    for call in (
        ask("update", id=added.id, content="new", if_version=version),
        ask("delete", id=added.id, if_version=version),
    ):
        error = changes_nothing(memory, call, ConflictError)
        assert "version 1" in str(error)
    assert memory.update(added.id, content="new", if_version=1).version == 2
    memory.delete(added.id, if_version=2)


def test_an_update_that_says_nothing_sensible() -> None:
    memory = Memory("memory://", embedder="test:16")
    added = memory.add("kept", "u")
    changes_nothing(memory, lambda m: m.update(added.id, content=None), InvalidRequestError)  # type: ignore[arg-type]
    changes_nothing(memory, lambda m: m.update(added.id, vector=[1.0] * 16), InvalidRequestError)


def test_a_search_for_nothing() -> None:
    refused_everywhere(ask("search", query=None))
    refused_everywhere(ask("search", query=None, mode="keyword", vector=[1.0] * 16))
    refused_everywhere(ask("search", query=None, mode="hybrid", vector=[1.0] * 16))


def test_errors_do_not_repeat_what_was_rejected() -> None:
    secret = "hunter2-hunter2"
    for call in (
        ask("add", content=[secret]),
        ask("add", metadata=secret),
        ask("add", source={"type": secret}),
        ask("add", confidence=secret),
        ask("list", since=secret),
        ask("list", cursor=secret),
    ):
        error = refused(call)
        seen: BaseException | None = error
        while seen is not None:
            assert secret not in str(seen)
            seen = seen.__cause__


# --- both backends ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory://", "sqlite:///{}/s.db"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    with Memory(request.param.format(tmp_path), embedder="test:16") as memory:
        yield memory


@pytest.mark.parametrize("place", [place for place in NESTED if place.split()[0] not in ("message", "remember")])
@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "fine\udfff"])
def test_a_nested_text_makes_no_file(place: str, text: str) -> None:
    makes_no_file(NESTED[place](text))


@pytest.mark.parametrize(("verb", "field"), [case for case in TEXTS + LISTS if case[0] != "remember"])
def test_a_text_that_no_backend_keeps_makes_no_file(verb: str, field: str) -> None:
    for text in ("a\x00b", "\ud800"):
        makes_no_file(ask(verb, **{field: [text] if (verb, field) in LISTS else text}))


@pytest.mark.parametrize("other", QUERIES[1:], ids=str)
def test_a_foreign_cursor_makes_no_file(other: dict[str, Any]) -> None:
    memory = Memory("memory://", embedder="none")
    for _ in range(2):
        memory.add("c", "u")
    makes_no_file(ask("list", **other, cursor=memory.list("u", limit=1).next_cursor))


def test_a_good_first_request_makes_the_file(tmp_path: Path) -> None:
    with Memory(f"sqlite:///{tmp_path}/s.db", embedder="test:16") as memory:
        assert list(tmp_path.iterdir()) == []
        memory.list("u")
        assert (tmp_path / "s.db").is_file()


@pytest.mark.parametrize("verb", BY_ID)
def test_another_users_id_is_an_unknown_id_in_both(store: Memory, verb: str) -> None:
    store.add("bob's own", "bob")
    theirs = store.add("ann's own", "ann", scope="s").id
    unknown = theirs[:-1] + ("0" if theirs[-1] != "0" else "1")
    other = changes_nothing(store, lambda memory: BY_ID[verb](memory, theirs, "bob"), NotFoundError)
    never = changes_nothing(store, lambda memory: BY_ID[verb](memory, unknown, "bob"), NotFoundError)
    assert told(other, theirs) == told(never, unknown)
    assert store.get(theirs, user_id="ann").content == "ann's own"


SUPERSEDING: dict[str, Callable[[Memory, str], Any]] = {
    "add": lambda memory, id_: memory.add("b", "bob", supersedes=[id_]),
    "update": lambda memory, id_: memory.update(memory.list("bob").items[0].id, content="b", supersedes=[id_]),
    "upsert": lambda memory, id_: memory.add("b", "bob", external_id="key", supersedes=[id_]),
}


@pytest.mark.parametrize("verb", SUPERSEDING)
def test_another_users_id_supersedes_nothing_in_both(store: Memory, verb: str) -> None:
    store.add("bob's own", "bob", external_id="key")
    theirs = store.add("ann's own", "ann").id
    other = changes_nothing(store, lambda memory: SUPERSEDING[verb](memory, theirs), InvalidRequestError)
    never = changes_nothing(store, lambda memory: SUPERSEDING[verb](memory, "nothing"), InvalidRequestError)
    assert told(other, theirs) == told(never, "nothing")
    assert store.get(theirs).superseded_by is None


@pytest.mark.parametrize("version", [1, 3, 2**31 - 1])
@pytest.mark.parametrize("verb", ["update", "delete"])
def test_a_wrong_version_changes_nothing_in_both(store: Memory, verb: str, version: int) -> None:
    added = store.add("red", "u", metadata={"a": 1})
    store.update(added.id, kind="k")
    fields = {"content": "blue", "metadata": {"b": 2}} if verb == "update" else {}
    call = ask(verb, id=added.id, if_version=version, **fields)
    assert "version 2" in str(changes_nothing(store, call, ConflictError))
    assert [hit.memory.content for hit in store.search("red blue", "u", mode="keyword")] == ["red"]
    ask(verb, id=added.id, if_version=2, **fields)(store)
    assert [hit.memory.content for hit in store.search("red", "u", mode="keyword")] == []


BAD_ITEMS: list[Any] = [
    *({"content": " "}, {"content": "\ud800"}, {}, {"content": "c", "metadta": {}}, {"content": "c", "scope": "a//b"}),
    *(
        {"content": "c", "vector": [1.0]},
        {"content": "c", "importance": 2},
        {"content": "c", "supersedes": ["nothing"]},
    ),
    *({"content": "c", "x-a": circle()}, {"content": "c", "source": {"o": nested(2000)}}, {1: 2}, None, "text"),
]


def test_good_items_between_bad_ones_are_stored_in_both(store: Memory) -> None:
    items = [item for bad in BAD_ITEMS for item in ({"content": "good"}, bad)]
    results = store.add_many(items, user_id="u")
    assert [result.error is None for result in results] == [True, False] * len(BAD_ITEMS)
    assert {memory.id for memory in everything(store, "u")} == {result.id for result in results if result.memory}


# --- requests as the server and the tools make them ---------------------------------------------------------------


@pytest.mark.parametrize("verb", [verb for verb in VALID if VERBS[verb].request.model_fields])
def test_a_request_with_an_unknown_field_cannot_be_made(verb: str) -> None:
    longest = max(VERBS[verb].request.model_fields, key=len)
    with pytest.raises(InvalidRequestError, match="unknown field") as caught:
        check(build(verb, {**VALID[verb], longest[:-1] + "_": 1}))
    assert f"Did you mean '{longest}'?" in caught.value.remedy


@pytest.mark.parametrize("verb", [verb for verb in VALID if VALID[verb]])
def test_a_request_without_what_it_needs_cannot_be_made(verb: str) -> None:
    needed = [name for name, info in VERBS[verb].request.model_fields.items() if info.is_required()]
    named = [name for name in ("id", "ids") if name in VALID[verb] and name not in needed]
    assert needed or named
    for name in (*needed, *named):
        why = f"{name} and external_{name}: neither is given" if name in named else f"{name} is missing"
        with pytest.raises(InvalidRequestError, match=why):
            check(build(verb, {key: value for key, value in VALID[verb].items() if key != name}))


@pytest.mark.parametrize("verb", ["get", "update", "delete", "related", "history"])
def test_a_memory_is_named_in_one_way(verb: str) -> None:
    for fields, why in (
        ({"id": None}, "neither is given"),
        ({"external_id": "k"}, "both are given"),
        ({"external_id": "k", "user_id": "u"}, "both are given"),
        ({"id": None, "external_id": "k"}, "external_id without user_id"),
    ):
        assert why in str(refused_everywhere(ask(verb, **fields)))


def test_many_memories_are_named_in_one_way() -> None:
    for fields, why in (
        ({"ids": None}, "neither is given"),
        ({"external_ids": []}, "both are given"),
        ({"ids": None, "external_ids": ["k"]}, "external_ids without user_id"),
    ):
        assert why in str(refused_everywhere(ask("get_many", **fields)))


# --- anything at all ----------------------------------------------------------------------------------------------

JUNK = st.sampled_from(
    [
        *(0, -1, True, 1.5, math.nan, 2**63, 10**400, "", " ", "a", "\x00", "\ud800", "*", "a/*", b"a", object()),
        *([], [""], ["a"], [1], [{}], [["a"]], {}, {"a": 1}, {1: 2}, {"kind": "a"}, {"tags": {"contains": 1}}),
        *(
            START,
            NAIVE[0],
            circle(),
            nested(2000, "list"),
            MemorySource(app="\x00"),
            "vector",
            ["archived"],
            [0.5] * 16,
        ),
    ]
)
REFUSALS = {"invalid_request", "unsupported_capability", "payload_too_large", "not_found"}


def outcome(url: str, call: Call) -> str:
    with Memory(url, embedder="test:16") as memory:
        try:
            call(memory)
        except OMPError as error:
            check_error(error)
            assert everything(memory, "u") == []
            return error.code
    return "fine"


@given(st.data(), st.sampled_from([verb for verb in VALID if verb not in ("remember", "health")]))
def test_both_backends_take_or_refuse_anything_alike(data: st.DataObject, verb: str) -> None:
    names = [*VERBS[verb].request.model_fields, *(["x-a"] if verb in ("add", "update") else [])]
    call = ask(verb, **data.draw(st.dictionaries(st.sampled_from(names), JUNK, min_size=1, max_size=3)))
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/s.db?synchronous=normal"
        codes = [outcome("memory://", call), outcome(url, call)]
        assert codes[0] == codes[1]
        assert codes[0] in REFUSALS | {"fine"}
        if codes[0] == "invalid_request":
            refused(call)


@given(st.sampled_from(["add", "search", "list"]), BAD_TEXT)
def test_the_async_client_refuses_alike(verb: str, text: str) -> None:
    adapter = trap()

    async def call() -> None:
        async with AsyncMemory(adapter) as memory:
            await getattr(memory, verb)(**{**VALID[verb], "user_id": text})

    with pytest.raises(InvalidRequestError) as caught:
        asyncio.run(call())
    assert (adapter.reached, adapter.opened) == ([], 0)
    assert str(caught.value) == str(refused(ask(verb, user_id=text)))


# --- sizes ------------------------------------------------------------------------------------------------------

CONDITION = {"metadata.a": {"gte": 0, "lt": 9}}
LARGE_FILTERS: list[dict[str, Any]] = [
    {"or": [CONDITION] * 251},
    {"not": {"and": [{"or": [{"not": {"kind": "a"}}] * 167}] * 3}},
    {"kind": {"in": ["x" * 60] * 1100}},
    {"kind": "x" * 65_530},
    {"kind": "\u20ac" * 22_000},
    {"metadata." + "a" * 66_000: 1},
    {"or": [{"kind": "x" * 1000}] * 10_000},
]


@pytest.mark.parametrize("filter_", LARGE_FILTERS, ids=range(len(LARGE_FILTERS)))
@pytest.mark.parametrize("verb", ["list", "search", "context"])
def test_a_filter_that_is_too_large_reaches_nothing(verb: str, filter_: dict[str, Any]) -> None:
    fields = {"user_id": "u", "filter": filter_, **({} if verb == "list" else {"query": "x"})}
    with pytest.raises(PayloadTooLargeError, match="filter"):
        getattr(Memory(trap()), verb)(**fields)


def test_a_filter_as_large_as_may_be_is_answered() -> None:
    memory = Memory("memory://", embedder="none")
    known = memory.add("x", "u", metadata={"a": 3}, kind="k7")
    assert memory.list("u", filter={"or": [CONDITION] * 250}).items == [known]
    assert memory.list("u", filter={"kind": {"in": [f"k{n}" for n in range(6000)]}}).items == [known]
    limits = memory.capabilities().limits
    assert limits
    declared = (limits.max_filter_conditions, limits.max_filter_bytes, limits.max_metadata_bytes)
    assert declared == (500, 64 * 1024, 1024 * 1024)


def test_a_filter_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    entry = filters.read_entry

    def counted(*arguments: Any) -> Any:
        read.append(arguments)
        return entry(*arguments)

    monkeypatch.setattr(filters, "read_entry", counted)
    memory = Memory("memory://", embedder="test")
    memory.add("x", "u")
    for ask in (memory.search, memory.context, lambda _, user, **how: memory.list(user, **how)):
        read.clear()
        ask("x", "u", filter={"kind": {"exists": False}})
        assert len(read) == 1


MEBIBYTE = "x" * (1 << 20)


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"a": MEBIBYTE}},
        {"metadata": {"a": "\u20ac" * 350_000}},
        {"x-own": MEBIBYTE},
        {"metadata": {"a": "x" * 600_000}, "x-own": "x" * 600_000},
    ],
    ids=["metadata", "in bytes", "an extension", "together"],
)
def test_metadata_that_is_too_large_is_refused(fields: dict[str, Any]) -> None:
    adapter = trap()
    with pytest.raises(PayloadTooLargeError, match="metadata"):
        Memory(adapter).add("x", "u", **fields)
    with pytest.raises(PayloadTooLargeError, match="metadata"):
        Memory(adapter).update("m1", **fields)
    (item,) = Memory(adapter).add_many([{"content": "x", **fields}], user_id="u")
    assert item.error
    assert item.error.code == "payload_too_large"


def test_patches_do_not_add_up_to_what_is_too_large() -> None:
    memory = Memory("memory://", embedder="none")
    known = memory.add("x", "u", metadata={"a": "x" * 600_000})
    with pytest.raises(PayloadTooLargeError, match="metadata"):
        memory.update(known.id, metadata={"b": "x" * 600_000})
    assert everything(memory, "u") == [known]


# --- types of one's own -----------------------------------------------------------------------------------------


class Level(StrEnum):
    HIGH = "high"


class Number(IntEnum):
    ONE = 1


class Moment(datetime):
    """What pendulum and freezegun make of a moment."""


@pytest.fixture(params=["memory://", "sqlite"])
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    url = request.param if request.param == "memory://" else f"sqlite:///{tmp_path}/a.db"
    with Memory(url, embedder="none") as memory:
        yield memory


def test_values_of_types_of_ones_own_are_what_they_are_made_of(plain: Memory) -> None:
    begins = Moment(2020, 1, 1, tzinfo=UTC)
    metadata = {"l": Level.HIGH, Level.HIGH: [Number.ONE], "p": MappingProxyType({"q": 1})}
    known = plain.add("x", "u", kind=Level.HIGH, tags=[Level.HIGH], valid_from=begins, metadata=metadata)
    for record in (known, plain.get(known.id)):
        assert record.metadata == {"l": "high", "high": [1], "p": {"q": 1}}
        assert type(record.metadata["l"]) is str
        assert type(record.metadata["p"]) is dict
        assert type(record.valid_from) is datetime
    filters_: list[dict[str, Any]] = [
        {"metadata.l": Level.HIGH},
        {"metadata.l": "high"},
        {"kind": Level.HIGH},
        {"tags": {"contains": Level.HIGH}},
        {"valid_from": begins},
        {"valid_from": {"lt": Moment(2021, 1, 1, tzinfo=UTC)}},
        {"valid_from": datetime(2020, 1, 1, tzinfo=UTC)},
    ]
    for filter_ in filters_:
        assert [each.id for each in plain.list("u", filter=filter_).items] == [known.id], filter_


def test_an_extension_of_null_is_not_given(plain: Memory) -> None:
    (item,) = plain.add_many([{"content": "x", "x-own": None, "x-two": 2}], user_id="u")
    assert item.memory
    assert item.memory.model_extra == {"x-two": 2} == plain.get(item.memory.id).model_extra


@pytest.mark.parametrize("value", [{1}, "\ud800", {b"k": 1}, object()], ids=repr)
def test_what_is_no_json_is_refused_beside_an_extension_too(value: Any) -> None:
    memory = Memory(trap())
    with pytest.raises(InvalidRequestError, match="metadata"):
        memory.add("x", "u", metadata={"a": value}, **{"x-own": 1})
    (item,) = memory.add_many([{"content": "x", "metadata": {"a": value}, "x-own": 1}], user_id="u")
    assert item.error
    assert item.error.code == "invalid_request"


def test_what_grows_by_repeated_adds_and_patches_has_the_same_bounds() -> None:
    memory = Memory("memory://", embedder="none")
    known = memory.add("x", "u", external_id="e", **{"x-a": "x" * 600_000})
    with pytest.raises(PayloadTooLargeError):
        memory.add("x", "u", external_id="e", **{"x-b": "x" * 600_000})
    with pytest.raises(InvalidRequestError, match="256 keys"):
        memory.update(known.id, metadata={f"k{n}": n for n in range(200)})
        memory.update(known.id, metadata={f"j{n}": n for n in range(200)})
    ids = [memory.add(f"old {n}", "u").id for n in range(65)]
    memory.update(known.id, supersedes=ids[:64])
    with pytest.raises(InvalidRequestError, match="64 ids"):
        memory.update(known.id, supersedes=ids[64:])


@pytest.mark.parametrize("user_id", [b"u", bytearray(b"u"), 7, ["u"]], ids=repr)
def test_a_user_is_named_by_text(user_id: Any) -> None:
    memory = Memory(trap())
    for call in (lambda: memory.list(user_id), lambda: memory.get("m1", user_id=user_id)):
        with pytest.raises(InvalidRequestError, match="user_id"):
            call()
    (item,) = memory.add_many([{"content": "x", "user_id": user_id}])
    assert item.error
    assert item.error.code == "invalid_request"
