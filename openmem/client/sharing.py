"""Clients that share an adapter: they have one embedding and one colour, and it is closed with the last of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from .._generated.models import EmbeddingInfo
from ..adapter import Adapter
from ..errors import ConfigurationError
from ..runtime.fork import Lock

if TYPE_CHECKING:
    from .core import Core


class _Share(NamedTuple):
    embedding: EmbeddingInfo | None
    colour: str


_sharing: WeakKeyDictionary[Adapter, WeakKeyDictionary[Core, _Share]] = WeakKeyDictionary()
_lock = Lock()


def join(core: Core, embedding: EmbeddingInfo | None, colour: str) -> None:
    """Note that a client uses its adapter; raises ConfigurationError where it cannot, and then changes nothing."""
    adapter = core.adapter
    with _lock:
        others: Mapping[Core, _Share] = _sharing.get(adapter) or {}
        for held in (adapter.embedding, *(share.embedding for share in others.values())):
            _check_embedding(held, embedding)
        if not adapter.inline and any(share.colour != colour for share in others.values()):
            raise ConfigurationError(
                f"this {type(adapter).__name__} is used by a client of the other colour, in whose event loop it is.",
                remedy="Give each client an adapter of its own, or make both of one class.",
            )
        _sharing.setdefault(adapter, WeakKeyDictionary())[core] = _Share(embedding, colour)


def leave(core: Core) -> bool:
    """Note that a client is closed; whether it was the last that used its adapter."""
    with _lock:
        clients = _sharing.get(core.adapter)
        if clients is not None:
            clients.pop(core, None)
        return not clients


def _check_embedding(held: EmbeddingInfo | None, wanted: EmbeddingInfo | None) -> None:
    if held is not None and wanted is not None and held != wanted:
        raise ConfigurationError(
            f"this adapter has the embedder {held.model} ({held.dimension} dimensions), not {wanted.model}"
            f" ({wanted.dimension} dimensions).",
            remedy="Give each client an adapter of its own, or the same embedder.",
        )
