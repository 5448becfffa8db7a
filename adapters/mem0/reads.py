"""What is read in mem0's store; each function runs in a thread."""

from __future__ import annotations

import importlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from openmem._generated.models import EmbeddingInfo, MemoryRecord

from ..kit.staging import Wanted
from ..kit.vectors import unit
from .envelope import EXTERNAL_ID, OWN, Stored, is_id, leave_out, memory_of, moment, plain, rounded, user_names

EVERYTHING = 1_000_000
"""Rows asked for where all are wanted: mem0's stores have no pages."""
TELLS_VECTORS = ("qdrant", "pgvector")
"""Vector stores out of which vectors are read."""
SAMPLE = 20
"""Rows looked at for the model of their vectors."""
_DATED = frozenset({"created_at", "updated_at"})
_MEM0S = frozenset({*OWN, *_DATED, "data", "hash", "user_id", "text_lemmatized"})
"""What of a payload is mem0's; the rest is its application's metadata, and ours."""
_NUMBER = re.compile(r"0|-?[1-9]\d{0,17}")
Payload = Mapping[str, Any]


class Scored(NamedTuple):
    """A record with its score, as the store gives it."""

    memory: MemoryRecord
    score: float


class Nearest(NamedTuple):
    """The nearest records of a user, the least score read, and whether that was all there is."""

    scored: list[Scored]
    floor: float
    complete: bool


def read(mem0: Any, ids: Iterable[str]) -> dict[str, Payload]:
    """Read payloads by id; those of no user are nobody's."""
    rows = [(each, mem0.vector_store.get(vector_id=each)) for each in ids if is_id(each)]
    return {each: row.payload for each, row in rows if row is not None and _user(row.payload or {})}


def read_wanted(mem0: Any, wanted: Wanted) -> dict[str, Payload]:
    """Read payloads by id, and those that may have an external_id; the caller looks whether they do."""
    found = read(mem0, wanted.ids)
    external_ids: dict[str, set[str]] = defaultdict(set)
    for user_id, external_id in wanted.keys:
        external_ids[user_id].add(external_id)
    for user_id, some in external_ids.items():  # one reading a user: local stores look through all rows for each
        also = {EXTERNAL_ID: next(iter(some))} if len(some) == 1 else {}
        rows = [row for each in _filters(user_id) for row in listed(mem0, each | also)]
        found.update((str(row.id), row.payload) for row in rows if str(row.payload.get(EXTERNAL_ID)) in some)
    return found


def every(mem0: Any, user_id: str) -> list[MemoryRecord]:
    """Read all memories of a user."""
    found: dict[str, Payload] = {}
    for filters in _filters(user_id):
        found.update((str(row.id), row.payload) for row in listed(mem0, filters))
    return [memory for memory in memories(found) if memory.user_id == user_id]  # whatever the store makes of a filter


def users(mem0: Any) -> list[tuple[str, int]]:
    """Count the memories of each user."""
    found = {str(row.id): row.payload for row in listed(mem0, None)}
    return [*Counter(memory.user_id for memory in memories(found)).items()]


def nearest(mem0: Any, vector: Sequence[float], user_id: str, depth: int) -> Nearest:
    """Read the memories nearest to a vector, so many of each name of the user."""
    query, scores, found, complete = [*map(float, vector)], dict[str, float](), dict[str, Payload](), True
    for filters in _filters(user_id):
        rows = mem0.vector_store.search(query="", vectors=query, top_k=depth, filters=filters)
        complete = complete and len(rows) < depth
        scores.update((str(row.id), rounded(row.score)) for row in rows)
        found.update((str(row.id), row.payload) for row in rows)
    scores.update(_below_zero(mem0, query, [each for each, score in scores.items() if score <= 0]))
    scored = [Scored(m, scores[m.id]) for m in memories(found) if m.user_id == user_id]
    return Nearest(scored, min(scores.values(), default=0.0), complete)


def embedded(mem0: Any, texts: Sequence[str]) -> Sequence[Sequence[float]]:
    """Return the vectors of texts by mem0's own embedder."""
    return [mem0.embedding_model.embed(text, memory_action="search") for text in texts]


