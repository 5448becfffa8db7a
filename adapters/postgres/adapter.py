"""postgres://… keeps everything in a Postgres database, shared by any number of processes."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC
from functools import partial
from typing import Any
from urllib.parse import SplitResult, unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr

from openmem import cursors
from openmem._generated import models
from openmem.adapter import Embed, Settings
from openmem.errors import ClosedError

from ..native import UNFINISHED
from ..staged import StagedAdapter, Transaction
from ..store import Logged, audit_response
from .connections import Connection, Connections, Rows, connect, translated
from .filters import Bindings, selected
from .records import Keys, PostgresTransaction
from .schema import Names
from .search import Search, Sizes
from .store import PostgresStore
from .vectors import Precision, Vectors

LIBPQ = ("host", "port", "user", "dbname", "application_name", "sslmode", "sslrootcert", "sslcert", "sslkey")
OPTIONS = ("jit=off", "plan_cache_mode=force_generic_plan")
"""Compiling and planning each statement anew would take longer than these statements do."""


class PostgresSettings(Settings):
    """Options of postgres://: those of libpq that say where the server is, and our own."""

    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: SecretStr | None = None
    dbname: str | None = None
    sslmode: str | None = None
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    application_name: str = "openmem"
    replica_url: SecretStr | None = None
    """A replica of the server, which list and search may read from once it has what this process wrote."""
    db_schema: str = Field(default="openmem", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=63)
    """The schema that holds the store."""
    pool_size: int = Field(default=10, ge=1)
    connect_timeout: float = Field(default=10.0, gt=0)
    """Seconds to wait for a connection."""
    statement_timeout: float = Field(default=30.0, gt=0)
    """Seconds that one statement may take on the server."""
    pgbouncer: bool = False
    """The server is behind PgBouncer with transaction pooling: no prepared statements, no settings of a session."""
    index: str = Field(default="hnsw", pattern="^(hnsw|none)$")
    """hnsw: an index of vectors is made where there is none; none: it is not, which loads faster."""
    precision: Precision = "single"
    """half: vectors of 16-bit numbers, half the size."""
    partitions: int = Field(default=0, ge=0, le=1024)
    """Divide a new store by hash of user_id into this many tables."""
    rls: bool = False
    """Row-level security: the server itself refuses rows of another user than the request's."""

    def arguments(self) -> dict[str, Any]:
        """Return what psycopg connects with."""
        given = {name: value for name in LIBPQ if (value := getattr(self, name)) is not None}
        if self.password is not None:
            given["password"] = self.password.get_secret_value()
        return self._session(given)

    def replica_arguments(self) -> dict[str, Any] | None:
        """Return the same for the replica; None without one."""
        if self.replica_url is None:
            return None
        return self._session(conninfo_to_dict(self.replica_url.get_secret_value()))

    def _session(self, given: dict[str, Any]) -> dict[str, Any]:
        session: dict[str, Any] = {"autocommit": True, "client_encoding": "utf8"}
        session["connect_timeout"] = math.ceil(self.connect_timeout)
        if self.pgbouncer:
            return {**session, **given, "prepare_threshold": None}
        options = [f"statement_timeout={self.statement_timeout * 1000:.0f}", *OPTIONS]
        return {**session, **given, "options": " ".join(f"-c {option}" for option in options)}


