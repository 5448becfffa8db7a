"""Concurrency: calls at once answer as if they came one after another, and each user's with that user's records."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from openmem.errors import ConflictError, NotFoundError, OMPError
from openmem.runtime.bridge import side_by_side
from openmem.types import MemoryRecord

from ..check import check
from ..harness import Client, Harness
from ..verdicts import Failure
from ._shared import modes, most_listed

AT_ONCE = 8
"""Calls that race each other."""
READERS, READS = 2, 8
"""Who reads of each user beside its changes, and how often."""


async def _gathered(calls: Iterable[Awaitable[Any]]) -> list[Any]:
    """Make calls at once; return answers and errors."""
    return await asyncio.gather(*calls, return_exceptions=True)


def _winner(h: Harness, answers: Sequence[Any], refusal: type[OMPError], what: str) -> int:
    """Return the place of the one call that succeeded; all others must have been refused."""
    won = [place for place, answer in enumerate(answers) if not isinstance(answer, BaseException)]
    other = [answer for answer in answers if isinstance(answer, BaseException) and not isinstance(answer, refusal)]
    h.require(not other, f"{what}: {other[:1]} where {refusal.__name__} is due")
    h.require(len(won) == 1, f"{what}: {len(won)} of {len(answers)} succeeded, not one.")
    return won[0]


def _all_good(h: Harness, answers: Sequence[Any], what: str) -> None:
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    h.require(not errors, f"{what}: {errors[:1]}")


# --- two users --------------------------------------------------------------------------------------------------


def _calls(h: Harness, user: str, word: str, own: Sequence[MemoryRecord]) -> dict[str, Awaitable[Any]]:
    """Make a call of every verb for a user; the first of its own records stays, the others may go."""
    memory, first = h.memory, own[0].id
    calls: dict[str, Any] = {
        "add": lambda: memory.add(f"{word} added", user),
        "get": lambda: memory.get(first, user_id=user),
        "list": lambda: memory.list(user),
        "context": lambda: memory.context(word, user),
        "related": lambda: memory.related(first, user_id=user),
        "history": lambda: memory.history(first, user_id=user),
        "audit": lambda: memory.audit(user),
        "stats": lambda: memory.stats(user),
        "update": lambda: memory.update(first, user_id=user, kind="changed"),
        "add_many": lambda: memory.add_many([{"content": f"{word} one"}, {"content": f"{word} two"}], user_id=user),
        "delete": lambda: memory.delete(own[1].id, user_id=user),
        "delete_many": lambda: memory.delete_many([own[2].id], user_id=user),
    }
    made = {verb: call() for verb, call in calls.items() if verb in h.capabilities.verbs}
    return made | {f"{mode} search": memory.search(word, user, mode=mode) for mode in modes(h)}


def _owners(answer: Any) -> set[str]:
    """Name the users of all records in an answer."""
    if hasattr(answer, "user_id"):
        return {answer.user_id}
    items = getattr(answer, "items", answer)
    records: list[Any] = [getattr(item, "memory", item) for item in items] if isinstance(items, list) else []
    return {record.user_id for record in records if hasattr(record, "user_id")}


@check("CONC-1", "every verb at once for two users answers each with its own")
async def two_users_at_once(h: Harness) -> None:
    """Call every verb for two users at the same time, over and over, and look whose records come."""
    word = h.marker()
    for _ in range(2):
        own = {user: await h.seed([{"content": f"{word} {n}"} for n in range(4)], user) for user in (h.user, h.other)}
        asked = [(user, verb, call) for user in own for verb, call in _calls(h, user, word, own[user]).items()]
        answers = await _gathered(call for _, _, call in asked)
        _all_good(h, answers, "every verb at once")
        for (user, verb, _), answer in zip(asked, answers, strict=True):
            h.require(_owners(answer) <= {user}, f"{verb} of {user} answers records of {_owners(answer)}.")
            foreign = {record.id for other, records in own.items() if other != user for record in records}
            cited = {each.memory_id for each in getattr(answer, "citations", None) or ()}
            entries = {getattr(each, "memory_id", None) for each in answer} if isinstance(answer, list) else set()
            h.require(not foreign & (cited | entries), f"{verb} of {user} names a record of another user.")
    for user in (h.user, h.other):
        page = await h.memory.list(user, limit=min(100, most_listed(h)))
        h.require(page.items and _owners(page) == {user}, "list answers another user's records afterwards.")


class _Churn:
    """Records of a user that come and go until all who read beside it have read enough."""

    def __init__(self, h: Harness, user: str, word: str) -> None:
        self._h, self._user, self._word = h, user, word
        self._reading = READERS
        self._gone: set[str] = set()

    async def begin(self) -> None:
        """Add the one that stays."""
        self._stays = (await self._h.add(f"{self._word} stays", self._user)).id

    async def change(self) -> None:
        """Add and delete, so that whatever the provider keeps records by is used again by turns of all users."""
        while self._reading:
            record = await self._h.add(f"{self._word} goes", self._user)
            await asyncio.sleep(0)  # a provider in this process lets nobody in by itself
            await self._h.memory.delete(record.id, user_id=self._user)
            self._gone.add(record.id)

    async def read(self) -> None:
        """List and search by turns."""
        verbs = [None, *modes(self._h)]
        for number in range(READS):
            mode = verbs[number % len(verbs)]
            await self._look("list" if mode is None else f"{mode} search", mode)
            await asyncio.sleep(0)
        self._reading -= 1

    async def end(self) -> None:
        """Look for what stayed, and nothing else."""
        self._h.require(await self._h.all_ids(self._user) == [self._stays], "list has more than what stayed.")

    async def _look(self, what: str, mode: str | None) -> None:
        h, known = self._h, set(self._gone)
        call = h.memory.list(self._user) if mode is None else h.memory.search(self._word, self._user, mode=mode)
        try:
            found = await call
        except OMPError as error:
            raise Failure(f"{what} beside adds and deletes raised {type(error).__name__}: {error}") from error
        h.require(_owners(found) <= {self._user}, f"{what} answers another user's record beside adds and deletes.")
        h.require(not known & set(h.ids(found)), f"{what} answers a record whose deletion had been acknowledged.")
        h.require(self._stays in h.ids(found), f"{what} misses a record that was there throughout.")


@check("CONC-6", "reads beside adds and deletes are right")
async def reads_beside_changes(h: Harness) -> None:
    """Let two users' records come and go while both read; every answer is one that was true at some moment."""
    word = h.marker()
    users = [_Churn(h, user, word) for user in (h.user, h.other)]
    for each in users:
        await each.begin()
    reads = [each.read for each in users for _ in range(READERS)]
    work = [*reads, *(each.change for each in users)]  # which go on until the reads end
    await side_by_side(lambda call: call(), work, len(work))
    for each in users:
        await each.end()


