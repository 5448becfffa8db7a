"""From the text of an option to a value; InvalidRequestError where the text is not one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from openmem.errors import InvalidRequestError


def from_json(option: str, text: str) -> Any:
    """Read JSON."""
    try:
        return json.loads(text)
    except RecursionError:
        raise InvalidRequestError(f"{option} is nested too deeply.", remedy="Flatten it.") from None
    except ValueError as error:
        reason = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
        remedy = """Write it as in '{"topic": "billing"}'; a text has double quotes of its own."""
        raise InvalidRequestError(f"{option} is not JSON: {reason}.", remedy=remedy) from None


def moment(option: str, text: str) -> datetime:
    """Read a moment in ISO 8601; the request model refuses one without a zone."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        remedy = "Write ISO 8601 with a zone, as in 2026-01-31T12:00:00Z."
        raise InvalidRequestError(f"{option} is not a moment.", remedy=remedy) from None


def pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """Read NAME=VALUE, any number of times; a text without '=' is never quoted, as it may be a secret."""
    read = [text.partition("=") for text in texts]
    if not all(name and equals for name, equals, _ in read):
        raise InvalidRequestError(f"{option} takes NAME=VALUE.", remedy=f"Write {option} NAME=VALUE.")
    return {name: value for name, _, value in read}


def extensions(texts: Iterable[str]) -> dict[str, Any]:
    """Read x-NAME=JSON, any number of times."""
    given = pairs("--extension", texts)
    for name in given:
        if not name.startswith("x-"):
            raise InvalidRequestError(f"extension '{name}' has a wrong name.", remedy="Begin it with 'x-'.")
    return {name: from_json(f"--extension {name}", text) for name, text in given.items()}


def standard_input() -> str:
    """Read all of standard input as UTF-8, verbatim."""
    if sys.stdin is None or sys.stdin.closed:
        raise InvalidRequestError("standard input is closed.", remedy="Pipe the content in.")
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        remedy = "Convert it to UTF-8 first."
        raise InvalidRequestError(f"standard input is not UTF-8 at byte {error.start}.", remedy=remedy) from None
