"""Saboteurs of update and deletion."""

from __future__ import annotations

from unittest import mock

from openmem import ConflictError, NotFoundError
from openmem._generated import models
from openmem.adapters.kit import base
from openmem.adapters.memory import records as reference
from openmem.protocol import records

from .base import KeepsTheDead, MemoryAdapter, but, plant


class BendsChange(MemoryAdapter):
    def changed(self, old, new, request):
        raise NotImplementedError

    def apply_update(self, request, store):
        old = store.get(request.id)
        answer = super().apply_update(request, store)
        new = store.get(request.id)
        bent = self.changed(old, new, request)
        if bent is not None:
            store.replace(new, bent, None)
            return store.hand_out(bent)
        return answer


@plant("UPD-5")
class UpdatedAtFrozen(BendsChange):  # survived LangGraph's own tests
    def changed(self, old, new, request):
        return but(new, updated_at=old.updated_at)


@plant("UPD-5")
class VersionFrozen(BendsChange):
    def changed(self, old, new, request):
        return but(new, version=old.version)


@plant("UPD-1")
class AbsentFieldsCleared(BendsChange):
    def changed(self, old, new, request):
        absent = {"tags", "kind", "importance", "confidence"} - request.model_fields_set
        return but(new, **dict.fromkeys(absent))


@plant("UPD-1")
class NullIsIgnored(BendsChange):
    def changed(self, old, new, request):
        nulls = [name for name in ("tags", "kind", "importance") if name in request.model_fields_set]
        return but(new, **{name: getattr(old, name) for name in nulls if getattr(request, name) is None})


@plant("UPD-2")
class MetadataReplaced(BendsChange):
    def changed(self, old, new, request):
        return but(new, metadata=request.metadata) if request.metadata is not None else None


@plant("UPD-2")
class MetadataMergedAtTheTopOnly(BendsChange):
    def changed(self, old, new, request):
        if request.metadata is None:
            return None
        merged = {**(old.metadata or {}), **request.metadata}
        return but(new, metadata={key: value for key, value in merged.items() if value is not None})


@plant("UPD-3")
class SupersedesReplaced(BendsChange):
    def changed(self, old, new, request):
        return but(new, supersedes=request.supersedes) if request.supersedes else None


@plant("UPD-6", "DEL-4")
def if_version_ignored():
    return mock.patch.object(records, "check_version", lambda memory, if_version: None)


@plant("UPD-6")
class ChangesBeforeItChecks(MemoryAdapter):
    def apply_update(self, request, store):
        super().apply_update(but(request, if_version=None), store)
        return super().apply_update(request, store)


@plant("UPD-4")
def the_index_is_stale():
    return mock.patch.object(reference.Records, "replace", lambda self, old, new, vector: self._keep(new))


def _keep(self, memory):
    self.memories[memory.id] = memory


reference.Records._keep = _keep


@plant("UPD-7")
class UpdateInserts(MemoryAdapter):
    async def update(self, request):
        try:
            return await super().update(request)
        except NotFoundError:
            return await super().add(
                models.AddRequest(content=request.content or "new", user_id=request.user_id or "u")
            )


@plant("DEL-1")
class GhostInSearch(KeepsTheDead):  # kernel-memory #933, ruflo #2815, agentmemory #632
    async def search(self, request):
        found = await super().search(request)
        words = set((request.query or "").split())
        ghosts = [m for m in self.dead.values() if m.user_id == request.user_id and words & set(m.content.split())]
        found.results += [models.SearchResult(memory=memory, score=0.0) for memory in ghosts]
        return found


@plant("DEL-1")
class GhostInGet(KeepsTheDead):
    async def get(self, request):
        try:
            return await super().get(request)
        except NotFoundError:
            if request.id in self.dead:
                return self.dead[request.id]
            raise


@plant("DEL-1")
class GhostInList(KeepsTheDead):
    async def list(self, request):
        page = await super().list(request)
        page.items += [memory for memory in self.dead.values() if memory.user_id == request.user_id]
        return page


@plant("DEL-1")
class DeleteLies(MemoryAdapter):
    async def delete(self, request):
        await super().get(models.GetRequest(id=request.id, user_id=request.user_id))


@plant("DEL-1")
class DeletesByArchiving(MemoryAdapter):
    async def delete(self, request):
        memory = await super().get(request)
        self.store.do(lambda store: store.replace(memory, but(memory, archived=True), None))

    async def get(self, request):
        memory = await super().get(request)
        if memory.archived:
            raise NotFoundError(f"there is no memory {request.id}.")
        return memory


@plant("DEL-1")
class FindsByOldWordsAfterDelete(KeepsTheDead):  # the index row of a former version is left
    def apply_update(self, request, store):
        former = store.get(request.id)
        answer = super().apply_update(request, store)
        self.dead[f"former {request.id}"] = former
        return answer

    async def search(self, request):
        found = await super().search(request)
        words = set((request.query or "").split())
        former = [memory for key, memory in self.dead.items() if key.startswith("former") and len(words) > 1]
        left = [memory for memory in former if memory is not None and words <= set(memory.content.split())]
        found.results += [models.SearchResult(memory=memory, score=0.1) for memory in left]
        return found


@plant("DEL-2", "ERR-3")
class DeleteOfNothingSucceeds(MemoryAdapter):
    async def delete(self, request):
        try:
            await super().delete(request)
        except NotFoundError:
            return


@plant("DEL-3")
class TheDeadReturn(KeepsTheDead):
    def apply_add(self, request, store):
        for memory in self.dead.values():
            if (memory.user_id, memory.content) == (request.user_id, request.content):
                with mock.patch.object(base, "new_memory_id", lambda: memory.id):  # noqa: B023
                    return super().apply_add(request, store)
        return super().apply_add(request, store)


@plant("DEL-3")
class DeletesByContent(MemoryAdapter):
    def apply_delete(self, request, store):
        memory = store.get(request.id)
        deleted = super().apply_delete(request, store)
        word = memory.content.split()[0]
        for other in [m for m in self.store.memories.values() if m.user_id == memory.user_id]:
            if other.content.split()[0] == word and memory.content.endswith("0"):
                store.remove(other)
        return deleted


@plant("UPD-1")
class UpdateSortsTags(BendsChange):
    def changed(self, old, new, request):
        return but(new, tags=sorted(request.tags)) if request.tags else None


@plant("UPD-6", "DEL-4")
class VersionsNeedTheUser(MemoryAdapter):
    """Looks at if_version only where the owner is named too."""

    def apply_update(self, request, store):
        return super().apply_update(request if request.user_id else but(request, if_version=None), store)

    def apply_delete(self, request, store):
        return super().apply_delete(request if request.user_id else but(request, if_version=None), store)


@plant("SUP-3")
class BatchDeleteFreesNothing(MemoryAdapter):
    def apply_delete_item(self, request, store):
        held = [memory for memory in self.store.memories.values() if memory.superseded_by == request.id]
        answer = super().apply_delete_item(request, store)
        for memory in held:
            freed = store.get(memory.id)
            if freed is not None:
                store.replace(freed, memory, None)
        return answer


@plant("ERR-4")
class ConflictsWroteInPart(MemoryAdapter):
    async def handle(self, request):
        try:
            return await super().handle(request)
        except ConflictError as error:
            raise ConflictError(error.message, written="part") from error
