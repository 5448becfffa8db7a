"""What opening a sqlite:// file takes: its schema, its words by this text analysis, its embedding; piece by piece."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openmem import ranking
from openmem._generated.models import EmbeddingInfo, Memory
from openmem.errors import ConfigurationError

from ..native import UNFINISHED, other_embedding
from .errors import is_busy
from .records import Records
from .schema import PIECE, STEPS, migrate, version_of

logger = logging.getLogger("openmem")


def uses_log(connection: sqlite3.Connection, *, patient: bool) -> bool:
    """Switch a database to its write-ahead log; False where another is in the way, which is an error in the end."""
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if patient and is_busy(error):
            return False
        raise
    return True


def check_ours(store: Records, path: Path) -> None:
    """Refuse another program's database, and one of a later schema, before anything is changed in it."""
    version_of(store.connection, path)


def is_ready(store: Records, path: Path, embedding: EmbeddingInfo | None) -> bool:
    """Tell whether nothing has to be done; raises ConfigurationError for a file that cannot be used at all."""
    if version_of(store.connection, path) < len(STEPS) or _meta(store, "analysis") != ranking.ANALYSIS:
        return False
    held = _held(store)
    if held != embedding and (held == UNFINISHED or _has_memories(store)):
        raise other_embedding(held, embedding)
    return held == embedding


def check_readable(store: Records, path: Path, embedding: EmbeddingInfo | None) -> None:
    """Refuse a file that would have to be changed before it can be read."""
    ready = is_ready(store, path, embedding)
    if not ready and (version_of(store.connection, path) < len(STEPS) or _has_memories(store)):
        raise ConfigurationError(
            f"{path} has to be brought up to date, and can only be read here.",
            remedy="Open it once as somebody who may write.",
        )


def prepare(store: Records, path: Path, embedding: EmbeddingInfo | None) -> bool:
    """Do a piece of what has to be done; False: there is more."""
    if not (migrate(store.connection, path) and _reindex(store)):
        return False
    held = _held(store)
    if held != embedding:
        if held == UNFINISHED or _has_memories(store):
            raise other_embedding(held, embedding)
        set_embedding(store, embedding)
    return True


def set_embedding(store: Records, embedding: EmbeddingInfo | None) -> None:
    """Record the embedding of the store; None: keyword-only."""
    _set_meta(store, "embedding", embedding.model_dump_json() if embedding else None)


def migrate_only(store: Records, path: Path) -> bool:
    """Do a piece of bringing the schema up to date, for a store that will get another embedding."""
    return migrate(store.connection, path)


def _reindex(store: Records) -> bool:
    """Index a piece of the words anew, where they were indexed by another text analysis."""
    if _meta(store, "analysis") == ranking.ANALYSIS:
        return True
    analysis, last = json.loads(_meta(store, "reindexed") or '["", 0]')
    if analysis != ranking.ANALYSIS:
        last = 0
        store.connection.execute("DELETE FROM postings")
        store.connection.execute("UPDATE users SET memories = 0, length = 0")
    rows = contents_after(store, last, PIECE)
    for key, user, content in rows:
        store.index_content(key, user, content)
    if len(rows) < PIECE:
        _set_meta(store, "reindexed", None)
        _set_meta(store, "analysis", ranking.ANALYSIS)
        return True
    _set_meta(store, "reindexed", json.dumps([ranking.ANALYSIS, rows[-1][0]]))
    highest = store.connection.execute("SELECT max(key) FROM records").fetchone()[0]
    logger.info("sqlite: indexed the words of memories up to number %d of %d", rows[-1][0], highest)
    return False


def contents_after(store: Records, key: int, limit: int) -> list[tuple[int, int, str]]:
    """Read key, user and content of the memories after a key, in order of key."""
    query = "SELECT key, user, record FROM records WHERE key > ? ORDER BY key LIMIT ?"
    rows = store.connection.execute(query, (key, limit)).fetchall()
    return [(key, user, Memory.model_validate_json(record).content) for key, user, record in rows]


def _meta(store: Records, name: str) -> str | None:
    found = store.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return found[0] if found else None


def _set_meta(store: Records, name: str, value: str | None) -> None:
    store.connection.execute("DELETE FROM meta WHERE name = ?", (name,))
    if value is not None:
        store.connection.execute("INSERT INTO meta (name, value) VALUES (?, ?)", (name, value))


def _held(store: Records) -> EmbeddingInfo | None:
    held = _meta(store, "embedding")
    return EmbeddingInfo.model_validate_json(held) if held else None


def _has_memories(store: Records) -> bool:
    return store.connection.execute("SELECT 1 FROM records LIMIT 1").fetchone() is not None


# --- vectors made anew ------------------------------------------------------------------------------------------


def drop_vectors(store: Records) -> None:
    """Forget every vector; the store cannot be opened until set_embedding names what replaced them."""
    store.connection.execute("DELETE FROM vectors")
    store.connection.execute("DELETE FROM removed")
    store.connection.execute("UPDATE users SET vectors = 0, revision = revision + 1")
    set_embedding(store, UNFINISHED)


def put_vectors(store: Records, rows: Sequence[tuple[int, int, str]], vectors: Sequence[Any], model: str) -> None:
    """Store the vectors of memories that have none."""
    for (key, user, _), vector in zip(rows, vectors, strict=True):
        store.put_vector(key, user, vector, added=1)
        statement = "UPDATE records SET record = json_set(record, '$.embedding_model', ?) WHERE key = ?"
        store.connection.execute(statement, (model, key))
