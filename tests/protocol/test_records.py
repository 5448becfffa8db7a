"""The life of a record: made from an add, changed by merge patches, handed out as a copy of its own."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem import ConflictError, InvalidRequestError, Memory
from openmem.protocol.records import begins, changes_of, check_version, detached, merge, new_record, patched, repeated
from openmem.types import AddRequest, MemoryRecord, UpdateRequest
from support.clocks import DAY, START
from support.scripted import record

LATER = START + DAY

# --- merge patch ------------------------------------------------------------------------------------------------

RFC_7396 = """
{"a":"b"}          {"a":"c"}                     {"a":"c"}
{"a":"b"}          {"b":"c"}                     {"a":"b","b":"c"}
{"a":"b"}          {"a":null}                    {}
{"a":"b","b":"c"}  {"a":null}                    {"b":"c"}
{"a":["b"]}        {"a":"c"}                     {"a":"c"}
{"a":"c"}          {"a":["b"]}                   {"a":["b"]}
{"a":{"b":"c"}}    {"a":{"b":"d","c":null}}      {"a":{"b":"d"}}
{"a":[{"b":"c"}]}  {"a":[1]}                     {"a":[1]}
["a","b"]          ["c","d"]                     ["c","d"]
{"a":"b"}          ["c"]                         ["c"]
{"a":"foo"}        null                          null
{"a":"foo"}        "bar"                         "bar"
{"e":null}         {"a":1}                       {"e":null,"a":1}
[1,2]              {"a":"b","c":null}            {"a":"b"}
{}                 {"a":{"bb":{"ccc":null}}}     {"a":{"bb":{}}}
"""  # Appendix A, every row


@pytest.mark.parametrize("row", RFC_7396.strip().splitlines())
def test_merge_is_rfc_7396(row: str) -> None:
    target, patch, expected = map(json.loads, row.split())
    assert merge(target, patch) == expected


KEYS = st.sampled_from(["a", "b", "c", ""])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=3)
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
OBJECTS = st.dictionaries(KEYS, JSON, max_size=4)


def _nulls(value: Any) -> bool:
    """Tell whether a null stands as a member's value, outside lists."""
    return isinstance(value, dict) and any(each is None or _nulls(each) for each in value.values())


