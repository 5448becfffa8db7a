"""What a provider supports: the one place where Capabilities are made."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from .._generated.models import Capabilities, CapabilityFeatures, CapabilityLimits
from .._generated.verbs import OMP_VERSION, VERBS
from .context import TOKEN_COUNTER


def admits(features: CapabilityFeatures, verb: str) -> bool:
    """Tell whether a verb has the feature that it needs, if it needs one."""
    need = VERBS[verb].needs
    return need is None or getattr(features, need) not in (None, False, "none")


def capabilities(
    provider: str,
    verbs: Collection[str],
    features: CapabilityFeatures,
    limits: CapabilityLimits | None,
    *,
    emulated: Collection[str] | None = None,
    omp_version: str = OMP_VERSION,
    **extensions: Any,
) -> Capabilities:
    """Say what a provider supports; verbs: what it has of itself. emulated: what is made of those."""
    features = features.model_copy()
    supplied = emulated or ()
    if "context" in supplied and "context" not in verbs:
        features.token_counter = TOKEN_COUNTER
    return Capabilities(
        omp_version=omp_version,
        provider=provider,
        verbs=[verb for verb in VERBS if verb in verbs or verb in supplied],
        emulated=None if emulated is None else [*emulated],
        features=features,
        limits=limits,
        **extensions,
    )
