"""The bridge: one coroutine, whoever calls it: threads, running loops, children of fork, and callers who give up."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, ClosedError, Memory, ProviderError
from openmem.runtime import bridge
from support.processes import python, run
from support.scripted import Remote, Scripted, record

THREADS = 8


async def _suspend(answer: Any) -> Any:
    await asyncio.sleep(0)
    return answer


def _remote(**verbs: Any) -> Remote:
    verbs.setdefault("get", lambda request: _suspend(record(request.id, content=f"of {request.id}")))
    return Remote(**verbs)


@pytest.fixture(params=["memory", "sqlite", "remote"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    urls: dict[str, Any] = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/m.db"}
    with Memory(urls.get(request.param) or _stored(), embedder="none") as opened:
        yield opened


def _stored() -> Remote:
    """An adapter that suspends in every verb, over a dictionary."""
    kept: dict[str, Any] = {}

    def add(request: Any) -> Any:
        kept[str(len(kept))] = record(str(len(kept)), content=request.content, user_id=request.user_id)
        return _suspend(kept[str(len(kept) - 1)])

    return Remote(add=add, get=lambda request: _suspend(kept[request.id]))


def test_many_threads_share_one_memory(memory: Memory) -> None:
    start = threading.Barrier(THREADS)

    def work(thread: int) -> list[tuple[str, str]]:
        start.wait()
        texts = [f"text {thread} {number}" for number in range(20)]
        return [(memory.add(text, f"user {thread}").id, text) for text in texts]

    with ThreadPoolExecutor(THREADS) as pool:
        added = [pair for pairs in pool.map(work, range(THREADS)) for pair in pairs]
    assert len({memory_id for memory_id, _ in added}) == 20 * THREADS
    assert [memory.get(memory_id).content for memory_id, _ in added] == [text for _, text in added]


def test_memory_works_inside_a_running_loop(memory: Memory) -> None:
    async def notebook() -> str:
        added = memory.add("in a notebook", "u")
        return memory.get(added.id).content

    assert run(notebook) == "in a notebook"


def test_memory_opens_once_for_many_threads() -> None:
    adapter = _remote()
    memory, start = Memory(adapter), threading.Barrier(THREADS)

    def work(number: int) -> str:
        start.wait()
        return memory.get(str(number)).content

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(work, range(THREADS))) == [f"of {number}" for number in range(THREADS)]
    memory.close()
    assert (adapter.opened, adapter.closed) == (1, 1)


def test_suspending_adapters_share_one_private_loop() -> None:
    seen = set()

    def get(request: Any) -> Any:
        seen.add((threading.current_thread(), asyncio.get_running_loop()))
        return _suspend(record(request.id))

    for _ in range(2):
        with Memory(_remote(get=get)) as memory:
            memory.get("a")
    ((thread, _),) = seen
    assert thread is not threading.current_thread()
    assert thread.daemon


def test_an_inline_adapter_runs_in_the_calling_thread() -> None:
    seen = []

    def get(request: Any) -> Any:
        seen.append(threading.current_thread())
        return record(request.id)

    Memory(Scripted(get=get)).get("a")
    assert seen == [threading.current_thread()]


def test_an_adapter_that_says_inline_but_suspends_is_found_out() -> None:
    with pytest.raises(RuntimeError, match="inline=False"):
        Memory(Scripted(get=lambda request: _suspend(record()))).get("a")


def test_a_call_from_the_private_loop_is_refused_rather_than_deadlocked() -> None:
    inner = Memory(_remote())

    async def get(request: Any) -> Any:
        return inner.get(request.id)

    with pytest.raises(ProviderError) as caught:
        Memory(_remote(get=get)).get("a")
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "AsyncMemory" in str(caught.value.__cause__)


def test_concurrent_calls_overlap_on_the_private_loop() -> None:
    both = asyncio.Event()
    arrived: list[str] = []

    async def get(request: Any) -> Any:
        arrived.append(request.id)
        if len(arrived) == 2:
            both.set()
        await both.wait()
        return record(request.id)

    with Memory(_remote(get=get), timeout=60) as memory, ThreadPoolExecutor(2) as pool:
        assert {found.id for found in pool.map(memory.get, ["a", "b"])} == {"a", "b"}


# --- closing ----------------------------------------------------------------------------------------------------


def test_closing_twice_is_harmless_and_use_after_close_is_refused(memory: Memory) -> None:
    memory.add("x", "u")
    memory.close()
    memory.close()
    for call in (lambda: memory.add("y", "u"), lambda: memory.for_user("u").get("a"), memory.capabilities):
        with pytest.raises(ClosedError, match="closed"):
            call()


def test_close_without_use_closes_the_adapter_and_opens_nothing() -> None:
    adapter = _remote()
    Memory(adapter).close()
    assert (adapter.opened, adapter.closed) == (0, 1)


def test_async_close_twice_and_use_after_close() -> None:
    adapter = _remote()

    async def work() -> None:
        async with AsyncMemory(adapter) as memory:
            await memory.get("a")
            await memory.close()
        with pytest.raises(ClosedError):
            await memory.get("a")
        with pytest.raises(ClosedError):
            await memory.for_user("u").get("a")

    run(work)
    assert adapter.closed == 1


# --- processes --------------------------------------------------------------------------------------------------

SLOW = """
import asyncio, os, signal, sys, threading, warnings
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background hands down that it is ignored
sys.path.insert(0, {tests!r})
from support.scripted import Remote, record
from openmem import Memory
cancelled = threading.Event()
async def get(request):
    await asyncio.sleep(0)
    if request.id == "slow":
        print("ready", flush=True)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
    return record(request.id)
