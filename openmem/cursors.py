"""Opaque list cursors, bound to the query that made them."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime

from ._generated.models import ListRequest
from .errors import InvalidRequestError

Position = tuple[datetime, str]
"""created_at and id of the last memory of a page."""

_PAGING = {"cursor", "limit"}


def encode(position: Position, request: ListRequest) -> str:
    """Write the position after which the next page of this query begins."""
    moment, memory_id = position
    payload = json.dumps([moment.isoformat(), memory_id, _digest(request)], separators=(",", ":"))
    return base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=")


def decode(request: ListRequest) -> Position | None:
    """Read the position in request.cursor; None on the first page.

    Raises InvalidRequestError for a cursor that is malformed or was made by another query.
    """
    if request.cursor is None:
        return None
    remedy = "Pass next_cursor as it came, with the same user, scope and filters; or start without a cursor."
    try:
        padded = request.cursor + "=" * (-len(request.cursor) % 4)
        moment, memory_id, digest = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        position = (datetime.fromisoformat(moment), str(memory_id))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequestError("cursor is malformed.", remedy=remedy) from error
    if digest != _digest(request) or position[0].tzinfo is None:
        raise InvalidRequestError("cursor belongs to another query.", remedy=remedy)
    return position


def _digest(request: ListRequest) -> str:
    query = request.model_dump_json(exclude=_PAGING, exclude_none=True)
    return hashlib.blake2b(query.encode(), digest_size=8).hexdigest()
