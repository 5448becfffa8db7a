"""The rules of change, once for every backend: what add, update and delete do to records and to their links.

Each rule reads all it needs before it writes anything, so that a refused change leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime

from openmem._generated import models
from openmem.errors import ConflictError, InvalidRequestError, NotFoundError, OMPError
from openmem.protocol import records
from openmem.protocol.clock import Clock
from openmem.protocol.filters import Predicate
from openmem.protocol.validation import Addressed
from openmem.runtime.calls import CURRENT

from .store import Logged, Records

Memories = Sequence[models.MemoryRecord]


class Rules:
    """Changes over a store, which the caller holds still until they are written."""

    def __init__(self, clock: Clock, embedding: models.EmbeddingInfo | None, new_id: Callable[[], str]) -> None:
        self._clock = clock
        self._embedding = embedding
        self._new_id = new_id

    def add(self, request: models.AddRequest, store: Records) -> models.MemoryRecord:
        """Store a new memory, or do with the one that has its external_id what on_conflict says."""
        if request.external_id is not None:
            known = store.by_external_id(request.user_id, request.external_id)
            if known is not None:
                return self._add_again(request, known, store)
        memory = records.new_record(
            request, memory_id=self._new_id(), now=self._clock(), embedding_model=self._model(request)
        )
        replaced = replaceable(store, memory, memory.supersedes or ())
        store.insert(memory, request.vector)
        link(store, memory, replaced, records.begins(memory))
        store.log(memory.user_id, self.entry("add", memory))
        return store.hand_out(memory)

    def update(self, request: models.UpdateRequest, store: Records) -> models.MemoryRecord:
        """Apply a merge patch; nothing changes where it is empty."""
        memory = sought(store, request)
        records.check_version(memory, request.if_version)
        changes = records.changes_of(request)
        if not changes:
            store.log(memory.user_id, self.entry("update", memory))
            return store.hand_out(memory)
        now = self._clock()
        changed = records.patched(memory, changes, now=now, embedding_model=self._model(request))
        return self._change(store, memory, changed, request.vector, "update")

    def delete(self, request: models.DeleteRequest, store: Records) -> str:
        """Delete a memory, free what it superseded and take it off its successor's list; or its whole chain."""
        memory = sought(store, request)
        records.check_version(memory, request.if_version)
        if request.chain:
            self._delete_chain(chain_of(store, memory), store)
            return memory.id
        freed = _superseded(store, memory.id, memory.supersedes or ())
        successor = store.get(memory.superseded_by) if memory.superseded_by else None
        store.remove(memory)
        free(store, freed)
        _leave(store, successor, memory.id)
        store.log(memory.user_id, self.entry("delete", memory))
        return memory.id

    def _delete_chain(self, chain: Memories, store: Records) -> None:
        for memory in chain:  # whose links are all among themselves
            store.remove(memory)
            store.log(memory.user_id, self.entry("delete", memory))

    def erase_item(
        self, request: models.DeleteRequest, found: records.Edition, selected: Predicate, store: Records
    ) -> models.BatchResult:
        """Delete a memory that was found to be selected; nothing where it is gone, or updated and selected no more.

        One that is selected no more since its links are gone is deleted: they may have gone with the same selection.
        """
        with suppress(NotFoundError):
            memory = sought(store, request)
            if records.edition(memory) == found or selected(memory):
                return models.BatchResult(id=self.delete(request, store))
        return models.BatchResult()

    def add_item(self, item: models.AddRequest, store: Records) -> models.BatchResult:
        """Add one item of a batch, alone in its failure."""
        try:
            memory = self.add(item, store)
        except OMPError as error:
            return models.BatchResult(error=error.detail())
        return models.BatchResult(id=memory.id, memory=memory)

    def update_item(self, item: models.UpdateRequest, store: Records) -> models.BatchResult:
        """Change one memory of a batch, alone in its failure."""
        try:
            memory = self.update(item, store)
        except OMPError as error:
            return models.BatchResult(id=item.id, error=error.detail())
        return models.BatchResult(id=memory.id, memory=memory)

    def delete_item(self, request: models.DeleteRequest, store: Records) -> models.BatchResult:
        """Delete one memory of a batch, alone in its failure."""
        try:
            return models.BatchResult(id=self.delete(request, store))
        except OMPError as error:
            return models.BatchResult(id=request.id, error=error.detail())

    def entry(self, verb: str, memory: models.MemoryRecord | None = None, *, scope: str | None = None) -> Logged:
        """Write down what the call under way does, for the audit log."""
        call = CURRENT.get()
        source = memory.source if memory else None
        app = source.app if source else None
        action, request_id = (call.verb, call.request_id) if call else (verb, None)
        if memory is None:
            return Logged(self._clock(), app, action, None, scope, request_id)
        return Logged(self._clock(), app, action, memory.id, memory.scope, request_id)

    def entries(self, verb: str, memories: Iterable[models.MemoryRecord]) -> Iterator[tuple[str, Logged]]:
        """Write down, each with its user, what the call under way does with several memories at one moment."""
        first: Logged | None = None
        for memory in memories:
            first = first or self.entry(verb, memory)
            app = memory.source.app if memory.source else None
            yield memory.user_id, Logged(first.timestamp, app, first.action, memory.id, memory.scope, first.request_id)

    def _model(self, request: models.AddRequest | models.UpdateRequest) -> str | None:
        return self._embedding.model if self._embedding and request.vector is not None else None

    def _add_again(self, request: models.AddRequest, known: models.MemoryRecord, store: Records) -> models.MemoryRecord:
        if request.on_conflict == "error":
            raise ConflictError(
                f"memory {known.id} has the external_id {request.external_id!r}.",
                remedy="Leave on_conflict out to update it, or choose another external_id.",
            )
        if request.on_conflict == "skip":
            store.log(known.user_id, self.entry("add", known))
            return store.hand_out(known)
        changed = records.repeated(known, request, now=self._clock(), embedding_model=self._model(request))
        return self._change(store, known, changed, request.vector, "add")

    def _change(
        self,
        store: Records,
        memory: models.MemoryRecord,
        changed: models.MemoryRecord,
        vector: Sequence[float] | None,
        verb: str,
    ) -> models.MemoryRecord:
        """Store what becomes of a memory, with the links that come and go by it."""
        before, after = set(memory.supersedes or ()), changed.supersedes or []
        replaced = replaceable(store, memory, [each for each in after if each not in before])
        freed = _superseded(store, memory.id, before.difference(after))
        moved = _moved(store, memory, changed, before.intersection(after))
        freed_from = memory.superseded_by if changed.superseded_by is None else None
        successor = store.get(freed_from) if freed_from else None
        store.replace(memory, changed, vector)
        link(store, changed, replaced, changed.updated_at or changed.created_at)
        link(store, changed, moved, records.begins(changed))
        free(store, freed)
        _leave(store, successor, memory.id)
        store.log(memory.user_id, self.entry(verb, changed))
        return store.hand_out(changed)


