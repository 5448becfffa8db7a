"""Update of where a record came from and of when it begins."""

from __future__ import annotations

from typing import Any

from openmem.errors import InvalidRequestError
from openmem.types import MemoryRecord

from ..check import check
from ..harness import Harness

UPDATE = ("update",)
TEMPORAL = (*UPDATE, "temporal")
SOURCE = {"app": "mail", "type": "explicit", "ref": "turn/7"}
FUTURE = "2999-01-01T00:00:00Z"


def _source(record: MemoryRecord) -> dict[str, Any] | None:
    return record.source.model_dump(exclude_none=True) if record.source is not None else None


async def _updated(h: Harness, record: MemoryRecord, **fields: Any) -> MemoryRecord:
    await h.memory.update(record.id, user_id=h.user, **fields)
    await h.memory.wait_for_ingest([record.id], h.user)
    read: MemoryRecord = await h.memory.get(record.id, user_id=h.user)
    return read


async def _has_source(h: Harness, record: MemoryRecord, due: dict[str, Any] | None, after: str) -> None:
    h.require((_source(record) or None) == due, f"after {after} the source is {_source(record)}, not {due}")


@check("UPD-8", "source merges key by key, and null clears it", requires=UPDATE)
async def source_merges(h: Harness) -> None:
    """Change one key of a source, take one out, clear it and give it anew."""
    record = await h.add(h.marker(), source=SOURCE, kind="fact")
    changed = await _updated(h, record, source={"app": "chat"})
    await _has_source(h, changed, {**SOURCE, "app": "chat"}, "an update of its app")
    h.require((changed.content, changed.kind) == (record.content, "fact"), f"an update of source changed {changed}")
    changed = await _updated(h, record, source={"ref": None})
    await _has_source(h, changed, {"app": "chat", "type": "explicit"}, "an update whose ref is null")
    await _has_source(h, await _updated(h, record, source=None), None, "an update to null")
    await _has_source(h, await _updated(h, record, source={"ref": "turn/9"}), {"ref": "turn/9"}, "a new source")


@check("UPD-9", "new content does not keep the old source", requires=UPDATE)
async def new_content_has_no_old_source(h: Harness) -> None:
    """Update with the same content, with another one, and with another one and its source."""
    record = await h.add(h.marker(), source=SOURCE)
    await _has_source(h, await _updated(h, record, content=record.content), SOURCE, "an update with the same content")
    await _has_source(h, await _updated(h, record, kind="fact"), SOURCE, "an update without content")
    await _has_source(h, await _updated(h, record, content=h.marker()), None, "an update with new content")
    changed = await _updated(h, record, content=h.marker(), source=SOURCE)
    await _has_source(h, changed, SOURCE, "an update with new content and its source")
    changed = await _updated(h, record, content=h.marker(), source={"app": "chat"})
    await _has_source(h, changed, {"app": "chat"}, "an update with new content and another source")


@check("UPD-9", "a repeated add of new content does not keep the old source", requires=("supports_external_id",))
async def repeated_content_has_no_old_source(h: Harness) -> None:
    """Add a key again with the same content, with another one, and with another one and its source."""
    content, key = h.marker(), h.own("key")
    steps: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
        (content, {"source": SOURCE}, SOURCE),
        (content, {}, SOURCE),
        (h.marker(), {}, None),
        (h.marker(), {"source": SOURCE}, SOURCE),
        (h.marker(), {"source": {"app": "chat"}}, {"app": "chat"}),
    ]
    for text, given, due in steps:
        record = await h.add(text, external_id=key, **given)
        await _has_source(h, await h.memory.get(record.id, user_id=h.user), due, f"an add of {text!r} with {given}")


@check("UPD-10", "valid_from moves the begin, and null has it begin at once", requires=TEMPORAL)
async def begin_moves(h: Harness) -> None:
    """Put the begin of a record off, and take it back."""
    record, beside = await h.seed([{"content": h.marker()}, {"content": h.marker()}])
    both = [record.id, beside.id]
    changed = await _updated(h, record, valid_from=FUTURE)
    h.require(changed.valid_from is not None and changed.valid_from.year == 2999, f"valid_from is {changed.valid_from}")
    h.expect(await h.all_ids(), [beside.id], among=both, what="list before the begin")
    coming = await h.all_ids(include=["upcoming"])
    h.expect(coming, both, among=both, what="list with what is to come", all_expected=True)
    changed = await _updated(h, record, valid_from=None)
    h.require(changed.valid_from is None, f"valid_from is {changed.valid_from}, not cleared")
    h.expect(await h.all_ids(), both, among=both, what="list once it began", all_expected=True)
    end = {"valid_to": "2998-01-01T00:00:00Z"}
    await _updated(h, record, **end)
    await h.refused(h.memory.update(record.id, user_id=h.user, valid_from=FUTURE), InvalidRequestError)


@check("UPD-10", "what a record superseded leaves when it begins", requires=(*TEMPORAL, "supports_supersession"))
async def begin_moves_what_was_superseded(h: Harness) -> None:
    """Supersede a record by one to come, have that begin at once, and put it off again."""
    old = await h.add(h.marker())
    new = await h.add(h.marker(), supersedes=[old.id], valid_from=FUTURE)
    both = [old.id, new.id]
    h.expect(await h.all_ids(), [old.id], among=both, what="list before the successor begins")
    await _updated(h, new, valid_from=None)
    h.expect(await h.all_ids(), [new.id], among=both, what="list once the successor began")
    await _updated(h, new, valid_from=FUTURE)
    h.expect(await h.all_ids(), [old.id], among=both, what="list once the successor was put off")