# --- changes of one record ---------------------------------------------------------------------------------------


@check("CONC-2", "changes of one record at once each count", requires=("update", "supports_if_version"))
async def changes_count(h: Harness) -> None:
    """Change a record at once, each time another field of its metadata where there is any, and look for every one."""
    record = await h.add(h.marker())
    keyed = h.capabilities.features.supports_metadata
    fields = [{"metadata": {f"k{n}": n}} if keyed else {"tags": [f"k{n}"]} for n in range(AT_ONCE)]
    answers = await _gathered(h.memory.update(record.id, user_id=h.user, **each) for each in fields)
    _all_good(h, answers, "updates at once")
    versions = sorted(answer.version for answer in answers)
    expected = [(record.version or 1) + 1 + n for n in range(AT_ONCE)]
    h.require(versions == expected, f"the versions answered are {versions}, not {expected}.")
    stored = await h.memory.get(record.id, user_id=h.user)
    h.require(stored.version == expected[-1], f"version {stored.version} is stored after {AT_ONCE} changes.")
    if keyed:
        h.require(stored.metadata == {f"k{n}": n for n in range(AT_ONCE)}, f"a change is lost: {stored.metadata}")


async def _race(
    h: Harness, clients: Sequence[Client], changed: MemoryRecord, what: str, *, if_version: int | None
) -> None:
    contents = [h.marker() for _ in range(AT_ONCE)]
    answers = await _gathered(
        clients[n % len(clients)].update(changed.id, user_id=h.user, content=content, if_version=if_version)
        for n, content in enumerate(contents)
    )
    won = _winner(h, answers, ConflictError, what)
    stored = await h.memory.get(changed.id, user_id=h.user)
    h.require(stored.content == contents[won], f"{what}: the content is not the one that succeeded.")
    h.require(stored.version == (if_version or 1) + 1, f"{what}: the version is {stored.version}.")


