"""Health: the state of the backend, in less than a second whatever that does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from openmem import AsyncMemory, InvalidRequestError, Memory, ProviderUnavailableError, UnauthorizedError
from openmem._generated import models
from openmem.layers import health
from openmem.protocol.envelopes import encode_error
from openmem.types import Health, ListRequest
from support.scripted import Remote, Scripted, record

WELL = Health(status="ok", engine="Engine 1")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.05)


class Stuck:
    """Answers only once it is let go, whether a thread waits or a task."""

    def __init__(self, *, blocks: bool) -> None:
        self.go, self.blocks = threading.Event(), blocks
        self.calls = 0

    async def __call__(self, request: Any = None) -> Any:
        self.calls += 1
        if self.blocks:
            self.go.wait()
        else:
            await asyncio.to_thread(self.go.wait)
        return WELL


@pytest.mark.parametrize("adapter", [Scripted, Remote])
def test_it_tells_what_the_adapter_says_and_how_long_it_took(adapter: type[Scripted]) -> None:
    with Memory(adapter(health=lambda request: WELL)) as memory:
        told = memory.health()
    assert (told.status, told.provider, told.engine) == ("ok", adapter.name, "Engine 1")
    assert told.latency_ms is not None
    assert WELL.latency_ms is None


@pytest.mark.parametrize(("adapter", "blocks"), [(Scripted, True), (Remote, False)])
def test_a_backend_that_does_not_answer_is_told_of(adapter: type[Scripted], blocks: bool) -> None:
    stuck = Stuck(blocks=blocks)
    with Memory(adapter(health=stuck, get=lambda request: record())) as memory:
        with pytest.raises(ProviderUnavailableError, match="gave no answer within") as caught:
            memory.health()
        error = caught.value
        assert (error.written, error.provider, encode_error(error).status) == ("nothing", adapter.name, 503)
        assert error.remedy
        with pytest.raises(ProviderUnavailableError):
            memory.health()
        assert stuck.calls == 1  # who asks meanwhile waits for the same answer
        assert memory.get("m1").id == "m1"
        stuck.go.set()
        assert answered(memory).status == "ok"


def answered(memory: Memory) -> Health:
    """Ask until the question that is under way ends."""
    while True:
        try:
            return memory.health()
        except ProviderUnavailableError:
            continue


def test_an_async_client_is_told_as_well_and_leaves_nothing_behind() -> None:
    stuck = Stuck(blocks=False)

    async def ask() -> None:
        async with AsyncMemory(Remote(health=stuck)) as memory:
            outcomes = await asyncio.gather(*(memory.health() for _ in range(5)), return_exceptions=True)
            assert {type(each) for each in outcomes} == {ProviderUnavailableError}
            assert stuck.calls == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}
        stuck.go.set()

    asyncio.run(ask())


@pytest.mark.parametrize("adapter", [Scripted, Remote])
def test_opening_is_bounded_too_and_goes_on(adapter: type[Scripted], monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Stuck(blocks=adapter is Scripted)
    monkeypatch.setattr(adapter, "open", lambda self: stuck())
    with Memory(adapter(health=lambda request: WELL)) as memory:
        for _ in range(3):
            with pytest.raises(ProviderUnavailableError):
                memory.health()
        stuck.go.set()
        assert answered(memory).status == "ok"
        assert stuck.calls == 1


FAILURES: list[Callable[[], Exception]] = [
    lambda: ProviderUnavailableError("refused."),
    lambda: UnauthorizedError("the key is none."),
]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_told_as_it_is_and_at_once(failure: Callable[[], Exception], naps: list[float]) -> None:
    error, calls = failure(), []

    def fails(request: Any) -> Any:
        calls.append(request)
        raise error

    with Memory(Remote(health=fails), retries=5) as memory, pytest.raises(type(error)) as caught:
        memory.health()
    assert caught.value is error
    assert (len(calls), [nap for nap in naps if nap]) == (1, [])


def test_a_failed_opening_is_not_repeated_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    async def refuse(self: Any) -> None:
        opened.append(self)
        raise ProviderUnavailableError("refused.")

    monkeypatch.setattr(Remote, "open", refuse)
    with Memory(Remote(health=lambda request: WELL), retries=5) as memory:
        with pytest.raises(ProviderUnavailableError, match="refused"):
            memory.health()
        assert len(opened) == 1


def test_its_generic_form_lists_for_nobody() -> None:
    adapter = Scripted(list=lambda request: models.MemoryPage(items=[]))
    with Memory(adapter) as memory:
        assert "health" in (memory.capabilities().emulated or ())
        assert memory.health().status == "ok"
    [asked] = adapter.reached
    assert isinstance(asked, ListRequest)
    assert (asked.limit, asked.filter, asked.cursor) == (1, None, None)


def test_what_is_no_answer_is_refused() -> None:
    with Memory(Scripted(health=lambda request: models.MemoryPage(items=[]))) as memory:
        with pytest.raises(Exception, match="not Health"):
            memory.health()
        with pytest.raises(InvalidRequestError):
            memory.handle(ListRequest(user_id="u", cursor="x"))
