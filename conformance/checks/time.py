"""Time: moments, validity, states, and reads of the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from itertools import combinations
from typing import Any

from openmem.errors import InvalidRequestError
from openmem.types import MemoryRecord

from ..check import check
from ..harness import Harness
from ._shared import declared, modes, reads

TEMPORAL = ("temporal",)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
IST = timezone(timedelta(hours=5, minutes=30))
NAIVE = datetime(2026, 1, 31, 12)

Named = Mapping[str, MemoryRecord]


async def _seed(h: Harness, word: str, fields: Mapping[str, Mapping[str, Any]]) -> dict[str, MemoryRecord]:
    records = await h.seed([{"content": f"{word} {name}", **each} for name, each in fields.items()])
    return dict(zip(fields, records, strict=True))


async def _reads(h: Harness, word: str, stored: Named, expected: Sequence[str], what: str, **selection: Any) -> None:
    await reads(
        h,
        word,
        stored.values(),
        [stored[name] for name in expected],
        what,
        selection=selection,
        all_expected=len(expected) == len(stored),
        none_expected=not expected,
        by=modes(h),
    )


async def _seed_states(h: Harness, word: str) -> dict[str, MemoryRecord]:
    """Store a record in each state the provider knows, and one current."""
    now, features = h.now(), declared(h)
    fields: dict[str, dict[str, Any]] = {
        "current": {},
        "valid": {"valid_from": now - DAY, "valid_to": now + DAY},
        "expired": {"valid_from": now - 2 * DAY, "valid_to": now - DAY},
        "upcoming": {"valid_from": now + DAY},
    }
    if "supports_archive" in features:
        fields["archived"] = {"archived": True}
    if "supports_supersession" in features:
        fields["superseded"] = {}
    stored = await _seed(h, word, fields)
    if "superseded" in stored:
        stored["successor"] = await h.add(f"{word} successor", supersedes=[stored["superseded"].id])
    return stored


def _in_reads(stored: Named, *states: str) -> list[str]:
    current = ("current", "valid", "successor")
    return [name for name in stored if name in current or name in states]


@check("TIM-1", "moments are answered in UTC, to the microsecond", requires=TEMPORAL)
async def moments_are_utc_and_exact(h: Harness) -> None:
    """Store moments of other time zones with microseconds and read them back."""
    begins = datetime(2020, 1, 2, 3, 4, 5, 678_901, tzinfo=IST)
    ends = datetime(2999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(-timedelta(hours=11)))
    added = await h.add(h.marker(), valid_from=begins, valid_to=ends)
    page = await h.memory.list(h.user)
    for record in (added, await h.memory.get(added.id), *page.items):
        h.require(record.valid_from == begins and record.valid_to == ends, f"moments came back changed: {record}")
        moments = [record.created_at, record.updated_at, record.valid_from, record.valid_to]
        far = [each for each in moments if each is None or each.utcoffset() != timedelta(0)]
        h.require(not far, f"a moment is not in UTC: {far}")


@check("TIM-1", "years far away come back as given", requires=TEMPORAL)
async def far_years(h: Harness) -> None:
    """Store validity from the year 2 to the year 9998, and before 1970."""
    for begins, ends in ((2, 9998), (1900, 1969), (1969, 1970)):
        valid_from, valid_to = datetime(begins, 1, 1, tzinfo=UTC), datetime(ends, 12, 31, 1, 2, 3, 4, tzinfo=UTC)
        added = await h.add(h.marker(), valid_from=valid_from, valid_to=valid_to)
        record = await h.memory.get(added.id)
        h.require((record.valid_from, record.valid_to) == (valid_from, valid_to), f"moments changed: {record}")


@check("TIM-1", "a naive moment is refused", requires=TEMPORAL)
async def naive_moments_are_refused(h: Harness) -> None:
    """Give a moment without a time zone wherever one is taken; an aware one has its effect."""
    ended = await h.add(h.marker(), valid_to=h.now() - DAY)
    h.require(await h.all_ids(include=["expired"]) == [ended.id], "the record is not stored.")
    for field in ("valid_from", "valid_to"):
        await h.refused(h.memory.add(h.marker(), h.user, **{field: NAIVE}), InvalidRequestError)
    for field in ("since", "until", "as_of"):
        await h.refused(h.memory.list(h.user, **{field: NAIVE}), InvalidRequestError)
        await h.refused(h.memory.search(h.marker(), h.user, **{field: NAIVE}), InvalidRequestError)
    h.require(not await h.all_ids(), "a refused add stored a record.")


@check("TIM-2", "reads see what is current", requires=TEMPORAL)
async def reads_see_what_is_current(h: Harness) -> None:
    """List and search among records in every state."""
    word = h.marker()
    stored = await _seed_states(h, word)
    await _reads(h, word, stored, _in_reads(stored), "of what is current")


@check("TIM-2", "get sees every state", requires=TEMPORAL)
async def get_sees_everything(h: Harness) -> None:
    """Get each of the records in every state, which list does not answer."""
    stored = await _seed_states(h, h.marker())
    listed = await h.all_ids()
    read = [name for name in ("expired", "upcoming") if stored[name].id in listed]
    h.require(not read, f"list answers what is {read}.")
    for name, record in stored.items():
        read = await h.memory.get(record.id, user_id=h.user)
        h.require(read.content == record.content, f"get of the {name} record answered {read}.")


@check("TIM-2", "an update of valid_to moves a record out of reads and back", requires=("temporal", "update"))
async def validity_changes_with_update(h: Harness) -> None:
    """End a record in the past, then clear its end."""
    word = h.marker()
    stored = await _seed(h, word, {"kept": {}, "moved": {"valid_from": h.now() - 2 * DAY}})
    await h.memory.update(stored["moved"].id, user_id=h.user, valid_to=h.now() - DAY)
    await _reads(h, word, stored, ["kept"], "after the record ended")
    await h.memory.update(stored["moved"].id, user_id=h.user, valid_to=None)
    await _reads(h, word, stored, ["kept", "moved"], "after its end was cleared")


@check("TIM-2", "an archived record is read again when it is brought back", requires=("supports_archive", "update"))
async def archived_and_back(h: Harness) -> None:
    """Archive a record and bring it back."""
    word = h.marker()
    stored = await _seed(h, word, {"kept": {}, "moved": {}})
    await h.memory.update(stored["moved"].id, user_id=h.user, archived=True)
    await _reads(h, word, stored, ["kept"], "after archiving")
    await h.memory.update(stored["moved"].id, user_id=h.user, archived=False)
    await _reads(h, word, stored, ["kept", "moved"], "after bringing it back")


@check("TIM-3", "as_of reads from valid_from inclusive to valid_to exclusive", requires=TEMPORAL)
async def as_of_reads_validity(h: Harness) -> None:
    """Read one microsecond around each bound, in the past and in the future."""
    word, now = h.marker(), h.now()
    bounds = {
        "past": (now - 9 * DAY, now - 7 * DAY),
        "later": (now - 8 * DAY, None),
        "future": (now + DAY, now + 2 * DAY),
    }
    stored = await _seed(h, word, {name: {"valid_from": a, "valid_to": b} for name, (a, b) in bounds.items()})
    begins, middle, ends = now - 9 * DAY, now - 8 * DAY, now - 7 * DAY
    for moment, expected in (
        (begins - TICK, []),
        (begins, ["past"]),
        (middle - TICK, ["past"]),
        (middle, ["past", "later"]),
        (ends - TICK, ["past", "later"]),
        (ends, ["later"]),
        (now + DAY - TICK, ["later"]),
        (now + DAY, ["later", "future"]),
        (now + 2 * DAY, ["later"]),
    ):
        await _reads(h, word, stored, expected, f"as of {moment}", as_of=moment)


@check("TIM-3", "as_of gives the same in every time zone", requires=TEMPORAL)
async def as_of_in_another_zone(h: Harness) -> None:
    """Read at a bound written in another time zone."""
    word, now = h.marker(), h.now()
    stored = await _seed(h, word, {"old": {"valid_to": now - DAY}, "new": {"valid_from": now - DAY}})
    await _reads(h, word, stored, ["new"], "as of the bound", as_of=(now - DAY).astimezone(IST))


@check("TIM-3", "a record without valid_from begins at its created_at", requires=TEMPORAL)
async def begins_at_created_at(h: Harness) -> None:
    """Read as of each record's created_at and one microsecond before it."""
    word = h.marker()
    stored = await _seed(h, word, {"first": {}, "second": {}, "third": {}, "older": {"valid_from": h.now() - DAY}})
    for pivot in ("first", "second", "third"):
        moment = stored[pivot].created_at
        at = [n for n, r in stored.items() if n == "older" or r.created_at <= moment]
        before = [n for n, r in stored.items() if n == "older" or r.created_at < moment]
        await _reads(h, word, stored, at, f"as of the creation of {pivot}", as_of=moment)
        await _reads(h, word, stored, before, f"just before the creation of {pivot}", as_of=moment - TICK)


