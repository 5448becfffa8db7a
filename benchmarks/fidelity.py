"""Swap fidelity: how many of the ten best memories of memory:// another backend finds too, on short and long texts.

Usage: python benchmarks/fidelity.py [URL ...] [--short N] [--long N] [--questions N]. Without URLs: a sqlite file and
Qdrant's shards and local mode, in a temporary folder, and Postgres where POSTGRES_URL names a server. Texts are made
from a seed: short facts of English words, and texts of about 2,000 characters in several scripts.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from openmem import Memory

MODES = ("vector", "keyword", "hybrid")
LEAST: Mapping[str, float] = {"vector": 1.0, "keyword": 0.99, "hybrid": 0.99}
"""The share that a backend should find at least."""
FACTS = (
    ("Ana", "Bram", "Chidi", "Dora", "Emil", "Femke", "Goran", "Hana"),
    ("bought", "lost", "painted", "repaired", "borrowed", "photographed", "sold", "forgot"),
    ("a red bicycle", "the old piano", "three maps", "her passport", "a wooden boat", "the garden chairs", "two kites"),
    ("in Lisbon", "near the harbour", "at work", "on Sunday", "before the storm", "with the neighbours", "last winter"),
)
SYLLABLES = {
    "Latin": "ba ke li no ru ta sho wen",
    "German": "bä ße lö nü rech tung sche wan",
    "Cyrillic": "ба ке ли но ру та шо вен",
    "Greek": "βα κε λι νο ρυ τα σό φις",
    "Arabic": "با كي لي نو رو تا شو مة",
    "Devanagari": "बा के ली नो रू ता कि मैं",
    "Han": "水 火 山 石 田 土 木 林",
    "Kana": "バ ケ リ ノ る た し ん",
    "Hangul": "바 케 리 노 루 타 쇼 웬",
    "Thai": "บา เก ลี โน รู ต้า กิ่ แม",
}
"""Of three syllables each a script has 512 words."""
LENGTH = 2000

Question = tuple[str, str]
"""A query and its user."""


class Texts(NamedTuple):
    """Memories to be stored, and questions about them."""

    items: list[dict[str, Any]]
    questions: list[Question]


def short_texts(memories: int, questions: int) -> Texts:
    """Make facts of four users."""
    choose = random.Random(11)
    facts = choose.sample([" ".join(parts) + "." for parts in itertools.product(*FACTS)], memories)
    items = [{"content": fact, "user_id": f"short {n % 4}", "external_id": f"s{n}"} for n, fact in enumerate(facts)]
    asked = []
    for n in range(questions):
        who, did, what, where = (choose.choice(words) for words in FACTS)
        forms = (f"Who {did} {what}?", f"What did {who} do {where}?", f"{who} and {what}", f"things {where}")
        asked.append((forms[n % 4], f"short {n % 4}"))
    return Texts(items, asked)


def long_texts(memories: int, questions: int) -> Texts:
    """Make long texts of one user, each most of all in one script."""
    choose = random.Random(12)
    words = {name: _words(syllables.split()) for name, syllables in SYLLABLES.items()}
    contents = [_long(choose, words, name) for name in itertools.islice(itertools.cycle(words), memories)]
    items = [{"content": each, "user_id": "long", "external_id": f"l{n}"} for n, each in enumerate(contents)]
    asked = [(" ".join(choose.sample(choose.choice(contents).split(), 3)), "long") for _ in range(questions)]
    return Texts(items, asked)


def _words(syllables: Sequence[str]) -> list[str]:
    return ["".join(parts) for parts in itertools.product(syllables, repeat=3)]


def _long(choose: random.Random, words: Mapping[str, Sequence[str]], main: str) -> str:
    """Write words as rare as their place says; of five, one is of another script."""
    text = ""
    size = choose.randint(LENGTH // 2, LENGTH)
    while len(text) < size:
        of = words[main] if choose.random() < 0.8 else words[choose.choice(list(words))]
        text += of[int(len(of) * choose.random() ** 3)] + " "
    return text.strip()


def overlap(reference: Memory, other: Memory, questions: Sequence[Question], mode: Any) -> tuple[float, float]:
    """Return the share of the reference's ten best that another finds, and how far its scores are from them."""
    common = expected = 0
    difference = 0.0
    for query, user in questions:
        wanted, found = (
            {hit.memory.external_id: hit.score for hit in memory.search(query, user, mode=mode)}
            for memory in (reference, other)
        )
        both = wanted.keys() & found.keys()
        common, expected = common + len(both), expected + len(wanted)
        difference = max([difference, *(abs(wanted[key] - found[key]) for key in both)])
    return common / max(expected, 1), difference


def main() -> None:
    """Print a row for each backend, kind of text and mode; exit with 1 where a share is too small."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="*")
    parser.add_argument("--short", type=int, default=2000)
    parser.add_argument("--long", type=int, default=500)
    parser.add_argument("--questions", type=int, default=200)
    given = parser.parse_args()
    sets = {
        "short": short_texts(given.short, given.questions),
        "long": long_texts(given.long, given.questions),
    }
    failed = False
    with tempfile.TemporaryDirectory() as folder, Memory("memory://", embedder="local") as reference:
        _fill(reference, sets)
        print(f"{'backend':<14} {'texts':<6} {'mode':<8} {'overlap@10':>10} {'scores differ by':>17}")
        for url in given.urls or _default(folder):
            with Memory(url, embedder="local", timeout=600) as memory:
                _fill(memory, sets)
                for (name, texts), mode in itertools.product(sets.items(), MODES):
                    share, difference = overlap(reference, memory, texts.questions, mode)
                    failed = failed or share < LEAST[mode]
                    print(f"{url.partition('://')[0]:<14} {name:<6} {mode:<8} {share:>10.4f} {difference:>17.1e}")
    raise SystemExit(int(failed))


def _default(folder: str) -> list[str]:
    urls = [f"sqlite:///{folder}/f.db", f"qdrant+edge:///{folder}/edge", f"qdrant+local:///{folder}/local"]
    return [*urls, os.environ["POSTGRES_URL"]] if "POSTGRES_URL" in os.environ else urls


def _fill(memory: Memory, sets: Mapping[str, Texts]) -> None:
    for texts in sets.values():
        failures = [result.error for result in memory.add_many(texts.items) if result.error]
        assert not failures, failures[0]


if __name__ == "__main__":
    main()
