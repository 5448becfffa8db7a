"""What is written in mem0's store and history, as mem0 itself writes it: whole, or taken back; runs in a thread."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

from openmem._generated.models import MemoryRecord
from openmem.errors import OMPError, ProviderError
from openmem.protocol.clock import utc_now

from ..kit.staging import Staging
from ..kit.vectors import unit
from .envelope import BATCH, metadata_of, own_of, user_name
from .erasing import forget_history
from .library import OurEmbedder
from .reads import Payload, listed, read, vectors_of

logger = logging.getLogger("openmem")

Embeds = Callable[[Sequence[str]], Sequence[Sequence[float]]]
"""Texts in, one vector each out."""
Vectors = Mapping[str, Sequence[float]]


class Undo:
    """What takes a change back, in reverse order; each step is noted before it is done, and so may find nothing."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def note(self, step: Callable[..., object], *arguments: Any) -> None:
        """Note how what comes next is taken back."""
        self._steps.append(partial(step, *arguments))

    def explained(self, error: Exception) -> OMPError:
        """Take everything back and return what the failure is to the caller."""
        whole = True
        for step in reversed(self._steps):
            try:
                step()
            except Exception:
                logger.exception("a change of mem0's that failed could not be taken back")
                whole = False
        if isinstance(error, OMPError) and whole:
            error.written = "nothing"
            return error
        remedy = "See the cause." if whole else "See the cause; read what is stored, a part of the change is."
        return ProviderError(
            f"mem0 failed: {type(error).__name__}.", remedy=remedy, written="nothing" if whole else "part"
        )


def write(mem0: Any, staging: Staging, payloads: Mapping[str, Payload]) -> None:
    """Write all that is staged, with mem0's history of it; payloads: of what was read."""
    # Scaled here, since mem0's stores overflow where numbers are large.
    given = {memory_id: unit(vector).tolist() for memory_id, vector in staging.vectors.items()}
    vectors = {**_embedded(mem0, staging), **given}
    former = vectors_of(mem0, [each for each in (*staging.replaced, *staging.removed) if each in payloads])
    undo = Undo()
    try:
        if staging.inserted:
            _insert(mem0, list(staging.inserted.values()), vectors, undo)
        for memory in staging.replaced.values():
            undo.note(_put_back, mem0, memory.id, payloads[memory.id], former, vectors)
            replace(mem0, memory, payloads[memory.id], vectors.get(memory.id))
        for memory_id in staging.removed:
            undo.note(_bring_back, mem0, memory_id, payloads[memory_id], former)
            mem0.vector_store.delete(vector_id=memory_id)
        _tell(mem0, [*_events(staging)])
        if staging.erased:
            forget_history(mem0, staging.erased & staging.removed.keys())
    except Exception as error:
        raise undo.explained(error) from error


def remember(
    mem0: Any, messages: list[dict[str, str]], user_id: str, embeds: Embeds, made: Callable[[str, str], MemoryRecord]
) -> list[MemoryRecord]:
    """Extract facts; made: from an id and a text to the memory that takes the place of mem0's record."""
    embedder, name, batch, undo = mem0.embedding_model, user_name(user_id), uuid4().hex, Undo()
    if isinstance(embedder, OurEmbedder):
        embedder.vectors_of = embeds
    payloads: dict[str, Payload] = {}
    undo.note(_forget, mem0, {"user_id": name, BATCH: batch}, payloads)
    try:
        answer = mem0.add(messages, user_id=name, metadata={BATCH: batch}, infer=True)
        payloads |= read(mem0, [result["id"] for result in answer["results"] if result.get("event") == "ADD"])
        memories = [made(each, payload["data"]) for each, payload in payloads.items()]
        for memory in memories:
            replace(mem0, memory, payloads[memory.id], None)
    except Exception as error:
        raise undo.explained(error) from error
    return memories


def replace(mem0: Any, memory: MemoryRecord, former: Payload, vector: Sequence[float] | None) -> None:
    """Write a memory in the place of a record; some stores keep what a new payload does not name."""
    payload = payload_of(memory, former)
    _update(mem0, memory.id, payload | _cleared(former, payload), vector)


def payload_of(memory: MemoryRecord, former: Payload) -> dict[str, Any]:
    """Write a memory as mem0's own add would; former: what it replaces."""
    return {
        **metadata_of(memory),
        "user_id": former.get("user_id") or user_name(memory.user_id),
        "role": former.get("role") or "user",
        **own_of(memory),
        "data": memory.content,
        "hash": hashlib.md5(memory.content.encode(), usedforsecurity=False).hexdigest(),
        "created_at": memory.created_at.isoformat(),
        "updated_at": (memory.updated_at or memory.created_at).isoformat(),
        "text_lemmatized": memory.content,
    }