memory = Memory(Remote(get=get), timeout=1000)
"""
TESTS = str(Path(__file__).parents[1])


def _script(body: str) -> str:
    return SLOW.format(tests=TESTS) + body


def test_an_interrupt_cancels_the_call() -> None:
    script = _script(
        "try:\n    memory.get('slow')\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', cancelled.wait(60), memory.get('quick').id, flush=True)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (out, err, process.returncode) == ("interrupted True quick\n", "", 0)


@pytest.mark.parametrize("use", ["memory.get('a')", "memory.get('a'); memory.close()", "Memory(Remote(get=get))"])
def test_the_interpreter_ends_though_nothing_was_closed(use: str) -> None:
    done = python(_script(f"{use}\nprint('end')\n"))
    assert (done.stdout, done.stderr, done.returncode) == ("end\n", "", 0)


HANGING = """
import contextlib
from concurrent.futures import CancelledError
started = threading.Event()
async def hang(request):
    started.set()
    await asyncio.Event().wait()
def call():
    with contextlib.suppress(CancelledError):
        Memory(Remote(get=hang), timeout=1000).get("a")
threading.Thread(target=call, daemon=True).start()
print(started.wait(60))
"""


def test_the_interpreter_ends_though_a_call_hangs() -> None:
    done = python(_script(HANGING))
    assert (done.stdout, done.returncode) == ("True\n", 0)


FORK = """
{setup}
warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of fork beside threads: what is tested here
assert {call}
child = os.fork()
if child == 0:
    answer = {call}
    print("child", bool(answer), flush=True)
    memory.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert {call}
memory.close()
print("parent")
"""
FORKED = {
    "suspending": ("", "memory.get('a').id == 'a'"),
    "memory": ("memory = Memory('memory://', embedder='test'); memory.add('x', 'u')", "memory.search('x', 'u')"),
    "sqlite": ("memory = Memory('sqlite:///f.db', embedder='test')", "memory.add('x', 'u').id"),
}


@pytest.mark.parametrize("backend", list(FORKED))
def test_a_child_of_fork_works_and_its_parent_goes_on(backend: str, tmp_path: Path) -> None:
    setup, call = FORKED[backend]
    done = python(_script(FORK.format(setup=setup, call=call)), cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("child True\nparent\n", "", 0)


def test_a_child_of_fork_has_connections_of_its_own(postgres_url: str, tmp_path: Path) -> None:
    setup = f"memory = Memory({postgres_url!r}, embedder='test')"
    done = python(_script(FORK.format(setup=setup, call="memory.add('x', 'u').id")), cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("child True\nparent\n", "", 0)


TWINS = """
warnings.simplefilter("ignore", DeprecationWarning)
memory = Memory("memory://", embedder="none")
memory.add("x", "u")
child = os.fork()
ids = [memory.add("x", "u").id[-10:] for _ in range(3)]
if child:
    os.waitpid(child, 0)
print(*ids, flush=True)
if not child:
    os._exit(0)
