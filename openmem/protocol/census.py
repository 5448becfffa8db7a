"""Names with counts, in pages by code points: the scopes of a user's memories, and the users of a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

from .._generated.models import MemoryRecord, ScopeCount, ScopePage, ScopesRequest, UserCount, UserPage
from .cursors import name_in

Counted = tuple[str, int]
"""A name and how many memories it has."""


def segments(request: ScopesRequest) -> int | None:
    """Return to how many segments, counted from the root, scopes are cut; None for whole ones."""
    if request.depth is None:
        return None
    return request.depth + (request.under.count("/") + 1 if request.under is not None else 0)


def scopes_of(memories: Iterable[MemoryRecord]) -> Iterable[Counted]:
    """Name the scope of each memory that has one."""
    return ((memory.scope, 1) for memory in memories if memory.scope)


def scope_page(counted: Iterable[Counted], request: ScopesRequest) -> ScopePage:
    """Make the page that a request asks for of all scopes, whole and in whatever order, each as often as it comes."""
    kept, totals = segments(request), Counter[str]()
    for scope, count in counted:
        totals["/".join(scope.split("/")[:kept]) if kept else scope] += count
    after = name_in(request)
    due = sorted(scope for scope in totals if after is None or scope > after)
    return scopes([(scope, totals[scope]) for scope in due[: request.limit + 1]], request.limit)


def user_page(counted: Iterable[Counted], limit: int) -> UserPage:
    """Make a page of users in order, one beyond the limit being the sign that there are more."""
    found = list(islice(counted, limit + 1))
    items = [UserCount(user_id=user_id, count=count) for user_id, count in found[:limit]]
    return UserPage(items=items, next_cursor=_next(found, limit))


def scopes(found: Sequence[Counted], limit: int) -> ScopePage:
    """Make a page of scopes in order, cut already, one beyond the limit being the sign that there are more."""
    items = [ScopeCount(scope=scope, count=count) for scope, count in found[:limit]]
    return ScopePage(items=items, next_cursor=_next(found, limit))


def _next(found: Sequence[Counted], limit: int) -> str | None:
    return found[limit - 1][0] if len(found) > limit else None
