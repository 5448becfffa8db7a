"""Holds the layers of an application to the protocol: what they hand on is made anew, what they answer is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from openmem.errors import ConfigurationError
from openmem.protocol.validation import made_anew

from . import Handler, Layer
from .owner import check_kind


def application(handler: Handler, layers: Sequence[Layer]) -> Handler:
    """Wrap a handler in an application's layers, the first of them outermost.

    A request is made anew below them, where it is completed: a layer may keep its own, change it, and hand it on twice.
    Raises ConfigurationError for a layer that is none.
    """
    if not isinstance(layers, (list, tuple)):
        raise ConfigurationError(f"layers is {type(layers).__name__}.", remedy="Give a list of layers.")

    async def anew(request: Any) -> Any:
        return await handler(made_anew(request))

    layered: Handler = anew
    for layer in reversed(layers):
        layered = _wrapped(layer, layered)

    async def answering(request: BaseModel) -> Any:
        response = await layered(request)
        check_kind(request, response, "a layer")
        return response

    return answering


def _wrapped(layer: Layer, handler: Handler) -> Handler:
    wrapped = layer(handler) if callable(layer) else None
    if not callable(wrapped):
        raise ConfigurationError(
            f"{layer!r} is no layer.", remedy="Give functions from an async handler to an async handler."
        )
    return wrapped
