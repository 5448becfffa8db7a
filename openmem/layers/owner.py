"""Holds every answer of an adapter to the user and the memory that were asked for."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from pydantic import BaseModel

from openmem._generated import models
from openmem._generated.verbs import VERB_OF
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
REMEDY = "Report it to the provider: it mixes its users."


class Asked(NamedTuple):
    """What was asked for, noted before an adapter has the request: kind, user, id, and the users of a batch."""

    kind: type[BaseModel]
    user_id: str | None
    memory_id: str | None
    owners: list[str]

    @classmethod
    def by(cls, request: Any) -> Asked:
        """Note a request."""
        values, kind = request.__dict__, type(request)
        owners = [item.user_id for item in request.items] if kind is models.AddManyRequest else []
        return cls(kind, values.get("user_id"), values.get("id"), owners)


def owner(handler: Handler) -> Handler:
    """Wrap a handler; raises ProviderError for an answer that is another user's, or none to this verb."""

    async def owned(request: BaseModel) -> Any:
        asked = Asked.by(request)
        response = await handler(request)
        due = VERB_OF[asked.kind].response
        if due is not None and not isinstance(response, due):
            raise ProviderError(f"the provider answered {type(response).__name__}, not {due.__name__}.")
        if foreign(asked, response):
            logger.error("the provider answered with other users' memories than was asked for; they are withheld")
            _withhold(asked, response)
        return response

    return owned


def foreign(asked: Asked, response: Any) -> bool:
    """Tell whether an answer holds anything but what was asked for."""
    kind, user_id = asked.kind, asked.user_id
    if kind in MANY:
        return any(_owner(each) != user_id for each in _found(response, MANY[kind]))
    if kind in ONE:
        found = _found(response, ONE[kind])
        lost = kind is models.HistoryRequest and all(memory.id != asked.memory_id for memory in found)
        return lost or len({*map(_owner, found), *([] if user_id is None else [user_id])}) > 1
    if kind is models.AddManyRequest:
        return any(_mixed(*pair) for pair in zip(asked.owners, response.results, strict=False))  # the guard counts
    if kind in NAMED and response.id != asked.memory_id:
        return True
    return isinstance(response, (models.Memory, models.Stats)) and user_id not in (None, response.user_id)


def _withhold(asked: Asked, response: Any) -> None:
    if asked.kind in MANY:
        field = MANY[asked.kind]
        setattr(response, field, [each for each in getattr(response, field) if _owner(each) == asked.user_id])
    elif asked.kind is models.AddManyRequest:
        for user_id, result in zip(asked.owners, response.results, strict=False):
            if _mixed(user_id, result):
                result.id, result.memory, result.error = None, None, _error().detail()
    else:
        raise _error()


def _found(response: Any, field: str) -> list[Any]:
    found = getattr(response, field)
    if not isinstance(found, list):
        raise ProviderError(f"the provider answered with {type(found).__name__} in {field}, not a list.")
    return found


def _owner(found: Any) -> str:
    # Not by getattr with a default: what a model lacks takes it long to say.
    memory: models.Memory = found if isinstance(found, models.Memory) else found.memory
    return memory.user_id


def _mixed(user_id: str, result: models.BatchResult) -> bool:
    return result.memory is not None and result.memory.user_id != user_id


def _error() -> ProviderError:
    return ProviderError("the provider answered with another memory than was asked for.", remedy=REMEDY)
