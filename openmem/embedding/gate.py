"""The one gate for vectors: whoever made them, there are as many as asked for, of the right width, and finite."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import OMPError, ProviderError
from ..runtime.bridge import cancelling
from . import Embedder, RefusedTextsError

Floats = NDArray[np.float32]
FLOAT32 = np.dtype(np.float32)
FEW = 8_192
"""Numbers up to which a product starts no threads of the library's."""


class Gated:
    """An embedder whose answers are held to what it says of itself."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.model, self.dimension, self.inline = embedder.model, embedder.dimension, embedder.inline

    def __repr__(self) -> str:
        return f"Gated({self.model!r}, dimension={self.dimension})"

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return a float32 array of shape (len(texts), dimension).

        Raises ProviderError naming the model for any other number, width or kind of vectors, and for numbers that are
        not finite in float32; RefusedTextsError with vectors that passed.
        """
        try:
            vectors = await self._embedder.embed(texts)
            return cast("Sequence[Sequence[float]]", self._checked(vectors, len(texts)))
        except RefusedTextsError as refusal:
            raise self._refused(refusal, len(texts)) from refusal.__cause__
        except OMPError as error:
            error.written = "nothing"  # texts are embedded before anything is stored
            raise
        except asyncio.CancelledError as error:
            if cancelling():  # our caller, and not something within the embedder
                raise
            raise self._wrong(f"with {type(error).__name__}") from error
        except Exception as error:  # an embedder raises whatever its parts raise
            raise self._wrong(f"with {type(error).__name__}") from error

    async def close(self) -> None:
        """Close the embedder."""
        await self._embedder.close()

    def _refused(self, refusal: RefusedTextsError, count: int) -> OMPError:
        """Hold what is said of some texts to the same: errors of texts that there are, and vectors of all others."""
        errors = refusal.errors
        known = all(type(position) is int and 0 <= position < count for position in errors)
        if not errors or not known or not all(isinstance(error, OMPError) for error in errors.values()):
            return self._wrong("errors of texts that it was not given")
        for error in errors.values():
            error.written = "nothing"
        try:
            vectors = self._checked(refusal.vectors, count - len(errors)) if len(errors) < count else ()
        except ProviderError as error:
            return error
        return RefusedTextsError(self.model, cast("Sequence[Sequence[float]]", vectors), errors)

    def _checked(self, vectors: Any, count: int) -> Floats:
        try:
            found = len(vectors)
        except TypeError:
            raise self._wrong(f"{type(vectors).__name__}, not a list of vectors") from None
        if found != count:
            raise self._wrong(f"{found} vectors for {count} texts")
        lent = type(vectors) is np.ndarray
        given = vectors if lent else self._numbers(vectors)
        if given.dtype.kind not in "fiu":
            raise self._wrong(f"{given.dtype}, not numbers")
        if given.shape != (count, self.dimension):
            raise self._wrong(f"vectors of shape {given.shape[1:]}, where {self.dimension} numbers are expected")
        array = given if given.dtype == FLOAT32 else _narrowed(given)
        if lent and array is given:
            array = given.copy()  # the embedder may use its own again
        if not _finite(array):
            raise self._wrong("a number that is not finite in 32 bits")
        return array

    def _numbers(self, vectors: Any) -> NDArray[Any]:
        rows = [vectors] if hasattr(vectors, "shape") else vectors
        if not all(type(row) is np.ndarray and row.dtype is FLOAT32 for row in rows):
            if any(map(_is_masked, rows)):
                raise self._wrong("vectors of which a part is masked")
            if any(map(_has_truth, rows)):
                raise self._wrong("truth values, not numbers")
        try:
            return np.array(vectors)
        except ValueError:
            raise self._wrong("vectors of unlike length") from None

    def _wrong(self, what: str) -> ProviderError:
        return ProviderError(
            f"the embedder {self.model} answered {what}.",
            remedy="Correct the embedder, or its dimension.",
            written="nothing",
        )


def _is_masked(row: Any) -> bool:
    """Tell whether a row, or an array, is one of numpy's masked arrays, and not all of it is to be read."""
    mask = getattr(row, "mask", None)
    return isinstance(mask, (np.ndarray, np.bool_)) and bool(np.any(mask))


def _has_truth(row: Any) -> bool:
    """Tell whether a row has truth values, which numpy reads as 0 and 1 among numbers."""
    if isinstance(row, (list, tuple)):
        return not {bool, np.bool_}.isdisjoint(map(type, row))
    return getattr(row, "dtype", None) == np.bool_


def _finite(array: Floats) -> bool:
    """Tell whether all numbers are; of few by their squares, which is quicker, and is all where it says yes."""
    if array.size <= FEW and math.isfinite(np.vdot(array, array)):
        return True
    return bool(np.isfinite(array).all())


def _narrowed(given: NDArray[Any]) -> Floats:
    with np.errstate(over="ignore"):
        return given.astype(np.float32)
