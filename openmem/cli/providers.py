"""`openmem providers`: which backends there are."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from openmem._generated.models import Capabilities, CapabilitiesRequest, EmbeddingInfo
from openmem.registry import GROUP

from . import output, text
from .common import Json


def providers(json: Json = False) -> None:
    """List the backends known: whether each is installed and what it can do."""
    from openmem import registry

    rows = [_describe(scheme) for scheme in registry.schemes()] + [_local()]
    if json or not output.terminal():
        output.write_json(rows)
    else:
        from .tables import show_rows

        show_rows(rows, ("scheme", "installed", "capabilities", "problem", "remedy"))


def _describe(scheme: str) -> dict[str, Any]:
    from openmem import registry
    from openmem.errors import UnsupportedProviderError

    trouble = _trouble(scheme)
    if trouble:
        return {"scheme": scheme, "installed": False, **trouble}
    try:
        adapter = registry.adapter_class(scheme)
    except UnsupportedProviderError as error:
        return {
            "scheme": scheme,
            "installed": False,
            "problem": text.line(error.message),
            "remedy": text.line(error.remedy),
        }
    summary = _summary(adapter)
    return {"scheme": scheme, "installed": True, **({"capabilities": summary} if summary else {})}


def _trouble(scheme: str) -> dict[str, str]:
    """Say what lacks of the extra that a scheme needs; some adapters import it only when they are used."""
    from . import extras

    entry = next(iter(entry_points(group=GROUP, name=scheme)), None)
    if entry is None or entry.dist is None or not entry.extras:
        return {}
    of = f"{entry.dist.name}[{','.join(entry.extras)}]"
    if missing := extras.missing(entry.dist, entry.extras):
        return {"problem": f"not installed: {', '.join(missing)}.", "remedy": f"Run: pip install '{of}'"}
    if broken := extras.broken(entry.dist, entry.extras):
        names = " ".join(broken)
        remedy = f"Run: pip install --force-reinstall {names}"
        return {"problem": f"installed, but broken: {', '.join(broken)}.", "remedy": remedy}
    return {}


def _local() -> dict[str, Any]:
    """Describe the embedder that an extra brings, as the option that names it is written."""
    from openmem import embedding
    from openmem.errors import ConfigurationError

    row = {"scheme": "embedder=local"}
    try:
        made = embedding.resolve("local")
    except ConfigurationError as error:
        return {**row, "installed": False, "problem": text.line(error.message), "remedy": text.line(error.remedy)}
    assert made is not None  # noqa: S101  this name is that of an embedder
    return {**row, "installed": True, "capabilities": f"vectors of {made.dimension} numbers"}


def _summary(adapter: Any) -> str | None:
    """Say what an adapter can do with an embedder, where it says so without a connection."""
    from openmem.adapter import Adapter
    from openmem.runtime.bridge import step

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
