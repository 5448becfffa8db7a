"""The life of a record: how a request makes one and how a merge patch changes one. Pure functions."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .._generated.bounds import MAX_SUPERSEDES_ITEMS
from .._generated.models import AddRequest, MemoryRecord, RememberRequest, UpdateRequest
from ..errors import ConflictError, InvalidRequestError
from .validation import check_size, check_validity

CARRIED = frozenset(AddRequest.model_fields) - {"vector", "on_conflict"}
PATCHED = frozenset(UpdateRequest.model_fields) - {"id", "external_id", "user_id", "vector", "if_version"}
_MUTABLE = ("tags", "supersedes", "source", "metadata")


def new_record(request: AddRequest, *, memory_id: str, now: datetime, embedding_model: str | None) -> MemoryRecord:
    """Make the record that an add stores, version 1; it shares nothing that the caller could change."""
    values = request.__dict__
    fields = {name: values[name] for name in request.model_fields_set & CARRIED if values[name] is not None}
    if "supersedes" in fields:
        fields["supersedes"] = list(dict.fromkeys(fields["supersedes"]))
    fields.update(id=memory_id, created_at=now, updated_at=now, status="done", version=1)
    if embedding_model is not None:
        fields["embedding_model"] = embedding_model
    return _assemble({**_BLANK, **fields}, request.__pydantic_extra__)


def new_fact(
    request: RememberRequest, content: str, *, memory_id: str, now: datetime, embedding_model: str | None
) -> MemoryRecord:
    """Make the record of what was said in a conversation, with the fields that the request gives to all of it."""
    fields = request.model_dump(exclude={"messages"}, exclude_none=True)
    add = AddRequest.model_construct(content=content, **fields)
    return new_record(add, memory_id=memory_id, now=now, embedding_model=embedding_model)


Edition = tuple[int | None, datetime | None]


def edition(memory: MemoryRecord) -> Edition:
    """Tell what every update of a memory changes, and the coming and going of its links does not."""
    return memory.version, memory.updated_at


def changes_of(request: UpdateRequest) -> dict[str, Any]:
    """List what an update sets in a record; null clears."""
    changes = {name: getattr(request, name) for name in request.model_fields_set & PATCHED}
    if changes.get("source") is not None:
        changes["source"] = changes["source"].model_dump(exclude_unset=True)
    return copy.deepcopy(changes | (request.model_extra or {}))


def patched(
    memory: MemoryRecord, changes: Mapping[str, Any], *, now: datetime, embedding_model: str | None
) -> MemoryRecord:
    """Apply a JSON Merge Patch (RFC 7396) to a record, version + 1; supersedes appends without duplicates.

    Raises InvalidRequestError when valid_to would not be after valid_from, or too many keys or ids would come together,
    PayloadTooLargeError when metadata would be too large.
    """
    fields = memory.model_dump()
    if _is_new(memory, changes):
        fields["source"] = None
    fields.update(_merged(fields, name, value) for name, value in changes.items())
    fields = {name: value for name, value in fields.items() if value is not None or name in _BLANK}
    return _next(memory, fields, changes, now=now, embedding_model=embedding_model)


def repeated(memory: MemoryRecord, request: AddRequest, *, now: datetime, embedding_model: str | None) -> MemoryRecord:
    """Put what an add gives in place of what the record with its external_id holds, version + 1.

    What is given is stored as it is given, what is not stays; the record is current again, unless the request itself
    says that it is archived or expired. With on_conflict=replace all that is not given is cleared.
    Raises what patched raises.
    """
    given = {name: request.__dict__[name] for name in request.model_fields_set & CARRIED}
    given = {name: value for name, value in given.items() if value is not None or name == "valid_to"}
    given = copy.deepcopy(given | (request.model_extra or {}))
    if "supersedes" in given:
        given["supersedes"] = list(dict.fromkeys(given["supersedes"]))
    if request.on_conflict == "replace":
        kept = {name: getattr(memory, name) for name in ("id", "created_at", "status", "embedding_model")}
        fields = _BLANK | kept
    else:
        fields = memory.model_dump()
        if memory.archived:
            fields["archived"] = None
        if memory.valid_to is not None and memory.valid_to <= now:
            fields["valid_to"] = None
        if _is_new(memory, given):
            fields["source"] = None
    return _next(memory, fields | given, given, now=now, embedding_model=embedding_model)


def _is_new(memory: MemoryRecord, changes: Mapping[str, Any]) -> bool:
    """Tell whether a change brings another content, of which the old source is not the origin."""
    return "content" in changes and bool(changes["content"] != memory.content)


def _next(
    memory: MemoryRecord,
    fields: dict[str, Any],
    changes: Mapping[str, Any],
    *,
    now: datetime,
    embedding_model: str | None,
) -> MemoryRecord:
    """Make the next version of a record, held to the bounds of all that it comes to."""
    check_validity(fields["valid_from"], fields["valid_to"])
    check_size(fields["metadata"], {name: value for name, value in fields.items() if name not in _BLANK})
    if len(fields["supersedes"] or ()) > MAX_SUPERSEDES_ITEMS:
        raise InvalidRequestError(f"supersedes comes to over {MAX_SUPERSEDES_ITEMS} ids.", remedy="Supersede fewer.")
    fields["updated_at"] = max(now, memory.created_at)
    fields["version"] = (memory.version or 1) + 1
    if "content" in changes:
        fields["embedding_model"] = embedding_model
    return MemoryRecord.model_validate(fields)


def _merged(fields: Mapping[str, Any], name: str, value: Any) -> tuple[str, Any]:
    if name == "supersedes" and value is not None:
        return name, list(dict.fromkeys([*(fields[name] or ()), *value]))
    if name in ("metadata", "source") or name.startswith("x-"):
        return name, merge(fields.get(name), value)
    return name, value


def merge(target: Any, patch: Any) -> Any:
    """Apply a JSON Merge Patch (RFC 7396) to a JSON value."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def check_version(memory: MemoryRecord, if_version: int | None) -> None:
    """Refuse with a conflict unless the record has the version the caller read."""
    if if_version is not None and memory.version != if_version:
        raise ConflictError(
            f"memory {memory.id} has version {memory.version}, not {if_version}.",
            remedy="Read it again and repeat the change on what it holds now.",
        )


