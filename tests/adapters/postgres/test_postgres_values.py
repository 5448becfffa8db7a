"""postgres:// and what it is given: filters, numbers, hostile texts, long texts, batches."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openmem import InvalidRequestError, Memory, OMPError
from support.clocks import START, Clock
from support.servers import PostgresCluster
from support.stores import everything

STATES: Any = ["superseded", "expired", "upcoming", "archived"]


@pytest.fixture(scope="module")
def pair(postgres: PostgresCluster) -> Iterator[tuple[Memory, Memory]]:
    """memory://, which is the reference, and postgres:// with the same clock."""
    name = postgres.create()
    clock = Clock()
    memories = [Memory(url, embedder="test:16", clock=clock, retries=0) for url in ("memory://", postgres.url(name))]
    yield memories[0], memories[1]
    for memory in memories:
        memory.close()
    postgres.drop(name)


users = (f"user {number}" for number in itertools.count())


# --- filters ----------------------------------------------------------------------------------------------------

NASTY = [
    "",
    "%",
    "'",
    '"',
    "\\",
    "{}",
    "$1",
    "%s",
    "%(p0)s",
    "a.b",
    "é",
    "e\u0301",
    "日本",
    "Z",
    "a",
    "_",
    "\U0001f600",
]
TEXTS = st.sampled_from(NASTY) | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)
LARGE = [2**53, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63), 2.0**63, 1e20, 1e300, 5e-324, -0.0, 0, 0.1, 1, 1.0, -1.5]
NUMBERS = st.sampled_from(LARGE) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = TEXTS | NUMBERS | st.booleans()
JSON = st.recursive(
    SCALARS | st.none(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)
KEYS = st.sampled_from(["k", "l", "x y", "%s", "'", '"', "\\", "a]", "$1", "-1", "0", "é", "{k}"])
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON, max_size=2), max_size=3),
        "tags": st.lists(TEXTS.filter(str.strip), max_size=3, unique=True),
        "kind": TEXTS.filter(str.strip),
        "importance": st.floats(0, 1),
        "confidence": st.sampled_from([0, 0.0, 0.5, 1]),
        "pinned": st.booleans(),
        "valid_from": st.integers(-3, -1).map(lambda days: START + timedelta(days=days)),
        "source": st.fixed_dictionaries({"app": TEXTS.filter(str.strip)}, optional={"x-own": JSON}),
        "x-own": JSON,
    },
)
DATES = st.integers(-3, 3).map(lambda days: (START + timedelta(days=days)).isoformat())
FIELDS = ["kind", "importance", "confidence", "pinned", "content", "x-own", "x-own.k", "source.app", "source.x-own"]
FIELDS += ["id", "user_id", "version"]
PATHS = st.lists(KEYS, min_size=1, max_size=2).map(lambda keys: ".".join(["metadata", *keys]))


def operators(values: st.SearchStrategy[Any], ordered: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(values, min_size=1, max_size=3)
    operands = {
        **dict.fromkeys(("eq", "ne", "contains"), values),
        **dict.fromkeys(("in", "nin"), several),
        **dict.fromkeys(("gt", "gte", "lt", "lte"), ordered),
        "exists": st.booleans(),
    }
    one = st.sampled_from(sorted(operands)).flatmap(lambda name: st.fixed_dictionaries({name: operands[name]}))
    return one | values | st.tuples(one, one).map(lambda pair: {**pair[0], **pair[1]})


def conditions(field: st.SearchStrategy[str], condition: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(field, condition).map(lambda pair: {pair[0]: pair[1]})


def held(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Walk the scalars of a record with the paths that lead to them, those in lists included."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from held(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in value:
            yield from held(item, path)
    elif isinstance(value, (str, int, float)):
        yield path, value


def filters(records: list[dict[str, Any]]) -> st.SearchStrategy[Any]:
    """Make filters of which many hold a field of the records against one of their values, or one near to it."""
    found = [pair for record in records for pair in held({k: record[k] for k in record if k != "valid_from"}, "")]
    near = [other for _, value in found if isinstance(value, float) for other in (-value, value + 1)]
    values = st.sampled_from([value for _, value in found] + near) | SCALARS if found else SCALARS
    ordered = values.filter(lambda value: not isinstance(value, bool))
    paths = st.sampled_from([path for path, _ in found if not path.startswith("tags")] + FIELDS) | PATHS
    lists = st.fixed_dictionaries({"contains": values}) | st.fixed_dictionaries({"exists": st.booleans()})
    single = st.one_of(
        conditions(paths, operators(values, ordered)),
        conditions(paths, operators(values, ordered)),
        conditions(st.sampled_from(["created_at", "updated_at", "valid_from", "valid_to"]), operators(DATES, DATES)),
        conditions(st.sampled_from(["tags", "supersedes"]), lists),
    )
    return st.recursive(
        single,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"and": parts}),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"or": parts}),
            inner.map(lambda part: {"not": part}),
        ),
        max_leaves=4,
    )


