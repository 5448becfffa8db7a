"""Search in Qdrant: exact whatever a request selects by, and however scores tie.

The engine gives the nearest points by each vector, as far down as was asked. What it did not give scores at most what
the last ones of its lists come to, so the memories that score more are surely the best; until they are enough, and
rows remain, the lists are asked for again, four times as deep. Where two terms have one number the engine takes them
for each other: then all memories with a number of the query are read, and scored by their texts.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

from openmem._generated.models import MemoryRecord, SearchRequest, SearchResult
from openmem.protocol import cursors, ranking, selection
from openmem.runtime.bridge import offload

from ..kit.vectors import unit
from .engine import DENSE, Engine, Nearest, Payload, Row, Words, words_name
from .filters import Ids, Native, of_user, selecting
from .points import RECORD, dense_of, memory_of
from .store import QdrantStore
from .words import mistaken, number_of

PLACES = 6
"""Decimals of scores: an engine adds in another order at another place, and so differs from itself in later ones."""
NOISE = 3e-7
TIE = 10**-PLACES + 2 * NOISE
"""Scores closer than this may come out equal."""
DEEPER = 4


class Ranked(NamedTuple):
    """The points nearest by one vector, best first, and between what the points not listed score.

    Where the list is complete they have no such vector, which counts as 0; a cosine may be less.
    """

    scores: dict[str, float]
    floor: float = 0.0
    least: float = 0.0
    complete: bool = True


class Found(NamedTuple):
    """The best of a round, in order; what the rest scores at most; and whether there is no rest."""

    results: list[tuple[MemoryRecord, float]]
    bound: float
    complete: bool


class Search:
    """One search request; dense: the name of the dense vectors to search by, None for none."""

    def __init__(self, request: SearchRequest, now: datetime, dense: str | None) -> None:
        self._request, self._name = request, dense or DENSE
        self._reach = selection.reach(request)
        self._condition = selecting(request, now)
        self._selected = selection.predicate(request, now)
        self._dense = self._words = None
        self._terms = list[str]()
        if dense is not None and request.vector is not None and request.mode != "keyword":
            self._dense = dense_of(request.vector)
        if request.query is not None and request.mode != "vector":
            self._terms = list(dict.fromkeys(ranking.terms(request.query)))
        self._asked = {number_of(term): term for term in self._terms}
        if self._asked:
            self._words = Words([*self._asked], [1.0] * len(self._asked))
        self._fuses = self._dense is not None and request.query is not None and request.mode != "vector"
        self._memories: dict[str, MemoryRecord | None] = {}
        """Memories by point; None where the request does not select them."""
        self._payloads: dict[str, Payload] = {}
        self._examined = set[str]()
        self._mistaken = False
        """Whether a memory was found by a number that stands for another term in it."""
        self._exact: Ranked | None = None
        """What texts came to, where numbers do not do."""

    async def run(self, store: QdrantStore) -> list[SearchResult]:
        """Answer the request."""
        engine, collection = store.engine, store.memories
        if self._words is None:
            return await self._found(engine, collection)
        noted = store.any_shared(self._words.indices)
        if engine.notes is None:  # a request more, at the same time
            found, shared = await asyncio.gather(self._found(engine, collection), noted)
        else:
            shared, found = await noted, await self._found(engine, collection)
        if shared or self._mistaken:
            self._exact = await self._by_texts(engine, collection)
            found = await self._found(engine, collection)
        return found

    async def _found(self, engine: Engine, collection: str) -> list[SearchResult]:
        reach, least = self._reach, self._request.min_score or -math.inf
        size = 3 * reach + 16 if self._fuses else reach + 4
        while self._dense or self._words:
            found, bound, complete = await self._round(engine, collection, size)
            sure = [(memory, score) for memory, score in found if complete or score > bound + TIE]
            if complete or len(sure) >= reach or bound + TIE < least:
                page = sure[self._request.offset : reach]
                return selection.results((memory, score) for memory, score in page if score >= least)
            size *= DEEPER
        return []

    async def _round(self, engine: Engine, collection: str, size: int) -> Found:
        """Look so deep by each vector."""
        wanted = (self._dense, self._words if self._exact is None else None)
        asked = [self._nearest(vector, self._condition, size) for vector in wanted if vector]
        answers = iter(await engine.search(collection, asked, RECORD) if asked else ())
        dense = self._ranked(next(answers), size, least=-1.0) if self._dense else Ranked({})
        words = self._exact
        if words is None:
            words = self._ranked(next(answers), size, least=0.0) if self._words else Ranked({})
        highest = next((score for point, score in words.scores.items() if self._read(point) is not None), 0.0)
        if not highest and not words.complete:  # nothing selected yet to which the others are relative
            return Found([], 1.0, False)
        bound = self._score(_most(dense, among=words), words.floor, highest)
        if self._dense and self._words and not (dense.complete and words.complete):
            bound = max(bound, await self._settle(engine, collection, dense, words, highest))
        found = self._best(dense, words.scores, highest)
        return Found(_in_order(found), bound, dense.complete and words.complete)

    def _nearest(self, vector: list[float] | Words, condition: Native, limit: int) -> Nearest:
        if isinstance(vector, Words):
            return Nearest(words_name(), vector, condition, limit, of_user(self._request.user_id))
        return Nearest(self._name, vector, condition, limit)

    def _ranked(self, rows: list[Row], size: int, *, least: float) -> Ranked:
        self._payloads.update((row.id, row.payload) for row in rows)
        scores = {row.id: row.score for row in rows}
        return Ranked(scores) if len(rows) < size else Ranked(scores, rows[-1].score, least, False)

    def _memory(self, point: str) -> MemoryRecord | None:
        """Return a memory if the request selects it; read when it matters, since most of a deep list does not."""
        if point not in self._memories:
            memory = memory_of(self._payloads[point])
            self._memories[point] = memory if self._selected(memory) else None
        return self._memories[point]

    def _read(self, point: str) -> MemoryRecord | None:
        """Return a memory found by words if the request selects it, and see whether it has one that was not meant."""
        memory = self._memory(point)
        if memory is not None and self._exact is None and point not in self._examined:
            self._examined.add(point)
            self._mistaken |= mistaken(ranking.terms(memory.content), self._asked)
        return memory

    async def _by_texts(self, engine: Engine, collection: str) -> Ranked:
        """Score all the user's memories that have a number of the query by their own terms."""
        user = of_user(self._request.user_id)
        count = await engine.count(collection, user)
        if self._words is None or not count:
            return Ranked({})
        [rows] = await engine.search(collection, [self._nearest(self._words, user, count)], RECORD)
        self._payloads.update((row.id, row.payload) for row in rows)
        return Ranked(await offload(self._scored, rows, count))

    def _scored(self, rows: list[Row], count: int) -> dict[str, float]:
        postings: dict[str, dict[str, float]] = {term: {} for term in self._terms}
        for row in rows:
            weights = ranking.weights(ranking.terms(memory_of(row.payload).content))
            for term in postings.keys() & weights.keys():
                postings[term][row.id] = weights[term]
        scores = ranking.bm25(postings.values(), count=count)
        return dict(sorted(scores.items(), key=itemgetter(1), reverse=True))

    async def _settle(self, engine: Engine, collection: str, dense: Ranked, words: Ranked, highest: float) -> float:
        """Fetch the other score of points in one list that may be among the best; return what the rest scores at most.

        A point that a list does not hold scores between the least and the floor by it.
        """
        points = {**dense.scores, **words.scores}
        most = _most(dense, among=words)
        lower = {
            each: self._score(dense.scores.get(each, dense.least), words.scores.get(each, 0.0), highest)
            for each in points
        }
        upper = {
            each: self._score(dense.scores.get(each, most), words.scores.get(each, words.floor), highest)
            for each in points
        }
        best = heapq.nlargest(self._reach, lower.values())
        hopeful = {each for each in points if upper[each] >= best[-1] - TIE} if best else set()
        far = [each for each in hopeful if each not in dense.scores]
        if far and self._dense and not dense.complete:
            query, vectors = unit(self._dense), await engine.vectors(collection, self._name, far)
            dense.scores.update(
                {each: float(unit(vectors[each]).dot(query)) if each in vectors else 0.0 for each in far}
            )
        near = [each for each in hopeful if each not in words.scores]
        if near and self._words and not words.complete:
            asked = self._nearest(self._words, Ids(tuple(near)), len(near))
            words.scores.update({row.id: row.score for row in (await engine.search(collection, [asked], ()))[0]})
        open_ = (each for each in points if each not in hopeful and upper[each] > lower[each])
        return max((upper[each] for each in open_), default=-math.inf)

    def _best(self, dense: Ranked, words: dict[str, float], highest: float) -> list[tuple[MemoryRecord, float]]:
        """Take the best selected points, and all that tie with the last."""
        reach, found, cosines = self._reach, list[tuple[MemoryRecord, float]](), dense.scores
        waiting = [
            (-self._score(cosines.get(each, dense.least), words.get(each, 0.0), highest), each)
            for each in {**cosines, **words}
        ]
        heapq.heapify(waiting)
        while waiting and (len(found) < reach or -waiting[0][0] >= found[reach - 1][1] - TIE):
            score, point = heapq.heappop(waiting)
            memory = self._read(point) if point in words else self._memory(point)
            if memory is not None:
                found.append((memory, -score))
        return found

    def _score(self, cosine: float, keyword: float, highest: float) -> float:
        cosine, keyword = min(cosine, 1.0), min(keyword, highest)  # above the best selected one none is selected
        if self._fuses:
            return ranking.fuse(keyword, highest, cosine)
        if self._dense:
            return cosine
        return keyword / highest if highest else 0.0


def _most(dense: Ranked, among: Ranked) -> float:
    """Bound the cosine of points beyond a list; where words may find more, some of these may have no vector."""
    return dense.floor if among.complete else max(dense.floor, 0.0)


def _in_order(found: list[tuple[MemoryRecord, float]]) -> list[tuple[MemoryRecord, float]]:
    """Sort best first, equal scores newest first; scores that differ by noise become equal."""
    found.sort(key=lambda pair: pair[1], reverse=True)
    head, even = math.inf, []
    for memory, score in found:
        head = head if head - score <= NOISE else score
        even.append((memory, round(head, PLACES)))
    even.sort(key=lambda pair: (pair[1], *cursors.position(pair[0])), reverse=True)
    return even
