"""VectorIndex: exact vector search over one user's vectors, in memory."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from openmem._generated.models import MemoryPage, MemoryRecord
from openmem.errors import InvalidRequestError

Key = TypeVar("Key", bound=Hashable)
Floats = NDArray[np.float32]

BLOCK = 4096
"""Rows in one piece: an index that grows never copies more than this many."""

SMALL, LARGE = 1e-20, 1e30
"""Squared lengths between which no square that matters has overflowed or vanished in 32 bits."""


def unit(vector: Sequence[float] | Floats) -> Floats:
    """Scale a vector to length 1, as float32; a vector of zeros stays as it is."""
    array = np.asarray(vector, dtype=np.float32)
    squared = float(np.vdot(array, array))  # which does not warn of what overflows
    if abs(squared - 1) < 1e-6:
        return array
    if SMALL < squared < LARGE:
        return array / math.sqrt(squared)
    wide = array.astype(np.float64)  # in which no square of a float32 overflows or vanishes
    length = math.sqrt(float(wide.dot(wide)))
    return (wide / length).astype(np.float32) if length else array


def with_vectors(page: MemoryPage, vectors: Mapping[str, Sequence[float] | Floats]) -> MemoryPage:
    """Put vectors, by id and scaled to length 1, on the memories of a page, which is the caller's own."""
    for memory in page.items:
        vector = vectors.get(memory.id)
        if vector is not None:
            put_vector(memory, vector)
    return page


def put_vector(memory: MemoryRecord, vector: Sequence[float] | Floats) -> None:
    """Put a vector on a memory that is the caller's own, scaled to length 1."""
    memory.vector = unit(vector).tolist()


class VectorIndex(Generic[Key]):
    """Unit vectors under keys, in dense blocks of rows. Not synchronised: its owner holds a lock.

    Wherever an interrupt ends a change, all keys but the one that it is about still have their vectors.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.keys: list[Key] = []
        self.row_of: dict[Key, int] = {}
        self._blocks: list[Floats] = []

    def __len__(self) -> int:
        return len(self.keys)

    def fitting(self, vector: Sequence[float] | Floats) -> Floats:
        """Scale a vector to length 1; InvalidRequestError where it is of another width."""
        if len(vector) != self.dimension:
            raise InvalidRequestError(
                f"a vector has {len(vector)} numbers, not {self.dimension}.", remedy="Give one of the embedder's width."
            )
        return unit(vector)

    def get(self, key: Key) -> Floats | None:
        """Return a copy of a key's vector."""
        row = self.row_of.get(key)
        return None if row is None else self._row(row).copy()

    def put(self, key: Key, vector: Floats) -> None:
        """Add or replace a vector of length 1."""
        row = self.row_of.get(key)
        if row is not None:
            self._set(row, vector)
            return
        row = len(self.keys)
        try:
            self._set(row, vector)
        except IndexError:
            self._reach(row)
            self._set(row, vector)
        self.row_of[key] = row
        self.keys.append(key)

    def discard(self, key: Key) -> None:
        """Remove a key if it is there; the last row takes its place."""
        row = self.row_of.get(key)
        if row is None:
            return
        last = self.keys[-1]
        if last != key:
            self._set(row, self._row(len(self.keys) - 1))
            self.keys[row] = last
            self.row_of[last] = row
        self.keys.pop()
        del self.row_of[key]

    def _row(self, row: int) -> Floats:
        row_of_block: Floats = self._blocks[row // BLOCK][row % BLOCK]
        return row_of_block

    def _set(self, row: int, vector: Floats) -> None:
        self._blocks[row // BLOCK][row % BLOCK] = vector

    def _reach(self, row: int) -> None:
        """Make room for a row, which is the first for which there is none."""
        block = row // BLOCK
        if block == len(self._blocks):
            self._blocks.append(np.empty((BLOCK if block else 8, self.dimension), dtype=np.float32))
        else:
            full = self._blocks[block]
            self._blocks[block] = np.concatenate([full, np.empty_like(full)])

    def similarities(self, query: Floats) -> NDArray[np.float64]:
        """Return the cosine of every vector with a query of length 1, in the order of keys.

        einsum sums each row in the same order wherever it lies, which BLAS does not: equal vectors score equally, so
        that ties are ties on every backend. It also leaves BLAS's threads alone.
        """
        cosines: NDArray[np.float64] = np.empty(len(self.keys))
        for start, block in zip(range(0, len(cosines), BLOCK), self._blocks, strict=False):
            rows = block[: len(cosines) - start]
            cosines[start : start + len(rows)] = np.einsum("ij,j->i", rows, query)
        np.clip(cosines, -1.0, 1.0, out=cosines)
        return cosines
