"""mem0://… keeps memories in mem0, in this process; mem0://HOST in its hosted platform."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote
from uuid import uuid4

from openmem._generated import models
from openmem.adapter import CHUNK, Adapter, Settings
from openmem.errors import ClosedError, ConfigurationError, UnsupportedCapabilityError
from openmem.protocol import census, cursors, records, selection
from openmem.runtime.bridge import finished
from openmem.runtime.calls import services
from openmem.runtime.erasing import part_written

from ..kit.base import other_embedding
from ..kit.remote import RemoteAdapter, Transaction
from ..kit.staging import Staging, Wanted
from ..kit.store import Logged
from ..kit.vectors import with_vectors
from . import changes, erasing
from . import reads as stored
from .library import Library, home
from .search import Search
from .settings import Mem0Settings

T = TypeVar("T")
USUAL_DIMENSION = 1536
"""Dimensions of mem0's own embedder where its configuration does not tell."""
COSINE = ("qdrant", "pgvector")
"""Vector stores whose score is the cosine."""
WHOLE = ("qdrant",)
"""Vector stores that find all rows of a user; faiss filters what it found, and an index of pgvector may miss some."""
PATIENCE = 60.0
"""Seconds that an extraction, which no cancellation ends, waits for the embedder of a loop that may be gone."""
NO_MODEL = "Configure llm_url and llm_model: an OpenAI-compatible endpoint that extracts the facts."


