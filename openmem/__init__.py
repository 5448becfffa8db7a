"""openmem: one protocol for AI memory, any backend; the public names, each loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from ._generated.clients import UNSET
    from .adapter import Adapter, Settings
    from .client import AsyncMemory, AsyncUserMemory, Memory, UserMemory
    from .embedding import Embedder
    from .errors import (
        ClosedError,
        ConfigurationError,
        ConflictError,
        CopyError,
        IngestionTimeoutError,
        InternalError,
        InvalidRequestError,
        NotFoundError,
        OMPError,
        PayloadTooLargeError,
        ProviderError,
        ProviderUnavailableError,
        RateLimitedError,
        ScopeDeniedError,
        UnauthorizedError,
        UnsupportedCapabilityError,
        UnsupportedProviderError,
    )
    from .layers import Handler, Layer
    from .protocol.outcomes import BatchResults
    from .registry import register_adapter
    from .runtime.calls import Call, Principal, current_call
    from .types import (
        AuditEntry,
        BatchResult,
        Capabilities,
        CapabilityFeatures,
        CapabilityLimits,
        Citation,
        ContextBlock,
        EmbeddingInfo,
        ErrorDetail,
        Health,
        MemoryInput,
        MemoryPage,
        MemoryRecord,
        MemorySource,
        MemoryUpdate,
        Message,
        ScopeCount,
        ScopePage,
        ScoreKinds,
        SearchResult,
        Stats,
        UserCount,
        UserPage,
    )

__all__ = [
    "UNSET",
    "Adapter",
    "AsyncMemory",
    "AsyncUserMemory",
    "AuditEntry",
    "BatchResult",
    "BatchResults",
    "Call",
    "Capabilities",
    "CapabilityFeatures",
    "CapabilityLimits",
    "Citation",
    "ClosedError",
    "ConfigurationError",
    "ConflictError",
    "ContextBlock",
    "CopyError",
    "Embedder",
    "EmbeddingInfo",
    "ErrorDetail",
    "Handler",
    "Health",
    "IngestionTimeoutError",
    "InternalError",
    "InvalidRequestError",
    "Layer",
    "Memory",
    "MemoryInput",
    "MemoryPage",
    "MemoryRecord",
    "MemorySource",
    "MemoryUpdate",
    "Message",
    "NotFoundError",
    "OMPError",
    "PayloadTooLargeError",
    "Principal",
    "ProviderError",
    "ProviderUnavailableError",
    "RateLimitedError",
    "ScopeCount",
    "ScopeDeniedError",
    "ScopePage",
    "ScoreKinds",
    "SearchResult",
    "Settings",
    "Stats",
    "UnauthorizedError",
    "UnsupportedCapabilityError",
    "UnsupportedProviderError",
    "UserCount",
    "UserMemory",
    "UserPage",
    "current_call",
    "register_adapter",
]

_HOMES = {
    "UNSET": "_generated.clients",
    "Adapter": "adapter",
    "Settings": "adapter",
    "AsyncMemory": "client",
    "AsyncUserMemory": "client",
    "BatchResults": "protocol.outcomes",
    "Call": "runtime.calls",
    "Handler": "layers",
    "Layer": "layers",
    "Memory": "client",
    "Principal": "runtime.calls",
    "UserMemory": "client",
    "current_call": "runtime.calls",
    "Embedder": "embedding",
    "register_adapter": "registry",
}

if not TYPE_CHECKING:  # for a checker every name would be there

    def __getattr__(name: str) -> Any:
        """Import a public name from its home when it is first asked for, so that `import openmem` stays light."""
        if name == "__version__":
            return import_module("importlib.metadata").version("openmem-sdk")
        if name not in __all__:
            raise AttributeError(f"module 'openmem' has no attribute {name!r}")
        home = _HOMES.get(name) or ("errors" if name.endswith("Error") else "types")
        try:
            value = getattr(import_module(f".{home}", __name__), name)
        except AttributeError as error:  # which `from openmem import …` would take for a name that is not there
            raise ImportError(f"openmem.{home} cannot be imported: {error}") from error
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
