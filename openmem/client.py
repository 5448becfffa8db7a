"""Memory and AsyncMemory, and their views bound to one user."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Self

from pydantic import BaseModel, SecretStr

from . import embedding
from ._generated.clients import UNSET, AsyncUserVerbs, AsyncVerbs, UserVerbs, Verbs
from ._generated.models import Capabilities, CapabilitiesRequest, UpdateRequest
from ._generated.verbs import VERBS
from .adapter import Adapter
from .config import ClientOptions, Configuration, client_options, resolve
from .errors import (
    ClosedError,
    ConfigurationError,
    CopyError,
    IngestionTimeoutError,
    InvalidRequestError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
)
from .layers import Handler
from .layers.embed import embed
from .layers.emulate import emulate
from .layers.guard import guard
from .layers.observe import observe
from .layers.owner import owner
from .protocol.clock import Clock, utc_now
from .protocol.records import PATCHED
from .protocol.validation import build, check_user
from .runtime import bridge
from .runtime.fork import importing, in_child
from .runtime.frames import without_locals

if TYPE_CHECKING:
    from .layers.timeout import Timeout

_FIRST_POLL, _LONGEST_POLL = 0.05, 2.0  # seconds between looks at a queued memory
_LEFT, _LOOK = 5.0, 0.1  # seconds: for closing where the client's event loop has ended; between looks whether it has
_ENDED, _ITS_OWN = "the event loop of this AsyncMemory has ended.", "Close it in the loop that used it."


class _Core:
    """An adapter behind its layers: one async function from request to response."""

    def __init__(self, adapter: Adapter, embedder: embedding.Embedder | None, options: ClientOptions) -> None:
        self.adapter = adapter
        self.embedder = embedding.gated(embedder)
        self._lent = embedder is not None and embedder is options.embedder
        _lend(adapter, self.embedder, options)
        self.options = options
        self.inline = adapter.inline and (embedder is None or embedder.inline)
        self.closed = False
        self._timeout: Timeout | None = None
        self._built = bridge.Once()
        self._guarded = guard(self._answer, self.describe)

    async def describe(self) -> Capabilities:
        """Return what adapter and layers support together; asked of the adapter once."""
        if not self._built.done:
            await self._built.run(self._build)
        return self._capabilities

    async def _build(self) -> None:
        adapter = self.adapter
        handler: Handler = owner(adapter.handle)
        if not (adapter.inline or adapter.repeats):  # a backend in this process has nothing to repeat
            with importing:
                from .layers.retry import retry

            handler = retry(handler, self.options.retries)
        native = await self._described()
        advise = self.options.embedder == "auto"  # neither named nor declined
        handler, self._capabilities = emulate(
            embed(handler, self.embedder, native.features, advise=advise), native, adapter.clock
        )
        if not self.inline:
            with importing:
                from .layers.timeout import Timeout

            handler = self._timeout = Timeout(handler, self.options.timeout)
        self._inner = handler

    async def _described(self) -> Capabilities:
        """Ask the adapter what it supports, within the time that a call may take."""
        asked = self.adapter.capabilities(CapabilitiesRequest())
        if self.inline:
            return await asked
        try:
            async with asyncio.timeout(self.options.timeout):
                return await asked
        except TimeoutError as error:
            raise ProviderUnavailableError("the provider does not say what it supports.", written="nothing") from error

    async def _answer(self, request: BaseModel) -> Any:
        if type(request) is CapabilitiesRequest:
            return self._capabilities.model_copy(deep=True)
        if not self.adapter.is_ready:
            await self._open()
        return await self._inner(request)

    async def open(self) -> None:
        """Open the adapter, however long that takes."""
        with observe("open", self.adapter.name):
            self._refuse_closed()
            await self._open()

    async def _open(self) -> None:
        adapter = self.adapter
        try:
            if adapter.inline or adapter.repeats:
                await adapter.ready()
            else:
                with importing:
                    from .runtime.repeat import repeat

                await repeat(adapter.ready, self.options.retries, harmless=True)
        except OMPError as error:
            error.written = "nothing"  # of what the caller asked for
            raise
        except Exception as error:
            message = f"{adapter.name} did not open: {type(error).__name__}."
            raise ProviderError(message, written="nothing") from error

    async def send(self, verb: str, fields: Mapping[str, Any]) -> Any:
        """Make the request of a verb, send it through the layers and unwrap the response."""
        with observe(verb, self.adapter.name):
            self._refuse_closed()
            response = await self._guarded(build(verb, _given(verb, fields)))
        unwrap = VERBS[verb].unwrap
        return response if unwrap is None else getattr(response, unwrap)

    async def wait_for_ingest(self, ids: Sequence[str], user_id: str | None, timeout: float) -> None:
        """Poll until every id is done."""
        with observe("wait_for_ingest", self.adapter.name):
            self._refuse_closed()
            if not (isinstance(timeout, (int, float)) and timeout >= 0):  # which NaN is not
                raise InvalidRequestError(f"timeout is {timeout!r}.", remedy="Give a number of seconds.")
            if (await self.describe()).features.ingestion == "queued":
                await self._poll(list(ids), user_id, timeout)

    async def _poll(self, waiting: Sequence[str], user_id: str | None, timeout: float) -> None:
        deadline, pause = time.monotonic() + timeout, _FIRST_POLL
        while waiting:
            memories = [await self.send("get", {"id": each, "user_id": user_id}) for each in waiting]
            failed = [memory.id for memory in memories if memory.status == "failed"]
            if failed:
                raise ProviderError(f"{self.adapter.name} failed to store {', '.join(failed)}.")
            waiting = [memory.id for memory in memories if memory.status in ("queued", "indexing")]
            if waiting and time.monotonic() + pause > deadline:
                raise IngestionTimeoutError(f"not stored after {timeout:g} s: {', '.join(waiting)}.")
            if waiting:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_POLL)

    async def close(self) -> None:
        """Close the adapter, and the embedder unless it was lent to this client; a second call does nothing.

        All of it is released before the first failure is raised.
        """
        if self.closed:
            return
        self.closed = True
        with observe("close", self.adapter.name):
            try:
                if self._timeout is not None:
                    await self._timeout.close()
            finally:
                try:
                    await self.adapter.close()
                finally:
                    if self.embedder is not None:
                        await self._close_embedder(self.embedder)

    async def _close_embedder(self, embedder: embedding.Embedder) -> None:
        if self.adapter.embed == embedder.embed:
            self.adapter.embed = self.adapter.embedded_by = None
        if not self._lent:
            await embedder.close()

    def _refuse_closed(self) -> None:
        if self.closed:
            raise ClosedError("this client is closed.")


def _lend(adapter: Adapter, embedder: embedding.Embedder | None, options: ClientOptions) -> None:
    """Let an adapter use a client's embedder; refuse one unlike that of the adapter, or of another client of it."""
    described = embedding.info(embedder)
    for held in (adapter.embedding, adapter.embedded_by):
        if held is not None and described is not None and held != described:
            raise ConfigurationError(
                f"this adapter has the embedder {held.model} ({held.dimension} dimensions), not {described.model}"
                f" ({described.dimension} dimensions).",
                remedy="Give each client an adapter of its own, or the same embedder.",
            )
    adapter.retries = options.retries
    if embedder is not None:
        adapter.embed, adapter.embedded_by = embedder.embed, described