class Mem0Adapter(RemoteAdapter):
    """Records in mem0's vector store and history, whole in an envelope; changes by our rules, searches by vector."""

    name = "mem0"
    unreached = erasing.UNREACHED
    pages_search = True
    settings_type = Mem0Settings
    settings: Mem0Settings

    def __init__(self, settings: Mem0Settings | None = None, **options: Any) -> None:
        self._config = _configured(settings or Mem0Settings())
        if "embedder" in self._config:
            options["embedding"] = _own_embedding(self._config)
        super().__init__(settings, **options)
        self._library: Library | None = None

    def new_id(self) -> str:
        """Make an id as mem0 has them."""
        return str(uuid4())

    @classmethod
    def serving(cls, url: SplitResult, options: Mapping[str, Any]) -> type[Adapter]:
        """Tell the platform, which has a host or a key, from the library."""
        if not url.netloc and (url.path or not {"host", "api_key"} & options.keys()):
            return cls
        from .hosted import HostedMem0Adapter

        return HostedMem0Adapter

    @classmethod
    def options_from_url(cls, url: SplitResult) -> dict[str, Any]:
        """Read the folder: mem0:// for the usual one, mem0:///relative, mem0:////absolute."""
        path = unquote(url.path.removeprefix("/"))
        return {"path": path} if path else {}

    @classmethod
    def embeds_itself(cls, settings: Settings) -> bool:
        """Say whether the configuration brings mem0's own embedder."""
        return isinstance(settings, Mem0Settings) and "embedder" in (settings.config or {})

    def features(self) -> models.CapabilityFeatures:
        """Say what is true of mem0 with our envelope: no search by words, no log of who read what."""
        return (
            super()
            .features()
            .model_copy(
                update={"keyword_search": False, "hybrid_search": False, "supports_audit": False, "filters": "client"}
            )
        )

    def scores(self) -> models.ScoreKinds:
        """Say what the store's score is."""
        return models.ScoreKinds(vector="cosine" if self._provider in COSINE else f"mem0 {self._provider}")

    @property
    def _provider(self) -> str:
        return str((self._config.get("vector_store") or {}).get("provider", "qdrant"))

    def native_verbs(self) -> Collection[str]:
        """Leave out remember where there is no language model."""
        return [verb for verb in super().native_verbs() if verb != "remember" or "llm" in self._config]

    def remedies(self) -> Mapping[str, str]:
        """Say how to get the language model."""
        return {} if "llm" in self._config else {"remember": NO_MODEL}

    async def open(self) -> None:
        """Import mem0, open its store and hold it to the embedding."""
        embedding = self.configured_embedding()
        folder, private = self.settings.path or home(), self.settings.private
        library = Library(folder, self._config, embedding.dimension, private=private)
        await library.open()
        try:
            await library.call(_hold_to, embedding)
        except BaseException:
            await finished(library.close())
            raise
        self._library = library

    async def close(self) -> None:
        """Close the store and mem0's history."""
        library, self._library = self._library, None
        if library is not None:
            await library.close()

    async def list(self, request: models.ListRequest) -> models.MemoryPage:
        """Return one page of the user's memories, which mem0 gives all at once and in no order of time."""
        selected = selection.predicate(request, self.clock())
        if request.include_vectors and self._provider not in stored.TELLS_VECTORS:
            raise UnsupportedCapabilityError(
                f"mem0 does not read the vectors of {self._provider}.", remedy="Leave include_vectors out."
            )
        every = await self._call(stored.every, request.user_id)
        page = cursors.page_of(request, filter(selected, every))
        if request.include_vectors:
            with_vectors(page, await self._call(stored.vectors_of, [memory.id for memory in page.items]))
        return page

    async def selected(self, request: models.EraseRequest) -> AsyncIterator[Collection[models.MemoryRecord]]:
        """Read what an erase selects, all at once."""
        selects = selection.predicate(selection.in_every_state(request), self.clock())
        yield [memory for memory in await self._call(stored.every, request.user_id) if selects(memory)]

    async def erased(self, request: models.EraseRequest, count: int) -> models.EraseResponse:
        """Remove the user's last messages too, whatever is selected: what was extracted from them is not known."""
        if not request.dry_run:
            with part_written(count):
                await self._call(erasing.forget_messages, request.user_id)
        return await super().erased(request, count)

    async def scrub(self) -> Sequence[str]:
        """Rewrite the files that this process alone has."""
        return await self._call(erasing.scrub)

    async def scan(self, user_id: str) -> AsyncGenerator[Sequence[models.MemoryRecord], None]:
        """Walk the user's memories, which mem0 gives all at once; their vectors are read later, where they can be."""
        every = sorted(await self._call(stored.every, user_id), key=cursors.position)
        for start in range(0, len(every), CHUNK):
            some = every[start : start + CHUNK]
            vectors = await self._call(stored.vectors_of, [memory.id for memory in some])
            yield with_vectors(models.MemoryPage(items=some), vectors).items

    async def users(self, request: models.UsersRequest) -> models.UserPage:
        """Return one page of users, whom mem0 keeps nowhere but in its records: all of them are read."""
        counted, after = await self._call(stored.users), cursors.name_in(request)
        return census.user_page(sorted(each for each in counted if after is None or each[0] > after), request.limit)

    async def health(self, request: models.HealthRequest) -> models.Health:
        """Read a record of mem0's store, if it has one."""
        await self._call(stored.listed, None, 1)
        return models.Health(status="ok", engine=f"mem0 {version('mem0ai')} over {self._provider}")

    async def search(self, request: models.SearchRequest) -> models.SearchResponse:
        """Read the nearest."""
        if request.min_score is not None and self._provider not in COSINE:
            raise UnsupportedCapabilityError(
                f"min_score means nothing to the scores of {self._provider}.", remedy="Leave min_score out."
            )
        embed = services().embed or partial(self._call, stored.embedded)
        search = Search(request, self.clock(), self._call, embed, whole=self._provider in WHOLE)
        return await search.run()

    async def remember(self, request: models.RememberRequest) -> models.RememberResponse:
        """Let mem0's language model extract facts from a conversation."""
        if "llm" not in self._config:
            raise UnsupportedCapabilityError("mem0 has no language model.", remedy=NO_MODEL)
        model = self.embedding.model if self.embedding else None

        def made(memory_id: str, content: str) -> models.MemoryRecord:
            return records.new_fact(request, content, memory_id=memory_id, now=self.clock(), embedding_model=model)

        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        vectors_of = self._vectors_of(asyncio.get_running_loop())
        items = await self._call(changes.remember, messages, request.user_id, vectors_of, made)
        return models.RememberResponse(items=items)

    def _vectors_of(self, loop: asyncio.AbstractEventLoop) -> changes.Embeds:
        """Let a thread embed by the embedder of the client that calls, which belongs to the loop."""
        embed = services().embed

        async def embedded(texts: Sequence[str]) -> Sequence[Sequence[float]]:
            if embed is None:
                raise ConfigurationError("no embedder is configured.", remedy="Name one with embedder=….")
            return await embed(texts)

        return lambda texts: asyncio.run_coroutine_threadsafe(embedded(texts), loop).result(PATIENCE)

    async def fetch(self, ids: Collection[str], user_id: str | None) -> Collection[models.MemoryRecord]:
        """Read records by id."""
        found = await self._call(stored.read, ids)
        return [memory for memory in stored.memories(found) if user_id is None or memory.user_id == user_id]

    async def fetch_keys(self, external_ids: Collection[str], user_id: str) -> Collection[models.MemoryRecord]:
        """Read a user's records by external_id, as it stands beside the envelope."""
        keys = frozenset((user_id, each) for each in external_ids)
        found = await self._call(stored.read_wanted, Wanted(keys=keys))
        return [memory for memory in stored.memories(found) if (memory.user_id, memory.external_id) in keys]

    @asynccontextmanager
    async def transaction(self, users: Collection[str]) -> AsyncIterator[Transaction]:
        """Begin a change."""
        library = self._opened()
        async with library.change():
            yield Mem0Transaction(library)

    async def log_read(self, user_id: str, entry: Logged) -> None:
        """Keep nothing: mem0 has no log of who read what."""

    async def _call(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self._opened().call(work, *arguments)

    def _opened(self) -> Library:
        if self._library is None:
            raise ClosedError("this adapter is closed.")
        return self._library


class Mem0Transaction:
    """A staged.Transaction; where the process dies in the midst of a write, what was written stays."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._payloads: dict[str, stored.Payload] = {}

    async def read(self, wanted: Wanted) -> Collection[models.MemoryRecord]:
        """Read records by id, and by external_id as it stands beside the envelope."""
        found = await self._library.call(stored.read_wanted, wanted)
        self._payloads.update(found)
        return [*stored.memories(found)]

    async def write(self, staging: Staging) -> None:
        """Write all that is staged, or nothing."""
        if staging.inserted or staging.replaced or staging.removed:
            await finished(self._library.call(changes.write, staging, self._payloads))


def _configured(settings: Mem0Settings) -> dict[str, Any]:
    """Complete mem0's configuration by our own options."""
    config = dict(settings.config or {})
    if settings.llm_url is None:
        return config
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
    # mem0's "openai" would let a variable of the environment choose another endpoint.
    config["llm"] = {
        "provider": "vllm",
        "config": {"model": settings.llm_model, "vllm_base_url": settings.llm_url, "api_key": key},
    }
    return config


def _own_embedding(config: Mapping[str, Any]) -> models.EmbeddingInfo:
    """Describe mem0's own embedder."""
    embedder = config["embedder"]
    details = embedder.get("config") or {}
    store = (config.get("vector_store") or {}).get("config") or {}
    dimension = store.get("embedding_model_dims") or details.get("embedding_dims") or USUAL_DIMENSION
    name = f"{embedder.get('provider', 'openai')}:{details.get('model', 'default')}"
    return models.EmbeddingInfo(model=name, dimension=dimension)


def _hold_to(mem0: Any, embedding: models.EmbeddingInfo) -> None:
    """Refuse a store of another embedding."""
    held = stored.embedding_of(mem0, embedding)
    if held != embedding:
        raise other_embedding(held, embedding)
