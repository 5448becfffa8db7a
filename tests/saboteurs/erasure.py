"""Saboteurs of erasure, and of the deletion of chains."""

from __future__ import annotations

from unittest import mock

from openmem import NotFoundError
from openmem._generated import models
from openmem.adapters.kit.changes import Rules
from openmem.protocol import selection

from .base import MemoryAdapter, asking, but, plant


@plant("ERA-1")
def only_what_is_current_is_erased():  # delete_all over what list answers
    right = selection.in_every_state
    return mock.patch.object(
        selection, "in_every_state", lambda request, limit=500: but(right(request, limit), include=None)
    )


@plant("ERA-1")
class ErasesByTagAlone(MemoryAdapter):
    async def erase(self, request):
        if request.tag is not None:
            request = but(request, scope=None, since=None, until=None, filter=None)
        return await super().erase(request)


@plant("ERA-1")
class LinksToTheErased(MemoryAdapter):
    async def erase(self, request):
        with mock.patch.object(self.rules, "delete", self.remove):
            return await super().erase(request)

    def remove(self, request, store):
        memory = store.get(request.id)
        store.remove(memory)
        store.log(memory.user_id, self.rules.entry("erase", memory))


@plant("ERA-1")
class LeavesWhatItFreed(MemoryAdapter):
    def selected(self, memory):
        return True

    async def erase(self, request):
        if not request.dry_run:
            self.selected = selection.predicate(selection.in_every_state(request), self.clock())
        try:
            return await super().erase(request)
        finally:
            self.__dict__.pop("selected", None)

    def apply_delete(self, request, store):
        memory = store.get(request.id)
        if memory is not None and not self.selected(memory):
            return request.id
        return super().apply_delete(request, store)


@plant("ERA-2")
def nothing_named_is_everything():
    def guessed(verb, fields):
        if verb == "erase" and not any(fields.get(name) for name in ("scope", "tag", "filter", "since", "until")):
            fields |= {"all": True, "filter": None}
        return fields

    return asking(guessed)


@plant("ERA-3")
class ErasesAtOnce(MemoryAdapter):
    async def erase(self, request):
        answer = await super().erase(but(request, dry_run=False))
        return but(answer, dry_run=request.dry_run)


@plant("ERA-3")
class CountsAPageOfTheErased(MemoryAdapter):
    async def erase(self, request):
        if not request.dry_run:
            return await super().erase(request)
        page = await self.list(models.ListRequest(user_id=request.user_id, tag=request.tag))
        return models.EraseResponse(count=len(page.items), dry_run=True, unreached=["nothing"])


@plant("ERA-4")
class ErasesWithoutALog(MemoryAdapter):
    def log_entry(self, user_id, entry):
        if entry.action != "erase":
            super().log_entry(user_id, entry)


@plant("ERA-4")
class KeepsTheLogOfTheErased(MemoryAdapter):
    async def erase(self, request):
        return await super().erase(but(request, audit=False))


@plant("ERA-5")
class ErasesOneBatch(MemoryAdapter):
    async def erase(self, request):
        if request.dry_run:
            return await super().erase(request)
        listed = await self.list(selection.in_every_state(request, 100))
        for memory in listed.items:
            await self.delete(models.DeleteRequest(id=memory.id))
        return models.EraseResponse(count=len(listed.items), dry_run=False, unreached=["nothing"])


@plant("ERA-5")
class ReachesEverything(MemoryAdapter):
    async def erase(self, request):
        return but(await super().erase(request), unreached=[])


@plant("DEL-5")
class DeletesTheRecordAlone(MemoryAdapter):
    def apply_delete(self, request, store):
        return Rules.delete(self.rules, but(request, chain=False), store)


@plant("DEL-5")
class DeletesWhatIsOlder(MemoryAdapter):
    def apply_delete(self, request, store):
        memory = store.get(request.id)
        if not request.chain or memory is None or request.user_id not in (None, memory.user_id):
            return super().apply_delete(request, store)
        older = list(memory.supersedes or ())
        answer = super().apply_delete(but(request, chain=False), store)
        for each in older:
            try:
                self.apply_delete(but(request, id=each, if_version=None), store)
            except NotFoundError:
                continue
        return answer
