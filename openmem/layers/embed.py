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
        texts = {place: text for place, (item, text) in enumerate(_items(request)) if _lacks_vector(item, text)}
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


def _items(request: BaseModel) -> Sequence[tuple[BaseModel, str | None]]:
    """List what of a request may need a vector, with the text to make it from."""
    match request:
        case AddRequest() | UpdateRequest():
            return [(request, request.content)]
        case AddManyRequest():
            return [(item, item.content) for item in request.items]
        case SearchRequest():
            return [(request, None if request.mode == "keyword" else request.query)]
        case _:
            return []


def _lacks_vector(item: BaseModel, text: str | None) -> bool:
    return text is not None and item.__dict__["vector"] is None


def _with_vectors(request: BaseModel, vectors: dict[int, Sequence[float]]) -> BaseModel:
    # model_copy skips validation on purpose: a row of a numpy matrix passes as it is.
    if not isinstance(request, AddManyRequest):
        return request.model_copy(update={"vector": vectors[0]})
    items = [
        item.model_copy(update={"vector": vectors[place]}) if place in vectors else item
        for place, item in enumerate(request.items)
    ]
    return AddManyRequest.model_construct(items=items)
