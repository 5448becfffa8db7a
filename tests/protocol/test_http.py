"""A request survives HTTP whole, an answer and an error too, and what is not as the spec has it is refused."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from openmem import Memory, errors
from openmem._generated.verbs import ERROR_CODES, VERB_OF, VERBS
from openmem.protocol.envelopes import decode_error, decode_response, encode_error, encode_response
from openmem.protocol.http import LONGEST_TARGET, decode_request, encode_request
from openmem.protocol.messages import MAX_JSON_DEPTH, HTTPRequest, HTTPResponse, request_id_of
from openmem.protocol.validation import build

SPEC = yaml.safe_load((Path(__file__).parents[2] / "spec" / "openapi.yaml").read_text("utf-8"))
JSON = (("Content-Type", "application/json"),)
NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, UTC)
MEMORY = {"id": "m1", "content": "Likes tea", "user_id": "alice", "created_at": "2026-01-31T14:00:00.000001+02:00"}

# --- any request ------------------------------------------------------------------------------------------------

CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]), st.sampled_from("/?#%&=+.,;:\\\"' \t\r\n{}\x00\x85é漢😀")
)
TEXT = st.text(CHARACTERS, min_size=1, max_size=30).filter(str.strip)
IDS = TEXT | st.sampled_from(
    [".", "..", "search", "by-external-id", "batch", "delete", "memories", "a/../b", "%2e%2e", "%", "{id}"]
)
SCOPES = st.lists(st.text(CHARACTERS, min_size=1, max_size=9).map(lambda s: re.sub(r"[/*]", "_", s)), min_size=1).map(
    "/".join
)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-11))])
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES)
FRACTIONS = st.floats(0, 1)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)
STATES = st.sampled_from(["superseded", "expired", "upcoming", "archived"])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "offset": st.integers(0, 900),
    "order": st.sampled_from(["newest", "oldest"]),
    "include_vectors": st.booleans(),
    "id": IDS,
    "user_id": IDS,
    "ids": st.lists(IDS, min_size=1, max_size=4),
    "external_id": IDS,
    "external_ids": st.lists(IDS, max_size=4),
    "items": st.lists(st.fixed_dictionaries({"content": TEXT, "metadata": OBJECTS}), min_size=1, max_size=3),
    "messages": st.lists(st.fixed_dictionaries({"role": TEXT, "content": TEXT, "x": VALUES}), min_size=1, max_size=3),
    **dict.fromkeys(("scope", "under"), SCOPES),
    "tags": st.lists(TEXT, max_size=3),
    "supersedes": st.lists(IDS, max_size=3),
    "source": st.fixed_dictionaries({"app": TEXT}, optional={"ref": TEXT, "x": VALUES}),
    "include": st.lists(STATES, min_size=1, max_size=4),
    "mode": st.sampled_from(["vector", "keyword", "hybrid"]),
    "on_conflict": st.sampled_from(["update", "replace", "skip", "error"]),
    "vector": st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    **dict.fromkeys(("metadata", "filter"), OBJECTS),
    **dict.fromkeys(("confidence", "importance", "min_score"), FRACTIONS),
    **dict.fromkeys(("valid_from", "valid_to", "since", "until", "as_of"), MOMENTS),
    **dict.fromkeys(("pinned", "archived", "chain", "all", "dry_run", "audit"), st.booleans()),
    **dict.fromkeys(("limit", "token_budget", "if_version", "depth"), st.integers(1, 100)),
    **dict.fromkeys(("content", "query", "tag", "app", "kind", "session", "cursor"), TEXT),
}
CLEARED = ("scope", "tags", "confidence", "valid_to", "supersedes", "metadata", "kind", "importance", "session")
SOURCES = st.fixed_dictionaries({}, optional={"app": st.none() | TEXT, "ref": st.none() | TEXT, "x": VALUES})


@st.composite
def requests(draw: st.DrawFn, verb: str) -> BaseModel:
    """Make a request of a verb, of any of its fields."""
    fields = VERBS[verb].request.model_fields
    chosen = {name: FIELDS[name] for name in fields if fields[name].is_required() or draw(st.booleans())}
    if {"id", "external_id"} <= fields.keys() or {"ids", "external_ids"} <= fields.keys():  # exactly one of the two
        one, other = draw(
            st.permutations([name for name in ("id", "ids", "external_id", "external_ids") if name in fields])
        )
        chosen[one] = FIELDS[one]
        chosen.pop(other, None)
        if one.startswith("external"):
            chosen["user_id"] = FIELDS["user_id"]
    if verb == "update":
        chosen = {name: st.none() | value if name in CLEARED else value for name, value in chosen.items()}
        chosen |= {name: st.none() | SOURCES for name in chosen.keys() & {"source"}}
    values = {name: draw(value) for name, value in chosen.items()}
    if verb in ("add", "update"):
        values |= draw(st.dictionaries(TEXT.map("x-{}".format), VALUES, max_size=2))
    return build(verb, values)


def same(received: BaseModel, sent: BaseModel) -> None:
    assert type(received) is type(sent)
    assert received.model_fields_set == sent.model_fields_set
    assert received == sent
    assert repr(received.model_dump(mode="json")) == repr(in_utc(sent).model_dump(mode="json"))  # 1, 1.0, -0.0, True


def in_utc(request: BaseModel) -> BaseModel:
    moments = {name: value for name, value in request if isinstance(value, datetime)}
    return request.model_copy(update={name: value.astimezone(UTC) for name, value in moments.items()})


def arrived(request: HTTPRequest) -> HTTPRequest:
    """What a server makes of the first line, the headers and the body."""
    return HTTPRequest.of(request.method, request.target, request.headers, request.body)


@pytest.mark.parametrize("verb", VERBS)
@given(data=st.data())
def test_a_request_survives_http(verb: str, data: st.DataObject) -> None:
    sent = data.draw(requests(verb))
    message = encode_request(sent, "r-1")
    assert all(c.isascii() and c.isprintable() for each in message.headers for c in "".join(each))
    assert re.fullmatch(r"[!-~]+", message.target)
    found, received = decode_request(arrived(message))
    assert found is VERBS[verb]
    assert request_id_of(message.headers) == "r-1"
    same(received, sent)


@pytest.mark.parametrize(("verb", "number"), [(verb, n) for verb in VERBS for n in range(len(VERBS[verb].routes))])
def test_every_route_is_reached_and_is_as_the_spec_has_it(verb: str, number: int) -> None:
    route = VERBS[verb].routes[number]
    required = {n: f for n, f in VERBS[verb].request.model_fields.items() if f.is_required()} | (
        {"query": None} if "query" in route.places else {"vector": None} if verb == "search" else {}
    )
    named = {name: None for name in ("id", "external_id") if name in route.places}
    required |= (
        named | ({"user_id": None} if "external_id" in named else {}) | ({"ids": None} if verb == "get_many" else {})
    )
    plain = {"items": [{}], "ids": ["m1"], "messages": [{"role": "user", "content": "Hi"}], "vector": [1.0]}
    message = encode_request(build(verb, {name: plain.get(name, "m1") for name in required}))
    assert (message.method, message.path) == (route.method, route.path.replace("{id}", "m1"))
    item = SPEC["paths"][route.path]
    operation = item[route.method.lower()]
    nodes = [*item.get("parameters", []), *operation.get("parameters", [])]
    known = [SPEC["components"]["parameters"][n["$ref"].rpartition("/")[2]] if "$ref" in n else n for n in nodes]
    assert sorted(route.places.values()) == sorted((each["in"], each["name"]) for each in known)
    assert bool(message.body) is ("requestBody" in operation)
    assert {name for name, _ in message.query} <= {each["name"] for each in known if each["in"] == "query"}
    assert route.success == tuple(int(code) for code in operation["responses"] if code.startswith("2"))


# --- golden examples, as OMP 0.1 spells them --------------------------------------------------------------------

GOLDEN = [
    ("add", {"content": "Tea", "user_id": "alice"}, "POST /memories", {}, {"content": "Tea", "user_id": "alice"}),
    ("get", {"id": "mem_1"}, "GET /memories/mem_1", {}, None),
    ("get", {"id": "mem_1", "user_id": "a@b.c"}, "GET /memories/mem_1", {"X-User-Id": "a@b.c"}, None),
    (
        "get",
        {"id": "a/b?c#d e", "user_id": " é% "},
        "GET /memories/a%2Fb%3Fc%23d%20e",
        {"X-User-Id": "%20%C3%A9%25%20"},
        None,
    ),
    ("get", {"id": "x", "user_id": "a\r\nX-Api-Key: b"}, "GET /memories/x", {"X-User-Id": "a%0D%0AX-Api-Key: b"}, None),
    ("get", {"id": ".."}, "GET /memories/%2E%2E", {}, None),
    ("get", {"id": "search"}, "GET /memories/%73%65%61%72%63%68", {}, None),
    (
        "get",
        {"id": "by-external-id"},
        f"GET /memories/{''.join(f'%{byte:02X}' for byte in b'by-external-id')}",
        {},
        None,
    ),
    (
        "get",
        {"external_id": "a/../b?c", "user_id": "u"},
        "GET /memories/by-external-id?external_id=a%2F..%2Fb%3Fc",
        {"X-User-Id": "u"},
        None,
    ),
    (
        "update",
        {"external_id": "k", "user_id": "u", "source": {"app": None, "ref": "r"}},
        "PATCH /memories/by-external-id?external_id=k",
        {"X-User-Id": "u"},
        {"source": {"app": None, "ref": "r"}},
    ),
    (
        "delete",
        {"external_id": "k", "user_id": "u", "if_version": 3},
        "DELETE /memories/by-external-id?external_id=k&if_version=3",
        {"X-User-Id": "u"},
        None,
    ),
    (
        "history",
        {"external_id": "k", "user_id": "u"},
        "GET /memories/by-external-id/history?external_id=k",
        {"X-User-Id": "u"},
        None,
    ),
    (
        "get_many",
        {"external_ids": ["k", ".."], "user_id": "u"},
        "POST /memories/get",
        {},
        {"external_ids": ["k", ".."], "user_id": "u"},
    ),
    (
        "update_many",
        {"items": [{"id": "m", "kind": None, "if_version": 2}, {"external_id": "k", "source": {"app": None}}]},
        "POST /memories/update",
        {},
        {"items": [{"id": "m", "kind": None, "if_version": 2}, {"external_id": "k", "source": {"app": None}}]},
    ),
    ("delete", {"id": "m", "if_version": 3}, "DELETE /memories/m?if_version=3", {}, None),
    ("delete", {"id": "m", "chain": True}, "DELETE /memories/m?chain=true", {}, None),
    ("erase", {"user_id": "u", "tag": "t"}, "POST /erase", {}, {"user_id": "u", "tag": "t"}),
    (
        "erase",
        {"user_id": "u", "all": True, "dry_run": False},
        "POST /erase",
        {},
        {"user_id": "u", "all": True, "dry_run": False},
    ),
    ("update", {"id": "m", "user_id": "u", "scope": None}, "PATCH /memories/m", {"X-User-Id": "u"}, {"scope": None}),
    ("update", {"id": "m", "valid_to": NOW}, "PATCH /memories/m", {}, {"valid_to": "2026-01-31T12:00:00.123456Z"}),
    ("list", {"user_id": "alice", "limit": 5}, "GET /memories?user_id=alice&limit=5", {}, None),
    (
        "list",
        {"user_id": "u", "since": NOW.astimezone(timezone(timedelta(hours=2))), "include": ["expired", "archived"]},
        "GET /memories?user_id=u&since=2026-01-31T12%3A00%3A00.123456Z&include=expired&include=archived",
        {},
        None,
    ),
    (
        "list",
        {"user_id": "u", "filter": {"kind": "fact"}},
        "GET /memories?user_id=u&filter=%7B%22kind%22%3A%22fact%22%7D",
        {},
        None,
    ),
    (
        "search",
        {"query": "what tea?", "user_id": "alice", "scope": "ui/*", "min_score": 0.25},
        "GET /memories/search?q=what%20tea%3F&user_id=alice&scope=ui%2F%2A&min_score=0.25",
        {},
        None,
    ),
    (
        "search",
        {"query": "tea", "user_id": "u", "filter": {"kind": "fact"}},
        "POST /memories/search",
        {},
        {"query": "tea", "user_id": "u", "filter": {"kind": "fact"}},
    ),
    ("context", {"query": "q", "user_id": "u"}, "POST /context", {}, {"query": "q", "user_id": "u"}),
    ("audit", {"user_id": "u", "app": "a&b"}, "GET /audit?user_id=u&app=a%26b", {}, None),
    ("capabilities", {}, "GET /capabilities", {}, None),
]


@pytest.mark.parametrize(("verb", "fields", "line", "headers", "body"), GOLDEN)
def test_golden(verb: str, fields: dict[str, Any], line: str, headers: dict[str, str], body: Any) -> None:
    message = encode_request(build(verb, fields))
    expected = {"Accept": "application/json", **headers} | ({"Content-Type": "application/json"} if body else {})
    assert f"{message.method} {message.target}" == line
    assert dict(message.headers) == expected
    assert (json.loads(message.body) if message.body else None) == body
    same(decode_request(arrived(message))[1], build(verb, fields))


def test_what_a_query_cannot_carry_well_goes_in_a_body() -> None:
    long = build("search", {"query": "é" * (LONGEST_TARGET // 6 + 1), "user_id": "u"})
    assert [encode_request(long).method, encode_request(long).path] == ["POST", "/memories/search"]
    short = build("search", {"query": "é" * 1000, "user_id": "u"})
    assert encode_request(short).method == "GET"
    assert encode_request(build("search", {"vector": [0.1], "user_id": "u"})).method == "POST"


def test_null_travels_only_in_a_merge_patch_and_an_empty_list_in_no_query() -> None:
    assert json.loads(encode_request(build("add", {"content": "x", "user_id": "u", "scope": None})).body).keys() == {
        "content",
        "user_id",
    }
    search = encode_request(build("search", {"query": "x", "user_id": "u", "vector": None, "include": []}))
    assert search.target == "/memories/search?q=x&user_id=u"


def test_a_body_names_its_fields_in_the_order_of_the_spec() -> None:
    body = encode_request(build("update", {"if_version": 1, "kind": None, "content": "x", "id": "m"})).body
    assert body == b'{"content":"x","kind":null,"if_version":1}'


@pytest.mark.parametrize("values", [[], ["a b"], ["a", "a"], ["x" * 129], [""], ["a\r\nb"], ["é"], ["a\x7f"]])
def test_a_request_id_that_is_not_safe_to_repeat_is_none(values: list[str]) -> None:
    assert request_id_of(tuple(("x-request-id", value) for value in values)) is None
    assert encode_response(VERBS["delete"], None, "".join(values) + " ").headers == ()


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, "a\r\nb", "é"])
def test_a_request_id_that_cannot_travel_is_refused(request_id: str) -> None:
    with pytest.raises(errors.InvalidRequestError, match="request_id is not 1 to 128 visible ASCII"):
        encode_request(build("get", {"id": "m"}), request_id)


@pytest.mark.parametrize("request_id", ["r", "0" * 128, "trace/1:a=b;c,d~"])
def test_a_request_id_goes_there_and_back(request_id: str) -> None:
    assert request_id_of(encode_request(build("get", {"id": "m"}), request_id).headers) == request_id
    assert request_id_of(encode_response(VERBS["delete"], None, request_id).headers) == request_id
    assert decode_error(encode_error(errors.ConflictError("No.", request_id=request_id))).request_id == request_id


class OwnGet(VERBS["get"].request):  # type: ignore[misc]  # a class out of a table
    """A request of an application's own class."""


