"""Audit entries of reads, kept back until a change is stored: a read neither waits for a write nor fails by one."""

from __future__ import annotations

import heapq
import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter

from openmem.runtime.fork import Lock

from .store import Logged

Entry = tuple[str, Logged]
"""A user and what was done with that user's memories."""

OFTEN = 256
"""Entries kept after which it is time to store them."""
MOST = 10_000
"""Entries kept while they cannot be stored; beyond that the oldest are dropped."""

logger = logging.getLogger("openmem")


class ReadLog:
    """The entries of one adapter that are not stored yet, oldest first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: deque[Entry] = deque()
        self._storing: list[deque[Entry]] = []
        self._fresh = 0
        self.dropped: Counter[str] = Counter()
        """How many entries each user has lost."""

    @property
    def full(self) -> bool:
        """Whether it is time to store them: so many came since that was last tried."""
        return self._fresh >= OFTEN

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, user_id: str, entry: Logged) -> None:
        """Keep one entry."""
        with self._lock:
            self._kept.append((user_id, entry))
            self._fresh += 1
            self._bound()

    def take(self) -> list[Entry]:
        """Hand over all entries, to be stored or put back."""
        with self._lock:
            return self._take()

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Keep again what could not be stored."""
        with self._lock:
            self._put_back(entries)

    @contextmanager
    def storing(self, stored: list[object] | None = None) -> Iterator[list[Entry]]:
        """Hand over all entries, to be stored within the block; they are kept again where it raises.

        stored: gets something as they are stored, so that an interrupt that follows does not have them stored twice.
        Wherever an interrupt comes, the entries are in one of the two places: one deque goes from one to the other.
        """
        stored = [] if stored is None else stored
        entries: deque[Entry] | None = None
        try:
            with self._lock:
                entries = self._kept
                self._storing.append(entries)
                self._kept = deque()
                self._fresh = 0
            yield list(entries)
            stored.append(True)
        finally:
            try:
                self._end(entries, stored)
            except BaseException:  # interrupted too
                self._end(entries, stored)
                raise

    def of(self, user_id: str) -> list[Logged]:
        """Return a user's entries, those being stored too, most recent first; ask before the stored ones are read."""
        with self._lock:
            kept = {id(each): each for entries in (*self._storing, self._kept) for each in entries}
        entries = [entry for user, entry in reversed(kept.values()) if user == user_id]
        return sorted(entries, key=attrgetter("timestamp"), reverse=True)  # threads may keep them out of order

    def _end(self, entries: deque[Entry] | None, stored: Sequence[object]) -> None:
        with self._lock:
            if entries is not None and not stored:
                self._put_back(entries)
            self._storing = [each for each in self._storing if each is not entries]

    def _take(self) -> list[Entry]:
        entries = list(self._kept)
        self._kept.clear()
        self._fresh = 0
        return entries

    def _put_back(self, entries: Iterable[Entry]) -> None:
        self._kept = deque({id(each): each for each in (*entries, *self._kept)}.values())
        self._bound()

    def _bound(self) -> None:
        if len(self._kept) > MOST and not self.dropped:
            logger.warning("audit entries of reads cannot be stored; the oldest beyond %d are dropped", MOST)
        while len(self._kept) > MOST:
            user_id, _ = self._kept.popleft()
            self.dropped[user_id] += 1


def with_kept(stored: Iterable[Logged], kept: Sequence[Logged]) -> Iterator[Logged]:
    """Merge entries kept back into stored ones, both most recent first; one that is in both appears once."""
    known = frozenset(kept)
    others = (entry for entry in stored if entry not in known)
    return heapq.merge(kept, others, key=attrgetter("timestamp"), reverse=True)
