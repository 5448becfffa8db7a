"""Supplies the verbs a backend lacks where a safe generic form over its other verbs exists, and says so."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from pydantic import BaseModel

from openmem._generated import models
from openmem._generated.verbs import VERB_OF
from openmem.layers.forms import FORMS, Form
from openmem.protocol.capabilities import admits, capabilities
from openmem.protocol.clock import Clock

from . import Handler


def emulate(handler: Handler, native: models.Capabilities, clock: Clock) -> Handler:
    """Wrap a handler; native: what it supports of itself."""
    supplied, both = _supplied(native), together(native)

    def emulating(request: BaseModel) -> Awaitable[Any]:
        form = supplied.get(VERB_OF[type(request)].name)
        return form(request, handler, both, clock) if form else handler(request)

    return emulating


def together(native: models.Capabilities) -> models.Capabilities:
    """Say what a backend and this layer support together."""
    return capabilities(
        native.provider,
        native.verbs,
        native.features,
        native.limits,
        emulated=[*(native.emulated or ()), *_supplied(native)],
        omp_version=native.omp_version,
        **(native.model_extra or {}),
    )


def _supplied(native: models.Capabilities) -> dict[str, Form]:
    return {
        verb: form
        for verb, (needs, form) in FORMS.items()
        if verb not in native.verbs and all(need in native.verbs for need in needs) and admits(native.features, verb)
    }
