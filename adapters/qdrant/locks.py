"""Memories kept from other writers while several of them are changed: a mark on each, all or none."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from openmem.errors import OMPError, ProviderUnavailableError

from .claims import lost
from .engine import Engine, Mark, Payload
from .filters import Match
from .points import ABANDONED, REVISION, Writer, new_lock, next_revision, point_id

MOST = 64
"""Locks given up in vain that are remembered; beyond them the oldest become free by age."""


class Locks:
    """The locks of one change; read: payloads by memory id, as they were read."""

    def __init__(self, engine: Engine, memories: str, writer: Writer, read: dict[str, Payload]) -> None:
        self._engine, self._memories, self._writer, self._read = engine, memories, writer, read
        self._lock = new_lock()
        self._ids: Sequence[str] = ()
        self._since = 0.0
        self.ours = Match("revision", (self._lock,))
        """What holds of a memory locked."""

    async def take(self, ids: Sequence[str]) -> None:
        """Lock memories, all or none."""
        self._ids, self._since = ids, time.monotonic()
        marks = [
            Mark(
                point_id(each),
                next_revision(self._read[each], self._lock),
                Match("revision", (self._read[each]["revision"],)),
            )
            for each in ids
        ]
        sent = True
        try:
            try:
                await self._engine.write(self._memories, marks)
            except OMPError as error:
                sent = not unsent(error)
                raise
            rows = await self._engine.retrieve(self._memories, [mark.id for mark in marks], REVISION)
            if sum(row.payload["revision"] == self._lock for row in rows) < len(marks):
                raise await lost("another writer keeps changing the same memories.")
        except BaseException as error:
            if isinstance(error, OMPError):
                error.written = "nothing"
            if sent:
                await self.give_up()
            raise

    def old(self) -> bool:
        """Tell whether others may soon take the locks for left over."""
        return bool(self._ids) and time.monotonic() - self._since > ABANDONED / 2

    def unlocks(self) -> list[Mark]:
        """List what takes the locks off."""
        return [Mark(point_id(each), revision_of(self._read[each]), self.ours) for each in self._ids]

    async def give_up(self) -> None:
        """Take the locks off; where that fails, this writer minds them no more and takes them off by its next write."""
        if not self._ids:
            return
        unlocks = self.unlocks()
        self._writer.given_up.append(self._lock)
        self._writer.unlocks[self._lock] = unlocks
        if len(self._writer.unlocks) > MOST:
            self._writer.unlocks.pop(next(iter(self._writer.unlocks)))
        with suppress(OMPError):
            await self._engine.write(self._memories, unlocks)
            self._writer.unlocks.pop(self._lock, None)

    @contextmanager
    def given_up(self) -> Iterator[list[Mark]]:
        """List what takes off the locks that this writer gave up in vain, to be written within the block."""
        left = dict(self._writer.unlocks)
        yield [mark for marks in left.values() for mark in marks]
        for lock in left:
            self._writer.unlocks.pop(lock, None)


def revision_of(payload: Payload) -> Payload:
    """Return the fields that say which revision was read."""
    return {"revision": payload["revision"], "earlier": payload.get("earlier", [])}


def unsent(error: OMPError) -> bool:
    """Tell whether a request never reached the server; what the server refused it may have done in part."""
    return isinstance(error, ProviderUnavailableError) and error.written == "nothing"
