"""The items of a batch, each judged alone: the good ones go on, and each bad one's error takes its place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from openmem._generated.bounds import MAX_ID_LENGTH
from openmem._generated.models import (
    AddManyRequest,
    AddRequest,
    BatchResponse,
    BatchResult,
    DeleteManyRequest,
    GetManyRequest,
    GetRequest,
    UpdateManyRequest,
    UpdateRequest,
)
from openmem.errors import InvalidRequestError, OMPError, ProviderError
from openmem.protocol.admission import Admission
from openmem.protocol.strict import Unread
from openmem.protocol.validation import check, given, is_large, parse
from openmem.runtime.bridge import offload
from openmem.runtime.calls import CURRENT

from . import Handler

T = TypeVar("T")
Item = TypeVar("Item", AddRequest, UpdateRequest)
_NAMES: dict[type[BaseModel], str] = {AddRequest: "a MemoryInput", UpdateRequest: "a MemoryUpdate"}
FEW, PIECE = 50, 250
"""Items judged in place; more of them, or large ones, are judged beside the event loop, so many in one piece."""


async def add_many(request: AddManyRequest, handler: Handler, admission: Admission) -> BatchResponse:
    """Judge the items of an add_many and hand on the good ones as AddRequests."""
    return await _one_by_one(
        request.items,
        lambda item: _admitted(AddRequest, item, request.user_id, admission),
        lambda good: handler(AddManyRequest.model_construct(items=good)),
    )


async def update_many(request: UpdateManyRequest, handler: Handler, admission: Admission) -> BatchResponse:
    """Judge the items of an update_many and hand on the good ones as UpdateRequests."""
    return await _one_by_one(
        request.items,
        lambda item: _admitted(UpdateRequest, item, request.user_id, admission),
        lambda good: handler(UpdateManyRequest.model_construct(items=good)),
    )


async def get_many(request: GetManyRequest, handler: Handler) -> BatchResponse:
    """Judge the ids, or the external_ids, of a get_many and hand on the good ones."""
    many, one = ("ids", "id") if request.ids is not None else ("external_ids", "external_id")
    return await _one_by_one(
        getattr(request, many),
        lambda each: _name(each, one, request.user_id),
        lambda good: handler(request.model_copy(update={many: good})),
    )


async def delete_many(request: DeleteManyRequest, handler: Handler) -> BatchResponse:
    """Judge the ids of a delete_many and hand on the good ones."""
    return await _one_by_one(
        request.ids,
        lambda each: _name(each, "id"),
        lambda good: handler(request.model_copy(update={"ids": good})),
    )


def _name(each: Any, field: str, user_id: str | None = None) -> str:
    """Judge an id or an external_id as get does, which has nothing against short text that can be seen."""
    if (
        type(each) is str
        and each.isascii()
        and each.isprintable()
        and not each.isspace()
        and 0 < len(each) <= MAX_ID_LENGTH
    ):
        return each
    name: str = getattr(check(parse(GetRequest, {field: each, "user_id": user_id})), field)
    return name


async def _one_by_one(
    items: Sequence[Any], judge: Callable[[Any], T], forward: Callable[[list[T]], Awaitable[BatchResponse]]
) -> BatchResponse:
    judged: list[T | OMPError] = []
    for start in range(0, len(items), PIECE):
        piece = items[start : start + PIECE]
        if len(items) > FEW or is_large(piece):
            judged += await offload(_judged, piece, judge)
        else:
            judged += _judged(piece, judge)
    return await of_the_good(judged, forward)


async def of_the_good(
    judged: Sequence[T | OMPError], forward: Callable[[list[T]], Awaitable[BatchResponse]]
) -> BatchResponse:
    """Hand on the items that are good, and answer each of all in its place."""
    good = [each for each in judged if not isinstance(each, OMPError)]
    answers = (await forward(good)).results if good else []
    if len(answers) != len(good):
        raise ProviderError(f"a batch of {len(good)} was answered by {len(answers)} results.")
    answered = iter(answers)
    results = [BatchResult(error=e.detail()) if isinstance(e, OMPError) else next(answered) for e in judged]
    _sign(results)
    return BatchResponse(results=results)


def _sign(results: Sequence[BatchResult]) -> None:
    """Have each item's error name the provider and the request of the call under way."""
    call = CURRENT.get()
    for result in results:
        error = result.error
        if error is not None and call is not None:
            error.provider = error.provider or call.provider
            error.request_id = error.request_id or call.request_id


def _judged(items: Sequence[Any], judge: Callable[[Any], T]) -> list[T | OMPError]:
    judged: list[T | OMPError] = []
    for item in items:
        try:
            judged.append(judge(item))
        except OMPError as error:
            judged.append(error)
    return judged


def _admitted(kind: type[Item], item: Any, user_id: str | None, admission: Admission) -> Item:
    if isinstance(item, Mapping):
        fields = item
    elif isinstance(item, kind):  # it may have been changed since it was made
        fields = given(item)
    else:
        raise InvalidRequestError(f"an item is {type(item).__name__}.", remedy=f"Give a dict or {_NAMES[kind]}.")
    if user_id is not None and "user_id" not in fields:
        fields = {**fields, "user_id": user_id}
    request = parse(kind, fields, strict=isinstance(item, Unread))
    if user_id is not None and request.user_id != user_id:
        raise InvalidRequestError("the item names another user than its batch.", remedy="Name the user once.")
    admission.admit(check(request))
    return request
