"""Stats: one user's records, counted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from openmem.errors import InvalidRequestError
from openmem.types import Stats

from ..check import check
from ..harness import Harness
from ._shared import crowd, declared

STATS = ("stats",)
DAY = timedelta(days=1)


def _hold(h: Harness, stats: Stats, **expected: Any) -> None:
    got = {name: getattr(stats, name) for name in expected}
    h.require(got == expected, f"stats are {got}, not {expected}.")


@check("STA-1", "stats counts total, scopes, kinds and tags", requires=STATS)
async def counts_by_scope_kind_and_tag(h: Harness) -> None:
    """Count records that have each, several or none; scopes are counted as they are stored."""
    scoped = "scopes" in declared(h)
    places, kinds = ("a", "a/b", "a", None, "A"), ("fact", "fact", None, "event", "Fact")
    x, y = h.marker(), h.marker()
    tags = ([x, y], [x], None, [x + y], [x.upper()])
    items: list[dict[str, Any]] = [
        {"kind": kind, "tags": tag} | ({"scope": place and h.scope(place)} if scoped else {})
        for place, kind, tag in zip(places, kinds, tags, strict=True)
    ]
    await h.seed([{"content": h.marker(), **{k: v for k, v in item.items() if v is not None}} for item in items])
    stats = await h.memory.stats(h.user)
    _hold(h, stats, user_id=h.user, total=5, current=5, kinds={"fact": 2, "event": 1, "Fact": 1})
    _hold(h, stats, tags={x: 2, y: 1, x + y: 1, x.upper(): 1})
    if scoped:
        _hold(h, stats, scopes={h.scope("a"): 2, h.scope("a/b"): 1, h.scope("A"): 1})


@check("STA-1", "stats counts a record under a tag once", requires=STATS)
async def repeated_tags_count_once(h: Harness) -> None:
    """Count a record that has one tag twice: records are counted, not labels."""
    x, y = h.marker(), h.marker()
    await h.seed([{"content": h.marker(), "tags": tags} for tags in ([x, x, y], [x])])
    _hold(h, await h.memory.stats(h.user), total=2, tags={x: 2, y: 1})


@check("STA-1", "stats counts by state", requires=(*STATS, "temporal"))
async def counts_by_state(h: Harness) -> None:
    """Count records in one, two and no states."""
    now, features = h.now(), declared(h)
    items: list[dict[str, Any]] = [{}, {"valid_to": now - DAY}, {"valid_to": now - DAY}, {"valid_from": now + DAY}]
    items += [{"valid_from": now - DAY, "valid_to": now + DAY}]
    expected = {"total": 5, "current": 2, "expired": 2, "upcoming": 1, "archived": 0, "superseded": 0}
    if "supports_archive" in features:
        items += [{"archived": True}, {"archived": True, "valid_to": now - DAY}, {"archived": False}]
        expected |= {"total": 8, "current": 3, "expired": 3, "archived": 2}
    records = await h.seed([{"content": h.marker(), "kind": "k", "tags": [h.own("t")], **item} for item in items])
    kinds = {"k": len(records)}
    if "supports_supersession" in features:
        await h.add(h.marker(), supersedes=[records[0].id])
        expected |= {"total": expected["total"] + 1, "superseded": 1}
    _hold(h, await h.memory.stats(h.user), **expected, kinds=kinds, tags={h.own("t"): len(records)})


@check("STA-1", "stats counts one user's records only", requires=STATS)
async def counts_one_user(h: Harness) -> None:
    """Count beside another user, and a user who has nothing."""
    await h.seed([{"content": h.marker(), "tags": [h.own("mine")]} for _ in range(2)])
    await h.seed([{"content": h.marker(), "tags": [h.own("theirs")]} for _ in range(3)], user_id=h.other)
    _hold(h, await h.memory.stats(h.user), user_id=h.user, total=2, tags={h.own("mine"): 2})
    _hold(h, await h.memory.stats(h.other), user_id=h.other, total=3, tags={h.own("theirs"): 3})
    nobody = await h.memory.stats(h.new_user())
    h.require((nobody.total, nobody.current) == (0, 0), f"a user without records has {nobody}.")
    named = [nobody.scopes, nobody.kinds, nobody.tags]
    h.require(not any(named), f"a user without records has {named}.")


@check("STA-1", "stats follows deletes and counts past a page", requires=STATS)
async def counts_follow_changes(h: Harness) -> None:
    """Count more records than a page of list holds, delete some and count again."""
    ids = await crowd(h, [{"content": h.marker(), "tags": [h.own("t")]} for _ in range(53)])
    _hold(h, await h.memory.stats(h.user), total=53, current=53, tags={h.own("t"): 53})
    for each in ids[:3]:
        await h.memory.delete(each, user_id=h.user)
    _hold(h, await h.memory.stats(h.user), total=50, current=50, tags={h.own("t"): 50})


@check("STA-2", "stats counts what a tag selects", requires=STATS)
async def counts_a_tag(h: Harness) -> None:
    """Count by a tag that some have, and by one that others begin with."""
    x = h.marker()
    items: list[dict[str, Any]] = [{"tags": [x, h.own("y")], "kind": "fact"}, {"tags": [x]}, {"tags": [x + "b"]}, {}]
    await h.seed([{"content": h.marker(), **item} for item in items])
    _hold(h, await h.memory.stats(h.user, tag=x), total=2, current=2, tags={x: 2, h.own("y"): 1}, kinds={"fact": 1})
    _hold(h, await h.memory.stats(h.user, tag=h.own("none")), total=0, current=0, tags={}, kinds={})


@check("STA-2", "stats counts what a scope selects", requires=(*STATS, "scopes"))
async def counts_a_scope(h: Harness) -> None:
    """Count in a scope with what is below it, and in what is below alone."""
    places = ("a", "a/b", "a/b", "ab", "A")
    await h.seed([{"content": h.marker(), "scope": h.scope(place), "tags": [h.own(place)]} for place in places])
    await h.seed([{"content": h.marker(), "scope": h.scope("a")}], user_id=h.other)
    below = {h.scope("a/b"): 2}
    _hold(h, await h.memory.stats(h.user, scope=h.scope("a")), total=3, scopes=below | {h.scope("a"): 1})
    _hold(h, await h.memory.stats(h.user, scope=h.scope("a/*")), total=2, scopes=below, tags={h.own("a/b"): 2})


@check("STA-2", "stats counts what a session selects", requires=(*STATS, "supports_sessions"))
async def counts_a_session(h: Harness) -> None:
    """Count one conversation beside others and none."""
    x, y = h.marker(), h.marker()
    of: list[dict[str, Any]] = [{"session": x, "tags": [h.own("t")]}, {"session": x}, {"session": y}, {}]
    await h.seed([{"content": h.marker(), **item} for item in of])
    await h.seed([{"content": h.marker(), "session": x}], user_id=h.other)
    _hold(h, await h.memory.stats(h.user, session=x), total=2, current=2, tags={h.own("t"): 1})
    _hold(h, await h.memory.stats(h.user, session=h.marker()), total=0, current=0, tags={})


@check("STA-2", "stats counts what a filter selects, in every state", requires=(*STATS, "filters", "temporal"))
async def counts_a_filter(h: Harness) -> None:
    """Count by kind among memories that are current, over and to come."""
    now = h.now()
    items: list[dict[str, Any]] = [{}, {"valid_to": now - DAY}, {"valid_from": now + DAY}, {"tags": [h.own("t")]}]
    for kind in ("fact", "event"):
        await h.seed([{"content": h.marker(), "kind": kind, **item} for item in items])
    facts: dict[str, Any] = {
        "total": 4,
        "current": 2,
        "expired": 1,
        "upcoming": 1,
        "kinds": {"fact": 4},
        "tags": {h.own("t"): 1},
    }
    _hold(h, await h.memory.stats(h.user, filter={"kind": "fact"}), **facts)
    _hold(h, await h.memory.stats(h.user, filter={"kind": {"ne": "event"}}), **facts)
    both = await h.memory.stats(h.user, filter={"kind": "fact"}, tag=h.own("t"))
    _hold(h, both, total=1, current=1, expired=0, kinds={"fact": 1})
    await h.refused(h.memory.stats(h.user, filter={"kind": {"like": "f"}}), InvalidRequestError)


@check("STA-2", "stats counts between since and until, both inclusive", requires=(*STATS, "temporal"))
async def counts_a_span(h: Harness) -> None:
    """Count from the second of four memories to the third."""
    records = await h.seed([{"content": h.marker()} for _ in range(4)])
    first, last = records[1].created_at, records[2].created_at
    _hold(h, await h.memory.stats(h.user, since=first, until=last), total=2, current=2)
    _hold(h, await h.memory.stats(h.user, since=first), total=3)
    _hold(h, await h.memory.stats(h.user, until=first), total=2)
