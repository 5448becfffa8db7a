"""Dense vectors made anew under a name of their own, which one write of the facts puts in force.

In Qdrant a point that is stored anew has only the vectors it is stored with, so a content that changes loses its new
vector by itself. Where other processes write, one may have looked at the facts just before they changed and write just
after: once the former vectors are dropped nothing takes such any more, and what was written until then is looked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from openmem._generated.models import EmbeddingInfo, MemoryRecord
from openmem.errors import ProviderError

from ..kit.reembedding import Text, overtaken
from . import store as stores
from .engine import Overwrite, Row, SetVectors, portions
from .facts import Facts, is_for, new_name, written
from .filters import Has, Match, Not
from .points import PAUSE, REVISED, Writer, dense_of, memory_of, new_revision, next_revision, payload_of, point_id
from .store import QdrantStore

END = ""
"""The place after the last point."""


class QdrantReembedding:
    """A reembedding.Reembedding of a store."""

    def __init__(self, store: QdrantStore, embedding: EmbeddingInfo) -> None:
        self._store, self._embedding = store, embedding
        self._name = ""

    async def begin(self) -> None:
        """Take up the vectors that are being made of this embedding, or make room for new ones."""
        async with self._store.alone():
            facts = await self._store.indexed(await self._store.ready(self._embedding))
            if not self._taken_up(facts):
                coming = {"coming": new_name(self._embedding)}
                facts = await self._store.mark(coming, facts.unchanged())
                if not self._taken_up(facts):  # one for another embedding began at the same time
                    raise overtaken()
            await self._store.engine.add_vectors(self._store.memories, self._name, self._embedding.dimension)
            await self._store.drop_others()

    def _taken_up(self, facts: Facts) -> bool:
        """Go on with what is being made, or with what is in force and not done with."""
        if is_for(facts.coming, self._embedding):
            self._name = facts.coming or ""
        elif facts.former and is_for(facts.dense, self._embedding):
            self._name = facts.name
        return bool(self._name)

    async def lacking(self, after: str | None) -> Sequence[Text]:
        """Read memories without such a vector in the order of their points."""
        rows: list[Row] = []
        while not rows and after != END:
            await self._check()
            rows, following = await self._store.engine.scroll(
                self._store.memories, Not(Has(self._name)), stores.BATCH, after, REVISED
            )
            after = following or END
        found = [(memory_of(row.payload), row.payload["revision"]) for row in rows]
        return [Text(after, memory.id, memory.user_id, memory.content, revision) for memory, revision in found]

    async def put(self, texts: Sequence[Text], vectors: Sequence[Sequence[float]]) -> None:
        """Give memories the vectors that are still what they were read as."""
        operations = [
            SetVectors(point_id(text.id), {self._name: dense_of(vector)}, Match("revision", (text.version,)))
            for text, vector in zip(texts, vectors, strict=True)
        ]
        async with self._store.alone():
            try:
                await self._store.give(operations)
            except ProviderError:
                await self._check()
                raise

    async def swap(self) -> int | None:
        """Put the new vectors in force, and leave nothing of the former ones."""
        async with self._store.alone():
            facts = await self._check()
            if facts.name != self._name:
                if await self._store.lacks(self._name):
                    return None
                await self._store.engine.secure(self._store.memories)
                anew = {"embedding": written(self._embedding), "dense": self._name, "former": facts.name}
                facts = await self._store.mark({**anew, "coming": None}, facts.unchanged())
                if facts.name != self._name:
                    raise overtaken()
                self._store.tell(facts)
        return await finish(self._store)

    async def _check(self) -> Facts:
        """Read the facts; raises ConfigurationError where these vectors are no longer being made."""
        facts = await self._store.facts()
        if self._name not in (facts.coming, facts.name):
            raise overtaken()
        return facts


async def finish(store: QdrantStore) -> int | None:
    """Leave nothing of former vectors and count the memories; None where some of them lack one of the present ones.

    Who is interrupted leaves it to who opens the store next; done twice it is done once.
    """
    await store.drop_others()
    facts = await store.facts()
    if await store.lacks(facts.name):
        return None
    count = await _named_anew(store, facts)
    await store.mark({"former": None}, facts.unchanged())
    return count


async def _named_anew(store: QdrantStore, facts: Facts) -> int | None:
    """Have every record say by which model its vector is made, whoever writes meanwhile, and count them.

    None where the vectors were replaced meanwhile. That is looked for after each read: so no record that a later model
    made is renamed after a former one.
    """
    patience, model = Writer(), facts.info.model if facts.info else None
    while True:
        count, changed, after = 0, False, None
        while after != END:
            async with store.alone():
                rows, following = await store.engine.scroll(store.memories, None, stores.BATCH, after, REVISED)
                memories = [memory_of(row.payload) for row in rows]
                stale = [(row, m) for row, m in zip(rows, memories, strict=True) if m.embedding_model != model]
                free = [(row, m) for row, m in stale if not patience.waits_for(row.payload["revision"])]
                if (await store.facts()).name != facts.name:
                    return None
                for portion in portions(_renamed(row, memory, model) for row, memory in free):
                    await store.engine.write(store.memories, portion)
            after = following or END
            count, changed = count + len(rows), changed or bool(stale)
            if len(free) < len(stale):
                await asyncio.sleep(PAUSE)
        if not changed:
            return count


def _renamed(row: Row, memory: MemoryRecord, model: str | None) -> Overwrite:
    renamed = memory.model_copy(update={"embedding_model": model})
    payload = payload_of(renamed, next_revision(row.payload, new_revision()))
    return Overwrite(row.id, payload, Match("revision", (row.payload["revision"],)))
