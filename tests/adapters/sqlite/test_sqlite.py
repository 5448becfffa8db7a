"""sqlite:// under several threads and processes, kill -9, other files, other embeddings."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from openmem import ConfigurationError, Memory, NotFoundError, ProviderUnavailableError

SPAWN = multiprocessing.get_context("spawn")


def open_store(path: Path, **options: object) -> Memory:
    return Memory(f"sqlite:///{path}", **{"embedder": "test", "synchronous": "normal", **options})


def every_content(memory: Memory, user_id: str) -> list[str]:
    contents, cursor = [], None
    while True:
        page = memory.list(user_id, limit=500, cursor=cursor)
        contents += [item.content for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return contents


def integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


def _work_in_process(path: str, process: int) -> list[str]:
    memory = open_store(Path(path))

    def work(thread: int) -> list[str]:
        added = []
        for number in range(125):
            content = f"process{process} thread{thread} fact {number}"
            record = memory.add(content, f"user {number % 5}")
            found = memory.search(content, f"user {number % 5}", limit=1)
            assert found[0].memory.content == content
            assert memory.get(record.id).content == content
            added.append(content)
        return added

    with ThreadPoolExecutor(4) as pool:
        contents = [content for added in pool.map(work, range(4)) for content in added]
    memory.close()
    return contents


def test_four_processes_of_four_threads_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    with SPAWN.Pool(4) as pool:
        added = [
            content for part in pool.starmap(_work_in_process, [(str(path), n) for n in range(4)]) for content in part
        ]
    assert len(added) == 2000
    with open_store(path) as memory:
        stored = [content for n in range(5) for content in every_content(memory, f"user {n}")]
        assert sorted(stored) == sorted(added)
        for content in added[::200]:
            number = int(content.split()[-1])
            assert memory.search(content, f"user {number % 5}", limit=1)[0].memory.content == content
    assert integrity(path) == "ok"


def _open_new_stores(folder: str, together: Barrier) -> None:
    try:
        for number in range(60):
            together.wait(60)
            with open_store(Path(folder) / f"{number}.db") as memory:
                memory.list("u")
    except BaseException:
        together.abort()
        raise


def test_processes_that_open_a_new_store_at_once_wait_for_each_other(tmp_path: Path) -> None:
    together = SPAWN.Barrier(4)
    processes = [SPAWN.Process(target=_open_new_stores, args=(str(tmp_path), together)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4


WRITER = """
    import sys
    from openmem import Memory
    memory = Memory("sqlite:///" + sys.argv[1], embedder="test", synchronous="normal")
    number = 0
    while True:
        contents = [f"{sys.argv[2]} batch {number} item {i}" for i in range(20)]
        batch = memory.add_many([{"content": content} for content in contents], user_id="u")
        single = memory.add(f"{sys.argv[2]} single {number}", "u")
        for record in [*(result.memory for result in batch), single]:
            print(record.content, flush=True)
        number += 1
"""


def _killed_writer(path: Path, run: int) -> list[str]:
    """Start a writer, kill it in the middle of its work and return what it had acknowledged."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path), f"run {run}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(50 + 37 * run)]
        writer.send_signal(signal.SIGKILL)
        lines = writer.stdout.read().split("\n")
    return acknowledged + lines[:-1]  # what follows the last line break was cut off


def test_kill_in_mid_write_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "killed.db"
    acknowledged: list[str] = []
    for run in range(10):
        acknowledged += _killed_writer(path, run)
        assert integrity(path) == "ok"
        with open_store(path) as memory:
            stored = every_content(memory, "u")
            assert set(acknowledged) <= set(stored)
            assert len(stored) == len(set(stored))
            assert memory.stats("u").total == len(stored)
            found = memory.search(acknowledged[-1], "u", limit=100)
            assert acknowledged[-1] in [hit.memory.content for hit in found]


def test_many_processes_open_a_new_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with SPAWN.Pool(6) as pool:
        assert pool.starmap(_open_and_add, [(str(path), n) for n in range(12)]) == list(range(12))
    with open_store(path) as memory:
        assert len(every_content(memory, "u")) == 12


def _open_and_add(path: str, number: int) -> int:
    with open_store(Path(path)) as memory:
        memory.add(f"fact {number}", "u")
    return number


