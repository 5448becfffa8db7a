"""Backends with one planted defect each, taken from real ones, and the clauses that must notice it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from unittest import mock

import numpy as np
from openmem.adapters import embedded
from openmem.adapters import memory as reference
from openmem.adapters.memory import MemoryAdapter

from openmem import (
    InvalidRequestError,
    NotFoundError,
    OMPError,
    calls,
    client,
    context,
    cursors,
    filters,
    ranking,
    records,
)
from openmem import selection as selecting
from openmem._generated import models


@dataclass(frozen=True)
class Saboteur:
    """A defect: an adapter that has it, or a patch of what all share; and the clauses that must fail."""

    name: str
    clauses: tuple[str, ...]
    adapter: type[MemoryAdapter]
    patch: Callable[[], AbstractContextManager[Any]]


SABOTEURS: list[Saboteur] = []
Defect = TypeVar("Defect", bound=Callable[..., Any])


def plant(*clauses: str) -> Callable[[Defect], Defect]:
    def register(defect: Defect) -> Defect:
        adapter, patch = (defect, nullcontext) if isinstance(defect, type) else (MemoryAdapter, defect)
        SABOTEURS.append(Saboteur(defect.__name__, clauses, adapter, patch))
        return defect

    return register


def but(request: Any, **fields: Any) -> Any:
    return request.model_copy(update=fields)


def all_of(request: Any) -> Any:
    return but(request, limit=500, cursor=None)


# --- ownership --------------------------------------------------------------------------------------------------


@plant("OWN-2")
class SearchIgnoresTheUser(MemoryAdapter):  # CaviraOSS #97
    async def search(self, request):
        found = []
        for user in list(self._store._users):
            found += (await super().search(but(request, user_id=user))).results
        found.sort(key=lambda result: result.score, reverse=True)
        return models.SearchResponse(results=found[: request.limit])


@plant("OWN-2")
class ListIgnoresTheUser(MemoryAdapter):
    async def list(self, request):
        pages = [await super(ListIgnoresTheUser, self).list(but(request, user_id=u)) for u in list(self._store._users)]
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
    def _delete(self, request, store):
        return super()._delete(but(request, user_id=None), store)


@plant("OWN-3")
class HistoryWithoutOwnerCheck(MemoryAdapter):
    async def history(self, request):
        return await super().history(but(request, user_id=None))


@plant("OWN-3")
class ForeignIdIsToldApart(MemoryAdapter):  # answers that a foreign id exists
    async def get(self, request):
        known = self._store.get(request.id)
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
        return next((user for user in self._store._users if re.fullmatch(pattern, user)), user_id)


@plant("OWN-4")
class UsersByPrefix(_RenamesUsers):
    def rename(self, user_id):
        return next((user for user in self._store._users if user.startswith(user_id)), user_id)


@plant("OWN-5")
def anonymous_users():
    build = client.build

    def lenient(verb, fields):
        return build(verb, {**fields, "user_id": "nobody"} if fields.get("user_id", "x").strip() == "" else fields)

    return mock.patch.object(client, "build", lenient)


# --- content ----------------------------------------------------------------------------------------------------


class _Bends(MemoryAdapter):
    """Stores something else than it was given."""

    def bend(self, request):
        raise NotImplementedError

    def _add(self, request, store):
        return super()._add(self.bend(request.model_copy()), store)


class _BendsContent(_Bends):
    def text(self, content: str) -> str:
        raise NotImplementedError

    def bend(self, request):
        request.content = self.text(request.content)
        return request


@plant("CON-1")
class ContentStripped(_BendsContent):
    def text(self, content):
        return content.strip()


@plant("CON-1")
class ContentLowerCased(_BendsContent):
    def text(self, content):
        return content.lower()


@plant("CON-1")
class ContentNormalised(_BendsContent):
    def text(self, content):
        return unicodedata.normalize("NFC", content)


@plant("CON-1")
class LineBreaksUnified(_BendsContent):
    def text(self, content):
        return content.replace("\r\n", "\n")


@plant("CON-1")
class ContentInTheBasicPlane(_BendsContent):  # utf8 of three bytes
    def text(self, content):
        return "".join(char if ord(char) < 0x10000 else "?" for char in content)


@plant("CON-7")
class ContentTruncated(_BendsContent):
    def text(self, content):
        return content[:8192]


@plant("CON-1")
class UpdatedContentStripped(MemoryAdapter):
    async def update(self, request):
        if request.content is not None:
            request.content = request.content.strip()
        return await super().update(request)


class _BendsMetadata(_Bends):
    def value(self, value: Any) -> Any:
        raise NotImplementedError

    def deep(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.deep(item) for key, item in value.items()}
        return [self.deep(item) for item in value] if isinstance(value, list) else self.value(value)

    def bend(self, request):
        request.metadata = self.deep(request.metadata)
        return request


@plant("CON-5")
class MetadataStringified(_BendsMetadata):
    def value(self, value):
        return None if value is None else str(value)


@plant("CON-5")
class UpdatedMetadataStringified(_BendsMetadata):
    def bend(self, request):
        return request

    def value(self, value):
        return str(value) if isinstance(value, (int, float)) else value

    async def update(self, request):
        if request.metadata is not None:
            request.metadata = self.deep(request.metadata)
        return await super().update(request)


@plant("CON-5")
class NumbersAsFloats(_BendsMetadata):
    def value(self, value):
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@plant("CON-5")
class WholeFloatsAsIntegers(_BendsMetadata):
    def value(self, value):
        return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


@plant("CON-5")
class BooleansAsNumbers(_BendsMetadata):  # SQL without booleans
    def value(self, value):
        return int(value) if isinstance(value, bool) else value


@plant("CON-5")
class NestedBooleansAsNumbers(_BendsMetadata):
    def bend(self, request):
        given = request.metadata or {}
        request.metadata = {key: self.deep(v) if isinstance(v, (dict, list)) else v for key, v in given.items()}
        return request

    def value(self, value):
        return int(value) if isinstance(value, bool) else value


@plant("CON-5")
class IntegersByFloat(_BendsMetadata):  # JavaScript
    def value(self, value):
        return int(float(value)) if isinstance(value, int) and not isinstance(value, bool) else value


@plant("CON-5")
class MetadataFlattened(_Bends):
    def bend(self, request):
        given = request.metadata or {}
        request.metadata = {k: str(v) if isinstance(v, (dict, list)) else v for k, v in given.items()} or None
        return request


@plant("CON-5")
class NullsDropped(_BendsMetadata):
    def deep(self, value):
        if isinstance(value, dict):
            return {key: self.deep(item) for key, item in value.items() if item is not None}
        return [self.deep(item) for item in value] if isinstance(value, list) else value


@plant("CON-5")
class ExtensionsDropped(_Bends):
    def bend(self, request):
        return models.AddRequest.model_construct(
            **{
                name: getattr(request, name)
                for name in request.model_fields_set & models.AddRequest.model_fields.keys()
            }
        )


@plant("CON-4")
class TagsAsASet(_Bends):
    def bend(self, request):
        request.tags = sorted(set(request.tags)) if request.tags else None
        return request


@plant("CON-4")
class TagsJoinedByComma(_Bends):
    def bend(self, request):
        request.tags = ",".join(request.tags).split(",") if request.tags else None
        return request


@plant("CON-4")
class SinglePrecision(_Bends):
    def bend(self, request):
        request.confidence = None if request.confidence is None else float(np.float32(request.confidence))
        return request


@plant("CON-4")
class ZeroIsNothing(_Bends):
    def bend(self, request):
        request.confidence = request.confidence or None
        return request


@plant("CON-4")
class ProvenanceRewritten(_Bends):
    def bend(self, request):
        if request.source is not None:
            request.source = models.MemorySource(app=request.source.app, type="explicit")
        return request


@plant("CON-6")
class KindsOfItsOwn(_Bends):
    def bend(self, request):
        request.kind = request.kind if request.kind in (None, "fact", "preference") else "fact"
        return request


@plant("CON-3")
def broken_text_replaced():
    return mock.patch("openmem.validation.check_text", lambda name, value: None)


def _lenient_build(change: Callable[[str, dict[str, Any]], dict[str, Any]]) -> AbstractContextManager[Any]:
    build = client.build
    return mock.patch.object(client, "build", lambda verb, fields: build(verb, change(verb, dict(fields))))


@plant("CON-2")
def blank_content_is_padded():
    def padded(verb, fields):
        if verb == "add" and not str(fields["content"]).strip():
            fields["content"] = "(blank)"
        return fields

    return _lenient_build(padded)


@plant("CON-8")
def integers_of_any_size():
    return mock.patch.object(filters, "is_whole", lambda value: True)


@plant("CON-8", "ERR-2")
def unknown_fields_are_dropped():
    def known(verb, fields):
        allowed = client.VERBS[verb].request.model_fields
        return {name: value for name, value in fields.items() if name in allowed or name.startswith("x-")}

    return _lenient_build(known)


@plant("CON-8")
def confidence_is_clamped():
    def clamped(verb, fields):
        if isinstance(fields.get("confidence"), (int, float)):
            fields["confidence"] = min(1.0, max(0.0, fields["confidence"]))
        return fields

    return _lenient_build(clamped)


# --- identity ---------------------------------------------------------------------------------------------------


@plant("IDN-3")
class ExternalIdsPileUp(MemoryAdapter):  # kernel-memory #1087: duplicates
    def _add(self, request, store):
        user = self._store._user(request.user_id)
        user.external.pop(request.external_id, None)
        return super()._add(request, store)


@plant("IDN-3")
class ExternalIdsOfAllUsers(MemoryAdapter):
    def _add(self, request, store):
        for user in list(self._store._users.values()):
            if request.external_id in user.external:
                self._store._user(request.user_id).external[request.external_id] = user.external[request.external_id]
        return super()._add(request, store)


@plant("IDN-2")
class EqualContentIsMerged(MemoryAdapter):  # mem0 and kin
    def _add(self, request, store):
        for known in self._store._records.values():
            if (known.user_id, known.content) == (request.user_id, request.content):
                return store.hand_out(known)
        return super()._add(request, store)


@plant("IDN-4")
class RepeatedAddForgets(MemoryAdapter):
    def _add(self, request, store):
        known = store.by_external_id(request.user_id, request.external_id) if request.external_id else None
        if known is not None:
            store.replace(known, but(known, tags=None, metadata=None, confidence=None), None)
        return super()._add(request, store)


@plant("IDN-1")
class IdsByContent(MemoryAdapter):  # a hash as the id
    def _add(self, request, store):
        with mock.patch.object(embedded, "new_memory_id", lambda: f"mem_{hash(request.content):x}"):
            try:
                return super()._add(request, store)
            except (KeyError, ValueError) as error:
                raise OMPError("twice") from error


@plant("IDN-5")
class UpdatedLater(MemoryAdapter):
    def _add(self, request, store):
        memory = super()._add(request, store)
        return but(memory, updated_at=memory.created_at + timedelta(seconds=1))


# --- scope ------------------------------------------------------------------------------------------------------


def _scopes(selects: Callable[[str, str], bool]) -> AbstractContextManager[Any]:
    return mock.patch.object(selecting, "in_scope", lambda scope, by: scope is not None and selects(scope, by))


@plant("SCO-1")
def sibling_prefix_leak():  # CVE-2026-71433
    return _scopes(lambda scope, by: scope.startswith(by.removesuffix("/*")))


@plant("SCO-1")
def sibling_leak_over_fixed():
    return _scopes(lambda scope, by: scope.startswith(by.removesuffix("/*") + "/"))


@plant("SCO-1")
def one_level_only():
    return _scopes(lambda scope, by: scope == by or scope.rpartition("/")[0] == by.removesuffix("/*"))


@plant("SCO-2")
def star_takes_itself():
    return _scopes(lambda scope, by: f"{scope}/".startswith(by.removesuffix("*").rstrip("/") + "/"))


@plant("SCO-3")
def like_wildcards():  # OMP 0.1
    def like(scope: str, by: str) -> bool:
        base = re.escape(by.removesuffix("/*")).replace("%", ".*").replace("_", ".")
        return re.fullmatch(base + ("/.*" if by.endswith("/*") else "(/.*)?"), scope, re.DOTALL) is not None

    return _scopes(like)


@plant("SCO-6")
def scopes_without_case():
    right = selecting.in_scope
    return _scopes(lambda scope, by: right(scope.lower(), by.lower()))


@plant("SCO-5")
def unscoped_is_everywhere():
    right = selecting.in_scope
    return mock.patch.object(selecting, "in_scope", lambda scope, by: scope is None or right(scope, by))


@plant("SCO-4")
def bad_scopes_are_cleaned():
    def cleaned(verb, fields):
        if isinstance(fields.get("scope"), str):
            parts = [part for part in fields["scope"].split("/") if part and part != "*"]
            fields["scope"] = "/".join(parts) or None
        return fields

    return _lenient_build(cleaned)


# --- time and supersession --------------------------------------------------------------------------------------


def _states(change: Callable[[list[str], Any, datetime], list[str]]) -> AbstractContextManager[Any]:
    right = selecting.states

    def states(memory, moment, *, past=False):
        return iter(change(list(right(memory, moment, past=past)), memory, moment))

    return mock.patch.object(selecting, "states", states)


@plant("TIM-2")
def expired_is_returned():
    return _states(lambda states, memory, moment: [each for each in states if each != "expired"])


@plant("TIM-2")
def upcoming_is_returned():
    return _states(lambda states, memory, moment: [each for each in states if each != "upcoming"])


@plant("TIM-2")
def archived_is_returned():
    return _states(lambda states, memory, moment: [each for each in states if each != "archived"])


@plant("SUP-1", "TIM-2")
def superseded_is_returned():
    return _states(lambda states, memory, moment: [each for each in states if each != "superseded"])


@plant("TIM-3")
def the_last_moment_counts():
    def inclusive(states, memory, moment):
        return [each for each in states if each != "expired" or memory.valid_to != moment]

    return _states(inclusive)


@plant("TIM-3")
class AsOfIgnored(MemoryAdapter):
    async def list(self, request):
        return await super().list(but(request, as_of=None))


@plant("TIM-4")
class IncludeIgnoredInSearch(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, include=None))


@plant("TIM-4")
class IncludeAddsEverything(MemoryAdapter):
    async def list(self, request):
        every = ["superseded", "expired", "upcoming", "archived"]
        return await super().list(but(request, include=every if request.include else None))


@plant("TIM-5")
class SinceExclusive(MemoryAdapter):
    async def list(self, request):
        since = request.since and request.since + timedelta(microseconds=1)
        return await super().list(but(request, since=since))


@plant("TIM-1")
class Milliseconds(_Bends):
    def bend(self, request):
        for name in ("valid_from", "valid_to"):
            moment = getattr(request, name)
            if moment is not None:
                setattr(request, name, moment.replace(microsecond=moment.microsecond // 1000 * 1000))
        return request


@plant("TIM-1")
def naive_is_taken_for_utc():
    def aware(verb, fields):
        moments = {name: value for name, value in fields.items() if isinstance(value, datetime) and not value.tzinfo}
        return {**fields, **{name: value.replace(tzinfo=UTC) for name, value in moments.items()}}

    return _lenient_build(aware)


@plant("TIM-6")
def any_validity():
    return mock.patch("openmem.validation.check_validity", lambda begins, ends: None)


@plant("SUP-3")
def nothing_is_freed():
    return mock.patch.object(embedded, "_free", lambda store, successor, ids: None)


@plant("SUP-2")
def any_id_is_superseded():
    def replaceable(store, successor, ids):
        return [memory for memory in map(store.get, ids) if memory is not None]

    return mock.patch.object(embedded, "_replaceable", replaceable)


@plant("SUP-4")
def cycles_are_taken():
    return mock.patch.object(embedded, "_successors", lambda store, memory: set())


@plant("SUP-5")
class HistoryOfOneStep(MemoryAdapter):
    async def history(self, request):
        items = (await super().history(request)).items
        near = [m for m in items if m.id == request.id or request.id in (m.superseded_by, *(m.supersedes or ()))]
        return models.HistoryResponse(items=near)


@plant("SUP-5")
class HistoryNewestFirst(MemoryAdapter):
    async def history(self, request):
        return models.HistoryResponse(items=(await super().history(request)).items[::-1])


@plant("SUP-6")
def superseding_counts_as_a_change():
    def link(store, successor, replaced, moment):
        for memory in replaced:
            links = {"superseded_by": successor.id, "superseded_at": moment, "version": memory.version + 1}
            store.replace(memory, memory.model_copy(update=links), None)

    return mock.patch.object(embedded, "_link", link)


# --- update -----------------------------------------------------------------------------------------------------


class _BendsChange(MemoryAdapter):
    def changed(self, old, new, request):
        raise NotImplementedError

    def _update(self, request, store):
        old = store.get(request.id)
        answer = super()._update(request, store)
        new = store.get(request.id)
        bent = self.changed(old, new, request)
        if bent is not None:
            store.replace(new, bent, None)
            return store.hand_out(bent)
        return answer


@plant("UPD-5")
class UpdatedAtFrozen(_BendsChange):  # survived LangGraph's own tests
    def changed(self, old, new, request):
        return but(new, updated_at=old.updated_at)


@plant("UPD-5")
class VersionFrozen(_BendsChange):
    def changed(self, old, new, request):
        return but(new, version=old.version)


@plant("UPD-1")
class AbsentFieldsCleared(_BendsChange):
    def changed(self, old, new, request):
        absent = {"tags", "kind", "importance", "confidence"} - request.model_fields_set
        return but(new, **dict.fromkeys(absent))


@plant("UPD-1")
class NullIsIgnored(_BendsChange):
    def changed(self, old, new, request):
        nulls = [name for name in ("tags", "kind", "importance") if name in request.model_fields_set]
        return but(new, **{name: getattr(old, name) for name in nulls if getattr(request, name) is None})


@plant("UPD-2")
class MetadataReplaced(_BendsChange):
    def changed(self, old, new, request):
        return but(new, metadata=request.metadata) if request.metadata is not None else None


@plant("UPD-2")
class MetadataMergedAtTheTopOnly(_BendsChange):
    def changed(self, old, new, request):
        if request.metadata is None:
            return None
        merged = {**(old.metadata or {}), **request.metadata}
        return but(new, metadata={key: value for key, value in merged.items() if value is not None})


@plant("UPD-3")
class SupersedesReplaced(_BendsChange):
    def changed(self, old, new, request):
        return but(new, supersedes=request.supersedes) if request.supersedes else None


@plant("UPD-6", "DEL-4")
def if_version_ignored():
    return mock.patch.object(records, "check_version", lambda memory, if_version: None)


@plant("UPD-6")
class ChangesBeforeItChecks(MemoryAdapter):
    def _update(self, request, store):
        super()._update(but(request, if_version=None), store)
        return super()._update(request, store)


@plant("UPD-4")
def the_index_is_stale():
    return mock.patch.object(reference._Memories, "replace", lambda self, old, new, vector: self._keep(new))


def _keep(self, memory):
    self._records[memory.id] = memory


reference._Memories._keep = _keep


@plant("UPD-7")
class UpdateInserts(MemoryAdapter):
    async def update(self, request):
        try:
            return await super().update(request)
        except NotFoundError:
            return await super().add(
                models.AddRequest(content=request.content or "new", user_id=request.user_id or "u")
            )


# --- deletion ---------------------------------------------------------------------------------------------------


class _KeepsTheDead(MemoryAdapter):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dead: dict[str, models.Memory] = {}

    def _delete(self, request, store):
        memory = store.get(request.id)
        deleted = super()._delete(request, store)
        self.dead[deleted] = memory
        return deleted


@plant("DEL-1")
class GhostInSearch(_KeepsTheDead):  # kernel-memory #933, ruflo #2815, agentmemory #632
    async def search(self, request):
        found = await super().search(request)
        words = set((request.query or "").split())
        ghosts = [m for m in self.dead.values() if m.user_id == request.user_id and words & set(m.content.split())]
        found.results += [models.SearchResult(memory=memory, score=0.0) for memory in ghosts]
        return found


@plant("DEL-1")
class GhostInGet(_KeepsTheDead):
    async def get(self, request):
        try:
            return await super().get(request)
        except NotFoundError:
            if request.id in self.dead:
                return self.dead[request.id]
            raise


@plant("DEL-1")
class GhostInList(_KeepsTheDead):
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
        self._store.replace(memory, but(memory, archived=True), None)

    async def get(self, request):
        memory = await super().get(request)
        if memory.archived:
            raise NotFoundError(f"there is no memory {request.id}.")
        return memory


@plant("DEL-1")
class FindsByOldWordsAfterDelete(_KeepsTheDead):  # the index row of a former version is left
    def _update(self, request, store):
        former = store.get(request.id)
        answer = super()._update(request, store)
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
class TheDeadReturn(_KeepsTheDead):
    def _add(self, request, store):
        for memory in self.dead.values():
            if (memory.user_id, memory.content) == (request.user_id, request.content):
                with mock.patch.object(embedded, "new_memory_id", lambda: memory.id):  # noqa: B023
                    return super()._add(request, store)
        return super()._add(request, store)


@plant("DEL-3")
class DeletesByContent(MemoryAdapter):
    def _delete(self, request, store):
        memory = store.get(request.id)
        deleted = super()._delete(request, store)
        word = memory.content.split()[0]
        for other in [m for m in self._store._records.values() if m.user_id == memory.user_id]:
            if other.content.split()[0] == word and memory.content.endswith("0"):
                store.remove(other)
        return deleted


# --- list -------------------------------------------------------------------------------------------------------


@plant("LST-2")
class CappedAtTwenty(MemoryAdapter):  # mem0 #5752
    async def list(self, request):
        page = await super().list(but(request, limit=min(request.limit, 20)))
        return but(page, next_cursor=None) if request.limit > 20 else page


@plant("LST-3")
class AnEmptyPageFollows(MemoryAdapter):
    async def list(self, request):
        page = await super().list(request)
        if len(page.items) == request.limit and page.next_cursor is None:
            page.next_cursor = cursors.encode((page.items[-1].created_at, page.items[-1].id), request)
        return page


@plant("LST-2")
class RowsRepeatAcrossPages(MemoryAdapter):
    async def list(self, request):
        page = await super().list(request)
        if page.next_cursor is not None and len(page.items) > 1:
            page.next_cursor = cursors.encode((page.items[-2].created_at, page.items[-2].id), request)
        return page


@plant("LST-2")
class RowsLostBetweenPages(MemoryAdapter):
    async def list(self, request):
        page = await super().list(but(request, limit=min(500, request.limit + 1)))
        page.items = page.items[: request.limit]
        return page


@plant("LST-4")
class PagesByOffset(MemoryAdapter):
    async def list(self, request):
        start = int(cursors.decode(request)[1]) if request.cursor else 0
        items = (await super().list(all_of(request))).items
        end = start + request.limit
        following = cursors.encode((datetime.now(UTC), str(end)), request) if end < len(items) else None
        return models.MemoryPage(items=items[start:end], next_cursor=following)


@plant("LST-1")
class OldestFirst(MemoryAdapter):
    async def list(self, request):
        items = (await super().list(all_of(request))).items[::-1]
        return models.MemoryPage(items=items[: request.limit])


@plant("LST-1")
class ByLastChange(MemoryAdapter):
    async def list(self, request):
        items = (await super().list(all_of(request))).items
        items.sort(key=lambda memory: memory.updated_at, reverse=True)
        return models.MemoryPage(items=items[: request.limit])


@plant("LST-5")
def cursors_for_anyone():
    return mock.patch.object(cursors, "_digest", lambda request: "")


@plant("LST-5")
def cursors_for_any_selection():
    return mock.patch.object(cursors, "_digest", lambda request: request.user_id)


class _OwnTags(MemoryAdapter):
    def has(self, tags: list[str], tag: str) -> bool:
        raise NotImplementedError

    async def list(self, request):
        if request.tag is None:
            return await super().list(request)
        items = (await super().list(but(request, tag=None, limit=500, cursor=None))).items
        chosen = [memory for memory in items if self.has(memory.tags or [], request.tag)]
        return models.MemoryPage(items=chosen[: request.limit])


@plant("LST-6")
class TagsBySubstring(_OwnTags):
    def has(self, tags, tag):
        return any(tag in each for each in tags)


@plant("LST-6")
class TagsWithoutCase(_OwnTags):
    def has(self, tags, tag):
        return tag.lower() in [each.lower() for each in tags]


@plant("LST-7")
def limits_are_clamped():
    def clamped(verb, fields):
        if verb == "list" and isinstance(fields.get("limit"), int):
            fields["limit"] = min(500, max(1, fields["limit"]))
        return fields

    return _lenient_build(clamped)


@plant("LST-8")
class NobodyIsNotFound(MemoryAdapter):
    async def list(self, request):
        page = await super().list(request)
        if not page.items and not self._store._user(request.user_id).order:
            raise NotFoundError(f"no user {request.user_id}.")
        return page


# --- search -----------------------------------------------------------------------------------------------------


class _BendsResults(MemoryAdapter):
    def results(self, found: list[Any], request: Any) -> list[Any]:
        raise NotImplementedError

    async def search(self, request):
        response = await super().search(request)
        return models.SearchResponse(results=self.results(response.results, request))


@plant("SEA-1")
class WorstFirst(_BendsResults):  # survived the TCK
    def results(self, found, request):
        return found[::-1]


@plant("SEA-1")
class DistanceForScore(_BendsResults):  # seocho #549
    def results(self, found, request):
        return [but(result, score=1 - result.score) for result in found]


@plant("SEA-1")
class TiesOldestFirst(_BendsResults):
    def results(self, found, request):
        return sorted(found, key=lambda result: (-result.score, result.memory.created_at))


@plant("SEA-3")
class ScoresAboveOne(_BendsResults):
    def results(self, found, request):
        return [but(result, score=result.score * 1.5) for result in found]


@plant("SEA-3")
class MinScoreIgnored(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, min_score=None))


@plant("SEA-2")
class MinScoreAfterTheLimit(MemoryAdapter):
    async def search(self, request):
        filtered = but(request, tag=None, min_score=None)
        results = (await super().search(filtered)).results
        return models.SearchResponse(results=[r for r in results if r.score >= (request.min_score or 0)])


@plant("SEA-2")
class FilterAfterTheLimit(MemoryAdapter):
    async def search(self, request):
        results = (await super().search(but(request, filter=None))).results
        test = filters.predicate(filters.parse(request.filter or {}))
        return models.SearchResponse(results=[result for result in results if test(result.memory)])


@plant("SEA-2")
class TagAfterTheLimit(MemoryAdapter):
    async def search(self, request):
        results = (await super().search(but(request, tag=None))).results
        return models.SearchResponse(results=[r for r in results if request.tag in (None, *(r.memory.tags or ()))])


@plant("SEA-2")
class ScopeAfterTheLimit(MemoryAdapter):
    async def search(self, request):
        results = (await super().search(but(request, scope=None))).results
        scope = request.scope
        return models.SearchResponse(
            results=[r for r in results if scope is None or selecting.in_scope(r.memory.scope, scope)]
        )


@plant("SEA-2")
class UserAfterTheLimit(SearchIgnoresTheUser):
    async def search(self, request):
        results = (await super().search(request)).results
        return models.SearchResponse(results=[r for r in results if r.memory.user_id == request.user_id])


@plant("SEA-2")
class StateAfterTheLimit(MemoryAdapter):
    async def search(self, request):
        every = but(request, include=["superseded", "expired", "upcoming", "archived"])
        results = (await super().search(every)).results
        selected = selecting.predicate(request, self.clock())
        return models.SearchResponse(results=[result for result in results if selected(result.memory)])


@plant("SEA-2")
class TenResultsAtMost(_BendsResults):
    def results(self, found, request):
        return found[:10]


@plant("SEA-4")
class QueryIgnored(MemoryAdapter):  # survived the TCK
    async def search(self, request):
        items = (await super().list(models.ListRequest(user_id=request.user_id))).items
        return models.SearchResponse(results=[models.SearchResult(memory=m, score=0.5) for m in items[: request.limit]])


@plant("SEA-4")
def words_without_stems():
    def terms(text):
        return [word for word in re.findall(r"\w+", text.lower()) if word not in ranking.STOP_WORDS]

    return mock.patch.object(ranking, "terms", terms)


@plant("SEA-4")
def words_with_case():
    right = ranking.terms
    return mock.patch.object(ranking, "terms", lambda text: [t for t in right(text) if t in text] or right(text)[:0])


@plant("SEA-5")
class VectorsByKeyword(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, mode="keyword" if request.query else request.mode))


@plant("SEA-6")
class HybridByVectorOnly(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, mode="vector"))


@plant("SEA-8")
class SearchLagsByOne(MemoryAdapter):  # eventual consistency that is not declared
    def _add(self, request, store):
        memory = super()._add(request, store)
        self.newest = memory.id
        return memory

    async def search(self, request):
        found = await super().search(request)
        found.results = [result for result in found.results if result.memory.id != getattr(self, "newest", None)]
        return found


@plant("SEA-9")
class ScoresDependOnOthers(_BendsResults):
    def results(self, found, request):
        share = 1 / (1 + len(self._store._records))
        return [but(result, score=result.score * (1 - share)) for result in found]


@plant("SEA-12")
class ThinResults(_BendsResults):  # hits without metadata
    def results(self, found, request):
        thin = [but(result.memory, metadata=None, tags=None) for result in found]
        return [but(result, memory=memory) for result, memory in zip(found, thin, strict=True)]


@plant("SEA-11")
class OwnVectorsIgnored(MemoryAdapter):
    def _add(self, request, store):
        return super()._add(but(request, vector=[1.0, *[0.0] * 255]), store)


@plant("SEA-10")
def nothing_finds_everything():
    def filled(verb, fields):
        if verb == "search" and not str(fields.get("query") or "x").strip():
            fields["query"] = "anything"
        return fields

    return _lenient_build(filled)


# --- filters ----------------------------------------------------------------------------------------------------


def _test(**tests: Any) -> AbstractContextManager[Any]:
    return mock.patch.dict(filters._TESTS, tests)


@plant("FIL-1", "FIL-2", "FIL-3")
class FilterIgnoredByList(MemoryAdapter):  # CaviraOSS #97
    async def list(self, request):
        return await super().list(but(request, filter=None))


@plant("FIL-5")
class FilterIgnoredBySearch(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, filter=None))


@plant("FIL-2")
def missing_never_differs():  # SQL: NULL <> 1 is not true
    return _test(ne=lambda stored, value: stored is not None and not filters._equal(stored, value))


@plant("FIL-2")
def missing_is_less():
    return _test(lt=lambda stored, value: stored is None or filters._ordered(lambda a, b: a < b)(stored, value))


@plant("FIL-3")
def numbers_as_text():
    return _test(gt=lambda stored, value: stored is not None and str(stored) > str(value))


@plant("FIL-3")
def numbers_by_float():
    return _test(eq=lambda a, b: filters._equal(float(a) if filters._is_number(a) else a, b))


@plant("FIL-3")
def true_is_one():
    return _test(eq=lambda stored, value: stored == value)


@plant("FIL-3")
def text_is_a_number():
    return _test(eq=lambda stored, value: stored is not None and str(stored) == str(value))


@plant("FIL-1")
def text_without_case():
    def equal(stored, value):
        return filters._equal(*(each.lower() if isinstance(each, str) else each for each in (stored, value)))

    return _test(eq=equal)


@plant("FIL-1")
def contains_by_element_only():
    return _test(contains=lambda stored, value: isinstance(stored, list) and value in stored)


@plant("FIL-1")
def or_is_and():
    return mock.patch.object(filters, "Either", filters.Every)


@plant("FIL-4")
def unknown_operators_are_dropped():
    right = filters._condition

    def condition(key, path, operator, value):
        try:
            return right(key, path, operator, value)
        except InvalidRequestError:
            return filters.Every(())

    return mock.patch.object(filters, "_condition", condition)


@plant("FIL-6")
def values_as_patterns():
    def like(stored, value):
        if not (isinstance(stored, str) and isinstance(value, str)):
            return filters._contains(stored, value)
        return re.search(re.escape(value).replace("%", ".*").replace("_", "."), stored, re.DOTALL) is not None

    return _test(contains=like)


# --- context ----------------------------------------------------------------------------------------------------


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


# --- batches ----------------------------------------------------------------------------------------------------


@plant("BAT-2")
class BatchAbortsOnOneBadItem(MemoryAdapter):
    def _add_item(self, store, item):
        memory = self._add(item, store)
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

    return _lenient_build(own_users)


@plant("BAT-3")
class BatchForgetsMetadata(MemoryAdapter):
    def _add_item(self, store, item):
        return super()._add_item(store, but(item, metadata=None))


@plant("BAT-3")
class BatchIsNotEmbedded(MemoryAdapter):
    def _add_item(self, store, item):
        return super()._add_item(store, but(item, vector=None))


@plant("BAT-1", "BAT-2")
class DeletesAnswerForTheDoneOnly(MemoryAdapter):
    async def delete_many(self, request):
        response = await super().delete_many(request)
        return models.BatchResponse(results=[each for each in response.results if each.error is None][::-1])


# --- related, stats, audit --------------------------------------------------------------------------------------


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


@plant("AUD-1", "AUD-2")
class ReadsAreNotLogged(MemoryAdapter):
    def _log(self, store, user_id, verb, memory=None, *, scope=None):
        if verb in ("add", "update", "delete"):
            super()._log(store, user_id, verb, memory, scope=scope)


@plant("AUD-3")
class AuditOfEveryone(MemoryAdapter):
    async def audit(self, request):
        entries = []
        for user in list(self._store._users):
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
        return models.AuditResponse(entries=[e for e in entries if e.memory_id in (None, *self._store._records)])


# --- capabilities and errors ------------------------------------------------------------------------------------


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
        if self._store.get(request.id) is None:
            raise InvalidRequestError(f"{request.id} is no id.")
        return await super().get(request)


@plant("ERR-3")
class UnknownIdIsACrash(MemoryAdapter):
    async def get(self, request):
        _ = self._store._records[request.id].user_id
        return await super().get(request)


@plant("ERR-1")
def request_ids_repeat():
    return mock.patch("openmem.layers.observe.new_call", lambda verb, provider: calls.Call("same", verb, provider))


@plant("ERR-1")
def errors_without_remedy():
    return mock.patch.object(NotFoundError, "default_remedy", "")


@plant("SYN-1")
def the_bound_view_forgets_its_user():
    return mock.patch.object(client, "_bound", lambda verb, fields, user_id: {**fields, "user_id": f"{user_id} "})
