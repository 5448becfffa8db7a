"""qdrant in children of fork while threads of the parent work: a server answers, a folder refuses, nothing hangs."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from openmem import ConfigurationError, Memory
from support.qdrant_server import Server
from support.twins import at

FORKS = 60


@contextmanager
def working(memory: Memory) -> Iterator[None]:
    """Have threads at work on a store."""
    stop = threading.Event()

    def work(number: int) -> None:
        while not stop.is_set():
            memory.add(f"note of {number}", f"user {number}", external_id="k")
            memory.search("seed tea", "u")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def in_child(work: Callable[[], None], hold: AbstractContextManager[Any]) -> bool:
    """Tell whether a child of fork does its work within a minute; hold: what is not to be divided."""
    told, tell = os.pipe()
    with hold:
        child = os.fork()
    if child == 0:
        try:
            work()
            os.write(tell, b"1")
        finally:
            os._exit(0)
    os.close(tell)
    answered = select.select([told], [], [], 60)[0]
    if not answered:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done = bool(answered) and os.read(told, 1) == b"1"
    os.close(told)
    return done


def test_a_server_answers_in_children() -> None:
    server = Server()
    with at("qdrant.test", server), Memory("qdrant://qdrant.test:6333/mem", embedder="test:32") as memory:
        memory.add("seed tea", "u")

        def work() -> None:
            assert memory.search("seed tea", "u")[0].memory.content == "seed tea"
            assert memory.add("of the child", "child", external_id="k").version == 1
            assert len(memory.list("child").items) == 1

        with working(memory):
            for _ in range(FORKS):
                assert in_child(work, hold=server.lock)  # a server is elsewhere, and no fork divides its work
        assert memory.list("child").items == []


@pytest.mark.parametrize("engine", ["edge", "local"])
def test_a_folder_is_refused_in_children(engine: str, tmp_path: Path) -> None:
    with Memory(f"qdrant+{engine}:///{tmp_path / 'store'}", embedder="test:32") as memory:
        memory.add("seed tea", "u")

        def work() -> None:
            for verb in (lambda: memory.search("seed tea", "u"), lambda: memory.add("of the child", "u")):
                with pytest.raises(ConfigurationError, match="another process"):
                    verb()

        with working(memory):
            for _ in range(FORKS):
                assert in_child(work, hold=nullcontext())
        assert memory.stats("u").total == 1
