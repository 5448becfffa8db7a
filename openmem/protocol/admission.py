"""Whether a provider's capabilities admit a request: its verb, and each field that needs a feature or has a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from .._generated.models import Capabilities
from .._generated.verbs import NEEDS, VALUES_NEED, VERB_OF
from ..errors import InvalidRequestError, PayloadTooLargeError, UnsupportedCapabilityError

MODES, ORDERS = VALUES_NEED["mode"], VALUES_NEED["order"]


class Admission:
    """Refuses what a provider's capabilities do not name."""

    def __init__(self, capabilities: Capabilities) -> None:
        self.capabilities, self._features = capabilities, capabilities.features
        self._verbs = frozenset(capabilities.verbs) | {"capabilities"}
        self._longest, self._embedding = self._features.max_content_length, self._features.embedding
        self._most = capabilities.limits.max_batch_size if capabilities.limits else None
        self._lacking = {field: feature for field, feature in NEEDS.items() if not self._has(feature)}
        self._reach = capabilities.limits.max_search_reach if capabilities.limits else None

    def admit(self, request: BaseModel) -> None:
        """Raise UnsupportedCapabilityError for a verb, field or mode that is not offered, or a typed error of size."""
        entry, values, given = VERB_OF[type(request)], request.__dict__, request.__pydantic_fields_set__
        verb = entry.name
        if verb not in self._verbs:
            raise self._missing(verb)
        if entry.needs and not self._has(entry.needs):
            raise self._unsupported(verb, f"Its features do not say {entry.needs}.")
        for field in self._lacking.keys() & given if self._lacking else ():
            if values.get(field) not in (None, type(request).model_fields[field].default):
                raise self._lacks(verb, field)
        if request.__pydantic_extra__ and "metadata" in self._lacking:
            raise self._unsupported(f"{verb} with {', '.join(request.__pydantic_extra__)}", "Leave extensions out.")
        mode = values.get("mode")
        if mode is not None and not self._has(MODES[mode]):
            raise self._unsupported(f"{mode} search", self._other_modes())
        if values.get("order") == "oldest" and not self._has(ORDERS["oldest"]):
            raise self._unsupported(f"{verb} from the oldest on", "Leave order out.")
        self.admit_sizes(values)
        if "limit" in given:
            self._admit_limit(verb, values["limit"])
        if values.get("offset"):
            self._admit_offset(values["offset"], values["limit"])

    def _has(self, feature: str) -> bool:
        return getattr(self._features, feature) not in (None, False, "none")

    def _admit_limit(self, verb: str, limit: int) -> None:
        limits = self.capabilities.limits
        most = limits and {"search": limits.max_search_results, "list": limits.max_list_results}.get(verb)
        if most and limit > most:
            provider = self.capabilities.provider
            raise InvalidRequestError(f"{verb} with limit {limit}; {provider} answers {most} at the most.")

    def _admit_offset(self, offset: int, limit: int) -> None:
        provider, most = self.capabilities.provider, self._reach
        if most is None:
            raise self._unsupported("search with offset", "Leave offset out.")
        if offset + limit > most:
            message = f"search with offset {offset} and limit {limit}; {provider} answers the first {most} at the most."
            raise InvalidRequestError(message, remedy="Narrow the search, or read the selection with list.")

    def admit_sizes(self, values: Mapping[str, Any]) -> None:
        """Raise PayloadTooLargeError for too long a content, InvalidRequestError for a vector of another width."""
        provider = self.capabilities.provider
        content, longest = values.get("content"), self._longest
        if content is not None and longest is not None and len(content) > longest:
            raise PayloadTooLargeError(
                f"content has {len(content)} characters; {provider} takes {longest}.", remedy="Split it."
            )
        vector, embedding = values.get("vector"), self._embedding
        if vector is not None and embedding is not None and len(vector) != embedding.dimension:
            raise InvalidRequestError(
                f"vector has {len(vector)} numbers; the store holds vectors of {embedding.dimension} "
                f"({embedding.model}).",
                remedy="Make it with the store's model.",
            )
        items, most = values.get("items") or values.get("ids") or values.get("external_ids"), self._most
        if items and most is not None and len(items) > most:
            raise PayloadTooLargeError(f"{len(items)} items; {provider} takes {most}.", remedy="Send fewer.")

    def _missing(self, verb: str) -> UnsupportedCapabilityError:
        remedies = (self.capabilities.model_extra or {}).get("x-remedies", {})
        return self._unsupported(verb, remedies.get(verb, f"Its verbs are {', '.join(self.capabilities.verbs)}."))

    def _lacks(self, verb: str, field: str) -> UnsupportedCapabilityError:
        if self._lacking[field] == "supports_vectors":
            return self._unsupported("vectors", "Configure an embedder; the store is keyword-only.")
        return self._unsupported(f"{verb} with {field}", f"Leave {field} out.")

    def _other_modes(self) -> str:
        modes = [mode for mode, feature in MODES.items() if self._has(feature)]
        return f"Search by {' or '.join(modes)}." if modes else "Use list."

    def _unsupported(self, what: str, remedy: str) -> UnsupportedCapabilityError:
        return UnsupportedCapabilityError(f"{self.capabilities.provider} does not support {what}.", remedy=remedy)
