"""Identity: the provider's ids, the caller's keys, and counting from one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from openmem.errors import InvalidRequestError

from ..check import check
from ..harness import Harness

KEYS = ["supports_external_id"]


@check("IDN-1", "ids are the provider's, unique and lasting", level="core")
async def ids_are_unique_and_lasting(h: Harness) -> None:
    """Add for two users and compare ids over every read."""
    mine = [(await h.add(f"fact {number}")).id for number in range(12)]
    theirs = [(await h.add(f"fact {number}", h.other)).id for number in range(12)]
    h.require(len({*mine, *theirs}) == 24, "two records have one id")
    h.expect(await h.all_ids(), mine, among=[*mine, *theirs], what="ids read by list")
    for memory_id in mine[:3]:
        h.require((await h.memory.get(memory_id, user_id=h.user)).id == memory_id, "get answers with another id")


@check("IDN-1", "a caller cannot choose what the provider assigns", level="core")
async def ids_are_not_the_callers(h: Harness) -> None:
    """Try to add with an id, with another's id, and with other fields that are the provider's."""
    record = await h.add("fact")
    chosen: list[dict[str, Any]] = [
        {"id": "mem_chosen"},
        {"id": record.id},
        {"created_at": record.created_at},
        {"version": 7},
    ]
    chosen += [{"updated_at": record.created_at}, {"superseded_by": record.id}, {"status": "done"}]
    for fields in chosen:
        await h.refused(h.memory.add("other", h.user, **fields), InvalidRequestError)
    h.require(await h.all_ids() == [record.id], "a refused add was stored")
    h.require((await h.memory.get(record.id, user_id=h.user)).content == "fact", "a refused add changed a record")


@check("IDN-1", "concurrent adds are all stored, each once", level="core")
async def concurrent_adds_are_all_stored(h: Harness) -> None:
    """Add at the same time and count."""
    records = await asyncio.gather(*(h.add(f"fact {number}") for number in range(16)))
    ids = [record.id for record in records]
    h.require(len(set(ids)) == 16, "two concurrent adds have one id")
    h.expect(await h.all_ids(), ids, among=ids, what="list after concurrent adds", all_expected=True)


@check("IDN-2", "the same content twice makes two records", level="core")
async def the_same_content_is_another_record(h: Harness) -> None:
    """Add one text twice for one user and once for another."""
    text = f"twice {h.marker()}"
    first, second, other = await h.add(text), await h.add(text), await h.add(text, h.other)
    ids = [first.id, second.id, other.id]
    h.require(len(set(ids)) == 3, "two adds made one record")
    h.expect(await h.all_ids(), ids[:2], among=ids, what="list of one user")


@check("IDN-3", "adding an external_id again updates the record", requires=KEYS)
async def external_ids_are_upserted(h: Harness) -> None:
    """Add a key twice, beside another key."""
    first = await h.add("at first", external_id="k 1/é")
    beside = await h.add("another", external_id="K 1/é")
    again = await h.add("at last", external_id="k 1/é")
    h.require(again.id == first.id, "the same external_id made another record")
    h.require(beside.id != first.id, "keys that differ by case are one record")
    h.expect(await h.all_ids(), [first.id, beside.id], among=[first.id, beside.id], what="list", all_expected=True)
    stored = await h.memory.get(first.id, user_id=h.user)
    h.require((stored.content, stored.external_id) == ("at last", "k 1/é"), f"get answers {stored!r}")


@check("IDN-3", "external_ids are unique per user only", requires=KEYS)
async def external_ids_are_a_users_own(h: Harness) -> None:
    """Add one key for two users."""
    mine, theirs = await h.add("mine", external_id="key"), await h.add("theirs", h.other, external_id="key")
    h.require(mine.id != theirs.id, "two users' equal keys are one record")
    stored = await h.memory.get(mine.id, user_id=h.user)
    h.require(stored.content == "mine", f"another user's add changed mine to {stored.content!r}")


@check("IDN-3", "an external_id is free again after delete", requires=KEYS)
async def external_ids_are_free_after_delete(h: Harness) -> None:
    """Delete the record of a key and add the key again."""
    first = await h.add("at first", external_id="key")
    await h.memory.delete(first.id, user_id=h.user)
    second = await h.add("anew", external_id="key")
    h.require(second.id != first.id, "a deleted record came back under its id")
    h.require(await h.all_ids() == [second.id], "list does not have just the new record")


@check("IDN-3", "concurrent adds of one external_id make one record", requires=KEYS)
async def concurrent_upserts_make_one_record(h: Harness) -> None:
    """Add one key many times at once."""
    records = await asyncio.gather(*(h.add(f"version {number}", external_id="key") for number in range(12)))
    h.require(len({record.id for record in records}) == 1, "concurrent adds of one key have several ids")
    h.require(await h.all_ids() == [records[0].id], "concurrent adds of one key made several records")


@check("IDN-4", "a repeated add changes what it gives and leaves the rest", requires=KEYS)
async def repeated_adds_merge(h: Harness) -> None:
    """Add a key again with some of its fields."""
    await h.add("at first", external_id="key", tags=["a"], confidence=0.5)
    again = await h.add("at last", external_id="key", confidence=0.75)
    for record in (again, await h.memory.get(again.id, user_id=h.user)):
        h.require(record.tags == ["a"], f"a field that was not given became {record.tags}")
        h.require((record.content, record.confidence) == ("at last", 0.75), f"given fields became {record!r}")
        h.require(record.version in (None, 2), f"version is {record.version} after two adds")


@check("IDN-5", "created_at and updated_at are equal at first, version is 1", level="core")
async def starts_at_one(h: Harness) -> None:
    """Look at a new record's times and version."""
    before = h.now()
    record = await h.add("fact")
    stored = await h.memory.get(record.id, user_id=h.user)
    h.require(stored.created_at == record.created_at, "created_at differs between add and get")
    h.require(record.updated_at in (None, record.created_at), "updated_at differs from created_at at first")
    h.require(record.version in (None, 1), f"version is {record.version} at first")
    age = abs(record.created_at - before)
    h.require(age < timedelta(minutes=10), f"created_at is {age} away from the present")
