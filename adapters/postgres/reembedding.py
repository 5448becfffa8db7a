"""A store in Postgres while its vectors are made anew: the new ones are in a table of their own until the swap."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from psycopg import errors

from openmem.adapter import Embed

from ..kit.reembedding import LAST, Text, last_vectors
from .failures import embedded_anew
from .index import TURN
from .jsonb import read_record
from .schema import POLICY, Names
from .store import BATCH, PostgresStore
from .vectors import Vectors

T = TypeVar("T")
PATIENCE = 30
"""Turns in which a column may take the other's place, before all that led there is taken back and done again."""

logger = logging.getLogger("openmem")

MADE_OF = "sha256(convert_to(m.record ->> 'content', 'UTF8'))"
"""Tells whether a new vector is that of the present content."""
ROOM = (
    """CREATE TABLE openmem.renewed (
        id text COLLATE "C" NOT NULL,
        user_id text COLLATE "C" NOT NULL,
        made_of bytea NOT NULL,
        embedding {column} NOT NULL,
        PRIMARY KEY (id, user_id),
        FOREIGN KEY (id, user_id) REFERENCES openmem.memories ON DELETE CASCADE) WITH (toast_tuple_target = 8160)""",
    f"CREATE POLICY owner ON openmem.renewed USING ({POLICY})",
    "ALTER TABLE openmem.renewed ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "ALTER TABLE openmem.memories ADD COLUMN renewed {column}",
)
"""Statements that make room for new vectors; whether row-level security is in force may change before they are used."""
NO_ROOM = ("DROP TABLE IF EXISTS openmem.renewed", "ALTER TABLE openmem.memories DROP COLUMN IF EXISTS renewed")
LACKING = f"""SELECT m.id, m.user_id, m.record::text, {MADE_OF} FROM openmem.memories m
    LEFT JOIN openmem.renewed r ON r.id = m.id AND r.user_id = m.user_id
        AND (r.id, r.user_id) > (%(id)s, %(user)s) -- else the join begins with the first one
    WHERE (m.id, m.user_id) > (%(id)s, %(user)s) AND r.made_of IS DISTINCT FROM {MADE_OF}
    ORDER BY m.id, m.user_id LIMIT %(limit)s"""
PUT = """INSERT INTO openmem.renewed
    SELECT id, user_id, %s, %s FROM openmem.memories WHERE id = %s AND user_id = %s FOR KEY SHARE
    ON CONFLICT (id, user_id) DO UPDATE SET made_of = excluded.made_of, embedding = excluded.embedding"""
BESIDE = """UPDATE openmem.memories m SET renewed = r.embedding,
    record = jsonb_set(record, '{embedding_model}', to_jsonb(%s::text))
    FROM openmem.renewed r WHERE r.id = m.id AND r.user_id = m.user_id"""
FORMER_AWAY = "ALTER TABLE openmem.memories DROP COLUMN IF EXISTS embedding"
INDEXED = """SELECT true FROM pg_class c JOIN pg_am a ON a.oid = c.relam JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE a.amname = 'hnsw' AND n.nspname = %s LIMIT 1"""
IN_PLACE = (
    "ALTER TABLE openmem.memories RENAME COLUMN renewed TO embedding",
    "DROP TABLE openmem.renewed",
    "DELETE FROM openmem.meta WHERE name IN ('reembedding', 'reembedded')",
)


