"""Memories, claims and audit entries as points."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID, uuid5

from openmem._generated.models import MemoryRecord
from openmem.protocol.clock import micros
from openmem.runtime.fork import Lock

from ..kit.forgotten import note_name
from ..kit.store import Logged
from ..kit.vectors import unit
from .engine import Index, Mark, Payload, Point, Vectors, Words, words_name
from .filters import ancestors

SCHEMA = 1
"""The form of points that this module writes."""
ABANDONED = 60.0
"""Seconds after which a lock, or a claim of a memory that does not exist, is taken to be left over."""
PAUSE = 0.03
"""Seconds to wait, more or less, for another process to be done with what this one wants to change."""
EARLIER = 16
"""Revisions that are remembered: who looks whether a write was done may find others after it."""

MEMORY_INDEXES: Mapping[str, Index] = {
    "user_id": "tenant",
    "scopes": "keyword",
    "tags": "keyword",
    "kind": "keyword",
    "created_at": "integer",
    "valid_from": "integer",
    "valid_to": "integer",
    "superseded_at": "integer",
    "archived": "integer",
    "importance": "float",
}
SIDECAR_INDEXES: Mapping[str, Index] = {
    "log": "tenant",
    "sequence": "integer",
    "shared": "integer",
    "forgotten": "integer",
}
"""The collection beside the memories holds the audit log, when whose was erased, who has which external_id, and facts
about the store."""

NAMESPACE = UUID("6f9d5f0c-3f0e-5d57-9a52-6d8a1c1f7a10")
"""What ids of points are made in."""
FACTS = str(UUID(int=1))
"""The point of the sidecar that says how the store was made."""
RECORD = ("record",)
REVISED = ("record", "revision", "earlier")
REVISION = ("revision", "earlier")

_MOMENTS = ("created_at", "valid_from", "valid_to", "superseded_at")
_PLAIN = ("user_id", "kind", "session", "external_id", "importance", "confidence", "tags", "metadata")


def point_id(memory_id: str) -> str:
    """Return the point that keeps a memory."""
    return str(uuid5(NAMESPACE, memory_id))


def claim_id(user_id: str, external_id: str) -> str:
    """Return the point of the sidecar that says which memory has an external_id."""
    return str(uuid5(NAMESPACE, json.dumps([user_id, external_id])))


def note_id(user_id: str) -> str:
    """Return the point of the sidecar that says when a user was forgotten."""
    return str(uuid5(NAMESPACE, note_name(user_id)))


def new_revision() -> str:
    """Return what marks everything that one transaction writes."""
    return os.urandom(8).hex()


def new_lock() -> str:
    """Return a revision that locks what it is put on, and says since when."""
    return f"~{int(time.time())}~{new_revision()}"


def next_revision(payload: Payload, revision: str) -> Payload:
    """Return the fields that say that a revision follows what is stored."""
    return {"revision": revision, "earlier": [payload["revision"], *payload.get("earlier", ())][:EARLIER]}


def has_been(payload: Payload, revision: str) -> bool:
    """Tell whether what is stored has, or lately had, a revision."""
    return payload["revision"] == revision or revision in payload.get("earlier", ())


def payload_of(memory: MemoryRecord, revision: Payload) -> Payload:
    """Write a memory: whole as text, in which numbers stay what they are, and beside it what is searched by."""
    values = memory.__dict__
    payload: Payload = {name: values[name] for name in _PLAIN if values[name] is not None}
    payload.update((name, micros(values[name])) for name in _MOMENTS if values[name] is not None)
    payload.update((name, 1) for name in ("pinned", "archived") if values[name])
    if memory.scope is not None:
        payload["scopes"] = ancestors(memory.scope)
    if memory.source is not None:
        payload["source"] = memory.source.model_dump(exclude_none=True)
    payload.update(memory.model_extra or {})
    return payload | {"record": memory.model_dump_json(exclude_none=True), **revision}


def memory_of(payload: Payload) -> MemoryRecord:
    """Read a memory."""
    return MemoryRecord.model_validate_json(payload["record"])


def point_of(memory: MemoryRecord, words: Words, dense: Mapping[str, Sequence[float]], revision: Payload) -> Point:
    """Write a memory with its vectors; dense: those of an embedder by name."""
    vectors: Vectors = {words_name(): words, **{name: dense_of(each) for name, each in dense.items()}}
    return Point(point_id(memory.id), payload_of(memory, revision), vectors)


def dense_of(vector: Sequence[float]) -> list[float]:
    """Scale a vector to length 1: engines do, but local mode forgets to for what it reads from its folder."""
    scaled: list[float] = unit(vector).tolist()
    return scaled


# --- the sidecar ------------------------------------------------------------------------------------------------


class Writer:
    """One adapter among those that write: what it gave up, and numbers for its audit entries, which grow with time."""

    def __init__(self) -> None:
        self.given_up = deque[str](maxlen=1024)
        """Locks, and ids of memories claimed for, that are nobody's, where they may not have been taken off."""
        self.unlocks: dict[str, Sequence[Mark]] = {}
        """What takes off locks that could not be taken off when they were given up."""
        self._lock = Lock()
        self._last = 0

    def waits_for(self, revision: str) -> bool:
        """Tell whether a revision is a lock to be waited for."""
        if not revision.startswith("~") or revision in self.given_up:
            return False
        return int(revision.split("~")[1]) > time.time() - ABANDONED

    def next(self) -> int:
        """Return the microseconds since 1970, or a little more where the clock stands."""
        with self._lock:
            self._last = max(time.time_ns() // 1000, self._last + 1)
            return self._last


def log_point(entries: Sequence[tuple[str, Logged]], sequence: int) -> Point:
    """Write audit entries as one point, in which each user's have a field: a batch of changes stays cheap."""
    of_user: dict[str, list[Logged]] = defaultdict(list)
    for user_id, entry in entries:
        of_user[user_id].append(entry)
    payload = {
        "log": list(of_user),
        "sequence": sequence,
        "latest": max(micros(entry.timestamp) for _, entry in entries),
        "entries": {_field(user_id): _entries(logged) for user_id, logged in of_user.items()},
    }
    return Point(str(UUID(bytes=os.urandom(16), version=4)), payload)


def log_fields(user_id: str) -> tuple[str, ...]:
    """Name what is read of a point for one user's entries."""
    return "sequence", f"entries.{_field(user_id)}"


def entries_of(payload: Payload, user_id: str) -> list[Logged]:
    """Read one user's entries of a point, most recent first."""
    entries = payload["entries"]
    written = entries if isinstance(entries, str) else entries[_field(user_id)]  # the first points had one user each
    return [Logged(datetime.fromisoformat(moment), *rest) for moment, *rest in reversed(json.loads(written))]


def without_user(payload: Payload, user_id: str) -> Payload | None:
    """Write a point of the log without one user's entries; None where nothing is left of it."""
    if isinstance(payload["log"], str) or payload["log"] == [user_id]:  # the first points had one user each
        return None
    users = [each for each in payload["log"] if each != user_id]
    entries = {field: each for field, each in payload["entries"].items() if field != _field(user_id)}
    return {**payload, "log": users, "entries": entries, "revision": new_revision()}


def _entries(logged: Sequence[Logged]) -> str:
    return json.dumps([[each.timestamp.isoformat(), *each[1:]] for each in logged])


def _field(user_id: str) -> str:
    return uuid5(NAMESPACE, user_id).hex
