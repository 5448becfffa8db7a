"""JSON read into models as strictly as JSON is: a text is no number, a number no moment, and 1 is not true."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from .filters import is_whole
from .messages import is_rfc3339, write_json

T = TypeVar("T", bound=BaseModel)
Place = tuple[int | str, ...]


class Unread(dict[str, Any]):
    """An object out of JSON that is yet to be read into a model: an item of a batch, which is judged alone."""


def read_model(model: type[T], value: Any) -> T:
    """Read a JSON value, as read_json returns it, into a model; raises pydantic's ValidationError.

    Moments are those of RFC 3339, integers have 64 bits at the most, numbers are finite.
    """
    made = model.model_validate_json(write_json(value), strict=True)
    if wrong := list(_wrong(made, value, ())):
        raise ValidationError.from_exception_data(model.__name__, wrong, "json", hide_input=True)
    return made


def _wrong(made: Any, said: Any, place: Place) -> Iterator[InitErrorDetails]:
    """List what pydantic takes, however strict: texts of digits as moments, integers as numbers that are not finite."""
    if isinstance(made, BaseModel):
        for name, value in made.__dict__.items():
            yield from _wrong(value, said.get(name), (*place, name))
    elif isinstance(made, list) and made and isinstance(made[0], (BaseModel, float)):
        for number, (value, each) in enumerate(zip(made, said, strict=True)):
            yield from _wrong(value, each, (*place, number))
    elif isinstance(made, datetime) and not is_rfc3339(said):
        yield _problem("should be a moment as in 2026-01-31T12:00:00Z", place)
    elif isinstance(made, float) and not math.isfinite(made):
        yield _problem("should be a finite number", place)
    elif isinstance(made, int) and not is_whole(made):
        yield _problem("should be an integer of at most 64 bits", place)


def _problem(what: str, place: Place) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("not_json", f"Input {what}"), loc=place, input=None)