class OwnGetWithMore(OwnGet):
    note: str = ""


def test_a_request_of_a_class_of_ones_own_is_written_as_what_it_is() -> None:
    same(decode_request(encode_request(OwnGet(id="m", user_id="u")))[1], build("get", {"id": "m", "user_id": "u"}))
    with pytest.raises(errors.InvalidRequestError, match="note"):
        encode_request(OwnGetWithMore(id="m", note="x"))
    with pytest.raises(errors.InvalidRequestError, match="is no request"):
        encode_request(VERBS["get"].response.model_validate(MEMORY))


@pytest.mark.parametrize("metadata", [{1: 1, "1": 2}, {"a": [{None: 1}]}, {True: 1}])
def test_a_key_that_is_not_text_is_refused(metadata: dict[Any, Any]) -> None:
    with pytest.raises(errors.InvalidRequestError, match="not text"):
        encode_request(build("add_many", {"items": [{"content": "x", "metadata": metadata}]}))
    memory = VERBS["get"].response.model_validate(MEMORY)
    memory.metadata = metadata
    with pytest.raises(errors.ProviderError, match="not text"):
        encode_response(VERBS["get"], memory)


def test_an_id_that_a_sender_made_a_word_of_a_route_finds_no_other_memory() -> None:
    """Some senders decode %73earch and take %2E%2E for a step: what is then asked for is another route or none."""
    with Memory("memory://") as memory, pytest.raises(errors.InvalidRequestError, match="nothing to look for"):
        memory.handle(read(get("/memories/search", ("X-User-Id", "u"))))
    with pytest.raises(errors.InvalidRequestError, match="user_id is missing"):
        read(get("/memories/search"))
    for target in ("/", "/memories/", "/related", "/history"):
        with pytest.raises(errors.NotFoundError):
            read(get(target, ("X-User-Id", "u")))
    for method in ("DELETE", "PATCH"):
        body = b"{}" if method == "PATCH" else b""
        assert read((method, "/memories/search", JSON, body)).id == "search"  # no other route has the method


