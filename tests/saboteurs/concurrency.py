"""Saboteurs under concurrency: stores that forget, and stores that look first and act later."""

from __future__ import annotations

import asyncio
import unicodedata
from typing import Any

from openmem import ConfigurationError, NotFoundError
from openmem._generated import models
from openmem.adapters.kit.base import other_embedding
from openmem.adapters.kit.changes import owned
from openmem.protocol import records

from .base import MemoryAdapter, but, plant


class Durable(MemoryAdapter):
    """memory:// whose store is that of all adapters of the class."""

    durable = True
    shared: Any = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if type(self).shared is None:
            type(self).shared = self.store, self.lock
        self.store, self.lock = type(self).shared

    async def open(self):
        held = getattr(self.store, "embedding", self.embedding)
        if held != self.embedding and self.store.memories:
            raise other_embedding(held, self.embedding)
        self.store.embedding = self.embedding


@plant("DUR-1")
class TheLastIsNotWritten(Durable):  # a buffer that close forgets
    async def close(self):
        for memory in list(self.store.memories.values())[-1:]:
            self.store.do(lambda store, memory=memory: store.remove(memory))


class _BendsWhatItKeeps(Durable):
    """Writes something else to its disk than it answers until it is closed; None: nothing at all."""

    def kept(self, memory):
        raise NotImplementedError

    async def close(self):
        for memory in list(self.store.memories.values()):
            bent = self.kept(memory)
            self.store.do(lambda store, memory=memory, bent=bent: self._keep(store, memory, bent))

    def _keep(self, store, memory, bent):
        if bent is None:
            store.remove(memory)
        elif bent is not memory:
            store.replace(memory, bent, None)


@plant("DUR-1")
class BatchesAreNotWritten(_BendsWhatItKeeps):
    batched: set[str] = set()  # noqa: RUF012

    def apply_add_item(self, item, store):
        answer = super().apply_add_item(item, store)
        self.batched.add(answer.id)
        return answer

    def kept(self, memory):
        return None if memory.id in self.batched else memory


@plant("DUR-1")
class ContentComposedOnDisk(_BendsWhatItKeeps):
    def kept(self, memory):
        return but(memory, content=unicodedata.normalize("NFC", memory.content))


@plant("DUR-1")
class FloatsWholeOnDisk(_BendsWhatItKeeps):
    def kept(self, memory):
        def bent(value):
            return int(value) if isinstance(value, float) and value.is_integer() else value

        return but(memory, metadata={key: bent(value) for key, value in (memory.metadata or {}).items()} or None)


@plant("DUR-1")
class ArchivedForgottenOnDisk(_BendsWhatItKeeps):
    def kept(self, memory):
        return but(memory, archived=None) if memory.archived else memory


@plant("DUR-1")
class VectorsAreNotWritten(Durable):
    closed: set[str] = set()  # noqa: RUF012

    async def close(self):
        self.closed.update(self.store.memories)

    async def search(self, request):
        found = await super().search(request)
        if request.mode == "vector":
            found.results = [each for each in found.results if each.memory.id not in self.closed]
        return found


@plant("DUR-2")
class DeletionsComeBack(Durable):  # tombstones in memory only
    dead: list[models.MemoryRecord] = []  # noqa: RUF012

    def apply_delete(self, request, store):
        self.dead.append(store.get(request.id))
        return super().apply_delete(request, store)

    async def open(self):
        await super().open()
        while self.dead:
            memory = self.dead.pop()
            if memory is not None and self.store.get(memory.id) is None:
                self.store.do(lambda store, memory=memory: store.insert(memory, None))


@plant("DUR-3")
class SeesWhatWasThereWhenItOpened(Durable):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.known = set(self.store.memories)

    def apply_add(self, request, store):
        memory = super().apply_add(request, store)
        self.known.add(memory.id)
        return memory

    async def get(self, request):
        if request.id not in self.known:
            raise NotFoundError(f"there is no memory {request.id}.")
        return await super().get(request)


