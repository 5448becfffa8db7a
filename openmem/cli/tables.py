"""Results as tables, for a person at a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from openmem._generated.models import (
    AuditEntry,
    ContextBlock,
    MemoryPage,
    MemoryRecord,
    ScopeCount,
    ScopePage,
    SearchResult,
    UserCount,
    UserPage,
)

from .text import visible

_COLUMNS: dict[type[BaseModel], tuple[str, ...]] = {
    MemoryRecord: ("id", "created_at", "scope", "tags", "content"),
    SearchResult: ("score", "id", "scope", "content"),
    AuditEntry: ("timestamp", "action", "memory_id", "scope", "app", "request_id"),
    ScopeCount: ("scope", "count"),
    UserCount: ("user_id", "count"),
}
_WHOLE = {"id", "memory_id", "score", "created_at", "timestamp"}  # columns that are not broken over lines


def show(result: Any) -> None:
    """Print a table of many, a card of one, or text as it is."""
    if isinstance(result, (MemoryPage, ScopePage, UserPage)):
        show(result.items)
        if result.next_cursor:
            _print(f"More follow: --all, or --cursor {result.next_cursor}")
    elif isinstance(result, ContextBlock):
        _print(visible(result.text))
        _print(f"{result.token_count} tokens, {len(result.citations)} memories cited")
    elif isinstance(result, list):
        if not result:
            _print("Nothing found.")
        else:
            show_rows([_row(each) for each in result], _COLUMNS[type(result[0])])
    else:
        _card(result)


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows under the columns that any of them fills."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    filled = [column for column in columns if any(row.get(column) not in (None, "", []) for row in rows)]
    for column in filled:
        table.add_column(column.upper(), overflow="fold", no_wrap=column in _WHOLE)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in filled))
    _print(table)


def _row(result: BaseModel) -> dict[str, Any]:
    row = dict(result)
    memory = row.pop("memory", None)
    return {**dict(memory), **row} if memory is not None else row


def _card(result: BaseModel) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _entries(result):
        grid.add_row(_cell(name), _cell(value))
    _print(grid)


def _entries(result: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in result:
        if isinstance(value, BaseModel):
            yield from _entries(value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, value


def _cell(value: Any) -> Text:
    return Text(visible(_text(value)))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _print(what: Any) -> None:
    Console(highlight=False, markup=False, emoji=False).print(what, soft_wrap=isinstance(what, str))