def _insert(mem0: Any, memories: Sequence[MemoryRecord], vectors: Vectors, undo: Undo) -> None:
    undo.note(_remove, mem0, [memory.id for memory in memories])
    mem0.vector_store.insert(
        vectors=[[*map(float, vectors[memory.id])] for memory in memories],
        payloads=[payload_of(memory, {}) for memory in memories],
        ids=[memory.id for memory in memories],
    )


def _update(mem0: Any, memory_id: str, payload: Payload, vector: Sequence[float] | None) -> None:
    changed = {} if vector is None else {"vector": [*map(float, vector)]}
    mem0.vector_store.update(vector_id=memory_id, payload=payload, **changed)


def _cleared(former: Payload, payload: Payload) -> dict[str, Any]:
    return dict.fromkeys(name for name in former if name not in payload and former[name] is not None)


def _remove(mem0: Any, ids: Sequence[str]) -> None:
    for each in ids:
        if mem0.vector_store.get(vector_id=each) is not None:
            mem0.vector_store.delete(vector_id=each)


def _put_back(mem0: Any, memory_id: str, payload: Payload, former: Vectors, vectors: Vectors) -> None:
    """Undo an update; where the store does not tell a vector, one that was replaced is lost."""
    if memory_id in vectors and memory_id not in former:
        raise LookupError(f"the former vector of {memory_id} is not known")
    written = mem0.vector_store.get(vector_id=memory_id).payload
    _update(mem0, memory_id, {**payload, **_cleared(written, payload)}, former.get(memory_id))


def _bring_back(mem0: Any, memory_id: str, payload: Payload, former: Vectors) -> None:
    """Undo a deletion."""
    if mem0.vector_store.get(vector_id=memory_id) is None:
        mem0.vector_store.insert(vectors=[former[memory_id]], payloads=[dict(payload)], ids=[memory_id])


def _forget(mem0: Any, filters: Payload, known: Mapping[str, Payload]) -> None:
    """Undo an extraction: what it is known to have stored, and what stands under its mark."""
    marked = {str(row.id): row.payload for row in listed(mem0, filters)}
    for each, payload in {**known, **marked}.items():
        mem0.vector_store.delete(vector_id=each)
        mem0.db.add_history(each, payload.get("data"), None, "DELETE", is_deleted=1)


def _tell(mem0: Any, events: Sequence[Mapping[str, Any]]) -> None:
    """Write history, in one transaction; a failure after its end is none."""
    if not events:
        return
    try:
        mem0.db.batch_add_history(events)
    except Exception:
        last = events[-1]
        told = [(each["event"], each["updated_at"]) for each in mem0.db.get_history(last["memory_id"])]
        if (last["event"], last["updated_at"]) not in told:
            raise


def _embedded(mem0: Any, staging: Staging) -> dict[str, Sequence[float]]:
    """Embed by mem0's own embedder what has a new text and no vector."""
    changed = [m for m in staging.replaced.values() if m.content != staging.read[m.id].content]
    lacking = [m for m in (*staging.inserted.values(), *changed) if m.id not in staging.vectors]
    return {memory.id: mem0.embedding_model.embed(memory.content, memory_action="add") for memory in lacking}


def _events(staging: Staging) -> Sequence[dict[str, Any]]:
    pairs = [(staging.read[memory.id], memory) for memory in staging.replaced.values()]
    changed = [_event("UPDATE", old, new) for old, new in pairs if old.content != new.content]
    gone = [memory for memory in staging.removed.values() if memory.id not in staging.erased]
    added = [_event("ADD", None, memory) for memory in staging.inserted.values()]
    return [*added, *changed, *(_event("DELETE", memory, None) for memory in gone)]


def _event(event: str, old: MemoryRecord | None, new: MemoryRecord | None) -> dict[str, Any]:
    memory = new or old
    assert memory is not None  # noqa: S101
    return {
        "memory_id": memory.id,
        "old_memory": old and old.content,
        "new_memory": new and new.content,
        "event": event,
        "created_at": memory.created_at.isoformat(),
        "updated_at": ((new and new.updated_at) or utc_now()).isoformat(),
        "is_deleted": int(new is None),
        "actor_id": None,
        "role": "user",
    }
