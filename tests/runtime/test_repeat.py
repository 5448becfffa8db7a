"""What is repeated: requests after which nothing was written for certain, and those that are harmless to repeat."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from openmem import ConflictError, Memory, OMPError, ProviderError, ProviderUnavailableError, RateLimitedError
from openmem.errors import from_detail
from openmem.runtime.repeat import repeat
from support.processes import run
from support.scripted import Remote, record


def _failing(*errors: Exception) -> tuple[Callable[[], Awaitable[str]], list[int]]:
    left, calls = list(errors), [0]

    async def send() -> str:
        calls[0] += 1
        if left:
            raise left.pop(0)
        return "done"

    return send, calls


LOST = [
    (ProviderUnavailableError("lost."), False, False),
    (ProviderUnavailableError("lost."), True, True),
    (ProviderUnavailableError("lost.", written="nothing"), False, True),
    (ProviderUnavailableError("lost.", written="part"), False, False),
    (RateLimitedError("wait."), False, True),
    (RateLimitedError("wait.", written="part"), False, False),
    (ProviderError("broken.", written="nothing"), True, False),
    (ConflictError("taken."), True, False),
]


@pytest.mark.parametrize(("error", "harmless", "repeated"), LOST, ids=repr)
def test_only_what_wrote_nothing_or_is_harmless_is_repeated(
    error: OMPError, harmless: bool, repeated: bool, naps: list[float]
) -> None:
    send, calls = _failing(error)
    if repeated:
        assert run(lambda: repeat(send, 2, harmless=harmless)) == "done"  # type: ignore[arg-type,return-value]
    else:
        with pytest.raises(type(error)):
            run(lambda: repeat(send, 2, harmless=harmless))  # type: ignore[arg-type,return-value]
    assert calls == [1 + repeated]


def test_a_repeated_request_is_noted_in_our_own_log(naps: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    send, _ = _failing(RateLimitedError("wait.", retry_after=3))
    run(lambda: repeat(send, 2))  # type: ignore[arg-type,return-value]
    noted = [each for each in caplog.records if "rate_limited" in each.getMessage()]
    assert [each.name for each in noted] == ["openmem"]
    assert [nap for nap in naps if nap] == [3]


def test_a_write_of_which_a_part_is_stored_is_not_repeated(naps: list[float]) -> None:
    calls: list[Any] = []

    def add(request: Any) -> Any:
        calls.append(request)
        raise ProviderUnavailableError("the second of two requests was lost.", written="part")

    with pytest.raises(ProviderUnavailableError) as caught:
        Memory(Remote(add=add)).add("x", "u")
    assert (len(calls), caught.value.written) == (1, "part")


@pytest.mark.parametrize("policy", [None, "update", "replace", "skip", "error"])
def test_an_add_by_external_id_is_repeated_unless_it_would_refuse_itself(policy: Any, naps: list[float]) -> None:
    calls: list[Any] = []

    def add(request: Any) -> Any:
        calls.append(request)
        if len(calls) == 1:
            raise ProviderUnavailableError("lost.")
        return record()

    memory = Memory(Remote(add=add))
    if policy == "error":
        with pytest.raises(ProviderUnavailableError):
            memory.add("x", "u", external_id="e", on_conflict=policy)
    else:
        memory.add("x", "u", external_id="e", on_conflict=policy)
    assert len(calls) == (1 if policy == "error" else 2)


def test_reads_have_written_nothing_whoever_says_otherwise() -> None:
    def lost(request: Any) -> Any:
        raise ProviderError("lost.", written="part")

    with pytest.raises(ProviderError) as caught:
        Memory(Remote(get=lost)).get("m1")
    assert caught.value.written == "nothing"


def test_what_was_written_travels_on_the_wire() -> None:
    detail = ProviderUnavailableError("lost.", written="part").detail()
    assert detail.written == "part"
    assert from_detail(detail).written == "part"
    assert from_detail(detail.model_copy(update={"written": None})).written == "perhaps"


def test_nothing_is_repeated_for_a_caller_who_is_cancelled() -> None:
    async def work() -> None:
        calls, begun = [0], asyncio.Event()

        async def send() -> None:
            calls[0] += 1
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ProviderUnavailableError("gone.", written="nothing") from None

        task = asyncio.create_task(repeat(send, 3))
        await begun.wait()
        task.cancel()
        with pytest.raises(ProviderUnavailableError):
            await task
        assert calls == [1]

    run(work)


def test_a_pause_beyond_the_time_that_a_call_may_take_is_left_to_the_caller(naps: list[float]) -> None:
    calls: list[Any] = []

    def get(request: Any) -> Any:
        calls.append(request)
        raise RateLimitedError("wait.", retry_after=20)

    with pytest.raises(RateLimitedError):
        Memory(Remote(get=get), timeout=10).get("m1")
    assert (len(calls), naps) == (1, [])
