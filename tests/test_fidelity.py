"""Swapping the backend changes nothing that an application sees."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from openmem import Memory
from openmem.types import SearchResult

WHO = ("Ana", "Bram", "Chidi", "Dora", "Emil", "Femke", "Goran", "Hana")
DID = ("bought", "lost", "painted", "repaired", "borrowed", "photographed", "sold", "forgot")
WHAT = (
    "a red bicycle",
    "the old piano",
    "three maps",
    "her passport",
    "a wooden boat",
    "the garden chairs",
    "two kites",
)
WHERE = (
    "in Lisbon",
    "near the harbour",
    "at work",
    "on Sunday",
    "before the storm",
    "with the neighbours",
    "last winter",
)
QUESTIONS = ("Who {did} {what}?", "What did {who} do {where}?", "{who} and {what}", "things {where}")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Memory, Memory]]:
    """Yield memory:// and sqlite:// holding the same 2,000 memories of four users, real embeddings included."""
    file = tmp_path_factory.mktemp("fidelity") / "f.db"
    random.seed(11)
    facts = [" ".join(parts) + "." for parts in itertools.product(WHO, DID, WHAT, WHERE)]
    items = [
        {"content": fact, "user_id": f"user {number % 4}", "external_id": str(number), "importance": number % 10 / 10}
        for number, fact in enumerate(random.sample(facts, 2000))
    ]
    pair = Memory("memory://", embedder="local"), Memory(f"sqlite:///{file}", embedder="local")
    for memory in pair:
        assert not [result for result in memory.add_many(items) if result.error]
    yield pair
    for memory in pair:
        memory.close()


def questions() -> list[tuple[str, str]]:
    random.seed(12)
    words = {"who": WHO, "did": DID, "what": WHAT, "where": WHERE}
    return [
        (
            QUESTIONS[number % 4].format(**{name: random.choice(list(values)) for name, values in words.items()}),
            f"user {number % 4}",
        )
        for number in range(200)
    ]


def seen(results: list[SearchResult]) -> list[tuple[str | None, float]]:
    return [(result.memory.external_id, result.score) for result in results]


@pytest.mark.parametrize("mode", ["vector", "keyword", "hybrid"])
def test_top_ten_and_scores_are_identical(pair: tuple[Memory, Memory], mode: str) -> None:
    reference, other = pair
    answered = 0
    for question, user in questions():
        expected = seen(reference.search(question, user, mode=mode))  # type: ignore[arg-type]
        assert seen(other.search(question, user, mode=mode)) == expected  # type: ignore[arg-type]
        answered += len(expected) == 10
    assert answered > 150  # most questions have ten answers: the comparison is not of empty lists


def test_filtered_search_is_identical(pair: tuple[Memory, Memory]) -> None:
    reference, other = pair
    wanted = {"importance": {"gte": 0.3, "lt": 0.5}}
    for question, user in questions()[:50]:
        expected = seen(reference.search(question, user, filter=wanted))
        assert len(expected) == 10
        assert seen(other.search(question, user, filter=wanted)) == expected


def test_context_is_identical_but_for_ids(pair: tuple[Memory, Memory]) -> None:
    for question, user in questions()[:50]:
        blocks = [memory.context(question, user, token_budget=200) for memory in pair]
        lines = [[line.rpartition(" [")[0] for line in block.text.splitlines()] for block in blocks]
        assert lines[0] == lines[1] != []
