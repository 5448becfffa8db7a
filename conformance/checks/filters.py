"""Filters: the golden table, row by row, and what is no filter."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from openmem.errors import InvalidRequestError, PayloadTooLargeError

from ..check import check
from ..filter_table import QUERY, RECORDS, ROWS, Row, needs, supported
from ..harness import Harness
from ..verdicts import Failure
from ._shared import declared, found, modes

FILTERS = ("filters",)
METADATA = (*FILTERS, "supports_metadata")
OWN: dict[str, Callable[[Harness, str], str]] = {
    "content": Harness.own,
    "external_id": Harness.own,
    "tags": Harness.own,
    "scope": Harness.scope,
}
"""Fields of the table's records of which no two runs store the same."""
SAMPLE = 4
"""Every so-manieth row is read through search as well."""


async def _seed(h: Harness) -> dict[str, str]:
    """Store the records of the table; return id -> name."""
    features = declared(h)
    records = await h.seed([_own_record(h, supported(fields, features)) for fields in RECORDS.values()])
    return dict(zip(h.ids(records), RECORDS, strict=True))


def _own_record(h: Harness, fields: dict[str, Any]) -> dict[str, Any]:
    """Make a record of the table this run's own, so that it tells nothing of another's."""
    return {name: _own(h, name, value) for name, value in fields.items()}


def _own(h: Harness, name: str, value: Any) -> Any:
    """Make a value of a field, or values of it, those that this run stores."""
    if isinstance(value, list) and name in OWN:
        return [_own(h, name, each) for each in value]
    return OWN[name](h, value) if name in OWN else value


def _own_filter(h: Harness, filter_: dict[str, Any]) -> dict[str, Any]:
    """Make a filter of the table select the same among this run's records; a part of a text stays one."""
    made: dict[str, Any] = {}
    for name, given in filter_.items():
        if name in ("and", "or"):
            made[name] = [_own_filter(h, part) for part in given]
        elif name == "not":
            made[name] = _own_filter(h, given)
        elif isinstance(given, dict):
            part = {"exists"} if name == "tags" else {"exists", "contains"}
            made[name] = {op: value if op in part else _own(h, name, value) for op, value in given.items()}
        else:
            made[name] = _own(h, name, given)
    return made


def _rows(h: Harness, *topics: str) -> list[Row]:
    """Choose the rows of some topics, or of all, that the provider has the fields for."""
    return [row for row in ROWS if (not topics or row.topic in topics) and needs(row.filter) <= declared(h)]


def _hold(h: Harness, row: Row, ids: list[str], names: dict[str, str], verb: str) -> str | None:
    """Hold one row's answer against the table; return what is wrong with it."""
    strange = [each for each in ids if each not in names]
    if strange:
        return f"{verb} by {json.dumps(row.filter, ensure_ascii=False)} answered another's {strange}"
    try:
        what = f"{verb} by {json.dumps(row.filter, ensure_ascii=False)}"
        h.expect([names[each] for each in ids], row.expected, among=RECORDS, what=what)
    except Failure as failure:
        return str(failure)
    return None


async def _run(h: Harness, *topics: str) -> None:
    """List by each row and fail with every row that differs."""
    names = await _seed(h)
    wrong = [
        _hold(h, row, await h.all_ids(filter=_own_filter(h, row.filter)), names, "list") for row in _rows(h, *topics)
    ]
    _report(h, wrong)


def _report(h: Harness, wrong: list[str | None]) -> None:
    failures = [each for each in wrong if each]
    h.require(not failures, f"{len(failures)} of {len(wrong)} rows differ: " + "; ".join(failures))


@check("FIL-1", "the golden table: text", requires=FILTERS)
async def text_rows(h: Harness) -> None:
    """List by the rows on text."""
    await _run(h, "text")


@check("FIL-1", "the golden table: tags", requires=FILTERS)
async def tag_rows(h: Harness) -> None:
    """List by the rows on tags."""
    await _run(h, "tags")


@check("FIL-1", "the golden table: source", requires=FILTERS)
async def source_rows(h: Harness) -> None:
    """List by the rows on source and its fields."""
    await _run(h, "source")


