"""The checks, one file a group of clauses, in the order of semantics.md."""

from importlib import import_module

from ..check import CHECKS

__all__ = ["CHECKS"]

GROUPS = (
    "ownership",
    "content",
    "identity",
    "scope",
    "session",
    "scopes",
    "time",
    "supersession",
    "update",
    "origin",
    "deletion",
    "erasure",
    "listing",
    "search",
    "pages",
    "filters",
    "context",
    "batch",
    "keys",
    "related",
    "stats",
    "users",
    "health",
    "audit",
    "capabilities",
    "errors",
    "clients",
    "durability",
    "concurrency",
)

for _group in GROUPS:
    import_module(f".{_group}", __name__)
