"""What a provider raises that is no Exception, which would end the run or its process unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from openmem.runtime.bridge import cancelling

T = TypeVar("T")


class OutburstError(Exception):
    """The provider raised what no caller expects of it: an exit, a cancellation of its own, or a group of such."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"the provider raised {error!r}, which would end the caller's process or task.")


async def contained(call: Awaitable[T]) -> T:
    """Await a call; OutburstError where it raises what is no Exception, unless its task is being cancelled."""
    try:
        return await call
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except asyncio.CancelledError as error:
        if cancelling():
            raise
        raise OutburstError(error) from error
    except BaseException as error:
        raise OutburstError(error) from error
