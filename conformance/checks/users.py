"""Users: who has memories, for who runs the store."""

from __future__ import annotations

from datetime import timedelta

from openmem.errors import InvalidRequestError

from ..check import check
from ..harness import Harness
from ._shared import declared

USERS = ("users",)
DAY = timedelta(days=1)
MOST = 1000


async def _counted(h: Harness, limit: int = MOST) -> dict[str, int]:
    """Follow the pages to the last, through everybody that the store has; each user once, by code points."""
    found: dict[str, int] = {}
    last, cursor = "", None
    while True:
        page = await h.memory.users(cursor=cursor, limit=limit)
        h.require(len(page.items) <= limit, f"a page of {limit} has {len(page.items)} users")
        for each in page.items:
            h.require(each.user_id > last, f"{each.user_id!r} comes after {last!r}")
            found[each.user_id], last = each.count, each.user_id
        cursor = page.next_cursor
        if cursor is None:
            h.require(page.items or not found, "an empty page follows the last")
            return found
        h.require(page.items, "an empty page is not the last")


def _hold(h: Harness, found: dict[str, int], **due: int | None) -> None:
    got = {user: found.get(user) for user in due}
    h.require(got == due, f"users has {got}, not {due}")


@check("USR-1", "users counts every user's memories, whatever their state", requires=USERS)
async def counts_each_user(h: Harness) -> None:
    """Count users whose names are nearly one, among everybody else's."""
    names = {h.user: 1, f"{h.user} b": 2, f"{h.user}/é": 1, f"{h.user}/e\u0301": 2, f"{h.user}\uffee": 1}
    names |= {f"{h.user}😀": 1, f"{h.user}x": 2, f"{h.user}X": 1, h.other: 3}
    for user, count in names.items():
        await h.seed([{"content": h.marker()} for _ in range(count)], user_id=user)
    due = dict(names)
    if "temporal" in declared(h):
        await h.seed([{"content": h.marker(), "valid_to": h.now() - DAY}], user_id=h.user)
        due[h.user] += 1
    _hold(h, await _counted(h), **due)


@check("USR-1", "users follows adds and deletes", requires=USERS)
async def follows_changes(h: Harness) -> None:
    """Delete one memory of two and the only one of another, read and write in vain, and come back."""
    mine = await h.seed([{"content": h.marker()} for _ in range(2)])
    theirs = await h.seed([{"content": h.marker()}], user_id=h.other)
    await h.memory.delete(mine[0].id, user_id=h.user)
    await h.memory.delete(theirs[0].id, user_id=h.other)
    nobody = h.new_user()
    await h.memory.list(nobody)
    await h.memory.search(h.marker(), nobody)
    _hold(h, await _counted(h), **{h.user: 1, h.other: None, nobody: None})
    await h.seed([{"content": h.marker()}], user_id=h.other)
    _hold(h, await _counted(h), **{h.user: 1, h.other: 1})


@check("USR-2", "pages of users give each once", requires=USERS)
async def pages_give_each_once(h: Harness) -> None:
    """Follow pages that end among users of this check's own."""
    own = {f"{h.user} {number}": 1 for number in range(7)}
    for user in own:
        await h.seed([{"content": h.marker()}], user_id=user)
    every = await _counted(h)
    for limit in (max(2, len(every) // 3), max(3, len(every) // 2)):
        _hold(h, await _counted(h, min(limit, MOST)), **own)
    for limit in (0, MOST + 1):
        await h.refused(h.memory.users(limit=limit), InvalidRequestError)


@check("USR-2", "a cursor of users is of users alone", requires=USERS)
async def cursors_are_bound(h: Harness) -> None:
    """Give a list's cursor to users, and one of users to list."""
    await h.seed([{"content": h.marker()} for _ in range(2)])
    await h.seed([{"content": h.marker()}], user_id=h.other)
    listed = (await h.memory.list(h.user, limit=1)).next_cursor
    cursor = (await h.memory.users(limit=1)).next_cursor
    h.require(listed and cursor, "a page of one among several has no next_cursor")
    await h.refused(h.memory.users(cursor=listed), InvalidRequestError)
    await h.refused(h.memory.users(cursor="no cursor"), InvalidRequestError)
    await h.refused(h.memory.list(h.user, cursor=cursor), InvalidRequestError)


@check("USR-3", "a view of one user has no users", requires=USERS)
async def views_have_none(h: Harness) -> None:
    """Ask a view bound to a user who else there is."""
    await h.seed([{"content": h.marker()}], user_id=h.other)
    try:
        told = await h.memory.bound(h.user).users()
    except (AttributeError, TypeError):
        return
    h.require(False, f"a view of one user names {len(told.items)} users")