def test_what_names_a_memory_in_two_ways_is_refused_before_it_is_sent_and_where_it_arrives() -> None:
    for verb in ("get", "update", "delete", "related", "history"):
        for named in ({}, {"id": "m", "external_id": "k", "user_id": "u"}, {"external_id": "k"}):
            with pytest.raises(errors.InvalidRequestError, match=r"is given|are given|without user_id"):
                encode_request(build(verb, named))
    head = (*JSON, ("X-User-Id", "u"))
    arriving = [
        ("PATCH", "/memories/m1", head, b'{"external_id":"k"}'),
        ("PATCH", "/memories/by-external-id?external_id=k", head, b'{"id":"m1"}'),
        get("/memories/by-external-id?external_id=k"),
    ]
    with Memory("memory://") as memory:
        for raw in arriving:
            with pytest.raises(errors.InvalidRequestError, match=r"are given|without user_id"):
                memory.handle(read(raw))


def test_items_of_a_batch_of_updates_are_read_as_strictly_with_the_nulls_that_clear() -> None:
    with Memory("memory://") as memory:
        added = memory.add("x", "u", kind="fact", source={"app": "a", "ref": "r"})
        item = build("update", {"id": added.id, "kind": None, "source": {"ref": None}})
        sent = build("update_many", {"items": [item, {"id": added.id, "pinned": 1}], "user_id": "u"})
        _, received = decode_request(encode_request(sent))
        first, second = memory.handle(received).results
    assert (first.memory.kind, first.memory.source.app, first.memory.source.ref) == (None, "a", None)
    assert second.error.message.startswith("pinned")


