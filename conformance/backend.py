"""A backend under test: one client of one colour over it, and its raw adapter beside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, get_args

from openmem import config
from openmem._generated.models import CapabilitiesRequest
from openmem._generated.verbs import VERB_OF, VERBS
from openmem.adapter import Adapter
from openmem.client import AsyncMemory, Memory
from openmem.embedding import info, resolve
from openmem.errors import ConfigurationError
from openmem.layers.forms import FORMS
from openmem.protocol.ownership import asked_by, foreign
from openmem.types import Capabilities, CapabilityFeatures

from .contained import OutburstError, contained
from .harness import Calls, Client, Colour, Harness, TickingClock
from .names import Names, prefix
from .traces import Traces
from .verdicts import REFUSALS

Target = str | Callable[..., Adapter]
"""A URL, or a class or function that makes an adapter from embedding= and clock=."""


SETTLED = 30.0
"""Seconds that are waited for calls that go on without their caller, before what they wrote is removed."""


class Backend:
    """A client over the target, and its raw adapter with the requests counted that reach it."""

    def __init__(self, target: Target, colour: Colour, options: Mapping[str, Any], seed: int) -> None:
        self._target, self._settings = target, {**_embedder(target, options), **options}
        self._seed, self._calls, self._traces = seed, Calls(), Traces(prefix(seed))
        self.lends_embedder = "embedder" in self._settings
        """Whether the client's embedder makes the vectors, and not the backend its own."""
        self.colour = colour
        self.clock = TickingClock()
        self.reached = 0
        self.leaks: list[str] = []
        """Verbs that a raw adapter answered with another user's memory, which its client then withheld."""
        self.outburst: OutburstError | None = None
        """What the provider raised that no caller expects, after which nothing more is asked of it."""
        self.beside: list[Backend] = []
        """The others over the same target, which are closed with this one where it is reopened."""
        self._connect()

    def _connect(self) -> None:
        self.client = self._watched()
        self.memory, self.raw = Client(self.client, self._calls), self.client.adapter

    def _watched(self, **options: Any) -> AsyncMemory | Memory:
        """Make a client whose requests are counted, and their answers looked at."""
        client = _client(self._target, self.colour, self.clock, {**self._settings, **options})
        handle = client.adapter.handle

        async def watched(request: Any) -> Any:
            self.reached += 1
            asked = asked_by(request)
            self._traces.before(request)
            try:
                answer = await contained(handle(request))
            except OutburstError as outburst:
                self.outburst = outburst
                raise
            self._traces.after(request, answer)
            if foreign(asked, answer):
                self.leaks.append(VERB_OF[type(request)].name)
            return answer

        client.adapter.handle = watched  # type: ignore[method-assign]
        return client

    def _claim_everything(self) -> None:
        """Have the adapter claim every feature, and every verb but those it lacks that are made of others."""
        describe = self.raw.capabilities

        async def claiming(request: CapabilitiesRequest) -> Capabilities:
            native = await describe(request)
            verbs = [verb for verb in VERBS if verb in native.verbs or verb not in FORMS]
            return native.model_copy(update={"verbs": verbs, "features": _every_feature(native.features)})

        self.raw.capabilities = claiming  # type: ignore[method-assign]

    async def open(self, *, admit_everything: bool = False) -> None:
        """Reach the backend; with admit_everything the guard lets undeclared verbs and features through."""
        self._admit_everything = admit_everything
        if admit_everything:
            self._claim_everything()
        self.capabilities: Capabilities = await self.memory.capabilities()
        await self.reach()

    async def reach(self) -> None:
        """Ask the backend for anything, and raise where it does not answer."""
        try:
            await self.memory.list(self.harness("open").user, limit=1)
        except ConfigurationError:  # no client of these options can work here
            raise
        except REFUSALS:  # a backend that refuses can be reached, and is the checks' to judge
            return

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Close every client over the target, and open them again afterwards."""
        every = (self, *self.beside)
        for each in every:
            await each.close()
        try:
            yield
        finally:
            for each in every:
                each._connect()
            for each in every:
                await each.open(admit_everything=each._admit_everything)

    @asynccontextmanager
    async def second(self, **options: Any) -> AsyncIterator[Client]:
        """Open a client beside the one under test, over the same target, by other options where some are given."""
        client = Client(self._watched(**options), self._calls)
        try:
            yield client
        finally:
            await client.close()

    def harness(self, *place: str) -> Harness:
        """Make a fresh harness, whose names are those of a place in the run."""
        return Harness(self, Names(self._seed, self.colour, *place))

    async def remove(self, *, again: bool = False) -> None:
        """Delete what was written, once nothing more is; again: also what could not be deleted before."""
        await self._calls.settle(SETTLED)
        if self._traces.left:
            if self.client.closed:  # an interrupt came between closing and opening
                self._connect()
            await self._traces.remove(self.memory, self.capabilities, again=again)

    @property
    def left(self) -> list[str]:
        """The users of whom something may be left."""
        return self._traces.left

    async def close(self) -> None:
        """Close the client."""
        await self.memory.close()


def _embedder(target: Target, options: Mapping[str, Any]) -> dict[str, str]:
    """Choose the predictable embedder, unless the backend has its own."""
    if isinstance(target, str) and "embedder" not in options:
        chosen = config.resolve(target, **options)
        if chosen.adapter.embeds_itself(chosen.settings):
            return {}
    return {"embedder": "test"}


def _client(target: Target, colour: Colour, clock: TickingClock, settings: dict[str, Any]) -> AsyncMemory | Memory:
    client: Callable[..., AsyncMemory | Memory] = AsyncMemory if colour == "async" else Memory
    if isinstance(target, str):
        return client(target, clock=clock, **settings)
    embedder = resolve(settings["embedder"])
    return client(target(embedding=info(embedder), clock=clock), **settings)


def _every_feature(features: CapabilityFeatures) -> CapabilityFeatures:
    flags = [name for name, field in CapabilityFeatures.model_fields.items() if bool in get_args(field.annotation)]
    return features.model_copy(update={**dict.fromkeys(flags, True), "scopes": "native", "filters": "native"})
