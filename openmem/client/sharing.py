"""Clients that share an adapter, of one embedding, colour and event loop: it is closed with the last of them.

No lock is held: a finalizer may close a client in the midst of whatever its thread is doing here. Each step is a single
one to CPython.
"""

from __future__ import annotations

import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable

from .._generated.models import EmbeddingInfo
from ..adapter import Adapter
from ..errors import ClosedError, ConfigurationError

OF_ITS_OWN = "Give each client an adapter of its own, or "


class Share:
    """A client's part in an adapter, until it is given up or the client is gone.

    Raises ConfigurationError where the client cannot have one, which then changes nothing.
    """

    def __init__(self, client: object, adapter: Adapter, embedding: EmbeddingInfo | None, colour: str) -> None:
        self._embedding, self._colour, self._inline = embedding, colour, adapter.inline
        self.loop: AbstractEventLoop | None = None
        """The event loop that the client was first used in; None for one that is not awaited."""
        self._on_trial = True
        self._group = _group(adapter)
        key, members = id(self), self._group.members  # not the client's: it goes before its last call may have ended
        self._client = weakref.ref(client, lambda _: members.pop(key, None))
        members[key] = self  # and only then looks: of two at once at least one sees the other
        try:
            self._fit(adapter)
        except BaseException:
            members.pop(key, None)
            raise
        self._on_trial = False
        self._group.closing.clear()

    def leave(self) -> bool:
        """Give the part up; whether it is for this client to close the adapter, also when it asks again."""
        self._group.members.pop(id(self), None)
        others = [other for other in self._others() if not other._on_trial]  # who may be refused closes nothing
        return not others and self._group.closing.setdefault("by", self) is self

    def claim(self, loop: AbstractEventLoop) -> None:
        """Use the adapter in an event loop; raises ClosedError where it is used in another one."""
        self.loop = loop
        if not self._inline and any(other.loop not in (None, loop) for other in self._others()):
            self.loop = None
            raise ClosedError(
                "the adapter of this client is used in another event loop.", remedy=f"{OF_ITS_OWN}use both in one loop."
            )

    def _others(self) -> list[Share]:
        return [each for each in list(self._group.members.values()) if each is not self and each._client() is not None]

    def _fit(self, adapter: Adapter) -> None:
        others = self._others()
        for held in (adapter.embedding, *(other._embedding for other in others)):
            _check_embedding(held, self._embedding)
        if not self._inline and any(other._colour != self._colour for other in others):
            raise ConfigurationError(
                f"this {type(adapter).__name__} is used by a client of the other colour, in whose event loop it is.",
                remedy=f"{OF_ITS_OWN}make both of one class.",
            )


class _Group:
    """The clients of one adapter."""

    def __init__(self, adapter: Adapter, forget: Callable[[object], object]) -> None:
        self.members: dict[int, Share] = {}
        self.closing: dict[str, Share] = {}
        """Who closes the adapter, once all others have left."""
        self._adapter = weakref.ref(adapter, forget)


_groups: dict[int, _Group] = {}
"""By the adapters' ids: they need not be hashable, and equal ones are not the same."""


def _group(adapter: Adapter) -> _Group:
    key = id(adapter)
    return _groups.get(key) or _groups.setdefault(key, _Group(adapter, lambda _: _groups.pop(key, None)))


def _check_embedding(held: EmbeddingInfo | None, wanted: EmbeddingInfo | None) -> None:
    if held is not None and wanted is not None and held != wanted:
        raise ConfigurationError(
            f"this adapter has the embedder {held.model} ({held.dimension} dimensions), not {wanted.model}"
            f" ({wanted.dimension} dimensions).",
            remedy=f"{OF_ITS_OWN}the same embedder.",
        )
