"""What a change reads and writes in Qdrant, which has no transactions of its own.

Where this process alone writes, the adapter's lock stands in for them. Else changes are optimistic: every write of a
memory marks it with a revision; a change first rewrites what it read under the condition that the revision is still
the one it read, looks whether all of that succeeded, and takes it back where it did not. An external_id belongs to the
memory named by a point of the sidecar that only one writer can insert. A process that dies half way leaves a change
in part; an external_id it had claimed is free again after ABANDONED seconds.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

from openmem._generated.models import Memory
from openmem.bridge import finished, offload
from openmem.errors import ConflictError

from ..staged import NotWritten
from ..staging import Key, Staging, Wanted
from .engine import Delete, Embed, Engine, Insert, Operation, Overwrite, Payload, Point
from .filters import All, Match, Native, Range
from .records import (
    REVISED,
    Writer,
    claim_id,
    dense_of,
    log_point,
    memory_of,
    new_revision,
    payload_of,
    point_id,
    point_of,
    words_of,
)

ABANDONED = 60.0
"""Seconds after which a claim of a memory that does not exist is taken to be left over."""
PAUSE = 0.03
"""Seconds to wait, more or less, for another process to be done with what this one wants to change."""


class QdrantTransaction:
    """A staged.Transaction over an engine.

    memories and sidecar are names of collections; alone waits for other changes of this process to the same users.
    """

    def __init__(
        self, engine: Engine, memories: str, sidecar: str, writer: Writer, alone: Callable[[], Awaitable[None]]
    ) -> None:
        self._engine, self._memories, self._sidecar = engine, memories, sidecar
        self._writer, self._alone = writer, alone
        self._exclusive = engine.turns is not None
        self._revision = new_revision()
        self._read: dict[str, Payload] = {}
        """Payloads by memory id, as they were read."""
        self._left: dict[Key, Payload] = {}
        """Claims of memories that do not exist."""

    async def read(self, wanted: Wanted) -> Collection[Memory]:
        """Read records by id, and by external_id through its claim."""
        await self._alone()
        ids = set(wanted.ids)
        claimed = await self._claimed(wanted.keys) if wanted.keys else {}
        points = [point_id(each) for each in ids.union(claim["memory"] for claim in claimed.values())]
        rows = await self._engine.retrieve(self._memories, points, REVISED) if points else []
        found = {memory.id: (memory, row.payload) for row in rows for memory in [memory_of(row.payload)]}
        self._read.update({memory_id: payload for memory_id, (_, payload) in found.items()})
        self._left.update({key: claim for key, claim in claimed.items() if claim["memory"] not in found})
        return [memory for memory, _ in found.values()]

    async def write(self, staging: Staging) -> None:
        """Write all that is staged; NotWritten where another writer was there first."""
        if self._exclusive:
            await finished(self._write(staging))  # a moment: a change in part would be worse
        else:
            await self._write(staging)

    async def _write(self, staging: Staging) -> None:
        claims = {(m.user_id, m.external_id): m.id for m in staging.inserted.values() if m.external_id is not None}
        if claims:
            await self._claim(claims)
        if self._exclusive:
            await self._apply([*self._overwrites(staging), *await offload(self._rest, staging)])
        else:
            await self._hold(staging, claims)
            await self._apply(await offload(self._rest, staging, Match("revision", (self._revision,))))
        await self._note(staging)

    async def _apply(self, operations: Sequence[Operation]) -> None:
        if operations:
            await self._engine.write(self._memories, operations)

    async def _note(self, staging: Staging) -> None:
        """Free the external_ids of what was removed, and keep the audit log."""
        gone = [each for each in staging.removed.values() if each.external_id is not None]
        operations: list[Operation] = [self._free((m.user_id, m.external_id or ""), m.id) for m in gone]
        if staging.entries:
            operations.append(Insert([log_point(staging.entries, self._writer.next())]))
        if operations:
            await self._engine.write(self._sidecar, operations)

    # --- what is there already --------------------------------------------------------------------------------

    def _overwrites(self, staging: Staging) -> list[Overwrite]:
        return [Overwrite(point_id(each.id), payload_of(each, self._revision)) for each in staging.replaced.values()]

    def _rest(self, staging: Staging, condition: Match | None = None) -> list[Operation]:
        """List what else becomes of memories, of those that were there under a condition."""
        operations: list[Operation] = []
        for memory in staging.replaced.values():
            vector = staging.vectors.get(memory.id)
            changed = memory.content != staging.read[memory.id].content
            dense = dense_of(vector) if vector is not None else None
            words = words_of(memory.content) if changed else None
            if dense is not None or words is not None:
                operations.append(Embed(point_id(memory.id), dense, words, condition))
        if staging.removed:
            operations.append(Delete([point_id(each) for each in staging.removed], condition))
        if staging.inserted:
            inserted = staging.inserted.values()
            points = [point_of(memory, staging.vectors.get(memory.id), self._revision) for memory in inserted]
            operations.append(Insert(points))
        return operations

    async def _hold(self, staging: Staging, claims: dict[Key, str]) -> None:
        """Put our revision on everything that changes; what is removed keeps its record until then."""
        changing = {each.id: payload_of(each, self._revision) for each in staging.replaced.values()}
        for memory in staging.removed.values():
            changing[memory.id] = payload_of(memory, self._revision)
        if not changing:
            return
        writes = [
            Overwrite(point_id(each), payload, Match("revision", (self._read[each]["revision"],)))
            for each, payload in changing.items()
        ]
        await self._engine.write(self._memories, writes)
        rows = await self._engine.retrieve(self._memories, [write.id for write in writes], ("revision",))
        held = {row.id for row in rows if row.payload.get("revision") == self._revision}
        if len(held) < len(writes):
            await self._take_back([each for each in changing if point_id(each) in held], claims)
            raise await _lost("another writer keeps changing the same memories.")

    async def _take_back(self, ids: Sequence[str], claims: dict[Key, str]) -> None:
        ours = Match("revision", (self._revision,))
        if ids:
            former = [(each, self._read[each]) for each in ids]
            payloads = [(each, payload_of(memory_of(read), read["revision"])) for each, read in former]
            await self._engine.write(
                self._memories, [Overwrite(point_id(each), payload, ours) for each, payload in payloads]
            )
        await self._unclaim(claims)

    # --- external_id ------------------------------------------------------------------------------------------

    async def _claimed(self, keys: Collection[Key]) -> dict[Key, Payload]:
        """Read the claims of external_ids."""
        key_of = {claim_id(*key): key for key in keys}
        rows = await self._engine.retrieve(self._sidecar, list(key_of), ("memory", "by"))
        return {key_of[row.id]: row.payload for row in rows}

    async def _claim(self, claims: dict[Key, str]) -> None:
        """Claim external_ids for new memories; NotWritten where another writer has one."""
        at = int(time.time())
        by = self._writer.name
        points = [Point(claim_id(*key), {"memory": memory_id, "at": at, "by": by}) for key, memory_id in claims.items()]
        if self._exclusive:  # a claim that is there is of a memory that is not
            await self._engine.write(self._sidecar, [Insert(points)])
            return
        freed = [self._abandoned(key, self._left[key], at) for key in claims if key in self._left]
        await self._engine.write(self._sidecar, [*freed, Insert(points, only_new=True)])
        held = {key: claim["memory"] for key, claim in (await self._claimed(claims)).items()}
        if held != claims:
            await self._unclaim({key: each for key, each in claims.items() if held.get(key) == each})
            raise await _lost("another writer keeps taking the external_id.")

    def _abandoned(self, key: Key, claim: Payload, at: int) -> Delete:
        """Give up a claim that was left over: at once where this writer failed, else when it is old."""
        if claim["by"] == self._writer.name:
            return self._free(key, claim["memory"])
        return self._free(key, claim["memory"], Range("at", high=at - ABANDONED))

    async def _unclaim(self, claims: dict[Key, str]) -> None:
        if claims:
            await self._engine.write(self._sidecar, [self._free(key, each) for key, each in claims.items()])

    def _free(self, key: Key, memory_id: str, *further: Native) -> Delete:
        """Give up a claim, unless it is another memory's by now."""
        condition = None if self._exclusive else All((Match("memory", (memory_id,)), *further))
        return Delete([claim_id(*key)], condition)


async def _lost(message: str) -> NotWritten:
    """Let the other writer finish, then say that nothing was written."""
    await asyncio.sleep(random.uniform(0.5, 1.5) * PAUSE)  # noqa: S311  against two that wait alike
    return NotWritten(ConflictError(message, remedy="Read again and repeat the change."))
