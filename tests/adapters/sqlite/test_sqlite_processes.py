"""sqlite:// over forks, event loops and threads of its own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, Memory, ProviderError
from openmem.protocol.clock import utc_now
from openmem.runtime import fork
from support.processes import run
from support.stores import everything


def open_store(path: Path, **options: Any) -> Memory:
    return Memory(f"sqlite:///{path}", **{"embedder": "test:16", "synchronous": "normal", **options})


def in_child(work: Callable[[], object]) -> int:
    """Do work in a child of fork; 0 where it succeeded."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def contents(memory: Memory, user: str = "u") -> list[str]:
    return sorted(item.content for item in everything(memory, user))


def test_a_child_keeps_what_it_writes_after_its_parent_closed(tmp_path: Path) -> None:
    """A child that inherited a connection would write into a log that the parent deletes on closing."""
    memory = open_store(tmp_path / "a.db")
    memory.add("by the parent", "u")
    (ready, started), (gone, closed) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            memory.add("by the child", "u")
            os.write(started, b".")
            os.read(gone, 1)
            memory.add("by the child alone", "u")
            code = 0
        finally:
            os._exit(code)
    os.read(ready, 1)
    memory.close()
    os.write(closed, b".")
    assert os.waitpid(child, 0)[1] == 0
    for each in (ready, started, gone, closed):
        os.close(each)
    with open_store(tmp_path / "a.db") as memory:
        assert contents(memory) == ["by the child", "by the child alone", "by the parent"]


def test_children_answer_while_threads_work_in_the_parent(tmp_path: Path) -> None:
    with open_store(tmp_path / "a.db") as memory:
        memory.add("seed tea", "u")
        stop = threading.Event()

        def work(number: int) -> None:
            while not stop.is_set():
                memory.add("tea", f"user {number}")
                memory.search("tea", f"user {number}")

        def child() -> None:
            assert len(memory.search("tea", "u")) >= 1
            memory.add("tea of a child", "u")
            memory.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        try:
            assert [in_child(child) for _ in range(10)] == [0] * 10
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert contents(memory) == ["seed tea"] + ["tea of a child"] * 10


def test_a_child_keeps_no_audit_entries_of_its_parent(tmp_path: Path) -> None:
    with open_store(tmp_path / "a.db") as memory:
        memory.add("fact", "u")
        memory.list("u")
        assert in_child(memory.close) == 0
        assert [entry.action for entry in memory.audit("u")] == ["list", "add"]


def test_a_child_of_a_fork_in_the_midst_of_work_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork does not wait for ever: its child then is refused, since SQLite would mix up whose locks are whose."""
    monkeypatch.setattr(fork, "PATIENCE", 0.0)
    inside, leave = threading.Event(), threading.Event()

    def clock() -> Any:
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            leave.wait()
        return utc_now()

    with open_store(tmp_path / "a.db", clock=clock) as memory:
        memory.add("fact", "u")
        thread = threading.Thread(target=memory.add, args=("slow", "u"))
        thread.start()
        inside.wait()

        def child() -> None:
            with pytest.raises(ProviderError, match="forked in the midst"):
                memory.list("u")

        try:
            assert in_child(child) == 0
        finally:
            leave.set()
            thread.join()
        assert contents(memory) == ["fact", "slow"]


VERBS: dict[str, Callable[[Memory], object]] = {
    "add": lambda memory: memory.add("fact", "u"),
    "search": lambda memory: memory.search("fact", "u"),
    "list": lambda memory: memory.list("u"),
    "audit": lambda memory: memory.audit("u"),
}


@pytest.mark.parametrize("inner", VERBS)
@pytest.mark.parametrize("outer", ["add", "search", "list"])
def test_a_call_within_a_call_of_its_own_thread_is_refused(tmp_path: Path, outer: str, inner: str) -> None:
    """A signal handler may make one, and a __del__ that the garbage collector calls: neither can wait for itself."""
    told: list[ProviderError] = []
    asked: list[str] = []

    def clock() -> Any:
        while asked:
            with pytest.raises(ProviderError, match="in the midst of another call") as caught:
                VERBS[asked.pop()](memory)
            told.append(caught.value)
        return utc_now()

    with open_store(tmp_path / "a.db", clock=clock) as memory:
        memory.add("fact", "u")
        asked.append(inner)
        VERBS[outer](memory)
        assert [each.written for each in told] == ["nothing"]
        memory.add("last", "u")
        assert len(memory.search("last", "u", mode="keyword")) == 1


def test_writers_that_wait_leave_the_applications_threads_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    async def scenario() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        async with AsyncMemory(f"sqlite:///{path}", embedder="none") as memory:
            await memory.add("first", "u")
            blocker = sqlite3.connect(path, isolation_level=None)
            blocker.execute("BEGIN IMMEDIATE")
            waiting = [asyncio.create_task(memory.add(f"fact {number}", "u")) for number in range(20)]
            for _ in range(5):
                assert await asyncio.to_thread(lambda: "answered") == "answered"
                assert len((await memory.list("u")).items) == 1
            assert not any(task.done() for task in waiting)
            blocker.execute("ROLLBACK")
            blocker.close()
            await asyncio.gather(*waiting)
            assert len((await memory.list("u")).items) == 21

    run(scenario)


def test_calls_that_are_cancelled_leave_nothing_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with AsyncMemory(f"sqlite:///{tmp_path / 'a.db'}", embedder="none") as memory:
            await memory.add("first", "u")
            for number in range(100):
                tasks = [asyncio.create_task(memory.add(f"fact {number}", "u"))]
                tasks += [asyncio.create_task(memory.search("fact", "u")) for _ in range(3)]
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert (await memory.add("last", "u")).id in {item.id for item in (await memory.list("u")).items}

    run(scenario)
    assert not [each.name for each in threading.enumerate() if "sqlite" in each.name]
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]
