"""Supersession: one record takes the place of others, and gives it back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

from openmem.errors import ConflictError, InvalidRequestError, NotFoundError
from openmem.types import MemoryRecord

from ..check import check
from ..harness import Harness
from ._shared import delete_all, reads

NEEDS = ("supports_supersession",)
WITH_UPDATE = (*NEEDS, "update")
WITH_TIME = (*NEEDS, "temporal")
DAY = timedelta(days=1)


async def _chain(h: Harness, word: str, length: int) -> list[MemoryRecord]:
    """Store records of which each supersedes the one before; return them as they are in the end, oldest first."""
    ids: list[str] = []
    for place in range(length):
        fields: dict[str, Any] = {"supersedes": ids[-1:]} if ids else {}
        record = await h.add(f"{word} link {place}", **fields)
        ids.append(record.id)
    return await _now(h, ids)


async def _now(h: Harness, ids: Sequence[str]) -> list[MemoryRecord]:
    return [await h.memory.get(each) for each in ids]


async def _unchanged(h: Harness, before: Sequence[MemoryRecord], after_what: str) -> None:
    after = await _now(h, h.ids(before))
    for old, new in zip(before, after, strict=True):
        h.require(old == new, f"{after_what} changed a record from {old} to {new}")


async def _current(
    h: Harness, word: str, among: Sequence[MemoryRecord], expected: Sequence[MemoryRecord], what: str
) -> None:
    await reads(h, word, among, expected, what, selection={}, all_expected=len(among) == len(expected))


@check("SUP-1", "a superseded record names its successor and leaves reads", requires=NEEDS)
async def superseded_record_leaves_reads(h: Harness) -> None:
    """Supersede one of two records and read both."""
    word = h.marker()
    old, kept = await h.seed([{"content": f"{word} old"}, {"content": f"{word} kept"}])
    new = await h.add(f"{word} new", supersedes=[old.id])
    read = await h.memory.get(old.id)
    h.require(read.superseded_by == new.id, f"superseded_by is {read.superseded_by}, not {new.id}.")
    h.require(read.superseded_at == new.created_at, f"superseded_at is {read.superseded_at}, not {new.created_at}.")
    h.require(new.supersedes == [old.id], f"the successor's supersedes is {new.supersedes}.")
    h.require(new.superseded_by is None and kept.superseded_by is None, "a current record is superseded.")
    await _current(h, word, [old, kept, new], [kept, new], "after supersession")


@check("SUP-1", "one record supersedes several", requires=NEEDS)
async def several_at_once(h: Harness) -> None:
    """Supersede three records by one and leave a fourth alone."""
    word = h.marker()
    records = await h.seed([{"content": f"{word} {name}"} for name in "abcd"])
    new = await h.add(f"{word} new", supersedes=h.ids(records[:3]))
    after = await _now(h, h.ids(records))
    h.require([r.superseded_by for r in after] == [new.id] * 3 + [None], f"superseded_by is wrong in {after}")
    await _current(h, word, [*records, new], [records[3], new], "after supersession")


@check("SUP-1", "in a chain only the last is current", requires=NEEDS)
async def only_the_last_is_current(h: Harness) -> None:
    """Build a chain of four and read it."""
    word = h.marker()
    chain = await _chain(h, word, 4)
    for older, newer in pairwise(chain):
        h.require(older.superseded_by == newer.id, f"{older.id} names {older.superseded_by}, not {newer.id}.")
        h.require(older.superseded_at == newer.created_at, f"superseded_at of {older.id} is {older.superseded_at}.")
    await _current(h, word, chain, chain[-1:], "of a chain")


@check("SUP-1", "a record stays until a successor to come begins", requires=WITH_TIME)
async def successor_to_come(h: Harness) -> None:
    """Supersede from tomorrow on, and read today and tomorrow."""
    word, tomorrow = h.marker(), h.now() + DAY
    old = await h.add(f"{word} old")
    new = await h.add(f"{word} new", supersedes=[old.id], valid_from=tomorrow)
    read = await h.memory.get(old.id)
    h.require(read.superseded_by == new.id, f"superseded_by is {read.superseded_by}, not {new.id}.")
    h.require(read.superseded_at == tomorrow, f"superseded_at is {read.superseded_at}, not {tomorrow}.")
    await reads(h, word, [old, new], [old], "today", selection={})
    soon = {"as_of": tomorrow - timedelta(microseconds=1)}
    await reads(h, word, [old, new], [old], "before the successor begins", selection=soon)
    await reads(h, word, [old, new], [new], "when the successor begins", selection={"as_of": tomorrow})


@check("SUP-1", "a successor that began earlier supersedes from then", requires=WITH_TIME)
async def successor_from_the_past(h: Harness) -> None:
    """Supersede from yesterday on, and read before and after."""
    word, yesterday = h.marker(), h.now() - DAY
    old = await h.add(f"{word} old", valid_from=yesterday - DAY)
    new = await h.add(f"{word} new", supersedes=[old.id], valid_from=yesterday)
    read = await h.memory.get(old.id)
    h.require(read.superseded_at == yesterday, f"superseded_at is {read.superseded_at}, not {yesterday}.")
    earlier = {"as_of": yesterday - timedelta(hours=1)}
    await reads(h, word, [old, new], [old], "before yesterday", selection=earlier)
    await reads(h, word, [old, new], [new], "as of yesterday", selection={"as_of": yesterday})
    await reads(h, word, [old, new], [new], "today", selection={})


@check("SUP-1", "an update supersedes from the moment of the update", requires=WITH_UPDATE)
async def update_supersedes_from_then_on(h: Harness) -> None:
    """Supersede by updating a record that is already there."""
    word = h.marker()
    records = await h.seed([{"content": f"{word} {name}"} for name in ("old", "new", "kept")])
    updated = await h.memory.update(records[1].id, user_id=h.user, supersedes=[records[0].id])
    old = await h.memory.get(records[0].id)
    h.require(old.superseded_by == updated.id, f"superseded_by is {old.superseded_by}, not {updated.id}.")
    late = old.superseded_at is not None and records[-1].created_at <= old.superseded_at <= updated.updated_at
    h.require(late, f"superseded_at is {old.superseded_at}, the update at {updated.updated_at}.")
    await _current(h, word, records, records[1:], "after the update")


@check("SUP-2", "an add that supersedes an unknown id stores nothing", requires=NEEDS)
async def unknown_id_in_add(h: Harness) -> None:
    """Name an unknown id alone and beside a good one."""
    old = await h.memory.get((await h.add(h.marker())).id)
    unknown = h.unknown()
    for ids in ([unknown], [old.id, unknown], [unknown, old.id]):
        await h.refused(h.memory.add(h.marker(), h.user, supersedes=ids), InvalidRequestError)
    await _unchanged(h, [old], "a refused add")
    h.require(await h.all_ids() == [old.id], "a refused add stored a record.")


@check("SUP-2", "a deleted record cannot be superseded", requires=NEEDS)
async def deleted_id_in_add(h: Harness) -> None:
    """Name the id of a record that was deleted."""
    gone = await h.add(h.marker())
    await h.memory.delete(gone.id, user_id=h.user)
    await h.refused(h.memory.add(h.marker(), h.user, supersedes=[gone.id]), InvalidRequestError)
    h.require(not await h.all_ids(), "a refused add stored a record.")


@check("SUP-2", "another user's record cannot be superseded", requires=NEEDS)
async def foreign_id_in_add(h: Harness) -> None:
    """Name another user's record alone and beside a good one; the refusal is that of an unknown id."""
    mine, theirs = await h.add(h.marker()), await h.add(h.marker(), user_id=h.other)
    before = await _now(h, [mine.id, theirs.id])
    for ids in ([theirs.id], [mine.id, theirs.id]):
        await h.refused(h.memory.add(h.marker(), h.user, supersedes=ids), InvalidRequestError)
    await _unchanged(h, before, "a refused add")
    h.require(await h.all_ids() == [mine.id], "a refused add stored a record.")
    h.require(await h.all_ids(user_id=h.other) == [theirs.id], "another user's record left reads.")


