"""How long erase takes beside delete_many of the same memories, on each engine.

Usage: python benchmarks/erase.py [--memories N] [--rounds R] [--postgres URL]. A user has so many memories; another has
a tenth of them. Each is stored anew before it is erased or deleted. The ratio is of the medians; the bar is 2.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

from openmem import Memory

BATCH = 10_000
USER, OTHER = "user", "other"


def fill(memory: Memory, user: str, count: int) -> list[str]:
    """Store so many memories; return their ids."""
    ids: list[str] = []
    for start in range(0, count, BATCH):
        contents = [f"Note {number} about tea, gardens and number {number % 97}" for number in range(start, count)]
        items = [{"content": each, "tags": ["t"], "scope": "a/b"} for each in contents[:BATCH]]
        ids += [each.id or "" for each in memory.add_many(items, user_id=user)]
    return ids


def timed(work: Callable[[], object]) -> float:
    """Do work and return the seconds that it took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def delete(memory: Memory, ids: Sequence[str]) -> None:
    """Delete all, in batches."""
    for start in range(0, len(ids), BATCH):
        results = memory.delete_many(ids[start : start + BATCH], user_id=USER)
        assert not any(each.error for each in results)


def measure(url: str, count: int, rounds: int) -> tuple[float, float, float]:
    """Return the seconds of delete_many, of erase of all, and of erase by a tag."""
    deleted: list[float] = []
    erased: list[float] = []
    selected: list[float] = []
    with Memory(url, embedder="test:64", timeout=None) as memory:
        fill(memory, OTHER, count // 10)
        for _ in range(rounds):
            ids = fill(memory, USER, count)
            deleted.append(timed(lambda: delete(memory, ids)))  # noqa: B023
            for times, selection in ((erased, {"all": True}), (selected, {"tag": "t"})):
                fill(memory, USER, count)
                times.append(timed(lambda: memory.erase(USER, **selection, dry_run=False)))  # noqa: B023
                assert memory.stats(USER).total == 0
        memory.erase(OTHER, all=True, dry_run=False)
    return statistics.median(deleted), statistics.median(erased), statistics.median(selected)


def main() -> None:
    """Print a line for each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", help="URL of an empty database")
    arguments = parser.parse_args()
    print(f"{arguments.memories:,} memories of one user, seconds")
    print(f"{'engine':10} {'delete_many':>12} {'erase all':>12} {'by a tag':>12} {'ratio':>7} {'by tag':>7}")
    with tempfile.TemporaryDirectory() as folder:
        urls = {"memory": "memory://", "sqlite": f"sqlite:///{folder}/store.db", "postgres": arguments.postgres}
        for name, url in urls.items():
            if url:
                deleted, erased, selected = measure(url, arguments.memories, arguments.rounds)
                ratios = f"{erased / deleted:7.2f} {selected / deleted:7.2f}"
                print(f"{name:10} {deleted:12.2f} {erased:12.2f} {selected:12.2f} {ratios}")


if __name__ == "__main__":
    main()
