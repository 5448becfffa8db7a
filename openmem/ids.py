"""Ids of memories made by the embedded adapters."""

from __future__ import annotations

import os
import threading
import time

_lock = threading.Lock()
_last = 0


def new_memory_id() -> str:
    """Make an id that sorts by creation within a process and is unique across processes (40 random bits)."""
    global _last
    with _lock:
        _last = max(time.time_ns(), _last + 1)
        moment = _last
    return f"mem_{moment:016x}{os.urandom(5).hex()}"
