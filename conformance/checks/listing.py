"""List: order, pages and cursors."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any

from openmem.errors import InvalidRequestError
from openmem.types import MemoryPage, MemoryRecord

from ..check import check
from ..harness import Harness
from ._shared import crowd, declared, most_listed

DAY = timedelta(days=1)
Between = Callable[[MemoryPage], Awaitable[None]]


def _newest_first(records: Iterable[MemoryRecord]) -> list[str]:
    ordered = sorted(records, key=lambda record: (record.created_at, record.id), reverse=True)
    return [record.id for record in ordered]


async def _pages(h: Harness, limit: int, between: Between | None = None, **fields: Any) -> list[MemoryPage]:
    """Follow next_cursor to the end; `between` runs after each page but the last."""
    pages: list[MemoryPage] = [await h.memory.list(h.user, limit=limit, **fields)]
    while (cursor := pages[-1].next_cursor) is not None:
        h.require(len(pages) < 200, f"after 200 pages of {limit} there is still a next_cursor.")
        if between is not None:
            await between(pages[-1])
        pages.append(await h.memory.list(h.user, limit=limit, cursor=cursor, **fields))
    return pages


def _ids(h: Harness, pages: Iterable[MemoryPage]) -> list[str]:
    return [each for page in pages for each in h.ids(page)]


async def _seed(h: Harness, count: int, **fields: Any) -> list[MemoryRecord]:
    return await h.seed([{"content": f"{h.marker()} {place}", **fields} for place in range(count)])


@check("LST-1", "newest first, by created_at and then id")
async def newest_first(h: Harness) -> None:
    """List records added one by one and in a batch, beside those of another user."""
    records = await _seed(h, 6)
    others = await h.seed([{"content": h.marker()} for _ in range(2)], user_id=h.other)
    batch = await crowd(h, [{"content": h.marker()} for _ in range(6)])
    records += [await h.memory.get(each) for each in batch]
    h.expect(
        await h.all_ids(),
        _newest_first(records),
        among=[*h.ids(records), *h.ids(others)],
        what="list",
        ordered=True,
    )


@check("LST-1", "an update does not move a record", requires=("update",))
async def updates_do_not_reorder(h: Harness) -> None:
    """Update the oldest record and list again."""
    records = await _seed(h, 4)
    await h.memory.update(records[0].id, user_id=h.user, content=h.marker())
    expected = _newest_first(records)
    h.expect(await h.all_ids(), expected, among=expected, what="list", ordered=True, all_expected=True)


@check("LST-2", "pages hold at most limit records, and every record comes once")
async def pages_of_every_size(h: Harness) -> None:
    """Walk seven records by pages of every size from one to more than all."""
    records = await _seed(h, 7)
    expected = _newest_first(records)
    for limit in (1, 2, 3, 4, 6, 7, 8, most_listed(h)):
        pages = await _pages(h, limit)
        sizes = [len(page.items) for page in pages]
        h.require(max(sizes) <= limit, f"pages of at most {limit} held {sizes}.")
        what = f"pages of {limit}"
        h.expect(_ids(h, pages), expected, among=expected, what=what, ordered=True, all_expected=True)


@check("LST-2", "nothing caps what can be listed")
async def nothing_caps_a_list(h: Harness) -> None:
    """List 120 records in one page and by pages of 50, which is the default."""
    ids = await crowd(h, [{"content": f"{h.marker()} {place}"} for place in range(120)])
    for limit in (most_listed(h), min(50, most_listed(h))):
        pages = await _pages(h, limit)
        h.require(len(pages[0].items) == min(limit, 120), f"a page of {limit} held {len(pages[0].items)} of 120.")
        h.expect(_ids(h, pages), ids, among=ids, what=f"pages of {limit}", all_expected=True)
    if most_listed(h) >= 50:
        first = await h.memory.list(h.user)
        h.require(len(first.items) == 50 and first.next_cursor is not None, f"a page held {len(first.items)} of 120.")


@check("LST-2", "records of one moment are paged like others")
async def pages_of_one_moment(h: Harness) -> None:
    """Walk nine records, added while the clock stands still, by pages of every size."""
    with h.standstill():
        records = await _seed(h, 6)
        batch = await crowd(h, [{"content": h.marker()} for _ in range(3)])
    records += [await h.memory.get(each, user_id=h.user) for each in batch]
    expected = _newest_first(records)
    for limit in range(1, 10):
        pages = await _pages(h, limit)
        what = f"records of one moment by pages of {limit}"
        h.expect(_ids(h, pages), expected, among=expected, what=what, ordered=True, all_expected=True)


@check("LST-2", "every page is of the selection of the first", requires=("temporal",))
async def pages_of_a_selection(h: Harness) -> None:
    """Walk by each selection of time and place, among records that it leaves out, by pages of two."""
    now = h.now()
    validity: dict[str, dict[str, Any]] = {
        "current": {},
        "past": {"valid_from": now - 9 * DAY, "valid_to": now - 7 * DAY},
        "future": {"valid_from": now + DAY},
    }
    names = [name for name in validity for _ in range(4)]
    names = names[::3] + names[1::3] + names[2::3]
    scoped = "scopes" in declared(h)
    places = [{"scope": h.scope(("in", "out")[place % 2])} if scoped else {} for place in range(len(names))]
    seeds = zip(names, places, strict=True)
    records = await h.seed([{"content": h.marker(), **validity[name], **place} for name, place in seeds])
    kinds = {record.id: name for record, name in zip(records, names, strict=True)}
    selections: list[tuple[dict[str, Any], Callable[[MemoryRecord], bool]]] = [
        ({}, lambda record: kinds[record.id] == "current"),
        ({"as_of": now - 8 * DAY}, lambda record: kinds[record.id] == "past"),
        ({"include": ["expired"]}, lambda record: kinds[record.id] != "future"),
        ({"include": ["upcoming"]}, lambda record: kinds[record.id] != "past"),
    ]
    every = {"include": ["expired", "upcoming"]}
    fifth, tenth = records[4].created_at, records[9].created_at
    selections += [({**every, "since": fifth}, lambda record: record.created_at >= fifth)]
    selections += [({**every, "until": tenth}, lambda record: record.created_at <= tenth)]
    if scoped:
        selections += [({**every, "scope": h.scope("in")}, lambda record: record.scope == h.scope("in"))]
    for selection, selected in selections:
        ids = _ids(h, await _pages(h, 2, **selection))
        expected = _newest_first(filter(selected, records))
        h.expect(ids, expected, among=kinds, what=f"pages of two by {selection}", ordered=True)


@check("LST-3", "no empty page follows the last")
async def no_empty_page(h: Harness) -> None:
    """Walk by page sizes that divide the number of records."""
    await _seed(h, 6)
    for limit, count in ((1, 6), (2, 3), (3, 2), (6, 1), (7, 1)):
        sizes = [len(page.items) for page in await _pages(h, limit)]
        h.require(len(sizes) == count, f"six records by pages of {limit} came as {sizes}.")


@check("LST-3", "no empty page follows where what is left is not selected")
async def no_empty_page_of_a_selection(h: Harness) -> None:
    """Walk the four tagged of ten records, the oldest of which are not tagged."""
    tagged: dict[str, Any] = {"tags": [h.own("t")]}
    fields = [{}, {}, tagged, tagged, {}, tagged, {}, tagged, {}, {}]
    records = await h.seed([{"content": h.marker(), **each} for each in fields])
    expected = _newest_first(record for record in records if record.tags)
    for limit, count in ((1, 4), (2, 2), (3, 2), (4, 1)):
        pages = await _pages(h, limit, tag=h.own("t"))
        sizes = [len(page.items) for page in pages]
        h.require(len(sizes) == count, f"four selected records by pages of {limit} came as {sizes}.")
        what = f"tagged by pages of {limit}"
        h.expect(_ids(h, pages), expected, among=h.ids(records), what=what, ordered=True)


@check("LST-3", "a filtered list pages like any other", requires=("filters",))
async def no_empty_page_of_a_filter(h: Harness) -> None:
    """Walk the records of a kind that lies scattered and older than the rest."""
    kinds = ["a", "b", "a", "b", "b", "a", "a", "b", "b", "b", "b", "b"]
    records = await h.seed([{"content": h.marker(), "kind": kind} for kind in kinds])
    expected = _newest_first(record for record in records if record.kind == "a")
    for limit, count in ((1, 4), (2, 2), (3, 2), (4, 1)):
        pages = await _pages(h, limit, filter={"kind": "a"})
        sizes = [len(page.items) for page in pages]
        h.require(len(sizes) == count, f"four selected records by pages of {limit} came as {sizes}.")
        what = f"filtered by pages of {limit}"
        h.expect(_ids(h, pages), expected, among=h.ids(records), what=what, ordered=True)


@check("LST-4", "additions between pages repeat and lose nothing")
async def additions_between_pages(h: Harness) -> None:
    """Add a record after each page."""
    records = await _seed(h, 6)

    async def add(_: MemoryPage) -> None:
        await h.add(h.marker())

    walked = _ids(h, await _pages(h, 2, add))
    h.require(len(walked) == len(set(walked)), f"a record came twice: {walked}")
    expected, among = _newest_first(records), await h.all_ids()
    old = [each for each in walked if each in expected]
    h.expect(old, expected, among=among, what="list while adding", ordered=True)


@check("LST-4", "deletions between pages repeat and lose nothing")
async def deletions_between_pages(h: Harness) -> None:
    """Delete after each page the record it ends with, and one that is still to come."""
    records = await _seed(h, 9)
    order = _newest_first(records)
    deleted: list[str] = []

    async def delete(page: MemoryPage) -> None:
        last = page.items[-1].id
        for each in (last, *order[order.index(last) + 2 : order.index(last) + 3]):
            await h.memory.delete(each, user_id=h.user)
            deleted.append(each)

    walked = _ids(h, await _pages(h, 2, delete))
    h.require(len(walked) == len(set(walked)), f"a record came twice: {walked}")
    stayed = [each for each in order if each not in deleted]
    kept = [each for each in walked if each not in deleted]
    h.expect(kept, stayed, among=order, what="list while deleting", ordered=True)


@check("LST-4", "updates between pages repeat and lose nothing", requires=("update",))
async def updates_between_pages(h: Harness) -> None:
    """Update after each page the oldest and the newest record."""
    records = await _seed(h, 6)
    order = _newest_first(records)

    async def update(_: MemoryPage) -> None:
        for each in (order[0], order[-1]):
            await h.memory.update(each, user_id=h.user, content=h.marker())

    walked = _ids(h, await _pages(h, 2, update))
    h.expect(walked, order, among=order, what="list while updating", ordered=True, all_expected=True)


@check("LST-5", "a cursor of another user is refused")
async def cursor_of_another_user(h: Harness) -> None:
    """Use a cursor for a user who has more records, and for one who has none."""
    await _seed(h, 3)
    await h.seed([{"content": h.marker()} for _ in range(3)], user_id=h.other)
    cursor = (await h.memory.list(h.user, limit=1)).next_cursor
    h.require(cursor is not None, "a page of 1 of 3 records has no next_cursor.")
    for user in (h.other, h.new_user()):
        await h.refused(h.memory.list(user, limit=1, cursor=cursor), InvalidRequestError)


@check("LST-5", "a cursor of another selection is refused")
async def cursor_of_another_selection(h: Harness) -> None:
    """Use the cursor of each selection for each other selection."""
    fields = {"tags": [h.own("t"), h.own("u")], "kind": "fact"}
    selections: list[dict[str, Any]] = [{}, {"tag": h.own("t")}, {"tag": h.own("u")}]
    if "scopes" in declared(h):
        fields["scope"] = h.scope("a/b")
        selections += [{"scope": h.scope("a")}, {"scope": h.scope("a/b")}, {"scope": h.scope("a/*")}]
    if "filters" in declared(h):
        selections += [{"filter": {"kind": "fact"}}, {"filter": {"kind": {"ne": "x"}}}]
    if "temporal" in declared(h):
        selections += [{"since": h.now().replace(year=2001)}, {"include": ["expired"]}]
    await _seed(h, 3, **fields)
    for made in selections:
        cursor = (await h.memory.list(h.user, limit=1, **made)).next_cursor
        h.require(cursor is not None, f"a page of 1 of 3 records by {made} has no next_cursor.")
        for used in selections:
            if used != made:
                await h.refused(h.memory.list(h.user, limit=1, cursor=cursor, **used), InvalidRequestError)


@check("LST-5", "a malformed cursor is refused")
async def malformed_cursor(h: Harness) -> None:
    """Use invented and cut cursors."""
    await _seed(h, 3)
    cursor = (await h.memory.list(h.user, limit=1)).next_cursor or ""
    h.require(cursor, "a page of 1 of 3 records has no next_cursor.")
    invented = ["", " ", "0", "1", "next", "%%%", "ü", "🚀", "null", "[]", "' OR 1=1 --", "a" * 1025]
    encoded = [base64.urlsafe_b64encode(text).decode() for text in (b"{}", b"[]", b"null", b'["a", "b", "c"]', b"\xff")]
    for bad in [*invented, *encoded, cursor[: len(cursor) // 2], cursor[len(cursor) // 2 :], cursor[::-1]]:
        await h.refused(h.memory.list(h.user, limit=1, cursor=bad), InvalidRequestError)


@check("LST-5", "a tampered cursor never reaches beyond its query")
async def tampered_cursor(h: Harness) -> None:
    """Change each sign of a cursor in turn: it is refused, or it pages through this query's records."""
    records = await _seed(h, 3, tags=[h.own("t")])
    await h.seed([{"content": h.marker()} for _ in range(2)])
    await h.seed([{"content": h.marker(), "tags": [h.own("t")]} for _ in range(2)], user_id=h.other)
    cursor = (await h.memory.list(h.user, limit=1, tag=h.own("t"))).next_cursor or ""
    h.require(cursor, "a page of 1 of 3 records has no next_cursor.")
    for place in range(len(cursor)):
        tampered = f"{cursor[:place]}{'A' if cursor[place] != 'A' else 'B'}{cursor[place + 1 :]}"
        try:
            page = await h.memory.list(h.user, limit=3, cursor=tampered, tag=h.own("t"))
        except InvalidRequestError:
            continue
        strange = set(h.ids(page)) - set(h.ids(records))
        h.require(not strange, f"a cursor changed at {place} reached {strange}.")


