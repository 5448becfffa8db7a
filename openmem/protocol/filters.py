"""The filter language: its operators, how they are parsed, and the Python predicate that is their meaning."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from .._generated.bounds import MAX_FILTER_BYTES, MAX_FILTER_CONDITIONS, MAX_FILTER_DEPTH
from .._generated.models import MemoryRecord, MemorySource
from ..errors import InvalidRequestError, PayloadTooLargeError

OPERATORS = ("eq", "ne", "in", "nin", "gt", "gte", "lt", "lte", "exists", "contains")
DATES = frozenset({"created_at", "updated_at", "valid_from", "valid_to", "superseded_at"})
LISTS = frozenset({"tags", "supersedes"})
OBJECTS = frozenset({"metadata", "source"})
FIELDS = frozenset(MemoryRecord.model_fields) - {"vector"}

Predicate = Callable[[MemoryRecord], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """One field held against one value."""

    path: tuple[str, ...]
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Every:
    """True where all parts are; true of everything when empty."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """True where at least one part is."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """True where its part is not."""

    part: Filter


Filter = Condition | Every | Either | Negation


class Parsed(dict[str, Any]):
    """A filter as it was written, and what it says: read once a request."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self.tree = parse(source)
        super().__init__(source)


def parse(source: Mapping[str, Any]) -> Filter:
    """Read a filter written as JSON; several keys of one object must all hold.

    Raises InvalidRequestError for an unknown field, operator or value, naming the near miss, and PayloadTooLargeError
    for more than MAX_FILTER_CONDITIONS or MAX_FILTER_BYTES.
    """
    if isinstance(source, Parsed):
        return source.tree
    _check_size(source)
    tree = _parse(source, 0)
    if (count := sum(1 for _ in conditions(tree))) > MAX_FILTER_CONDITIONS:
        raise PayloadTooLargeError(
            f"the filter has {count} conditions; {MAX_FILTER_CONDITIONS} is the most.",
            remedy="Use 'in', or ask in parts.",
        )
    return tree


def conditions(filter_: Filter) -> Iterator[Condition]:
    """Walk the conditions of a filter."""
    match filter_:
        case Condition():
            yield filter_
        case Negation(part):
            yield from conditions(part)
        case Every(parts) | Either(parts):
            for part in parts:
                yield from conditions(part)


def _check_size(source: Mapping[str, Any]) -> None:
    """Refuse a filter that is too long before any of it is looked at; what is no JSON is refused where it stands."""
    size = 0
    try:
        for piece in json.JSONEncoder(ensure_ascii=False, default=str).iterencode(source):
            size += len(piece.encode(errors="surrogatepass"))
            if size > MAX_FILTER_BYTES:
                raise PayloadTooLargeError(f"the filter is over {MAX_FILTER_BYTES} bytes long.", remedy="Ask in parts.")
    except (TypeError, ValueError, RecursionError):
        return


def _parse(source: Mapping[str, Any], depth: int) -> Filter:
    if depth > MAX_FILTER_DEPTH:
        raise _invalid(f"filter is nested deeper than {MAX_FILTER_DEPTH}.", "Flatten it.")
    if not isinstance(source, Mapping):
        raise _invalid("a filter must be an object.", 'Write {"field": value} or {"field": {"op": value}}.')
    parts = tuple(read_entry(str(key), value, depth) for key, value in source.items())
    return parts[0] if len(parts) == 1 else Every(parts)


def selects_all(filter_: Filter) -> bool:
    """Tell whether a filter says nothing: everything is selected by it, whatever it holds."""
    return isinstance(filter_, Every) and all(map(selects_all, filter_.parts))