def selection(memory: Memory, user: str, filter_: Any) -> list[str | None] | str:
    try:
        return [record.external_id for record in memory.list(user, filter=filter_, limit=100).items]
    except OMPError as error:
        return error.code


@settings(max_examples=120, suppress_health_check=list(HealthCheck))
@given(records=st.lists(RECORDS, min_size=1, max_size=8), data=st.data())
def test_filters_select_what_the_predicate_selects(
    pair: tuple[Memory, Memory], records: list[dict[str, Any]], data: st.DataObject
) -> None:
    user = next(users)
    items = [{"content": "text", "user_id": user, "external_id": str(n), **each} for n, each in enumerate(records)]
    for memory in pair:
        assert [result.error for result in memory.add_many(items)] == [None] * len(items)
    for filter_ in data.draw(st.lists(filters(records), min_size=8, max_size=16)):
        expected, found = (selection(memory, user, filter_) for memory in pair)
        assert found == expected, filter_
        if isinstance(found, list):
            hits = pair[1].search("text", user, filter=filter_, limit=100)
            assert {hit.memory.external_id for hit in hits} == set(found)


STAMPED = st.fixed_dictionaries(
    {},
    optional={
        "scope": st.sampled_from(["a", "a/b", "%", "é", "a b/c"]),
        "tags": st.lists(st.sampled_from(["x", "X", "é", "%s", "a,b"]), max_size=4, unique=True),
        "kind": st.sampled_from(["fact", "%", "é"]),
        "archived": st.booleans(),
        "valid_from": st.integers(-3, 3).map(lambda days: START + timedelta(days=days)),
        "valid_to": st.integers(4, 5).map(lambda days: START + timedelta(days=days - 4)),
    },
)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(records=st.lists(STAMPED, max_size=12), links=st.lists(st.integers(0, 11), max_size=4, unique=True))
def test_the_server_counts_what_memory_counts(
    pair: tuple[Memory, Memory], records: list[dict[str, Any]], links: list[int]
) -> None:
    user = next(users)
    counts = []
    for memory in pair:
        ids: list[str] = []
        for each in records:
            try:
                ids.append(memory.add("text", user, **each).id)
            except InvalidRequestError:  # it would end before it begins
                continue
        for link in links:
            if link < len(ids):
                memory.add("successor", user, supersedes=[ids[link]])
        counts.append(memory.stats(user).model_dump(exclude={"audit_dropped"}))
    assert counts[0] == counts[1]


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(stored=st.lists(NUMBERS, min_size=1, max_size=6), value=NUMBERS)
@example(stored=[2**53, 2**53 + 1, 2**53 + 2], value=2.0**53)
@example(stored=[2**63 - 1, 2.0**63], value=2**63 - 1)
@example(stored=[0, 0.0, -0.0, 5e-324, -5e-324], value=-0.0)
@example(stored=[10**18, 1e18, 1e18 + 128], value=10**18 + 1)
@example(stored=[0.1, 1e300, -1e300, 1.7976931348623157e308], value=1e300)
def test_numbers_compare_exactly(pair: tuple[Memory, Memory], stored: list[float], value: float) -> None:
    user = next(users)
    items = [
        {"content": "text", "user_id": user, "external_id": str(n), "metadata": {"n": number}}
        for n, number in enumerate(stored)
    ]
    pair[1].add_many(items)
    compared = {
        "eq": lambda number: number == value,
        "ne": lambda number: number != value,
        "lt": lambda number: number < value,
        "lte": lambda number: number <= value,
        "gt": lambda number: number > value,
        "gte": lambda number: number >= value,
    }
    for operator, holds in compared.items():
        expected = [str(n) for n, number in enumerate(stored) if holds(number)]
        found = selection(pair[1], user, {"metadata.n": {operator: value}})
        assert sorted(found) == sorted(expected), operator


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(TEXTS, min_size=1, max_size=8), bound=TEXTS)
@example(texts=["a", "B", "_", "é", "z", "\uffff", "\U00010000", "ss", "ß"], bound="b")
def test_texts_are_ordered_by_code_points(pair: tuple[Memory, Memory], texts: list[str], bound: str) -> None:
    user = next(users)
    items = [
        {"content": "text", "user_id": user, "external_id": str(n), "metadata": {"t": text}}
        for n, text in enumerate(texts)
    ]
    pair[1].add_many(items)
    expected = [str(n) for n, text in enumerate(texts) if text < bound]
    assert sorted(selection(pair[1], user, {"metadata.t": {"lt": bound}})) == sorted(expected)


