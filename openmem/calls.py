"""What is known of the call under way: its request id, the verb, the provider, and until when it may take."""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from dataclasses import dataclass

READS = frozenset({"get", "list", "search", "context", "audit", "capabilities", "related", "history", "stats"})
"""Verbs that change nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one verb, as the caller made it."""

    request_id: str
    verb: str
    provider: str


CURRENT: ContextVar[Call | None] = ContextVar("openmem_call", default=None)
DEADLINE: ContextVar[float | None] = ContextVar("openmem_deadline", default=None)


def new_call(verb: str, provider: str) -> Call:
    """Make a call with a fresh request id of 16 hexadecimal digits."""
    return Call(secrets.token_hex(8), verb, provider)


def deadline() -> float | None:
    """Return the moment, in the event loop's time, at which the call under way is given up; None for never."""
    return DEADLINE.get()
