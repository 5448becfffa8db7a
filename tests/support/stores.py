"""Stores as tests open and read them."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import ConfigurationError, Memory
from openmem._generated import models


def everything(memory: Memory, user_id: str) -> list[models.MemoryRecord]:
    """Follow the pages to the end, every state included."""
    found, cursor = [], None
    while True:
        states: Any = ["superseded", "expired", "upcoming", "archived"]
        page = memory.list(user_id, limit=500, cursor=cursor, include=states)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def open_store(url: str, **options: Any) -> Memory:
    """Open a store with a predictable embedder."""
    return Memory(url, **{"embedder": "test:32", **options})


def refused(url: str, **options: Any) -> ConfigurationError:
    """Return why a store does not open."""
    with open_store(url, **options) as memory, pytest.raises(ConfigurationError) as caught:
        memory.list("u")
    return caught.value
