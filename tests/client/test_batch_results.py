"""Results of batches as a list that says what failed, and lists walked over all of their pages, with either client."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest

from openmem import AsyncMemory, ConflictError, InvalidRequestError, Memory, NotFoundError, ProviderError
from openmem.protocol.outcomes import BatchResults
from openmem.types import BatchResult, ErrorDetail


def failed(code: str, written: Any = "nothing") -> BatchResult:
    return BatchResult(error=ErrorDetail(code=code, message="It is so. Do so.", type="any", written=written))


DONE = BatchResult(id="m")


def test_a_batch_says_what_was_done_and_what_failed() -> None:
    with Memory("memory://", embedder="none") as memory:
        results = memory.add_many([{"content": "a"}, {"content": " "}, {"content": "b"}, {}], user_id="u")
        assert isinstance(results, list)
        assert results.ids == [results[0].id, results[2].id]
        assert [(each.place, each.result) for each in results.failed] == [(1, results[1]), (3, results[3])]
        with pytest.raises(InvalidRequestError, match=r"2 of 4 items failed; the first is item 1: content") as caught:
            results.raise_for_errors()
        assert caught.value.written == "part"
        assert caught.value.request_id
        assert caught.value.provider == "memory"
        gone = memory.for_user("u").delete_many([*results.ids, "nobody"])
        assert gone.ids == results.ids
        with pytest.raises(NotFoundError):
            gone.raise_for_errors()
        nothing = memory.delete_many(["x", "y"], user_id="u")
        with pytest.raises(NotFoundError, match="2 of 2") as lost:
            nothing.raise_for_errors()
        assert lost.value.written == "nothing"
        good = memory.add_many([{"content": "a", "user_id": "u"}])
        good.raise_for_errors()
        assert (len(good), good.failed, len(good.ids)) == (1, [], 1)


@pytest.mark.parametrize(
    ("results", "kind", "written"),
    [
        ([failed("conflict"), DONE], ConflictError, "part"),
        ([failed("conflict"), failed("provider_error", "perhaps")], ConflictError, "perhaps"),
        ([failed("provider_error", None)], ProviderError, "perhaps"),
        ([failed("provider_error", "part"), failed("conflict", "perhaps")], ProviderError, "part"),
        ([failed("a new code", "nothing")], ProviderError, "nothing"),
    ],
)
def test_the_error_of_a_batch_is_true_of_all_of_it(results: list[BatchResult], kind: Any, written: str) -> None:
    with pytest.raises(kind) as caught:
        BatchResults(results).raise_for_errors()
    assert (type(caught.value), caught.value.written) == (kind, written)
    assert results[0].error is not None
    assert results[0].error.message == "It is so. Do so."


def test_results_are_copied_whole() -> None:
    results = BatchResults([DONE, failed("conflict")])
    for twin in (pickle.loads(pickle.dumps(results)), copy.deepcopy(results)):
        assert (twin, twin.ids, len(twin.failed)) == (results, ["m"], 1)


def test_iterate_walks_all_pages_and_reads_each_when_it_is_come_to() -> None:
    async def walked(url: str) -> list[str]:
        async with AsyncMemory(url, embedder="none") as memory:
            await memory.add_many([{"content": str(n)} for n in range(7)], user_id="u")
            alice = memory.for_user("u")
            assert [each.content async for each in alice.iterate(limit=3, order="oldest")] == [*map(str, range(7))]
            return [each.content async for each in memory.iterate("u", limit=3)]

    assert asyncio.run(walked("memory://")) == [*map(str, reversed(range(7)))]
    with Memory("memory://", embedder="none") as memory:
        memory.add_many([{"content": str(n)} for n in range(7)], user_id="u")
        walk = memory.iterate("u", limit=3, order="oldest")
        assert [next(walk).content for _ in range(3)] == ["0", "1", "2"]
        memory.add("7", "u")
        assert [each.content for each in walk] == ["3", "4", "5", "6", "7"]
        assert [each.content for each in memory.for_user("u").iterate(limit=1, filter={"content": {"in": ["3"]}})] == [
            "3"
        ]
        assert list(memory.iterate("nobody")) == []
        with pytest.raises(InvalidRequestError, match="limit"):
            next(memory.iterate("u", limit=0))
        with pytest.raises(TypeError, match="cursor"):
            memory.iterate("u", cursor="x")  # type: ignore[call-arg]
