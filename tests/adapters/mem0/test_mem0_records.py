"""Records as plain mem0 and its applications leave them: any is a memory of its user, and none harms another."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem import Memory, NotFoundError
from openmem.adapters.mem0.envelope import user_name, user_names
from openmem.types import MemoryRecord
from support.mem0_platform import Platform
from support.plain_mem0 import PlainMem0, put
from support.stores import everything, open_store

GOOD = {"data": "likes tea", "user_id": "ann", "created_at": "2025-01-01T00:00:00+00:00"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEEP: Any = "bottom"
for _ in range(40):
    DEEP = [DEEP]


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"mem0:///{tmp_path}/mem0"
    with open_store(url) as memory:
        memory.list("ann")
    return url


ODD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"created_at": 1711800000}, {"created_at": datetime.fromtimestamp(1711800000, UTC)}),
    ({"created_at": 1711800000000}, {"created_at": datetime.fromtimestamp(1711800000, UTC)}),
    ({"created_at": 1e300}, {"created_at": EPOCH}),
    ({"created_at": "March 2024"}, {"created_at": EPOCH, "metadata": {"created_at": "March 2024"}}),
    ({"created_at": "0001-01-01T00:00:00+14:00"}, {"created_at": EPOCH}),
    ({"created_at": None, "updated_at": "2025-02-01"}, {"created_at": datetime(2025, 2, 1, tzinfo=UTC)}),
    ({"created_at": {"year": 2024}}, {"metadata": {"created_at": {"year": 2024}}}),
    ({"openmem": "v1"}, {"metadata": {"openmem": "v1"}}),
    ({"openmem": {"a": [1]}}, {"metadata": {"openmem": {"a": [1]}}}),
    ({"openmem": "{"}, {"metadata": None}),
    ({"openmem": "[" * 5000}, {"metadata": {"openmem": "[" * 5000}}),
    ({"openmem": '{"user_id": "ann", "version": "x"}'}, {"version": 1}),
    ({"openmem_external_id": ["k"], "openmem_id": 5}, {"external_id": None}),
    ({"expiration_date": "9999-12-31"}, {"valid_to": None}),
    ({"expiration_date": 20}, {"valid_to": None}),
    ({"role": 7, "agent_id": {"a": 1}}, {"x-mem0": {"role": 7, "agent_id": {"a": 1}}}),
    ({"score": 1, "id": "x", "metadata": [1]}, {"metadata": {"score": 1, "id": "x", "metadata": [1]}}),
    ({"big": 2**63, "null": "\0"}, {"metadata": {"big": f"{2**63}", "null": '"\\u0000"'}}),
    ({"deep": DEEP}, {"metadata": {"deep": f'{"[" * 40}"bottom"{"]" * 40}'}}),
    ({"data": "a\0b\x07"}, {"content": "a\ufffdb\x07"}),
    ({"data": " "}, {"content": " "}),
    ({"data": "x" * 300_000, "long": "y" * 300_000}, {"metadata": {"long": "y" * 300_000}}),
]  # fmt: skip


@pytest.mark.parametrize(("odd", "expected"), ODD)
def test_an_odd_record_is_a_plain_memory(tmp_path: Path, url: str, odd: dict[str, Any], expected: Any) -> None:
    with PlainMem0(tmp_path) as mem0:
        memory_id = put(mem0, **{**GOOD, **odd})
        put(mem0, **{**GOOD, "user_id": "bob"})
    with open_store(url) as memory:
        [found] = everything(memory, "ann")
        whole = found.model_dump() | (found.model_extra or {})
        assert {name: whole.get(name) for name in expected} == expected
        assert found == memory.get(memory_id, user_id="ann") == memory.search("tea", "ann")[0].memory
        changed = memory.update(memory_id, scope="a/b")
        assert (
            memory.get(memory_id)
            == changed
            == found.model_copy(update={"scope": "a/b", "version": 2, "updated_at": changed.updated_at})
        )
        assert len(everything(memory, "bob")) == 1
        assert memory.related(memory_id, user_id="ann") == []
        memory.delete(memory_id)
        assert everything(memory, "ann") == []


@pytest.mark.parametrize("odd", [{"data": None}, {"data": 5}, {"data": {"text": "x"}}])
def test_what_cannot_be_a_memory_is_left_out_and_told_of_once(
    tmp_path: Path, url: str, odd: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "openmem")
    with PlainMem0(tmp_path) as mem0:
        memory_id = put(mem0, **{**GOOD, **odd})
        put(mem0, **GOOD)
    with open_store(url) as memory:
        for _ in range(3):
            assert [each.content for each in everything(memory, "ann")] == ["likes tea"]
            assert [each.memory.content for each in memory.search("tea", "ann")] == ["likes tea"]
        with pytest.raises(NotFoundError):
            memory.get(memory_id)
    assert [each.getMessage().count(memory_id) for each in caplog.records if each.name == "openmem"] == [1]


@pytest.mark.parametrize("user_id", [None, "", " ", True, 1.5, ["ann"], {"name": "ann"}])
def test_what_is_of_no_user_is_nobodys(tmp_path: Path, url: str, user_id: Any) -> None:
    with PlainMem0(tmp_path) as mem0:
        memory_id = put(mem0, **{**GOOD, "user_id": user_id})
    with open_store(url) as memory:
        assert everything(memory, "ann") == []
        with pytest.raises(NotFoundError):
            memory.get(memory_id)


@pytest.mark.parametrize(
    "user",
    ["auth0%7C12", "bob smith", " x ", "*", "50%", "a%20b", "a%2520b", "%2A", "42", "line\nbreak", "Ünï", "\x07"],
)
def test_users_of_mem0_have_the_name_they_have(tmp_path: Path, url: str, user: str) -> None:
    others = ["ann", "auth0|12", "bob%20smith", "x", "a b", "50%25", "%2A%2A"]
    with PlainMem0(tmp_path) as mem0:
        theirs = put(mem0, **{**GOOD, "user_id": int(user) if user == "42" else user})
    with open_store(url) as memory:
        for each in others:
            memory.add("likes tea", each)
        ours = memory.add("likes tea", user, external_id="k")
        assert {each.id for each in everything(memory, user)} == {theirs, ours.id}
        assert {each.memory.id for each in memory.search("tea", user, limit=100)} == {theirs, ours.id}
        assert memory.get(theirs, user_id=user).user_id == user
        assert memory.update(theirs, user_id=user, tags=["t"]).user_id == user
        assert memory.add("likes coffee", user, external_id="k").id == ours.id
        for each in others:
            assert [found.content for found in everything(memory, each)] == ["likes tea"]
            with pytest.raises(NotFoundError):
                memory.get(theirs, user_id=each)


def test_what_is_stored_for_a_name_that_mem0_takes_mem0_finds_by_it(tmp_path: Path, url: str) -> None:
    with open_store(url) as memory:
        memory.add("likes tea", "auth0%7C12")
    with PlainMem0(tmp_path) as mem0:
        assert len(mem0.get_all(filters={"user_id": "auth0%7C12"})["results"]) == 1


def test_records_under_the_names_of_earlier_versions_are_found(tmp_path: Path, url: str) -> None:
    with open_store(url) as memory:
        old = memory.add("likes tea", "50%", tags=["t"], external_id="k")
    with PlainMem0(tmp_path) as mem0:
        payload = mem0.vector_store.get(vector_id=old.id).payload
        mem0.vector_store.update(vector_id=old.id, vector=[1.0] * 32, payload={**payload, "user_id": "50%25"})
    with open_store(url) as memory:
        assert everything(memory, "50%") == [old] == [memory.get(old.id, user_id="50%")]
        assert everything(memory, "50%25") == []
        assert memory.add("likes coffee", "50%", external_id="k").id == old.id


names = st.text(st.sampled_from("a%20 25*\n\x07é"), min_size=1, max_size=12)


@given(names, names)
def test_no_two_users_share_a_name(one: str, other: str) -> None:
    assert (user_name(one) == user_name(other)) == (one == other)
    assert {one, user_name(one)} <= set(user_names(one))


def test_a_copied_envelope_is_nobody_elses(tmp_path: Path, url: str) -> None:
    with open_store(url) as memory:
        record = memory.add("a secret", "bob", scope="s", external_id="k")
    with PlainMem0(tmp_path) as mem0:
        payload = mem0.vector_store.get(vector_id=record.id).payload
        put(mem0, **{**payload, "user_id": "ann"})
        put(mem0, **payload)
    with open_store(url) as memory:
        assert {(each.id == record.id, each.scope) for each in everything(memory, "bob")} == {
            (True, "s"),
            (False, None),
        }
        assert memory.get(record.id, user_id="bob") == record
        [copied] = everything(memory, "ann")
        assert (copied.content, copied.scope, copied.external_id, copied.metadata) == ("a secret", None, None, None)
        assert memory.add("changed", "bob", external_id="k").id == record.id


# --- the platform -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        {"metadata": [1]},
        {"metadata": "text"},
        {"metadata": {"openmem": "v1", "data": 5, "created_at": "March"}},
        {"metadata": {"openmem": "[" * 5000, "openmem_id": 7}},
        {"created_at": 1711800000},
        {"created_at": "March 2024", "updated_at": {}},
        {"expiration_date": "9999-12-31"},
    ],
)
def test_an_odd_record_of_the_platform_is_a_plain_memory(platform: Platform, mem: Memory, odd: dict[str, Any]) -> None:
    row = platform.store("likes tea", {"user_id": "ann"})
    row.update(odd)
    other = mem.add("likes tea", "ann")
    assert [each.id for each in everything(mem, "ann")] == [other.id, row["id"]]
    found = mem.get(row["id"], user_id="ann")
    assert isinstance(found, MemoryRecord) and found.content == "likes tea"
    if isinstance(odd.get("metadata"), dict):
        assert {name: each for name, each in odd["metadata"].items() if name != "openmem_id"} == found.metadata


def test_users_of_the_platform_have_the_name_they_have(platform: Platform, mem: Memory) -> None:
    row = platform.store("likes tea", {"user_id": "auth0%7C12"})
    for each in ("auth0|12", "a b", "a%20b"):
        mem.add("likes tea", each)
    assert [each.id for each in everything(mem, "auth0%7C12")] == [row["id"]]
    assert [len(everything(mem, each)) for each in ("auth0|12", "a b", "a%20b")] == [1, 1, 1]
    assert mem.update(row["id"], user_id="auth0%7C12", tags=["t"]).user_id == "auth0%7C12"
    assert len(mem.search("tea", "auth0%7C12")) == 1


def test_a_record_of_the_platform_without_a_text_harms_no_other(platform: Platform, mem: Memory) -> None:
    platform.store("likes coffee", {"user_id": "ann"})["memory"] = {"text": 5}
    mem.add("likes tea", "ann")
    assert [each.content for each in everything(mem, "ann")] == ["likes tea"]