def begins(memory: MemoryRecord) -> datetime:
    """Say from when a memory counts: valid_from, else created_at."""
    return memory.valid_from or memory.created_at


def detached(memory: MemoryRecord) -> MemoryRecord:
    """Copy a record so that a caller who changes the copy changes nothing stored."""
    return _assemble(memory.__dict__.copy(), memory.__pydantic_extra__)


def compact(memory: MemoryRecord) -> MemoryRecord:
    """Let a record that no caller ever holds share with all others what is alike in them: half of what it takes."""
    object.__setattr__(memory, "__pydantic_fields_set__", _EVERY)
    return memory


_BLANK = dict.fromkeys(MemoryRecord.model_fields)
_EVERY = set(_BLANK)


def _assemble(values: dict[str, Any], extra: dict[str, Any] | None) -> MemoryRecord:
    """Make a record of every field's value, each valid already; pydantic's own ways take several times as long.

    values becomes the record's; what is in them that could be changed is copied.
    """
    for name in _MUTABLE:
        if values[name] is not None:
            values[name] = copy.deepcopy(values[name])
    memory = MemoryRecord.__new__(MemoryRecord)
    object.__setattr__(memory, "__dict__", values)
    object.__setattr__(memory, "__pydantic_extra__", copy.deepcopy(extra) if extra else {})
    object.__setattr__(memory, "__pydantic_fields_set__", _EVERY.copy())
    object.__setattr__(memory, "__pydantic_private__", None)
    return memory
