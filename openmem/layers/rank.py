"""Chooses how a search ranks that does not say so: by the best mode there is; tells once how to get a better one."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Literal

from openmem._generated.models import CapabilityFeatures, SearchRequest
from openmem.embedding import WITHOUT

from . import Handler

logger = logging.getLogger("openmem")
Mode = Literal["vector", "keyword", "hybrid"]


def rank(handler: Handler, features: CapabilityFeatures, *, advise: bool = False) -> Handler:
    """Wrap a handler; the request is completed in place.

    advise: whether the first search for which there could be vectors, and are not, logs how to get them.
    """
    advice = [WITHOUT] if advise and not features.vector_search else []

    def ranking(request: Any) -> Awaitable[Any]:
        if type(request) is SearchRequest and request.mode is None:
            if advice:
                _log(advice)
            request.mode = best_mode(request, features)
        return handler(request)

    return ranking


def best_mode(request: SearchRequest, features: CapabilityFeatures) -> Mode | None:
    """Return the best mode that a search may be ranked by; None where the provider has none."""
    if request.query is None:
        return "vector"
    modes: tuple[Mode, ...] = ("hybrid", "vector", "keyword")
    return next((mode for mode in modes if getattr(features, f"{mode}_search")), None)


def _log(advice: list[str]) -> None:
    with suppress(IndexError):  # another thread was quicker
        logger.warning(advice.pop())
