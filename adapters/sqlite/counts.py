"""What SQLite counts and follows by itself: a user's statistics, a chain of supersession."""

from __future__ import annotations

from datetime import datetime
from sqlite3 import Connection

from openmem._generated.models import Stats
from openmem.protocol.clock import micros
from openmem.protocol.tally import STATES

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
        FROM records WHERE user = :user
    )
"""
_FIELD = "SELECT {0}, count(*) FROM records WHERE user = :user AND {0} != '' GROUP BY {0}"
_TAGS = "SELECT value, count(*) FROM records, json_each(tags) WHERE user = :user AND tags IS NOT NULL GROUP BY value"


def counted(connection: Connection, user_id: str, user: int | None, now: datetime) -> Stats:
    """Count a user's records at a moment, by the columns beside them."""
    values = {"user": user, "now": micros(now)}

    def by(query: str) -> dict[str, int]:
        return dict(connection.execute(query, values).fetchall())

    total, current, *states = (each or 0 for each in connection.execute(_STATES, values).fetchone())
    return Stats(
        user_id=user_id,
        total=total,
        current=current,
        scopes=by(_FIELD.format("scope")),
        kinds=by(_FIELD.format("kind")),
        tags=by(_TAGS),
        **dict(zip(STATES, states, strict=True)),
    )
