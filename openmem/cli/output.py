"""Where a result or an error goes: JSON, a table or one line."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

from pydantic import BaseModel

from openmem.errors import OMPError

from .text import line


def prepare() -> None:
    """Let no character be one that standard output cannot show."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def show(result: Any, *, as_json: bool) -> None:
    """Print the result of a verb."""
    if as_json or not terminal():
        write_json(result)
    else:
        from . import tables

        tables.show(result)


def terminal() -> bool:
    """Say whether a person reads standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def watched() -> bool:
    """Say whether a person reads standard error."""
    return sys.stderr is not None and sys.stderr.isatty()


def advise() -> None:
    """Tell a person how to get search by meaning."""
    from openmem.embedding import WITHOUT

    warn(WITHOUT)


def warn(message: str) -> None:
    """Print a line on standard error, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write(f"openmem: {line(message)}\n")


def write_json(result: Any) -> None:
    """Print one JSON document."""
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").startswith("utf")
    write(json.dumps(plain(result), indent=2, ensure_ascii=not unicode))


def plain(result: Any) -> Any:
    """Turn models, also within a list, into what JSON holds."""
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json", exclude_none=True)
    return [plain(each) for each in result] if isinstance(result, list) else result


def write(text: str) -> None:
    """Print a line, if there is a standard output."""
    if sys.stdout is not None:
        sys.stdout.write(f"{text}\n")


def flush() -> None:
    """Hand over what is printed now, while a broken pipe can still be noticed."""
    if sys.stdout is not None:
        sys.stdout.flush()


def abandon() -> None:
    """Send what is still unprinted nowhere, so that the interpreter does not try again when it ends."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def complain(error: OMPError, *, as_json: bool) -> None:
    """Print an error on standard error: one line, or the envelope of the wire."""
    if sys.stderr is None:
        return
    if as_json:
        envelope = error.envelope()
        envelope["error"]["message"] = line(str(error))
        sys.stderr.write(f"{json.dumps(envelope)}\n")
    else:
        warn(str(error))
