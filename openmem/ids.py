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


def _draw_anew() -> None:
    global _random
    _random = _draws()


_lock = threading.Lock()
_last = 0
_random = _draws()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_draw_anew)  # else parent and child would draw the same


def new_memory_id() -> str:
    """Make an id that sorts by creation within a process and is unique across processes (40 random bits)."""
    global _last
    with _lock:
        _last = max(time.time_ns(), _last + 1)
        return f"mem_{_last:016x}{next(_random)}"
