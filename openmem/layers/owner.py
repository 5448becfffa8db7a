"""Holds every answer of an adapter to the user and the memory that were asked for."""

from __future__ import annotations

import logging
from typing import Any

from pydantic import BaseModel

from openmem._generated.verbs import VERB_OF
from openmem.errors import ProviderError
from openmem.protocol.ownership import asked_by, foreign, withhold

from . import Handler

logger = logging.getLogger("openmem")


def owner(handler: Handler) -> Handler:
    """Wrap a handler; raises ProviderError for an answer that is another user's, or none to this verb."""

    async def owned(request: BaseModel) -> Any:
        asked = asked_by(request)
        response = await handler(request)
        check_kind(request, response, "the provider")
        if foreign(asked, response):
            logger.error("the provider answered with other users' memories than was asked for; they are withheld")
            withhold(asked, response)
        return response

    return owned


def check_kind(request: BaseModel, response: Any, whose: str) -> None:
    """Raise ProviderError for a response that is none to the verb; whose: who answered."""
    due = VERB_OF[type(request)].response
    if due is not None and type(response) is not due and not isinstance(response, due):
        raise ProviderError(f"{whose} answered {type(response).__name__}, not {due.__name__}.")
