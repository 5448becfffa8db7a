"""Ids of memories made by the adapters."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

BLOCK = 512
"""Ids whose random bits are asked of the system at once: asked for each, they would take longer than all the rest."""


def _draws() -> Iterator[str]:
    """Draw 40 random bits, written as 10 hexadecimal digits, again and again."""
    while True:
        digits = os.urandom(5 * BLOCK).hex()
        for start in range(0, len(digits), 10):
            yield digits[start : start + 10]


_lock, _random = threading.Lock(), _draws()
_last = 0


def _begin_anew() -> None:
    """In a child of fork: else it would draw the same as its parent, or wait for a thread that is not there."""
    global _lock, _random
    _lock, _random = threading.Lock(), _draws()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def new_memory_id() -> str:
    """Make an id that sorts by creation within a process and is unique across processes (40 random bits)."""
    global _last
    with _lock:
        _last = max(time.time_ns(), _last + 1)
        return f"mem_{_last:016x}{next(_random)}"