def predicate(filter_: Filter) -> Predicate:
    """Turn a parsed filter into a function of a memory."""
    match filter_:
        case Every(parts):
            every = [predicate(part) for part in parts]
            return lambda memory: all(test(memory) for test in every)
        case Either(parts):
            either = [predicate(part) for part in parts]
            return lambda memory: any(test(memory) for test in either)
        case Negation(part):
            inner = predicate(part)
            return lambda memory: not inner(memory)
        case Condition(path, operator, value):
            holds = TESTS[operator]
            return lambda memory: holds(value_at(memory, path), value)


def value_at(memory: MemoryRecord, path: tuple[str, ...]) -> Any:
    """Read a field, inside metadata, source or an extension by path; None where it is missing or null."""
    head, *rest = path
    value: Any = memory.__dict__.get(head) if head in FIELDS else (memory.model_extra or {}).get(head)
    for key in rest:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, MemorySource):
            value = value.__dict__.get(key, (value.model_extra or {}).get(key))
        else:
            return None
    return value


# --- parsing ----------------------------------------------------------------------------------------------------


def read_entry(key: str, value: Any, depth: int) -> Filter:
    """Read one key of a filter and what stands under it."""
    _text("a field's name", key)
    if key in ("and", "or"):
        if not isinstance(value, list) or not value:
            raise _invalid(f"'{key}' takes a list of filters, at least one.", f'Write {{"{key}": [{{…}}, {{…}}]}}.')
        parts = tuple(_parse(part, depth + 1) for part in value)
        return Every(parts) if key == "and" else Either(parts)
    if key == "not":
        return Negation(_parse(value, depth + 1))
    path = _path(key)
    if not isinstance(value, Mapping):
        return read_condition(key, path, "eq", value)
    if not value:
        raise _invalid(f"filter on '{key}' names no operator.", f"Use one of {', '.join(OPERATORS)}.")
    conditions = tuple(read_condition(key, path, str(operator), operand) for operator, operand in value.items())
    return conditions[0] if len(conditions) == 1 else Every(conditions)


