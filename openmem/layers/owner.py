"""Holds every answer of an adapter to the user and the memory that were asked for."""

from __future__ import annotations

import logging
from typing import Any

from pydantic import BaseModel

from openmem._generated import models
from openmem.errors import ProviderError

from . import Handler

logger = logging.getLogger("openmem")
MANY: dict[type[BaseModel], str] = {
    models.ListRequest: "items",
    models.SearchRequest: "results",
    models.RememberRequest: "items",
}
"""Requests over a user, and the field of the response with what was found: what is another user's is dropped."""
ONE: dict[type[BaseModel], str] = {models.RelatedRequest: "results", models.HistoryRequest: "items"}
"""Requests that concern one memory, and that field: with anything of another user all of it is withheld."""
NAMED = (models.GetRequest, models.UpdateRequest)
"""Requests that are answered with the memory that they name."""


def owner(handler: Handler) -> Handler:
    """Wrap a handler; raises ProviderError for an answer that is another user's."""

    async def owned(request: BaseModel) -> Any:
        response = await handler(request)
        if foreign(request, response):
            logger.error("the provider answered with other users' memories than was asked for; they are withheld")
            _withhold(request, response)
        return response

    return owned


def foreign(request: Any, response: Any) -> bool:
    """Tell whether an answer holds anything but what was asked for."""
    kind = type(request)
    if kind in MANY:
        return any(_owner(each) != request.user_id for each in getattr(response, MANY[kind]))
    if kind in ONE:
        return len({*map(_owner, getattr(response, ONE[kind])), request.user_id or _ANY} - {_ANY}) > 1
    if kind is models.AddManyRequest:
        pairs = zip(request.items, response.results, strict=False)  # the guard counts them
        return any(_mixed(item, result) for item, result in pairs)
    if isinstance(response, (models.Memory, models.Stats)):
        other = isinstance(request, NAMED) and isinstance(response, models.Memory) and response.id != request.id
        return other or request.user_id not in (None, response.user_id)
    return False


def _withhold(request: Any, response: Any) -> None:
    kind = type(request)
    if kind in MANY:
        mine = [each for each in getattr(response, MANY[kind]) if _owner(each) == request.user_id]
        setattr(response, MANY[kind], mine)
    elif kind is models.AddManyRequest:
        for item, result in zip(request.items, response.results, strict=False):
            if _mixed(item, result):
                result.id, result.memory, result.error = None, None, _error().detail()
    else:
        raise _error()


_ANY = ""


def _owner(found: Any) -> str:
    # Not by getattr with a default: what a model lacks takes it long to say.
    memory: models.Memory = found if isinstance(found, models.Memory) else found.memory
    return memory.user_id


def _mixed(item: models.AddRequest, result: models.BatchResult) -> bool:
    return result.memory is not None and result.memory.user_id != item.user_id


def _error() -> ProviderError:
    remedy = "Report it to the provider: it mixes its users."
    return ProviderError("the provider answered with another memory than was asked for.", remedy=remedy)
