"""HTTP messages as values, and what all of them share: percent-encoding, moments, JSON, the id of a request."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from pydantic import BaseModel

from ..errors import InvalidRequestError
from ..runtime.ids import is_request_id

Pairs = tuple[tuple[str, str], ...]
JSON = "application/json"
REQUEST_ID = "X-Request-Id"
MAX_JSON_DEPTH = 100
"""Levels of a JSON text: more than the protocol's values need, fewer than trouble whoever walks through them."""
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_OUTER_SPACES = re.compile(r"^ +| +$")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
_VISIBLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


@dataclass(frozen=True, slots=True)
class HTTPRequest:
    """A request as it travels. path: percent-encoded, as on the wire; query: names and values, decoded."""

    method: str
    path: str
    query: Pairs = ()
    headers: Pairs = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def target(self) -> str:
        """The path and the query as they stand in the first line of the request."""
        query = "&".join(f"{escaped(name)}={escaped(value)}" for name, value in self.query)
        return f"{self.path}?{query}" if query else self.path

    @classmethod
    def of(cls, method: str, target: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> HTTPRequest:
        """Make a request of its first line, whose target is still percent-encoded; raises InvalidRequestError."""
        path, _, query = target.partition("?")
        parts = (part.replace("+", " ").partition("=") for part in query.split("&") if part)
        pairs = tuple((unescaped(name), unescaped(value)) for name, _, value in parts)
        return cls(method, path, pairs, tuple(headers), body)


@dataclass(frozen=True, slots=True)
class HTTPResponse:
    """An answer as it travels."""

    status: int
    headers: Pairs = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


def values(headers: Pairs, name: str) -> list[str]:
    """List what a header says, once for each time it stands there."""
    return [value.strip(" \t") for key, value in headers if key.lower() == name.lower()]


def content_type(headers: Pairs) -> tuple[str, str]:
    """Return the media type and the charset of a message in small letters; where none is named, '' and 'utf-8'.

    Of two charsets both are returned, with a comma between them, which is none.
    """
    kind, *parameters = ",".join(values(headers, "Content-Type")).lower().split(";")
    given = (part.strip().partition("=") for part in parameters)
    charsets = [value.strip('"') for name, _, value in given if name == "charset"]
    return kind.strip(), ",".join(charsets) or "utf-8"


def request_id_of(headers: Pairs) -> str | None:
    """Return the id that a message names itself by; None where there is none that is safe to log and to repeat."""
    found = values(headers, REQUEST_ID)
    return found[0] if len(found) == 1 and is_request_id(found[0]) else None


def identified(request_id: str | None) -> Pairs:
    """Write the header of a request id; none for an id that no header may hold."""
    return ((REQUEST_ID, request_id),) if request_id is not None and is_request_id(request_id) else ()


def escaped(text: str) -> str:
    """Percent-encode a text for a path or a query, all but unreserved characters (RFC 3986, 2.3)."""
    return quote(text, safe="")


def header_text(text: str) -> str:
    """Percent-encode a text for a header: `%`, outer spaces and whatever is not visible ASCII."""
    return _OUTER_SPACES.sub(lambda spaces: "%20" * len(spaces[0]), quote(text, safe=_VISIBLE))


def unescaped(text: str) -> str:
    """Decode a percent-encoded text; InvalidRequestError where it is not wholly so."""
    try:
        if text.isascii() and not _NO_ESCAPE.search(text):
            return unquote(text, errors="strict")
    except UnicodeDecodeError:
        pass
    raise InvalidRequestError(
        "a path, query or header is not percent-encoded UTF-8.", remedy="Encode it; a percent sign itself as %25."
    )


def harmless(text: str, most: int) -> str:
    """Return what somebody else says in a form fit for logs and terminals: so many characters, all printable."""
    shown = text if len(text) <= most else f"{text[: most - 1]}…"
    if not shown.isprintable():
        shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def is_rfc3339(text: Any) -> bool:
    """Tell whether a JSON value is a text in the form of RFC 3339 (5.6), whether or not there is such a day."""
    return isinstance(text, str) and _RFC_3339.fullmatch(text) is not None


def rfc3339(moment: datetime) -> str:
    """Write a moment in UTC, to the microsecond; OverflowError where UTC has no such year."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def write_json(value: Any, errors: str = "strict") -> bytes:
    """Write a value as JSON in UTF-8: of a model what is not None, and extensions whatever they are.

    errors: what becomes of lone surrogates, as of str.encode. Raises ValueError for what is not JSON.
    """
    try:
        text = json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{error}") from None
    _check_keys(value)
    return text.encode(errors=errors)


def _check_keys(value: Any) -> None:
    """Refuse keys that are not text, which json.dumps writes as texts that may be there already."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        each = _fields(each) if isinstance(each, BaseModel) else each
        if isinstance(each, Mapping):
            if not all(isinstance(key, str) for key in each):
                raise ValueError("an object has a key that is not text")
            waiting.extend(each.values())
        elif isinstance(each, (list, tuple)):
            waiting.extend(each)


def _fields(model: BaseModel) -> dict[str, Any]:
    return {k: v for k, v in model.__dict__.items() if v is not None} | (model.model_extra or {})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, BaseModel):
        return _fields(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def read_json(source: bytes | str) -> Any:
    """Read JSON that says one thing only: UTF-8, no key twice, finite numbers, no lone surrogates, not too deep.

    Raises ValueError, which quotes nothing of it.
    """
    try:
        text = source.decode() if isinstance(source, bytes) else source
        value = json.loads(text, object_pairs_hook=_object, parse_float=_finite, parse_constant=_finite)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at character {error.pos}") from None
    except UnicodeError:
        raise ValueError("is not text in UTF-8") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None
    _check_depth(value)
    return value


def read_object(source: bytes | str) -> dict[str, Any]:
    """Read a JSON object as read_json reads; raises ValueError."""
    value = read_json(source)
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("names a key twice in one object")
    return made


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("holds a number that is not finite")
    return number


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, (dict, list))]:
        depth += 1
        if depth > MAX_JSON_DEPTH:
            raise ValueError("is nested too deep")
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