# --- values -----------------------------------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    """Compare values and their types; zero has one sign, since jsonb keeps none."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


ODD = {
    "large": [1e20, 1e300, -1e300, 1.7976931348623157e308, 1e16, 1e22, 123456789012345680000.0],
    "small": [5e-324, -5e-324, 1e-7, 2.2250738585072014e-308, 0.1 + 0.2],
    "zeros": [0, 0.0, -0.0],
    "whole": [2**63 - 1, -(2**63), 2**53 + 1, 10**18, 1, 1.0, True],
    "nulls": [None, {"a": None}, [None, [None]], {}, [], ""],
    "keys": {"": 1, " ": 2, "a.b": 3, "1e+20": 4, '"': 5, "\\u0041": 6, "e+": 7},
}


def test_odd_values_come_back_as_they_were(pair: tuple[Memory, Memory]) -> None:
    user = next(users)
    for name, value in [*ODD.items(), ("all", ODD)]:
        metadata = {"v": value}
        alone = pair[1].add(f"text e+ {name}", user, metadata=metadata, **{"x-own": value})
        [batched] = pair[1].add_many([{"content": "e+", "user_id": user, "metadata": metadata, "x-own": value}])
        changed = pair[1].update(pair[1].add("text", user).id, metadata=metadata, **{"x-own": value})
        for memory_id in (alone.id, batched.id, changed.id):
            read = pair[1].get(str(memory_id))
            assert same(read.metadata, metadata), name
            assert same((read.model_extra or {})["x-own"], value), name
        pair[1].update(alone.id, pinned=True)
        assert same(pair[1].get(alone.id).metadata, metadata), "another change left it alone"


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(value=JSON)
def test_any_metadata_comes_back_as_it_was(pair: tuple[Memory, Memory], value: Any) -> None:
    user = next(users)
    record = pair[1].add("text", user, metadata={"v": value})
    [listed] = pair[1].list(user).items
    # a null in metadata is no value: what the reference keeps of it is what is expected
    expected = pair[0].add("text", user, metadata={"v": value}).metadata
    for read in (record, listed, pair[1].get(record.id)):
        assert same(read.metadata, expected)


def test_moments_keep_their_microseconds(pair: tuple[Memory, Memory]) -> None:
    user = next(users)
    for moment in (START.replace(year=1), START.replace(year=9998, microsecond=999999), START.replace(microsecond=1)):
        record = pair[1].add("text", user, valid_from=moment)
        assert pair[1].get(record.id).valid_from == moment
        found = pair[1].list(user, filter={"valid_from": moment.isoformat()}, include=STATES).items
        assert record.id in {each.id for each in found}


