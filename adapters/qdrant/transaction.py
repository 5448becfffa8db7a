"""What a change reads and writes in Qdrant, which has no transactions of its own.

Where this process alone writes, the adapter's lock stands in for them. Else every write of a memory marks it with a
revision and is conditional on the one that was read. A change of one memory is one conditional write. A change of
several first locks them: a mark, which changes nothing else, put on all of them or taken off again; then one request
writes everything. An external_id belongs to the memory named by a point of the sidecar that only one writer can insert.

So every request may be repeated: done twice it is done once. A process that dies leaves the memories as they were or
changed; its locks and claims are free again after ABANDONED seconds. What the server has done of a request that failed
is looked up, and taken back unless it is all.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress

from openmem._generated.models import MemoryRecord
from openmem.errors import ConflictError, OMPError, ProviderError, ProviderUnavailableError, nothing_written
from openmem.runtime.bridge import finished, offload

from ..kit.audit import Entry
from ..kit.remote import NotWritten
from ..kit.staging import Key, Staging, Wanted
from .claims import Claims, lost
from .engine import Delete, Insert, Operation, Overwrite, Payload, Point, Row, Words
from .filters import Match
from .forgetting import sift
from .locks import Locks, revision_of, unsent
from .points import (
    PAUSE,
    REVISED,
    REVISION,
    Writer,
    has_been,
    log_point,
    memory_of,
    new_revision,
    next_revision,
    payload_of,
    point_id,
    point_of,
)
from .store import QdrantStore
from .words import Numbers, words_of

BRIEF = 1000
"""Characters that are sooner analysed than a thread is found for it."""
PATIENCE = 5.0
"""Seconds to wait for another writer to be done with what this one wants to change."""


class QdrantTransaction:
    """A staged.Transaction over a store.

    alone waits for other changes of this process to the same users; keep takes audit entries that cannot be stored now.
    """

    def __init__(
        self,
        store: QdrantStore,
        writer: Writer,
        alone: Callable[[], Awaitable[None]],
        keep: Callable[[Sequence[Entry]], None],
    ) -> None:
        self._engine, self._memories, self._sidecar = store.engine, store.memories, store.sidecar
        self._store, self._writer, self._alone, self._keep = store, writer, alone, keep
        self._exclusive = self._engine.turns is not None
        self._claims = Claims(self._engine, self._sidecar, writer)
        self._revision = new_revision()
        self._dense: str | None = None
        """The name of the dense vectors that are written, if any are."""
        self._words: dict[str, Words] = {}
        """Sparse vectors of what is written, by memory id."""
        self._read: dict[str, Payload] = {}
        """Payloads by memory id, as they were read."""
        self._locks = Locks(self._engine, self._memories, writer, self._read)

    async def read(self, wanted: Wanted) -> Collection[MemoryRecord]:
        """Read records by id, and by external_id through its claim."""
        await self._alone()
        with nothing_written():
            claimed = await self._claims.read(wanted.keys) if wanted.keys else {}
            points = [point_id(each) for each in wanted.ids.union(claim["memory"] for claim in claimed.values())]
            rows = await self._unlocked(points) if points else []
        found = {memory.id: (memory, row.payload) for row in rows for memory in [memory_of(row.payload)]}
        self._read.update({memory_id: payload for memory_id, (_, payload) in found.items()})
        self._claims.left.update({key: claim for key, claim in claimed.items() if claim["memory"] not in found})
        return [memory for memory, _ in found.values()]

    async def _unlocked(self, points: Sequence[str]) -> list[Row]:
        """Read memories when no other writer has locked them."""
        for _ in range(round(PATIENCE / PAUSE)):
            rows = await self._engine.retrieve(self._memories, points, REVISED)
            if not any(self._writer.waits_for(row.payload["revision"]) for row in rows):
                return rows
            await asyncio.sleep(random.uniform(0.5, 1.5) * PAUSE)  # noqa: S311  against two that wait alike
        raise ConflictError(
            "another writer keeps the same memories locked.", remedy="Repeat the change a little later."
        )

    async def write(self, staging: Staging) -> None:
        """Write all that is staged, to the end even where the caller is cancelled; NotWritten where it was lost."""
        await finished(self._write(staging))

    async def _write(self, staging: Staging) -> None:
        claims = {(m.user_id, m.external_id): m.id for m in staging.inserted.values() if m.external_id is not None}
        with nothing_written():
            stored = [*staging.inserted.values(), *(m for m in staging.replaced.values() if _renewed(m.id, staging))]
            numbers = await self._numbers(stored) if stored else None
            looks = [sift(self._engine, self._sidecar, staging)] if staging.reads else []
            if numbers is not None:
                looks.append(self._hold())
                if not self._store.knows(numbers):
                    looks.append(self._store.tell_shared(numbers))
            await (looks[0] if len(looks) == 1 else asyncio.gather(*looks))
            if claims:
                await self._claims.take(claims)
        try:
            await self._change(staging)
            await self._look_at(claims, staging)
        except (NotWritten, OMPError) as error:
            if isinstance(error, NotWritten) or error.written == "nothing":  # else what was claimed for may be there
                await self._claims.give_back(claims)
                await self._look_again(error)
            raise
        await self._note(staging)

    async def _hold(self) -> None:
        self._dense = await self._store.check()

    async def _look_again(self, error: NotWritten | OMPError) -> None:
        """Raise NotWritten where nothing was since the vectors have another name by now."""
        if isinstance(error, ProviderError) and not isinstance(error, ProviderUnavailableError) and self._dense:
            with nothing_written():
                if await self._store.check() != self._dense:
                    raise await lost("the store is embedded anew time and again.")

    async def _change(self, staging: Staging) -> None:
        condition = None
        several = len(staging.replaced) + len(staging.removed) + len(staging.inserted) > 1
        locks = not self._exclusive and bool(staging.removed or (staging.replaced and several))
        if locks:
            await self._locks.take([*staging.replaced, *staging.removed])
            condition = self._locks.ours
        elif staging.replaced and not self._exclusive:
            condition = Match("revision", (self._read[next(iter(staging.replaced))]["revision"],))
        operations = await offload(self._operations, staging, condition)
        if not operations:
            return
        failed: OMPError | None = None
        try:
            with self._claims.fresh(), self._locks.given_up() as unlocks:
                await self._engine.write(self._memories, [*operations, *unlocks])
        except OMPError as error:
            if unsent(error):
                await self._locks.give_up()
                raise
            failed = error
        if failed or (condition and not locks) or self._locks.old():
            await self._settle(staging, failed)

    def _operations(self, staging: Staging, condition: Match | None) -> list[Operation]:
        """List what becomes of memories, new ones first: where the rest fails, no link leads nowhere."""
        first = {"revision": self._revision}
        inserted = [self._point(m, staging, first) for m in staging.inserted.values()]
        renewed = [
            self._point(m, staging, next_revision(self._read[m.id], self._revision))
            for m in staging.replaced.values()
            if _renewed(m.id, staging)
        ]
        operations: list[Operation] = []
        if inserted:
            operations.append(Insert(inserted, only_new=not self._exclusive))
        if renewed:
            operations.append(Insert(renewed, condition=condition))
        operations += [
            Overwrite(point_id(m.id), payload_of(m, next_revision(self._read[m.id], self._revision)), condition)
            for m in staging.replaced.values()
            if not _renewed(m.id, staging)
        ]
        if staging.removed:
            operations.append(Delete([point_id(each) for each in staging.removed], condition))
        return operations

    async def _numbers(self, memories: Sequence[MemoryRecord]) -> Numbers:
        """Weigh the words of what is written and return their numbers."""
        brief = sum(len(each.content) for each in memories) < BRIEF
        return self._weigh(memories) if brief else await offload(self._weigh, memories)

    def _weigh(self, memories: Sequence[MemoryRecord]) -> Numbers:
        numbers = Numbers()
        self._words = {each.id: words_of(each.content, numbers) for each in memories}
        return numbers

    def _point(self, memory: MemoryRecord, staging: Staging, revision: Payload) -> Point:
        vector = staging.vectors.get(memory.id)
        dense = {self._dense: vector} if self._dense and vector is not None else {}
        return point_of(memory, self._words[memory.id], dense, revision)

    async def _note(self, staging: Staging) -> None:
        """Free the external_ids of what was removed and log; the change is done, so what fails here is done later."""
        gone = [each for each in staging.removed.values() if each.external_id is not None]
        operations: list[Operation] = [self._claims.free((m.user_id, m.external_id or ""), m.id) for m in gone]
        if staging.entries:
            operations.append(Insert([log_point(staging.entries, self._writer.next())]))
        try:
            if operations:
                await self._engine.write(self._sidecar, operations)
        except OMPError as error:
            if staging.entries and not await self._has_logged(operations[-1]):
                if not (staging.inserted or staging.replaced or staging.removed):
                    error.written = "nothing"
                    raise
                self._keep(staging.entries)

    async def _has_logged(self, operation: Operation) -> bool:
        ids = [point.id for point in operation.points] if isinstance(operation, Insert) else []
        with suppress(OMPError):
            return bool(await self._engine.retrieve(self._sidecar, ids, ()))
        return False

    # --- what became of a write -------------------------------------------------------------------------------

    async def _look_at(self, claims: dict[Key, str], staging: Staging) -> None:
        """Take back what was written under a claim that meanwhile grew old and is another's by now."""
        try:
            lost_ids = await self._claims.lost(claims)
            if not lost_ids:
                return
            left = staging.removed or any(_renewed(each, staging) for each in staging.replaced)
            undone = self._taken_back(staging)
            if left:
                undone = [Delete([point_id(each) for each in lost_ids], Match("revision", (self._revision,)))]
            await self._engine.write(self._memories, undone)
        except OMPError as error:
            error.written = "perhaps"
            raise
        if not left:
            raise await lost("another writer took the external_id.")
        raise ConflictError("another writer took an external_id.", remedy="Read again.", written="part")

    async def _settle(self, staging: Staging, failed: OMPError | None) -> None:
        """See to it that all was written or nothing; NotWritten where another writer was first."""
        try:
            done = await self._done(staging)
            if len(done) == len(staging.inserted) + len(staging.replaced) + len(staging.removed):
                return
            left = done & staging.removed.keys() or {each for each in done if _renewed(each, staging)}
            if not left and (done or not self._exclusive):
                await self._engine.write(self._memories, self._taken_back(staging))
        except OMPError as error:
            await self._locks.give_up()
            (failed or error).written = "perhaps"
            raise failed or error from None
        if failed is None and not left:
            raise await lost("another writer keeps changing the same memories.")
        raise _says(failed or ConflictError("another writer changed the same memories."), left)

    def _taken_back(self, staging: Staging) -> list[Operation]:
        """List what undoes a change; what it has not done does not meet the conditions."""
        ours = Match("revision", (self._revision,))
        former = {each: self._read[each] for each in staging.replaced}
        operations: list[Operation] = [Delete([point_id(each) for each in staging.inserted], ours)]
        operations += [
            Overwrite(point_id(each), payload_of(memory_of(read), revision_of(read)), ours)
            for each, read in former.items()
        ]
        return [*operations, *self._locks.unlocks()]

    async def _done(self, staging: Staging) -> set[str]:
        """Name what was inserted, replaced and removed."""
        ids = [*staging.inserted, *staging.replaced, *staging.removed]
        points = [point_id(each) for each in ids]
        try:
            rows = await self._engine.retrieve(self._memories, points, REVISION)
        except OMPError:  # once more: this is the moment at which not to know costs most
            rows = await self._engine.retrieve(self._memories, points, REVISION)
        done = {row.id for row in rows if has_been(row.payload, self._revision)}
        there = {row.id for row in rows}
        gone = {each for each in staging.removed if point_id(each) not in there}
        return gone | {each for each in ids if point_id(each) in done}


def _renewed(memory_id: str, staging: Staging) -> bool:
    """Tell whether a memory is replaced and has other vectors than before."""
    memory = staging.replaced.get(memory_id)
    return memory is not None and (memory_id in staging.vectors or memory.content != staging.read[memory_id].content)


def _says(error: OMPError, left: Collection[str]) -> OMPError:
    """Have an error say what was written: of a request without an answer nobody knows."""
    if left:
        error.written = "part"
    elif not isinstance(error, ProviderUnavailableError):
        error.written = "nothing"
    return error