@check("CONC-4", "of changes under one if_version one succeeds", requires=("update", "supports_if_version"))
async def one_version_one_change(h: Harness) -> None:
    """Update a record at once under its version, then delete one so."""
    record = await h.add(h.marker())
    await _race(h, [h.memory], record, "updates under one if_version", if_version=record.version)
    gone = await h.add(h.marker())
    calls = (h.memory.delete(gone.id, user_id=h.user, if_version=gone.version) for _ in range(AT_ONCE))
    answers = await _gathered(calls)
    _winner(h, answers, NotFoundError, "deletes under one if_version")


@check(
    "CONC-4",
    "of changes under one if_version through two clients one succeeds",
    requires=("update", "supports_if_version", "durable"),
)
async def one_version_two_clients(h: Harness) -> None:
    """Update a record at once through two clients under its version."""
    record = await h.add(h.marker())
    async with h.second() as other:
        await other.get(record.id, user_id=h.user)
        await _race(h, [h.memory, other], record, "updates through two clients", if_version=record.version)


async def _upserts(h: Harness, clients: Sequence[Client], what: str) -> None:
    contents = [h.marker() for _ in range(AT_ONCE)]
    answers = await _gathered(
        clients[n % len(clients)].add(content, h.user, external_id=h.own("key")) for n, content in enumerate(contents)
    )
    _all_good(h, answers, what)
    ids = {answer.id for answer in answers}
    h.require(len(ids) == 1, f"{what} made {len(ids)} records.")
    h.require(await h.all_ids() == [*ids], f"{what}: list has other records than the one answered.")
    stored = await h.memory.get(next(iter(ids)), user_id=h.user)
    last = max(answers, key=lambda answer: answer.version)
    h.require(stored.content == last.content, f"{what}: the content is not that of the highest version.")


@check("CONC-3", "adds of one external_id at once make one record", requires=("supports_external_id",))
async def one_key_one_record(h: Harness) -> None:
    """Add under one key at once."""
    await _upserts(h, [h.memory], "adds of one external_id")


@check(
    "CONC-3",
    "adds of one external_id through two clients make one record",
    requires=("supports_external_id", "durable"),
)
async def one_key_two_clients(h: Harness) -> None:
    """Add under one key at once through two clients."""
    async with AsyncExitStack() as stack:
        clients = [h.memory, await stack.enter_async_context(h.second())]
        await _upserts(h, clients, "adds of one external_id through two clients")


@check("CONC-5", "of records that supersede one at once one succeeds", requires=("supports_supersession",))
async def one_successor(h: Harness) -> None:
    """Supersede a record at once by several."""
    old = await h.add(h.marker())
    answers = await _gathered(h.memory.add(h.marker(), h.user, supersedes=[old.id]) for _ in range(AT_ONCE))
    new = answers[_winner(h, answers, ConflictError, "adds that supersede one record")]
    stored = await h.memory.get(old.id, user_id=h.user)
    h.require(stored.superseded_by == new.id, f"superseded_by is {stored.superseded_by}, not {new.id}.")
    h.require(await h.all_ids() == [new.id], "list has more than the one successor: a refused add is stored.")


@check("CONC-7", "of deletions of one record at once one succeeds")
async def one_deletion(h: Harness) -> None:
    """Delete a record at once, several times over."""
    kept = await h.add(h.marker())
    for _ in range(3):
        record = await h.add(h.marker())
        answers = await _gathered(h.memory.delete(record.id, user_id=h.user) for _ in range(AT_ONCE))
        _winner(h, answers, NotFoundError, "deletes at once")
    h.expect(await h.all_ids(), [kept.id], among=[kept.id, record.id], what="list")