@check("LST-6", "a tag selects records that have it, exactly")
async def tags_match_exactly(h: Harness) -> None:
    """Select by each of many tags that resemble each other."""
    red = h.marker()
    forms = ["{}", "{}dish", "{}_", "{}%", "{} ", "[{}]", '"{}"', "r.{}", "r {}", "rö{}", "{}/blue", "{}'b", "back\\{}"]
    tags = [*([form.format(red)] for form in forms), [f"{red},blue"], [red.capitalize()], [red.upper(), f"blue{red}"]]
    tags += [[f"infra {red}", red], [f"{red[:5]}.{red[6:]}"], [f"{red[:5]}_{red[6:]}"]]
    records = await h.seed([{"content": h.marker(), "tags": each} for each in tags] + [{"content": h.marker()}])
    among = h.ids(records)
    for tag in [each for several in tags for each in several]:
        expected = [record.id for record in records if tag in (record.tags or ())]
        h.expect(await h.all_ids(tag=tag), expected, among=among, what=f"tag {tag!r}")


@check("LST-6", "a tag that nobody has selects nothing")
async def unknown_tag_selects_nothing(h: Harness) -> None:
    """Select by parts, patterns and joins of stored tags."""
    red, blue = h.marker(), h.marker()
    records = await h.seed([{"content": h.marker(), "tags": [red, blue]}, {"content": h.marker()}])
    parts = [red[:-1], red[1:], f"{red}d", f"{red}, {blue}", f"{red},{blue}", f'["{red}"]', f'["{red}","{blue}"]']
    for tag in [*parts, "%", f"{red[:-1]}%", f"_{red[1:]}", "None"]:
        what = f"tag {tag!r}"
        h.expect(await h.all_ids(tag=tag), [], among=h.ids(records), what=what, none_expected=True)
    h.expect(await h.all_ids(tag=blue), h.ids(records[:1]), among=h.ids(records), what="a tag that is there")


