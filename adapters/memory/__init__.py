"""memory://: everything in this process."""

from .adapter import MemoryAdapter, MemorySettings

__all__ = ["MemoryAdapter", "MemorySettings"]
