"""Batches: item by item, in order, one failure alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from openmem.types import BatchResult

from ..check import check
from ..harness import Harness
from ..verdicts import whole
from ._shared import add_all, declared, delete_all, found, modes, most_listed, rich

ADD = ("add_many",)
DELETE = ("delete_many",)
APART = {"id", "user_id", "created_at", "updated_at"}


def _hold_error(h: Harness, result: BatchResult, code: str, what: str) -> None:
    h.require(result.error is not None and result.memory is None, f"{what} was taken: {whole(result)}")
    if result.error is not None:
        h.require(
            result.error.code == code, f"{what} failed with {result.error.code}, not {code}: {whole(result.error)}"
        )
        h.require(result.error.message and result.error.type, f"{what} failed without a message: {whole(result.error)}")


def _stored(h: Harness, result: BatchResult, content: str) -> str:
    memory = result.memory
    good = result.error is None and memory is not None and memory.content == content and result.id == memory.id
    h.require(good, f"the item {content!r} is answered by {whole(result)}")
    return result.id or ""


@check("BAT-1", "add_many answers item by item, in order", requires=ADD)
async def adds_in_order(h: Harness) -> None:
    """Add a batch with repeated contents and read every record back."""
    contents = [f"{h.marker()} {place % 7}" for place in range(40)]
    contents[30:35] = [contents[0]] * 5
    results = await add_all(h, [{"content": content} for content in contents])
    h.require(len(results) == len(contents), f"{len(contents)} items got {len(results)} answers.")
    ids = [_stored(h, result, content) for result, content in zip(results, contents, strict=True)]
    h.require(len(set(ids)) == len(ids), "two items got one id.")
    await h.memory.wait_for_ingest(ids, h.user)
    for each, content in zip(ids, contents, strict=True):
        record = await h.memory.get(each, user_id=h.user)
        h.require(record.content == content, f"{each} reads {record.content!r}, not {content!r}.")
    h.expect(await h.all_ids(), ids, among=ids, what="list", all_expected=True)


@check("BAT-1", "a large batch is answered whole and in order", requires=ADD)
async def large_batch(h: Harness) -> None:
    """Add 501 items, every tenth of them bad, or 60 where the provider has no batches; list and delete what is good."""
    limits, emulated = h.capabilities.limits, h.capabilities.emulated or ()
    count = min((limits and limits.max_batch_size) or 501, 60 if "add_many" in emulated else 501)
    items = [{"content": f"{h.marker()} {place}"} if place % 10 else {"content": " "} for place in range(count)]
    results = await h.memory.add_many(items, user_id=h.user)
    h.require(len(results) == count, f"{count} items got {len(results)} answers.")
    ids = []
    for item, result in zip(items, results, strict=True):
        if item["content"].strip():
            ids.append(_stored(h, result, item["content"]))
        else:
            _hold_error(h, result, "invalid_request", "a blank item")
    await h.memory.wait_for_ingest(ids, h.user)
    h.expect(await h.all_ids(limit=most_listed(h)), ids, among=ids, what="list", all_expected=True)
    if "delete_many" in h.capabilities.verbs:
        deleted = await h.memory.delete_many(ids, user_id=h.user)
        h.require([each.id for each in deleted if each.error is None] == ids, "a delete of a large batch failed.")
        what = "list after all were deleted"
        h.expect(await h.all_ids(), [], among=ids, what=what, none_expected=True)


@check("BAT-1", "delete_many answers item by item, in order", requires=DELETE)
async def deletes_in_order(h: Harness) -> None:
    """Delete in another order than that of the adds, and keep one."""
    ids = h.ids(await h.seed([{"content": h.marker()} for _ in range(5)]))
    order = [ids[3], ids[0], ids[4], ids[1]]
    results = await delete_all(h, order)
    h.require([result.id for result in results] == order, f"the answers name {[result.id for result in results]}.")
    h.require(not any(result.error for result in results), f"a delete failed: {results}")
    h.expect(await h.all_ids(), ids[2:3], among=ids, what="list")


@check("BAT-7", "an empty batch is answered by no results", requires=(*ADD, *DELETE))
async def empty_batches(h: Harness) -> None:
    """Add and delete nothing at all, for a user and for nobody, beside a record."""
    [added] = await h.memory.add_many([{"content": h.marker()}], user_id=h.user)
    await h.memory.wait_for_ingest([added.id], h.user)
    reached = h.reached()
    for owner in ({"user_id": h.user}, {}):
        for verb in (h.memory.add_many, h.memory.delete_many):
            results = await verb([], **owner)
            h.require(results == [], f"an empty batch is answered by {results}")
    h.require(h.reached() == reached, "an empty batch reached the backend.")
    h.require(await h.all_ids() == [added.id], "an empty batch changed what is stored.")


def _bad_items(h: Harness) -> list[Any]:
    naive, good = datetime(2026, 1, 1), h.own("good")
    bad: list[Any] = [
        {"content": ""},
        {"content": " \n"},
        {},
        {"content": None},
        {"content": 5},
        {"content": "nul \x00"},
        {"content": good, "user_id": " "},
        {"content": good, "unknown": 1},
        {"content": good, "confidence": 1.5},
        {"content": good, "importance": "high"},
        {"content": good, "tags": "red"},
        {"content": good, "tags": [" "]},
        "text",
        None,
        5,
        ["good"],
    ]
    features = declared(h)
    if "scopes" in features:
        bad += [{"content": good, "scope": "a//b"}, {"content": good, "scope": "a/*"}]
    if "temporal" in features:
        bad += [{"content": good, "valid_from": naive}]
    if "supports_supersession" in features:
        bad += [{"content": good, "supersedes": [h.unknown()]}]
    if "supports_metadata" in features:
        bad += [{"content": good, "metadata": {"a": "\x00"}}, {"content": good, "metadata": [1]}]
    return bad


@check("BAT-2", "one bad item fails alone", requires=ADD)
async def bad_items_fail_alone(h: Harness) -> None:
    """Put items that are bad in many ways between good ones."""
    bad = _bad_items(h)
    items = [item for each in bad for item in ({"content": h.marker()}, each)] + [{"content": h.marker()}]
    results = await add_all(h, items)
    h.require(len(results) == len(items), f"{len(items)} items got {len(results)} answers.")
    ids = []
    for place, (item, result) in enumerate(zip(items, results, strict=True)):
        if place % 2:
            _hold_error(h, result, "invalid_request", f"the bad item {item!r}")
        else:
            ids.append(_stored(h, result, item["content"]))
    await h.memory.wait_for_ingest(ids, h.user)
    h.expect(await h.all_ids(), ids, among=ids, what="list", all_expected=True)


@check("BAT-2", "a batch of bad items stores nothing", requires=ADD)
async def all_bad(h: Harness) -> None:
    """Add bad items only; items without a user have no owner."""
    for result in await add_all(h, _bad_items(h)):
        _hold_error(h, result, "invalid_request", "a bad item")
    for result in await h.memory.add_many([{"content": h.marker()}, {"content": h.marker()}]):
        _hold_error(h, result, "invalid_request", "an item without an owner")
    h.require(not await h.all_ids(), "a batch of bad items stored a record.")


@check("BAT-2", "a conflict in a batch fails alone", requires=(*ADD, "supports_supersession"))
async def conflicts_fail_alone(h: Harness) -> None:
    """Supersede one record twice within a batch, and another user's record."""
    old = await h.add(h.marker())
    theirs = await h.add(h.marker(), user_id=h.other)
    contents = [h.marker() for _ in range(4)]
    links: list[list[str]] = [[old.id], [old.id], [theirs.id], []]
    items = [{"content": c, "supersedes": ids} for c, ids in zip(contents, links, strict=True)]
    first, second, foreign, last = await h.memory.add_many(items, user_id=h.user)
    successor = _stored(h, first, contents[0])
    _hold_error(h, second, "conflict", "superseding twice")
    _hold_error(h, foreign, "invalid_request", "superseding another user's record")
    kept = _stored(h, last, contents[3])
    h.expect(await h.all_ids(), [successor, kept], among=[old.id, successor, kept], what="list")
    h.require((await h.memory.get(theirs.id)).superseded_by is None, "another user's record was superseded.")


