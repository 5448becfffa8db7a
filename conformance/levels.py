"""What a provider can reach: levels, each a set of clauses, and how much of them a run has proven."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .checks import CHECKS

Standing = Literal["proven", "declined", "not proven", "not run"]

NEEDS: dict[str, frozenset[str]] = {
    "core": frozenset(),
    "standard": frozenset(
        {
            *("update", "history", "add_many", "get_many", "update_many", "delete_many"),
            *("context", "scopes", "temporal", "filters"),
            *("supports_metadata", "supports_archive", "supports_external_id", "supports_if_version"),
            "supports_supersession",
        }
    ),
    "full": frozenset(need for check in CHECKS for need in check.requires),
}
"""What a provider of each level has beyond the five verbs and one mode of search."""

LEVELS: dict[str, frozenset[str]] = {
    level: frozenset(check.clause for check in CHECKS if needs.issuperset(check.requires))
    for level, needs in NEEDS.items()
}
"""The clauses of each level: those that a provider with all of its needs cannot decline."""


@dataclass
class Reach:
    """How a provider stands to the clauses of one level."""

    level: str
    clauses: dict[Standing, list[str]] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether every clause is proven: that it is declined, or has not been run, is not enough."""
        return self.clauses.keys() == {"proven"}

    @property
    def of(self) -> int:
        """How many clauses the level has."""
        return sum(map(len, self.clauses.values()))

    def __str__(self) -> str:
        said = [f"{len(self.clauses.get('proven', ()))} of {self.of} clauses proven"]
        for standing in ("declined", "not proven", "not run"):
            if clauses := self.clauses.get(standing):
                named = f" ({', '.join(clauses)})" if standing != "not run" and len(clauses) <= NAMED else ""
                said.append(f"{len(clauses)} {standing}{named}")
        return f"{self.level}: {', '.join(said)}"


NAMED = 12
"""Clauses that are named one by one; of more their number is enough."""


def reaches(outcomes: Mapping[str, Iterable[str]]) -> list[Reach]:
    """Tell how a provider stands to each level, from the outcomes of each check that was run in both clients."""
    found = {check: set(every) for check, every in outcomes.items()}
    standing = []
    for level, clauses in LEVELS.items():
        reach = Reach(level)
        for clause in dict.fromkeys(check.clause for check in CHECKS if check.clause in clauses):
            reach.clauses.setdefault(_standing(clause, level, found), []).append(clause)
        standing.append(reach)
    return standing


def _standing(clause: str, level: str, found: Mapping[str, set[str]]) -> Standing:
    """Judge a clause: what needs more than the level has may be declined, but may not be wrong."""
    checks = [check for check in CHECKS if check.clause == clause]
    outcomes = {check.id: found.get(check.id, set()) for check in checks}
    if any(every - {"pass", "verified-unsupported"} for every in outcomes.values()):
        return "not proven"
    if not all(outcomes.values()):
        return "not run"
    due = [outcomes[check.id] for check in checks if NEEDS[level].issuperset(check.requires)]
    return "proven" if all(every == {"pass"} for every in due) else "declined"
