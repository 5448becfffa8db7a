"""What a change reads and writes in Postgres, in one transaction."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from psycopg import AsyncCursor
from psycopg.types.json import Jsonb

from openmem import ranking
from openmem._generated.models import Memory
from openmem.errors import ConflictError

from ..staged import NotWritten
from ..staging import Staging, Wanted
from ..store import Logged
from .connections import Connection
from .filters import json_text
from .schema import Names
from .vectors import Vectors

FEW = 20
"""Memories that are inserted in one round trip; more are copied, which takes several and is quicker for each."""
LONGEST_TERM = 256
"""Characters of a term that an index entry of Postgres surely holds; a longer one is kept as its digest."""

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Table(NamedTuple):
    """A table as rows are put into it."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def into(self) -> str:
        """The table and its columns, as INSERT and COPY name them."""
        return f"{self.name} ({', '.join(self.columns)})"

    def with_column(self, name: str, type_: str) -> Table:
        """Return the table with one column more."""
        return Table(self.name, (*self.columns, name), (*self.types, type_))


MEMORIES = Table(
    "openmem.memories",
    (
        *("user_id", "id", "key", "external_id", "scope"),
        *("created_at", "valid_from", "valid_to", "superseded_at", "archived", "record"),
    ),
    ("text", "text", "int8", "text", "text", *["timestamptz"] * 4, "bool", "jsonb"),
)
POSTINGS = Table(
    "openmem.postings", ("user_id", "term", "key", "count", "length"), ("text", "text", "int8", "int4", "int4")
)
AUDIT = Table(
    "openmem.audit",
    ("user_id", "moment", "app", "action", "memory_id", "scope", "request_id"),
    ("text", "timestamptz", *["text"] * 5),
)


class Keys:
    """Numbers for memories, which its postings name it by; taken from a sequence a thousand at a time."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._free: deque[int] = deque()

    async def take(self, connection: Connection, count: int) -> list[int]:
        """Return numbers that no other process has."""
        while (lacking := count - len(self._free)) > 0:
            sql = self._names("SELECT nextval('openmem.keys') FROM generate_series(1, %s)")
            for (first,) in await (await connection.execute(sql, [-(-lacking // 1000)])).fetchall():
                self._free.extend(range(first, first + 1000))
        return [self._free.popleft() for _ in range(count)]


class Indexed(NamedTuple):
    """A memory with its terms, how often it holds each, and its length in terms."""

    memory: Memory
    terms: Mapping[str, int]
    length: int


def index_terms(text: str) -> list[str]:
    """Split a text into terms as ranking does, each short enough for an index."""
    terms = ranking.terms(text)
    if len(max(terms, key=len, default="")) <= LONGEST_TERM:
        return terms
    return [term if len(term) <= LONGEST_TERM else _digest(term) for term in terms]


def _digest(term: str) -> str:
    return "#" + blake2b(term.encode(), digest_size=16).hexdigest()  # no term begins with "#"


def indexed(memory: Memory) -> Indexed:
    """Work out what is indexed of a memory's words."""
    terms = index_terms(memory.content)
    return Indexed(memory, ranking.frequencies(terms), len(terms))


