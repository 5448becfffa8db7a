"""A store in Postgres as a whole: made, brought up to date, held to its embedding."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg import errors

from openmem._generated.models import EmbeddingInfo, MemoryRecord
from openmem.errors import ConfigurationError
from openmem.protocol import ranking

from ..kit.base import newer_schema, other_embedding
from .schema import LOCK, MIGRATIONS, OWNED, POLICY, RECOUNT, Names
from .sessions import Session
from .tables import POSTINGS, append
from .vectors import Vectors
from .words import indexed, postings

BATCH = 1000
"""Memories indexed in one transaction."""

logger = logging.getLogger("openmem")


class PostgresStore:
    """The store over one connection. Each method looks first, and writes, in a transaction, only what is not yet so.

    A step that was not finished is done by whoever opens the store next.
    """

    def __init__(self, session: Session, names: Names, vectors: Vectors | None) -> None:
        self.session, self._names, self._vectors = session, names, vectors

    @asynccontextmanager
    async def step(self) -> AsyncIterator[None]:
        """Run a transaction that sees the rows of every user, takes its time, and waits for other processes' steps."""
        async with self.session.transaction():
            await self.do(
                "SELECT set_config('omp.maintenance', 'on', true), set_config('statement_timeout', '0', true)"
            )
            await self.do("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", LOCK, self._names.schema)
            yield

    async def migrate(self) -> None:
        """Make the schema or bring it up to date."""
        if await self.one("SHOW server_encoding") != "UTF8":
            raise ConfigurationError("the database does not keep Unicode.", remedy="Make one with ENCODING 'UTF8'.")
        if not await self._made():
            async with self.step():
                if not await self._made():
                    await self._make()
                    await self._advance(0)  # at once, so that a schema with tables of another program is left alone
        while (version := await self._version()) < len(MIGRATIONS):
            async with self.step():
                if await self._version() == version:
                    await self._advance(version)
        if version > len(MIGRATIONS):
            raise newer_schema(f"schema {self._names.schema}", version, len(MIGRATIONS))
        if self._names.partitions and int(await self.meta("partitions") or 0) != self._names.partitions:
            raise ConfigurationError(
                f"the store has {await self.meta('partitions')} partitions, not {self._names.partitions}.",
                remedy="Leave partitions out; only a new store can be divided.",
            )

    async def _advance(self, version: int) -> None:
        for sql in self._names.migration(version):
            await self.do(sql)
        await self.set_meta("version", str(version + 1))
        logger.info("postgres: schema %s is at version %d", self._names.schema, version + 1)

    async def _made(self) -> bool:
        return await self.has_table("meta")

    async def has_table(self, name: str) -> bool:
        """Tell whether the schema has a table."""
        sql = """SELECT true FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relname = %s AND n.nspname = %s"""  # to_regclass may answer what was so before a lock came free
        return bool(await self.one(sql, name, self._names.schema))

    async def _version(self) -> int:
        return int(await self.meta("version") or 0)

    async def _make(self) -> None:
        schema = self._names.quoted
        try:
            async with self.session.transaction():
                if not await self.one("SELECT true FROM pg_namespace WHERE nspname = %s", self._names.schema):
                    await self.do(f"CREATE SCHEMA {schema}")
                await self.do("CREATE TABLE openmem.meta (name text PRIMARY KEY, value text NOT NULL)")
                await self.set_meta("partitions", str(self._names.partitions))
        except errors.InsufficientPrivilege as error:
            role, database = await self.one("SELECT current_user"), await self.one("SELECT current_database()")
            raise ConfigurationError(
                f"the role {role} may not make the schema {self._names.schema}.",
                remedy=f'As the owner of {database} run: CREATE SCHEMA {schema} AUTHORIZATION "{role}";',
            ) from error

    async def hold_to(self, embedding: EmbeddingInfo | None, precision: str) -> None:
        """Record the embedding of a store; refuse another one for a store that has memories."""
        if await self._holds(embedding, precision):
            return
        async with self.step():
            if await self._holds(embedding, precision):
                return
            held, kept = await self.embedding(), await self.meta("precision")
            if not await self._empty():
                if held == embedding:
                    raise ConfigurationError(
                        f"the store keeps vectors of {kept} precision.",
                        remedy=f"Configure precision={kept}, or run `openmem reembed` with precision={precision}.",
                    )
                raise other_embedding(held, embedding)
            await self.set_embedding(embedding, precision)

    async def _empty(self) -> bool:
        """Tell whether there are no memories; an empty store stays so until the transaction ends."""
        sql = "SELECT true FROM openmem.memories LIMIT 1"
        if await self.one(sql):
            return False
        await self.do("LOCK TABLE openmem.memories IN ACCESS EXCLUSIVE MODE")
        return not await self.one(sql)

    async def _holds(self, embedding: EmbeddingInfo | None, precision: str) -> bool:
        kept = await self.meta("precision") or precision
        return await self.embedding() == embedding and (kept == precision or embedding is None)

    async def embedding(self) -> EmbeddingInfo | None:
        """Read which embedding the store holds vectors of."""
        text = await self.meta("embedding")
        return EmbeddingInfo.model_validate_json(text) if text else None

    async def set_embedding(self, embedding: EmbeddingInfo | None, precision: str) -> None:
        """Give the store an empty column for vectors of an embedding; None: none."""
        await self.do("ALTER TABLE openmem.memories DROP COLUMN IF EXISTS embedding")
        if self._vectors is not None and embedding is not None:
            await self.do(f"ALTER TABLE openmem.memories ADD COLUMN embedding {self._vectors.column}")
        await self.name_embedding(embedding, precision)

    async def name_embedding(self, embedding: EmbeddingInfo | None, precision: str) -> None:
        """Write down which vectors the column is for."""
        await self.set_meta("embedding", embedding.model_dump_json() if embedding else "")
        await self.set_meta("precision", precision)

    async def reindex(self) -> None:
        """Rebuild the index of words where it was made by another text analysis.

        The row `analysis` of meta says how far that went. No version takes such a store for whole: what was begun is
        gone on with, or begun anew where the analysis is not that version's.
        """
        done = 0
        while await self.meta("analysis") != ranking.ANALYSIS:
            async with self.step():
                done += await self._reindex_some()
            if done:
                logger.info("postgres: the words of %d memories are indexed anew", done)

    async def _reindex_some(self) -> int:
        """Index the words of some more memories; at the end count those of each user."""
        analysis = await self.meta("analysis") or ""
        if analysis == ranking.ANALYSIS:  # another process was quicker
            return 0
        begun = f"{ranking.ANALYSIS} after "
        if not analysis.startswith(begun):
            await self.do("DELETE FROM openmem.postings")
        rows = await self.after(analysis.removeprefix(begun) if analysis.startswith(begun) else "")
        if rows:
            words = ((key, indexed(MemoryRecord.model_validate_json(record))) for _, key, record in rows)
            lines = [line for key, each in words for line in postings(each, key)]
            await append(self.session, self._names, POSTINGS, lines, "ON CONFLICT DO NOTHING")
            await self.set_meta("analysis", begun + rows[-1][0])
        else:
            for sql in RECOUNT:
                await self.do(sql)
            await self.set_meta("analysis", ranking.ANALYSIS)
        return len(rows)

    async def secure(self, wanted: bool) -> None:
        """Put row-level security in force where it is wanted; refuse to read a store without it that has it."""
        if not wanted:
            forced = "SELECT relforcerowsecurity FROM pg_class WHERE oid = %s::regclass"
            if await self.one(forced, *self._of("memories")):
                raise ConfigurationError("the store has row-level security.", remedy="Configure rls=true.")
            return
        if await self.one("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"):
            raise ConfigurationError(
                "row-level security does not bind this role.",
                remedy="Connect as a role without SUPERUSER and BYPASSRLS.",
            )
        if await self._unsecured():
            async with self.step():
                for part in await self._unsecured():
                    await self.do(f"CREATE POLICY owner ON {part} USING ({POLICY})")
                    await self.do(f"ALTER TABLE {part} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")

    async def _unsecured(self) -> list[str]:
        """Name the tables, and those that they are divided into, that can be read without row-level security."""
        sql = """SELECT c.oid::regclass::text FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
            WHERE coalesce(i.inhparent, c.oid) = ANY (%s::text[]::regclass[]) AND NOT c.relforcerowsecurity"""
        return [name for (name,) in await (await self.session.execute(sql, [self._of(*OWNED)])).fetchall()]

    def _of(self, *tables: str) -> list[str]:
        return [f"{self._names.quoted}.{table}" for table in tables]

    async def meta(self, name: str) -> str | None:
        """Read a fact about the store."""
        value: str | None = await self.one("SELECT value FROM openmem.meta WHERE name = %s", name)
        return value

    async def set_meta(self, name: str, value: str) -> None:
        """Write down a fact about the store."""
        sql = "INSERT INTO openmem.meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        await self.do(sql, name, value)

    async def after(self, last: str) -> Sequence[tuple[Any, ...]]:
        """Read some memories by their ids: id, key and record of each."""
        sql = "SELECT id, key, record::text FROM openmem.memories WHERE id > %s ORDER BY id LIMIT %s"
        return await (await self.session.execute(self._names(sql), [last, BATCH])).fetchall()

    async def one(self, sql: str, *values: Any) -> Any:
        """Read the first column of the first row."""
        row = await self.row(sql, *values)
        return row[0] if row else None

    async def row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """Read the first row."""
        return await (await self.session.execute(self._names(sql), values)).fetchone()

    async def do(self, sql: str, *values: Any) -> None:
        """Run a statement."""
        await self.session.execute(self._names(sql), values)
