"""What a provider does not declare must be refused, before it is asked: one request for each verb and feature."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from openmem._generated.verbs import VERBS
from openmem.errors import OMPError, UnsupportedCapabilityError
from openmem.types import Capabilities, CapabilityFeatures

from .harness import Harness

Probe = Callable[[Harness], Awaitable[object]]

PROBES: dict[str, Probe] = {
    "add": lambda h: h.memory.add(h.marker(), h.user),
    "get": lambda h: h.memory.get(h.unknown()),
    "delete": lambda h: h.memory.delete(h.unknown()),
    "list": lambda h: h.memory.list(h.user),
    "search": lambda h: h.memory.search(h.marker(), h.user),
    "update": lambda h: h.memory.update(h.unknown(), content=h.marker()),
    "context": lambda h: h.memory.context(h.marker(), h.user),
    "audit": lambda h: h.memory.audit(h.user),
    "add_many": lambda h: h.memory.add_many([{"content": h.marker(), "user_id": h.user}]),
    "get_many": lambda h: h.memory.get_many([h.unknown()]),
    "update_many": lambda h: h.memory.update_many([{"id": h.unknown(), "kind": h.marker()}]),
    "delete_many": lambda h: h.memory.delete_many([h.unknown()]),
    "erase": lambda h: h.memory.erase(h.user, all=True),
    "related": lambda h: h.memory.related(h.unknown()),
    "history": lambda h: h.memory.history(h.unknown()),
    "stats": lambda h: h.memory.stats(h.user),
    "users": lambda h: h.memory.users(),
    "health": lambda h: h.memory.health(),
    "remember": lambda h: h.memory.remember([{"role": "user", "content": h.marker()}], h.user),
    "vector_search": lambda h: h.memory.search(h.marker(), h.user, mode="vector"),
    "keyword_search": lambda h: h.memory.search(h.marker(), h.user, mode="keyword"),
    "hybrid_search": lambda h: h.memory.search(h.marker(), h.user, mode="hybrid"),
    "temporal": lambda h: h.memory.list(h.user, include=["expired"]),
    "scopes": lambda h: h.memory.list(h.user, scope=h.marker()),
    "filters": lambda h: h.memory.list(h.user, filter={"kind": h.marker()}),
    "supports_audit": lambda h: h.memory.audit(h.user),
    "supports_supersession": lambda h: h.memory.add(h.marker(), h.user, supersedes=[h.unknown()]),
    "supports_chain_delete": lambda h: h.memory.delete(h.unknown(), chain=True),
    "supports_if_version": lambda h: h.memory.delete(h.unknown(), if_version=1),
    "supports_external_id": lambda h: h.memory.add(h.marker(), h.user, external_id=h.marker()),
    "supports_archive": lambda h: h.memory.add(h.marker(), h.user, archived=True),
    "supports_sessions": lambda h: h.memory.list(h.user, session=h.marker()),
    "supports_metadata": lambda h: h.memory.add(h.marker(), h.user, metadata={h.marker(): True}),
    "oldest_first": lambda h: h.memory.list(h.user, order="oldest"),
    "supports_vectors": lambda h: h.memory.add(h.marker(), h.user, vector=[1.0]),
}
"""For each verb, and each feature that a request can ask for, a request that asks for it.

`scopes` is the feature, without which there is no verb of that name.
"""
RELATIVE = "relative_keyword_scores"
"""What a provider declares whose `features.scores` call keyword scores relative."""
UNASKED = frozenset({"durable", RELATIVE})
"""What no request asks for: where it is not declared there is nothing to refuse."""


def declared(need: str, capabilities: Capabilities) -> bool:
    """Tell whether a verb or feature is declared."""
    if need in VERBS and need not in CapabilityFeatures.model_fields:
        return need in capabilities.verbs or need == "capabilities"
    if need == RELATIVE:
        scores = capabilities.features.scores
        return scores is not None and scores.keyword == "relative"
    return getattr(capabilities.features, need) not in (None, False, "none")


async def probe(need: str, harness: Harness) -> str:
    """Ask for what is not declared; say what is wrong unless it is refused before the adapter is reached."""
    if need in UNASKED:
        return ""
    reached = harness.reached()
    try:
        await PROBES[need](harness)
    except UnsupportedCapabilityError:
        return "" if harness.reached() == reached else f"{need} is refused only after the backend was asked"
    except OMPError as error:
        return f"{need} is not declared and raises {type(error).__name__}, not UnsupportedCapabilityError"
    return f"{need} is not declared, yet the client let it through"
