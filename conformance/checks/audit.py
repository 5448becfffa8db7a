"""Audit: who did what, most recent first, kept beyond the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import wraps
from typing import Any

from openmem.errors import ConflictError, NotFoundError
from openmem.types import AuditEntry

from ..check import Run, check
from ..harness import Harness
from ..verdicts import Inconclusive

AUDIT = ("audit", "supports_audit")


def _over_a_log(clause: str, title: str, *, requires: Sequence[str]) -> Callable[[Run], Run]:
    """Register a check that sees nothing of a former run of its seed, whose entries nobody can take out."""

    def register(run: Run) -> Run:
        @wraps(run)
        async def afresh(h: Harness) -> None:
            for user in (h.user, h.other):
                h.former |= {entry.request_id for entry in await _log(h, user)}
            await run(h)

        check(clause, title, requires=requires)(afresh)
        return run

    return register


async def _log(h: Harness, user_id: str | None = None, **fields: Any) -> list[AuditEntry]:
    """Read the log without the reading of the log, and without what was there before the check."""
    entries = await h.memory.audit(user_id or h.user, **{"limit": 1000, **fields})
    return [entry for entry in entries if entry.action != "audit" and entry.request_id not in h.former]


async def _last(h: Harness) -> AuditEntry:
    """Read the most recent entry."""
    entries = await _log(h)
    h.require(entries, "the log is empty.")
    return entries[0]


def _about(entries: Sequence[AuditEntry], memory_id: str) -> list[str | None]:
    """List the actions on one record, oldest first."""
    return [entry.action for entry in reversed(entries) if entry.memory_id == memory_id]


def _calls(entries: Sequence[AuditEntry]) -> list[str | None]:
    """List the actions, oldest first, one a request id."""
    return list({entry.request_id: entry.action for entry in reversed(entries)}.values())


async def _use_by_id(h: Harness, memory_id: str) -> list[str]:
    """Use every verb over one id that the provider has; return their names."""
    verbs = h.capabilities.verbs
    used = ["get"]
    await h.memory.get(memory_id, user_id=h.user)
    if "update" in verbs:
        await h.memory.update(memory_id, user_id=h.user, kind="changed")
        used.append("update")
    for verb in ("history", "related"):
        if verb in verbs:
            await getattr(h.memory, verb)(memory_id, user_id=h.user)
            used.append(verb)
    await h.memory.delete(memory_id, user_id=h.user)
    return [*used, "delete"]


@_over_a_log("AUD-1", "each verb over a record leaves an entry with its id", requires=AUDIT)
async def verbs_over_a_record(h: Harness) -> None:
    """Use every such verb on one record and read the log."""
    record = await h.memory.add(h.marker(), h.user)
    used = ["add", *await _use_by_id(h, record.id)]
    actions = _about(await _log(h), record.id)
    h.require(actions == used, f"the log has {actions}, not {used}.")


@_over_a_log("AUD-1", "an update that changes nothing leaves an entry", requires=(*AUDIT, "update"))
async def update_of_nothing(h: Harness) -> None:
    """Update a record without giving anything."""
    record = await h.memory.add(h.marker(), h.user)
    await h.memory.update(record.id, user_id=h.user)
    actions = _about(await _log(h), record.id)
    h.require(actions == ["add", "update"], f"the log has {actions}, not add and update.")


@_over_a_log("AUD-1", "each verb over a user leaves an entry with its scope", requires=(*AUDIT, "scopes"))
async def verbs_over_a_user(h: Harness) -> None:
    """List, search and ask for context in scopes of their own, and for stats."""
    for verb, query in (("list", {}), ("search", {"query": h.marker()})):
        await getattr(h.memory, verb)(user_id=h.user, scope=h.scope(verb), **query)
        entry = await _last(h)
        h.require((entry.action, entry.scope) == (verb, h.scope(verb)), f"after {verb} the last entry is {entry}")
    for verb, query in (("context", {"query": h.marker()}), ("stats", {}), ("scopes", {})):
        if verb in h.capabilities.verbs:
            scope = {"under" if verb == "scopes" else "scope": h.scope(verb)}
            await getattr(h.memory, verb)(user_id=h.user, **query, **scope)
            entry = await _last(h)
            h.require((entry.action, entry.scope) == (verb, h.scope(verb)), f"after {verb} the last entry is {entry}")
    if "stats" in h.capabilities.verbs:
        await h.memory.stats(h.user)
        entry = await _last(h)
        h.require((entry.action, entry.scope) == ("stats", None), f"after stats the last entry is {entry}")


@_over_a_log("AUD-1", "a call leaves one entry, however many requests it is made of", requires=AUDIT)
async def one_entry_a_call(h: Harness) -> None:
    """Use the verbs that may be made of others, and count the entries by request id."""
    record = await h.memory.add(h.marker(), h.user)
    used = [verb for verb in ("context", "related", "history", "stats", "scopes") if verb in h.capabilities.verbs]
    for verb in used:
        over = {"user_id": h.user}
        about = {"context": {"query": h.marker(), **over}, "stats": over, "scopes": over}
        await getattr(h.memory, verb)(**about.get(verb, {"id": record.id, **over}))
    actions = [entry.action for entry in reversed(await _log(h))]
    h.require(actions == ["add", *used], f"the log has {actions}, not {['add', *used]}.")


@_over_a_log("AUD-1", "an entry of a record carries the record's scope", requires=(*AUDIT, "scopes"))
async def scope_of_the_record(h: Harness) -> None:
    """Add to a scope and get, and read both entries."""
    record = await h.memory.add(h.marker(), h.user, scope=h.scope("kept"))
    await h.memory.get(record.id)
    entries = [entry for entry in await _log(h) if entry.memory_id == record.id]
    h.require(len(entries) >= 2, f"an add and a get left {entries}")
    h.require({entry.scope for entry in entries} == {h.scope("kept")}, f"the scopes are {entries}")


@_over_a_log("AUD-1", "each call has a request id and a time of its own, most recent first", requires=AUDIT)
async def order_times_and_request_ids(h: Harness) -> None:
    """Make eight calls and read the log whole and in part."""
    ids = [(await h.memory.add(h.marker(), h.user)).id for _ in range(4)]
    for each in ids:
        await h.memory.get(each, user_id=h.user)
    entries = await _log(h)
    h.require(_calls(entries)[:4] == ["add"] * 4, f"the log has the calls {_calls(entries)}.")
    h.require(len(_calls(entries)) == 8, f"eight calls have {len(_calls(entries))} request ids.")
    h.require(all(entry.request_id for entry in entries), f"an entry has no request id: {entries}")
    times = [entry.timestamp for entry in entries if entry.timestamp and entry.timestamp.utcoffset() == timedelta(0)]
    h.require(len(times) == len(entries), f"an entry has no time in UTC: {entries}")
    h.require(times == sorted(times, reverse=True), f"the log is not most recent first: {times}")
    named = [entry.memory_id for entry in entries]
    h.require(named == [*reversed(ids), *reversed(ids)], f"the log is not most recent first: {named}")
    h.require(await _log(h, limit=3) == entries[:3], "a limit of 3 does not give the 3 most recent.")


@_over_a_log(
    "AUD-1",
    "a batch leaves an entry for each record, under one request id",
    requires=(*AUDIT, "add_many"),
)
async def entries_of_a_batch(h: Harness) -> None:
    """Add three records and a bad item at once, and delete two of them at once."""
    items = [{"content": h.marker()}, {"content": h.marker()}, {"content": " "}, {"content": h.marker()}]
    ids = [result.id for result in await h.memory.add_many(items, user_id=h.user) if result.id]
    entries = [entry for entry in await _log(h) if entry.action == "add_many"]
    h.expect([e.memory_id or "" for e in entries], ids, among=ids, what="entries of add_many", all_expected=True)
    h.require(len({entry.request_id for entry in entries}) == 1, f"one call has several request ids: {entries}")
    if "delete_many" in h.capabilities.verbs:
        await h.memory.delete_many(ids[:2], user_id=h.user)
        deleted = [entry.memory_id or "" for entry in await _log(h) if entry.action == "delete_many"]
        h.expect(deleted, ids[:2], among=ids, what="entries of delete_many")


@_over_a_log("AUD-2", "a change is in the log as soon as it is answered", requires=AUDIT)
async def changes_are_logged_at_once(h: Harness) -> None:
    """Read the log after each change."""
    record = await h.memory.add(h.marker(), h.user)
    h.require(_about(await _log(h), record.id)[-1:] == ["add"], "the add is not in the log.")
    if "update" in h.capabilities.verbs:
        await h.memory.update(record.id, user_id=h.user, kind="changed")
        h.require(_about(await _log(h), record.id)[-1:] == ["update"], "the update is not in the log.")
    await h.memory.delete(record.id, user_id=h.user)
    h.require(_about(await _log(h), record.id)[-1:] == ["delete"], "the delete is not in the log.")


@_over_a_log("AUD-2", "a read is in the log when the log is next read", requires=AUDIT)
async def reads_are_logged(h: Harness) -> None:
    """Read sixty times, which is more than a page of most logs, and then the log."""
    record = await h.memory.add(h.marker(), h.user)
    before = _about(await _log(h), record.id).count("get")
    for _ in range(60):
        await h.memory.get(record.id, user_id=h.user)
    reads = _about(await _log(h), record.id).count("get") - before
    h.require(reads == 60, f"sixty reads left {reads} entries.")


@_over_a_log(
    "AUD-2",
    "a change that was refused is not in the log",
    requires=(*AUDIT, "update", "supports_if_version"),
)
async def refused_changes_are_not_logged(h: Harness) -> None:
    """Refuse an update, a delete and an add, and read the log."""
    record = await h.memory.add(h.marker(), h.user)
    await h.refused(h.memory.update(record.id, user_id=h.user, kind="x", if_version=9), ConflictError)
    await h.refused(h.memory.delete(record.id, user_id=h.user, if_version=9), ConflictError)
    await h.refused(h.memory.update(record.id, user_id=h.other, kind="x"), NotFoundError)
    changes = [action for action in _about(await _log(h), record.id) if action in ("add", "update", "delete")]
    h.require(changes == ["add"], f"the log has {changes} for one add and two conflicts.")
    h.require(not _about(await _log(h, h.other), record.id), "a refused update is in the other user's log.")


@_over_a_log("AUD-3", "app selects by source.app, exactly", requires=AUDIT)
async def app_selects(h: Harness) -> None:
    """Add for several apps whose names resemble each other, and read by each."""
    apps = ["mail", "Mail", "mailer", "m%l", None]
    sources = [{"source": {"app": app}} if app else {} for app in apps]
    ids = [(await h.memory.add(h.marker(), h.user, **source)).id for source in sources]
    await h.memory.get(ids[0], user_id=h.user)
    for app, expected in zip(apps[:4], ids[:4], strict=True):
        entries = await _log(h, app=app)
        h.expect({e.memory_id or "" for e in entries}, [expected], among=ids, what=f"log of {app}")
        h.require({entry.app for entry in entries} == {app}, f"the log of {app} has {entries}")
    h.require(len(await _log(h, app="mail")) >= 2, "the log of mail lacks the add or the get.")
    h.require(not await _log(h, app="ma"), "a part of a name selects.")


@_over_a_log("AUD-3", "since is inclusive", requires=(*AUDIT, "temporal"))
async def since_is_inclusive(h: Harness) -> None:
    """Read from the time of an entry in the middle, from just after it, and from a time to come."""
    for _ in range(4):
        await h.memory.add(h.marker(), h.user)
    entries = await _log(h)
    pivot = entries[1].timestamp
    h.require(pivot is not None, f"an entry has no time: {entries[1]}")
    if pivot is None:
        return
    tick = timedelta(microseconds=1)
    at = [entry for entry in entries if entry.timestamp and entry.timestamp >= pivot]
    after = [entry for entry in entries if entry.timestamp and entry.timestamp > pivot]
    if not 0 < len(after) < len(at) < len(entries):
        raise Inconclusive(f"the entries cannot be told apart by time: {entries}")
    h.require(await _log(h, since=pivot) == at, "the log since an entry does not begin with it.")
    h.require(await _log(h, since=pivot + tick) == after, "the log after an entry is not what follows it.")
    h.require(not await _log(h, since=pivot + timedelta(days=9)), "the log has entries from a time to come.")


@_over_a_log("AUD-3", "another user's entries are never shown", requires=AUDIT)
async def entries_of_one_user(h: Harness) -> None:
    """Let two users do the same and read both logs, and that of a user who did nothing."""
    made: dict[str, list[str]] = {}
    for user in (h.user, h.other):
        made[user] = [(await h.memory.add(h.marker(), user, source={"app": "mail"})).id for _ in range(2)]
        await h.memory.get(made[user][0], user_id=user)
        await h.memory.list(user)
    for user, ids in made.items():
        for app in (None, "mail"):
            entries = await _log(h, user, app=app)
            named = {entry.memory_id for entry in entries if entry.memory_id}
            h.expect(named, ids, among=[*made[h.user], *made[h.other]], what=f"log with app {app}")
    h.require(not await _log(h, h.new_user()), "a user who did nothing has a log.")


@_over_a_log("AUD-4", "an entry outlives the record it is about", requires=AUDIT)
async def entries_outlive_records(h: Harness) -> None:
    """Delete a record and read its entries, by app too; then delete every other record."""
    source = {"app": "mail"}
    record = await h.memory.add(h.marker(), h.user, source=source)
    beside = await h.memory.add(h.marker(), h.user)
    await h.memory.get(record.id, user_id=h.user)
    for gone in (record, beside):
        await h.memory.delete(gone.id, user_id=h.user)
        actions = _about(await _log(h), record.id)
        h.require(actions == ["add", "get", "delete"], f"the entries of a deleted record are {actions}.")
    actions = _about(await _log(h, app="mail"), record.id)
    h.require(actions == ["add", "get", "delete"], f"by app, the entries of a deleted record are {actions}.")
