"""A backend under test: one client of one colour over it, and its raw adapter beside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, get_args

from openmem import config
from openmem._generated.models import CapabilitiesRequest
from openmem._generated.verbs import VERB_OF, VERBS
from openmem.adapter import Adapter
from openmem.client import AsyncMemory, Memory
from openmem.embedding import info, resolve
from openmem.ownership import asked_by, foreign
from openmem.types import Capabilities, CapabilityFeatures

from .harness import Client, Colour, Harness, TickingClock
from .verdicts import REFUSALS

Target = str | Callable[..., Adapter]
"""A URL, or a class or function that makes an adapter from embedding= and clock=."""


class Backend:
    """A client over the target, and its raw adapter with the requests counted that reach it."""

    def __init__(self, target: Target, colour: Colour, options: Mapping[str, Any]) -> None:
        self._target, self._settings = target, {**_embedder(target, options), **options}
        self.colour = colour
        self.clock = TickingClock()
        self.reached = 0
        self.leaks: list[str] = []
        """Verbs that a raw adapter answered with another user's memory, which its client then withheld."""
        self.beside: list[Backend] = []
        """The others over the same target, which are closed with this one where it is reopened."""
        self._connect()

    def _connect(self) -> None:
        self.client = self._watched()
        self.raw = self.client._core.adapter

    def _watched(self) -> AsyncMemory | Memory:
        """Make a client whose requests are counted, and their answers looked at."""
        client = _client(self._target, self.colour, self.clock, self._settings)
        handle = client._core.adapter.handle

        async def watched(request: Any) -> Any:
            self.reached += 1
            asked = asked_by(request)
            answer = await handle(request)
            if foreign(asked, answer):
                self.leaks.append(VERB_OF[type(request)].name)
            return answer

        client._core.adapter.handle = watched  # type: ignore[method-assign]
        return client

    def _claim_every_feature(self) -> None:
        describe = self.raw.capabilities

        async def claiming(request: CapabilitiesRequest) -> Capabilities:
            native = await describe(request)
            return native.model_copy(update={"features": _every_feature(native.features)})

        self.raw.capabilities = claiming  # type: ignore[method-assign]

    async def open(self, *, admit_everything: bool = False) -> None:
        """Reach the backend; with admit_everything the guard lets undeclared verbs and features through."""
        self._admit_everything = admit_everything
        memory = Client(self.client)
        if admit_everything:
            self._claim_every_feature()
        self.capabilities: Capabilities = await memory.capabilities()
        if admit_everything:
            self.capabilities = self.client._core._capabilities = self.capabilities.model_copy(
                update={"verbs": [*VERBS]}
            )
        with suppress(*REFUSALS):  # a backend that refuses can be reached, and is the checks' to judge
            await memory.list(self.harness().user, limit=1)

    async def reopen(self) -> None:
        """Close every client over the target, and only then open them again."""
        every = (self, *self.beside)
        for each in every:
            await each.close()
        for each in every:
            each._connect()
            await each.open(admit_everything=each._admit_everything)

    @asynccontextmanager
    async def second(self) -> AsyncIterator[Client]:
        """Open a client beside the one under test, over the same target."""
        client = Client(self._watched())
        try:
            yield client
        finally:
            await client.close()

    def harness(self) -> Harness:
        """Make a fresh harness."""
        return Harness(self)

    async def close(self) -> None:
        """Close the client."""
        await Client(self.client).close()


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
