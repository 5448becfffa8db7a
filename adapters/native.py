"""What every backend over an engine of its own has in common."""

from __future__ import annotations

from typing import Any

from openmem._generated import models
from openmem.adapter import Adapter
from openmem.context import TOKEN_COUNTER

from .rules import Rules


class NativeAdapter(Adapter):
    """A backend that keeps whole records itself, and so has every feature of the protocol."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.rules = Rules(self.clock, self.embedding)

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
            max_content_length=100_000,
            supports_e2e=False,
            supports_audit=True,
            supports_supersession=True,
            supports_if_version=True,
            supports_external_id=True,
            supports_archive=True,
            supports_metadata=True,
            supports_vectors=vectors,
            filters="native",
            ingestion="sync",
            scores=self.scores(),
            embedding=self.embedding,
            token_counter=TOKEN_COUNTER,
        )

    def scores(self) -> models.ScoreKinds:
        """Say what kind of score each mode gives."""
        if self.embedding is None:
            return models.ScoreKinds(keyword="relative")
        return models.ScoreKinds(keyword="relative", vector="cosine", hybrid="fused")
