"""What is known of the call under way: its request id, the verb, the provider, and until when it may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from .ids import new_request_id


class Call(NamedTuple):
    """One call of one verb, as the caller made it."""

    request_id: str
    verb: str
    provider: str


CURRENT: ContextVar[Call | None] = ContextVar("openmem_call", default=None)
DEADLINE: ContextVar[float | None] = ContextVar("openmem_deadline", default=None)
NOTED: ContextVar[bool] = ContextVar("openmem_noted", default=False)
"""Whether the call under way has its audit entry, of an earlier one of its requests."""


def new_call(verb: str, provider: str) -> Call:
    """Make a call with a fresh request id."""
    return Call(new_request_id(), verb, provider)


def deadline() -> float | None:
    """Return the moment, in the event loop's time, at which the call under way is given up; None for never."""
    return DEADLINE.get()


@contextmanager
def noted() -> Iterator[None]:
    """Send further requests of a call, of which the first was logged: the call is one entry in the audit log."""
    token = NOTED.set(True)
    try:
        yield
    finally:
        NOTED.reset(token)
