"""qdrant://… keeps everything in two collections of Qdrant: on a server, in a folder, or in shards in this process."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice
from typing import Any
from urllib.parse import SplitResult, unquote
from weakref import WeakValueDictionary

from openmem import urls
from openmem._generated import models
from openmem.adapter import Embed
from openmem.errors import ConfigurationError, ProviderError, ProviderUnavailableError
from openmem.protocol import selection
from openmem.protocol.clock import micros

from ..kit.audit import with_kept
from ..kit.reembedding import reembed
from ..kit.remote import RemoteAdapter, Transaction
from ..kit.store import Logged, asked, audit_response
from ..kit.vectors import with_vectors
from . import counting
from .clients import RemoteEngine
from .engine import Engine
from .filters import All, Match, Range, of_user
from .forgetting import forget
from .listing import listed
from .local import LocalEngine
from .points import Writer, entries_of, log_fields, memory_of, point_id
from .reembedding import QdrantReembedding, finish
from .search import Search
from .settings import FolderSettings, QdrantSettings
from .shard import EdgeEngine
from .store import QdrantStore
from .transaction import QdrantTransaction
from .walk import chain_of, ordered

logger = logging.getLogger("openmem")

COPIES = "Copies of the folder, and what the file system and the disk keep of blocks that were overwritten."
_TLS = {"qdrants": True, "https": True, "http": False}


class QdrantBackend(RemoteAdapter):
    """Records as text in the payload, vectors named dense and terms; a subclass says which engine holds them."""

    name = "qdrant"
    pages_search = True
    settings: FolderSettings | QdrantSettings

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._writer = Writer()
        self._of_users = WeakValueDictionary[str, asyncio.Lock]()
        self.store = QdrantStore(self.engine(), self.settings.collection)

    @abstractmethod
    def engine(self) -> Engine:
        """Make the engine; nothing is opened yet."""

    async def open(self) -> None:
        """Make the collections or check them, and end what an interrupted reembed left to be done."""
        await self.store.engine.open()
        if (await self.store.open(self.embedding)).former and await finish(self.store) is None:
            message = "some memories of %s have no vector yet: unless a reembed is at it, run `openmem reembed` again"
            logger.warning(message, self.store.memories)

    async def close(self) -> None:
        """Store the audit entries kept back and let go of the engine."""
        try:
            if self.is_ready:
                await self.flush()
        finally:
            await self.store.engine.close()

    async def reembed(self, embed: Embed) -> int:
        """Make every vector anew with the configured embedder; return how many memories there are.

        Until the last is there the store is what it was; interrupted, it goes on where it ended when it is run again.
        """
        embedding = self.configured_embedding()
        await self.store.engine.open()
        return await reembed(QdrantReembedding(self.store, embedding), embed)

    async def list(self, request: models.ListRequest) -> models.MemoryPage:
        """Return one page, by the index of created_at, or the one memory that has the external_id asked for."""
        page = await listed(self.store, request, self.clock())
        if request.include_vectors:
            await self._add_vectors(page)
        await self.log_read(request.user_id, self.rules.entry("list", scope=request.scope))
        return page

    async def _add_vectors(self, page: models.MemoryPage) -> None:
        name = await self.store.check(lately=1.0)
        points = {point_id(memory.id): memory.id for memory in page.items}
        found = await self.store.engine.vectors(self.store.memories, name, [*points])
        with_vectors(page, {points[point]: vector for point, vector in found.items()})

    async def search(self, request: models.SearchRequest) -> models.SearchResponse:
        """Search by one vector or both."""
        dense = None
        if request.vector is not None and request.mode != "keyword":
            dense = await self.store.check(lately=1.0)
        try:
            found = await self._found(request, dense)
        except ProviderError as error:  # perhaps of a name that is no longer there
            away = isinstance(error, ProviderUnavailableError)
            if away or dense is None or (anew := await self.store.check()) == dense:
                raise
            found = await self._found(request, anew)
        await self.log_read(request.user_id, self.rules.entry("search", scope=request.scope))
        return found

    async def _found(self, request: models.SearchRequest, dense: str | None) -> models.SearchResponse:
        search = Search(request, self.clock(), dense if self.embedding is not None else None)
        return models.SearchResponse(results=await search.run(self.store))

    async def stats(self, request: models.StatsRequest) -> models.Stats:
        """Count one user's memories, or those that are selected."""
        stats = await counting.stats(self.store, request, self.clock())
        await self.log_read(request.user_id, self.rules.entry("stats", scope=request.scope))
        return stats.model_copy(update={"audit_dropped": self.reads.dropped[request.user_id] or None})

    def selected(self, request: models.EraseRequest) -> AsyncIterator[Collection[models.MemoryRecord]]:
        """Read what an erase selects, in no order."""
        return counting.selected(self.store, selection.in_every_state(request), self.clock())

    async def forget(self, user_id: str) -> None:
        """Remove a user's audit log."""
        await forget(self.store.engine, self.store.sidecar, user_id, self.clock())

    async def scrub(self) -> Sequence[str]:
        """Have the engine rewrite its files, where it can."""
        return await self.store.engine.scrub()

    async def scopes(self, request: models.ScopesRequest) -> models.ScopePage:
        """Return one page of the scopes of one user's memories."""
        page = await counting.scopes(self.store, request, self.clock())
        await self.log_read(request.user_id, self.rules.entry("scopes", scope=request.under))
        return page

    async def users(self, request: models.UsersRequest) -> models.UserPage:
        """Return one page of the users that have memories."""
        return await counting.users(self.store, request)

    async def health(self, request: models.HealthRequest) -> models.Health:
        """Read what the store says of itself, where it is."""
        await self.store.facts()
        return models.Health(status="ok", engine=await self.store.engine.about())

    async def chain(self, start: models.MemoryRecord) -> Collection[models.MemoryRecord]:
        """Read a chain: all of it but its head is among the user's superseded memories."""
        superseded = All((of_user(start.user_id), Range("superseded_at", low=-(2.0**63))))
        return await chain_of(start, self.store.pages(superseded), lambda ids: self.fetch(ids, start.user_id))

    async def audit(self, request: models.AuditRequest) -> models.AuditResponse:
        """Read the audit log."""
        kept = [each for each in await self.kept_back(request.user_id) if asked(each, request)]
        since = [Range("latest", low=micros(request.since))] if request.since is not None else []
        condition = All((Match("log", (request.user_id,)), *since))
        entries: list[Logged] = []
        fields = log_fields(request.user_id)
        async for rows in ordered(
            self.store.engine, self.store.sidecar, condition, "sequence", None, min(request.limit, 64), fields
        ):
            for row in sorted(rows, key=lambda row: row.payload["sequence"], reverse=True):
                entries += [each for each in entries_of(row.payload, request.user_id) if asked(each, request)]
            if len(entries) >= request.limit:
                break
        return audit_response(islice(with_kept(entries, kept), request.limit))

    async def fetch(self, ids: Collection[str], user_id: str | None) -> Collection[models.MemoryRecord]:
        """Read records by id."""
        points = [point_id(each) for each in ids]
        rows = await self.store.engine.retrieve(self.store.memories, points, ("record",))
        found = [memory_of(row.payload) for row in rows]
        return [memory for memory in found if user_id is None or memory.user_id == user_id]

    async def fetch_keys(self, external_ids: Collection[str], user_id: str) -> Collection[models.MemoryRecord]:
        """Read a user's records by external_id."""
        return await self.store.claimed(user_id, external_ids)

    @asynccontextmanager
    async def transaction(self, users: Collection[str]) -> AsyncIterator[Transaction]:
        """Begin a change: alone where nobody else writes, else alone in this process for its users once it reads."""
        store = self.store
        async with AsyncExitStack() as stack:
            turns = store.engine.turns
            locks = [self._lock_of(user) for user in sorted(users)] if turns is None else []
            if turns is not None:
                await stack.enter_async_context(turns)

            async def alone() -> None:
                while locks:
                    await stack.enter_async_context(locks.pop(0))

            yield QdrantTransaction(store, self._writer, alone, self.reads.put_back)

    def _lock_of(self, user_id: str) -> asyncio.Lock:
        return self._of_users.setdefault(user_id, asyncio.Lock())


