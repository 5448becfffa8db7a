"""The indexes that memory:// keeps of one user's records."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from openmem._generated.models import MemoryRecord
from openmem.protocol import cursors, ranking

from ..kit.vectors import Floats, VectorIndex
from .costs import weight


class Names:
    """The users of a store in order, looked through anew only where there are others than before."""

    def __init__(self) -> None:
        self._ordered: list[str] = []
        self._as_of: tuple[int, str | None] | None = None

    def reset(self) -> None:
        """Look through the users anew: some are gone."""
        self._as_of = None

    def after(self, name: str | None, users: dict[str, UserIndex]) -> Iterator[str]:
        """Walk the names of users by code points, from after one; users is in the order in which they came."""
        as_of = len(users), next(reversed(users), None)
        if as_of != self._as_of:
            self._ordered, self._as_of = sorted(users), as_of
        place = 0 if name is None else bisect.bisect_right(self._ordered, name)
        return (self._ordered[number] for number in range(place, len(self._ordered)))


class UserIndex:
    """One user's indexes."""

    def __init__(self, dimension: int | None) -> None:
        self.order: list[cursors.Position] = []
        self.external: dict[str, str] = {}
        self.index = VectorIndex[str](dimension) if dimension is not None else None
        # Term -> memories and its weight in each. Most terms are in one memory, once: its id alone says so.
        self.postings: dict[str, str | dict[str, float]] = {}
        self.least: dict[str, float] = {}
        """Memory -> the weight of most of its terms: those that it holds least often."""
        self.weight = 0

    def vectors(self) -> VectorIndex[str] | None:
        """Return the vectors; None without an embedding."""
        return self.index

    def keyword_scores(self, terms: Sequence[str]) -> dict[str, float]:
        """Return the BM25 scores of the memories that hold any of the terms."""
        postings = [self.posting(term) for term in terms if term in self.postings]
        return ranking.bm25(postings, count=len(self.least))

    def posting(self, term: str) -> dict[str, float]:
        """Return the memories that hold a term, with its weight in each."""
        posting = self.postings[term]
        return {posting: self.least[posting]} if isinstance(posting, str) else posting

    def fitting(self, vector: Sequence[float] | None) -> Floats | None:
        """Return the vector as the index keeps it; InvalidRequestError where it is of another width."""
        return None if vector is None or self.index is None else self.index.fitting(vector)

    def vector(self, memory_id: str) -> Floats | None:
        """Return a copy of the vector of a memory, if it has one."""
        return None if self.index is None else self.index.get(memory_id)

    def add(self, memory: MemoryRecord, vector: Floats | None) -> None:
        """Index a memory."""
        place = cursors.position(memory)
        if not self.order or self.order[-1] < place:  # as is every new one, unless the clock was set back
            self.order.append(place)
        else:
            bisect.insort(self.order, place)
        if memory.external_id is not None:
            self.external[memory.external_id] = memory.id
        self._index(memory, vector)

    def change(self, old: MemoryRecord, new: MemoryRecord, vector: Floats | None) -> None:
        """Index what is new about a memory."""
        if new.content != old.content:
            self.forget_words(old)
            self._index(new, vector)
        else:
            self.weight += weight(new) - weight(old)
            if vector is not None and self.index is not None:
                self.index.put(new.id, vector)

    def discard(self, memory: MemoryRecord) -> None:
        """Remove all that is indexed of a memory."""
        del self.order[bisect.bisect_left(self.order, cursors.position(memory))]
        if memory.external_id is not None:
            del self.external[memory.external_id]
        self.forget_words(memory)
        if self.index is not None:
            self.index.discard(memory.id)

    def _index(self, memory: MemoryRecord, vector: Floats | None) -> None:
        key, postings = memory.id, self.postings
        weights = ranking.weights(ranking.terms(memory.content))
        least = self.least[key] = min(weights.values(), default=0.0)
        for term, each in weights.items():
            posting = postings.get(term)
            if isinstance(posting, dict):
                posting[key] = each
            elif posting is None:
                postings[term] = key if each == least else {key: each}
            else:
                postings[term] = {posting: self.least[posting], key: each}
        self.weight += weight(memory)
        if vector is not None and self.index is not None:
            self.index.put(key, vector)

    def forget_words(self, memory: MemoryRecord) -> None:
        """Remove the terms of a memory, and its weight."""
        for term in set(ranking.terms(memory.content)):
            posting = self.posting(term)
            del posting[memory.id]
            if posting:
                self.postings[term] = posting
            else:
                del self.postings[term]
        del self.least[memory.id]
        self.weight -= weight(memory)
