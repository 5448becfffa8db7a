"""A run of the suite: what it sends is its own, what it wrote it takes away, and its report says where it is from."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory, ProviderUnavailableError
from openmem._generated import models
from openmem._generated.clauses import CLAUSES
from openmem.adapters.memory import MemoryAdapter
from openmem.adapters.sqlite import SqliteAdapter
from openmem.cli import main
from openmem.conformance import CHECKS, Progress, Report, run
from support.processes import python

WRITES = (models.AddRequest, models.AddManyRequest, models.UpdateRequest)


def conform(target: Any, *only: str, **options: Any) -> Report:
    return asyncio.run(run(target, only=only, **options))


def left_in(file: Path) -> int:
    connection = sqlite3.connect(file)
    try:
        count: int = connection.execute("SELECT count(*) FROM records").fetchone()[0]
        return count
    finally:
        connection.close()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


# --- what is sent -----------------------------------------------------------------------------------------------


class Overhears(MemoryAdapter):
    """Keeps what reaches it: users and ids, and the texts, tags, keys and scopes that are written."""

    heard: defaultdict[str, set[Any]]

    async def handle(self, request: Any) -> Any:
        for each in (request, *(request.items if type(request) is models.AddManyRequest else ())):
            fields = dict(each)
            written = ("content", "scope", "external_id", "tags", "supersedes") if type(request) in WRITES else ()
            for name in ("user_id", "id", "ids", *written):
                value = fields.get(name)
                self.heard[name].update(value if isinstance(value, list) else [value])
        return await super().handle(request)


def heard(seed: int | None, *only: str) -> dict[str, set[Any]]:
    Overhears.heard = defaultdict(set)
    report = conform(Overhears, *only, seed=seed)
    assert report.exit_code == 0, report.summary()
    return {name: values - {None} for name, values in Overhears.heard.items()}


def test_two_runs_send_nothing_alike() -> None:
    one, other = heard(None), heard(None)
    assert {name: values & other[name] for name, values in one.items() if values & other[name]} == {}
    assert all(len(one[name]) > 40 for name in ("user_id", "content", "scope", "external_id", "tags", "id", "ids"))


def test_a_seed_sends_the_same_again() -> None:
    one, again, other = [heard(seed, "SCO", "FIL-1", "IDN-3", "LST-6") for seed in (7, 7, 8)]
    for name in ("user_id", "content", "scope", "external_id", "tags"):
        assert one[name] == again[name], name
        assert not one[name] & other[name], name


def test_a_seed_sends_a_check_the_same_whatever_else_is_run() -> None:
    assert heard(7, "SCO-2")["content"] < heard(7, "SCO")["content"]


def test_runs_at_once_over_one_store_do_not_disturb_each_other(store: Path) -> None:
    groups = ("OWN", "SCO", "LST", "SEA", "STA", "DEL", "DUR", "AUD")

    async def both() -> list[Report]:
        return await asyncio.gather(*(run(f"sqlite:///{store}?synchronous=normal", only=groups) for _ in range(2)))

    for report in asyncio.run(both()):
        assert report.exit_code == 0, report.summary()
        assert report.counts["pass"] == len(report.results)
        assert report.left == []
    assert left_in(store) == 0


# --- what is left -----------------------------------------------------------------------------------------------


def test_a_whole_run_leaves_nothing(store: Path) -> None:
    report = conform(f"sqlite:///{store}?synchronous=normal")
    assert (report.exit_code, report.level, report.left) == (0, "full", []), report.summary()
    assert left_in(store) == 0


@pytest.mark.parametrize("colour", ["async", "sync"])
@pytest.mark.parametrize("adds", [1, 9, 40])
def test_a_run_that_is_cancelled_leaves_nothing(
    store: Path, colour: str, adds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, seen, tasks = SqliteAdapter.handle, [0], []

    async def interrupting(self: SqliteAdapter, request: Any) -> Any:
        if type(request) in WRITES[:2] and done[0].startswith(colour):
            seen[0] += 1
            if seen[0] == adds:
                loop.call_soon_threadsafe(tasks[0].cancel)
        return await handle(self, request)

    done = ["async"]

    def watch(progress: Progress) -> None:
        done[0] = "async" if progress.done < progress.of // 2 else "sync"

    async def interrupted() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        tasks.append(asyncio.current_task())
        await run(f"sqlite:///{store}?synchronous=normal", only=["SUP", "BAT", "CONC"], watch=watch)

    loop: Any = None
    monkeypatch.setattr(SqliteAdapter, "handle", interrupting)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert seen[0] >= adds
    assert left_in(store) == 0


SIGNALLED = """
import os, sys
from openmem import ProviderUnavailableError
from openmem._generated.models import AddRequest
from openmem.adapters.sqlite import SqliteAdapter
from openmem.cli import main

