"""Context: within its budget whatever it is given, every line cited, citations in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openmem import InvalidRequestError, Memory
from openmem.protocol.context import TOKEN_COUNTER, assemble, count_tokens, lines_within
from openmem.types import ContextBlock, SearchResult
from support.scripted import record

CONTENTS = st.text(min_size=1, max_size=200) | st.sampled_from(
    ["a", "x" * 500, "two\nlines", " spaced \t out ", "[m1] in brackets [m2]", "- a dash", "日本語", "\u2028\u2029\x0b"]
)
LISTS = st.lists(CONTENTS, max_size=8)
BUDGETS = st.integers(1, 200)


def _results(contents: list[str]) -> list[SearchResult]:
    """Results with ids of several lengths, best first."""
    return [
        SearchResult(memory=record(f"mem_{'i' * row}{row}", content=content), score=1 - row / 100)
        for row, content in enumerate(contents)
    ]


def _words(text: str) -> int:
    return len(text.split())


def _bytes(text: str) -> int:
    return len(text.encode())


COUNTERS = st.sampled_from([count_tokens, _words, _bytes, len])


@given(contents=LISTS, budget=BUDGETS, count=COUNTERS)
def test_never_over_budget(contents: list[str], budget: int, count: Callable[[str], int]) -> None:
    block = assemble(_results(contents), budget, count=count)
    assert block.token_count == count(block.text) <= budget


@given(contents=LISTS, budget=BUDGETS)
def test_every_line_ends_in_the_id_it_cites_in_order(contents: list[str], budget: int) -> None:
    results = _results(contents)
    block = assemble(results, budget)
    lines = block.text.split("\n") if block.text else []
    assert len(lines) == len(block.citations)
    for line, citation in zip(lines, block.citations, strict=True):
        assert line.endswith(f"[{citation.memory_id}]")
        assert line == line.strip()
    order = [result.memory.id for result in results]
    places = [order.index(citation.memory_id) for citation in block.citations]
    assert places == sorted(set(places))
    assert [citation.score for citation in block.citations] == [results[place].score for place in places]


@given(contents=LISTS, budget=BUDGETS)
def test_a_line_is_one_line_to_every_reader(contents: list[str], budget: int) -> None:
    block = assemble(_results(contents), budget)
    assert len(block.text.splitlines()) == len(block.citations)


@given(contents=LISTS, budget=BUDGETS)
def test_what_was_left_out_would_not_have_fitted(contents: list[str], budget: int) -> None:
    results = _results(contents)
    block = assemble(results, budget)
    cited = {citation.memory_id for citation in block.citations}
    for place, result in enumerate(results):
        if result.memory.id not in cited:
            before = [each for each in results[:place] if each.memory.id in cited]
            alone = assemble([*before, result], 10**9)
            assert count_tokens(alone.text) > budget


@given(contents=LISTS)
def test_a_large_budget_takes_everything(contents: list[str]) -> None:
    block = assemble(_results(contents), 10**6)
    assert [citation.memory_id for citation in block.citations] == [each.memory.id for each in _results(contents)]
    for line, content in zip(block.text.split("\n"), contents, strict=False):
        assert " ".join(content.split()) in line


@given(budget=BUDGETS)
def test_nothing_gives_nothing(budget: int) -> None:
    assert assemble([], budget) == ContextBlock(text="", citations=[], token_count=0)


@pytest.mark.parametrize("budget", [1, 2])
def test_where_no_record_fits_there_is_no_text(budget: int) -> None:
    assert assemble(_results(["x" * 500]), budget) == ContextBlock(text="", citations=[], token_count=0)


@given(length=st.integers(100, 400), budget=st.integers(5, 20))
def test_a_single_long_memory_is_cut_to_just_fit(length: int, budget: int) -> None:
    (result,) = _results(["x" * length])
    block = assemble([result], budget)
    words = 4 * budget - len("- … [mem_0]")
    assert block.text == f"- {'x' * words}… [mem_0]"
    assert block.token_count == budget
    assert [citation.memory_id for citation in block.citations] == ["mem_0"]


def test_a_long_memory_is_left_out_where_a_shorter_fits() -> None:
    block = assemble(_results(["x" * 500, "short"]), 20)
    assert block.text == "- short [mem_i1]"


def test_by_hand() -> None:
    block = assemble(_results(["Prefers\n  dark mode", "Lives in Oslo"]), 100)
    assert block.text == "- Prefers dark mode [mem_0]\n- Lives in Oslo [mem_i1]"
    assert block.token_count == -(-len(block.text) // 4) == 13


@given(text=st.text())
def test_the_counter_is_what_its_name_says(text: str) -> None:
    assert TOKEN_COUNTER == "characters/4"
    assert 4 * count_tokens(text) - 3 <= len(text) <= 4 * count_tokens(text) or text == ""


@given(budget=st.integers(1, 10**6))
def test_lines_fetched_are_bounded(budget: int) -> None:
    assert 1 <= lines_within(budget) <= 100


# --- through a store --------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/m.db?synchronous=normal"
    with Memory(url, embedder="test:64") as opened:
        yield opened


_users = iter(f"user {number}" for number in range(10**9))
BLUE = st.lists(st.sampled_from(["blue", "sky", "\n", "日本", "x" * 90, "[mem_1]"]), min_size=1, max_size=10)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(BLUE, max_size=6), budget=st.integers(1, 150))
def test_the_verb_keeps_its_budget_and_cites_what_search_finds(
    memory: Memory, contents: list[list[str]], budget: int
) -> None:
    user = next(_users)
    for words in contents:
        memory.add("blue " + " ".join(words), user)
    block = memory.context("blue", user, token_budget=budget)
    assert block.token_count == count_tokens(block.text) <= budget
    found = {hit.memory.id: hit.score for hit in memory.search("blue", user, limit=100)}
    cited = {citation.memory_id: citation.score for citation in block.citations}
    assert cited.items() <= found.items()
    lines = block.text.split("\n") if block.text else []
    assert [line.rsplit("[", 1)[1].rstrip("]") for line in lines] == list(cited)


def test_the_verb_reads_what_search_reads(memory: Memory) -> None:
    first = memory.add("blue one", "u", scope="a")
    second = memory.add("blue two", "u", scope="a/b", supersedes=[first.id])
    memory.add("blue three", "u", scope="ab")
    memory.add("blue four", "v", scope="a")
    away = memory.add("blue five", "u", scope="a", archived=True)

    def cited(**options: Any) -> set[str]:
        return {citation.memory_id for citation in memory.context("blue", "u", scope="a", **options).citations}

    assert cited() == {second.id}
    assert cited(include=["superseded", "archived"]) == {first.id, second.id, away.id}
    assert cited(filter={"content": {"contains": "five"}}, include=["archived"]) == {away.id}
    assert cited(min_score=1) <= {second.id}
    assert cited(tag="t") == set()


def test_a_user_without_memories_has_no_context(memory: Memory) -> None:
    assert memory.context("blue", "nobody") == ContextBlock(text="", citations=[], token_count=0)


@pytest.mark.parametrize("budget", [0, -1, 1_000_001])
def test_a_budget_out_of_bounds_is_refused(budget: int, memory: Memory) -> None:
    with pytest.raises(InvalidRequestError, match="token_budget"):
        memory.context("blue", "u", token_budget=budget)
