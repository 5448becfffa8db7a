"""The mem0 library: imported without its telemetry, made from a configuration, called by one thread at a time.

mem0 reads MEM0_TELEMETRY and MEM0_DIR when it is first imported. Two optional packages of it would look for their
models on the network when first used; they are told that there are none.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from openmem.errors import ConfigurationError, OMPError, ProviderError, UnsupportedProviderError
from openmem.runtime.bridge import finished, offload
from openmem.runtime.frames import without_locals
from openmem.urls import ENCODE

from ..kit.folders import Folder, FolderEngine, Folders, claim, in_use

T = TypeVar("T")
HISTORY, VECTORS = "history.db", "qdrant"
"""What mem0 keeps in its folder."""
SERVER = "configure a vector store that has a server"
"""What several processes can use."""
OURS = "openmem"
"""Name under which mem0 finds the classes below."""
ITERATIVE = "-c hnsw.iterative_scan=relaxed_order -c hnsw.ef_search=200 -c hnsw.max_scan_tuples=2147483647"
"""Settings of pgvector's index, from 0.8 on."""
_CONNECTION = ("dbname", "user", "password", "host", "port", "sslmode")


class OurEmbedder:
    """What mem0 embeds by while it extracts facts: a function that the call under way provides."""

    def __init__(self, config: Any) -> None:
        self.vectors_of: Callable[[Sequence[str]], Sequence[Sequence[float]]] | None = None

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        """Return the vector of a text."""
        return self.embed_batch([text])[0]

    def embed_batch(self, texts: Sequence[str], memory_action: str | None = None) -> list[list[float]]:
        """Return one vector a text."""
        if self.vectors_of is None:
            raise ConfigurationError("no embedder is configured.", remedy="Name one with embedder=….")
        return [[float(number) for number in vector] for vector in self.vectors_of(texts)]


class NoModel:
    """The language model of a store that has none; mem0 wants one even where it is not used."""

    def __init__(self, config: Any = None) -> None:
        self.config = config

    def generate_response(self, *_: Any, **__: Any) -> str:
        """Refuse."""
        raise ConfigurationError("mem0 has no language model.", remedy="Configure llm_url and llm_model.")


class Library(FolderEngine[Any]):
    """mem0's Memory over one configuration; clients of one store share it, since a folder opens but once."""

    engine = "mem0"

    def __init__(self, folder: Path, config: Mapping[str, Any], dimension: int, *, private: bool) -> None:
        folder, config = folder.resolve(), _resolved(config)
        super().__init__(_place(folder, config), FOLDERS, private=private)
        self._configured = (folder, config, dimension)

    @without_locals
    def take(self) -> Folder[Any]:
        """Import mem0 and open the store, which may lie outside of the folder claimed."""
        place, config, _ = self._configured
        self.claim = claim(place, self.engine, private=self.private)
        if self.private:
            _reserve(place, config)
        folder = self.folders.take(self.path, *self._configured, claimed=self.claim)
        if folder.opened.openmem_configured != self._configured:
            self.folders.give_back(folder)
            raise ConfigurationError(f"{self.path} is open with another configuration.", remedy="Close it first.")
        return folder

    async def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call work(memory, …) in a thread, alone: neither mem0 nor most of its stores are safe in several."""
        return await offload(self.alone, work, *arguments)

    @asynccontextmanager
    async def change(self) -> AsyncIterator[None]:
        """Keep other writers out: those of this process, and of pgvector those of all."""
        async with self.turns:
            if (self._configured[1].get("vector_store") or {}).get("provider") != "pgvector":
                yield
                return
            try:
                await finished(self.call(_lock))
                yield
            finally:
                await finished(self.call(_unlock))

    def explained(self, error: Exception) -> OMPError:
        """Say what an error of mem0 or of its store means."""
        if "already accessed" in str(error):
            return in_use(self.path, SERVER)
        # What is written says so itself; the rest of what is called here reads.
        return ProviderError(f"mem0 failed: {type(error).__name__}.", remedy="See the cause.", written="nothing")


def _reserve(folder: Path, config: Mapping[str, Any]) -> None:
    """Make what mem0 would make for everybody to read, in a folder that was there before."""
    if "history_db_path" not in config:
        os.close(os.open(folder / HISTORY, os.O_CREAT | os.O_RDWR, 0o600))
    if "vector_store" not in config:
        (folder / VECTORS).mkdir(0o700, exist_ok=True)


def home() -> Path:
    """Return the folder that mem0 keeps its own in."""
    return Path(os.environ.get("MEM0_DIR") or Path.home() / ".mem0")


def open_memory(path: Path, folder: Path, config: Mapping[str, Any], dimension: int) -> Any:
    """Make mem0's Memory over a folder and a configuration; path is where its vectors are."""
    mem0 = _imported(folder)
    if "vector_store" not in config:
        importlib.import_module("openmem.adapters.qdrant.local").look_over(path, SERVER)
    configs = importlib.import_module("mem0.configs.base")
    parts = {name: value for name, value in config.items() if name not in ("vector_store", "embedder", "llm")}
    parts.setdefault("history_db_path", str(folder / HISTORY))
    store, whole = _completed(config.get("vector_store"), folder, dimension), None
    with suppress(ValueError):
        whole = configs.MemoryConfig(
            **parts,
            vector_store=_part("mem0.vector_stores.configs", "VectorStoreConfig", store),
            embedder=_part("mem0.embeddings.configs", "EmbedderConfig", config.get("embedder")),
            llm=_part("mem0.llms.configs", "LlmConfig", config.get("llm")),
        )
    if whole is None:  # neither the message nor the cause is told: they quote the configuration, keys included
        raise ConfigurationError("mem0 does not take this config.", remedy="Compare it with mem0's manual.")
    memory = mem0.Memory(whole)
    memory.vector_store._bm25_encoder = False
    memory.openmem_configured = (folder, config, dimension)
    return memory


