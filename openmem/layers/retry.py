"""Which calls are repeated as a whole; the rule of repeating itself is in runtime/repeat."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from openmem._generated.models import AddRequest, HealthRequest
from openmem._generated.verbs import VERB_OF
from openmem.runtime.repeat import repeat

from . import Handler


def retry(handler: Handler, retries: int) -> Handler:
    """Wrap a handler; at most `retries` further attempts.

    A call is repeated where nothing was written for certain, and where doing it twice equals doing it once: reads, and
    adds by external_id that do not refuse what is there. Health is asked once: it tells how things stand now.
    """

    async def retrying(request: BaseModel) -> Any:
        most = 0 if type(request) is HealthRequest else retries
        return await repeat(lambda: handler(request), most, harmless=_harmless(request))

    return retrying


def _harmless(request: BaseModel) -> bool:
    if isinstance(request, AddRequest):
        return request.external_id is not None and request.on_conflict != "error"
    return VERB_OF[type(request)].safe
