"""What is known of the call under way: its request id, the verb the caller asked for, and the provider."""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one verb, as the caller made it."""

    request_id: str
    verb: str
    provider: str


CURRENT: ContextVar[Call | None] = ContextVar("openmem_call", default=None)


def new_call(verb: str, provider: str) -> Call:
    """Make a call with a fresh request id of 16 hexadecimal digits."""
    return Call(secrets.token_hex(8), verb, provider)