@check("SUP-2", "an update that supersedes an unknown or foreign id changes nothing", requires=WITH_UPDATE)
async def bad_ids_in_update(h: Harness) -> None:
    """Update with a good id beside a bad one, and other fields."""
    records = await h.seed([{"content": h.marker()} for _ in range(2)])
    theirs = await h.add(h.marker(), user_id=h.other)
    before = await _now(h, [*h.ids(records), theirs.id])
    for bad in (h.unknown(), theirs.id):
        ids = [records[0].id, bad]
        change = h.memory.update(records[1].id, user_id=h.user, supersedes=ids, kind="changed")
        await h.refused(change, InvalidRequestError)
    await _unchanged(h, before, "a refused update")


@check("SUP-3", "deleting the successor frees all that it superseded", requires=NEEDS)
async def deleting_the_successor_frees(h: Harness) -> None:
    """Delete a record that supersedes two, and read them again."""
    word = h.marker()
    records = await h.seed([{"content": f"{word} {name}"} for name in "ab"])
    new = await h.add(f"{word} new", supersedes=h.ids(records))
    await _current(h, word, [*records, new], [new], "before the delete")
    await h.memory.delete(new.id, user_id=h.user)
    for record in await _now(h, h.ids(records)):
        freed = record.superseded_by is None and record.superseded_at is None
        h.require(freed, f"still superseded: {record}")
    await _current(h, word, records, records, "after the delete")


