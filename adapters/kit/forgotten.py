"""Users whose audit log was erased: entries of reads that another client made before, and stores later, are dropped.

A store keeps a note for each such user for a day: the moment, under a hash of the name, since the name is to be gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from hashlib import blake2b

from openmem.protocol.clock import micros

from .audit import Entry

LASTING = timedelta(days=1)
"""How long a note is kept, at the least; the next user who is forgotten takes it along."""
MOST = 10_000
"""Notes that are kept at the most, the latest ones."""
PREFIX = "forgotten-"
"""How names of notes begin."""


def note_name(user_id: str) -> str:
    """Name a user's note."""
    return PREFIX + blake2b(user_id.encode(), digest_size=16, person=b"openmem").hexdigest()


def unforgotten(entries: Iterable[Entry], moments: Mapping[str, int]) -> list[Entry]:
    """Leave out the entries of users that are no later than the moment, in microseconds, when they were forgotten."""
    return [(user, entry) for user, entry in entries if micros(entry.timestamp) > moments.get(user, -1)]