def test_items_of_a_batch_may_be_models() -> None:
    item = build("add", {"content": "x", "user_id": "u", "valid_from": NOW, "source": {"app": "a"}, "x-p": {"n": None}})
    _, received = decode_request(encode_request(build("add_many", {"items": [item]})))
    same(build("add", received.items[0]), item)


@pytest.mark.parametrize(
    "value",
    ["\ud800", float("nan"), {"deep": object()}, {1, 2}, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=9)))],
)
def test_what_is_not_json_is_refused_before_it_is_sent(value: Any) -> None:
    with pytest.raises(errors.InvalidRequestError):
        encode_request(build("add_many", {"items": [{"content": value}]}))
    with pytest.raises(errors.InvalidRequestError):
        encode_request(build("get", {"id": "m", "user_id": "a\ud800"}))


# --- hostile requests -------------------------------------------------------------------------------------------


Raw = tuple[str, str, Any, bytes]


def get(target: str, *headers: tuple[str, str], method: str = "GET") -> Raw:
    return method, target, headers, b""


def post(body: Any, path: str = "/memories", headers: Any = JSON) -> Raw:
    return "POST", path, headers, body if isinstance(body, bytes) else json.dumps(body).encode()


def patch(body: Any, *users: str) -> Raw:
    return "PATCH", "/memories/m1", (*JSON, *(("x-user-id", user) for user in users)), json.dumps(body).encode()


def read(raw: Raw) -> BaseModel:
    return decode_request(HTTPRequest.of(*raw))[1]