class QdrantAdapter(QdrantBackend):
    """A server or a cluster."""

    parallel = 4
    repeats = True
    unreached = (
        "Segments of the Qdrant server, until its optimizer rewrites them, and its log, until that is written anew.",
        "Snapshots and replicas of the collections, and logs of the server and of what stands before it.",
    )
    settings_type = QdrantSettings
    settings: QdrantSettings

    @classmethod
    def options_from_url(cls, url: SplitResult) -> dict[str, Any]:
        """Read host, port and collection: qdrant://host:6333/collection, qdrants:// for TLS; a password is the key."""
        account = urls.credentials(url)
        if "user" in account:  # which is not quoted: it may be the key
            raise ConfigurationError("the URL has a user name.", remedy=f"Write {url.scheme}://:KEY@HOST:6333.")
        parts = {
            **urls.endpoint(url),
            "collection": unquote(url.path.strip("/")) or None,
            "api_key": account.get("password"),
            "https": _TLS.get(url.scheme),
        }
        return {name: value for name, value in parts.items() if value is not None}

    def engine(self) -> Engine:
        """Make a client of the server."""
        given = self.settings
        tls = given.https if given.https is not None else given.api_key is not None
        return RemoteEngine(
            given.host,
            given.port,
            tls=tls,
            api_key=given.api_key,
            timeout=given.request_timeout,
            exact=given.exact,
            creation=given.model_dump(
                include={"shard_number", "replication_factor", "write_consistency_factor"}, exclude_none=True
            ),
        )


class FolderBackend(QdrantBackend):
    """A folder that this process alone uses."""

    batch = 1000
    settings_type = FolderSettings
    settings: FolderSettings

    @classmethod
    def options_from_url(cls, url: SplitResult) -> dict[str, Any]:
        """Read the folder: three slashes and a relative path, four and an absolute one."""
        path = unquote(url.path.removeprefix("/"))
        if url.netloc:
            raise ConfigurationError(
                f"a {url.scheme} URL has three slashes and a folder.", remedy=f"Write {url.scheme}:///folder."
            )
        return {"path": path} if path else {}


class QdrantLocalAdapter(FolderBackend):
    """The client's local mode: made for trying out, since it reads every point for every search."""

    unreached = (COPIES,)

    def engine(self) -> Engine:
        """Make the client."""
        return LocalEngine(self.settings.path, private=self.settings.private)


class QdrantEdgeAdapter(FolderBackend):
    """The engine itself in this process."""

    unreached = (
        "Segments and logs of the shards, until the engine rewrites them: a new folder, filled with what is left, holds"
        " nothing of what was erased.",
        COPIES,
    )

    def engine(self) -> Engine:
        """Make the engine."""
        return EdgeEngine(self.settings.path, private=self.settings.private)
