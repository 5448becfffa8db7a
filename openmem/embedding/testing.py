"""An embedder for tests, whose neighbours can be worked out by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from hashlib import blake2b

from ..errors import ConfigurationError

_WORD = re.compile(r"\w+")


class WordEmbedder:
    """Counts words: each lower-case word has an axis of its own, so cosine is that of the two bags of words.

    Two words share an axis by chance once in `dimension` pairs; `axis` tells. A text without words is all
    zeros.
    """

    inline = True

    def __init__(self, *, dimension: int = 256) -> None:
        if dimension < 1:
            raise ConfigurationError(f"a vector cannot have {dimension} dimensions.", remedy="Give 1 or more.")
        self.dimension = dimension
        self.model = f"test-words-{dimension}"

    def __repr__(self) -> str:
        return f"WordEmbedder(dimension={self.dimension})"

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return the word counts of each text, scaled to unit length."""
        return [self._count(text) for text in texts]

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def axis(self, word: str) -> int:
        """Return the axis on which a word is counted, the same in every process."""
        return int.from_bytes(blake2b(word.lower().encode(), digest_size=8).digest()) % self.dimension

    def _count(self, text: str) -> list[float]:
        counts = [0.0] * self.dimension
        for word in _WORD.findall(text.lower()):
            counts[self.axis(word)] += 1
        length = math.hypot(*counts) or 1.0
        return [count / length for count in counts]