DEEP = b'{"content":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
LEVELS = b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH
REFUSED: dict[str, tuple[Raw, str]] = {
    "no key": (get("/memories/by-external-id", ("X-User-Id", "u")), "no external_id"),
    "no key to delete": (get("/memories/by-external-id", ("X-User-Id", "u"), method="DELETE"), "no external_id"),
    "no key but in the body": (
        ("PATCH", "/memories/by-external-id", (*JSON, ("X-User-Id", "u")), b'{"external_id":"k"}'),
        "no external_id",
    ),
    "no key of a chain": (get("/memories/by-external-id/history", ("X-User-Id", "u")), "no external_id"),
    "two keys": (get("/memories/by-external-id?external_id=a&external_id=b", ("X-User-Id", "u")), "2 times"),
    "two keys of an update": (
        ("PATCH", "/memories/by-external-id?external_id=k", (*JSON, ("X-User-Id", "u")), b'{"external_id":"l"}'),
        "differs",
    ),
    "truncated": (post(b'{"content":'), "not JSON"),
    "empty": (post(b""), "not JSON"),
    "no object": (post([1]), "not a JSON object"),
    "deep": (post(DEEP), "too deep"),
    "a level too deep": (post(b'{"content":' + LEVELS + b"}"), "too deep"),
    "NaN": (post(b'{"confidence":NaN}'), "not finite"),
    "infinite": (post(b'{"confidence":-1e999}'), "not finite"),
    "endless number": (post(b'{"confidence":' + b"9" * 5000 + b"}"), "the body"),
    "key twice": (post(b'{"content":"a","content":"b"}'), "twice"),
    "key twice inside": (post(b'{"metadata":{"a":1,"\\u0061":2}}'), "twice"),
    "surrogate": (post(b'{"content":"\\ud800"}'), "UTF-8"),
    "surrogate key": (post(b'{"\\udfff":1}'), "UTF-8"),
    "Latin-1": (post(b'{"content":"\xe9"}'), "UTF-8"),
    "UTF-16": (post('{"content":"a"}'.encode("utf-16")), "UTF-8"),
    "byte order mark": (post(b"\xef\xbb\xbf{}"), "not JSON"),
    "no type": (post({}, headers=()), "Content-Type"),
    "form": (post({}, headers=(("Content-Type", "application/x-www-form-urlencoded"),)), "Content-Type"),
    "plain": (post({}, headers=(("Content-Type", "text/plain; a=application/json"),)), "Content-Type"),
    "two types": (post({}, headers=(*JSON, ("content-type", "text/plain"))), "Content-Type"),
    "charset": (post({}, headers=(("Content-Type", "application/json; charset=latin-1"),)), "plain UTF-8"),
    "two charsets": (
        post({}, headers=(("Content-Type", "application/json; charset=latin-1; charset=utf-8"),)),
        "UTF-8",
    ),
    "compressed": (post({}, headers=(*JSON, ("Content-Encoding", "gzip"))), "plain UTF-8"),
    "body of GET": (("GET", "/memories/m", JSON, b"{}"), "no body"),
    "unknown parameter": (get("/memories?user_id=u&limt=5"), "Did you mean 'limit'?"),
    "field's own name": (get("/memories/search?query=x&user_id=u"), "parameter 'q' here"),
    "header in query": (get("/memories/m?user_id=u"), "parameter 'X-User-Id' here"),
    "body in query": (post({}, "/memories?user_id=u"), "in the body"),
    "unknown field": (post({"query": "x", "user_id": "u", "scop": "a"}, "/context"), "Did you mean 'scope'?"),
    "given twice": (get("/memories?user_id=u&limit=5&limit=5"), "2 times"),
    "two users": (get("/memories?user_id=u&user_id=v"), "2 times"),
    "header twice": (patch({}, "alice", "bob"), "2 times"),
    "header and body": (patch({"user_id": "bob"}, "alice"), "two places"),
    "path and body": (patch({"id": "m2"}), "two places"),
    "header and query": (get("/memories?user_id=u", ("X-USER-ID", "v")), "two places"),
    "blank user": (patch({}, " "), "user_id"),
    "raw header": (patch({}, "é"), "percent-encoded"),
    "half an escape": (patch({}, "50%"), "percent-encoded"),
    "Latin-1 in header": (patch({}, "%E9"), "percent-encoded"),
    "Latin-1 in path": (get("/memories/%E9"), "percent-encoded"),
    "Latin-1 in query": (get("/memories?user_id=%E9"), "percent-encoded"),
    "surrogate in path": (get("/memories/%ED%A0%80"), "percent-encoded"),
    "overlong": (get("/memories/%C0%AF"), "percent-encoded"),
    "no user": (get("/memories"), "user_id is missing"),
    "no number of a user": (post({"content": "x", "user_id": 5}), "not text"),
    "filter no object": (get("/memories?user_id=u&filter=[]"), "not a JSON object"),
    "filter no JSON": (get("/memories?user_id=u&filter=kind"), "not JSON"),
    "filter key twice": (get('/memories?user_id=u&filter={"a":1,"a":2}'), "twice"),
    "unknown state": (get("/memories?user_id=u&include=expired,archived"), "include"),
    "naive": (get("/memories?user_id=u&since=2026-01-31T12:00:00"), "since"),
    "plus sign": (get("/memories?user_id=u&since=2026-01-31T12:00:00+02:00"), "%2B"),
    "seconds": (get("/memories?user_id=u&since=1700000000"), "moment"),
    "score": (get("/memories/search?q=x&user_id=u&min_score=nan"), "not a number"),
    "score beyond": (get("/memories/search?q=x&user_id=u&min_score=1e999"), "min_score"),
    "no seconds": (get("/memories?user_id=u&since=2026-01-31T12:00Z"), "moment"),
    **{
        f"{name} {value!r}"[:40]: (post({"query": "x", "user_id": "u", name: value}, "/memories/search"), name)
        for name, values in {
            "since": [1700000000, 1.5, True, "1700000000", "2026-01-31", "2026-01-31 12:00:00Z", "2026-01-31T12:00Z"],
            "limit": [True, "5", 5.0, 10**30],
            "min_score": [True, "0.5", "nan", 10**400],
            "vector": [["1"], ["nan"], [True], [0.5, 10**400]],
            "include": ["expired"],
        }.items()
        for value in values
    },
    "pinned yes": (post({"content": "x", "user_id": "u", "pinned": "yes"}), "pinned"),
    "pinned 1": (post({"content": "x", "user_id": "u", "pinned": 1}), "pinned"),
    "if_version": (patch({"if_version": "3"}), "if_version"),
    "method": (get("/memories/m1", method="PUT"), "Use DELETE, GET, PATCH."),
    "small method": (get("/memories/m1", method="get"), "Use DELETE, GET, PATCH."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    raw, says = REFUSED[case]
    with pytest.raises(errors.InvalidRequestError) as caught:
        read(raw)
    assert type(caught.value) is errors.InvalidRequestError
    assert says in str(caught.value)
    assert caught.value.remedy
    assert caught.value.written == "nothing"


@pytest.mark.parametrize(
    "text", ["", "5.0", "+5", " 5", "5 ", "05", "0x5", "1_0", "٥", "5" * 5000, "true", '"5"', "-1"]
)
def test_a_limit_is_a_whole_number_in_digits(text: str) -> None:
    with pytest.raises(errors.InvalidRequestError, match="limit"):
        read(get(f"/memories?user_id=u&limit={quote(text)}"))


def test_whole_numbers_do_where_fractions_are_due_and_moments_of_any_zone() -> None:
    body = {"query": "x", "user_id": "u", "min_score": 1, "vector": [1, -2], "since": "2026-01-31t12:00:00.5+02:00"}
    request = read(post(body, "/memories/search"))
    assert (request.min_score, request.vector) == (1.0, [1.0, -2.0])
    assert request.since == datetime(2026, 1, 31, 10, 0, 0, 500000, UTC)


def test_an_item_of_a_batch_is_read_as_strictly_and_fails_alone() -> None:
    items = [
        *({"content": "x", "user_id": "u", **wrong} for wrong in ({"pinned": 1}, {"valid_from": 1700000000}, {})),
        *({"content": "x", **wrong} for wrong in ({"vector": ["1"]}, {"valid_to": "1700000000"})),
    ]
    request = read(post({"items": items, "user_id": "u"}, "/memories/batch"))
    with Memory("memory://") as memory:
        results = memory.handle(request).results
    assert [each.memory is not None for each in results] == [False, False, True, False, False]
    assert [each.error.message.partition(":")[0] for each in results if each.error] == [
        *("pinned", "valid_from"),
        *("vector.0", "valid_to"),
    ]


def test_a_lone_surrogate_in_a_query_is_refused() -> None:
    with pytest.raises(errors.InvalidRequestError, match="surrogate"):
        decode_request(HTTPRequest("GET", "/stats", (("user_id", "\ud800"),)))


@pytest.mark.parametrize(
    "path", ["/", "", "/memories/", "/memories/m/", "//memories", "/v1/memories", "/memories/a/b", "/memory"]
)
def test_a_path_that_is_no_route_is_not_found(path: str) -> None:
    with pytest.raises(errors.NotFoundError) as caught:
        read(get(path))
    assert ("Did you mean /memories" in str(caught.value)) is (path not in ("", "/"))


def test_what_is_quoted_of_a_request_is_short_and_harmless() -> None:
    for request in (HTTPRequest("GET", "/é\n" + "x" * 5000), HTTPRequest("GET", "/stats", (("é\n" + "x" * 5000, ""),))):
        with pytest.raises(errors.OMPError) as caught:
            decode_request(request)
        assert len(str(caught.value)) < 400
        assert str(caught.value).isprintable()
    assert "secret" not in repr(HTTPRequest("GET", "/", (), (("Authorization", "secret"),), b"secret"))
    assert "secret" not in repr(HTTPResponse(200, (("Set-Cookie", "secret"),), b"secret"))


@pytest.mark.parametrize("body", [{"user_id": "alice"}, {"id": "m1"}, {"user_id": None}, {}])
def test_what_two_places_agree_on_is_given_once(body: dict[str, Any]) -> None:
    same(read(patch({**body, "kind": None}, "alice")), build("update", {"id": "m1", "user_id": "alice", "kind": None}))


def test_the_header_names_the_user_on_every_route() -> None:
    request = read(post({"ids": ["m1"]}, "/memories/delete", (*JSON, ("X-User-Id", "al%20ice"))))
    same(request, build("delete_many", {"ids": ["m1"], "user_id": "al ice"}))
    same(read(get("/capabilities", ("X-User-Id", "alice"))), build("capabilities", {}))
    with pytest.raises(errors.OMPError, match="no one user"):
        read(get("/users", ("X-User-Id", "alice")))


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON;charset=UTF-8", 'application/json ; charset="utf-8"']
)
def test_json_by_any_of_its_names(kind: str) -> None:
    request = read(post({"query": "x", "user_id": "u"}, "/context", (("content-type", kind),)))
    same(request, build("context", {"query": "x", "user_id": "u"}))


@given(st.sampled_from(["GET", "POST", "PATCH", "DELETE"]), st.text(), st.binary(), st.text())
def test_whatever_comes_is_read_or_refused(method: str, target: str, body: bytes, user: str) -> None:
    for start in ("", "/memories/", "/memories?", "/memories/search?"):
        try:
            read((method, start + target, (*JSON, ("X-User-Id", user)), body))
        except (errors.InvalidRequestError, errors.NotFoundError) as error:
            assert encode_error(error).status in (400, 404)


# --- answers ----------------------------------------------------------------------------------------------------

ANSWERS: dict[str, Any] = {
    **{verb: {**MEMORY, "metadata": {"a": None}, "x-p": None, "version": 1} for verb in ("add", "get", "update")},
    "list": {"items": [MEMORY], "next_cursor": "c"},
    **{verb: {"results": [{"memory": MEMORY, "score": 0.1}]} for verb in ("search", "related")},
    **{verb: {"items": [MEMORY, MEMORY]} for verb in ("history", "remember")},
    "context": {"text": "", "citations": [], "token_count": 0},
    "audit": {"entries": [{"timestamp": MEMORY["created_at"], "action": "add"}]},
    "capabilities": {"omp_version": "0.1", "provider": "p", "verbs": ["add", "new"], "features": {"new": [1]}},
    **{verb: {"results": [{"id": "m1"}, {"memory": MEMORY}]} for verb in ("add_many", "delete_many")},
    "stats": {"user_id": "u", "total": 1, "current": 1, "scopes": {"a": 1}},
    "erase": {"count": 2, "dry_run": True, "unreached": ["Backups."]},
    "scopes": {"items": [{"scope": "a", "count": 1}], "next_cursor": "c"},
    "users": {"items": [{"user_id": "u", "count": 1}]},
    "health": {"status": "ok", "provider": "p", "latency_ms": 1.5},
}


@pytest.mark.parametrize("verb", ANSWERS)
def test_an_answer_survives_http(verb: str) -> None:
    response = VERBS[verb].response
    assert response is not None
    sent = response.model_validate({**ANSWERS[verb], "later": {"field": [None]}})
    message = encode_response(VERBS[verb], sent, "r-1")
    assert message.status == (201 if verb == "add" else 200)
    assert request_id_of(message.headers) == "r-1"
    received = decode_response(VERBS[verb], message)
    assert isinstance(received, response)
    assert received == sent
    assert b"+02:00" not in message.body
    assert "+02:00" not in received.model_dump_json()
    assert received.model_extra == {**(sent.model_extra or {}), "later": {"field": [None]}}


def test_what_is_null_is_left_out_and_moments_are_in_utc() -> None:
    memory = VERBS["get"].response.model_validate({**MEMORY, "scope": None, "metadata": {"a": None}})
    assert json.loads(encode_response(VERBS["get"], memory).body) == {
        **MEMORY,
        "created_at": "2026-01-31T12:00:00.000001Z",
        "metadata": {"a": None},
    }
    received = decode_response(VERBS["list"], HTTPResponse(200, JSON, json.dumps({"items": [MEMORY]}).encode()))
    assert received.items[0].created_at.tzinfo is UTC


@pytest.mark.parametrize(("version", "status"), [(1, 201), (None, 201), (2, 200)])
def test_an_add_that_updates_answers_200(version: int | None, status: int) -> None:
    memory = VERBS["add"].response.model_validate({**MEMORY, "version": version})
    assert encode_response(VERBS["add"], memory).status == status
    assert encode_response(VERBS["update"], memory).status == 200


@pytest.mark.parametrize(
    "response",
    [
        HTTPResponse(204),
        HTTPResponse(204, JSON),
        *(HTTPResponse(200, JSON, body) for body in (b"{}", b'{"deleted":true,"id":"m"}', b'{"error":null,"ok":true}')),
    ],
)
def test_a_deletion_has_no_answer(response: HTTPResponse) -> None:
    assert encode_response(VERBS["delete"], None) == HTTPResponse(204)
    assert decode_response(VERBS["delete"], response) is None


HTML = (("Content-Type", "text/html"),)


@pytest.mark.parametrize(
    "response",
    [
        HTTPResponse(200, HTML, b"<html>Login"),
        HTTPResponse(200, JSON, b"<html>Login"),
        HTTPResponse(200),
        HTTPResponse(200, JSON),
        *(HTTPResponse(200, JSON, body) for body in (b"null", b"true", b"[]", b'"ok"', b'{"deleted":false}')),
        *(HTTPResponse(200, JSON, body) for body in (b'{"error":"no"}', b'{"error":{"code":5}}', b'{"deleted":0}')),
        HTTPResponse(202),
        HTTPResponse(202, JSON, b"{}"),
        HTTPResponse(201, JSON, b"{}"),
        HTTPResponse(299),
        HTTPResponse(204, HTML, b"<html>Login"),
        HTTPResponse(204, JSON, b"{}"),
    ],
)
def test_what_does_not_say_that_a_deletion_is_done_is_no_success(response: HTTPResponse) -> None:
    with pytest.raises(errors.ProviderError) as caught:
        decode_response(VERBS["delete"], response)
    assert type(caught.value) is errors.ProviderError
    assert caught.value.written == "perhaps"
    assert "Login" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
@pytest.mark.parametrize("verb", ["delete", "get", "list"])
def test_an_error_is_one_whatever_its_status(verb: str, status: int) -> None:
    body = {"items": [], "error": {"code": "conflict", "message": "No.", "type": "invalid"}}
    with pytest.raises(errors.ConflictError, match=r"^No\.$"):
        decode_response(VERBS[verb], HTTPResponse(status, JSON, json.dumps(body).encode()))


@pytest.mark.parametrize("verb", ANSWERS)
def test_an_answer_has_a_status_of_its_verb(verb: str) -> None:
    body = json.dumps(ANSWERS[verb]).encode()
    for status in (200, 201, 202, 203, 206, 299):
        if status in VERBS[verb].routes[0].success:
            assert decode_response(VERBS[verb], HTTPResponse(status, JSON, body)) is not None
        else:
            with pytest.raises(errors.ProviderError, match=str(status)):
                decode_response(VERBS[verb], HTTPResponse(status, JSON, body))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("version", value) for value in ("3", True, 1.0, 2.5, 10**30, 0)),
        *(("pinned", value) for value in ("yes", "true", 1)),
        *(("confidence", value) for value in (True, "0.5", "nan", 10**400)),
        *(("created_at", value) for value in (1700000000, 1.5, "1700000000", "2026-01-31", "2026-01-31T12:00Z", None)),
        *(("tags", value) for value in ("a", [1])),
        ("content", 5),
    ],
)
def test_a_field_of_an_answer_is_what_json_calls_so(name: str, value: Any) -> None:
    body = json.dumps({"items": [MEMORY, {**MEMORY, name: value}]}).encode()
    with pytest.raises(errors.ProviderError, match=rf"MemoryPage: items\.1\.{name}[:.]"):
        decode_response(VERBS["list"], HTTPResponse(200, JSON, body))


