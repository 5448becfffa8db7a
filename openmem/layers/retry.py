"""Repeats a call that a remote provider refused or lost, where repeating it cannot do harm."""

from __future__ import annotations

from typing import Any

import stamina
from pydantic import BaseModel

from openmem._generated import models
from openmem.errors import OMPError, ProviderUnavailableError, RateLimitedError

from . import Handler

READS = (
    models.GetRequest,
    models.ListRequest,
    models.SearchRequest,
    models.ContextRequest,
    models.AuditRequest,
    models.RelatedRequest,
    models.HistoryRequest,
    models.StatsRequest,
    models.CapabilitiesRequest,
)

LONGEST_PAUSE = 60.0
"""Seconds: where the provider asks for a longer pause, the caller is told instead of being kept waiting."""


def retry(handler: Handler, retries: int) -> Handler:
    """Wrap a handler; at most `retries` further attempts, waiting as long as the provider asked for.

    A refusal (rate_limited) is repeated for every verb. A call that may have arrived is repeated only where doing it
    twice equals doing it once: reads, and adds with an external_id.
    """

    async def retrying(request: BaseModel) -> Any:
        repeatable = isinstance(request, READS) or (
            isinstance(request, models.AddRequest) and request.external_id is not None
        )

        def pause(error: Exception) -> bool | float:
            refused = isinstance(error, RateLimitedError)
            if not refused and not (repeatable and isinstance(error, ProviderUnavailableError)):
                return False
            after: float | None = getattr(error, "retry_after", None)
            if after is None:
                return True
            return after if after <= LONGEST_PAUSE else False

        try:  # outside the loop of attempts, which takes longer than a database nearby
            return await handler(request)
        except OMPError as error:
            if retries == 0 or pause(error) is False:
                raise
            failures = iter([error])
        async for attempt in stamina.retry_context(on=pause, attempts=retries + 1, timeout=None):
            with attempt:
                for failure in failures:  # the attempt above counts as the first
                    raise failure
                return await handler(request)
        raise AssertionError("stamina ends in a return or a raise")

    return retrying
