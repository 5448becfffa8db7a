"""What the benchmarks measure with: memories of Zipf-distributed words and users, and medians of times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH, SEARCHES, SINGLES, TOP = 1000, 400, 300, 10
NOTHING = float("nan")
"""What was not measured."""
Row = tuple[str, float, float, float, float, float, float]
"""An engine's name, memories a second, and milliseconds of add, of search by each mode, and of get."""


@dataclass(frozen=True)
class Data:
    """Memories with their users and vectors, and the numbers of those that are searched for."""

    texts: list[str]
    users: list[str]
    vectors: NDArray[np.float32]
    asked: list[int]

    def first(self, count: int) -> Data:
        """Return the first memories alone."""
        asked = [number for number in self.asked if number < count]
        return Data(self.texts[:count], self.users[:count], self.vectors[:count], asked)


class Precomputed:
    """An embedder that looks its vectors up."""

    model = "precomputed"
    inline = True

    def __init__(self, data: Data) -> None:
        self.dimension = data.vectors.shape[1]
        self._vectors = dict(zip(data.texts, data.vectors, strict=True))

    async def embed(self, texts: Sequence[str]) -> Any:
        """Return the vectors of known texts."""
        return [self._vectors[text] for text in texts]

    async def close(self) -> None:
        """Do nothing."""


def make_data(memories: int, dimension: int) -> Data:
    """Make short facts of Zipf-distributed words for Zipf-distributed users."""
    random = np.random.default_rng(7)
    words = vocabulary()
    texts = [f"{' '.join(random.choice(words, 11, p=zipf(len(words), 1.0)))} {number}" for number in range(memories)]
    users = [f"user {number}" for number in random.choice(500, memories, p=zipf(500, 1.1))]
    vectors = random.normal(size=(memories, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Data(texts, users, vectors, random.integers(0, memories, SEARCHES).tolist())


def vocabulary() -> NDArray[np.str_]:
    """Make 720 words."""
    return np.array([f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("an", "el", "or", "ui") for c in "abcdefghijklmno"])


def zipf(count: int, exponent: float) -> NDArray[np.float64]:
    """Return Zipf probabilities of `count` ranks."""
    weights = 1 / np.arange(1, count + 1) ** exponent
    return np.asarray(weights / weights.sum())


def rate(data: Data, add: Callable[[range], object]) -> float:
    """Return memories a second of the median batch."""
    times = []
    for batch in batches(data):
        started = time.perf_counter()
        add(batch)
        times.append((time.perf_counter() - started) / len(batch))
    return 1 / statistics.median(times)


async def rate_async(data: Data, add: Callable[[range], Awaitable[object]]) -> float:
    """Return memories a second of the median batch, awaited."""
    times = []
    for batch in batches(data):
        started = time.perf_counter()
        await add(batch)
        times.append((time.perf_counter() - started) / len(batch))
    return 1 / statistics.median(times)


def batches(data: Data) -> Iterator[range]:
    """Divide the memories into ranges of BATCH."""
    for start in range(0, len(data.texts), BATCH):
        yield range(start, min(start + BATCH, len(data.texts)))


def median_ms(work: Callable[[int], object], numbers: Sequence[int]) -> float:
    """Return the median milliseconds of one call."""
    for number in numbers[:20]:
        work(number)
    times = []
    for number in numbers:
        started = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def best_rows(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the rows of the ten best scores, best first."""
    top = np.argpartition(-scores, min(TOP, len(scores)) - 1)[:TOP]
    return np.asarray(top[np.argsort(-scores[top])])


async def median_async(work: Callable[[int], Awaitable[object]], numbers: Sequence[int]) -> float:
    """Return the median milliseconds of one awaited call."""
    for number in numbers[:20]:
        await work(number)
    times = []
    for number in numbers:
        started = time.perf_counter()
        await work(number)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000
