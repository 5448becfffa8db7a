"""How a memory travels in mem0, which keeps a text, its user and a flat object of metadata.

Whatever else a memory has is one JSON text under the key `openmem`, so that it comes back as it was. Simple values of
its metadata stand beside the envelope too, where applications written for mem0 see them and can filter by them; what
such an application changes there counts. A record without an envelope was written by mem0 alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import blake2b
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from openmem._generated.models import Memory

ENVELOPE = "openmem"
EXTERNAL_ID, ID = "openmem_external_id", "openmem_id"
"""Metadata beside the envelope, by which a record is found; the second where mem0 gives it an id of its own."""
EXTENSION = "x-mem0"
"""The extension that carries what is mem0's own."""

OWN = ("agent_id", "app_id", "run_id", "actor_id", "role", "attributed_to", "categories", "expiration_date")
"""Fields of mem0 that no field of ours stands for."""
_RESERVED = frozenset(
    {*OWN, ENVELOPE, EXTERNAL_ID, ID, "id", "user_id", "session_id", "memory", "data", "hash", "text_lemmatized"}
    | {"created_at", "updated_at", "score", "metadata"}
)
_USUAL_ROLE = "user"


@dataclass(frozen=True)
class Stored:
    """A record as mem0 gives it. own: what of OWN it has."""

    id: str
    text: str
    user_id: str
    created_at: str | None
    updated_at: str | None
    metadata: Mapping[str, Any]
    own: Mapping[str, Any]


def user_name(user_id: str) -> str:
    """Return the name under which mem0 keeps a user: it takes no white space, and reads * as everybody."""
    plain = user_id != "*" and "%" not in user_id and not any(c.isspace() or not c.isprintable() for c in user_id)
    return user_id if plain else quote(user_id, safe="")


def is_id(text: str) -> bool:
    """Tell whether an id may be one of mem0's."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def in_bounds(raw: float) -> float:
    """Bring a score into [0, 1]; the stores' last digits depend on where a row lies, and ties must be ties."""
    return round(min(1.0, max(0.0, float(raw))), 6)


def metadata_of(memory: Memory) -> dict[str, Any]:
    """Write a memory as metadata: its envelope, and what stands beside it."""
    kept = memory.model_dump(mode="json", exclude={"content", "status"}, exclude_none=True)
    kept |= memory.model_extra or {}  # with the nulls in it, as those of metadata
    if memory.metadata is not None:
        kept["metadata"] = memory.metadata
    kept["digest"] = _digest(memory.content)
    written = _beside(memory.metadata or {}) | {ENVELOPE: json.dumps(kept, ensure_ascii=False)}
    return written if memory.external_id is None else written | {EXTERNAL_ID: memory.external_id}


def own_of(memory: Memory) -> dict[str, Any]:
    """List the fields of mem0's own that a memory carries in its extension."""
    extension = (memory.model_extra or {}).get(EXTENSION)
    return {name: extension[name] for name in OWN if name in extension} if isinstance(extension, Mapping) else {}


def memory_of(stored: Stored) -> Memory:
    """Read a memory, enveloped or mem0's alone."""
    own = {name: value for name, value in stored.own.items() if value and (name, value) != ("role", _USUAL_ROLE)}
    text = stored.metadata.get(ENVELOPE)
    if not isinstance(text, str):
        return _foreign(stored, {EXTENSION: own} if own else {})
    kept: dict[str, Any] = json.loads(text)
    digest = kept.pop("digest", None)
    if digest != _digest(stored.text):  # an application of mem0's changed the text
        kept["updated_at"] = stored.updated_at or kept.get("updated_at")
        kept.pop("embedding_model", None)
    kept["metadata"] = _metadata(stored.metadata, kept.get("metadata"))
    if own and isinstance(kept.setdefault(EXTENSION, {}), dict):
        kept[EXTENSION].update(own)
    return Memory.model_validate({"id": stored.id, "status": "done", **kept, "content": stored.text})


def _foreign(stored: Stored, extension: dict[str, Any]) -> Memory:
    created = _moment(stored.created_at) or _moment(stored.updated_at) or datetime.fromtimestamp(0, UTC)
    return Memory.model_validate(
        {
            "id": stored.id,
            "content": stored.text,
            "user_id": unquote(stored.user_id),
            "created_at": created,
            "updated_at": _moment(stored.updated_at) or created,
            "valid_to": _end(stored.own.get("expiration_date")),
            "metadata": _metadata(stored.metadata, None),
            "status": "done",
            "version": 1,
            **extension,
        }
    )


def _beside(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what stands beside the envelope: what every store of mem0 can keep."""
    return {key: value for key, value in metadata.items() if key not in _RESERVED and _simple(value)}


def _simple(value: Any) -> bool:
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _metadata(found: Mapping[str, Any], kept: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Join the metadata of the envelope with what mem0 has beside it and the envelope does not know."""
    ours = _beside(kept or {})
    theirs = {key: value for key, value in found.items() if key not in _RESERVED and value is not None}
    changed = {k: v for k, v in theirs.items() if k not in (kept or {}) or (k in ours and ours[k] != v)}
    return {**(kept or {}), **changed} if kept is not None or changed else None


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _end(expiration: Any) -> datetime | None:
    """Return when a record expires: with the end of a day, in UTC."""
    if not isinstance(expiration, str):
        return None
    try:
        day = date.fromisoformat(expiration[:10])
    except ValueError:
        return None
    return datetime.combine(day, time(), UTC) + timedelta(days=1)


def _digest(content: str) -> str:
    return blake2b(content.encode(), digest_size=8).hexdigest()
