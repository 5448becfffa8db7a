"""wait_for_ingest: polls a queued provider, and is nothing on the others."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import (
    AsyncMemory,
    CapabilityFeatures,
    ClosedError,
    IngestionTimeoutError,
    Memory,
    NotFoundError,
    ProviderError,
)
from support.processes import run
from support.scripted import Remote, record

QUEUED = CapabilityFeatures(ingestion="queued")


class Queue:
    """Answers each id with the states told, one a look, the last for ever."""

    def __init__(self, **states: list[str]) -> None:
        self.states = states

    def __call__(self, request: Any) -> Any:
        if request.id not in self.states:
            raise NotFoundError(f"there is no memory {request.id}.")
        states = self.states[request.id]
        return record(request.id, status=states.pop(0) if len(states) > 1 else states[0])


def queued(**states: list[str]) -> Memory:
    return Memory(Remote(QUEUED, get=Queue(**states)))


def test_it_ends_when_every_id_is_done(naps: list[float]) -> None:
    adapter = Remote(QUEUED, get=Queue(a=["queued", "indexing", "done"], b=["done"], c=["queued", "done"]))
    Memory(adapter).wait_for_ingest(["a", "b", "c"])
    looks = [request.id for request in adapter.reached]
    assert looks == ["a", "b", "c", "a", "c", "a"]
    assert len(naps) == 2
    assert naps == sorted(naps)


def test_it_bears_the_user(naps: list[float]) -> None:
    adapter = Remote(QUEUED, get=Queue(a=["done"]))
    Memory(adapter).wait_for_ingest(["a"], "u")
    assert [request.user_id for request in adapter.reached] == ["u"]


def test_a_memory_that_could_not_be_stored(naps: list[float]) -> None:
    with pytest.raises(ProviderError, match="failed to store a") as caught:
        queued(a=["queued", "failed"], b=["done"]).wait_for_ingest(["a", "b"])
    assert (caught.value.provider, bool(caught.value.request_id)) == ("remote", True)


def test_a_deadline_that_passes_names_who_is_waited_for(naps: list[float]) -> None:
    with pytest.raises(IngestionTimeoutError, match="a, c") as caught:
        queued(a=["queued"], b=["done"], c=["indexing"]).wait_for_ingest(["a", "b", "c"], timeout=0)
    assert (caught.value.provider, bool(caught.value.request_id)) == ("remote", True)
    assert naps == []


def test_an_unknown_id_is_not_found(naps: list[float]) -> None:
    with pytest.raises(NotFoundError):
        queued().wait_for_ingest(["a"])


def test_a_provider_that_stores_at_once_is_not_asked() -> None:
    adapter = Remote(CapabilityFeatures(ingestion="sync"), get=Queue())
    Memory(adapter).wait_for_ingest(["a"])
    assert adapter.reached == []


@pytest.mark.parametrize("url", ["memory://", None])
def test_a_closed_client_does_not_wait(url: str | None) -> None:
    memory = Memory(url, embedder="none") if url else queued(a=["queued"])
    memory.close()
    with pytest.raises(ClosedError):
        memory.wait_for_ingest(["a"])


def test_an_async_client_waits_in_its_own_loop_only(naps: list[float]) -> None:
    memory = AsyncMemory(Remote(QUEUED, get=Queue(a=["queued", "done"])))

    async def work() -> None:
        await memory.wait_for_ingest(["a"])

    run(work)
    with pytest.raises(ClosedError, match="another event loop"):
        run(work)
