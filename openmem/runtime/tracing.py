"""Spans of OpenTelemetry, where the application traces at all: one a call. Contents are never in them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

from ..errors import OMPError
from .calls import Call
from .fork import importing

_BY_ENVIRONMENT = "OTEL_PYTHON_TRACER_PROVIDER" in os.environ


def traced() -> bool:
    """Tell whether the application traces: a span that nobody sees costs as much as the rest of its layer.

    Who traces has imported the API, or names a provider in the environment.
    """
    trace = sys.modules.get("opentelemetry.trace") or (_BY_ENVIRONMENT and _trace())
    if not trace:
        return False
    provider = getattr(trace, "get_tracer_provider", None)  # which is not there yet while another thread imports it
    return provider is not None and not isinstance(provider(), trace.ProxyTracerProvider)


@contextmanager
def span(call: Call) -> Iterator[None]:
    """Show a call as a span, with how it ended."""
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
