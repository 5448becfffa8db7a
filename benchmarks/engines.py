"""Speed of the embedded backends beside their raw engines, in one run.

Usage: python benchmarks/engines.py [--memories N] [--dimension D]. Synthetic short facts, Zipf(1.1) users; vectors are
made beforehand, so embedding is not measured while keyword indexing is. Raw numpy: an exact scan of the user's matrix
and a partial sort. Raw sqlite3: one table of user, content and vector with an index, rows written in one transaction a
batch, the user's vectors read and scanned on every search; the same synchronous setting. Medians of every search.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from data import SINGLES, Data, Precomputed, best_rows, make_data, median_async, median_ms, rate

from openmem import AsyncMemory, Memory

Row = tuple[str, float, float, float, float, float, float]


def raw_numpy(data: Data) -> Row:
    """Measure an exact scan of each user's matrix."""
    rows: dict[str, list[int]] = {}
    kept: dict[str, Any] = {}

    def add(batch: range) -> None:
        for number in batch:
            rows.setdefault(data.users[number], []).append(number)
        kept.clear()

    speed = rate(data, add)
    kept.update({user: data.vectors[numbers] for user, numbers in rows.items()})

    def search(number: int) -> list[tuple[int, float]]:
        user = data.users[number]
        scores = kept[user] @ data.vectors[number]
        return [(rows[user][row], float(scores[row])) for row in best_rows(scores)]

    nothing = float("nan")
    get = median_ms(lambda number: data.texts[number], data.asked)
    return ("raw numpy", speed, nothing, median_ms(search, data.asked), nothing, nothing, get)


def raw_sqlite(data: Data, path: Path) -> Row:
    """Measure sqlite3 by hand, vectors scanned by numpy."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE m (id INTEGER PRIMARY KEY, user TEXT, content TEXT, vector BLOB)")
    connection.execute("CREATE INDEX u ON m (user)")

    def add(batch: Sequence[int]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        values = [(data.users[n], data.texts[n], data.vectors[n].tobytes()) for n in batch]
        connection.executemany("INSERT INTO m (user, content, vector) VALUES (?, ?, ?)", values)
        connection.execute("COMMIT")

    def search(number: int) -> list[tuple[int, float]]:
        found = connection.execute("SELECT id, vector FROM m WHERE user = ?", (data.users[number],)).fetchall()
        matrix = np.frombuffer(b"".join(vector for _, vector in found), np.float32).reshape(len(found), -1)
        scores = matrix @ data.vectors[number]
        return [(found[row][0], float(scores[row])) for row in best_rows(scores)]

    speed = rate(data, add)
    single = median_ms(lambda number: add([number]), data.asked[:SINGLES])
    found = median_ms(search, data.asked)
    one = "SELECT * FROM m WHERE id = ?"
    get = median_ms(lambda number: connection.execute(one, (number + 1,)).fetchone(), data.asked)
    connection.close()
    return ("raw sqlite3", speed, single, found, float("nan"), float("nan"), get)


def ours(url: str, data: Data) -> Row:
    """Measure a backend through AsyncMemory."""
    with asyncio.Runner() as runner:
        memory = AsyncMemory(url, embedder=Precomputed(data))
        run = runner.run

        async def batch(numbers: range) -> list[str]:
            items = [{"content": data.texts[n], "user_id": data.users[n]} for n in numbers]
            return [result.id or "" for result in await memory.add_many(items)]

        ids: list[str] = []
        speed = rate(data, lambda numbers: ids.extend(run(batch(numbers))))

        def timed(mode: Literal["vector", "keyword", "hybrid"]) -> float:
            return run(median_async(lambda n: memory.search(data.texts[n], data.users[n], mode=mode), data.asked))

        vector, keyword, hybrid = timed("vector"), timed("keyword"), timed("hybrid")
        get = run(median_async(lambda n: memory.get(ids[n]), data.asked))
        single = run(median_async(lambda n: memory.add(data.texts[n], data.users[n]), data.asked[:SINGLES]))
        run(memory.close())
    return (url.partition("://")[0] + "://", speed, single, vector, keyword, hybrid, get)


def sync_overhead_us(data: Data) -> float:
    """Return how many microseconds a get takes longer through Memory than through AsyncMemory."""
    memory = Memory("memory://", embedder="none")
    memory_id = memory.add("a fact", "user").id
    plain = median_ms(lambda _: memory.get(memory_id), range(3000))

    async def awaited() -> float:
        twin = AsyncMemory("memory://", embedder="none")
        twin_id = (await twin.add("a fact", "user")).id
        return await median_async(lambda _: twin.get(twin_id), range(3000))

    return (plain - asyncio.run(awaited())) * 1000


def import_ms() -> float:
    """Return how many milliseconds `import openmem` adds to bare Python, the median of seven pairs."""

    def took(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started

    return statistics.median(took("import openmem") - took("pass") for _ in range(7)) * 1000


def main() -> None:
    """Print raw and ours side by side, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--dimension", type=int, default=256)
    arguments = parser.parse_args()
    data = make_data(arguments.memories, arguments.dimension)
    gc.collect()
    gc.freeze()  # the data and the imports are the benchmark's own: no engine is to be billed for looking through them
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            raw_numpy(data),
            ours("memory://", data),
            raw_sqlite(data, Path(folder) / "raw.db"),
            ours(f"sqlite:///{folder}/ours.db", data),
        ]
    print(f"{arguments.memories} memories x {arguments.dimension} dimensions; milliseconds are medians")
    print(f"{'engine':<12} {'add_many/s':>10} {'add':>7} {'vector':>7} {'keyword':>8} {'hybrid':>7} {'get':>7}")
    for name, speed, *times in rows:
        single, vector, keyword, hybrid, get = times
        print(f"{name:<12} {speed:>10.0f} {single:>7.3f} {vector:>7.3f} {keyword:>8.3f} {hybrid:>7.3f} {get:>7.4f}")
    numpy_row, memory_row, sqlite3_row, sqlite_row = rows
    allowed = 4 * numpy_row[3] + 0.1
    print(f"memory:// vector / (4 x raw numpy + 0.1 ms): {memory_row[3] / allowed:.2f}")
    print(f"sqlite:// add_many / raw sqlite3: {sqlite_row[1] / sqlite3_row[1]:.2f}")
    print(f"sqlite:// vector / raw sqlite3: {sqlite_row[3] / sqlite3_row[3]:.2f}")
    print(f"sync Memory above AsyncMemory: {sync_overhead_us(data):.1f} us a call")
    print(f"import openmem above bare Python: {import_ms():.0f} ms")


if __name__ == "__main__":
    main()
