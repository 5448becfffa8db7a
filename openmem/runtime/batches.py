"""Batches in chunks: what fails is the answer of the items concerned, and what was stored keeps its ids."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from .._generated.models import BatchResponse, BatchResult
from ..errors import OMPError, ProviderError, ProviderUnavailableError
from .bridge import side_by_side, stepping
from .calls import deadline

T = TypeVar("T")
Do = Callable[[Sequence[T]], Awaitable[list[BatchResult]]]
"""Does a chunk, all of it or nothing; one result an item."""
TIMEOUT_REMEDY = "Read what is there, then send the rest; or raise timeout."


async def one_by_one(items: Iterable[T], do: Callable[[T], Awaitable[BatchResult]]) -> BatchResponse:
    """Do each item by itself."""
    return await in_chunks([[item] for item in items], lambda chunk: _alone(do, chunk[0]))


async def _alone(do: Callable[[T], Awaitable[BatchResult]], item: T) -> list[BatchResult]:
    return [await do(item)]


async def in_chunks(chunks: Iterable[Sequence[T]], do: Do[T], parallel: int = 1) -> BatchResponse:
    """Do chunks of items, so many at once; where the provider is gone or the time is over, the rest is not tried."""
    lost: OMPError | None = None

    async def answered(chunk: Sequence[T]) -> list[BatchResult]:
        nonlocal lost
        if lost is not None:
            return failed(chunk, lost)
        answers, lost_now = await _attempt(chunk, do)
        lost = lost or lost_now
        return answers

    if parallel == 1:
        found = [await answered(chunk) for chunk in chunks]
    else:
        found = await side_by_side(answered, chunks, parallel)
    return BatchResponse(results=[result for results in found for result in results])


async def _attempt(chunk: Sequence[T], do: Do[T]) -> tuple[list[BatchResult], OMPError | None]:
    """Do one chunk; return its answers and, where trying further ones is of no use, the error for them."""
    try:
        return await _before_deadline(do(chunk)), None
    except _Late:
        message = "the batch took longer than the call may."
        late = ProviderUnavailableError(message, remedy=TIMEOUT_REMEDY)
        return failed(chunk, late), ProviderUnavailableError(message, remedy=TIMEOUT_REMEDY, written="nothing")
    except ProviderUnavailableError as error:
        return failed(chunk, error), ProviderUnavailableError(error.message, remedy=error.remedy, written="nothing")
    except OMPError as error:
        return failed(chunk, error), None
    except Exception as error:  # what was stored before it has to be answered all the same
        return failed(chunk, ProviderError(f"the provider failed with {type(error).__name__}.")), None


class _Late(Exception):
    """The call under way has no more time."""


async def _before_deadline(work: Awaitable[T]) -> T:
    """Await a part of the call under way; _Late at its deadline, a little before the call is given up."""
    if (moment := deadline()) is None or stepping():
        return await work
    try:
        async with asyncio.timeout_at(moment) as limit:
            return await work
    except TimeoutError as error:
        if limit.expired():
            raise _Late from error
        raise


def failed(chunk: Sequence[Any], error: OMPError) -> list[BatchResult]:
    """Answer every item of a chunk with an error."""
    return [BatchResult(id=_named(item), error=error.detail()) for item in chunk]


def _named(item: Any) -> str | None:
    """Return the id that an item names, where it names one."""
    if isinstance(item, str):
        return item
    named: str | None = getattr(item, "id", None)
    return named
