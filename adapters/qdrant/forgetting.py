"""Removing one user's audit entries, which share points with those of others in the same batch."""

from __future__ import annotations

from .engine import Delete, Engine, Operation, Overwrite, Row
from .filters import Lacks, Match
from .points import without_user

PAGE = 100
"""Points read and written at a time."""
LOG = ("log", "sequence", "latest", "entries", "revision")
"""What a point of the log holds; who removes entries of it gives it a new revision."""


async def forget(engine: Engine, sidecar: str, user_id: str) -> None:
    """Remove a user's entries until none is left: a point is left as it is where another's were removed meanwhile."""
    while True:
        rows, _ = await engine.scroll(sidecar, Match("log", (user_id,)), PAGE, None, LOG)
        if not rows:
            return
        await engine.write(sidecar, [_removal(row, user_id) for row in rows])


def _removal(row: Row, user_id: str) -> Operation:
    left = without_user(row.payload, user_id)
    if left is None:
        return Delete([row.id])
    revision = row.payload.get("revision")
    return Overwrite(row.id, left, Lacks("revision") if revision is None else Match("revision", (revision,)))
