"""sqlite:// under deletes and adds of several processes: nobody sees what is another's, nothing is lost by a fork."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

from openmem import Memory
from support.churn import churn, seed

PROCESSES, THREADS, SEARCHES = 4, 4, 1250
SPAWN = multiprocessing.get_context("spawn")


def open_store(path: str) -> Memory:
    return Memory(f"sqlite:///{path}", embedder="test:16", synchronous="normal")


def _churn_and_search(path: str, process: int) -> list[str]:
    """Search by every client of a process."""
    with open_store(path) as memory:
        return churn([memory] * THREADS, SEARCHES, f"p{process}")


def test_20_000_searches_under_churn_show_nothing_foreign(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    with open_store(path) as memory:
        seed(memory)
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
