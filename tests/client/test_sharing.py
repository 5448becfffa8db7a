"""Two clients of one adapter: each has its own say, and the adapter is there for as long as one of them is."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, ClosedError, ConfigurationError, Memory, ProviderUnavailableError
from openmem.adapters.memory import MemoryAdapter
from openmem.embedding import info
from openmem.embedding.testing import WordEmbedder
from openmem.runtime.calls import services
from openmem.types import GetRequest
from support.processes import python, run
from support.scripted import EMBEDDING, Remote, Scripted, record


def lent(request: GetRequest) -> Any:
    """Answer with what the client that calls lends."""
    return record(request.id, metadata={"retries": services().retries, "embeds": services().embed is not None})


def test_clients_of_one_adapter_have_the_same_embedder_or_none() -> None:
    adapter = Scripted()
    first, without = Memory(adapter, embedder="test:16"), Memory(adapter)
    second = Memory(adapter, embedder=WordEmbedder(dimension=16))
    with pytest.raises(ConfigurationError, match=r"has the embedder test-words-16 \(16 dimensions\), not test-words-8"):
        Memory(adapter, embedder="test:8")
    first.close()
    with pytest.raises(ConfigurationError, match="has the embedder test-words-16"):
        Memory(adapter, embedder="test:8")
    second.close()
    Memory(adapter, embedder="test:8").close()
    without.close()


def test_a_client_that_is_no_longer_there_binds_nobody() -> None:
    adapter = Scripted()
    client = Memory(adapter, embedder="test:16")
    del client
    gc.collect()
    Memory(adapter, embedder="test:8").close()
    assert adapter.closed == 1


def test_a_client_has_the_embedder_its_adapter_was_made_for() -> None:
    adapter = MemoryAdapter(embedding=info(WordEmbedder(dimension=16)))
    with Memory(adapter), Memory(adapter, embedder="test:16") as memory:
        memory.add("green tea", "u")
        with pytest.raises(ConfigurationError, match="has the embedder test-words-16"):
            Memory(adapter, embedder="test:8")


def test_each_client_lends_its_own() -> None:
    adapter = Scripted(get=lent)
    with Memory(adapter, embedder="test:16", retries=7) as first, Memory(adapter, retries=1) as second:
        assert first.get("a").metadata == {"retries": 7, "embeds": True}
        assert second.get("a").metadata == {"retries": 1, "embeds": False}
        with pytest.raises(ConfigurationError):
            Memory(adapter, embedder="test:8", retries=3)
        assert first.get("a").metadata == {"retries": 7, "embeds": True}
    assert lent(GetRequest(id="a")).metadata == {"retries": 0, "embeds": False}  # by itself


def test_retries_are_those_of_the_client_that_calls(naps: list[float]) -> None:
    def away(request: GetRequest) -> Any:
        raise ProviderUnavailableError("away.", written="nothing")

    adapter = Remote(get=away)
    with Memory(adapter, retries=3) as first, Memory(adapter, retries=0) as second:
        for memory, attempts in ((first, 4), (second, 1)):
            before = len(adapter.reached)
            with pytest.raises(ProviderUnavailableError):
                memory.get("a")
            assert len(adapter.reached) - before == attempts


def test_the_adapter_is_closed_with_its_last_client() -> None:
    adapter = MemoryAdapter(embedding=EMBEDDING)
    first, second = Memory(adapter, embedder="test:16"), Memory(adapter, embedder="test:16")
    made = first.add("green tea", "u")
    first.close()
    first.close()
    with pytest.raises(ClosedError):
        first.get(made.id)
    assert second.search("tea", "u")[0].memory == made
    second.close()
    assert (first.closed, second.closed) == (True, True)


def test_a_failure_to_close_is_that_of_the_last() -> None:
    class Broken(Scripted):
        async def close(self) -> None:
            raise ClosedError("the disk is full.")

    adapter = Broken()
    first, second = Memory(adapter), Memory(adapter)
    first.close()
    with pytest.raises(ClosedError, match="the disk is full"):
        second.close()


def test_an_adapter_in_an_event_loop_is_not_shared_by_clients_of_both_colours() -> None:
    remote = Remote(get=lent)
    with Memory(remote) as memory:
        with pytest.raises(ConfigurationError, match="used by a client of the other colour"):
            AsyncMemory(remote)
        assert memory.get("a").id == "a"

    async def both() -> None:
        adapter = Scripted(get=lent)  # which is in no loop
        async with AsyncMemory(adapter) as memory:
            with Memory(adapter) as other:
                assert (await memory.get("a")).id == other.get("a").id

    run(both)


def test_a_client_that_is_dropped_has_no_part_any_more_at_once() -> None:
    gc.disable()  # nothing waits for the collector
    try:
        adapter = Remote(get=lent)
        dropped = Memory(adapter, embedder="test:16")
        del dropped

        async def use() -> None:
            async with AsyncMemory(adapter, embedder="test:8") as memory:
                assert (await memory.get("a")).id == "a"

        run(use)
        assert adapter.closed == 1
    finally:
        gc.enable()


CLOSED_BY_FINALIZERS = """
import faulthandler, gc
from openmem import Memory
from openmem.adapters.memory import MemoryAdapter
faulthandler.dump_traceback_later(60, exit=True)  # a deadlock
class App:
    def __init__(self):
        self.memory, self.me = Memory(shared), self
    def __del__(self):
        self.memory.close()