class PostgresTransaction:
    """A staged.Transaction on a connection; every writer locks rows in one order, so that none waits in a ring."""

    def __init__(
        self, connection: Connection, names: Names, vectors: Vectors | None, keys: Keys, *, copies: bool
    ) -> None:
        self._connection, self._names, self._vectors, self._keys = connection, names, vectors, keys
        self._memories = MEMORIES if vectors is None else MEMORIES.with_column("embedding", vectors.type)
        self._copies = copies  # which Postgres does not do into a table with row-level security
        self._key_of: dict[str, int] = {}
        self._waiting = ""

    async def read(self, wanted: Wanted) -> Collection[Memory]:
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
        found = {key: Memory.model_validate_json(record) for key, record in await cursor.fetchall()}
        self._key_of.update({memory.id: key for key, memory in found.items()})
        return list(found.values())

    async def write(self, staging: Staging) -> None:
        """Write all that is staged; NotWritten where another writer took an external_id meanwhile."""
        keys = await self._keys.take(self._connection, len(staging.inserted))
        self._key_of.update(zip(staging.inserted, keys, strict=True))
        former, latter = _reindexed(staging)
        few = len(staging.inserted) <= FEW or not self._copies
        inserted = []
        if few or former or staging.replaced:
            async with self._connection.pipeline():
                await self._apply(staging, former)
                if few:
                    inserted = [await self._insert(each, staging.vectors.get(each.id)) for each in _sorted(staging)]
                    await self._account(staging, former, latter)
        if not few:
            await self._copy_memories(staging)
            await self._account(staging, former, latter)
        if any(cursor.rowcount != 1 for cursor in inserted):
            raise NotWritten(ConflictError("another writer keeps taking the external_id.", remedy="Try again."))

    async def _apply(self, staging: Staging, former: Sequence[Indexed]) -> None:
        """Write what becomes of records that are there."""
        if staging.removed:
            sql = "DELETE FROM openmem.memories m USING unnest(%s::text[], %s::text[]) d(id, user_id)"
            values = [list(staging.removed), [memory.user_id for memory in staging.removed.values()]]
            await self._execute(f"{sql} WHERE m.id = d.id AND m.user_id = d.user_id", values)
        for memory in staging.replaced.values():
            row = dict(zip(MEMORIES.columns[3:], self._values(memory)[3:], strict=True))
            vector = staging.vectors.get(memory.id)
            if vector is not None and self._vectors is not None:
                row["embedding"] = self._vectors.value(vector)
            sets = ", ".join(f"{column} = %s" for column in row)
            sql = f"UPDATE openmem.memories SET {sets} WHERE id = %s AND user_id = %s"
            await self._execute(sql, [*row.values(), memory.id, memory.user_id])
        if former:
            keys = [(each.memory.user_id, term, self._key_of[each.memory.id]) for each in former for term in each.terms]
            await self._execute(
                """DELETE FROM openmem.postings p USING unnest(%s::text[], %s::text[], %s::int8[]) d(user_id, term, key)
                WHERE p.user_id = d.user_id AND p.term = d.term AND p.key = d.key""",
                [list(column) for column in zip(*keys, strict=True)] or [[], [], []],
            )

    async def _account(self, staging: Staging, former: Sequence[Indexed], latter: Sequence[Indexed]) -> None:
        """Write the index of words, the audit log and, last, since writers wait for them, the statistics of users."""
        await store_words(self._connection, self._names, latter, self._key_of)
        await store_entries(self._connection, self._names, staging.entries)
        await count_words(self._connection, self._names, former, latter)

    async def _insert(self, memory: Memory, vector: Sequence[float] | None) -> AsyncCursor[Any]:
        marks = ", ".join(["%s"] * len(self._memories.columns))
        sql = f"INSERT INTO {self._memories.into} VALUES ({marks}) ON CONFLICT DO NOTHING"
        return await self._execute(sql, self._row(memory, vector))

    async def _copy_memories(self, staging: Staging) -> None:
        sql = f"COPY {self._memories.into} FROM STDIN (FORMAT BINARY)"
        async with self._connection.cursor().copy(self._names(sql)) as copy:
            copy.set_types(self._memories.types)
            for memory in _sorted(staging):
                await copy.write_row(self._row(memory, staging.vectors.get(memory.id)))

    async def _execute(self, sql: str, values: Sequence[Any]) -> AsyncCursor[Any]:
        return await self._connection.execute(self._names(sql), values)

    def _values(self, memory: Memory) -> list[Any]:
        key = self._key_of[memory.id]
        moments = (memory.created_at, memory.valid_from, memory.valid_to, memory.superseded_at)
        record = Jsonb(_record(memory), dumps=str)
        names = (memory.user_id, memory.id, key, memory.external_id, memory.scope)
        return [*names, *moments, bool(memory.archived), record]

    def _row(self, memory: Memory, vector: Sequence[float] | None) -> list[Any]:
        row = self._values(memory)
        if self._vectors is not None:
            row.append(None if vector is None else self._vectors.value(vector))
        return row


