"""Backends with one planted defect each, taken from real ones, and the clauses that must notice it."""

from . import (
    census,
    changes,
    concurrency,
    content,
    cuts,
    erasure,
    filtering,
    folding,
    keys,
    listing,
    pages,
    search,
    states,
    users,
    verbs,
)
from .base import SABOTEURS, Saboteur

__all__ = [
    "SABOTEURS",
    "Saboteur",
    "census",
    "changes",
    "concurrency",
    "content",
    "cuts",
    "erasure",
    "filtering",
    "folding",
    "keys",
    "listing",
    "pages",
    "search",
    "states",
    "users",
    "verbs",
]
