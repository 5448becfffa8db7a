"""Which layers stand between a client and its adapter, and in which order: the one place that says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial, reduce
from typing import NamedTuple

from openmem._generated.models import Capabilities
from openmem.adapter import Adapter
from openmem.embedding import Embedder
from openmem.runtime.fork import importing

from . import Describe, Handler, Layer
from .application import application
from .embed import embed
from .emulate import emulate
from .guard import guard
from .health import Probe
from .owner import owner
from .rank import rank


class Terms(NamedTuple):
    """What a client asks of its layers."""

    embedder: Embedder | None
    timeout: float | None
    """Seconds that a call may take; None where it suspends nowhere, and so cannot be given up."""
    advise: bool = False
    """Whether to log, once, how to get vectors."""


def outer(layers: Sequence[Layer], describe: Describe, probe: Probe) -> list[Layer]:
    """List what a request passes first: the layers of the application, then what holds it to the protocol."""
    own: list[Layer] = [partial(application, layers=layers)] if layers else []
    return [*own, probe, partial(guard, describe=describe)]


def inner(adapter: Adapter, native: Capabilities, terms: Terms) -> list[Layer]:
    """List what an admitted request passes on its way to an adapter; native: what that supports of itself."""
    return [
        *_timeout(terms.timeout),
        partial(emulate, native=native, clock=adapter.clock),
        partial(rank, features=native.features, advise=terms.advise and terms.embedder is None),
        partial(embed, embedder=terms.embedder),
        *_retry(adapter),
        owner,
    ]


def _timeout(seconds: float | None) -> list[Layer]:
    if seconds is None:
        return []
    with importing:
        from .timeout import Timeout

    return [partial(Timeout, seconds=seconds)]


def _retry(adapter: Adapter) -> list[Layer]:
    if adapter.inline or adapter.repeats:  # a backend in this process has nothing to repeat
        return []
    with importing:
        from .retry import retry

    return [retry]


def stacked(layers: Iterable[Layer], handler: Handler) -> Handler:
    """Wrap a handler in layers, of which the first is the outermost."""
    return reduce(lambda wrapped, layer: layer(wrapped), reversed([*layers]), handler)
