"""Counts over a store's records walked one by one, for stores that know no quicker way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from openmem._generated.models import ListRequest, MemoryRecord, Stats
from openmem.protocol import census, selection
from openmem.protocol.tally import Tally

if TYPE_CHECKING:
    from .store import Store


def stats(store: Store, selected: ListRequest, now: datetime) -> Stats:
    """Count the records that are selected, which are those of one user in every state."""
    tally = Tally(selected.user_id, now)
    tally.count(_walk(store, selected, now))
    return tally.stats()


def scopes(store: Store, selected: ListRequest, now: datetime) -> Iterable[census.Counted]:
    """Name the scope of each record that is selected."""
    return census.scopes_of(_walk(store, selected, now))


def _walk(store: Store, selected: ListRequest, now: datetime) -> Iterator[MemoryRecord]:
    walk = store.newest_first(selected.user_id, None, selected.since, selected.until)
    if len(selected.include or ()) == len(selection.STATES) and not selection.narrows(selected):
        return walk
    return filter(selection.predicate(selected, now), walk)
