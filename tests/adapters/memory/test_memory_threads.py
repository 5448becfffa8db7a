"""One memory:// in many threads and beside a loop: nothing lost, torn or raised, and the loop goes on."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from openmem import AsyncMemory, ConflictError, Memory, NotFoundError, ProviderError
from openmem.protocol import ranking
from support.clocks import START
from support.processes import run
from support.stores import everything

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


# --- event loops ------------------------------------------------------------------------------------------------------


class Hook:
    """A clock that does something once, in whatever thread asks it for the time, and keeps which threads did."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.then: Callable[[], object] | None = None

    def __call__(self) -> datetime:
        self.threads.add(threading.get_ident())
        if self.then is not None and threading.get_ident() != threading.main_thread().ident:
            then, self.then = self.then, None
            then()
        return START


def large(count: int = 3_000) -> list[dict[str, Any]]:
    return [{"content": f"tea {number}"} for number in range(count)]


def test_a_loop_goes_on_while_another_thread_has_the_store() -> None:
    memory = AsyncMemory("memory://", embedder="none")
    lock = memory.adapter.lock  # type: ignore[attr-defined]

    async def work() -> None:
        known = (await memory.add("tea", "u")).id
        with lock:
            verbs = [memory.get(known), memory.add("more tea", "u"), memory.list("u"), memory.delete(known)]
            verbs += [memory.list("u") for _ in range(50)]
            waiting = [asyncio.ensure_future(verb) for verb in verbs]
            for _ in range(100):
                await asyncio.sleep(0)
            assert await asyncio.to_thread(int) == 0  # the application's own threads are not kept waiting either
            assert not any(each.done() for each in waiting)
        await asyncio.wait(waiting)
        assert (await memory.stats("u")).total == 1

    run(work)


def test_who_is_cancelled_while_waiting_for_the_store_changes_nothing() -> None:
    memory = AsyncMemory("memory://", embedder="none")
    lock = memory.adapter.lock  # type: ignore[attr-defined]

    async def work() -> None:
        known = (await memory.add("tea", "u")).id
        with lock:
            verbs = [memory.add("more tea", "u"), memory.delete(known), memory.add_many(large(), user_id="u")]
            waiting = [asyncio.ensure_future(verb) for verb in verbs]
            for _ in range(100):
                await asyncio.sleep(0)
            for each in waiting:
                each.cancel()
            await asyncio.wait(waiting)
            assert all(each.cancelled() for each in waiting)
        assert [each.id for each in (await memory.list("u")).items] == [known]

    run(work)


@pytest.mark.parametrize(
    ("verb", "fields", "aside"),
    [
        ("add", {"content": "tea"}, False),
        ("add", {"content": "tea " * 25_000}, True),
        ("add", {"content": "tea", "metadata": {"k": list(range(5_000))}}, True),
        ("add_many", {"items": large(20)}, False),
        ("add_many", {"items": large(200)}, True),
        ("list", {}, True),
        ("search", {"query": "tea"}, True),
        ("context", {"query": "tea"}, True),
        ("stats", {}, True),
    ],
)
def test_what_may_take_long_leaves_the_loop(verb: str, fields: dict[str, Any], aside: bool) -> None:
    clock = Hook()
    memory = AsyncMemory("memory://", embedder="none", clock=clock)

    async def work() -> None:
        await memory.add_many(large(), user_id="u")
        clock.threads.clear()
        await getattr(memory, verb)(user_id="u", **fields)
        assert (threading.get_ident() not in clock.threads) is aside

    run(work)


def test_a_batch_that_is_cancelled_ends_with_the_part_under_way() -> None:
    clock = Hook()
    memory = AsyncMemory("memory://", embedder="none", clock=clock)

    async def work() -> None:
        task = asyncio.ensure_future(memory.add_many(large(), user_id="u"))
        clock.then = canceller(task)
        await asyncio.wait([task])
        assert task.cancelled()
        assert (await memory.stats("u")).total == 500

    run(work)


def test_a_read_that_is_cancelled_reads_no_more() -> None:
    clock = Hook()
    memory = AsyncMemory("memory://", embedder="none", clock=clock)

    async def work() -> None:
        await memory.add_many(large(), user_id="u")
        for verb in (memory.list("u", filter={"kind": "none"}), memory.search("tea", "u"), memory.stats("u")):
            task = asyncio.ensure_future(verb)
            clock.then = canceller(task)
            await asyncio.wait([task])
            assert task.cancelled()
        entries = await memory.audit("u", limit=1)
        assert [entry.action for entry in entries] == ["add_many"]

    run(work)


def canceller(task: asyncio.Future[Any]) -> Callable[[], object]:
    """Return what cancels a task from another thread, and comes back when the task knows."""
    loop = asyncio.get_running_loop()

    async def cancel() -> None:
        task.cancel()
        await asyncio.wait([task])

    return lambda: asyncio.run_coroutine_threadsafe(cancel(), loop).result()


def test_users_of_whom_nothing_is_known_take_no_room() -> None:
    memory = Memory("memory://", embedder="test:256")
    memory.add("tea", "u")
    for number in range(50):
        memory.search("tea", f"nobody {number}")
    assert list(memory.adapter.store.users) == ["u"]  # type: ignore[attr-defined]


def test_a_finalizer_within_a_call_is_refused_and_does_not_wait_for_its_own_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = Memory("memory://", embedder="none")
    told: list[ProviderError] = []
    terms = ranking.terms

    def interrupted(text: str) -> list[str]:
        """Do what a collector of garbage or a signal may in the midst of indexing: call the store."""
        monkeypatch.setattr(ranking, "terms", terms)
        with pytest.raises(ProviderError, match="in the midst of another call") as caught:
            memory.add("session ended", "u")
        told.append(caught.value)
        return terms(text)

    monkeypatch.setattr(ranking, "terms", interrupted)
    memory.add("tea", "u")
    assert [error.written for error in told] == ["nothing"]
    assert memory.stats("u").total == 1
    memory.add("session ended", "u")
