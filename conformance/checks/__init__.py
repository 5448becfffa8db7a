"""The checks, one file a group of clauses, in the order of semantics.md."""

from ..check import CHECKS
from . import ownership, content, identity, scope, time, supersession, update, deletion, capabilities, errors, clients

__all__ = ["CHECKS"]