@check("SUP-3", "a batch that deletes successors frees what they superseded", requires=(*NEEDS, "delete_many"))
async def batches_free(h: Harness) -> None:
    """Delete a record that supersedes two, and the middle of a chain of three, in one batch."""
    word = h.marker()
    records = await h.seed([{"content": f"{word} {name}"} for name in "ab"])
    new = await h.add(f"{word} new", supersedes=h.ids(records))
    first, middle, last = await _chain(h, word, 3)
    await _current(h, word, [*records, new, first, middle, last], [new, last], "before the batch")
    await delete_all(h, [new.id, middle.id])
    *freed, end = await _now(h, h.ids([*records, first, last]))
    held = [record for record in freed if record.superseded_by is not None or record.superseded_at is not None]
    h.require(not held, f"still superseded: {held}")
    h.require(not end.supersedes, f"the newest still supersedes {end.supersedes}.")
    await _current(h, word, [*freed, end], [*freed, end], "after the batch")


@check("SUP-3", "deleting the head of a chain frees only the one before", requires=NEEDS)
async def deleting_the_head(h: Harness) -> None:
    """Delete the newest of three, then the next."""
    word = h.marker()
    chain = await _chain(h, word, 3)
    await h.memory.delete(chain[2].id, user_id=h.user)
    await _current(h, word, chain[:2], chain[1:2], "after deleting the newest")
    first = await h.memory.get(chain[0].id)
    h.require(first.superseded_by == chain[1].id, "the oldest was freed with the one in the middle.")
    await h.memory.delete(chain[1].id, user_id=h.user)
    await _current(h, word, chain[:1], chain[:1], "after deleting the next")


@check("SUP-3", "deleting the middle of a chain frees the older and leaves the newer", requires=NEEDS)
async def deleting_the_middle(h: Harness) -> None:
    """Delete the middle of three."""
    word = h.marker()
    first, middle, last = await _chain(h, word, 3)
    await _current(h, word, [first, middle, last], [last], "before the delete")
    await h.memory.delete(middle.id, user_id=h.user)
    first, last = await _now(h, [first.id, last.id])
    h.require(first.superseded_by is None, f"the oldest is still superseded by {first.superseded_by}.")
    h.require(not last.supersedes, f"the newest still supersedes {last.supersedes}.")
    await _current(h, word, [first, last], [first, last], "after deleting the middle")


