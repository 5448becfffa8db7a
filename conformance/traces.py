"""What a run leaves in a provider, and how it is taken out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from openmem._generated.models import AddManyRequest, AddRequest, DeleteRequest, RememberRequest
from openmem.errors import NotFoundError, OMPError
from openmem.runtime.bridge import side_by_side
from openmem.types import Capabilities, MemoryRecord

if TYPE_CHECKING:
    from .harness import Client

AT_ONCE = 4
"""Users whose memories are deleted at the same time."""
WRITES: dict[type[BaseModel], str] = {AddRequest: "", AddManyRequest: "results", RememberRequest: "items"}
"""Requests that make memories, and the field of the response that has them where there are several."""
BATCH = 500
"""Memories that are listed or deleted in one call, where the provider takes so many."""


class Traces:
    """The users a run has written as, each with the ids of its memories that were answered and not deleted since."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._ids: dict[str, set[str]] = {}
        self._failed: dict[str, set[str]] = {}

    def before(self, request: Any) -> None:
        """Note for whom a request would write, whatever becomes of it."""
        for user_id in _writes_for(request):
            if self._prefix in user_id:  # nobody else's memories are ours to delete
                self._ids.setdefault(user_id, set())

    def after(self, request: Any, answer: Any) -> None:
        """Note what was written or deleted."""
        if type(request) is DeleteRequest:
            for ids in self._ids.values():
                ids.discard(request.id)
        for memory in _written(request, answer):
            if memory.user_id in self._ids:
                self._ids[memory.user_id].add(memory.id)

    async def remove(self, memory: Client, capabilities: Capabilities, *, again: bool = False) -> None:
        """Delete every memory of these users; again: also of those where it failed before."""
        if again:
            self._ids |= self._failed
            self._failed = {}
        await side_by_side(partial(self._remove, memory, capabilities), list(self._ids), AT_ONCE)

    @property
    def left(self) -> list[str]:
        """The users of whom something may be left."""
        return sorted(self._ids | self._failed)

    async def _remove(self, memory: Client, capabilities: Capabilities, user_id: str) -> None:
        ids = set(self._ids[user_id])
        with suppress(Exception):  # whatever is amiss with a provider was the checks' to tell
            if capabilities.features.ingestion == "queued":
                await memory.wait_for_ingest(sorted(ids), user_id)
        try:
            ids |= await _listed(memory, capabilities, user_id)
            if ids:
                await _delete(memory, capabilities, user_id, sorted(ids))
                ids = await _listed(memory, capabilities, user_id)  # what a provider says it deleted may be there
            if ids:
                self._failed[user_id] = ids
        except Exception:  # an adapter under test raises what it likes
            self._failed[user_id] = ids
        self._ids.pop(user_id, None)


def _writes_for(request: Any) -> Iterator[str]:
    kind = type(request)
    if kind in (AddRequest, RememberRequest):
        yield request.user_id
    elif kind is AddManyRequest:
        yield from (item.user_id for item in request.items if item.user_id is not None)


def _written(request: Any, answer: Any) -> list[MemoryRecord]:
    if type(request) not in WRITES:
        return []
    found = [answer, *(getattr(each, "memory", each) for each in getattr(answer, WRITES[type(request)], ()))]
    return [each for each in found if type(each) is MemoryRecord]


async def _listed(memory: Client, capabilities: Capabilities, user_id: str) -> set[str]:
    """Read the ids of a user's memories in whatever state they are."""
    states = ["superseded", "expired", "upcoming", "archived"]
    include = {"include": states} if capabilities.features.temporal else {}
    most = min(BATCH, (capabilities.limits and capabilities.limits.max_list_results) or BATCH)
    ids: set[str] = set()
    cursor = None
    while True:
        page = await memory.list(user_id, limit=most, cursor=cursor, **include)
        new = {each.id for each in page.items if each.user_id == user_id} - ids
        ids |= new
        cursor = page.next_cursor
        if cursor is None or not new:
            return ids


async def _delete(memory: Client, capabilities: Capabilities, user_id: str, ids: list[str]) -> None:
    if "delete_many" not in capabilities.verbs:
        for each in ids:
            with suppress(NotFoundError):
                await memory.delete(each, user_id=user_id)
        return
    limits = capabilities.limits
    size = min(BATCH, (limits and limits.max_batch_size) or BATCH)
    for first in range(0, len(ids), size):
        for result in await memory.delete_many(ids[first : first + size], user_id=user_id):
            if result.error is not None and result.error.code != NotFoundError.code:
                raise OMPError(result.error.message)
