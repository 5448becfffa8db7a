"""What a store says of itself, in one point of its sidecar: its schema, text analysis, embedding and vectors in use."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import NamedTuple

from openmem._generated.models import EmbeddingInfo

from .engine import DENSE
from .filters import All, Lacks, Match, Native


class Facts(NamedTuple):
    """The fields of the point; stores that were never embedded anew may lack those with a default."""

    schema: int
    analysis: str
    embedding: str
    """As JSON; empty: none."""
    dense: str | None = None
    """The name of the dense vectors in force."""
    former: str | None = None
    """The name of those that were before, as long as something of them may be left."""
    coming: str | None = None
    """The name of those that are being made to replace them."""

    @property
    def name(self) -> str:
        """The name of the dense vectors in force."""
        return self.dense or DENSE

    @property
    def info(self) -> EmbeddingInfo | None:
        """The embedding in force."""
        return EmbeddingInfo.model_validate_json(self.embedding) if self.embedding else None

    def unchanged(self) -> Native:
        """Return what holds of the point as long as the vectors in force and those being made are the same."""
        changing = {"dense": self.dense, "coming": self.coming}
        parts = [Match(key, (value,)) if value else Lacks(key) for key, value in changing.items()]
        return All((Match("embedding", (self.embedding,)), *parts))


def written(embedding: EmbeddingInfo | None) -> str:
    """Write an embedding."""
    return embedding.model_dump_json() if embedding is not None else ""


def new_name(embedding: EmbeddingInfo) -> str:
    """Name dense vectors as none were named before, so that who drops such of a name drops no others."""
    return f"{_prefix(embedding)}{os.urandom(4).hex()}"


def is_for(name: str | None, embedding: EmbeddingInfo) -> bool:
    """Tell whether a name was made for an embedding."""
    return name is not None and name.startswith(_prefix(embedding))


def _prefix(embedding: EmbeddingInfo) -> str:
    return f"{DENSE}-{blake2b(written(embedding).encode(), digest_size=4).hexdigest()}-"
