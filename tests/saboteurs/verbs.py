"""Saboteurs of context, batches, related, stats, audit, capabilities and errors."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any
from unittest import mock

from openmem import InvalidRequestError, NotFoundError
from openmem._generated import models
from openmem.client import bound, core
from openmem.protocol import context

from .base import MemoryAdapter, asking, but, plant


class _WritesContext(MemoryAdapter):
    def features(self):
        return but(super().features(), token_counter=context.TOKEN_COUNTER)

    async def found(self, request: Any) -> list[Any]:
        fields = request.model_dump(exclude={"token_budget"}, exclude_unset=True)
        fields.setdefault("mode", "keyword")
        return (await self.search(models.SearchRequest(**{**fields, "mode": "keyword"}, limit=100))).results


@plant("CTX-1")
class BudgetExceeded(_WritesContext):
    async def context(self, request):
        return context.assemble(await self.found(request), 10**6)


@plant("CTX-1")
class BudgetMiscounted(_WritesContext):
    async def context(self, request):
        block = context.assemble(await self.found(request), 10**6)
        return but(block, token_count=min(block.token_count, request.token_budget))


@plant("CTX-2")
class LinesWithoutCitation(_WritesContext):
    async def context(self, request):
        block = context.assemble(await self.found(request), request.token_budget)
        return but(block, text=re.sub(r" \[mem_\w+\]", "", block.text))


@plant("CTX-2")
class CitationsOutOfOrder(_WritesContext):
    async def context(self, request):
        block = context.assemble(await self.found(request), request.token_budget)
        return but(block, citations=block.citations[::-1])


@plant("CTX-3")
class ApologisesInsteadOfNothing(_WritesContext):
    async def context(self, request):
        block = context.assemble(await self.found(request), request.token_budget)
        return block if block.citations else but(block, text="No memories.", token_count=3)


@plant("CTX-4")
class ContextOfEveryScope(_WritesContext):
    async def context(self, request):
        found = await self.found(but(request, scope=None, tag=None))
        return context.assemble(found, request.token_budget)


@plant("BAT-2")
class BatchAbortsOnOneBadItem(MemoryAdapter):
    def apply_add_item(self, item, store):
        memory = self.apply_add(item, store)
        return models.BatchResult(id=memory.id, memory=memory)


@plant("BAT-1")
class BatchAnswersOutOfOrder(MemoryAdapter):
    async def add_many(self, request):
        response = await super().add_many(request)
        return models.BatchResponse(results=sorted(response.results, key=lambda result: result.id or "", reverse=True))


@plant("BAT-4")
def batches_for_anyone():
    def own_users(verb, fields):
        if verb == "add_many":
            named = [item for item in fields["items"] if isinstance(item, dict)]
            if len(named) == len(fields["items"]):
                given = fields.get("user_id")
                return {"items": [{"user_id": given, **item} for item in named], "user_id": None}
        return fields

    return asking(own_users)


@plant("BAT-3")
class BatchForgetsMetadata(MemoryAdapter):
    def apply_add_item(self, item, store):
        return super().apply_add_item(but(item, metadata=None), store)


@plant("BAT-3")
class BatchIsNotEmbedded(MemoryAdapter):
    def apply_add_item(self, item, store):
        return super().apply_add_item(but(item, vector=None), store)


@plant("BAT-1")
class DeletesAnswerForTheDoneOnly(MemoryAdapter):
    async def delete_many(self, request):
        response = await super().delete_many(request)
        return models.BatchResponse(results=[each for each in response.results if each.error is None][::-1])


@plant("REL-1")
class RelatedToItself(MemoryAdapter):
    async def related(self, request):
        memory = await self.get(models.GetRequest(id=request.id, user_id=request.user_id))
        search = models.SearchRequest(query=memory.content, user_id=memory.user_id, mode="keyword", limit=request.limit)
        return await self.search(search)


@plant("STA-1")
class CountsAPage(MemoryAdapter):
    async def stats(self, request):
        page = await self.list(models.ListRequest(user_id=request.user_id, limit=50))
        return models.Stats(user_id=request.user_id, total=len(page.items), current=len(page.items))


@plant("AUD-1")
class AuditEmpty(MemoryAdapter):
    async def audit(self, request):
        return models.AuditResponse(entries=[])


@plant("AUD-1")
class AuditOldestFirst(MemoryAdapter):
    async def audit(self, request):
        return models.AuditResponse(entries=(await super().audit(request)).entries[::-1])


@plant("AUD-1")
class UpdatesOfNothingAreNotLogged(MemoryAdapter):
    def log_entry(self, user_id, entry):
        if not (entry.action == "update" and self.nothing):
            super().log_entry(user_id, entry)

    nothing = False

    def apply_update(self, request, store):
        self.nothing = request.model_fields_set <= {"id", "external_id", "user_id", "if_version"}
        return super().apply_update(request, store)


@plant("AUD-1", "AUD-2")
class ReadsAreNotLogged(MemoryAdapter):
    def log_entry(self, user_id, entry):
        if entry.action in ("add", "add_many", "update", "delete", "delete_many"):
            super().log_entry(user_id, entry)


@plant("AUD-1")
def each_request_of_a_call_is_logged():
    return mock.patch("openmem.layers.forms.noted", nullcontext)


@plant("AUD-3")
class AuditOfEveryone(MemoryAdapter):
    async def audit(self, request):
        entries = []
        for user in list(self.store.users):
            entries += (await super().audit(but(request, user_id=user))).entries
        entries.sort(key=lambda entry: entry.timestamp, reverse=True)
        return models.AuditResponse(entries=entries[: request.limit])


@plant("AUD-3")
class AuditOfEveryApp(MemoryAdapter):
    async def audit(self, request):
        return await super().audit(but(request, app=None))


@plant("AUD-4")
class EntriesDieWithTheRecord(MemoryAdapter):
    async def audit(self, request):
        entries = (await super().audit(request)).entries
        return models.AuditResponse(entries=[e for e in entries if e.memory_id in (None, *self.store.memories)])


@plant("CAP-1")
class LacksACoreVerb(MemoryAdapter):
    async def capabilities(self, request):
        native = await super().capabilities(request)
        return but(native, verbs=[verb for verb in native.verbs if verb != "get"])


@plant("CAP-3")
class NamesAVerbOfItsOwn(MemoryAdapter):
    async def capabilities(self, request):
        native = await super().capabilities(request)
        return but(native, verbs=[*native.verbs, "telepathy"])


@plant("CAP-2")
class DeclaresWhatItLacks(MemoryAdapter):
    async def capabilities(self, request):
        native = await super().capabilities(request)
        return but(native, verbs=[*native.verbs, "remember"])


@plant("CAP-4")
class HidesItsModel(MemoryAdapter):
    def features(self):
        return but(super().features(), embedding=None)


@plant("ERR-3")
class UnknownIdIsAnotherFailure(MemoryAdapter):
    async def get(self, request):
        if self.store.get(request.id) is None:
            raise InvalidRequestError(f"{request.id} is no id.")
        return await super().get(request)


@plant("ERR-3")
class UnknownIdIsACrash(MemoryAdapter):
    async def get(self, request):
        _ = self.store.memories[request.id].user_id
        return await super().get(request)


@plant("ERR-1")
def request_ids_repeat():
    right = core.new_call
    return mock.patch.object(core, "new_call", lambda *given, **own: right(*given, **own)._replace(request_id="same"))


@plant("ERR-1")
def errors_without_remedy():
    return mock.patch.object(NotFoundError, "default_remedy", "")


@plant("SYN-1")
def the_bound_view_forgets_its_user():
    return mock.patch.object(bound, "bound_fields", lambda verb, fields, user_id: {**fields, "user_id": f"{user_id} "})


@plant("ERR-4")
def errors_never_know():
    return mock.patch("openmem.errors.OMPError.default_written", "perhaps")