@check("BAT-2", "an unknown, repeated or foreign id in delete_many fails alone", requires=DELETE)
async def deletes_fail_alone(h: Harness) -> None:
    """Delete known ids between an unknown, a deleted, a repeated and another user's."""
    ids = h.ids(await h.seed([{"content": h.marker()} for _ in range(4)]))
    theirs = await h.add(h.marker(), user_id=h.other)
    await h.memory.delete(ids[3], user_id=h.user)
    order = [h.unknown(), ids[0], theirs.id, ids[0], ids[3], ids[1]]
    results = await delete_all(h, order)
    h.require(len(results) == len(order), f"{len(order)} ids got {len(results)} answers.")
    for place, (each, result) in enumerate(zip(order, results, strict=True)):
        if place in (1, 5):
            h.require(
                result.id == each and result.error is None, f"the delete of {each} is answered by {whole(result)}"
            )
        else:
            _hold_error(h, result, "not_found", f"delete {place}")
    h.expect(await h.all_ids(), ids[2:3], among=ids, what="list")
    h.require(await h.all_ids(user_id=h.other) == [theirs.id], "another user's record was deleted.")


@check("BAT-3", "add_many stores what add would store", requires=ADD)
async def stores_what_add_stores(h: Harness) -> None:
    """Add the same items one by one for one user and as a batch for another, and compare every field."""
    external = {"external_id": h.own("key")} if "supports_external_id" in declared(h) else {}
    items = [{"content": f"{h.marker()} rich", **rich(h), **external}, {"content": f"  {h.marker()}\n東京 🚀 "}]
    single = [await h.memory.get(record.id) for record in await h.seed(items)]
    results = await h.memory.add_many(items, user_id=h.other)
    ids = [_stored(h, result, item["content"]) for result, item in zip(results, items, strict=True)]
    await h.memory.wait_for_ingest(ids, h.other)
    for one, each in zip(single, ids, strict=True):
        many = await h.memory.get(each, user_id=h.other)
        h.require(many.user_id == h.other, f"the owner is {many.user_id}.")
        same = one.model_dump(exclude=APART) == many.model_dump(exclude=APART)
        h.require(same, f"add stored {one}, add_many {many}")
        h.require(many.created_at == many.updated_at, f"created_at and updated_at differ at first: {many}")