def _refuse_without_embedding(adapter: Adapter, embedder: embedding.Embedder | None) -> None:
    """Refuse an embedder of which an adapter would have no use: it keeps no vectors, or of its own making."""
    if embedder is None or adapter.embedding is not None:
        return
    features = adapter.features()
    if not (features.vector_search or features.supports_vectors) or adapter.embeds_itself(adapter.settings):
        raise ConfigurationError(
            f"this {type(adapter).__name__} was made without an embedder, and one is given.",
            remedy="Leave embedder out; or, where it takes vectors, make the adapter with"
            " embedding=openmem.embedding.info(EMBEDDER) and give the client that EMBEDDER.",
        )


def _given(verb: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what the caller left out; for update None is a value, which clears."""
    if verb != "update":
        return {name: value for name, value in fields.items() if value is not None}
    absent = UpdateRequest.model_fields.keys() - PATCHED
    return {k: v for k, v in fields.items() if v is not UNSET and not (v is None and k in absent)}


class _Client:
    """What both clients share: how they are made and shown."""

    _url = "not made"

    @without_locals
    def __init__(
        self,
        target: str | Adapter | None = None,
        /,
        *,
        url: str | None = None,
        provider: str | None = None,
        profile: str | None = None,
        clock: Clock | None = None,
        embedder: str | embedding.Embedder | None = None,
        embedder_url: str | None = None,
        embedder_api_key: str | SecretStr | None = None,
        embedder_dimension: int | None = None,
        embedder_batch: int | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        **options: Any,
    ) -> None:
        """Configure a client; nothing is opened until the first verb.

        target: a URL SCHEME://…, a provider's name, or an Adapter of your own. url, provider and the backend's own
        options: the same in keywords. profile: a profile of openmem.toml. clock: the present moment, for tests.
        embedder: 'auto', 'local', 'none', 'test', 'openai:MODEL' or an Embedder. timeout: seconds for a call. retries:
        how often a request that stored nothing is repeated. None: as the environment or the profile says. Raises
        ConfigurationError.
        """
        common = {
            "embedder": embedder,
            "embedder_url": embedder_url,
            "embedder_api_key": embedder_api_key,
            "embedder_dimension": embedder_dimension,
            "embedder_batch": embedder_batch,
            "timeout": timeout,
            "retries": retries,
        }
        given = {name: value for name, value in (common | options).items() if value is not None}
        if isinstance(target, Adapter):
            _refuse_for_adapter(url=url, provider=provider, profile=profile, clock=clock)
            self._over(target, given)
        else:
            self._of(resolve(target, url=url, provider=provider, profile=profile, **given), clock or utc_now)
        self._made()

    def _over(self, adapter: Adapter, given: Mapping[str, Any]) -> None:
        own = client_options({"embedder": "none", **given}, type(adapter))
        embedder = own.make_embedder()
        _refuse_without_embedding(adapter, embedder)
        self._core = _Core(adapter, embedder, own)
        self._url = f"{adapter.name}://"

    def _of(self, chosen: Configuration, clock: Clock) -> None:
        embedder = chosen.make_embedder()
        adapter = chosen.adapter(chosen.settings, embedding=embedding.info(embedder), clock=clock)
        self._core = _Core(adapter, embedder, chosen.options)
        self._url = chosen.safe_url

    def _made(self) -> None:
        """Do what one of the two clients needs besides."""

    @classmethod
    @without_locals
    def from_config(
        cls,
        profile: str | None = None,
        *,
        embedder: str | embedding.Embedder | None = None,
        embedder_url: str | None = None,
        embedder_api_key: str | SecretStr | None = None,
        embedder_dimension: int | None = None,
        embedder_batch: int | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        **options: Any,
    ) -> Self:
        """Make a client from a profile of openmem.toml, else from its default profile."""
        return cls(
            profile=profile,
            embedder=embedder,
            embedder_url=embedder_url,
            embedder_api_key=embedder_api_key,
            embedder_dimension=embedder_dimension,
            embedder_batch=embedder_batch,
            timeout=timeout,
            retries=retries,
            **options,
        )

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise CopyError(f"a client can be neither copied nor pickled: {self!r}.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"


def _refuse_for_adapter(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ConfigurationError(
                f"'{name}' is given beside an adapter, which is made already.",
                remedy="Give the adapter its clock when you make it." if name == "clock" else "Give one of the two.",
            )


class Memory(_Client, Verbs):
    """A memory store, sync: usable from several threads and inside a running event loop."""

    def _call(self, verb: str, fields: dict[str, Any]) -> Any:
        return bridge.run(self._core.send(verb, fields), inline=self._core.inline)

    def for_user(self, user_id: str) -> UserMemory:
        """Bind every verb to one user; InvalidRequestError for anything but a text that is not blank."""
        return UserMemory(self, user_id)

    def wait_for_ingest(self, ids: Sequence[str], user_id: str | None = None, *, timeout: float = 60.0) -> None:
        """Wait until queued memories are stored, `timeout` seconds at most; IngestionTimeoutError after that."""
        bridge.run(self._core.wait_for_ingest(ids, user_id, timeout), inline=self._core.inline)

    def open(self) -> None:
        """Open the store now: make it, bring it up to date, connect; else the first verb does, with no timeout."""
        bridge.run(self._core.open(), inline=self._core.inline)

    def close(self) -> None:
        """Release everything the client holds; a second call does nothing."""
        bridge.run(self._core.close(), inline=self._core.inline)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncMemory(_Client, AsyncVerbs):
    """A memory store, async: belongs to the event loop that first uses it."""

    _loop: asyncio.AbstractEventLoop | None = None

    def _made(self) -> None:
        in_child(self, AsyncMemory._leave_loop)

    def _leave_loop(self) -> None:
        """Belong, in a child of fork, to the loop that uses it there first."""
        self._loop = None

    async def _call(self, verb: str, fields: dict[str, Any]) -> Any:
        self._claim_loop()
        return await self._core.send(verb, fields)

    def _claim_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise ClosedError("this AsyncMemory belongs to another event loop.", remedy="Open one in this loop.")

    def for_user(self, user_id: str) -> AsyncUserMemory:
        """Bind every verb to one user; InvalidRequestError for anything but a text that is not blank."""
        return AsyncUserMemory(self, user_id)

    async def wait_for_ingest(self, ids: Sequence[str], user_id: str | None = None, *, timeout: float = 60.0) -> None:
        """Wait until queued memories are stored, `timeout` seconds at most; IngestionTimeoutError after that."""
        self._claim_loop()
        await self._core.wait_for_ingest(ids, user_id, timeout)

    async def open(self) -> None:
        """Open the store now: make it, bring it up to date, connect; else the first verb does, with no timeout."""
        self._claim_loop()
        await self._core.open()

    async def close(self) -> None:
        """Release everything the client holds; a second call does nothing.

        Called in another event loop, it closes in the client's own. Where that one has ended it releases what it can,
        and raises ClosedError where something is left that belonged to it.
        """
        loop, core = self._loop, self._core
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


class UserMemory(UserVerbs):
    """One user's memories: every verb of Memory without user_id."""

    def __init__(self, memory: Memory, user_id: str) -> None:
        self._memory, self._user_id = memory, user_id  # which a report of the failure shows
        self._user_id = check_user(user_id)

    @property
    def user_id(self) -> str:
        """The user that every verb is bound to."""
        return self._user_id

    def _call(self, verb: str, fields: dict[str, Any]) -> Any:
        return self._memory._call(verb, _bound(verb, fields, self.user_id))

    def wait_for_ingest(self, ids: Sequence[str], *, timeout: float = 60.0) -> None:
        """Wait until queued memories are stored, `timeout` seconds at most; IngestionTimeoutError after that."""
        self._memory.wait_for_ingest(ids, self.user_id, timeout=timeout)

    def __repr__(self) -> str:
        return f"{self._memory!r}.for_user({self.user_id!r})"


class AsyncUserMemory(AsyncUserVerbs):
    """One user's memories, async: every verb of AsyncMemory without user_id."""

    def __init__(self, memory: AsyncMemory, user_id: str) -> None:
        self._memory, self._user_id = memory, user_id  # which a report of the failure shows
        self._user_id = check_user(user_id)

    @property
    def user_id(self) -> str:
        """The user that every verb is bound to."""
        return self._user_id

    async def _call(self, verb: str, fields: dict[str, Any]) -> Any:
        return await self._memory._call(verb, _bound(verb, fields, self.user_id))

    async def wait_for_ingest(self, ids: Sequence[str], *, timeout: float = 60.0) -> None:
        """Wait until queued memories are stored, `timeout` seconds at most; IngestionTimeoutError after that."""
        await self._memory.wait_for_ingest(ids, self.user_id, timeout=timeout)

    def __repr__(self) -> str:
        return f"{self._memory!r}.for_user({self.user_id!r})"


def _bound(verb: str, fields: dict[str, Any], user_id: str) -> dict[str, Any]:
    if "user_id" in fields:  # it came as an extension: the bound verbs have no such parameter
        raise TypeError(f"{verb} is bound to a user and takes no user_id")
    return {**fields, "user_id": user_id} if "user_id" in VERBS[verb].request.model_fields else fields
