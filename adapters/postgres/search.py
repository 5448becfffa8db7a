"""Search in Postgres: which plan answers a request, and the statement of each.

A filter over an HNSW index gives too few rows, and wrong ones, wherever few of the indexed rows pass it. So a search
reads every row that the request selects unless they are many, and does so after all where the index, told to go on
until it has enough, still gave too few. Whichever it is, the answer is that of one statement, and so of one snapshot;
those before it only tell which one to take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Any, Protocol

from openmem._generated.bounds import MAX_OFFSET_REACH
from openmem._generated.models import SearchRequest, SearchResponse
from openmem.protocol import ranking
from openmem.protocol.selection import narrows, reach

from .connections import Rows
from .filters import Bindings, selected
from .jsonb import as_written
from .vectors import HELD, Vectors, see_it_is_held
from .words import index_terms

EXACT = 5000
"""Rows up to which all are read: about 1.3 us each."""
INDEX_COST = 200
"""The index also walks past the rows of others: it pays from n rows of N where n * n > INDEX_COST * N, as measured."""
ITERATIVE = {
    "hnsw.iterative_scan": "strict_order",
    "hnsw.ef_search": "100",
    "hnsw.max_scan_tuples": "100000",
    "enable_sort": "off",
}
"""Settings of a search by the index: without the last a plan made for the average user sorts all rows instead.

In strict order the rows of a deep search begin with those of any less deep one, so that pages fit together.
"""
BY_WORDS = 5000
"""Memories found by their words that hybrid search looks at where it takes the index for the rest."""

COUNTED_FOR = 10.0
"""Seconds for which a user who had few rows is not counted again: exact is right for many too, if slower."""
MOST_COUNTED = 10_000
"""Users remembered for it."""

INDEXED = """coalesce((SELECT indisvalid FROM pg_index
    WHERE indexrelid = (SELECT to_regclass('openmem.memories_embedding'))), false)"""
"""Whether there is an index of vectors, and a whole one."""
_SCORE = "greatest(0, least(1, raw))"
_ORDER = "raw DESC, created_at DESC, id DESC"


def threshold() -> str:
    """Write from how many rows on the index is quicker, by the mean size of the tables that hold memories."""
    whole = "'openmem.memories'::regclass"
    tables = f"SELECT {whole} UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = {whole}"
    return f"""(SELECT greatest({EXACT}, sqrt({INDEX_COST} * avg(greatest(reltuples, 0))))
        FROM pg_class WHERE relkind = 'r' AND oid IN ({tables}))"""


def needed() -> str:
    """Write the statement that tells whether %(user)s has more memories than are read quicker, and of the index."""
    size = "coalesce((SELECT sum(memories)::int8 FROM openmem.users WHERE user_id = %(user)s), 0)"
    return f"SELECT {size} > {threshold()}, {INDEXED}"


class Query(Protocol):
    """Runs a reading statement for the request's user."""

    async def __call__(self, sql: str, values: Mapping[str, Any], *, local: Mapping[str, str] | None = None) -> Rows:
        """Return its rows; local: settings that it needs."""


class Sizes:
    """How many memories users had when they were counted last."""

    def __init__(self) -> None:
        self._counted: dict[str, tuple[int, float]] = {}

    def keep(self, user_id: str, size: int) -> None:
        """Remember a user's number of memories."""
        if len(self._counted) >= MOST_COUNTED:
            self._counted.clear()
        self._counted[user_id] = size, monotonic()

    def few(self, user_id: str) -> bool:
        """Tell whether a user is known to have few."""
        size, moment = self._counted.get(user_id, (EXACT + 1, 0.0))
        return size <= EXACT and monotonic() - moment < COUNTED_FOR


