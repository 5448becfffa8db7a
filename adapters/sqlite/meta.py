"""What a sqlite:// file says of itself: its text analysis, its embedding, which every vector in it is held to."""

from __future__ import annotations

from functools import lru_cache
from sqlite3 import Connection

from openmem._generated.models import EmbeddingInfo

from ..kit.base import other_embedding


def read(connection: Connection, name: str) -> str | None:
    """Read what the file says under a name."""
    found = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return found[0] if found else None


def write(connection: Connection, name: str, value: str | None) -> None:
    """Have the file say something else; None: nothing."""
    connection.execute("DELETE FROM meta WHERE name = ?", (name,))
    if value is not None:
        connection.execute("INSERT INTO meta (name, value) VALUES (?, ?)", (name, value))


def set_embedding(connection: Connection, embedding: EmbeddingInfo | None) -> None:
    """Record the embedding of the store; None: keyword-only."""
    write(connection, "embedding", embedding.model_dump_json() if embedding else None)


def has_embedding(connection: Connection, embedding: EmbeddingInfo | None) -> bool:
    """Tell whether a store has a client's embedding; False: it has none yet. ConfigurationError where it has another.

    An empty store has none, so that it can take that of the first who adds.
    """
    found = read(connection, "embedding")
    held = _embedding(found) if found else None
    if held == embedding:
        return True
    if has_memories(connection):
        raise other_embedding(held, embedding)
    return False


def has_memories(connection: Connection) -> bool:
    """Tell whether there is any memory."""
    return connection.execute("SELECT 1 FROM records LIMIT 1").fetchone() is not None


@lru_cache(16)
def _embedding(found: str) -> EmbeddingInfo:
    return EmbeddingInfo.model_validate_json(found)
