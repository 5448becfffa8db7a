"""Speed of every backend beside its raw engine, in one run.

Usage: python benchmarks/engines.py [--memories N] [--dimension D] [--engines …] [--postgres URL]. Synthetic short
facts, Zipf(1.1) users; vectors are made beforehand, so embedding is not measured while keyword indexing is; add_many
is the rate of the median batch. Raw numpy: an exact scan of the user's matrix and a partial sort. Raw sqlite3: one
table of user, content and vector with an index, rows written in one transaction a batch, the user's vectors read and
scanned on every search; the same synchronous setting. Postgres and Qdrant by hand: see raw_postgres.py and
raw_qdrant.py.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import raw_inprocess
import raw_mem0
import raw_postgres
import raw_qdrant
from data import NOTHING, SINGLES, Data, Precomputed, Row, make_data, median_async, median_ms, rate

from openmem import AsyncMemory, Memory

COLUMNS = ("add_many", "add", "vector", "keyword", "hybrid", "get")


def ours(url: str, data: Data, name: str | None = None, modes: Sequence[str] = COLUMNS[2:5]) -> Row:
    """Measure a backend through AsyncMemory; modes: those of search that it has."""
    with asyncio.Runner() as runner:
        memory = AsyncMemory(url, embedder=Precomputed(data), timeout=600)
        run = runner.run
        run(memory.list("nobody"))

        async def batch(numbers: range) -> list[str]:
            items = [{"content": data.texts[n], "user_id": data.users[n]} for n in numbers]
            return [result.id or "" for result in await memory.add_many(items)]

        ids: list[str] = []
        speed = rate(data, lambda numbers: ids.extend(run(batch(numbers))))

        def timed(mode: Literal["vector", "keyword", "hybrid"]) -> float:
            if mode not in modes:
                return NOTHING
            return run(median_async(lambda n: memory.search(data.texts[n], data.users[n], mode=mode), data.asked))

        vector, keyword, hybrid = timed("vector"), timed("keyword"), timed("hybrid")
        get = run(median_async(lambda n: memory.get(ids[n]), data.asked))
        single = run(median_async(lambda n: memory.add(data.texts[n], data.users[n]), data.asked[:SINGLES]))
        run(memory.close())
    return (name or url.partition("://")[0] + "://", speed, single, vector, keyword, hybrid, get)


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


def first_add_s(url: str) -> float:
    """Return the seconds that a fresh Python takes to import openmem and store one memory."""
    code = (
        "import sys, openmem\nwith openmem.Memory(sys.argv[1], embedder='test') as memory: memory.add('a fact', 'user')"
    )
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, url], check=True)
    return time.perf_counter() - started


class Table:
    """Engines measured so far, printed as they come, and the ratios of ours to raw ones."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        print(f"{'engine':<16} {'add_many/s':>10} {'add':>7} {'vector':>7} {'keyword':>8} {'hybrid':>7} {'get':>7}")

    def add(self, row: Row) -> Row:
        """Print a row and keep it."""
        name, speed, single, vector, keyword, hybrid, get = row
        print(
            f"{name:<16} {speed:>10.0f} {single:>7.3f} {vector:>7.3f} {keyword:>8.3f} {hybrid:>7.3f} {get:>7.4f}",
            flush=True,
        )
        self._rows[name] = row
        return row

    def ratio(self, column: str, ours: str, raw: str) -> None:
        """Print a column of ours as a multiple of the raw one."""
        number = COLUMNS.index(column)
        mine, theirs = self._rows[ours][1:][number], self._rows[raw][1:][number]
        print(f"{ours} {column} / {raw}: {mine / theirs:.2f}")


def in_process(table: Table, data: Data, folder: Path) -> None:
    """Measure memory:// and sqlite://."""
    numpy_row = table.add(raw_inprocess.numpy_scan(data))
    memory_row = table.add(ours("memory://", data))
    table.add(raw_inprocess.sqlite(data, folder / "raw.db"))
    table.add(ours(f"sqlite:///{folder}/ours.db", data))
    allowed = 4 * numpy_row[3] + 0.1
    print(f"memory:// vector / (4 x raw numpy + 0.1 ms): {memory_row[3] / allowed:.2f}")
    table.ratio("add_many", "sqlite://", "raw sqlite3")
    table.ratio("vector", "sqlite://", "raw sqlite3")


