"""Erasure: what is named is gone in every state with all that was kept of it, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from openmem.errors import ConflictError, InvalidRequestError, NotFoundError, UnsupportedCapabilityError
from openmem.types import MemoryRecord

from ..check import check
from ..filter_table import supported
from ..harness import Harness
from ._shared import crowd, declared, found, most_listed

ERASE = ("erase",)
CHAIN = ("supports_chain_delete", "supports_supersession")
DAY = timedelta(days=1)


async def _listed(h: Harness, user_id: str | None = None) -> list[str]:
    """List a user's records of every state."""
    states: dict[str, Any] = {}
    if "temporal" in declared(h):
        states["include"] = ["superseded", "expired", "upcoming", "archived"]
    return await h.all_ids(user_id, **{"limit": most_listed(h), **states})


async def _of_every_state(h: Harness, tag: str, user_id: str | None = None) -> list[MemoryRecord]:
    """Store a record of each state that the provider has, all with a tag."""
    kinds: list[dict[str, Any]] = [
        {"archived": True},
        {"valid_to": h.now() - DAY},
        {"valid_from": h.now() + DAY},
        {"kind": "preference"},
    ]
    records = [await _add(h, supported(each, declared(h)), tag, user_id) for each in kinds]
    if "supports_supersession" in declared(h):
        records.append(await _add(h, {"supersedes": [records[-1].id]}, tag, user_id))
    return records


async def _add(h: Harness, fields: dict[str, Any], tag: str, user_id: str | None) -> MemoryRecord:
    return await h.add(h.marker(), user_id=user_id or h.user, tags=[tag], **fields)


async def _is_gone(h: Harness, records: Sequence[MemoryRecord], stays: Sequence[MemoryRecord]) -> None:
    left = await _listed(h)
    h.expect(
        left, [each.id for each in stays], among=h.ids([*records, *stays]), what="list after erase", none_expected=True
    )
    for record in records:
        await h.refused(h.memory.get(record.id, user_id=h.user), NotFoundError)


@check("ERA-1", "all of a user's records go, of every state, and no other user's", requires=ERASE)
async def erases_a_user(h: Harness) -> None:
    """Erase all of one of two users with like records."""
    tag = h.own("tag")
    mine, theirs = await _of_every_state(h, tag), await _of_every_state(h, tag, h.other)
    before = [await h.memory.get(each.id, user_id=h.other) for each in theirs]
    await h.memory.erase(h.user, all=True, dry_run=False)
    await _is_gone(h, mine, [])
    for record in before:
        h.require(await h.memory.get(record.id, user_id=h.other) == record, "another user's record changed")


@check("ERA-1", "a selection goes, of every state, and what it does not name stays", requires=ERASE)
async def erases_a_selection(h: Harness) -> None:
    """Erase by tag, beside records of another tag and of none."""
    tag = h.own("tag")
    mine = await _of_every_state(h, tag)
    stays = [*await _of_every_state(h, h.own("other")), *await h.seed([{"content": h.marker()}])]
    await h.memory.erase(h.user, tag=tag, dry_run=False)
    await _is_gone(h, mine, stays)


@check(
    "ERA-1", "scope, filter, since and until bind an erase together", requires=(*ERASE, "scopes", "filters", "temporal")
)
async def erases_by_all_selectors(h: Harness) -> None:
    """Erase what meets four conditions, beside records that meet three."""
    scope, tag = h.scope("a"), h.own("tag")
    fields: dict[str, Any] = {"content": h.marker(), "scope": f"{scope}/b", "tags": [tag], "kind": "event"}
    early = await h.add(**fields)
    good = await h.add(**fields)
    others = [await h.add(**{**fields, **each}) for each in ({"scope": f"{scope}b"}, {"kind": "fact"}, {"tags": None})]
    late = await h.add(**fields)
    selection = {"since": good.created_at, "until": others[-1].created_at, "scope": scope}
    await h.memory.erase(h.user, tag=tag, filter={"kind": "event"}, **selection, dry_run=False)
    await _is_gone(h, [good], [early, *others, late])


