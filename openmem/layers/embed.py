"""Puts vectors on the requests that need them, and the best search mode on those that name none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from openmem._generated.models import (
    AddManyRequest,
    AddRequest,
    CapabilityFeatures,
    SearchRequest,
    UpdateRequest,
)
from openmem.bridge import breathe
from openmem.embedding import Embedder

from . import Handler

PIECE = 500
"""Vectors handed out before other tasks have their turn."""
Mode = Literal["vector", "keyword", "hybrid"]
Embeddable = AddRequest | UpdateRequest | SearchRequest


def embed(handler: Handler, embedder: Embedder | None, features: CapabilityFeatures) -> Handler:
    """Wrap a handler; the request is completed in place, and a vector the caller gave is kept."""

    async def embedding(request: Any) -> Any:
        if type(request) is SearchRequest:
            request.mode = request.mode or _best_mode(request, features)
        if embedder is not None:
            await _complete(request, embedder)
        return await handler(request)

    return embedding


def _best_mode(request: SearchRequest, features: CapabilityFeatures) -> Mode | None:
    if request.query is None:
        return "vector"
    modes: tuple[Mode, ...] = ("hybrid", "vector", "keyword")
    return next((mode for mode in modes if getattr(features, f"{mode}_search")), None)


async def _complete(request: BaseModel, embedder: Embedder) -> None:
    """Put a vector on everything in the request that lacks one."""
    lacking = [item for item in _embeddable(request) if item.vector is None]
    texts = [_text(item) for item in lacking]
    needed = [text for text in texts if text is not None]
    if not needed:
        return
    vectors = iter(await embedder.embed(needed))
    for number, (item, text) in enumerate(zip(lacking, texts, strict=True), 1):
        if text is not None:
            item.vector = next(vectors)  # type: ignore[assignment]  # a row of a numpy matrix passes as it is
        if number % PIECE == 0:
            await breathe()


def _embeddable(request: Any) -> Sequence[Embeddable]:
    """List what of a request takes a vector."""
    kind = type(request)  # not isinstance, which takes these classes long to answer
    if kind is AddManyRequest:
        items: list[AddRequest] = request.items
        return items
    return [request] if kind in (AddRequest, UpdateRequest, SearchRequest) else []


def _text(item: Embeddable) -> str | None:
    """Return the text that an item's vector is made from; None where it needs none."""
    if isinstance(item, SearchRequest):
        return None if item.mode == "keyword" else item.query
    return item.content
