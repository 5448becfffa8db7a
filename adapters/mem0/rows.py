"""The rows that mem0's hosted platform answers, as records: whose each is, what is missing, what cannot be one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from openmem._generated.models import MemoryRecord

from .envelope import ENVELOPE, ID, OWN, Stored, came_along, leave_out, memory_of


class Row(NamedTuple):
    """A record of mem0's, by its own id there, and the memory it holds."""

    id: str
    memory: MemoryRecord
    metadata: Mapping[str, Any]


def rows_of(answers: Iterable[Mapping[str, Any]], user_id: str | None) -> Iterator[Row]:
    """Read records, and let through what is the user's; of no user, nothing.

    One that cannot be a memory is told of in the log, once, and left out.
    """
    for answer in answers:
        stored = _stored(answer)
        if not stored.user_id.strip():
            continue
        try:
            memory = memory_of(stored)
        except (ValueError, TypeError, RecursionError) as error:
            leave_out(stored.id, type(error).__name__)
            continue
        if user_id in (None, memory.user_id):
            yield Row(stored.id, memory.model_copy(update={"id": _name(stored)}), stored.metadata)


def _name(stored: Stored) -> str:
    """Return the id that finds a record again; one that came along from elsewhere does not."""
    name = stored.metadata.get(ID)
    return name if isinstance(name, str) and not came_along(stored) else stored.id


def _stored(answer: Mapping[str, Any]) -> Stored:
    metadata = answer.get("metadata")
    if not isinstance(metadata, Mapping):
        metadata = {}
    # What mem0 makes of a memory of ours is not a part of it; a list and a search call one field by two names.
    own = {name: answer[name] for name in OWN if answer.get(name)}
    if ENVELOPE in metadata:
        own.pop("categories", None)
    if answer.get("session_id"):
        own.setdefault("run_id", answer["session_id"])
    return Stored(
        id=str(answer["id"]),
        text=answer.get("memory") or "",
        user_id=str(answer.get("user_id") or ""),
        created_at=answer.get("created_at"),
        updated_at=answer.get("updated_at"),
        metadata=metadata,
        own=own,
    )
