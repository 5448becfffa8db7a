"""mem0 by hand: its Memory over Qdrant's local mode, add without extraction and search, as its users call them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from data import NOTHING, TOP, Data, Row, median_ms, rate


class Precomputed:
    """An embedder of mem0's kind that looks its vectors up."""

    def __init__(self, data: Data) -> None:
        vectors = data.vectors.tolist()
        self._vectors = dict(zip(data.texts, vectors, strict=True))

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        """Return the vector of a known text."""
        vector: list[float] = self._vectors[text]
        return vector

    def embed_batch(self, texts: list[str], memory_action: str | None = None) -> list[list[float]]:
        """Return the vectors of known texts."""
        return [self._vectors[text] for text in texts]


def memory(data: Data, folder: Path) -> Row:
    """Measure mem0."""
    os.environ["MEM0_TELEMETRY"] = "False"
    os.environ["MEM0_DIR"] = str(folder)
    from mem0 import Memory  # type: ignore[import-untyped]  # imported once its variables are set

    store = {"path": str(folder / "qdrant"), "embedding_model_dims": data.vectors.shape[1], "on_disk": True}
    config: dict[str, Any] = {
        "vector_store": {"provider": "qdrant", "config": store},
        "embedder": {"provider": "openai", "config": {"api_key": "none"}},
        "llm": {"provider": "vllm", "config": {}},  # asks nobody until it is used
        "history_db_path": str(folder / "history.db"),
    }
    mem0 = Memory.from_config(config)
    mem0.embedding_model = Precomputed(data)
    ids: dict[int, str] = {}

    def add(n: int) -> str:
        ids[n] = mem0.add(data.texts[n], user_id=_user(data, n), infer=False)["results"][0]["id"]
        return ids[n]

    def search(n: int) -> Any:
        return mem0.search(data.texts[n], filters={"user_id": _user(data, n)}, top_k=TOP)

    speed = rate(data, lambda batch: [*map(add, batch)])
    single = median_ms(add, data.asked)
    vector = median_ms(search, data.asked)
    get = median_ms(lambda n: mem0.get(ids[n]), data.asked)
    mem0.vector_store.client.close()
    mem0.close()
    return ("raw mem0", speed, single, vector, NOTHING, NOTHING, get)


def _user(data: Data, n: int) -> str:
    return data.users[n].replace(" ", "-")  # mem0 takes no white space