"""


def test_parent_and_child_of_fork_draw_ids_of_their_own() -> None:
    done = python(_script(TWINS))
    drawn = done.stdout.split()
    assert (len(drawn), len(set(drawn)), done.stderr) == (6, 6, "")


# --- the async client -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: "memory://", _remote], ids=["inline", "suspending"])
def test_an_async_memory_belongs_to_its_first_loop(make: Callable[[], Any]) -> None:
    memory = AsyncMemory(make(), embedder="none")

    async def use() -> Any:
        return await memory.capabilities()

    assert run(use).verbs
    with pytest.raises(ClosedError, match="another event loop"):
        run(use)


def test_cancelling_one_of_many_calls_leaves_nothing_behind() -> None:
    ended: list[str] = []

    async def work() -> None:
        release, waiting = asyncio.Event(), asyncio.Semaphore(0)

        async def get(request: Any) -> Any:
            waiting.release()
            try:
                await release.wait()
            finally:
                ended.append(request.id)
            return record(request.id)

        async with AsyncMemory(_remote(get=get)) as memory:
            calls = [asyncio.create_task(memory.get(str(number))) for number in range(10)]
            for _ in calls:
                await waiting.acquire()
            calls[3].cancel()
            with pytest.raises(asyncio.CancelledError):
                await calls[3]
            assert ended == ["3"]
            release.set()
            found = await asyncio.gather(*calls[:3], *calls[4:])
            assert [each.id for each in found] == ["0", "1", "2", "4", "5", "6", "7", "8", "9"]
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(work)


def test_cancelling_the_call_that_opens_lets_another_open() -> None:
    opened: list[str] = []

    class Opening(Remote):
        async def open(self) -> None:
            opened.append("begun")
            entered.set()
            await release.wait()
            opened.append("done")

    async def work() -> None:
        async with AsyncMemory(Opening(get=lambda request: record(request.id))) as memory:
            first, *others = [asyncio.create_task(memory.get(str(number))) for number in range(4)]
            await entered.wait()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            release.set()
            assert [each.id for each in await asyncio.gather(*others)] == ["1", "2", "3"]

    entered, release = asyncio.Event(), asyncio.Event()
    run(work)
    assert opened == ["begun", "begun", "done"]


def test_async_sqlite_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "m.db"

    async def work() -> None:
        async with AsyncMemory(f"sqlite:///{path}", embedder="none") as memory:
            await memory.add("first", "u")
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")  # nobody else writes until this loop gets to the rollback
            writing = asyncio.create_task(memory.add("second", "u"))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not writing.done()
            assert [each.content for each in (await memory.list("u")).items] == ["first"]
            other.execute("ROLLBACK")
            other.close()
            assert (await writing).content == "second"

    run(work)


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_many_tasks_share_one_async_memory(backend: str, tmp_path: Path) -> None:
    url = "memory://" if backend == "memory" else f"sqlite:///{tmp_path}/m.db"

    async def work() -> list[str]:
        async with AsyncMemory(url, embedder="test:16") as memory:
            added = await asyncio.gather(*(memory.add(f"text {number}", "u") for number in range(30)))
            page = await memory.list("u", limit=100)
            assert {each.id for each in added} == {each.id for each in page.items}
            return [each.content for each in added]

    assert run(work) == [f"text {number}" for number in range(30)]


# --- the parts --------------------------------------------------------------------------------------------------


def test_a_set_up_that_failed_is_tried_again() -> None:
    attempts = []

    class Failing(Scripted):
        async def open(self) -> None:
            attempts.append(1)
            if len(attempts) == 1:
                raise OSError("not yet")

    memory = Memory(Failing(get=lambda request: record(request.id)))
    with pytest.raises(ProviderError):
        memory.get("a")
    assert (memory.get("a").id, memory.get("b").id, len(attempts)) == ("a", "b", 2)


def test_offload_leaves_the_thread_only_under_a_loop() -> None:
    async def where() -> threading.Thread:
        return await bridge.offload(threading.current_thread)

    assert bridge.run(where(), inline=True) is threading.current_thread()
    assert run(where) is not threading.current_thread()


def test_a_loop_thread_closes_and_starts_anew() -> None:
    threads = bridge.LoopThread()

    async def where() -> threading.Thread:
        return threading.current_thread()

    threads.close()
    first = threads.run(where())
    threads.close()
    assert not first.is_alive()
    second = threads.run(where())
    assert second is not first
    threads.close()
    threads.close()


def test_an_async_client_closes_in_another_loop_than_its_own() -> None:
    adapter = Remote(get=lambda request: record())
    memory = AsyncMemory(adapter)
    asyncio.run(memory.get("m1"))  # type: ignore[arg-type]
    asyncio.run(memory.close())
    assert adapter.closed == 1

    class Bound(Remote):
        async def close(self) -> None:
            raise RuntimeError("attached to a different loop")

    memory = AsyncMemory(Bound(get=lambda request: record()))
    asyncio.run(memory.get("m1"))  # type: ignore[arg-type]
    with pytest.raises(ClosedError, match="has ended"):
        asyncio.run(memory.close())
    asyncio.run(memory.close())


class Ending(Scripted):
    """Ends the process, as a library may that thinks it is alone."""

    name, inline = "ending", False


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
def test_a_call_that_would_end_the_process_ends_for_its_caller_alone(ending: type[BaseException]) -> None:
    def end(request: Any) -> Any:
        raise ending

    other = Memory(Remote(get=lambda request: record()))
    with pytest.raises(ending):
        Memory(Ending(get=end)).get("m1")
    assert other.get("m1").id == "m1"
    other.close()


def test_a_thread_that_does_not_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = bridge.LoopThread()

    async def work() -> int:
        return 7

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("no more threads")))
        coroutine = work()
        with pytest.raises(RuntimeError, match="no more threads"):
            thread.run(coroutine)
        coroutine.close()
    assert thread.run(work()) == 7
    thread.close()


def test_a_client_within_an_adapter_does_not_pass_on_how_it_is_called() -> None:
    inner = Memory(Remote(get=lambda request: record()))
    outer = Memory(Scripted(get=lambda request: inner.get("m1")))
    with ThreadPoolExecutor(2) as threads:
        assert [each.id for each in threads.map(lambda _: outer.get("m1"), range(20))] == ["m1"] * 20


def test_one_set_up_for_threads_and_loops_together() -> None:
    once, begun, most = bridge.Once(), [0], [0, 0]

    async def set_up() -> None:
        most[0] += 1
        begun[0] += 1
        most[1] = max(most)
        await bridge.offload(threading.Event().wait, 0.05)
        most[0] -= 1

    def ask(number: int) -> None:
        bridge.step(once.run(set_up)) if number % 2 else asyncio.run(once.run(set_up))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(ask, range(6)))
    assert (begun, most[1], once.done) == ([1], 1, True)


STUBBORN = """
import asyncio, time
from openmem import Adapter, Memory
from openmem._generated.models import CapabilityFeatures