def embedding_of(mem0: Any, ours: EmbeddingInfo) -> EmbeddingInfo:
    """Tell of what embedding the store's vectors are; what cannot be seen is taken to be ours."""
    dimension = ours.dimension
    if mem0.config.vector_store.provider == "qdrant":
        dimension = mem0.vector_store.col_info().config.params.vectors.size
    sample = {str(row.id): row.payload for row in listed(mem0, None, SAMPLE)}
    models = [memory.embedding_model for memory in memories(sample) if memory.embedding_model]
    usual = ours.model if dimension == ours.dimension else "another embedder"
    return EmbeddingInfo(model=models[0] if models else usual, dimension=dimension)


def vectors_of(mem0: Any, ids: Sequence[str]) -> dict[str, list[float]]:
    """Read vectors, which mem0 itself never does, from the stores that we know; none from others."""
    store, provider = mem0.vector_store, mem0.config.vector_store.provider
    if not ids:
        return {}
    if provider == "qdrant":
        points = store.client.retrieve(store.collection_name, list(ids), with_payload=False, with_vectors=True)
        dense = {str(each.id): each.vector for each in points}
        return {each: found[""] if isinstance(found, dict) else found for each, found in dense.items()}
    if provider == "pgvector":
        sql = importlib.import_module("mem0.vector_stores.pgvector").sql
        query = sql.SQL("SELECT id, vector::text FROM {} WHERE id = ANY(%s::uuid[])").format(store._col())
        with store._get_cursor() as cursor:
            cursor.execute(query, [list(ids)])
            return {str(each): json.loads(vector) for each, vector in cursor.fetchall()}
    return {}


def memories(found: Mapping[str, Payload]) -> Iterator[MemoryRecord]:
    """Read memories out of payloads; one that cannot be a memory is told of in the log, once, and left out."""
    for record_id, payload in found.items():
        user_id, text = _user(payload or {}), (payload or {}).get("data")
        if user_id is None:  # an agent's, or nobody's
            continue
        try:
            if not is_id(record_id) or not isinstance(text, str):
                raise TypeError("no id of mem0's" if isinstance(text, str) else "no text")
            yield _memory(record_id, text, user_id, payload)
        except (ValueError, TypeError, RecursionError) as error:
            leave_out(record_id, type(error).__name__)


def listed(mem0: Any, filters: Mapping[str, Any] | None, most: int = EVERYTHING) -> list[Any]:
    """Read rows; the stores of mem0 answer in two shapes."""
    found = mem0.vector_store.list(filters=filters, top_k=most)
    return list(found[0]) if found and isinstance(found[0], (list, tuple)) else list(found or ())


def _memory(record_id: str, text: str, user_id: str, payload: Payload) -> MemoryRecord:
    own = {name: payload[name] for name in OWN if payload.get(name) is not None}
    created, updated = payload.get("created_at"), payload.get("updated_at")
    beside = {name: value for name, value in payload.items() if name not in _MEM0S or _is_odd_date(name, value)}
    stored = Stored(record_id, text, user_id, created, updated, beside, own)
    memory = memory_of(stored)
    return memory if memory.id == record_id else plain(stored)  # an envelope that was copied from another record


def _is_odd_date(name: str, value: Any) -> bool:
    """Tell whether an application's metadata has the place of a date of mem0's."""
    return name in _DATED and not (isinstance(value, str) and moment(value))


def _user(payload: Payload) -> str | None:
    """Return the user of a record; earlier versions of mem0 kept numbers as they came."""
    user_id = payload.get("user_id")
    known = isinstance(user_id, str) or (isinstance(user_id, int) and not isinstance(user_id, bool))
    return str(user_id) if known and str(user_id).strip() else None


def _filters(user_id: str) -> list[dict[str, Any]]:
    """Select what stands under each name of a user."""
    number = [int(user_id)] if _NUMBER.fullmatch(user_id) else []
    return [{"user_id": name} for name in (*user_names(user_id), *number)]


def _below_zero(mem0: Any, query: Sequence[float], ids: Sequence[str]) -> dict[str, float]:
    """Return the cosines of rows to which pgvector's store gives 0, as it does to all below."""
    if not ids or mem0.config.vector_store.provider != "pgvector":
        return {}
    towards = unit(query)
    return {each: rounded(float(unit(vector) @ towards)) for each, vector in vectors_of(mem0, ids).items()}
