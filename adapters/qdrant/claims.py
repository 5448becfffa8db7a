"""Who has which external_id: a point of the sidecar for each, which only one writer can insert."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from openmem.errors import ConflictError, OMPError, ProviderUnavailableError
from openmem.runtime.calls import DEADLINE, deadline

from ..kit.remote import NotWritten
from ..kit.staging import Key
from .engine import Delete, Engine, Insert, Mark, Payload, Point
from .filters import All, Match, Native, Range
from .points import ABANDONED, PAUSE, Writer, claim_id


class Claims:
    """The claims that one change reads, takes and frees."""

    def __init__(self, engine: Engine, sidecar: str, writer: Writer) -> None:
        self._engine, self._sidecar, self._writer = engine, sidecar, writer
        self._exclusive = engine.turns is not None
        self.left: dict[Key, Payload] = {}
        """Claims of memories that do not exist."""
        self._since: float | None = None
        """When claims were taken that others may come to take for left over, in the event loop's time."""

    async def read(self, keys: Collection[Key]) -> dict[Key, Payload]:
        """Read the claims of external_ids."""
        key_of = {claim_id(*key): key for key in keys}
        rows = await self._engine.retrieve(self._sidecar, list(key_of), ("memory",))
        return {key_of[row.id]: row.payload for row in rows}

    async def take(self, claims: dict[Key, str]) -> None:
        """Claim external_ids for new memories; NotWritten where another writer has one."""
        at = int(time.time())
        points = [Point(claim_id(*key), {"memory": memory_id, "at": at}) for key, memory_id in claims.items()]
        if self._exclusive:  # a claim that is there is of a memory that is not
            await self._engine.write(self._sidecar, [Insert(points)])
            return
        self._since = asyncio.get_running_loop().time()
        freed = [self._abandoned(key, self.left[key], at) for key in claims if key in self.left]
        try:
            await self._engine.write(self._sidecar, [*freed, Insert(points, only_new=True)])
            held = {key: claim["memory"] for key, claim in (await self.read(claims)).items()}
        except BaseException:
            await self.give_back(claims)
            raise
        if held != claims:
            await self.give_back(claims)
            raise await lost("another writer keeps taking the external_id.")

    @contextmanager
    def fresh(self) -> Iterator[None]:
        """Have no request begin, or begin again, that might come when the claims are taken for left over."""
        moments = [each for each in (deadline(), self._since and self._since + ABANDONED / 4) if each is not None]
        if self._age() > ABANDONED / 4:
            raise ProviderUnavailableError("Qdrant takes too long to answer.", written="nothing")
        token = DEADLINE.set(min(moments, default=None))
        try:
            yield
        finally:
            DEADLINE.reset(token)

    async def lost(self, claims: dict[Key, str]) -> set[str]:
        """Renew claims that grew old while a request lasted; name the memories whose claims others took meanwhile."""
        if self._age() <= ABANDONED / 2:
            return set()
        at = {"at": int(time.time())}
        marks = [Mark(claim_id(*key), at, Match("memory", (each,))) for key, each in claims.items()]
        await self._engine.write(self._sidecar, marks)
        held = await self.read(claims)
        return {each for key, each in claims.items() if held.get(key, {}).get("memory") != each}

    def _age(self) -> float:
        return asyncio.get_running_loop().time() - self._since if self._since is not None else -math.inf

    async def give_back(self, claims: dict[Key, str]) -> None:
        """Free what was claimed in vain; where that fails, this writer may take it again at once, others later."""
        if claims:
            self._writer.given_up.extend(claims.values())
            with suppress(OMPError):
                await self._engine.write(self._sidecar, [self.free(key, each) for key, each in claims.items()])

    def free(self, key: Key, memory_id: str, *further: Native) -> Delete:
        """Give up a claim, unless it is another memory's by now."""
        condition = None if self._exclusive else All((Match("memory", (memory_id,)), *further))
        return Delete([claim_id(*key)], condition)

    def _abandoned(self, key: Key, claim: Payload, at: int) -> Delete:
        """Give up a claim that was left over: at once where this writer gave it back, else when it is old."""
        if claim["memory"] in self._writer.given_up:
            return self.free(key, claim["memory"])
        return self.free(key, claim["memory"], Range("at", high=at - ABANDONED))


async def lost(message: str) -> NotWritten:
    """Let the other writer finish, then say that nothing was written."""
    await asyncio.sleep(random.uniform(0.5, 1.5) * PAUSE)  # noqa: S311  against two that wait alike
    return NotWritten(ConflictError(message, remedy="Read again and repeat the change."))