@check("LST-7", "a limit below 1 or above 500 is refused")
async def limits_are_checked(h: Harness) -> None:
    """List with limits beside the bounds and on them."""
    records = await _seed(h, 2)
    for limit in (0, -1, 501, 10**9):
        await h.refused(h.memory.list(h.user, limit=limit), InvalidRequestError)
    h.expect(h.ids(await h.memory.list(h.user, limit=1)), [_newest_first(records)[0]], among=h.ids(records), what="one")
    largest = await h.memory.list(h.user, limit=most_listed(h))
    h.require(len(largest.items) == 2, f"a limit of {most_listed(h)} answered {len(largest.items)} of 2 records.")


@check("LST-8", "a user without records has an empty page")
async def empty_page(h: Harness) -> None:
    """List for a user who never had a record, and for one whose records are deleted."""
    theirs = await h.add(h.marker(), user_id=h.other)
    h.require(await h.all_ids(h.other) == [theirs.id], "a user with a record has another page.")
    gone = await h.add(h.marker())
    await h.memory.delete(gone.id, user_id=h.user)
    for user in (h.new_user(), h.user):
        for limit in (1, most_listed(h)):
            empty = await h.memory.list(user, limit=limit)
            h.require(empty.items == [] and empty.next_cursor is None, f"the empty page is {empty}")
