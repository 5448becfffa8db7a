"""Memory and AsyncMemory: the verbs for sync callers and for coroutines, over one core."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel

from .._generated.clients import AsyncVerbs, Verbs
from ..errors import ClosedError
from ..runtime import bridge
from ..runtime.calls import Principal
from ..runtime.fork import in_child
from . import ingestion
from .bound import AsyncUserMemory, UserMemory
from .making import Client

_LEFT, _LOOK = 5.0, 0.1  # seconds: for closing where the client's event loop has ended; between looks whether it has
_ENDED, _ITS_OWN = "the event loop of this AsyncMemory has ended.", "Close it in the loop that used it."


class Memory(Client, Verbs):
    """A memory store, sync: usable from several threads and inside a running event loop."""

    colour = "sync"

    def _call(self, verb: str, fields: dict[str, Any]) -> Any:
        return bridge.run(self._core.send(verb, fields), inline=self._core.inline)

    def handle(self, request: BaseModel, *, request_id: str | None = None, principal: Principal | None = None) -> Any:
        """Answer a request model with its response model, as every verb does; the request is left as it is.

        request_id: of the caller's own, up to 128 visible ASCII characters, for logs and errors. principal: who calls.
        """
        return bridge.run(self._core.handle(request, request_id, principal), inline=self._core.inline)

    def for_user(self, user_id: str) -> UserMemory:
        """Bind every verb to one user; InvalidRequestError for anything but a text that is not blank."""
        return UserMemory(self, user_id)

    def wait_for_ingest(self, ids: Sequence[str], user_id: str | None = None, *, timeout: float = 60.0) -> None:
        """Wait until queued memories are stored, `timeout` seconds at most; IngestionTimeoutError after that."""
        bridge.run(ingestion.wait(self._core, ids, user_id, timeout), inline=self._core.inline)

    def open(self) -> None:
        """Open the store now: make it, bring it up to date, connect; else the first verb does, with no timeout."""
        bridge.run(self._core.open(), inline=self._core.inline)

    def close(self) -> None:
        """Release everything the client holds; a second call does nothing, nor does one while Python ends."""
        if self._core.inline or not sys.is_finalizing():
            bridge.run(self._core.close(), inline=self._core.inline)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncMemory(Client, AsyncVerbs):
    """A memory store, async: belongs to the event loop that first uses it."""

    colour = "async"

    def _made(self) -> None:
        in_child(self, AsyncMemory._leave_loop)

    def _leave_loop(self) -> None:
        """Belong, in a child of fork, to the loop that uses it there first."""
        self._core.share.loop = None

    async def _call(self, verb: str, fields: dict[str, Any]) -> Any:
        self._claim_loop()
        return await self._core.send(verb, fields)

    def _claim_loop(self) -> None:
        loop, share = asyncio.get_running_loop(), self._core.share
        if share.loop is None:
            share.claim(loop)
        elif share.loop is not loop:
            raise ClosedError("this AsyncMemory belongs to another event loop.", remedy="Open one in this loop.")

    async def handle(
        self, request: BaseModel, *, request_id: str | None = None, principal: Principal | None = None
    ) -> Any:
        """Answer a request model with its response model, as every verb does; the request is left as it is.

        request_id: of the caller's own, up to 128 visible ASCII characters, for logs and errors. principal: who calls.
        """
        self._claim_loop()
        return await self._core.handle(request, request_id, principal)

    def for_user(self, user_id: str) -> AsyncUserMemory:
        """Bind every verb to one user; InvalidRequestError for anything but a text that is not blank."""
        return AsyncUserMemory(self, user_id)

    async def wait_for_ingest(self, ids: Sequence[str], user_id: str | None = None, *, timeout: float = 60.0) -> None:
        """Wait until queued memories are stored, `timeout` seconds at most; IngestionTimeoutError after that."""
        self._claim_loop()
        await ingestion.wait(self._core, ids, user_id, timeout)

    async def open(self) -> None:
        """Open the store now: make it, bring it up to date, connect; else the first verb does, with no timeout."""
        self._claim_loop()
        await self._core.open()

    async def close(self) -> None:
        """Release everything the client holds; a second call does nothing.

        Called in another event loop, it closes in the client's own. Where that one has ended it releases what it can,
        and raises ClosedError where something is left that belonged to it.
        """
        core = self._core
        loop = core.share.loop
        if loop is None or loop is asyncio.get_running_loop() or core.inline:
            await core.close()
        elif loop.is_running():
            closing = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(core.close(), loop))
            while not (await asyncio.wait([closing], timeout=_LOOK))[0]:
                if not loop.is_running():
                    closing.cancel()
                    raise ClosedError(_ENDED, remedy=_ITS_OWN)
            await closing
        else:
            try:
                await asyncio.wait_for(core.close(), _LEFT)
            except Exception as error:  # whatever a library makes of a loop that is not there
                raise ClosedError(_ENDED, remedy=_ITS_OWN) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()
