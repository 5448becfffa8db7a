"""memory:// keeps everything in this process: the reference for what the protocol means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import get_ident
from typing import Any, TypeVar
from urllib.parse import SplitResult

from pydantic import BaseModel, Field

from openmem._generated.models import MemoryRecord
from openmem.adapter import Settings
from openmem.errors import ConfigurationError
from openmem.runtime.bridge import offload, step, stepping
from openmem.runtime.fork import Lock, leave_to_parent

from ..kit.base import within_itself
from ..kit.inprocess import InProcessAdapter
from ..kit.scanning import gathered
from ..kit.store import Store
from .records import CALLER, Caller, Records

T = TypeVar("T")


class MemorySettings(Settings):
    """Options of memory://."""

    audit_limit: int = Field(default=10_000, ge=0)
    """Audit entries kept for each user; older ones are dropped."""


class MemoryAdapter(InProcessAdapter):
    """Records in dictionaries, one lock around every transaction, of which an interrupt leaves all or nothing."""

    name = "memory"
    durable = False
    unreached = ("Copies of this process's memory: swap space, core dumps.",)
    settings_type = MemorySettings
    settings: MemorySettings

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.lock = Lock()
        self.store = Records(self.embedding.dimension if self.embedding else None, self.settings.audit_limit)
        self._start()

    @classmethod
    def options_from_url(cls, url: SplitResult) -> dict[str, Any]:
        """Refuse a host, a user or a path: there is one kind of memory."""
        if url.netloc or url.path.strip("/"):
            raise ConfigurationError("memory:// has neither a host nor a path.", remedy="Write memory://.")
        return {}

    def _start(self) -> None:
        self._thread = ThreadPoolExecutor(1, "openmem-memory")  # one at a time has the lock

    def forked(self) -> None:
        """Keep the records and begin anew with the thread, which a child of fork does not have."""
        super().forked()
        leave_to_parent(self._thread)
        self._start()

    async def close(self) -> None:
        """End the thread; the records are there for as long as the adapter is."""
        self._thread.shutdown(wait=False)
        self._start()

    def handle(self, request: BaseModel) -> Coroutine[Any, Any, Any]:
        """Answer one request: in place, or in the thread where that may hold an event loop up."""
        if not self.store.takes_long(request) or stepping():
            return super().handle(request)
        return self._aside(self._handle, request)

    def _handle(self, request: BaseModel) -> Any:
        return step(super().handle(request))

    async def transact(self, work: Callable[[Store], T], *, write: bool) -> T:
        """Run work under the lock, for which an event loop does not wait."""
        taken: list[bool] = []
        try:
            taken += map(self.lock.acquire, [False])  # in one step, which no signal can split
            if taken[0]:
                return self.store.do(work)
        finally:
            if taken and taken[0]:
                self.lock.release()
        return await self._aside(self.transact_in_turn, work)

    def transact_in_turn(self, work: Callable[[Store], T]) -> T:
        """Run work once the lock is free; raises where this very thread has it."""
        if self.store.worker == get_ident():
            raise within_itself()
        with self.lock:
            return self.store.do(work)

    async def scan(self, user_id: str) -> AsyncGenerator[Sequence[MemoryRecord], None]:
        """Gather all of a user's memories beside an event loop, and hand them over bit by bit."""
        for chunk in (await self._aside(self.transact_in_turn, partial(gathered, user_id))).chunks():
            yield chunk

    async def _aside(self, work: Callable[..., T], *args: Any) -> T:
        """Run work in the thread, or in place for a sync caller and there; a caller who is cancelled ends it."""
        caller = CALLER.get() or Caller()
        token = CALLER.set(caller)
        try:
            return await offload(work, *args, within=self._thread)
        except asyncio.CancelledError:
            caller.gone = True
            raise
        finally:
            CALLER.reset(token)
