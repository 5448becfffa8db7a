"""Gives each call a request id, logs it, traces it, and signs its errors. Contents and keys are never logged."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Any

from openmem._generated.verbs import READS
from openmem.errors import OMPError, ProviderError
from openmem.runtime.calls import CURRENT, Call
from openmem.runtime.tracing import span, traced

logger = logging.getLogger("openmem")


class observe:
    """Observe one call; an exception that is not openmem's own becomes ProviderError with it as the cause.

    The outermost layer, round the making of the request too: a malformed one is signed and logged like any other.
    """

    def __init__(self, call: Call, *, layered: bool = False) -> None:
        self._call = call
        self._writes = layered or call.verb not in READS
        self._span = span(call) if traced() else None

    def __enter__(self) -> None:
        self._token = CURRENT.set(self._call)
        if self._span is not None:
            self._span.__enter__()
        self._started = perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if self._span is not None:
            self._span.__exit__(kind, error, trace)
        CURRENT.reset(self._token)
        if logger.isEnabledFor(logging.DEBUG):
            self._log(error)
        if isinstance(error, OMPError):
            error.provider = error.provider or self._call.provider
            error.request_id = error.request_id or self._call.request_id
            error.written = error.written if self._writes else "nothing"
        elif isinstance(error, Exception):
            raise ProviderError(
                f"{self._call.provider} failed with {type(error).__name__}.",
                provider=self._call.provider,
                request_id=self._call.request_id,
                written="perhaps" if self._writes else "nothing",
            ) from error

    def _log(self, error: BaseException | None) -> None:
        took = (perf_counter() - self._started) * 1000
        call = self._call
        logger.debug("%s %s %s %.2f ms %s", call.provider, call.verb, _outcome(error), took, call.request_id)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    if isinstance(error, OMPError):
        return error.code
    return "provider_error" if isinstance(error, Exception) else "cancelled"
