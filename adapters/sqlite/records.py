"""The records of sqlite:// over one connection: inverted index, vectors and audit log."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from sqlite3 import Connection
from typing import Any, Protocol

import numpy as np

from openmem import cursors, ranking
from openmem._generated.models import EmbeddingInfo, Memory, Stats
from openmem.clock import from_micros, micros
from openmem.tally import Tally

from ..native import UNFINISHED, other_embedding
from ..rules import linked
from ..store import Logged
from ..vectors import VectorIndex, unit


def _json(memory: Memory) -> str:
    return memory.model_dump_json(exclude_none=True)


class Shared(Protocol):
    """What the connections of one adapter have in common."""

    def cache(self, user: int) -> CachedVectors | None:
        """Return a user's cached vectors; None without an embedding."""

    def keep_back(self, user_id: str, entry: Logged) -> None:
        """Keep the audit entry of a read until the next write."""

    def flush(self, connection: Connection) -> None:
        """Store the audit entries kept back."""


class CachedVectors:
    """A user's vectors as of a revision of the user; the lock is held while they are used."""

    def __init__(self, dimension: int) -> None:
        self.lock = threading.Lock()
        self.dimension = dimension
        self.revision = 0
        self.index = VectorIndex[int](dimension)

    def refresh(self, connection: Connection, user: int) -> VectorIndex[int]:
        """Read what changed since the revision held; all of it where something was deleted."""
        connection.execute("BEGIN")
        try:
            query = "SELECT revision, vectors FROM users WHERE key = ?"
            revision, count = connection.execute(query, (user,)).fetchone()
            if revision != self.revision:
                self._read(connection, user, since=self.revision)
                if len(self.index) != count:
                    self.index = VectorIndex[int](self.dimension)
                    self._read(connection, user, since=0)
                self.revision = revision
        finally:
            connection.execute("COMMIT")
        return self.index

    def _read(self, connection: Connection, user: int, since: int) -> None:
        query = "SELECT memory, data FROM vectors WHERE user = ? AND revision > ? ORDER BY revision, memory"
        for key, data in connection.execute(query, (user, since)):
            self.index.put(key, np.frombuffer(data, dtype="<f4"))


class _User:
    """One user's search index in the file."""

    def __init__(self, connection: Connection, user: int, index: VectorIndex[int] | None) -> None:
        self._connection, self._user, self._index = connection, user, index

    def vectors(self) -> VectorIndex[int] | None:
        return self._index

    def keyword_scores(self, terms: Sequence[str]) -> dict[int, float]:
        query = "SELECT memories, length FROM users WHERE key = ?"
        count, length = self._connection.execute(query, (self._user,)).fetchone() or (0, 0)
        postings: dict[str, dict[int, int]] = {term: {} for term in terms}
        lengths: dict[int, int] = {}
        marks = ",".join("?" * len(terms))
        query = f"SELECT term, memory, count, length FROM postings WHERE user = ? AND term IN ({marks})"  # noqa: S608
        for term, key, frequency, size in self._connection.execute(query, (self._user, *terms)):
            postings[term][key] = frequency
            lengths[key] = size
        return ranking.bm25(postings.values(), lengths, count=count, total_length=length)


