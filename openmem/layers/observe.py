"""Gives each call a request id, logs it, traces it, and signs its errors. Contents and keys are never logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from time import perf_counter
from typing import Any

from openmem.calls import CURRENT, Call, new_call
from openmem.errors import OMPError, ProviderError

logger = logging.getLogger("openmem")


@contextmanager
def observe(verb: str, provider: str) -> Iterator[None]:
    """Observe one call; an exception that is not openmem's own becomes ProviderError with it as the cause.

    The outermost layer, round the making of the request too: a malformed one is signed and logged like any other.
    """
    call = new_call(verb, provider)
    token = CURRENT.set(call)
    started, outcome = perf_counter(), "ok"
    try:
        with _span(call, provider):
            yield
    except OMPError as error:
        outcome = error.code
        error.provider = error.provider or provider
        error.request_id = error.request_id or call.request_id
        raise
    except Exception as error:
        outcome = "provider_error"
        raise ProviderError(
            f"{provider} failed with {type(error).__name__}.", provider=provider, request_id=call.request_id
        ) from error
    except BaseException:
        outcome = "cancelled"
        raise
    finally:
        CURRENT.reset(token)
        if logger.isEnabledFor(logging.DEBUG):
            took = (perf_counter() - started) * 1000
            logger.debug("%s %s %s %.2f ms %s", provider, call.verb, outcome, took, call.request_id)


@contextmanager
def _span(call: Call, provider: str) -> Iterator[None]:
    tracer = _tracer()
    if tracer is None:
        yield
        return
    attributes = {"openmem.provider": provider, "openmem.verb": call.verb, "openmem.request_id": call.request_id}
    # The exception itself is not recorded: a vendor's message may quote what was stored.
    with tracer.start_as_current_span(
        f"openmem {call.verb}", attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except BaseException as error:
            span.set_attribute("error.type", error.code if isinstance(error, OMPError) else type(error).__name__)
            from opentelemetry.trace import StatusCode

            span.set_status(StatusCode.ERROR)
            raise


@cache
def _tracer() -> Any:
    if find_spec("opentelemetry") is None:
        return None
    from opentelemetry import trace

    return trace.get_tracer("openmem")
