"""The index of words: what a memory adds to it, and how many memories each user has, which BM25 needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from psycopg import AsyncCursor

from openmem._generated.models import MemoryRecord
from openmem.protocol import ranking

from .schema import Names
from .sessions import Session
from .tables import POSTINGS, append, copied, copy
from .vectors import HELD

STRIPES = 8
"""Rows of statistics that a user may have."""
LONGEST_TERM = 256
"""Characters of a term that an index entry of Postgres surely holds; a longer one is kept as its digest."""


class Indexed(NamedTuple):
    """A memory with its terms and the weight of each."""

    memory: MemoryRecord
    weights: Mapping[str, float]


def index_terms(text: str) -> list[str]:
    """Split a text into terms as ranking does, each short enough for an index."""
    terms = ranking.terms(text)
    if len(text) <= LONGEST_TERM // 3:  # in lower case it may be up to three times as long
        return terms
    return [term if len(term) <= LONGEST_TERM else _digest(term) for term in terms]


def _digest(term: str) -> str:
    return "#" + blake2b(term.encode(), digest_size=16).hexdigest()  # no term begins with "#"


def indexed(memory: MemoryRecord) -> Indexed:
    """Work out what is indexed of a memory's words."""
    return Indexed(memory, ranking.weights(index_terms(memory.content)))


class Totals:
    """What becomes of the numbers of users' memories."""

    def __init__(self) -> None:
        self._memories = Counter[str]()

    def subtract(self, words: Iterable[Indexed]) -> None:
        """Count what is taken out of the index of words."""
        for memory, _ in words:
            self._memories[memory.user_id] -= 1

    def added(self, words: Iterable[Indexed]) -> Iterator[Indexed]:
        """Count what is put into the index of words, as it passes."""
        for each in words:
            self._memories[each.memory.user_id] += 1
            yield each

    async def store(self, session: Session, names: Names) -> AsyncCursor[Any] | None:
        """Bring the statistics up to date; its rows are users, memories of a stripe of theirs, and HELD."""
        users = sorted(self._memories)
        if not users:
            return None
        sql = f"""INSERT INTO openmem.users AS u (user_id, stripe, memories)
            SELECT user_id, mod(pg_backend_pid(), {STRIPES}), memories
            FROM unnest(%s::text[], %s::int8[]) c(user_id, memories)
            ON CONFLICT (user_id, stripe) DO UPDATE SET memories = u.memories + excluded.memories
            RETURNING user_id, memories, ({HELD})"""
        return await session.execute(names(sql), [users, [self._memories[user] for user in users]])


async def store_words(session: Session, names: Names, words: Iterable[Indexed], key_of: Mapping[str, int]) -> None:
    """Append to the index of words."""
    if session.pgconn.pipeline_status:  # which admits no COPY
        rows = [row for each in words for row in postings(each, key_of[each.memory.id])]
        await append(session, names, POSTINGS, rows)
    else:
        await copy(session, names, POSTINGS, _posting_lines(words, key_of))


def postings(words: Indexed, key: int) -> Iterator[tuple[str, str, int, float]]:
    """Write a memory's rows of the index of words."""
    user_id = words.memory.user_id
    return ((user_id, term, key, weight) for term, weight in words.weights.items())


def _posting_lines(words: Iterable[Indexed], key_of: Mapping[str, int]) -> Iterator[str]:
    """Write the lines of one memory at a time: this is most of a large batch."""
    for memory, weights in words:
        user_id, key = copied(memory.user_id), key_of[memory.id]
        ends = {weight: f"\t{key}\t{weight!r}\n" for weight in set(weights.values())}
        yield "".join([f"{user_id}\t{term}{ends[weight]}" for term, weight in weights.items()])
