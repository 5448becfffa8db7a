"""Ownership: one owner, fail-closed on every verb."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from openmem.errors import InvalidRequestError, NotFoundError
from openmem.types import MemoryRecord

from ..check import check
from ..harness import Harness
from ..verdicts import whole
from ._shared import ALIKE, found, modes

LOOKALIKES = ("{}x", "{} ", " {}", "{}%", "{}_", "{}*", "{}/", "%{}", "_{}", "*{}", "x{}", "{}.", "{}é")

HOSTILE = (
    "' OR '1'='1",
    '"; DROP TABLE memories; --',
    "%",
    "a/b",
    "../x",
    "{user}",
    "$where",
    "été 日本 🙂",
    "\\",
    "null",
)

ById = Callable[[Harness, str, str], Awaitable[object]]
BY_ID: dict[str, ById] = {
    "get": lambda h, memory_id, user: h.memory.get(memory_id, user_id=user),
    "update": lambda h, memory_id, user: h.memory.update(memory_id, user_id=user, content=h.own("taken over")),
    "delete": lambda h, memory_id, user: h.memory.delete(memory_id, user_id=user),
    "related": lambda h, memory_id, user: h.memory.related(memory_id, user_id=user),
    "history": lambda h, memory_id, user: h.memory.history(memory_id, user_id=user),
}
"""Each by-id verb with a user named."""


async def _two_owners(h: Harness) -> tuple[str, MemoryRecord, MemoryRecord]:
    word = h.marker()
    (mine,) = await h.seed([{"content": f"{word} of mine"}])
    (theirs,) = await h.seed([{"content": f"{word} of theirs"}], user_id=h.other)
    return word, mine, theirs


async def _untouched(h: Harness, record: MemoryRecord) -> None:
    now = await h.memory.get(record.id, user_id=record.user_id)
    h.require(now == record, f"another user's call changed the record from {whole(record)} to {whole(now)}")


@check("OWN-1", "user_id comes back as given")
async def keeps_the_owner(h: Harness) -> None:
    """Read the owner from every verb that answers with records."""
    word, *_ = await _two_owners(h)
    odd = f" {h.user} Éa/%_東 "
    await h.add(f"{word} of the odd one", odd)
    for user in (h.user, odd):
        (mine,) = (await h.memory.list(user)).items
        h.require(mine.user_id == user, f"list answers with the user {mine.user_id!r}, not {user!r}")
        stored = await h.memory.get(mine.id, user_id=user)
        h.require(stored.user_id == user, f"get answers with the user {stored.user_id!r}, not {user!r}")
        owners = [hit.memory.user_id for hit in await h.memory.search(word, user)]
        h.require(owners == [user], f"search answers with the users {owners}, not {user!r}")
        added = await h.add(word, user)
        h.require(added.user_id == user, f"add answers with the user {added.user_id!r}, not {user!r}")


@check("OWN-2", "list answers with the user's records only")
async def lists_own_records_only(h: Harness) -> None:
    """Store for two users and list each."""
    _, mine, theirs = await _two_owners(h)
    both = [mine.id, theirs.id]
    h.expect(await h.all_ids(), [mine.id], among=both, what="list of one user")
    h.expect(await h.all_ids(h.other), [theirs.id], among=both, what="list of the other user")


@check("OWN-2", "search answers with the user's records only, in every mode")
async def searches_own_records_only(h: Harness) -> None:
    """Store the better match for another user and search in each mode."""
    word = h.marker()
    (mine,) = await h.seed([{"content": f"{word} among other words of mine"}])
    theirs = await h.seed([{"content": word}, {"content": f"{word} {word}"}], user_id=h.other)
    among = [mine.id, *(record.id for record in theirs)]
    for mode in modes(h):
        h.expect(await found(h, word, mode=mode), [mine.id], among=among, what=f"{mode} search of one user")


@check("OWN-2", "a user without records finds nothing of others")
async def strangers_find_nothing(h: Harness) -> None:
    """Ask every read of a user who never stored anything."""
    word, mine, theirs = await _two_owners(h)
    stranger, among = h.new_user(), [mine.id, theirs.id]
    h.expect(await h.all_ids(h.other), [theirs.id], among=among, what="list of a user with a record")
    h.expect(await h.all_ids(stranger), [], among=among, what="list of a stranger", none_expected=True)
    for mode in modes(h):
        h.expect(await found(h, word, mode=mode), [mine.id], among=among, what=f"{mode} search of a user with a record")
        hits = await h.memory.search(word, stranger, mode=mode)
        h.expect(h.ids(hits), [], among=among, what=f"{mode} search of a stranger", none_expected=True)


@check("OWN-3", "another user's id is not_found, as an unknown one, and nothing changes")
async def foreign_ids_are_not_found(h: Harness) -> None:
    """Call every by-id verb with another user's id and compare the error with that of an unknown id."""
    _, _, theirs = await _two_owners(h)
    before = await h.memory.get(theirs.id, user_id=h.other)
    for verb, call in BY_ID.items():
        if verb not in h.capabilities.verbs:
            continue
        foreign = await h.refused(call(h, theirs.id, h.user), NotFoundError)
        nobodys = h.unknown()
        unknown = await h.refused(call(h, nobodys, h.user), NotFoundError)
        same = foreign.message.replace(theirs.id, "") == unknown.message.replace(nobodys, "")
        h.require(same, f"{verb} tells a foreign id from an unknown one: {foreign.message} / {unknown.message}")
    await _untouched(h, before)


