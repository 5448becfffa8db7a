"""How the generated code explains a verb: the spec's words, and what its schemas state in numbers."""

from __future__ import annotations

import textwrap
from typing import Any

Schema = dict[str, Any]
WIDTH = 112
"""Characters of a line of a docstring, so that its file keeps to 120."""
COMMON = {"401", "403", "429"}
"""Failures that any provider behind a key may answer to any verb."""


def description(schema: Schema) -> str:
    """Return the words on a field and what its schema states: bounds, default, and the feature it needs."""
    text: str = schema["description"]
    facts = [*_bounds(_bare(schema)), *_default(schema), *_needs(schema)]
    said = "; ".join(facts)
    return f"{text} {said[0].upper()}{said[1:]}." if said else text


def _bare(schema: Schema) -> Schema:
    """Drop the null beside a schema."""
    first, *_ = schema.get("anyOf", [{}])
    kind = schema.get("type")
    return {**first, **schema, **({"type": kind[0]} if isinstance(kind, list) else {})}


def _bounds(schema: Schema) -> list[str]:
    match schema:
        case {"minimum": least, "maximum": most}:
            return [f"{least} to {most}"]
        case {"maxLength": most}:
            return [f"up to {most} characters"]
        case {"type": "array", "maxItems": most}:
            least = schema.get("minItems")
            unit = "numbers" if schema["items"].get("type") == "number" else "items"
            return [f"{least} to {most} {unit}" if least else f"up to {most} {unit}"]
        case {"x-maxConditions": most, "x-maxBytes": size, "x-maxDepth": depth}:
            return [f"up to {most} conditions, {size} bytes as JSON, {depth} levels"]
        case {"maxProperties": most, "x-maxBytes": size, "x-maxDepth": depth}:
            return [f"up to {most} keys, {size} bytes as JSON, {depth} levels"]
        case {"format": "date-time"}:
            return ["time zone included"]
    return []


def _default(schema: Schema) -> list[str]:
    return [f"{schema['default']} by default"] if "default" in schema else []


def _needs(schema: Schema) -> list[str]:
    match schema.get("x-needs"):
        case None:
            return []
        case str(feature):
            return [f"needs features.{feature}"]
        case of_values:
            *others, last = of_values.values()
            return [f"needs features.{', '.join(others)} or {last}" if others else f"needs features.{last}"]


def docstring(verb: Schema, fields: list[str], codes: dict[str, Schema], *, patches: bool) -> str:
    """Explain a verb: its summary, each parameter on a line of its own, what None means, and its errors."""
    lines = [f"{field}: {verb['properties'][field]['description']}" for field in fields]
    lines += [f"extensions: {verb['extensions']}"] if verb["extensions"] else []
    parts = [[verb["summary"]], lines, [*_absence(verb, fields, patches), *_failures(verb, codes)]]
    paragraphs = ["\n".join(map(_wrapped, part)) for part in parts if part]
    return "\n\n".join(paragraphs).replace("\\", "\\\\")


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _absence(verb: Schema, fields: list[str], patches: bool) -> list[str]:
    if patches:
        return ["UNSET leaves a field as it is, None clears it."]
    optional = [field for field in fields if field not in verb["required"]]
    return ["None is the same as absent."] if optional else []


def _failures(verb: Schema, codes: dict[str, Schema]) -> list[str]:
    """Name the errors that the verb's responses declare, by their classes."""
    statuses = [int(status) for status in verb["statuses"] if status.isdigit() and status not in COMMON]
    names = [error_name(code) for status in statuses for code, entry in codes.items() if entry["status"] == status]
    return [f"Raises {', '.join(names)}, or another OMPError."] if names else ["Raises an OMPError."]


def error_name(code: str) -> str:
    """Name the class of an error code: not_found -> NotFoundError."""
    return "".join(word.capitalize() for word in code.removesuffix("_error").split("_")) + "Error"