@pytest.mark.parametrize("score", ["nan", "Infinity", "0.5", True, None, 10**400])
def test_a_score_is_a_finite_number(score: Any) -> None:
    body = json.dumps({"results": [{"memory": MEMORY, "score": score}]}).encode()
    with pytest.raises(errors.ProviderError, match="score"):
        decode_response(VERBS["search"], HTTPResponse(200, JSON, body))
    whole = json.dumps({"results": [{"memory": MEMORY, "score": 1}]}).encode()
    assert decode_response(VERBS["search"], HTTPResponse(200, JSON, whole)).results[0].score == 1.0


WRONG = {
    "empty": HTTPResponse(200, JSON),
    "no content": HTTPResponse(204),
    "truncated": HTTPResponse(200, JSON, b'{"items":[{"id":"tok'),
    "page": HTTPResponse(200, (("Content-Type", "text/html"),), b"<p>Sign in tok"),
    "page without a type": HTTPResponse(200, (), b"<p>Sign in tok"),
    "bare array": HTTPResponse(200, JSON, b'["tok"]'),
    "null": HTTPResponse(200, JSON, b"null"),
    "another shape": HTTPResponse(200, JSON, b'{"items":[{"id":"tok"}]}'),
    "wrong type": HTTPResponse(200, JSON, b'{"items":"tok"}'),
    "naive moment": HTTPResponse(
        200, JSON, json.dumps({"items": [{**MEMORY, "created_at": "2026-01-31T12:00:00"}]}).encode()
    ),
    "moment of no year": HTTPResponse(
        200, JSON, json.dumps({"items": [{**MEMORY, "created_at": "0001-01-01T00:00:00+05:00"}]}).encode()
    ),
    "NaN": HTTPResponse(200, JSON, b'{"items":[],"x":NaN}'),
    "deep": HTTPResponse(200, JSON, DEEP),
    "Latin-1": HTTPResponse(200, JSON, b'{"items":[],"x":"\xe9"}'),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_answer_is_the_providers_error_and_is_not_quoted(case: str) -> None:
    response = HTTPResponse(WRONG[case].status, (*WRONG[case].headers, ("x-request-id", "r")), WRONG[case].body)
    with pytest.raises(errors.ProviderError) as caught:
        decode_response(VERBS["list"], response)
    assert type(caught.value) is errors.ProviderError
    assert "tok" not in str(caught.value)
    assert caught.value.request_id == "r"
    assert caught.value.remedy


def test_an_answer_that_is_not_json_is_the_providers_error() -> None:
    memory = VERBS["get"].response.model_validate({**MEMORY, "metadata": {"a": float("nan")}})
    with pytest.raises(errors.ProviderError):
        encode_response(VERBS["get"], memory)


# --- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ERROR_CODES)
@pytest.mark.parametrize("written", ["nothing", "perhaps", "part"])
def test_an_error_survives_http(code: str, written: errors.Written) -> None:
    sent = errors.BY_CODE[code]("Né.", remedy="Do so.", provider="p", request_id="r", retry_after=1.2, written=written)
    message = encode_error(sent)
    assert message.status == ERROR_CODES[code][0]
    assert ("Retry-After", "2") in message.headers
    assert ("X-Request-Id", "r") in message.headers
    assert json.loads(message.body) == sent.envelope()
    with pytest.raises(errors.OMPError) as caught:
        decode_response(VERBS["get"], message)
    got = caught.value
    assert (type(got), str(got), got.provider, got.request_id) == (type(sent), "Né. Do so.", "p", "r")
    assert (got.retry_after, got.written) == (2, written)


@pytest.mark.parametrize("pause", [None, float("nan"), float("inf")])
def test_a_pause_of_no_length_is_not_written(pause: float | None) -> None:
    assert "Retry-After" not in dict(encode_error(errors.RateLimitedError("Slow.", retry_after=pause)).headers)


def test_an_error_is_written_whatever_its_text_and_no_header_holds_a_strange_id() -> None:
    message = encode_error(errors.InvalidRequestError("\ud800\x00", request_id="a\r\nSet-Cookie: b"))
    assert dict(message.headers).keys() == {"Content-Type"}
    assert decode_error(message).request_id is None


HOSTILE = "No.\r\n\x1b[2J\u2028\u202e\x00" + "x" * 10_000


def test_what_a_server_says_of_an_error_is_short_and_harmless() -> None:
    detail = {"code": "conflict", "message": HOSTILE, "type": "t", "provider": HOSTILE, "request_id": HOSTILE}
    error = decode_error(HTTPResponse(409, (*JSON, ("X-Request-Id", "r")), json.dumps({"error": detail}).encode()))
    items = HTTPResponse(200, JSON, json.dumps({"results": [{"error": detail}]}).encode())
    of_an_item = decode_response(VERBS["add_many"], items).results[0].error
    for each in (error, of_an_item):
        assert each.message.startswith("No.\\r\\n\\x1b[2J\\u2028\\u202e\\x00xxx")
        assert each.message.isprintable() and each.provider.isprintable()
        assert len(each.message) <= 2000 and len(each.provider) <= 100
    assert (error.request_id, of_an_item.request_id) == ("r", None)


@pytest.mark.parametrize(
    ("header", "pause"),
    [("7", 7), ("1.5", 1.5), ("0", 0), ("1_0", None), ("٣", None), ("1e3", None), ("nan", None), ("Wed, 1_0", None)],
)
def test_a_pause_is_told_in_ascii_digits(header: str, pause: float | None) -> None:
    assert decode_error(HTTPResponse(429, (("Retry-After", header),))).retry_after == pause


ENVELOPES_01 = [
    (405, "unsupported_capability", errors.UnsupportedCapabilityError),
    (404, "not_found", errors.NotFoundError),
    (504, "ingestion_timeout", errors.IngestionTimeoutError),
]


@pytest.mark.parametrize(("status", "code", "cls"), ENVELOPES_01)
def test_an_error_of_omp_0_1(status: int, code: str, cls: type[errors.OMPError]) -> None:
    body = json.dumps({"error": {"code": code, "message": "No.", "type": "invalid"}}).encode()
    error = decode_error(HTTPResponse(status, (*JSON, ("X-Request-Id", "r")), body))
    assert (type(error), str(error), error.request_id, error.provider) == (cls, "No.", "r", None)
    assert error.written == cls.default_written


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "unauthorized"),
        (404, "not_found"),
        (409, "conflict"),
        (413, "payload_too_large"),
        (422, "invalid_request"),
        (418, "invalid_request"),
        (429, "rate_limited"),
        (501, "unsupported_capability"),
        (500, "internal_error"),
        (503, "provider_unavailable"),
        (599, "provider_error"),
        (302, "provider_error"),
    ],
)
def test_an_unknown_code_is_read_by_its_status(status: int, code: str) -> None:
    body = json.dumps({"error": {"code": "new", "message": "No.", "type": "n", "written": "later", "provider": 5}})
    error = decode_error(HTTPResponse(status, JSON, body.encode()))
    assert (error.code, str(error), error.provider) == (code, "No.", None)
    assert error.written == type(error).default_written


