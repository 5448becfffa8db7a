"""What is read and written in mem0's store and history, as mem0 itself writes it; each function runs in a thread."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from openmem._generated.models import EmbeddingInfo, Memory
from openmem.clock import utc_now

from ..staging import Staging, Wanted
from .envelope import EXTERNAL_ID, OWN, Stored, in_bounds, is_id, memory_of, metadata_of, own_of, user_name
from .library import OurEmbedder

EVERYTHING = 1_000_000
"""Rows asked for where all are wanted: mem0's stores have no pages."""
SAMPLE = 20
"""Rows looked at for the model of their vectors."""
VectorsOf = Callable[[Sequence[str]], Sequence[Sequence[float]]]
"""Texts in, one vector each out."""
Payload = Mapping[str, Any]


class Scored(NamedTuple):
    """A record with its score, as the store gives it."""

    memory: Memory
    score: float


def read(mem0: Any, ids: Iterable[str]) -> dict[str, Payload]:
    """Read payloads by id; those of no user are nobody's."""
    rows = [(each, mem0.vector_store.get(vector_id=each)) for each in ids if is_id(each)]
    return {each: row.payload for each, row in rows if row is not None and (row.payload or {}).get("user_id")}


def read_wanted(mem0: Any, wanted: Wanted) -> dict[str, Payload]:
    """Read payloads by id, and those that may have an external_id; the caller looks whether they do."""
    found = read(mem0, wanted.ids)
    external_ids: dict[str, set[str]] = defaultdict(set)
    for user_id, external_id in wanted.keys:
        external_ids[user_name(user_id)].add(external_id)
    for name, some in external_ids.items():  # one reading a user: local stores look through all rows for each
        filters = {"user_id": name} | ({EXTERNAL_ID: next(iter(some))} if len(some) == 1 else {})
        rows = _listed(mem0, filters)
        found.update((str(row.id), row.payload) for row in rows if row.payload.get(EXTERNAL_ID) in some)
    return found


def every(mem0: Any, user_id: str) -> list[Memory]:
    """Read all memories of a user."""
    rows = _listed(mem0, {"user_id": user_name(user_id)})
    memories = [record(str(row.id), row.payload) for row in rows]
    return [memory for memory in memories if memory.user_id == user_id]  # whatever the store makes of its filter


def nearest(mem0: Any, vector: Sequence[float], user_id: str, depth: int) -> list[Scored]:
    """Read the memories nearest to a vector; as many as asked for where there may be more."""
    filters = {"user_id": user_name(user_id)}
    rows = mem0.vector_store.search(query="", vectors=[*map(float, vector)], top_k=depth, filters=filters)
    scored = [Scored(record(str(row.id), row.payload), in_bounds(row.score)) for row in rows]
    return [each for each in scored if each.memory.user_id == user_id]


def embedded(mem0: Any, texts: Sequence[str]) -> Sequence[Sequence[float]]:
    """Return the vectors of texts by mem0's own embedder."""
    return [mem0.embedding_model.embed(text, memory_action="search") for text in texts]


def embedding_of(mem0: Any, ours: EmbeddingInfo) -> EmbeddingInfo:
    """Tell of what embedding the store's vectors are; what cannot be seen is taken to be ours."""
    dimension = ours.dimension
    if mem0.config.vector_store.provider == "qdrant":
        dimension = mem0.vector_store.col_info().config.params.vectors.size
    rows = _listed(mem0, None, SAMPLE)
    models = [model for row in rows if (model := record(str(row.id), row.payload).embedding_model)]
    usual = ours.model if dimension == ours.dimension else "another embedder"
    return EmbeddingInfo(model=models[0] if models else usual, dimension=dimension)