@check("FIL-1", "the golden table: nested metadata and lists", requires=METADATA)
async def nested_rows(h: Harness) -> None:
    """List by the rows on paths into metadata."""
    await _run(h, "nested")


@check("FIL-1", "the golden table: extensions", requires=METADATA)
async def extension_rows(h: Harness) -> None:
    """List by the rows on x- fields."""
    await _run(h, "extensions")


@check("FIL-1", "the golden table: and, or, not", requires=FILTERS)
async def combination_rows(h: Harness) -> None:
    """List by the rows that combine conditions."""
    await _run(h, "combinations")


@check("FIL-1", "fields that the provider sets can be filtered by", requires=FILTERS)
async def fields_of_the_provider(h: Harness) -> None:
    """List by id and created_at as they came back, and by version after an update."""
    records = await h.seed([{"content": h.marker()} for _ in range(4)])
    ids, moment = h.ids(records), records[1].created_at
    far = moment.astimezone(timezone(timedelta(hours=9)))
    filters: list[tuple[dict[str, Any], list[str]]] = [
        ({"id": ids[2]}, ids[2:3]),
        ({"id": {"in": ids[:2]}}, ids[:2]),
        ({"id": {"ne": ids[0]}}, ids[1:]),
        ({"created_at": {"gt": moment.isoformat()}}, [r.id for r in records if r.created_at > moment]),
        ({"created_at": {"lte": far.isoformat()}}, [r.id for r in records if r.created_at <= moment]),
        ({"created_at": moment.isoformat()}, [r.id for r in records if r.created_at == moment]),
    ]
    if "update" in h.capabilities.verbs:
        await h.memory.update(ids[3], user_id=h.user, kind="fact")
        filters += [({"version": {"gt": 1}}, ids[3:]), ({"version": 1}, ids[:3])]
    for filter_, expected in filters:
        h.expect(await h.all_ids(filter=filter_), expected, among=ids, what=f"list by {filter_}")


@check("FIL-1", "links can be filtered by", requires=(*FILTERS, "supports_supersession", "temporal"))
async def links(h: Harness) -> None:
    """List by supersedes and superseded_by."""
    old, kept = await h.seed([{"content": h.marker()} for _ in range(2)])
    new = await h.add(h.marker(), supersedes=[old.id])
    for filter_, expected in (
        ({"supersedes": {"contains": old.id}}, [new.id]),
        ({"supersedes": {"exists": False}}, [old.id, kept.id]),
        ({"superseded_by": new.id}, [old.id]),
        ({"superseded_by": {"exists": False}}, [kept.id, new.id]),
        ({"superseded_at": {"exists": True}}, [old.id]),
    ):
        ids = await h.all_ids(filter=filter_, include=["superseded"])
        h.expect(ids, expected, among=[old.id, kept.id, new.id], what=f"list by {filter_}")


@check("FIL-1", "a filter narrows what the other arguments select", requires=FILTERS)
async def filters_only_narrow(h: Harness) -> None:
    """Filter by another user's id, and by alternatives to the tag that is asked for."""
    mine = await h.seed([{"content": h.marker(), "kind": kind, "tags": [h.own(kind)]} for kind in ("a", "b")])
    theirs = await h.seed([{"content": h.marker(), "kind": "a", "tags": [h.own("a")]}], user_id=h.other)
    among = h.ids([*mine, *theirs])
    every = {"or": [{"user_id": h.other}, {"kind": {"exists": True}}]}
    h.expect(await h.all_ids(filter={"user_id": h.other}), [], among=among, what="another's", none_expected=True)
    h.expect(await h.all_ids(filter={"user_id": {"ne": h.user}}), [], among=among, what="not mine", none_expected=True)
    h.expect(await h.all_ids(filter=every), h.ids(mine), among=among, what="another's or mine")
    h.expect(await h.all_ids(filter=every, tag=h.own("b")), h.ids(mine[1:]), among=among, what="of a tag")


@check("FIL-2", "a missing or null field satisfies only exists: false, ne and nin", requires=FILTERS)
async def missing_rows(h: Harness) -> None:
    """List by the rows on fields that some records lack."""
    await _run(h, "missing")


