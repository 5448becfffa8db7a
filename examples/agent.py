"""A small agent that remembers: the same script on any backend, chosen by the profile in openmem.toml.

Run it twice on a backend that keeps its data and nothing is stored twice: every turn carries an external_id.
"""

from __future__ import annotations

from openmem import ContextBlock, Memory

FIRST_TALK = [
    "Hi, I'm Nora. I run a small bakery in Lisbon with my brother Tomás.",
    "I'm allergic to hazelnuts, so please never suggest a recipe with them.",
    "For work mail I want short answers, no small talk.",
    "Our oven holds twelve loaves at most.",
    "We close on Mondays and deliver on Tuesdays.",
    "I'm learning to sail; my lesson is every Thursday at six.",
]
LATER = [
    ("On which day does the bakery deliver?", 60),
    ("Suggest a recipe for Tomás's birthday cake", 60),
    ("When is my sailing lesson?", 40),
]


def talk(memory: Memory) -> list[ContextBlock]:
    """Hold one conversation, change one's mind, and recall what matters for each question of the next."""
    nora = memory.for_user("nora")
    for number, turn in enumerate(FIRST_TALK):
        nora.add(turn, scope="chat/first", kind="conversation", external_id=f"first-{number}")

    lesson = nora.search("sailing lesson", limit=1)[0].memory
    nora.add(
        "My sailing lesson moved to Saturday morning.",
        scope="chat/second",
        kind="conversation",
        external_id="second-0",
        supersedes=[lesson.id] if lesson.external_id == "first-5" else None,
    )
    return [nora.context(question, token_budget=budget) for question, budget in LATER]


def main() -> None:
    """Talk, and show what was recalled and what is kept."""
    with Memory.from_config() as memory:
        print(repr(memory))
        for (question, budget), block in zip(LATER, talk(memory), strict=True):
            print(f"\n> {question}   ({block.token_count} of {budget} tokens)\n{block.text}")
        stats = memory.stats("nora")
        print(f"\nkept {stats.total} memories, {stats.current} of them current; scopes {stats.scopes}")


if __name__ == "__main__":
    main()
