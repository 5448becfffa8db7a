"""InProcessAdapter: every verb of a backend in this process, over a small store of records."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from openmem._generated import models
from openmem.protocol import census, cursors, selection
from openmem.runtime.batches import in_chunks
from openmem.runtime.calls import NOTED

from .base import NativeAdapter
from .changes import owned
from .search import search
from .store import Logged, Store, asked, audit_response

T = TypeVar("T")
BATCH = 500
"""Items of a batch stored in one transaction: long enough to be quick, short enough to let others in."""


class InProcessAdapter(NativeAdapter):
    """A backend in this process; a subclass provides transactions over a Store."""

    inline = True

    @abstractmethod
    async def transact(self, work: Callable[[Store], T], *, write: bool) -> T:
        """Run work on a store; with write, all of it is kept or none."""

    async def add(self, request: models.AddRequest) -> models.MemoryRecord:
        """Store one memory, or update the one that has its external_id."""
        return await self.transact(partial(self.rules.add, request), write=True)

    async def add_many(self, request: models.AddManyRequest) -> models.BatchResponse:
        """Store many, a few hundred to a transaction."""
        return await self._batches(request.items, self.rules.add_item)

    async def get(self, request: models.GetRequest) -> models.MemoryRecord:
        """Read one memory, whatever its state."""

        def work(store: Store) -> models.MemoryRecord:
            memory = owned(store.get(request.id), request.id, request.user_id)
            _log_read(store, memory.user_id, self.rules.entry("get", memory))
            return store.hand_out(memory)

        return await self.transact(work, write=False)

    async def update(self, request: models.UpdateRequest) -> models.MemoryRecord:
        """Apply a merge patch; nothing changes where it is empty."""
        return await self.transact(partial(self.rules.update, request), write=True)

    async def delete(self, request: models.DeleteRequest) -> None:
        """Delete one memory and free what it superseded."""
        await self.transact(partial(self.rules.delete, request), write=True)

    async def delete_many(self, request: models.DeleteManyRequest) -> models.BatchResponse:
        """Delete many, a few hundred to a transaction."""
        requests = [models.DeleteRequest.model_construct(id=each, user_id=request.user_id) for each in request.ids]
        return await self._batches(requests, self.rules.delete_item)

    async def list(self, request: models.ListRequest) -> models.MemoryPage:
        """Return one page, found by walking newest first, or by the external_id that the filter asks for."""

        def work(store: Store) -> models.MemoryPage:
            selected = selection.predicate(request, self.clock())
            found = list(islice(filter(selected, _walk(store, request)), request.limit + 1))
            _log_read(store, request.user_id, self.rules.entry("list", scope=request.scope))
            return cursors.page([store.hand_out(memory) for memory in found], request.limit)

        return await self.transact(work, write=False)

    async def search(self, request: models.SearchRequest) -> models.SearchResponse:
        """Search exactly."""

        def work(store: Store) -> models.SearchResponse:
            selected = selection.predicate(request, self.clock())

            def load(keys: Sequence[Any]) -> dict[Any, models.MemoryRecord]:
                return {key: memory for key, memory in store.load(request.user_id, keys) if selected(memory)}

            with store.source(request.user_id) as source:
                found = search(request, source, load)
            _log_read(store, request.user_id, self.rules.entry("search", scope=request.scope))
            results = selection.results((store.hand_out(memory), score) for memory, score in found)
            return models.SearchResponse(results=results)

        return await self.transact(work, write=False)

    async def history(self, request: models.HistoryRequest) -> models.HistoryResponse:
        """Walk the chain both ways, whatever the states of its members."""

        def work(store: Store) -> models.HistoryResponse:
            start = owned(store.get(request.id), request.id, request.user_id)
            items = sorted(store.chain(start), key=cursors.position)
            _log_read(store, start.user_id, self.rules.entry("history", start))
            return models.HistoryResponse(items=[store.hand_out(memory) for memory in items])

        return await self.transact(work, write=False)

    async def stats(self, request: models.StatsRequest) -> models.Stats:
        """Count one user's memories, or those that are selected."""

        def work(store: Store) -> models.Stats:
            _log_read(store, request.user_id, self.rules.entry("stats", scope=request.scope))
            return store.stats(selection.counted(request), self.clock())

        return await self.transact(work, write=False)

    async def scopes(self, request: models.ScopesRequest) -> models.ScopePage:
        """Return one page of the scopes of one user's memories."""

        def work(store: Store) -> models.ScopePage:
            _log_read(store, request.user_id, self.rules.entry("scopes", scope=request.under))
            return census.scope_page(store.scopes(selection.scoped(request), self.clock()), request)

        return await self.transact(work, write=False)

    async def users(self, request: models.UsersRequest) -> models.UserPage:
        """Return one page of the users that have memories."""

        def work(store: Store) -> models.UserPage:
            return census.user_page(store.owners(cursors.name_in(request)), request.limit)

        return await self.transact(work, write=False)

    async def health(self, request: models.HealthRequest) -> models.Health:
        """Look for a memory that nobody has."""
        await self.transact(lambda store: store.get(""), write=False)
        return models.Health(status="ok")

    async def audit(self, request: models.AuditRequest) -> models.AuditResponse:
        """Read the audit log."""

        def work(store: Store) -> models.AuditResponse:
            entries = (entry for entry in store.logged(request.user_id) if asked(entry, request))
            return audit_response(islice(entries, request.limit))

        return await self.transact(work, write=False)

    async def _batches(
        self, requests: Sequence[Any], rule: Callable[[Any, Store], models.BatchResult]
    ) -> models.BatchResponse:
        chunks = [requests[start : start + BATCH] for start in range(0, len(requests), BATCH)]
        return await in_chunks(chunks, lambda chunk: self.transact(partial(_each, rule, chunk), write=True))


def _log_read(store: Store, user_id: str, entry: Logged) -> None:
    if not NOTED.get():
        store.log(user_id, entry)


def _walk(store: Store, request: models.ListRequest) -> Iterable[models.MemoryRecord]:
    """Walk what a list may select, newest first: one record at the most, where its filter pins that."""
    after, pinned = cursors.decode(request), selection.pinned(request)
    if pinned is None:
        return store.newest_first(request.user_id, after, request.since, request.until)
    memory = store.by_external_id(request.user_id, pinned)
    return [memory] if memory is not None and (after is None or cursors.position(memory) < after) else []


def _each(rule: Callable[[Any, Store], T], batch: Sequence[Any], store: Store) -> list[T]:
    return [rule(each, store) for each in batch]
