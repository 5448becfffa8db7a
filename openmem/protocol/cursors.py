"""Opaque cursors: the guard binds each to the query that made it, an adapter says in it where the page ended."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from .._generated.models import ListRequest, MemoryPage, MemoryRecord, ScopesRequest, UsersRequest
from .._generated.verbs import VERB_OF
from ..errors import InvalidRequestError

Position = tuple[datetime, str]
"""created_at and id of the last memory of a page."""

Paged = ListRequest | ScopesRequest | UsersRequest
"""Requests that are answered a page at a time."""

_PAGING = {"cursor", "limit"}
_REMEDY = "Pass next_cursor as it came, with the same user, scope and filters; or start without a cursor."


def bind(cursor: str, request: Paged) -> str:
    """Bind an adapter's own cursor to the query that made it."""
    return _pack([cursor, digest_of(request)])


def unbind(request: Paged) -> str | None:
    """Return the adapter's own cursor out of request.cursor; None on the first page.

    Raises InvalidRequestError for a cursor that is malformed or was made by another query.
    """
    if request.cursor is None:
        return None
    cursor, digest = _unpack(request.cursor)
    if digest != digest_of(request):
        raise InvalidRequestError("cursor belongs to another query.", remedy=_REMEDY)
    return cursor


def encode(position: Position) -> str:
    """Write the position after which the next page begins as an adapter's cursor."""
    return _pack([position[0].isoformat(), position[1]])


def decode(request: ListRequest) -> Position | None:
    """Read the position in request.cursor, as the guard hands it to an adapter; None on the first page."""
    if request.cursor is None:
        return None
    text, memory_id = _unpack(request.cursor)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequestError("cursor is malformed.", remedy=_REMEDY) from error
    if moment.tzinfo is None or not _is_text(memory_id):
        raise InvalidRequestError("cursor is malformed.", remedy=_REMEDY)
    return moment, memory_id


def name_in(request: ScopesRequest | UsersRequest) -> str | None:
    """Read the name in request.cursor after which the page begins; None on the first page."""
    cursor = request.cursor
    if cursor is not None and not _is_text(cursor):
        raise InvalidRequestError("cursor is malformed.", remedy=_REMEDY)
    return cursor


def position(memory: MemoryRecord) -> Position:
    """Return where a memory stands among others: newest first is descending."""
    return memory.created_at, memory.id


def follows(place: Position, after: Position | None, order: str) -> bool:
    """Tell whether a place comes after a position in an order; None: before the first."""
    return after is None or (place > after if order == "oldest" else place < after)


def page_of(request: ListRequest, found: Iterable[MemoryRecord]) -> MemoryPage:
    """Make the page that a request asks for, of all that it selects, in whatever order."""
    after = decode(request)
    ordered = sorted(found, key=position, reverse=request.order == "newest")
    return page([memory for memory in ordered if follows(position(memory), after, request.order)], request.limit)


def page(found: list[MemoryRecord], limit: int) -> MemoryPage:
    """Make a page of what was found in order, one memory beyond the limit being the sign that there are more."""
    items = found[:limit]
    last = encode(position(items[-1])) if len(found) > limit else None
    return MemoryPage(items=items, next_cursor=last)


def _is_text(text: str) -> bool:
    """Tell whether a text is one that backends compare: without U+0000 and lone surrogates."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _pack(parts: list[str]) -> str:
    payload = json.dumps(parts, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=")


def _unpack(cursor: str) -> tuple[str, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts: Any = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("cursor is malformed.", remedy=_REMEDY) from error
    if not (isinstance(parts, list) and len(parts) == 2 and all(isinstance(part, str) for part in parts)):
        raise InvalidRequestError("cursor is malformed.", remedy=_REMEDY)
    return parts[0], parts[1]


def digest_of(request: Paged) -> str:
    """Return what tells one query from another, whichever of its pages is asked for."""
    said = request.model_dump(mode="json", exclude=_PAGING, exclude_defaults=True)
    meant = {name: value for name, value in said.items() if value not in ([], {})}
    if "include" in meant:
        meant["include"] = sorted(set(meant["include"]))
    query = VERB_OF[type(request)].name + json.dumps(meant, sort_keys=True)
    return hashlib.blake2b(query.encode(), digest_size=8).hexdigest()
