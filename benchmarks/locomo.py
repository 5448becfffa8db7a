"""Retrieval on LoCoMo: recall@10 and MRR of each URL and mode, one memory a turn, search within the conversation.

Usage: python benchmarks/locomo.py [URL ...] [--data FILE]. The data is not part of the project (CC BY-NC 4.0: for
evaluation only); without it the benchmark says so and ends. Recall is the mean fraction of a question's evidence turns
among the first ten; categories 1 to 4, as the fifth has no answer.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmem import Memory

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "locomo-dev.json"
MODES = ("keyword", "vector", "hybrid")
TOP = 10


@dataclass(frozen=True)
class Question:
    """A question about one conversation and the turns that answer it."""

    conversation: str
    text: str
    evidence: frozenset[str]


def turns(sample: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each turn's id and its text as "Speaker: text [shares caption of a picture]"."""
    for name, session in sample["conversation"].items():
        if re.fullmatch(r"session_\d+", name):
            for turn in session:
                picture = f" [shares {turn['blip_caption']}]" if turn.get("blip_caption") else ""
                yield turn["dia_id"], f"{turn['speaker']}: {turn['text']}{picture}"


def questions(sample: dict[str, Any], known: set[str]) -> Iterator[Question]:
    """Yield the answerable questions whose evidence is among the turns; its spelling varies in the data."""
    for entry in sample["qa"]:
        found = re.findall(r"D:?(\d+):0*(\d+)", " ".join(entry.get("evidence", ())))
        evidence = frozenset(f"D{session}:{turn}" for session, turn in found) & known
        if entry["category"] in (1, 2, 3, 4) and evidence:
            yield Question(sample["sample_id"], entry["question"], evidence)


def load(memory: Memory, samples: list[dict[str, Any]]) -> tuple[list[Question], int]:
    """Store every conversation as one user's memories; return the questions and how many turns there are."""
    asked: list[Question] = []
    count = 0
    for sample in samples:
        told = dict(turns(sample))
        user = f"locomo {sample['sample_id']}"
        items = [{"content": text, "external_id": turn} for turn, text in told.items()]
        failed = [result.error for result in memory.add_many(items, user_id=user) if result.error]
        assert not failed, failed[0]
        asked += questions(sample, set(told))
        count += len(told)
    return asked, count


def measure(memory: Memory, asked: list[Question], mode: Any) -> tuple[float, float, float]:
    """Return recall@10, mean reciprocal rank and milliseconds a search."""
    recall = reciprocal = 0.0
    started = time.perf_counter()
    for question in asked:
        hits = memory.search(question.text, f"locomo {question.conversation}", mode=mode, limit=TOP)
        ranked = [hit.memory.external_id for hit in hits]
        recall += len(question.evidence.intersection(ranked)) / len(question.evidence)
        first = next((place for place, turn in enumerate(ranked, 1) if turn in question.evidence), None)
        reciprocal += 1 / first if first else 0.0
    elapsed = (time.perf_counter() - started) * 1000
    return recall / len(asked), reciprocal / len(asked), elapsed / len(asked)


def main() -> None:
    """Print a row for each URL and mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="*", default=["memory://"])
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    if not arguments.data.exists():
        print("LoCoMo is not here, so nothing is measured: give the file with --data.")
        return
    samples = json.loads(arguments.data.read_text("utf-8"))
    print(f"{'url':<32} {'mode':<8} {'recall@10':>9} {'MRR':>6} {'ms':>6}")
    for url in arguments.urls:
        with Memory(url, embedder="local") as memory:
            asked, count = load(memory, samples)
            features = memory.capabilities().features
            for mode in (mode for mode in MODES if getattr(features, f"{mode}_search")):
                recall, rank, milliseconds = measure(memory, asked, mode)
                print(f"{url:<32} {mode:<8} {recall:>9.3f} {rank:>6.3f} {milliseconds:>6.2f}")
    print(f"{count} turns, {len(asked)} questions, embedder local")


if __name__ == "__main__":
    main()
