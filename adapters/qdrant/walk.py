"""Reading points by an index, newest first, exactly: whole groups of equal values, however the engine orders these."""

from __future__ import annotations

from collections.abc import AsyncIterator

from .engine import Engine, Row
from .filters import All, Native, Range

PAGE = 256
"""Points of equal value read at once."""


async def newest_first(
    engine: Engine, collection: str, condition: Native, key: str, below: int | None, size: int, fields: tuple[str, ...]
) -> AsyncIterator[list[Row]]:
    """Yield points in groups: each group is greater by key than the next, unordered in itself, and complete.

    below: the greatest value to begin with; size: points read at once; fields: must hold the key.
    """
    while True:
        within = condition if below is None else All((condition, Range(key, high=below)))
        rows = await engine.newest(collection, within, key, size, fields)
        if len(rows) < size:
            yield rows
            return
        least: int = rows[-1].payload[key]
        if above := [row for row in rows if row.payload[key] > least]:
            yield above
        yield [row async for row in _equal(engine, collection, condition, key, least, fields)]
        below = least - 1


async def _equal(
    engine: Engine, collection: str, condition: Native, key: str, value: int, fields: tuple[str, ...]
) -> AsyncIterator[Row]:
    after: str | None = None
    while True:
        group = All((condition, Range(key, value, value)))
        rows, after = await engine.scroll(collection, group, PAGE, after, fields)
        for row in rows:
            yield row
        if after is None:
            return
