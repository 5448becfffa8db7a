"""What the saboteurs are made of: how one is planted, and the clauses that must catch it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar
from unittest import mock

from openmem._generated import models
from openmem.adapters import memory
from openmem.adapters.kit.changes import Rules
from openmem.client import core


class MemoryAdapter(memory.MemoryAdapter):
    """memory:// whose rules and log a subclass can bend."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.rules = _BentRules(self)
        self._store_log, self.store.log = self.store.log, lambda user_id, entry: self.log_entry(user_id, entry)

    def apply_add(self, request, store):
        return Rules.add(self.rules, request, store)

    def apply_add_item(self, item, store):
        return Rules.add_item(self.rules, item, store)

    def apply_update(self, request, store):
        return Rules.update(self.rules, request, store)

    def apply_delete(self, request, store):
        return Rules.delete(self.rules, request, store)

    def apply_delete_item(self, request, store):
        return Rules.delete_item(self.rules, request, store)

    def log_entry(self, user_id, entry):
        self._store_log(user_id, entry)

    def let_stand(self):
        """Have what is changed so far stay, whatever comes of the verb."""
        self.store.stands = True
        self.store.settle()


class _BentRules(Rules):
    """Asks the adapter for every change."""

    def __init__(self, adapter: MemoryAdapter) -> None:
        super().__init__(adapter.clock, adapter.embedding, adapter.new_id)
        for verb in ("add", "add_item", "update", "delete", "delete_item"):
            setattr(self, verb, getattr(adapter, f"apply_{verb}"))


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

    def apply_add(self, request, store):
        return super().apply_add(self.bend(request.model_copy()), store)


def asking(change: Callable[[str, dict[str, Any]], dict[str, Any]]) -> AbstractContextManager[Any]:
    build = core.build
    return mock.patch.object(core, "build", lambda verb, fields: build(verb, change(verb, dict(fields))))


class KeepsTheDead(MemoryAdapter):
    """Remembers what it deleted."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dead: dict[str, models.MemoryRecord] = {}

    def apply_delete(self, request, store):
        memory = store.get(request.id)
        deleted = super().apply_delete(request, store)
        self.dead[deleted] = memory
        return deleted
