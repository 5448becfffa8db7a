"""postgres://… keeps everything in a Postgres database, shared by any number of processes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import SplitResult

import psycopg
from psycopg import IsolationLevel

from openmem._generated import models
from openmem.adapter import Embed
from openmem.errors import ClosedError, ConfigurationError, ProviderUnavailableError
from openmem.protocol import census, cursors, selection

from ..kit.audit import with_kept
from ..kit.changes import unknown
from ..kit.reembedding import reembed
from ..kit.remote import RemoteAdapter
from ..kit.store import Logged, asked, audit_response
from ..kit.vectors import with_vectors
from . import conninfo, reads
from .connections import Connections, Rows
from .erasing import erase
from .extension import see_to_extension
from .failures import translated
from .filters import Bindings, one_of, selected
from .index import IndexBuilder
from .jsonb import read_record
from .reembedding import Renewal
from .scanning import scanned
from .schema import Names
from .search import Search, Sizes, needed
from .sessions import GRACE, Session, closed_unless_done, connect
from .settings import PostgresSettings
from .store import PostgresStore
from .transaction import Keys, PostgresTransaction
from .vectors import Vectors, see_it_is_held

LAST_ENTRIES = 2.0
"""Seconds that closing takes, at the most, to store the audit entries kept back."""

logger = logging.getLogger("openmem")


class PostgresAdapter(RemoteAdapter):
    """Records as jsonb, an inverted index with statistics per user, vectors by pgvector."""

    name = "postgres"
    pages_search = True
    snapshots = True
    drivers = conninfo.DRIVERS
    parallel = 3
    batch = 350
    unreached = (
        "Dead rows and the planner's statistics, until VACUUM (ANALYZE) has run over the tables of the store.",
        "The server's write-ahead log and its archive, replicas, backups, and its log where that holds statements.",
    )
    settings_type = PostgresSettings
    settings: PostgresSettings

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._names = Names(self.settings.db_schema, self.settings.partitions)
        self._keys = Keys(self._names)
        self._vectors = Vectors(self.embedding, self.settings.precision) if self.embedding else None
        self._sizes = Sizes()
        self.index = IndexBuilder(self.settings, self._names, self._vectors)
        self.connections: Connections | None = None
        """None while it is not open."""

    @classmethod
    def options_from_url(cls, url: SplitResult) -> dict[str, Any]:
        """Read user, password, hosts, ports and database: postgres://user:password@host:5432/database."""
        return conninfo.from_url(url)

    async def open(self) -> None:
        """Bring the store up to date, where anything is to be done, and start the pools.

        Where the server is away, the replica may say that nothing is to be done.
        """
        if self._vectors is not None:
            self._check_indexable(self._vectors)
        try:
            async with self._store(self.settings.arguments()) as store:
                await self._prepare(store)
                if self._vectors is not None:
                    await self.index.mend(store.session)
        except ProviderUnavailableError:
            if not await self._current_on_replica():
                raise
        connections = Connections(self.settings, self._configure)
        await connections.open()
        self.connections = connections

    async def _prepare(self, store: PostgresStore) -> None:
        await store.migrate()
        if self._vectors is not None:
            await see_to_extension(store)
        await store.hold_to(self.embedding, self.settings.precision)
        await store.reindex()
        await store.secure(self.settings.rls)

    async def _current_on_replica(self) -> bool:
        arguments = self.settings.replica_arguments()
        if arguments is None:
            return False
        try:
            async with self._store(arguments) as store:
                await self._prepare(store)
        except (ProviderUnavailableError, ConfigurationError):
            return False
        logger.warning("postgres: the server is away; reads are answered by the replica")
        return True

    async def close(self) -> None:
        """Store the audit entries kept back and close every connection.

        Where nothing may be written, the log says how many are lost: reading is all that such a client came for.
        """
        await self.index.close()
        connections = self.connections
        if connections is None:
            return
        try:
            async with asyncio.timeout(GRACE if connections.primary.down else LAST_ENTRIES):
                await self.flush()
        except TimeoutError as error:
            raise ProviderUnavailableError("the audit entries of the last reads could not be stored.") from error
        except ConfigurationError as error:
            logger.warning("postgres: the audit entries of %d reads are not stored: %s", len(self.reads), error.message)
        finally:
            self.connections = None
            await connections.close()

    async def reembed(self, embed: Embed) -> int:
        """Make every vector anew with the configured embedder; return how many memories there are."""
        vectors = Vectors(self.configured_embedding(), self.settings.precision)
        self._check_indexable(vectors)
        async with self._store(self.settings.arguments()) as store:
            await store.migrate()
            await see_to_extension(store)
            done = await reembed(Renewal(store, self._names, vectors, embed), embed)
            await self.index.mend(store.session)
        await self.index.close()
        return done

    def _check_indexable(self, vectors: Vectors) -> None:
        if self.settings.index == "hnsw":
            vectors.check_indexable()

    async def list(self, request: models.ListRequest) -> models.MemoryPage:
        """Return one page, by the index of created_at and id."""
        rows = await self._rows(*reads.listing(request, self.clock()), user_id=request.user_id, replica=True)
        await self.log_read(request.user_id, self.rules.entry("list", scope=request.scope))
        page = cursors.page(_memories(rows), request.limit)
        if request.include_vectors and rows:
            see_it_is_held(self.embedding, rows[0][2])
            with_vectors(page, {memory.id: row[1] for memory, row in zip(page.items, rows, strict=False)})
        return page

    async def search(self, request: models.SearchRequest) -> models.SearchResponse:
        """Search exactly or, among very many, by the index."""
        wanted = self.index.want if self.index.ready else None
        search = Search(request, self.clock(), self._vectors, self._sizes, wanted)
        response = await search.run(partial(self._rows, user_id=request.user_id, replica=True))
        await self.log_read(request.user_id, self.rules.entry("search", scope=request.scope))
        return response

    async def chain(self, start: models.MemoryRecord) -> Collection[models.MemoryRecord]:
        """Read a whole chain in one statement; NotFoundError where the memory was deleted meanwhile."""
        chain = _memories(await self._rows(reads.CHAIN, reads.chain_of(start), user_id=start.user_id))
        if all(memory.id != start.id for memory in chain):
            raise unknown(start.id)
        return chain

    async def stats(self, request: models.StatsRequest) -> models.Stats:
        """Count one user's memories, or those that are selected, on the server."""
        sql, values = reads.counting(selection.in_every_state(request), self.clock())
        [row] = await self._rows(sql, values, user_id=request.user_id)
        await self.log_read(request.user_id, self.rules.entry("stats", scope=request.scope))
        stats = reads.counted(request.user_id, row)
        return stats.model_copy(update={"audit_dropped": self.reads.dropped[request.user_id] or None})

    async def scopes(self, request: models.ScopesRequest) -> models.ScopePage:
        """Return one page of scopes, counted on the server."""
        rows = await self._rows(*reads.naming_scopes(request, self.clock()), user_id=request.user_id)
        await self.log_read(request.user_id, self.rules.entry("scopes", scope=request.under))
        return census.scopes(rows, request.limit)

    async def users(self, request: models.UsersRequest) -> models.UserPage:
        """Return one page of users, of the numbers kept of each."""
        sql, values = reads.naming_users(request)
        return census.user_page(await self._rows(sql, values, everyone=True, local=reads.BY_INDEX), request.limit)

    async def health(self, request: models.HealthRequest) -> models.Health:
        """Ask the server itself, by a connection of the pool."""
        [(engine,)] = await self._rows(reads.ENGINE, {}, everyone=True)
        return models.Health(status="ok", engine=engine)

    async def audit(self, request: models.AuditRequest) -> models.AuditResponse:
        """Read the audit log, with what could not be stored of it yet."""
        kept = [entry for entry in await self.kept_back(request.user_id) if asked(entry, request)]
        values = Bindings(user=request.user_id, app=request.app, since=request.since, limit=request.limit)
        rows = await self._rows(reads.LOG, values, user_id=request.user_id)
        stored = [Logged(row[0].astimezone(UTC), *row[1:]) for row in rows]
        return audit_response(islice(with_kept(stored, kept), request.limit) if kept else stored)

    async def scan(self, user_id: str) -> AsyncGenerator[Sequence[models.MemoryRecord], None]:
        """Walk what one snapshot holds of a user; it has a connection of its own until it ends."""
        async with (
            self._pools().reading(user_id) as session,
            aclosing(scanned(session, self._names, self._vectors, user_id)) as chunks,
        ):
            async for chunk in chunks:
                yield chunk

    async def fetch(self, ids: Collection[str], user_id: str | None) -> Collection[models.MemoryRecord]:
        """Read records by id."""
        values = Bindings()
        condition = one_of("id", ids, values)
        if user_id is not None:
            condition += f" AND user_id = {values.bind(user_id)}"
        sql = f"SELECT record::text FROM openmem.memories WHERE {condition}"
        return _memories(await self._rows(sql, values, user_id=user_id))

    async def fetch_keys(self, external_ids: Collection[str], user_id: str) -> Collection[models.MemoryRecord]:
        """Read a user's records by external_id."""
        values = Bindings()
        condition = f"user_id = {values.bind(user_id)} AND {one_of('external_id', external_ids, values)}"
        sql = f"SELECT record::text FROM openmem.memories WHERE {condition}"
        return _memories(await self._rows(sql, values, user_id=user_id))

    async def erase(self, request: models.EraseRequest) -> models.EraseResponse:
        """Erase what is selected in one transaction; in a dry run the server counts it."""
        if not request.dry_run:
            return await self.erased(request, await self.attempted(partial(erase, self, request)))
        values = Bindings()
        condition = selected(selection.in_every_state(request), self.clock(), values)
        sql = f"SELECT count(*) FROM openmem.memories WHERE {condition}"
        [row] = await self._rows(sql, values, user_id=request.user_id)
        await self.log_read(request.user_id, self.rules.entry("erase", scope=request.scope))
        return await self.erased(request, row[0])

    @asynccontextmanager
    async def transaction(self, users: Collection[str]) -> AsyncIterator[PostgresTransaction]:
        """Begin a transaction on the server; where users grow by it, see whether they need the index of vectors."""
        async with self._pools().transaction(users) as session:
            copies = not self.settings.rls
            transaction = PostgresTransaction(session, self._names, self._vectors, self._keys, copies=copies)
            yield transaction
        if self.index.useful and (grown := transaction.grown()):
            self.index.look(grown, self.needs_index)

    async def diagnose(self) -> Sequence[tuple[str, bool, str, str]]:
        """Say what the index of vectors does and costs, for `openmem doctor`."""
        if self.connections is None or self._vectors is None:
            return []
        return [("index", True, *await self.index.told())]

    async def needs_index(self, user_id: str) -> tuple[bool, bool]:
        """Tell whether a user has so many memories that the index of vectors pays, and whether it is there."""
        [row] = await self._rows(needed(), Bindings(user=user_id), user_id=user_id)
        return row[0], row[1]

    async def _rows(self, sql: str, values: Mapping[str, Any], **how: Any) -> Rows:
        return await self._pools().rows(self._names(sql), values, **how)

    def _pools(self) -> Connections:
        if self.connections is None:
            raise ClosedError("this adapter is closed.")
        return self.connections

    async def _configure(self, session: Session) -> None:
        with closed_unless_done(session):
            await session.set_isolation_level(IsolationLevel.READ_COMMITTED)
            if self._vectors is not None:
                await self._vectors.register(session)

    @asynccontextmanager
    async def _store(self, arguments: Mapping[str, Any]) -> AsyncIterator[PostgresStore]:
        """Open a connection of its own for work on the store as a whole."""
        session = await connect(arguments)
        try:
            async with session:
                yield PostgresStore(session, self._names, self._vectors)
        except psycopg.Error as error:
            raise translated(error, lost=session.closed) from error


def _memories(rows: Sequence[Sequence[Any]]) -> list[models.MemoryRecord]:
    return [read_record(record) for record, *_ in rows]
