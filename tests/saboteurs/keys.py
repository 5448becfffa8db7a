"""Saboteurs of keys, of batches of reads and updates, and of where a record came from."""

from __future__ import annotations

from openmem._generated import models

from .base import MemoryAdapter, asking, but, plant
from .changes import BendsChange


@plant("IDN-8")
class KeysOfAnybody(MemoryAdapter):  # an index of keys alone
    async def get(self, request):
        for user_id in list(self.store.users) if request.external_id is not None else ():
            memory = self.store.by_external_id(user_id, request.external_id)
            if memory is not None:
                return await super().get(models.GetRequest(id=memory.id))
        return await super().get(request)


@plant("IDN-8")
class ArchivedKeysAreUnknown(MemoryAdapter):  # a look-up by a list that reads only what is current
    async def get(self, request):
        if request.external_id is None:
            return await super().get(request)
        pinned = {"external_id": request.external_id}
        found = await self.list(models.ListRequest(user_id=request.user_id, filter=pinned))
        return await super().get(models.GetRequest(id=found.items[0].id if found.items else "none"))


@plant("IDN-9")
def the_id_is_taken_of_both():
    def one(verb, fields):
        return {**fields, "external_id": None} if fields.get("id") and verb != "add" else fields

    return asking(one)


@plant("BAT-5")
class ManyAreReadAsStored(MemoryAdapter):  # the rows of one statement, without the names that found nothing
    async def get_many(self, request):
        results = (await super().get_many(request)).results
        found = {each.id: each for each in results if each.memory is not None}
        missing = [each for each in results if each.memory is None]
        again = len(results) - len(missing) - len(found)
        return models.BatchResponse(results=[*found.values(), *missing, *missing[:1] * again])


@plant("BAT-5")
class ManyKeysOfAnybody(MemoryAdapter):
    async def get_many(self, request):
        if request.external_ids is None:
            return await super().get_many(request)
        results = []
        for key in request.external_ids:
            found = [self.store.by_external_id(user_id, key) for user_id in self.store.users]
            memory = next((each for each in found if each is not None), None)
            ids = models.GetManyRequest(ids=[memory.id if memory is not None else "none"])
            results += (await super().get_many(ids)).results
        return models.BatchResponse(results=results)


@plant("BAT-6")
class ManyAreChangedWhateverTheirVersion(MemoryAdapter):
    async def update_many(self, request):
        items = [but(item, if_version=None) for item in request.items]
        return await super().update_many(models.UpdateManyRequest(items=items))


@plant("BAT-6")
class ManyAreChangedOnceEach(MemoryAdapter):  # patches by id, of which the last counts
    async def update_many(self, request):
        last = {(item.id, item.external_id): item for item in request.items}
        items = models.UpdateManyRequest.model_construct(items=list(last.values()))
        answers = dict(zip(last, (await super().update_many(items)).results, strict=True))
        return models.BatchResponse(results=[answers[item.id, item.external_id] for item in request.items])


@plant("UPD-8")
class SourceReplaced(BendsChange):
    def changed(self, old, new, request):
        return but(new, source=request.source) if "source" in request.model_fields_set else None


@plant("UPD-9")
class OldSourceOfNewContent(BendsChange):
    def changed(self, old, new, request):
        return but(new, source=new.source or old.source) if "source" not in request.model_fields_set else None


@plant("UPD-9")
class OldSourceAddedAgain(MemoryAdapter):
    def apply_add(self, request, store):
        known = store.by_external_id(request.user_id, request.external_id) if request.external_id else None
        source = request.source or (known.source if known is not None else None)
        return super().apply_add(but(request, source=source), store)


@plant("UPD-10")
class BeginStays(BendsChange):
    def changed(self, old, new, request):
        return but(new, valid_from=old.valid_from)


@plant("UPD-10")
class SupersededFromTheFirstBegin(BendsChange):
    def changed(self, old, new, request):
        return None

    def apply_update(self, request, store):
        moments = {each: store.get(each).superseded_at for each in (store.get(request.id).supersedes or ())}
        answer = super().apply_update(request, store)
        for each, moment in moments.items():
            memory = store.get(each)
            store.replace(memory, but(memory, superseded_at=moment), None)
        return answer
