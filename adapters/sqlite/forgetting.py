"""Removing a user's audit log, and not taking back what other clients have of it; the notes are rows of meta."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from sqlite3 import Connection

from openmem.protocol.clock import micros

from ..kit.audit import Entry
from ..kit.forgotten import LASTING, MOST, PREFIX, note_name, unforgotten
from . import meta

_PRUNE = f"""DELETE FROM meta WHERE name GLOB '{PREFIX}*' AND (CAST(value AS INTEGER) < ? OR name NOT IN (
    SELECT name FROM meta WHERE name GLOB '{PREFIX}*' ORDER BY CAST(value AS INTEGER) DESC LIMIT ?))"""  # noqa: S608


def forget(connection: Connection, user: int | None) -> bool:
    """Delete a user's audit log, and the user where no memory was added meanwhile; tell whether the user is gone."""
    do = connection.execute
    do("DELETE FROM audit WHERE user = ?", (user,))
    found = do("SELECT revision FROM users WHERE key = ? AND memories = 0", (user,)).fetchone()
    if not found:
        return False
    do("DELETE FROM removed WHERE user = ?", (user,))
    do("DELETE FROM users WHERE key = ?", (user,))
    former = int(meta.read(connection, "forgotten") or 0)
    meta.write(connection, "forgotten", str(max(found[0], former) + 1))
    return True


def note(connection: Connection, user_id: str, moment: datetime) -> None:
    """Note that a user was forgotten."""
    name = note_name(user_id)
    former = int(meta.read(connection, name) or 0)
    meta.write(connection, name, str(max(micros(moment), former)))
    connection.execute(_PRUNE, (micros(moment - LASTING), MOST))


def remembered(connection: Connection, entries: Collection[Entry]) -> list[Entry]:
    """Leave out the entries of reads made before their user was forgotten."""
    names = {note_name(user_id): user_id for user_id, _ in entries}
    query = "SELECT name, CAST(value AS INTEGER) FROM meta WHERE name IN (SELECT value FROM json_each(?))"
    found = connection.execute(query, (json.dumps([*names]),)).fetchall()
    return unforgotten(entries, {names[name]: moment for name, moment in found})