gc.set_threshold(1)
shared = MemoryAdapter()
with Memory(shared) as memory:
    for _ in range(200):
        App()
    memory.add("x", "u")
    print(len(memory.list("u").items))
"""


def test_a_finalizer_may_close_a_client_in_the_midst_of_anything() -> None:
    done = python(CLOSED_BY_FINALIZERS)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


def test_equal_adapters_are_two() -> None:
    class Equal(Scripted):
        def __eq__(self, other: object) -> bool:  # and so cannot be hashed
            return isinstance(other, Equal)

    one, other = Equal(get=lent), Equal(get=lent)
    with Memory(one, embedder="test:16"), Memory(other, embedder="test:8"):
        pass
    assert (one.closed, other.closed) == (1, 1)


def test_an_adapter_in_an_event_loop_is_used_in_one_alone() -> None:
    adapter = Remote(get=lent)
    clients = [AsyncMemory(adapter)]

    async def use(client: AsyncMemory) -> None:
        assert (await client.get("a")).id == "a"

    run(lambda: use(clients[0]))
    second = AsyncMemory(adapter)
    with pytest.raises(ClosedError, match="used in another event loop") as caught:
        run(lambda: use(second))
    assert "an adapter of its own" in caught.value.remedy
    clients.clear()
    run(lambda: use(second))


def test_the_adapter_is_there_until_the_calls_of_every_client_have_ended() -> None:
    seen: list[str] = []

    class Slow(Remote):
        async def close(self) -> None:
            seen.append("closed")

    async def main() -> None:
        began, may_end = asyncio.Event(), asyncio.Event()

        async def get(request: GetRequest) -> Any:
            began.set()
            while not may_end.is_set():
                with suppress(asyncio.CancelledError):
                    await may_end.wait()
            seen.append("answered late")
            return record(request.id)

        adapter = Slow(get=get)
        first, second = AsyncMemory(adapter, timeout=0.01), AsyncMemory(adapter)
        with pytest.raises(ProviderUnavailableError):
            await first.get("a")
        closing = asyncio.ensure_future(first.close())
        await asyncio.sleep(0)
        await second.close()
        may_end.set()
        await closing

    run(main)
    assert seen == ["answered late", "closed"]


def test_a_close_that_was_cancelled_is_gone_on_with() -> None:
    began = asyncio.Event()

    class Hesitant(Remote):
        tries = 0

        async def close(self) -> None:
            self.tries += 1
            if self.tries == 1:
                began.set()
                await asyncio.Event().wait()
            await super().close()

    async def main() -> None:
        adapter = Hesitant(get=lent)
        memory = AsyncMemory(adapter)
        await memory.get("a")
        closing = asyncio.ensure_future(memory.close())
        await began.wait()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert (memory.closed, adapter.closed) == (True, 0)
        with pytest.raises(ClosedError):
            await memory.get("a")
        await memory.close()
        await memory.close()
        assert (adapter.tries, adapter.closed) == (2, 1)

    run(main)


def test_two_who_close_at_once_both_find_it_closed() -> None:
    async def main() -> None:
        adapter = Remote(get=lent)
        memory = AsyncMemory(adapter)
        await memory.get("a")
        await asyncio.gather(memory.close(), memory.close(), memory.close())
        assert adapter.closed == 1

    run(main)


ENDS = """
from openmem import Memory
from support.scripted import Remote, record
class App:
    def __init__(self):
        self.memory = Memory(Remote(get=lambda request: record(request.id)))
    def __del__(self):
        self.memory.close()
        try:
            self.memory.get("a")
        except Exception as error:
            print(type(error).__name__, flush=True)
app = App()
print(app.memory.get("a").id, flush=True)
"""


def test_python_ends_where_a_finalizer_closes_a_client_at_exit() -> None:
    done = python(ENDS, cwd=Path(__file__).parents[1], timeout=60)
    assert (done.stdout.split(), done.stderr, done.returncode) == (["a", "RuntimeError"], "", 0)


REFUSED_MEANWHILE = """
import sys, threading
from openmem import AsyncMemory, ConfigurationError, Memory
from support.scripted import Remote
sys.setswitchinterval(1e-6)
closed = []
for _ in range(150):
    adapter = Remote()
    memory = Memory(adapter)
    def refused():
        for _ in range(5):
            try:
                AsyncMemory(adapter)
            except ConfigurationError:
                pass
    thread = threading.Thread(target=refused)
    thread.start()
    memory.close()
    thread.join()
    closed.append(adapter.closed)
print(set(closed))
"""


def test_a_client_that_is_refused_meanwhile_keeps_no_adapter_open() -> None:
    done = python(REFUSED_MEANWHILE, cwd=Path(__file__).parents[1])
    assert (done.stdout, done.returncode) == ("{1}\n", 0), done.stderr