@check("TIM-3", "as_of undoes a later supersession", requires=("temporal", "supports_supersession"))
async def as_of_undoes_supersession(h: Harness) -> None:
    """Walk back through a chain of three by the moments of its links."""
    word = h.marker()
    stored = await _seed(h, word, {"a": {}, "other": {"valid_from": h.now() - DAY}})
    stored["b"] = await h.add(f"{word} b", supersedes=[stored["a"].id])
    stored["c"] = await h.add(f"{word} c", supersedes=[stored["b"].id])
    for name in ("a", "b", "c"):
        moment = stored[name].created_at
        await _reads(h, word, stored, [name, "other"], f"as of the creation of {name}", as_of=moment)
    just_before = stored["c"].created_at - TICK
    await _reads(h, word, stored, ["b", "other"], "just before the creation of c", as_of=just_before)


@check("TIM-4", "include adds each state", requires=TEMPORAL)
async def include_adds_each_state(h: Harness) -> None:
    """List and search with each state and each combination of two."""
    word = h.marker()
    stored = await _seed_states(h, word)
    states = [name for name in ("superseded", "expired", "upcoming", "archived") if name in stored]
    for wanted in [*combinations(states, 1), *combinations(states, 2), states]:
        await _reads(h, word, stored, _in_reads(stored, *wanted), f"with {wanted}", include=list(wanted))


