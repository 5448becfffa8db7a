"""The protocol's models under their public names."""

from ._generated.models import AddRequest as MemoryInput
from ._generated.models import (
    AuditEntry,
    BatchResult,
    Capabilities,
    CapabilityFeatures,
    CapabilityLimits,
    Citation,
    ContextBlock,
    EmbeddingInfo,
    ErrorDetail,
    Memory,
    MemoryPage,
    MemorySource,
    Message,
    ScoreKinds,
    SearchResult,
    Stats,
)
from ._generated.models import Memory as MemoryRecord
from ._generated.models import UpdateRequest as MemoryUpdate

__all__ = [
    "AuditEntry",
    "BatchResult",
    "Capabilities",
    "CapabilityFeatures",
    "CapabilityLimits",
    "Citation",
    "ContextBlock",
    "EmbeddingInfo",
    "ErrorDetail",
    "Memory",
    "MemoryInput",
    "MemoryPage",
    "MemoryRecord",
    "MemorySource",
    "MemoryUpdate",
    "Message",
    "ScoreKinds",
    "SearchResult",
    "Stats",
]
