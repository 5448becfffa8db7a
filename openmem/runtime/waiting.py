"""Work that is waited for so long and no longer, and goes on by itself: once at a time, whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent import futures
from contextvars import copy_context
from threading import Thread
from typing import Any, Generic, TypeVar

from .bridge import step, stepping
from .fork import in_child

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]
LEFT = 0.5
"""Seconds that closing waits for work that it ends."""


class Waiting(Generic[T]):
    """One piece of work at a time: who asks for it in the midst of it waits for the same result."""

    def __init__(self) -> None:
        self._under_way: asyncio.Future[T] | futures.Future[T] | None = None
        in_child(self, Waiting._forget)

    def _forget(self) -> None:
        self._under_way = None  # the parent's, of a loop or a thread that a child of fork does not have

    async def result(self, work: Work[T], seconds: float) -> T:
        """Return what work comes to; TimeoutError where that takes longer, and the work goes on."""
        under_way = self._under_way
        if under_way is None or under_way.done():
            under_way = self._under_way = _in_thread(work) if stepping() else _in_task(work)
        if isinstance(under_way, futures.Future):
            futures.wait([under_way], timeout=seconds)
        else:
            await asyncio.wait([under_way], timeout=seconds)
        if not under_way.done() or under_way.cancelled():
            raise TimeoutError
        return under_way.result()

    async def close(self) -> None:
        """End what goes on by itself; what a thread is at, it brings to its end."""
        under_way = self._under_way
        if isinstance(under_way, asyncio.Future) and not under_way.done():
            under_way.cancel()
            await asyncio.wait([under_way], timeout=LEFT)


def _in_task(work: Work[T]) -> asyncio.Future[T]:
    task = asyncio.ensure_future(work())
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # which nobody may be left to be told
    return task


def _in_thread(work: Work[T]) -> futures.Future[T]:
    """Work in a thread of its own, for a sync caller, who could not end a wait of the backend's."""
    future, context = futures.Future[T](), copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(step, work()))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name="openmem-waiting", daemon=True).start()
    return future
