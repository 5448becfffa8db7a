"""What the embedded backends share: every verb of the protocol, over a small store of records."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from openmem import cursors, records, selection
from openmem._generated import models
from openmem.adapter import Adapter
from openmem.calls import CURRENT
from openmem.context import TOKEN_COUNTER
from openmem.errors import ConflictError, InvalidRequestError, NotFoundError, OMPError
from openmem.ids import new_memory_id

from . import exact
from .store import Logged, Store

T = TypeVar("T")
BATCH = 500
"""Items of a batch stored in one transaction: long enough to be quick, short enough to let others in."""


class EmbeddedAdapter(Adapter):
    """A backend in this process; a subclass provides transactions over a Store."""

    inline = True

    @abstractmethod
    async def transact(self, work: Callable[[Store], T], *, write: bool) -> T:
        """Run work on a store; with write, all of it is kept or none."""

    def features(self) -> models.CapabilityFeatures:
        """Say what both embedded backends support; vectors come with an embedder."""
        vectors = self.embedding is not None
        return models.CapabilityFeatures(
            vector_search=vectors,
            keyword_search=True,
            hybrid_search=vectors,
            graph_queries=False,
            temporal=True,
            scopes="native",
            max_content_length=100_000,
            supports_e2e=False,
            supports_audit=True,
            supports_supersession=True,
            supports_if_version=True,
            supports_external_id=True,
            supports_archive=True,
            supports_metadata=True,
            supports_vectors=vectors,
            filters="native",
            ingestion="sync",
            scores=models.ScoreKinds(
                keyword="relative", **({"vector": "cosine", "hybrid": "fused"} if vectors else {})
            ),
            embedding=self.embedding,
            token_counter=TOKEN_COUNTER,
        )

    async def add(self, request: models.AddRequest) -> models.Memory:
        """Store one memory, or update the one that has its external_id."""
        return await self.transact(partial(self._add, request), write=True)

    async def add_many(self, request: models.AddManyRequest) -> models.BatchResponse:
        """Store many, a few hundred to a transaction."""
        return await self._batches(request.items, self._add_item)

    async def get(self, request: models.GetRequest) -> models.Memory:
        """Read one memory, whatever its state."""

        def work(store: Store) -> models.Memory:
            memory = _owned(store, request.id, request.user_id)
            self._log(store, memory.user_id, "get", memory)
            return store.hand_out(memory)

        return await self.transact(work, write=False)

    async def update(self, request: models.UpdateRequest) -> models.Memory:
        """Apply a merge patch; nothing changes where it is empty."""
        return await self.transact(partial(self._update, request), write=True)

    async def delete(self, request: models.DeleteRequest) -> None:
        """Delete one memory and free what it superseded."""
        await self.transact(partial(self._delete, request), write=True)

    async def delete_many(self, request: models.DeleteManyRequest) -> models.BatchResponse:
        """Delete many, a few hundred to a transaction."""
        requests = [models.DeleteRequest.model_construct(id=each, user_id=request.user_id) for each in request.ids]
        return await self._batches(requests, self._delete_item)

    async def list(self, request: models.ListRequest) -> models.MemoryPage:
        """Return one page, found by walking newest first."""

        def work(store: Store) -> models.MemoryPage:
            selected = selection.predicate(request, self.clock())
            walk = store.newest_first(request.user_id, cursors.decode(request), request.since, request.until)
            found = list(islice(filter(selected, walk), request.limit + 1))
            page = found[: request.limit]
            more = len(found) > request.limit
            position = (page[-1].created_at, page[-1].id) if more else None
            self._log(store, request.user_id, "list", scope=request.scope)
            following = cursors.encode(position) if position else None
            return models.MemoryPage(items=[store.hand_out(memory) for memory in page], next_cursor=following)

        return await self.transact(work, write=False)

    async def search(self, request: models.SearchRequest) -> models.SearchResponse:
        """Search exactly."""

        def work(store: Store) -> models.SearchResponse:
            selected = selection.predicate(request, self.clock())

            def load(keys: Sequence[Any]) -> dict[Any, models.Memory]:
                return {key: memory for key, memory in store.load(request.user_id, keys) if selected(memory)}

            with store.source(request.user_id) as source:
                results = exact.search(request, source, load)
            self._log(store, request.user_id, "search", scope=request.scope)
            for result in results:
                result.memory = store.hand_out(result.memory)
            return models.SearchResponse(results=results)

        return await self.transact(work, write=False)

    async def history(self, request: models.HistoryRequest) -> models.HistoryResponse:
        """Walk the chain both ways, whatever the states of its members."""

        def work(store: Store) -> models.HistoryResponse:
            start = _owned(store, request.id, request.user_id)
            chain, waiting = {start.id: start}, [start]
            while waiting:
                memory = waiting.pop()
                for linked in (*(memory.supersedes or ()), memory.superseded_by):
                    other = store.get(linked) if linked and linked not in chain else None
                    if other is not None:
                        chain[other.id] = other
                        waiting.append(other)
            self._log(store, start.user_id, "history", start)
            items = sorted(chain.values(), key=lambda memory: (memory.created_at, memory.id))
            return models.HistoryResponse(items=[store.hand_out(memory) for memory in items])

        return await self.transact(work, write=False)

    async def audit(self, request: models.AuditRequest) -> models.AuditResponse:
        """Read the audit log."""

        def work(store: Store) -> models.AuditResponse:
            entries = (
                entry
                for entry in store.logged(request.user_id)
                if (request.app is None or entry.app == request.app)
                and (request.since is None or entry.timestamp >= request.since)
            )
            latest = islice(entries, request.limit)
            return models.AuditResponse.model_validate({"entries": [entry._asdict() for entry in latest]})

        return await self.transact(work, write=False)

    # --- changes: every check comes before the first write, so that a refused item leaves no trace -----------------

    def _add(self, request: models.AddRequest, store: Store) -> models.Memory:
        if request.external_id is not None:
            known = store.by_external_id(request.user_id, request.external_id)
            if known is not None:
                return self._change(store, known, request, "add")
        model = self.embedding.model if self.embedding and request.vector is not None else None
        memory = records.new_record(request, memory_id=new_memory_id(), now=self.clock(), embedding_model=model)
        replaced = _replaceable(store, memory, memory.supersedes or ())
        store.insert(memory, request.vector)
        _link(store, memory, replaced, records.begins(memory))
        self._log(store, memory.user_id, "add", memory)
        return store.hand_out(memory)

    def _update(self, request: models.UpdateRequest, store: Store) -> models.Memory:
        memory = _owned(store, request.id, request.user_id)
        records.check_version(memory, request.if_version)
        return self._change(store, memory, request, "update")

    def _change(
        self, store: Store, memory: models.Memory, request: models.AddRequest | models.UpdateRequest, verb: str
    ) -> models.Memory:
        changes = records.changes_of(request)
        if not changes:
            return store.hand_out(memory)
        now = self.clock()
        model = self.embedding.model if self.embedding and request.vector is not None else None
        changed = records.patched(memory, changes, now=now, embedding_model=model)
        before, after = set(memory.supersedes or ()), changed.supersedes or []
        replaced = _replaceable(store, memory, [each for each in after if each not in before])
        store.replace(memory, changed, request.vector)
        _link(store, changed, replaced, now)
        _free(store, memory.id, before.difference(after))
        self._log(store, memory.user_id, verb, changed)
        return store.hand_out(changed)

    def _delete(self, request: models.DeleteRequest, store: Store) -> str:
        memory = _owned(store, request.id, request.user_id)
        records.check_version(memory, request.if_version)
        store.remove(memory)
        _free(store, memory.id, memory.supersedes or ())
        successor = store.get(memory.superseded_by) if memory.superseded_by else None
        if successor is not None:
            rest = [each for each in successor.supersedes or () if each != memory.id]
            store.replace(successor, successor.model_copy(update={"supersedes": rest or None}), None)
        self._log(store, memory.user_id, "delete", memory)
        return memory.id

    async def _batches(
        self, requests: Sequence[Any], work: Callable[[Store, Any], models.BatchResult]
    ) -> models.BatchResponse:
        results: list[models.BatchResult] = []
        for start in range(0, len(requests), BATCH):
            batch = requests[start : start + BATCH]
            results += await self.transact(partial(_each, work, batch), write=True)
        return models.BatchResponse(results=results)

    def _add_item(self, store: Store, item: models.AddRequest) -> models.BatchResult:
        try:
            memory = self._add(item, store)
        except OMPError as error:
            return models.BatchResult(error=error.detail())
        return models.BatchResult(id=memory.id, memory=memory)

    def _delete_item(self, store: Store, request: models.DeleteRequest) -> models.BatchResult:
        try:
            return models.BatchResult(id=self._delete(request, store))
        except OMPError as error:
            return models.BatchResult(id=request.id, error=error.detail())

    def _log(
        self, store: Store, user_id: str, verb: str, memory: models.Memory | None = None, *, scope: str | None = None
    ) -> None:
        call = CURRENT.get()
        source = memory.source if memory else None
        entry = Logged(
            timestamp=self.clock(),
            app=source.app if source else None,
            action=call.verb if call else verb,
            memory_id=memory.id if memory else None,
            scope=memory.scope if memory else scope,
            request_id=call.request_id if call else None,
        )
        store.log(user_id, entry)


def _each(work: Callable[[Store, Any], T], batch: Sequence[Any], store: Store) -> list[T]:
    return [work(store, each) for each in batch]


def _owned(store: Store, memory_id: str, user_id: str | None) -> models.Memory:
    memory = store.get(memory_id)
    if memory is None or (user_id is not None and memory.user_id != user_id):
        raise NotFoundError(f"there is no memory {memory_id}.")
    return memory


def _replaceable(store: Store, successor: models.Memory, ids: Sequence[str]) -> list[models.Memory]:
    """Read the memories that a successor is to replace; each must exist, be the same user's and be free."""
    replaced = []
    later = _successors(store, successor) if ids else set()
    for each in ids:
        memory = store.get(each)
        if memory is None or memory.user_id != successor.user_id:
            raise InvalidRequestError(f"supersedes names {each}, which does not exist.", remedy="Name this user's ids.")
        if each in later:
            raise ConflictError(f"{each} would supersede itself.", remedy="A chain of memories runs one way.")
        if memory.superseded_by is not None:
            raise ConflictError(
                f"{each} is already superseded by {memory.superseded_by}.", remedy="Supersede that one instead."
            )
        replaced.append(memory)
    return replaced


def _successors(store: Store, memory: models.Memory) -> set[str]:
    """Name a memory and everything that replaced it, link by link."""
    seen = {memory.id}
    following = memory.superseded_by
    while following is not None and following not in seen:
        seen.add(following)
        later = store.get(following)
        following = later.superseded_by if later else None
    return seen


def _link(store: Store, successor: models.Memory, replaced: Sequence[models.Memory], moment: datetime) -> None:
    for memory in replaced:
        links = {"superseded_by": successor.id, "superseded_at": moment}
        store.replace(memory, memory.model_copy(update=links), None)


def _free(store: Store, successor_id: str, ids: Any) -> None:
    for each in ids:
        memory = store.get(each)
        if memory is not None and memory.superseded_by == successor_id:
            store.replace(memory, memory.model_copy(update={"superseded_by": None, "superseded_at": None}), None)
