"""Removing one user's audit entries, which share points with those of others, and not taking back what clients have."""

from __future__ import annotations

from datetime import datetime

from openmem.protocol.clock import micros

from ..kit.forgotten import LASTING, MOST, unforgotten
from ..kit.staging import Staging
from .engine import Delete, Engine, Insert, Operation, Overwrite, Point, Row
from .filters import Lacks, Match, Range
from .points import note_id, without_user

PAGE = 100
"""Points read and written at a time."""
LOG = ("log", "sequence", "latest", "entries", "revision")
"""What a point of the log holds; who removes entries of it gives it a new revision."""


async def forget(engine: Engine, sidecar: str, user_id: str, moment: datetime) -> None:
    """Note it, and remove a user's entries until none is left: a point that was changed meanwhile is read again."""
    note = Point(note_id(user_id), {"forgotten": micros(moment)})
    await engine.write(sidecar, [Insert([note], only_new=True), Insert([note], condition=_before(moment))])
    await _prune(engine, sidecar, moment)
    while True:
        rows, _ = await engine.scroll(sidecar, Match("log", (user_id,)), PAGE, None, LOG)
        if not rows:
            return
        await engine.write(sidecar, [_removal(row, user_id) for row in rows])


async def sift(engine: Engine, sidecar: str, staging: Staging) -> None:
    """Leave out the entries of reads made before their user was forgotten."""
    notes = {note_id(user_id): user_id for user_id, _ in staging.reads}
    rows = await engine.retrieve(sidecar, [*notes], ("forgotten",))
    staging.log_reads(unforgotten(staging.reads, {notes[row.id]: row.payload["forgotten"] for row in rows}))


async def _prune(engine: Engine, sidecar: str, moment: datetime) -> None:
    """Remove some of the oldest notes, where they are too old or too many."""
    every, old = Range("forgotten", low=0), micros(moment - LASTING)
    rows = await engine.ordered(sidecar, every, "forgotten", PAGE, ("forgotten",), ascending=True)
    many = len(rows) == PAGE and await engine.count(sidecar, every) > MOST
    ids = [row.id for row in rows if many or row.payload["forgotten"] < old]
    if ids:
        await engine.write(sidecar, [Delete(ids)])


def _before(moment: datetime) -> Range:
    return Range("forgotten", high=micros(moment))


def _removal(row: Row, user_id: str) -> Operation:
    left = without_user(row.payload, user_id)
    if left is None:
        return Delete([row.id])
    revision = row.payload.get("revision")
    return Overwrite(row.id, left, Lacks("revision") if revision is None else Match("revision", (revision,)))
