"""One user's search index: words in the file, vectors in memory as of one snapshot of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from sqlite3 import Connection

import numpy as np

from openmem._generated.models import EmbeddingInfo
from openmem.errors import ConfigurationError
from openmem.protocol import ranking
from openmem.runtime.fork import Lock

from ..kit.vectors import VectorIndex

FEW = 500
"""Values that one statement is given in a list."""
KEPT = 4096
"""Revisions of a user for which removals are kept: who last looked before that reads every vector anew."""


class CachedVectors:
    """A user's vectors as of a revision of the user; the lock is held while they are used."""

    def __init__(self, dimension: int) -> None:
        self.lock = Lock()
        self._dimension = dimension
        self._forget()

    def _forget(self) -> None:
        self.revision = 0
        self.index = VectorIndex[int](self._dimension)

    def at(self, connection: Connection, user: int, check: Callable[[], None]) -> VectorIndex[int]:
        """Return the vectors of the snapshot that the connection reads, by what has changed since those held.

        All are read where that cannot be known: the snapshot is an older one, or removals are no longer kept.
        check: called before any is read. Those held need none, since embedding a store anew changes every revision.
        """
        revision, count = connection.execute("SELECT revision, vectors FROM users WHERE key = ?", (user,)).fetchone()
        if revision == self.revision:
            return self.index
        check()
        try:
            if revision > self.revision > 0:
                self._follow(connection, user)
            if revision < self.revision or len(self.index) != count:
                self._forget()
                self._read(connection, user)
            self.revision = revision
        except BaseException:  # an interrupt too: what is half-way is no revision
            self._forget()
            raise
        return self.index

    def _follow(self, connection: Connection, user: int) -> None:
        self._read(connection, user)
        query = "SELECT memory FROM removed WHERE user = ? AND revision > ?"
        for (key,) in connection.execute(query, (user, self.revision)).fetchall():
            self.index.discard(key)

    def _read(self, connection: Connection, user: int) -> None:
        query = "SELECT memory, data FROM vectors WHERE user = ? AND revision > ? ORDER BY revision, memory"
        for key, data in connection.execute(query, (user, self.revision)):
            if len(data) != 4 * self._dimension:
                raise ConfigurationError("the store has vectors of several widths.", remedy="Run `openmem reembed`.")
            self.index.put(key, np.frombuffer(data, dtype="<f4"))


class Caches:
    """The vectors of the users last searched."""

    def __init__(self, embedding: EmbeddingInfo | None, most: int, epoch: int = 0) -> None:
        self.embedding, self._most, self.epoch = embedding, most, epoch
        self._lock = Lock()
        self._users: OrderedDict[str, CachedVectors] = OrderedDict()

    def of(self, user_id: str, *, new: bool) -> CachedVectors | None:
        """Return a user's vectors; None without an embedding, and where there are none yet unless new ones may be."""
        if self.embedding is None:
            return None
        with self._lock:
            cached = self._users.get(user_id)
            if cached is None:
                if not new:
                    return None
                cached = self._users[user_id] = CachedVectors(self.embedding.dimension)
                if len(self._users) > self._most:
                    self._users.popitem(last=False)
            self._users.move_to_end(user_id)
            return cached

    def drop(self, user_id: str) -> None:
        """Let go of a user's vectors; who uses them meanwhile keeps them to the end."""
        with self._lock:
            self._users.pop(user_id, None)


class UserIndex:
    """What search reads of one user."""

    def __init__(self, connection: Connection, user: int, vectors: Callable[[], VectorIndex[int]] | None) -> None:
        self._connection, self._user, self._vectors = connection, user, vectors

    def vectors(self) -> VectorIndex[int] | None:
        """Read the user's vectors."""
        return self._vectors() if self._vectors else None

    def keyword_scores(self, terms: Sequence[str]) -> dict[int, float]:
        """Return the BM25 scores of the user's memories that hold any of the terms."""
        query = "SELECT memories FROM users WHERE key = ?"
        (count,) = self._connection.execute(query, (self._user,)).fetchone() or (0,)
        postings: dict[str, dict[int, float]] = {term: {} for term in terms}
        for start in range(0, len(terms), FEW):
            some = terms[start : start + FEW]
            marks = ",".join("?" * len(some))
            query = f"SELECT term, memory, weight FROM postings WHERE user = ? AND term IN ({marks})"  # noqa: S608
            for term, key, weight in self._connection.execute(query, (self._user, *some)):
                postings[term][key] = weight
        return ranking.bm25(postings.values(), count=count)
