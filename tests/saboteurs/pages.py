"""Saboteurs of pages: of offsets, of the order of a list, and of the vectors on it; and of what is empty."""

from __future__ import annotations

from unittest import mock

from openmem._generated import models
from openmem.errors import InvalidRequestError
from openmem.layers import items
from openmem.protocol import filters

from .base import MemoryAdapter, but, plant


@plant("SEA-15")
class OffsetIgnored(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, offset=0))


@plant("SEA-15")
class OffsetCountsPages(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, offset=request.offset * request.limit))


@plant("SEA-15")
class EachPageRankedAnew(MemoryAdapter):  # relative to the best of its own page
    async def search(self, request):
        found = (await super().search(request)).results
        highest = max((result.score for result in found), default=0.0) if request.offset else 1.0
        return models.SearchResponse(results=[but(r, score=min(1.0, r.score / (highest or 1.0))) for r in found])


@plant("LST-9")
class AlwaysNewestFirst(MemoryAdapter):
    async def list(self, request):
        return await super().list(but(request, order="newest"))


@plant("LST-9")
class OnlyThePageIsReversed(MemoryAdapter):
    async def list(self, request):
        page = await super().list(but(request, order="newest"))
        return but(page, items=page.items[::-1]) if request.order == "oldest" else page


@plant("LST-10")
class NoVectorsListed(MemoryAdapter):
    async def list(self, request):
        return await super().list(but(request, include_vectors=False))


@plant("LST-10")
class OneVectorForAll(MemoryAdapter):
    async def list(self, request):
        page = await super().list(request)
        for memory in page.items:
            memory.vector = page.items[0].vector
        return page


@plant("BAT-7")
def empty_batches_are_refused():
    right = items.of_the_good

    async def refusing(judged, forward):
        if not judged:
            raise InvalidRequestError("the batch is empty.")
        return await right(judged, forward)

    return mock.patch.object(items, "of_the_good", refusing)


@plant("FIL-8")
def empty_lists_are_passed_over():  # a condition that is left out where there is nothing to compare with
    def among(stored, values):
        return not values or filters.among(stored, values)

    return mock.patch.dict(filters.TESTS, {"in": among})
