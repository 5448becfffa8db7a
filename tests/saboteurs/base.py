"""What the saboteurs are made of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar
from unittest import mock

from openmem.adapters.memory import MemoryAdapter

from openmem import client
from openmem._generated import models


@dataclass(frozen=True)
class Saboteur:
    """A defect: an adapter that has it, or a patch of what all share; and the clauses that must fail."""

    name: str
    clauses: tuple[str, ...]
    adapter: type[MemoryAdapter]
    patch: Callable[[], AbstractContextManager[Any]]


SABOTEURS: list[Saboteur] = []
Defect = TypeVar("Defect", bound=Callable[..., Any])


def plant(*clauses: str) -> Callable[[Defect], Defect]:
    def register(defect: Defect) -> Defect:
        adapter, patch = (defect, nullcontext) if isinstance(defect, type) else (MemoryAdapter, defect)
        SABOTEURS.append(Saboteur(defect.__name__, clauses, adapter, patch))
        return defect

    return register


def but(request: Any, **fields: Any) -> Any:
    return request.model_copy(update=fields)


def all_of(request: Any) -> Any:
    return but(request, limit=500, cursor=None)


class Bends(MemoryAdapter):
    """Stores something else than it was given."""

    def bend(self, request):
        raise NotImplementedError

    def _add(self, request, store):
        return super()._add(self.bend(request.model_copy()), store)


def asking(change: Callable[[str, dict[str, Any]], dict[str, Any]]) -> AbstractContextManager[Any]:
    build = client.build
    return mock.patch.object(client, "build", lambda verb, fields: build(verb, change(verb, dict(fields))))


class KeepsTheDead(MemoryAdapter):
    """Remembers what it deleted."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dead: dict[str, models.Memory] = {}

    def _delete(self, request, store):
        memory = store.get(request.id)
        deleted = super()._delete(request, store)
        self.dead[deleted] = memory
        return deleted
