"""Searches of users in turn while memories come, go, and come again as another user's: what each search shows wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from openmem import Memory

USERS = ("alice", "bob", "carol")
ALWAYS = 20
"""Memories of alice that stay."""
MODES: tuple[Any, ...] = ("vector", "keyword", "hybrid")


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage())


@contextmanager
def logged_errors() -> Iterator[list[str]]:
    """Collect what is logged as an error: a foreign record that the layers withheld."""
    errors, logger = _Errors(), logging.getLogger("openmem")
    logger.addHandler(errors)
    try:
        yield errors.seen
    finally:
        logger.removeHandler(errors)


def seed(memory: Memory) -> None:
    memory.add_many([{"content": f"tea of alice {number}"} for number in range(ALWAYS)], user_id="alice")


def churn(memories: Sequence[Memory], searches: int, name: str) -> list[str]:
    """Search so often on each client, one thread each; return what was wrong."""
    wrong: list[str] = []

    def work(memory: Memory, thread: int) -> None:
        here = f"{name}t{thread}"
        mine = memory.add(f"tea of alice {here}", "alice", external_id=here)
        for number in range(searches):
            if number % 3 == 0:  # the same key, again and again another user's
                memory.delete(mine.id)
                user = ("bob", "carol", "alice")[number // 3 % 3]
                mine = memory.add(f"tea of {user} {here}", user, external_id=here)
            user = USERS[number % 3]
            found = memory.search("tea", user, limit=50, mode=MODES[number // 3 % 3])
            wrong.extend(hit.memory.content for hit in found if f"of {user} " not in hit.memory.content)
            if user == "alice" and len(found) < ALWAYS:
                wrong.append(f"only {len(found)}")

    with logged_errors() as errors, ThreadPoolExecutor(len(memories)) as pool:
        list(pool.map(work, memories, range(len(memories))))
    return wrong + errors