class PostgresAdapter(StagedAdapter):
    """Records as jsonb, an inverted index with statistics per user, vectors by pgvector."""

    name = "postgres"
    parallel = 3
    batch = 350
    settings_type = PostgresSettings
    settings: PostgresSettings

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._names = Names(self.settings.db_schema, self.settings.partitions)
        self._keys = Keys(self._names)
        self._vectors = Vectors(self.embedding, self.settings.precision) if self.embedding else None
        self._indexed, self._sizes = False, Sizes()
        self._connections: Connections | None = None

    @classmethod
    def options_from_url(cls, url: SplitResult) -> dict[str, Any]:
        """Read user, password, host, port and database: postgres://user:password@host:5432/database."""
        parts = {
            "user": url.username and unquote(url.username),
            "password": url.password and unquote(url.password),
            "host": url.hostname and unquote(url.hostname),
            "port": url.port,
            "dbname": unquote(url.path.removeprefix("/")),
        }
        return {name: value for name, value in parts.items() if value}

    async def open(self) -> None:
        """Bring the schema up to date, hold the store to its embedding and start the pools."""
        async with self._store() as store:
            await store.migrate()
            if self._vectors is not None:
                await store.extension()
            await store.hold_to(self.embedding, self.settings.precision)
            await store.reindex()
            if self.settings.index == "hnsw":
                await store.index()
            self._indexed = await store.has_index()
            await store.secure(self.settings.rls)
        connections = Connections(self.settings, self._configure)
        await connections.open()
        self._connections = connections

    async def close(self) -> None:
        """Store the audit entries kept back and close every connection."""
        connections = self._connections
        if connections is None:
            return
        try:
            await self.flush()
        finally:
            self._connections = None
            await connections.close()

    async def reembed(self, embed: Embed) -> int:
        """Make every vector anew with the configured embedder; return how many memories there are.

        Interrupted, the store refuses to open until it is run again.
        """
        embedding = self.configured_embedding()
        async with self._store() as store:
            await store.migrate()
            await store.extension()
            await store.set_embedding(embedding, self.settings.precision)
            await store.set_meta("embedding", UNFINISHED.model_dump_json())
        last, done, count = "", 0, -1
        while count:
            async with self._store() as store:
                last, count = await store.embed_anew(last, embed, embedding.model)
            done += count
        async with self._store() as store:
            if self.settings.index == "hnsw":
                await store.index()
            await store.set_meta("embedding", embedding.model_dump_json())
        return done

    async def list(self, request: models.ListRequest) -> models.MemoryPage:
        """Return one page, by the index of created_at and id."""
        values = Bindings()
        condition = selected(request, self.clock(), values)
        after = cursors.decode(request)
        if after is not None:
            condition += f" AND (created_at, id) < ({values.bind(after[0])}, {values.bind(after[1])})"
        sql = f"""SELECT record::text FROM openmem.memories WHERE {condition}
            ORDER BY created_at DESC, id DESC LIMIT {request.limit + 1}"""
        rows = await self._rows(sql, values, user_id=request.user_id, replica=True)
        await self.log_read(request.user_id, self.rules.entry("list", scope=request.scope))
        return cursors.page([models.Memory.model_validate_json(record) for (record,) in rows], request.limit)

    async def search(self, request: models.SearchRequest) -> models.SearchResponse:
        """Search exactly or, among very many, by the index."""
        search = Search(request, self.clock(), self._vectors, self._sizes if self._indexed else None)
        response = await search.run(partial(self._rows, user_id=request.user_id, replica=True))
        await self.log_read(request.user_id, self.rules.entry("search", scope=request.scope))
        return response

    async def audit(self, request: models.AuditRequest) -> models.AuditResponse:
        """Read the audit log."""
        await self.flush()
        values = Bindings(user=request.user_id, app=request.app, since=request.since, limit=request.limit)
        sql = """SELECT moment, app, action, memory_id, scope, request_id FROM openmem.audit
            WHERE user_id = %(user)s AND (%(app)s::text IS NULL OR app = %(app)s)
            AND (%(since)s::timestamptz IS NULL OR moment >= %(since)s) ORDER BY key DESC LIMIT %(limit)s"""
        rows = await self._rows(sql, values, user_id=request.user_id)
        return audit_response(Logged(row[0].astimezone(UTC), *row[1:]) for row in rows)

    async def fetch(self, ids: Collection[str], user_id: str | None) -> Collection[models.Memory]:
        """Read records by id."""
        values = Bindings(ids=list(ids), user=user_id)
        sql = "SELECT record::text FROM openmem.memories WHERE id = ANY(%(ids)s)"
        sql += " AND user_id = %(user)s" if user_id is not None else ""
        rows = await self._rows(sql, values, user_id=user_id)
        return [models.Memory.model_validate_json(record) for (record,) in rows]

    @asynccontextmanager
    async def transaction(self, users: Collection[str]) -> AsyncIterator[Transaction]:
        """Begin a transaction on the server."""
        async with self._pools().transaction(users) as connection:
            copies = not self.settings.rls
            yield PostgresTransaction(connection, self._names, self._vectors, self._keys, copies=copies)

    async def _rows(self, sql: str, values: Mapping[str, Any], **how: Any) -> Rows:
        return await self._pools().rows(self._names(sql), values, **how)

    def _pools(self) -> Connections:
        if self._connections is None:
            raise ClosedError("this adapter is closed.")
        return self._connections

    async def _configure(self, connection: Connection) -> None:
        if self._vectors is not None:
            await self._vectors.register(connection)

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[PostgresStore]:
        """Open a connection of its own, and a transaction on it, for work on the store as a whole."""
        connection = await connect(self.settings.arguments())
        try:
            async with connection, connection.transaction():
                store = PostgresStore(connection, self._names, self._vectors)
                await store.begin()
                yield store
        except psycopg.Error as error:
            raise translated(error) from error