@check("SUP-3", "deleting a record removes its id from its successor", requires=NEEDS)
async def deleting_what_is_superseded(h: Harness) -> None:
    """Delete one of two superseded records; the other stays superseded."""
    word = h.marker()
    records = await h.seed([{"content": f"{word} {name}"} for name in "ab"])
    new = await h.add(f"{word} new", supersedes=h.ids(records))
    await h.memory.delete(records[0].id, user_id=h.user)
    other, new = await _now(h, [records[1].id, new.id])
    h.require(new.supersedes == [other.id], f"the successor supersedes {new.supersedes}, not {[other.id]}.")
    await _current(h, word, [other, new], [new], "after the delete")


@check("SUP-3", "a freed record can be superseded again", requires=NEEDS)
async def freed_and_superseded_again(h: Harness) -> None:
    """Supersede, delete the successor, and supersede by another."""
    word = h.marker()
    old = await h.add(f"{word} old")
    first = await h.add(f"{word} first", supersedes=[old.id])
    await h.memory.delete(first.id, user_id=h.user)
    second = await h.add(f"{word} second", supersedes=[old.id])
    read = await h.memory.get(old.id)
    h.require(read.superseded_by == second.id, f"superseded_by is {read.superseded_by}, not {second.id}.")
    h.require(read.superseded_at == second.created_at, f"superseded_at is {read.superseded_at}.")
    await _current(h, word, [old, second], [second], "after the second supersession")


@check("SUP-4", "superseding twice is a conflict that names the first successor", requires=NEEDS)
async def superseding_twice(h: Harness) -> None:
    """Supersede a record again by an add, alone and beside a free one."""
    word = h.marker()
    old, free = await h.seed([{"content": f"{word} old"}, {"content": f"{word} free"}])
    first = await h.add(f"{word} first", supersedes=[old.id])
    before = await _now(h, [old.id, free.id, first.id])
    for ids in ([old.id], [free.id, old.id]):
        error = await h.refused(h.memory.add(f"{word} second", h.user, supersedes=ids), ConflictError)
        h.require(first.id in str(error), f"the conflict does not name {first.id}: {error}")
    await _unchanged(h, before, "a refused add")
    await _current(h, word, [old, free, first], [free, first], "after the conflicts")


@check("SUP-4", "an update cannot supersede what another supersedes", requires=WITH_UPDATE)
async def superseding_twice_by_update(h: Harness) -> None:
    """Supersede a record again by an update; doing again what was done is no conflict."""
    word = h.marker()
    old, second = await h.seed([{"content": f"{word} old"}, {"content": f"{word} second"}])
    first = await h.add(f"{word} first", supersedes=[old.id])
    before = await _now(h, [old.id, second.id, first.id])
    change = h.memory.update(second.id, user_id=h.user, supersedes=[old.id])
    error = await h.refused(change, ConflictError)
    h.require(first.id in str(error), f"the conflict does not name {first.id}: {error}")
    await _unchanged(h, before, "a refused update")
    again = await h.memory.update(first.id, user_id=h.user, supersedes=[old.id])
    h.require(again.supersedes == [old.id], f"superseding the same again gave {again.supersedes}.")


@check("SUP-4", "a cycle is a conflict", requires=WITH_UPDATE)
async def cycles(h: Harness) -> None:
    """Close a chain of three at each distance: on itself, on the next, on the last."""
    chain = await _chain(h, h.marker(), 3)
    for older, newer in ((2, 2), (0, 0), (0, 1), (0, 2), (1, 2)):
        change = h.memory.update(chain[older].id, user_id=h.user, supersedes=[chain[newer].id])
        await h.refused(change, ConflictError)
        await _unchanged(h, chain, f"refusing that link {older} supersedes link {newer}")


