"""Ids of memories made by the adapters, and of calls."""

from __future__ import annotations

import os
import re
import time

from .fork import Lock, in_child

BLOCK = 512
"""Ids whose random bits are asked of the system at once: asked for each, they would take longer than all the rest."""
_REQUEST_ID = re.compile(r"[!-~]{1,128}")


class _Random:
    """Random bytes as hexadecimal digits. A child of fork draws anew: else it would draw the same as its parent."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._begin()
        in_child(self, _Random._begin)

    def _begin(self) -> None:
        self._drawn: list[str] = []  # not a generator, which an interrupt would end for good

    def next(self) -> str:
        while True:
            try:
                return self._drawn.pop()  # in one step, so that no two threads get the same
            except IndexError:
                digits, width = os.urandom(self._size * BLOCK).hex(), 2 * self._size
                self._drawn = [digits[start : start + width] for start in range(0, len(digits), width)]


class _MemoryIds(_Random):
    """Moments in nanoseconds since 1970, each later than the one before, with 40 random bits each."""

    def __init__(self) -> None:
        super().__init__(5)
        self._lock = Lock()
        self._last = 0

    def new(self) -> str:
        with self._lock:
            self._last = moment = max(time.time_ns(), self._last + 1)
        return f"mem_{moment:016x}{self.next()}"


_memory_ids, _request_ids = _MemoryIds(), _Random(8)


def new_memory_id() -> str:
    """Make an id that sorts by creation within a process and is unique across processes (40 random bits)."""
    return _memory_ids.new()


def new_request_id() -> str:
    """Make an id of 64 random bits, written as 16 hexadecimal digits."""
    return _request_ids.next()


def is_request_id(text: object) -> bool:
    """Tell whether it may name a request, in headers and logs: 1 to 128 visible ASCII characters."""
    return isinstance(text, str) and _REQUEST_ID.fullmatch(text) is not None
