"""What the embedders share: batches of bounded size, and unit length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH_TEXTS = 256
BATCH_CHARACTERS = 100_000


def batches(texts: Sequence[str], most: int = BATCH_TEXTS) -> Iterator[slice]:
    """Cut texts into runs of at most so many, and of BATCH_CHARACTERS; a text longer than that goes alone."""
    start = characters = 0
    for position, text in enumerate(texts):
        full = position - start == most or characters + len(text) > BATCH_CHARACTERS
        if full and position > start:
            yield slice(start, position)
            start, characters = position, 0
        characters += len(text)
    if start < len(texts):
        yield slice(start, len(texts))


def to_unit_length(rows: NDArray[np.floating[Any]]) -> None:
    """Scale each row to unit length in place; a row of zeros stays zeros."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    np.divide(rows, lengths, out=rows, where=lengths > 0)
