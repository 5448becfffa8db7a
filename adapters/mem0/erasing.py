"""What mem0 keeps beside its records, history and last messages, as it is erased; each function runs in a thread."""

from __future__ import annotations

import importlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from sqlite3 import Error
from typing import Any

from .envelope import user_names

UNREACHED = (
    "mem0's history of memories that were deleted before, of which it does not tell whose they were.",
    "Entities and graphs that mem0 alone made.",
    "What a vector store outside this process keeps of rows that were deleted, its log, replicas and backups.",
    "Copies of mem0's files, and what the file system and the disk keep of blocks that were overwritten.",
)
"""Where something of what was erased may be left."""


def forget_history(mem0: Any, ids: Collection[str]) -> None:
    """Remove the history of memories, which holds each text that they ever had."""
    _delete(mem0, "DELETE FROM history WHERE memory_id IN (SELECT value FROM json_each(?))", ids)


def forget_messages(mem0: Any, user_id: str) -> None:
    """Remove the last messages of a user, which mem0 keeps for the next extraction."""
    scope_of = importlib.import_module("mem0.memory.main")._build_session_scope
    scopes = [scope_of({"user_id": name}) for name in user_names(user_id)]
    _delete(mem0, "DELETE FROM messages WHERE session_scope IN (SELECT value FROM json_each(?))", scopes)


def _delete(mem0: Any, sql: str, values: Collection[str]) -> None:
    with mem0.db._lock, mem0.db.connection as connection:  # which commits, or rolls back
        connection.execute(sql, [json.dumps([*values])])


def scrub(mem0: Any) -> Sequence[str]:
    """Rewrite the files that this process alone has; say, one sentence each, what could not be."""
    left = []
    try:
        with mem0.db._lock:
            mem0.db.connection.execute("VACUUM")
    except Error as error:
        left.append(f"mem0's history holds what was deleted, for it could not be rewritten: {error}.")
    if getattr(mem0.vector_store, "is_local", False):  # mem0's own way to say that it is Qdrant's, in a folder
        local = importlib.import_module("openmem.adapters.qdrant.local")
        left += local.rewritten(Path(mem0.config.vector_store.config.path))
    return left
