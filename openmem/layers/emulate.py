"""Supplies the verbs a backend lacks where a safe generic form over its other verbs exists, and says so."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from pydantic import BaseModel

from openmem._generated import models
from openmem._generated.verbs import VERB_OF, VERBS
from openmem.layers.forms import FORMS
from openmem.protocol.clock import Clock
from openmem.protocol.context import TOKEN_COUNTER

from . import Handler


def emulate(handler: Handler, native: models.Capabilities, clock: Clock) -> tuple[Handler, models.Capabilities]:
    """Wrap a handler; return it with the capabilities that the two have together."""
    supplied = {
        verb: form
        for verb, (needs, form) in FORMS.items()
        if verb not in native.verbs and all(need in native.verbs for need in needs)
    }
    both = [verb for verb in VERBS if verb in native.verbs or verb in supplied]
    features = native.features.model_copy()
    if "context" in supplied:
        features.token_counter = TOKEN_COUNTER
    together = native.model_copy(
        update={"verbs": both, "emulated": [*(native.emulated or ()), *supplied], "features": features}
    )

    def emulating(request: BaseModel) -> Awaitable[Any]:
        form = supplied.get(VERB_OF[type(request)].name)
        return form(request, handler, together, clock) if form else handler(request)

    return emulating, together
