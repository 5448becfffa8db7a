"""NativeAdapter, the base of backends that keep whole records, and errors that several of them raise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from openmem._generated import models
from openmem._generated.bounds import MAX_CONTENT_LENGTH
from openmem.adapter import Adapter
from openmem.errors import ConfigurationError, ProviderError
from openmem.protocol.context import TOKEN_COUNTER
from openmem.runtime.erasing import part_written
from openmem.runtime.ids import new_memory_id

from .changes import Rules


class NativeAdapter(Adapter):
    """A backend that keeps whole records itself, and so has every feature of the protocol."""

    durable: ClassVar[bool] = True
    """Whether what was acknowledged outlives the client that wrote it, and other clients see it."""
    unreached: ClassVar[Sequence[str]] = ("Copies of the store: backups, exports, replicas.",)
    """Where something of what was erased may be left that this backend cannot reach; one sentence each."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.rules = Rules(self.clock, self.embedding, self.new_id)

    def new_id(self) -> str:
        """Make the id of a memory."""
        return new_memory_id()

    def features(self) -> models.CapabilityFeatures:
        """Say what all these backends support; vectors come with an embedder."""
        vectors = self.embedding is not None
        return models.CapabilityFeatures(
            vector_search=vectors,
            keyword_search=True,
            hybrid_search=vectors,
            graph_queries=False,
            temporal=True,
            scopes="native",
            max_content_length=MAX_CONTENT_LENGTH,
            supports_e2e=False,
            supports_audit=True,
            supports_supersession=True,
            supports_chain_delete=True,
            supports_if_version=True,
            supports_external_id=True,
            external_id_lookup="native",
            supports_archive=True,
            supports_sessions=True,
            supports_metadata=True,
            oldest_first=True,
            supports_vectors=vectors,
            filters="native",
            ingestion="sync",
            durable=self.durable,
            scores=self.scores(),
            embedding=self.embedding,
            token_counter=TOKEN_COUNTER,
        )

    def configured_embedding(self) -> models.EmbeddingInfo:
        """Return the embedding that vectors are to be made anew by; ConfigurationError without one."""
        if self.embedding is None:
            raise ConfigurationError("no embedder is configured.", remedy="Name one with embedder=….")
        return self.embedding

    async def scrub(self) -> Sequence[str]:
        """Overwrite what the engine holds of what was deleted; say, one sentence each, what could not be."""
        return ()

    async def erased(self, request: models.EraseRequest, count: int) -> models.EraseResponse:
        """Answer an erase that is done, or that was only tried."""
        with part_written(0 if request.dry_run else count):
            left = () if request.dry_run else await self.scrub()
        return models.EraseResponse(count=count, dry_run=request.dry_run, unreached=[*left, *self.unreached])

    def scores(self) -> models.ScoreKinds:
        """Say what kind of score each mode gives."""
        if self.embedding is None:
            return models.ScoreKinds(keyword="relative")
        return models.ScoreKinds(keyword="relative", vector="cosine", hybrid="fused")


def check_place(path: Path) -> None:
    """Refuse a path whose folder is missing."""
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(f"there is no folder for {path}.", remedy="Make the folder first.")


def within_itself() -> ProviderError:
    """Say that a finalizer or a signal handler wants the store in the midst of a call of its own thread."""
    return ProviderError(
        "this thread is in the midst of another call of the store.",
        remedy="Call it after that one, or in another thread.",
        written="nothing",
    )


def other_embedding(held: models.EmbeddingInfo | None, wanted: models.EmbeddingInfo | None) -> ConfigurationError:
    """Say that a store with memories has another embedding than the configured one; None: keyword-only."""
    return ConfigurationError(
        f"the store was made with {_name(held)}, not {_name(wanted)}.",
        remedy="Open a client with that embedder, or run `openmem reembed` with the new one.",
    )


def newer_schema(what: str, version: int, known: int) -> ConfigurationError:
    """Say that a store was written by a later version of this package."""
    return ConfigurationError(
        f"{what} has schema {version}; this openmem knows up to {known}.", remedy="Upgrade openmem-sdk."
    )


def _name(embedding: models.EmbeddingInfo | None) -> str:
    return f"{embedding.model} ({embedding.dimension} dimensions)" if embedding else "no embedder"
