"""What a child of fork renews: the one registry, and the lock that such a child finds free.

A child has one thread, the one that forked. What another thread held or was in the midst of stays as it was: a lock
nobody will release, a loop nobody runs, a connection that is the parent's.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_renewals: dict[int, tuple[weakref.ref[Any], Callable[[Any], None]]] = {}
_of_the_parent: list[object] = []


def in_child(owner: T, renew: Callable[[T], None]) -> None:
    """Have renew(owner) called in every child of fork for as long as owner lives, in the order of registration."""
    key = id(owner)
    _renewals[key] = (weakref.ref(owner, lambda _: _renewals.pop(key, None)), renew)


def leave_to_parent(held: object) -> None:
    """Keep, in a child of fork, what its parent has open: neither to use nor to close, not even by forgetting it."""
    _of_the_parent.append(held)


class Lock:
    """A lock that a child of fork finds free, whoever held it in the parent.

    It is taken and released by C code alone, called by nothing of ours: a signal may raise between any two steps of
    Python, and one that raised after taking and before `with` knew of it would leave the lock taken for ever.
    """

    __slots__ = ("__weakref__", "_lock", "acquire", "release")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.acquire, self.release = self._lock.acquire, self._lock.release
        in_child(self, Lock.__init__)

    @property
    def __enter__(self) -> Callable[[], bool]:
        return self._lock.__enter__

    @property
    def __exit__(self) -> Callable[..., None]:
        return self._lock.__exit__


def _renew_all() -> None:
    for reference, renew in list(_renewals.values()):
        owner = reference()
        if owner is None:
            continue
        try:
            renew(owner)
        except Exception:  # one that fails must not keep the others from their renewal
            logging.getLogger("openmem").exception("%s cannot be used in this child of fork", type(owner).__name__)


if hasattr(os, "register_at_fork"):  # where it is not, nothing forks
    os.register_at_fork(after_in_child=_renew_all)
