"""A backend under test: one client of one colour over it, and its raw adapter beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, get_args

from openmem import config
from openmem._generated.models import CapabilitiesRequest
from openmem._generated.verbs import VERB_OF, VERBS
from openmem.adapter import Adapter
from openmem.client import AsyncMemory, Memory
from openmem.embedding import info, resolve
from openmem.layers.owner import foreign
from openmem.types import Capabilities, CapabilityFeatures

from .harness import Client, Colour, Harness, TickingClock
from .verdicts import REFUSALS

Target = str | Callable[..., Adapter]
"""A URL, or a class or function that makes an adapter from embedding= and clock=."""


class Backend:
    """A client over the target, and its raw adapter with the requests counted that reach it."""

    def __init__(self, target: Target, colour: Colour, options: Mapping[str, Any]) -> None:
        self.colour = colour
        self.clock = TickingClock()
        self.client = _client(target, colour, self.clock, {**_embedder(target, options), **options})
        self.raw = self.client._core.adapter
        self.reached = 0
        self.leaks: list[str] = []
        """Verbs that the raw adapter answered with another user's memory, which the client then withheld."""
        self._watch_requests()

    def _watch_requests(self) -> None:
        handle = self.raw.handle

        async def watched(request: Any) -> Any:
            self.reached += 1
            answer = await handle(request)
            if foreign(request, answer):
                self.leaks.append(VERB_OF[type(request)].name)
            return answer

        self.raw.handle = watched  # type: ignore[method-assign]

    def _claim_every_feature(self) -> None:
        describe = self.raw.capabilities

        async def claiming(request: CapabilitiesRequest) -> Capabilities:
            native = await describe(request)
            return native.model_copy(update={"features": _every_feature(native.features)})

        self.raw.capabilities = claiming  # type: ignore[method-assign]

    async def open(self, *, admit_everything: bool = False) -> None:
        """Reach the backend; with admit_everything the guard lets undeclared verbs and features through."""
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

    def harness(self) -> Harness:
        """Make a fresh harness."""
        return Harness(
            self.client, self.raw, self.capabilities, self.clock, self.colour, lambda: self.reached, self.leaks
        )

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
