"""Search in Qdrant: exact whatever a request selects by, and however scores tie.

The engine gives the nearest points by each vector, as far down as was asked. What it did not give scores at most what
the last ones of its lists come to, so the memories that score more are surely the best; until they are enough, and
rows remain, the lists are asked for again, four times as deep.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import NamedTuple

from openmem import ranking, selection
from openmem._generated.models import Memory, SearchRequest, SearchResult

from .qdrant_engine import Engine, Nearest, Row, Words
from .qdrant_filters import Ids, Native, of_user, selecting
from .qdrant_records import RECORD, asked_words, dense_of, memory_of
from .vectors import unit

PLACES = 6
"""Decimals of scores: an engine adds in another order at another place, and so differs from itself in later ones."""
NOISE = 3e-7
TIE = 10**-PLACES + 2 * NOISE
"""Scores closer than this may come out equal."""
DEEPER = 4


class Ranked(NamedTuple):
    """The selected points nearest by one vector, and what the points not listed score at most."""

    scores: dict[str, float]
    floor: float = 0.0
    complete: bool = True


class Search:
    """One search request; embeds: whether the store has dense vectors."""

    def __init__(self, request: SearchRequest, now: datetime, *, embeds: bool) -> None:
        self._request = request
        self._condition = selecting(request, now)
        self._selected = selection.predicate(request, now)
        self._dense = self._words = None
        self._terms: frozenset[str] = frozenset()
        if embeds and request.vector is not None and request.mode != "keyword":
            self._dense = dense_of(request.vector)
        if request.query is not None and request.mode != "vector":
            self._terms = frozenset(ranking.terms(request.query))
            self._words = asked_words(sorted(self._terms)) if self._terms else None
        self._fuses = self._dense is not None and request.query is not None and request.mode != "vector"
        self._memories: dict[str, Memory | None] = {}
        """Memories by point; None where the request does not select them."""

    async def run(self, engine: Engine, collection: str) -> list[SearchResult]:
        """Answer the request."""
        limit, least = self._request.limit, self._request.min_score or 0.0
        size = 3 * limit + 16 if self._fuses else limit + 4
        while self._dense or self._words:
            found, bound, complete = await self._round(engine, collection, size)
            sure = [each for each in found if complete or each.score > bound + TIE]
            if complete or len(sure) >= limit or bound + TIE < least:
                return [each for each in sure[:limit] if each.score >= least]
            size *= DEEPER
        return []

    async def _round(self, engine: Engine, collection: str, size: int) -> tuple[list[SearchResult], float, bool]:
        """Look so deep; return what was found, what the rest scores at most, and whether there is no rest."""
        asked = [self._nearest(vector, self._condition, size) for vector in (self._dense, self._words) if vector]
        answers = iter(await engine.search(collection, asked, RECORD))
        dense = self._ranked(next(answers), size) if self._dense else Ranked({})
        words = self._with_words(self._ranked(next(answers), size)) if self._words else Ranked({})
        if self._dense and self._words:
            await self._complete(engine, collection, dense, words)
        highest = max(words.scores.values(), default=0.0)
        if not words.complete and not highest:  # nothing selected yet to which the others are relative
            return [], 1.0, False
        bound = self._score(dense.floor, min(words.floor, highest), highest)
        results = [
            SearchResult(
                memory=memory, score=self._score(dense.scores.get(each, 0.0), words.scores.get(each, 0.0), highest)
            )
            for each in {**dense.scores, **words.scores}
            if (memory := self._memories[each]) is not None
        ]
        return _in_order(results), bound, dense.complete and words.complete

    def _nearest(self, vector: list[float] | Words, condition: Native, limit: int) -> Nearest:
        corpus = of_user(self._request.user_id) if isinstance(vector, Words) else None
        return Nearest(vector, condition, limit, corpus)

    def _ranked(self, rows: list[Row], size: int) -> Ranked:
        scores = {row.id: max(row.score, 0.0) for row in rows if self._memory(row) is not None}
        complete = len(rows) < size
        return Ranked(scores, 0.0 if complete else max(rows[-1].score, 0.0), complete)

    def _memory(self, row: Row) -> Memory | None:
        if row.id not in self._memories:
            memory = memory_of(row.payload)
            self._memories[row.id] = memory if self._selected(memory) else None
        return self._memories[row.id]

    def _with_words(self, ranked: Ranked) -> Ranked:
        """Leave out what only has terms of the same numbers."""
        scores = {each: score for each, score in ranked.scores.items() if self._has_words(self._memories[each])}
        return ranked._replace(scores=scores)

    def _has_words(self, memory: Memory | None) -> bool:
        return memory is not None and not self._terms.isdisjoint(ranking.terms(memory.content))

    async def _complete(self, engine: Engine, collection: str, dense: Ranked, words: Ranked) -> None:
        """Fetch the scores of what only the other list holds."""
        far = words.scores.keys() - dense.scores.keys()
        if far and not dense.complete and self._dense:
            query = unit(self._dense)
            vectors = await engine.vectors(collection, [*far])
            dense.scores.update({each: max(float(unit(v).dot(query)), 0.0) for each, v in vectors.items()})
        near = dense.scores.keys() - words.scores.keys()
        near = {each for each in near if self._has_words(self._memories[each])}
        if near and not words.complete and self._words:
            asked = self._nearest(self._words, Ids(tuple(near)), len(near))
            for row in (await engine.search(collection, [asked], ()))[0]:
                words.scores[row.id] = row.score

    def _score(self, cosine: float, keyword: float, highest: float) -> float:
        cosine = min(cosine, 1.0)
        if self._fuses:
            return ranking.fuse(keyword, highest, cosine)
        if self._dense:
            return cosine
        return keyword / highest if highest else 0.0


def _in_order(results: list[SearchResult]) -> list[SearchResult]:
    """Sort best first, equal scores newest first; scores that differ by noise become equal."""
    results.sort(key=lambda each: each.score, reverse=True)
    head = math.inf
    for each in results:
        head = head if head - each.score <= NOISE else each.score
        each.score = round(head, PLACES)
    results.sort(key=lambda each: (each.score, each.memory.created_at, each.memory.id), reverse=True)
    return results