def _path(key: str) -> tuple[str, ...]:
    head, *rest = path = tuple(key.split("."))
    if head.startswith("x-") and len(head) > 2 and all(path):
        return path
    if head not in FIELDS:
        near = difflib.get_close_matches(head, [*FIELDS, "and", "or", "not"], n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Fields of your own are spelled 'metadata.{key}'."
        raise _invalid(f"unknown filter field '{key}'.", hint)
    if head in OBJECTS and (not rest or not all(rest)):
        raise _invalid(f"'{key}' is an object.", f"Name a field in it, as in '{head}.topic'.")
    if head not in OBJECTS and rest:
        raise _invalid(f"'{head}' has no fields of its own.", f"Filter on '{head}'.")
    return path


def read_condition(key: str, path: tuple[str, ...], operator: str, value: Any) -> Condition:
    """Read what a field, or one in it by path, is held against."""
    if operator not in OPERATORS:
        _text("an operator's name", operator)
        near = difflib.get_close_matches(operator, OPERATORS, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Use one of {', '.join(OPERATORS)}."
        raise _invalid(f"unknown filter operator '{operator}' on '{key}'.", hint)
    if path[0] in LISTS and operator not in ("contains", "exists"):
        raise _invalid(f"'{key}' is a list and has no '{operator}'.", "Use contains.")
    return Condition(path, operator, _operand(key, path, operator, value))


def _operand(key: str, path: tuple[str, ...], operator: str, value: Any) -> Any:
    if operator == "exists":
        if not isinstance(value, bool):
            raise _invalid(f"exists on '{key}' takes true or false.", "Write true or false.")
        return value
    if operator in ("in", "nin"):
        if not isinstance(value, (list, tuple)):
            raise _invalid(f"'{operator}' on '{key}' takes a list.", "List the values.")
        return Values(_scalar(key, path, operator, item) for item in value)
    return _scalar(key, path, operator, value)


def _scalar(key: str, path: tuple[str, ...], operator: str, value: Any) -> Any:
    if path[0] in DATES:
        return _moment(key, value)
    if isinstance(value, str):
        return plain(_text(f"the value for '{key}'", value))
    if isinstance(value, bool) and operator not in ("gt", "gte", "lt", "lte"):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and is_whole(value):
        return plain(value)
    if isinstance(value, float) and math.isfinite(value):
        return plain(value)
    remedy = "To ask whether a field is set use exists." if value is None else "Use a string, number or boolean."
    raise _invalid(f"'{operator}' on '{key}' cannot take {type(value).__name__}.", remedy)


def plain(value: Any) -> Any:
    """Return a text or number of a type of its own, an enumeration's say, as what it is made of."""
    if type(value) in (str, int, float, bool) or value is None:
        return value
    made: type[Any] = next(kind for kind in (str, int, float) if isinstance(value, kind))
    return made.__str__(value) if made is str else made.__add__(value, 0)


def plain_moment(moment: datetime) -> datetime:
    """Return a moment of a type of its own as a plain one; it is in UTC."""
    if type(moment) is datetime:
        return moment
    return datetime.combine(date(moment.year, moment.month, moment.day), moment.timetz())


def _moment(key: str, value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(moment, datetime) and moment.tzinfo is not None:
            return plain_moment(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        pass
    raise _invalid(f"'{key}' is compared with a moment.", "Write it with its time zone: 2026-01-31T12:00:00Z.")


def _text(what: str, value: str) -> str:
    if "\x00" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise _invalid(f"{what} in a filter holds U+0000 or a lone surrogate.", "Remove it.")
    return value


def _invalid(message: str, remedy: str) -> InvalidRequestError:
    return InvalidRequestError(message, remedy=remedy)


# --- meaning ----------------------------------------------------------------------------------------------------


def is_whole(value: int) -> bool:
    """Tell whether an integer has at most 64 bits, which is what every backend keeps."""
    return -(2**63) <= value < 2**63


def is_number(value: Any) -> bool:
    """Tell a number from all else; a boolean is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def equal(stored: Any, value: Any) -> bool:
    """Tell whether two values are of one kind and equal; numbers are of one kind."""
    if is_number(stored) and is_number(value):
        return bool(stored == value)
    return type(stored) is type(value) and bool(stored == value)


def ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Make a test of two numbers, texts or moments; it is false of two of different kinds."""

    def test(stored: Any, value: Any) -> bool:
        alike = (is_number(stored) and is_number(value)) or (
            isinstance(stored, (str, datetime)) and type(stored) is type(value)
        )
        return alike and compare(stored, value)

    return test


def contains(stored: Any, value: Any) -> bool:
    """Tell whether a list has an element, or a text a part."""
    if isinstance(stored, list):
        return any(equal(item, value) for item in stored)
    return isinstance(stored, str) and isinstance(value, str) and value in stored


class Values(tuple[Any, ...]):
    """What `in` and `nin` compare with, found by what is stored whatever their number."""

    def __init__(self, values: Iterable[Any]) -> None:
        self.keys = frozenset(map(_key, self))


def _key(value: Any) -> Any:
    """Make of a value what is equal where equal holds."""
    if is_number(value):
        return "number", value
    return (type(value), value) if isinstance(value, (str, bool, datetime)) else None


def among(stored: Any, values: Values) -> bool:
    """Tell whether a value equals one of those given."""
    return _key(stored) in values.keys


TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": equal,
    "ne": lambda stored, value: not equal(stored, value),
    "in": among,
    "nin": lambda stored, values: not among(stored, values),
    "gt": ordered(lambda stored, value: stored > value),
    "gte": ordered(lambda stored, value: stored >= value),
    "lt": ordered(lambda stored, value: stored < value),
    "lte": ordered(lambda stored, value: stored <= value),
    "exists": lambda stored, value: (stored is not None) == value,
    "contains": contains,
}
"""Operator -> what it says of a stored value, None where there is none, and the value of the filter."""