async def store_words(
    connection: Connection, names: Names, words: Sequence[Indexed], key_of: Mapping[str, int]
) -> None:
    """Append to the index of words."""
    if connection.pgconn.pipeline_status:  # which admits no COPY
        rows = [(w.memory.user_id, t, key_of[w.memory.id], n, w.length) for w in words for t, n in w.terms.items()]
        await _append(connection, names, POSTINGS, rows)
        return
    lines: list[str] = []
    for memory, terms, length in words:  # a dozen lines a memory: written out, since this is most of a large batch
        user_id, key = memory.user_id.translate(_ESCAPES), key_of[memory.id]
        lines += [f"{user_id}\t{term}\t{key}\t{count}\t{length}\n" for term, count in terms.items()]
    await _copy(connection, names, POSTINGS, lines)


async def count_words(
    connection: Connection, names: Names, former: Sequence[Indexed], latter: Sequence[Indexed]
) -> None:
    """Bring the statistics of users up to date."""
    memories, lengths = Counter[str](), Counter[str]()
    for sign, some in ((-1, former), (1, latter)):
        for each in some:
            memories[each.memory.user_id] += sign
            lengths[each.memory.user_id] += sign * each.length
    if memories:
        users = sorted(memories)
        sql = """INSERT INTO openmem.users AS u (user_id, memories, length)
            SELECT * FROM unnest(%s::text[], %s::int8[], %s::int8[]) ON CONFLICT (user_id) DO UPDATE
            SET memories = u.memories + excluded.memories, length = u.length + excluded.length"""
        counts = [memories[user] for user in users], [lengths[user] for user in users]
        await connection.execute(names(sql), [users, *counts])


async def store_entries(connection: Connection, names: Names, entries: Sequence[tuple[str, Logged]]) -> None:
    """Append to the audit log."""
    rows = [(user_id, *entry) for user_id, entry in entries]
    if connection.pgconn.pipeline_status:
        await _append(connection, names, AUDIT, rows)
    else:
        await _copy(connection, names, AUDIT, _lines(rows))


async def _append(connection: Connection, names: Names, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        arrays = ", ".join(f"%s::{type_}[]" for type_ in table.types)
        sql = f"INSERT INTO {table.into} SELECT * FROM unnest({arrays})"
        await connection.execute(names(sql), [list(column) for column in zip(*rows, strict=True)])


async def _copy(connection: Connection, names: Names, table: Table, lines: Iterable[str]) -> None:
    async with connection.cursor().copy(names(f"COPY {table.into} FROM STDIN")) as copy:
        await copy.write("".join(lines))


def _lines(rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Write rows as COPY reads them, column by column: most values come many times."""
    columns = []
    for column in zip(*rows, strict=True):
        texts = {value: "\\N" if value is None else str(value).translate(_ESCAPES) for value in set(column)}
        columns.append(map(texts.__getitem__, column))
    return ("\t".join(row) + "\n" for row in zip(*columns, strict=True))


def _sorted(staging: Staging) -> list[Memory]:
    return sorted(staging.inserted.values(), key=lambda memory: (memory.user_id, memory.external_id or ""))


def _reindexed(staging: Staging) -> tuple[list[Indexed], list[Indexed]]:
    """List what is to be taken out of the index of words, and what is to be put into it."""
    changed = [each for each in staging.replaced.values() if each.content != staging.read[each.id].content]
    former = [*(staging.read[each] for each in staging.removed), *(staging.read[each.id] for each in changed)]
    latter = [*staging.inserted.values(), *changed]
    return [indexed(each) for each in former], [indexed(each) for each in latter]


def _record(memory: Memory) -> str:
    """Write a record for jsonb, which keeps only what is written as a plain decimal."""
    text = memory.model_dump_json(exclude_none=True)
    return json_text(memory.model_dump(mode="json", exclude_none=True)) if "e+" in text else text
