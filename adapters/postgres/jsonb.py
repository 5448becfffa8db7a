"""JSON as jsonb keeps it, with its types, exact amounts and signs."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from openmem._generated.models import MemoryRecord

_MINUS_ZERO = "0.00"  # jsonb has no negative zero, keeps a zero's digits, and no other number of ours is written so
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![\d.])0\.00(?!\d)')


def json_text(value: Any) -> str:
    """Write a JSON value so that jsonb keeps its type and its exact amount, which 1e+20 would not be.

    jsonb keeps numbers as decimals: a whole float needs its decimal point to be read as a float again, and all its
    digits to equal the integer of its amount.
    """
    if isinstance(value, float):
        if value == 0 and math.copysign(1, value) < 0:
            return _MINUS_ZERO
        return f"{value:.1f}" if value.is_integer() else repr(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{json_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    return json.dumps(value)


def record_text(memory: MemoryRecord) -> str:
    """Write a record for jsonb."""
    text = memory.model_dump_json(exclude_none=True)
    odd = "e+" in text or "-0.0" in text
    return json_text(memory.model_dump(mode="json", exclude_none=True)) if odd else text


def as_written(text: str) -> str:
    """Give a record that was read as text its negative zeros back."""
    if _MINUS_ZERO not in text:
        return text
    return _TOKEN.sub(lambda found: "-0.0" if found[0] == _MINUS_ZERO else found[0], text)


def read_record(text: str) -> MemoryRecord:
    """Read a record from the text of its jsonb."""
    return MemoryRecord.model_validate_json(as_written(text))
