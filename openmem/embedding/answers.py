"""What embedding endpoints answer: vectors in several shapes, and errors, also those that come as success."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float64]

_STATUS_OF = {
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "context_length_exceeded": 400,
    "invalid_request_error": 400,
    "validation": 422,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "overloaded": 503,
    "overloaded_error": 529,
    "server_error": 500,
}
"""The HTTP status that a named code of theirs stands for."""


class NotVectors(Exception):
    """The answer is none; its text says what it is instead."""


class WrongWidth(Exception):
    """A vector has so many numbers, and not as many as it should."""


class Problem(NamedTuple):
    """An error as an endpoint tells it; status: the HTTP status that its code is or stands for."""

    status: int | None
    reason: str


def parse(body: bytes) -> Any:
    """Read JSON; NotVectors for anything else and for what is nested too deep."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise NotVectors("something other than JSON") from None


def problem(document: Any) -> Problem | None:
    """Return the error that a document tells; None where it tells none."""
    if not isinstance(document, Mapping):
        return None
    error = document.get("error") or document.get("errors")
    if not error and _entries(document) is not None:
        return None
    places = [error[0] if isinstance(error, list) else error, document]
    found = [place for place in places if isinstance(place, Mapping)]
    reason = error if isinstance(error, str) else next(filter(None, map(_words, found)), "")
    statuses = (_status(place.get(name)) for place in found for name in _CODES)
    status = next((each for each in statuses if each is not None), None)
    return Problem(status, reason) if error or reason or status else None


_CODES = ("code", "status", "status_code", "statusCode", "type", "error_type")


def _status(code: Any) -> int | None:
    if isinstance(code, str):
        code = int(code) if re.fullmatch(r"[45]\d\d", code) else _STATUS_OF.get(code.lower())
    return code if type(code) is int and 400 <= code <= 599 else None


def _words(place: Mapping[Any, Any]) -> str:
    said = place.get("message") or place.get("detail")
    if isinstance(said, list):  # as validation libraries list what is wrong, each with the input, which is not told
        listed = (each.get("msg") for each in said[:3] if isinstance(each, Mapping))
        said = "; ".join(each for each in listed if isinstance(each, str))
    return said if isinstance(said, str) else ""


def vectors(document: Any, count: int, dimension: int) -> list[Row | None]:
    """Read one vector a text, in their order; None where there is none for a text, or one that is not finite.

    Takes a list under data, embeddings or embedding, or alone; in it vectors, or objects that hold one as embedding or
    values, with their index or in order; a vector is numbers, or their float32 bytes in base64. Raises NotVectors,
    WrongWidth.
    """
    entries = _entries(document)
    if entries is None:
        raise NotVectors("something other than a list of embeddings")
    if len(entries) != count:
        raise NotVectors(f"{len(entries)} vectors for {count} texts")
    if all(isinstance(entry, Mapping) for entry in entries):
        entries = [entry.get("embedding", entry.get("values")) for entry in _in_order(entries)]
    return [_row(entry, dimension) for entry in entries]


def _entries(document: Any) -> list[Any] | None:
    if isinstance(document, Mapping):
        for name in ("data", "embeddings"):
            if document.get(name) is not None:
                return _entries_of_type(document[name])
        single = document.get("embedding")
        return [single] if isinstance(single, (list, str)) else None
    return document if isinstance(document, list) else None


def _entries_of_type(found: Any) -> list[Any] | None:
    """Return the list itself, or the one of floats where lists are given by the type of their numbers."""
    found = found.get("float") if isinstance(found, Mapping) else found
    return found if isinstance(found, list) else None


def _in_order(entries: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    indexes = [entry.get("index") for entry in entries]
    if all(index is None for index in indexes):
        return entries
    numbers = [int(i) if isinstance(i, str) and i.isascii() and i.isdigit() and len(i) < 7 else i for i in indexes]
    places = {number: place for place, number in enumerate(numbers) if type(number) is int}
    if places.keys() != set(range(len(entries))):
        raise NotVectors(f"{len(entries)} vectors that are indexed otherwise than from 0 to {len(entries) - 1}")
    return [entries[places[number]] for number in range(len(entries))]


def _row(value: Any, dimension: int) -> Row | None:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if value is None or value == []:
        return None
    if isinstance(value, str):
        numbers = _decoded(value)
    elif isinstance(value, list):
        if bool in map(type, value):  # which would be read as 0 or 1
            raise NotVectors("a vector of something other than numbers")
        try:
            numbers = np.array(value)
            if numbers.dtype.kind == "O":
                numbers = np.array([np.nan if number is None else number for number in value])
        except ValueError:
            raise NotVectors("a vector that is none") from None
    else:
        raise NotVectors(f"{type(value).__name__} where a vector is expected")
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        raise NotVectors("a vector of something other than numbers")
    if len(numbers) != dimension:
        raise WrongWidth(len(numbers))
    row = numbers.astype(np.float64)
    with np.errstate(over="ignore"):
        length = np.linalg.norm(row)
    if not np.isfinite(length):
        return None
    return row / length if length else row


def _decoded(value: str) -> NDArray[np.float32]:
    try:
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
    except ValueError:
        raise NotVectors("text where a vector is expected") from None
