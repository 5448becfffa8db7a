"""The conformance suite: what a provider must do to be believed. `openmem conformance run URL`, or run(target)."""

from __future__ import annotations

from .check import Check, check
from .checks import CHECKS
from .harness import Harness
from .header import Header
from .levels import LEVELS
from .report import Report, Result, matrix
from .runner import Progress, run
from .verdicts import Failure, Inconclusive

__all__ = [
    "CHECKS",
    "LEVELS",
    "Check",
    "Failure",
    "Harness",
    "Header",
    "Inconclusive",
    "Progress",
    "Report",
    "Result",
    "check",
    "matrix",
    "run",
]
