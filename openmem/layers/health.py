"""Bounds health in time, whatever the backend does: it answers, fails, or is said not to answer."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from openmem._generated.models import Health, HealthRequest
from openmem.errors import ProviderUnavailableError
from openmem.runtime.calls import CURRENT
from openmem.runtime.waiting import Waiting

from . import Handler

PATIENCE = 0.8
"""Seconds that a backend has to answer, its opening included."""


class Probe:
    """Asks whether a backend answers; a store that opens slowly is open in the end, whether or not anybody waits."""

    def __init__(self) -> None:
        self._waiting = Waiting[Health]()

    def __call__(self, handler: Handler) -> Handler:
        """Wrap a handler; raises ProviderUnavailableError for health that is not answered in time."""

        def bounded(request: Any) -> Any:
            return self._health(request, handler) if type(request) is HealthRequest else handler(request)

        return bounded

    async def close(self) -> None:
        """End what nobody waits for any more."""
        await self._waiting.close()

    async def _health(self, request: HealthRequest, handler: Handler) -> Health:
        began, call = perf_counter(), CURRENT.get()
        provider = call.provider if call else "the backend"

        async def ask() -> Health:
            if call is not None:  # without repeating: what is told is how things stand now
                CURRENT.set(call._replace(services=call.services._replace(retries=0)))
            health: Health = await handler(request)
            return health

        try:
            health = await self._waiting.result(ask, PATIENCE)
        except TimeoutError as error:
            raise ProviderUnavailableError(
                f"{provider} gave no answer within {PATIENCE:g} s.", remedy="Check that it runs, and its load."
            ) from error
        took = round((perf_counter() - began) * 1000, 2)
        return health.model_copy(update={"provider": health.provider or provider, "latency_ms": took})
