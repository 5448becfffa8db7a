"""What is known of the call under way: its request id, verb and provider, who calls, and until when it may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from .ids import new_request_id


class Principal(NamedTuple):
    """Who calls: the name that a key stands for, and what it is granted."""

    name: str
    grants: frozenset[str] = frozenset()


class Services(NamedTuple):
    """What a client lends the adapter for a call, whichever of the adapter's clients it is."""

    embed: Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]] | None = None
    """Texts in, one vector each out."""
    retries: int = 0
    """How often a request may be repeated."""


class Call(NamedTuple):
    """One call of one verb, as the caller made it."""

    request_id: str
    verb: str
    provider: str
    services: Services = Services()
    principal: Principal | None = None


def new_call(
    verb: str,
    provider: str,
    services: Services = Services(),  # noqa: B008  immutable
    *,
    request_id: str | None = None,
    principal: Principal | None = None,
) -> Call:
    """Make a call, with a fresh request id unless it has one already."""
    return Call(request_id or new_request_id(), verb, provider, services, principal)


CURRENT: ContextVar[Call | None] = ContextVar("openmem_call", default=None)
DEADLINE: ContextVar[float | None] = ContextVar("openmem_deadline", default=None)
NOTED: ContextVar[bool] = ContextVar("openmem_noted", default=False)
"""Whether the call under way has its audit entry, of an earlier one of its requests."""


def current_call() -> Call | None:
    """Return the call under way; None outside of any."""
    return CURRENT.get()


def services() -> Services:
    """Return what the client of the call under way lends; nothing where an adapter is used by itself."""
    call = CURRENT.get()
    return Services() if call is None else call.services


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
