"""How a memory travels in mem0, which keeps a text, its user and a flat object of metadata.

Whatever else a memory has is one JSON text under the key `openmem`, so that it comes back as it was. Simple values of
its metadata stand beside the envelope too, where applications written for mem0 see them and can filter by them; what
such an application changes there counts. A record without an envelope was written by mem0 alone.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from openmem._generated.models import MemoryRecord
from openmem.errors import InvalidRequestError
from openmem.protocol.validation import check_json

logger = logging.getLogger("openmem")

ENVELOPE = "openmem"
EXTERNAL_ID, ID, BATCH = "openmem_external_id", "openmem_id", "openmem_batch"
"""Metadata beside the envelope, by which a record is found; the others where mem0 gives it an id of its own."""
EXTENSION = "x-mem0"
"""The extension that carries what is mem0's own."""

OWN = ("agent_id", "app_id", "run_id", "actor_id", "role", "attributed_to", "categories", "expiration_date")
"""Fields of mem0 that no field of ours stands for."""
OURS = frozenset({ENVELOPE, EXTERNAL_ID, ID, BATCH})
_RESERVED = frozenset(
    {*OWN, *OURS, "id", "user_id", "session_id", "memory", "data", "hash", "text_lemmatized"}
    | {"created_at", "updated_at", "score", "metadata"}
)
_USUAL_ROLE = "user"
_NEVER = datetime.fromtimestamp(0, UTC)
_MILLISECONDS = 1e11
"""Unix time from which on it counts milliseconds."""
_UNREADABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Stored:
    """A record as mem0 gives it. user_id: the name it stands under; own: what of OWN it has; metadata: the rest."""

    id: str
    text: str
    user_id: str
    created_at: Any
    updated_at: Any
    metadata: Mapping[str, Any]
    own: Mapping[str, Any]


def user_name(user_id: str) -> str:
    """Return the name under which mem0 keeps a user: it takes no white space, and reads * as everybody.

    A name that another user has by that is quoted too, so that no two users share one.
    """
    return _quoted(user_id) if _needs_quoting(user_id) else user_id


def user_names(user_id: str) -> list[str]:
    """List the names that a user's records may stand under: the name as it is, and quoted as by earlier versions."""
    plain = keeps(user_id) and "%" not in user_id
    return [user_id] if plain else list(dict.fromkeys([user_name(user_id), user_id, _quoted(user_id)]))


def _needs_quoting(user_id: str) -> bool:
    if not keeps(user_id):
        return True
    other = unquote(user_id)
    return other != user_id and _quoted(other) == user_id and _needs_quoting(other)


def keeps(user_id: str) -> bool:
    """Tell whether mem0 itself takes a name of a user."""
    return user_id != "*" and not any(each.isspace() or not each.isprintable() for each in user_id)


def _quoted(user_id: str) -> str:
    return quote(user_id, safe="")


def is_id(text: str) -> bool:
    """Tell whether an id may be one of mem0's."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


@lru_cache(maxsize=10_000)
def leave_out(record_id: str, reason: str) -> None:
    """Tell in the log, once, that a record cannot be read as a memory."""
    logger.warning("mem0's record %s is left out: it cannot be read as a memory (%s)", record_id, reason)


def rounded(raw: float) -> float:
    """Round a score: the stores' last digits depend on where a row lies, and ties must be ties."""
    return round(float(raw), 6)


def metadata_of(memory: MemoryRecord) -> dict[str, Any]:
    """Write a memory as metadata: its envelope, and what stands beside it."""
    kept = memory.model_dump(mode="json", exclude={"content", "status"}, exclude_none=True)
    kept |= memory.model_extra or {}  # with the nulls in it, as those of metadata
    if memory.metadata is not None:
        kept["metadata"] = memory.metadata
    kept["digest"] = _digest(memory.content)
    written = _beside(memory.metadata or {}) | {ENVELOPE: json.dumps(kept, ensure_ascii=False)}
    return written if memory.external_id is None else written | {EXTERNAL_ID: memory.external_id}


def own_of(memory: MemoryRecord) -> dict[str, Any]:
    """List the fields of mem0's own that a memory carries in its extension."""
    extension = (memory.model_extra or {}).get(EXTENSION)
    return {name: extension[name] for name in OWN if name in extension} if isinstance(extension, Mapping) else {}


