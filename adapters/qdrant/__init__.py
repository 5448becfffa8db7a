"""Qdrant: a server, local mode, and shards in this process."""

from .adapter import QdrantAdapter, QdrantEdgeAdapter, QdrantLocalAdapter
from .settings import QdrantSettings

__all__ = ["QdrantAdapter", "QdrantEdgeAdapter", "QdrantLocalAdapter", "QdrantSettings"]
