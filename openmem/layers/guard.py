"""Refuses, before any I/O, what the protocol does not allow or the provider does not offer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from openmem import cursors
from openmem._generated.models import (
    AddManyRequest,
    AddRequest,
    BatchResponse,
    BatchResult,
    DeleteManyRequest,
    GetRequest,
    ListRequest,
    MemoryPage,
)
from openmem.admission import Admission
from openmem.bridge import breathe
from openmem.errors import InvalidRequestError, OMPError, ProviderError
from openmem.validation import check, parse

from . import Describe, Handler

PIECE = 100
"""Items of a batch checked before other tasks have their turn."""


def guard(handler: Handler, describe: Describe) -> Handler:
    """Wrap a handler: every request that passes is valid and supported."""

    admission: Admission | None = None

    async def guarded(request: BaseModel) -> Any:
        nonlocal admission
        request = check(request)
        cursor = cursors.unbind(request) if isinstance(request, ListRequest) else None
        capabilities = await describe()
        if admission is None or admission.capabilities is not capabilities:
            admission = Admission(capabilities)
        admission.admit(request)
        if isinstance(request, AddManyRequest):
            return await _add_many(request, handler, admission)
        if isinstance(request, DeleteManyRequest):
            return await _delete_many(request, handler)
        if isinstance(request, ListRequest):
            return await _list(request, cursor, handler)
        return await handler(request)

    return guarded


async def _list(request: ListRequest, cursor: str | None, handler: Handler) -> MemoryPage:
    """Hand the adapter its own cursor, and bind the one it answers to this query."""
    page: MemoryPage = await handler(request.model_copy(update={"cursor": cursor}))
    if page.next_cursor is None:
        return page
    return page.model_copy(update={"next_cursor": cursors.bind(page.next_cursor, request)})


async def _one_by_one(
    items: Sequence[Any], admit_one: Callable[[Any], Any], forward: Callable[[list[Any]], Awaitable[BatchResponse]]
) -> BatchResponse:
    """Let the good items through and put each bad one's error in its place."""
    results: list[BatchResult | None] = []
    good: list[Any] = []
    for number, item in enumerate(items, 1):
        if number % PIECE == 0:
            await breathe()
        try:
            good.append(admit_one(item))
            results.append(None)
        except OMPError as error:
            results.append(BatchResult(error=error.detail()))
    answers = (await forward(good)).results if good else []
    if len(answers) != len(good):
        raise ProviderError(f"a batch of {len(good)} was answered by {len(answers)} results.")
    answered = iter(answers)
    return BatchResponse(results=[result or next(answered) for result in results])


async def _add_many(request: AddManyRequest, handler: Handler, admission: Admission) -> BatchResponse:
    return await _one_by_one(
        request.items,
        lambda item: _admit_item(item, request.user_id, admission),
        lambda good: handler(AddManyRequest.model_construct(items=good)),
    )


async def _delete_many(request: DeleteManyRequest, handler: Handler) -> BatchResponse:
    return await _one_by_one(
        request.ids,
        lambda each: check(parse(GetRequest, {"id": each})).id,
        lambda good: handler(request.model_copy(update={"ids": good})),
    )


def _admit_item(item: Any, user_id: str | None, admission: Admission) -> AddRequest:
    if isinstance(item, Mapping):
        fields = item if user_id is None or "user_id" in item else {**item, "user_id": user_id}
        request = parse(AddRequest, fields)
    elif isinstance(item, AddRequest):
        request = parse(AddRequest, _fields_of(item))  # it may have been changed since it was made
    else:
        raise InvalidRequestError(f"an item is {type(item).__name__}.", remedy="Give a dict or a MemoryInput.")
    if user_id is not None and request.user_id != user_id:
        raise InvalidRequestError("the item names another user than its batch.", remedy="Name the user once.")
    admission.admit(check(request))
    return request


def _fields_of(item: AddRequest) -> dict[str, Any]:
    fields = {name: value for name, value in item.__dict__.items() if name in item.model_fields_set}
    return fields | (item.model_extra or {})
