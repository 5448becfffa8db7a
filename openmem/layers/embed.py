"""Puts vectors on the requests that need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from openmem._generated.models import (
    AddManyRequest,
    AddRequest,
    BatchResponse,
    SearchRequest,
    UpdateManyRequest,
    UpdateRequest,
)
from openmem.embedding import Embedder, RefusedTextsError
from openmem.layers import items
from openmem.runtime.bridge import breathe

from . import Handler

PIECE = 500
"""Vectors handed out before other tasks have their turn."""
Embeddable = AddRequest | UpdateRequest | SearchRequest
Batch = AddManyRequest | UpdateManyRequest
BATCHES = (AddManyRequest, UpdateManyRequest)


def embed(handler: Handler, embedder: Embedder | None) -> Handler:
    """Wrap a handler; the request is completed in place, and a vector the caller gave is kept."""
    if embedder is None:
        return handler

    async def embedding(request: Any) -> Any:
        try:
            await _complete(request, embedder)
        except RefusedTextsError as refusal:
            if type(request) in BATCHES:
                return await _do_others(request, refusal, handler)
            raise refusal.errors[0] from None
        return await handler(request)

    return embedding


async def _complete(request: BaseModel, embedder: Embedder) -> None:
    """Put a vector on everything in the request that lacks one."""
    lacking: list[Embeddable] = []
    texts: list[str] = []
    for item in _embeddable(request):
        if item.vector is None and (text := _text(item)) is not None:
            lacking.append(item)
            texts.append(text)
    if not lacking:
        return
    vectors = await embedder.embed(texts)
    for number, item in enumerate(lacking):  # the gate has counted them
        if number and number % PIECE == 0:
            await breathe()
        item.vector = vectors[number]  # type: ignore[assignment]  # a row of a numpy matrix passes as it is


async def _do_others(request: Batch, refusal: RefusedTextsError, handler: Handler) -> BatchResponse:
    """Hand on the items whose texts the embedder took; the others are answered with their errors."""
    judged: list[Any] = list(request.items)
    lacking = [place for place, item in enumerate(judged) if item.vector is None and _text(item) is not None]
    vectors = iter(refusal.vectors)
    for position, place in enumerate(lacking):
        error = refusal.errors.get(position)
        if error is not None:
            judged[place] = error
        else:
            request.items[place].vector = next(vectors)
    return await items.of_the_good(judged, lambda good: handler(request.model_copy(update={"items": good})))


def _embeddable(request: Any) -> Sequence[Embeddable]:
    """List what of a request takes a vector."""
    kind = type(request)  # not isinstance, which takes these classes long to answer
    if kind in BATCHES:
        listed: list[Embeddable] = request.items
        return listed
    return [request] if kind in (AddRequest, UpdateRequest, SearchRequest) else []


def _text(item: Any) -> str | None:
    """Return the text that an item's vector is made from; None where it needs none."""
    if type(item) is SearchRequest and item.mode == "keyword":
        return None
    text: str | None = item.query if type(item) is SearchRequest else item.content
    return text
