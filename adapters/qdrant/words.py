"""Terms as the numbers that sparse vectors are made of, of which two terms may have the same.

That is rare, one pair in 2^32, and told by whoever stores the second of them: a point of the sidecar for each such
number. A search that asks for one of these is answered by the texts of the memories instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from uuid import uuid5

from openmem.protocol import ranking

from .engine import Engine, Insert, Nearest, Point, Words, words_name
from .filters import All
from .points import NAMESPACE, RECORD, memory_of

KNOWN = 131_072
"""Numbers whose terms are remembered."""
SAMPLES = 100
"""Memories read at a time to see which terms numbers stand for."""


def number_of(term: str) -> int:
    """Number a term; 0 is no term's."""
    return int.from_bytes(blake2b(term.encode(), digest_size=4).digest()) or 1


class Numbers:
    """Terms by their numbers, and the numbers that were seen to stand for several."""

    def __init__(self) -> None:
        self.terms: dict[int, str] = {}
        self.shared: set[int] = set()

    def put(self, number: int, term: str) -> None:
        """Take note that a number stands for a term."""
        if self.terms.setdefault(number, term) != term:
            self.shared.add(number)

    def cover(self, others: Numbers) -> bool:
        """Tell whether others are all among these, and none is seen to stand for several terms."""
        alike = others.terms.items() <= self.terms.items()
        return alike and not others.shared and self.shared.isdisjoint(others.terms)


def words_of(content: str, numbers: Numbers) -> Words:
    """Weigh the terms of a text by BM25 without the rarity, which the engine adds; note their numbers.

    A text without terms has something too: the engine counts as the user's memories those that have such a vector.
    """
    numbered: dict[int, float] = defaultdict(float)
    for term, weight in ranking.weights(ranking.terms(content)).items():
        number = number_of(term)
        numbers.put(number, term)
        numbered[number] += weight
    return Words(list(numbered), list(numbered.values())) if numbered else Words([0], [1.0])


async def tell_shared(engine: Engine, memories: str, sidecar: str, numbers: Numbers, known: Numbers) -> None:
    """Note in the sidecar which numbers are about to stand for several terms.

    known: what this process knows of numbers, and learns here. All memories that hold a number that is not noted hold
    the same term of it, so one of them tells which.
    """
    left = numbers.terms.keys() - known.terms.keys()
    while left:
        asked = Nearest(words_name(), Words([*left], [1.0] * len(left)), All(()), SAMPLES)
        [rows] = await engine.search(memories, [asked], RECORD)
        held = {number_of(term): term for row in rows for term in ranking.terms(memory_of(row.payload).content)}
        for number in left & held.keys():
            numbers.put(number, held[number])
        left = left - held.keys() if len(rows) == SAMPLES else set()
    if len(known.terms) > KNOWN:
        known.terms.clear()
    for number, term in numbers.terms.items():
        known.put(number, term)
    known.shared |= numbers.shared
    if shared := known.shared & numbers.terms.keys():
        await engine.write(sidecar, [Insert([Point(shared_id(number), {"shared": number}) for number in shared])])


def mistaken(terms: Sequence[str], asked: Mapping[int, str]) -> bool:
    """Tell whether a text has a term that has the number of another one that is asked for."""
    held = dict(zip(map(number_of, terms), terms, strict=True))
    return any(asked[each] != held[each] for each in asked.keys() & held.keys())


@lru_cache(maxsize=1024)
def shared_id(number: int) -> str:
    """Return the point of the sidecar that says that a number stands for several terms."""
    return str(uuid5(NAMESPACE, f"number {number}"))
