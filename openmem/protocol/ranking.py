"""Scores, the same for every backend: BM25 over the terms of analysis, and its fusion with the cosine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from .analysis import ANALYSIS, STOP_WORDS, terms

__all__ = ["ANALYSIS", "STOP_WORDS", "bm25", "fuse", "terms", "weights"]

Key = TypeVar("Key")

K1, B = 1.2, 0.75
"""Saturation and length normalisation (Robertson and Zaragoza 2009, The Probabilistic Relevance Framework)."""
AVERAGE, SHORTEST = 24, 16
"""Terms that a text of average length has, whatever others have; and those that a shorter one counts as."""

KEYWORD_SHARE = 0.5
"""Share of the keyword score in a fused one; the cosine has the rest."""


def weights(words: Sequence[str]) -> dict[str, float]:
    """Weigh each term of one memory, from 0 to 1: tf / (tf + K), with K = k1 (1 - b + b max(terms, 16) / 24).

    It depends on nothing but the memory's own terms, so it is fixed when the memory is written.
    """
    norm = K1 * (1 - B + B * max(len(words), SHORTEST) / AVERAGE)
    found: dict[str, float] = {}
    repeated: dict[str, int] = {}
    once = 1 / (1 + norm)
    for word in words:
        if word not in found:  # as most are
            found[word] = once
        else:
            repeated[word] = count = repeated.get(word, 1) + 1
            found[word] = count / (count + norm)
    return found


def bm25(postings: Iterable[Mapping[Key, float]], *, count: int) -> dict[Key, float]:
    """Score memories against a query by Okapi BM25 over one user's memories.

    postings: for each query term, the memories that hold it and its weight in each; count: the user's memories. The
    inverse document frequency is Lucene's, ln(1 + (N - n + 0.5) / (n + 0.5)), which is never negative.
    """
    scores: dict[Key, float] = {}
    for posting in postings:
        idf = math.log1p((count - len(posting) + 0.5) / (len(posting) + 0.5))
        for key, weight in posting.items():
            scores[key] = scores.get(key, 0.0) + idf * weight
    return scores


def fuse(keyword: float, best_keyword: float, cosine: float) -> float:
    """Fuse two scores of one memory into [0, 1]: half its BM25 relative to the best match, half its cosine.

    Fusing by score keeps how sure each ranker is; fusing by rank loses recall where one ranker is weak.
    """
    relative = keyword / best_keyword if best_keyword > 0 else 0.0
    return KEYWORD_SHARE * relative + (1 - KEYWORD_SHARE) * cosine