NOT_ENVELOPES = [
    b"",
    b"<h1>tok</h1>",
    b"null",
    b"[]",
    b'"tok"',
    b'{"detail":"tok"}',
    b'{"error":"tok"}',
    b'{"error":["tok"]}',
]
NOT_ENVELOPES += [
    b'{"error":{"code":1,"message":"tok"}}',
    b'{"error":{"code":"conflict","message":null}}',
    b"\xff",
    DEEP,
]


@pytest.mark.parametrize("body", NOT_ENVELOPES, ids=range(len(NOT_ENVELOPES)))
@pytest.mark.parametrize(
    ("status", "code", "written"),
    [
        (400, "invalid_request", "nothing"),
        (401, "unauthorized", "nothing"),
        (404, "provider_error", "nothing"),
        (405, "unsupported_capability", "nothing"),
        (408, "provider_unavailable", "perhaps"),
        (429, "rate_limited", "nothing"),
        (500, "provider_error", "perhaps"),
        (502, "provider_unavailable", "perhaps"),
        (504, "provider_unavailable", "perhaps"),
        (307, "provider_error", "nothing"),
        (101, "provider_error", "nothing"),
    ],
)
def test_what_is_no_envelope_is_read_by_its_status_and_not_quoted(
    body: bytes, status: int, code: str, written: str
) -> None:
    error = decode_error(HTTPResponse(status, (("Retry-After", "7"), ("X-Request-Id", "r")), body))
    assert (error.code, error.written, error.retry_after, error.request_id) == (code, written, 7, "r")
    assert str(status) in str(error)
    assert "tok" not in str(error)
    assert error.remedy


