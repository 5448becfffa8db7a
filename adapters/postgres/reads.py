"""Reads that are one statement each: a supersession chain, and the counts of a user's memories."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from openmem._generated.models import MemoryRecord, Stats

from .filters import Bindings

CHAIN = """WITH RECURSIVE chain(id) AS (
        SELECT %(id)s::text COLLATE "C"
        UNION SELECT l.id FROM chain c CROSS JOIN LATERAL (
            SELECT record FROM openmem.memories WHERE id = c.id AND user_id = %(user)s OFFSET 0) m
        CROSS JOIN LATERAL (
            SELECT jsonb_array_elements_text(m.record -> 'supersedes') COLLATE "C"
            UNION ALL SELECT (m.record ->> 'superseded_by') COLLATE "C") l(id)
        WHERE l.id IS NOT NULL)
    SELECT m.record::text FROM chain c CROSS JOIN LATERAL (
        SELECT record FROM openmem.memories WHERE id = c.id AND user_id = %(user)s OFFSET 0) m"""
"""Every link is looked up by its id, whatever the statistics say."""

WAYS = {"newest": ("<", "DESC"), "oldest": (">", "ASC")}
"""How rows compare with where a page ended, and are ordered, in each order of a list."""

_STATES = {
    "superseded": "coalesce(superseded_at <= %(now)s, false)",
    "expired": "coalesce(valid_to <= %(now)s, false)",
    "upcoming": "coalesce(valid_from > %(now)s, false)",
    "archived": "archived",
}
_TEXTS = """coalesce((SELECT jsonb_object_agg(word, n) FROM
    (SELECT word, count(*) AS n FROM m {words} WHERE word <> '' GROUP BY word) c), '{{}}')::text"""


def chain_of(memory: MemoryRecord) -> Bindings:
    """Bind the parameters of CHAIN."""
    return Bindings(id=memory.id, user=memory.user_id)


def counting(user_id: str, now: datetime) -> tuple[str, Bindings]:
    """Write the statement that counts what openmem.layers.forms counts."""
    states = ", ".join(f"{test} AS {name}" for name, test in _STATES.items())
    counts = ", ".join(f"count(*) FILTER (WHERE {name})" for name in _STATES)
    words = (
        _TEXTS.format(words="CROSS JOIN LATERAL (SELECT scope) w(word)"),
        _TEXTS.format(words="CROSS JOIN LATERAL (SELECT kind) w(word)"),
        _TEXTS.format(words="CROSS JOIN LATERAL (SELECT DISTINCT jsonb_array_elements_text(tags)) w(word)"),
    )
    sql = f"""WITH m AS MATERIALIZED (
            SELECT scope, record ->> 'kind' AS kind, record -> 'tags' AS tags, {states}
            FROM openmem.memories WHERE user_id = %(user)s)
        SELECT count(*), count(*) FILTER (WHERE NOT ({" OR ".join(_STATES)})), {counts}, {", ".join(words)} FROM m"""
    return sql, Bindings(user=user_id, now=now)


def counted(user_id: str, row: tuple[Any, ...]) -> Stats:
    """Read what `counting` answers."""
    total, current, *states, scopes, kinds, tags = row
    texts = {name: json.loads(text) for name, text in (("scopes", scopes), ("kinds", kinds), ("tags", tags))}
    return Stats(user_id=user_id, total=total, current=current, **dict(zip(_STATES, states, strict=True)), **texts)