handle, seen = SqliteAdapter.handle, []

async def interrupting(self, request):
    answer = await handle(self, request)
    if type(request) is AddRequest:
        seen.append(answer.id)
        if len(seen) == 30:
            os.kill(os.getpid(), int(sys.argv[2]))
    return answer

async def keeping(self, request):
    if sys.argv[3] == "again" and len(seen) >= 30:
        os.kill(os.getpid(), int(sys.argv[2]))
    raise ProviderUnavailableError("not now.")

SqliteAdapter.handle = interrupting
if sys.argv[3]:
    SqliteAdapter.delete_many = keeping
code = main(["conformance", "run", sys.argv[1], "--only", "SUP", "--only", "TIM"])
assert len(seen) >= 30
sys.exit(code)
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_that_leaves_nothing(store: Path, sent: signal.Signals, code: int) -> None:
    process = python(SIGNALLED, f"sqlite:///{store}?synchronous=normal", str(int(sent)), "")
    assert (process.returncode, process.stdout, process.stderr) == (code, "", "")
    assert left_in(store) == 0


@pytest.mark.parametrize("why", ["refused", "again"])
def test_a_signalled_run_tells_what_could_not_be_removed(store: Path, why: str) -> None:
    process = python(SIGNALLED, f"sqlite:///{store}?synchronous=normal&retries=0", str(int(signal.SIGINT)), why)
    assert process.returncode == 130, process.stderr
    assert f"openmem: memories may be left in sqlite:///{store}" in process.stderr
    assert "Traceback" not in process.stderr
    assert left_in(store) > 0


def test_a_failing_check_leaves_nothing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: SqliteAdapter, request: Any) -> Any:
        return models.SearchResponse(results=[])

    monkeypatch.setattr(SqliteAdapter, "search", nothing)
    report = conform(f"sqlite:///{store}?synchronous=normal", "SEA", "SCO")
    assert report.counts["fail"] > 50
    assert (report.left, left_in(store)) == ([], 0)


class Outlives(MemoryAdapter):
    """memory:// of which all clients share the store; nothing can be deleted many at once, or in one state."""

    shared: Any = None
    durable = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if type(self).shared is None:
            type(self).shared = self.store, self.lock
        self.store, self.lock = type(self).shared


def of_alice(adapter: type[Outlives]) -> Memory:
    memory = Memory(adapter())
    memory.add("Drinks tea", "alice", external_id="tea")
    return memory


def test_what_others_have_stays_whatever_a_provider_answers() -> None:
    class ListsEveryone(Outlives):
        async def list(self, request: Any) -> Any:
            page = await super().list(request)
            theirs = (await super().list(models.ListRequest(user_id="alice"))).items
            disguised = [each.model_copy(update={"user_id": request.user_id}) for each in theirs]
            return page.model_copy(update={"items": [*page.items, *disguised]})

    alice = of_alice(ListsEveryone)
    assert conform(ListsEveryone, "LST").counts["fail"] > 0
    assert len(alice.list("alice").items) > 0
    assert all(record.user_id == "alice" for record in ListsEveryone.shared[0].memories.values())


def test_what_could_not_be_removed_is_told() -> None:
    class Keeps(Outlives):
        async def delete(self, request: Any) -> Any:
            raise ProviderUnavailableError("not now.")

        async def delete_many(self, request: Any) -> Any:
            raise ProviderUnavailableError("not now.")

    report = conform(Keeps, "LST-1", options={"retries": 0})
    assert report.exit_code == 0, report.summary()
    assert len(report.left) == len({record.user_id for record in Keeps.shared[0].memories.values()}) > 0
    assert f"memories may be left in Keeps, of {len(report.left)} users, such as conformance-" in report.summary()
    assert report.as_json()["left"] == report.left