def test_long_texts_are_found_by_their_words(pair: tuple[Memory, Memory]) -> None:
    user = next(users)
    longest = "x" * 32_000
    texts = [
        longest,
        longest + "y",
        "z" * 100_000,
        "日本" * 50_000,
        "\U0001f600" * 1000 + " tea",
        ("swan " * 20_000).strip(),
        "é" * 257,
    ]
    ids = [pair[1].add(text, user).id for text in texts]
    batched = pair[1].add_many([{"content": text, "user_id": next(users)} for text in texts])
    assert [result.error for result in batched] == [None] * len(texts)
    for text, memory_id in zip(texts, ids, strict=True):
        assert pair[1].get(memory_id).content == text
    for query, expected in ((longest, ids[0]), (longest + "y", ids[1]), ("swans", ids[5]), ("tea", ids[4])):
        assert [hit.memory.id for hit in pair[1].search(query, user, mode="keyword")] == [expected]
    assert [hit.memory.id for hit in pair[1].search("é" * 257, user, mode="keyword")] == [ids[6]]
    pair[1].update(ids[0], content="short")
    assert pair[1].search(longest, user, mode="keyword") == []
    pair[1].delete(ids[1])
    assert pair[1].search(longest + "y", user, mode="keyword") == []


@pytest.mark.parametrize("alphabet", ["\U0001f600", "".join(map(chr, range(0x20000, 0x2A000)))])
def test_the_longest_names_fit_every_index(pair: tuple[Memory, Memory], alphabet: str) -> None:
    """An entry of an index of Postgres has an upper size, and what does not compress well reaches it first."""
    random.seed(5)

    def name(length: int) -> str:
        return "".join(random.choices(alphabet, k=length))

    user, key, scope, tag, word = name(256), name(256), name(1024), name(256), "ж" * 2 + name(254)
    far = f"{scope[:510]}/{scope[510:1021]}"
    for memory in pair:
        memory.add("a long fact", user)
        kept = memory.add("another fact", user, external_id=key)
        assert memory.add("another fact", user, external_id=key).id == kept.id
        memory.add(f"scoped {word} {word}{word[1:]}", user, scope=scope)
        memory.add("scoped fact", user, scope=far, tags=[tag], kind=name(64), source={"app": name(256)})
        items = [{"content": f"word{n} {word}", "user_id": user, "external_id": f"{n:02}{key[2:]}"} for n in range(30)]
        assert [result.error for result in memory.add_many(items)] == [None] * 30
        assert [record.scope for record in memory.list(user, scope=scope).items] == [scope]
        assert [record.scope for record in memory.list(user, scope=scope[:510]).items] == [far]
        assert [record.scope for record in memory.list(user, scope=f"{scope[:510]}/*").items] == [far]
        assert [record.tags for record in memory.list(user, tag=tag).items] == [[tag]]
        assert len(memory.list(user, filter={"external_id": {"gte": key[2:]}}).items) == sum(
            external >= key[2:] for external in [key, *(item["external_id"] for item in items)]
        )
        assert len(memory.audit(user)) > 3
        with pytest.raises(InvalidRequestError):
            memory.add("x", user + "x")
        with pytest.raises(InvalidRequestError):
            memory.add("x", user, scope=scope + "x")
    found = [[hit.score for hit in memory.search(f"{word} fact", user, mode="keyword")] for memory in pair]
    assert found[1] == pytest.approx(found[0])
    assert len(found[0]) == 10


# --- hostile texts ----------------------------------------------------------------------------------------------

FRAGMENTS = [
    "'; DROP TABLE openmem.memories; --",
    "' OR '1'='1",
    '" OR ""="',
    "\\'; SELECT pg_sleep(9); --",
    "%s",
    "%(p0)s",
    "%%",
    "%",
    "{}",
    "{0}",
    "${x}",
    "$1",
    "$$ $tag$",
    "\\",
    "\\N",
    "\\.",
    "\\x00",
    "E'\\047'",
    "\t",
    "\n",
    "\r\n",
    "\x01\x02\x1f\x7f\x80\x9f",
    "/* */",
    "--",
    ";",
    "openmem.memories",
    "NULL",
    "null",
    "DEFAULT",
    "{NULL}",
    '{"a":1}',
    "[]",
    "(1,2)",
    "\u202eabc\u202c",
    "مرحبا",
    "שלום",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "e\u0301",
    "\ufeff",
    "\u2028",
    "\uffff",
    "\U0010ffff",
    "İıſK",
    "a" * 200,
    "'" * 60,
    "\\" * 61,
]


def hostile(count: int) -> list[str]:
    random.seed(7)
    made: dict[str, None] = {}
    while len(made) < count:
        text = "".join(random.choices(FRAGMENTS, k=random.randint(1, 4)))[:250]
        if text.strip():
            made[text] = None
    return list(made)


