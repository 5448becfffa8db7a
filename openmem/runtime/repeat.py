"""The rule of repeating: after which errors a request is sent again, how often, and after which pause."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from ..errors import OMPError, ProviderUnavailableError, RateLimitedError
from .bridge import cancelling
from .calls import deadline

T = TypeVar("T")
logger = logging.getLogger("openmem")

LONGEST_PAUSE = 60.0
"""Seconds: where the provider asks for a longer pause, the caller is told instead of being kept waiting."""
LEAST_PAUSE = 0.25
"""Seconds: the pause after a failure for which the provider asks for none."""
_BACKOFF = wait_exponential(multiplier=LEAST_PAUSE, max=5.0) + wait_random(0, 0.25)


async def repeat(send: Callable[[], Awaitable[T]], retries: int, *, harmless: bool = False) -> T:
    """Await send(); at most `retries` further times where it may be repeated, waiting as long as the provider asked.

    It may be where nothing was written for certain, and where that is not certain, if doing it twice is harmless: equal
    to doing it once.
    """
    try:  # outside the loop of attempts, which takes longer than a database nearby
        return await send()
    except OMPError as error:
        if retries == 0 or not _may_repeat(error, harmless):
            raise
        failures, lost = iter([error]), error.written

    async def again() -> T:
        nonlocal lost
        for failure in failures:  # the attempt above counts as the first
            raise failure
        try:
            return await send()
        except OMPError as error:
            if error.written == "nothing":  # by this attempt; a former one may have
                error.written = lost
            lost = error.written
            raise

    attempts = AsyncRetrying(
        stop=stop_after_attempt(retries + 1),
        wait=_pause,
        retry=retry_if_exception(lambda error: _may_repeat(error, harmless)),
        before_sleep=_note,
        reraise=True,
    )
    return await attempts(again)


def _may_repeat(error: BaseException, harmless: bool) -> bool:
    if not isinstance(error, (RateLimitedError, ProviderUnavailableError)):
        return False
    if not harmless and error.written != "nothing":
        return False
    return (LEAST_PAUSE if error.retry_after is None else error.retry_after) <= _time_left()


def _time_left() -> float:
    """Return the seconds that a pause may take: none for a caller who is cancelled."""
    if cancelling():
        return -1.0
    moment = deadline()
    return LONGEST_PAUSE if moment is None else min(LONGEST_PAUSE, moment - asyncio.get_running_loop().time())


def _error(state: RetryCallState) -> Any:
    return state.outcome and state.outcome.exception()


def _pause(state: RetryCallState) -> float:
    asked: float | None = _error(state).retry_after
    return _BACKOFF(state) if asked is None else asked


def _note(state: RetryCallState) -> None:
    code, pause = _error(state).code, state.next_action.sleep if state.next_action else 0.0
    logger.info("attempt %d failed with %s; the next one in %.2f s", state.attempt_number, code, pause)