@check("ERA-1", "what was superseded is freed, and a successor forgets it", requires=(*ERASE, "supports_supersession"))
async def erases_links(h: Harness) -> None:
    """Erase the middle of a chain."""
    tag = h.own("tag")
    first = await h.add(h.marker())
    middle = await h.add(h.marker(), supersedes=[first.id], tags=[tag])
    last = await h.add(h.marker(), supersedes=[middle.id])
    await h.memory.erase(h.user, tag=tag, dry_run=False)
    h.require((await h.memory.get(first.id)).superseded_by is None, "what was superseded is not freed")
    h.require(not (await h.memory.get(last.id)).supersedes, "the successor still names what was erased")


@check(
    "ERA-1",
    "what is selected by its links goes, though the erase itself frees them",
    requires=(*ERASE, "filters", "supports_supersession"),
)
async def erases_by_links(h: Harness) -> None:
    """Erase chains by what their records supersede, and by what supersedes them."""
    stays: list[MemoryRecord] = []
    for field, place in (("supersedes", 0), ("superseded_by", 2)):
        chain = [await h.add(h.marker())]
        for _ in range(2):
            chain.append(await h.add(h.marker(), supersedes=[chain[-1].id]))
        stays.append(chain.pop(place))
        selection = {"filter": {field: {"exists": True}}}
        for how in ({"dry_run": True}, {"dry_run": False}):
            answer = await h.memory.erase(h.user, **selection, **how)
            h.require(answer.count == 2, f"erase by {field} with {how} counts {answer.count}, not 2")
        await _is_gone(h, chain, stays)


@check("ERA-1", "an external id is free again", requires=(*ERASE, "supports_external_id"))
async def erases_external_ids(h: Harness) -> None:
    """Erase a record and add its external id again."""
    key = h.own("key")
    [gone] = await h.seed([{"content": h.marker(), "external_id": key}])
    await h.memory.erase(h.user, all=True, dry_run=False)
    [anew] = await h.seed([{"content": h.marker(), "external_id": key}])
    h.require(anew.id != gone.id and anew.version == 1, f"the external id is still {gone.id}'s")


@check("ERA-1", "what is erased is found no more, and what is added later is", requires=ERASE)
async def erases_from_search(h: Harness) -> None:
    """Search for what was erased, and for what came after it."""
    word, tag = h.marker(), h.own("tag")
    gone, stays = await h.seed([{"content": f"{word} goes", "tags": [tag]}, {"content": f"{word} stays"}])
    await h.memory.erase(h.user, tag=tag, dry_run=False)
    h.expect(await found(h, word), [stays.id], among=[gone.id, stays.id], what="search after erase")
    (anew,) = await h.seed([{"content": f"{word} comes"}])
    ids = [gone.id, stays.id, anew.id]
    h.expect(await found(h, word), ids[1:], among=ids, what="search after erase and add")


@check("ERA-2", "without a selector nothing is erased, nor with one beside all", requires=ERASE)
async def refuses_to_guess(h: Harness) -> None:
    """Erase by nothing, by both, and the log without all."""
    tag = h.own("tag")
    record = await h.add(h.marker(), tags=[tag])
    calls: list[dict[str, Any]] = [{}, {"all": True, "tag": tag}, {"tag": tag, "audit": True}]
    if "filters" in declared(h):
        calls += [{"filter": {}}, {"all": True, "filter": {"tags": {"contains": tag}}}]
    for selection in calls:
        for dry_run in (False, True):
            error = await h.refused(h.memory.erase(h.user, **selection, dry_run=dry_run), InvalidRequestError)
            h.require(error.written == "nothing", f"a refused erase has written {error.written}")
    h.require(await _listed(h) == [record.id], "a refused erase erased")


@check("ERA-3", "a dry run counts and erases nothing, and is what erase does unless told otherwise", requires=ERASE)
async def tries_only(h: Harness) -> None:
    """Try to erase by a selection and by all."""
    tag = h.own("tag")
    mine, other = await _of_every_state(h, tag), await h.add(h.marker())
    for selection, count in (({"tag": tag}, len(mine)), ({"all": True}, len(mine) + 1)):
        for how in ({}, {"dry_run": True}):
            tried = await h.memory.erase(h.user, **selection, **how)
            h.require(tried.dry_run, "a dry run does not say that it is one")
            h.require(tried.count == count, f"a dry run over {selection} counts {tried.count}, not {count}")
    h.require(set(await _listed(h)) == {*h.ids(mine), other.id}, "a dry run erased")