def test_hostile_texts_are_data_everywhere(postgres: PostgresCluster, pair: tuple[Memory, Memory]) -> None:
    """A thousand texts, each as user, external id, tag, kind, key and value of metadata, scope, content and query."""
    memory = pair[1]
    texts = hostile(1000)
    scopes = [f"s/{text.replace('/', '|').replace('*', '+')}" for text in texts]
    ids = []
    for number, (text, scope) in enumerate(zip(texts, scopes, strict=True)):
        fields: dict[str, Any] = {
            "external_id": text,
            "tags": [text],
            "kind": text[:64],
            "scope": scope,
            "metadata": {text: text, "n": number},
            "source": {"app": text},
            "x-own": {text: [text]},
        }
        if number % 2:
            ids.append(memory.add(text, text, **fields).id)
        else:
            [result] = memory.add_many([{"content": text, "user_id": text, **fields}])
            assert result.error is None, (text, result.error)
            ids.append(str(result.id))
    copied = memory.add_many(
        [{"content": text, "user_id": text, "external_id": "copy", "tags": [text]} for text in texts]
    )
    assert [result.error for result in copied] == [None] * 1000
    for number, (text, scope, memory_id) in enumerate(zip(texts, scopes, ids, strict=True)):
        read = memory.get(memory_id, user_id=text)
        assert (read.content, read.user_id, read.external_id, read.tags) == (text, text, text, [text])
        assert (read.kind, read.scope, read.metadata) == (text[:64], scope, {text: text, "n": number})
        assert [record.id for record in memory.list(text, scope=scope).items] == [memory_id]
        assert {record.id for record in memory.list(text, tag=text).items} == {memory_id, copied[number].id}
        assert {record.user_id for record in memory.list(text).items} == {text}
        filters: list[Any] = [
            {"kind": text[:64], "tags": {"contains": text}, "source.app": {"in": [text]}, "metadata.n": number},
            {"external_id": {"gte": text, "lt": text + "!"}},
        ]
        if "." not in text:
            filters.append({f"metadata.{text}": text})
        for filter_ in filters:
            assert [record.id for record in memory.list(text, filter=filter_).items] == [memory_id], filter_
        assert {hit.memory.user_id for hit in memory.search(text, text, filter={"external_id": text})} <= {text}
        assert memory.add(text, text, external_id="copy").id == copied[number].id
        for call in (memory.get, memory.delete, memory.history):
            with pytest.raises(OMPError) as caught:
                call(text, user_id=text)  # type: ignore[operator]
            assert caught.value.code in ("not_found", "invalid_request")
    for text in texts[::10]:
        assert memory.stats(text).total == 2
        assert {entry.action for entry in memory.audit(text)} >= {"get", "list", "search"}
        gone = memory.delete_many([text, "'"], user_id=text)
        assert {result.error.code for result in gone if result.error} <= {"not_found", "invalid_request"}
    for text, memory_id in zip(texts, ids, strict=True):
        memory.delete(memory_id, user_id=text)
    assert {record.external_id for text in texts[::50] for record in everything(memory, text)} == {"copy"}


# --- batches ----------------------------------------------------------------------------------------------------


def test_a_large_batch_answers_item_by_item_in_order(pair: tuple[Memory, Memory]) -> None:
    user = next(users)
    memory = pair[1]
    target = memory.add("to be replaced", user).id
    bad: dict[int, tuple[dict[str, Any], str]] = {
        0: ({"content": " "}, "invalid_request"),
        7: ({"content": "a\x00b"}, "invalid_request"),
        500: ({"content": "x", "supersedes": ["nothing"]}, "invalid_request"),
        1111: ({"content": "x" * 100_001}, "invalid_request"),
        1999: ({"content": "x", "metadata": {"n": float("nan")}}, "invalid_request"),
        2400: ({"content": "x", "colour": "red"}, "invalid_request"),
        2999: ({"content": "x", "user_id": "someone else"}, "invalid_request"),
    }
    items: list[dict[str, Any]] = [{"content": f"fact {n}", "metadata": {"n": n}} for n in range(3000)]
    for place, (item, _) in bad.items():
        items[place] = item
    items[1500] = {"content": "fact 1500", "supersedes": [target]}
    items[1501] = {"content": "fact 1501", "supersedes": [target]}
    results = memory.add_many(items, user_id=user)
    failed = {place: result.error.code for place, result in enumerate(results) if result.error}
    assert failed == {**{place: code for place, (_, code) in bad.items()}, 1501: "conflict"}
    stored = [(result.memory.content, result.memory.user_id) for result in results if result.memory]
    assert stored == [(f"fact {n}", user) for n in range(3000) if n not in failed]
    records = everything(memory, user)
    assert len(records) == 3000 - len(failed) + 1
    assert [record.content for record in reversed(records) if record.id != target] == [content for content, _ in stored]
    assert len(memory.search("fact", user, mode="keyword", limit=100)) == 100
    gone = memory.delete_many([*(result.id or "none" for result in results), target], user_id=user)
    assert [result.error is None for result in gone] == [place not in failed for place in range(3000)] + [True]
    assert everything(memory, user) == []
    assert memory.search("fact", user) == []


