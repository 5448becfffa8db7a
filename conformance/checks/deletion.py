"""Deletion: gone means gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from openmem.errors import ConflictError, NotFoundError

from ..check import check
from ..harness import Harness
from ._shared import found, modes


@check("DEL-1", "a deleted record is gone from every read at once")
async def is_gone_from_every_read(h: Harness) -> None:
    """Delete one of two like records and read by every verb and mode."""
    word = h.marker()
    gone, stays = await h.seed([{"content": f"{word} goes"}, {"content": f"{word} stays"}])
    both = [gone.id, stays.id]
    h.expect(await found(h, word), both, among=both, what="search before", all_expected=True)
    await h.memory.delete(gone.id, user_id=h.user)
    await h.refused(h.memory.get(gone.id, user_id=h.user), NotFoundError)
    h.expect(await h.all_ids(), [stays.id], among=both, what="list after delete")
    for mode in modes(h):
        h.expect(await found(h, f"{word} goes", mode=mode), [stays.id], among=both, what=f"{mode} search after delete")


@check("DEL-1", "context, related and stats know a deleted record no more", requires=["context", "related", "stats"])
async def is_gone_from_derived_reads(h: Harness) -> None:
    """Delete one of two like records and ask the verbs made of others."""
    word = h.marker()
    gone, stays = await h.seed([{"content": f"{word} goes"}, {"content": f"{word} stays"}])
    await h.memory.delete(gone.id, user_id=h.user)
    block = await h.memory.context(word, h.user)
    h.require(gone.id not in block.text and stays.id in block.text, f"context is {block.text!r}")
    h.require(h.ids(await h.memory.related(stays.id, user_id=h.user)) == [], "related still finds it")
    h.require((await h.memory.stats(h.user)).total == 1, "stats still counts it")


@check("DEL-1", "every by-id verb answers not_found after delete")
async def is_not_found_by_id(h: Harness) -> None:
    """Call the by-id verbs with the id of a deleted record."""
    record, stays = await h.add(h.own("goes")), await h.add(h.own("stays"))
    await h.memory.delete(record.id, user_id=h.user)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "get": lambda: h.memory.get(record.id),
        "update": lambda: h.memory.update(record.id, content=h.own("back")),
        "related": lambda: h.memory.related(record.id),
        "history": lambda: h.memory.history(record.id),
    }
    for verb, call in calls.items():
        if verb in h.capabilities.verbs:
            await h.refused(call(), NotFoundError)
    h.require(await h.all_ids() == [stays.id], "a call on a deleted record brought it back")


@check("DEL-1", "a deleted record is in no state that reads can include", requires=["temporal"])
async def is_gone_in_every_state(h: Harness) -> None:
    """Delete one of two like records and read with every state included, and as of the past and the future."""
    word, before = h.marker(), h.now()
    gone, stays = await h.seed([{"content": f"{word} goes"}, {"content": f"{word} stays"}])
    both, between = [gone.id, stays.id], h.now()
    await h.memory.delete(gone.id, user_id=h.user)
    every = ["superseded", "expired", "upcoming", *(["archived"] if h.capabilities.features.supports_archive else [])]
    for as_of in (None, between, h.now() + (between - before)):
        selection: dict[str, Any] = {"include": every, "as_of": as_of}
        h.expect(await h.all_ids(**selection), [stays.id], among=both, what=f"list by {selection}")
        h.expect(await found(h, word, **selection), [stays.id], among=both, what=f"search by {selection}")


@check("DEL-1", "a batch deletes as delete does", requires=["delete_many"])
async def is_gone_after_a_batch(h: Harness) -> None:
    """Delete two of three like records in one batch and read by every verb."""
    word = h.marker()
    records = await h.seed([{"content": f"{word} {name}"} for name in "abc"])
    ids = [record.id for record in records]
    await h.memory.delete_many(ids[:2], user_id=h.user)
    for memory_id in ids[:2]:
        await h.refused(h.memory.get(memory_id, user_id=h.user), NotFoundError)
    h.expect(await h.all_ids(), ids[2:], among=ids, what="list after delete_many")
    h.expect(await found(h, word), ids[2:], among=ids, what="search after delete_many")


@check("DEL-1", "an updated record is gone with all it ever said", requires=["update"])
async def is_gone_with_its_past(h: Harness) -> None:
    """Update a record, delete it, and search for its old and its new words."""
    word, old, new = h.marker(), h.marker(), h.marker()
    (stays,) = await h.seed([{"content": f"{word} stays"}])
    gone = await h.add(f"{word} {old}")
    await h.memory.update(gone.id, user_id=h.user, content=f"{word} {new}")
    await h.memory.delete(gone.id, user_id=h.user)
    for query in (f"{word} {old}", f"{word} {new}"):
        for mode in modes(h):
            ids = await found(h, query, mode=mode)
            h.expect(ids, [stays.id], among=[gone.id, stays.id], what=f"{mode} search for what was deleted")


@check("DEL-2", "a second delete is not_found")
async def cannot_be_deleted_twice(h: Harness) -> None:
    """Delete one record twice beside another."""
    record, stays = await h.add(h.own("goes")), await h.add(h.own("stays"))
    await h.memory.delete(record.id, user_id=h.user)
    await h.refused(h.memory.delete(record.id, user_id=h.user), NotFoundError)
    h.require(await h.all_ids() == [stays.id], "the second delete hit another record")


@check("DEL-3", "the same content again is a new record")
async def does_not_come_back(h: Harness) -> None:
    """Delete a record, add its content again, and count."""
    text = f"once {h.marker()}"
    first = await h.add(text)
    await h.memory.delete(first.id, user_id=h.user)
    second = await h.add(text)
    h.require(second.id != first.id, "the deleted id came back")
    h.require(await h.all_ids() == [second.id], "list does not have just the new record")
    h.require(await found(h, text) == [second.id], "search does not have just the new record")
    await h.refused(h.memory.get(first.id, user_id=h.user), NotFoundError)


@check("DEL-3", "deleting many leaves the rest whole")
async def leaves_the_rest(h: Harness) -> None:
    """Delete every second record and page through what is left."""
    word = h.marker()
    records = await h.seed([{"content": f"{word} {number}"} for number in range(14)])
    ids = [record.id for record in records]
    for memory_id in ids[::2]:
        await h.memory.delete(memory_id, user_id=h.user)
    h.expect(await h.all_ids(limit=3), ids[1::2], among=ids, what="list in pages after deletes")
    h.expect(await found(h, word), ids[1::2], among=ids, what="search after deletes")


@check("DEL-4", "a delete with a wrong if_version is a conflict and deletes nothing", requires=["supports_if_version"])
async def respects_the_version(h: Harness) -> None:
    """Delete with the wrong version, then with the right one."""
    record = await h.add(h.own("fact"))
    right = record.version or 1
    for user in (h.user, None):
        await h.refused(h.memory.delete(record.id, user_id=user, if_version=right + 1), ConflictError)
    h.require(await h.all_ids() == [record.id], "a refused delete deleted")
    await h.memory.delete(record.id, user_id=h.user, if_version=right)
    h.require(await h.all_ids() == [], "a delete with the right version did not delete")