def test_a_cancelled_run_tells_what_could_not_be_removed() -> None:
    class Keeps(Outlives):
        async def delete_many(self, request: Any) -> Any:
            raise ProviderUnavailableError("not now.")

    async def interrupted() -> None:
        task = asyncio.current_task()

        def watch(progress: Progress) -> None:
            if progress.done == 1 and task is not None:
                task.cancel()

        await run(Keeps, only=["LST"], options={"retries": 0}, watch=watch)

    with pytest.raises(asyncio.CancelledError) as caught:
        asyncio.run(interrupted())
    left = {record.user_id for record in Keeps.shared[0].memories.values()}
    assert len(left) > 0
    told = "one user" if len(left) == 1 else f"{len(left)} users"
    assert caught.value.__notes__ == [f"memories may be left in Keeps, of {told}, such as {min(left)}"]


STUCK = """
import os, sys, threading, time
from openmem.adapters.memory import MemoryAdapter
from openmem.cli import main

search = MemoryAdapter.search

async def blocks(self, request):
    if sys.argv[3] == "sync" and threading.current_thread() is threading.main_thread():
        return await search(self, request)
    first, second = map(int, sys.argv[2].split())
    os.kill(os.getpid(), first)
    while True:  # again and again: while the first is being handled, another thread gets it, and wakes nobody
        time.sleep(0.05)
        os.kill(os.getpid(), second)

MemoryAdapter.search = blocks
main(["conformance", "run", "memory://", "--only", "SEA-8", "--report", sys.argv[1]])
"""


@pytest.mark.parametrize(("sent", "colour"), [("2 15", "async"), ("15 2", "async"), ("2 15", "sync")])
def test_a_second_signal_ends_a_run_whose_provider_blocks(sent: str, colour: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"level": "full"}')
    process = python(STUCK, str(tmp_path), sent, colour)
    assert process.returncode in {128 + int(each) for each in sent.split()}  # a thread's arrive in either order
    assert process.stderr == "openmem: memories may be left in memory://\n"
    told = json.loads((tmp_path / "report.json").read_text())
    assert (told["level"], told["complete"], told["exit_code"]) == ("none", False, 2)


def test_an_interrupted_run_writes_its_report(tmp_path: Path) -> None:
    async def interrupted() -> None:
        task = asyncio.current_task()

        def watch(progress: Progress) -> None:
            if progress.done == 3 and task is not None:
                task.cancel()

        await run("memory://", only=["LST"], watch=watch, directory=tmp_path)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    told = json.loads((tmp_path / "report.json").read_text())
    assert (len(told["results"]), told["could_not_run"], told["exit_code"]) == (3, "it was interrupted", 2)
    assert {name for each in told["levels"].values() for name in each} == {"not run"}
    assert "| 0 of " in (tmp_path / "matrix.md").read_text()


OUTBURSTS = [SystemExit(0), asyncio.CancelledError("mine"), BaseExceptionGroup("both", [SystemExit(0)])]


