"""Vectors as pgvector keeps them: of length 1, so that the inner product is the cosine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector_async

from openmem._generated.models import EmbeddingInfo
from openmem.errors import ConfigurationError

from ..vectors import unit

Precision = Literal["single", "half"]

INDEXABLE = {"single": 2000, "half": 4000}
"""Dimensions that pgvector can index, by precision."""
EF_CONSTRUCTION, M = 64, 16
"""pgvector's defaults for the graph of HNSW, written down because stores outlive defaults."""

register = register_vector_async
"""Teaches a connection the types of pgvector."""


class Vectors:
    """The column of a store that has an embedding."""

    def __init__(self, embedding: EmbeddingInfo, precision: Precision) -> None:
        self.dimension = embedding.dimension
        self.precision = precision
        self.type = "vector" if precision == "single" else "halfvec"

    @property
    def column(self) -> str:
        """The column's type."""
        return f"{self.type}({self.dimension})"

    def value(self, vector: Sequence[float]) -> Any:
        """Return a vector as a parameter of a statement."""
        return (Vector if self.precision == "single" else HalfVector)(unit(vector))

    def index(self) -> str:
        """Write the statement that makes the index; the inner product also admits a vector of zeros.

        Raises ConfigurationError for more dimensions than pgvector can index.
        """
        if self.dimension > INDEXABLE[self.precision]:
            remedy = "precision=half indexes up to 4000; index=none searches exactly."
            raise ConfigurationError(f"an index cannot have {self.dimension} dimensions.", remedy=f"Choose: {remedy}")
        return f"""CREATE INDEX IF NOT EXISTS memories_embedding ON openmem.memories
            USING hnsw (embedding {self.type}_ip_ops) WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})"""
