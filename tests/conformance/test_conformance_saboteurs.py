"""The kill matrix: each planted defect makes the suite fail on the clauses it breaks, through both clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import numpy as np
import pytest

from openmem import ConflictError, InvalidRequestError, NotFoundError
from openmem._generated import models
from openmem.adapters.kit import changes as rules
from openmem.adapters.kit import vectors
from openmem.adapters.memory import records as reference
from openmem.adapters.memory.indexes import UserIndex
from openmem.conformance import CHECKS, run
from openmem.protocol import analysis, context, cursors, filters, ranking
from openmem.protocol import selection as selecting
from saboteurs import SABOTEURS, Saboteur
from saboteurs.base import Bends, KeepsTheDead, MemoryAdapter, asking, but, plant
from saboteurs.search import MeanLengthOfTheUser


class SearchesEveryone(MemoryAdapter):
    """Searches all users at once."""

    async def search_everyone(self, request: Any) -> list[Any]:
        found: list[Any] = []
        for user in list(self.store.users):
            found += (await MemoryAdapter.search(self, but(request, user_id=user))).results
        return sorted(found, key=lambda result: result.score, reverse=True)[: request.limit]


def words(request: Any, **fields: Any) -> models.SearchRequest:
    """Return the keyword search that stands for a context."""
    asked = request.model_dump(exclude={"token_budget"}, exclude_unset=True)
    return models.SearchRequest(**{**asked, "mode": "keyword", "limit": 100, **fields})


def states(change: Callable[[list[str], Any], list[str]]) -> AbstractContextManager[Any]:
    right = selecting.states

    def bent(memory, moment, *, past=False):
        return iter(change(list(right(memory, moment, past=past)), memory))

    return mock.patch.object(selecting, "states", bent)


# --- ownership, content, identity -------------------------------------------------------------------------------


@plant("OWN-1")
class UserIdsAnsweredLowerCased(MemoryAdapter):
    async def get(self, request):
        memory = await super().get(request)
        return but(memory, user_id=memory.user_id.lower())


@plant("OWN-2")
class VectorSearchIgnoresTheUser(SearchesEveryone):  # one mode forgets what another remembers
    async def search(self, request):
        if request.mode == "vector":
            return models.SearchResponse(results=await self.search_everyone(request))
        return await super().search(request)


@plant("OWN-3", "BAT-2")
class BatchDeleteWithoutOwnerCheck(MemoryAdapter):
    def apply_delete_item(self, request, store):
        return super().apply_delete_item(but(request, user_id=None), store)


@plant("CON-4")
class TagsDropped(Bends):
    def bend(self, request):
        request.tags = None
        return request


@plant("CON-5")
def answers_are_the_store():
    return mock.patch.object(reference.Records, "hand_out", lambda self, memory: memory)


@plant("CON-7")
@contextmanager
def any_length_is_taken():
    right = MemoryAdapter.features
    with (
        mock.patch.object(MemoryAdapter, "features", lambda self: but(right(self), max_content_length=1000)),
        mock.patch("openmem.protocol.admission.Admission.admit_sizes", lambda self, values: None),
    ):
        yield


@plant("IDN-3", "IDN-4")
class UpsertByReplacement(MemoryAdapter):  # delete, then insert: another id, and what was not given is lost
    def apply_add(self, request, store):
        known = store.by_external_id(request.user_id, request.external_id) if request.external_id else None
        if known is not None:
            store.remove(known)
        return super().apply_add(request, store)


@plant("IDN-3")
class ExternalIdsStayTaken(KeepsTheDead):
    def apply_add(self, request, store):
        taken = {(memory.user_id, memory.external_id) for memory in self.dead.values() if memory.external_id}
        if (request.user_id, request.external_id) in taken:
            raise ConflictError("the external_id is taken.")
        return super().apply_add(request, store)


# --- scope, time, supersession ----------------------------------------------------------------------------------


@plant("SCO-1")
def nothing_below_a_scope():  # a prefix leak fixed by equality
    return mock.patch.object(selecting, "in_scope", lambda scope, by: scope == by)


@plant("SCO-2")
def star_takes_one_level():
    right = selecting.in_scope

    def near(scope, by):
        return right(scope, by) and (not by.endswith("/*") or scope.count("/") == by.count("/"))

    return mock.patch.object(selecting, "in_scope", near)


@plant("TIM-3")
def what_was_not_there_yet_is_seen():
    right = selecting.states
    return mock.patch.object(selecting, "states", lambda memory, moment, *, past=False: right(memory, moment))


@plant("TIM-3")
def superseded_in_the_past_too():
    return states(lambda told, memory: [*told, "superseded"] if memory.superseded_by else told)


@plant("TIM-4")
def one_included_state_is_enough():
    return states(lambda told, memory: told[:1])


@plant("TIM-5")
class UntilIgnored(MemoryAdapter):
    async def list(self, request):
        return await super().list(but(request, until=None))


@plant("SUP-1")
def successors_begin_at_once():
    right = rules.link
    return mock.patch.object(rules, "link", lambda s, new, old, moment: right(s, new, old, new.created_at))


@plant("SUP-2", "ERR-2")
class StoresBeforeItChecks(MemoryAdapter):
    def apply_add(self, request, store):
        try:
            return super().apply_add(request, store)
        except InvalidRequestError:
            super().apply_add(but(request, supersedes=None), store)
            self.let_stand()
            raise


@plant("SUP-3")
class SuccessorsNameTheDead(MemoryAdapter):
    def apply_delete(self, request, store):
        memory = store.get(request.id)
        successor = store.get(memory.superseded_by) if memory and memory.superseded_by else None
        deleted = super().apply_delete(request, store)
        if successor is not None:
            store.replace(store.get(successor.id), successor, None)
        return deleted


@plant("SUP-4")
class TheLastSuccessorWins(MemoryAdapter):
    def apply_add(self, request, store):
        for old in filter(None, map(store.get, request.supersedes or ())):
            store.replace(old, but(old, superseded_by=None, superseded_at=None), None)
        return super().apply_add(request, store)


# --- update, deletion, list -------------------------------------------------------------------------------------


@plant("UPD-4")
class VectorsStayOld(MemoryAdapter):
    def apply_update(self, request, store):
        return super().apply_update(but(request, vector=None), store)


@plant("UPD-4")
def old_words_stay():
    return mock.patch.object(UserIndex, "forget_words", lambda self, memory: None)


@plant("UPD-5")
class UpdatesAreNew(MemoryAdapter):
    def apply_update(self, request, store):
        memory = super().apply_update(request, store)
        stored = store.get(memory.id)
        store.replace(stored, but(stored, created_at=stored.updated_at), None)
        return but(memory, created_at=memory.updated_at)


@plant("UPD-1", "UPD-5")
class UpdateAnswersTheFormer(MemoryAdapter):
    async def update(self, request):
        before = await super().get(models.GetRequest(id=request.id, user_id=request.user_id))
        return but(before, version=(await super().update(request)).version)


@plant("IDN-5")
class ReadingCounts(MemoryAdapter):  # access statistics in the record
    async def get(self, request):
        memory = await super().get(request)
        changed = but(memory, version=memory.version + 1)
        self.store.do(lambda store: store.replace(memory, changed, None))
        return memory


@plant("DEL-1")
class BatchDeletesNothing(MemoryAdapter):
    def apply_delete_item(self, request, store):
        return models.BatchResult(id=rules.owned(store.get(request.id), request.id, request.user_id).id)


@plant("DEL-1")
class StatsCountTheDead(KeepsTheDead):
    async def stats(self, request):
        page = await self.list(models.ListRequest(user_id=request.user_id, limit=500))
        total = len(page.items) + sum(memory.user_id == request.user_id for memory in self.dead.values())
        return models.Stats(user_id=request.user_id, total=total, current=total)


@plant("DEL-1")
class HistoryOfTheDead(KeepsTheDead):
    async def history(self, request):
        if request.id in self.dead:
            return models.HistoryResponse(items=[self.dead[request.id]])
        return await super().history(request)


@plant("LST-3")
class FilterAfterThePage(MemoryAdapter):  # short and empty pages in the middle
    async def list(self, request):
        page = await super().list(but(request, filter=None, tag=None))
        test = filters.predicate(filters.parse(request.filter)) if request.filter else lambda memory: True
        items = [m for m in page.items if test(m) and request.tag in (None, *(m.tags or ()))]
        return but(page, items=items)


@plant("LST-4")
class PagesInOrderOfChange(MemoryAdapter):
    async def list(self, request):
        every = (await super().list(but(request, limit=500, cursor=None))).items
        every.sort(key=lambda memory: (memory.updated_at, memory.id), reverse=True)
        after = cursors.decode(request)
        rest = [m for m in every if after is None or (m.updated_at, m.id) < after]
        page, more = rest[: request.limit], len(rest) > request.limit
        following = cursors.encode((page[-1].updated_at, page[-1].id)) if more else None
        return models.MemoryPage(items=page, next_cursor=following)


@plant("LST-5")
def bad_cursors_start_over():
    right = cursors.unbind

    def lenient(request):
        try:
            return right(request)
        except InvalidRequestError:
            return None

    return mock.patch.object(cursors, "unbind", lenient)


# --- search and filters -----------------------------------------------------------------------------------------


@plant("SEA-1")
def rare_words_count_no_more_than_others():
    def counted(postings, *, count):
        return {key: 1.0 for posting in postings for key in posting}

    return mock.patch.object(ranking, "bm25", counted)


@plant("SEA-4")
def every_word_is_needed():  # the default of many engines
    right = ranking.bm25

    def all_words(postings, *, count):
        held = list(postings)
        scores = right(held, count=count)
        return {key: score for key, score in scores.items() if all(key in posting for posting in held)}

    return mock.patch.object(ranking, "bm25", all_words)


@plant("SEA-4")
def stop_words_count():
    return mock.patch.multiple(analysis, STOP_WORDS=frozenset(), TERM_OF=analysis.Terms())


@plant("SEA-4")
class QueriesAreSyntax(MemoryAdapter):  # SQLite's MATCH, handed the query as it is
    async def search(self, request):
        if request.mode == "keyword" and (request.query or "").count('"') % 2:
            raise InvalidRequestError("unterminated string.")
        return await super().search(request)


@plant("SEA-5")
class WordsSwayVectors(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, mode="hybrid" if request.query else request.mode))


@plant("SEA-6")
class HybridByWordsOnly(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, mode="keyword" if request.mode == "hybrid" else request.mode))


@plant("SEA-6")
class HybridOfTheNearest(MemoryAdapter):  # words only rank again what the vectors found
    async def search(self, request):
        found = await super().search(request)
        if request.mode == "hybrid":
            near = {r.memory.id for r in (await super().search(but(request, mode="vector", limit=20))).results}
            found.results = [result for result in found.results if result.memory.id in near]
        return found


@plant("SEA-7")
def words_by_default():
    return mock.patch("openmem.layers.rank.best_mode", lambda request, features: "keyword")


@plant("SEA-7")
def invented_modes_are_dropped():
    def known(verb, fields):
        if fields.get("mode") not in (None, "vector", "keyword", "hybrid"):
            fields["mode"] = None
        return fields

    return asking(known)


@plant("SEA-9")
class NumberOfMemoriesOfEveryone(MemoryAdapter):  # as one index for all of them counts
    async def search(self, request):
        everyone, right = sum(len(user.least) for user in self.store.users.values()), ranking.bm25
        with mock.patch.object(ranking, "bm25", lambda postings, *, count: right(postings, count=everyone)):
            return await super().search(request)


@plant("SEA-9")
class MeanLengthOfEveryone(MeanLengthOfTheUser):
    def averaged(self, mine):
        return [memory.id for memory in self.store.memories.values()]


@plant("SEA-9")
class WordsOfEveryone(MemoryAdapter):  # how rare a word is, counted over all users
    async def search(self, request):
        found, right = list(self.store.users.values()), ranking.bm25
        mine = self.store.index_of(request.user_id)

        def rarity(postings, *, count):
            scores: dict[str, float] = {}
            for posting in postings:
                term = next(word for word in mine.postings if mine.posting(word) == posting)
                shared = 1 + sum(len(user.posting(term)) for user in found if term in user.postings)
                each = right([posting], count=count)
                for key, score in each.items():
                    scores[key] = scores.get(key, 0.0) + score / shared
            return scores

        with mock.patch.object(ranking, "bm25", rarity):
            return await super().search(request)


@plant("SEA-10")
def search_limits_are_clamped():
    def clamped(verb, fields):
        if verb == "search" and isinstance(fields.get("limit"), int):
            fields["limit"] = min(100, max(1, fields["limit"]))
        return fields

    return asking(clamped)


@plant("SEA-11")
def vectors_by_their_length():  # the inner product of vectors that nobody scaled
    return mock.patch.object(vectors, "unit", np.asarray)


@plant("SEA-12")
class ResultsOfTheFirstVersion(MemoryAdapter):
    async def search(self, request):
        found = await super().search(request)
        for each in found.results:
            each.memory = but(each.memory, version=1, updated_at=each.memory.created_at)
        return found


@plant("FIL-1")
def keys_with_dots_are_named():
    right = filters.value_at

    def joined(memory, path):
        deep = right(memory, path)
        return deep if deep is not None else right(memory, (path[0], ".".join(path[1:])))

    return mock.patch.object(filters, "value_at", joined)


@plant("FIL-2")
def null_is_not_missing():
    def differs(stored, value):
        return stored is not None and not filters.among(stored, value)

    return mock.patch.dict(filters.TESTS, {"nin": differs})


@plant("FIL-5")
class FilterIgnoredByVectors(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, filter=None) if request.mode == "vector" else request)


# --- context, batches, related, stats, audit --------------------------------------------------------------------


@plant("CTX-1")
def a_larger_budget_by_default():
    def generous(verb, fields):
        if verb == "context" and fields.get("token_budget") in (None, 500):
            fields["token_budget"] = 4000
        return fields

    return asking(generous)


@plant("CTX-4")
class ContextOfEveryState(MemoryAdapter):
    async def context(self, request):
        every = words(request, include=["superseded", "expired", "upcoming", "archived"])
        return context.assemble((await self.search(every)).results, request.token_budget)


@plant("CTX-4")
class ContextOfEveryone(SearchesEveryone):
    async def context(self, request):
        return context.assemble(await self.search_everyone(words(request)), request.token_budget)


@plant("BAT-2")
class BatchesAreAllOrNothing(MemoryAdapter):
    async def add_many(self, request):
        response = await super().add_many(request)
        if any(result.error for result in response.results):
            for stored in [result.id for result in response.results if result.id]:
                await super().delete(models.DeleteRequest(id=stored))
        return response


@plant("BAT-7")
def empty_batches_are_filled():
    def filled(verb, fields):
        if verb == "add_many" and not fields["items"]:
            fields["items"] = [{"content": "nothing", "user_id": fields["user_id"]}]
        return fields

    return asking(filled)


@plant("CAP-1")
def everyone_shares_the_capabilities():
    return mock.patch.object(models.Capabilities, "model_copy", lambda self, **_: self)


@plant("REL-1")
class RelatedLosesOne(MemoryAdapter):  # asks for as many as it is asked for, and then leaves itself out
    async def related(self, request):
        memory = await self.get(models.GetRequest(id=request.id, user_id=request.user_id))
        search = models.SearchRequest(query=memory.content, user_id=memory.user_id, mode="keyword", limit=request.limit)
        found = (await self.search(search)).results
        return models.SearchResponse(results=[each for each in found if each.memory.id != memory.id])


@plant("STA-1")
def everything_is_current():
    return mock.patch("openmem.protocol.tally.states", lambda memory, now: [])


@plant("AUD-2")
class ChangesAreLoggedLater(MemoryAdapter):  # a buffer that only the next change empties
    waiting: tuple[Any, ...] | None = None

    def log_entry(self, user_id, entry):
        if self.waiting is not None:
            before, self.waiting = self.waiting, None
            super().log_entry(*before)
        if entry.action in ("update", "delete"):
            self.waiting = (user_id, entry)
        else:
            super().log_entry(user_id, entry)


@plant("AUD-2")
class WhatIsRefusedIsLogged(MemoryAdapter):
    def apply_update(self, request, store):
        memory = store.get(request.id)
        if memory is not None:
            store.log(memory.user_id, self.rules.entry("update", memory))
            self.let_stand()
        return super().apply_update(request, store)


@plant("AUD-3")
class SinceIgnoredByTheLog(MemoryAdapter):
    async def audit(self, request):
        return await super().audit(but(request, since=None))


@plant("ERR-3")
class UnknownIdHasNoHistory(MemoryAdapter):
    async def history(self, request):
        try:
            return await super().history(request)
        except NotFoundError:
            return models.HistoryResponse(items=[])


@plant("TIM-1")
class LocalTime(MemoryAdapter):
    async def get(self, request):
        memory = await super().get(request)
        moment = memory.created_at.astimezone(UTC) + timedelta(hours=2)
        return but(memory, created_at=datetime.fromisoformat(f"{moment.replace(tzinfo=None).isoformat()}+02:00"))


# --- the matrix -------------------------------------------------------------------------------------------------


def test_every_defect_has_a_name_of_its_own() -> None:
    assert len({saboteur.name for saboteur in SABOTEURS}) == len(SABOTEURS) >= 25


def test_every_clause_has_a_defect_that_breaks_it() -> None:
    assert {clause for saboteur in SABOTEURS for clause in saboteur.clauses} == {check.clause for check in CHECKS}


@pytest.mark.parametrize("saboteur", SABOTEURS, ids=lambda saboteur: saboteur.name)
def test_is_caught(saboteur: Saboteur) -> None:
    with saboteur.patch():
        report = asyncio.run(run(saboteur.adapter, only=saboteur.clauses))
    assert report.exit_code == 1, report.summary()
    for colour in ("async", "sync"):
        failed = {each.clause for each in report.results if each.outcome == "fail" and each.colour == colour}
        assert set(saboteur.clauses) <= failed, report.summary()