class Stubborn(Adapter):
    name = "stubborn"
    async def open(self):
        self.worker = asyncio.ensure_future(self.work())
    async def work(self):
        for _ in range(3):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
    async def stats(self, request):
        from openmem._generated.models import Stats
        return Stats(user_id=request.user_id, total=0, current=0)

memory = Memory(Stubborn())
memory.stats("u")
print("done", flush=True)
"""


def test_a_task_that_takes_a_cancellation_for_something_else_does_not_hold_up_the_exit() -> None:
    done = python(STUBBORN)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("done", "", 0)


def test_a_set_up_within_itself_is_refused_and_not_waited_for() -> None:
    once, told = bridge.Once(), list[str]()

    async def again() -> None:
        raise AssertionError

    async def set_up() -> None:
        with pytest.raises(RuntimeError, match="in the midst") as caught:
            bridge.step(once.run(again))
        told.append(str(caught.value))

    bridge.step(once.run(set_up))
    assert (once.done, len(told)) == (True, 1)


AT_EXIT = """
import atexit, sys
from openmem import Memory
memory = Memory(sys.argv[1], embedder="test:16")
memory.add("tea", "u")
atexit.register(lambda: (memory.add("coffee", "u"), memory.close(), print("closed", flush=True)))
"""


@pytest.mark.parametrize("engine", ["sqlite", "qdrant+local", "qdrant+edge"])
def test_a_client_is_of_use_at_exit(engine: str, tmp_path: Path) -> None:
    url = f"{engine}:///{tmp_path / 'store'}"
    done = python(AT_EXIT, url)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("closed", "", 0)
    with Memory(url, embedder="test:16") as memory:
        assert memory.stats("u").total == 2
