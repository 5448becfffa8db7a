"""mem0 in process where its store or its history fails: what raised has changed nothing, and what is there is told."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory, OMPError
from openmem.adapters.mem0.library import FOLDERS
from support.llm_server import serving
from support.stores import everything, open_store

TALK = [{"role": "user", "content": "I moved to Oslo and I drink tea."}]


class Failing:
    """A part of mem0 whose calls are counted, and of which one fails: before it is done, or after."""

    def __init__(self, part: Any, count: Counted, *names: str) -> None:
        self._part, self._count, self._names = part, count, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        return self._count.wrap(found) if name in self._names else found


class Counted:
    """Calls counted over several parts. failing: the number of the one that fails; late: it is done all the same."""

    def __init__(self) -> None:
        self.failing, self.late, self.made = 0, False, 0

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **named: Any) -> Any:
            self.made += 1
            failing = self.made == self.failing
            if failing and not self.late:
                raise OSError("no space left")
            answer = call(*arguments, **named)
            if failing:
                raise OSError("cut")
            return answer

        return made


def counted(memory: Memory) -> tuple[Any, Counted]:
    """Let calls of an open store be counted; return mem0 and the count."""
    memory.open()
    [folder] = FOLDERS.by_place.values()
    mem0, count = folder.opened, Counted()
    mem0.vector_store = Failing(mem0.vector_store, count, "insert", "update", "delete", "get", "list", "search")
    mem0.db = Failing(mem0.db, count, "batch_add_history", "add_history", "get_history")
    return mem0, count


def clear(memory: Memory, *users: str) -> None:
    for user in users:
        for each in everything(memory, user):
            memory.delete(each.id)


def state(memory: Memory, mem0: Any) -> Any:
    """Read records, what a search makes of them, and the history of each."""
    records = {user: everything(memory, user) for user in ("ann", "bob")}
    found = [[(hit.memory.id, hit.score) for hit in memory.search("tea", user, limit=100)] for user in records]
    rows = mem0.db._part.connection.execute("SELECT memory_id, event, new_memory FROM history ORDER BY rowid")
    return records, found, [*rows]


CHANGES: dict[str, Callable[[Memory, list[str]], Any]] = {
    "add": lambda memory, ids: memory.add("drinks water", "ann", supersedes=ids[:2]),
    "upsert": lambda memory, ids: memory.add("drinks water", "ann", external_id="k"),
    "add_many": lambda memory, ids: memory.add_many([{"content": f"fact {n}"} for n in range(3)], user_id="ann"),
    "update": lambda memory, ids: memory.update(ids[0], content="drinks water", supersedes=[ids[1]]),
    "patch": lambda memory, ids: memory.update(ids[0], metadata={"new": 1, "topic": None}),
    "delete": lambda memory, ids: memory.delete(ids[2]),
    "delete_many": lambda memory, ids: memory.delete_many(ids, user_id="ann"),
}


def store(provider: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Configure a store of mem0's."""
    if provider == "qdrant":
        return {}
    connection = request.getfixturevalue("postgres_url")
    return {"config": {"vector_store": {"provider": provider, "config": {"connection_string": connection}}}}


@pytest.mark.parametrize("late", [False, True], ids=["refused", "cut after it was done"])
@pytest.mark.parametrize(("provider", "change"), [*(("qdrant", change) for change in CHANGES), ("pgvector", "update")])
def test_a_change_that_fails_has_changed_nothing(
    tmp_path: Path, provider: str, change: str, late: bool, request: pytest.FixtureRequest
) -> None:
    with open_store(f"mem0:///{tmp_path}/mem0", retries=0, **store(provider, request)) as memory:
        mem0, count = counted(memory)
        failures = 0
        for call in range(1, 100):
            clear(memory, "ann", "bob")
            ids = [memory.add(text, "ann", metadata={"topic": text}).id for text in ("drinks tea", "likes tea")]
            ids.append(memory.add("keeps bees", "ann", supersedes=[ids[1]], external_id="k").id)
            memory.add("drinks tea", "bob")
            before = state(memory, mem0)
            count.made, count.failing, count.late = 0, call, late
            try:
                answer = CHANGES[change](memory, ids)
            except OMPError as error:
                assert error.written == "nothing"
                failed = True
            else:
                failed = isinstance(answer, list) and any(result.error for result in answer)
                assert not failed or {result.error and result.error.written for result in answer} == {"nothing"}
            reached = count.made >= call
            count.failing = 0
            after = state(memory, mem0)
            assert (after == before) == failed, (call, after)
            failures += failed
            if not reached:
                break
        assert failures and not reached