@plant("DUR-4")
class OpensWithAnyEmbedder(Durable):
    async def open(self):
        pass


@plant("DUR-4")
class NamesNoEmbedder(Durable):
    async def open(self):
        try:
            await super().open()
        except ConfigurationError as error:
            raise ConfigurationError("the configuration has changed.") from error


class Slow(Durable):
    """A store as if behind a wire: between looking and acting, others are let in."""

    inline = False
    met: dict[Any, asyncio.Event] = {}  # noqa: RUF012

    async def others(self) -> None:
        """Let others in for as long as a request takes."""
        await asyncio.sleep(0.02)

    async def meet(self, place: Any) -> None:
        """Wait for a second call at a place, however late it comes; all later ones go on."""
        here = asyncio.get_running_loop(), place
        if here in self.met:
            self.met[here].set()
        await self.met.setdefault(here, asyncio.Event()).wait()

    def put(self, memory: models.MemoryRecord) -> None:
        """Store a record as it is."""
        known = self.store.get(memory.id)
        if known is not None:
            self.store.do(lambda store: store.replace(known, memory, None))


@plant("CONC-1")
class UserInAGlobal(Slow):
    async def list(self, request):
        if request.limit != models.ListRequest.model_fields["limit"].default:  # none of those at once
            return await super().list(request)
        self.user = request.user_id
        await self.meet("list")
        return await super().list(but(request, user_id=self.user))


@plant("CONC-2")
class UpdatesAreLost(Slow):  # read, change, write
    async def update(self, request):
        before = self.store.get(request.id)
        await self.meet(request.id)
        if before is not None and request.user_id == before.user_id:
            self.put(before)
        return await super().update(request)


@plant("CONC-3")
class KeysAreLookedUpFirst(Slow):
    async def add(self, request):
        if not request.external_id:
            return await super().add(request)
        known = self.store.by_external_id(request.user_id, request.external_id)
        await self.meet((request.user_id, request.external_id))
        if not known:
            self.store.index_of(request.user_id).external.pop(request.external_id, None)
        return await super().add(request)


@plant("CONC-4")
class VersionsAreLookedUpFirst(Slow):
    async def update(self, request):
        records.check_version(owned(self.store.get(request.id), request.id, request.user_id), request.if_version)
        await self.meet(request.id)
        return await super().update(but(request, if_version=None))


@plant("CONC-5")
class SuccessorsAreLookedUpFirst(Slow):
    async def add(self, request):
        if not request.supersedes:
            return await super().add(request)
        former = [self.store.get(each) for each in request.supersedes]
        await self.meet(tuple(request.supersedes))
        for memory in filter(None, former):
            self.put(memory)
        return await super().add(request)


@plant("CONC-6")
class ReadsByKeysUsedAgain(Slow):  # SQLite's rowid: by the time it is loaded, it is another's
    async def search(self, request):
        found = (await super().search(request)).results
        await self.others()
        newest = max(self.store.memories.values(), key=lambda each: each.created_at)
        return models.SearchResponse(
            results=[but(each, memory=self.store.get(each.memory.id) or newest) for each in found]
        )


@plant("CONC-6")
class FailsOnWhatIsGone(Slow):
    async def search(self, request):
        found = await super().search(request)
        await self.others()
        for each in found.results:
            owned(self.store.get(each.memory.id), each.memory.id, request.user_id)
        return found


@plant("CONC-7")
class DeletesWhatIsDeleted(Slow):
    async def delete(self, request):
        owned(self.store.get(request.id), request.id, request.user_id)
        await self.meet(request.id)
        try:
            return await super().delete(request)
        except NotFoundError:
            return None


@plant("SEA-13")
class ClampedBeforeRanking(MemoryAdapter):
    async def search(self, request):
        found = (await super().search(but(request, limit=100))).results
        found.sort(key=lambda each: (-each.score, -each.memory.created_at.timestamp()))
        return models.SearchResponse(results=found[: request.limit])
