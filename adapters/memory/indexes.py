"""The indexes that memory:// keeps of one user's records."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from openmem import cursors, ranking
from openmem._generated.models import Memory

from ..vectors import Floats, VectorIndex
from .costs import weight


class UserIndex:
    """One user's indexes."""

    def __init__(self, dimension: int | None) -> None:
        self.order: list[cursors.Position] = []
        self.external: dict[str, str] = {}
        self.index = VectorIndex[str](dimension) if dimension is not None else None
        # Term -> memories and how often each holds it. Most terms are in one memory, once: its id alone says so.
        self.postings: dict[str, str | dict[str, int]] = {}
        self.lengths: dict[str, int] = {}
        self.total_length = 0
        self.weight = 0

    def vectors(self) -> VectorIndex[str] | None:
        """Return the vectors; None without an embedding."""
        return self.index

    def keyword_scores(self, terms: Sequence[str]) -> dict[str, float]:
        """Return the BM25 scores of the memories that hold any of the terms."""
        postings = [self._posting(term) for term in terms if term in self.postings]
        return ranking.bm25(postings, self.lengths, count=len(self.lengths), total_length=self.total_length)

    def _posting(self, term: str) -> dict[str, int]:
        posting = self.postings[term]
        return {posting: 1} if isinstance(posting, str) else posting

    def fitting(self, vector: Sequence[float] | None) -> Floats | None:
        """Return the vector as the index keeps it; InvalidRequestError where it is of another width."""
        return None if vector is None or self.index is None else self.index.fitting(vector)

    def vector(self, memory_id: str) -> Floats | None:
        """Return a copy of the vector of a memory, if it has one."""
        return None if self.index is None else self.index.get(memory_id)

    def add(self, memory: Memory, vector: Floats | None) -> None:
        """Index a memory."""
        bisect.insort(self.order, cursors.position(memory))
        if memory.external_id is not None:
            self.external[memory.external_id] = memory.id
        self._index(memory, vector)

    def change(self, old: Memory, new: Memory, vector: Floats | None) -> None:
        """Index what is new about a memory."""
        if new.content != old.content:
            self._forget(old)
            self._index(new, vector)
        else:
            self.weight += weight(new) - weight(old)
            if vector is not None and self.index is not None:
                self.index.put(new.id, vector)

    def discard(self, memory: Memory) -> None:
        """Remove all that is indexed of a memory."""
        del self.order[bisect.bisect_left(self.order, cursors.position(memory))]
        if memory.external_id is not None:
            del self.external[memory.external_id]
        self._forget(memory)
        if self.index is not None:
            self.index.discard(memory.id)

    def _index(self, memory: Memory, vector: Floats | None) -> None:
        terms = ranking.terms(memory.content)
        key, postings = memory.id, self.postings
        for term, count in ranking.frequencies(terms).items():
            posting = postings.get(term)
            if posting is None:
                postings[term] = key if count == 1 else {key: count}
            elif isinstance(posting, str):
                postings[term] = {posting: 1, key: count}
            else:
                posting[key] = count
        self.lengths[key] = len(terms)
        self.total_length += len(terms)
        self.weight += weight(memory)
        if vector is not None and self.index is not None:
            self.index.put(key, vector)

    def _forget(self, memory: Memory) -> None:
        for term in set(ranking.terms(memory.content)):
            posting = self._posting(term)
            del posting[memory.id]
            if posting:
                self.postings[term] = posting
            else:
                del self.postings[term]
        self.total_length -= self.lengths.pop(memory.id)
        self.weight -= weight(memory)
