"""What a check works with: clients, fresh users and scopes, seeds that are read back, expectations that can fail."""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, Protocol

from openmem import bridge
from openmem._generated.models import CapabilitiesRequest
from openmem.adapter import Adapter
from openmem.client import AsyncMemory, Memory
from openmem.clock import utc_now
from openmem.errors import OMPError
from openmem.fork import Lock
from openmem.types import Capabilities, MemoryRecord

from .verdicts import Failure, Inconclusive

Colour = Literal["async", "sync"]
LETTERS = "bcdfghjklmnpqrstvwxz"  # no vowels: a marker is nobody's word and has no stem
MILLISECOND = timedelta(milliseconds=1)


class TickingClock:
    """A clock that never shows the same moment twice, so that creation has an order."""

    def __init__(self) -> None:
        self._last = utc_now()
        self._lock = Lock()

    def __call__(self) -> datetime:
        """Return the present, or a millisecond after the moment returned last."""
        with self._lock:
            self._last = max(utc_now(), self._last + MILLISECOND)
            return self._last


@dataclass(frozen=True)
class Call:
    """A call of a verb, made when it is awaited: one that a failing check never reaches leaves nothing behind."""

    start: Callable[[], Coroutine[Any, Any, Any]]

    def __await__(self) -> Generator[Any, None, Any]:
        return self.start().__await__()


class Client:
    """Either client under one face: every verb is awaited."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def bound(self, user_id: str) -> Client:
        """Return the client's view of one user under the same face."""
        return Client(self._client.for_user(user_id))

    def __getattr__(self, name: str) -> Any:
        verb: Callable[..., Any] = getattr(self._client, name)
        awaited = verb if inspect.iscoroutinefunction(verb) else partial(asyncio.to_thread, verb)

        def call(*args: Any, **fields: Any) -> Call:
            return Call(partial(awaited, *args, **fields))

        return call


class Place(Protocol):
    """A backend under test."""

    client: AsyncMemory | Memory
    raw: Adapter
    capabilities: Capabilities
    clock: TickingClock
    colour: Colour
    reached: int
    leaks: list[str]

    async def reopen(self) -> None:
        """Close every client over the target, and only then open them again."""

    def second(self) -> AbstractAsyncContextManager[Client]:
        """Open a client beside the one under test, over the same target."""


