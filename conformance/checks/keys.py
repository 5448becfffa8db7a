"""Keys and batches over them: a record by its external_id, many read at once, and many changed at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openmem.errors import InvalidRequestError, NotFoundError
from openmem.types import BatchResult, MemoryRecord

from ..check import check
from ..harness import Harness
from ..verdicts import whole
from ._shared import declared

KEYS = ("supports_external_id",)
UPDATE_MANY = ("update_many", "update")


def _key(h: Harness) -> str:
    """Make a key that no path, query or pattern takes for another."""
    return h.own("a/../b?c=d&e#%2e 'é*_")


async def _keyed(h: Harness, **fields: Any) -> tuple[MemoryRecord, MemoryRecord]:
    """Add a record of the user and one of the other, both of one key, and read them by their ids."""
    mine, theirs = [await h.add(h.marker(), user, external_id=_key(h), **fields) for user in (h.user, h.other)]
    return await h.memory.get(mine.id, user_id=h.user), await h.memory.get(theirs.id, user_id=h.other)


async def _unknown(h: Harness, verb: str, **fields: Any) -> None:
    """Ask by a key that nobody has, and by one that only the other user has."""
    theirs = await h.add(h.marker(), h.other, external_id=h.own("theirs"))
    for key in (h.own("nobody's"), h.own("theirs")):
        await h.refused(getattr(h.memory, verb)(external_id=key, user_id=h.user, **fields), NotFoundError)
    left = await h.memory.get(theirs.id, user_id=h.other)
    h.require((left.content, left.version) == (theirs.content, theirs.version), f"another user's record became {left}")


@check("IDN-8", "get by external_id answers what get by id answers", requires=KEYS)
async def get_by_key(h: Harness) -> None:
    """Read records of two users under one key, in whatever state they are."""
    states: list[dict[str, Any]] = [{}]
    states += [{"archived": True}] if "supports_archive" in declared(h) else []
    states += [{"valid_to": "2001-01-01T00:00:00Z"}] if "temporal" in declared(h) else []
    for fields in states:
        for record in await _keyed(h, **fields):
            found = await h.memory.get(external_id=_key(h), user_id=record.user_id)
            h.require(found == record, f"the key of {record.user_id} reads {found}, not {record}")
    await _unknown(h, "get")


@check("IDN-8", "update by external_id changes the record of that user's key", requires=(*KEYS, "update"))
async def update_by_key(h: Harness) -> None:
    """Change a record by its key, and hold it and the other user's against what they were."""
    mine, theirs = await _keyed(h)
    content = h.marker()
    changed = await h.memory.update(external_id=_key(h), user_id=h.user, content=content)
    h.require((changed.id, changed.content) == (mine.id, content), f"an update by the key of {mine} answers {changed}")
    read = await h.memory.get(mine.id, user_id=h.user)
    h.require((read.content, read.external_id) == (content, _key(h)), f"after an update by key get answers {read}")
    h.require(await h.memory.get(theirs.id, user_id=h.other) == theirs, "an update by key changed another user's")
    await _unknown(h, "update", content=h.marker())


@check("IDN-8", "delete by external_id deletes the record of that user's key", requires=KEYS)
async def delete_by_key(h: Harness) -> None:
    """Delete a record by its key, twice."""
    mine, theirs = await _keyed(h)
    await h.memory.delete(external_id=_key(h), user_id=h.user)
    await h.refused(h.memory.get(mine.id, user_id=h.user), NotFoundError)
    await h.refused(h.memory.delete(external_id=_key(h), user_id=h.user), NotFoundError)
    h.require(await h.memory.get(theirs.id, user_id=h.other) == theirs, "a delete by key touched another user's")
    await _unknown(h, "delete")


@check("IDN-8", "related by external_id answers what related by id answers", requires=(*KEYS, "related"))
async def related_by_key(h: Harness) -> None:
    """Ask for the neighbours of a record by its key and by its id."""
    word = h.marker()
    for user in (h.user, h.other):
        for _ in range(3):
            await h.add(f"{word} {h.marker()}", user)
        await h.add(word, user, external_id=_key(h))
    mine = await h.memory.get(external_id=_key(h), user_id=h.user)
    by_key = h.ids(await h.memory.related(external_id=_key(h), user_id=h.user))
    h.require(by_key == h.ids(await h.memory.related(mine.id, user_id=h.user)), f"related by key answers {by_key}")
    h.require(len(by_key) == 3 and mine.id not in by_key, f"related by key answers {by_key}")
    await _unknown(h, "related")


@check("IDN-8", "history by external_id is the chain of that user's record", requires=(*KEYS, "history"))
async def history_by_key(h: Harness) -> None:
    """Walk a chain from a record in its middle, by its key."""
    old = await h.add(h.marker())
    mine = await h.add(h.marker(), external_id=_key(h), supersedes=[old.id])
    new = await h.add(h.marker(), supersedes=[mine.id])
    await h.add(h.marker(), h.other, external_id=_key(h))
    chain = h.ids(await h.memory.history(external_id=_key(h), user_id=h.user))
    h.expect(chain, [old.id, mine.id, new.id], among=chain, what="history by key", ordered=True, all_expected=True)
    await _unknown(h, "history")


