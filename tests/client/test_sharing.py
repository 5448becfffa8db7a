"""Two clients of one adapter: each has its own say, and the adapter is there for as long as one of them is."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from openmem import AsyncMemory, ClosedError, ConfigurationError, Memory, ProviderUnavailableError
from openmem.adapters.memory import MemoryAdapter
from openmem.embedding import info
from openmem.embedding.testing import WordEmbedder
from openmem.runtime.calls import services
from openmem.types import GetRequest
from support.processes import run
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
