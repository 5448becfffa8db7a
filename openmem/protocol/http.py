"""A request model as an HTTP request and back, by the verb table; for server and client alike, and without either."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from .._generated.models import AddManyRequest, UpdateManyRequest, UpdateRequest
from .._generated.verbs import VERB_OF, VERBS, Route, Verb
from ..errors import InvalidRequestError, NotFoundError
from ..runtime.ids import is_request_id
from . import filters
from .messages import (
    JSON,
    HTTPRequest,
    Pairs,
    content_type,
    escaped,
    header_text,
    identified,
    read_object,
    rfc3339,
    unescaped,
    values,
    write_json,
)
from .parameters import read_parameter
from .strict import Unread
from .validation import Addressed, check_address, given, made_anew, no_request_id, parse

Fields = Mapping[str, Any]

LONGEST_TARGET = 7_000
"""Characters of path and query: RFC 9110, 4.1 asks for lines of 8,000; the rest is for where a server's URL begins."""
_LONGEST_QUOTE = 100
_SURROGATE = ("a text holds a lone surrogate.", "Decode it as UTF-8 first.")
_NAMES = frozenset({"id", "external_id"})
"""What names the memory that a request concerns: one of the two."""
_PARAMETER = re.compile(r"\{(\w+)\}")
_ROUTES = sorted(
    (
        (verb, route, re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", route.path)))
        for verb in VERBS.values()
        for route in verb.routes
    ),
    key=lambda each: each[1].path.count("{"),
)
"""Those of a fixed path first, for another's parameter would match it too."""
_WORDS = frozenset(word for _, route, _ in _ROUTES for word in route.path.split("/"))
_HEADERS = {
    field: name for _, route, _ in _ROUTES for field, (place, name) in route.places.items() if place == "header"
}


# --- writing ----------------------------------------------------------------------------------------------------


def encode_request(request: BaseModel, request_id: str | None = None) -> HTTPRequest:
    """Write a request by the plainest route of its verb that carries it whole.

    Null travels only where it clears, which is in a merge patch; an empty list in a query is left out, and says the
    same. Raises InvalidRequestError for what is no request, and for what HTTP cannot carry: values that are not JSON,
    lone surrogates, an id of the request that is none.
    """
    if request_id is not None and not is_request_id(request_id):
        raise no_request_id()
    if type(request) not in VERB_OF:
        request = made_anew(request)
    verb = VERB_OF[type(request)]
    own = verb.request.model_fields  # of extensions null travels too
    if isinstance(request, Addressed):
        check_address(request)
    kept = own.keys() - _NAMES if isinstance(request, UpdateRequest) else ()
    fields = {k: v for k, v in given(request).items() if v is not None or k in kept or k not in own}
    if isinstance(request, (UpdateRequest, UpdateManyRequest)):
        fields = {name: _whole(value) for name, value in fields.items()}
    try:
        return _plainest(verb, fields, identified(request_id))
    except UnicodeEncodeError:
        raise _invalid(*_SURROGATE) from None
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(f"the request cannot be written: {error}.") from None


def _plainest(verb: Verb, fields: Fields, headers: Pairs) -> HTTPRequest:
    """Write it by the first route that takes it in a short query without objects, or in a body; else by the first."""
    able = [route for route in verb.routes if _takes(route, fields)]
    for route in able:
        written = _write(route, fields, headers)
        objects = any(isinstance(fields[name], Mapping) for name in fields.keys() & route.places.keys())
        if route.body or not (objects or len(written.target) > LONGEST_TARGET):
            return written
    return _write(able[0], fields, headers)


def _takes(route: Route, fields: Fields) -> bool:
    """Tell whether a route has a place for every field, and names a memory as they do: by id, or by external_id."""
    return route.places.keys() & _NAMES <= fields.keys() and (route.body or fields.keys() <= route.places.keys())


def _whole(value: Any) -> Any:
    """Write the models in a merge patch as objects, with the nulls in them, which clear."""
    if isinstance(value, BaseModel):
        return {name: _whole(each) for name, each in given(value).items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


def _write(route: Route, fields: Fields, headers: Pairs) -> HTTPRequest:
    path, query = route.path, []
    for field, (place, name) in route.places.items():
        value = fields.get(field)
        if value is None:
            continue
        if place == "path":
            path = path.replace(f"{{{name}}}", _segment(value))
        elif place == "header":
            headers += ((name, header_text(_text(value))),)
        else:
            query += [(name, _text(each)) for each in (value if isinstance(value, list) else [value])]
    headers += (("Accept", JSON),)
    if not route.body:
        return HTTPRequest(route.method, path, tuple(query), headers)
    body = write_json({name: value for name, value in fields.items() if name not in route.places})
    return HTTPRequest(route.method, path, tuple(query), (*headers, ("Content-Type", JSON)), body)


def _segment(value: str) -> str:
    """Write a parameter as one segment of a path, so that as it is written it is no step and no word of another route.

    Whoever decodes unreserved characters on the way, which RFC 3986 (6.2.2.2) allows, undoes that for `search`, `.` and
    `..`: see "On the wire" of the spec.
    """
    text = _text(value)
    if text in _WORDS or text in (".", ".."):
        return "".join(f"%{byte:02X}" for byte in text.encode())
    return escaped(text)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(filters.plain(value))
    return rfc3339(value) if isinstance(value, datetime) else write_json(value).decode()


# --- reading ----------------------------------------------------------------------------------------------------


def decode_request(message: HTTPRequest) -> tuple[Verb, BaseModel]:
    """Read the verb and the request model of an HTTP request, by the rules of a call in Python and the types of JSON.

    The items of a batch are read so when they are judged.
    Raises NotFoundError for a path that is no route, InvalidRequestError for all else that is not as the spec has it.
    """
    verb, route, from_path = _match(message.method, message.path)
    fields: dict[str, Any] = {}
    for part in (
        from_path,
        _from_headers(verb, message.headers),
        _from_query(verb, route, message.query),
        _from_body(route, message),
    ):
        for name, value in part.items():
            if fields.setdefault(name, value) != value and value is not None:
                raise _invalid(f"{name} is given in two places, and differs.", "Give it once.")
    try:
        request = parse(verb.request, fields, strict=True)
    except UnicodeEncodeError:
        raise _invalid(*_SURROGATE) from None
    if isinstance(request, (AddManyRequest, UpdateManyRequest)):
        request.items = [Unread(item) if isinstance(item, dict) else item for item in request.items]
    return verb, request


def _match(method: str, path: str) -> tuple[Verb, Route, dict[str, str]]:
    """Find the route of a path, and the fields that stand in it."""
    found = [(verb, route, match) for verb, route, pattern in _ROUTES if (match := pattern.fullmatch(path))]
    for verb, route, match in found:
        if route.method == method:
            places = [(field, name) for field, (place, name) in route.places.items() if place == "path"]
            return verb, route, {field: unescaped(match[name]) for field, name in places}
    if not found:
        near = difflib.get_close_matches(path, [route.path for _, route, _ in _ROUTES], n=1)
        remedy = f"Did you mean {near[0]}?" if near else "The routes are those of the protocol's openapi.yaml."
        raise NotFoundError(f"there is no route {_quoted(path)}.", remedy=remedy)
    methods = ", ".join(sorted({route.method for _, route, _ in found}))
    raise _invalid(f"the route {found[0][1].path} has no {_quoted(method)}.", f"Use {methods}.")


def _from_headers(verb: Verb, headers: Pairs) -> dict[str, str]:
    """Read what the table knows as headers, on every route: whoever names a user there means that user."""
    found: dict[str, str] = {}
    if verb.operator and values(headers, _HEADERS["user_id"]):
        raise _invalid(f"{verb.name} is about no one user.", f"Leave {_HEADERS['user_id']} out.")
    for field in _HEADERS.keys() & verb.request.model_fields.keys():
        name = _HEADERS[field]
        given = values(headers, name)
        if len(given) > 1:
            raise _invalid(f"the header {name} stands there {len(given)} times.", "Give it once.")
        if given:
            found[field] = unescaped(given[0])
    return found


def _from_query(verb: Verb, route: Route, query: Pairs) -> dict[str, Any]:
    names = {name: field for field, (place, name) in route.places.items() if place == "query"}
    given: dict[str, list[str]] = {}
    for name, value in query:
        if name not in names:
            raise _unknown(name, route, names)
        given.setdefault(names[name], []).append(value)
    if "external_id" in names.values() and "external_id" not in given:
        raise _invalid("the query has no external_id.", "Give ?external_id=…, or the id in the path.")
    return {field: read_parameter(field, verb.request.model_fields[field], texts) for field, texts in given.items()}


def _unknown(name: str, route: Route, names: Mapping[str, str]) -> InvalidRequestError:
    place, spelling = route.places.get(name, ("", ""))
    near = difflib.get_close_matches(name, list(names), n=1)
    if spelling:
        remedy = f"It is the {place} parameter '{spelling}' here."
    elif near:
        remedy = f"Did you mean '{near[0]}'?"
    else:
        remedy = "Give it in the body." if route.body else f"There are: {', '.join(names) or 'none'}."
    return _invalid(f"unknown query parameter {_quoted(name)}.", remedy)


def _from_body(route: Route, message: HTTPRequest) -> dict[str, Any]:
    if not route.body:
        if message.body:
            raise _invalid(f"{route.method} {route.path} takes no body.", "Give its parameters in the query.")
        return {}
    _check_encoding(message.headers)
    try:
        return read_object(message.body)
    except ValueError as error:
        raise _invalid(f"the body {error}.", "Send one JSON object in UTF-8.") from None


def _check_encoding(headers: Pairs) -> None:
    kind, charset = content_type(headers)
    if kind != JSON:
        raise _invalid(f"the body's Content-Type is not {JSON}.", f"Send the header Content-Type: {JSON}.")
    if charset not in ("utf-8", "utf8", "us-ascii") or values(headers, "Content-Encoding"):
        raise _invalid("the body is not plain UTF-8.", "Send it in UTF-8, without Content-Encoding.")


def _quoted(text: str) -> str:
    return ascii(text[:_LONGEST_QUOTE])


def _invalid(message: str, remedy: str) -> InvalidRequestError:
    return InvalidRequestError(message, remedy=remedy)