@check("IDN-9", "a record is named by id or by external_id, and a key by its user too", requires=KEYS)
async def named_in_one_way(h: Harness) -> None:
    """Name a record by nothing, by both, and by a key of nobody, in every verb that is offered."""
    mine, theirs = await _keyed(h)
    ways: list[dict[str, Any]] = [
        {"user_id": h.user},
        {"id": mine.id, "external_id": _key(h), "user_id": h.user},
        {"external_id": _key(h)},
    ]
    for verb in ("get", "update", "delete", "related", "history"):
        if verb in h.capabilities.verbs:
            fields = {"content": h.marker()} if verb == "update" else {}
            for way in ways:
                await h.refused(getattr(h.memory, verb)(**way, **fields), InvalidRequestError)
    for record in (mine, theirs):
        read = await h.memory.get(record.id, user_id=record.user_id)
        h.require(read == record, f"a refused request changed {record} to {read}")


# --- many at once -----------------------------------------------------------------------------------------------


def _records(h: Harness, results: Sequence[BatchResult], expected: Sequence[MemoryRecord | str]) -> None:
    """Hold results against records, or the code of the error that an item fails with."""
    h.require(len(results) == len(expected), f"{len(expected)} items got {len(results)} answers")
    for place, (result, due) in enumerate(zip(results, expected, strict=True)):
        if isinstance(due, str):
            failed = result.error is not None and result.error.code == due and result.memory is None
            h.require(failed, f"item {place} is answered by {whole(result)}, not by {due}")
        else:
            good = result.error is None and result.memory == due and result.id == due.id
            h.require(good, f"item {place} is answered by {whole(result)}, not by {due}")


async def _read(h: Harness, ids: Sequence[str], user_id: str | None = None) -> list[MemoryRecord]:
    return [await h.memory.get(each, user_id=user_id or h.user) for each in ids]


@check("BAT-5", "get_many answers each id with its record, in order", requires=("get_many",))
async def many_by_id(h: Harness) -> None:
    """Read records in another order than theirs, one twice, among unknown, foreign and malformed ids."""
    one, two, three = await _read(h, h.ids(await h.seed([{"content": h.marker()} for _ in range(3)])))
    theirs = await h.add(h.marker(), h.other)
    bad = "invalid_request"
    ids = [three.id, h.unknown(), one.id, theirs.id, "", three.id, "a\x00b", two.id]
    expected: list[MemoryRecord | str] = [three, "not_found", one, "not_found", bad, three, bad, two]
    _records(h, await h.memory.get_many(ids, user_id=h.user), expected)
    _records(h, await h.memory.get_many([theirs.id, one.id]), [*await _read(h, [theirs.id], h.other), one])
    h.require(await h.memory.get_many([], user_id=h.user) == [], "nothing is answered by something")
    await h.refused(h.memory.get_many(user_id=h.user), InvalidRequestError)


@check("BAT-5", "get_many answers each external_id with its user's record, in order", requires=("get_many", *KEYS))
async def many_by_key(h: Harness) -> None:
    """Read records by their keys, which another user has too, one twice, among unknown and foreign ones."""
    keys = [_key(h), h.own("two"), h.own("three")]
    for user in (h.other, h.user):
        for key in keys:
            await h.add(h.marker(), user, external_id=key)
    await h.add(h.marker(), h.other, external_id=h.own("theirs"))
    mine = {key: await h.memory.get(external_id=key, user_id=h.user) for key in keys}
    asked = [keys[2], h.own("nobody's"), keys[0], h.own("theirs"), keys[2], keys[1]]
    found: dict[str, MemoryRecord | str] = {**mine}
    expected = [found.get(key, "not_found") for key in asked]
    _records(h, await h.memory.get_many(external_ids=asked, user_id=h.user), expected)
    h.require(await h.memory.get_many(external_ids=[], user_id=h.user) == [], "nothing is answered by something")
    await h.refused(h.memory.get_many(external_ids=keys), InvalidRequestError)
    await h.refused(h.memory.get_many([h.unknown()], external_ids=keys, user_id=h.user), InvalidRequestError)


