"""A store in Qdrant as a whole: made, held to its embedding and indexed anew."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from openmem._generated.models import EmbeddingInfo, MemoryRecord
from openmem.errors import ConfigurationError, ProviderError
from openmem.protocol import ranking

from ..kit.base import newer_schema, other_embedding
from .engine import DENSE, TERMS, Engine, Insert, Layout, Mark, Payload, Point, Row, SetVectors, portions, words_name
from .facts import Facts, new_name, written
from .filters import Has, Match, Native, Not, Range
from .points import (
    FACTS,
    MEMORY_INDEXES,
    RECORD,
    SCHEMA,
    SIDECAR_INDEXES,
    claim_id,
    memory_of,
    point_id,
)
from .words import Numbers, shared_id, tell_shared, words_of

BATCH = 500
"""Memories read, indexed or embedded anew at a time."""
logger = logging.getLogger("openmem")


class QdrantStore:
    """The two collections of a store: the memories, and the sidecar with what is kept beside them."""

    def __init__(self, engine: Engine, collection: str) -> None:
        self.engine = engine
        self.memories, self.sidecar = collection, f"{collection}_sidecar"
        self._embedding: EmbeddingInfo | None = None
        self._dense = DENSE
        self._looked = 0.0
        self._known = Numbers()

    def alone(self) -> AbstractAsyncContextManager[object]:
        """Wait for the turn to write, where there are turns."""
        return self.engine.turns or nullcontext()

    async def open(self, embedding: EmbeddingInfo | None) -> Facts:
        """Make the collections or check them; several processes may be at it at once."""
        async with self.alone():
            facts = await self._held_to(embedding, await self.ready(embedding))
            facts = await self.indexed(facts)
            await self._recall_shared()
            self._embedding, self._dense, self._looked = embedding, facts.name, time.monotonic()
            self.tell(facts)
        return facts

    async def check(self, lately: float = 0.0) -> str:
        """Return the name of the dense vectors in force; lately: seconds that a look at it holds.

        Raises ConfigurationError where they are of another embedding than when the store was opened.
        """
        notes, now = self.engine.notes, time.monotonic()
        if notes is not None:
            facts = Facts._make(json.loads(notes[self.memories]))
        elif now - self._looked < lately:
            return self._dense
        else:
            facts = await self.facts()
        if (held := facts.info) != self._embedding:
            raise ConfigurationError(
                f"the vectors of {self.memories} are by now of {held.model if held else 'no embedder'}.",
                remedy="Open a new client with that embedder.",
            )
        self._dense, self._looked = facts.name, now
        return self._dense

    def tell(self, facts: Facts) -> None:
        """Have the other clients of this process know of new facts."""
        if self.engine.notes is not None:
            self.engine.notes[self.memories] = json.dumps(facts)

    async def pages(self, condition: Native) -> AsyncIterator[list[MemoryRecord]]:
        """Read memories in no order."""
        async for rows in self._rows(self.memories, condition, RECORD):
            yield [memory_of(row.payload) for row in rows]

    async def claimed(self, user_id: str, external_ids: Collection[str]) -> list[MemoryRecord]:
        """Read those memories of a user that have one of some external_ids."""
        ids = [claim_id(user_id, each) for each in external_ids]
        claims = await self.engine.retrieve(self.sidecar, ids, ("memory",))
        points = [point_id(claim.payload["memory"]) for claim in claims]
        rows = await self.engine.retrieve(self.memories, points, RECORD) if points else []
        found = [memory_of(row.payload) for row in rows]
        return [each for each in found if each.user_id == user_id and each.external_id in external_ids]

    async def facts(self) -> Facts:
        """Read how the store was made."""
        return Facts(**(await self._written())[0])

    async def mark(self, fields: Payload, condition: Native) -> Facts:
        """Write down facts, if the condition holds of those that were, and read them."""
        await self.engine.write(self.sidecar, [Mark(FACTS, fields, condition)])
        return await self.facts()

    async def _written(self) -> list[Payload]:
        return [row.payload for row in await self.engine.retrieve(self.sidecar, [FACTS], Facts._fields)]

    async def ready(self, embedding: EmbeddingInfo | None) -> Facts:
        """Make the store where it was not made, or not to the end."""
        await self._check(self.memories)
        await self._check(self.sidecar)
        await self.engine.create(self.sidecar, Layout(None, {}))  # a later one is opened, and left as it is
        found = await self._written()
        if found and found[0]["schema"] > SCHEMA:
            raise newer_schema(f"the collection {self.memories}", found[0]["schema"], SCHEMA)
        await self.engine.create(self.sidecar, Layout(None, SIDECAR_INDEXES))
        await self.engine.create(self.memories, Layout(embedding.dimension if embedding else None, MEMORY_INDEXES))
        if not found:
            for collection in (self.sidecar, self.memories):
                if not (await self._is_empty(collection) or await self._written()):  # else another process was faster
                    raise _foreign(collection)
            made = Facts(SCHEMA, ranking.ANALYSIS, written(embedding))
            fields = {name: value for name, value in made._asdict().items() if value is not None}
            await self.engine.write(self.sidecar, [Insert([Point(FACTS, fields)], only_new=True)])
        return await self.facts()

    async def _check(self, collection: str) -> None:
        """Refuse a collection of another program before anything is made beside it."""
        held = await self.engine.held(collection)
        if held is not None and not (held.sparse and _are(TERMS, held.sparse) and _are(DENSE, held.dense)):
            raise _foreign(collection)

    async def _is_empty(self, collection: str) -> bool:
        return not (await self.engine.scroll(collection, None, 1, None, ()))[0]

    async def lacks(self, name: str) -> bool:
        """Tell whether a memory has no vector of a name."""
        return bool((await self.engine.scroll(self.memories, Not(Has(name)), 1, None, ()))[0])

    async def _held_to(self, embedding: EmbeddingInfo | None, facts: Facts) -> Facts:
        """Refuse another embedding for a store that has memories; an empty one takes that of one who opens it."""
        held = facts.info
        width = await self._width(facts)
        if held == embedding and embedding is not None and width not in (None, embedding.dimension):
            held = embedding.model_copy(update={"dimension": width})  # who made the store was interrupted
        if held != embedding:
            if not await self._is_empty(self.memories):
                if (now := await self.facts()) != facts:  # another one was faster
                    return await self._held_to(embedding, now)
                raise other_embedding(held, embedding)
            anew = {"embedding": written(embedding), "dense": new_name(embedding) if embedding else None}
            facts = await self.mark({**anew, "coming": None}, facts.unchanged())
            if facts.info != embedding:  # another one was faster
                raise other_embedding(facts.info, embedding)
            width = await self._width(facts)
            await self.drop_others()
        if embedding is not None and width is None:  # who marked it may not have come to making them
            await self.engine.add_vectors(self.memories, facts.name, embedding.dimension)
        return facts

    async def _width(self, facts: Facts) -> int | None:
        """Return how wide the vectors in force are; None where there are none."""
        held = await self.engine.held(self.memories)
        return held.dense.get(facts.name) if held is not None else None

    async def drop_others(self) -> None:
        """Drop dense vectors that neither are in force nor come to be.

        What is held is read first: a name that is not in the facts by then will not be in them again.
        """
        held = await self.engine.held(self.memories)
        facts = await self.facts()
        for name in held.dense if held is not None else ():
            if name not in (facts.name, facts.coming):
                await self.engine.drop_vectors(self.memories, name)

    async def indexed(self, facts: Facts) -> Facts:
        """Write the sparse vectors that are lacking: those there were are of another text analysis, and go first.

        So who is interrupted goes on where it ended, and who opens the store at the same time undoes nothing.
        """
        if facts.analysis == ranking.ANALYSIS:
            return facts
        await self.engine.add_vectors(self.memories, words_name(), None)
        held = await self.engine.held(self.memories)
        for name in held.sparse if held is not None else ():
            if name != words_name():
                await self.engine.drop_vectors(self.memories, name)
        done, lacking = 0, Not(Has(words_name()))
        async for rows in self._rows(self.memories, lacking, RECORD):
            memories, numbers = [memory_of(row.payload) for row in rows], Numbers()
            words = [{words_name(): words_of(memory.content, numbers)} for memory in memories]
            await self.tell_shared(numbers)
            given = zip(memories, words, strict=True)
            await self.give([SetVectors(point_id(memory.id), each, lacking) for memory, each in given])
            done += len(memories)
            logger.info("the words of %d memories of %s are indexed anew", done, self.memories)
        return await self.mark({"analysis": ranking.ANALYSIS}, Match("analysis", (facts.analysis,)))

    async def tell_shared(self, numbers: Numbers) -> None:
        """Note which numbers stand for several terms, before memories with these terms are stored."""
        await tell_shared(self.engine, self.memories, self.sidecar, numbers, self._numbers())

    async def any_shared(self, numbers: Sequence[int]) -> bool:
        """Tell whether one of the numbers was noted to stand for several terms."""
        if self.engine.notes is not None:
            return not self._numbers().shared.isdisjoint(numbers)
        return bool(await self.engine.retrieve(self.sidecar, list(map(shared_id, numbers)), ()))

    async def _recall_shared(self) -> None:
        """Have those who write in this process alone know what was noted before."""
        if self.engine.notes is not None:
            async for rows in self._rows(self.sidecar, Range("shared", low=0), ("shared",)):
                self._numbers().shared.update(row.payload["shared"] for row in rows)

    def knows(self, numbers: Numbers) -> bool:
        """Tell whether nothing is to be noted of numbers, without a look."""
        return self._numbers().cover(numbers)

    def _numbers(self) -> Numbers:
        notes = self.engine.notes
        return self._known if notes is None else notes.setdefault(f"numbers of {self.memories}", self._known)

    async def give(self, operations: Sequence[SetVectors]) -> None:
        """Give points vectors; those that are gone are left out, since engines refuse them."""
        for portion in portions(operations):
            there = await self.still_there(portion)
            try:
                if there:
                    await self.engine.write(self.memories, there)
            except ProviderError:
                left = await self.still_there(there)
                if len(left) == len(there):
                    raise
                await self.give(left)

    async def still_there(self, operations: Sequence[SetVectors]) -> list[SetVectors]:
        """Return the operations whose points there are."""
        rows = await self.engine.retrieve(self.memories, [each.id for each in operations], ())
        ids = {row.id for row in rows}
        return [each for each in operations if each.id in ids]

    async def _rows(self, collection: str, condition: Native, fields: tuple[str, ...]) -> AsyncIterator[list[Row]]:
        after: str | None = None
        while True:
            rows, after = await self.engine.scroll(collection, condition, BATCH, after, fields)
            if rows:
                yield rows
            if after is None:
                return


def _are(kind: str, names: Iterable[str]) -> bool:
    """Tell whether all vectors are of a kind of ours; there are two of a kind while one is made anew."""
    return all(name.partition("-")[0] == kind for name in names)


def _foreign(collection: str) -> ConfigurationError:
    return ConfigurationError(
        f"the collection {collection} was made by another program.", remedy="Name another one with collection=…."
    )