class Renewal:
    """A store whose vectors are made anew. Every method is one step, under the lock of steps."""

    def __init__(self, store: PostgresStore, names: Names, vectors: Vectors, embed: Embed) -> None:
        self._store, self._names, self._vectors, self._embed = store, names, vectors, embed
        self._at_end = False
        embedding = vectors.embedding
        self._wanted = json.dumps([embedding.model, embedding.dimension, vectors.precision])

    async def begin(self) -> None:
        """Make room for the new vectors; those that an interrupted run of the same embedding left are kept."""
        await self._vectors.register(self._store.session)
        while not await self._in_turn(self._make_room):
            pass

    async def _make_room(self) -> bool:
        if await self._under_way() != self._wanted:
            for sql in (*NO_ROOM, *ROOM):
                await self._store.do(sql.replace("{column}", self._vectors.column))
            await self._store.set_meta("reembedding", self._wanted)
        return True

    async def lacking(self, after: Any) -> Sequence[Text]:
        """Read some memories that have no new vector of their present content, in order of id.

        Few are the last, so that the round ends where others keep adding.
        """
        if after is not None and self._at_end:
            return []
        async with self._store.step():
            texts = [] if await self._over() else await self._lacking(after or ("", ""), BATCH)
        self._at_end = len(texts) < BATCH
        return texts

    async def put(self, texts: Sequence[Text], vectors: Sequence[Sequence[float]]) -> None:
        """Keep new vectors, with what they are made of."""
        async with self._store.step():
            if not await self._over():
                await self._put(texts, vectors)

    async def swap(self) -> int | None:
        """Have the new vectors replace the others; None where too many are lacking by now, or others are in the way.

        Writers wait from the beginning on, readers only while a column takes the other's place, or, where the former
        vectors are indexed, from when that index is dropped: keeping it would take ten times as long.
        """
        return await self._in_turn(self._swap)

    async def _swap(self) -> int | None:
        if not await self._over():
            await self._store.do("SELECT set_config('idle_in_transaction_session_timeout', '0', true)")
            await self._store.do("LOCK TABLE openmem.memories IN EXCLUSIVE MODE")  # FOR UPDATE has to wait too
            if not await self._is_whole():
                return None
            await self._put_in_place()
        return int(await self._store.one("SELECT count(*) FROM openmem.memories") or 0)

    async def _in_turn(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do work of which nobody waits long for the locks; None, after a pause, where they are not to be had."""
        try:
            async with self._store.step():
                await self._store.do("SELECT set_config('lock_timeout', %s, true)", f"{TURN * 1000:.0f}")
                return await work()
        except errors.LockNotAvailable:
            logger.info("postgres: transactions of others are in the way of embedding the store anew")
            await asyncio.sleep(10 * TURN)
            return None

    async def _is_whole(self) -> bool:
        """Embed the last few texts; False: there are too many."""
        if texts := await self._lacking(("", ""), LAST + 1):
            vectors = await last_vectors(texts, self._embed)
            if vectors is None:
                return False
            await self._put(texts, vectors)
        return True

    async def _put_in_place(self) -> None:
        store, embedding = self._store, self._vectors.embedding
        if await store.one(INDEXED, self._names.schema):
            await store.do(FORMER_AWAY)
        async with store.session.transaction(force_rollback=True):  # a look whether anybody would be in the way
            await store.do("LOCK TABLE openmem.memories IN ACCESS EXCLUSIVE MODE")
        await store.do(BESIDE, embedding.model)
        await self._take_former_away()
        for sql in IN_PLACE:
            await store.do(sql)
        await store.name_embedding(embedding, self._vectors.precision)

    async def _take_former_away(self) -> None:
        for turn in range(1, PATIENCE + 1):
            try:
                async with self._store.session.transaction():
                    await self._store.do(FORMER_AWAY)
                return
            except errors.LockNotAvailable:
                if turn == PATIENCE:
                    raise
                await asyncio.sleep(10 * TURN)

    async def _under_way(self) -> str | None:
        return await self._store.meta("reembedding") if await self._store.has_table("renewed") else None

    async def _over(self) -> bool:
        """Tell whether another process was quicker to have the vectors replaced.

        ConfigurationError where another one began with another embedding.
        """
        under_way = await self._under_way()
        if under_way == self._wanted:
            return False
        held, precision = await self._store.embedding(), await self._store.meta("precision")
        if under_way or (held, precision) != (self._vectors.embedding, self._vectors.precision):
            raise embedded_anew()
        return True

    async def _lacking(self, after: tuple[str, str], limit: int) -> Sequence[Text]:
        values = {"id": after[0], "user": after[1], "limit": limit}
        cursor = await self._store.session.execute(self._names(LACKING), values)
        return [
            Text((memory_id, user_id), memory_id, user_id, read_record(record).content, made_of)
            for memory_id, user_id, record, made_of in await cursor.fetchall()
        ]

    async def _put(self, texts: Sequence[Text], vectors: Sequence[Sequence[float]]) -> None:
        rows = [
            (text.version, self._vectors.value(vector), text.id, text.user_id)
            for text, vector in zip(texts, vectors, strict=True)
        ]
        async with self._store.session.cursor() as cursor:
            await cursor.executemany(self._names(PUT), rows)
