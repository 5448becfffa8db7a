"""Refuses, before any I/O, what the protocol does not allow or the provider does not offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from openmem import cursors
from openmem._generated.models import (
    AddManyRequest,
    AddRequest,
    BatchResponse,
    BatchResult,
    Capabilities,
    ListRequest,
    MemoryPage,
)
from openmem.admission import admit
from openmem.errors import InvalidRequestError, OMPError
from openmem.validation import check, parse

from . import Describe, Handler


def guard(handler: Handler, describe: Describe) -> Handler:
    """Wrap a handler: every request that passes is valid and supported."""

    async def guarded(request: BaseModel) -> Any:
        request = check(request)
        cursor = cursors.unbind(request) if isinstance(request, ListRequest) else None
        capabilities = await describe()
        admit(request, capabilities)
        if isinstance(request, AddManyRequest):
            return await _item_by_item(request, handler, capabilities)
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


async def _item_by_item(request: AddManyRequest, handler: Handler, capabilities: Capabilities) -> BatchResponse:
    """Let the good items through and put each bad one's error in its place."""
    results: list[BatchResult | None] = []
    good: list[AddRequest] = []
    for item in request.items:
        try:
            good.append(_admit_item(item, request.user_id, capabilities))
            results.append(None)
        except OMPError as error:
            results.append(BatchResult(error=error.detail()))
    stored = iter((await handler(AddManyRequest.model_construct(items=good))).results if good else ())
    return BatchResponse(results=[result or next(stored) for result in results])


def _admit_item(item: Any, user_id: str | None, capabilities: Capabilities) -> AddRequest:
    if isinstance(item, Mapping):
        fields = item if user_id is None or "user_id" in item else {**item, "user_id": user_id}
        request = parse(AddRequest, fields)
    elif isinstance(item, AddRequest):
        request = item.model_copy()  # the layers below complete it; the caller's stays as it is
    else:
        raise InvalidRequestError(f"an item is {type(item).__name__}.", remedy="Give a dict or a MemoryInput.")
    if user_id is not None and request.user_id != user_id:
        raise InvalidRequestError("the item names another user than its batch.", remedy="Name the user once.")
    admit(check(request), capabilities)
    return request
