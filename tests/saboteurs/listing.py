"""Saboteurs of order, pages, cursors and tags."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest import mock

from openmem import NotFoundError
from openmem._generated import models
from openmem.protocol import cursors

from .base import MemoryAdapter, all_of, asking, but, plant


@plant("LST-2")
class CappedAtTwenty(MemoryAdapter):  # mem0 #5752
    async def list(self, request):
        page = await super().list(but(request, limit=min(request.limit, 20)))
        return but(page, next_cursor=None) if request.limit > 20 else page


@plant("LST-3")
class AnEmptyPageFollows(MemoryAdapter):
    async def list(self, request):
        page = await super().list(request)
        if len(page.items) == request.limit and page.next_cursor is None:
            page.next_cursor = cursors.encode((page.items[-1].created_at, page.items[-1].id))
        return page


@plant("LST-2")
class RowsRepeatAcrossPages(MemoryAdapter):
    async def list(self, request):
        page = await super().list(request)
        if page.next_cursor is not None and len(page.items) > 1:
            page.next_cursor = cursors.encode((page.items[-2].created_at, page.items[-2].id))
        return page


@plant("LST-2")
class RowsLostBetweenPages(MemoryAdapter):
    async def list(self, request):
        page = await super().list(but(request, limit=min(500, request.limit + 1)))
        page.items = page.items[: request.limit]
        return page


@plant("LST-4")
class PagesByOffset(MemoryAdapter):
    async def list(self, request):
        start = int(cursors.decode(request)[1]) if request.cursor else 0
        items = (await super().list(all_of(request))).items
        end = start + request.limit
        following = cursors.encode((datetime.now(UTC), str(end))) if end < len(items) else None
        return models.MemoryPage(items=items[start:end], next_cursor=following)


@plant("LST-1")
class OldestFirst(MemoryAdapter):
    async def list(self, request):
        items = (await super().list(all_of(request))).items[::-1]
        return models.MemoryPage(items=items[: request.limit])


@plant("LST-1")
class ByLastChange(MemoryAdapter):
    async def list(self, request):
        items = (await super().list(all_of(request))).items
        items.sort(key=lambda memory: memory.updated_at, reverse=True)
        return models.MemoryPage(items=items[: request.limit])


@plant("LST-5")
def cursors_for_anyone():
    return mock.patch.object(cursors, "digest_of", lambda request: "")


@plant("LST-5")
def cursors_for_any_selection():
    return mock.patch.object(cursors, "digest_of", lambda request: request.user_id)


class _OwnTags(MemoryAdapter):
    def has(self, tags: list[str], tag: str) -> bool:
        raise NotImplementedError

    async def list(self, request):
        if request.tag is None:
            return await super().list(request)
        items = (await super().list(but(request, tag=None, limit=500, cursor=None))).items
        chosen = [memory for memory in items if self.has(memory.tags or [], request.tag)]
        return models.MemoryPage(items=chosen[: request.limit])


@plant("LST-6")
class TagsBySubstring(_OwnTags):
    def has(self, tags, tag):
        return any(tag in each for each in tags)


@plant("LST-6")
class TagsWithoutCase(_OwnTags):
    def has(self, tags, tag):
        return tag.lower() in [each.lower() for each in tags]


@plant("LST-7")
def limits_are_clamped():
    def clamped(verb, fields):
        if verb == "list" and isinstance(fields.get("limit"), int):
            fields["limit"] = min(500, max(1, fields["limit"]))
        return fields

    return asking(clamped)


@plant("LST-8")
class NobodyIsNotFound(MemoryAdapter):
    async def list(self, request):
        page = await super().list(request)
        if not page.items and not self.store.index_of(request.user_id).order:
            raise NotFoundError(f"no user {request.user_id}.")
        return page
