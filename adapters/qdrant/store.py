"""A store in Qdrant as a whole: made, held to its embedding, indexed and embedded anew."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Sequence

from openmem import ranking
from openmem._generated.models import EmbeddingInfo, Memory
from openmem.adapter import Embed as Embedding
from openmem.errors import ConfigurationError

from ..native import UNFINISHED, newer_schema, other_embedding
from .engine import DENSE, TERMS, Embed, Engine, Insert, Layout, Mark, Payload, Point, Row, words_name
from .filters import Has, Match, Native, Not
from .records import (
    FACTS,
    MEMORY_INDEXES,
    RECORD,
    REVISED,
    SCHEMA,
    SIDECAR_INDEXES,
    claim_id,
    memory_of,
    point_id,
    point_of,
    words_of,
)

BATCH = 500
"""Memories read, indexed or embedded anew at a time."""
logger = logging.getLogger("openmem")

_FIELDS = ("schema", "analysis", "embedding")


class QdrantStore:
    """The two collections of a store: the memories, and the sidecar with what is kept beside them."""

    def __init__(self, engine: Engine, collection: str) -> None:
        self.engine = engine
        self.memories, self.sidecar = collection, f"{collection}_sidecar"
        self._embedding: EmbeddingInfo | None = None
        self._looked = 0.0

    async def open(self, embedding: EmbeddingInfo | None) -> None:
        """Make the collections or check them; several processes may be at it at once."""
        facts = await self._facts(embedding)
        await self._hold_to(facts, embedding)
        if facts["analysis"] != ranking.ANALYSIS:
            await self._reindex(facts)
        self._embedding, self._looked = embedding, time.monotonic()
        self._tell(embedding)

    async def check(self, lately: float = 0.0) -> None:
        """Refuse to go on where the store was embedded anew since it was opened; lately: seconds that a look holds."""
        notes, now = self.engine.notes, time.monotonic()
        if notes is not None:
            text = notes[self.memories]
        elif now - self._looked < lately:
            return
        else:
            text = (await self.engine.retrieve(self.sidecar, [FACTS], _FIELDS))[0].payload["embedding"]
        held = _read({"embedding": text})
        if held != self._embedding:
            raise ConfigurationError(
                f"the vectors of {self.memories} are by now of {held.model if held else 'no embedder'}.",
                remedy="Open a new client with that embedder.",
            )
        self._looked = now

    def _tell(self, embedding: EmbeddingInfo | None) -> None:
        """Have the other clients of this process know of a new embedding."""
        if self.engine.notes is not None:
            self.engine.notes[self.memories] = _written(embedding)

    async def reembed(self, embed: Embedding, embedding: EmbeddingInfo) -> int:
        """Make every vector anew; return how many memories there are."""
        facts = await self._facts(embedding)
        if facts["analysis"] != ranking.ANALYSIS:
            await self._reindex(facts)
        await self._set(facts, UNFINISHED)
        await self.engine.set_dense(self.memories, embedding.dimension)
        done = 0
        async for batch in self._batches():
            vectors = await embed([memory.content for memory, _ in batch])
            points = [
                point_of(memory.model_copy(update={"embedding_model": embedding.model}), vector, {"revision": revision})
                for (memory, revision), vector in zip(batch, vectors, strict=True)
            ]
            await self.engine.write(self.memories, [Insert(points)])
            done += len(batch)
            logger.info("%d memories of %s are embedded anew", done, self.memories)
        await self._set(facts, embedding)
        return done

    async def pages(self, condition: Native) -> AsyncIterator[list[Memory]]:
        """Read memories in no order."""
        async for rows in self._rows(condition, RECORD):
            yield [memory_of(row.payload) for row in rows]

    async def claimed(self, user_id: str, external_id: str) -> list[Memory]:
        """Read the memory that has an external_id, if there is one."""
        claims = await self.engine.retrieve(self.sidecar, [claim_id(user_id, external_id)], ("memory",))
        points = [point_id(claim.payload["memory"]) for claim in claims]
        rows = await self.engine.retrieve(self.memories, points, RECORD) if points else []
        found = [memory_of(row.payload) for row in rows]
        return [each for each in found if (each.user_id, each.external_id) == (user_id, external_id)]

    async def _facts(self, embedding: EmbeddingInfo | None) -> Payload:
        """Read how the store was made, and make it where it was not, or not to the end."""
        await self._check(self.memories)
        await self._check(self.sidecar)
        await self.engine.create(self.sidecar, Layout(None, SIDECAR_INDEXES))
        rows = await self.engine.retrieve(self.sidecar, [FACTS], _FIELDS)
        if rows and rows[0].payload["schema"] > SCHEMA:
            raise newer_schema(f"the collection {self.memories}", rows[0].payload["schema"], SCHEMA)
        await self.engine.create(self.memories, Layout(embedding.dimension if embedding else None, MEMORY_INDEXES))
        if not rows:
            for collection in (self.sidecar, self.memories):
                if not await self._is_empty(collection):
                    rows = await self.engine.retrieve(self.sidecar, [FACTS], _FIELDS)  # another process was faster
                    if not rows:
                        raise _foreign(collection)
            facts = {"schema": SCHEMA, "analysis": ranking.ANALYSIS, "embedding": _written(embedding)}
            await self.engine.write(self.sidecar, [Insert([Point(FACTS, facts)], only_new=True)])
            rows = await self.engine.retrieve(self.sidecar, [FACTS], _FIELDS)
        return rows[0].payload

    async def _check(self, collection: str) -> None:
        """Refuse a collection of another program before anything is made beside it."""
        held = await self.engine.held(collection)
        if held is not None and (held.dense.keys() - {DENSE} or not _are_words(held.sparse)):
            raise _foreign(collection)

    async def _is_empty(self, collection: str) -> bool:
        return not (await self.engine.scroll(collection, None, 1, None, ()))[0]

    async def _hold_to(self, facts: Payload, embedding: EmbeddingInfo | None) -> None:
        """Refuse another embedding for a store that has memories; an empty one takes that of one who opens it."""
        held = _read(facts)
        if held != embedding:
            if held == UNFINISHED or not await self._is_empty(self.memories):
                raise other_embedding(held, embedding)
            await self._set(facts, embedding)
            held = _read((await self.engine.retrieve(self.sidecar, [FACTS], _FIELDS))[0].payload)
            if held != embedding:  # another one was faster
                raise other_embedding(held, embedding)
        if embedding is not None:
            await self._hold_to_width(embedding)

    async def _hold_to_width(self, embedding: EmbeddingInfo) -> None:
        """See to it that the vectors are as wide as the store says, which who took it over may not have come to."""
        held = await self.engine.held(self.memories)
        width = held.dense.get(DENSE) if held is not None else None
        if width != embedding.dimension:
            if not await self._is_empty(self.memories):
                raise other_embedding(embedding.model_copy(update={"dimension": width}) if width else None, embedding)
            await self.engine.set_dense(self.memories, embedding.dimension)

    async def _set(self, facts: Payload, embedding: EmbeddingInfo | None) -> None:
        """Write down the embedding, unless another process has meanwhile."""
        unchanged = Match("embedding", (facts["embedding"],))
        facts["embedding"] = _written(embedding)
        await self.engine.write(self.sidecar, [Mark(FACTS, {"embedding": facts["embedding"]}, unchanged)])
        self._tell(embedding)

    async def _reindex(self, facts: Payload) -> None:
        """Write the sparse vectors that are lacking: those there were are of another text analysis, and go first.

        So who is interrupted goes on where it ended, and who opens the store at the same time undoes nothing.
        """
        await self.engine.take_words(self.memories)
        done = 0
        async for rows in self._rows(Not(Has(words_name())), RECORD):
            memories = [memory_of(row.payload) for row in rows]
            operations = [Embed(point_id(memory.id), words_of(memory.content)) for memory in memories]
            await self.engine.write(self.memories, operations)
            done += len(memories)
            logger.info("the words of %d memories of %s are indexed anew", done, self.memories)
        same = Match("embedding", (facts["embedding"],))
        await self.engine.write(self.sidecar, [Mark(FACTS, {"analysis": ranking.ANALYSIS}, same)])

    async def _batches(self) -> AsyncIterator[list[tuple[Memory, str]]]:
        async for rows in self._rows(None, REVISED):
            yield [(memory_of(row.payload), row.payload["revision"]) for row in rows]

    async def _rows(self, condition: Native | None, fields: tuple[str, ...]) -> AsyncIterator[list[Row]]:
        after: str | None = None
        while True:
            rows, after = await self.engine.scroll(self.memories, condition, BATCH, after, fields)
            if rows:
                yield rows
            if after is None:
                return


def _are_words(names: Sequence[str]) -> bool:
    """Tell whether the sparse vectors are those of ours, by whatever analysis; of two while it changes."""
    return bool(names) and all(name.partition("-")[0] == TERMS for name in names)


def _written(embedding: EmbeddingInfo | None) -> str:
    return embedding.model_dump_json() if embedding is not None else ""


def _read(facts: Payload) -> EmbeddingInfo | None:
    text = facts["embedding"]
    return EmbeddingInfo.model_validate_json(text) if text else None


def _foreign(collection: str) -> ConfigurationError:
    return ConfigurationError(
        f"the collection {collection} was made by another program.", remedy="Name another one with collection=…."
    )