@check("FIL-2", "missing and null are held against every operator", requires=METADATA)
async def missing_under_every_operator(h: Harness) -> None:
    """List by each operator among a record that has a key, one where it is null and one without it."""
    has, null, lacks = await h.seed(
        [{"content": h.marker(), "metadata": metadata} for metadata in ({"k": 5}, {"k": None}, {"other": 1})]
    )
    among, none = h.ids([has, null, lacks]), [null.id, lacks.id]
    held: list[tuple[str, Any]] = [
        ("gt", -9),
        ("gte", 0),
        ("lt", 99),
        ("lte", 5),
        ("eq", 5),
        ("in", [5]),
        ("exists", True),
    ]
    lacking: list[tuple[str, Any]] = [("ne", 5), ("nin", [5, ""]), ("exists", False)]
    for operator, value in held:
        ids = await h.all_ids(filter={"metadata.k": {operator: value}})
        h.expect(ids, [has.id], among=among, what=f"{operator} {value}")
        ids = await h.all_ids(filter={"not": {"metadata.k": {operator: value}}})
        h.expect(ids, none, among=among, what=f"not {operator} {value}")
    for operator, value in lacking:
        ids = await h.all_ids(filter={"metadata.k": {operator: value}})
        h.expect(ids, none, among=among, what=f"{operator} {value}")
    for null_like in ("", 0, False, "None", "null"):
        ids = await h.all_ids(filter={"metadata.k": null_like})
        h.expect(ids, [], among=among, what=f"equal to {null_like!r}", none_expected=True)


@check("FIL-3", "the golden table: numbers", requires=FILTERS)
async def number_rows(h: Harness) -> None:
    """List by the rows on numbers, large and small."""
    await _run(h, "numbers")


@check("FIL-3", "the golden table: unlike types never match", requires=METADATA)
async def type_rows(h: Harness) -> None:
    """List by the rows on numbers, numeric text and booleans under one key."""
    await _run(h, "types")


@check("FIL-3", "the golden table: moments", requires=(*FILTERS, "temporal"))
async def moment_rows(h: Harness) -> None:
    """List by the rows on moments, of other time zones and to the microsecond."""
    await _run(h, "moments")


_BAD: list[dict[str, Any]] = [
    {"topic": "billing"},
    {"Kind": "fact"},
    {"kind ": "fact"},
    {"": "fact"},
    {"$where": "1"},
    {"1=1; --": 1},
    {"x-": 1},
    {"kind.name": "fact"},
    {"metadata": {"topic": "billing"}},
    {"metadata": 1},
    {"metadata.": 1},
    {"metadata..topic": 1},
    {"source": "mail"},
    {"kind": None},
    {"kind": {}},
    {"kind": []},
    {"kind": ["fact"]},
    {"kind": {"like": "f%"}},
    {"kind": {"$eq": "fact"}},
    {"kind": {"EQ": "fact"}},
    {"kind": {"regex": ".*"}},
    {"kind": {"eq": None}},
    {"kind": {"eq": ["fact"]}},
    {"kind": {"eq": "fact", "unknown": 1}},
    {"kind": {"in": "fact"}},
    {"kind": {"in": {}}},
    {"kind": {"nin": None}},
    {"kind": {"in": [None]}},
    {"kind": {"in": [["fact"]]}},
    {"kind": {"exists": 1}},
    {"kind": {"exists": "true"}},
    {"kind": {"exists": None}},
    {"kind": {"eq": "\x00"}},
    {"kind": {"eq": "\ud800"}},
    {"importance": {"gt": True}},
    {"importance": {"gt": math.nan}},
    {"importance": math.inf},
    {"created_at": {"gt": "yesterday"}},
    {"created_at": {"gt": "2026-01-31T12:00:00"}},
    {"created_at": {"gt": 1767225600}},
    {"tags": "red"},
    {"tags": {"eq": "red"}},
    {"tags": {"in": ["red"]}},
    {"and": []},
    {"or": []},
    {"and": {"kind": "fact"}},
    {"or": {"kind": "fact"}},
    {"or": "fact"},
    {"or": ["fact"]},
    {"or": [{"kind": "fact"}, {"topic": 1}]},
    {"or": [None]},
    {"not": []},
    {"not": [{"kind": "fact"}]},
    {"not": None},
    {"not": {"topic": 1}},
    {"AND": [{"kind": "fact"}]},
    {"kind": "fact", "topic": "billing"},
]