def memory_of(stored: Stored) -> MemoryRecord:
    """Read a memory: enveloped, or as mem0's alone where it has no envelope of its own."""
    kept = _opened(stored)
    if kept is not None and stored.user_id in user_names(str(kept.get("user_id"))):
        try:
            return _enveloped(stored, kept)
        except (ValueError, TypeError):  # another application wrote over it
            pass
    return plain(stored)


def came_along(stored: Stored) -> bool:
    """Tell whether an envelope is another user's, copied with what else stands beside it."""
    name = (_opened(stored) or {}).get("user_id")
    return isinstance(name, str) and stored.user_id not in user_names(name)


def _opened(stored: Stored) -> dict[str, Any] | None:
    text = stored.metadata.get(ENVELOPE)
    try:
        kept = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return kept if isinstance(kept, dict) else None


def _enveloped(stored: Stored, kept: dict[str, Any]) -> MemoryRecord:
    own = _told(stored)
    if kept.pop("digest", None) != _digest(stored.text):  # an application of mem0's changed the text
        kept["updated_at"] = moment(stored.updated_at) or kept.get("updated_at")
        kept.pop("embedding_model", None)
    kept["metadata"] = _metadata(stored.metadata, kept.get("metadata"))
    if own and isinstance(kept.setdefault(EXTENSION, {}), dict):
        kept[EXTENSION].update(own)
    return MemoryRecord.model_validate({"id": stored.id, "status": "done", **kept, "content": stored.text})


def plain(stored: Stored) -> MemoryRecord:
    """Read a memory of mem0's alone, whatever its application keeps beside it."""
    own = _told(stored)
    created = moment(stored.created_at) or moment(stored.updated_at) or _NEVER
    return MemoryRecord.model_validate(
        {
            "id": stored.id,
            "content": _UNREADABLE.sub("\ufffd", stored.text),
            "user_id": stored.user_id,
            "created_at": created,
            "updated_at": moment(stored.updated_at) or created,
            "valid_to": _end(stored.own.get("expiration_date")),
            "metadata": _metadata(stored.metadata, None),
            "session": _session(own.get("run_id")),
            "status": "done",
            "version": 1,
            **({EXTENSION: _readable(own)} if own else {}),
        }
    )


def _session(run_id: Any) -> str | None:
    """Return mem0's run as the session that it is to the protocol."""
    return _UNREADABLE.sub("\ufffd", run_id) if isinstance(run_id, str) and run_id.strip() else None


def _told(stored: Stored) -> dict[str, Any]:
    return {name: value for name, value in stored.own.items() if value and (name, value) != ("role", _USUAL_ROLE)}


def _beside(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what stands beside the envelope: what every store of mem0 can keep."""
    return {key: value for key, value in metadata.items() if key not in _RESERVED and _simple(value)}


def _simple(value: Any) -> bool:
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _metadata(found: Mapping[str, Any], kept: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Join the metadata of the envelope with what mem0 has beside it and the envelope does not know."""
    ours = _beside(kept or {})
    text = found.get(ENVELOPE)
    lost = isinstance(text, str) and text.startswith("{")  # an envelope that nobody can read any more
    hidden = OURS if kept is not None or lost else OURS - {ENVELOPE}
    theirs = {key: value for key, value in found.items() if key not in hidden and value is not None}
    changed = {k: v for k, v in theirs.items() if k not in (kept or {}) or (k in ours and ours[k] != v)}
    return {**(kept or {}), **_readable(changed)} if kept is not None or changed else None


def _readable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write as JSON text what mem0 keeps and the protocol does not take: NaN, large integers, deep nesting, U+0000."""
    return {_checked(key): _checked(value) for key, value in values.items()}


def _checked(value: Any) -> Any:
    try:
        check_json("value", value)
    except InvalidRequestError:
        return json.dumps(value, default=str)
    return value


def moment(given: Any) -> datetime | None:
    """Read a moment as mem0 has it, or as an application may: ISO 8601, UTC where it names no zone, or Unix time."""
    try:
        if isinstance(given, str):
            read = datetime.fromisoformat(given)
            return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            return datetime.fromtimestamp(given if abs(given) < _MILLISECONDS else given / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # other text, or no year of ours
        pass
    return None


def _end(expiration: Any) -> datetime | None:
    """Return when a record expires: with the end of a day, in UTC."""
    try:
        day = date.fromisoformat(expiration[:10])
        return datetime.combine(day, time(), UTC) + timedelta(days=1)
    except (ValueError, TypeError, OverflowError):
        return None


def _digest(content: str) -> str:
    return blake2b(content.encode(), digest_size=8).hexdigest()
