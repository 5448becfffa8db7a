"""What a check is, and how one is registered: @check with the clause that it holds a provider to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from .harness import Harness

Run = Callable[[Harness], Awaitable[None]]


@dataclass(frozen=True)
class Check:
    """One check. requires: verbs and features it needs; without them the provider must refuse them."""

    id: str
    clause: str
    title: str
    requires: tuple[str, ...]
    run: Run

    @property
    def group(self) -> str:
        """The clause's group: SCO of SCO-1."""
        return self.clause.partition("-")[0]

    def __repr__(self) -> str:
        return f"Check({self.id!r})"


CHECKS: list[Check] = []


def check(clause: str, title: str, *, requires: Sequence[str] = ()) -> Callable[[Run], Run]:
    """Register an async function of a harness as a check; its id is the clause and the function's name."""

    def register(run: Run) -> Run:
        name = getattr(run, "__name__", "check").replace("_", "-")
        made = Check(f"{clause}.{name}", clause, title, tuple(requires), run)
        if any(known.id == made.id for known in CHECKS):
            raise ValueError(f"two checks have the id {made.id}")
        CHECKS.append(made)
        return run

    return register
