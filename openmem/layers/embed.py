"""Puts vectors on the requests that need them, and the best search mode on those that name none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from openmem._generated.models import (
    AddManyRequest,
    AddRequest,
    CapabilityFeatures,
    SearchRequest,
    UpdateRequest,
)
from openmem.embedding import Embedder
from openmem.errors import ProviderError

from . import Handler


def embed(handler: Handler, embedder: Embedder | None, features: CapabilityFeatures) -> Handler:
    """Wrap a handler; a vector the caller gave is kept. Without an embedder only the mode is set."""

    async def embedding(request: BaseModel) -> Any:
        if isinstance(request, SearchRequest):
            request = request.model_copy(update={"mode": _mode(request, features)})
        texts = {place: text for place, text in enumerate(_texts(request)) if text is not None}
        if embedder is None or not texts:
            return await handler(request)
        vectors = await embedder.embed(list(texts.values()))
        if len(vectors) != len(texts):
            raise ProviderError(f"{embedder.model} answered {len(vectors)} vectors for {len(texts)} texts.")
        return await handler(_with_vectors(request, dict(zip(texts, vectors, strict=True))))

    return embedding


def _mode(request: SearchRequest, features: CapabilityFeatures) -> str | None:
    if request.mode is not None:
        return request.mode
    if request.query is None:
        return "vector"
    modes = ("hybrid", "vector", "keyword")
    return next((mode for mode in modes if getattr(features, f"{mode}_search")), None)


def _texts(request: BaseModel) -> list[str | None]:
    """List the texts of a request that vectors are to be made of; None in the place of what needs none."""
    match request:
        case AddRequest() | UpdateRequest():
            return [request.content if request.vector is None else None]
        case AddManyRequest():
            return [item.content if item.vector is None else None for item in request.items]
        case SearchRequest():
            return [request.query if request.vector is None and request.mode != "keyword" else None]
        case _:
            return []


def _with_vectors(request: BaseModel, vectors: dict[int, Sequence[float]]) -> BaseModel:
    # model_copy skips validation on purpose: a row of a numpy matrix passes as it is.
    if not isinstance(request, AddManyRequest):
        return request.model_copy(update={"vector": vectors[0]})
    items = [
        item.model_copy(update={"vector": vectors[place]}) if place in vectors else item
        for place, item in enumerate(request.items)
    ]
    return AddManyRequest.model_construct(items=items)
