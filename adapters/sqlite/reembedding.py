"""A sqlite:// file while its vectors are made anew: the new ones are in a table that takes the others' place.

Triggers take a vector out of it when its memory is deleted or gets another content, whoever does that and with whatever
version of this package.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from openmem._generated.models import EmbeddingInfo, MemoryRecord
from openmem.adapter import Embed
from openmem.runtime.bridge import offload

from ..kit.reembedding import LAST, Text, last_vectors, overtaken
from . import meta
from .file import File
from .records import Records, packed

PIECE = 1000
"""Texts embedded at once."""
LEAP = 1 << 40
"""More changes than a user undergoes while vectors are made anew.

The new vectors are all of the next revision that is divisible by it, which every user has after the swap: whoever holds
vectors of an earlier one reads all of them, and nothing in the table changes when it takes the other's place.
"""
ROOM = (
    """CREATE TABLE renewed (
        memory INTEGER PRIMARY KEY, user INTEGER NOT NULL, revision INTEGER NOT NULL, data BLOB NOT NULL)""",
    """CREATE TRIGGER renewed_changed AFTER UPDATE OF record ON records
        WHEN json_extract(old.record, '$.content') IS NOT json_extract(new.record, '$.content')
        BEGIN DELETE FROM renewed WHERE memory = old.key; END""",
    """CREATE TRIGGER renewed_removed AFTER DELETE ON records
        BEGIN DELETE FROM renewed WHERE memory = old.key; END""",
)
UNWATCHED = ("DROP TRIGGER IF EXISTS renewed_changed", "DROP TRIGGER IF EXISTS renewed_removed")
IN_PLACE = (
    *UNWATCHED,
    "DROP TABLE vectors",
    "ALTER TABLE renewed RENAME TO vectors",
    "CREATE INDEX vectors_changed ON vectors (user, revision)",
    "DELETE FROM removed",
)


class Renewal:
    """A file whose vectors are made anew."""

    def __init__(self, file: File, embedding: EmbeddingInfo, embed: Embed) -> None:
        self._file, self._embedding, self._embed = file, embedding, embed
        self._at_end = False

    async def begin(self) -> None:
        """Make room for the new vectors; those that an interrupted run of the same embedding left are kept."""
        await offload(self._file.write, partial(_begin, embedding=self._embedding))

    async def lacking(self, after: Any) -> Sequence[Text]:
        """Read some memories that have no new vector, in order of key; few of them are the last."""
        if after is not None and self._at_end:
            return []
        work = partial(_lacking, embedding=self._embedding, after=after or 0, limit=PIECE)
        texts: Sequence[Text] = await offload(self._file.read, work)
        self._at_end = len(texts) < PIECE
        return texts

    async def put(self, texts: Sequence[Text], vectors: Sequence[Sequence[float]]) -> None:
        """Keep new vectors, but for those of a content that changed, or of a memory that is gone."""
        await offload(self._file.write, partial(_put, embedding=self._embedding, texts=texts, vectors=vectors))

    async def swap(self) -> int | None:
        """Have the new vectors replace the others, in one transaction; None where too many are lacking by now."""
        loop = asyncio.get_running_loop()

        def embed(texts: Sequence[Text]) -> Sequence[Sequence[float]] | None:
            return asyncio.run_coroutine_threadsafe(last_vectors(texts, self._embed), loop).result()

        return await offload(self._file.write, partial(_swap, embedding=self._embedding, embed=embed))


def _begin(store: Records, embedding: EmbeddingInfo) -> None:
    if _under_way(store, embedding):
        return
    for statement in (*UNWATCHED, "DROP TABLE IF EXISTS renewed", *ROOM):
        store.connection.execute(statement)
    highest = store.connection.execute("SELECT coalesce(max(revision), 0) FROM users").fetchone()[0]
    revision = (highest // LEAP + 1) * LEAP
    meta.write(store.connection, "renewed", json.dumps([embedding.model_dump(), revision]))


def _under_way(store: Records, embedding: EmbeddingInfo) -> int | None:
    """Return the revision of the new vectors; None where those under way, if any, are of another embedding."""
    found, revision = json.loads(meta.read(store.connection, "renewed") or "[null, null]")
    return revision if found == embedding.model_dump() else None


def _revision(store: Records, embedding: EmbeddingInfo) -> int | None:
    """Return the revision of the new vectors; None where another process was quicker to have them replace the others.

    ConfigurationError where another one began with another embedding.
    """
    revision = _under_way(store, embedding)
    held, under_way = (meta.read(store.connection, name) for name in ("embedding", "renewed"))
    if revision is None and (under_way or held != embedding.model_dump_json()):
        raise overtaken()
    return revision


def _lacking(store: Records, embedding: EmbeddingInfo, after: int, limit: int) -> list[Text]:
    if _revision(store, embedding) is None:
        return []
    query = """SELECT key, record FROM records LEFT JOIN renewed ON memory = key
        WHERE key > ? AND memory IS NULL ORDER BY key LIMIT ?"""
    rows = store.connection.execute(query, (after, limit)).fetchall()
    memories = [(key, MemoryRecord.model_validate_json(record)) for key, record in rows]
    return [Text(key, memory.id, memory.user_id, memory.content) for key, memory in memories]


def _put(store: Records, embedding: EmbeddingInfo, texts: Sequence[Text], vectors: Sequence[Sequence[float]]) -> None:
    revision = _revision(store, embedding)
    if revision is None:
        return
    statement = """INSERT OR REPLACE INTO renewed (memory, user, revision, data)
        SELECT key, user, ?, ? FROM records WHERE key = ? AND json_extract(record, '$.content') = ?"""
    rows = [(revision, packed(vector), text.place, text.content) for text, vector in zip(texts, vectors, strict=True)]
    store.connection.executemany(statement, rows)


def _swap(store: Records, embedding: EmbeddingInfo, embed: Any) -> int | None:
    revision = _revision(store, embedding)
    if revision is not None:
        if texts := _lacking(store, embedding, 0, LAST + 1):
            vectors = embed(texts)
            if vectors is None:
                return None
            _put(store, embedding, texts, vectors)
        _put_in_place(store, embedding, revision)
    count: int = store.connection.execute("SELECT count(*) FROM records").fetchone()[0]
    return count


def _put_in_place(store: Records, embedding: EmbeddingInfo, revision: int) -> None:
    for statement in IN_PLACE:
        store.connection.execute(statement)
    vectors = "SELECT count(*) FROM vectors WHERE user = users.key"
    store.connection.execute(f"UPDATE users SET revision = ?, vectors = ({vectors})", (revision,))  # noqa: S608
    store.connection.execute(
        """UPDATE records SET record = json_set(record, '$.embedding_model', :model)
        WHERE json_extract(record, '$.embedding_model') IS NOT :model""",
        {"model": embedding.model},
    )
    meta.write(store.connection, "renewed", None)
    meta.write(store.connection, "reembedding", None)  # of a version that dropped the vectors first
    meta.set_embedding(store.connection, embedding)
