"""Saboteurs of scope, time and supersession."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from openmem._generated import models
from openmem.adapters.kit import changes
from openmem.protocol import selection as selecting

from .base import Bends, MemoryAdapter, asking, but, plant


def _scopes(selects: Callable[[str, str], bool]) -> AbstractContextManager[Any]:
    return mock.patch.object(selecting, "in_scope", lambda scope, by: scope is not None and selects(scope, by))


@plant("SCO-1")
def sibling_prefix_leak():  # CVE-2026-71433
    return _scopes(lambda scope, by: scope.startswith(by.removesuffix("/*")))


@plant("SCO-1")
def sibling_leak_over_fixed():
    return _scopes(lambda scope, by: scope.startswith(by.removesuffix("/*") + "/"))


@plant("SCO-1")
def one_level_only():
    return _scopes(lambda scope, by: scope == by or scope.rpartition("/")[0] == by.removesuffix("/*"))


@plant("SCO-2")
def star_takes_itself():
    return _scopes(lambda scope, by: f"{scope}/".startswith(by.removesuffix("*").rstrip("/") + "/"))


@plant("SCO-3")
def like_wildcards():  # OMP 0.1
    def like(scope: str, by: str) -> bool:
        base = re.escape(by.removesuffix("/*")).replace("%", ".*").replace("_", ".")
        return re.fullmatch(base + ("/.*" if by.endswith("/*") else "(/.*)?"), scope, re.DOTALL) is not None

    return _scopes(like)


@plant("SCO-6")
def scopes_without_case():
    right = selecting.in_scope
    return _scopes(lambda scope, by: right(scope.lower(), by.lower()))


@plant("SCO-5")
def unscoped_is_everywhere():
    right = selecting.in_scope
    return mock.patch.object(selecting, "in_scope", lambda scope, by: scope is None or right(scope, by))


@plant("SCO-4")
def bad_scopes_are_cleaned():
    def cleaned(verb, fields):
        if isinstance(fields.get("scope"), str):
            parts = [part for part in fields["scope"].split("/") if part and part != "*"]
            fields["scope"] = "/".join(parts) or None
        return fields

    return asking(cleaned)


def _states(change: Callable[[list[str], Any, datetime], list[str]]) -> AbstractContextManager[Any]:
    right = selecting.states

    def states(memory, moment, *, past=False):
        return iter(change(list(right(memory, moment, past=past)), memory, moment))

    return mock.patch.object(selecting, "states", states)


@plant("TIM-2")
def expired_is_returned():
    return _states(lambda states, memory, moment: [each for each in states if each != "expired"])


@plant("TIM-2")
def upcoming_is_returned():
    return _states(lambda states, memory, moment: [each for each in states if each != "upcoming"])


@plant("TIM-2")
def archived_is_returned():
    return _states(lambda states, memory, moment: [each for each in states if each != "archived"])


@plant("SUP-1", "TIM-2")
def superseded_is_returned():
    return _states(lambda states, memory, moment: [each for each in states if each != "superseded"])


@plant("TIM-3")
def the_last_moment_counts():
    def inclusive(states, memory, moment):
        return [each for each in states if each != "expired" or memory.valid_to != moment]

    return _states(inclusive)


@plant("TIM-3")
class AsOfIgnored(MemoryAdapter):
    async def list(self, request):
        return await super().list(but(request, as_of=None))


@plant("TIM-4")
class IncludeIgnoredInSearch(MemoryAdapter):
    async def search(self, request):
        return await super().search(but(request, include=None))


@plant("TIM-4")
class IncludeAddsEverything(MemoryAdapter):
    async def list(self, request):
        every = ["superseded", "expired", "upcoming", "archived"]
        return await super().list(but(request, include=every if request.include else None))


@plant("TIM-5")
class SinceExclusive(MemoryAdapter):
    async def list(self, request):
        since = request.since and request.since + timedelta(microseconds=1)
        return await super().list(but(request, since=since))


@plant("TIM-1")
class Milliseconds(Bends):
    def bend(self, request):
        for name in ("valid_from", "valid_to"):
            moment = getattr(request, name)
            if moment is not None:
                setattr(request, name, moment.replace(microsecond=moment.microsecond // 1000 * 1000))
        return request


@plant("TIM-1")
def naive_is_taken_for_utc():
    def aware(verb, fields):
        moments = {name: value for name, value in fields.items() if isinstance(value, datetime) and not value.tzinfo}
        return {**fields, **{name: value.replace(tzinfo=UTC) for name, value in moments.items()}}

    return asking(aware)


@plant("TIM-6")
def any_validity():
    return mock.patch("openmem.protocol.validation.check_validity", lambda begins, ends: None)


@plant("SUP-3")
def nothing_is_freed():
    return mock.patch.object(changes, "free", lambda store, freed: None)


@plant("SUP-2")
def any_id_is_superseded():
    def replaceable(store, successor, ids):
        return [memory for memory in map(store.get, ids) if memory is not None]

    return mock.patch.object(changes, "replaceable", replaceable)


@plant("SUP-4")
def cycles_are_taken():
    return mock.patch.object(changes, "successors", lambda store, memory: set())


@plant("SUP-5")
class HistoryOfOneStep(MemoryAdapter):
    async def history(self, request):
        items = (await super().history(request)).items
        near = [m for m in items if m.id == request.id or request.id in (m.superseded_by, *(m.supersedes or ()))]
        return models.HistoryResponse(items=near)


@plant("SUP-5")
class HistoryNewestFirst(MemoryAdapter):
    async def history(self, request):
        return models.HistoryResponse(items=(await super().history(request)).items[::-1])


@plant("SUP-6")
def superseding_counts_as_a_change():
    def link(store, successor, replaced, moment):
        for memory in replaced:
            links = {"superseded_by": successor.id, "superseded_at": moment, "version": memory.version + 1}
            store.replace(memory, memory.model_copy(update=links), None)

    return mock.patch.object(changes, "link", link)


def _sessions(selects: Callable[[str, str], bool]) -> AbstractContextManager[Any]:
    right = selecting.predicate

    def predicate(request, now):
        by, test = request.session, right(but(request, session=None), now)
        return lambda memory: test(memory) and (by is None or selects(memory.session or "", by))

    return mock.patch.object(selecting, "predicate", predicate)


@plant("SES-2")
def sessions_by_prefix():
    return _sessions(lambda session, by: session.startswith(by))


@plant("SES-2")
def sessions_without_case():
    return _sessions(lambda session, by: session.casefold() == by.casefold())


@plant("SES-2")
def no_session_is_every_session():
    return _sessions(lambda session, by: session in ("", by))


@plant("SES-1")
class SessionThatStays(MemoryAdapter):
    def apply_update(self, request, store):
        if "session" in request.model_fields_set and request.session is None:
            request = but(request, session=store.get(request.id).session)
        return super().apply_update(request, store)
