"""How a check ends that does not pass: failed or inconclusive, and how that is told."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from openmem.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    OMPError,
    PayloadTooLargeError,
    UnsupportedCapabilityError,
)

REFUSALS = (NotFoundError, InvalidRequestError, ConflictError, UnsupportedCapabilityError, PayloadTooLargeError)
"""Answers, not breakdowns: a check that meets one where it does not expect it has found a failure."""


def told(error: BaseException) -> str:
    """Write an error with its cause, which is what the provider or its driver said."""
    kind = "" if isinstance(error, OMPError) else f"{type(error).__name__}: "
    return f"{kind}{error}" + (f" <- {error.__cause__!r}" if error.__cause__ else "")


def whole(answer: Any) -> str:
    """Write all that an answer holds, of which a model's repr is a short line."""
    if not isinstance(answer, BaseModel):
        return repr(answer)
    return f"{type(answer).__name__}({answer.model_dump(exclude_none=True, warnings=False)})"


class Failure(AssertionError):
    """The provider does not do what the clause says. expected, got: where the message does not tell them apart."""

    def __init__(self, message: str, *, expected: str = "", got: str = "") -> None:
        super().__init__(message)
        self.expected, self.got = expected, got


class Inconclusive(Exception):
    """The check could not tell: its seed did not read back, or what it expects is nothing or everything."""
