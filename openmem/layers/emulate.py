"""Supplies the verbs a backend lacks where a safe generic form over its other verbs exists, and says so."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from pydantic import BaseModel

from openmem._generated import models
from openmem._generated.verbs import VERB_OF
from openmem.layers.forms import FORMS, Form, paged
from openmem.layers.keys import keys, lookup
from openmem.protocol.capabilities import admits, capabilities
from openmem.protocol.clock import Clock

from . import Handler, chains, erasing

MOST = 100
"""Results that the protocol lets a search be asked for."""


def emulate(handler: Handler, native: models.Capabilities, clock: Clock) -> Handler:
    """Wrap a handler; native: what it supports of itself."""
    supplied, both = {**_completed(native), **_supplied(native)}, together(native)
    if lookup(native.features) == "client":
        handler = keys(handler, both, clock)

    def emulating(request: BaseModel) -> Awaitable[Any]:
        form = supplied.get(VERB_OF[type(request)].name)
        return form(request, handler, both, clock) if form else handler(request)

    return emulating


def together(native: models.Capabilities) -> models.Capabilities:
    """Say what a backend and this layer support together."""
    features = native.features.model_copy(update={"external_id_lookup": lookup(native.features)})
    if "delete" in _completed(native):
        features.supports_chain_delete = True
    return capabilities(
        native.provider,
        native.verbs,
        features,
        native.limits if _pages(native) else _cut(native),
        emulated=[*(native.emulated or ()), *_supplied(native)],
        omp_version=native.omp_version,
        **(native.model_extra or {}),
    )


def _pages(native: models.Capabilities) -> bool:
    """Tell whether a backend takes the offset of a search by itself, or has no search."""
    return bool(native.limits and native.limits.max_search_reach) or "search" not in native.verbs


def _cut(native: models.Capabilities) -> models.CapabilityLimits:
    """Say how far a search goes whose beginning is cut off."""
    limits = native.limits or models.CapabilityLimits()
    return limits.model_copy(update={"max_search_reach": limits.max_search_results or MOST})


def _supplied(native: models.Capabilities) -> dict[str, Form]:
    return {
        verb: form
        for verb, (needs, form) in FORMS.items()
        if verb not in native.verbs
        and all(need in native.verbs for need in needs)
        and admits(native.features, verb)
        and (verb != "erase" or erasing.lists_every_state(native.features))
    }


def _completed(native: models.Capabilities) -> dict[str, Form]:
    """Return the forms of verbs that a backend has, but for a field of theirs."""
    forms: dict[str, Form] = {} if _pages(native) else {"search": paged}
    features = native.features
    lacks_chain = features.supports_supersession and not features.supports_chain_delete
    if lacks_chain and {"delete", "history"} <= {*native.verbs}:
        forms["delete"] = chains.delete
    return forms