class Records:
    """The store over one connection."""

    def __init__(self, shared: Shared, connection: Connection, *, writes: bool) -> None:
        self._shared, self._connection, self._writes = shared, connection, writes
        self._users: dict[str, int | None] = {}

    def _user(self, user_id: str) -> int | None:
        if self._users.get(user_id) is None:
            find = "SELECT key FROM users WHERE user_id = ?"
            if self._writes:
                self._connection.execute("INSERT OR IGNORE INTO users (user_id) VALUES (?)", (user_id,))
            row = self._connection.execute(find, (user_id,)).fetchone()
            self._users[user_id] = row[0] if row else None
        return self._users[user_id]

    def get(self, memory_id: str) -> Memory | None:
        row = self._connection.execute("SELECT record FROM memories WHERE id = ?", (memory_id,)).fetchone()
        return Memory.model_validate_json(row[0]) if row else None

    def by_external_id(self, user_id: str, external_id: str) -> Memory | None:
        query = "SELECT record FROM memories WHERE user = ? AND external_id = ?"
        row = self._connection.execute(query, (self._user(user_id), external_id)).fetchone()
        return Memory.model_validate_json(row[0]) if row else None

    def insert(self, memory: Memory, vector: Sequence[float] | None) -> None:
        user = self._user(memory.user_id)
        key = self._connection.execute(
            "INSERT INTO memories (id, user, external_id, created_at, record) VALUES (?, ?, ?, ?, ?)",
            (memory.id, user, memory.external_id, micros(memory.created_at), _json(memory)),
        ).lastrowid
        self._index_content(key, user, memory.content)
        if vector is not None:
            self._put_vector(key, user, vector, added=1)

    def replace(self, old: Memory, new: Memory, vector: Sequence[float] | None) -> None:
        key, user = self._key(new)
        self._connection.execute("UPDATE memories SET record = ? WHERE key = ?", (_json(new), key))
        if new.content != old.content:
            self._forget_content(key, user, old.content)
            self._index_content(key, user, new.content)
        if vector is not None:
            had = self._connection.execute("SELECT 1 FROM vectors WHERE memory = ?", (key,)).fetchone()
            self._put_vector(key, user, vector, added=0 if had else 1)

    def remove(self, memory: Memory) -> None:
        key, user = self._key(memory)
        self._connection.execute("DELETE FROM memories WHERE key = ?", (key,))
        self._forget_content(key, user, memory.content)
        if self._connection.execute("DELETE FROM vectors WHERE memory = ?", (key,)).rowcount:
            self._connection.execute(
                "UPDATE users SET revision = revision + 1, vectors = vectors - 1 WHERE key = ?", (user,)
            )

    def _key(self, memory: Memory) -> tuple[int, int]:
        query = "SELECT key, user FROM memories WHERE id = ?"
        key, user = self._connection.execute(query, (memory.id,)).fetchone()
        return key, user

    def _index_content(self, key: int | None, user: int | None, content: str) -> None:
        terms = ranking.terms(content)
        length = len(terms)
        self._connection.executemany(
            "INSERT INTO postings (user, term, memory, count, length) VALUES (?, ?, ?, ?, ?)",
            [(user, term, key, count, length) for term, count in ranking.frequencies(terms).items()],
        )
        self._count(user, 1, length)

    def _forget_content(self, key: int, user: int, content: str) -> None:
        terms = ranking.terms(content)
        self._connection.executemany(
            "DELETE FROM postings WHERE user = ? AND term = ? AND memory = ?",
            [(user, term, key) for term in set(terms)],
        )
        self._count(user, -1, -len(terms))

    def _count(self, user: int | None, memories: int, length: int) -> None:
        query = "UPDATE users SET memories = memories + ?, length = length + ? WHERE key = ?"
        self._connection.execute(query, (memories, length, user))

    def _put_vector(self, key: int | None, user: int | None, vector: Sequence[float], *, added: int) -> None:
        query = "UPDATE users SET revision = revision + 1, vectors = vectors + ? WHERE key = ?"
        self._connection.execute(query, (added, user))
        self._connection.execute(
            "INSERT OR REPLACE INTO vectors (memory, user, revision, data)"
            " VALUES (?, ?, (SELECT revision FROM users WHERE key = ?), ?)",
            (key, user, user, unit(vector).astype("<f4").tobytes()),
        )

    def newest_first(
        self, user_id: str, after: cursors.Position | None, since: datetime | None, until: datetime | None
    ) -> Iterator[Memory]:
        query = "SELECT record FROM memories WHERE user = ?"
        values: list[Any] = [self._user(user_id)]
        if after is not None:
            query += " AND (created_at, id) < (?, ?)"
            values += [micros(after[0]), after[1]]
        for bound, operator in ((since, ">="), (until, "<=")):
            if bound is not None:
                query += f" AND created_at {operator} ?"
                values.append(micros(bound))
        for (record,) in self._connection.execute(query + " ORDER BY created_at DESC, id DESC", values):
            yield Memory.model_validate_json(record)

    def chain(self, memory: Memory) -> Iterable[Memory]:
        chain, waiting = {memory.id: memory}, [memory]
        while waiting:
            for each in linked(waiting.pop()):
                other = self.get(each) if each not in chain else None
                if other is not None and other.user_id == memory.user_id:
                    chain[other.id] = other
                    waiting.append(other)
        return chain.values()

    def stats(self, user_id: str, now: datetime) -> Stats:
        tally = Tally(user_id, now)
        tally.count(self.newest_first(user_id, None, None, None))
        return tally.stats()

    @contextmanager
    def source(self, user_id: str) -> Iterator[_User]:
        user = self._user(user_id)
        cached = self._shared.cache(user) if user is not None else None
        if user is None or cached is None:
            yield _User(self._connection, user or 0, None)
            return
        with cached.lock:
            yield _User(self._connection, user, cached.refresh(self._connection, user))

    def load(self, user_id: str, keys: Sequence[int]) -> Iterator[tuple[int, Memory]]:
        for start in range(0, len(keys), 500):
            some = keys[start : start + 500]
            query = f"SELECT key, record FROM memories WHERE key IN ({','.join('?' * len(some))})"  # noqa: S608
            for key, record in self._connection.execute(query, some):
                yield key, Memory.model_validate_json(record)

    def hand_out(self, memory: Memory) -> Memory:
        return memory  # each is read or made afresh

    def log(self, user_id: str, entry: Logged) -> None:
        if self._writes:
            self.log_all([(user_id, entry)])
        else:
            self._shared.keep_back(user_id, entry)

    def log_all(self, entries: Sequence[tuple[str, Logged]]) -> None:
        self._connection.executemany(
            "INSERT INTO audit (user, timestamp, app, action, memory_id, scope, request_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(self._user(user_id), micros(entry.timestamp), *entry[1:]) for user_id, entry in entries],
        )

    def logged(self, user_id: str) -> Iterator[Logged]:
        self._shared.flush(self._connection)
        query = "SELECT timestamp, app, action, memory_id, scope, request_id FROM audit WHERE user = ?"
        for timestamp, *rest in self._connection.execute(query + " ORDER BY key DESC", (self._user(user_id),)):
            yield Logged(from_micros(timestamp), *rest)

    # --- the store as a whole ---------------------------------------------------------------------------------

    def hold_to(self, embedding: EmbeddingInfo | None) -> None:
        """Record the embedding of a new store; refuse another one for a store that has memories."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = 'embedding'").fetchone()
        held = EmbeddingInfo.model_validate_json(row[0]) if row else None
        if held == embedding:
            return
        if held == UNFINISHED or self._connection.execute("SELECT 1 FROM memories LIMIT 1").fetchone():
            raise other_embedding(held, embedding)
        self.set_embedding(embedding)

    def set_embedding(self, embedding: EmbeddingInfo | None) -> None:
        """Record the embedding of the store; None: keyword-only."""
        self._connection.execute("DELETE FROM meta WHERE name = 'embedding'")
        if embedding is not None:
            statement = "INSERT INTO meta (name, value) VALUES ('embedding', ?)"
            self._connection.execute(statement, (embedding.model_dump_json(),))

    def reindex(self) -> None:
        """Rebuild the inverted index where it was made by another text analysis."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = 'analysis'").fetchone()
        if row == (ranking.ANALYSIS,):
            return
        self._connection.execute("DELETE FROM postings")
        self._connection.execute("UPDATE users SET memories = 0, length = 0")
        for key, user, record in self._connection.execute("SELECT key, user, record FROM memories").fetchall():
            self._index_content(key, user, Memory.model_validate_json(record).content)
        statement = "INSERT OR REPLACE INTO meta (name, value) VALUES ('analysis', ?)"
        self._connection.execute(statement, (ranking.ANALYSIS,))

    def contents_after(self, key: int, limit: int) -> list[tuple[int, int, str]]:
        """Read key, user and content of the memories after a key, in order of key."""
        query = "SELECT key, user, record FROM memories WHERE key > ? ORDER BY key LIMIT ?"
        rows = self._connection.execute(query, (key, limit)).fetchall()
        return [(key, user, Memory.model_validate_json(record).content) for key, user, record in rows]

    def drop_vectors(self) -> None:
        """Forget every vector; the store cannot be opened until set_embedding names what replaced them."""
        self._connection.execute("DELETE FROM vectors")
        self._connection.execute("UPDATE users SET vectors = 0, revision = revision + 1")
        self.set_embedding(UNFINISHED)

    def put_vectors(self, rows: Sequence[tuple[int, int, str]], vectors: Sequence[Sequence[float]], model: str) -> None:
        """Store the vectors of memories that have none."""
        for (key, user, _), vector in zip(rows, vectors, strict=True):
            self._put_vector(key, user, vector, added=1)
            statement = "UPDATE memories SET record = json_set(record, '$.embedding_model', ?) WHERE key = ?"
            self._connection.execute(statement, (model, key))
