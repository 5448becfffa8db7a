"""The records of sqlite:// over one connection, in one transaction: inverted index, vectors and audit log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from functools import lru_cache, partial
from itertools import compress
from sqlite3 import Connection, Cursor
from typing import Any

import numpy as np

from openmem._generated.models import ListRequest, MemoryRecord, Stats
from openmem.protocol import cursors, ranking
from openmem.protocol.clock import from_micros, micros

from ..kit import counting
from ..kit.audit import Entry, ReadLog, with_kept
from ..kit.store import Logged
from ..kit.vectors import Floats, unit
from . import counts, forgetting, meta
from .index import FEW, KEPT, Caches, UserIndex
from .schema import COLUMNS, row

_LOGGED = ("user", "timestamp", *Logged._fields[1:])
_USER = """INSERT INTO users (user_id, revision)
    VALUES (?, coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'forgotten'), 0))"""
"""Revisions go on from those of users who were forgotten: another client may hold vectors of one of the same name."""
_REPLACE = f"UPDATE records SET ({', '.join(COLUMNS)}) = ({', '.join('?' * len(COLUMNS))}) WHERE key = ?"  # noqa: S608


@lru_cache(256)
def _insertion(table: str, columns: tuple[str, ...], given: tuple[bool, ...]) -> str:
    names = list(compress(columns, given))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


def packed(vector: Sequence[float]) -> bytearray:
    """Write a vector as the file keeps it: of length 1, in float32, little-endian."""
    return bytearray(unit(vector).astype("<f4", copy=False).tobytes())  # bytes take sqlite3 longer: see _insert


class Records:
    """The store within one transaction."""

    def __init__(self, connection: Connection, reads: ReadLog, caches: Caches, *, writes: bool) -> None:
        self.connection = connection
        self._reads, self._caches, self._writes = reads, caches, writes
        self._held = False
        self.entries: list[Entry] = []
        """Of what was read, to be kept."""
        self._users: dict[str, int | None] = {}
        self._walks: list[Cursor] = []

    def release(self) -> None:
        """End the walks that were not walked to their end, so that the transaction can."""
        for walk in self._walks:
            walk.close()

    def _user(self, user_id: str) -> int | None:
        user = self._users.get(user_id)
        if user is None:
            found = self._one("SELECT key FROM users WHERE user_id = ?", user_id)
            user = found[0] if found else None
            if user is None and self._writes:
                user = self.connection.execute(_USER, (user_id,)).lastrowid
            self._users[user_id] = user
        return user

    def _one(self, query: str, *values: Any) -> Any:
        return self.connection.execute(query, values).fetchone()

    def _insert(self, table: str, columns: tuple[str, ...], values: Sequence[Any]) -> int | None:
        """Insert a row and return its key; what is None is left out, for which sqlite3 would look for an adapter."""
        statement = _insertion(table, columns, tuple([value is not None for value in values]))
        return self.connection.execute(statement, [value for value in values if value is not None]).lastrowid

    def _walk(self, query: str, values: Sequence[Any]) -> Cursor:
        walk = self.connection.execute(query, values)
        self._walks.append(walk)
        return walk

    def get(self, memory_id: str) -> MemoryRecord | None:
        found = self._one("SELECT record FROM records WHERE id = ?", memory_id)
        return MemoryRecord.model_validate_json(found[0]) if found else None

    def by_external_id(self, user_id: str, external_id: str) -> MemoryRecord | None:
        query = "SELECT record FROM records WHERE user = ? AND external_id = ?"
        found = self._one(query, self._user(user_id), external_id)
        return MemoryRecord.model_validate_json(found[0]) if found else None

    def many(self, ids: Sequence[str]) -> Iterable[MemoryRecord]:
        query = "SELECT record FROM records WHERE id IN (SELECT value FROM json_each(?))"
        return self._all(query, json.dumps(ids, ensure_ascii=False))

    def many_by_external_id(self, user_id: str, external_ids: Sequence[str]) -> Iterable[MemoryRecord]:
        query = "SELECT record FROM records WHERE user = ? AND external_id IN (SELECT value FROM json_each(?))"
        return self._all(query, self._user(user_id), json.dumps(external_ids, ensure_ascii=False))

    def _all(self, query: str, *values: Any) -> list[MemoryRecord]:
        found = self.connection.execute(query, values).fetchall()
        return [MemoryRecord.model_validate_json(record) for (record,) in found]

    def _hold_embedding(self) -> None:
        """Refuse to bring vectors of several models together: another client may have embedded the store anew."""
        if self._held:
            return
        embedding = self._caches.embedding
        if not meta.has_embedding(self.connection, embedding) and self._writes:
            meta.set_embedding(self.connection, embedding)
        self._held = True

    def insert(self, memory: MemoryRecord, vector: Sequence[float] | None) -> None:
        self._hold_embedding()
        user = self._user(memory.user_id)
        key = self._insert("records", COLUMNS, row(memory, user))
        self.index_content(key, user, memory.content)
        self.count(user, memories=1, vectors=0 if vector is None else 1)
        if vector is not None:
            self._put_vector(key, user, vector)

    def replace(self, old: MemoryRecord, new: MemoryRecord, vector: Sequence[float] | None) -> None:
        if new.content != old.content or vector is not None:
            self._hold_embedding()
        key, user = self._key(old)
        self.connection.execute(_REPLACE, (*row(new, user), key))
        if new.content != old.content:
            self._forget_content(key, user, old.content)
            self.index_content(key, user, new.content)
        if vector is not None:
            self.count(user, vectors=0 if self._has_vector(key) else 1, revised=True)
            self._put_vector(key, user, vector)

    def remove(self, memory: MemoryRecord) -> None:
        key, user = self._key(memory)
        self.connection.execute("DELETE FROM records WHERE key = ?", (key,))
        self._forget_content(key, user, memory.content)
        vectors = self.connection.execute("DELETE FROM vectors WHERE memory = ?", (key,)).rowcount
        self.count(user, memories=-1, vectors=-vectors)
        if vectors:
            (revision,) = self._one("SELECT revision FROM users WHERE key = ?", user)
            self.connection.execute("INSERT INTO removed VALUES (?, ?, ?)", (user, revision, key))
            if revision % 64 == 0:
                old = "DELETE FROM removed WHERE user = ? AND revision <= ?"
                self.connection.execute(old, (user, revision - KEPT))

    def _key(self, memory: MemoryRecord) -> tuple[int, int]:
        query = "SELECT key, user FROM records WHERE id = ? AND +user = ?"
        key, user = self._one(query, memory.id, self._user(memory.user_id))
        return key, user

    def index_content(self, key: int | None, user: int | None, content: str) -> None:
        """Put the words of a memory into the inverted index."""
        weights = ranking.weights(ranking.terms(content))
        self.connection.executemany(
            "INSERT INTO postings (user, term, memory, weight) VALUES (?, ?, ?, ?)",
            [(user, term, key, weight) for term, weight in weights.items()],
        )

    def _forget_content(self, key: int, user: int, content: str) -> None:
        self.connection.executemany(
            "DELETE FROM postings WHERE user = ? AND term = ? AND memory = ?",
            [(user, term, key) for term in set(ranking.terms(content))],
        )

    def count(self, user: int | None, *, memories: int = 0, vectors: int = 0, revised: bool = False) -> None:
        """Count what a user has more, or less, of; vectors that changed have a revision of their own."""
        query = "UPDATE users SET memories = memories + ?, vectors = vectors + ?, revision = revision + ? WHERE key = ?"
        self.connection.execute(query, (memories, vectors, 1 if vectors or revised else 0, user))

    def _has_vector(self, key: int) -> bool:
        return self._one("SELECT 1 FROM vectors WHERE memory = ?", key) is not None

    def _put_vector(self, key: int | None, user: int | None, vector: Sequence[float]) -> None:
        self.connection.execute(
            "INSERT OR REPLACE INTO vectors (memory, user, revision, data)"
            " VALUES (?, ?, (SELECT revision FROM users WHERE key = ?), ?)",
            (key, user, user, packed(vector)),
        )

    def newest_first(
        self, user_id: str, after: cursors.Position | None, since: datetime | None, until: datetime | None
    ) -> Iterator[MemoryRecord]:
        return self._ordered("DESC", user_id, after, since, until)

    def oldest_first(
        self, user_id: str, after: cursors.Position | None, since: datetime | None, until: datetime | None
    ) -> Iterator[MemoryRecord]:
        return self._ordered("ASC", user_id, after, since, until)

    def _ordered(
        self, way: str, user_id: str, after: cursors.Position | None, *bounds: datetime | None
    ) -> Iterator[MemoryRecord]:
        query = "SELECT record FROM records WHERE user = ?"
        values: list[Any] = [self._user(user_id)]
        if after is not None:
            query += f" AND (created_at, id) {'>' if way == 'ASC' else '<'} (?, ?)"
            values += [micros(after[0]), after[1]]
        for bound, operator in zip(bounds, (">=", "<="), strict=True):
            if bound is not None:
                query += f" AND created_at {operator} ?"
                values.append(micros(bound))
        for (record,) in self._walk(f"{query} ORDER BY created_at {way}, id {way}", values):
            yield MemoryRecord.model_validate_json(record)

    def vectors(self, user_id: str, ids: Sequence[str]) -> dict[str, Floats]:
        self._hold_embedding()
        user, found = self._user(user_id), dict[str, Floats]()
        for start in range(0, len(ids), FEW):
            some = ids[start : start + FEW]
            query = f"""SELECT id, data FROM records JOIN vectors ON memory = key
                WHERE id IN ({",".join("?" * len(some))}) AND +records.user = ?"""  # noqa: S608
            rows = self.connection.execute(query, (*some, user)).fetchall()
            found.update((memory_id, np.frombuffer(data, dtype="<f4")) for memory_id, data in rows)
        return found

    def everything(self, user_id: str) -> Iterable[tuple[str, bytes | None]]:
        """Walk a user's records, oldest first, as they are kept, each with its vector."""
        self._hold_embedding()
        query = """SELECT record, data FROM records LEFT JOIN vectors ON memory = key
            WHERE records.user = ? ORDER BY created_at, id"""
        return self._walk(query, [self._user(user_id)])

    def chain(self, memory: MemoryRecord) -> Iterable[MemoryRecord]:
        user = self._user(memory.user_id)
        found = self.connection.execute(counts.CHAIN, {"id": memory.id, "user": user}).fetchall()
        return [MemoryRecord.model_validate_json(record) for (record,) in found]

    def stats(self, selected: ListRequest, now: datetime) -> Stats:
        if selected.filter:
            return counting.stats(self, selected, now)
        return counts.counted(self.connection, self._user(selected.user_id), selected, now)

    def scopes(self, selected: ListRequest, now: datetime) -> Iterable[tuple[str, int]]:
        return counts.scopes(self.connection, self._user(selected.user_id), selected, now)

    def owners(self, after: str | None) -> Iterator[tuple[str, int]]:
        owners = counts.owners(self.connection, after)
        self._walks.append(owners)
        return owners

    @contextmanager
    def source(self, user_id: str) -> Iterator[UserIndex]:
        # Vectors in use are locked before anything is read: the snapshot then is no older than what others left there.
        cached = self._caches.of(user_id, new=False)
        if cached is None and self._user(user_id) is not None:
            cached = self._caches.of(user_id, new=True)
        with nullcontext() if cached is None else cached.lock:
            user = self._user(user_id)
            if user is None:  # forgotten by another client, perhaps, since the vectors held were read
                self._caches.drop(user_id)
            if user is None or cached is None:
                yield UserIndex(self.connection, user or 0, None)
            else:
                yield UserIndex(self.connection, user, partial(cached.at, self.connection, user, self._hold_embedding))

    def load(self, user_id: str, keys: Sequence[int]) -> Iterator[tuple[int, MemoryRecord]]:
        user = self._user(user_id)
        for start in range(0, len(keys), FEW):
            some = keys[start : start + FEW]
            query = f"SELECT key, record FROM records WHERE key IN ({','.join('?' * len(some))}) AND +user = ?"  # noqa: S608
            for key, record in self.connection.execute(query, (*some, user)).fetchall():
                yield key, MemoryRecord.model_validate_json(record)

    def hand_out(self, memory: MemoryRecord) -> MemoryRecord:
        return memory  # each is read or made afresh

    def log(self, user_id: str, entry: Logged) -> None:
        if self._writes:
            self.log_all([(user_id, entry)])
        else:
            self.entries.append((user_id, entry))

    def log_all(self, entries: Sequence[tuple[str, Logged]]) -> None:
        """Append to the audit logs of several users."""
        rows = [(self._user(user_id), micros(entry.timestamp), *entry[1:]) for user_id, entry in entries]
        if len(rows) == 1:
            self._insert("audit", _LOGGED, rows[0])
        else:
            self.connection.executemany(_insertion("audit", _LOGGED, (True,) * len(_LOGGED)), rows)

    def forget(self, user_id: str, moment: datetime) -> None:
        forgetting.note(self.connection, user_id, moment)
        if forgetting.forget(self.connection, self._user(user_id)):
            self._users.clear()

    def logged(self, user_id: str) -> Iterator[Logged]:
        kept = [(user_id, entry) for entry in self._reads.of(user_id)]  # before the snapshot: none is in neither
        left = [entry for _, entry in forgetting.remembered(self.connection, kept)]
        return with_kept(self._stored(user_id), left)

    def _stored(self, user_id: str) -> Iterator[Logged]:
        query = "SELECT timestamp, app, action, memory_id, scope, request_id FROM audit WHERE user = ?"
        for timestamp, *rest in self._walk(query + " ORDER BY timestamp DESC, key DESC", [self._user(user_id)]):
            yield Logged(from_micros(timestamp), *rest)
