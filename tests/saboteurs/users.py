"""Saboteurs of isolation and identity."""

from __future__ import annotations

import re
from datetime import timedelta
from unittest import mock

from openmem import NotFoundError, OMPError
from openmem._generated import models
from openmem.adapters.kit import base
from openmem.client import core
from openmem.protocol import records

from .base import MemoryAdapter, but, plant


@plant("OWN-2")
class SearchIgnoresTheUser(MemoryAdapter):  # CaviraOSS #97
    async def search(self, request):
        found = []
        for user in list(self.store.users):
            found += (await super().search(but(request, user_id=user))).results
        found.sort(key=lambda result: result.score, reverse=True)
        return models.SearchResponse(results=found[: request.limit])


@plant("OWN-2")
class ListIgnoresTheUser(MemoryAdapter):
    async def list(self, request):
        pages = [await super(ListIgnoresTheUser, self).list(but(request, user_id=u)) for u in list(self.store.users)]
        return models.MemoryPage(items=[item for page in pages for item in page.items][: request.limit])


@plant("OWN-3")
class GetWithoutOwnerCheck(MemoryAdapter):  # OMP 0.1
    async def get(self, request):
        return await super().get(but(request, user_id=None))


@plant("OWN-3")
class UpdateWithoutOwnerCheck(MemoryAdapter):
    async def update(self, request):
        return await super().update(but(request, user_id=None))


@plant("OWN-3", "BAT-2")
class DeleteWithoutOwnerCheck(MemoryAdapter):  # OMP 0.1
    def apply_delete(self, request, store):
        return super().apply_delete(but(request, user_id=None), store)


@plant("OWN-3")
class HistoryWithoutOwnerCheck(MemoryAdapter):
    async def history(self, request):
        return await super().history(but(request, user_id=None))


@plant("OWN-3")
class ForeignIdIsToldApart(MemoryAdapter):  # answers that a foreign id exists
    async def get(self, request):
        known = self.store.get(request.id)
        if known is not None and request.user_id not in (None, known.user_id):
            raise NotFoundError(f"memory {request.id} belongs to another user.")
        return await super().get(request)


class _RenamesUsers(MemoryAdapter):
    def rename(self, user_id: str) -> str:
        raise NotImplementedError

    async def handle(self, request):
        if getattr(request, "user_id", None):
            request = but(request, user_id=self.rename(request.user_id))
        return await super().handle(request)


@plant("OWN-4")
class UsersWithoutCase(_RenamesUsers):
    def rename(self, user_id):
        return user_id.lower()


@plant("OWN-4")
class UsersStripped(_RenamesUsers):
    def rename(self, user_id):
        return user_id.strip()


@plant("OWN-4")
class UsersAsPatterns(_RenamesUsers):  # user_id LIKE ?
    def rename(self, user_id):
        pattern = re.escape(user_id).replace("%", ".*").replace("_", ".")
        return next((user for user in self.store.users if re.fullmatch(pattern, user)), user_id)


@plant("OWN-4")
class UsersByPrefix(_RenamesUsers):
    def rename(self, user_id):
        return next((user for user in self.store.users if user.startswith(user_id)), user_id)


@plant("OWN-5")
def anonymous_users():
    build = core.build

    def lenient(verb, fields):
        return build(verb, {**fields, "user_id": "nobody"} if fields.get("user_id", "x").strip() == "" else fields)

    return mock.patch.object(core, "build", lenient)


@plant("IDN-3")
class ExternalIdsPileUp(MemoryAdapter):  # kernel-memory #1087: duplicates
    def apply_add(self, request, store):
        user = self.store.index_of(request.user_id)
        user.external.pop(request.external_id, None)
        return super().apply_add(request, store)


@plant("IDN-3")
class ExternalIdsOfAllUsers(MemoryAdapter):
    def apply_add(self, request, store):
        for user in list(self.store.users.values()):
            if request.external_id in user.external:
                self.store.index_of(request.user_id).external[request.external_id] = user.external[request.external_id]
        return super().apply_add(request, store)


@plant("IDN-2")
class EqualContentIsMerged(MemoryAdapter):  # mem0 and kin
    def apply_add(self, request, store):
        for known in self.store.memories.values():
            if (known.user_id, known.content) == (request.user_id, request.content):
                return store.hand_out(known)
        return super().apply_add(request, store)


@plant("IDN-4")
class RepeatedAddForgets(MemoryAdapter):
    def apply_add(self, request, store):
        known = store.by_external_id(request.user_id, request.external_id) if request.external_id else None
        if known is not None:
            store.replace(known, but(known, tags=None, metadata=None, confidence=None), None)
        return super().apply_add(request, store)


class _AddsAgain(MemoryAdapter):
    """Changes the request of an add that comes again."""

    def bent(self, request, known):
        raise NotImplementedError

    def apply_add(self, request, store):
        known = store.by_external_id(request.user_id, request.external_id) if request.external_id else None
        return super().apply_add(self.bent(request, known) if known is not None else request, store)


@plant("IDN-4")
class RepeatedAddMerges(_AddsAgain):  # OMP 0.2 before it was settled
    def bent(self, request, known):
        return but(request, metadata=records.merge(known.metadata, request.metadata)) if request.metadata else request


@plant("IDN-6")
class ArchivedForGood(_AddsAgain):
    def bent(self, request, known):
        return but(request, archived=True) if known.archived and request.archived is None else request


@plant("IDN-6")
class ExpiredForGood(_AddsAgain):
    def bent(self, request, known):
        return but(request, valid_to=known.valid_to) if known.valid_to and request.valid_to is None else request


@plant("IDN-7")
class ConflictsAlwaysUpdate(_AddsAgain):
    def bent(self, request, known):
        return but(request, on_conflict=None)


@plant("IDN-7")
class ReplacingKeepsTheRest(_AddsAgain):
    def bent(self, request, known):
        return but(request, on_conflict=None) if request.on_conflict == "replace" else request


@plant("IDN-1")
class IdsByContent(MemoryAdapter):  # a hash as the id
    def apply_add(self, request, store):
        with mock.patch.object(base, "new_memory_id", lambda: f"mem_{hash(request.content):x}"):
            try:
                return super().apply_add(request, store)
            except (KeyError, ValueError) as error:
                raise OMPError("twice") from error


@plant("IDN-5")
class UpdatedLater(MemoryAdapter):
    def apply_add(self, request, store):
        memory = super().apply_add(request, store)
        return but(memory, updated_at=memory.created_at + timedelta(seconds=1))


@plant("IDN-7")
class BatchesUpdateOrRefuse(MemoryAdapter):
    """Takes skip and replace for update within a batch."""

    def apply_add_item(self, item, store):
        other = getattr(item, "on_conflict", None) in ("skip", "replace")
        return super().apply_add_item(but(item, on_conflict="update") if other else item, store)


@plant("IDN-4")
class RepeatedAddKeepsOldWords(MemoryAdapter):
    """Finds a record by words that an add of its external_id took out of it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.former: list[models.MemoryRecord] = []

    def apply_add(self, request, store):
        known = store.by_external_id(request.user_id, request.external_id) if request.external_id else None
        if known is not None:
            self.former.append(known)
        return super().apply_add(request, store)

    async def search(self, request):
        found = await super().search(request)
        words, here = set((request.query or "").split()), {each.memory.id for each in found.results}
        for former in self.former:
            now = self.store.get(former.id)
            if now is not None and now.id not in here and words & set(former.content.split()):
                found.results.append(models.SearchResult(memory=now, score=0.0))
        return found
