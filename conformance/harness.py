"""What a check works with: clients, fresh users and scopes, seeds that are read back, expectations that can fail."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, Protocol

from openmem._generated.models import CapabilitiesRequest
from openmem.adapter import Adapter
from openmem.errors import OMPError
from openmem.protocol.clock import utc_now
from openmem.runtime import bridge
from openmem.runtime.fork import Lock
from openmem.types import Capabilities, MemoryRecord

from .contained import contained
from .names import Names
from .verdicts import Failure, Inconclusive

Colour = Literal["async", "sync"]
MILLISECOND = timedelta(milliseconds=1)


class TickingClock:
    """A clock that never shows the same moment twice, so that creation has an order, but where it is held."""

    def __init__(self) -> None:
        self._last = utc_now()
        self._lock = Lock()
        self._held = False

    def __call__(self) -> datetime:
        """Return the present, or a millisecond after the moment returned last."""
        with self._lock:
            if not self._held:
                self._last = max(utc_now(), self._last + MILLISECOND)
            return self._last

    @contextmanager
    def held(self) -> Iterator[None]:
        """Show one moment meanwhile."""
        self()
        self._held = True
        try:
            yield
        finally:
            self._held = False


@dataclass(frozen=True)
class Call:
    """A call of a verb, made when it is awaited: one that a failing check never reaches leaves nothing behind."""

    start: Callable[[], Coroutine[Any, Any, Any]]

    def __await__(self) -> Generator[Any, None, Any]:
        return self.start().__await__()


class Calls:
    """What is under way: a call ends even where its caller is cancelled, and can be waited for."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Make a call."""
        task = asyncio.ensure_future(contained(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def settle(self, seconds: float) -> None:
        """Wait so long for what goes on without its caller."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)


class Client:
    """Either client under one face: every verb is awaited."""

    def __init__(self, client: Any, calls: Calls) -> None:
        self._client, self._calls = client, calls

    def bound(self, user_id: str) -> Client:
        """Return the client's view of one user under the same face."""
        return Client(self._client.for_user(user_id), self._calls)

    def __getattr__(self, name: str) -> Any:
        verb: Callable[..., Any] = getattr(self._client, name)
        awaited = verb if inspect.iscoroutinefunction(verb) else partial(asyncio.to_thread, verb)

        def call(*args: Any, **fields: Any) -> Call:
            return Call(lambda: self._calls.run(awaited(*args, **fields)))

        return call


class Place(Protocol):
    """A backend under test."""

    memory: Client
    raw: Adapter
    capabilities: Capabilities
    clock: TickingClock
    colour: Colour
    reached: int
    leaks: list[str]
    lends_embedder: bool

    def closed(self) -> AbstractAsyncContextManager[None]:
        """Close every client over the target, and open them again afterwards."""

    def second(self, **options: Any) -> AbstractAsyncContextManager[Client]:
        """Open a client beside the one under test, over the same target, by other options where some are given."""


class Harness:
    """One check's own corner of the provider; made anew for each check and colour."""

    def __init__(self, place: Place, names: Names) -> None:
        self._place = place
        self.memory = place.memory
        self.raw = place.raw
        self.capabilities = place.capabilities
        self.now: Callable[[], datetime] = place.clock
        self.standstill = place.clock.held
        self.colour = place.colour
        self.second = place.second
        self._leaks_before = len(place.leaks)
        self.lends_embedder = place.lends_embedder
        self._names = names
        self.user = self.new_user()
        self.other = self.new_user()
        self.former: set[str | None] = set()
        """Request ids of entries that an audit log held before the check."""
        self._contents: dict[str, str] = {}

    def reached(self) -> int:
        """Count the requests that reached the adapter."""
        return self._place.reached

    def leaked(self) -> str | None:
        """Name the verb that the provider answered with another user's memory meanwhile, which the client withholds."""
        return next(iter(self._place.leaks[self._leaks_before :]), None)

    async def reopen(self) -> None:
        """Close every client over the target, and only then open them again."""
        async with self.closed():
            pass

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Close every client over the target, and open them again afterwards."""
        try:
            async with self._place.closed():
                yield
        finally:
            self.memory, self.raw = self._place.memory, self._place.raw

    async def native(self) -> Capabilities:
        """Ask the raw adapter what it supports of itself, where the client under test would ask it."""
        if self.colour == "async":
            return await self.raw.capabilities(CapabilitiesRequest())
        ask = partial(bridge.run, inline=self.raw.inline)
        return await asyncio.to_thread(lambda: ask(self.raw.capabilities(CapabilitiesRequest())))

    def new_user(self) -> str:
        """Make a user id that nobody else has."""
        return self._names.user()

    def marker(self) -> str:
        """Make an improbable word of letters."""
        return self._names.marker()

    def number(self) -> int:
        """Make an improbable number of 18 digits."""
        return self._names.number()

    def unknown(self) -> str:
        """Make an id that no memory has."""
        return self._names.unknown()

    def own(self, name: str) -> str:
        """Make a text, tag or key of this check's own out of a name; the same name gives the same again."""
        return self._names.own(name)

    def signed(self, text: str) -> str:
        """Make a text this check's own by signs, no words and without meaning; the same text gives the same again."""
        return self._names.signed(text)

    def scope(self, path: str) -> str:
        """Put a scope below this check's own."""
        return self._names.scope(path)

    async def add(self, content: str, user_id: str | None = None, **fields: Any) -> MemoryRecord:
        """Add a memory, wait until it is stored, and return it as it is from then on."""
        record: MemoryRecord = await self.memory.add(content, user_id or self.user, **fields)
        await self.memory.wait_for_ingest([record.id], record.user_id)
        self.name(record.id, content)
        return record if record.status != "queued" else record.model_copy(update={"status": "done"})

    def name(self, memory_id: str, content: str) -> None:
        """Let failures name a memory by its content."""
        self._contents[memory_id] = content

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
        due, came = self._named(wanted) or "nothing", self._named(actual) or "nothing"
        told = {"expected": f"{what}: {due}", "got": f"{what}: {came}"}
        for name, ids in (("is missing", missing), ("should not be there", unexpected), ("comes twice", twice)):
            if ids:
                raise Failure(f"{what}: {self._named(ids)} {name}", **told)
        if ordered and actual != wanted:
            raise Failure(f"{what}: the order is {came}, not {due}", **told)

    def _named(self, ids: Sequence[str]) -> str:
        return ", ".join(map(self._name, ids[:5])) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")

    def _name(self, memory_id: str) -> str:
        """Quote a memory, and tell it from others of the same content by its turn among them."""
        content = self._contents.get(memory_id, memory_id)
        alike = [each for each, held in self._contents.items() if held == content]
        turn = f" ({alike.index(memory_id) + 1} of {len(alike)} alike)" if len(alike) > 1 else ""
        return f"{content!r:.60}{turn}"

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
            got = f"{type(error).__name__}: {error}"
            raise Failure(f"raised {type(error).__name__}, not {names}: {error}", expected=names, got=got) from error
        message = f"answered {answer!r:.120} where {names} is due"
        raise Failure(message, expected=names, got=f"the answer {answer!r:.120}")
