"""The base of every model and set of options, whose repr is one short line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from pydantic import BaseModel

LONGEST = 120
"""Characters of a line."""
TEXT = 40
"""Characters of a text; where there is no room for LEAST of them, it is left out."""
LEAST = 8

Pairs = Iterable[tuple[str | None, Any]]


class Model(BaseModel):
    """A model whose repr is one short line: nothing that is None, of a text its beginning, of a list its length."""

    def __repr_args__(self) -> Pairs:
        return _fitting(type(self).__name__, super().__repr_args__(), LONGEST)

    def __str__(self) -> str:
        return repr(self)


def _line(name: str, pairs: Pairs, room: int) -> str:
    fitting = _fitting(name, pairs, room)
    return f"{name}({', '.join(f'{key}={value}' if key else value for key, value in fitting)})"


class _Shown(str):
    """A value as it is read; its repr is itself, for pydantic and others to print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _fitting(name: str, pairs: Pairs, room: int) -> Iterator[tuple[str | None, _Shown]]:
    """Shorten the values and take those that fit, what is plain before what holds more; '…' is for the others."""
    given = [(repr(key)[1:-1], value) for key, value in pairs if value is not None]
    room -= len(f"{name}(, …)")
    left_out = False
    for key, value in sorted(given, key=lambda pair: isinstance(pair[1], (BaseModel, *_COLLECTIONS))):
        text = _short(value, room - len(f"{key}=, "))
        taken = len(f"{key}={text}, ")
        if text and taken <= room:
            room -= taken
            yield key, _Shown(text)
        else:
            left_out = True
    if left_out:
        yield None, _Shown("…")


_COLLECTIONS = (dict, list, tuple, set, frozenset)


def _short(value: Any, room: int) -> str:
    """Write a value within so many characters; where that cannot be, as nothing or as something longer."""
    if isinstance(value, BaseModel):  # which may hold itself
        return "" if room < LEAST else _line(type(value).__name__, BaseModel.__repr_args__(value), room)
    if isinstance(value, _COLLECTIONS):
        return _counted(value)
    if type(value) is str:  # a kind of text of its own, such as a secret, has a repr of its own
        return _beginning(value, min(TEXT, room - 2))
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return f"{value:.4g}" if type(value) is float else _foreign(value)


def _counted(value: Any) -> str:
    """Tell how much a collection holds; where it fails to say so, its type."""
    try:
        return f"{len(value)} {'key' if isinstance(value, dict) else 'item'}{'' if len(value) == 1 else 's'}"
    except Exception:
        return f"<{type(value).__name__}>"


def _beginning(text: str, room: int) -> str:
    """Quote as much of a text as fits, its line breaks escaped."""
    if len(text) <= room and len(repr(text)) <= room + 2:
        return repr(text)
    cuts = (repr(text[:end] + "…") for end in range(room - 1, LEAST - 1, -1))
    return next((cut for cut in cuts if len(cut) <= room + 2), "")


def _foreign(value: Any) -> str:
    """Write an object that shows itself; where it fails to, its type."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        return f"<{type(value).__name__}>"
    return text if len(text) <= TEXT else text[: TEXT - 1] + "…"
