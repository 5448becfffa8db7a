"""What SQLite counts and follows by itself: a user's statistics, a chain of supersession."""

from __future__ import annotations

from datetime import datetime
from sqlite3 import Connection, Cursor
from typing import Any

from openmem._generated.models import ListRequest, Stats
from openmem.protocol.clock import micros
from openmem.protocol.selection import STATES

CHAIN = """
    WITH RECURSIVE chain (id) AS (
        VALUES (:id)
        UNION
        SELECT link.atom FROM chain
            JOIN records ON records.id = chain.id AND +records.user = :user
            JOIN json_tree(json_array(
                json_extract(record, '$.superseded_by'), json_extract(record, '$.supersedes')
            )) AS link ON link.atom IS NOT NULL
    )
    SELECT record FROM chain JOIN records ON records.id = chain.id AND +records.user = :user
"""
"""The records linked with one, directly or not, all of one user."""

_STATES = """
    SELECT count(*), sum(superseded + expired + upcoming + archived = 0),
        sum(superseded), sum(expired), sum(upcoming), sum(archived)
    FROM (
        SELECT coalesce(superseded_at <= :now, 0) AS superseded, coalesce(valid_to <= :now, 0) AS expired,
            coalesce(valid_from > :now, 0) AS upcoming, archived
        FROM records WHERE {where}
    )
"""
_FIELD = "SELECT {0}, count(*) FROM records WHERE {where} AND {0} != '' GROUP BY {0}"
_TAGS = "SELECT value, count(*) FROM records, json_each(tags) WHERE {where} AND tags IS NOT NULL GROUP BY value"
_OWNERS = """
    SELECT user_id, memories FROM users WHERE memories > 0 AND (:after IS NULL OR user_id > :after) ORDER BY user_id
"""
_STATE = {
    "superseded": "coalesce(superseded_at > :now, 1)",
    "expired": "coalesce(valid_to > :now, 1)",
    "upcoming": "coalesce(valid_from <= :now, 1)",
    "archived": "NOT archived",
}
"""What holds of a record that is not in the state."""


def counted(connection: Connection, user: int | None, request: ListRequest, now: datetime) -> Stats:
    """Count the records that a request without a filter selects at a moment, by the columns beside them."""
    where, values = _selected(user, request, now)

    def by(query: str, *column: str) -> dict[str, int]:
        return dict(connection.execute(query.format(*column, where=where), values).fetchall())

    found = connection.execute(_STATES.format(where=where), values).fetchone()
    total, current, *states = (each or 0 for each in found)
    return Stats(
        user_id=request.user_id,
        total=total,
        current=current,
        scopes=by(_FIELD, "scope"),
        kinds=by(_FIELD, "kind"),
        tags=by(_TAGS),
        **dict(zip(STATES, states, strict=True)),
    )


def scopes(connection: Connection, user: int | None, request: ListRequest, now: datetime) -> list[tuple[str, int]]:
    """Name the scopes of what a request without a filter selects, each with how many records."""
    where, values = _selected(user, request, now)
    return connection.execute(_FIELD.format("scope", where=where), values).fetchall()


def owners(connection: Connection, after: str | None) -> Cursor:
    """Walk the users that have records, with how many, by code points: as SQLite compares texts."""
    return connection.execute(_OWNERS, {"after": after})


def _selected(user: int | None, request: ListRequest, now: datetime) -> tuple[str, dict[str, Any]]:
    """Write the condition that a request without a filter selects by, and its parameters."""
    values: dict[str, Any] = {"user": user, "now": micros(now)}
    conditions = ["user = :user", *(test for state, test in _STATE.items() if state not in (request.include or ()))]
    if request.scope is not None:
        base = request.scope.removesuffix("/*")
        below = "scope >= :below AND scope < :beyond"  # "0" follows "/": all that begins with base/
        conditions.append(below if base != request.scope else f"(scope = :scope OR {below})")
        values |= {"scope": base, "below": f"{base}/", "beyond": f"{base}0"}
    if request.tag is not None:
        conditions.append("EXISTS (SELECT 1 FROM json_each(records.tags) WHERE value = :tag)")
        values["tag"] = request.tag
    if request.session is not None:
        conditions.append("json_extract(record, '$.session') = :session")
        values["session"] = request.session
    for name, operator, bound in (("since", ">=", request.since), ("until", "<=", request.until)):
        if bound is not None:
            conditions.append(f"created_at {operator} :{name}")
            values[name] = micros(bound)
    return " AND ".join(conditions), values
