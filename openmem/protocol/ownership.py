"""Whose memories an answer holds: what was asked for against what an adapter gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from .._generated import models
from ..errors import ProviderError

MANY: dict[type[BaseModel], str] = {
    models.ListRequest: "items",
    models.SearchRequest: "results",
    models.RememberRequest: "items",
}
"""Requests over a user, and the field of the response with what was found: what is another user's is dropped."""
ONE: dict[type[BaseModel], str] = {models.RelatedRequest: "results", models.HistoryRequest: "items"}
"""Requests that concern one memory, and that field: with anything of another user all of it is withheld."""
REMEDY = "Report it to the provider: it mixes its users."


Asked = tuple[type[BaseModel], str | None, str | None, Sequence[str]]
"""What was asked for, noted before an adapter has the request: kind, user, id, and the users of a batch."""


def asked_by(request: Any) -> Asked:
    """Note a request."""
    values, kind = request.__dict__, type(request)
    owners = [item.user_id for item in request.items] if kind is models.AddManyRequest else ()
    return kind, values.get("user_id"), values.get("id"), owners


def foreign(asked: Asked, response: Any) -> bool:
    """Tell whether an answer holds anything but what was asked for."""
    kind, user_id, memory_id, owners = asked
    if type(response) is models.MemoryRecord:  # by add, or by a verb that named it
        return user_id not in (None, response.user_id) or memory_id not in (None, response.id)
    if kind in MANY:
        return any(owner != user_id for owner in _owners(response, MANY[kind]))
    if kind in ONE:
        owners = _owners(response, ONE[kind])
        lost = kind is models.HistoryRequest and all(memory.id != memory_id for memory in response.items)
        return lost or len({*owners, *([] if user_id is None else [user_id])}) > 1
    if kind is models.AddManyRequest:
        return any(_mixed(*pair) for pair in zip(owners, response.results, strict=False))  # the guard counts
    return kind is models.StatsRequest and response.user_id != user_id


def withhold(asked: Asked, response: Any) -> None:
    """Take out of an answer what was not asked for; ProviderError where nothing would be left of it."""
    kind, user_id, _, owners = asked
    if kind in MANY:
        field = MANY[kind]
        owned = zip(getattr(response, field), _owners(response, field), strict=True)
        setattr(response, field, [each for each, owner in owned if owner == user_id])
    elif kind is models.AddManyRequest:
        for owner, result in zip(owners, response.results, strict=False):
            if _mixed(owner, result):
                result.id, result.memory, result.error = None, None, _error().detail()
    else:
        raise _error()


def _owners(response: Any, field: str) -> list[str]:
    found = getattr(response, field)
    if not isinstance(found, list):
        raise ProviderError(f"the provider answered with {type(found).__name__} in {field}, not a list.")
    return [each.memory.user_id for each in found] if field == "results" else [each.user_id for each in found]


def _mixed(user_id: str, result: models.BatchResult) -> bool:
    return result.memory is not None and result.memory.user_id != user_id


def _error() -> ProviderError:
    return ProviderError("the provider answered with another memory than was asked for.", remedy=REMEDY)