class Search:
    """One search request and the statements that may answer it.

    Rows are ranked by the raw score, which may be below zero; the one that is reported is not.
    """

    def __init__(
        self,
        request: SearchRequest,
        now: datetime,
        vectors: Vectors | None,
        sizes: Sizes,
        wanted: Callable[[], None] | None = None,
    ) -> None:
        """Take a request; wanted: called where an index would have been taken, and there is none; None: of no use."""
        self.request, self._sizes, self._wanted = request, sizes, wanted
        self._values = values = Bindings()
        self._selected = selected(request, now, values)
        self._user = values.bind(request.user_id)
        self._cosine = self._terms = None
        self._vectors = vectors
        if vectors is not None and request.vector is not None and request.mode != "keyword":
            self._product = f"embedding <#> {values.bind(vectors.value(request.vector))}"
            self._cosine = f"-({self._product})"
        if request.query is not None and request.mode != "vector":
            self._terms = values.bind(list(dict.fromkeys(index_terms(request.query))))

    async def run(self, query: Query) -> SearchResponse:
        """Answer the request, exactly or by the index."""
        user_id = self.request.user_id
        if self._cosine is None or self._sizes.few(user_id):
            return self._response(await self._ask(query, self._exact()))
        rows = await self._ask(query, self.exact_unless_many())
        size, least, indexed, *_ = rows[0][2:]
        if size <= EXACT and not narrows(self.request):  # else it may be the number of those selected
            self._sizes.keep(user_id, size)
        if size <= EXACT or not indexed:
            if size > EXACT and self._wanted is not None and await self._many(size, least, query):
                self._wanted()
            return self._response(rows)
        if await self._many(size, least, query):
            rows = await self._ask(query, self.by_index(), local=ITERATIVE)
            if len(rows) == self.request.limit and rows[0][0] is not None:
                return self._response(rows)
        return self._response(await self._ask(query, self._exact()))

    async def _ask(self, query: Query, sql: str, local: Mapping[str, str] | None = None) -> Rows:
        """Run a search; of one by vector, the statement also says whether the store still has such vectors.

        Without a row it says nothing, and nothing is what vectors of any embedding would select.
        """
        if self._vectors is None or self._cosine is None:
            return await query(sql, self._values)
        rows = await query(f"SELECT s.*, ({HELD}) FROM ({sql}) s", self._values, local=local)
        if rows:
            see_it_is_held(self._vectors.embedding, rows[0][-1])
        return rows

    def _response(self, rows: Sequence[Sequence[Any]]) -> SearchResponse:
        least = self.request.min_score or 0.0
        results = ",".join(
            f'{{"memory":{as_written(row[0])},"score":{row[1]!r}}}'
            for row in rows
            if row[0] is not None and row[1] >= least
        )
        return SearchResponse.model_validate_json(f'{{"results":[{results}]}}')  # quicker than one by one

    async def _many(self, size: int, least: float, query: Query) -> bool:
        """Tell whether the request selects more rows than are read quicker without the index."""
        if narrows(self.request) and least > EXACT:  # they were counted up to EXACT
            size = (await query(f"SELECT {self._count(int(least))}", self._values))[0][0]
        return size > least

    def _count(self, most: int) -> str:
        rows = f"SELECT 1 FROM openmem.memories WHERE {self._selected} LIMIT {most + 1}"
        return f"(SELECT count(*) FROM ({rows}) c)"

    # --- statements -------------------------------------------------------------------------------------------

    def _exact(self, condition: str = "true") -> str:
        return self._best("openmem.memories", self._selected, condition)

    def exact_unless_many(self) -> str:
        """Write a statement that searches exactly unless there is an index for so many, and says how many there are."""
        size = f"coalesce((SELECT sum(memories)::int8 FROM openmem.users WHERE user_id = {self._user}), 0)"
        if narrows(self.request):
            size = f"CASE WHEN {size} <= {EXACT} THEN {size} ELSE {self._count(EXACT)} END"
        return f"""SELECT r.record, r.score, u.size, u.least, u.indexed FROM (
            SELECT size, CASE WHEN size > {EXACT} THEN {threshold()} END AS least,
                size > {EXACT} AND {INDEXED} AS indexed
            FROM (SELECT {size} AS size OFFSET 0) c OFFSET 0) u
            LEFT JOIN LATERAL ({self._exact("NOT u.indexed")}) r ON true"""

    def by_index(self) -> str:
        """Write the statement that searches those near by the index of vectors, and some by their words."""
        if self._terms is None:
            return self._best(f"({self._near(str(reach(self.request)))}) n", "true")
        best = "(SELECT key, words FROM hits ORDER BY words DESC) h"  # so that the walk ends with the last one needed
        walked = f"{best} {self._looked_up('h', self._selected)}"
        by_words = f"SELECT h.key FROM {walked} ORDER BY words DESC LIMIT {BY_WORDS}"
        # Where not all by words are looked at, one of the rest may be near: pages fit together if all look at as many.
        many = f"(SELECT count(*) FROM hits) > {BY_WORDS}"
        near = self._near(f"CASE WHEN {many} THEN {MAX_OFFSET_REACH} ELSE {reach(self.request)} END")
        chosen = f"SELECT key FROM ({near}) n UNION SELECT key FROM ({by_words}) w"
        return self._best("openmem.memories", f"user_id = {self._user} AND key = ANY(ARRAY({chosen}))")

    def _near(self, depth: str) -> str:
        return f"""SELECT * FROM openmem.memories WHERE {self._selected}
            ORDER BY {self._product} FETCH FIRST ({depth}) ROWS WITH TIES"""

    def _best(self, table: str, selected: str, condition: str = "true") -> str:
        """Write the statement that scores rows of a table and returns the best, provided that a condition holds."""
        page = f"LIMIT {self.request.limit} OFFSET {self.request.offset}"
        if self._terms is None:
            scored = (
                f"SELECT record, created_at, id, {self._cosine} AS raw FROM {table} WHERE {condition} AND {selected}"
            )
            best = f"SELECT * FROM ({scored} AND embedding IS NOT NULL) s ORDER BY {_ORDER} {page}"
            return f"SELECT record::text, {_SCORE} AS score FROM ({best}) b ORDER BY {_ORDER}"
        scored = self._by_words() if self._cosine is None else self._fused(table, selected, condition)
        # The window holds every row, so without the records: those of the best are read afterwards.
        return f"""WITH hits AS ({self._hits()}) SELECT m.record::text, {_SCORE} AS score
            FROM (SELECT * FROM ({scored}) s ORDER BY {_ORDER} {page}) b {self._looked_up("b", "true")}
            ORDER BY b.raw DESC, b.created_at DESC, b.id DESC"""

    def _by_words(self) -> str:
        return f"""SELECT m.key, m.created_at, m.id, h.words / max(h.words) OVER () AS raw
            FROM hits h {self._looked_up("h", self._selected)}"""

    def _fused(self, table: str, selected: str, condition: str) -> str:
        """Write the fused score. Grouped, not joined: a planner without statistics would join row by row."""
        share = ranking.KEYWORD_SHARE
        score = f"{share} * coalesce(sum(words) / max(sum(words)) OVER (), 0) + {1 - share} * coalesce(max(cosine), 0)"
        rows = f"""SELECT key, created_at, id, CASE WHEN embedding IS NOT NULL THEN {self._cosine} END AS cosine,
            NULL::float8 AS words FROM {table} WHERE {condition} AND {selected}"""
        return f"""SELECT key, max(created_at) AS created_at, max(id) AS id, {score} AS raw
            FROM ({rows} UNION ALL SELECT key, NULL, NULL, NULL, words FROM hits WHERE {condition}) r
            GROUP BY key HAVING count(id) > 0 AND (max(cosine) IS NOT NULL OR sum(words) IS NOT NULL)"""

    def _looked_up(self, name: str, condition: str) -> str:
        """Write a join with memories, one by one through the index of their keys, whatever the statistics say."""
        return f"""CROSS JOIN LATERAL (SELECT * FROM openmem.memories
            WHERE user_id = {self._user} AND key = {name}.key AND {condition} OFFSET 0) m"""

    def _hits(self) -> str:
        """Write BM25 over the user's memories, as ranking.bm25 defines it.

        The sum is rounded: its terms are added in any order, and equal scores must come out equal.
        """
        half = "0.5::float8"
        rarity = f"ln(1 + (s.memories - p.n + {half}) / (p.n + {half}))"
        return f"""SELECT key, floor(1e10 * sum({rarity} * p.weight) + {half}) / 1e10 AS words
            FROM (SELECT key, weight, count(*) OVER (PARTITION BY term) AS n FROM openmem.postings
                WHERE user_id = {self._user} AND term = ANY({self._terms})) p
            CROSS JOIN (SELECT sum(memories)::float8 AS memories
                FROM openmem.users WHERE user_id = {self._user} HAVING sum(memories) > 0) s
            GROUP BY key"""
