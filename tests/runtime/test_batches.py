"""A batch answers item by item, whatever becomes of a chunk of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from openmem import Memory, MemoryInput, ProviderError, ProviderUnavailableError
from openmem._generated.models import BatchResult
from openmem.runtime.batches import in_chunks
from support.processes import run
from support.scripted import Remote, record

Result = Sequence[BatchResult]


async def _store(chunk: Sequence[int]) -> list[BatchResult]:
    return [BatchResult(id=f"m{number}") for number in chunk]


def _outcomes(results: Result) -> list[tuple[str | None, str | None]]:
    return [(each.id, each.error.written if each.error else None) for each in results]


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_chunk_that_fails_fails_alone(parallel: int) -> None:
    async def do(chunk: Sequence[int]) -> list[BatchResult]:
        if 3 in chunk:
            raise ProviderError("the disk is full.", written="nothing")
        if 5 in chunk:
            raise ValueError("a defect")
        return await _store(chunk)

    found = run(lambda: in_chunks([[1, 2], [3, 4], [5], [6]], do, parallel)).results
    assert _outcomes(found) == [
        ("m1", None),
        ("m2", None),
        (None, "nothing"),
        (None, "nothing"),
        (None, "perhaps"),
        ("m6", None),
    ]


def test_where_the_provider_is_gone_the_rest_is_not_tried() -> None:
    tried: list[Sequence[int]] = []

    async def do(chunk: Sequence[int]) -> list[BatchResult]:
        tried.append(chunk)
        if 2 in chunk:
            raise ProviderUnavailableError("gone.")
        return await _store(chunk)

    found = run(lambda: in_chunks([[1], [2], [3], [4]], do)).results
    assert _outcomes(found) == [("m1", None), (None, "perhaps"), (None, "nothing"), (None, "nothing")]
    assert tried == [[1], [2]]


def test_a_batch_that_takes_too_long_tells_what_was_stored() -> None:
    async def add(request: Any) -> Any:
        if request.content == "c":
            await asyncio.Event().wait()
        return record(f"m-{request.content}", content=request.content)

    items = [{"content": each} for each in "abcd"]
    found = Memory(Remote(add=add), timeout=0.05).add_many(items, user_id="u")
    assert _outcomes(found) == [("m-a", None), ("m-b", None), (None, "perhaps"), (None, "nothing")]
    assert {each.error.code for each in found if each.error} == {"provider_unavailable"}


def test_a_timeout_of_an_items_own_fails_that_item_alone() -> None:
    def add(request: Any) -> Any:
        if request.content == "b":
            raise TimeoutError("a socket's")
        return record(f"m-{request.content}", content=request.content)

    found = Memory(Remote(add=add)).add_many([{"content": each} for each in "abc"], user_id="u")
    assert _outcomes(found) == [("m-a", None), (None, "perhaps"), ("m-c", None)]


def _changed(**fields: Any) -> MemoryInput:
    item = MemoryInput(content="x", user_id="u")
    for name, value in fields.items():
        setattr(item, name, value)
    return item


class Own(MemoryInput):
    """A model of the application's."""


CHANGED: list[dict[str, Any]] = [
    {"kind": 5},
    {"tags": "abc"},
    {"importance": 7},
    {"metadata": [1]},
    {"user_id": "  "},
    {"content": "  "},
    {"scope": "a/*"},
    {"valid_from": datetime(2026, 1, 1)},
    {"on_conflict": "banana"},
    {"vector": "abc"},
]


@pytest.mark.parametrize("fields", CHANGED, ids=repr)
def test_an_item_that_was_changed_since_it_was_made_is_judged_anew(fields: dict[str, Any]) -> None:
    memory = Memory("memory://", embedder="test")
    good, bad = memory.add_many([MemoryInput(content="fine", user_id="u"), _changed(**fields)])
    assert (good.error, bad.id) == (None, None)
    assert bad.error
    assert (bad.error.code, bad.error.written) == ("invalid_request", "nothing")
    assert memory.stats("u").total == 1


def test_an_item_may_be_of_a_model_of_ones_own_and_must_be_whole() -> None:
    memory = Memory("memory://", embedder="test")
    bare = MemoryInput.model_construct(content="x")
    good, bad = memory.add_many([Own(content="fine", user_id="u"), bare])
    assert good.id
    assert bad.error
    assert bad.error.code == "invalid_request"
