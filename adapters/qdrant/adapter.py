"""qdrant://… keeps everything in two collections of Qdrant: on a server, in a folder, or in shards in this process."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice
from typing import Any
from urllib.parse import SplitResult, unquote
from weakref import WeakValueDictionary

from openmem import urls
from openmem._generated import models
from openmem.adapter import Embed
from openmem.errors import ConfigurationError, ProviderError, ProviderUnavailableError
from openmem.protocol import census, cursors, selection
from openmem.protocol.clock import micros
from openmem.protocol.tally import Tally

from ..kit.audit import with_kept
from ..kit.reembedding import reembed
from ..kit.remote import RemoteAdapter, Transaction
from ..kit.store import Logged, asked, audit_response
from . import counting
from .clients import RemoteEngine
from .engine import Engine, Row
from .filters import All, Match, Range, of_user, selecting
from .local import LocalEngine
from .points import Writer, entries_of, log_fields, memory_of, point_id
from .reembedding import QdrantReembedding, finish
from .search import Search
from .settings import FolderSettings, QdrantSettings
from .shard import EdgeEngine
from .store import QdrantStore
from .transaction import QdrantTransaction
from .walk import chain_of, newest_first

logger = logging.getLogger("openmem")

_TLS = {"qdrants": True, "https": True, "http": False}


class QdrantBackend(RemoteAdapter):
    """Records as text in the payload, vectors named dense and terms; a subclass says which engine holds them."""

    name = "qdrant"
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
        now = self.clock()
        selected = selection.predicate(request, now)
        after = cursors.decode(request)
        external_id = selection.pinned(request)
        if external_id is not None:
            found = await self.store.claimed(request.user_id, external_id)
            await self.log_read(request.user_id, self.rules.entry("list", scope=request.scope))
            return cursors.page_after(after, filter(selected, found), request.limit)
        walk = newest_first(
            self.store.engine,
            self.store.memories,
            selecting(request, now),
            "created_at",
            micros(after[0]) if after else None,
            request.limit + 3,
            ("record", "created_at"),
        )
        found = []
        async for rows in walk:
            group = sorted(map(_positioned, rows), key=lambda pair: pair[0], reverse=True)
            found += [memory for place, memory in group if (after is None or place < after) and selected(memory)]
            if len(found) > request.limit:
                break
        await self.log_read(request.user_id, self.rules.entry("list", scope=request.scope))
        return cursors.page(found[: request.limit + 1], request.limit)

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
        now = self.clock()
        tally = Tally(request.user_id, now)
        async for memories in counting.selected(self.store, selection.counted(request), now):
            tally.count(memories)
        await self.log_read(request.user_id, self.rules.entry("stats", scope=request.scope))
        dropped = self.reads.dropped[request.user_id] or None
        return tally.stats().model_copy(update={"audit_dropped": dropped})

    async def scopes(self, request: models.ScopesRequest) -> models.ScopePage:
        """Return one page of the scopes of one user's memories."""
        found = list[census.Counted]()
        async for memories in counting.selected(self.store, selection.scoped(request), self.clock()):
            found += census.scopes_of(memories)
        await self.log_read(request.user_id, self.rules.entry("scopes", scope=request.under))
        return census.scope_page(found, request)

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
        async for rows in newest_first(
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

    def engine(self) -> Engine:
        """Make the client."""
        return LocalEngine(self.settings.path, private=self.settings.private)


class QdrantEdgeAdapter(FolderBackend):
    """The engine itself in this process."""

    def engine(self) -> Engine:
        """Make the engine."""
        return EdgeEngine(self.settings.path, private=self.settings.private)


def _positioned(row: Row) -> tuple[cursors.Position, models.MemoryRecord]:
    memory = memory_of(row.payload)
    return cursors.position(memory), memory
