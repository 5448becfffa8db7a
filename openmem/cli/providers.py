"""`openmem providers`: which backends there are."""

from __future__ import annotations

from typing import Any

from openmem._generated.models import Capabilities, CapabilitiesRequest, EmbeddingInfo

from . import output, text
from .common import Json


def providers(json: Json = False) -> None:
    """List the backends known: whether each is installed and what it can do."""
    from openmem import registry

    rows = [_describe(scheme) for scheme in registry.schemes()]
    if json or not output.terminal():
        output.write_json(rows)
    else:
        from .tables import show_rows

        show_rows(rows, ("scheme", "installed", "capabilities", "remedy"))


def _describe(scheme: str) -> dict[str, Any]:
    from openmem import registry
    from openmem.errors import UnsupportedProviderError

    try:
        adapter = registry.adapter_class(scheme)
    except UnsupportedProviderError as error:
        return {"scheme": scheme, "installed": False, "remedy": text.line(error.remedy)}
    summary = _summary(adapter)
    return {"scheme": scheme, "installed": True, **({"capabilities": summary} if summary else {})}


def _summary(adapter: Any) -> str | None:
    """Say what an adapter can do with an embedder, where it says so without a connection."""
    from openmem.adapter import Adapter
    from openmem.bridge import step

    if adapter.capabilities is not Adapter.capabilities:  # its own way may ask a server
        return None
    try:
        sample = adapter(adapter.settings_type.model_construct(), embedding=EmbeddingInfo(model="any", dimension=1))
        return _words(step(sample.capabilities(CapabilitiesRequest())))
    except Exception:  # it needs real settings before it can say
        return None


def _words(capabilities: Capabilities) -> str:
    features = capabilities.features
    modes = [mode for mode in ("keyword", "vector", "hybrid") if getattr(features, f"{mode}_search")]
    kept = [name for name in ("supersession", "archive", "metadata", "audit") if getattr(features, f"supports_{name}")]
    return "; ".join(
        part
        for part in (
            f"search {', '.join(modes)}" if modes else "",
            f"filters {features.filters}" if features.filters else "",
            f"scopes {features.scopes}" if features.scopes else "",
            ", ".join(kept),
        )
        if part
    )
