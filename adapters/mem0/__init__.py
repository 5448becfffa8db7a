"""mem0://: mem0 in this process, or its hosted platform."""

from .adapter import Mem0Adapter

__all__ = ["Mem0Adapter"]
