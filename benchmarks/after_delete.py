"""Search of sqlite:// when nothing changed, after an add and after a delete, each by this client and by another one.

Usage: python benchmarks/after_delete.py [--memories N] [--dimension D]. One user has all the memories; milliseconds are
medians of vector searches, each after one change.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

from data import Precomputed, make_data

from openmem import Memory

ROUNDS = 21


def main() -> None:
    """Print the medians, and their ratios to a search when nothing changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=30_000)
    parser.add_argument("--dimension", type=int, default=256)
    arguments = parser.parse_args()
    data = make_data(arguments.memories, arguments.dimension)
    texts = data.texts
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/after.db"
        memory, other = (Memory(url, embedder=Precomputed(data), synchronous="normal") for _ in range(2))
        ids: list[str] = []
        for start in range(0, len(texts), 5000):
            results = memory.add_many([{"content": text} for text in texts[start : start + 5000]], user_id="user")
            ids += [result.id or "" for result in results]

        def median_after(change: Callable[[], object]) -> float:
            took = []
            for number in range(ROUNDS):
                change()
                started = time.perf_counter()
                memory.search(texts[number], "user", mode="vector")
                took.append(time.perf_counter() - started)
            return statistics.median(took) * 1000

        median_after(lambda: None)
        still = median_after(lambda: None)
        print(f"{len(texts)} memories x {arguments.dimension} dimensions; nothing changed: {still:.2f} ms")
        for name, change in (
            ("an add", lambda: memory.add(texts[0], "user")),
            ("an add of another client", lambda: other.add(texts[0], "user")),
            ("a delete", lambda: memory.delete(ids.pop())),
            ("a delete of another client", lambda: other.delete(ids.pop())),
        ):
            after = median_after(change)
            print(f"after {name}: {after:.2f} ms, {after / still:.2f} times as long")
        memory.close()
        other.close()


if __name__ == "__main__":
    main()