class Harness:
    """One check's own corner of the provider; made anew for each check and colour."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.memory = Client(place.client)
        self.raw = place.raw
        self.capabilities = place.capabilities
        self.now: Callable[[], datetime] = place.clock
        self.colour = place.colour
        self.second = place.second
        self._leaks_before = len(place.leaks)
        self.user = self.new_user()
        self.other = self.new_user()
        self._prefix = f"check-{secrets.token_hex(4)}"
        self._contents: dict[str, str] = {}

    def reached(self) -> int:
        """Count the requests that reached the adapter."""
        return self._place.reached

    def leaked(self) -> str | None:
        """Name the verb that the provider answered with another user's memory meanwhile, which the client withholds."""
        return next(iter(self._place.leaks[self._leaks_before :]), None)

    async def reopen(self) -> None:
        """Close every client over the target, and only then open them again."""
        await self._place.reopen()
        self.memory, self.raw = Client(self._place.client), self._place.raw

    async def native(self) -> Capabilities:
        """Ask the raw adapter what it supports of itself, where the client under test would ask it."""
        if self.colour == "async":
            return await self.raw.capabilities(CapabilitiesRequest())
        ask = partial(bridge.run, inline=self.raw.inline)
        return await asyncio.to_thread(lambda: ask(self.raw.capabilities(CapabilitiesRequest())))

    def new_user(self) -> str:
        """Make a user id that nobody else has."""
        return f"conformance-{secrets.token_hex(8)}"

    def scope(self, path: str) -> str:
        """Put a scope below this check's own."""
        return f"{self._prefix}/{path}"

    def marker(self) -> str:
        """Make an improbable word of letters."""
        return "".join(secrets.choice(LETTERS) for _ in range(12))

    async def add(self, content: str, user_id: str | None = None, **fields: Any) -> MemoryRecord:
        """Add a memory, wait until it is stored, and return it as it is from then on."""
        record: MemoryRecord = await self.memory.add(content, user_id or self.user, **fields)
        await self.memory.wait_for_ingest([record.id], record.user_id)
        self._contents[record.id] = content
        return record if record.status != "queued" else record.model_copy(update={"status": "done"})

    async def seed(self, items: Sequence[Mapping[str, Any]], user_id: str | None = None) -> list[MemoryRecord]:
        """Add memories in order and read each back; Inconclusive where one does not read back."""
        records = []
        for item in items:
            fields = dict(item)
            content, owner = fields.pop("content"), fields.pop("user_id", None) or user_id or self.user
            record = await self.add(content, owner, **fields)
            try:
                stored = await self.memory.get(record.id, user_id=owner)
            except OMPError as error:
                raise Inconclusive(f"a seed does not read back: {error}") from error
            if stored.content != content:
                raise Inconclusive(f"a seed reads back as {stored.content!r}, not {content!r}")
            records.append(record)
        return records

    def ids(self, found: Any) -> list[str]:
        """List the memory ids of results, records, a page or citations."""
        items = getattr(found, "items", found)
        return [getattr(item, "memory", item).id for item in items]

    async def all_ids(self, user_id: str | None = None, **fields: Any) -> list[str]:
        """List every id that list answers with, page by page."""
        ids: list[str] = []
        cursor = None
        for _ in range(1000):
            page = await self.memory.list(user_id or self.user, cursor=cursor, **fields)
            ids += self.ids(page)
            cursor = page.next_cursor
            if cursor is None:
                return ids
        raise Failure("list goes on after a thousand pages")

    def require(self, condition: object, message: str) -> None:
        """Fail with a message unless the condition holds."""
        if not condition:
            raise Failure(message)

    def expect(
        self,
        actual_ids: Iterable[str],
        expected: Iterable[str],
        *,
        among: Iterable[str],
        what: str,
        ordered: bool = False,
        all_expected: bool = False,
        none_expected: bool = False,
    ) -> None:
        """Hold found ids against expected ones; an expectation of nothing or of everything must be meant."""
        actual, wanted, seeded = list(actual_ids), list(expected), set(among)
        if not wanted and not none_expected:
            raise Inconclusive(f"{what}: nothing is expected, so nothing is shown")
        if wanted and set(wanted) == seeded and not all_expected:
            raise Inconclusive(f"{what}: everything is expected, so nothing is shown")
        missing = [each for each in wanted if each not in actual]
        unexpected = [each for each in actual if each not in wanted]
        twice = sorted({each for each in actual if actual.count(each) > 1})
        for name, ids in (("is missing", missing), ("should not be there", unexpected), ("comes twice", twice)):
            if ids:
                raise Failure(f"{what}: {self._named(ids)} {name}")
        if ordered and actual != wanted:
            raise Failure(f"{what}: the order is {self._named(actual)}, not {self._named(wanted)}")

    def _named(self, ids: Sequence[str]) -> str:
        shown = [repr(self._contents.get(each, each))[:60] for each in ids[:5]]
        return ", ".join(shown) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")

    async def refused(self, call: Awaitable[Any], *errors: type[OMPError]) -> OMPError:
        """Fail unless the call raises one of the errors, fully signed; return it."""
        names = " or ".join(error.__name__ for error in errors)
        try:
            answer = await call
        except errors as error:
            signed = error.code and error.message and error.remedy and error.provider and error.request_id
            self.require(
                signed, f"{type(error).__name__} lacks code, message, remedy, provider or request id: {error!r}"
            )
            return error
        except OMPError as error:
            raise Failure(f"raised {type(error).__name__}, not {names}: {error}") from error
        raise Failure(f"answered {answer!r:.120} where {names} is due")
