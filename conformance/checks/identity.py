"""Identity: the provider's ids, the caller's keys, and counting from one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from openmem.errors import ConflictError, InvalidRequestError

from ..check import check
from ..harness import Harness
from ..verdicts import whole
from ._shared import ALIKE, add_all, found, rich

KEYS = ["supports_external_id"]


@check("IDN-1", "ids are the provider's, unique and lasting")
async def ids_are_unique_and_lasting(h: Harness) -> None:
    """Add for two users and compare ids over every read."""
    mine = [(await h.add(h.own(f"fact {number}"))).id for number in range(12)]
    theirs = [(await h.add(h.own(f"fact {number}"), h.other)).id for number in range(12)]
    h.require(len({*mine, *theirs}) == 24, "two records have one id")
    h.expect(await h.all_ids(), mine, among=[*mine, *theirs], what="ids read by list")
    for memory_id in mine[:3]:
        h.require((await h.memory.get(memory_id, user_id=h.user)).id == memory_id, "get answers with another id")


@check("IDN-1", "a caller cannot choose what the provider assigns")
async def ids_are_not_the_callers(h: Harness) -> None:
    """Try to add with an id, with another's id, and with other fields that are the provider's."""
    record = await h.add(h.own("fact"))
    chosen: list[dict[str, Any]] = [
        {"id": "mem_chosen"},
        {"id": record.id},
        {"created_at": record.created_at},
        {"version": 7},
    ]
    chosen += [{"updated_at": record.created_at}, {"superseded_by": record.id}, {"status": "done"}]
    for fields in chosen:
        await h.refused(h.memory.add(h.own("other"), h.user, **fields), InvalidRequestError)
    h.require(await h.all_ids() == [record.id], "a refused add was stored")
    stored = await h.memory.get(record.id, user_id=h.user)
    h.require(stored.content == h.own("fact"), "a refused add changed a record")


@check("IDN-1", "concurrent adds are all stored, each once")
async def concurrent_adds_are_all_stored(h: Harness) -> None:
    """Add at the same time and count."""
    records = await asyncio.gather(*(h.add(h.own(f"fact {number}")) for number in range(16)))
    ids = [record.id for record in records]
    h.require(len(set(ids)) == 16, "two concurrent adds have one id")
    h.expect(await h.all_ids(), ids, among=ids, what="list after concurrent adds", all_expected=True)


@check("IDN-2", "the same content twice makes two records")
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
    first = await h.add(h.own("at first"), external_id=h.own("k 1/é"))
    beside = await h.add(h.own("another"), external_id=h.own("K 1/é"))
    again = await h.add(h.own("at last"), external_id=h.own("k 1/é"))
    h.require(again.id == first.id, "the same external_id made another record")
    h.require(beside.id != first.id, "keys that differ by case are one record")
    h.expect(await h.all_ids(), [first.id, beside.id], among=[first.id, beside.id], what="list", all_expected=True)
    stored = await h.memory.get(first.id, user_id=h.user)
    h.require(
        (stored.content, stored.external_id) == (h.own("at last"), h.own("k 1/é")), f"get answers {whole(stored)}"
    )


@check("IDN-3", "external_ids match by code points", requires=KEYS)
async def keys_are_what_they_are_written_with(h: Harness) -> None:
    """Add keys that are one by normalisation, case folding or without accents, and read them back."""
    keys = [h.own("key") + sign for sign in ALIKE]
    ids = {key: (await h.add(h.own(f"of {key!a}"), external_id=key)).id for key in keys}
    h.require(len({*ids.values()}) == len(keys), "keys that differ by code points are one record")
    for key, memory_id in ids.items():
        stored = (await h.memory.get(memory_id, user_id=h.user)).external_id
        h.require(stored == key, f"the external_id {key!a} came back as {stored!a}")


@check("IDN-3", "external_ids are unique per user only", requires=KEYS)
async def external_ids_are_a_users_own(h: Harness) -> None:
    """Add one key for two users."""
    key = h.own("key")
    mine, theirs = await h.add(h.own("mine"), external_id=key), await h.add(h.own("theirs"), h.other, external_id=key)
    h.require(mine.id != theirs.id, "two users' equal keys are one record")
    stored = await h.memory.get(mine.id, user_id=h.user)
    h.require(stored.content == h.own("mine"), f"another user's add changed mine to {stored.content!r}")


@check("IDN-3", "an external_id is free again after delete", requires=KEYS)
async def external_ids_are_free_after_delete(h: Harness) -> None:
    """Delete the record of a key and add the key again."""
    first = await h.add(h.own("at first"), external_id=h.own("key"))
    await h.memory.delete(first.id, user_id=h.user)
    second = await h.add(h.own("anew"), external_id=h.own("key"))
    h.require(second.id != first.id, "a deleted record came back under its id")
    h.require(await h.all_ids() == [second.id], "list does not have just the new record")


@check("IDN-3", "concurrent adds of one external_id make one record", requires=KEYS)
async def concurrent_upserts_make_one_record(h: Harness) -> None:
    """Add one key many times at once."""
    key = h.own("key")
    records = await asyncio.gather(*(h.add(h.own(f"version {number}"), external_id=key) for number in range(12)))
    h.require(len({record.id for record in records}) == 1, "concurrent adds of one key have several ids")
    h.require(await h.all_ids() == [records[0].id], "concurrent adds of one key made several records")


@check("IDN-4", "a repeated add stores what it gives and leaves the rest", requires=KEYS)
async def repeated_adds_leave_the_rest(h: Harness) -> None:
    """Add a key again with some of its fields."""
    await h.add(h.own("at first"), external_id=h.own("key"), tags=[h.own("a")], confidence=0.5)
    again = await h.add(h.own("at last"), external_id=h.own("key"), confidence=0.75)
    for record in (again, await h.memory.get(again.id, user_id=h.user)):
        h.require(record.tags == [h.own("a")], f"a field that was not given became {record.tags}")
        h.require(
            (record.content, record.confidence) == (h.own("at last"), 0.75), f"given fields became {whole(record)}"
        )
        h.require(record.version in (None, 2), f"version is {record.version} after two adds")


@check("IDN-4", "a repeated add stores metadata as a whole", requires=(*KEYS, "supports_metadata"))
async def repeated_metadata_is_stored_whole(h: Harness) -> None:
    """Add a key again with other metadata, nulls among it, and another extension."""
    former: dict[str, Any] = {"metadata": {"a": {"b": 1}, "c": 2}, "x-own": {"d": 1}}
    given: dict[str, Any] = {"metadata": {"a": {"e": None}, "f": [None]}, "x-own": {"g": 2}}
    await h.add(h.own("fact"), external_id=h.own("key"), **former)
    again = await h.add(h.own("fact"), external_id=h.own("key"), **given)
    for record in (again, await h.memory.get(again.id, user_id=h.user)):
        h.require(record.metadata == given["metadata"], f"metadata became {record.metadata}")
        extension = (record.model_extra or {}).get("x-own")
        h.require(extension == given["x-own"], f"the extension became {extension}")


@check("IDN-4", "the same add twice changes nothing but version and updated_at", requires=KEYS)
async def repeating_changes_nothing(h: Harness) -> None:
    """Repeat an add that gives every field."""
    fields = rich(h)
    first = await h.add(h.own("fact"), external_id=h.own("key"), **fields)
    again = await h.add(h.own("fact"), external_id=h.own("key"), **fields)
    passing = {"version", "updated_at"}
    before, after = first.model_dump(exclude=passing), again.model_dump(exclude=passing)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    h.require(not changed, f"{', '.join(sorted(changed))} changed")
    stored = await h.memory.get(first.id, user_id=h.user)
    h.require(stored == again, "get answers otherwise than the second add")


@check("IDN-4", "by words, a repeated add is found by its new content only", requires=(*KEYS, "keyword_search"))
async def words_follow_a_repeated_add(h: Harness) -> None:
    """Add a key again with another word, and replace it by a third, with a record beside that keeps the first."""
    words = [h.marker() for _ in range(3)]
    beside = await h.add(f"{words[0]} beside")
    for place, conflict in enumerate(("update", "update", "replace")):
        record = await h.add(f"{words[place]} kept", external_id=h.own("key"), on_conflict=conflict)
        for each, word in enumerate(words[: place + 1]):
            expected = [beside.id] * (each == 0) + [record.id] * (each == place)
            h.expect(
                await found(h, word, mode="keyword"),
                expected,
                among=[beside.id, record.id],
                what=f"word {each} after add {place}",
                all_expected=place == 0,
                none_expected=0 < each < place,
            )


@check("IDN-6", "a repeated add brings an archived record back", requires=(*KEYS, "supports_archive"))
async def repeated_adds_bring_back_the_archived(h: Harness) -> None:
    """Archive a record and add its key again, without and with archived."""
    first = await h.add(h.own("fact"), external_id=h.own("key"), archived=True)
    beside = await h.add(h.own("beside"))
    ids = [first.id, beside.id]
    h.expect(await h.all_ids(), [beside.id], among=ids, what="list beside an archived record")
    again = await h.add(h.own("fact"), external_id=h.own("key"))
    h.require(not again.archived, "the answer is archived")
    h.expect(await h.all_ids(), ids, among=ids, what="list after the second add", all_expected=True)
    await h.add(h.own("fact"), external_id=h.own("key"), archived=True)
    h.expect(await h.all_ids(), [beside.id], among=ids, what="list after an add that archives")


@check("IDN-6", "a repeated add brings an expired record back", requires=(*KEYS, "temporal"))
async def repeated_adds_bring_back_the_expired(h: Harness) -> None:
    """Let a record expire and add its key again, without and with a valid_to; one to come stays."""
    past, future = h.now() - timedelta(days=1), h.now() + timedelta(days=1)
    first = await h.add(h.own("fact"), external_id=h.own("key"), valid_to=past)
    beside = await h.add(h.own("beside"), external_id=h.own("later"), valid_to=future)
    ids = [first.id, beside.id]
    h.expect(await h.all_ids(), [beside.id], among=ids, what="list beside an expired record")
    again = await h.add(h.own("fact"), external_id=h.own("key"))
    h.require(again.valid_to is None, f"valid_to is {again.valid_to}")
    h.expect(await h.all_ids(), ids, among=ids, what="list after the second add", all_expected=True)
    expired = await h.add(h.own("fact"), external_id=h.own("key"), valid_to=past)
    h.require(expired.valid_to == past, f"a given valid_to became {expired.valid_to}")
    later = await h.add(h.own("beside"), external_id=h.own("later"))
    h.require(later.valid_to == future, f"a valid_to to come became {later.valid_to}")


@check("IDN-6", "a superseded record stays so when it is added again", requires=(*KEYS, "supports_supersession"))
async def superseded_records_stay_so(h: Harness) -> None:
    """Supersede a record and add its key again."""
    first = await h.add(h.own("at first"), external_id=h.own("key"))
    successor = await h.add(h.own("successor"), supersedes=[first.id])
    again = await h.add(h.own("at last"), external_id=h.own("key"))
    h.require((again.id, again.superseded_by) == (first.id, successor.id), f"the answer is {whole(again)}")
    h.expect(await h.all_ids(), [successor.id], among=[first.id, successor.id], what="list")


@check("IDN-7", "on_conflict=replace clears what is not given", requires=KEYS)
async def conflicts_are_replaced(h: Harness) -> None:
    """Put a bare record in the place of a full one."""
    first = await h.add(h.own("at first"), external_id=h.own("key"), **rich(h))
    again = await h.add(h.own("at last"), external_id=h.own("key"), on_conflict="replace", tags=[h.own("new")])
    for record in (again, await h.memory.get(again.id, user_id=h.user)):
        h.require((record.id, record.created_at) == (first.id, first.created_at), "id or created_at is another")
        given = (record.content, record.tags) == (h.own("at last"), [h.own("new")])
        h.require(given, f"given fields became {whole(record)}")
        kept = {name for name in rich(h) if name != "tags" and record.model_dump().get(name) not in (None, False)}
        h.require(not kept, f"{', '.join(sorted(kept))} stayed")
        h.require(record.version in (None, 2), f"version is {record.version}")


@check("IDN-7", "on_conflict=replace frees a superseded record", requires=(*KEYS, "supports_supersession"))
async def replacing_frees(h: Harness) -> None:
    """Replace a record that was superseded; its successor loses it."""
    first = await h.add(h.own("at first"), external_id=h.own("key"))
    successor = await h.add(h.own("successor"), supersedes=[first.id])
    again = await h.add(h.own("at last"), external_id=h.own("key"), on_conflict="replace")
    h.require(again.superseded_by is None, f"it is superseded by {again.superseded_by}")
    ids = [first.id, successor.id]
    h.expect(await h.all_ids(), ids, among=ids, what="list", all_expected=True)
    stored = await h.memory.get(successor.id, user_id=h.user)
    h.require(not stored.supersedes, f"the successor supersedes {stored.supersedes}")


@check("IDN-7", "on_conflict=skip answers the stored record", requires=KEYS)
async def conflicts_are_skipped(h: Harness) -> None:
    """Skip a key that is there, and store one that is not."""
    first = await h.add(h.own("at first"), external_id=h.own("key"), tags=[h.own("a")])
    other: dict[str, Any] = {"external_id": h.own("key"), "tags": [h.own("b")], "on_conflict": "skip"}
    again = await h.memory.add(h.own("at last"), h.user, **other)
    h.require(again == first, f"the answer is {whole(again)}")
    h.require(await h.memory.get(first.id, user_id=h.user) == first, "the stored record changed")
    new = await h.memory.add(h.own("other"), h.user, external_id=h.own("another"), on_conflict="skip")
    h.require(new.content == h.own("other"), "a key that was not there was not stored")


@check("IDN-7", "on_conflict=skip and replace hold in a batch", requires=(*KEYS, "add_many"))
async def conflicts_in_a_batch(h: Harness) -> None:
    """Skip one key and replace another in one batch, beside a key that is new."""
    fields: dict[str, Any] = {"tags": [h.own("a")], "confidence": 0.5}
    kept, replaced = [await h.add(h.own("at first"), external_id=h.own(key), **fields) for key in ("one", "two")]
    changes = {"one": "skip", "two": "replace", "three": "skip"}
    items = [
        {"content": h.own("at last"), "external_id": h.own(key), "on_conflict": conflict}
        for key, conflict in changes.items()
    ]
    results = await add_all(h, items)
    ids = [result.id for result in results]
    h.require(ids[:2] == [kept.id, replaced.id] and ids[2], f"the batch is answered by {results}")
    stored = await h.memory.get(kept.id, user_id=h.user)
    h.require(stored == kept, f"skipped, {whole(kept)} became {whole(stored)}")
    stored = await h.memory.get(replaced.id, user_id=h.user)
    given = (stored.content, stored.tags or None, stored.confidence)
    h.require(given == (h.own("at last"), None, None), f"replaced, the record is {whole(stored)}")
    new = await h.memory.get(ids[2] or "", user_id=h.user)
    h.require(new.content == h.own("at last"), f"a key that was not there is {whole(new)}")


@check("IDN-7", "on_conflict=error is a conflict that names the record", requires=KEYS)
async def conflicts_are_refused(h: Harness) -> None:
    """Refuse a key that is there, alone and in a batch, and store one that is not."""
    first = await h.add(h.own("at first"), external_id=h.own("key"))
    key = h.own("key")
    error = await h.refused(h.memory.add(h.own("x"), h.user, external_id=key, on_conflict="error"), ConflictError)
    h.require(first.id in error.message, f"the conflict does not name {first.id}: {error}")
    h.require(await h.memory.get(first.id, user_id=h.user) == first, "the stored record changed")
    theirs = await h.memory.add(h.own("theirs"), h.other, external_id=h.own("key"), on_conflict="error")
    h.require(theirs.id != first.id, "another user's key is the same record")
    if "add_many" in h.capabilities.verbs:
        items = [{"content": h.own("x"), "external_id": each, "on_conflict": "error"} for each in (key, h.own("new"))]
        bad, good = await h.memory.add_many(items, user_id=h.user)
        h.require(bad.error and bad.error.code == "conflict", f"the item is answered with {whole(bad)}")
        h.require(good.id and not good.error, f"the item beside it is answered with {whole(good)}")


@check("IDN-5", "created_at and updated_at are equal at first, version is 1")
async def starts_at_one(h: Harness) -> None:
    """Look at a new record's times and version."""
    before = h.now()
    record = await h.add(h.own("fact"))
    stored = await h.memory.get(record.id, user_id=h.user)
    h.require(stored.created_at == record.created_at, "created_at differs between add and get")
    h.require(record.updated_at in (None, record.created_at), "updated_at differs from created_at at first")
    h.require(record.version in (None, 1), f"version is {record.version} at first")
    age = abs(record.created_at - before)
    h.require(age < timedelta(minutes=10), f"created_at is {age} away from the present")


@check("IDN-5", "reads do not count as changes")
async def reads_do_not_count(h: Harness) -> None:
    """Read a record by every read there is, and compare it."""
    added = await h.add(h.own("fact"))
    record = await h.memory.get(added.id, user_id=h.user)
    for _ in range(2):
        await h.memory.list(h.user)
        await h.memory.search(record.content, h.user)
        if "context" in h.capabilities.verbs:
            await h.memory.context(record.content, h.user)
    h.require(await h.memory.get(record.id, user_id=h.user) == record, "reading changed the record.")
