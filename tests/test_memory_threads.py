"""One Memory("memory://") in many threads: nothing lost, nothing torn, nothing raised."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from conftest import everything

from openmem import ConflictError, Memory, NotFoundError

THREADS = 8


def together(work: Callable[[int], Any]) -> list[Any]:
    """Run work(0), work(1), … in threads that start at the same moment; an exception in one is raised here."""
    start = threading.Barrier(THREADS)

    def one(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


def test_adds_and_searches_lose_nothing() -> None:
    memory = Memory("memory://", embedder="test:32")

    def work(thread: int) -> list[str]:
        added = []
        for number in range(40):
            content = f"thread{thread} fact {number}"
            record = memory.add(content, f"user {number % 3}", metadata={"n": number})
            assert memory.get(record.id) == record
            assert content in {
                hit.memory.content for hit in memory.search(f"thread{thread}", f"user {number % 3}", limit=100)
            }
            added.append(record.id)
        return added

    added = [each for ids in together(work) for each in ids]
    kept = [record for user in range(3) for record in everything(memory, f"user {user}")]
    assert len(set(added)) == len(added) == 40 * THREADS
    assert {record.id for record in kept} == set(added)


def test_one_external_id_is_one_record() -> None:
    memory = Memory("memory://", embedder="none")
    found = together(lambda thread: [memory.add(f"by {thread}", "u", external_id="e").id for _ in range(20)])
    assert len({each for ids in found for each in ids}) == 1
    [kept] = everything(memory, "u")
    assert kept.version == 20 * THREADS


def test_if_version_loses_no_update() -> None:
    memory = Memory("memory://", embedder="none")
    counter = memory.add("counter", "u", metadata={"n": 0}).id

    def increment() -> bool:
        read = memory.get(counter)
        try:
            memory.update(counter, metadata={"n": (read.metadata or {})["n"] + 1}, if_version=read.version)
        except ConflictError:
            return False
        return True

    def work(thread: int) -> int:
        return sum(increment() for _ in range(50))

    done = sum(together(work))
    assert done > 0
    kept = memory.get(counter)
    assert (kept.metadata, kept.version) == ({"n": done}, done + 1)


def test_one_memory_has_one_successor() -> None:
    memory = Memory("memory://", embedder="none")
    old = [memory.add("c", "u").id for _ in range(20)]

    def replace(memory_id: str) -> bool:
        try:
            memory.add("new", "u", supersedes=[memory_id])
        except ConflictError:
            return False
        return True

    won = sum(together(lambda thread: sum(map(replace, old))))
    assert won == len(old)
    successors = [memory.get(each).superseded_by for each in old]
    assert len(set(successors)) == len(old)
    assert memory.stats("u").superseded == len(old)


def test_one_delete_wins() -> None:
    memory = Memory("memory://", embedder="test:8")
    ids = [memory.add("c", "u").id for _ in range(50)]

    def work(thread: int) -> int:
        won = 0
        for each in random.Random(thread).sample(ids, len(ids)):
            try:
                memory.delete(each)
                won += 1
            except NotFoundError:
                pass
        return won

    assert sum(together(work)) == len(ids)
    assert memory.stats("u").total == 0
    assert memory.search("c", "u") == []


def test_readers_beside_writers_see_whole_records() -> None:
    memory = Memory("memory://", embedder="test:32")
    ids = [memory.add("version 0", "u", metadata={"n": 0}, tags=["0"]).id for _ in range(5)]

    def write(thread: int) -> None:
        for number in range(60):
            memory.update(ids[number % 5], content=f"version {number}", metadata={"n": number}, tags=[str(number)])
            temporary = memory.add("temporary version", "u", metadata={"n": "temporary"}, tags=["temporary"])
            memory.delete(temporary.id)

    def read(thread: int) -> None:
        for _ in range(60):
            seen = [hit.memory for hit in memory.search("version", "u", limit=50)] + memory.list("u").items
            assert {record.id for record in seen} >= set(ids)
            for record in seen:
                number = (record.metadata or {})["n"]
                assert record.tags == [str(number)]
                assert record.content in (f"version {number}", f"{number} version")

    together(lambda thread: write(thread) if thread % 2 else read(thread))
    assert {record.id for record in everything(memory, "u")} == set(ids)


def test_pages_beside_writers_lose_and_repeat_nothing() -> None:
    memory = Memory("memory://", embedder="none")
    kept = [memory.add("kept", "u").id for _ in range(60)]

    def write(thread: int) -> None:
        for _ in range(100):
            memory.delete(memory.add("passing", "u").id)

    def walk(thread: int) -> None:
        for _ in range(10):
            seen, cursor = [], None
            while True:
                page = memory.list("u", limit=7, cursor=cursor)
                seen += [record.id for record in page.items]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert len(seen) == len(set(seen))
            assert set(kept) <= set(seen)

    together(lambda thread: write(thread) if thread % 2 else walk(thread))
