"""Saboteurs of search: order, limits, scores, modes and vectors."""

from __future__ import annotations

import re
from typing import Any
from unittest import mock

from openmem._generated import models
from openmem.adapters.memory.indexes import UserIndex
from openmem.protocol import filters, ranking
from openmem.protocol import selection as selecting

from .base import MemoryAdapter, asking, but, plant
from .users import SearchIgnoresTheUser


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
    def apply_add(self, request, store):
        memory = super().apply_add(request, store)
        self.newest = memory.id
        return memory

    async def search(self, request):
        found = await super().search(request)
        found.results = [result for result in found.results if result.memory.id != getattr(self, "newest", None)]
        return found


@plant("SEA-9")
class ScoresDependOnOthers(_BendsResults):
    def results(self, found, request):
        share = 1 / (1 + len(self.store.memories))
        return [but(result, score=result.score * (1 - share)) for result in found]


@plant("SEA-14")
class MeanLengthOfTheUser(MemoryAdapter):
    """Measures a text's length by the mean, as most engines do, so that each text changes the scores of the others."""

    def averaged(self, mine):
        return mine

    async def search(self, request):
        def lengths(ids):
            return {each: len(ranking.terms(self.store.memories[each].content)) for each in ids}

        def scores(index, terms):
            mine, others = lengths(index.least), lengths(self.averaged(list(index.least)))
            mean = sum(others.values()) / max(len(others), 1)
            postings = []
            for term in terms:
                counts = {key: ranking.terms(self.store.memories[key].content).count(term) for key in mine}
                norms = {key: 1.2 * (0.25 + 0.75 * length / (mean or 1)) for key, length in mine.items()}
                postings.append({key: n / (n + norms[key]) for key, n in counts.items() if n})
            return ranking.bm25(postings, count=len(mine))

        with mock.patch.object(UserIndex, "keyword_scores", scores):
            return await super().search(request)


@plant("SEA-14")
def short_texts_count_as_they_are():
    return mock.patch.object(ranking, "SHORTEST", 0)


@plant("SEA-14")
def marks_are_torn_off():
    def terms(text):
        return [term for word in re.findall(r"[^\W_]+", text.lower()) for term in right(word)]

    right = ranking.terms
    return mock.patch.object(ranking, "terms", terms)


@plant("SEA-12")
class ThinResults(_BendsResults):  # hits without metadata
    def results(self, found, request):
        thin = [but(result.memory, metadata=None, tags=None) for result in found]
        return [but(result, memory=memory) for result, memory in zip(found, thin, strict=True)]


@plant("SEA-11")
class OwnVectorsIgnored(MemoryAdapter):
    def apply_add(self, request, store):
        return super().apply_add(but(request, vector=[1.0, *[0.0] * 255]), store)


@plant("SEA-10")
def nothing_finds_everything():
    def filled(verb, fields):
        if verb == "search" and not str(fields.get("query") or "x").strip():
            fields["query"] = "anything"
        return fields

    return asking(filled)