# --- over a real wire -------------------------------------------------------------------------------------------


class Wire:
    """A client and a server of other people's making; it keeps the request and answers not_found."""

    def __init__(self) -> None:
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                wire.got = decode_request(HTTPRequest.of(self.command, self.path, self.headers.items(), body))
                answer = encode_error(errors.NotFoundError("Nö.", request_id="r"))
                self.send_response(answer.status)
                for name, value in (*answer.headers, ("Content-Length", str(len(answer.body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_one

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.got: tuple[Any, BaseModel] | None = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.client = httpx.Client(trust_env=False)

    def send(self, message: HTTPRequest) -> HTTPResponse:
        url = f"http://127.0.0.1:{self.server.server_port}{message.target}"
        got = self.client.request(message.method, url, headers=list(message.headers), content=message.body or None)
        return HTTPResponse(got.status_code, tuple(got.headers.items()), got.content)

    def close(self) -> None:
        self.client.close()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


@given(data=st.data())
@pytest.mark.parametrize("verb", VERBS)
def test_a_request_survives_a_real_wire(wire: Wire, verb: str, data: st.DataObject) -> None:
    sent = data.draw(requests(verb))
    error = decode_error(wire.send(encode_request(sent)))
    assert (type(error), str(error)) == (errors.NotFoundError, "Nö. Check the id and the user it belongs to.")
    assert wire.got is not None
    assert wire.got[0] is VERB_OF[type(sent)]
    same(wire.got[1], sent)
