"""Pages: those of a search by offset, those of a list in either order, and vectors on a list."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from openmem.errors import InvalidRequestError
from openmem.types import SearchResult

from ..check import check
from ..harness import Harness
from ._shared import crowd, modes, most, most_listed

VECTORS = ("supports_vectors", "vector_search")
SIZES = (1, 4, 7, 9)
DIGITS = 6
"""Decimals to which scores are told apart."""


def _reach(h: Harness) -> int:
    """Say how far a search goes."""
    limits = h.capabilities.limits
    return (limits and limits.max_search_reach) or 0


def _told(results: Sequence[SearchResult]) -> list[tuple[str, float]]:
    return [(result.memory.id, round(result.score, DIGITS)) for result in results]


async def _seed(h: Harness, word: str) -> list[str]:
    """Store records that fit a word more or less, some of them alike."""
    texts = [f"{word} " + " ".join(h.marker() for _ in range(place % 5)) for place in range(24)]
    texts[10:14] = [texts[0]] * 4
    return await crowd(h, [{"content": text, "tags": [h.own(f"t{n % 2}")]} for n, text in enumerate(texts)])


async def _hold_pages(h: Harness, word: str, mode: str, **selection: Any) -> None:
    """Lay pages of several sizes together, and hold each against the one search."""
    depth = min(20, most(h), _reach(h))
    whole = _told(await h.memory.search(word, h.user, mode=mode, limit=depth, **selection))
    for size in SIZES:
        laid: list[tuple[str, float]] = []
        for offset in range(0, depth, size):
            limit = min(size, depth - offset)
            laid += _told(await h.memory.search(word, h.user, mode=mode, limit=limit, offset=offset, **selection))
        h.require(laid == whole, f"{mode} search by pages of {size} gives {laid}, as one {whole}.")


@check("SEA-15", "pages laid together are the one search")
async def pages_fit_together(h: Harness) -> None:
    """Search in every mode by pages, among equal scores, by a tag and with a least score."""
    word = h.marker()
    await _seed(h, word)
    for mode in modes(h):
        await _hold_pages(h, word, mode)
        await _hold_pages(h, word, mode, tag=h.own("t1"))
        middle = (await h.memory.search(word, h.user, mode=mode, limit=min(12, most(h))))[-1].score
        await _hold_pages(h, word, mode, min_score=middle)


@check("SEA-15", "pages without a mode, and beyond the last result")
async def pages_by_default(h: Harness) -> None:
    """Search by the default mode, from the middle on and from beyond what there is."""
    word = h.marker()
    ids = await _seed(h, word)
    half = min(8, most(h), _reach(h) // 2)
    whole = _told(await h.memory.search(word, h.user, limit=2 * half))
    h.require(len(whole) == 2 * half, f"a search of {len(ids)} found {len(whole)}, up to {2 * half}.")
    rest = _told(await h.memory.search(word, h.user, limit=half, offset=half))
    h.require(rest == whole[half:], f"the second half is {rest}, not {whole[half:]}")
    if _reach(h) > len(ids):
        beyond = await h.memory.search(word, h.user, limit=1, offset=len(ids))
        h.require(beyond == [], f"beyond the last of {len(ids)} there are {_told(beyond)}")


@check("SEA-15", "an offset beyond the bounds is refused")
async def offsets_are_checked(h: Harness) -> None:
    """Search with offsets beside the bounds of the protocol and of the provider, and on them."""
    word = h.marker()
    await h.add(word)
    reach = _reach(h)
    h.require(1 <= reach <= 1000, f"max_search_reach is {reach}.")
    for offset, limit in ((-1, 1), (1000, 1), (991, 10), (10**9, 1), (reach, 1), (reach - 1, 2)):
        await h.refused(h.memory.search(word, h.user, offset=offset, limit=limit), InvalidRequestError)
    for offset, limit in ((0, 1), (reach - 1, 1)):
        results = await h.memory.search(word, h.user, offset=offset, limit=limit)
        h.require(len(results) == (0 if offset else 1), f"from {offset} on there are {len(results)} of 1.")


@check("LST-9", "oldest first, by pages of every size", requires=("oldest_first",))
async def oldest_first(h: Harness) -> None:
    """List records added one by one and in a batch from the oldest on, whole and by pages."""
    ids = h.ids(await h.seed([{"content": h.marker()} for _ in range(4)]))
    ids += await crowd(h, [{"content": h.marker()} for _ in range(5)])
    records = [await h.memory.get(each) for each in ids]
    expected = [each.id for each in sorted(records, key=lambda record: (record.created_at, record.id))]
    for limit in (1, 2, 4, 9, most_listed(h)):
        found = await h.all_ids(order="oldest", limit=limit)
        h.expect(found, expected, among=ids, what=f"pages of {limit}", ordered=True, all_expected=True)
    newest = await h.all_ids(order="newest", limit=2)
    h.expect(newest, expected[::-1], among=ids, what="newest first", ordered=True, all_expected=True)


@check("LST-9", "a cursor is bound to its order", requires=("oldest_first",))
async def cursors_keep_their_order(h: Harness) -> None:
    """Follow a cursor in the other order."""
    await h.seed([{"content": h.marker()} for _ in range(3)])
    for order, other in (("oldest", "newest"), ("newest", "oldest")):
        page = await h.memory.list(h.user, order=order, limit=1)
        h.require(page.next_cursor is not None, "a page of 1 of 3 has no next_cursor.")
        await h.refused(h.memory.list(h.user, order=other, limit=1, cursor=page.next_cursor), InvalidRequestError)


@check("LST-10", "a list gives the vectors that it is asked for", requires=VECTORS)
async def vectors_are_listed(h: Harness) -> None:
    """Give vectors of several lengths with contents, and list them, by pages too."""
    embedding = h.capabilities.features.embedding
    size = embedding.dimension if embedding else 0
    given = {}
    for place, length in enumerate((1.0, 0.01, 50.0)):
        vector = [0.0] * size
        vector[place], vector[(place + 1) % size] = 0.6 * length, -0.8 * length
        given[(await h.add(h.marker(), vector=vector)).id] = [number / length for number in vector]
    made = (await h.add(h.marker())).id if h.lends_embedder else None
    for limit in (2, most_listed(h)):
        page = await h.memory.list(h.user, include_vectors=True, limit=limit)
        records = page.items
        if page.next_cursor is not None:
            records += (await h.memory.list(h.user, include_vectors=True, limit=limit, cursor=page.next_cursor)).items
        found = {record.id: record.vector for record in records}
        for memory_id, vector in given.items():
            listed = found.get(memory_id) or []
            near = len(listed) == size and math.dist(listed, vector) < 0.01
            h.require(near, f"the vector of {memory_id} is {listed!s:.60}, not {vector!s:.60}")
        h.require(made is None or found.get(made), "a record whose vector was made of its content has none.")


@check("LST-10", "nothing else gives vectors", requires=VECTORS)
async def vectors_are_nowhere_else(h: Harness) -> None:
    """Read a record that has a vector by every verb that does not ask for it."""
    embedding = h.capabilities.features.embedding
    vector = [1.0, *[0.0] * ((embedding.dimension if embedding else 1) - 1)]
    word = h.marker()
    added = await h.memory.add(word, h.user, vector=vector)
    await h.memory.wait_for_ingest([added.id], h.user)
    listed = (await h.memory.list(h.user, include_vectors=True)).items
    h.require(len(listed) == 1 and listed[0].vector, f"a list that includes vectors gives {listed}")
    found = [added, await h.memory.get(added.id, user_id=h.user)]
    found += (await h.memory.list(h.user)).items + (await h.memory.list(h.user, include_vectors=False)).items
    found += [result.memory for result in await h.memory.search(None, h.user, vector=vector)]
    h.require(all(record.vector is None for record in found), "a vector is given where none was asked for.")
