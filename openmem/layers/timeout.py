"""Bounds one attempt at a remote provider in time."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel

from openmem.errors import ProviderUnavailableError

from . import Handler


def timeout(handler: Handler, seconds: float) -> Handler:
    """Wrap a handler; an attempt longer than `seconds` is cancelled and raises ProviderUnavailableError."""

    async def timed(request: BaseModel) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await handler(request)
        except TimeoutError as error:
            raise ProviderUnavailableError(
                f"no answer within {seconds:g} s.", remedy="Raise timeout, or check the provider's load."
            ) from error

    return timed