def test_an_extraction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with serving() as endpoint:
        endpoint.facts("User moved to Oslo", "User drinks tea")
        options: dict[str, Any] = {"llm_url": endpoint.url, "llm_model": "m", "retries": 0}
        with open_store(f"mem0:///{tmp_path}/mem0", **options) as memory:
            _, count = counted(memory)
            for call in range(1, 100):
                clear(memory, "ann")
                count.made, count.failing = 0, call
                try:
                    facts = memory.remember(TALK, "ann", scope="life")
                except OMPError as error:
                    assert error.written == "nothing"
                    facts = []
                reached = count.made >= call
                count.failing = 0
                assert {each.id: each for each in everything(memory, "ann")} == {each.id: each for each in facts}
                assert all(each.scope == "life" for each in facts)
                if not reached:
                    break
            assert len(facts) == 2


def test_what_cannot_be_taken_back_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_store(f"mem0:///{tmp_path}/mem0", retries=0) as memory:
        mem0, _ = counted(memory)
        store = mem0.vector_store._part
        mem0.db._part.connection.execute("DROP TABLE history")
        mem0.vector_store = Failing(store, broken := Counted(), "delete")
        broken.failing = 1
        with pytest.raises(OMPError) as caught:
            memory.add("drinks tea", "ann")
        assert caught.value.written == "part"
        assert "could not be taken back" in caplog.text
        assert [each.content for each in everything(memory, "ann")] == ["drinks tea"]


WRITER = """
import json, sys
from openmem import Memory
url, config, name, memory_id = sys.argv[1:]
with Memory(url, embedder="test:32", config=json.loads(config)) as memory:
    memory.list("u")
    print(flush=True)
    sys.stdin.readline()
    for n in range(10):
        memory.update(memory_id, metadata={f"{name}{n}": n})
        memory.add(f"{name}{n}", "u", external_id=f"k{n}")
"""


def test_processes_over_pgvector_change_one_after_the_other(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url, options = f"mem0:///{tmp_path}/mem0", store("pgvector", request)
    with open_store(url, **options) as memory:
        record = memory.add("drinks tea", "u")
        command = [sys.executable, "-c", WRITER, url, json.dumps(options["config"])]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        writers = [subprocess.Popen([*command, name, record.id], **pipes) for name in ("a", "b")]
        for writer in writers:
            writer.stdout.readline()
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        assert [writer.communicate() and writer.returncode for writer in writers] == [0, 0]
        stored = memory.get(record.id)
        assert (len(stored.metadata or {}), stored.version) == (20, 21)
        assert len(everything(memory, "u")) == 11


# --- below zero -------------------------------------------------------------------------------------------------


class Angle:
    """Embeds degrees."""

    model, dimension, inline = "angle", 2, True

    async def embed(self, texts: list[str]) -> list[list[float]]:
        return [[math.cos(math.radians(float(text))), math.sin(math.radians(float(text)))] for text in texts]

    async def close(self) -> None: ...


@pytest.mark.parametrize("provider", ["qdrant", "pgvector"])
def test_the_nearest_come_first_below_zero_too(tmp_path: Path, provider: str, request: pytest.FixtureRequest) -> None:
    with Memory(f"mem0:///{tmp_path}/mem0", embedder=Angle(), **store(provider, request)) as memory:
        for degrees in ("95", "120", "150", "180"):
            memory.add(degrees, "u")
        found = memory.search("0", "u", mode="vector", limit=3)
        assert [(hit.memory.content, hit.score) for hit in found] == [("95", 0.0), ("120", 0.0), ("150", 0.0)]
        origin = memory.add("0", "u")
        assert [hit.memory.content for hit in memory.related(origin.id, limit=2)] == ["95", "120"]
        for degrees in range(91, 91 + 80):
            memory.add(str(degrees), "many")
        assert [hit.memory.content for hit in memory.search("0", "many", limit=3)] == ["91", "92", "93"]
