"""Counts of one user's memories: by state, scope, kind and tag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from ._generated.models import Memory, Stats
from .selection import states

STATES = ("superseded", "expired", "upcoming", "archived")


class Tally:
    """Counts memories as they come."""

    def __init__(self, user_id: str, now: datetime) -> None:
        self._user_id, self._now = user_id, now
        self._total = self._current = 0
        self._states, self._scopes, self._kinds, self._tags = (Counter[str]() for _ in range(4))

    def count(self, memories: Iterable[Memory]) -> None:
        """Count some more."""
        now = self._now
        for memory in memories:
            reasons = list(states(memory, now))
            self._total += 1
            if reasons:
                self._states.update(reasons)
            else:
                self._current += 1
            if memory.scope:
                self._scopes[memory.scope] += 1
            if memory.kind:
                self._kinds[memory.kind] += 1
            if memory.tags:
                self._tags.update(set(memory.tags))

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
