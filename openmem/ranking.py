"""Text analysis for BM25, the BM25 score and score fusion: pure functions that every backend shares."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

from .fork import Lock, importing, in_child

Key = TypeVar("Key")

ANALYSIS = "english-1"
"""Name of this text analysis; stores that keep its terms record it, so that a change of it can be noticed."""

K1, B = 1.2, 0.75
"""Saturation and length normalisation (Robertson and Zaragoza 2009, The Probabilistic Relevance Framework)."""

KEYWORD_SHARE = 0.5
"""Share of the keyword score in a fused one; the cosine has the rest."""

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
# Scripts written without spaces give one term a character; elsewhere a term is a word, its apostrophe included.
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+(?:['’][^\W_{_IDEOGRAPHS}]+)?")

STOP_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been before being both but by can could did do does
    doing for from had has have having he her here hers him his how i if in into is it its just me my no nor not of
    on or our ours out own she should so some such than that the their theirs them then there these they this those
    to too us very was we were what when where which while who whom why will with would you your yours
    i'm i've i'd i'll it's he's she's that's you're we're they're don't didn't doesn't isn't wasn't what's
    """.split()  # noqa: SIM905  a list of words is read as words
)


@lru_cache(maxsize=1)
def _stemmer():  # type: ignore[no-untyped-def]
    with importing:
        import Stemmer  # imported when first used: it is compiled code that a keyword-less program never needs

    return Stemmer.Stemmer("english")


class _Terms(dict[str, str]):
    """Word -> term, '' for a stop word; each word but numbers is worked out once."""

    def __init__(self) -> None:
        self._stemming = Lock()
        in_child(self, _Terms._renew)

    def _renew(self) -> None:
        _stemmer.cache_clear()  # a thread of the parent may have been in the midst of using it

    def __missing__(self, word: str) -> str:
        if word.isdecimal():  # has no stem, and would crowd out words: there are more numbers than words
            return word
        plain = word.replace("’", "'")
        with self._stemming:  # a stemmer object is not safe in several threads at once
            term = "" if plain in STOP_WORDS else str(_stemmer().stemWord(plain))
            if len(self) >= MOST_WORDS:
                self.clear()
            self[word] = term
        return term


MOST_WORDS = 131_072
_terms = _Terms()


def terms(text: str) -> list[str]:
    """Split a text into the terms it is indexed by: lower case, no stop words, English stems (Snowball)."""
    return list(filter(None, map(_terms.__getitem__, _WORD.findall(text.lower()))))


def frequencies(words: Iterable[str]) -> dict[str, int]:
    """Count each term; for the few terms of a memory a dict is quicker than a Counter."""
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts


def bm25(
    postings: Iterable[Mapping[Key, int]], lengths: Mapping[Key, int], *, count: int, total_length: int
) -> dict[Key, float]:
    """Score memories against a query by Okapi BM25 over one user's memories.

    postings: for each query term, the memories that hold it and how often; lengths: of those memories, in terms;
    count: the user's memories; total_length: their length in terms. The inverse document frequency is Lucene's,
    ln(1 + (N - n + 0.5) / (n + 0.5)), which is never negative.
    """
    scores: dict[Key, float] = {}
    average = total_length / count if count else 1.0
    base, slope = K1 * (1 - B), K1 * B / (average or 1.0)
    for posting in postings:
        idf = math.log1p((count - len(posting) + 0.5) / (len(posting) + 0.5))
        for key, frequency in posting.items():
            score = idf * frequency / (frequency + base + slope * lengths[key])
            scores[key] = scores.get(key, 0.0) + score
    return scores


def fuse(keyword: float, best_keyword: float, cosine: float) -> float:
    """Fuse two scores of one memory into [0, 1]: half its BM25 relative to the best match, half its cosine.

    Fusing by score keeps how sure each ranker is; fusing by rank loses recall where one ranker is weak.
    """
    relative = keyword / best_keyword if best_keyword > 0 else 0.0
    return KEYWORD_SHARE * relative + (1 - KEYWORD_SHARE) * cosine
