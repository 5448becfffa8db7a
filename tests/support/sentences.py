"""Facts and questions made of a few words, and what of an answer two backends have in common."""

from __future__ import annotations

import random

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