def postgres(table: Table, data: Data, url: str) -> None:
    """Measure postgres:// without an index of vectors; then with one, whose upkeep is a millisecond a memory."""
    table.add(raw_postgres.bare(url, data))
    table.add(raw_postgres.same_rows(url, data, beforehand=True))
    table.add(raw_postgres.same_rows(url, data, beforehand=False))
    table.add(ours(f"{url}&db_schema=without&index=none", data, "postgres://"))
    table.ratio("add_many", "postgres://", "bare COPY")
    table.ratio("add_many", "postgres://", "COPY, same rows")
    table.ratio("add_many", "postgres://", "COPY, rows made")
    table.ratio("vector", "postgres://", "COPY, same rows")
    few = data.first(2000)
    table.add(raw_postgres.pipeline(url, few))
    table.add(ours(f"{url}&db_schema=with&index=hnsw", few, "postgres, HNSW"))
    table.ratio("add_many", "postgres, HNSW", "pipeline, HNSW")


def qdrant(table: Table, data: Data, folder: Path) -> None:
    """Measure Qdrant's local mode, which reads every point for every search, and a shard of qdrant-edge."""
    fewer = replace(data, asked=data.asked[:40])
    table.add(raw_qdrant.local(fewer, folder / "raw-local"))
    table.add(ours(f"qdrant+local:///{folder}/local", fewer, "qdrant+local://"))
    table.add(raw_qdrant.shard(data, folder / "raw-edge"))
    table.add(ours(f"qdrant+edge:///{folder}/edge", data, "qdrant+edge://"))
    for name in ("local", "edge"):
        table.ratio("add_many", f"qdrant+{name}://", f"raw {name}")
        table.ratio("vector", f"qdrant+{name}://", f"raw {name}")


def mem0(table: Table, data: Data, folder: Path) -> None:
    """Measure mem0, which reads every point for every search, and sqlite:// on the same work."""
    fewer = data.first(2000)
    fewer = replace(fewer, asked=fewer.asked[:40])
    table.add(raw_mem0.memory(fewer, folder / "raw-mem0"))
    table.add(ours(f"mem0:///{folder}/mem0", fewer, modes=("vector",)))
    table.add(ours(f"sqlite:///{folder}/beside-mem0.db", fewer, "sqlite, beside"))
    for column in ("add_many", "vector"):
        table.ratio(column, "mem0://", "raw mem0")
        table.ratio(column, "sqlite, beside", "raw mem0")
    print(f"import and first add of mem0://: {first_add_s(f'mem0:///{folder}/first'):.1f} s")


def main() -> None:
    """Print raw and ours side by side, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--engines", nargs="+", default=["inprocess", "postgres", "qdrant", "mem0"])
    parser.add_argument("--postgres", metavar="URL", help="an empty database; without it Postgres is left out")
    arguments = parser.parse_args()
    data = make_data(arguments.memories, arguments.dimension)
    print(f"{arguments.memories} memories x {arguments.dimension} dimensions; milliseconds are medians")
    gc.collect()
    gc.freeze()  # the data and the imports are the benchmark's own: no engine is to be billed for looking through them
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        if "inprocess" in arguments.engines:
            in_process(table, data, Path(folder))
        if "postgres" in arguments.engines and arguments.postgres:
            postgres(table, data, arguments.postgres)
        if "qdrant" in arguments.engines:
            qdrant(table, data, Path(folder))
        if "mem0" in arguments.engines:
            mem0(table, data, Path(folder))
    print(f"sync Memory above AsyncMemory: {sync_overhead_us(data):.1f} us a call")
    print(f"import openmem above bare Python: {import_ms():.0f} ms")


if __name__ == "__main__":
    main()
