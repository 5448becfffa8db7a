"""Counts of one user's memories: by state, scope, kind and tag."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from .._generated.models import MemoryRecord, Stats
from .selection import STATES, states


class Tally:
    """Counts memories as they come."""

    def __init__(self, user_id: str, now: datetime) -> None:
        self._user_id, self._now = user_id, now
        self._total = self._current = 0
        self._states, self._scopes, self._kinds, self._tags = (defaultdict[str, int](int) for _ in range(4))

    def count(self, memories: Iterable[MemoryRecord]) -> None:
        """Count some more."""
        now = self._now
        by_state, scopes, kinds, labels = self._states, self._scopes, self._kinds, self._tags
        for memory in memories:
            self._total += 1
            current = 1
            for state in states(memory, now):
                by_state[state] += 1
                current = 0
            self._current += current
            if memory.scope:
                scopes[memory.scope] += 1
            if memory.kind:
                kinds[memory.kind] += 1
            for tag in set(memory.tags or ()):
                labels[tag] += 1

    def stats(self) -> Stats:
        """Return the counts so far."""
        counts = {name: self._states[name] for name in STATES}
        return Stats(
            user_id=self._user_id,
            total=self._total,
            current=self._current,
            scopes=self._scopes,
            kinds=self._kinds,
            tags=self._tags,
            **counts,
        )
