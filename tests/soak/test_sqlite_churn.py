"""sqlite:// under deletes and adds of several processes: nobody sees what is another's, nothing is lost by a fork."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from openmem import Memory

PROCESSES, THREADS, SEARCHES = 4, 4, 1250
MODES: tuple[Any, ...] = ("vector", "keyword", "hybrid")
SPAWN = multiprocessing.get_context("spawn")


class Errors(logging.Handler):
    """Keeps what is logged as an error: a foreign record that the layers dropped."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage())


def open_store(path: str) -> Memory:
    return Memory(f"sqlite:///{path}", embedder="test:16", synchronous="normal")


def _churn_and_search(path: str, process: int) -> list[str]:
    """Search users in turn, each of whose newest memory is given to another user all the time."""
    errors = Errors()
    logging.getLogger("openmem").addHandler(errors)
    wrong: list[str] = []
    with open_store(path) as memory:

        def work(thread: int) -> None:
            here = f"p{process}t{thread}"
            mine = memory.add(f"tea of alice {here}", "alice")
            for number in range(SEARCHES):
                if number % 3 == 0:
                    memory.delete(mine.id)
                    user = ("bob", "carol", "alice")[number // 3 % 3]
                    mine = memory.add(f"tea of {user} {here}", user)
                user = ("alice", "bob", "carol")[number % 3]
                found = memory.search("tea", user, limit=50, mode=MODES[number // 3 % 3])
                wrong.extend(hit.memory.content for hit in found if f"of {user}" not in hit.memory.content)
                if user == "alice" and len(found) < 20:
                    wrong.append(f"only {len(found)}")

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))
    return wrong + errors.seen


def test_20_000_searches_under_churn_show_nothing_foreign(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    with open_store(path) as memory:
        memory.add_many([{"content": f"tea of alice {number}"} for number in range(20)], user_id="alice")
    with SPAWN.Pool(PROCESSES) as pool:
        wrong = pool.starmap(_churn_and_search, [(path, process) for process in range(PROCESSES)])
    assert wrong == [[]] * PROCESSES


def test_60_forks_while_threads_work(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "a.db")) as memory:
        memory.add("seed tea", "u")
        stop = threading.Event()

        def work(number: int) -> None:
            while not stop.is_set():
                memory.add("tea", f"user {number}")
                memory.search("tea", f"user {number}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(60):
                child = os.fork()
                if child == 0:
                    code = 1
                    try:
                        assert memory.search("seed tea", "u")
                        memory.add(f"of child {number}", "u")
                        code = 0
                    finally:
                        os._exit(code)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert memory.stats("u").total == 61
