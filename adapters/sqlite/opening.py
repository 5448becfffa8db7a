"""What opening a sqlite:// file takes: its schema, its words by this text analysis, its embedding; piece by piece."""

from __future__ import annotations

import json
import logging
import sqlite3
from pathlib import Path

from openmem._generated.models import EmbeddingInfo, MemoryRecord
from openmem.errors import ConfigurationError
from openmem.protocol import ranking

from . import meta
from .errors import is_busy
from .records import Records
from .schema import PIECE, STEPS, migrate, version_of

Row = tuple[int, int, str]
"""Key, user and content of a memory."""

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
    if version_of(store.connection, path) < len(STEPS) or meta.read(store.connection, "analysis") != ranking.ANALYSIS:
        return False
    return meta.has_embedding(store.connection, embedding)


def check_readable(store: Records, path: Path, embedding: EmbeddingInfo | None) -> None:
    """Refuse a file that would have to be changed before it can be read."""
    ready = is_ready(store, path, embedding)
    if not ready and (version_of(store.connection, path) < len(STEPS) or meta.has_memories(store.connection)):
        raise ConfigurationError(
            f"{path} has to be brought up to date, and can only be read here.",
            remedy="Open it once as somebody who may write, where there is room.",
        )


def prepare(store: Records, path: Path, embedding: EmbeddingInfo | None) -> bool:
    """Do a piece of what has to be done; False: there is more."""
    if not (migrate(store.connection, path) and _reindex(store)):
        return False
    if not meta.has_embedding(store.connection, embedding):
        meta.set_embedding(store.connection, embedding)
    return True


def migrate_only(store: Records, path: Path) -> bool:
    """Do a piece of bringing the schema up to date, for a store that will get another embedding."""
    return migrate(store.connection, path)


def _reindex(store: Records) -> bool:
    """Index a piece of the words anew, where they were indexed by another text analysis."""
    if meta.read(store.connection, "analysis") == ranking.ANALYSIS:
        return True
    analysis, last = json.loads(meta.read(store.connection, "reindexed") or '["", 0]')
    if analysis != ranking.ANALYSIS:
        last = 0
        store.connection.execute("DELETE FROM postings")
        store.connection.execute("UPDATE users SET memories = 0")
    rows = contents_after(store, last, PIECE)
    for key, user, content in rows:
        store.index_content(key, user, content)
        store.count(user, memories=1)
    if len(rows) < PIECE:
        meta.write(store.connection, "reindexed", None)
        meta.write(store.connection, "analysis", ranking.ANALYSIS)
        return True
    meta.write(store.connection, "reindexed", json.dumps([ranking.ANALYSIS, rows[-1][0]]))
    highest = store.connection.execute("SELECT max(key) FROM records").fetchone()[0]
    logger.info("sqlite: indexed the words of memories up to number %d of %d", rows[-1][0], highest)
    return False


def contents_after(store: Records, key: int, limit: int) -> list[Row]:
    """Read key, user and content of the memories after a key, in order of key."""
    query = "SELECT key, user, record FROM records WHERE key > ? ORDER BY key LIMIT ?"
    rows = store.connection.execute(query, (key, limit)).fetchall()
    return [(key, user, MemoryRecord.model_validate_json(record).content) for key, user, record in rows]