def _diff(source: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    """Write the patch that makes target of source."""
    patch: dict[str, Any] = {key: None for key in source if key not in target}
    for key, value in target.items():
        old = source.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            patch[key] = _diff(old, value)
        elif key not in source or json.dumps(old) != json.dumps(value):
            patch[key] = value
    return patch


@given(target=JSON, patch=JSON)
def test_merging_twice_is_merging_once(target: Any, patch: Any) -> None:
    once = merge(target, patch)
    assert merge(once, patch) == once


@given(target=JSON, patch=JSON)
def test_merging_leaves_its_arguments_alone(target: Any, patch: Any) -> None:
    before = copy.deepcopy((target, patch))
    merge(target, patch)
    assert (target, patch) == before


@given(target=JSON)
def test_an_empty_patch_changes_no_object(target: Any) -> None:
    assert merge(target, {}) == (target if isinstance(target, dict) else {})


@given(source=OBJECTS, target=OBJECTS.filter(lambda value: not _nulls(value)))
def test_a_patch_leads_from_any_object_to_any_without_nulls(source: Any, target: Any) -> None:
    assert merge(source, _diff(source, target)) == target


@given(target=OBJECTS, patch=OBJECTS)
def test_no_null_of_a_patch_is_stored(target: Any, patch: Any) -> None:
    merged = merge(target, patch)
    for key, value in patch.items():
        assert (key in merged) == (value is not None)
        assert isinstance(value, dict) or merged.get(key) == value
    assert {key: merged[key] for key in target.keys() - patch.keys()} == {
        key: target[key] for key in target.keys() - patch.keys()
    }


# --- new records ------------------------------------------------------------------------------------------------


def test_a_new_record_begins_at_version_one() -> None:
    request = AddRequest(content=" text ", user_id="u", metadata={"a": [1]}, **{"x-own": {"b": 2}})
    made = new_record(request, memory_id="m1", now=START, embedding_model=None)
    assert (made.id, made.content, made.user_id, made.metadata) == ("m1", " text ", "u", {"a": [1]})
    assert (made.version, made.status, made.created_at, made.updated_at) == (1, "done", START, START)
    assert made.model_extra == {"x-own": {"b": 2}}
    assert (made.embedding_model, made.superseded_by, made.tags) == (None, None, None)


def test_a_new_record_names_the_model_of_its_vector_and_what_it_replaces_once() -> None:
    request = AddRequest(content="text", user_id="u", supersedes=["b", "a", "b"])
    made = new_record(request, memory_id="m1", now=START, embedding_model="model")
    assert (made.embedding_model, made.supersedes) == ("model", ["b", "a"])
    assert request.supersedes == ["b", "a", "b"]


def test_a_new_record_is_one_that_pydantic_would_make() -> None:
    fields: dict[str, Any] = {
        "content": "text",
        "user_id": "u",
        "tags": ["t"],
        "source": {"app": "a", "extra": 1},
        "confidence": 0.5,
        "valid_from": START,
        "x-own": 1,
    }
    made = new_record(AddRequest(**fields), memory_id="m1", now=START, embedding_model=None)
    same = MemoryRecord(**fields, id="m1", created_at=START, updated_at=START, status="done", version=1)
    assert made.model_dump() == same.model_dump()
    assert made.model_dump_json(exclude_none=True) == same.model_dump_json(exclude_none=True)
    assert MemoryRecord.model_validate_json(made.model_dump_json()).model_dump() == made.model_dump()
    assert made.model_copy(deep=True) == made
    assert made.model_copy(update={"kind": "fact"}).kind == "fact"


def _full() -> MemoryRecord:
    return record(
        tags=["t"],
        supersedes=["m0"],
        metadata={"a": {"b": [1]}},
        source={"app": "app", "own": [1]},
        updated_at=START,
        version=1,
        **{"x-own": {"c": [2]}},
    )


def _change(memory: Any) -> None:
    """Change everything in a record that can be changed in place."""
    memory.tags.append("more")
    memory.supersedes.clear()
    memory.metadata["a"]["b"].append(2)
    memory.source.own.append(2)
    memory.source.app = "other"
    (memory.model_extra or {})["x-own"]["c"].append(3)
    memory.content = "other"
    memory.version = 99
    setattr(memory, "x-new", 1)


def test_a_detached_copy_shares_nothing() -> None:
    original = _full()
    copied = detached(original)
    assert copied.model_dump() == original.model_dump()
    _change(copied)
    assert original.model_dump() == _full().model_dump()


def test_two_copies_share_nothing_either() -> None:
    original = _full()
    first, second = detached(original), detached(original)
    _change(first)
    assert second.model_dump() == _full().model_dump()
    assert second.model_fields_set == set(MemoryRecord.model_fields)
    assert first.model_dump(exclude_unset=True)["x-new"] == 1
    assert first.model_copy(update={"x-two": 2}).model_dump(exclude_unset=True)["x-two"] == 2


def test_a_new_record_shares_nothing_with_its_request() -> None:
    request = AddRequest(
        content="text",
        user_id="u",
        tags=["t"],
        supersedes=["m0"],
        metadata={"a": {"b": [1]}},
        source={"app": "app", "own": [1]},
        **{"x-own": {"c": [2]}},
    )
    made = new_record(request, memory_id="m1", now=START, embedding_model=None)
    before = made.model_dump()
    request.tags.append("more")
    request.metadata["a"]["b"].append(2)
    request.source.own.append(2)
    request.model_extra["x-own"]["c"].append(3)
    assert made.model_dump() == before


# --- changes ----------------------------------------------------------------------------------------------------


def _patch(memory: MemoryRecord, **fields: Any) -> MemoryRecord:
    request = UpdateRequest(id=memory.id, **fields)
    return patched(memory, changes_of(request), now=LATER, embedding_model="new model")


def test_absent_fields_stay_and_null_clears() -> None:
    memory = _full()
    changed = _patch(memory, tags=None, kind="fact")
    assert (changed.tags, changed.kind, changed.content) == (None, "fact", "text")
    expected = {"tags": None, "kind": "fact", "version": 2, "updated_at": LATER}
    assert changed.model_dump() == {**memory.model_dump(), **expected}


def test_a_patch_leaves_the_record_it_is_made_from_alone() -> None:
    memory = _full()
    metadata: dict[str, Any] = {"a": {"d": [1]}}
    changed = _patch(memory, metadata=metadata, supersedes=["m5"], **{"x-own": {"e": 1}})
    metadata["a"]["d"].append(2)
    assert changed.metadata == {"a": {"b": [1], "d": [1]}}
    _change(changed)
    assert memory.model_dump() == _full().model_dump()


def test_metadata_and_extensions_merge_in_depth() -> None:
    changed = _patch(_full(), metadata={"a": {"b": None, "d": 1}, "e": [None]}, **{"x-own": {"c": None}, "x-two": 2})
    assert changed.metadata == {"a": {"d": 1}, "e": [None]}
    assert changed.model_extra == {"x-own": {}, "x-two": 2}
    assert _patch(_full(), metadata=None).metadata is None
    assert "x-own" not in (_patch(_full(), **{"x-own": None}).model_extra or {})


def test_supersedes_appends_without_duplicates_and_null_frees() -> None:
    assert _patch(_full(), supersedes=["m2", "m0", "m2", "m1"]).supersedes == ["m0", "m2", "m1"]
    assert _patch(_full(), supersedes=None).supersedes is None
    assert _patch(record(), supersedes=["m2"]).supersedes == ["m2"]


def test_new_content_has_its_own_model() -> None:
    memory = record(embedding_model="old model")
    assert _patch(memory, kind="fact").embedding_model == "old model"
    assert _patch(memory, content="new").embedding_model == "new model"


def test_a_clock_that_runs_back_moves_no_update_before_the_creation() -> None:
    changed = patched(record(), {"kind": "fact"}, now=START - DAY, embedding_model=None)
    assert changed.updated_at == START


def test_an_update_may_not_end_a_memory_before_it_begins() -> None:
    memory = record(valid_from=LATER)
    for end in (LATER, LATER - timedelta(microseconds=1)):
        with pytest.raises(InvalidRequestError, match="valid_to"):
            _patch(memory, valid_to=end)
    assert _patch(memory, valid_to=LATER + timedelta(microseconds=1)).valid_to
    assert _patch(record(), valid_to=START - DAY).valid_to == START - DAY  # it has always begun


def test_the_changes_of_an_update_are_what_it_sets() -> None:
    request = UpdateRequest(id="m1", user_id="u", if_version=2, content="x", vector=[1.0], tags=None, **{"x-a": 1})
    assert changes_of(request) == {"content": "x", "tags": None, "x-a": 1}
    assert changes_of(UpdateRequest(id="m1", user_id="u", if_version=2)) == {}


def _again(memory: Any, **fields: Any) -> Any:
    request = AddRequest(**{"content": "text", "user_id": "u", "external_id": "k", **fields})
    return repeated(memory, request, now=LATER, embedding_model=None)


def test_a_repeated_add_stores_what_it_gives_as_it_gives_it() -> None:
    memory = record(external_id="k", metadata={"a": {"b": 1}, "c": 2}, tags=["t"], kind="fact", **{"x-own": {"d": 1}})
    changed = _again(memory, metadata={"a": {"e": None}}, tags=None, **{"x-own": {"f": 2}})
    assert changed.metadata == {"a": {"e": None}}
    assert changed.model_extra == {"x-own": {"f": 2}}
    assert (changed.tags, changed.kind, changed.version, changed.id) == (["t"], "fact", 2, memory.id)


def test_a_repeated_add_makes_the_record_current_again_unless_it_says_otherwise() -> None:
    gone = record(external_id="k", archived=True, valid_to=START + timedelta(microseconds=1))
    assert (_again(gone).archived, _again(gone).valid_to) == (None, None)
    assert (_again(gone, archived=True).archived, _again(gone, valid_to=START).valid_to) == (True, START)
    later = record(external_id="k", valid_to=LATER + DAY)
    assert _again(later).valid_to == LATER + DAY


def test_a_replacing_add_clears_all_that_it_does_not_give() -> None:
    full = _full()
    changed = _again(full, on_conflict="replace", kind="fact")
    assert (changed.id, changed.created_at, changed.version) == (full.id, full.created_at, (full.version or 1) + 1)
    given = {"id", "content", "user_id", "external_id", "kind", "created_at", "updated_at", "version"}
    assert {name for name, value in changed.model_dump().items() if value is not None} == given


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "content": st.sampled_from(["one", "two"]),
    "scope": st.none() | st.sampled_from(["a", "a/b"]),
    "tags": st.none() | st.lists(st.sampled_from(["s", "t"]), max_size=2),
    "confidence": st.none() | st.sampled_from([0, 0.5, 1]),
    "metadata": st.none() | OBJECTS,
    "kind": st.none() | st.just("fact"),
    "importance": st.none() | st.sampled_from([0, 0.5, 1]),
    "session": st.none() | st.just("s"),
    "pinned": st.none() | st.booleans(),
    "archived": st.none() | st.booleans(),
    "x-own": SCALARS,
}