@check("BAT-6", "update_many changes each record by its own patch, in order", requires=UPDATE_MANY)
async def many_are_changed(h: Harness) -> None:
    """Change records in another order than theirs, one twice, among unknown, foreign and malformed items."""
    one, two, three = await _read(h, h.ids(await h.seed([{"content": h.marker(), "kind": "fact"} for _ in range(3)])))
    theirs = await h.add(h.marker(), h.other)
    contents = [h.marker() for _ in range(3)]
    bad = "invalid_request"
    items: list[tuple[Any, str]] = [
        ({"id": three.id, "content": contents[0], "kind": None}, ""),
        ({"id": h.unknown(), "kind": "event"}, "not_found"),
        ({"id": theirs.id, "kind": "event"}, "not_found"),
        ({"id": one.id, "kind": "event"}, ""),
        ({"id": one.id, "content": None}, bad),
        ({"id": one.id, "unknown": 1}, bad),
        ({"kind": "event"}, bad),
        ({"id": two.id, "user_id": h.other, "kind": "event"}, bad),
        (5, bad),
        ({"id": three.id, "content": contents[1], "tags": [h.own("red")]}, ""),
    ]
    results = await h.memory.update_many([item for item, _ in items], user_id=h.user)
    codes = [result.error.code if result.error else "" for result in results]
    h.require(codes == [code for _, code in items], f"the items are answered by {codes}")
    await h.memory.wait_for_ingest([one.id, three.id], h.user)
    done = [result.memory for result in results if result.memory is not None]
    h.require([each.id for each in done] == [three.id, one.id, three.id], f"the answers are {done}")
    read = await _read(h, [one.id, two.id, three.id])
    h.require((done[0].content, done[0].kind) == (contents[0], None), f"the first change answers {done[0]}")
    h.require(done[2].content == read[2].content == contents[1], f"the last change answers {done[2]}, get {read[2]}")
    h.require((read[2].kind, read[2].tags) == (None, [h.own("red")]), f"of two patches came {read[2]}")
    h.require((read[0].content, read[0].kind) == (one.content, "event"), f"of one patch came {read[0]}")
    h.require(read[1] == two, f"what no good item names became {read[1]}")
    left = await h.memory.get(theirs.id, user_id=h.other)
    h.require(left.version == theirs.version, f"another user's record became {left}")


@check("BAT-6", "each item has its own if_version", requires=(*UPDATE_MANY, "supports_if_version"))
async def many_have_versions(h: Harness) -> None:
    """Change one record three times in a batch, of which the second has an old version."""
    record = await h.add(h.marker())
    items = [{"id": record.id, "kind": kind, "if_version": v} for kind, v in (("one", 1), ("two", 1), ("three", 2))]
    first, second, third = await h.memory.update_many(items, user_id=h.user)
    h.require(second.error is not None and second.error.code == "conflict", f"an old version answers {whole(second)}")
    h.require(first.error is None and third.error is None, f"the right versions answer {whole(first)}, {whole(third)}")
    read = await h.memory.get(record.id, user_id=h.user)
    h.require((read.kind, read.version) == ("three", 3), f"after two good changes get answers {read}")


@check("BAT-6", "update_many takes an external_id as update does", requires=(*UPDATE_MANY, *KEYS))
async def many_are_changed_by_key(h: Harness) -> None:
    """Change a record by its key and by its id in one batch, beside another user's of that key."""
    mine, theirs = await _keyed(h)
    items: list[dict[str, Any]] = [
        {"external_id": _key(h), "kind": "event"},
        {"id": mine.id, "tags": [h.own("red")]},
        {"external_id": h.own("nobody's"), "kind": "event"},
        {"id": mine.id, "external_id": _key(h), "kind": "fact"},
    ]
    results = await h.memory.update_many(items, user_id=h.user)
    codes = [result.error.code if result.error else "" for result in results]
    h.require(codes == ["", "", "not_found", "invalid_request"], f"the items are answered by {codes}")
    read = await h.memory.get(external_id=_key(h), user_id=h.user)
    h.require((read.kind, read.tags) == ("event", [h.own("red")]), f"of two patches came {read}")
    h.require(await h.memory.get(theirs.id, user_id=h.other) == theirs, "a batch by key changed another user's")
    keyless = await h.memory.update_many([{"external_id": _key(h), "kind": "fact"}])
    h.require(keyless[0].error is not None, "a key without a user was taken")


@check("BAT-6", "what update_many changes is searched as update leaves it", requires=UPDATE_MANY)
async def many_are_searched(h: Harness) -> None:
    """Give records new contents, and search for the old words and the new."""
    old, new = h.marker(), h.marker()
    ids = h.ids(await h.seed([{"content": f"{old} {h.marker()}"} for _ in range(3)]))
    results = await h.memory.update_many([{"id": each, "content": f"{new} {h.marker()}"} for each in ids[:2]])
    h.require(not any(result.error for result in results), f"an update failed: {results}")
    await h.memory.wait_for_ingest(ids, h.user)
    if h.capabilities.features.keyword_search:
        found = h.ids(await h.memory.search(new, h.user, mode="keyword"))
        h.expect(found, ids[:2], among=ids, what="search for the new word")
        found = h.ids(await h.memory.search(old, h.user, mode="keyword"))
        h.expect(found, ids[2:], among=ids, what="search for the old word")
    contents = [each.content.split()[0] for each in await _read(h, ids)]
    h.require(contents == [new, new, old], f"the contents begin with {contents}")
