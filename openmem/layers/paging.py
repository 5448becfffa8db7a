"""All that a list selects, page by page: what generic forms read by."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import nullcontext

from openmem._generated import models
from openmem.runtime.calls import noted

from . import Handler


async def pages(
    listed: models.ListRequest, handler: Handler, capabilities: models.Capabilities
) -> AsyncGenerator[list[models.MemoryRecord], None]:
    """Read what a list selects, page by page; states are not named to a provider that has none."""
    limit = min((capabilities.limits and capabilities.limits.max_list_results) or 50, 500)
    include = listed.include if capabilities.features.temporal else None
    cursor = None
    while True:
        request = listed.model_copy(update={"limit": limit, "cursor": cursor, "include": include})
        with noted() if cursor else nullcontext():
            page = await handler(request)
        yield page.items
        if page.next_cursor is None:
            return
        cursor = page.next_cursor
