"""RemoteAdapter: changes of a database behind a wire: read, worked out here by the rules, written at once."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from openmem._generated import models
from openmem.errors import OMPError
from openmem.protocol.validation import Addressed
from openmem.runtime.batches import in_chunks
from openmem.runtime.calls import NOTED
from openmem.runtime.fork import leave_to_parent

from . import erasing
from .audit import Entry, ReadLog
from .base import NativeAdapter
from .changes import linked, owned
from .lookup import names, outcomes, owned_of
from .staging import Change, Staging, Unread, Wanted, wanted
from .store import Logged, Records

T = TypeVar("T")
Rule = Callable[[Any, Records], T]

ATTEMPTS = 10
"""How often a change that was not written is worked out anew."""

logger = logging.getLogger("openmem")


class NotWritten(Exception):
    """Nothing was written for certain, and another attempt may succeed; carries what to raise when none does.

    Another writer changed what was read, or the connection was lost before the commit.
    """

    def __init__(self, error: OMPError) -> None:
        super().__init__(error)
        self.error = error


class Transaction(Protocol):
    """What one change reads and writes."""

    async def read(self, wanted: Wanted) -> Collection[models.MemoryRecord]:
        """Read records, and hold them still where the engine can; NotWritten where another writer is at them."""

    async def write(self, staging: Staging) -> None:
        """Write all of it or nothing; NotWritten where it no longer fits what is stored."""


class RemoteAdapter(NativeAdapter):
    """A backend whose changes are worked out here; a subclass provides transactions, list, search and audit."""

    batch = 250
    """Items of a batch written in one transaction."""
    parallel = 1
    """Transactions of one batch under way at once, where none depends on another."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.reads = ReadLog()
        self._flushing: asyncio.Task[None] | None = None

    def forked(self) -> None:
        """Become, in a child of fork, an adapter made anew."""
        leave_to_parent(self.__dict__.copy())
        type(self).__init__(self, self.settings, embedding=self.embedding, clock=self.clock)

    @abstractmethod
    def transaction(self, users: Collection[str]) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction; users: those whom the requests and the audit entries name."""

    @abstractmethod
    async def fetch(self, ids: Collection[str], user_id: str | None) -> Collection[models.MemoryRecord]:
        """Read records by id, outside any transaction; user_id: who asks, where that is known."""

    @abstractmethod
    async def fetch_keys(self, external_ids: Collection[str], user_id: str) -> Collection[models.MemoryRecord]:
        """Read a user's records by external_id, outside any transaction."""

    async def add(self, request: models.AddRequest) -> models.MemoryRecord:
        """Store one memory, or update the one that has its external_id."""
        return (await self._change([request], self.rules.add))[0]

    async def add_many(self, request: models.AddManyRequest) -> models.BatchResponse:
        """Store many, some hundreds to a transaction."""
        return await self._batches(request.items, self.rules.add_item)

    async def get(self, request: models.GetRequest) -> models.MemoryRecord:
        """Read one memory, whatever its state."""
        memory = await self._read(request)
        await self.log_read(memory.user_id, self.rules.entry("get", memory))
        return memory

    async def get_many(self, request: models.GetManyRequest) -> models.BatchResponse:
        """Read many at once."""
        wanted = names(request)
        if request.ids is not None:
            read = await self.fetch(wanted, request.user_id)
        else:
            read = await self.fetch_keys(wanted, request.user_id or "")
        found = owned_of(request, read)
        for user_id, entry in self.rules.entries("get_many", found.values()):
            await self.log_read(user_id, entry)
        return models.BatchResponse(results=outcomes(request, found, lambda memory: memory))

    async def update(self, request: models.UpdateRequest) -> models.MemoryRecord:
        """Apply a merge patch; nothing changes where it is empty."""
        return (await self._change([request], self.rules.update))[0]

    async def update_many(self, request: models.UpdateManyRequest) -> models.BatchResponse:
        """Change many, some hundreds to a transaction."""
        return await self._batches(request.items, self.rules.update_item)

    async def delete(self, request: models.DeleteRequest) -> None:
        """Delete one memory and free what it superseded, or delete its whole chain."""
        chain: Collection[models.MemoryRecord] = ()
        if request.chain:  # known at once, else read link by link
            chain = await self.chain(await self._read(request))
        await self._change([request], self.rules.delete, {memory.id for memory in chain})

    async def erase(self, request: models.EraseRequest) -> models.EraseResponse:
        """Erase what is selected, some hundreds to a transaction; in a dry run only count it."""
        erasing.check_log(self, request, forgets=type(self).forget is not RemoteAdapter.forget)
        return await self.erased(request, await erasing.erase(self, request, self._change))

    def selected(self, request: models.EraseRequest) -> AsyncIterator[Collection[models.MemoryRecord]]:
        """Read what an erase selects."""
        return erasing.listed(self, request)

    async def forget(self, user_id: str) -> None:
        """Remove a user's audit log and what else is kept of a user without memories."""

    async def delete_many(self, request: models.DeleteManyRequest) -> models.BatchResponse:
        """Delete many, some hundreds to a transaction."""
        requests = [models.DeleteRequest.model_construct(id=each, user_id=request.user_id) for each in request.ids]
        return await self._batches(requests, self.rules.delete_item)

    async def history(self, request: models.HistoryRequest) -> models.HistoryResponse:
        """Walk the chain both ways, whatever the states of its members."""
        start = await self._read(request)
        chain = await self.chain(start)
        await self.log_read(start.user_id, self.rules.entry("history", start))
        return models.HistoryResponse(items=sorted(chain, key=lambda each: (each.created_at, each.id)))

    async def chain(self, start: models.MemoryRecord) -> Collection[models.MemoryRecord]:
        """Read the chain that a memory belongs to, itself included: link by link, where the engine knows no better."""
        chain, newest = {start.id: start}, [start]
        while missing := {each for memory in newest for each in linked(memory)} - chain.keys():
            newest = list(await self.fetch(missing, start.user_id))
            if not newest:  # deleted meanwhile
                break
            chain.update({memory.id: memory for memory in newest})
        return chain.values()

    # --- audit entries of reads -------------------------------------------------------------------------------

    async def log_read(self, user_id: str, entry: Logged) -> None:
        """Keep the audit entry of a read until the next change, audit or close; many are stored beside the read."""
        if NOTED.get():
            return
        self.reads.keep(user_id, entry)
        if self.reads.full and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.ensure_future(self._try_to_store_reads())

    async def flush(self) -> None:
        """Store the audit entries kept back."""
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        await self._store_reads()

    async def kept_back(self, user_id: str) -> list[Logged]:
        """Store the entries kept back; where that fails, return the user's, most recent first."""
        kept = self.reads.of(user_id)
        try:
            await self.flush()
        except OMPError:
            return kept
        return []

    async def _store_reads(self) -> None:
        if len(self.reads):
            await self._change([], self.rules.add)

    async def _try_to_store_reads(self) -> None:
        try:
            await self._store_reads()
        except Exception as error:  # they are kept, and tried again with the next change or after as many reads
            logger.info("audit entries of reads are not stored yet: %s", type(error).__name__)

    # --- changes ----------------------------------------------------------------------------------------------

    async def _read(self, request: Addressed) -> models.MemoryRecord:
        if request.external_id is not None:
            found = await self.fetch_keys([request.external_id], request.user_id or "")
        else:
            found = await self.fetch([request.id or ""], request.user_id)
        return owned(next(iter(found), None), request.external_id or request.id or "", request.user_id)

    async def _batches(self, changes: Sequence[Change], rule: Rule[models.BatchResult]) -> models.BatchResponse:
        chunks = [changes[start : start + self.batch] for start in range(0, len(changes), self.batch)]
        most = 1 if wanted(changes) else self.parallel
        return await in_chunks(chunks, lambda chunk: self._change(chunk, rule), most)

    async def _change(self, changes: Sequence[Change], rule: Rule[T], needed: Iterable[str] = ()) -> list[T]:
        """Work out changes and write them with the audit entries kept back, which a failure puts back.

        needed: ids that they are known to need besides those they name.
        """
        ids = set(needed)
        return await self.attempted(lambda reads: self._attempt(changes, rule, reads, ids))

    async def attempted(self, attempt: Callable[[Sequence[Entry]], Awaitable[T]]) -> T:
        """Attempt to write until it is written; attempt: also writes the entries of reads, which a failure puts back.

        It raises NotWritten where another attempt may succeed.
        """
        with self.reads.storing() as reads:
            for number in range(1, ATTEMPTS + 1):
                try:
                    return await attempt(reads)
                except NotWritten as failure:
                    if number == ATTEMPTS:
                        failure.error.written = "nothing"
                        raise failure.error from failure
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(
        self, changes: Sequence[Change], rule: Rule[T], reads: Sequence[Entry], needed: set[str]
    ) -> list[T]:
        """Do it once; needed: ids of what former attempts came to read, which are read at once, and of what this does.

        An engine that locks what is read takes locks in order within one read only.
        """
        users = {change.user_id for change in changes if change.user_id is not None} | {user for user, _ in reads}
        staging = Staging()
        staging.log_reads(reads)
        known = wanted(changes)
        if not known:  # nothing is read: worked out at once, and so in the order in which batches were given
            results = [rule(change, staging) for change in changes]
        async with self.transaction(users) as transaction:
            if known:
                results = await worked_out(transaction, changes, rule, staging, needed)
            await transaction.write(staging)
        return results


async def worked_out(
    transaction: Transaction, changes: Sequence[Change], rule: Rule[T], staging: Staging, needed: set[str]
) -> list[T]:
    """Read in a transaction what changes need, and stage them; needed: see RemoteAdapter._attempt."""

    async def read(missing: Wanted) -> None:
        needed.update(missing.ids)
        staging.learn(missing, await transaction.read(missing))

    known = wanted(changes)
    await read(Wanted(known.ids.union(needed), known.keys))
    if further := staging.neighbours():
        await read(further)
    return [await _applied(rule, change, staging, read) for change in changes]


async def _applied(rule: Rule[T], change: Change, staging: Staging, read: Callable[[Wanted], Awaitable[None]]) -> T:
    """Apply a rule; it runs again whenever it asks for a record that was not read."""
    while True:
        try:
            return rule(change, staging)
        except Unread as missing:
            await read(missing.wanted)
