"""memory:// keeps everything in this process: the reference for what the protocol means."""

from __future__ import annotations

import bisect
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, TypeVar

from openmem import cursors, ranking, records
from openmem._generated.models import Memory, Stats
from openmem.adapter import Settings
from openmem.tally import Tally

from .embedded import EmbeddedAdapter
from .rules import linked
from .store import Logged, Store
from .vectors import VectorIndex, unit

T = TypeVar("T")


class MemorySettings(Settings):
    """Options of memory://."""

    audit_limit: int = 10_000
    """Audit entries kept for each user; older ones are dropped."""


class MemoryAdapter(EmbeddedAdapter):
    """Records in dictionaries, one lock around every verb."""

    name = "memory"
    settings_type = MemorySettings
    settings: MemorySettings

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._lock = threading.Lock()
        self._store = _Memories(self.embedding.dimension if self.embedding else None, self.settings.audit_limit)

    async def transact(self, work: Callable[[Store], T], *, write: bool) -> T:
        """Run work under the lock: microseconds, so in place also for async callers."""
        with self._lock:
            return work(self._store)


class _User:
    """One user's records and indexes."""

    def __init__(self, dimension: int | None, audit_limit: int) -> None:
        self.order: list[cursors.Position] = []
        self.external: dict[str, str] = {}
        self.index = VectorIndex[str](dimension) if dimension is not None else None
        # Term -> memories and how often each holds it. Most terms are in one memory, once: its id alone says so.
        self.postings: dict[str, str | dict[str, int]] = {}
        self.lengths: dict[str, int] = {}
        self.total_length = 0
        self.log: deque[Logged] = deque(maxlen=audit_limit)

    def vectors(self) -> VectorIndex[str] | None:
        return self.index

    def keyword_scores(self, terms: Sequence[str]) -> dict[str, float]:
        postings = [self._posting(term) for term in terms if term in self.postings]
        return ranking.bm25(postings, self.lengths, count=len(self.lengths), total_length=self.total_length)

    def _posting(self, term: str) -> dict[str, int]:
        posting = self.postings[term]
        return {posting: 1} if isinstance(posting, str) else posting

    def index_content(self, memory: Memory) -> None:
        terms = ranking.terms(memory.content)
        key, postings = memory.id, self.postings
        for term, count in ranking.frequencies(terms).items():
            posting = postings.get(term)
            if posting is None:
                postings[term] = key if count == 1 else {key: count}
            elif isinstance(posting, str):
                postings[term] = {posting: 1, key: count}
            else:
                posting[key] = count
        self.lengths[key] = len(terms)
        self.total_length += len(terms)

    def forget_content(self, memory: Memory) -> None:
        for term in set(ranking.terms(memory.content)):
            posting = self._posting(term)
            del posting[memory.id]
            if posting:
                self.postings[term] = posting
            else:
                del self.postings[term]
        self.total_length -= self.lengths.pop(memory.id)


class _Memories:
    """All records; no caller ever holds one, only copies."""

    def __init__(self, dimension: int | None, audit_limit: int) -> None:
        self._dimension = dimension
        self._audit_limit = audit_limit
        self._records: dict[str, Memory] = {}
        self._users: dict[str, _User] = {}

    def _user(self, user_id: str) -> _User:
        user = self._users.get(user_id)
        if user is None:
            user = self._users[user_id] = _User(self._dimension, self._audit_limit)
        return user

    def get(self, memory_id: str) -> Memory | None:
        return self._records.get(memory_id)

    def by_external_id(self, user_id: str, external_id: str) -> Memory | None:
        memory_id = self._user(user_id).external.get(external_id)
        return self.get(memory_id) if memory_id else None

    def insert(self, memory: Memory, vector: Sequence[float] | None) -> None:
        user = self._user(memory.user_id)
        self._records[memory.id] = memory
        bisect.insort(user.order, (memory.created_at, memory.id))
        if memory.external_id is not None:
            user.external[memory.external_id] = memory.id
        user.index_content(memory)
        if vector is not None and user.index is not None:
            user.index.put(memory.id, unit(vector))

    def replace(self, old: Memory, new: Memory, vector: Sequence[float] | None) -> None:
        user = self._user(new.user_id)
        self._records[new.id] = new
        if new.content != old.content:
            user.forget_content(old)
            user.index_content(new)
        if vector is not None and user.index is not None:
            user.index.put(new.id, unit(vector))

    def remove(self, memory: Memory) -> None:
        user = self._user(memory.user_id)
        del self._records[memory.id]
        del user.order[bisect.bisect_left(user.order, (memory.created_at, memory.id))]
        if memory.external_id is not None:
            del user.external[memory.external_id]
        user.forget_content(memory)
        if user.index is not None:
            user.index.discard(memory.id)

    def newest_first(
        self, user_id: str, after: cursors.Position | None, since: datetime | None, until: datetime | None
    ) -> Iterator[Memory]:
        order = self._user(user_id).order
        end = bisect.bisect_left(order, after) if after else len(order)
        for created_at, memory_id in reversed(order[:end]):
            if since is not None and created_at < since:
                return
            if until is None or created_at <= until:
                yield self._records[memory_id]

    def chain(self, memory: Memory) -> Iterable[Memory]:
        chain, waiting = {memory.id: memory}, [memory]
        while waiting:
            for each in linked(waiting.pop()):
                other = self.get(each) if each not in chain else None
                if other is not None and other.user_id == memory.user_id:
                    chain[other.id] = other
                    waiting.append(other)
        return chain.values()

    def stats(self, user_id: str, now: datetime) -> Stats:
        tally = Tally(user_id, now)
        tally.count(self._records[memory_id] for _, memory_id in self._user(user_id).order)
        return tally.stats()

    def source(self, user_id: str) -> AbstractContextManager[_User]:
        return nullcontext(self._user(user_id))

    def load(self, user_id: str, keys: Sequence[str]) -> Iterator[tuple[str, Memory]]:
        for key in keys:
            yield key, self._records[key]

    def hand_out(self, memory: Memory) -> Memory:
        return records.detached(memory)

    def log(self, user_id: str, entry: Logged) -> None:
        self._user(user_id).log.append(entry)

    def logged(self, user_id: str) -> Iterator[Logged]:
        return reversed(self._user(user_id).log)
