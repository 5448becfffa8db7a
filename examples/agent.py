"""A small agent that remembers: the same script on any backend, chosen by the profile in openmem.toml.

Run it twice on a backend that keeps its data and nothing is stored twice: every turn carries an external_id.
"""

from openmem import Memory

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


def main() -> None:
    """Hold one conversation, change one's mind, and recall what matters for the next."""
    with Memory.from_config() as memory:
        nora = memory.for_user("nora")
        print(f"\n=== {memory!r}")
        for number, turn in enumerate(FIRST_TALK):
            nora.add(turn, scope="chat/first", kind="conversation", external_id=f"first-{number}")

        lesson = nora.search("sailing lesson", limit=1)[0].memory
        moved = nora.add(
            "My sailing lesson moved to Saturday morning.",
            scope="chat/second",
            kind="conversation",
            external_id="second-0",
            supersedes=[lesson.id] if lesson.external_id == "first-5" else None,
        )
        print(f"superseded: {[record.content for record in nora.history(moved.id)]}")

        for question, budget in LATER:
            block = nora.context(question, token_budget=budget)
            print(f"\n> {question}   ({block.token_count} of {budget} tokens)\n{block.text}")

        stats = nora.stats()
        print(f"\nkept {stats.total} memories, {stats.current} of them current; scopes {stats.scopes}")


if __name__ == "__main__":
    main()
