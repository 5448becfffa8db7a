"""The adapter of mem0://HOST, which keeps memories in mem0's hosted platform, over HTTP.

What is added goes there as it is, in an envelope, and carries our id, by which it is found again. The platform writes
under no condition, so there is nothing here that rests on one: no supersession, no if_version, no external_id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult

from openmem import urls
from openmem._generated import models
from openmem.adapter import Adapter, Settings
from openmem.errors import (
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    OMPError,
    ProviderUnavailableError,
    UnsupportedCapabilityError,
)
from openmem.protocol import cursors, records, selection
from openmem.protocol.filters import Predicate
from openmem.runtime.batches import failed, in_chunks
from openmem.runtime.bridge import side_by_side
from openmem.runtime.erasing import count_erased, part_written
from openmem.runtime.ids import new_memory_id

from ..kit.changes import unknown
from ..kit.wire import Wire
from .ingestion import Ingestion
from .platform import BATCH, PARALLEL, Platform, Scored
from .rows import Row
from .settings import HostedMem0Settings

UNREACHED = (
    "mem0's history of the memories, the conversations and entities it keeps, its logs and its backups: ask mem0.",
)
"""Where something of what was erased may be left."""
DEPTH, DEEPEST = 60, 1000
"""Rows that a search reads at first, and at the most: the platform ranks no more."""


class HostedMem0Adapter(Adapter):
    """Records of the platform, whole in an envelope; what selects and orders them is evaluated here."""

    name = "mem0"
    repeats = True
    settings_type = HostedMem0Settings
    settings: HostedMem0Settings

    def __init__(self, settings: HostedMem0Settings, **options: Any) -> None:
        super().__init__(settings, **options)
        self._platform = Platform(_wire(settings), settings.page_size)
        self._ingestion = Ingestion(self._platform)

    @classmethod
    def options_from_url(cls, url: SplitResult) -> dict[str, Any]:
        """Read host, port and, as the password, the key."""
        if url.username or url.path.strip("/"):  # neither is quoted: it may be the key
            raise ConfigurationError("the URL has a user name or a path.", remedy="Write mem0://:KEY@api.mem0.ai.")
        tls = {"https": True, "http": False}.get(url.scheme)
        parts = {**urls.endpoint(url), "api_key": urls.credentials(url).get("password"), "https": tls}
        return {name: value for name, value in parts.items() if value is not None}

    @classmethod
    def embeds_itself(cls, settings: Settings) -> bool:
        """Say that the platform makes its own vectors."""
        return True

    def features(self) -> models.CapabilityFeatures:
        """Say what is true of the platform."""
        return models.CapabilityFeatures(
            vector_search=True,
            temporal=True,
            scopes="native",
            supports_archive=True,
            supports_sessions=True,
            supports_metadata=True,
            filters="client",
            oldest_first=True,
            ingestion="queued",
            durable=True,
            scores=models.ScoreKinds(vector="mem0"),
            # The platform tells neither its model nor the dimension, and takes no vectors that they would matter to.
            embedding=models.EmbeddingInfo(model="mem0", dimension=1),
        )

    def limits(self) -> models.CapabilityLimits:
        """Say the limits: a batch is one request an item, and has to end within the client's timeout."""
        return models.CapabilityLimits(max_search_results=100, max_list_results=500, max_batch_size=500)

    async def open(self) -> None:
        """Make the HTTP client; nothing is sent."""
        if self.settings.api_key is None:
            raise ConfigurationError("mem0's platform needs a key.", remedy="Give api_key=…, or set OPENMEM_API_KEY.")
        await self._platform.open()

    async def close(self) -> None:
        """Close the connections."""
        await self._platform.close()

    async def add(self, request: models.AddRequest) -> models.MemoryRecord:
        """Store one memory; its status says whether it is there or queued."""
        memory = records.new_record(request, memory_id=new_memory_id(), now=self.clock(), embedding_model=None)
        return await self._ingestion.add(memory)

    async def add_many(self, request: models.AddManyRequest) -> models.BatchResponse:
        """Store many, some at once; each alone in its failure, a refusal for their rate included."""

        async def add(items: Sequence[models.AddRequest]) -> list[models.BatchResult]:
            try:
                memory = await self.add(items[0])
            except ProviderUnavailableError as error:
                if error.written == "nothing":  # there is nobody, and the rest is not tried
                    raise
                return failed(items, error)
            return [models.BatchResult(id=memory.id, memory=memory)]

        return await in_chunks([[item] for item in request.items], add, PARALLEL)

    async def get(self, request: models.GetRequest) -> models.MemoryRecord:
        """Read one memory, whatever its state; a queued one as far as it has come."""
        queued = await self._ingestion.progress(request.id or "", request.user_id)
        return queued or (await self._row(request.id or "", request.user_id)).memory

    async def update(self, request: models.UpdateRequest) -> models.MemoryRecord:
        """Apply a merge patch; nothing changes where it is empty. Of two at the same time the later one wins."""
        row = await self._row(request.id or "", request.user_id)
        changes = records.changes_of(request)
        if not changes:
            return row.memory
        changed = records.patched(row.memory, changes, now=self.clock(), embedding_model=None)
        await self._platform.put(row, changed)
        return changed

    async def delete(self, request: models.DeleteRequest) -> None:
        """Delete one memory."""
        await self._platform.delete(await self._row(request.id or "", request.user_id))

    async def delete_many(self, request: models.DeleteManyRequest) -> models.BatchResponse:
        """Delete many, a thousand to a request; each alone in its failure."""
        ids, errors = dict.fromkeys(request.ids), dict[str, OMPError]()

        async def settle(memory_id: str) -> None:
            try:
                await self._ingestion.settle(memory_id, request.user_id)
            except OMPError as error:
                errors[memory_id] = error

        await side_by_side(settle, ids, PARALLEL)
        found = await self._platform.find([each for each in ids if each not in errors], request.user_id)
        rows = list(found.values())
        for start in range(0, len(rows), BATCH):
            errors.update(await self._delete_chunk(rows[start : start + BATCH]))
        results = []
        for each in request.ids:
            error = errors.get(each) or (None if each in found else unknown(each))
            results.append(models.BatchResult(id=each, error=error.detail() if error else None))
            found.pop(each, None)  # named again, it is unknown
        return models.BatchResponse(results=results)

    async def erase(self, request: models.EraseRequest) -> models.EraseResponse:
        """Erase what is selected, a thousand to a request; tell of what is still queued, which cannot be deleted."""
        selected = selection.predicate(selection.in_every_state(request), self.clock())
        rows = [row for row in await self._platform.every(request.user_id) if selected(row.memory)]
        count = 0
        for start in range(0, 0 if request.dry_run else len(rows), BATCH):
            chunk = rows[start : start + BATCH]
            with part_written(count):
                errors = await self._delete_chunk(chunk)
            ids = [row.memory.id for row in chunk]
            results = [
                models.BatchResult(id=each, error=errors[each].detail() if each in errors else None) for each in ids
            ]
            count += count_erased(models.BatchResponse(results=results), count)
        queued = self._ingestion.count(request.user_id)
        left = [f"{queued} memories that mem0 has not stored yet: erase again when it has."] if queued else []
        count = len(rows) if request.dry_run else count
        return models.EraseResponse(count=count, dry_run=request.dry_run, unreached=[*left, *UNREACHED])

    async def _delete_chunk(self, rows: Sequence[Row]) -> dict[str, OMPError]:
        """Delete rows by one request, and one by one where it is refused for one of them or its answer is lost.

        Return what failed.
        """
        lost = False

        async def delete(row: Row) -> OMPError | None:
            try:
                await self._platform.delete(row)
            except NotFoundError as error:
                return None if lost else error
            except OMPError as error:
                error.written = "perhaps" if lost else error.written
                return error
            return None

        try:
            await self._platform.delete_many(rows)
        except (NotFoundError, InvalidRequestError, ConflictError):
            pass
        except OMPError as error:
            lost = error.written != "nothing"
            if not lost:
                return {row.memory.id: error for row in rows}
        else:
            return {}
        outcomes = await side_by_side(delete, rows, PARALLEL)
        return {row.memory.id: error for row, error in zip(rows, outcomes, strict=True) if error is not None}

    async def list(self, request: models.ListRequest) -> models.MemoryPage:
        """Return one page of all that the user has: the platform's own pages are in another order."""
        selected = selection.predicate(request, self.clock())
        every = [row.memory for row in await self._platform.every(request.user_id)]
        return cursors.page_of(request, filter(selected, every))

    async def search(self, request: models.SearchRequest) -> models.SearchResponse:
        """Read the nearest, deeper until what was not read can change nothing.

        Among more memories than the platform ranks, the few that are selected are ranked by their names.
        """
        if request.query is None or request.mode not in (None, "vector"):
            remedy = "Give a query, and no mode."
            raise UnsupportedCapabilityError("mem0 ranks by the meaning of a text.", remedy=remedy)
        selected, least = selection.predicate(request, self.clock()), request.min_score or 0.0
        for depth in (max(DEPTH, 4 * request.limit), DEEPEST):
            scored, floor = await self._platform.search(request.query, request.user_id, depth)
            best = _best(scored, request, selected)
            filled = len(best) == request.limit and floor is not None
            if floor is None or floor < least or (filled and (best[-1][1] > floor or depth == DEEPEST)):
                return models.SearchResponse(results=selection.results(best))
        return await self._search_by_name(request.query, request, selected)

    async def _search_by_name(
        self, query: str, request: models.SearchRequest, selected: Predicate
    ) -> models.SearchResponse:
        rows = await self._platform.every(request.user_id)
        wanted = {row.memory.id for row in rows if selected(row.memory)}
        scored: Sequence[Scored] = ()
        if 0 < len(wanted) <= DEEPEST:
            scored, _ = await self._platform.search(query, request.user_id, DEEPEST, wanted)
        if wanted - {row.memory.id for row, _ in scored}:  # too many, or written by mem0 alone and without our name
            raise UnsupportedCapabilityError(
                f"mem0 ranks {DEEPEST} memories at the most, too few to find those that are selected.",
                remedy="Ask for fewer results or with min_score, select otherwise, or read the selection with list.",
            )
        return models.SearchResponse(results=selection.results(_best(scored, request, selected)))

    async def remember(self, request: models.RememberRequest) -> models.RememberResponse:
        """Let mem0 extract facts from a conversation.

        Where that takes longer than `wait`, one queued memory stands for the conversation: when it is done, its
        extension names the facts.
        """
        messages = [message.model_dump(exclude_none=True) for message in request.messages]
        said = "\n".join(f"{message['role']}: {message['content']}" for message in messages)
        whole = records.new_fact(request, said, memory_id=new_memory_id(), now=self.clock(), embedding_model=None)
        items = await self._ingestion.extract(messages, whole, self.settings.wait)
        return models.RememberResponse(items=[*items])

    async def _row(self, memory_id: str, user_id: str | None) -> Row:
        """Read the record of a memory that is to change; ConflictError where it is still queued."""
        await self._ingestion.settle(memory_id, user_id)
        found = await self._platform.find([memory_id], user_id)
        if memory_id not in found:
            raise unknown(memory_id)
        return found[memory_id]


def _wire(settings: HostedMem0Settings) -> Wire:
    scheme, port = "https" if settings.https else "http", f":{settings.port}" if settings.port else ""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return Wire(f"{scheme}://{host}{port}", "Token", settings.api_key)


def _best(
    scored: Sequence[Scored], request: models.SearchRequest, selected: Predicate
) -> list[tuple[models.MemoryRecord, float]]:
    return selection.best(((row.memory, score) for row, score in scored), request, selected)
