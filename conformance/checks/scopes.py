"""The verb scopes: the scopes that a user's memories are in, counted, cut and paged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from openmem.errors import InvalidRequestError

from ..check import check
from ..harness import Harness
from ._shared import crowd

SCOPES = ("scopes",)
DAY = timedelta(days=1)
PLACES = ("a", "a", "a/b", "a/b/c", "a/b/d", "A", "B", "ab", "a b", "a\uffee", "a😀", "z/y/x", "z/y")
"""Two of one, and others by whose order code points differ from bytes of UTF-16, from letters, and from paths."""


async def _seed(h: Harness) -> None:
    await crowd(h, [{"content": h.marker(), "scope": h.scope(place)} for place in PLACES])


def _counts(h: Harness, **places: int) -> list[tuple[str, int]]:
    return sorted((h.scope(place), count) for place, count in places.items())


async def _named(h: Harness, **query: Any) -> list[tuple[str, int]]:
    """Follow the pages to the last."""
    found: list[tuple[str, int]] = []
    cursor = None
    for _ in range(100):
        page = await h.memory.scopes(h.user, cursor=cursor, **query)
        h.require(len(page.items) <= query.get("limit", 100), f"a page has {len(page.items)} scopes: {query}")
        found += [(each.scope, each.count) for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            h.require(page.items or not found, "an empty page follows the last")
            return found
    h.require(False, "scopes goes on after a hundred pages")
    return found


def _hold(h: Harness, found: list[tuple[str, int]], due: list[tuple[str, int]], what: str) -> None:
    h.require(found == due, f"scopes {what} are {found}, not {due}")


@check("SCO-7", "scopes names each scope once, by code points, with its count", requires=SCOPES)
async def names_each_once(h: Harness) -> None:
    """Name scopes beside memories without one, and those of another user."""
    await _seed(h)
    await h.seed([{"content": h.marker()}])
    await h.seed([{"content": h.marker(), "scope": h.scope(place)} for place in ("a", "theirs")], user_id=h.other)
    due = sorted((h.scope(place), PLACES.count(place)) for place in {*PLACES})
    _hold(h, await _named(h), due, "of all memories")
    nobody = await h.memory.scopes(h.new_user())
    h.require(nobody.items == [], f"a user without records has the scopes {nobody.items}")


@check("SCO-7", "scopes counts what list sees", requires=(*SCOPES, "temporal"))
async def counts_what_is_current(h: Harness) -> None:
    """Name scopes of memories that are over, with these states and without."""
    over = {"valid_to": h.now() - DAY}
    items: list[dict[str, Any]] = [{"scope": "a"}, {"scope": "a", **over}, {"scope": "b", **over}]
    await h.seed([{"content": h.marker(), **item, "scope": h.scope(item["scope"])} for item in items])
    _hold(h, await _named(h), _counts(h, a=1), "of current memories")
    _hold(h, await _named(h, include=["expired"]), _counts(h, a=2, b=1), "with those expired")
    _hold(h, await _named(h, include=["upcoming"]), _counts(h, a=1), "with those upcoming")


@check("SCO-7", "scopes follows deletes", requires=SCOPES)
async def follows_deletes(h: Harness) -> None:
    """Delete one memory of two, and the only one of a scope."""
    items = [{"content": h.marker(), "scope": h.scope(place)} for place in ("a", "a", "b")]
    records = await h.seed(items)
    for record in records[1:]:
        await h.memory.delete(record.id, user_id=h.user)
    _hold(h, await _named(h), _counts(h, a=1), "after deletes")


@check("SCO-8", "under selects a scope and all below it, by whole segments", requires=SCOPES)
async def under_narrows(h: Harness) -> None:
    """Name what is under scopes that others begin with."""
    await _seed(h)
    due = {"a": 2, "a/b": 1, "a/b/c": 1, "a/b/d": 1}
    _hold(h, await _named(h, under=h.scope("a")), _counts(h, **due), "under a")
    below = {place: count for place, count in due.items() if place.startswith("a/b")}
    _hold(h, await _named(h, under=h.scope("a/b")), _counts(h, **below), "under a/b")
    _hold(h, await _named(h, under=h.scope("z")), _counts(h, **{"z/y": 1, "z/y/x": 1}), "under z")
    _hold(h, await _named(h, under=h.scope("none")), [], "under a scope of none")
    for wrong in (h.scope("a/*"), h.scope("a//b"), h.scope("a/")):
        await h.refused(h.memory.scopes(h.user, under=wrong), InvalidRequestError)


@check("SCO-8", "depth cuts scopes, from the root or from under, and adds their counts up", requires=SCOPES)
async def depth_cuts(h: Harness) -> None:
    """Cut at every depth that there is."""
    await _seed(h)
    above = h.scope("a").count("/")
    whole = sorted((h.scope(place), PLACES.count(place)) for place in {*PLACES})
    tops = {"A": 1, "B": 1, "a": 5, "a b": 1, "ab": 1, "a\uffee": 1, "a😀": 1, "z": 2}
    _hold(h, await _named(h, depth=above + 1), _counts(h, **tops), "cut from the root")
    _hold(h, await _named(h, depth=above + 3), whole, "cut where nothing is")
    _hold(h, await _named(h, under=h.scope("a"), depth=1), _counts(h, **{"a": 2, "a/b": 3}), "under a, one deep")
    deep = {"a": 2, "a/b": 1, "a/b/c": 1, "a/b/d": 1}
    _hold(h, await _named(h, under=h.scope("a"), depth=2), _counts(h, **deep), "under a, two deep")
    _hold(h, await _named(h, under=h.scope("z"), depth=1), _counts(h, **{"z/y": 2}), "under z, one deep")
    await h.refused(h.memory.scopes(h.user, depth=0), InvalidRequestError)


@check("SCO-9", "pages of scopes give each once", requires=SCOPES)
async def pages_give_each_once(h: Harness) -> None:
    """Follow pages of several sizes, of whole scopes and of cut ones."""
    await _seed(h)
    for query in ({}, {"under": h.scope("a"), "depth": 1}, {"depth": h.scope("a").count("/") + 1}):
        every = await _named(h, **query)
        h.require(len(every) > 1, f"{query} finds {every}")
        for limit in (1, 2, len(every) - 1, len(every)):
            _hold(h, await _named(h, **query, limit=limit), every, f"in pages of {limit}")
    for limit in (0, 1001):
        await h.refused(h.memory.scopes(h.user, limit=limit), InvalidRequestError)


@check("SCO-9", "a cursor of scopes is bound to its query", requires=SCOPES)
async def cursors_are_bound(h: Harness) -> None:
    """Use a cursor with another query, another verb's, and none at all."""
    await _seed(h)
    cursor = (await h.memory.scopes(h.user, limit=2)).next_cursor
    h.require(cursor, "a page of two among many has no next_cursor")
    listed = (await h.memory.list(h.user, limit=2)).next_cursor
    for user, query in (
        (h.other, {"cursor": cursor}),
        (h.user, {"cursor": cursor, "under": h.scope("a")}),
        (h.user, {"cursor": cursor, "depth": 1}),
        (h.user, {"cursor": listed}),
        (h.user, {"cursor": "no cursor"}),
    ):
        await h.refused(h.memory.scopes(user, **query), InvalidRequestError)
    await h.refused(h.memory.list(h.user, cursor=cursor), InvalidRequestError)
