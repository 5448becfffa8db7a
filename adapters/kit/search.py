"""Exact search of backends in this process: one algorithm, so the same answer, whatever holds the data."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from openmem._generated.models import MemoryRecord, SearchRequest
from openmem.protocol import cursors, ranking
from openmem.protocol.selection import reach

from .vectors import VectorIndex

Key = TypeVar("Key")
Scores = NDArray[np.float64]
Load = Callable[[Sequence[Key]], Mapping[Key, MemoryRecord]]
"""Returns those of the keys whose memories the request selects."""
MANY = 1000
"""Memories beyond which sorting, which lets no other thread run, is not for all of them."""


class Source(Protocol[Key]):
    """One user's index as search needs it."""

    def vectors(self) -> VectorIndex[Key] | None:
        """Return the user's vectors."""

    def keyword_scores(self, terms: Sequence[str]) -> dict[Key, float]:
        """Return the BM25 scores of the user's memories that hold any of the terms."""


def search(request: SearchRequest, source: Source[Key], load: Load[Key]) -> list[tuple[MemoryRecord, float]]:
    """Rank one user's memories by request.mode and return the best that are selected and reach min_score, less offset.

    Cosines below zero rank as they are; the score that is told, to which min_score applies, is at least 0.
    """
    keys, scores = _score(request, source, load)
    least = request.min_score
    if least is not None and least > 0:
        kept = np.flatnonzero(scores >= least).tolist()
        keys, scores = [keys[row] for row in kept], scores[kept]
    return best(keys, scores, load, reach(request))[request.offset :]


def _score(request: SearchRequest, source: Source[Key], load: Load[Key]) -> tuple[Sequence[Key], Scores]:
    keys: Sequence[Key] = []
    cosines: Scores = np.empty(0)
    query = request.vector if request.mode != "keyword" else None
    vectors = source.vectors() if query is not None else None
    if query is not None and vectors is not None:
        keys, cosines = vectors.keys, vectors.similarities(vectors.fitting(query))
    if request.mode == "vector" or request.query is None:
        return keys, cosines
    words = source.keyword_scores(list(dict.fromkeys(ranking.terms(request.query))))
    highest = _highest(words, load)
    if vectors is None:
        relative = [score / highest for score in words.values()] if highest else [0.0] * len(words)
        return list(words), np.minimum(np.array(relative), 1.0)
    return _fused(keys, cosines, words, highest, vectors)


def _highest(words: Mapping[Key, float], load: Load[Key]) -> float:
    """Find the best keyword score among the selected memories, to which the others are relative."""
    if not words:
        return 0.0
    found = best(list(words), np.fromiter(words.values(), float, len(words)), load, 1)
    return found[0][1] if found else 0.0


def _fused(
    keys: Sequence[Key], cosines: Scores, words: Mapping[Key, float], highest: float, vectors: VectorIndex[Key]
) -> tuple[Sequence[Key], Scores]:
    """Fuse both scores; a memory without a vector takes part by its words alone."""
    scores = ranking.fuse(0.0, 0.0, 1.0) * cosines
    beyond: list[Key] = []
    extra: list[float] = []
    for key, score in words.items():
        row = vectors.row_of.get(key)
        keyword = min(score, highest)  # what scores above the best selected one is not selected itself
        if row is None:
            beyond.append(key)
            extra.append(ranking.fuse(keyword, highest, 0.0))
        else:
            scores[row] = ranking.fuse(keyword, highest, float(cosines[row]))
    return [*keys, *beyond], np.concatenate([scores, np.array(extra, dtype=np.float64)])


def best(keys: Sequence[Key], scores: Scores, load: Load[Key], limit: int) -> list[tuple[MemoryRecord, float]]:
    """Return the `limit` best selected memories: by score, ties newest first.

    Walks down in bands of equal or falling score, loading only as many memories as the limit needs: exact under any
    selection, and cheap where most memories are selected.
    """
    found: list[tuple[MemoryRecord, float]] = []
    ceiling, size = np.inf, limit
    while len(found) < limit:
        below = np.flatnonzero(scores < ceiling)
        if not len(below):
            break
        if len(below) > size:
            floor = np.partition(scores[below], len(below) - size)[len(below) - size]
            band = below[scores[below] >= floor]
        else:
            floor, band = -np.inf, below
        asked = [keys[row] for row in band.tolist()]
        selected = load(asked)
        scored = zip(asked, scores[band].tolist(), strict=True)
        ranked = [(score, *cursors.position(selected[key]), selected[key]) for key, score in scored if key in selected]
        if len(ranked) > MANY:
            ranked = heapq.nlargest(limit - len(found), ranked)
        ranked.sort(reverse=True)
        found += [(memory, score) for score, _, _, memory in ranked]
        ceiling, size = floor, 4 * size
    return found[:limit]
