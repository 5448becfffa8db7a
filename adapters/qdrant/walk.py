"""Reading points in their order: by an index, either way, exactly, however the engine orders equals; and chains."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection

from openmem._generated.models import MemoryRecord

from ..kit.changes import linked
from .engine import Engine, Row
from .filters import All, Native, Range

PAGE = 256
"""Points of equal value read at once."""


async def ordered(
    engine: Engine,
    collection: str,
    condition: Native,
    key: str,
    begin: int | None,
    size: int,
    fields: tuple[str, ...],
    *,
    ascending: bool = False,
) -> AsyncIterator[list[Row]]:
    """Yield points in groups, of which each comes before the next by key, is unordered in itself, and complete.

    begin: the value to begin with, the greatest or, ascending, the least; size: points read at once; fields: must hold
    the key.
    """
    while True:
        bounds = Range(key, low=begin) if ascending else Range(key, high=begin)
        within = condition if begin is None else All((condition, bounds))
        rows = await engine.ordered(collection, within, key, size, fields, ascending=ascending)
        if len(rows) < size:
            yield rows
            return
        last: int = rows[-1].payload[key]
        if before := [row for row in rows if row.payload[key] != last]:
            yield before
        yield [row async for row in _equal(engine, collection, condition, key, last, fields)]
        begin = last + 1 if ascending else last - 1


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


async def chain_of(
    start: MemoryRecord,
    pages: AsyncIterator[list[MemoryRecord]],
    fetch: Callable[[Collection[str]], Awaitable[Collection[MemoryRecord]]],
) -> Collection[MemoryRecord]:
    """Read the supersession chain of a memory in few requests, however long it is.

    pages: memories among which the most of it is; what is not there yet is fetched by id.
    """
    chain, known, missing = {start.id: start}, dict[str, MemoryRecord](), set(linked(start))
    while missing:
        known.update((each.id, each) for each in await anext(pages, ()))
        _follow(missing, known, chain)
        if missing:
            found = {each.id: each for each in await fetch(missing)}  # those that are not there are deleted
            missing = set(found)
            _follow(missing, known | found, chain)
    return chain.values()


def _follow(missing: set[str], known: dict[str, MemoryRecord], chain: dict[str, MemoryRecord]) -> None:
    """Move what is known of the missing, and of what these lead to, into the chain."""
    while reached := {each for each in missing if each in known}:
        chain.update((each, known[each]) for each in reached)
        missing -= reached
        missing |= {link for each in reached for link in linked(known[each])} - chain.keys()
