"""wait_for_ingest: waits for memories that a provider has queued."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from ..errors import IngestionTimeoutError, InvalidRequestError, ProviderError
from ..layers.observe import observe
from .core import Core

FIRST_POLL, LONGEST_POLL = 0.05, 2.0
"""Seconds between looks at a queued memory."""


async def wait(core: Core, ids: Sequence[str], user_id: str | None, timeout: float) -> None:
    """Poll until every id is done, so many seconds at most; raises IngestionTimeoutError after that."""
    with observe(core.call("wait_for_ingest")):
        core.refuse_closed()
        if not (isinstance(timeout, (int, float)) and timeout >= 0):  # which NaN is not
            raise InvalidRequestError(f"timeout is {timeout!r}.", remedy="Give a number of seconds.")
        if (await core.describe()).features.ingestion == "queued":
            await _poll(core, list(ids), user_id, timeout)


async def _poll(core: Core, waiting: Sequence[str], user_id: str | None, timeout: float) -> None:
    deadline, pause = time.monotonic() + timeout, FIRST_POLL
    while waiting:
        memories = [await core.send("get", {"id": each, "user_id": user_id}) for each in waiting]
        failed = [memory.id for memory in memories if memory.status == "failed"]
        if failed:
            raise ProviderError(f"{core.adapter.name} failed to store {', '.join(failed)}.")
        waiting = [memory.id for memory in memories if memory.status in ("queued", "indexing")]
        if waiting and time.monotonic() + pause > deadline:
            raise IngestionTimeoutError(f"not stored after {timeout:g} s: {', '.join(waiting)}.")
        if waiting:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_POLL)