@check("TIM-4", "a record in two states needs both", requires=("temporal", "supports_archive"))
async def two_states_need_both(h: Harness) -> None:
    """Read an expired and an upcoming record, both archived."""
    word, now = h.marker(), h.now()
    past: dict[str, Any] = {"valid_to": now - DAY, "archived": True}
    future: dict[str, Any] = {"valid_from": now + DAY, "archived": True}
    stored = await _seed(h, word, {"current": {}, "past": past, "future": future})
    for include, expected in (
        (["archived"], ["current"]),
        (["expired"], ["current"]),
        (["expired", "upcoming"], ["current"]),
        (["expired", "archived"], ["current", "past"]),
        (["upcoming", "archived"], ["current", "future"]),
        (["upcoming", "archived", "expired"], ["current", "past", "future"]),
    ):
        await _reads(h, word, stored, expected, f"with {include}", include=include)


@check("TIM-4", "include takes states as they are at as_of", requires=TEMPORAL)
async def include_with_as_of(h: Harness) -> None:
    """Read at a past moment with what was expired or upcoming then."""
    word, now = h.marker(), h.now()
    stored = await _seed(
        h,
        word,
        {
            "gone": {"valid_from": now - 9 * DAY, "valid_to": now - 8 * DAY},
            "then": {"valid_from": now - 6 * DAY, "valid_to": now - 4 * DAY},
            "to come": {"valid_from": now - 2 * DAY},
        },
    )
    then = now - 5 * DAY
    await _reads(h, word, stored, ["then"], "then", as_of=then)
    await _reads(h, word, stored, ["gone", "then"], "then with expired", as_of=then, include=["expired"])
    await _reads(h, word, stored, ["then", "to come"], "then with upcoming", as_of=then, include=["upcoming"])


