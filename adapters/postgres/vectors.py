"""Vectors as pgvector keeps them: of length 1, so that the inner product is the cosine."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types import TypeInfo

from openmem._generated.models import EmbeddingInfo
from openmem.errors import ConfigurationError

from ..kit.vectors import unit
from .failures import embedded_anew
from .sessions import Session

Precision = Literal["single", "half"]

INDEXABLE = {"single": 2000, "half": 4000}
"""Dimensions that pgvector can index, by precision."""
EF_CONSTRUCTION, M = 64, 16
"""pgvector's defaults for the graph of HNSW, written down because stores outlive defaults."""


HELD = "SELECT value FROM openmem.meta WHERE name = 'embedding'"
"""What the store holds vectors of.

A change asks after it took its lock on memories, which keeps other vectors out until it ends.
"""


def see_it_is_held(embedding: EmbeddingInfo | None, held: str | None) -> None:
    """Raise ConfigurationError where HELD is no longer the embedding of this client."""
    if _of(held) != ((embedding.model, embedding.dimension) if embedding else None):
        raise embedded_anew()


@lru_cache(maxsize=16)
def _of(held: str | None) -> tuple[str, int] | None:
    """Return model and dimension of an embedding as HELD says it, which every search does."""
    embedding = EmbeddingInfo.model_validate_json(held) if held else None
    return (embedding.model, embedding.dimension) if embedding else None


class _Packed(Dumper):
    """Writes an array as pgvector receives it: the dimension and a zero in 16 bits each, then the numbers, big-endian.

    The pgvector package does the same by way of objects of its own, which takes three times as long.
    """

    format = Format.BINARY

    def dump(self, obj: NDArray[Any]) -> bytes:
        """Write the numbers as they are: Vectors.value has put them in order."""
        return struct.pack(">HH", len(obj), 0) + obj.tobytes()


class Vectors:
    """The column of a store that has an embedding."""

    def __init__(self, embedding: EmbeddingInfo, precision: Precision) -> None:
        self.embedding = embedding
        self.dimension = embedding.dimension
        self.precision = precision
        self.type = "vector" if precision == "single" else "halfvec"
        self._numbers = np.dtype(">f4" if precision == "single" else ">f2")

    @property
    def column(self) -> str:
        """The column's type."""
        return f"{self.type}({self.dimension})"

    def value(self, vector: Sequence[float]) -> NDArray[Any]:
        """Return a vector as a parameter of a statement."""
        return unit(vector).astype(self._numbers)

    async def register(self, session: Session) -> None:
        """Teach a session to send vectors; ConfigurationError where the database lost the extension."""
        info = await TypeInfo.fetch(session, self.type)
        if info is None:
            raise ConfigurationError("the database has no pgvector.", remedy="Run: CREATE EXTENSION vector;")
        info.register(session)
        session.adapters.register_dumper(np.ndarray, type("Packed", (_Packed,), {"oid": info.oid}))

    @property
    def indexable(self) -> bool:
        """Whether pgvector can index so many dimensions."""
        return self.dimension <= INDEXABLE[self.precision]

    def check_indexable(self) -> None:
        """Raise ConfigurationError for more dimensions than pgvector can index."""
        if not self.indexable:
            remedy = "precision=half indexes up to 4000; index=auto searches exactly."
            raise ConfigurationError(f"an index cannot have {self.dimension} dimensions.", remedy=f"Choose: {remedy}")

    @property
    def index(self) -> str:
        """What follows the table's name in CREATE INDEX; the inner product also admits a vector of zeros."""
        return f"USING hnsw (embedding {self.type}_ip_ops) WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})"
