"""Refuses, before any I/O, what the protocol does not allow or the provider does not offer."""

from __future__ import annotations

from typing import Any

from openmem._generated.models import (
    AddManyRequest,
    DeleteManyRequest,
    GetManyRequest,
    ListRequest,
    ScopesRequest,
    UpdateManyRequest,
    UsersRequest,
)
from openmem.layers import items
from openmem.protocol import cursors
from openmem.protocol.admission import Admission
from openmem.protocol.validation import check, is_large
from openmem.runtime.bridge import offload

from . import Describe, Handler

PAGED = frozenset({ListRequest, ScopesRequest, UsersRequest})


def guard(handler: Handler, describe: Describe) -> Handler:
    """Wrap a handler: every request that passes is valid and supported."""

    admission: Admission | None = None

    async def guarded(request: Any) -> Any:
        nonlocal admission
        kind = type(request)  # not isinstance, which takes these classes long to answer
        holds_json = request.__dict__.get("metadata") or request.__pydantic_extra__
        request = await offload(check, request) if holds_json and is_large(request) else check(request)
        paged = kind in PAGED
        cursor = cursors.unbind(request) if paged else None
        capabilities = await describe()
        if admission is None or admission.capabilities is not capabilities:
            admission = Admission(capabilities)
        admission.admit(request)
        if kind is AddManyRequest:
            return await items.add_many(request, handler, admission)
        if kind is UpdateManyRequest:
            return await items.update_many(request, handler, admission)
        if kind is GetManyRequest:
            return await items.get_many(request, handler)
        if kind is DeleteManyRequest:
            return await items.delete_many(request, handler)
        if paged:
            return await _page(request, cursor, handler)
        return await handler(request)

    return guarded


async def _page(request: cursors.Paged, cursor: str | None, handler: Handler) -> Any:
    """Hand the adapter its own cursor, and bind the one it answers to this query."""
    page = await handler(request.model_copy(update={"cursor": cursor}))
    if page.next_cursor is None:
        return page
    return page.model_copy(update={"next_cursor": cursors.bind(page.next_cursor, request)})