@given(patches=st.lists(st.fixed_dictionaries({}, optional=VALUES), max_size=4), start=OBJECTS)
def test_patches_follow_the_model(patches: list[dict[str, Any]], start: dict[str, Any]) -> None:
    memory = Memory("memory://", embedder="none")
    stored = memory.add("zero", "u", metadata=start)
    expected, version = stored.model_dump(), 1
    for patch in patches:
        changed = memory.update(stored.id, **patch)
        expected = _modelled(expected, patch)
        version += bool(patch)
        assert {**changed.model_dump(), "updated_at": None} == {**expected, "updated_at": None, "version": version}
        assert memory.get(stored.id) == changed


def _modelled(fields: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    after = dict(fields)
    for name, value in patch.items():
        after[name] = merge(fields.get(name), value) if name == "metadata" and value is not None else value
    if after.get("x-own") is None:
        after.pop("x-own", None)
    return after


# --- small things -----------------------------------------------------------------------------------------------


def test_a_wrong_version_is_a_conflict_that_names_both() -> None:
    check_version(record(version=2), 2)
    check_version(record(version=2), None)
    with pytest.raises(ConflictError, match="version 2, not 3"):
        check_version(record(version=2), 3)


def test_a_memory_begins_when_it_is_valid_or_was_created() -> None:
    assert begins(record()) == START
    assert begins(record(valid_from=LATER)) == LATER
