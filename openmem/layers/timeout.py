"""Bounds a call in time, whatever it waits for."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel

from openmem._generated.models import AddManyRequest, DeleteManyRequest, GetManyRequest, UpdateManyRequest
from openmem.errors import ProviderUnavailableError
from openmem.runtime.calls import DEADLINE
from openmem.runtime.fork import in_child

from . import Handler

GRACE = 0.5
"""Seconds that a call has to end once it is cancelled; what takes longer goes on by itself and is not waited for."""
BATCH_GRACE = 0.7
"""Seconds that a batch has, beyond the deadline at which it ends by itself, to tell what became of each item."""
LAST = 0.95
"""Seconds after the deadline by which there is an answer in any case."""
LEFT = 5.0
"""Seconds that closing waits for it."""
BATCHES = (AddManyRequest, GetManyRequest, UpdateManyRequest, DeleteManyRequest)


class Timeout:
    """Wraps a handler; gives a call up after `seconds`, also one that does not end when it is cancelled."""

    def __init__(self, handler: Handler, seconds: float) -> None:
        self._handler, self._seconds = handler, seconds
        self._ending: set[asyncio.Task[Any]] = set()
        in_child(self, Timeout._forget_all)

    def _forget_all(self) -> None:
        self._ending = set()  # the parent's, whose loop a child of fork does not have

    async def __call__(self, request: BaseModel) -> Any:
        """Answer a request; ProviderUnavailableError where that takes too long."""
        loop = asyncio.get_running_loop()
        deadline = DEADLINE.set(loop.time() + self._seconds)
        try:
            over = loop.create_future()
            task = loop.create_task(self._call(request, over))
        finally:
            DEADLINE.reset(deadline)
        late = BATCH_GRACE if type(request) in BATCHES else 0.0
        # Not asyncio.timeout round a shield, which takes twice as long as all of this.
        alarm = loop.call_later(self._seconds + late, _settle, over)
        task.add_done_callback(lambda _: _settle(over))
        try:
            await over
        except asyncio.CancelledError:
            await self._end(task, GRACE)
            raise
        finally:
            alarm.cancel()
        if task.done():
            return task.result()
        await self._end(task, min(GRACE, LAST - late))
        if task.done() and not task.cancelled() and task.exception() is None:
            return task.result()  # it came at the last moment
        raise ProviderUnavailableError(
            f"no answer within {self._seconds:g} s.", remedy="Raise timeout, or check the provider's load."
        ) from TimeoutError()

    async def close(self) -> None:
        """Wait for what goes on by itself, for a while."""
        if self._ending:
            await asyncio.wait(list(self._ending), timeout=min(self._seconds, LEFT))

    async def _call(self, request: BaseModel, over: asyncio.Future[None]) -> Any:
        try:
            return await self._handler(request)
        finally:
            _settle(over)  # the callback of the task does so too, but only in the next round of the loop

    async def _end(self, task: asyncio.Task[Any], grace: float) -> None:
        self._ending.add(task)
        task.add_done_callback(self._forget)
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=grace)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._ending.discard(task)
        if not task.cancelled():
            task.exception()  # nobody is left to be told


def _settle(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
