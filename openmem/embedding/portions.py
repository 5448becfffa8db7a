"""How texts are shared out over requests, to an endpoint that takes nobody knows how many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import OMPError, ProviderUnavailableError, RateLimitedError
from ..runtime.bridge import side_by_side
from ..runtime.repeat import repeat
from .answers import Row
from .vectors import batches

PARALLEL = 4
"""Requests of one call under way at once."""
RECOVERY = 100
"""Full requests in a row after which twice as many texts are tried again."""
PROBE = "a"
"""A text that every model takes."""

Ask = Callable[[Sequence[str]], Awaitable[list[Row | OMPError]]]
"""Texts in, for each its vector or why it has none; raises Refusal for texts that the endpoint does not take."""


class Refusal(Exception):
    """An endpoint does not take these texts, or not so many. text: the error of a text alone; every: of any text."""

    def __init__(self, text: OMPError, every: OMPError) -> None:
        super().__init__(str(text))
        self.text, self.every = text, every


class Limit:
    """How many texts go into one request: as many as wished, fewer where that is learnt from refusals."""

    def __init__(self, most: int) -> None:
        self.most = self.now = most
        self._full = 0

    def took(self, count: int) -> None:
        """Note a request that was answered."""
        if self.now < self.most and count == self.now:
            self._full += 1
            if self._full == RECOVERY:
                self.now, self._full = min(self.most, 2 * self.now), 0

    def learn(self, count: int) -> None:
        """Note that more were refused which, in portions of so many, were taken."""
        self.now, self._full = min(self.now, count), 0


class Sharing:
    """The texts of one call: vectors collects one row each, errors why a text has none, by position."""

    def __init__(self, texts: Sequence[str], ask: Ask, limit: Limit, dimension: int, retries: int) -> None:
        self._texts, self._ask, self._limit, self._retries = texts, ask, limit, retries
        self._in_trouble, self._turn, self._slots = False, asyncio.Lock(), asyncio.Semaphore(PARALLEL)
        self.vectors: NDArray[np.float32] = np.zeros((len(texts), dimension), dtype=np.float32)
        self.errors: dict[int, OMPError] = {}
        self._some_taken = False

    async def embed(self, positions: Sequence[int]) -> bool:
        """Embed the texts at these positions, many to a request; tell whether the endpoint took them all.

        Raises the error that concerns any text.
        """
        first = next(self._portions(positions), None)
        if first is None:
            return True
        taken = [await self._portion(first)]  # before the others, which gain from what it teaches
        rest = list(self._portions(positions[len(first) :]))
        if rest:
            taken += await side_by_side(self._portion, rest, PARALLEL)
        return all(taken)

    def _portions(self, positions: Sequence[int]) -> Iterator[Sequence[int]]:
        texts = [self._texts[position] for position in positions]
        return (positions[run] for run in batches(texts, self._limit.now))

    async def _portion(self, positions: Sequence[int]) -> bool:
        if len(positions) > self._limit.now:  # learnt since it was cut
            return await self.embed(positions)
        try:
            answers = await self._answers([self._texts[position] for position in positions])
        except Refusal as refusal:
            if len(positions) > 1:
                return await self._halves(positions)
            await self._refuse(positions[0], refusal)
            return False
        self._some_taken = True
        self._limit.took(len(positions))
        for position, answer in zip(positions, answers, strict=True):
            if isinstance(answer, OMPError):
                self.errors[position] = answer
            else:
                self.vectors[position] = answer
        return True

    async def _answers(self, texts: Sequence[str]) -> list[Row | OMPError]:
        """Ask; from the first request on that fails and may be repeated, one request at a time and until it is done.

        Beside others, a request might fail as often as it is repeated, at an endpoint that answers most.
        """
        failed = []
        if not self._in_trouble:
            try:
                return await self._send(texts)
            except (RateLimitedError, ProviderUnavailableError) as error:
                self._in_trouble = True
                failed.append(error)

        async def send() -> list[Row | OMPError]:
            if failed:  # which counts as the first attempt
                raise failed.pop()
            return await self._send(texts)

        async with self._turn:
            return await repeat(send, self._retries, harmless=True)

    async def _send(self, texts: Sequence[str]) -> list[Row | OMPError]:
        async with self._slots:  # portions of portions are under way at once too
            return await self._ask(texts)

    async def _halves(self, positions: Sequence[int]) -> bool:
        half = (len(positions) + 1) // 2
        taken = [await self.embed(positions[:half]), await self.embed(positions[half:])]
        if all(taken):  # so it was their number that was refused, not one of them
            self._limit.learn(half)
        return all(taken)

    async def _refuse(self, position: int, refusal: Refusal) -> None:
        """Note that one text is refused, unless every text is."""
        if not self._some_taken and len(self._texts) > 1:
            try:
                await self._answers([PROBE])
            except Refusal as again:
                raise again.every from None
            self._some_taken = True
        self.errors[position] = refusal.text
