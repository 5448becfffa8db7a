"""What a read selects, as conditions on the payload of points.

A compiled condition may select more than was asked and never less: whoever reads by it checks each record by
selection.predicate afterwards. So only what surely maps is compiled, and the rest is left to that check.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime

from openmem.protocol import filters
from openmem.protocol.clock import micros
from openmem.protocol.selection import Selection


@dataclass(frozen=True, slots=True)
class Match:
    """The field, or an item of it, is one of the values."""

    key: str
    values: tuple[str, ...] | tuple[int]


@dataclass(frozen=True, slots=True)
class Range:
    """The field is a number between the bounds, both inclusive."""

    key: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Ids:
    """The point is one of these."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lacks:
    """The field is not there, or is null."""

    key: str


@dataclass(frozen=True, slots=True)
class Has:
    """The point has a vector of this name."""

    vector: str


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: tuple[Native, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one part holds."""

    parts: tuple[Native, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Native


Native = Match | Range | Ids | Lacks | Has | All | Some | Not
_Compiled = tuple[Native, bool] | None
"""A condition and whether it selects exactly what was asked; None where nothing can be said."""

EXACT_NUMBERS = 2**53
"""Whole numbers up to which a float, as which engines compare numbers, is exact."""

_TEXTS = frozenset({"user_id", "kind", "session", "external_id"})
_FLAGS = frozenset({"pinned", "archived"})
_NUMBERS = frozenset({"importance", "confidence"})
_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def ancestors(scope: str) -> list[str]:
    """List a scope and all scopes above it: 'a/b' gives 'a' and 'a/b'."""
    segments = scope.split("/")
    return ["/".join(segments[: count + 1]) for count in range(len(segments))]


def of_user(user_id: str) -> Match:
    """Select one user's memories."""
    return Match("user_id", (user_id,))


def selecting(request: Selection, now: datetime) -> All:
    """Compile all that a read request selects by; the user comes first, as the narrowest."""
    parts: list[Native] = [of_user(request.user_id)]
    if request.scope is not None:
        parts.append(Match("scopes", (request.scope.removesuffix("/*"),)))
    if request.tag is not None:
        parts.append(Match("tags", (request.tag,)))
    if request.session is not None:
        parts.append(Match("session", (request.session,)))
    if request.since is not None or request.until is not None:
        parts += _between("created_at", request.since, request.until)
    parts += _states(request, request.as_of or now)
    compiled = _compile(filters.parse(request.filter)) if request.filter else None
    if compiled is not None:
        parts.append(compiled[0])
    return All(tuple(parts))


def _between(key: str, since: datetime | None, until: datetime | None) -> list[Native]:
    low = micros(since) if since is not None else None
    high = micros(until) if until is not None else None
    if any(bound is not None and abs(bound) > EXACT_NUMBERS for bound in (low, high)):
        return []
    return [Range(key, low, high)]


def _states(request: Selection, moment: datetime) -> list[Native]:
    """Leave out what is not current; a memory that as_of finds not yet created is left to the check."""
    at, include = micros(moment), request.include or ()
    parts: list[Native] = []
    if abs(at) < EXACT_NUMBERS:
        if "superseded" not in include:
            parts.append(Not(Range("superseded_at", high=at)))
        if "expired" not in include:
            parts.append(Not(Range("valid_to", high=at)))
        if "upcoming" not in include:
            parts.append(Not(Range("valid_from", low=at + 1)))
    if "archived" not in include:
        parts.append(Not(Match("archived", (1,))))
    return parts


def _compile(filter_: filters.Filter) -> _Compiled:
    match filter_:
        case filters.Every(parts):
            every = [compiled for part in parts if (compiled := _compile(part)) is not None]
            exact = len(every) == len(parts) and all(exact for _, exact in every)
            return (All(tuple(native for native, _ in every)), exact) if every else None
        case filters.Either(parts):
            either = [_compile(part) for part in parts]
            known = [compiled for compiled in either if compiled is not None]
            if len(known) < len(either):
                return None
            return Some(tuple(native for native, _ in known)), all(exact for _, exact in known)
        case filters.Negation(part):
            return _negated(_compile(part))
        case filters.Condition():
            return _condition(filter_)


def _negated(compiled: _Compiled) -> _Compiled:
    """Negate what is exact: the negation of what selects too much would select too little."""
    return (Not(compiled[0]), True) if compiled is not None and compiled[1] else None


def _condition(condition: filters.Condition) -> _Compiled:
    operator, value = condition.operator, condition.value
    if operator in ("ne", "nin"):
        positive = filters.Condition(condition.path, "eq" if operator == "ne" else "in", value)
        return _negated(_condition(positive))
    if operator == "in" and not value:
        return Ids(()), True
    if operator == "in" and all(isinstance(each, str) for each in value):
        return _any_text(condition.path, tuple(value))
    if operator == "in":
        return _compile(filters.Either(tuple(filters.Condition(condition.path, "eq", each) for each in value)))
    head, *rest = path = condition.path
    if head == "tags":
        return (Match("tags", (value,)), True) if operator == "contains" and isinstance(value, str) else None
    if head == "scope":
        return (Match("scopes", (value,)), False) if operator == "eq" and isinstance(value, str) else None
    if head in _TEXTS:
        return (Match(head, (value,)), True) if operator == "eq" and isinstance(value, str) else None
    if head in _FLAGS:
        return (Match(head, (1,)), True) if operator == "eq" and value is True else None
    if head in filters.DATES:
        return _moment(head, operator, value) if isinstance(value, datetime) and head != "updated_at" else None
    if head in _NUMBERS:
        return _number(head, operator, value)
    if (rest or head.startswith("x-")) and all(map(_NAME.fullmatch, path)):
        return _inside(".".join(path), operator, value)
    return None


def _any_text(path: tuple[str, ...], values: tuple[str, ...]) -> _Compiled:
    """Compile a comparison with any of several texts as one condition: one for each would be looked at in turn."""
    one = _condition(filters.Condition(path, "eq", values[0]))
    return (Match(one[0].key, values), one[1]) if one is not None and isinstance(one[0], Match) else None


def _moment(key: str, operator: str, value: datetime) -> _Compiled:
    at = micros(value)
    if abs(at) >= EXACT_NUMBERS:
        return None
    return _bounded(key, operator, at, at - 1, at + 1)


def _number(key: str, operator: str, value: object) -> _Compiled:
    number = _exact(value)
    if number is None:
        return None
    return _bounded(key, operator, number, math.nextafter(number, -math.inf), math.nextafter(number, math.inf))


def _bounded(key: str, operator: str, at: float, below: float, above: float) -> _Compiled:
    match operator:
        case "eq":
            return Range(key, at, at), True
        case "gt" | "gte":
            return Range(key, low=at if operator == "gte" else above), True
        case "lt" | "lte":
            return Range(key, high=at if operator == "lte" else below), True
    return None


def _inside(key: str, operator: str, value: object) -> _Compiled:
    """Compile a comparison with a value of any type; a list holds what one of its items holds, so never exactly."""
    if isinstance(value, str):
        return (Match(key, (value,)), False) if operator == "eq" else None
    number = _exact(value)
    compiled = _bounded(key, operator, number, number, number) if number is not None else None
    return (compiled[0], False) if compiled is not None else None


def _exact(value: object) -> float | None:
    """Return a number as engines compare it; None where they would round it, and for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > EXACT_NUMBERS:
        return None
    return float(value)
