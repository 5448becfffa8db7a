"""Search by vector through mem0's stores, of which some answer with fewer rows than there are.

A store is asked for more than is wanted, and again for more, until what it left out can change nothing. One whose
answer is short of what it lists of the user is asked deeper too; what it never finds is embedded and compared here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from openmem._generated.models import MemoryRecord, SearchRequest, SearchResponse
from openmem.protocol import selection

from ..kit.vectors import unit
from . import reads
from .envelope import rounded
from .reads import Scored

DEPTH = 60
"""Rows that a search reads at first, as mem0's own does."""
Vectors = Sequence[Sequence[float]]
Call = Callable[..., Awaitable[Any]]
"""Calls a function of the library with arguments, in a thread."""


class Search:
    """One search request. whole: the store finds all there is; embed: texts in, one vector each out."""

    def __init__(
        self,
        request: SearchRequest,
        now: datetime,
        call: Call,
        embed: Callable[[Sequence[str]], Awaitable[Vectors]],
        *,
        whole: bool,
    ) -> None:
        self._request, self._call, self._embed, self._whole = request, call, embed, whole
        self._selected = selection.predicate(request, now)

    async def run(self) -> SearchResponse:
        """Answer the request."""
        request = self._request
        vector: Sequence[float] | None = request.vector
        if vector is None:
            vector = (await self._embed([request.query or ""]))[0]
        reach = selection.reach(request)
        depth = max(DEPTH, 4 * reach)
        while True:
            rows, floor, complete = await self._call(reads.nearest, vector, request.user_id, depth)
            if complete and not self._whole:
                rest = await self._unfound(rows)
                complete = not rest or depth > reads.EVERYTHING
                rows += await self._scored(rest, vector) if complete else []
            best = selection.best(rows, request, self._selected)
            # What was not read scores no better than what was, and may be as good as an equal score.
            if complete or (len(best) == reach and best[-1][1] > floor):
                return SearchResponse(results=selection.results(best[request.offset :]))
            depth *= 4

    async def _unfound(self, rows: Sequence[Scored]) -> list[MemoryRecord]:
        found = {row.memory.id for row in rows}
        return [each for each in await self._call(reads.every, self._request.user_id) if each.id not in found]

    async def _scored(self, memories: Sequence[MemoryRecord], vector: Sequence[float]) -> list[Scored]:
        if not memories:
            return []
        vectors = await self._embed([memory.content for memory in memories])
        query = unit(vector)
        return [Scored(m, rounded(float(unit(v) @ query))) for m, v in zip(memories, vectors, strict=True)]