def test_another_process_sees_adds_updates_and_deletes_in_its_searches(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    with open_store(path) as one, open_store(path) as other:
        first = one.add("alpha beta", "u")
        second = one.add("gamma delta", "u")
        assert [hit.memory.id for hit in other.search("alpha beta", "u", mode="vector", limit=1)] == [first.id]
        other.update(first.id, content="epsilon zeta")
        assert [hit.memory.id for hit in one.search("epsilon zeta", "u", mode="vector", limit=1)] == [first.id]
        assert one.search("alpha beta", "u", mode="vector", min_score=0.5) == []
        other.delete(second.id)
        third = other.add("eta theta", "u")
        assert {hit.memory.id for hit in one.search("gamma delta", "u", mode="vector")} == {first.id, third.id}
        with pytest.raises(NotFoundError):
            one.get(second.id)


def test_a_forked_child_uses_connections_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "forked.db"
    with open_store(path) as memory:
        memory.add("from the parent", "u")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                memory.add("from the child", "u")
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert sorted(every_content(memory, "u")) == ["from the child", "from the parent"]


def test_async_callers_are_not_blocked_by_another_writer(tmp_path: Path) -> None:
    import asyncio

    from openmem import AsyncMemory

    path = tmp_path / "busy.db"

    async def scenario() -> None:
        async with AsyncMemory(f"sqlite:///{path}", embedder="none") as memory:
            await memory.add("first", "u")
            blocker = sqlite3.connect(path, isolation_level=None)
            blocker.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(memory.add("second", "u"))
            # The loop goes on while the add waits for the lock: these reads are answered meanwhile.
            for _ in range(20):
                assert len((await memory.list("u")).items) == 1
            assert not waiting.done()
            blocker.execute("ROLLBACK")
            blocker.close()
            await waiting
            assert len((await memory.list("u")).items) == 2

    asyncio.run(scenario())


def test_a_lock_held_too_long_is_a_typed_error_and_stores_nothing(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    with open_store(path, busy_timeout=0.05) as memory:
        memory.add("first", "u")
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(ProviderUnavailableError, match="busy_timeout"):
            memory.add("second", "u")
        blocker.execute("ROLLBACK")
        blocker.close()
        assert every_content(memory, "u") == ["first"]


def test_closing_leaves_no_connection_and_no_log_behind(tmp_path: Path) -> None:
    path = tmp_path / "closed.db"
    memory = open_store(path)
    threads = [threading.Thread(target=memory.add, args=(f"fact {n}", "u")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memory.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["closed.db"]


def test_audit_entries_of_reads_are_kept_over_close(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    with open_store(path) as memory:
        memory.add("a fact", "u")
        memory.search("fact", "u")
    with open_store(path) as memory:
        assert [entry.action for entry in memory.audit("u")] == ["search", "add"]


def test_another_embedding_is_refused_naming_reembed(tmp_path: Path) -> None:
    path = tmp_path / "embedded.db"
    with open_store(path) as memory:
        memory.add("a fact", "u")
    for embedder in ("none", "test:64"):
        with open_store(path, embedder=embedder) as memory, pytest.raises(ConfigurationError, match="openmem reembed"):
            memory.list("u")


def test_an_empty_store_takes_the_embedding_it_is_opened_with(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    with open_store(path) as memory:
        memory.list("u")
    with open_store(path, embedder="test:64") as memory:
        memory.add("a fact", "u")
        assert memory.search("fact", "u", mode="vector")


def test_reembed_replaces_every_vector(tmp_path: Path) -> None:
    import asyncio

    from openmem.adapters.sqlite import SqliteAdapter
    from openmem.embedding.testing import WordEmbedder
    from openmem.types import EmbeddingInfo

    path = tmp_path / "again.db"
    with open_store(path, embedder="none") as memory:
        ids = [memory.add(f"fact number {n}", "u").id for n in range(30)]
    embedder = WordEmbedder(dimension=64)
    info = EmbeddingInfo(model=embedder.model, dimension=64)
    adapter = SqliteAdapter(SqliteAdapter.settings_type(path=path), embedding=info)

    async def again() -> int:
        try:
            return await adapter.reembed(embedder.embed)
        finally:
            await adapter.close()

    assert asyncio.run(again()) == 30
    with open_store(path, embedder="test:64") as memory:
        assert memory.search("fact number 7", "u", mode="vector", limit=1)[0].memory.id == ids[7]
        assert memory.get(ids[7]).embedding_model == embedder.model


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    with open_store(path) as memory:
        memory.list("u")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with open_store(path) as memory, pytest.raises(ConfigurationError, match="Upgrade"):
        memory.list("u")


def test_files_that_are_not_ours_are_refused_and_left_alone(tmp_path: Path) -> None:
    text, database = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("not a database, but long enough to be read as a header " * 10)
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    for path in (text, database):
        before = path.read_bytes()
        with open_store(path) as memory, pytest.raises(ConfigurationError):
            memory.add("a fact", "u")
        assert path.read_bytes() == before


@pytest.mark.parametrize("url", ["sqlite://memory.db", "sqlite:///:memory:", "sqlite://", "sqlite:///"])
def test_urls_without_a_file_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Memory(url)


def test_a_missing_folder_is_named_before_anything_is_made(tmp_path: Path) -> None:
    with open_store(tmp_path / "nowhere" / "memory.db") as memory, pytest.raises(ConfigurationError, match="folder"):
        memory.add("a fact", "u")
    assert list(tmp_path.iterdir()) == []


def test_a_bad_request_makes_no_file(tmp_path: Path) -> None:
    from openmem import InvalidRequestError

    with open_store(tmp_path / "untouched.db") as memory, pytest.raises(InvalidRequestError):
        memory.add(" ", "u")
    assert list(tmp_path.iterdir()) == []


def test_a_changed_text_analysis_is_reindexed_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "analysis.db"
    with open_store(path, embedder="none") as memory:
        record = memory.add("seven swans", "u")
    connection = sqlite3.connect(path)
    connection.executescript("DELETE FROM postings; UPDATE meta SET value = 'older' WHERE name = 'analysis'")
    connection.close()
    with open_store(path, embedder="none") as memory:
        assert [hit.memory.id for hit in memory.search("swan", "u")] == [record.id]
