"""Gives each call a request id, logs it, traces it, and signs its errors. Contents and keys are never logged."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from time import perf_counter
from typing import Any

from openmem._generated.verbs import READS
from openmem.errors import OMPError, ProviderError
from openmem.runtime.calls import CURRENT, Call
from openmem.runtime.fork import importing

logger = logging.getLogger("openmem")


class observe:
    """Observe one call; an exception that is not openmem's own becomes ProviderError with it as the cause.

    The outermost layer, round the making of the request too: a malformed one is signed and logged like any other.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._span = _span(call) if _traced() else None

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
            error.written = "nothing" if self._call.verb in READS else error.written
        elif isinstance(error, Exception):
            raise ProviderError(
                f"{self._call.provider} failed with {type(error).__name__}.",
                provider=self._call.provider,
                request_id=self._call.request_id,
                written="nothing" if self._call.verb in READS else "perhaps",
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


@contextmanager
def _span(call: Call) -> Iterator[None]:
    from opentelemetry.trace import StatusCode

    attributes = {"openmem.provider": call.provider, "openmem.verb": call.verb, "openmem.request_id": call.request_id}
    # The exception itself is not recorded: a vendor's message may quote what was stored.
    with _tracer().start_as_current_span(
        f"openmem {call.verb}", attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except BaseException as error:
            span.set_attribute("error.type", error.code if isinstance(error, OMPError) else type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise


def _traced() -> bool:
    """Tell whether the application traces at all: a span that nobody sees costs as much as the rest of this layer.

    Who traces has imported the API, or names a provider in the environment.
    """
    trace = sys.modules.get("opentelemetry.trace") or (_BY_ENVIRONMENT and _trace())
    if not trace:
        return False
    provider = getattr(trace, "get_tracer_provider", None)  # which is not there yet while another thread imports it
    return provider is not None and not isinstance(provider(), trace.ProxyTracerProvider)


_BY_ENVIRONMENT = "OTEL_PYTHON_TRACER_PROVIDER" in os.environ


@cache
def _trace() -> Any:
    with importing:
        if find_spec("opentelemetry") is None:
            return None
        from opentelemetry import trace

    return trace


@cache
def _tracer() -> Any:
    return _trace().get_tracer("openmem")
