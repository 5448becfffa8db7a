"""Whether a provider's capabilities admit a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from ._generated.models import Capabilities
from ._generated.verbs import VERB_OF
from .errors import InvalidRequestError, PayloadTooLargeError, UnsupportedCapabilityError

NEEDS = {
    "supersedes": "supports_supersession",
    "external_id": "supports_external_id",
    "if_version": "supports_if_version",
    "archived": "supports_archive",
    "pinned": "supports_archive",
    "metadata": "supports_metadata",
    "vector": "supports_vectors",
    "scope": "scopes",
    "filter": "filters",
    "valid_from": "temporal",
    "valid_to": "temporal",
    "since": "temporal",
    "until": "temporal",
    "as_of": "temporal",
    "include": "temporal",
}
"""The feature that each request field needs; asking without it is refused, since a dropped argument corrupts."""


def admit(request: BaseModel, capabilities: Capabilities) -> None:
    """Raise UnsupportedCapabilityError for a verb, field or mode that the capabilities do not name."""
    verb, features = VERB_OF[type(request)].name, capabilities.features
    if verb != "capabilities" and verb not in capabilities.verbs:
        remedies = (capabilities.model_extra or {}).get("x-remedies", {})
        remedy = remedies.get(verb, f"Its verbs are {', '.join(capabilities.verbs)}.")
        raise _unsupported(capabilities, verb, remedy)
    if verb == "audit" and not features.supports_audit:
        raise _unsupported(capabilities, verb, "Its features do not say supports_audit.")
    values = request.__dict__
    for field in NEEDS.keys() & request.model_fields_set:
        feature = NEEDS[field]
        if values.get(field) is not None and getattr(features, feature) in (None, False, "none"):
            if feature == "supports_vectors":
                raise _unsupported(capabilities, "vectors", "Configure an embedder; the store is keyword-only.")
            raise _unsupported(capabilities, f"{verb} with {field}", f"Leave {field} out.")
    if request.model_extra and not features.supports_metadata:
        raise _unsupported(capabilities, f"{verb} with {', '.join(request.model_extra)}", "Leave extensions out.")
    mode = values.get("mode")
    if mode is not None and not getattr(features, f"{mode}_search"):
        raise _unsupported(capabilities, f"{mode} search", _other_modes(capabilities))
    _admit_sizes(values, capabilities)
    if "limit" in request.model_fields_set:
        _admit_limit(verb, values["limit"], capabilities)


def _admit_limit(verb: str, limit: int, capabilities: Capabilities) -> None:
    limits = capabilities.limits
    most = limits and {"search": limits.max_search_results, "list": limits.max_list_results}.get(verb)
    if most and limit > most:
        raise InvalidRequestError(f"{verb} with limit {limit}; {capabilities.provider} answers {most} at the most.")


def _admit_sizes(values: Mapping[str, Any], capabilities: Capabilities) -> None:
    content, longest = values.get("content"), capabilities.features.max_content_length
    if content is not None and longest is not None and len(content) > longest:
        raise PayloadTooLargeError(
            f"content has {len(content)} characters; {capabilities.provider} takes {longest}.", remedy="Split it."
        )
    vector, embedding = values.get("vector"), capabilities.features.embedding
    if vector is not None and embedding is not None and len(vector) != embedding.dimension:
        raise InvalidRequestError(
            f"vector has {len(vector)} numbers; the store holds vectors of {embedding.dimension} ({embedding.model}).",
            remedy="Make it with the store's model.",
        )
    items = values.get("items") or values.get("ids") or ()
    most = capabilities.limits.max_batch_size if capabilities.limits else None
    if most is not None and len(items) > most:
        raise PayloadTooLargeError(f"{len(items)} items; {capabilities.provider} takes {most}.", remedy="Send fewer.")


def _other_modes(capabilities: Capabilities) -> str:
    modes = [mode for mode in ("vector", "keyword", "hybrid") if getattr(capabilities.features, f"{mode}_search")]
    return f"Search by {' or '.join(modes)}." if modes else "Use list."


def _unsupported(capabilities: Capabilities, what: str, remedy: str) -> UnsupportedCapabilityError:
    return UnsupportedCapabilityError(f"{capabilities.provider} does not support {what}.", remedy=remedy)
