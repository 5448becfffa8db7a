"""What a check sends and nobody else does: users, words, tags, keys and scopes, all made from the seed of the run."""

from __future__ import annotations

import random

from openmem.embedding.testing import WordEmbedder

LETTERS = "bcdfghjklmnpqrstvwxz"  # no vowels: a marker is nobody's word and has no stem


TRIES = 20
"""Words that are thrown away at most for one with an axis of its own."""


def prefix(seed: int) -> str:
    """Begin the name of every user of a run."""
    return f"conformance-{seed:08x}-"


class Names:
    """The names of one place in a run, which are the same whenever that place is reached by the same seed."""

    def __init__(self, seed: int, *place: str) -> None:
        self._random = random.Random(f"{seed}/{'/'.join(place)}")  # noqa: S311  to be told apart, not to be secret
        self._prefix = prefix(seed)
        self._axis, self._taken = WordEmbedder().axis, set[int]()
        self._word = self.marker()
        self._signs = "".join(self._random.choices("!?.,;:", k=18))

    def user(self) -> str:
        """Make a user id that nobody else has."""
        return f"{self._prefix}{self._random.getrandbits(64):016x}"

    def marker(self) -> str:
        """Make an improbable word of letters, which the predictable embedder counts on an axis of its own if it can."""
        for _ in range(TRIES):
            word = "".join(self._random.choices(LETTERS, k=12))
            if self._axis(word) not in self._taken:
                break
        self._taken.add(self._axis(word))
        return word

    def number(self) -> int:
        """Make an improbable number of 18 digits."""
        return self._random.randrange(10**17, 10**18)

    def unknown(self) -> str:
        """Make an id that no memory has."""
        return f"mem_{self.marker()}"

    def own(self, name: str) -> str:
        """Make a text, tag or key of this place's own out of a name; the same name gives the same again."""
        return f"{name} {self._word}"

    def signed(self, text: str) -> str:
        """Make a text this place's own by signs, which are no word and have no meaning."""
        return f"{text} {self._signs}"

    def scope(self, path: str) -> str:
        """Put a scope below this place's own."""
        return f"check-{self._word}/{path}"
