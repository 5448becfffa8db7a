"""An adapter behind its layers: one async function from request to response, and what opens and closes it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from .. import embedding
from .._generated.clients import UNSET
from .._generated.models import BatchResponse, Capabilities, CapabilitiesRequest, UpdateRequest
from .._generated.verbs import VERB_OF, VERBS
from ..adapter import Adapter
from ..config import ClientOptions
from ..errors import (
    ClosedError,
    InvalidRequestError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    nothing_written,
)
from ..layers import Layer
from ..layers.emulate import together
from ..layers.health import Probe
from ..layers.observe import observe
from ..layers.owner import check_kind
from ..layers.stack import Terms, inner, outer, stacked
from ..protocol.outcomes import BatchResults
from ..protocol.records import PATCHED
from ..protocol.validation import build, made_anew, no_request_id
from ..runtime import bridge
from ..runtime.calls import Call, Principal, Services, new_call, services
from ..runtime.fork import importing
from ..runtime.ids import is_request_id
from .sharing import Share


class Core:
    """What a client of either colour drives."""

    def __init__(
        self,
        adapter: Adapter,
        embedder: embedding.Embedder | None,
        options: ClientOptions,
        layers: Sequence[Layer] = (),
        *,
        client: object,
        colour: str,
    ) -> None:
        self.adapter, self.options = adapter, options
        self.embedder = embedding.gated(embedder)
        self.inline = adapter.inline and (embedder is None or embedder.inline) and not layers
        self.closed = False
        self._lent = embedder is not None and embedder is options.embedder
        self._services = Services(None if self.embedder is None else self.embedder.embed, options.retries)
        self._built, self._released = bridge.Once(), bridge.Once()
        self._failure: BaseException | None = None
        self._layered = bool(layers)
        self._probe = Probe()
        self._handle = stacked(outer(layers, self.describe, self._probe), self._answer)
        self.share = Share(client, adapter, embedding.info(self.embedder), colour)

    async def describe(self) -> Capabilities:
        """Return what adapter and layers support together; asked of the adapter once."""
        if not self._built.done:
            await self._built.run(self._build)
        return self._capabilities

    async def _build(self) -> None:
        with nothing_written():
            native = await self._described()
            check_kind(CapabilitiesRequest(), native, "the provider")
        timeout = None if self.inline else self.options.timeout
        advise = self.options.embedder == "auto"  # neither named nor declined
        terms = Terms(self.embedder, timeout, advise)
        self._inner = stacked(inner(self.adapter, native, terms), self.adapter.handle)
        self._capabilities = together(native)

    async def _described(self) -> Capabilities:
        """Ask the adapter what it supports, within the time that a call may take."""
        asked = self.adapter.capabilities(CapabilitiesRequest())
        if self.inline:
            return await asked
        try:
            async with asyncio.timeout(self.options.timeout):
                return await asked
        except TimeoutError as error:
            raise ProviderUnavailableError("the provider does not say what it supports.") from error

    async def _answer(self, request: BaseModel) -> Any:
        if type(request) is CapabilitiesRequest:
            return self._capabilities.model_copy(deep=True)
        self.refuse_closed()  # a layer may have kept its handler
        if not self.adapter.is_ready:
            await self._open()
        return await self._inner(request)

    async def open(self) -> None:
        """Open the adapter, however long that takes."""
        with observe(self.call("open")):
            self.refuse_closed()
            await self._open()

    async def _open(self) -> None:
        adapter = self.adapter
        try:
            if adapter.inline or adapter.repeats:
                await adapter.ready()
            else:
                with importing:
                    from ..runtime.repeat import repeat

                await repeat(adapter.ready, services().retries, harmless=True)
        except OMPError as error:
            error.written = "nothing"  # of what the caller asked for
            raise
        except Exception as error:
            message = f"{adapter.name} did not open: {type(error).__name__}."
            raise ProviderError(message, written="nothing") from error

    async def send(self, verb: str, fields: Mapping[str, Any]) -> Any:
        """Make the request of a verb, send it through the layers and unwrap the response."""
        with observe(self.call(verb), layered=self._layered):
            self.refuse_closed()
            response = await self._handle(build(verb, _given(verb, fields)))
        unwrap = VERBS[verb].unwrap
        if type(response) is BatchResponse:
            return BatchResults(response.results)
        return response if unwrap is None else getattr(response, unwrap)

    async def handle(self, request: BaseModel, request_id: str | None, principal: Principal | None) -> Any:
        """Send a request that was made elsewhere through the layers; it stays its maker's."""
        verb, problem = VERB_OF.get(type(request)), _problem(request_id, principal)
        own = {} if problem else {"request_id": request_id, "principal": principal}
        with observe(self.call(verb.name if verb else "handle", **own), layered=self._layered):
            self.refuse_closed()
            if problem:
                raise problem
            return await self._handle(made_anew(request))

    def call(self, verb: str, **own: Any) -> Call:
        """Begin a call; own: its request id and its principal, where the caller gave them."""
        return new_call(verb, self.adapter.name, self._services, **own)

    async def close(self) -> None:
        """Close the adapter with its last client, and the embedder unless it was lent.

        All of it is released before the first failure is raised. A second call waits for the first and does nothing
        more, unless that was interrupted: then it goes on.
        """
        self.closed = True
        if self._released.done or (self._released.is_under_way_here and bridge.stepping()):
            return  # in the latter case by a finalizer, or a signal's handler, in the midst of closing
        with observe(self.call("close")):
            await self._released.run(self._release)
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure

    async def _release(self) -> None:
        failures: list[BaseException] = []
        for release in (self._end_calls, self._close_adapter, self._close_embedder):
            try:
                await release()
            except BaseException as error:
                failures.append(error)
        for failure in failures:
            if not isinstance(failure, Exception):
                raise failure
        self._failure = failures[0] if failures else None

    async def _end_calls(self) -> None:
        """Wait for what a timeout left to itself, and end what asks for health."""
        await self._probe.close()
        end = getattr(self._inner, "close", None) if self._built.done else None
        if end is not None:
            await end()

    async def _close_adapter(self) -> None:
        if self.share.leave():
            await self.adapter.close()

    async def _close_embedder(self) -> None:
        if self.embedder is not None and not self._lent:
            await self.embedder.close()

    def refuse_closed(self) -> None:
        """Raise ClosedError once this is closed."""
        if self.closed:
            raise ClosedError("this client is closed.")


def _given(verb: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what the caller left out; for update None is a value, which clears."""
    if verb != "update":
        return {name: value for name, value in fields.items() if value is not None}
    absent = UpdateRequest.model_fields.keys() - PATCHED
    return {k: v for k, v in fields.items() if v is not UNSET and not (v is None and k in absent)}


def _problem(request_id: Any, principal: Any) -> InvalidRequestError | None:
    """Say what is wrong with what is to be known of a call: it goes into logs and the audit log."""
    if request_id is not None and not is_request_id(request_id):
        return no_request_id()
    if principal is not None and not isinstance(principal, Principal):
        return InvalidRequestError(f"principal is {type(principal).__name__}.", remedy="Give a Principal.")
    return None