@check("OWN-3", "delete_many leaves other users' records", requires=["delete_many"])
async def batches_spare_foreign_records(h: Harness) -> None:
    """Name a record of one's own and a foreign one in one batch."""
    _, mine, theirs = await _two_owners(h)
    results = await h.memory.delete_many([theirs.id, mine.id], user_id=h.user)
    h.require(results[0].error is not None and results[0].error.code == "not_found", "a foreign id was no not_found")
    h.require(results[1].error is None, "a foreign id failed its neighbour")
    await _untouched(h, await h.memory.get(theirs.id, user_id=h.other))
    await h.refused(h.memory.get(mine.id, user_id=h.user), NotFoundError)


@check("OWN-4", "user ids match exactly")
async def lookalike_users_are_strangers(h: Harness) -> None:
    """Ask for users whose ids differ by a wildcard, a space, a letter or its case."""
    word, mine, _ = await _two_owners(h)
    alike = [form.format(h.user) for form in LOOKALIKES] + [h.user.upper(), h.user[:-1], h.user.capitalize()]
    alike += [f"{h.user[:-1]}{sign}" for sign in "%_*?"]
    own = [*await h.all_ids(), *await found(h, word)]
    h.require(own == [mine.id, mine.id], f"the user's own reads give {own}")
    for user in alike:
        reads = [*await h.all_ids(user), *h.ids(await h.memory.search(word, user))]
        h.expect(reads, [], among=[mine.id], what=f"reads of the user {user!r}", none_expected=True)
        await h.refused(h.memory.get(mine.id, user_id=user), NotFoundError)


@check("OWN-4", "user ids match by code points")
async def users_are_what_they_are_written_with(h: Harness) -> None:
    """Store for users who are one by normalisation, case folding or without accents, and read each one's own."""
    users = [f"{h.user}{sign}" for sign in ALIKE]
    word = h.marker()
    records = {user: (await h.seed([{"content": f"{word} {user!a}"}], user_id=user))[0].id for user in users}
    for user, memory_id in records.items():
        among, what = records.values(), f"of the user {user!a}"
        h.expect(await h.all_ids(user), [memory_id], among=among, what=f"list {what}")
        h.expect(h.ids(await h.memory.search(word, user)), [memory_id], among=among, what=f"search {what}")
        owner = (await h.memory.get(memory_id, user_id=user)).user_id
        h.require(owner == user, f"the user {user!a} is answered as {owner!a}")


@check("OWN-4", "hostile user ids are ordinary ids")
async def hostile_users_keep_their_own(h: Harness) -> None:
    """Store for users named like queries and read each one's own."""
    users = [f"{h.user} {name}" for name in HOSTILE]
    word = h.marker()
    records = {user: (await h.seed([{"content": f"{word} {user}"}], user_id=user))[0].id for user in users}
    for user, memory_id in records.items():
        what = f"reads of the user {user!r}"
        h.expect(await h.all_ids(user), [memory_id], among=records.values(), what=f"list: {what}")
        h.expect(h.ids(await h.memory.search(word, user)), [memory_id], among=records.values(), what=f"search: {what}")


@check("OWN-5", "a blank or missing user_id is refused")
async def needs_a_user(h: Harness) -> None:
    """Leave the user out, and blank, where a verb needs one; a blank one is refused where it may be left out too."""
    record = await h.add(h.own("fact"))
    needing: dict[str, Callable[[str | None], Awaitable[object]]] = {
        "add": lambda user: h.memory.add(h.own("fact"), user),
        "list": lambda user: h.memory.list(user),
        "search": lambda user: h.memory.search("fact", user),
        "context": lambda user: h.memory.context("fact", user),
        "stats": lambda user: h.memory.stats(user),
        "audit": lambda user: h.memory.audit(user),
    }
    for verb, call in needing.items():
        for user in ("", " ", "\t\n", None) if verb in h.capabilities.verbs else ():
            await h.refused(call(user), InvalidRequestError)
    for verb, by_id in BY_ID.items():
        if verb in h.capabilities.verbs:
            await h.refused(by_id(h, record.id, " "), InvalidRequestError)
    h.require(await h.all_ids() == [record.id], "a refused call changed what is stored")
