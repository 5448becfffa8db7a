"""Whose memories an answer holds: what was asked for against what an adapter gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


Address = tuple[str | None, str | None, str | None]
"""What names a memory: user, id and external_id, None where it is not said."""
Asked = tuple[type[BaseModel], Address, Sequence[Address]]
"""What was asked for, noted before an adapter has the request: kind, memory, and the memories of a batch."""


def asked_by(request: Any) -> Asked:
    """Note a request."""
    values, kind = request.__dict__, type(request)
    key = None if kind is models.AddRequest else values.get("external_id")
    return kind, (values.get("user_id"), values.get("id"), key), _BATCHES[kind](request) if kind in _BATCHES else ()


def _of_each(request: models.GetManyRequest) -> Sequence[Address]:
    user_id = request.user_id
    return [(user_id, each, None) for each in request.ids or ()] or [
        (user_id, None, each) for each in request.external_ids or ()
    ]


_BATCHES: dict[type[BaseModel], Callable[[Any], Sequence[Address]]] = {
    models.AddManyRequest: lambda request: [(item.user_id, None, None) for item in request.items],
    models.UpdateManyRequest: lambda request: [(item.user_id, item.id, item.external_id) for item in request.items],
    models.GetManyRequest: _of_each,
}


def foreign(asked: Asked, response: Any) -> bool:
    """Tell whether an answer holds anything but what was asked for."""
    kind, address, each = asked
    user_id = address[0]
    if type(response) is models.MemoryRecord:  # by add, or by a verb that named it
        return not _is_at(address, response)
    if kind in MANY:
        return any(owner != user_id for owner in _owners(response, MANY[kind]))
    if kind in ONE:
        owners = _owners(response, ONE[kind])
        lost = kind is models.HistoryRequest and not any(_is_at(address, memory) for memory in response.items)
        return lost or len({*owners, *([] if user_id is None else [user_id])}) > 1
    if kind in _BATCHES:
        return any(_mixed(*pair) for pair in zip(each, response.results, strict=False))  # the guard counts
    return kind is models.StatsRequest and response.user_id != user_id


def withhold(asked: Asked, response: Any) -> None:
    """Take out of an answer what was not asked for; ProviderError where nothing would be left of it."""
    kind, (user_id, _, _), addresses = asked
    if kind in MANY:
        field = MANY[kind]
        owned = zip(getattr(response, field), _owners(response, field), strict=True)
        setattr(response, field, [each for each, owner in owned if owner == user_id])
    elif kind in _BATCHES:
        for address, result in zip(addresses, response.results, strict=False):
            if _mixed(address, result):
                result.id, result.memory, result.error = None, None, _error().detail()
    else:
        raise _error()


def _owners(response: Any, field: str) -> list[str]:
    found = getattr(response, field)
    if not isinstance(found, list):
        raise ProviderError(f"the provider answered with {type(found).__name__} in {field}, not a list.")
    return [each.memory.user_id for each in found] if field == "results" else [each.user_id for each in found]


def _is_at(address: Address, memory: models.MemoryRecord) -> bool:
    user_id, memory_id, key = address
    return user_id in (None, memory.user_id) and memory_id in (None, memory.id) and key in (None, memory.external_id)


def _mixed(address: Address, result: models.BatchResult) -> bool:
    if result.memory is not None:
        return not _is_at(address, result.memory)
    return address[1] is not None and result.id not in (None, address[1])


def _error() -> ProviderError:
    return ProviderError("the provider answered with another memory than was asked for.", remedy=REMEDY)
