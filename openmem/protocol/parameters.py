"""Query parameters: texts, each of which has one reading, and whatever has another is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import AwareDatetime
from pydantic.fields import FieldInfo

from ..errors import InvalidRequestError
from .messages import is_rfc3339, read_object

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def read_parameter(name: str, field: FieldInfo, texts: list[str]) -> Any:
    """Read a field from its texts in a query: one, or for a list one an item. Raises InvalidRequestError."""
    kind = _kind(field.annotation)
    if kind is list:
        return texts
    if len(texts) > 1:
        raise InvalidRequestError(f"{name} is given {len(texts)} times in the query.", remedy="Give it once.")
    try:
        return _READERS[kind](texts[0]) if kind in _READERS else texts[0]
    except ValueError as error:
        raise InvalidRequestError(f"{name} {error}.", remedy=f"{name}: {field.description}") from None


def _kind(annotation: Any) -> Any:
    """Name the type that a field has where it is not None."""
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(each for each in get_args(annotation) if each is not NoneType)
    return get_origin(annotation) or annotation


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError("is not a whole number")
    return int(text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a number")
    if not math.isfinite(number := float(text)):
        raise ValueError("is not a finite number")
    return number


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text == "true"


def _moment(text: str) -> str:
    if is_rfc3339(text):
        return text
    if is_rfc3339(text.replace(" ", "+")):
        raise ValueError("holds a space; the plus sign of a time zone is written %2B in a query")
    raise ValueError("is not a moment as in 2026-01-31T12:00:00Z")


_READERS: dict[Any, Callable[[str], Any]] = {
    int: _integer,
    float: _number,
    bool: _boolean,
    dict: read_object,
    AwareDatetime: _moment,
}