@check("TIM-4", "an unknown state is refused", requires=TEMPORAL)
async def unknown_state_is_refused(h: Harness) -> None:
    """Include states that do not exist, and one that does."""
    word = h.marker()
    stored = await _seed(h, word, {"current": {}, "ended": {"valid_to": h.now() - DAY}})
    await _reads(h, word, stored, ["current"], "without include")
    await _reads(h, word, stored, ["current", "ended"], "with expired", include=["expired"])
    for include in (["deleted"], ["archived", "all"], ["Archived"], ["*"]):
        await h.refused(h.memory.list(h.user, include=include), InvalidRequestError)
        await h.refused(h.memory.search(h.marker(), h.user, include=include), InvalidRequestError)


@check("TIM-5", "since and until bound created_at, both inclusive", requires=TEMPORAL)
async def since_and_until_are_inclusive(h: Harness) -> None:
    """Bound at each record's created_at and one microsecond beside it."""
    word = h.marker()
    stored = await _seed(h, word, {name: {} for name in ("a", "b", "c", "d")})
    moments = {name: record.created_at for name, record in stored.items()}
    for pivot in ("b", "c"):
        at = moments[pivot]
        since = [name for name in stored if moments[name] >= at]
        until = [name for name in stored if moments[name] <= at]
        await _reads(h, word, stored, since, f"since {pivot}", since=at)
        await _reads(h, word, stored, until, f"until {pivot}", until=at.astimezone(IST))
        both = [name for name in stored if moments[name] == at]
        await _reads(h, word, stored, both, f"since and until {pivot}", since=at, until=at)
        after = [name for name in stored if moments[name] > at]
        await _reads(h, word, stored, after, f"after {pivot}", since=at + TICK)
        before = [name for name in stored if moments[name] < at]
        await _reads(h, word, stored, before, f"before {pivot}", until=at - TICK)


@check("TIM-5", "since and until look at created_at and at nothing else", requires=("temporal", "update"))
async def bounds_are_of_created_at(h: Harness) -> None:
    """Bound among records whose validity or last change lies elsewhere."""
    word, now = h.marker(), h.now()
    stored = await _seed(h, word, {"old": {"valid_from": now - 9 * DAY}, "changed": {}, "last": {}})
    await h.memory.update(stored["changed"].id, user_id=h.user, kind="fact")
    last = stored["last"].created_at
    expected = [name for name, record in stored.items() if record.created_at >= last]
    await _reads(h, word, stored, expected, "since the last", since=last)
    await _reads(h, word, stored, list(stored), "since yesterday", since=now - DAY)
    await _reads(h, word, stored, [], "until yesterday", until=now - DAY)


@check("TIM-6", "an add whose valid_to is not after valid_from is refused", requires=TEMPORAL)
async def add_of_an_empty_validity(h: Harness) -> None:
    """Give an equal and an earlier end, also across time zones; the shortest validity is taken."""
    begins = h.now() - DAY
    for ends in (begins, begins.astimezone(IST), begins - TICK, begins - 400 * DAY):
        await h.refused(h.memory.add(h.marker(), h.user, valid_from=begins, valid_to=ends), InvalidRequestError)
    every = ["superseded", "expired", "upcoming", "archived"]
    h.require(not await h.all_ids(include=every), "a refused add stored a record.")
    shortest = await h.add(h.marker(), valid_from=begins, valid_to=begins + TICK)
    h.require(await h.all_ids(as_of=begins) == [shortest.id], "the record is not read within its validity.")
    h.require(not await h.all_ids(), "the record is read after its validity.")


@check("TIM-6", "an update cannot end a record before it begins", requires=("temporal", "update"))
async def update_to_an_empty_validity(h: Harness) -> None:
    """Update valid_to to the beginning and before it, and read the record unchanged."""
    begins = h.now() - DAY
    added = await h.add(h.marker(), valid_from=begins, valid_to=begins + 9 * DAY)
    before = await h.memory.get(added.id)
    for ends in (begins, begins - TICK):
        await h.refused(h.memory.update(added.id, user_id=h.user, valid_to=ends), InvalidRequestError)
    h.require(await h.memory.get(added.id) == before, "a refused update changed the record.")
