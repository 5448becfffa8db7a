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
_undivided: dict[int, weakref.ref[Undivided]] = {}
_forking = threading.local()

PATIENCE = 10.0
"""Seconds that a fork waits for what it is not to divide."""


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


class Undivided:
    """Work that no fork divides: a fork waits until nobody is inside, and who comes meanwhile waits for the fork.

    It is for libraries with locks of their own, which a child would find held for ever. prepare() is called in the
    parent when nobody is inside, to close what a child must not inherit. divided: a fork lost its patience, and this
    is a child of it.
    """

    def __init__(self, prepare: Callable[[], None]) -> None:
        self._prepare = prepare
        self.divided = False
        self._begin()
        key = id(self)
        _undivided[key] = weakref.ref(self, lambda _: _undivided.pop(key, None))
        in_child(self, Undivided._renew)

    def _begin(self) -> None:
        self._lock = threading.Lock()  # taken by itself, as Lock says, not by the condition's Python
        self._changed = threading.Condition(self._lock)
        self._inside: set[int] = set()  # threads: one whose leaving was interrupted is put right when it comes again
        self._forks = 0

    def __enter__(self) -> None:
        thread = threading.get_ident()
        with self._lock:
            while self._forks and thread not in self._inside:
                self._changed.wait()
            self._inside.add(thread)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside.discard(threading.get_ident())
            if self._forks:
                self._changed.notify_all()

    def before(self) -> None:
        """Wait until nobody else is inside, and keep others out."""
        this = {threading.get_ident()}
        with self._lock:
            self._forks += 1
            if self._changed.wait_for(lambda: self._inside <= this, PATIENCE):
                self._prepare()

    def after(self) -> None:
        """Let others in again."""
        with self._lock:
            self._forks = max(0, self._forks - 1)  # an interrupt may have ended before()
            self._changed.notify_all()

    def _renew(self) -> None:
        self.divided = self.divided or bool(self._inside)
        self._begin()


importing = Undivided(lambda: None)
"""The import of what is imported when it is first used: a child would find the module's lock held for ever."""


def _quiet() -> None:
    # The latest first: who is inside one may still have to enter an older one, as importing is, before leaving.
    found = (reference() for reference in reversed(list(_undivided.values())))
    _forking.held = [each for each in found if each is not None]
    for each in _forking.held:
        each.before()


def _go_on() -> None:
    for each in _forking.held:
        each.after()
    _forking.held = []


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
    os.register_at_fork(before=_quiet, after_in_parent=_go_on, after_in_child=_renew_all)
