"""mem0 alone over the folder of a test's store."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from openmem.adapters.mem0.library import FOLDERS, close_memory, open_memory


class PlainMem0:
    """mem0 alone, closed afterwards; it embeds a text by its length."""

    def __init__(self, folder: Path, config: dict[str, Any] | None = None) -> None:
        self.folder, self.config = folder, config or {}

    def __enter__(self) -> Any:
        assert not FOLDERS.by_place, "a client left its store open"
        folder = self.folder / "mem0"
        self.mem0 = open_memory(folder / "qdrant", folder, self.config, 32)
        self.mem0.embedding_model.vectors_of = lambda texts: [[float(len(text))] * 32 for text in texts]
        return self.mem0

    def __exit__(self, *_: object) -> None:
        close_memory(self.mem0)


def put(mem0: Any, **payload: Any) -> str:
    """Store a record of any shape, as older versions of mem0 did."""
    memory_id = str(uuid4())
    mem0.vector_store.insert(vectors=[[1.0] * 32], ids=[memory_id], payloads=[payload])
    return memory_id