def test_external_ids_repeat_within_and_across_batches(pair: tuple[Memory, Memory]) -> None:
    user = next(users)
    for round_ in range(2):
        items = [
            {"content": f"round {round_} item {n}", "user_id": user, "external_id": f"k{n % 700}"} for n in range(2000)
        ]
        told = []
        for memory in pair:
            results = memory.add_many(items)
            assert [result.error for result in results] == [None] * 2000
            by_key: dict[str | None, set[str | None]] = {}
            for result in results:
                assert result.memory is not None
                by_key.setdefault(result.memory.external_id, set()).add(result.id)
            assert {len(ids) for ids in by_key.values()} == {1}
            told.append([(result.memory.content, result.memory.version) for result in results if result.memory])
        assert told[0] == told[1]
    for memory in pair:
        records = everything(memory, user)
        assert len(records) == 700
        last = {f"k{n % 700}": f"round 1 item {n}" for n in range(2000)}
        assert {record.external_id: record.content for record in records} == last
        assert [
            hit.memory.external_id for hit in memory.search("round 1 item 1999", user, mode="keyword", limit=1)
        ] == [f"k{1999 % 700}"]


def test_a_batch_may_build_on_itself(pair: tuple[Memory, Memory]) -> None:
    """Items that name each other's records, and a long chain deleted in one batch in any order."""
    seen = []
    user = next(users)
    for memory in pair:
        ids = [memory.add("fact 0", user).id]
        for n in range(1, 120):
            ids.append(memory.add(f"fact {n}", user, supersedes=[ids[-1]]).id)
        assert [record.id for record in memory.history(ids[60])] == ids
        random.seed(3)
        order = random.sample(range(120), 119)
        results = memory.delete_many([ids[n] for n in order] + [ids[order[0]]], user_id=user)
        assert [result.error and result.error.code for result in results] == [None] * 119 + ["not_found"]
        [left] = everything(memory, user)
        seen.append((left.content, left.supersedes, left.superseded_by, left.superseded_at, left.version))
    assert seen[0] == seen[1]


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_chains_are_cut_alike_wherever_they_are_cut(pair: tuple[Memory, Memory], data: st.DataObject) -> None:
    """Forests of supersession, some of it deleted in one batch: what remains is linked as in the reference."""
    size = data.draw(st.integers(2, 14))
    parents = [data.draw(st.lists(st.integers(0, n - 1), max_size=3, unique=True)) if n else [] for n in range(size)]
    gone = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=size))
    seen = []
    user = next(users)
    for memory in pair:
        ids: list[str] = []
        free: set[int] = set()
        for n, replaced in enumerate(parents):
            named = [ids[m] for m in replaced if m in free]
            free -= set(replaced)
            free.add(n)
            ids.append(memory.add(f"fact {n}", user, supersedes=named or None, external_id=str(n)).id)
        results = memory.delete_many([ids[n] for n in gone], user_id=user)
        place = {memory_id: n for n, memory_id in enumerate(ids)}
        links = {
            place[record.id]: (
                [place[each] for each in record.supersedes or ()],
                place.get(record.superseded_by or ""),
                record.superseded_at is None,
                record.version,
            )
            for record in everything(memory, user)
        }
        seen.append(([result.error and result.error.code for result in results], links))
    assert seen[0] == seen[1]