@check("BAT-3", "add_many is searched like add", requires=ADD)
async def searched_like_add(h: Harness) -> None:
    """Search one user's records, added one by one, and another's, added as a batch, for ranks and scores."""
    word = h.marker()
    contents = [" ".join([word, *(h.marker() for _ in range(place))]) for place in range(4)]
    single = await h.seed([{"content": content} for content in contents])
    batch = await h.memory.add_many([{"content": content} for content in contents], user_id=h.other)
    await h.memory.wait_for_ingest([result.id for result in batch], h.other)
    for mode in modes(h):
        h.require(set(await found(h, word, mode=mode)) == set(h.ids(single)), f"{mode} search does not find all.")
        answers = []
        for user in (h.user, h.other):
            results = await h.memory.search(word, user, mode=mode)
            answers.append([(result.memory.content, round(result.score, 6)) for result in results])
        h.require(answers[0] == answers[1], f"{mode} search after add: {answers[0]}; after add_many: {answers[1]}")


@check("BAT-4", "an item that names another user than its batch is refused alone", requires=ADD)
async def items_stay_with_their_batch(h: Harness) -> None:
    """Add a batch for one user, one of whose items names another."""
    contents = [h.marker() for _ in range(3)]
    owners: list[dict[str, str]] = [{}, {"user_id": h.other}, {"user_id": h.user}]
    items = [{"content": content, **owner} for content, owner in zip(contents, owners, strict=True)]
    mine, foreign, named = await h.memory.add_many(items, user_id=h.user)
    refused = foreign.error is not None and foreign.error.code == "invalid_request"
    h.require(refused, f"an item of another user is answered by {foreign}")
    ids = [_stored(h, mine, contents[0]), _stored(h, named, contents[2])]
    await h.memory.wait_for_ingest(ids, h.user)
    h.expect(await h.all_ids(), ids, among=ids, what="list of the batch's user", all_expected=True)
    h.require(await h.all_ids(user_id=h.other) == [], "the refused item was stored for the user it names")


@check("BAT-3", "external_id updates within a batch as it does in add", requires=(*ADD, "supports_external_id"))
async def external_id_in_a_batch(h: Harness) -> None:
    """Add a key twice within a batch, and once more after it."""
    contents = [h.marker() for _ in range(3)]
    keys = tuple(map(h.own, ("one", "two", "one")))
    items = [{"content": content, "external_id": key} for content, key in zip(contents, keys, strict=True)]
    results = await h.memory.add_many(items, user_id=h.user)
    ids = [_stored(h, result, content) for result, content in zip(results, contents, strict=True)]
    h.require(ids[0] == ids[2] != ids[1], f"the ids for the keys {keys} are {ids}.")
    record = await h.memory.get(ids[0])
    h.require((record.content, record.version) == (contents[2], 2), f"the record is {record}")
    h.require(set(await h.all_ids()) == {ids[0], ids[1]}, "the batch stored more than two records.")


@check("BAT-2", "a malformed id fails alone in delete_many", requires=["delete_many"])
async def malformed_ids_fail_alone(h: Harness) -> None:
    """Name a record between ids that cannot be ids."""
    gone, stays = await h.seed([{"content": h.marker()}, {"content": h.marker()}])
    results = await h.memory.delete_many(["", gone.id, "x" * 300, "a\x00b"], user_id=h.user)
    codes = [result.error.code if result.error else None for result in results]
    bad = "invalid_request"
    h.require(codes == [bad, None, bad, bad], f"the ids are answered by {codes}")
    h.expect(await h.all_ids(), [stays.id], among=[gone.id, stays.id], what="list after the batch")
