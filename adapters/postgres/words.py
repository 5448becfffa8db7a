"""The index of words: what a memory adds to it, and the statistics that BM25 needs of each user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from psycopg import AsyncCursor

from openmem import ranking
from openmem._generated.models import Memory

from .schema import Names
from .sessions import Session
from .tables import POSTINGS, append, copied, copy
from .vectors import HELD

STRIPES = 8
"""Rows of statistics that a user may have."""
LONGEST_TERM = 256
"""Characters of a term that an index entry of Postgres surely holds; a longer one is kept as its digest."""


class Indexed(NamedTuple):
    """A memory with its terms, how often it holds each, and its length in terms."""

    memory: Memory
    terms: Mapping[str, int]
    length: int


def index_terms(text: str) -> list[str]:
    """Split a text into terms as ranking does, each short enough for an index."""
    terms = ranking.terms(text)
    if len(text) <= LONGEST_TERM // 3:  # in lower case it may be up to three times as long
        return terms
    return [term if len(term) <= LONGEST_TERM else _digest(term) for term in terms]


def _digest(term: str) -> str:
    return "#" + blake2b(term.encode(), digest_size=16).hexdigest()  # no term begins with "#"


def indexed(memory: Memory) -> Indexed:
    """Work out what is indexed of a memory's words."""
    terms = index_terms(memory.content)
    return Indexed(memory, ranking.frequencies(terms), len(terms))


class Totals:
    """What becomes of the statistics of users."""

    def __init__(self) -> None:
        self._memories, self._lengths = Counter[str](), Counter[str]()

    def subtract(self, words: Iterable[Indexed]) -> None:
        """Count what is taken out of the index of words."""
        for memory, _, length in words:
            self._memories[memory.user_id] -= 1
            self._lengths[memory.user_id] -= length

    def added(self, words: Iterable[Indexed]) -> Iterator[Indexed]:
        """Count what is put into the index of words, as it passes."""
        for each in words:
            self._memories[each.memory.user_id] += 1
            self._lengths[each.memory.user_id] += each.length
            yield each

    async def store(self, session: Session, names: Names) -> AsyncCursor[Any] | None:
        """Bring the statistics up to date; its rows are users, memories of a stripe of theirs, and HELD."""
        users = sorted(self._memories)
        if not users:
            return None
        sql = f"""INSERT INTO openmem.users AS u (user_id, stripe, memories, length)
            SELECT user_id, mod(pg_backend_pid(), {STRIPES}), memories, length
            FROM unnest(%s::text[], %s::int8[], %s::int8[]) c(user_id, memories, length)
            ON CONFLICT (user_id, stripe) DO UPDATE
            SET memories = u.memories + excluded.memories, length = u.length + excluded.length
            RETURNING user_id, memories, ({HELD})"""
        counts = [self._memories[user] for user in users], [self._lengths[user] for user in users]
        return await session.execute(names(sql), [users, *counts])


async def store_words(session: Session, names: Names, words: Iterable[Indexed], key_of: Mapping[str, int]) -> None:
    """Append to the index of words."""
    if session.pgconn.pipeline_status:  # which admits no COPY
        rows = [(w.memory.user_id, t, key_of[w.memory.id], n, w.length) for w in words for t, n in w.terms.items()]
        await append(session, names, POSTINGS, rows)
    else:
        await copy(session, names, POSTINGS, _posting_lines(words, key_of))


def _posting_lines(words: Iterable[Indexed], key_of: Mapping[str, int]) -> Iterator[str]:
    """Write the lines of one memory at a time: this is most of a large batch."""
    for memory, terms, length in words:
        user_id, key = copied(memory.user_id), key_of[memory.id]
        ends = {count: f"\t{key}\t{count}\t{length}\n" for count in set(terms.values())}
        yield "".join([f"{user_id}\t{term}{ends[count]}" for term, count in terms.items()])