@check("FIL-4", "unknown fields, operators and malformed filters are refused", requires=FILTERS)
async def malformed_filters(h: Harness) -> None:
    """List and search by what is no filter, and by one."""
    fact = await h.add(h.marker(), kind="fact", tags=[h.own("red")])
    other = await h.add(h.marker(), kind="event")
    ids = await h.all_ids(filter={"kind": "fact"})
    h.expect(ids, [fact.id], among=[fact.id, other.id], what="list by a good filter")
    for bad in _BAD:
        await h.refused(h.memory.list(h.user, filter=bad), InvalidRequestError)
        await h.refused(h.memory.search("fact", h.user, filter=bad), InvalidRequestError)


@check("FIL-4", "a naive moment in a filter is refused", requires=FILTERS)
async def naive_moments(h: Harness) -> None:
    """Filter by moments without a time zone and by aware ones."""
    record = await h.add(h.marker())
    naive = datetime(2020, 1, 1)
    for bad in (naive.isoformat(), "2020-01-01", ""):
        await h.refused(h.memory.list(h.user, filter={"created_at": {"gt": bad}}), InvalidRequestError)
    aware = naive.replace(tzinfo=UTC).isoformat()
    h.require(not await h.all_ids(filter={"created_at": {"lt": aware}}), "a record of today is older than 2020.")
    h.require(await h.all_ids(filter={"created_at": {"gt": aware}}) == [record.id], "an aware moment found nothing.")


@check("FIL-4", "a filter nested without end is refused", requires=FILTERS)
async def deep_filters(h: Harness) -> None:
    """Nest and, or and not a few levels, which works, and a thousand, which does not."""
    fact, other = await h.seed([{"content": h.marker(), "kind": kind} for kind in ("fact", "event")])
    for depth, wrap in ((4, "and"), (4, "or"), (4, "not"), (1000, "and"), (1000, "not")):
        filter_: dict[str, Any] = {"kind": "fact"}
        for _ in range(depth):
            filter_ = {wrap: filter_ if wrap == "not" else [filter_]}
        if depth == 1000:
            await h.refused(h.memory.list(h.user, filter=filter_), InvalidRequestError)
        else:
            ids = await h.all_ids(filter=filter_)
            h.expect(ids, [fact.id], among=[fact.id, other.id], what=f"{depth} times {wrap}")


@check("FIL-8", "the golden table: lists of no values", requires=FILTERS)
async def rows_of_empty_lists(h: Harness) -> None:
    """List by the rows on lists of no values, among other conditions."""
    await _run(h, "empty lists")


@check("FIL-8", "in of no values selects nothing, and nin of none everything", requires=FILTERS)
async def empty_lists(h: Harness) -> None:
    """List, and search in every mode, by empty lists alone, on fields that some records have."""
    word = h.marker()
    fields: list[dict[str, Any]] = [{"kind": "fact", "importance": 0.5}, {"kind": "event"}, {}]
    ids = h.ids(await h.seed([{"content": f"{word} {h.marker()}", **each} for each in fields]))
    for name in ("kind", "importance", "created_at", "content", "external_id", "metadata.topic"):
        if not needs({name: 1}) <= declared(h):
            continue
        none: dict[str, Any] = {name: {"in": []}}
        every: dict[str, Any] = {name: {"nin": []}}
        for filter_, some in ((none, False), (every, True), ({"not": none}, True), ({"not": every}, False)):
            answers = {"list": await h.all_ids(filter=filter_)}
            answers |= {f"{mode} search": await found(h, word, mode=mode, filter=filter_) for mode in modes(h)}
            for verb, got in answers.items():
                what = f"{verb} by {json.dumps(filter_)}"
                h.expect(got, ids if some else [], among=ids, what=what, all_expected=some, none_expected=not some)


@check("FIL-5", "a filter selects in search as in list", requires=FILTERS)
async def rows_through_search(h: Harness) -> None:
    """Search in every mode by a sample of the whole table."""
    names = await _seed(h)
    wrong = []
    for mode in modes(h):
        everything = await found(h, QUERY, mode=mode)
        h.require(len(everything) == len(RECORDS), f"{mode} search finds {len(everything)} of {len(RECORDS)}.")
        for row in _rows(h)[::SAMPLE]:
            ids = await found(h, QUERY, mode=mode, filter=_own_filter(h, row.filter))
            wrong.append(_hold(h, row, ids, names, f"{mode} search"))
    _report(h, wrong)


