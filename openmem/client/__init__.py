"""The clients: Memory and AsyncMemory, and their views bound to one user; how they are made, and what they drive."""

from .bound import AsyncUserMemory, UserMemory
from .clients import AsyncMemory, Memory

__all__ = ["AsyncMemory", "AsyncUserMemory", "Memory", "UserMemory"]