@check("SUP-5", "history is the whole chain from any member, oldest first", requires=(*NEEDS, "history"))
async def history_from_any_member(h: Harness) -> None:
    """Walk a chain of twelve from its ends and its middle, with another chain beside it."""
    chain = await _chain(h, h.marker(), 12)
    beside = await _chain(h, h.marker(), 2)
    for member in (*chain[:2], chain[6], *chain[-2:]):
        items = await h.memory.history(member.id, user_id=h.user)
        h.expect(
            h.ids(items),
            h.ids(chain),
            among=h.ids([*chain, *beside]),
            what=f"history from '{member.content}'",
            ordered=True,
        )
        h.require(list(items) == chain, "a record in history differs from what get answers.")


@check("SUP-5", "history of a record that was merged holds all branches", requires=(*NEEDS, "history"))
async def history_of_a_merge(h: Harness) -> None:
    """Walk from a branch, the merge and its successor."""
    word = h.marker()
    roots = await h.seed([{"content": f"{word} {name}"} for name in ("a", "b", "apart")])
    merged = await h.add(f"{word} merged", supersedes=h.ids(roots[:2]))
    last = await h.add(f"{word} last", supersedes=[merged.id])
    expected = [*h.ids(roots[:2]), merged.id, last.id]
    for member in (roots[0], roots[1], merged, last):
        items = h.ids(await h.memory.history(member.id, user_id=h.user))
        h.expect(items, expected, among=[*expected, roots[2].id], what=f"history from '{member.content}'")
        h.require(items[2:] == expected[2:], f"history from '{member.content}' is not oldest first.")


@check("SUP-5", "history has every state, and a lone record is its own", requires=(*NEEDS, "history"))
async def history_in_every_state(h: Harness) -> None:
    """Walk a chain whose end is still to come, then a record without links."""
    word = h.marker()
    old = await h.add(f"{word} old")
    new = await h.add(f"{word} new", supersedes=[old.id], valid_from=h.now() + DAY)
    alone = await h.add(f"{word} alone")
    among = [old.id, new.id, alone.id]
    for member in (old.id, new.id):
        items = h.ids(await h.memory.history(member, user_id=h.user))
        h.expect(items, [old.id, new.id], among=among, what="history to come", ordered=True)
    h.expect(h.ids(await h.memory.history(alone.id)), [alone.id], among=among, what="history of a lone record")


@check("SUP-5", "history breaks where a member was deleted", requires=(*NEEDS, "history"))
async def history_after_a_delete(h: Harness) -> None:
    """Delete the middle of three and walk from both ends and from the deleted."""
    first, middle, last = await _chain(h, h.marker(), 3)
    h.require(len(await h.memory.history(first.id)) == 3, "history of a chain of three is not three records.")
    await h.memory.delete(middle.id, user_id=h.user)
    for member in (first, last):
        items = h.ids(await h.memory.history(member.id, user_id=h.user))
        h.expect(items, [member.id], among=h.ids([first, middle, last]), what="history after a delete")
    await h.refused(h.memory.history(middle.id, user_id=h.user), NotFoundError)


@check("SUP-6", "being superseded changes neither version nor updated_at", requires=NEEDS)
async def superseding_is_no_change(h: Harness) -> None:
    """Compare a record before, while and after it is superseded."""
    old = await h.memory.get((await h.add(h.marker())).id)
    new = await h.add(h.marker(), supersedes=[old.id])
    superseded = await h.memory.get(old.id)
    h.require(superseded.superseded_by == new.id, "the record is not superseded.")
    await h.memory.delete(new.id, user_id=h.user)
    freed = await h.memory.get(old.id)
    for when, record in (("superseded", superseded), ("freed", freed)):
        same = (record.version, record.updated_at) == (old.version, old.updated_at)
        h.require(same, f"when {when}: version {record.version}, updated_at {record.updated_at}; it was {old}")
    h.require(freed == old, f"freed, the record is {freed}, not {old}")
