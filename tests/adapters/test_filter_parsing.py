"""A filter is parsed once a request, whatever becomes of the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from openmem import InvalidRequestError, Memory
from openmem.protocol import filters
from openmem.types import SearchRequest

FILTER = {"or": [{"metadata.topic": "tea"}, {"not": {"kind": "fact"}}], "importance": {"gte": 0.25}}
READS: dict[str, Callable[[Memory], Any]] = {
    "list": lambda memory: memory.list("u", filter=FILTER).items,
    "vector search": lambda memory: memory.search("tea", "u", filter=FILTER, mode="vector"),
    "keyword search": lambda memory: memory.search("tea", "u", filter=FILTER, mode="keyword"),
    "hybrid search": lambda memory: memory.search("tea", "u", filter=FILTER, mode="hybrid"),
    "context": lambda memory: memory.context("tea", "u", filter=FILTER).citations,
    "handle": lambda memory: memory.handle(SearchRequest(query="tea", user_id="u", filter=FILTER)).results,
}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The filters that were parsed."""
    seen: list[Any] = []
    parse = filters.parse

    def counting(source: Any) -> Any:
        if not isinstance(source, filters.Parsed):
            seen.append(source)
        return parse(source)

    monkeypatch.setattr(filters, "parse", counting)
    return seen


def test_a_filter_is_parsed_once_a_request(store: str, parsed: list[Any]) -> None:
    with Memory(store, embedder="test:32") as memory:
        topics = ("tea", "coffee", "tea")
        items = [{"content": f"tea {n}", "metadata": {"topic": t}, "importance": 0.5} for n, t in enumerate(topics)]
        assert not [result for result in memory.add_many(items, user_id="u") if result.error]
        features = memory.capabilities().features
        for name, read in READS.items():
            if name.startswith(("keyword", "hybrid")) and not getattr(features, name.replace(" ", "_")):
                continue
            parsed.clear()
            assert len(read(memory)) == 3, name
            assert parsed == [FILTER], name


def test_a_filter_that_is_none_is_parsed_once_too(parsed: list[Any]) -> None:
    with Memory("memory://", embedder="none") as memory, pytest.raises(InvalidRequestError):
        memory.list("u", filter={"kind": {"like": "f"}})
    assert len(parsed) == 1
