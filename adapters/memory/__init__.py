"""memory://: everything in this process; the reference for what the protocol means."""

from .adapter import MemoryAdapter, MemorySettings

__all__ = ["MemoryAdapter", "MemorySettings"]
