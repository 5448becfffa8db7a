"""Ids of memories made by the adapters."""

from __future__ import annotations

import os
import time

from .fork import Lock, in_child

BLOCK = 512
"""Ids whose random bits are asked of the system at once: asked for each, they would take longer than all the rest."""


def _draw() -> list[str]:
    """Draw 40 random bits for each id of a block, written as 10 hexadecimal digits."""
    digits = os.urandom(5 * BLOCK).hex()
    return [digits[start : start + 10] for start in range(0, len(digits), 10)]


class _Ids:
    """Makes ids. A child of fork draws anew: else it would draw the same as its parent."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._random: list[str] = []  # not a generator, which an interrupt would end for good
        self._last = 0
        in_child(self, _Ids.__init__)

    def new(self) -> str:
        with self._lock:
            self._last = max(time.time_ns(), self._last + 1)
            self._random = self._random or _draw()
            return f"mem_{self._last:016x}{self._random.pop()}"


_ids = _Ids()


def new_memory_id() -> str:
    """Make an id that sorts by creation within a process and is unique across processes (40 random bits)."""
    return _ids.new()
