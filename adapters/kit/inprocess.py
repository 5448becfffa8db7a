"""InProcessAdapter: every verb of a backend in this process, over a small store of records."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from openmem._generated import models
from openmem.protocol import census, cursors, selection
from openmem.runtime.batches import in_chunks
from openmem.runtime.calls import NOTED

from .base import NativeAdapter
from .changes import sought
from .lookup import names, outcomes, owned_of
from .scanning import gathered
from .search import search
from .store import Logged, Store, asked, audit_response
from .vectors import with_vectors

T = TypeVar("T")
BATCH = 500
"""Items of a batch stored in one transaction: long enough to be quick, short enough to let others in."""


class InProcessAdapter(NativeAdapter):
    """A backend in this process; a subclass provides transactions over a Store."""

    inline = True
    pages_search = True
    snapshots = True

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
            memory = sought(store, request)
            _log_read(store, memory.user_id, self.rules.entry("get", memory))
            return store.hand_out(memory)

        return await self.transact(work, write=False)

    async def get_many(self, request: models.GetManyRequest) -> models.BatchResponse:
        """Read many, all of one snapshot."""

        def work(store: Store) -> models.BatchResponse:
            wanted = names(request)
            by_id = request.ids is not None
            read = store.many(wanted) if by_id else store.many_by_external_id(request.user_id or "", wanted)
            found = owned_of(request, read)
            for user_id, entry in self.rules.entries("get_many", found.values()):
                _log_read(store, user_id, entry)
            return models.BatchResponse(results=outcomes(request, found, store.hand_out))

        return await self.transact(work, write=False)

    async def update(self, request: models.UpdateRequest) -> models.MemoryRecord:
        """Apply a merge patch; nothing changes where it is empty."""
        return await self.transact(partial(self.rules.update, request), write=True)

    async def update_many(self, request: models.UpdateManyRequest) -> models.BatchResponse:
        """Change many, a few hundred to a transaction."""
        return await self._batches(request.items, self.rules.update_item)

    async def delete(self, request: models.DeleteRequest) -> None:
        """Delete one memory and free what it superseded."""
        await self.transact(partial(self.rules.delete, request), write=True)

    async def delete_many(self, request: models.DeleteManyRequest) -> models.BatchResponse:
        """Delete many, a few hundred to a transaction."""
        requests = [models.DeleteRequest.model_construct(id=each, user_id=request.user_id) for each in request.ids]
        return await self._batches(requests, self.rules.delete_item)

    async def erase(self, request: models.EraseRequest) -> models.EraseResponse:
        """Erase all that is selected in one transaction; in a dry run only count it."""

        def work(store: Store) -> int:
            selected = selection.predicate(selection.in_every_state(request), self.clock())
            found = filter(selected, store.newest_first(request.user_id, None, request.since, request.until))
            ids = [memory.id for memory in found]
            if request.dry_run:
                _log_read(store, request.user_id, self.rules.entry("erase", scope=request.scope))
                return len(ids)
            for each in ids:
                self.rules.delete(models.DeleteRequest.model_construct(id=each, user_id=request.user_id), store)
            if request.audit:
                store.forget(request.user_id, self.clock())
            return len(ids)

        return await self.erased(request, await self.transact(work, write=not request.dry_run))

    async def list(self, request: models.ListRequest) -> models.MemoryPage:
        """Return one page, found by walking in its order, or by the external_id that the filter asks for."""

        def work(store: Store) -> models.MemoryPage:
            selected = selection.predicate(request, self.clock())
            found = list(islice(filter(selected, _walk(store, request)), request.limit + 1))
            _log_read(store, request.user_id, self.rules.entry("list", scope=request.scope))
            page = cursors.page([store.hand_out(memory) for memory in found], request.limit)
            if request.include_vectors:
                with_vectors(page, store.vectors(request.user_id, [memory.id for memory in page.items]))
            return page

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

    async def scan(self, user_id: str) -> AsyncGenerator[Sequence[models.MemoryRecord], None]:
        """Read all of a user's memories in one transaction, and hand them over bit by bit."""
        for chunk in (await self.transact(partial(gathered, user_id), write=False)).chunks():
            yield chunk

    async def history(self, request: models.HistoryRequest) -> models.HistoryResponse:
        """Walk the chain both ways, whatever the states of its members."""

        def work(store: Store) -> models.HistoryResponse:
            start = sought(store, request)
            items = sorted(store.chain(start), key=cursors.position)
            _log_read(store, start.user_id, self.rules.entry("history", start))
            return models.HistoryResponse(items=[store.hand_out(memory) for memory in items])

        return await self.transact(work, write=False)

    async def stats(self, request: models.StatsRequest) -> models.Stats:
        """Count one user's memories, or those that are selected."""

        def work(store: Store) -> models.Stats:
            _log_read(store, request.user_id, self.rules.entry("stats", scope=request.scope))
            return store.stats(selection.in_every_state(request), self.clock())

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
    """Walk what a list may select, in its order: one record at the most, where its filter pins that."""
    after, pinned = cursors.decode(request), selection.pinned(request)
    if pinned is None:
        walk = store.oldest_first if request.order == "oldest" else store.newest_first
        return walk(request.user_id, after, request.since, request.until)
    memory = store.by_external_id(request.user_id, pinned)
    return [memory] if memory is not None and cursors.follows(cursors.position(memory), after, request.order) else []


def _each(rule: Callable[[Any, Store], T], batch: Sequence[Any], store: Store) -> list[T]:
    return [rule(each, store) for each in batch]