@check("ERA-4", "the log has one entry for each record erased, without its content", requires=(*ERASE, "audit"))
async def keeps_the_log(h: Harness) -> None:
    """Erase two of three records and read the log."""
    tag, word = h.own("tag"), h.marker()
    gone = [await h.add(f"{word} {name}", tags=[tag]) for name in "ab"]
    await h.add(f"{word} c")
    await h.memory.erase(h.user, tag=tag, dry_run=False)
    entries = [each for each in await h.memory.audit(h.user, limit=1000) if each.action == "erase"]
    logged = sorted(str(each.memory_id) for each in entries if each.memory_id in h.ids(gone))
    h.require(logged == sorted(h.ids(gone)), f"the log names {logged} as erased, not {sorted(h.ids(gone))}")
    h.require(len(entries) == len(gone), f"{len(gone)} erased records have {len(entries)} entries")
    h.require(not any(word in each.model_dump_json() for each in entries), "the log holds what was erased")


@check("ERA-4", "with audit the user's log goes too, and no other user's", requires=(*ERASE, "audit"))
async def erases_the_log(h: Harness) -> None:
    """Erase all of a user with the log, beside another user."""
    await h.seed([{"content": h.marker()}])
    [theirs] = await h.seed([{"content": h.marker()}], user_id=h.other)
    if "erase" in (h.capabilities.emulated or ()):  # which has no way to the log
        erasing = h.memory.erase(h.user, all=True, audit=True, dry_run=False)
        await h.refused(erasing, UnsupportedCapabilityError)
        return
    await h.memory.erase(h.user, all=True, audit=True, dry_run=False)
    entries = await h.memory.audit(h.user, limit=1000)
    h.require(all(each.action == "audit" for each in entries), f"the log still holds {entries}")
    log = await h.memory.audit(h.other, limit=1000)
    h.require(any(each.memory_id == theirs.id for each in log), "another user's log is gone")


@check("ERA-5", "the count is of what was erased, also of many, and unreached is said", requires=ERASE)
async def counts(h: Harness) -> None:
    """Erase every third of many records, then the rest, then nothing."""
    tag, few = h.own("tag"), "add_many" in (h.capabilities.emulated or ("add_many",))
    total = 30 if few else 600
    await crowd(h, [{"content": h.marker(), **({} if place % 3 else {"tags": [tag]})} for place in range(total)])
    for selection, count in (({"tag": tag}, total // 3), ({"all": True}, total - total // 3), ({"all": True}, 0)):
        erased = await h.memory.erase(h.user, **selection, dry_run=False)
        h.require(not erased.dry_run, "an erase says that it was a dry run")
        h.require(erased.count == count, f"erase counts {erased.count}, not {count}")
        h.require(erased.unreached and all(map(str.strip, erased.unreached)), "erase does not say what it cannot reach")
    h.require(await _listed(h) == [], "something is left")


@check("DEL-5", "a whole chain is deleted from any of its members", requires=CHAIN)
async def deletes_a_chain(h: Harness) -> None:
    """Delete chains by their oldest, a middle and their newest record."""
    stays, theirs = await h.add(h.marker()), await h.add(h.marker(), user_id=h.other)
    for place in range(4):
        one, two = await h.add(h.marker()), await h.add(h.marker())
        both = await h.add(h.marker(), supersedes=[one.id, two.id])
        chain = [one, two, both, await h.add(h.marker(), supersedes=[both.id])]
        await h.memory.delete(chain[place].id, user_id=h.user, chain=True)
        await _is_gone(h, chain, [stays])
    h.require((await h.memory.get(theirs.id)).id == theirs.id, "another user's record is gone")


@check("DEL-5", "the version and the owner are those of the record named", requires=(*CHAIN, "supports_if_version"))
async def holds_a_chain_to_the_version(h: Harness) -> None:
    """Delete a chain with a wrong version, as another user, and with the right version."""
    old = await h.add(h.marker())
    new = await h.add(h.marker(), supersedes=[old.id])
    wrong = (new.version or 1) + 1
    await h.refused(h.memory.delete(new.id, user_id=h.user, chain=True, if_version=wrong), ConflictError)
    await h.refused(h.memory.delete(new.id, user_id=h.other, chain=True), NotFoundError)
    h.require(set(await _listed(h)) == {old.id, new.id}, "a refused delete deleted")
    await h.memory.delete(new.id, user_id=h.user, chain=True, if_version=new.version)
    await _is_gone(h, [old, new], [])
