"""qdrant://, qdrant+local://, qdrant+edge://: a Qdrant server, its client's local mode, shards in this process."""

from .adapter import QdrantAdapter, QdrantEdgeAdapter, QdrantLocalAdapter
from .settings import QdrantSettings

__all__ = ["QdrantAdapter", "QdrantEdgeAdapter", "QdrantLocalAdapter", "QdrantSettings"]
