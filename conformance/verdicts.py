"""How a check ends that does not pass."""

from __future__ import annotations


class Failure(AssertionError):
    """The provider does not do what the clause says."""


class Inconclusive(Exception):
    """The check could not tell: its seed did not read back, or what it expects is nothing or everything."""
