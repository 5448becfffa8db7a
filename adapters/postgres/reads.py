"""Reads that are one statement each: pages of memories, scopes and users, a supersession chain, counts."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from openmem._generated.models import ListRequest, MemoryRecord, ScopesRequest, Stats, UsersRequest
from openmem.protocol import census, cursors
from openmem.protocol.selection import scoped

from .filters import Bindings, selected
from .vectors import HELD

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

LOG = """SELECT moment, app, action, memory_id, scope, request_id FROM openmem.audit
    WHERE user_id = %(user)s AND (%(app)s::text IS NULL OR app = %(app)s)
    AND (%(since)s::timestamptz IS NULL OR moment >= %(since)s) ORDER BY key DESC LIMIT %(limit)s"""

_WAYS = {"newest": ("<", "DESC"), "oldest": (">", "ASC")}
"""How rows compare with where a page ended, and are ordered, in each order of a list."""
ENGINE = """SELECT format('PostgreSQL %%s%%s', current_setting('server_version'),
    CASE WHEN pg_is_in_recovery() THEN ', a replica' END) FROM openmem.meta LIMIT 1"""
"""What the server is, read beside the store."""

_STATES = {
    "superseded": "coalesce(superseded_at <= %(now)s, false)",
    "expired": "coalesce(valid_to <= %(now)s, false)",
    "upcoming": "coalesce(valid_from > %(now)s, false)",
    "archived": "archived",
}
_TEXTS = """coalesce((SELECT jsonb_object_agg(word, n) FROM
    (SELECT word, sum(n)::int8 AS n FROM {counted} WHERE word <> '' GROUP BY word) c), '{{}}')::text"""
_OF_EACH = "(SELECT {0} AS word, count(*) AS n FROM m GROUP BY {0}) g"
_OF_LISTS = """(SELECT tags, count(*) AS n FROM m WHERE tags IS NOT NULL GROUP BY tags) g
    CROSS JOIN LATERAL (SELECT DISTINCT jsonb_array_elements_text(tags)) w(word)"""
"""Equal lists are counted before they are taken apart: there are few as a rule."""


def chain_of(memory: MemoryRecord) -> Bindings:
    """Bind the parameters of CHAIN."""
    return Bindings(id=memory.id, user=memory.user_id)


def listing(request: ListRequest, now: datetime) -> tuple[str, Bindings]:
    """Write the statement that reads a page of memories, and with their vectors which store holds these."""
    values = Bindings()
    condition = selected(request, now, values)
    after, (beyond, way) = cursors.decode(request), _WAYS[request.order]
    if after is not None:
        condition += f" AND (created_at, id) {beyond} ({values.bind(after[0])}, {values.bind(after[1])})"
    vector = f", embedding::real[], ({HELD})" if request.include_vectors else ""
    sql = f"""SELECT record::text{vector} FROM openmem.memories WHERE {condition}
        ORDER BY created_at {way}, id {way} LIMIT {request.limit + 1}"""
    return sql, values


def counting(selection: ListRequest, now: datetime) -> tuple[str, Bindings]:
    """Write the statement that counts what openmem.layers.forms counts."""
    values = Bindings(now=now)
    states = ", ".join(f"{test} AS {name}" for name, test in _STATES.items())
    counts = ", ".join(f"count(*) FILTER (WHERE {name})" for name in _STATES)
    counted = (_OF_EACH.format("scope"), _OF_EACH.format("kind"), _OF_LISTS)
    words = [_TEXTS.format(counted=each) for each in counted]
    sql = f"""WITH m AS MATERIALIZED (
            SELECT scope, record ->> 'kind' AS kind, record -> 'tags' AS tags, {states}
            FROM openmem.memories WHERE {selected(selection, now, values)})
        SELECT count(*), count(*) FILTER (WHERE NOT ({" OR ".join(_STATES)})), {counts}, {", ".join(words)} FROM m"""
    return sql, values


def counted(user_id: str, row: tuple[Any, ...]) -> Stats:
    """Read what `counting` answers."""
    total, current, *states, scopes, kinds, tags = row
    texts = {name: json.loads(text) for name, text in (("scopes", scopes), ("kinds", kinds), ("tags", tags))}
    return Stats(user_id=user_id, total=total, current=current, **dict(zip(_STATES, states, strict=True)), **texts)


def naming_scopes(request: ScopesRequest, now: datetime) -> tuple[str, Bindings]:
    """Write the statement that names a page of scopes, and whether there are more."""
    values = Bindings()
    condition, segments = selected(scoped(request), now, values), census.segments(request)
    scope = "scope"
    if segments is not None:
        cut = f"(string_to_array(scope, '/'))[:{values.bind(segments)}::int]"
        scope = f"array_to_string({cut}, '/') COLLATE \"C\""
    counted = f"SELECT {scope} AS name, 1 AS n FROM openmem.memories WHERE {condition} AND scope IS NOT NULL"
    return _page(counted, values, request)


BY_INDEX = dict.fromkeys(("enable_seqscan", "enable_bitmapscan", "enable_hashagg", "enable_sort"), "off")
"""Settings by which a page of users ends where it is full, whatever the statistics make of their number."""


def naming_users(request: UsersRequest) -> tuple[str, Bindings]:
    """Write the statement that names a page of users, of the numbers that writers keep of each."""
    return _page("SELECT user_id AS name, memories AS n FROM openmem.users", Bindings(), request)


def _page(counted: str, values: Bindings, request: ScopesRequest | UsersRequest) -> tuple[str, Bindings]:
    after = cursors.name_in(request)
    later = f"WHERE name > {values.bind(after)}" if after is not None else ""
    sql = f"""SELECT name, sum(n)::int8 FROM ({counted}) c {later}
        GROUP BY name HAVING sum(n) > 0 ORDER BY name LIMIT {request.limit + 1}"""
    return sql, values
