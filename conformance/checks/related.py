"""Related: the nearest of the same user, without the record itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from openmem.errors import InvalidRequestError, NotFoundError

from ..check import check
from ..harness import Harness
from ._shared import declared

RELATED = ("related",)


@check("REL-1", "related gives the nearest first, without the record itself", requires=RELATED)
async def nearest_without_itself(h: Harness) -> None:
    """Ask for what is related to a text of which others share ever less."""
    words = ["garden", "violin", "harbour", "lantern", "saddle", "copper"]
    tail = ["cactus", "pencil", "window", "thunder"]
    shares = (2, 6, 4)
    start = await h.add(h.signed(" ".join(words)))
    records = await h.seed([{"content": h.signed(" ".join([*words[:n], *tail[: 6 - n]]))} for n in shares])
    expected = [records[1].id, records[2].id, records[0].id]
    results = await h.memory.related(start.id, user_id=h.user)
    h.expect(h.ids(results), expected, among=[start.id, *expected], what="related", ordered=True)
    scores = [result.score for result in results]
    h.require(scores == sorted(scores, reverse=True), f"scores are not best first: {scores}")
    h.require(all(0 <= score <= 1 for score in scores), f"scores are {scores}.")


@check("REL-1", "related never answers another user's records", requires=RELATED)
async def same_user_only(h: Harness) -> None:
    """Ask where another user has the very same texts."""
    word = h.marker()
    theirs = await h.seed([{"content": f"{word} again"} for _ in range(12)], user_id=h.other)
    start = await h.add(f"{word} again")
    mine = await h.seed([{"content": f"{word} {h.marker()}"} for _ in range(2)])
    for user in (h.user, None):
        results = await h.memory.related(start.id, user_id=user)
        among = h.ids([*theirs, *mine, start])
        h.expect(h.ids(results), h.ids(mine), among=among, what="related")


@check("REL-1", "leaving out the record itself costs no result", requires=RELATED)
async def limit_is_filled(h: Harness) -> None:
    """Ask with limits below, at and above the number of equal texts."""
    text = f"{h.marker()} again"
    ids = h.ids(await h.seed([{"content": text} for _ in range(5)]))
    for start in (ids[0], ids[2], ids[4]):
        for limit in (1, 3, 4, 100):
            found = h.ids(await h.memory.related(start, user_id=h.user, limit=limit))
            h.require(start not in found, "the record is related to itself.")
            h.require(set(found) <= set(ids), f"related answered {found}.")
            h.require(len(found) == min(limit, 4), f"with a limit of {limit} came {len(found)} of 4.")


@check("REL-1", "a scope and a least score bind related", requires=(*RELATED, "scopes"))
async def related_in_a_scope(h: Harness) -> None:
    """Ask within a scope the record is not in, and from the score of the second."""
    word = h.marker()
    start = await h.add(f"{word} start", scope=h.scope("elsewhere"))
    contents = (("in", word), ("in/deep", f"{word} {h.marker()} {h.marker()} {h.marker()}"), ("into", f"{word} start"))
    ids = h.ids(await h.seed([{"content": text, "scope": h.scope(path)} for path, text in contents]))
    results = await h.memory.related(start.id, user_id=h.user, scope=h.scope("in"))
    h.expect(h.ids(results), ids[:2], among=[start.id, *ids], what="related in a scope")
    best = await h.memory.related(start.id, user_id=h.user, min_score=results[0].score)
    least = min(result.score for result in best)
    h.require(least >= results[0].score, f"related from {results[0].score} answered a score of {least}.")


@check("REL-1", "related asks about any state and answers what is current", requires=(*RELATED, "temporal"))
async def related_and_states(h: Harness) -> None:
    """Ask about a record that has ended; what else has ended is not answered."""
    word, past = h.marker(), h.now() - timedelta(days=1)
    fields: list[dict[str, Any]] = [{"valid_to": past}, {"valid_to": past}, {}, {"archived": True}]
    seeds = fields if "supports_archive" in declared(h) else fields[:3]
    ids = h.ids(await h.seed([{"content": f"{word} again", **each} for each in seeds]))
    results = await h.memory.related(ids[0], user_id=h.user)
    h.expect(h.ids(results), ids[2:3], among=ids, what="related to what has ended")


@check("REL-1", "related to an unknown or foreign record is not_found", requires=RELATED)
async def related_to_nothing(h: Harness) -> None:
    """Ask about an id that never was, a deleted and a foreign one, and with bad limits."""
    theirs = await h.add(h.marker(), user_id=h.other)
    gone = await h.add(h.marker())
    await h.memory.delete(gone.id, user_id=h.user)
    for unknown in (h.unknown(), gone.id, theirs.id):
        await h.refused(h.memory.related(unknown, user_id=h.user), NotFoundError)
    for limit in (0, 101):
        await h.refused(h.memory.related(theirs.id, user_id=h.other, limit=limit), InvalidRequestError)
