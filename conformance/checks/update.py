"""Update: a merge patch, a new version, and an index that follows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from openmem.errors import ConflictError, InvalidRequestError, NotFoundError
from openmem.types import MemoryRecord

from ..check import check
from ..filter_table import supported
from ..harness import Harness
from ._shared import by_test_words, declared, found, modes, rich

UPDATE = ("update",)
METADATA = (*UPDATE, "supports_metadata")
SUPERSESSION = (*UPDATE, "supports_supersession")
LOCKING = (*UPDATE, "supports_if_version")
MOVED = {"updated_at", "version"}
INGESTED = {"status", "embedding_model"}
"""What may still change after a queued update was answered."""
CLEARED = ("scope", "tags", "confidence", "valid_to", "metadata", "kind", "importance", "pinned", "x-team")


async def _stored(h: Harness, **fields: Any) -> MemoryRecord:
    """Add a record and read it as get answers it."""
    added = await h.add(h.marker(), **fields)
    record: MemoryRecord = await h.memory.get(added.id, user_id=h.user)
    return record


async def _update(h: Harness, record: MemoryRecord, **fields: Any) -> MemoryRecord:
    """Update a record; what is answered must be what get answers."""
    answered = await h.memory.update(record.id, user_id=h.user, **fields)
    await h.memory.wait_for_ingest([record.id], h.user)
    read: MemoryRecord = await h.memory.get(record.id, user_id=h.user)
    same = answered.model_dump(exclude=INGESTED) == read.model_dump(exclude=INGESTED)
    h.require(same, f"update answered {answered}, get {read}")
    return read


def _others(record: MemoryRecord, *changed: str) -> dict[str, Any]:
    return record.model_dump(exclude=MOVED | set(changed))


@check("UPD-1", "absent fields stay", requires=UPDATE)
async def absent_fields_stay(h: Harness) -> None:
    """Change one field after the other of a record that has all, and compare the others."""
    record = await _stored(h, **rich(h))
    changes = supported(
        {"content": h.marker(), "scope": h.scope("moved"), "kind": "event", "importance": 0.5, "tags": [h.own("green")]}
        | {"confidence": 1.0, "valid_to": datetime(2998, 1, 1, tzinfo=UTC), "pinned": False},
        declared(h),
    )
    for name, value in changes.items():
        changed = await _update(h, record, **{name: value})
        h.require(getattr(changed, name) == value, f"{name} is {getattr(changed, name)!r}, not {value!r}.")
        apart = (name, "embedding_model", *(["source"] if name == "content" else []))  # of that UPD-9 has its say
        same = _others(changed, *apart) == _others(record, *apart)
        h.require(same, f"an update of {name} changed more: from {record} to {changed}")
        record = changed


@check("UPD-1", "several fields change together", requires=UPDATE)
async def several_fields_change_together(h: Harness) -> None:
    """Set three fields and clear one in a single update."""
    record = await _stored(h, tags=[h.own("red")], kind="fact", confidence=0.5)
    content = h.marker()
    changed = await _update(h, record, content=content, tags=[h.own("red"), h.own("blue")], importance=0.25, kind=None)
    got = (changed.content, changed.tags, changed.importance, changed.kind, changed.confidence)
    h.require(got == (content, [h.own("red"), h.own("blue")], 0.25, None, 0.5), f"the update made {changed}")


@check("UPD-1", "null clears every field that can be cleared", requires=UPDATE)
async def null_clears(h: Harness) -> None:
    """Clear one field after the other of a record that has all, and compare the others."""
    fields = rich(h)
    record = await _stored(h, **fields)
    for name in [name for name in CLEARED if name in fields]:
        changed = await _update(h, record, **{name: None})
        left = changed.model_dump().get(name)
        h.require(not left, f"{name} is {left!r} after it was cleared.")
        same = _others(changed, name) == _others(record, name)
        h.require(same, f"clearing {name} changed more: from {record} to {changed}")
        record = changed


@check("UPD-1", "tags are replaced, not merged", requires=UPDATE)
async def tags_are_replaced(h: Harness) -> None:
    """Replace tags and read by the old and the new ones."""
    record = await _stored(h, tags=[h.own("old"), h.own("kept")])
    changed = await _update(h, record, tags=[h.own("kept"), h.own("new")])
    h.require(changed.tags == [h.own("kept"), h.own("new")], f"tags are {changed.tags}.")
    h.require(not await h.all_ids(tag=h.own("old")), "the old tag still finds the record.")
    h.require(await h.all_ids(tag=h.own("new")) == [record.id], "the new tag does not find the record.")


@check("UPD-1", "extensions are added, changed and cleared", requires=METADATA)
async def extensions(h: Harness) -> None:
    """Update x- fields, one an object, which merges as any object of a merge patch."""
    record = await _stored(h, **{"x-team": {"name": "core", "size": 3}, "x-note": "old"})
    changed = await _update(h, record, **{"x-team": {"size": None, "lead": "ada"}, "x-note": None, "x-new": [1]})
    extra = {name: value for name, value in (changed.model_extra or {}).items() if value is not None}
    h.require(extra == {"x-team": {"name": "core", "lead": "ada"}, "x-new": [1]}, f"extensions are {extra}.")


@check("UPD-2", "metadata merges key by key and in depth", requires=METADATA)
async def metadata_merges_in_depth(h: Harness) -> None:
    """Add, change and remove keys at several depths in one patch."""
    metadata = {"kept": 1, "changed": "old", "gone": True, "deep": {"kept": [1], "gone": 2, "deeper": {"a": 1, "b": 2}}}
    record = await _stored(h, metadata=metadata)
    patch = {
        "changed": "new",
        "gone": None,
        "added": 0,
        "deep": {"gone": None, "added": "", "deeper": {"b": None, "c": 3}},
    }
    changed = await _update(h, record, metadata=patch)
    expected = {
        "kept": 1,
        "changed": "new",
        "added": 0,
        "deep": {"kept": [1], "added": "", "deeper": {"a": 1, "c": 3}},
    }
    h.require(changed.metadata == expected, f"metadata is {changed.metadata}, not {expected}.")


@check("UPD-2", "lists and values of metadata are replaced whole", requires=METADATA)
async def metadata_values_are_replaced(h: Harness) -> None:
    """Replace a list, an object by a value, a value by an object, and remove what is not there."""
    record = await _stored(h, metadata={"list": [1, 2, 3], "object": {"a": 1}, "value": 5})
    patch = {"list": [{"b": 2}], "object": "text", "value": {"c": {"d": None, "e": 1}}, "absent": None}
    changed = await _update(h, record, metadata=patch)
    expected = {"list": [{"b": 2}], "object": "text", "value": {"c": {"e": 1}}}
    h.require(changed.metadata == expected, f"metadata is {changed.metadata}, not {expected}.")


@check("UPD-2", "metadata starts from nothing, and an empty patch of it changes nothing", requires=METADATA)
async def metadata_from_nothing(h: Harness) -> None:
    """Merge into a record without metadata, then merge an empty object."""
    record = await _stored(h)
    changed = await _update(h, record, metadata={"a": {"b": None, "c": 1}})
    h.require(changed.metadata == {"a": {"c": 1}}, f"metadata is {changed.metadata}.")
    again = await _update(h, record, metadata={})
    h.require(again.metadata == {"a": {"c": 1}}, f"after an empty patch metadata is {again.metadata}.")


@check("UPD-3", "supersedes appends without duplicates", requires=SUPERSESSION)
async def supersedes_appends(h: Harness) -> None:
    """Append to a record that supersedes one: that one again, another, and that twice."""
    first, second, kept = await h.seed([{"content": h.marker()} for _ in range(3)])
    record = await _stored(h, supersedes=[first.id])
    changed = await _update(h, record, supersedes=[first.id, second.id, second.id])
    h.require(changed.supersedes == [first.id, second.id], f"supersedes is {changed.supersedes}.")
    linked = [(await h.memory.get(each.id)).superseded_by for each in (first, second, kept)]
    h.require(linked == [record.id, record.id, None], f"superseded_by of the three: {linked}.")


@check("UPD-3", "supersedes null frees all", requires=SUPERSESSION)
async def supersedes_null_frees_all(h: Harness) -> None:
    """Clear supersedes of a record that supersedes two; they return to reads."""
    records = await h.seed([{"content": h.marker()} for _ in range(2)])
    record = await _stored(h, supersedes=h.ids(records))
    h.require(await h.all_ids() == [record.id], "the superseded records are still read.")
    changed = await _update(h, record, supersedes=None)
    h.require(not changed.supersedes, f"supersedes is {changed.supersedes} after it was cleared.")
    for each in records:
        read = await h.memory.get(each.id)
        h.require(read.superseded_by is None and read.superseded_at is None, f"not freed: {read}")
    h.require(set(await h.all_ids()) == {record.id, *h.ids(records)}, "freed records are not read again.")


@check("UPD-3", "an update of another field keeps supersedes", requires=SUPERSESSION)
async def supersedes_stays(h: Harness) -> None:
    """Update the kind of a record that supersedes another, and append an empty list."""
    old = await h.add(h.marker())
    record = await _stored(h, supersedes=[old.id])
    changes: list[dict[str, Any]] = [{"kind": "fact"}, {"supersedes": []}]
    for change in changes:
        changed = await _update(h, record, **change)
        h.require(changed.supersedes == [old.id], f"after {change} supersedes is {changed.supersedes}.")
        read = await h.memory.get(old.id)
        h.require(read.superseded_by == record.id, f"after {change} the old record is free.")


@check("UPD-4", "by words, the new content is found and the old is not", requires=(*UPDATE, "keyword_search"))
async def words_follow_an_update(h: Harness) -> None:
    """Search by a word before and after it is replaced, with a record beside that keeps it."""
    old, new = h.marker(), h.marker()
    records = await h.seed([{"content": f"{old} one"}, {"content": f"{old} two"}])
    among = h.ids(records)
    h.expect(await found(h, old, mode="keyword"), among, among=among, what="the old word", all_expected=True)
    await _update(h, records[0], content=f"{new} one")
    h.expect(await found(h, old, mode="keyword"), among[1:], among=among, what="the old word after the update")
    h.expect(await found(h, new, mode="keyword"), among[:1], among=among, what="the new word after the update")


@check("UPD-4", "by meaning, the new content is nearest and the old is not", requires=(*UPDATE, "vector_search"))
async def vectors_follow_an_update(h: Harness) -> None:
    """Search by the whole of the old and of the new content; another record has just the old one."""
    old, new = h.signed("The cat sleeps on the sofa all day."), h.signed("Taxes are due when the quarter ends.")
    if by_test_words(h):  # words that keyword search leaves out, so that it cannot stand in
        old, new = h.signed("Where were you when it was there?"), h.signed("What did they do to him?")
    changed, kept = await h.seed([{"content": old}, {"content": f"{old} Always."}])
    h.require((await found(h, old, mode="vector"))[:1] == [changed.id], "the same text is not the nearest.")
    await _update(h, changed, content=new)
    h.require((await found(h, old, mode="vector"))[:1] == [kept.id], "the old content still finds the record first.")
    h.require((await found(h, new, mode="vector"))[:1] == [changed.id], "the new content does not find the record.")


@check("UPD-4", "a result after an update holds the new content", requires=UPDATE)
async def results_hold_the_new_content(h: Harness) -> None:
    """Update twice and search in every mode; the record is there once, as it is now."""
    record = await h.add(f"{h.marker()} first")
    for _ in range(2):
        word = h.marker()
        await _update(h, record, content=f"{word} again")
    for mode in modes(h):
        results = await h.memory.search(word, h.user, mode=mode)
        contents = [result.memory.content for result in results]
        h.require(contents == [f"{word} again"], f"{mode} search answered {contents}.")


@check("UPD-5", "an update counts, and keeps created_at and id", requires=UPDATE)
async def updates_count(h: Harness) -> None:
    """Update four times and follow version and updated_at."""
    record = await _stored(h)
    h.require(record.version == 1, f"the first version is {record.version}.")
    changes: list[dict[str, Any]] = [{"kind": "fact"}, {"content": h.marker()}, {"tags": [h.own("a")]}, {"kind": None}]
    for count, change in enumerate(changes, 2):
        changed = await _update(h, record, **change)
        h.require(changed.version == count, f"version is {changed.version}, not {count}, after {change}.")
        before, after = record.updated_at, changed.updated_at
        h.require(
            before is not None and after is not None and before < after,
            f"updated_at went from {before} to {after} after {change}.",
        )
        same = (changed.id, changed.created_at) == (record.id, record.created_at)
        h.require(same, f"id or created_at changed after {change}: {changed}")
        record = changed


@check("UPD-6", "a wrong if_version is a conflict and changes nothing", requires=LOCKING)
async def wrong_version_is_a_conflict(h: Harness) -> None:
    """Update with versions too high, and too low after a change."""
    record = await _stored(h, tags=[h.own("kept")])
    for wrong in (2, 99):
        for user in (h.user, None):
            change = h.memory.update(record.id, user_id=user, content=h.marker(), tags=None, if_version=wrong)
            await h.refused(change, ConflictError)
    h.require(await h.memory.get(record.id) == record, "a refused update changed the record.")
    record = await _update(h, record, kind="fact")
    await h.refused(h.memory.update(record.id, user_id=h.user, kind="event", if_version=1), ConflictError)
    h.require(await h.memory.get(record.id) == record, "a refused update changed the record.")


@check("UPD-6", "the right if_version is accepted, once", requires=LOCKING)
async def right_version_is_accepted_once(h: Harness) -> None:
    """Update with the version read, twice; then with the version answered."""
    record = await _stored(h)
    first = await _update(h, record, kind="first", if_version=record.version)
    change = h.memory.update(record.id, user_id=h.user, kind="second", if_version=record.version)
    await h.refused(change, ConflictError)
    second = await _update(h, first, kind="second", if_version=first.version)
    h.require((second.kind, second.version) == ("second", 3), f"the record is {second}")


@check("UPD-7", "content cannot be cleared", requires=UPDATE)
async def content_cannot_be_cleared(h: Harness) -> None:
    """Update content to null, to nothing and to blanks, beside a change that is fine."""
    record = await _stored(h)
    for content in (None, "", "   ", "\n\t"):
        changes: dict[str, Any] = {"content": content, "kind": "changed"}
        await h.refused(h.memory.update(record.id, user_id=h.user, **changes), InvalidRequestError)
    h.require(await h.memory.get(record.id) == record, "a refused update changed the record.")
    changed = await _update(h, record, content=h.own("x"))
    h.require((changed.content, changed.kind) == (h.own("x"), None), f"a good update made {changed}")


@check("UPD-7", "an update of an unknown id is not_found", requires=UPDATE)
async def unknown_id_is_not_found(h: Harness) -> None:
    """Update an id that never was, a deleted one, and another user's; nothing is made or changed."""
    gone = await h.add(h.marker())
    await h.memory.delete(gone.id, user_id=h.user)
    theirs = await h.memory.get((await h.add(h.marker(), user_id=h.other)).id)
    for unknown in (h.unknown(), gone.id, theirs.id):
        await h.refused(h.memory.update(unknown, user_id=h.user, content=h.marker()), NotFoundError)
    h.require(not await h.all_ids(), "an update of an unknown id made a record.")
    h.require(await h.memory.get(theirs.id) == theirs, "another user's record changed.")
