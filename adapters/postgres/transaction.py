"""What a change reads and writes in Postgres, in one transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncCursor
from psycopg.types.json import Jsonb

from openmem._generated.models import MemoryRecord
from openmem.errors import ConflictError

from ..kit.remote import NotWritten
from ..kit.staging import Staging, Wanted
from ..kit.store import Logged
from . import forgetting, search
from .jsonb import read_record, record_text
from .schema import Names
from .sessions import Session
from .tables import AUDIT, MEMORIES, PIECE, append, copied, copy
from .vectors import Vectors, see_it_is_held
from .words import STRIPES, Indexed, Totals, indexed, postings, store_words

FEW = 20
"""Rows that are inserted in one round trip; more are copied, which takes several and is quicker for each."""


class Keys:
    """Numbers for memories, which its postings name it by; taken from a sequence a thousand at a time."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._free: deque[int] = deque()

    async def take(self, session: Session, count: int) -> list[int]:
        """Return numbers that no other process has."""
        while (lacking := count - len(self._free)) > 0:
            sql = self._names("SELECT nextval('openmem.keys') FROM generate_series(1, %s)")
            for (first,) in await (await session.execute(sql, [-(-lacking // 1000)])).fetchall():
                self._free.extend(range(first, first + 1000))
        return [self._free.popleft() for _ in range(count)]


class PostgresTransaction:
    """A staged.Transaction on a connection; every writer locks rows in one order, so that none waits in a ring."""

    def __init__(self, session: Session, names: Names, vectors: Vectors | None, keys: Keys, *, copies: bool) -> None:
        self._session, self._names, self._vectors, self._keys = session, names, vectors, keys
        self._memories = MEMORIES if vectors is None else MEMORIES.with_column("embedding", vectors.type)
        self._copies = copies  # which Postgres does not do into a table with row-level security
        self._key_of: dict[str, int] = {}
        self._waiting = ""
        self._totals: list[tuple[str, int, str | None]] = []

    async def read(self, wanted: Wanted) -> Collection[MemoryRecord]:
        """Read records and lock their rows until the transaction ends.

        The first read locks in order and waits for other writers; whoever has locks already does not wait for more,
        lest two wait for each other.
        """
        users, external = zip(*wanted.keys, strict=True) if wanted.keys else ((), ())
        waiting, self._waiting = self._waiting, "NOWAIT"
        cursor = await self._execute(
            f"""SELECT key, record::text FROM openmem.memories WHERE id = ANY(%s::text[] || ARRAY(
                SELECT m.id FROM unnest(%s::text[], %s::text[]) k(user_id, external_id)
                JOIN openmem.memories m USING (user_id, external_id))) ORDER BY id FOR UPDATE {waiting}""",
            [list(wanted.ids), list(users), list(external)],
        )
        found = {key: read_record(record) for key, record in await cursor.fetchall()}
        self._key_of.update({memory.id: key for key, memory in found.items()})
        return list(found.values())

    async def lock(self, condition: str, values: Mapping[str, Any]) -> list[str]:
        """Lock the rows of a condition until the transaction ends, in place of a first read; return their ids."""
        self._waiting = "NOWAIT"
        sql = f"SELECT id FROM openmem.memories WHERE {condition} ORDER BY id FOR UPDATE"
        cursor = await self._session.execute(self._names(sql), values)
        return [memory_id for (memory_id,) in await cursor.fetchall()]

    async def forget(self, user_id: str, moment: datetime) -> None:
        """Remove a user's audit log, and the statistics; what others added meanwhile stays counted."""
        await forgetting.note(self._session, self._names, user_id, moment)
        await self._execute("DELETE FROM openmem.audit WHERE user_id = %s", [user_id])
        cursor = await self._execute("DELETE FROM openmem.users WHERE user_id = %s RETURNING memories", [user_id])
        if memories := sum([count for (count,) in await cursor.fetchall()]):
            sql = "INSERT INTO openmem.users (user_id, stripe, memories) VALUES (%s, 0, %s)"
            await self._execute(
                f"{sql} ON CONFLICT (user_id, stripe) DO UPDATE SET memories = users.memories + excluded.memories",
                [user_id, memories],
            )

    async def write(self, staging: Staging) -> None:
        """Write all that is staged; NotWritten where another writer took an external_id meanwhile.

        ConfigurationError where contents are stored whose vectors are no longer those of the store.
        """
        keys = await self._keys.take(self._session, len(staging.inserted))
        self._key_of.update(zip(staging.inserted, keys, strict=True))
        former, latter = _reindexed(staging)
        few = max(len(staging.inserted), len(staging.entries)) <= FEW or not self._copies
        inserted, totals = [], None
        if few or former or staging.replaced:
            async with self._session.pipeline():
                await self._apply(staging, former)
                if few:
                    inserted = [await self._insert(each, staging.vectors.get(each.id)) for each in _sorted(staging)]
                    totals = await self._account(staging, former, latter)
        if not few:
            await self._copy_memories(staging)
            totals = await self._account(staging, former, latter)
        self._totals = await totals.fetchall() if totals is not None else []
        if latter:
            see_it_is_held(self._vectors.embedding if self._vectors else None, self._totals[0][2])
        if any(cursor.rowcount != 1 for cursor in inserted):
            raise NotWritten(ConflictError("another writer keeps taking the external_id.", remedy="Try again."))

    def grown(self) -> list[str]:
        """Name the users who may have become too large to be searched exactly."""
        return [user_id for user_id, memories, _ in self._totals if memories > search.EXACT // STRIPES]

    async def _apply(self, staging: Staging, former: Sequence[Indexed]) -> None:
        """Write what becomes of records that are there."""
        if staging.removed:
            sql = "DELETE FROM openmem.memories m USING unnest(%s::text[], %s::text[]) d(id, user_id)"
            values = [list(staging.removed), [memory.user_id for memory in staging.removed.values()]]
            await self._execute(f"{sql} WHERE m.id = d.id AND m.user_id = d.user_id", values)
        embedded = staging.vectors if self._vectors is not None else {}
        await self._replace_all([each for each in staging.replaced.values() if each.id not in embedded])
        for memory in [each for each in staging.replaced.values() if each.id in embedded]:
            await self._replace(memory, embedded[memory.id])
        if former:
            keys = [row[:3] for each in former for row in postings(each, self._key_of[each.memory.id])]
            await self._execute(
                """DELETE FROM openmem.postings p USING unnest(%s::text[], %s::text[], %s::int8[]) d(user_id, term, key)
                WHERE p.user_id = d.user_id AND p.term = d.term AND p.key = d.key""",
                [list(column) for column in zip(*keys, strict=True)] or [[], [], []],
            )

    async def _replace_all(self, memories: Sequence[MemoryRecord]) -> None:
        """Write what becomes of records whose vectors stay; of many in one statement, which is quicker for each."""
        if len(memories) <= FEW:
            for memory in memories:
                await self._replace(memory, None)
            return
        columns = ", ".join(f"{column} = d.{column}" for column in MEMORIES.columns[3:])
        arrays = ", ".join(f"%s::{type_}[]" for type_ in MEMORIES.types)
        sql = f"""UPDATE openmem.memories m SET {columns} FROM unnest({arrays}) d({", ".join(MEMORIES.columns)})
            WHERE m.id = d.id AND m.user_id = d.user_id"""
        await self._execute(sql, [list(column) for column in zip(*map(self._values, memories), strict=True)])

    async def _replace(self, memory: MemoryRecord, vector: Sequence[float] | None) -> None:
        row = dict(zip(MEMORIES.columns[3:], self._values(memory)[3:], strict=True))
        if vector is not None and self._vectors is not None:
            row["embedding"] = self._vectors.value(vector)
        sets = ", ".join(f"{column} = %s" for column in row)
        sql = f"UPDATE openmem.memories SET {sets} WHERE id = %s AND user_id = %s"
        await self._execute(sql, [*row.values(), memory.id, memory.user_id])

    async def _account(
        self, staging: Staging, former: Sequence[Indexed], latter: Iterable[MemoryRecord]
    ) -> AsyncCursor[Any] | None:
        """Write the index of words, the audit log and, last, since writers wait for them, the statistics of users."""
        totals = Totals()
        totals.subtract(former)
        await store_words(self._session, self._names, totals.added(map(indexed, latter)), self._key_of)
        await store_entries(self._session, self._names, staging.entries)
        await forgetting.drop(self._session, self._names, staging.reads)
        return await totals.store(self._session, self._names)

    async def _insert(self, memory: MemoryRecord, vector: Sequence[float] | None) -> AsyncCursor[Any]:
        marks = ", ".join(["%s"] * len(self._memories.columns))
        sql = f"INSERT INTO {self._memories.into} VALUES ({marks}) ON CONFLICT DO NOTHING"
        return await self._execute(sql, self._row(memory, vector))

    async def _copy_memories(self, staging: Staging) -> None:
        sql = f"COPY {self._memories.into} FROM STDIN (FORMAT BINARY)"
        async with self._session.cursor().copy(self._names(sql)) as copy:
            copy.set_types(self._memories.types)
            for number, memory in enumerate(_sorted(staging), 1):
                await copy.write_row(self._row(memory, staging.vectors.get(memory.id)))
                if number % PIECE == 0:
                    await asyncio.sleep(0)

    async def _execute(self, sql: str, values: Sequence[Any]) -> AsyncCursor[Any]:
        return await self._session.execute(self._names(sql), values)

    def _values(self, memory: MemoryRecord) -> list[Any]:
        key = self._key_of[memory.id]
        moments = (memory.created_at, memory.valid_from, memory.valid_to, memory.superseded_at)
        record = Jsonb(record_text(memory), dumps=str)
        names = (memory.user_id, memory.id, key, memory.external_id, memory.scope)
        return [*names, *moments, bool(memory.archived), record]

    def _row(self, memory: MemoryRecord, vector: Sequence[float] | None) -> list[Any]:
        row = self._values(memory)
        if self._vectors is not None:
            row.append(None if vector is None else self._vectors.value(vector))
        return row


async def store_entries(session: Session, names: Names, entries: Sequence[tuple[str, Logged]]) -> None:
    """Append to the audit log."""
    if session.pgconn.pipeline_status:
        await append(session, names, AUDIT, [(user_id, *entry) for user_id, entry in entries])
    else:
        await copy(session, names, AUDIT, _entry_lines(entries))


def _entry_lines(entries: Iterable[tuple[str, Logged]]) -> Iterator[str]:
    for user_id, (moment, app, action, memory_id, scope, request_id) in entries:
        yield (
            f"{copied(user_id)}\t{moment.isoformat()}\t{copied(app)}\t{action}\t{copied(memory_id)}"
            f"\t{copied(scope)}\t{copied(request_id)}\n"
        )


def _sorted(staging: Staging) -> list[MemoryRecord]:
    return sorted(staging.inserted.values(), key=lambda memory: (memory.user_id, memory.external_id or ""))


def _reindexed(staging: Staging) -> tuple[list[Indexed], list[MemoryRecord]]:
    """List what is to be taken out of the index of words, and what is to be put into it."""
    changed = [each for each in staging.replaced.values() if each.content != staging.read[each.id].content]
    former = [*(staging.read[each] for each in staging.removed), *(staging.read[each.id] for each in changed)]
    latter = [*staging.inserted.values(), *changed]
    return [indexed(each) for each in former], latter
