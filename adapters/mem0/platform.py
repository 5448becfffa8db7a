"""The API of mem0's hosted platform: its routes, and what they answer as records of ours and events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from openmem._generated.models import MemoryRecord
from openmem.errors import (
    InvalidRequestError,
    NotFoundError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    Written,
)
from openmem.runtime.bridge import side_by_side

from ..kit.wire import Route, Wire
from .envelope import ID, is_id, keeps, metadata_of, own_of, rounded, user_name, user_names
from .rows import Row, rows_of

T = TypeVar("T")
Filters = Mapping[str, Any]

ADD = Route("POST", "/v3/memories/add/")
LIST = Route("POST", "/v3/memories/", "read")
SEARCH = Route("POST", "/v3/memories/search/", "read")
GET = Route("GET", "/v1/memories/{id}/")
PUT = Route("PUT", "/v1/memories/{id}/")
DELETE = Route("DELETE", "/v1/memories/{id}/")
DELETE_MANY = Route("DELETE", "/v1/batch/", "change")  # it finds all of its records or deletes none
EVENT = Route("GET", "/v1/event/{id}/")

PARALLEL = 16
"""Requests of one call under way at once."""
NAMES = 100
"""Ids named in one filter."""
BATCH = 1000
"""Records deleted by one request at the most."""
WALKS = 5
"""How often all pages are read until nothing came or went meanwhile."""
FIXED = ("agent_id", "app_id", "run_id")
"""What of OWN is given with an add and stays."""
DATED = "expiration_date"
"""What of OWN can be changed."""


class Scored(NamedTuple):
    """A row with its score."""

    row: Row
    score: float


@dataclass(frozen=True)
class Event:
    """How far an add has come. made: ids of the records it made, by mem0."""

    id: str
    status: str
    made: Sequence[str]

    @property
    def pending(self) -> bool:
        """Whether mem0 is still at it."""
        return self.status in ("PENDING", "RUNNING")

    @property
    def failed(self) -> bool:
        """Whether mem0 gave up."""
        return self.status == "FAILED"


class Platform:
    """The platform behind a wire; everything read of a user is held to that user here as well."""

    def __init__(self, wire: Wire, page_size: int) -> None:
        self._wire = wire
        self._page_size = page_size

    async def open(self) -> None:
        """Open the wire."""
        await self._wire.open()

    async def close(self) -> None:
        """Close the wire."""
        await self._wire.close()

    async def add(self, memory: MemoryRecord) -> Event:
        """Store a memory as it is; where the answer is lost, look whether it is there."""
        try:
            said = [{"role": "user", "content": memory.content}]
            return await self._add(memory, said, labelled(memory), infer=False)
        except ProviderError as error:
            stored = await self._stored(memory) if error.written != "nothing" else None
            if stored is None:
                raise
            return Event("", "SUCCEEDED", [stored.id])

    async def _stored(self, memory: MemoryRecord) -> Row | None:
        try:
            return (await self.find([memory.id], memory.user_id)).get(memory.id)
        except OMPError:  # what was to be told before is still to be told
            return None

    async def extract(self, messages: Sequence[Mapping[str, Any]], template: MemoryRecord) -> Event:
        """Let mem0 extract facts, each of which gets the fields of the template."""
        return await self._add(template, messages, metadata_of(template), infer=True)

    async def _add(
        self, memory: MemoryRecord, messages: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any], *, infer: bool
    ) -> Event:
        own = {name: value for name, value in own_of(memory).items() if name in (*FIXED, DATED)}
        body = {"messages": messages, "user_id": user_name(memory.user_id), "metadata": metadata, "infer": infer, **own}
        return self._read(await self._wire.send(ADD, body), _event, "perhaps")

    async def event(self, event_id: str) -> Event:
        """Ask how far an add has come."""
        return self._read(await self._wire.send(EVENT, id=event_id), _event)

    async def read(self, record_ids: Iterable[str], user_id: str | None) -> list[Row]:
        """Read records by mem0's own ids, those that there are."""

        async def get(record_id: str) -> list[Row]:
            try:
                answer = await self._wire.send(GET, id=record_id)
            except NotFoundError:
                return []
            return self._read(answer, lambda found: list(rows_of([found], user_id)))

        return [row for rows in await side_by_side(get, record_ids, PARALLEL) for row in rows]

    async def find(self, ids: Iterable[str], user_id: str | None) -> dict[str, Row]:
        """Read memories by our ids, and by mem0's where mem0 alone wrote them."""
        wanted = list(ids)
        found = {row.memory.id: row for row in await self._named(wanted, user_id)}
        rows = await self.read([each for each in wanted if each not in found and is_id(each)], user_id)
        return {each.memory.id: each for each in rows if each.memory.id in wanted} | found

    async def _named(self, wanted: Sequence[str], user_id: str | None) -> list[Row]:
        chunks = [wanted[start : start + NAMES] for start in range(0, len(wanted), NAMES)]

        async def read(chunk: Sequence[str]) -> list[Row]:
            rows = await self._walk(_all_of(_of(user_id), _any_of(chunk)), user_id)
            return [row for row in rows if row.memory.id in chunk]  # a filter may match otherwise than exactly

        return [row for rows in await side_by_side(read, chunks, PARALLEL) for row in rows]

    async def every(self, user_id: str) -> list[Row]:
        """Read all memories of a user."""
        return await self._walk(_of(user_id), user_id)

    async def search(
        self, query: str, user_id: str, depth: int, among: Collection[str] = ()
    ) -> tuple[list[Scored], float | None]:
        """Read the nearest; return with them the least score read, None where that was all. among: our ids, else any.

        mem0 ranks 1000 rows at the most.
        """
        filters = _all_of(_of(user_id), _any_of(among)) if among else _of(user_id)
        body = {"query": query, "filters": filters, "top_k": depth, "threshold": 0, "show_expired": True}
        answer = await self._wire.send(SEARCH, body)

        def read(found: Any) -> tuple[list[Scored], float | None]:
            scores = {str(each["id"]): rounded(each.get("score") or 0.0) for each in found["results"]}
            rows = {row.id: row for row in rows_of(found["results"], user_id)}
            scored = [Scored(row, scores[row.id]) for row in rows.values()]
            return scored, min(scores.values()) if len(found["results"]) >= depth else None

        return self._read(answer, read)

    async def put(self, row: Row, memory: MemoryRecord) -> None:
        """Write a memory in the place of a record; InvalidRequestError where it changes what mem0 cannot."""
        before, after = own_of(row.memory), own_of(memory)
        for name in FIXED:
            if before.get(name) != after.get(name):
                raise InvalidRequestError(f"mem0 cannot change {name}.", remedy="Delete the memory and add it anew.")
        # mem0 drops the metadata that an update does not send; null is for what has to go should it ever merge.
        held = {name: value for name, value in row.metadata.items() if value is not None}
        kept = {name: value for name, value in held.items() if (memory.metadata or {}).get(name) == value}
        metadata = {**dict.fromkeys(held), **kept, **labelled(memory)}
        body: dict[str, Any] = {"text": memory.content, "metadata": metadata}
        if before.get(DATED) != after.get(DATED):
            body[DATED] = after.get(DATED)
        await self._wire.send(PUT, body, id=row.id)

    async def delete(self, row: Row) -> None:
        """Delete a record."""
        await self._wire.send(DELETE, id=row.id)

    async def delete_many(self, rows: Sequence[Row]) -> None:
        """Delete records by one request."""
        await self._wire.send(DELETE_MANY, {"memories": [{"memory_id": row.id} for row in rows]})

    async def _walk(self, filters: Filters, user_id: str | None) -> list[Row]:
        """Read all pages, which are numbered, so that what comes or goes meanwhile shifts them: then once more."""
        for _ in range(WALKS):
            first = await self._page(filters, 1)
            last = -(-first.total // len(first.rows)) if first.rows else 0
            rest = await side_by_side(lambda number: self._page(filters, number), range(2, last + 1), PARALLEL)
            found = {record_id: row for page in (first, *rest) for record_id, row in page.rows.items()}
            if {page.total for page in (first, *rest)} == {len(found)}:
                return self._read(found.values(), lambda answers: list(rows_of(answers, user_id)))
        message = "memories came and went while they were listed."
        raise ProviderUnavailableError(message, remedy="Try again.", written="nothing")

    async def _page(self, filters: Filters, number: int) -> _Page:
        query = {"page": number, "page_size": self._page_size}
        answer = await self._wire.send(LIST, {"filters": filters, "show_expired": True}, query)
        return self._read(answer, lambda page: _Page(page["count"], {str(row["id"]): row for row in page["results"]}))

    def _read(self, answer: Any, read: Callable[[Any], T], written: Written = "nothing") -> T:
        try:
            return read(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._wire.wrong("something other than its documentation says", written) from error


class _Page(NamedTuple):
    total: int
    rows: Mapping[str, Mapping[str, Any]]


def labelled(memory: MemoryRecord) -> dict[str, Any]:
    """Write a memory as metadata by which its id finds it."""
    return metadata_of(memory) | {ID: memory.id}


def _of(user_id: str | None) -> dict[str, Any]:
    if user_id is None:
        return {"user_id": "*"}
    names = [each for each in user_names(user_id) if keeps(each)]
    return {"user_id": names[0] if len(names) == 1 else {"in": names}}


def _any_of(ids: Iterable[str]) -> dict[str, Any]:
    return {"OR": [{"metadata": {ID: each}} for each in ids]}


def _all_of(*filters: Filters) -> dict[str, Any]:
    return {"AND": list(filters)}


def _event(answer: Mapping[str, Any]) -> Event:
    results = [each for each in answer.get("results") or () if each.get("event") != "DELETE"]
    event = Event(
        str(answer.get("event_id") or answer.get("id")), answer["status"], [str(each["id"]) for each in results]
    )
    if not event.pending and event.status not in ("SUCCEEDED", "FAILED"):
        raise ValueError(f"status {event.status!r}")
    return event