@check("FIL-5", "a filter leaves the order of what it selects", requires=FILTERS)
async def order_of_filtered_results(h: Harness) -> None:
    """Search with and without a filter that leaves the best match in."""
    word = h.marker()
    kinds = ("a", "b", "a", "b", "a")
    contents = [" ".join([word, *(h.marker() for _ in range(3 * place))]) for place in range(len(kinds))]
    records = await h.seed([{"content": c, "kind": k} for c, k in zip(contents, kinds, strict=True)])
    wanted = h.ids(records[::2])
    for mode in modes(h):
        expected = [each for each in await found(h, word, mode=mode) if each in wanted]
        some = await found(h, word, mode=mode, filter={"kind": "a"})
        h.expect(some, wanted, among=h.ids(records), what=f"{mode} search")
        h.require(some == expected, f"{mode} search by filter has the order {some}, without it {expected}.")


@check("FIL-6", "the golden table: hostile values", requires=METADATA)
async def value_rows(h: Harness) -> None:
    """List by values that hold quotes, patterns, paths and other scripts."""
    await _run(h, "values")


@check("FIL-6", "the golden table: hostile keys", requires=METADATA)
async def key_rows(h: Harness) -> None:
    """List by metadata keys that hold spaces, quotes, paths and other scripts."""
    await _run(h, "keys")


@check("FIL-6", "hostile values and keys harm nothing", requires=METADATA)
async def injections(h: Harness) -> None:
    """Filter by injections of several languages; they find nothing and leave all records where they are."""
    hostile = [
        "x' OR '1'='1",
        '" OR ""="',
        "'; DROP TABLE memories; --",
        "%' OR 1=1 /*",
        "${jndi:x}",
        "{{7*7}}",
        "\\",
        "*",
    ]
    mine = await h.seed(
        [{"content": h.marker(), "kind": "k", "metadata": {"k": "v"}, "tags": [h.own("t")]} for _ in range(2)]
    )
    theirs = await h.seed([{"content": h.marker(), "metadata": {"k": "v"}}], user_id=h.other)
    good = await h.all_ids(filter={"metadata.k": "v"})
    h.expect(good, h.ids(mine), among=h.ids([*mine, *theirs]), what="list by a good filter")
    for text in hostile:
        key = f"metadata.{text.replace('.', '')}"
        for filter_ in ({"metadata.k": text}, {"kind": text}, {"tags": {"contains": text}}, {key: {"exists": True}}):
            what = f"list by {filter_}"
            h.expect(await h.all_ids(filter=filter_), [], among=h.ids(mine), what=what, none_expected=True)
            h.require(not await found(h, mine[0].content, filter=filter_), f"search by {filter_} found a record.")
    h.require(set(await h.all_ids()) == set(h.ids(mine)), "records are gone.")
    h.require(await h.all_ids(user_id=h.other) == h.ids(theirs), "another user's records are gone.")


@check("FIL-7", "a filter that is too large is refused, one as large as may be is answered", requires=METADATA)
async def sizes(h: Harness) -> None:
    """Filter by as many conditions as are declared, by one more, and by too long a text."""
    limits = h.capabilities.limits
    most, longest = (limits and limits.max_filter_conditions) or 500, (limits and limits.max_filter_bytes) or 65_536
    good, other = await h.seed([{"content": h.marker(), "metadata": {"n": n}} for n in (1, 2)])
    condition = {"metadata.n": 1}
    found_ids = await h.all_ids(filter={"or": [condition] * most})
    h.expect(found_ids, [good.id], among=[good.id, other.id], what=f"list by {most} conditions")
    for filter_ in ({"or": [condition] * (most + 1)}, {"metadata.n": "x" * longest}):
        for call in (h.memory.list(h.user, filter=filter_), h.memory.search("x", h.user, filter=filter_)):
            await h.refused(call, PayloadTooLargeError, InvalidRequestError)
