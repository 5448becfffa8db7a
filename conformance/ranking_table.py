"""The golden ranking file: sixty texts, and for each query which of them keyword search finds, by which scores."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import NamedTuple

NEAR = 1e-6
"""How far a score may be from the golden one."""


class Asked(NamedTuple):
    """A query, and the score of each text that it finds, by its place among the texts."""

    query: str
    expected: dict[int, float]


class Table(NamedTuple):
    """The texts, stored in this order, and the queries."""

    texts: list[str]
    queries: list[Asked]


@cache
def table() -> Table:
    """Read the file, which tests/golden/make_ranking.py makes without the package's own ranking."""
    golden = json.loads(files(__package__).joinpath("ranking.json").read_text("utf-8"))
    return Table(golden["texts"], [Asked(each["query"], dict(each["expected"])) for each in golden["queries"]])