@pytest.mark.parametrize("error", OUTBURSTS, ids=repr)
@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_a_provider_that_ends_its_caller_stops_the_run(
    error: BaseException, scheme: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def raises(self: Any, request: Any) -> Any:
        raise error

    url = "memory://" if scheme == "memory" else f"sqlite:///{store}?synchronous=normal"
    monkeypatch.setattr({"memory": MemoryAdapter, "sqlite": SqliteAdapter}[scheme], "search", raises)
    report = conform(url, "LST-8", "SEA-8")
    assert (report.exit_code, report.level, report.left) == (2, "none", [])
    assert f"with SEA-8.found-at-once (async): OutburstError: the provider raised {error!r}" in report.summary()


def test_a_provider_that_exits_while_it_is_made_or_closed_stops_the_run() -> None:
    class Exits(MemoryAdapter):
        def __init__(self, **options: Any) -> None:
            raise SystemExit(0)

    class ExitsLast(MemoryAdapter):
        async def close(self) -> None:
            raise SystemExit(0)

    for adapter in (Exits, ExitsLast):
        report = conform(adapter, "LST-8")
        assert report.exit_code == 2
        assert "SystemExit" in report.could_not_run


EXITS_IN_A_TASK = """
import asyncio, sys
from openmem.adapters.memory import MemoryAdapter
from openmem.cli import main

async def exits():
    raise SystemExit(0)

async def search(self, request):
    await asyncio.create_task(exits())

MemoryAdapter.search = search
sys.exit(main(["conformance", "run", "memory://", "--only", "SEA-8", "--report", sys.argv[1]]))
"""


def test_a_task_of_a_provider_that_exits_stops_the_run(tmp_path: Path) -> None:
    process = python(EXITS_IN_A_TASK, str(tmp_path))
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == "openmem: stopped: a task of the provider raised SystemExit(0)\n"
    told = json.loads((tmp_path / "report.json").read_text())
    assert (told["level"], told["complete"], told["exit_code"]) == ("none", False, 2)


@pytest.mark.parametrize("deletes", ["nothing", "the first 100"])
def test_what_a_delete_did_not_remove_is_told(deletes: str) -> None:
    class Pretends(Outlives):
        async def delete_many(self, request: Any) -> Any:
            least = 100 if deletes == "the first 100" else 0
            found = await super().delete_many(request.model_copy(update={"ids": request.ids[:least] or ["mem_none"]}))
            results = found.results[:least] + [models.BatchResult(id=each) for each in request.ids[least:]]
            return found.model_copy(update={"results": results})

    report = conform(Pretends, "LST-2", "BAT-1")
    assert report.counts["fail"] > 0, report.summary()
    assert sorted(report.left) == sorted({record.user_id for record in Pretends.shared[0].memories.values()}) != []


# --- what is told -----------------------------------------------------------------------------------------------


def test_a_report_says_where_it_comes_from(tmp_path: Path) -> None:
    report = conform("memory://", "LST-8", seed=4711)
    report.write(tmp_path)
    told = json.loads((tmp_path / "report.json").read_text())["header"]
    assert told["seed"] == 4711
    assert (told["suite"], told["spec"]) == ("0.2.0", "0.2")
    assert told["adapter"] == "memory (openmem.adapters.memory.adapter.MemoryAdapter)"
    assert told["adapter_version"] == told["suite"]
    assert told["python"].endswith(sys.version.split()[0])
    assert told["platform"]
    assert told["date"].endswith("+00:00")
    for place in (report.summary(), (tmp_path / "matrix.md").read_text()):
        assert f"seed 4711, {told['date']}" in place
        assert "suite 0.2.0, spec 0.2, adapter memory (" in place


def test_a_run_without_a_seed_tells_the_one_it_took() -> None:
    assert conform("memory://", "LST-8").header.seed != conform("memory://", "LST-8").header.seed


def test_levels_are_counted_with_what_is_declined() -> None:
    report = conform("memory://")
    assert report.level == "standard"
    text = report.summary()
    core, standard, full = (len(each.clauses["proven"]) for each in report.reaches)
    assert f"core: {core} of {core} clauses proven\n" in text
    assert f"standard: {standard} of {standard} clauses proven\n" in text
    declined = [check.clause for check in CHECKS if "durable" in check.requires]
    assert f"full: {full} of {len(CLAUSES)} clauses proven, {len({*declined})} declined (" in text
    assert {*report.as_json()["levels"]["full"]["declined"]} == {*declined}


class Dies(MemoryAdapter):
    """Answers so many requests, and none afterwards."""

    answers = 0

    async def handle(self, request: Any) -> Any:
        type(self).answers -= 1
        if type(self).answers < 0:
            raise ProviderUnavailableError("gone.") from ConnectionError("reset by peer")
        return await super().handle(request)


def test_a_run_stops_where_the_provider_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dies, "answers", 60)
    report = conform(Dies, options={"retries": 0})
    assert (report.exit_code, report.complete, report.level) == (2, False, "none")
    assert report.planned == 2 * len(CHECKS) > len(report.results) > 1
    assert [each.outcome == "error" for each in report.results] == [False] * (len(report.results) - 1) + [True]
    last = report.results[-1]
    where = f"Dies: stopped after {len(report.results)} of {report.planned} results, with {last.check} (async): gone."
    assert report.summary().startswith(where)
    for said in (
        "ConnectionError('reset by peer')",
        f"{len(report.results) - 1} pass, 1 error",
        "memories may be left",
    ):
        assert said in report.summary()
    report.write(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["planned"] == report.planned
    for file in ("junit.xml", "matrix.md"):
        assert "stopped after" in (tmp_path / file).read_text()


def test_a_run_goes_on_where_the_provider_fails_and_answers() -> None:
    class Fails(MemoryAdapter):
        async def search(self, request: Any) -> Any:
            raise ProviderUnavailableError("no search today.")

    report = conform(Fails, "SEA-8", "LST-8", "SEA-12", options={"retries": 0})
    assert (report.exit_code, report.complete) == (1, True)
    assert report.counts["error"] > 0
    assert {each.outcome for each in report.results if each.clause == "LST-8"} == {"pass"}
    assert len(report.results) == report.planned


class Wordy(MemoryAdapter):
    async def list(self, request: Any) -> Any:
        page = await super().list(request)
        return page.model_copy(update={"items": [each.model_copy(update={"kind": "k" * 5000}) for each in page.items]})


def test_a_failing_check_says_its_clause_and_what_was_due_and_came(tmp_path: Path) -> None:
    report = conform(Wordy, "OWN-2", "CON-6")
    assert report.exit_code == 1
    due = {each.check: each.expected for each in report.results if each.outcome == "fail"}
    assert due["CON-6.keeps-every-field-together"] == "every supported field comes back together"
    text = report.summary()
    assert "fail         CON-6.keeps-every-field-together (async" in text
    assert f"CON-6: {CLAUSES['CON-6']}" in text
    assert "got: list answers " in text
    assert max(map(len, text.splitlines())) < 600
    report.write(tmp_path)
    results = report.as_json()["results"]
    assert max(len(each["message"]) for each in results) < 1100
    texts = {(each["outcome"], each["clause_text"]) for each in results if each["clause"] == "CON-6"}
    assert texts == {("fail", CLAUSES["CON-6"])}
    assert CLAUSES["CON-6"] in (tmp_path / "junit.xml").read_text()


def test_missing_records_are_told_apart_from_those_that_came() -> None:
    class Forgets(MemoryAdapter):
        async def list(self, request: Any) -> Any:
            page = await super().list(request)
            return page.model_copy(update={"items": page.items[1:]})

    report = conform(Forgets, "SCO-2")
    results = report.results
    assert {each.outcome for each in results} == {"fail"}
    assert all(each.expected.count("'") == each.got.count("'") + 2 for each in results), results[0]
    assert report.summary().count("    got: ") == 1, "both clients say the same"


def test_records_of_one_content_are_told_apart() -> None:
    class OldestFirst(MemoryAdapter):
        async def search(self, request: Any) -> Any:
            found = await super().search(request)
            return found.model_copy(update={"results": found.results[::-1]})

    told = conform(OldestFirst, "SEA-1.ties-are-newest-first").results[0]
    assert told.expected != told.got
    assert "(6 of 6 alike)" in told.expected


def test_a_watcher_is_told_how_far_a_run_is() -> None:
    told: list[Progress] = []
    report = conform(Wordy, "CON-6", "LST-8", watch=told.append)
    assert [each.done for each in told] == list(range(len(report.results)))
    assert {each.of for each in told} == {len(report.results)}
    assert [each.group for each in told] == [each.clause.partition("-")[0] for each in report.results]
    assert told[-1].failed == 4
    assert {each.target for each in told} == {"Wordy"}


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("make", [Screen, io.StringIO])
def test_progress_is_shown_to_a_person_only(
    make: Callable[[], io.StringIO], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stderr = make()
    monkeypatch.setattr(sys, "stderr", stderr)
    assert main(["conformance", "run", "memory://", "--only", "LST-8", "--seed", "5", "--json"]) == 0
    shown = stderr.getvalue()
    assert ("memory://: LST, 1 of 2, 0 failed" in shown) == (make is Screen)
    assert shown.endswith("\r\x1b[K") if make is Screen else shown == ""
    assert json.loads(capsys.readouterr().out)[0]["header"]["seed"] == 5


def test_a_seed_is_a_number() -> None:
    assert main(["conformance", "run", "memory://", "--seed", "-1"]) == 2