def remember(
    mem0: Any,
    messages: list[dict[str, str]],
    user_id: str,
    vectors_of: VectorsOf,
    made: Callable[[str, str], Memory],
) -> list[Memory]:
    """Extract facts; made: from an id and a text to the memory that takes the place of mem0's record."""
    embedder = mem0.embedding_model
    if isinstance(embedder, OurEmbedder):
        embedder.vectors_of = vectors_of
    answer = mem0.add(messages, user_id=user_name(user_id), infer=True)
    payloads = read(mem0, [result["id"] for result in answer["results"] if result.get("event") == "ADD"])
    memories = [made(each, payload["data"]) for each, payload in payloads.items()]
    for memory in memories:
        replace(mem0, memory, payloads[memory.id], None)
    return memories


def write(mem0: Any, staging: Staging, payloads: Mapping[str, Payload]) -> None:
    """Write all that is staged, with mem0's history of it; payloads: of what was read."""
    history = []
    vectors = {**_embedded(mem0, staging), **staging.vectors}
    if staging.inserted:
        memories = list(staging.inserted.values())
        mem0.vector_store.insert(
            vectors=[[*map(float, vectors[memory.id])] for memory in memories],
            payloads=[payload_of(memory, {}) for memory in memories],
            ids=[memory.id for memory in memories],
        )
        history += [_event("ADD", None, memory) for memory in memories]
    for memory in staging.replaced.values():
        replace(mem0, memory, payloads[memory.id], vectors.get(memory.id))
        if memory.content != staging.read[memory.id].content:
            history.append(_event("UPDATE", staging.read[memory.id], memory))
    for memory in staging.removed.values():
        mem0.vector_store.delete(vector_id=memory.id)
        history.append(_event("DELETE", memory, None))
    if history:
        mem0.db.batch_add_history(history)


def _embedded(mem0: Any, staging: Staging) -> dict[str, Sequence[float]]:
    """Embed by mem0's own embedder what has a new text and no vector."""
    changed = [m for m in staging.replaced.values() if m.content != staging.read[m.id].content]
    lacking = [m for m in (*staging.inserted.values(), *changed) if m.id not in staging.vectors]
    return {memory.id: mem0.embedding_model.embed(memory.content, memory_action="add") for memory in lacking}


def replace(mem0: Any, memory: Memory, former: Payload, vector: Sequence[float] | None) -> None:
    """Write a memory in the place of a record; some stores keep what a new payload does not name."""
    payload = payload_of(memory, former)
    cleared = dict.fromkeys(name for name in former if name not in payload and former[name] is not None)
    if vector is None:
        mem0.vector_store.update(vector_id=memory.id, payload=payload | cleared)
    else:
        mem0.vector_store.update(vector_id=memory.id, vector=[*map(float, vector)], payload=payload | cleared)


def record(record_id: str, payload: Payload) -> Memory:
    """Read a memory out of a payload."""
    return memory_of(
        Stored(
            id=record_id,
            text=payload.get("data") or "",
            user_id=payload.get("user_id") or "",
            created_at=payload.get("created_at"),
            updated_at=payload.get("updated_at"),
            metadata=payload,
            own={name: payload[name] for name in OWN if payload.get(name) is not None},
        )
    )


def payload_of(memory: Memory, former: Payload) -> dict[str, Any]:
    """Write a memory as mem0's own add would; former: what it replaces."""
    return {
        **metadata_of(memory),
        "user_id": user_name(memory.user_id),
        "role": former.get("role") or "user",
        **own_of(memory),
        "data": memory.content,
        "hash": hashlib.md5(memory.content.encode(), usedforsecurity=False).hexdigest(),
        "created_at": memory.created_at.isoformat(),
        "updated_at": (memory.updated_at or memory.created_at).isoformat(),
        "text_lemmatized": memory.content,
    }


def _listed(mem0: Any, filters: dict[str, str] | None, most: int = EVERYTHING) -> list[Any]:
    found = mem0.vector_store.list(filters=filters, top_k=most)
    return list(found[0]) if found and isinstance(found[0], (list, tuple)) else list(found or ())


def _event(event: str, old: Memory | None, new: Memory | None) -> dict[str, Any]:
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