def sought(store: Records, request: Addressed) -> models.MemoryRecord:
    """Read the memory that a request names, by its id or its external_id; NotFoundError as of owned."""
    if request.external_id is not None:
        found = store.by_external_id(request.user_id or "", request.external_id)
        return owned(found, request.external_id, request.user_id)
    return owned(store.get(request.id or ""), request.id or "", request.user_id)


def owned(memory: models.MemoryRecord | None, memory_id: str, user_id: str | None) -> models.MemoryRecord:
    """Return a memory that was read by id or external_id; NotFoundError where it is none or another user's."""
    if memory is None or (user_id is not None and memory.user_id != user_id):
        raise unknown(memory_id)
    return memory


def unknown(memory_id: str) -> NotFoundError:
    """Say that there is no memory of an id or external_id, or none that the caller may know of."""
    return NotFoundError(f"there is no memory {memory_id}.")


def linked(memory: models.MemoryRecord) -> list[str]:
    """Name the neighbours of a memory in its supersession chain."""
    return [*(memory.supersedes or ()), *([memory.superseded_by] if memory.superseded_by else ())]


def chain_of(store: Records, memory: models.MemoryRecord) -> Memories:
    """Read the supersession chain that a memory belongs to, itself first."""
    chain, waiting = {memory.id: memory}, [memory]
    while waiting:
        for each in linked(waiting.pop()):
            other = store.get(each) if each not in chain else None
            if other is not None and other.user_id == memory.user_id:
                chain[other.id] = other
                waiting.append(other)
    return list(chain.values())


def replaceable(store: Records, successor: models.MemoryRecord, ids: Sequence[str]) -> Memories:
    """Read the memories that a successor is to replace; each must exist, be the same user's and be free."""
    replaced = []
    later = successors(store, successor) if ids else set()
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


def successors(store: Records, memory: models.MemoryRecord) -> set[str]:
    """Name a memory and everything that replaced it, link by link."""
    seen = {memory.id}
    following = memory.superseded_by
    while following is not None and following not in seen:
        seen.add(following)
        later = store.get(following)
        following = later.superseded_by if later else None
    return seen


def _superseded(store: Records, successor_id: str, ids: Iterable[str]) -> Memories:
    """Read those of the ids that the successor superseded."""
    read = [store.get(each) for each in ids]
    return [memory for memory in read if memory is not None and memory.superseded_by == successor_id]


def _moved(store: Records, memory: models.MemoryRecord, changed: models.MemoryRecord, ids: Iterable[str]) -> Memories:
    """Read what a memory superseded from its begin on, where that is another from now on."""
    begun = records.begins(memory)
    if records.begins(changed) == begun:
        return []
    return [each for each in _superseded(store, memory.id, ids) if each.superseded_at == begun]


def link(store: Records, successor: models.MemoryRecord, replaced: Memories, moment: datetime) -> None:
    """Store of memories what replaced them, and when."""
    for memory in replaced:
        links = {"superseded_by": successor.id, "superseded_at": moment}
        store.replace(memory, memory.model_copy(update=links), None)


def free(store: Records, freed: Memories) -> None:
    """Store of memories that nothing replaces them any longer."""
    for memory in freed:
        store.replace(memory, memory.model_copy(update={"superseded_by": None, "superseded_at": None}), None)


def _leave(store: Records, successor: models.MemoryRecord | None, memory_id: str) -> None:
    """Take a memory off its successor's list."""
    if successor is not None:
        rest = [each for each in successor.supersedes or () if each != memory_id]
        store.replace(successor, successor.model_copy(update={"supersedes": rest or None}), None)
