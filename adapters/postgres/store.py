"""A store in Postgres as a whole: made, brought up to date, held to its embedding, embedded anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import errors

from openmem import ranking
from openmem._generated.models import EmbeddingInfo, Memory
from openmem.adapter import Embed
from openmem.errors import ConfigurationError

from ..native import UNFINISHED, newer_schema, other_embedding
from .connections import Connection
from .records import Totals, indexed, store_words
from .schema import LOCK, MIGRATIONS, OWNED, POLICY, Names
from .vectors import Vectors

OLDEST_PGVECTOR = (0, 8)
"""The first version that goes on where a filter leaves too few of an index's rows."""
BATCH = 1000
"""Memories indexed or embedded anew at a time."""


class PostgresStore:
    """The store over one connection, on which a transaction is open."""

    def __init__(self, connection: Connection, names: Names, vectors: Vectors | None) -> None:
        self._connection, self._names, self._vectors = connection, names, vectors

    async def begin(self) -> None:
        """Let the transaction see the rows of every user and take its time."""
        await self._do("SELECT set_config('omp.maintenance', 'on', true), set_config('statement_timeout', '0', true)")

    async def migrate(self) -> None:
        """Make the schema or bring it up to date; processes that start at once wait for one another."""
        await self._do("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", LOCK, self._names.schema)
        if await self._one("SHOW server_encoding") != "UTF8":
            raise ConfigurationError("the database does not keep Unicode.", remedy="Make one with ENCODING 'UTF8'.")
        if await self._one("SHOW transaction_read_only") == "on":
            raise ConfigurationError("the server only reads.", remedy="Name one that writes; a replica is replica_url.")
        if not await self._one("SELECT to_regclass(%s)::text", f"{self._names.quoted}.meta"):
            await self._make()
        version = int(await self.meta("version") or 0)
        if version > len(MIGRATIONS):
            raise newer_schema(f"schema {self._names.schema}", version, len(MIGRATIONS))
        for number in range(version, len(MIGRATIONS)):
            for sql in self._names.migration(number):
                await self._do(sql)
            await self.set_meta("version", str(number + 1))
        if self._names.partitions and int(await self.meta("partitions") or 0) != self._names.partitions:
            raise ConfigurationError(
                f"the store has {await self.meta('partitions')} partitions, not {self._names.partitions}.",
                remedy="Leave partitions out; only a new store can be divided.",
            )

    async def _make(self) -> None:
        schema = self._names.quoted
        try:
            async with self._connection.transaction():
                if not await self._one("SELECT to_regnamespace(%s)::text", schema):
                    await self._do(f"CREATE SCHEMA {schema}")
                await self._do("CREATE TABLE openmem.meta (name text PRIMARY KEY, value text NOT NULL)")
                await self.set_meta("partitions", str(self._names.partitions))
        except errors.InsufficientPrivilege as error:
            role, database = await self._one("SELECT current_user"), await self._one("SELECT current_database()")
            raise ConfigurationError(
                f"the role {role} may not make the schema {self._names.schema}.",
                remedy=f'As the owner of {database} run: CREATE SCHEMA {schema} AUTHORIZATION "{role}";',
            ) from error

    async def hold_to(self, embedding: EmbeddingInfo | None, precision: str) -> None:
        """Record the embedding of a store; refuse another one for a store that has memories."""
        held = await self.embedding()
        kept = await self.meta("precision") or precision
        if held == embedding and (kept == precision or embedding is None):
            return
        if held == UNFINISHED or await self._one("SELECT true FROM openmem.memories LIMIT 1"):
            if held == embedding:
                raise ConfigurationError(
                    f"the store keeps vectors of {kept} precision.",
                    remedy=f"Configure precision={kept}, or run `openmem reembed` with precision={precision}.",
                )
            raise other_embedding(held, embedding)
        await self.set_embedding(embedding, precision)

    async def embedding(self) -> EmbeddingInfo | None:
        """Read which embedding the store holds vectors of."""
        text = await self.meta("embedding")
        return EmbeddingInfo.model_validate_json(text) if text else None

    async def set_embedding(self, embedding: EmbeddingInfo | None, precision: str) -> None:
        """Give the store an empty column for vectors of an embedding; None: none."""
        await self._do("ALTER TABLE openmem.memories DROP COLUMN IF EXISTS embedding")
        if self._vectors is not None and embedding is not None:
            await self._do(f"ALTER TABLE openmem.memories ADD COLUMN embedding {self._vectors.column}")
        await self.set_meta("embedding", embedding.model_dump_json() if embedding else "")
        await self.set_meta("precision", precision)

    async def extension(self) -> None:
        """See to pgvector: made where the role may, else said how."""
        found = await self._row(
            "SELECT extversion, nspname, to_regtype('vector')::text FROM pg_extension e"
            " JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'vector'"
        )
        if found is None:
            await self._make_extension()
            return
        version, schema, visible = found
        if tuple(map(int, version.split(".")[:2])) < OLDEST_PGVECTOR:
            raise ConfigurationError(
                f"pgvector {version} is too old: its index answers with too few rows under a filter.",
                remedy="Install pgvector 0.8 or newer and run: ALTER EXTENSION vector UPDATE;",
            )
        if not visible:
            role = await self._one("SELECT current_user")
            raise ConfigurationError(
                f"pgvector is in the schema {schema}, which is not in the search path of {role}.",
                remedy=f'Run: ALTER ROLE "{role}" SET search_path = "$user", public, {schema};',
            )

    async def _make_extension(self) -> None:
        database = await self._one("SELECT current_database()")
        try:
            async with self._connection.transaction():
                await self._do("CREATE EXTENSION vector")
        except errors.InsufficientPrivilege as error:
            raise ConfigurationError(
                f"the database {database} lacks the extension vector, and this role may not create it.",
                remedy="As a superuser run in that database: CREATE EXTENSION vector;",
            ) from error
        except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
            raise ConfigurationError(
                "the server does not have pgvector.",
                remedy="Install it there (Debian: postgresql-NN-pgvector), or use embedder=none for search by words.",
            ) from error

    async def reindex(self) -> None:
        """Rebuild the index of words where it was made by another text analysis."""
        if await self.meta("analysis") == ranking.ANALYSIS:
            return
        await self._do("DELETE FROM openmem.postings")
        await self._do("DELETE FROM openmem.users")
        last = ""
        while rows := await self._after(last):
            last = rows[-1][0]
            words = (indexed(Memory.model_validate_json(record)) for *_, record in rows)
            key_of = {memory_id: key for memory_id, key, _ in rows}
            totals = Totals()
            async with self._connection.pipeline():  # in which words are not copied: see row-level security
                await store_words(self._connection, self._names, totals.added(words), key_of)
                await totals.store(self._connection, self._names)
        await self.set_meta("analysis", ranking.ANALYSIS)

    async def index(self) -> None:
        """Make the index of vectors where there is none."""
        if self._vectors is not None and not await self.has_index():
            await self._do(self._vectors.index())

    async def has_index(self) -> bool:
        """Tell whether vectors are indexed."""
        return bool(await self._one("SELECT to_regclass(%s)::text", f"{self._names.quoted}.memories_embedding"))

    async def secure(self, wanted: bool) -> None:
        """Put row-level security in force where it is wanted; refuse to read a store without it that has it."""
        table = f"{self._names.quoted}.memories"
        forced = await self._one("SELECT relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", table)
        if forced and not wanted:
            raise ConfigurationError("the store has row-level security.", remedy="Configure rls=true.")
        if not wanted:
            return
        if await self._one("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"):
            raise ConfigurationError(
                "row-level security does not bind this role.",
                remedy="Connect as a role without SUPERUSER and BYPASSRLS.",
            )
        if not forced:
            for name in OWNED:
                for part in await self._parts(name):
                    await self._do(f"CREATE POLICY owner ON {part} USING ({POLICY})")
                    await self._do(f"ALTER TABLE {part} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")

    async def _parts(self, table: str) -> list[str]:
        """Name a table and those that it is divided into, each of which could be read by itself."""
        whole = f"{self._names.quoted}.{table}"
        sql = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass"
        rows = await (await self._connection.execute(sql, [whole])).fetchall()
        return [whole, *(name for (name,) in rows)]

    async def embed_anew(self, last: str, embed: Embed, model: str) -> tuple[str, int]:
        """Make the vectors of the memories after an id; return the last of them and their number."""
        if self._vectors is None:
            raise AssertionError("vectors are made anew by a configured embedder")
        await self._vectors.register(self._connection)
        rows = await self._after(last)
        memories = [Memory.model_validate_json(record) for _, _, record in rows]
        vectors = await embed([memory.content for memory in memories]) if rows else []
        async with self._connection.pipeline():
            for memory, vector in zip(memories, vectors, strict=True):
                await self._do(
                    "UPDATE openmem.memories SET embedding = %s, record = jsonb_set(record, '{embedding_model}',"
                    " to_jsonb(%s::text)) WHERE id = %s AND user_id = %s",
                    self._vectors.value(vector),
                    model,
                    memory.id,
                    memory.user_id,
                )
        return (rows[-1][0] if rows else last), len(rows)

    async def meta(self, name: str) -> str | None:
        """Read a fact about the store."""
        value: str | None = await self._one("SELECT value FROM openmem.meta WHERE name = %s", name)
        return value

    async def set_meta(self, name: str, value: str) -> None:
        """Write down a fact about the store."""
        sql = "INSERT INTO openmem.meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        await self._do(sql, name, value)

    async def _after(self, last: str) -> Sequence[tuple[Any, ...]]:
        sql = "SELECT id, key, record::text FROM openmem.memories WHERE id > %s ORDER BY id LIMIT %s"
        return await (await self._connection.execute(self._names(sql), [last, BATCH])).fetchall()

    async def _one(self, sql: str, *values: Any) -> Any:
        row = await self._row(sql, *values)
        return row[0] if row else None

    async def _row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        return await (await self._connection.execute(self._names(sql), values)).fetchone()

    async def _do(self, sql: str, *values: Any) -> None:
        await self._connection.execute(self._names(sql), values)
