"""What sqlite:// reads: one snapshot of one user, in few statements, whatever else is going on."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmem import Memory, NotFoundError
from openmem.protocol import ranking
from openmem.protocol.tally import Tally
from support.clocks import DAY, START, Clock
from support.interrupts import Countdown, at_calls
from support.stores import everything

SPAWN = multiprocessing.get_context("spawn")


def open_store(path: Path, **options: Any) -> Memory:
    return Memory(f"sqlite:///{path}", **{"embedder": "test:16", "synchronous": "normal", **options})


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What SQLite is asked, by every connection made from here on."""
    asked: list[str] = []
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(asked.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    return asked


def plan(path: Path, query: str, *values: Any) -> str:
    connection = sqlite3.connect(path)
    try:
        return " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values))
    finally:
        connection.close()


@contextmanager
def amid_search(monkeypatch: pytest.MonkeyPatch, happens: Any) -> Iterator[None]:
    """Have something happen once in the midst of the next search: after the vectors are known, before the records."""
    bm25, waiting = ranking.bm25, [happens]

    def interrupted(*arguments: Any, **options: Any) -> Any:
        while waiting:
            waiting.pop()()
        return bm25(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ranking, "bm25", interrupted)
        yield
    assert not waiting


def test_a_search_is_of_one_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(tmp_path / "a.db") as one, open_store(tmp_path / "a.db") as two:
        mine = one.add("alice likes tea", "alice")
        one.search("tea", "alice")

        def happens() -> None:
            two.delete(mine.id)
            two.add("bob's secret tea", "bob")

        with amid_search(monkeypatch, happens):
            assert [hit.memory.id for hit in one.search("tea", "alice")] == [mine.id]
        assert one.search("tea", "alice") == []
        assert len(one.search("tea", "bob")) == 1


def test_vectors_newer_than_the_snapshot_are_not_used_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search in another thread follows a change while this one is at its snapshot: neither gets the other's."""
    with open_store(tmp_path / "a.db") as memory:
        first = memory.add("alice likes tea", "alice")
        memory.search("tea", "alice")
        found: list[list[str]] = []

        def search() -> None:
            found.append([hit.memory.id for hit in memory.search("tea", "alice", mode="vector")])

        def change() -> None:
            memory.delete(first.id)
            memory.add("alice likes coffee", "alice")

        def happens() -> None:
            changing = threading.Thread(target=change)
            changing.start()
            changing.join()
            threads.append(threading.Thread(target=search))
            threads[0].start()

        threads: list[threading.Thread] = []
        with amid_search(monkeypatch, happens):
            assert [hit.memory.id for hit in memory.search("tea", "alice")] == [first.id]
        threads[0].join()
        (second,) = memory.list("alice").items
        assert found == [[second.id]]


def test_keys_are_never_used_again(tmp_path: Path) -> None:
    with open_store(tmp_path / "a.db") as memory:
        keys = []
        for number in range(3):
            record = memory.add(f"fact {number}", "u")
            connection = sqlite3.connect(tmp_path / "a.db")
            keys += [key for (key,) in connection.execute("SELECT key FROM records")]
            connection.close()
            memory.delete(record.id)
    assert keys == sorted(set(keys))


def _churn(path: str, stop: Any) -> None:
    with open_store(Path(path)) as memory:
        mine = memory.add("alice tea number", "alice")
        while not stop.is_set():
            memory.delete(mine.id)
            other = memory.add("bob secret tea", "bob")
            memory.delete(other.id)
            mine = memory.add("alice tea number", "alice")


@pytest.mark.parametrize("mode", ["vector", "keyword", "hybrid"])
def test_nobody_sees_anothers_memories_under_churn(tmp_path: Path, mode: Any) -> None:
    path = tmp_path / "a.db"
    with open_store(path) as memory:
        memory.add_many([{"content": f"alice tea {number}"} for number in range(20)], user_id="alice")
        stop = SPAWN.Event()
        churn = SPAWN.Process(target=_churn, args=(str(path), stop))
        churn.start()
        try:
            for _ in range(300):
                found = memory.search("tea", "alice", limit=50, mode=mode)
                assert {hit.memory.user_id for hit in found} == {"alice"}
                assert len(found) in (20, 21)
        finally:
            stop.set()
            churn.join()


def test_a_search_after_a_removal_reads_no_vector_again(tmp_path: Path, statements: list[str]) -> None:
    with open_store(tmp_path / "a.db") as memory, open_store(tmp_path / "a.db") as other:
        results = memory.add_many([{"content": f"fact {number}"} for number in range(50)], user_id="u")
        memory.search("fact", "u", mode="vector")
        for client in (memory, other):  # by this process, and by what might be another
            record = results.pop().memory
            assert record is not None
            client.delete(record.id)
            statements.clear()
            found = memory.search("fact", "u", mode="vector", limit=100)
            assert {hit.memory.id for hit in found} == {result.id for result in results}
            assert not [each for each in statements if "FROM vectors" in each and "revision > 0" in each]


def test_removals_that_are_no_longer_kept_are_seen_all_the_same(tmp_path: Path) -> None:
    with open_store(tmp_path / "a.db") as memory:
        results = memory.add_many([{"content": f"fact {number}"} for number in range(200)], user_id="u")
        memory.search("fact", "u", mode="vector")
        with open_store(tmp_path / "a.db") as other:
            other.delete_many([result.id for result in results[:150] if result.id], user_id="u")
        connection = sqlite3.connect(tmp_path / "a.db")
        with connection:
            assert connection.execute("DELETE FROM removed").rowcount == 150
        connection.close()
        found = memory.search("fact", "u", mode="vector", limit=100)
        assert {hit.memory.id for hit in found} == {result.id for result in results[150:]}


def test_what_is_kept_of_removals_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openmem.adapters.sqlite import records

    monkeypatch.setattr(records, "KEPT", 100)
    with open_store(tmp_path / "a.db") as memory:
        for _ in range(5):
            results = memory.add_many([{"content": f"fact {number}"} for number in range(100)], user_id="u")
            memory.delete_many([result.id for result in results if result.id], user_id="u")
    connection = sqlite3.connect(tmp_path / "a.db")
    assert connection.execute("SELECT count(*) FROM removed").fetchone()[0] <= 164
    connection.close()


def test_a_long_chain_is_read_in_few_statements(tmp_path: Path, statements: list[str]) -> None:
    with open_store(tmp_path / "a.db") as memory:
        records = [memory.add("fact 0", "u")]
        for number in range(40):
            records.append(memory.add(f"fact {number + 1}", "u", supersedes=[records[-1].id]))
        beside = memory.add("beside", "u")
        for start in (records[0], records[20], records[-1]):
            statements.clear()
            assert [each.id for each in memory.history(start.id)] == [each.id for each in records]
            assert len([each for each in statements if each not in ("BEGIN", "COMMIT")]) <= 3
        assert [each.id for each in memory.history(beside.id)] == [beside.id]
        with pytest.raises(NotFoundError):
            memory.history(records[0].id, user_id="somebody else")


def test_a_chain_branches_and_ends_at_what_was_deleted(tmp_path: Path) -> None:
    with open_store(tmp_path / "a.db") as memory:
        leaves = [memory.add(f"leaf {number}", "u") for number in range(3)]
        middle = memory.add("middle", "u", supersedes=[leaf.id for leaf in leaves])
        root = memory.add("root", "u", supersedes=[middle.id])
        assert {each.id for each in memory.history(leaves[1].id)} == {each.id for each in [*leaves, middle, root]}
        memory.delete(middle.id)
        assert [each.id for each in memory.history(leaves[1].id)] == [leaves[1].id]
        assert [each.id for each in memory.history(root.id)] == [root.id]


def test_external_ids_and_lists_are_found_by_their_indexes(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_store(path) as memory:
        memory.add("fact", "u", external_id="k")
    assert "records_external" in plan(path, "SELECT record FROM records WHERE user = ? AND external_id = ?", 1, "k")
    newest = "SELECT record FROM records WHERE user = ? AND (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC"
    assert "records_newest" in plan(path, newest, 1, 2, "3")
    assert "TEMP B-TREE" not in plan(path, newest, 1, 2, "3")
    assert "PRIMARY KEY" in plan(path, "SELECT record FROM records WHERE key IN (?, ?) AND +user = ?", 1, 2, 3)


def test_the_audit_log_is_most_recent_first_whoever_stored_its_entries_later(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "a.db"

    def ticking() -> Any:
        return clock.tick()

    with open_store(path, clock=ticking) as one, open_store(path, clock=ticking) as two:
        one.add("fact", "u")
        for _ in range(5):
            two.search("fact", "u")  # kept back, and stored when `two` adds
            one.update(one.add("fact", "u").id, archived=True)
        two.add("last", "u")
        expected = ["add", *["update", "add", "search"] * 5, "add"]
        assert [entry.action for entry in one.audit("u")] == expected
        assert [entry.action for entry in one.audit("u", limit=4)] == expected[:4]
    newest = "SELECT action FROM audit WHERE user = ? ORDER BY timestamp DESC, key DESC"
    assert "audit_newest" in plan(path, newest, 1)
    assert "TEMP B-TREE" not in plan(path, newest, 1)


moments = st.none() | st.sampled_from([START - DAY, START, START + timedelta(microseconds=1), START + DAY])
texts = st.sampled_from(["a", "a/b", "Ä", "ß", "a'b", '"', "😀", "\\", " a"])


@settings(max_examples=60)
@given(data=st.data())
def test_counts_are_those_of_the_generic_form(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    clock = Clock()
    with open_store(tmp_path_factory.mktemp("counts") / "a.db", clock=clock, embedder="none") as memory:
        memory.add("of somebody else", "v", scope="a", tags=["a"])
        ids: list[str] = []
        for number in range(data.draw(st.integers(0, 12))):
            begins, ends = data.draw(moments), data.draw(moments)
            fields = {
                "valid_from": begins,
                "valid_to": ends if begins is None or ends is None or ends > begins else None,
                "scope": data.draw(st.none() | st.sampled_from(["a", "a/b", "Ä/ß", "a'b/c"])),
                "kind": data.draw(st.none() | texts.filter(str.strip)),
                "tags": data.draw(st.none() | st.lists(texts.filter(str.strip), max_size=4)),
                "archived": data.draw(st.none() | st.booleans()),
                "supersedes": [ids.pop()] if ids and data.draw(st.booleans()) else None,
            }
            ids.append(memory.add(f"fact {number}", "u", **fields).id)
            clock.tick(microseconds=data.draw(st.integers(0, 2)))
        if ids and data.draw(st.booleans()):
            memory.update(ids[-1], tags=["new", "new"], archived=True, scope=None)
        clock.now += data.draw(st.sampled_from([timedelta(), DAY, -DAY, timedelta(microseconds=1)]))
        tally = Tally("u", clock.now)
        tally.count(everything(memory, "u"))
        assert memory.stats("u").model_dump() == tally.stats().model_dump()


# An interrupt may leave a coroutine that nobody awaits, and a connection that nobody has.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
def test_an_interrupted_change_neither_loses_nor_doubles_entries_of_reads(tmp_path: Path) -> None:
    def interrupted(at: int | None) -> int:
        for _ in range(3):
            memory.search("fact", "u")
        counts: list[Countdown] = []
        with suppress(KeyboardInterrupt), at_calls(at) as count:
            counts.append(count)
            memory.add("fact", "u")
        return counts[0].seen if counts else 0

    with open_store(tmp_path / "a.db", embedder="none") as memory:
        seen = interrupted(None)
        for at in range(seen, 0, -1):
            interrupted(at)
    connection = sqlite3.connect(tmp_path / "a.db")
    stored = connection.execute("SELECT count(*), count(DISTINCT request_id) FROM audit WHERE action = 'search'")
    assert stored.fetchone() == (3 * (seen + 1),) * 2
    connection.close()
