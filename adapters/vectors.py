"""Exact vector search over one user's vectors, in memory."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Key = TypeVar("Key", bound=Hashable)
Floats = NDArray[np.float32]


def unit(vector: Sequence[float] | Floats) -> Floats:
    """Scale a vector to length 1, as float32; a vector of zeros stays as it is."""
    array = np.asarray(vector, dtype=np.float32)
    squared = float(array.dot(array))
    if squared == 0 or abs(squared - 1) < 1e-6:  # nothing to scale, or of that length already
        return array
    return array / np.float32(math.sqrt(squared))


class VectorIndex(Generic[Key]):
    """Unit vectors under keys, in one dense matrix. Not synchronised: its owner holds a lock."""

    def __init__(self, dimension: int) -> None:
        self.keys: list[Key] = []
        self.row_of: dict[Key, int] = {}
        self._rows: Floats = np.empty((8, dimension), dtype=np.float32)

    def __len__(self) -> int:
        return len(self.keys)

    def put(self, key: Key, vector: Floats) -> None:
        """Add or replace a vector of length 1."""
        row = self.row_of.get(key)
        if row is None:
            row = len(self.keys)
            if row == len(self._rows):
                self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self.keys.append(key)
            self.row_of[key] = row
        self._rows[row] = vector

    def discard(self, key: Key) -> None:
        """Remove a key if it is there; the last row takes its place."""
        row = self.row_of.pop(key, None)
        if row is None:
            return
        last = self.keys.pop()
        if last != key:
            self.keys[row] = last
            self.row_of[last] = row
            self._rows[row] = self._rows[len(self.keys)]

    def similarities(self, query: Floats) -> NDArray[np.float64]:
        """Return the cosine of every vector with a query of length 1, clamped to [0, 1], in the order of keys.

        einsum sums each row in the same order wherever it lies, which BLAS does not: equal vectors score equally, so
        that ties are ties on every backend. It also leaves BLAS's threads alone.
        """
        cosines = np.einsum("ij,j->i", self._rows[: len(self.keys)], query)
        clamped: NDArray[np.float64] = np.clip(cosines.astype(np.float64), 0.0, 1.0)
        return clamped
