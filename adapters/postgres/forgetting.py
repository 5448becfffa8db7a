"""Not taking back what other clients have of a user's audit log that was erased; the notes are rows of meta."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from ..kit.audit import Entry
from ..kit.forgotten import LASTING, MOST, PREFIX, note_name
from .schema import Names
from .sessions import Session

_NOTE = """INSERT INTO openmem.meta VALUES (%s, %s) ON CONFLICT (name)
    DO UPDATE SET value = greatest(meta.value COLLATE "C", excluded.value COLLATE "C")"""
_PRUNE = f"""DELETE FROM openmem.meta WHERE name IN (SELECT name FROM openmem.meta WHERE name LIKE '{PREFIX}%%'
    AND (value COLLATE "C" < %s OR value COLLATE "C" < (SELECT value FROM openmem.meta WHERE name LIKE '{PREFIX}%%'
    ORDER BY value COLLATE "C" DESC OFFSET %s LIMIT 1)) FOR UPDATE SKIP LOCKED)"""
_DROP = """WITH forgotten AS MATERIALIZED (SELECT user_id, value::timestamptz AS moment
        FROM unnest(%s::text[], %s::text[]) note(name, user_id) JOIN openmem.meta USING (name))
    DELETE FROM openmem.audit a USING forgotten f WHERE a.user_id = f.user_id AND a.moment <= f.moment"""


async def note(session: Session, names: Names, user_id: str, moment: datetime) -> None:
    """Note that a user was forgotten."""
    await session.execute(names(_NOTE), [note_name(user_id), _written(moment)])
    await session.execute(names(_PRUNE), [_written(moment - LASTING), MOST - 1])


async def drop(session: Session, names: Names, reads: Collection[Entry]) -> None:
    """Drop the entries made before their user was forgotten, of users of whose reads entries were just stored."""
    if reads:
        users = sorted({user_id for user_id, _ in reads})
        await session.execute(names(_DROP), [list(map(note_name, users)), users])


def _written(moment: datetime) -> str:
    """Write a moment so that texts compare as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
