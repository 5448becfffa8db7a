"""The text of context: ranked memories within a token budget, each line with its citation."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .._generated.models import Citation, ContextBlock, SearchResult

TOKEN_COUNTER = "characters/4"  # noqa: S105  the name of a counter
MAX_LINES = 100


def count_tokens(text: str) -> int:
    """Count tokens as a quarter of the characters, rounded up."""
    return -(-len(text) // 4)


def lines_within(token_budget: int) -> int:
    """Say how many memories are worth fetching for a budget: a line is seldom under eight tokens."""
    return max(1, min(MAX_LINES, token_budget // 8))


def assemble(
    results: Iterable[SearchResult], token_budget: int, *, count: Callable[[str], int] = count_tokens
) -> ContextBlock:
    """Write one line a memory, best first, each ending in its id; what does not fit is left out.

    Where not even the best fits whole, its text is cut to the budget. token_count never exceeds token_budget.
    """
    text, citations = "", []
    ranked = list(results)
    for result in ranked:
        candidate = f"{text}\n{_line(result)}" if text else _line(result)
        if count(candidate) <= token_budget:
            text = candidate
            citations.append(_cite(result))
    if ranked and not citations:
        text = _cut(ranked[0], token_budget, count)
        citations = [_cite(ranked[0])] if text else []
    return ContextBlock(text=text, citations=citations, token_count=count(text))


def _line(result: SearchResult, content: str | None = None) -> str:
    # A memory is one line whatever its line breaks, so that every line ends in the id it came from.
    words = " ".join(result.memory.content.split()) if content is None else content
    return f"- {words} [{result.memory.id}]"


def _cite(result: SearchResult) -> Citation:
    return Citation(memory_id=result.memory.id, score=result.score)


def _cut(result: SearchResult, token_budget: int, count: Callable[[str], int]) -> str:
    words = " ".join(result.memory.content.split())
    low, high = 0, len(words)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        fits = count(_line(result, words[:middle] + "…")) <= token_budget
        low, high = (middle, high) if fits else (low, middle - 1)
    return _line(result, words[:low] + "…") if low else ""
