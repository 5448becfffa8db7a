"""The records of memory://: changed all or not at all, whatever interrupts it."""

from __future__ import annotations

import asyncio
import bisect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from datetime import datetime
from operator import itemgetter
from threading import get_ident
from typing import Any, TypeVar

from pydantic import BaseModel

from openmem._generated.models import (
    AddRequest,
    GetManyRequest,
    GetRequest,
    ListRequest,
    MemoryRecord,
    Stats,
    UpdateManyRequest,
    UsersRequest,
)
from openmem.protocol import cursors, records

from ..kit import counting
from ..kit.changes import chain_of
from ..kit.store import Logged, Store
from ..kit.vectors import Floats
from .costs import CHANGE, LONG, cost, long_read, long_update, weight
from .indexes import Names, UserIndex

T = TypeVar("T")


class Caller:
    """Who waits for a thread's answer."""

    gone = False


PRESENT = Caller()
CALLER: ContextVar[Caller | None] = ContextVar("openmem_caller", default=None)

Before = tuple[str, MemoryRecord | None, Floats | None]
"""A user, and the record and vector as they were before a change; no record where there was none."""


class Records:
    """All records; no caller ever holds one, only copies."""

    def __init__(self, dimension: int | None, audit_limit: int) -> None:
        self._dimension = dimension
        self._audit_limit = audit_limit
        self.memories: dict[str, MemoryRecord] = {}
        """By id."""
        self.users: dict[str, UserIndex] = {}
        self._nobody = UserIndex(dimension)
        self._names = Names()
        self.logs: dict[str, deque[Logged]] = {}
        """By user, the oldest entry first."""
        self._caller = PRESENT
        self.worker: int | None = None
        """The thread that is at work here."""
        # The change under way: what it touched, by id, what is to be logged of it, and which users are to be forgotten.
        self._before: dict[str, Before] = {}
        self._entries: deque[tuple[str, Logged]] = deque()
        self._forgotten: set[str] = set()
        self.stands = False
        """Whether the change under way is kept when it is settled."""

    # --- transactions -----------------------------------------------------------------------------------------

    def do(self, work: Callable[[Store], T]) -> T:
        """Do work, all of it or nothing. What an interrupt, or another thread at a fork, left half done is settled."""
        self.worker = get_ident()
        try:
            if self._before or self._entries or self._forgotten or self.stands:
                self.settle()
            self._caller = CALLER.get() or PRESENT
            if self._caller.gone:
                raise asyncio.CancelledError
            try:
                result = work(self)
                self.stands = True
            finally:
                self.settle()
            return result
        finally:
            self.worker = None

    def settle(self) -> None:
        """End the change under way; where that is interrupted, it may be begun anew."""
        if self.stands:
            self._write_down()
        elif self._before:
            self._undo()
        elif not (self._entries or self._forgotten):
            return
        self._before.clear()
        self._entries.clear()
        self._forgotten.clear()
        self.stands = False

    def _write_down(self) -> None:
        while self._entries:
            user_id, entry = self._entries[0]
            log = self.logs.get(user_id)
            if log is None:
                log = self.logs[user_id] = deque(maxlen=self._audit_limit)
            if not log or log[-1] is not entry:
                log.append(entry)
            self._entries.popleft()
        for user_id in self._forgotten:
            self.logs.pop(user_id, None)
            if not self._known(user_id).order:
                self._names.reset()
                self.users.pop(user_id, None)

    def _undo(self) -> None:
        for memory_id, (_, record, _) in self._before.items():
            if record is None:
                self.memories.pop(memory_id, None)
            else:
                self.memories[memory_id] = record
        for user_id in {user_id for user_id, _, _ in self._before.values()}:
            self.users[user_id] = self._rebuilt(user_id)

    def _rebuilt(self, user_id: str) -> UserIndex:
        torn, user = self.index_of(user_id), UserIndex(self._dimension)
        ids = dict.fromkeys(memory_id for _, memory_id in torn.order)
        ids.update(dict.fromkeys(memory_id for memory_id, before in self._before.items() if before[0] == user_id))
        for memory_id in ids.keys() & self.memories.keys():
            before = self._before.get(memory_id)
            user.add(self.memories[memory_id], torn.vector(memory_id) if before is None else before[2])
        return user

    def _touch(self, user: UserIndex, memory: MemoryRecord) -> None:
        """Note how a record is before it changes."""
        if memory.id not in self._before:
            record = self.memories.get(memory.id)
            vector = None if record is None else user.vector(memory.id)
            self._before[memory.id] = (memory.user_id, record, vector)

    def takes_long(self, request: BaseModel) -> bool:
        """Tell whether a request may take more than a few milliseconds; asked without the lock."""
        if type(request) is AddRequest:
            return CHANGE * weight(request) > LONG
        if type(request) is UsersRequest:
            return len(self.users) > LONG
        fields = request.__dict__
        if isinstance(request, UpdateManyRequest):
            return long_update(request, self._named)
        if isinstance(request, GetManyRequest):
            return long_read(request, self._named)
        memory = self._named(fields)
        if type(request) is GetRequest:
            return memory is not None and weight(memory) > LONG
        user_id = fields.get("user_id", "") if memory is None else memory.user_id
        user = self.users.get(user_id, self._nobody)
        return cost(request, memory, user.weight, len(self.logs.get(user_id, ()))) > LONG

    def _named(self, fields: Mapping[str, Any]) -> MemoryRecord | None:
        """Return the memory that a request names by id or by external_id; called without the lock too."""
        memory_id = fields.get("id")
        if memory_id is None:
            memory_id = self._known(fields.get("user_id", "")).external.get(fields.get("external_id", ""))
        return self.memories.get(memory_id) if memory_id else None

    # --- records ----------------------------------------------------------------------------------------------

    def _known(self, user_id: str) -> UserIndex:
        return self.users.get(user_id, self._nobody)

    def index_of(self, user_id: str) -> UserIndex:
        """Return a user's indexes, made where there are none yet."""
        user = self.users.get(user_id)
        if user is None:
            user = self.users[user_id] = UserIndex(self._dimension)
        return user

    def get(self, memory_id: str) -> MemoryRecord | None:
        return self.memories.get(memory_id)

    def by_external_id(self, user_id: str, external_id: str) -> MemoryRecord | None:
        memory_id = self._known(user_id).external.get(external_id)
        return self.get(memory_id) if memory_id else None

    def many(self, ids: Sequence[str]) -> Iterable[MemoryRecord]:
        return [self.memories[each] for each in ids if each in self.memories]

    def many_by_external_id(self, user_id: str, external_ids: Sequence[str]) -> Iterable[MemoryRecord]:
        return self.many([each for key in external_ids if (each := self._known(user_id).external.get(key))])

    def insert(self, memory: MemoryRecord, vector: Sequence[float] | None) -> None:
        user = self.index_of(memory.user_id)
        fitting = user.fitting(vector)
        self._touch(user, memory)
        self.memories[memory.id] = records.compact(memory)
        user.add(memory, fitting)

    def replace(self, old: MemoryRecord, new: MemoryRecord, vector: Sequence[float] | None) -> None:
        user = self.index_of(old.user_id)
        fitting = user.fitting(vector)
        self._touch(user, old)
        self.memories[new.id] = records.compact(new)
        user.change(old, new, fitting)

    def remove(self, memory: MemoryRecord) -> None:
        user = self.index_of(memory.user_id)
        self._touch(user, memory)
        del self.memories[memory.id]
        user.discard(memory)

    def oldest_first(
        self, user_id: str, after: cursors.Position | None, since: datetime | None, until: datetime | None
    ) -> Iterator[MemoryRecord]:
        order = self._known(user_id).order
        begin = 0 if after is None else bisect.bisect_right(order, after)
        if since is not None:
            begin = max(begin, bisect.bisect_left(order, since, key=itemgetter(0)))
        for place in range(begin, len(order)):
            created_at, memory_id = order[place]
            if until is not None and created_at > until:
                return
            if self._caller.gone:
                raise asyncio.CancelledError
            yield self.memories[memory_id]

    def vectors(self, user_id: str, ids: Sequence[str]) -> dict[str, Floats]:
        user = self._known(user_id)
        return {each: vector for each in ids if (vector := user.vector(each)) is not None}

    def newest_first(
        self, user_id: str, after: cursors.Position | None, since: datetime | None, until: datetime | None
    ) -> Iterator[MemoryRecord]:
        order = self._known(user_id).order
        end = len(order) if after is None else bisect.bisect_left(order, after)
        if until is not None:
            end = min(end, bisect.bisect_right(order, until, key=itemgetter(0)))
        for place in range(end - 1, -1, -1):  # not a slice, whose copy would hold other threads up
            created_at, memory_id = order[place]
            if since is not None and created_at < since:
                return
            if self._caller.gone:
                raise asyncio.CancelledError
            yield self.memories[memory_id]

    def chain(self, memory: MemoryRecord) -> Iterable[MemoryRecord]:
        return chain_of(self, memory)

    def stats(self, selected: ListRequest, now: datetime) -> Stats:
        return counting.stats(self, selected, now)

    def scopes(self, selected: ListRequest, now: datetime) -> Iterable[tuple[str, int]]:
        return counting.scopes(self, selected, now)

    def owners(self, after: str | None) -> Iterator[tuple[str, int]]:
        for user_id in self._names.after(after, self.users):
            if count := len(self.users[user_id].order):
                yield user_id, count

    def source(self, user_id: str) -> AbstractContextManager[UserIndex]:
        return nullcontext(self._known(user_id))

    def load(self, user_id: str, keys: Sequence[str]) -> Iterator[tuple[str, MemoryRecord]]:
        for key in keys:
            if self._caller.gone:
                raise asyncio.CancelledError
            yield key, self.memories[key]

    def hand_out(self, memory: MemoryRecord) -> MemoryRecord:
        return records.detached(memory)

    def log(self, user_id: str, entry: Logged) -> None:
        self._entries.append((user_id, entry))

    def forget(self, user_id: str, moment: datetime) -> None:
        self._forgotten.add(user_id)

    def logged(self, user_id: str) -> Iterator[Logged]:
        return reversed(self.logs.get(user_id, ()))