def _resolved(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Spell the folder of a store in one way, so that who spells it in another shares it."""
    store = config.get("vector_store") or {}
    given = store.get("config") or {}
    if not isinstance(given.get("path"), (str, Path)):
        return config
    path = str(Path(given["path"]).resolve())
    return {**config, "vector_store": {**store, "config": {**given, "path": path}}}


def _place(folder: Path, config: Mapping[str, Any]) -> Path:
    """Name the one place of a store: its own folder, or where several stores of one folder differ."""
    store = config.get("vector_store")
    if store is None:
        return folder / VECTORS
    path = (store.get("config") or {}).get("path")
    return Path(path) if path else folder / blake2b(repr(store).encode(), digest_size=8).hexdigest()


def _imported(folder: Path) -> Any:
    """Import mem0, and tell it of our classes."""
    os.environ["MEM0_TELEMETRY"] = "False"
    os.environ.setdefault("MEM0_DIR", str(folder))
    try:
        mem0 = importlib.import_module("mem0")
    except ImportError as error:
        raise UnsupportedProviderError(
            "mem0ai is not installed.", remedy="Run: pip install 'openmem-sdk[mem0]'"
        ) from error
    factory = importlib.import_module("mem0.utils.factory")
    models: Any = importlib.import_module("mem0.utils.spacy_models")
    models._load_failed_full = models._load_failed_lemma = True
    factory.EmbedderFactory.provider_to_class[OURS] = f"{__name__}.{OurEmbedder.__name__}"
    factory.LlmFactory.register_provider(OURS, f"{__name__}.{NoModel.__name__}")
    return mem0


def _completed(given: Mapping[str, Any] | None, folder: Path, dimension: int) -> dict[str, Any]:
    """Complete the configuration of a vector store; ConfigurationError where its connection_string is none."""
    if given is None:
        given = {"provider": "qdrant", "config": {"path": str(folder / VECTORS), "collection_name": "mem0"}}
    config = dict(given.get("config") or {})
    if given.get("provider", "qdrant") != "chroma":
        config.setdefault("embedding_model_dims", dimension)
    if given.get("provider") == "pgvector" and "connection_pool" not in config:
        config = _going_on(config)
    return {**given, "config": config}


def _going_on(config: Mapping[str, Any]) -> dict[str, Any]:
    """Let pgvector's index go on until it has enough rows of a user: else a search answers with too few."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    parts = {name: str(config[name]) for name in _CONNECTION if config.get(name) is not None}
    given = None
    with suppress(ProgrammingError):  # which quotes it
        given = conninfo_to_dict(config.get("connection_string") or make_conninfo(**parts))
    if given is None:
        raise ConfigurationError("the connection_string of mem0's pgvector is none.", remedy=ENCODE)
    known = {name: str(value) for name, value in given.items() if value is not None}
    known["options"] = f"{known.get('options', '')} {ITERATIVE}".strip()
    rest = {name: value for name, value in config.items() if name not in _CONNECTION}
    return {**rest, "connection_string": make_conninfo(**known)}


def _part(module: str, name: str, given: Mapping[str, Any] | None) -> Any:
    """Make a part of mem0's configuration; one that is not given is a class of ours."""
    part = getattr(importlib.import_module(module), name)
    if given is not None:
        return part(**given)
    return part.model_construct(provider=OURS, config={})  # which skips mem0's list of providers


def _lock(memory: Any) -> None:
    """Take pgvector's table, for as long as a transaction lasts that does nothing else."""
    pool = memory.vector_store.connection_pool
    if 1 in (getattr(pool, "max_size", None), getattr(pool, "maxconn", None)):  # there is none to spare
        return
    memory.openmem_turn = connection = pool.getconn()
    cursor = connection.cursor()
    cursor.execute("SET LOCAL lock_timeout = '30s'")
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"openmem {memory.collection_name}"])


def _unlock(memory: Any) -> None:
    connection, memory.openmem_turn = getattr(memory, "openmem_turn", None), None
    if connection is not None:
        try:
            connection.rollback()
        finally:
            memory.vector_store.connection_pool.putconn(connection)


def close_memory(memory: Any) -> None:
    """Close all that mem0's Memory has open, and only then raise what failed."""
    with ExitStack() as stack:
        stack.callback(memory.close)
        for name in ("client", "connection_pool"):
            close = getattr(getattr(memory.vector_store, name, None), "close", None)
            if close is not None:
                stack.callback(close)


FOLDERS = Folders[Any](open_memory, close_memory)
