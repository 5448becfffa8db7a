"""Backends with one planted defect each, taken from real ones, and the clauses that must notice it."""

from . import census, changes, concurrency, content, cuts, filtering, folding, listing, search, states, users, verbs
from .base import SABOTEURS, Saboteur

__all__ = [
    "SABOTEURS",
    "Saboteur",
    "census",
    "changes",
    "concurrency",
    "content",
    "cuts",
    "filtering",
    "folding",
    "listing",
    "search",
    "states",
    "users",
    "verbs",
]
