"""What a read selects: scope, session, time, state and filter, as one predicate over a memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from .._generated.models import (
    ContextRequest,
    EraseRequest,
    ListRequest,
    MemoryRecord,
    ScopesRequest,
    SearchRequest,
    SearchResult,
    StatsRequest,
)
from . import cursors, filters

Selection = ListRequest | SearchRequest | ContextRequest
STATES = ("superseded", "expired", "upcoming", "archived")
"""What keeps a memory out of reads that do not include it."""


def states(memory: MemoryRecord, moment: datetime, *, past: bool = False) -> Iterator[str]:
    """Name the states that keep a memory out of reads at a moment.

    With past, a memory without valid_from begins at created_at; without it such a memory has always begun, so that a
    clock a little behind the writer's hides nothing.
    """
    if memory.superseded_at is not None and memory.superseded_at <= moment:
        yield "superseded"
    if memory.valid_to is not None and memory.valid_to <= moment:
        yield "expired"
    begins = memory.valid_from or (memory.created_at if past else None)
    if begins is not None and begins > moment:
        yield "upcoming"
    if memory.archived:
        yield "archived"


def in_scope(scope: str | None, selector: str) -> bool:
    """Tell whether a stored scope is selected: 'a/b' takes itself and all below, 'a/*' all strictly below."""
    if scope is None:
        return False
    base = selector.removesuffix("/*")
    return (scope == selector and base == selector) or scope.startswith(base + "/")


def predicate(request: Selection, now: datetime) -> filters.Predicate:
    """Combine everything a read request selects by into one function of a memory."""
    moment, past = request.as_of or now, request.as_of is not None
    include = frozenset(request.include or ())
    test = filters.predicate(filters.parse(request.filter)) if request.filter else None
    scope, tag, session = request.scope, request.tag, request.session
    since, until = request.since, request.until

    def selected(memory: MemoryRecord) -> bool:
        if scope is not None and not in_scope(memory.scope, scope):
            return False
        if tag is not None and tag not in (memory.tags or ()):
            return False
        if session is not None and memory.session != session:
            return False
        if (since and memory.created_at < since) or (until and memory.created_at > until):
            return False
        if any(state not in include for state in states(memory, moment, past=past)):
            return False
        return test is None or test(memory)

    return selected


def in_every_state(request: EraseRequest | StatsRequest, limit: int = 500) -> ListRequest:
    """Return the list of what a request selects that is about every state, so many to a page."""
    return ListRequest.model_construct(**dict(request), include=[*STATES], limit=limit)


def scoped(request: ScopesRequest) -> ListRequest:
    """Return the list of what a request for scopes selects, in scopes and in none."""
    return ListRequest.model_construct(user_id=request.user_id, scope=request.under, include=request.include)


def narrows(request: Selection) -> bool:
    """Tell whether a request selects by more than user and state, which may leave few of a user's memories."""
    return any((request.scope, request.tag, request.session, request.since, request.until, request.filter))


def pinned(request: Selection) -> str | None:
    """Return the external_id that a request's filter asks for and that everything it selects must therefore have."""
    tree = filters.parse(request.filter) if request.filter else None
    parts = tree.parts if isinstance(tree, filters.Every) else (tree,)
    for part in parts:
        if isinstance(part, filters.Condition) and (part.path, part.operator) == (("external_id",), "eq"):
            return part.value if isinstance(part.value, str) else None
    return None


def reach(request: SearchRequest) -> int:
    """Tell how many of the best results a search reads: those that it leaves out, and those that it answers."""
    return request.offset + request.limit


def best(
    scored: Iterable[tuple[MemoryRecord, float]], request: SearchRequest, selected: filters.Predicate
) -> list[tuple[MemoryRecord, float]]:
    """Take the best of what a search selects, those of its offset too: by score, also below zero; ties newest first."""
    least = request.min_score or 0.0
    good = [(memory, score) for memory, score in scored if reported(score) >= least and selected(memory)]
    good.sort(key=lambda pair: (pair[1], *cursors.position(pair[0])), reverse=True)
    return good[: reach(request)]


def reported(score: float) -> float:
    """Bring a score by which memories are ranked into the bounds of one that is told."""
    return min(1.0, max(0.0, score))


def results(found: Iterable[tuple[MemoryRecord, float]]) -> list[SearchResult]:
    """Tell what was found, in its order."""
    return [SearchResult(memory=memory, score=reported(score)) for memory, score in found]
