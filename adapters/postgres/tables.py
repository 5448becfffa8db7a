"""Tables as rows are put into them: appended in one statement, or copied as they are worked out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from .schema import Names
from .sessions import Session

PIECE = 50
"""Memories worked out and sent before other tasks have their turn."""

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Table(NamedTuple):
    """A table as rows are put into it."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def into(self) -> str:
        """The table and its columns, as INSERT and COPY name them."""
        return f"{self.name} ({', '.join(self.columns)})"

    def with_column(self, name: str, type_: str) -> Table:
        """Return the table with one column more."""
        return Table(self.name, (*self.columns, name), (*self.types, type_))


MEMORIES = Table(
    "openmem.memories",
    (
        *("user_id", "id", "key", "external_id", "scope"),
        *("created_at", "valid_from", "valid_to", "superseded_at", "archived", "record"),
    ),
    ("text", "text", "int8", "text", "text", *["timestamptz"] * 4, "bool", "jsonb"),
)
POSTINGS = Table("openmem.postings", ("user_id", "term", "key", "weight"), ("text", "text", "int8", "float8"))
AUDIT = Table(
    "openmem.audit",
    ("user_id", "moment", "app", "action", "memory_id", "scope", "request_id"),
    ("text", "timestamptz", *["text"] * 5),
)


def copied(text: str | None) -> str:
    """Write a text as COPY reads it; in most there is nothing to escape."""
    if text is None:
        return "\\N"
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)


async def append(
    session: Session, names: Names, table: Table, rows: Sequence[Sequence[Any]], conflict: str = ""
) -> None:
    """Insert rows in one statement; conflict: what to do with those that are there."""
    if rows:
        arrays = ", ".join(f"%s::{type_}[]" for type_ in table.types)
        sql = f"INSERT INTO {table.into} SELECT * FROM unnest({arrays}) {conflict}"
        await session.execute(names(sql), [list(column) for column in zip(*rows, strict=True)])


async def copy(session: Session, names: Names, table: Table, lines: Iterator[str]) -> None:
    """Send lines as they are worked out, so that the server is at work meanwhile, and other tasks too."""
    async with session.cursor().copy(names(f"COPY {table.into} FROM STDIN")) as sent:
        while piece := list(islice(lines, PIECE)):
            await sent.write("".join(piece))
            await asyncio.sleep(0)
