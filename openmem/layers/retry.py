"""Which calls are repeated as a whole; the rule of repeating itself is in runtime/repeat."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from openmem._generated.models import AddRequest
from openmem._generated.verbs import VERB_OF
from openmem.runtime.calls import services
from openmem.runtime.repeat import repeat

from . import Handler


def retry(handler: Handler) -> Handler:
    """Wrap a handler; further attempts, as many as the client of the call under way lends.

    A call is repeated where nothing was written for certain, and where doing it twice equals doing it once: reads, and
    adds by external_id that do not refuse what is there.
    """

    async def retrying(request: BaseModel) -> Any:
        return await repeat(lambda: handler(request), services().retries, harmless=_harmless(request))

    return retrying


def _harmless(request: BaseModel) -> bool:
    if isinstance(request, AddRequest):
        return request.external_id is not None and request.on_conflict != "error"
    return VERB_OF[type(request)].safe
