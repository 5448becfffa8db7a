"""Holds every answer of an adapter to the user and the memory that were asked for."""

from __future__ import annotations

import logging
from typing import Any

from pydantic import BaseModel

from openmem._generated import models
from openmem.errors import ProviderError

from . import Handler

logger = logging.getLogger("openmem")
MANY = {models.ListRequest: "items", models.SearchRequest: "results", models.RememberRequest: "items"}
"""Requests over a user, and the field of the response with what was found: what is another user's is dropped."""
ONE = {
    models.AddRequest: None,
    models.GetRequest: None,
    models.UpdateRequest: None,
    models.RelatedRequest: "results",
    models.HistoryRequest: "items",
}
"""Requests that concern one memory, and that field where there is one: anything of another user is an error."""


def owner(handler: Handler) -> Handler:
    """Wrap a handler; raises ProviderError for an answer that is another user's."""

    async def owned(request: BaseModel) -> Any:
        response = await handler(request)
        kind = type(request)
        if kind in MANY:
            _drop(response, MANY[kind], request.user_id)  # type: ignore[attr-defined]
        elif kind in ONE:
            field = ONE[kind]
            _hold(request, [response] if field is None else getattr(response, field))
        elif kind is models.AddManyRequest:
            _withhold(request, response)  # type: ignore[arg-type]
        elif kind is models.StatsRequest and response.user_id != request.user_id:  # type: ignore[attr-defined]
            raise _foreign()
        return response

    return owned


def _drop(response: Any, field: str, user_id: str) -> None:
    found = getattr(response, field)
    mine = [each for each in found if _memory(each).user_id == user_id]
    if len(mine) < len(found):
        logger.error("the provider answered %d memories of other users; they are dropped", len(found) - len(mine))
        setattr(response, field, mine)


def _hold(request: Any, found: list[Any]) -> None:
    users = {_memory(each).user_id for each in found} | ({request.user_id} - {None})
    named = isinstance(request, (models.GetRequest, models.UpdateRequest))
    if len(users) > 1 or (named and found[0].id != request.id):
        raise _foreign()


def _withhold(request: models.AddManyRequest, response: models.BatchResponse) -> None:
    for item, result in zip(request.items, response.results, strict=False):  # the guard counts them
        if result.memory is not None and result.memory.user_id != item.user_id:
            result.id = result.memory = None
            result.error = _foreign().detail()


def _memory(found: Any) -> models.Memory:
    memory: models.Memory = getattr(found, "memory", found)
    return memory


def _foreign() -> ProviderError:
    logger.error("the provider answered with another memory or user than was asked for; the answer is withheld")
    remedy = "Report it to the provider: it mixes its users."
    return ProviderError("the provider answered with another memory than was asked for.", remedy=remedy)
